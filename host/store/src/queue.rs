//! The way to the writer: any number of threads put orders in, one takes all that are there at once.
//!
//! It never spins: the writer of a store that is idle or busy spends most of its time waiting, and a channel that
//! spins and yields first takes more of the processor than the commits themselves and loses the thread its turn.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// A queue of `T`.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    entries: VecDeque<T>,
    waiting: bool,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State { entries: VecDeque::new(), waiting: false, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Puts one entry in; false if nobody takes any more.
    pub(crate) fn put(&self, entry: T) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.entries.push_back(entry);
        if std::mem::take(&mut state.waiting) {
            drop(state);
            self.filled.notify_one();
        }
        true
    }

    /// Takes all there is into `entries`, which is empty.
    pub(crate) fn take(&self, entries: &mut VecDeque<T>) {
        std::mem::swap(&mut self.state.lock().entries, entries);
    }

    /// As [`Self::take`], and waits until there is something.
    pub(crate) fn wait(&self, entries: &mut VecDeque<T>) {
        let mut state = self.state.lock();
        while state.entries.is_empty() {
            state.waiting = true;
            self.filled.wait(&mut state);
        }
        state.waiting = false;
        std::mem::swap(&mut state.entries, entries);
    }

    /// Takes no more entries and drops those that are there.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.entries);
        drop(state);
        drop(left);
    }
}
