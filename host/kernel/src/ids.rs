//! Identifiers, each a type of its own so that one cannot be passed for another.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::{Clock, Randomness};

macro_rules! numbered {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

numbered! {
    /// An organisation, counted from 1 on its store.
    OrganisationId,
    /// A metric, counted from 1 within its organisation.
    MetricId,
    /// One series of one metric, counted from 1 within its organisation.
    SeriesId,
    /// A playbook, counted from 1 within its organisation.
    PlaybookId,
    /// A monitor, counted from 1 within its organisation.
    MonitorId,
    /// An event or a log, counted from 1 within its organisation.
    RecordId,
    /// The host a partial aggregate was written by.
    HostId,
}

/// The public half of a key: 16 characters of `A-Z2-7`, 80 random bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// A fresh one.
    #[must_use]
    pub fn random(randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 10];
        randomness.fill(&mut bytes);
        Self(data_encoding::BASE32_NOPAD.encode(&bytes))
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not 16 characters of `A-Z2-7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 16 characters of A-Z and 2-7")]
pub struct InvalidKeyId;

impl FromStr for KeyId {
    type Err = InvalidKeyId;
    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let good = text.len() == 16 && data_encoding::BASE32_NOPAD.decode(text.as_bytes()).is_ok();
        good.then(|| Self(text.to_owned())).ok_or(InvalidKeyId)
    }
}

/// A run of a playbook: a version-7 UUID, so that ids sort by when their runs began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub uuid::Uuid);

/// Gives runs their ids, which sort in the order they are given: at the clock's present instant, several in one millisecond by
/// a count in the 12 bits behind it. A clock that is set back by ten seconds at most is waited for.
#[derive(Debug, Default)]
pub struct RunIds {
    /// The first 60 bits of the last one.
    last: AtomicU64,
}

/// Bits of the count.
const COUNT: u32 = 12;
/// Milliseconds by which an id may be ahead of the clock; one that was ahead by more is not followed.
const BACK: u64 = 10_000;

impl RunIds {
    /// A fresh one.
    #[must_use]
    pub fn next(&self, clock: &dyn Clock, randomness: &dyn Randomness) -> RunId {
        let now = u64::try_from(clock.now().as_milliseconds()).unwrap_or(0) << COUNT;
        let after = |last: u64| match last.checked_sub(now) {
            Some(ahead) if ahead <= BACK << COUNT => last + 1,
            _ => now,
        };
        let next = |last| Some(after(last));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let id = after(last.expect("there is always a next one"));
        let mut bytes = [0; 10];
        randomness.fill(&mut bytes);
        bytes[..2].copy_from_slice(&id.to_be_bytes()[6..]);
        RunId(uuid::Builder::from_unix_timestamp_millis(id >> COUNT, &bytes).into_uuid())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, SeededRandomness, Timestamp};

    #[test]
    fn a_key_id_is_read_back_and_a_wrong_one_refused() {
        let id = KeyId::random(&SeededRandomness::new(7));
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        for text in ["", "ABC", "0123456789ABCDEF", "abcdefghijklmnop"] {
            assert_eq!(text.parse::<KeyId>(), Err(InvalidKeyId), "{text}");
        }
    }

    #[test]
    fn later_runs_sort_after_earlier_ones_in_one_millisecond_and_after_a_small_step_back_of_the_clock_too() {
        let at = Timestamp::parse("2024-04-09T14:44:00Z").unwrap();
        let (clock, randomness, ids) = (ManualClock::new(at), SeededRandomness::new(1), RunIds::default());
        let mut last = None;
        for step in [0, 0, 1, 0, -9_000, 0, 1, 9_000] {
            clock.advance(step);
            for _ in 0..5_000 {
                let run = ids.next(&clock, &randomness);
                assert!(Some(run) > last, "{step}");
                assert_eq!((run.0.get_version_num(), run.0.get_variant()), (7, uuid::Variant::RFC4122));
                last = Some(run);
            }
        }
    }

    #[test]
    fn a_run_sorts_at_its_time_again_when_a_clock_that_was_far_ahead_is_set_right() {
        let at = Timestamp::parse("2024-04-09T14:44:00Z").unwrap();
        let (clock, randomness, ids) = (ManualClock::new(at), SeededRandomness::new(1), RunIds::default());
        let first = ids.next(&clock, &randomness);
        clock.advance(3_600_000);
        let ahead = ids.next(&clock, &randomness);
        clock.advance(1 - 3_600_000);
        let right = ids.next(&clock, &randomness);
        assert!(first < right && right < ahead);
    }
}
