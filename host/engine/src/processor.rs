//! How long a call computes, apart from how long it waits.
//!
//! What is measured is the time its future is being polled: guest code and the host functions it calls. The first polls,
//! and most calls have no others, are measured by the wall clock, which costs a few nanoseconds; later ones by the
//! thread's own processor time, which is a system call but does not count what other threads took meanwhile.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::turns;

/// Polls that are measured by the wall clock. A call that waits for a commit has two or three; that other threads take
/// the processor from so few of them cannot add up to much.
const QUICK_POLLS: u32 = 8;

/// A poll that is going on: what was spent before it, and when it began.
#[derive(Clone, Copy)]
struct Turn {
    before: Duration,
    began: Mark,
}

#[derive(Clone, Copy)]
enum Mark {
    Wall(Instant),
    Thread(Duration),
}

thread_local! {
    /// The innermost call this thread is polling.
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

impl Mark {
    fn elapsed(self) -> Duration {
        match self {
            Self::Wall(began) => began.elapsed(),
            Self::Thread(began) => thread_time().saturating_sub(began),
        }
    }
}

fn thread_time() -> Duration {
    ThreadTime::now().as_duration()
}

/// What a call computes.
#[derive(Debug)]
pub(crate) struct Computed {
    /// How long until now.
    pub(crate) spent: Duration,
    /// When its first poll begins; after a poll that the wall clock measured, when that ended.
    mark: Option<Instant>,
}

impl Computed {
    /// Nothing yet, of a call that is first polled now.
    pub(crate) fn from(now: Instant) -> Self {
        Self { spent: Duration::ZERO, mark: Some(now) }
    }

    /// Now, where the call has just ended: its last poll told, or else the clock does.
    pub(crate) fn ended(&self) -> Instant {
        self.mark.unwrap_or_else(Instant::now)
    }
}

/// A poll that is going on; dropped, it is over, also where it panics.
struct Polling<'a> {
    computed: &'a mut Computed,
    began: Mark,
    outer: Option<Turn>,
}

impl<'a> Polling<'a> {
    fn begin(computed: &'a mut Computed, began: Mark) -> Self {
        let outer = TURN.replace(Some(Turn { before: computed.spent, began }));
        Self { computed, began, outer }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        TURN.set(self.outer);
        let (more, mark) = match self.began {
            Mark::Wall(began) => {
                let now = Instant::now();
                (now.duration_since(began), Some(now))
            }
            began @ Mark::Thread(_) => (began.elapsed(), None),
        };
        self.computed.spent += more;
        self.computed.mark = mark;
    }
}

/// Polls `work` to its end and adds up in `computed` what it takes; it is right also when this is dropped before.
pub(crate) async fn measured<F: Future>(computed: &mut Computed, work: F) -> F::Output {
    let mut work = pin!(work);
    let mut polls = 0;
    poll_fn(|context| {
        let began = match (polls, computed.mark) {
            (0, Some(now)) => Mark::Wall(now),
            _ if polls < QUICK_POLLS => Mark::Wall(Instant::now()),
            _ => Mark::Thread(thread_time()),
        };
        polls = polls.saturating_add(1);
        let _polling = Polling::begin(computed, began);
        turns::within(|| work.as_mut().poll(context))
    })
    .await
}

/// What the call that this thread is polling has spent until now.
pub(crate) fn spent_so_far() -> Duration {
    TURN.get().map_or(Duration::ZERO, |turn| turn.before + turn.began.elapsed())
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt as _;

    use super::*;

    fn compute(duration: Duration) {
        let began = Instant::now();
        while began.elapsed() < duration {
            std::hint::spin_loop();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_not_counted_and_computing_is() {
        let [mut waited, mut computed] = [(); 2].map(|()| Computed::from(Instant::now()));
        measured(&mut waited, tokio::time::sleep(Duration::from_secs(3600))).await;
        measured(&mut computed, async {
            compute(Duration::from_millis(5));
            tokio::task::yield_now().await;
            assert!(spent_so_far() >= Duration::from_millis(5));
        })
        .await;
        assert!(computed.spent >= Duration::from_millis(5));
        assert!(waited.spent < Duration::from_secs(60), "{waited:?} of an hour of waiting");
    }

    #[tokio::test]
    async fn a_call_within_a_call_is_counted_apart_and_leaves_the_outer_one_s_count_alone() {
        let [mut outer, mut inner] = [(); 2].map(|()| Computed::from(Instant::now()));
        measured(&mut outer, async {
            measured(&mut inner, async { assert!(spent_so_far() < Duration::from_secs(60)) }).await;
            compute(Duration::from_millis(2));
            assert!(spent_so_far() >= Duration::from_millis(2));
        })
        .await;
        assert!(inner.spent < outer.spent);
        assert_eq!(spent_so_far(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_call_that_panics_is_measured_until_then_and_leaves_the_outer_one_s_count_alone() {
        let mut computed = Computed::from(Instant::now());
        let work = measured(&mut computed, async {
            compute(Duration::from_millis(2));
            panic!("a fault of the host's");
        });
        let panicked: Result<(), _> = AssertUnwindSafe(work).catch_unwind().await;
        assert!(panicked.is_err());
        assert!(computed.spent >= Duration::from_millis(2));
        assert_eq!(spent_so_far(), Duration::ZERO);
    }
}
