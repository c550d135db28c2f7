//! Whether the clock can be trusted with what cannot be undone. One that is wrong for a while, after a start or a jump,
//! must not free what is to be kept.

use std::time::{Duration, Instant};

use crate::Timestamp;

/// A clock that differs by more milliseconds from what passed since the last look has jumped.
const JUMP: i64 = 60_000;

/// Since when the clock has gone on as time has.
#[derive(Debug)]
pub struct Steady {
    since: Instant,
    last: Option<(Instant, Timestamp)>,
}

impl Steady {
    /// From now on.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it begins at a moment")]
    pub fn new() -> Self {
        Self { since: Instant::now(), last: None }
    }

    /// Looks at what the clock says.
    pub fn look(&mut self, now: Timestamp) {
        self.look_at(Instant::now(), now);
    }

    fn look_at(&mut self, at: Instant, now: Timestamp) {
        if !self.follows(at, now) {
            self.since = at;
        }
        self.last = Some((at, now));
    }

    fn follows(&self, at: Instant, now: Timestamp) -> bool {
        self.last.is_none_or(|(before, then)| {
            let passed = i64::try_from(at.duration_since(before).as_millis()).unwrap_or(i64::MAX);
            now.milliseconds_since(then).abs_diff(passed) <= JUMP.unsigned_abs()
        })
    }

    /// Whether it has been steady for so long, up to now.
    #[must_use]
    pub fn is_steady(&self, now: Timestamp, long: Duration) -> bool {
        self.is_steady_at(Instant::now(), now, long)
    }

    fn is_steady_at(&self, at: Instant, now: Timestamp, long: Duration) -> bool {
        long.is_zero() || (at.duration_since(self.since) >= long && self.follows(at, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_steady_when_it_has_kept_pace_for_long_enough() {
        let began = Instant::now();
        let mut steady = Steady { since: began, last: None };
        let clock = |seconds: i64| Timestamp::from_milliseconds(1_700_000_000_000 + seconds * 1000).unwrap();
        let (long, minute) = (Duration::from_secs(3600), 60);
        let year = 365 * 24 * 3600;
        for (passed, says, is) in [
            (0, 0, false),
            (59 * minute, 59 * minute, false),
            (60 * minute, 60 * minute + 20, true),
            // Ahead and back again: an hour each from there.
            (61 * minute, 61 * minute + year, false),
            (100 * minute, 100 * minute + year, false),
            (121 * minute, 121 * minute + year, true),
            (122 * minute, 122 * minute, false),
            (181 * minute, 181 * minute, false),
            (182 * minute, 182 * minute - 30, true),
        ] {
            let at = began + Duration::from_secs(passed as u64);
            steady.look_at(at, clock(says));
            assert_eq!(
                steady.is_steady_at(at, clock(says), long),
                is,
                "{passed} seconds passed, {says} by the clock"
            );
        }
        let at = began + Duration::from_secs(200 * 60);
        assert!(!steady.is_steady_at(at, clock(year), long), "a jump since the last look counts");
        assert!(steady.is_steady_at(at, clock(year), Duration::ZERO));
    }
}
