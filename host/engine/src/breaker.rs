//! Leaves a plugin alone whose calls come to nothing: its callers learn so at once, and others keep the processor.
//!
//! Closed, every call runs. It opens after [`limits::BREAKER_FAILURES`] failures in a row, and where failures are too
//! large a share of what was called or computed lately, however many calls go well between them: calls are refused for a
//! while. Then one call is let through; if it succeeds the breaker closes, if not it opens for twice as long. So it does
//! where it opens again before it was closed for a [`limits::BREAKER_WINDOW`] without a failure.
//!
//! It opens for the organisation whose calls failed, and for nobody else: what one gives a plugin to work on, and where
//! it sends it, takes the plugin from no other. A plugin that fails everybody is left alone by everybody.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::call_error::words;
use crate::gate::Numbers;
use crate::limits;

/// A plugin's breaker.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Whether it is open for anybody or a call failed lately: most calls need not look further.
    troubled: AtomicBool,
    /// By organisation; those that are quiet have none.
    tenants: Mutex<HashMap<u64, Inner, Numbers>>,
    /// How often it opened ever, for anybody.
    opened: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// Failures since the last success.
    failures: u32,
    /// When a call failed last, or the breaker closed.
    disturbed: Option<Instant>,
    /// What calls came to lately, from a failure on.
    window: Window,
    /// How often it opened since it was quiet.
    openings: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    #[default]
    Closed,
    Open {
        why: BreakerReason,
        until: Instant,
    },
    /// One call is at work; if nothing is heard of it by then, another may try.
    Probing {
        why: BreakerReason,
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

/// Why a plugin is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerReason {
    /// Nothing went well any more.
    Row {
        /// Calls in a row that came to nothing.
        failures: u32,
    },
    /// Too many of its calls came to nothing.
    Share,
    /// Too much of what it computed was for calls that came to nothing.
    Waste,
}

/// How a plugin's breaker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BreakerState {
    /// Whether the plugin is called.
    pub phase: BreakerPhase,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<BreakerReason>,
    /// Calls in a row that came to nothing.
    pub failures: u32,
    /// How often it opened for anybody since the plugin was loaded; as one organisation sees it, for that one since its
    /// calls last went well for a while.
    pub opened: u64,
    /// When the plugin is called again, if it is not now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_milliseconds: Option<u64>,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) why: BreakerReason,
    pub(crate) retry_after: Duration,
}

/// What the calls of the last [`limits::BREAKER_WINDOW`] came to, oldest first.
#[derive(Debug, Default)]
struct Window(VecDeque<Slot>);

/// How many parts a window moves on in.
const SLOTS: u32 = 6;

/// What the calls of one part came to.
#[derive(Clone, Copy, Debug)]
struct Slot {
    began: Instant,
    sums: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    calls: u32,
    failures: u32,
    computed: Duration,
    wasted: Duration,
}

impl Breaker {
    /// Whether a call for `tenant` may run now.
    pub(crate) fn admit(&self, tenant: u64) -> Result<(), Open> {
        if !self.troubled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut tenants = self.tenants.lock();
        let Some(inner) = tenants.get_mut(&tenant) else { return Ok(()) };
        let (why, until) = match inner.phase {
            Phase::Closed => return Ok(()),
            Phase::Open { why, until } | Phase::Probing { why, until } => (why, until),
        };
        let now = Instant::now();
        if now < until {
            return Err(Open { why, retry_after: until - now });
        }
        inner.phase = Phase::Probing { why, until: now + limits::BREAKER_PROBE };
        Ok(())
    }

    /// Takes note of a call for `tenant` that ran to its end and computed so long; tells when that changed whether the
    /// plugin is called for it.
    pub(crate) fn note(&self, tenant: u64, failed: bool, computed: Duration) -> Option<BreakerPhase> {
        self.noted(tenant, failed, |inner, now| inner.note(now, failed, computed))
    }

    /// A call for `tenant` was given up by its caller after it had computed so long: nobody knows whether it would have
    /// ended, so it makes no row, but was for nothing.
    pub(crate) fn note_given_up(&self, tenant: u64, computed: Duration) -> Option<BreakerPhase> {
        self.noted(tenant, true, |inner, now| inner.give_up(now, computed))
    }

    fn noted(
        &self,
        tenant: u64,
        failed: bool,
        note: impl Fn(&mut Inner, Instant) -> Option<BreakerPhase>,
    ) -> Option<BreakerPhase> {
        if !failed && !self.troubled.load(Ordering::Relaxed) {
            return None;
        }
        let mut tenants = self.tenants.lock();
        let now = Instant::now();
        if failed {
            self.forget_quiet(&mut tenants, now);
        } else if tenants.get(&tenant).is_some_and(|inner| inner.is_quiet(now)) {
            tenants.remove(&tenant);
        }
        let changed = match tenants.get_mut(&tenant) {
            Some(inner) => note(inner, now),
            None if failed => note(tenants.entry(tenant).or_default(), now),
            None => None,
        };
        self.troubled.store(!tenants.is_empty(), Ordering::Relaxed);
        if changed == Some(BreakerPhase::Open) {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        changed
    }

    /// A call for `tenant` that was let through never ran, its caller did not wait for its end, or that says nothing of
    /// the plugin: the next one may try.
    pub(crate) fn abandon(&self, tenant: u64) {
        if !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        if let Some(inner) = self.tenants.lock().get_mut(&tenant)
            && let Phase::Probing { why, .. } = inner.phase
        {
            inner.phase = Phase::Open { why, until: Instant::now() };
        }
    }

    /// How it is for `tenant`, and with none for whom it is worst.
    pub(crate) fn state(&self, tenant: Option<u64>) -> BreakerState {
        let (mut tenants, now) = (self.tenants.lock(), Instant::now());
        self.forget_quiet(&mut tenants, now);
        let states = tenants.iter().filter(|(of, _)| tenant.is_none_or(|tenant| tenant == **of));
        let badly = |state: &BreakerState| match state.phase {
            BreakerPhase::Closed => 0,
            BreakerPhase::HalfOpen => 1,
            BreakerPhase::Open => 2,
        };
        let worst = states
            .map(|(_, inner)| inner.state(now))
            .max_by_key(|state| (badly(state), state.retry_after_milliseconds, state.failures));
        let mut state = worst.unwrap_or_default();
        if tenant.is_none() {
            state.opened = self.opened.load(Ordering::Relaxed);
        }
        state
    }

    fn forget_quiet(&self, tenants: &mut HashMap<u64, Inner, Numbers>, now: Instant) {
        tenants.retain(|_, inner| !inner.is_quiet(now));
        self.troubled.store(!tenants.is_empty(), Ordering::Relaxed);
    }
}

impl Inner {
    fn note(&mut self, now: Instant, failed: bool, computed: Duration) -> Option<BreakerPhase> {
        self.window.add(now, failed, computed);
        if failed { self.fail(now) } else { self.succeed(now) }
    }

    fn state(&self, now: Instant) -> BreakerState {
        let (phase, reason, until) = match self.phase {
            Phase::Closed => (BreakerPhase::Closed, None, None),
            Phase::Open { why, until } if now < until => (BreakerPhase::Open, Some(why), Some(until - now)),
            Phase::Open { why, .. } | Phase::Probing { why, .. } => (BreakerPhase::HalfOpen, Some(why), None),
        };
        let milliseconds = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let retry_after_milliseconds = until.map(milliseconds);
        let (failures, opened) = (self.failures, u64::from(self.openings));
        BreakerState { phase, reason, failures, opened, retry_after_milliseconds }
    }

    /// Whether nothing is left to remember: every call runs and has gone well for a while, or nobody has called since the
    /// next could have tried.
    fn is_quiet(&self, now: Instant) -> bool {
        let since = match self.phase {
            Phase::Closed => self.disturbed,
            Phase::Open { until, .. } | Phase::Probing { until, .. } => Some(until),
        };
        since.is_none_or(|since| now.saturating_duration_since(since) >= limits::BREAKER_WINDOW)
    }

    fn succeed(&mut self, now: Instant) -> Option<BreakerPhase> {
        self.failures = 0;
        let closes = match self.phase {
            Phase::Closed => false,
            Phase::Probing { .. } => true,
            // It began before the breaker opened. It ends a row, and makes no share any better.
            Phase::Open { why, .. } => matches!(why, BreakerReason::Row { .. }),
        };
        if !closes {
            return None;
        }
        (self.phase, self.disturbed) = (Phase::Closed, Some(now));
        Some(BreakerPhase::Closed)
    }

    fn fail(&mut self, now: Instant) -> Option<BreakerPhase> {
        self.disturbed = Some(now);
        self.failures = self.failures.saturating_add(1);
        let why = match self.phase {
            Phase::Closed => self.too_much()?,
            Phase::Probing { why: BreakerReason::Row { .. }, .. } => {
                BreakerReason::Row { failures: self.failures }
            }
            Phase::Probing { why, .. } => why,
            // It began before the breaker opened.
            Phase::Open { .. } => return None,
        };
        Some(self.open(now, why))
    }

    fn give_up(&mut self, now: Instant, computed: Duration) -> Option<BreakerPhase> {
        self.window.add(now, true, computed);
        self.disturbed = Some(now);
        match self.phase {
            Phase::Closed => self.too_much().map(|why| self.open(now, why)),
            // The next one may try.
            Phase::Probing { why, .. } => {
                self.phase = Phase::Open { why, until: now };
                None
            }
            Phase::Open { .. } => None,
        }
    }

    fn open(&mut self, now: Instant, why: BreakerReason) -> BreakerPhase {
        let pause = limits::BREAKER_PAUSE.saturating_mul(1 << self.openings.min(16));
        self.phase = Phase::Open { why, until: now + pause.min(limits::BREAKER_LONGEST) };
        self.openings = self.openings.saturating_add(1);
        self.window = Window::default();
        BreakerPhase::Open
    }

    /// Which of the rules a plugin is left alone by, if any.
    fn too_much(&self) -> Option<BreakerReason> {
        if self.failures >= limits::BREAKER_FAILURES {
            return Some(BreakerReason::Row { failures: self.failures });
        }
        let Sums { calls, failures, computed, wasted } = self.window.sums();
        let share = |part: u128, whole: u128| part * 100 >= whole * u128::from(limits::BREAKER_SHARE);
        if calls >= limits::BREAKER_CALLS && share(failures.into(), calls.into()) {
            return Some(BreakerReason::Share);
        }
        let wastes = wasted >= limits::BREAKER_WASTE && share(wasted.as_nanos(), computed.as_nanos());
        wastes.then_some(BreakerReason::Waste)
    }
}

impl Window {
    fn add(&mut self, now: Instant, failed: bool, computed: Duration) {
        self.0.retain(|slot| now - slot.began < limits::BREAKER_WINDOW);
        match self.0.back() {
            Some(slot) if now - slot.began < limits::BREAKER_WINDOW / SLOTS => {}
            _ => self.0.push_back(Slot { began: now, sums: Sums::default() }),
        }
        let Some(Slot { sums, .. }) = self.0.back_mut() else { return };
        sums.calls = sums.calls.saturating_add(1);
        sums.computed += computed;
        if failed {
            sums.failures = sums.failures.saturating_add(1);
            sums.wasted += computed;
        }
    }

    fn sums(&self) -> Sums {
        self.0.iter().fold(Sums::default(), |all, Slot { sums, .. }| Sums {
            calls: all.calls.saturating_add(sums.calls),
            failures: all.failures.saturating_add(sums.failures),
            computed: all.computed + sums.computed,
            wasted: all.wasted + sums.wasted,
        })
    }
}

impl fmt::Display for BreakerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, window) = (limits::BREAKER_SHARE, words(&limits::BREAKER_WINDOW));
        match self {
            Self::Row { failures } => write!(f, "failed {failures} times in a row"),
            Self::Share => write!(f, "failed {share} % or more of its calls within {window}"),
            Self::Waste => write!(f, "computed {share} % or more of its time within {window} for nothing"),
        }
    }
}

impl Serialize for BreakerReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);

    /// Who calls.
    const ONE: u64 = 1;

    fn call(breaker: &Breaker, failed: bool, computed: Duration) {
        breaker.admit(ONE).unwrap();
        breaker.note(ONE, failed, computed);
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            call(breaker, true, QUICK);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_lets_one_call_try_when_its_time_is_over() {
        let breaker = Breaker::default();
        fail(&breaker, limits::BREAKER_FAILURES - 1);
        breaker.note(ONE, false, QUICK);
        fail(&breaker, limits::BREAKER_FAILURES - 1);
        assert_eq!(breaker.state(None).phase, BreakerPhase::Closed, "a success between them starts anew");
        fail(&breaker, 1);
        let why = BreakerReason::Row { failures: limits::BREAKER_FAILURES };
        assert_eq!(breaker.admit(ONE), Err(Open { why, retry_after: limits::BREAKER_PAUSE }));
        assert_eq!((breaker.state(None).phase, breaker.state(None).reason), (BreakerPhase::Open, Some(why)));

        tokio::time::advance(limits::BREAKER_PAUSE).await;
        assert_eq!(breaker.state(None).phase, BreakerPhase::HalfOpen);
        assert_eq!(breaker.admit(ONE), Ok(()));
        assert!(breaker.admit(ONE).is_err(), "one at a time");
        assert_eq!(breaker.note(ONE, false, QUICK), Some(BreakerPhase::Closed));
        assert_eq!(breaker.admit(ONE), Ok(()));
        let closed = BreakerState { opened: 1, ..BreakerState::default() };
        assert_eq!(breaker.state(None), closed);
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_try_doubles_the_pause_up_to_the_longest_and_quiet_undoes_it() {
        let breaker = Breaker::default();
        fail(&breaker, limits::BREAKER_FAILURES);
        let mut pause = limits::BREAKER_PAUSE;
        for _ in 0..20 {
            assert_eq!(breaker.admit(ONE).unwrap_err().retry_after, pause);
            tokio::time::advance(pause).await;
            fail(&breaker, 1);
            pause = (pause * 2).min(limits::BREAKER_LONGEST);
        }
        assert_eq!(pause, limits::BREAKER_LONGEST);
        for (quiet, next) in
            [(limits::BREAKER_WINDOW / 2, pause), (limits::BREAKER_WINDOW, limits::BREAKER_PAUSE)]
        {
            tokio::time::advance(pause).await;
            call(&breaker, false, QUICK);
            tokio::time::advance(quiet).await;
            fail(&breaker, limits::BREAKER_FAILURES);
            assert_eq!(breaker.admit(ONE).unwrap_err().retry_after, next);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_never_ends_does_not_keep_it_open_for_good() {
        let breaker = Breaker::default();
        fail(&breaker, limits::BREAKER_FAILURES);
        tokio::time::advance(limits::BREAKER_PAUSE).await;
        assert_eq!(breaker.admit(ONE), Ok(()));
        breaker.abandon(ONE);
        assert_eq!(breaker.admit(ONE), Ok(()));
        tokio::time::advance(limits::BREAKER_PROBE).await;
        assert_eq!(breaker.admit(ONE), Ok(()));
    }

    /// A call that computes to its limit every so often, and nine that go well in between: how many times it ran before
    /// the breaker opened.
    async fn loops_between(breaker: &Breaker, every: Duration, good: Duration) -> Option<u32> {
        for times in 1..=100 {
            for _ in 0..9 {
                call(breaker, false, good);
                tokio::time::advance(every / 10).await;
            }
            call(breaker, true, limits::PROCESSOR);
            tokio::time::advance(every / 10).await;
            if breaker.state(None).phase != BreakerPhase::Closed {
                return Some(times);
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_that_loops_for_some_is_left_alone_however_many_calls_go_well_between() {
        let (second, breaker) = (Duration::from_secs(1), Breaker::default());
        assert_eq!(loops_between(&breaker, 5 * second, QUICK).await, Some(5));
        let open = breaker.admit(ONE).unwrap_err();
        assert_eq!(open.why.to_string(), "computed 50 % or more of its time within 60 s for nothing");
        assert_eq!(breaker.note(ONE, false, QUICK), None, "one that began before changes nothing");

        // It goes well again for some, and for others not: each time the pause is longer.
        tokio::time::advance(limits::BREAKER_PAUSE).await;
        assert_eq!(loops_between(&breaker, second, QUICK).await, Some(5));
        assert!(breaker.admit(ONE).unwrap_err().retry_after > limits::BREAKER_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_now_and_then_or_beside_much_good_work_leaves_it_closed() {
        let second = Duration::from_secs(1);
        assert_eq!(loops_between(&Breaker::default(), 15 * second, QUICK).await, None);
        assert_eq!(loops_between(&Breaker::default(), second, second / 2).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_where_half_of_many_calls_fail_between_those_that_go_well() {
        let breaker = Breaker::default();
        for _ in 0..limits::BREAKER_CALLS / 2 {
            call(&breaker, true, QUICK);
            call(&breaker, false, QUICK);
        }
        assert_eq!(breaker.state(None).phase, BreakerPhase::Closed);
        call(&breaker, true, QUICK);
        let told = breaker.admit(ONE).unwrap_err().why.to_string();
        assert_eq!(told, "failed 50 % or more of its calls within 60 s");

        let breaker = Breaker::default();
        for number in 0..1_000 {
            call(&breaker, number % 3 == 0, QUICK);
        }
        assert_eq!(breaker.state(None).phase, BreakerPhase::Closed, "a third is not half");
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_one_organisation_takes_the_plugin_from_no_other() {
        let breaker = Breaker::default();
        for _ in 0..limits::BREAKER_CALLS {
            let _ = breaker.note(ONE, true, limits::PROCESSOR);
            assert_eq!(breaker.admit(2), Ok(()));
            breaker.note(2, false, QUICK);
        }
        assert!(breaker.admit(ONE).is_err());
        assert_eq!(breaker.state(Some(2)), BreakerState::default(), "nor does another learn of it");
        for tenant in [None, Some(ONE)] {
            let BreakerState { phase, opened, .. } = breaker.state(tenant);
            assert_eq!((phase, opened), (BreakerPhase::Open, 1));
        }
        // What is over is not kept.
        tokio::time::advance(limits::BREAKER_PAUSE).await;
        call(&breaker, false, QUICK);
        tokio::time::advance(limits::BREAKER_WINDOW).await;
        call(&breaker, false, QUICK);
        assert!(breaker.tenants.lock().is_empty() && !breaker.troubled.load(Ordering::Relaxed));
        assert_eq!(breaker.state(None), BreakerState { opened: 1, ..BreakerState::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn what_opened_for_an_organisation_that_calls_no_more_is_forgotten() {
        let breaker = Breaker::default();
        fail(&breaker, limits::BREAKER_FAILURES);
        tokio::time::advance(limits::BREAKER_PAUSE + limits::BREAKER_WINDOW - QUICK).await;
        assert_eq!(breaker.state(None).phase, BreakerPhase::HalfOpen);
        tokio::time::advance(QUICK).await;
        assert_eq!(breaker.state(None), BreakerState { opened: 1, ..BreakerState::default() });
        assert!(!breaker.troubled.load(Ordering::Relaxed), "calls need not look for it");
    }
}
