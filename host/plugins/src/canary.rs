//! A new version tried on a share of the calls: who is answered by it, how it fares beside the current one, and when
//! that is bad enough to end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bellwether_kernel::{Clock, OrganisationId, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::UnboundedSender;

use crate::limits;
use crate::row::Owner;

/// Which of the two versions a call went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Current,
    Canary,
}

/// Calls of one version that ended, and those among them that failed: they came to nothing, or the plugin answered
/// with an error (an app's or a role's error, a dialect's status of 500 or above, a delivery that a formatter gives up).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Calls.
    pub calls: u64,
    /// Those that failed.
    pub failed: u64,
}

impl Tally {
    /// The share that failed, from 0 to 1; 0 of no calls.
    fn share(self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.failed as f64 / self.calls as f64 }
    }
}

/// Parts of the window: when the oldest is dropped, at most a tenth of what was seen is forgotten at once.
const PARTS: usize = 10;

/// What was counted within [`limits::CANARY_WINDOW`].
#[derive(Debug, Default)]
struct Window {
    /// Each with the number of its part since the epoch.
    parts: [(i64, Tally); PARTS],
}

impl Window {
    fn part(now: Timestamp) -> i64 {
        let length = limits::CANARY_WINDOW.as_millis() as i64 / PARTS as i64;
        now.as_milliseconds().div_euclid(length)
    }

    fn count(&mut self, now: Timestamp, failed: bool) {
        let number = Self::part(now);
        let (part, tally) = &mut self.parts[number.rem_euclid(PARTS as i64) as usize];
        if *part != number {
            (*part, *tally) = (number, Tally::default());
        }
        tally.calls += 1;
        tally.failed += u64::from(failed);
    }

    fn tally(&self, now: Timestamp) -> Tally {
        let oldest = Self::part(now) - PARTS as i64 + 1;
        let within = self.parts.iter().filter(|(part, _)| *part >= oldest);
        within.fold(Tally::default(), |sum, (_, tally)| Tally {
            calls: sum.calls + tally.calls,
            failed: sum.failed + tally.failed,
        })
    }
}

/// Whether a version that failed so, beside one that failed so, is to be taken back.
///
/// It is once it had [`limits::CANARY_CALLS`] calls, if its share of failures lies more than
/// [`limits::CANARY_EXCESS`] above the current version's, and further above it than chance explains:
/// [`limits::CANARY_ERRORS`] standard errors of the difference of two shares, both taken to be their common one.
fn is_worse(canary: Tally, current: Tally) -> bool {
    if canary.calls < limits::CANARY_CALLS {
        return false;
    }
    let excess = canary.share() - current.share();
    if excess <= limits::CANARY_EXCESS {
        return false;
    }
    if current.calls == 0 {
        return true;
    }
    let (n, m) = (canary.calls as f64, current.calls as f64);
    let common = (canary.failed + current.failed) as f64 / (n + m);
    let error = (common * (1.0 - common) * (1.0 / n + 1.0 / m)).sqrt();
    excess > limits::CANARY_ERRORS * error
}

/// That a canary failed, and how.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) owner: Owner,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Which of its trials: the same version may be tried again.
    pub(crate) trial: u64,
    pub(crate) canary: Tally,
    pub(crate) current: Tally,
}

impl Verdict {
    /// `12 of 20 calls failed, against 1 of 180 of the current version`.
    pub(crate) fn reason(&self) -> String {
        let Tally { calls, failed } = self.canary;
        let Tally { calls: other, failed: lost } = self.current;
        format!("{failed} of {calls} calls failed, against {lost} of {other} of the current version")
    }
}

/// A canary at work.
pub(crate) struct Trial {
    /// A number no other has in this process; the same when its share changes.
    pub(crate) id: u64,
    owner: Owner,
    name: String,
    pub(crate) version: String,
    /// Hundredths of the calls.
    pub(crate) share: u8,
    counts: Arc<Counts>,
    verdicts: UnboundedSender<Verdict>,
    clock: Arc<dyn Clock>,
}

/// What both versions' calls came to; outlives a change of the share.
#[derive(Default)]
struct Counts {
    /// Of the canary, then of the current version.
    windows: Mutex<(Window, Window)>,
    /// Whether it was found worse: from then on nobody is sent to it.
    failed: AtomicBool,
}

impl Trial {
    pub(crate) fn new(
        owner: Owner,
        name: &str,
        version: &str,
        share: u8,
        verdicts: UnboundedSender<Verdict>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { id, owner, name, version, share, counts: Arc::default(), verdicts, clock }
    }

    /// The same canary with another share.
    pub(crate) fn with_share(&self, share: u8) -> Self {
        let (name, version) = (self.name.clone(), self.version.clone());
        let (counts, verdicts, clock) =
            (Arc::clone(&self.counts), self.verdicts.clone(), Arc::clone(&self.clock));
        Self { id: self.id, owner: self.owner, name, version, share, counts, verdicts, clock }
    }

    /// Which version a caller gets: the same for the same organisation and `caller`, whatever the time or the host.
    /// Who gets the canary at one share gets it at every greater one.
    pub(crate) fn side(&self, organisation: Option<OrganisationId>, caller: &[u8]) -> Side {
        if self.counts.failed.load(Ordering::Relaxed) {
            return Side::Current;
        }
        match self.share {
            0 => Side::Current,
            100.. => Side::Canary,
            share if self.place(organisation, caller) < u64::from(share) * 100 => Side::Canary,
            _ => Side::Current,
        }
    }

    /// Where a caller stands among all, from 0 to 9,999.
    fn place(&self, organisation: Option<OrganisationId>, caller: &[u8]) -> u64 {
        let mut hash = Sha256::new();
        // Each with its length, so that no two callers are the same bytes; the version, so that another canary is
        // another choice.
        for field in [self.name.as_bytes(), self.version.as_bytes()] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.update(organisation.map_or(0, |organisation| organisation.0).to_be_bytes());
        hash.update(caller);
        let digest = hash.finalize();
        u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than 8 bytes")) % 10_000
    }

    /// Counts a call that ended.
    pub(crate) fn count(&self, side: Side, failed: bool) {
        let now = self.clock.now();
        let mut windows = self.counts.windows.lock();
        match side {
            Side::Canary => windows.0.count(now, failed),
            Side::Current => windows.1.count(now, failed),
        }
        // Only its own failure makes it worse.
        if side == Side::Current || !failed {
            return;
        }
        let (canary, current) = (windows.0.tally(now), windows.1.tally(now));
        if is_worse(canary, current) && !self.counts.failed.swap(true, Ordering::Relaxed) {
            let (owner, name, version) = (self.owner, self.name.clone(), self.version.clone());
            // Nobody listens only while the host goes down.
            let _ = self.verdicts.send(Verdict { owner, name, version, trial: self.id, canary, current });
        }
    }

    /// What the canary's and the current version's calls came to within the window.
    pub(crate) fn tallies(&self) -> (Tally, Tally) {
        let now = self.clock.now();
        let windows = self.counts.windows.lock();
        (windows.0.tally(now), windows.1.tally(now))
    }
}

/// Where the calls of a version are counted while a canary is at work.
#[derive(Clone)]
pub(crate) struct Watched {
    trial: Arc<Trial>,
    side: Side,
}

impl Watched {
    pub(crate) fn new(trial: Arc<Trial>, side: Side) -> Self {
        Self { trial, side }
    }

    pub(crate) fn count(&self, failed: bool) {
        self.trial.count(self.side, failed);
    }
}

#[cfg(test)]
mod tests {
    use bellwether_kernel::ManualClock;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    fn trial(share: u8) -> (Arc<Trial>, Arc<ManualClock>, UnboundedReceiver<Verdict>) {
        let clock = Arc::new(ManualClock::new(Timestamp::parse("2026-01-01T00:00:00Z").unwrap()));
        let (sender, receiver) = unbounded_channel();
        let time = Arc::clone(&clock) as Arc<dyn Clock>;
        (Arc::new(Trial::new(Owner::Host, "probe", "2.0.0", share, sender, time)), clock, receiver)
    }

    fn tally(failed: u64, calls: u64) -> Tally {
        Tally { calls, failed }
    }

    #[test]
    fn a_canary_is_worse_only_where_it_fails_more_than_the_current_version_and_more_than_chance_explains() {
        for (canary, current, worse) in [
            // Too few calls to tell, however bad.
            (tally(19, 19), tally(0, 1_000), false),
            (tally(20, 20), tally(0, 1_000), true),
            // Nothing to compare with: five in a hundred are too many.
            (tally(1, 20), tally(0, 0), false),
            (tally(2, 20), tally(0, 0), true),
            // Both fail the same way: what they call is down.
            (tally(18, 20), tally(160, 180), false),
            (tally(100, 100), tally(900, 900), false),
            // More, but as chance would have it.
            (tally(2, 20), tally(4, 200), false),
            (tally(40, 400), tally(80, 4_000), true),
            // A difference that is certain, and small.
            (tally(400, 10_000), tally(0, 90_000), false),
            (tally(600, 10_000), tally(0, 90_000), true),
            // Better than what is there.
            (tally(0, 100), tally(50, 100), false),
        ] {
            assert_eq!(is_worse(canary, current), worse, "{canary:?} {current:?}");
        }
    }

    #[test]
    fn a_caller_gets_one_version_and_a_greater_share_takes_nobody_back() {
        let (small, ..) = trial(10);
        let large = small.with_share(30);
        let mut counts = [0; 2];
        for number in 0..10_000_u32 {
            let (organisation, caller) = (Some(OrganisationId(u64::from(number % 7))), number.to_be_bytes());
            let side = small.side(organisation, &caller);
            assert_eq!(side, small.side(organisation, &caller));
            counts[0] += u32::from(side == Side::Canary);
            counts[1] += u32::from(large.side(organisation, &caller) == Side::Canary);
            assert!(side == Side::Current || large.side(organisation, &caller) == Side::Canary);
        }
        assert!((900..1_100).contains(&counts[0]) && (2_850..3_150).contains(&counts[1]), "{counts:?}");
        assert_eq!(trial(0).0.side(None, b"a"), Side::Current);
        assert_eq!(trial(100).0.side(None, b"a"), Side::Canary);
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let (trial, clock, _verdicts) = trial(50);
        for _ in 0..15 {
            trial.count(Side::Canary, true);
        }
        clock.advance(limits::CANARY_WINDOW.as_millis() as i64);
        for _ in 0..15 {
            trial.count(Side::Canary, true);
        }
        assert_eq!(trial.tallies(), (tally(15, 15), tally(0, 0)));
    }

    #[test]
    fn a_bad_canary_gets_one_verdict_and_from_then_on_no_caller() {
        let (trial, _clock, mut verdicts) = trial(100);
        let watched = [Side::Canary, Side::Current].map(|side| Watched::new(Arc::clone(&trial), side));
        for _ in 0..100 {
            watched[1].count(false);
            watched[0].count(true);
        }
        let verdict = verdicts.try_recv().unwrap();
        assert_eq!(verdict.reason(), "20 of 20 calls failed, against 0 of 20 of the current version");
        assert!(verdicts.try_recv().is_err());
        assert_eq!(trial.side(None, b"a"), Side::Current);
        assert_eq!(trial.with_share(50).side(None, b"a"), Side::Current);
    }
}
