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
    fn wall() -> Self {
        Self::Wall(Instant::now())
    }

    fn thread() -> Self {
        Self::Thread(thread_time())
    }

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

/// Polls `work` to its end and adds up in `spent` what it takes; it is right also when this is dropped before.
pub(crate) async fn measured<F: Future>(spent: &mut Duration, work: F) -> F::Output {
    let mut work = pin!(work);
    let mut polls = 0;
    poll_fn(|context| {
        let began = if polls < QUICK_POLLS { Mark::wall() } else { Mark::thread() };
        polls = polls.saturating_add(1);
        let outer = TURN.replace(Some(Turn { before: *spent, began }));
        let poll = turns::within(|| work.as_mut().poll(context));
        TURN.set(outer);
        *spent += began.elapsed();
        poll
    })
    .await
}

/// What the call that this thread is polling has spent until now.
pub(crate) fn spent_so_far() -> Duration {
    TURN.get().map_or(Duration::ZERO, |turn| turn.before + turn.began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(duration: Duration) {
        let began = Instant::now();
        while began.elapsed() < duration {
            std::hint::spin_loop();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_not_counted_and_computing_is() {
        let (mut waited, mut computed) = (Duration::ZERO, Duration::ZERO);
        measured(&mut waited, tokio::time::sleep(Duration::from_secs(3600))).await;
        measured(&mut computed, async {
            compute(Duration::from_millis(5));
            tokio::task::yield_now().await;
            assert!(spent_so_far() >= Duration::from_millis(5));
        })
        .await;
        assert!(computed >= Duration::from_millis(5));
        assert!(waited < Duration::from_secs(60), "{waited:?} of an hour of waiting");
    }

    #[tokio::test]
    async fn a_call_within_a_call_is_counted_apart_and_leaves_the_outer_one_s_count_alone() {
        let (mut outer, mut inner) = (Duration::ZERO, Duration::ZERO);
        measured(&mut outer, async {
            measured(&mut inner, async { assert!(spent_so_far() < Duration::from_secs(60)) }).await;
            compute(Duration::from_millis(2));
            assert!(spent_so_far() >= Duration::from_millis(2));
        })
        .await;
        assert!(inner < outer);
        assert_eq!(spent_so_far(), Duration::ZERO);
    }
}
