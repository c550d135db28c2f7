//! The way to the writer: any number of threads put orders in, one takes all that are there at once.
//!
//! It never spins: the writer of a store that is idle or busy spends most of its time waiting, and a channel that
//! spins and yields first takes more of the processor than the commits themselves and loses the thread its turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
    /// How many entries the waiting thread wants to see; 0 while none waits.
    wanted: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State { entries: VecDeque::new(), wanted: 0, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Puts one entry in; false if nobody takes any more.
    pub(crate) fn put(&self, entry: T) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        state.entries.push_back(entry);
        if state.wanted != 0 && state.entries.len() >= state.wanted {
            state.wanted = 0;
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
            state.wanted = 1;
            self.filled.wait(&mut state);
        }
        state.wanted = 0;
        std::mem::swap(&mut state.entries, entries);
    }

    /// Waits until there are `many`, at most so `long`.
    pub(crate) fn gather(&self, many: usize, long: Duration) {
        let until = Instant::now() + long;
        let mut state = self.state.lock();
        while state.entries.len() < many {
            state.wanted = many;
            if self.filled.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.wanted = 0;
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// Takes no more entries and gives those that are there.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut state = self.state.lock();
        state.closed = true;
        std::mem::take(&mut state.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_ends_once_as_many_are_there() {
        let queue = Queue::new();
        let hour = Duration::from_hours(1);
        std::thread::scope(|scope| {
            let gathered = scope.spawn(|| {
                queue.gather(3, hour);
                queue.len()
            });
            for entry in 0..3 {
                assert!(queue.put(entry));
            }
            assert_eq!(gathered.join().unwrap(), 3);
        });
        // Also where they are there already, and where nobody is waited for.
        queue.gather(2, hour);
        queue.gather(0, hour);
    }

    #[test]
    fn gathering_ends_with_its_time_and_keeps_what_is_there() {
        let queue = Queue::new();
        queue.put(1);
        queue.gather(2, Duration::from_millis(1));
        let mut taken = VecDeque::new();
        queue.wait(&mut taken);
        assert_eq!(taken, [1]);
    }

    #[test]
    fn a_closed_queue_gives_back_what_it_holds_and_takes_no_more() {
        let queue = Queue::new();
        queue.put(1);
        assert_eq!(queue.close(), [1]);
        assert!(!queue.put(2));
        assert_eq!(queue.len(), 0);
    }
}
