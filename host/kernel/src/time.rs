//! Instants and the clock everything reads them from, so that a simulation can own time.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that has a calendar date here: 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// The latest instant that has a calendar date here: 9999-12-30T22:00:00Z, the civil library's own bound,
    /// which leaves room for every UTC offset.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// The instant `milliseconds` after the epoch, or `None` outside [`Self::MIN`]`..=`[`Self::MAX`].
    #[must_use]
    pub fn from_milliseconds(milliseconds: i64) -> Option<Self> {
        let instant = Self(milliseconds);
        (Self::MIN..=Self::MAX).contains(&instant).then_some(instant)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_milliseconds(self) -> i64 {
        self.0
    }

    /// This instant moved by `milliseconds`, held within the bounds.
    #[must_use]
    pub fn saturating_add(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds)).clamp(Self::MIN, Self::MAX)
    }

    /// How many milliseconds after `earlier` this instant lies; negative if it lies before.
    #[must_use]
    pub fn milliseconds_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Reads RFC 3339 (`2024-04-01T14:44:00Z`, any offset), or a bare date (`2024-04-01`, midnight UTC).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let date = text.parse::<jiff::civil::Date>().ok()?;
            Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        })?;
        Self::from_milliseconds(instant.as_millisecond())
    }

    /// The same instant in the civil-time library's type.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).expect("a Timestamp lies within the civil library's bounds")
    }
}

/// RFC 3339 in UTC: `2024-04-01T14:44:00Z`, with milliseconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

/// Where "now" comes from. Everything that acts on time takes one.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }
}

/// A clock that moves only when told to, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock by `milliseconds`; negative moves it back, as real clocks sometimes do.
    pub fn advance(&self, milliseconds: i64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Puts the clock at `instant`.
    pub fn set(&self, instant: Timestamp) {
        self.0.store(instant.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_offsets_are_read_and_written_as_rfc_3339() {
        for (text, written) in [
            ("2024-04-01T14:44:00Z", "2024-04-01T14:44:00Z"),
            ("2024-04-01T14:44:00.250+02:00", "2024-04-01T12:44:00.25Z"),
            ("2024-04-01", "2024-04-01T00:00:00Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::parse(text).map(|t| t.to_string()).as_deref(), Some(written), "{text}");
        }
        for text in ["", "yesterday", "2024-13-01", "2024-04-01 14:44", "-000001-01-01"] {
            let read = Timestamp::parse(text);
            assert!(read.is_none() || text.contains(' '), "{text} was read as {read:?}");
        }
    }

    #[test]
    fn the_bounds_are_held_and_printable() {
        assert_eq!(Timestamp::from_milliseconds(Timestamp::MIN.0 - 1), None);
        assert_eq!(Timestamp::from_milliseconds(Timestamp::MAX.0 + 1), None);
        assert_eq!(Timestamp::MAX.saturating_add(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert!(Timestamp::MAX.to_string().starts_with("9999-12-30"));
    }
}
