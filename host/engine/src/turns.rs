//! Long computations take turns, so that short calls always find a free core; and so do compilations.
//!
//! A call that has computed for a whole tick goes on only when it is its turn. As many as there are cores but one have
//! theirs at a time, and organisations take them round robin, however many calls each has at work. A turn ends with the
//! poll it was given to: at the next tick, or when the call waits for something else.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Who computes, and who would.
#[derive(Debug)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// The organisations that wait, the next one first, each with its calls in the order they came.
    waiting: VecDeque<(u64, VecDeque<oneshot::Sender<Turn>>)>,
}

/// A turn; dropped, it is over.
#[derive(Debug)]
pub(crate) struct Turn(Option<Arc<Turns>>);

/// The turns of this process's cores.
static CORES: LazyLock<Arc<Turns>> =
    LazyLock::new(|| Turns::new(std::thread::available_parallelism().map_or(1, usize::from) - 1));

/// Makes way for others, then waits until `tenant` may compute on.
pub(crate) async fn take(tenant: u64) {
    Arc::clone(&CORES).take(tenant).await;
}

thread_local! {
    /// The turn of the poll this thread is at.
    static HELD: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// Does `poll`; a turn it comes to ends with it, also where it panics.
pub(crate) fn within<R>(poll: impl FnOnce() -> R) -> R {
    let _outer = Outer(HELD.take());
    poll()
}

/// What a poll around this one holds; dropped, it is what this thread holds again.
struct Outer(Option<Turn>);

impl Drop for Outer {
    fn drop(&mut self) {
        HELD.set(self.0.take());
    }
}

impl Turns {
    /// So many at a time, at least one.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: count.max(1), waiting: VecDeque::new() })))
    }

    /// Makes way, then waits for a turn, which the poll that ends the waiting has.
    async fn take(self: Arc<Self>, tenant: u64) {
        tokio::task::yield_now().await;
        HELD.set(Some(self.turn(tenant).await));
    }

    /// Who waits, with how many, the next one first.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Vec<(u64, usize)> {
        self.0.lock().waiting.iter().map(|(tenant, calls)| (*tenant, calls.len())).collect()
    }

    /// Waits until it is the turn of `tenant`.
    pub(crate) async fn turn(self: Arc<Self>, tenant: u64) -> Turn {
        let waiting = self.0.lock().take_or_queue(tenant);
        match waiting {
            None => Turn(Some(self)),
            Some(waiting) => waiting.await.expect("the sender is in the queue as long as nobody sent"),
        }
    }
}

impl State {
    fn take_or_queue(&mut self, tenant: u64) -> Option<oneshot::Receiver<Turn>> {
        if self.free > 0 {
            self.free -= 1;
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        match self.waiting.iter_mut().find(|(of, _)| *of == tenant) {
            Some((_, calls)) => calls.push_back(sender),
            None => self.waiting.push_back((tenant, VecDeque::from([sender]))),
        }
        Some(receiver)
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (tenant, mut calls) = self.waiting.pop_front()?;
        let next = calls.pop_front();
        if !calls.is_empty() {
            self.waiting.push_back((tenant, calls));
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        let mut state = turns.0.lock();
        while let Some(next) = state.next() {
            match next.send(Turn(Some(Arc::clone(&turns)))) {
                Ok(()) => return,
                // It does not wait any more.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
        state.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a future comes to when it is looked at once.
    fn polled<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn organisations_take_turns_however_many_calls_each_has() {
        let turns = Turns::new(1);
        turns.0.lock().free = 0;
        let mut held = Some(Turn(Some(Arc::clone(&turns))));
        // One organisation floods the queue, then another comes with a single call.
        let mut waiting: Vec<_> =
            [1, 1, 1, 1, 2].map(|tenant| (tenant, Box::pin(Arc::clone(&turns).take(tenant)))).into();
        for _ in 0..2 {
            for (_, call) in &mut waiting {
                assert!(polled(call).is_pending());
            }
        }
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(held.take());
            let next = waiting.iter_mut().position(|(_, call)| polled(call).is_ready());
            order.push(waiting.remove(next.expect("one has the turn")).0);
            held = HELD.take();
        }
        drop(held);
        assert_eq!(order, [1, 2, 1, 1, 1]);
        assert_eq!(turns.0.lock().free, 1);
    }

    #[tokio::test]
    async fn whoever_does_not_wait_any_more_does_not_keep_the_turn() {
        let turns = Turns::new(1);
        let mut first = Box::pin(within_all(Arc::clone(&turns).take(1)));
        let mut second = Box::pin(within_all(Arc::clone(&turns).take(2)));
        // Both yield once; then one is at work within its poll, which ends there.
        assert!(polled(&mut first).is_pending() && polled(&mut second).is_pending());
        let held = Turn(Some(Arc::clone(&turns)));
        turns.0.lock().free -= 1;
        assert!(polled(&mut first).is_pending() && polled(&mut second).is_pending());
        drop(first);
        drop(held);
        assert!(polled(&mut second).is_ready());
        assert_eq!(turns.0.lock().free, 1);
    }

    #[tokio::test]
    async fn a_poll_that_panics_keeps_no_turn() {
        let turns = Turns::new(1);
        turns.0.lock().free = 0;
        let outer = Turns::new(1);
        outer.0.lock().free = 0;
        HELD.set(Some(Turn(Some(Arc::clone(&outer)))));
        let turn = Turn(Some(Arc::clone(&turns)));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            within::<()>(|| {
                HELD.set(Some(turn));
                panic!("a fault of the host's");
            });
        }));
        assert!(panicked.is_err());
        assert_eq!((turns.0.lock().free, outer.0.lock().free), (1, 0), "what is around it goes on");
        drop(HELD.take());
    }

    async fn within_all(work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        poll_fn(|context| within(|| work.as_mut().poll(context))).await;
    }
}
