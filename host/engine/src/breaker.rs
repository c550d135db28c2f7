//! Leaves a plugin alone that fails again and again: its callers learn so at once, and others keep the processor.
//!
//! Closed, every call runs. After [`limits::BREAKER_FAILURES`] failures in a row it opens: calls are refused for a
//! while. Then one call is let through; if it succeeds the breaker closes, if not it opens for twice as long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::limits;

/// A plugin's breaker.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Whether it is anything but closed without a failure: most calls need not look further.
    troubled: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Failures since the last success.
    failures: u32,
    /// How often it opened since the last success.
    openings: u32,
    /// How often it opened ever.
    opened: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// One call is at work; if nothing is heard of it by then, another may try.
    Probing {
        until: Instant,
    },
}

/// Whether a plugin is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerPhase {
    /// It is.
    #[default]
    Closed,
    /// It is not, until its time is over.
    Open,
    /// A single call tries whether it works again.
    HalfOpen,
}

/// How a plugin's breaker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BreakerState {
    /// Whether the plugin is called.
    pub phase: BreakerPhase,
    /// Calls in a row that came to nothing.
    pub failures: u32,
    /// How often it opened since the plugin was loaded.
    pub opened: u64,
    /// When the plugin is called again, if it is not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_milliseconds: Option<u64>,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) failures: u32,
    pub(crate) retry_after: Duration,
}

impl Breaker {
    /// Whether a call may run now.
    pub(crate) fn admit(&self) -> Result<(), Open> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut inner = self.inner.lock();
        let until = match inner.phase {
            Phase::Closed => return Ok(()),
            Phase::Open { until } | Phase::Probing { until } => until,
        };
        let now = Instant::now();
        if now < until {
            return Err(Open { failures: inner.failures, retry_after: until - now });
        }
        inner.phase = Phase::Probing { until: now + limits::BREAKER_PROBE };
        Ok(())
    }

    /// Takes note of a call that ran to its end; tells when that changed whether the plugin is called.
    pub(crate) fn note(&self, failed: bool) -> Option<BreakerPhase> {
        if !failed && !self.troubled.load(Ordering::Relaxed) {
            return None;
        }
        let mut inner = self.inner.lock();
        self.troubled.store(failed, Ordering::Relaxed);
        if !failed {
            let was_closed = matches!(inner.phase, Phase::Closed);
            (inner.failures, inner.openings, inner.phase) = (0, 0, Phase::Closed);
            return (!was_closed).then_some(BreakerPhase::Closed);
        }
        inner.failures = inner.failures.saturating_add(1);
        let opens = match inner.phase {
            Phase::Closed => inner.failures >= limits::BREAKER_FAILURES,
            Phase::Probing { .. } => true,
            // It began before the breaker opened.
            Phase::Open { .. } => false,
        };
        if !opens {
            return None;
        }
        let pause = limits::BREAKER_PAUSE.saturating_mul(1 << inner.openings.min(16));
        inner.phase = Phase::Open { until: Instant::now() + pause.min(limits::BREAKER_LONGEST) };
        inner.openings = inner.openings.saturating_add(1);
        inner.opened += 1;
        Some(BreakerPhase::Open)
    }

    /// A call that was let through never ran, or its caller did not wait for its end: the next one may try.
    pub(crate) fn abandon(&self) {
        if !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = self.inner.lock();
        if let Phase::Probing { .. } = inner.phase {
            inner.phase = Phase::Open { until: Instant::now() };
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        let inner = self.inner.lock();
        let now = Instant::now();
        let (phase, until) = match inner.phase {
            Phase::Closed => (BreakerPhase::Closed, None),
            Phase::Open { until } if now < until => (BreakerPhase::Open, Some(until - now)),
            Phase::Open { .. } | Phase::Probing { .. } => (BreakerPhase::HalfOpen, None),
        };
        let milliseconds = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let retry_after_milliseconds = until.map(milliseconds);
        BreakerState { phase, failures: inner.failures, opened: inner.opened, retry_after_milliseconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap();
            breaker.note(true);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_lets_one_call_try_when_its_time_is_over() {
        let breaker = Breaker::default();
        fail(&breaker, limits::BREAKER_FAILURES - 1);
        breaker.note(false);
        fail(&breaker, limits::BREAKER_FAILURES - 1);
        assert_eq!(breaker.state().phase, BreakerPhase::Closed, "a success between them starts anew");
        fail(&breaker, 1);
        let open = breaker.admit().unwrap_err();
        assert_eq!(open, Open { failures: limits::BREAKER_FAILURES, retry_after: limits::BREAKER_PAUSE });
        assert_eq!(breaker.state().phase, BreakerPhase::Open);

        tokio::time::advance(limits::BREAKER_PAUSE).await;
        assert_eq!(breaker.state().phase, BreakerPhase::HalfOpen);
        assert_eq!(breaker.admit(), Ok(()));
        assert!(breaker.admit().is_err(), "one at a time");
        assert_eq!(breaker.note(false), Some(BreakerPhase::Closed));
        assert_eq!(breaker.admit(), Ok(()));
        assert_eq!(breaker.state().opened, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_try_doubles_the_pause_up_to_the_longest() {
        let breaker = Breaker::default();
        fail(&breaker, limits::BREAKER_FAILURES);
        let mut pause = limits::BREAKER_PAUSE;
        for _ in 0..20 {
            assert_eq!(breaker.admit().unwrap_err().retry_after, pause);
            tokio::time::advance(pause).await;
            fail(&breaker, 1);
            pause = (pause * 2).min(limits::BREAKER_LONGEST);
        }
        assert_eq!(pause, limits::BREAKER_LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_never_ends_does_not_keep_it_open_for_good() {
        let breaker = Breaker::default();
        fail(&breaker, limits::BREAKER_FAILURES);
        tokio::time::advance(limits::BREAKER_PAUSE).await;
        assert_eq!(breaker.admit(), Ok(()));
        breaker.abandon();
        assert_eq!(breaker.admit(), Ok(()));
        tokio::time::advance(limits::BREAKER_PROBE).await;
        assert_eq!(breaker.admit(), Ok(()));
    }
}
