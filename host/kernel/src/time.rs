//! Instants and the clock everything reads them from, so that a simulation can own time.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::Steady;

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

    /// The bounds in words, for whom something beyond them is refused: "from … to …".
    #[must_use]
    pub fn bounds() -> String {
        format!("from {} to {}", Self::MIN, Self::MAX)
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

    /// Reads RFC 3339 (`2024-04-01T14:44:00Z`, any offset), or a date alone (`2024-04-01`, midnight UTC). What lies
    /// between [`Self::MAX`] and the end of the year 9999, as those write who mean "never", is read as `MAX`.
    ///
    /// A date and time without an offset is no instant; where a zone is known, [`Moment`] reads it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match Moment::parse(text)? {
            Moment::Local(_) => None,
            moment => Some(moment.in_zone(&TimeZone::UTC)),
        }
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

/// A time as people write it, which may be one of a zone that is known only to what it is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// RFC 3339: the same everywhere.
    Instant(Timestamp),
    /// A date alone, `2024-04-01`.
    Day(Date),
    /// A date and time without an offset, `2024-04-01T14:44:00`.
    Local(DateTime),
}

impl Moment {
    /// Reads any of the three, of the years 1 to 9999. A zone in brackets, as RFC 9557 adds one, is refused: it may
    /// contradict the offset, and nothing here would heed it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('[') {
            return None;
        }
        let pieces = Pieces::parse(text).ok()?;
        let (date, time) = (pieces.date(), pieces.time());
        if date.year() < 1 {
            return None;
        }
        let civil = date.to_datetime(time.unwrap_or(Time::midnight()));
        match (pieces.to_numeric_offset(), time) {
            (Some(offset), _) => match offset.to_timestamp(civil) {
                Ok(instant) => Timestamp::from_milliseconds(instant.as_millisecond()).map(Self::Instant),
                // Only the last hours of the year 9999 have no instant.
                Err(_) => Some(Self::Instant(Timestamp::MAX)),
            },
            (None, None) => Some(Self::Day(date)),
            (None, Some(_)) => Some(Self::Local(civil)),
        }
    }

    /// The instant it is in `zone`, held within the bounds of [`Timestamp`]: of a day its midnight, of a time that
    /// a change of the clocks skips the one as much later, of one that comes twice the earlier.
    #[must_use]
    pub fn in_zone(self, zone: &TimeZone) -> Timestamp {
        let found = match self {
            Self::Instant(instant) => return instant,
            Self::Day(date) => date.to_zoned_datetime(zone.clone()),
            Self::Local(civil) => civil.to_zoned_datetime(zone.clone()),
        };
        found.map_or(Timestamp::MAX, |zoned| {
            Timestamp::default().saturating_add(zoned.timestamp().as_millisecond())
        })
    }
}

impl From<Timestamp> for Moment {
    fn from(instant: Timestamp) -> Self {
        Self::Instant(instant)
    }
}

/// Where "now" comes from. Everything that acts on time takes one.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// The present instant where it can be trusted with what cannot be undone: what is freed for its age is freed by this one
    /// alone. By default, as with clocks that somebody sets, it always can.
    fn steady(&self) -> Option<Timestamp> {
        Some(self.now())
    }
}

/// The machine's own clock. It is steady once it has gone on as time does for an hour, counted anew from the first time it is
/// asked for that, and from a jump: looked at every minute, it is known how long that is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// How long the machine's clock has to have gone on as time does: in which one that is wrong after a start is set right.
const STEADY: Duration = Duration::from_secs(60 * 60);

/// What was seen of the machine's clock: one for the process, as there is one machine.
static SEEN: LazyLock<Mutex<Steady>> = LazyLock::new(|| Mutex::new(Steady::new()));

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }

    fn steady(&self) -> Option<Timestamp> {
        let mut seen = SEEN.lock();
        let now = self.now();
        seen.look(now);
        seen.is_steady(now, STEADY).then_some(now)
    }
}

/// A clock that moves only when told to, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicI64,
    is_distrusted: AtomicBool,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { now: AtomicI64::new(start.0), is_distrusted: AtomicBool::new(false) }
    }

    /// Moves the clock by `milliseconds`; negative moves it back, as real clocks sometimes do.
    pub fn advance(&self, milliseconds: i64) {
        self.now.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Puts the clock at `instant`.
    pub fn set(&self, instant: Timestamp) {
        self.now.store(instant.0, Ordering::SeqCst);
    }

    /// Is not [steady](Clock::steady) from now on, or is again, as it was at first.
    pub fn distrust(&self, is_distrusted: bool) {
        self.is_distrusted.store(is_distrusted, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Option<Timestamp> {
        (!self.is_distrusted.load(Ordering::SeqCst)).then(|| self.now())
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
        for text in
            ["", "yesterday", "2024-13-01", "2024-04-01 14:44", "2024-04-01T14:44:00", "-000001-01-01"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_zone_in_brackets_is_refused() {
        for text in [
            "2024-06-01T00:00:00[Europe/Berlin]",
            "2024-06-01T00:00:00+02:00[Europe/Berlin]",
            "2024-06-01T00:00:00+00:00[Asia/Tokyo]",
            "2024-06-01T00:00:00Z[UTC]",
            "2024-06-01T00:00:00Z[u-ca=hebrew]",
            "2024-06-01[Europe/Berlin]",
        ] {
            assert_eq!((Timestamp::parse(text), Moment::parse(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn a_day_and_a_time_without_an_offset_are_of_the_zone_they_are_said_of() {
        for (text, zone, instant) in [
            ("2024-06-15", "UTC", "2024-06-15T00:00:00Z"),
            ("2024-06-15", "America/New_York", "2024-06-15T04:00:00Z"),
            ("2024-06-15T09:30:00", "America/New_York", "2024-06-15T13:30:00Z"),
            ("2024-06-15T09:30:00Z", "America/New_York", "2024-06-15T09:30:00Z"),
            ("2024-06-15T09:30:00+02:00", "America/New_York", "2024-06-15T07:30:00Z"),
            // Midnight was skipped.
            ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
            // Midnight came twice.
            ("2023-11-05", "America/Havana", "2023-11-05T04:00:00Z"),
            ("2026-03-29T02:30:00", "Europe/Berlin", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30:00", "Europe/Berlin", "2026-10-25T00:30:00Z"),
            ("0001-01-01", "Asia/Tokyo", "0001-01-01T00:00:00Z"),
        ] {
            let moment = Moment::parse(text).unwrap_or_else(|| panic!("{text} is refused"));
            assert_eq!(moment.in_zone(&TimeZone::get(zone).unwrap()).to_string(), instant, "{text} {zone}");
        }
    }

    #[test]
    fn the_end_of_the_year_9999_is_the_last_instant() {
        for text in
            ["9999-12-31", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999-23:59", "9999-12-30T22:00:00Z"]
        {
            assert_eq!(Timestamp::parse(text), Some(Timestamp::MAX), "{text}");
        }
        let never = Moment::parse("9999-12-31T23:59:59").unwrap();
        for zone in ["Pacific/Auckland", "UTC", "America/New_York"] {
            assert_eq!(never.in_zone(&TimeZone::get(zone).unwrap()), Timestamp::MAX, "{zone}");
        }
        for text in ["10000-01-01", "+010000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "0000-12-31"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_machines_clock_is_not_trusted_as_a_process_begins() {
        assert_eq!((SystemClock.steady(), SystemClock.steady()), (None, None));
        let clock = ManualClock::new(Timestamp(7));
        assert_eq!(clock.steady(), Some(Timestamp(7)));
        clock.distrust(true);
        assert_eq!((clock.steady(), clock.now()), (None, Timestamp(7)));
    }

    #[test]
    fn the_bounds_are_held_and_printable() {
        assert_eq!(Timestamp::from_milliseconds(Timestamp::MIN.0 - 1), None);
        assert_eq!(Timestamp::from_milliseconds(Timestamp::MAX.0 + 1), None);
        assert_eq!(Timestamp::MAX.saturating_add(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::bounds(), "from 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z");
    }
}
