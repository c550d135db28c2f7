//! Identifiers, each a type of its own so that one cannot be passed for another.

use std::fmt;
use std::str::FromStr;

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

impl RunId {
    /// A fresh one that sorts at the clock's present instant.
    #[must_use]
    pub fn new(clock: &dyn Clock, randomness: &dyn Randomness) -> Self {
        let mut bytes = [0; 10];
        randomness.fill(&mut bytes);
        let milliseconds = u64::try_from(clock.now().as_milliseconds()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid())
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
    fn later_runs_sort_after_earlier_ones() {
        let (clock, randomness) = (ManualClock::new(Timestamp::default()), SeededRandomness::new(1));
        let mut last = None;
        for _ in 0..100 {
            clock.advance(1);
            let run = Some(RunId::new(&clock, &randomness));
            assert!(run > last);
            last = run;
        }
    }
}
