//! Instants, read from and written as RFC 3339.
//!
//! The few lines of calendar here keep a time library out of every component (jiff adds some 300 KB of code to one
//! that reads a date); the tests hold them against that library over the whole range.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

const MILLISECONDS_PER_DAY: i64 = 86_400_000;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, from year 1 to the end of 9999.
///
/// ```
/// use bellwether_sdk::Timestamp;
///
/// let time: Timestamp = "2024-04-09T16:44:00+02:00".parse()?;
/// assert_eq!(time.to_string(), "2024-04-09T14:44:00Z");
/// # Ok::<(), bellwether_sdk::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Timestamp(i64);

/// A date in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// 1 to 9999.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-30T22:00:00Z, the last one a host knows, which leaves room for every UTC offset.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// The instant so many milliseconds after 1970-01-01T00:00:00Z. One before [`Self::MIN`] or behind [`Self::MAX`] is
    /// kept as it is, for a host to refuse.
    #[must_use]
    pub const fn from_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// The instant so many seconds after 1970-01-01T00:00:00Z, as [`Self::from_milliseconds`].
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn milliseconds(self) -> i64 {
        self.0
    }

    /// The date it falls on, in UTC.
    #[must_use]
    pub fn date(self) -> Date {
        Date::from_days(self.0.div_euclid(MILLISECONDS_PER_DAY))
    }

    /// Midnight, in UTC, of `date`.
    #[must_use]
    pub fn midnight(date: Date) -> Self {
        Self(date.to_days() * MILLISECONDS_PER_DAY)
    }
}

impl Date {
    /// The days from 1970-01-01, by counting from the first of March, so that a leap day ends its year.
    fn to_days(self) -> i64 {
        let (year, month) = match self.month {
            1 | 2 => (i64::from(self.year) - 1, i64::from(self.month) + 9),
            _ => (i64::from(self.year), i64::from(self.month) - 3),
        };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    /// The inverse of [`Self::to_days`].
    fn from_days(days: i64) -> Self {
        let days = days + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153; // 0 is March
        let day = day_of_year - (153 * month + 2) / 5 + 1; // 1 to 31
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) }; // 1 to 12
        Self { year: (era * 400 + year_of_era + next_year) as i32, month: month as u8, day: day as u8 }
    }

    /// Its day of the week, Monday being 0.
    #[must_use]
    pub fn weekday(self) -> u8 {
        u8::try_from((self.to_days() + 3).rem_euclid(7)).expect("a remainder of 7")
    }

    fn last_day(year: i32, month: u8) -> u8 {
        match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

/// Later by so long, but never past [`Timestamp::MAX`].
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(milliseconds)).min(Self::MAX)
    }
}

/// Earlier by so long, but never before [`Timestamp::MIN`].
impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(milliseconds)).max(Self::MIN)
    }
}

/// RFC 3339 in UTC, with milliseconds only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = self.date();
        let rest = self.0.rem_euclid(MILLISECONDS_PER_DAY);
        let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match rest % 1000 {
            0 => f.write_str("Z"),
            milliseconds => write!(f, ".{milliseconds:03}Z"),
        }
    }
}

/// A text is not an instant. Says what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an ISO 8601 date and time such as 2024-04-09T14:44:00Z")
    }
}

impl std::error::Error for TimestampError {}

/// Reads RFC 3339, and of ISO 8601 besides a time without an offset (taken as UTC), without seconds, and a date alone
/// (its midnight in UTC). Fractions of a second are cut to milliseconds. What is later than [`Timestamp::MAX`], as those
/// write who mean "never", is read as that.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let mut reader = Reader(text.as_bytes());
        let time = reader.timestamp().ok_or(TimestampError)?;
        if reader.0.is_empty() && time >= Self::MIN { Ok(time.min(Self::MAX)) } else { Err(TimestampError) }
    }
}

/// What is left to read of a text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn timestamp(&mut self) -> Option<Timestamp> {
        let year = i32::try_from(self.digits(4)?).ok()?;
        self.expect(b"-")?;
        let month = self.two_digits(1, 12)?;
        self.expect(b"-")?;
        let day = self.two_digits(1, 31)?;
        if year == 0 || day > i64::from(Date::last_day(year, u8::try_from(month).ok()?)) {
            return None;
        }
        let date = Date { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? };
        let midnight = Timestamp::midnight(date).0;
        if self.0.is_empty() {
            return Some(Timestamp(midnight));
        }
        self.expect(b"Tt ")?;
        let hour = self.two_digits(0, 23)?;
        self.expect(b":")?;
        let minute = self.two_digits(0, 59)?;
        let mut milliseconds = (hour * 60 + minute) * 60_000;
        if self.accept(b":") {
            // A leap second counts as the one before it, as every clock a host reads does.
            milliseconds += self.two_digits(0, 60)?.min(59) * 1000;
            if self.accept(b".,") {
                milliseconds += self.fraction()?;
            }
        }
        Some(Timestamp(midnight + milliseconds - self.offset()?))
    }

    /// The offset from UTC in milliseconds.
    fn offset(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.accept(b"Zz") {
            return Some(0);
        }
        let sign = match self.0.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let hours = self.two_digits(0, 23)?;
        let minutes = if self.accept(b":") || !self.0.is_empty() { self.two_digits(0, 59)? } else { 0 };
        Some(sign * (hours * 60 + minutes) * 60_000)
    }

    /// The digits after the point, in milliseconds.
    fn fraction(&mut self) -> Option<i64> {
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let milliseconds = (0..3)
            .fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0')));
        (length > 0).then_some(milliseconds)
    }

    fn two_digits(&mut self, least: i64, most: i64) -> Option<i64> {
        self.digits(2).filter(|number| (least..=most).contains(number))
    }

    fn digits(&mut self, length: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        digits
            .iter()
            .try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    }

    fn expect(&mut self, any_of: &[u8]) -> Option<()> {
        self.accept(any_of).then_some(())
    }

    fn accept(&mut self, any_of: &[u8]) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if any_of.contains(first) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_iso_8601_allows_is_read() {
        for (text, expected) in [
            ("2024-04-09T14:44:00Z", "2024-04-09T14:44:00Z"),
            ("2024-04-09t14:44:00z", "2024-04-09T14:44:00Z"),
            ("2024-04-09 14:44:00Z", "2024-04-09T14:44:00Z"),
            ("2024-04-09T14:44:00", "2024-04-09T14:44:00Z"),
            ("2024-04-09T14:44Z", "2024-04-09T14:44:00Z"),
            ("2024-04-09", "2024-04-09T00:00:00Z"),
            ("2024-04-09T14:44:00.5Z", "2024-04-09T14:44:00.500Z"),
            ("2024-04-09T14:44:00.1239999Z", "2024-04-09T14:44:00.123Z"),
            ("2024-04-09T16:44:00+02:00", "2024-04-09T14:44:00Z"),
            ("2024-04-09T16:44:00+0200", "2024-04-09T14:44:00Z"),
            ("2024-04-09T16:44:00+02", "2024-04-09T14:44:00Z"),
            ("2024-04-09T00:14:00-05:30", "2024-04-09T05:44:00Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("2000-02-29", "2000-02-29T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-30T21:59:59.999Z", "9999-12-30T21:59:59.999Z"),
        ] {
            let time: Timestamp = text.parse().unwrap_or_else(|_| panic!("{text} is refused"));
            assert_eq!(time.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "yesterday",
            "2024",
            "2024-04",
            "2024-4-9",
            "2024-13-01",
            "2024-00-01",
            "2024-04-31",
            "1900-02-29",
            "2023-02-29",
            "2024-04-09T",
            "2024-04-09T14",
            "2024-04-09T24:00:00Z",
            "2024-04-09T14:60:00Z",
            "2024-04-09T14:44:61Z",
            "2024-04-09T14:44:00.Z",
            "2024-04-09T14:44:00Zulu",
            "2024-04-09T14:44:00+",
            "2024-04-09T14:44:00+2",
            "2024-04-09T14:44:00+24:00",
            "0000-01-01",
            "0001-01-01T00:00:00+01:00",
            " 2024-04-09",
            "1712673840",
            "20240409T144400Z",
            "２０２４-04-09",
            "2024-04-09[Europe/Berlin]",
            "2024-04-09T14:44:00[Europe/Berlin]",
            "2024-04-09T14:44:00Z[UTC]",
            "2024-04-09T14:44:00+00[Asia/Tokyo]",
            "2024-04-09T14:44:00+00:00[Asia/Tokyo]",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn the_last_instant_is_the_last_one_of_a_host_and_never_is_read_as_it() {
        assert_eq!(Timestamp::MAX, Timestamp::from_seconds(jiff::Timestamp::MAX.as_second()));
        for never in
            ["9999-12-30T22:00:00Z", "9999-12-31", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-23:59"]
        {
            assert_eq!(never.parse(), Ok(Timestamp::MAX), "{never}");
        }
    }

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::MAX, Timestamp::MIN);
        assert_eq!(Timestamp::from_seconds(1) + Duration::from_millis(5), Timestamp::from_milliseconds(1005));
    }

    proptest! {
        #[test]
        fn every_instant_reads_and_writes_as_jiff_does(milliseconds in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let time = Timestamp(milliseconds);
            let reference = jiff::Timestamp::from_millisecond(milliseconds).unwrap();
            let zoned = reference.to_zoned_datetime(jiff::tz::TimeZone::UTC);
            prop_assert_eq!(time.date(), Date {
                year: i32::from(zoned.year()), month: zoned.month() as u8, day: zoned.day() as u8,
            });
            prop_assert_eq!(i32::from(time.date().weekday()), i32::from(zoned.weekday().to_monday_zero_offset()));
            prop_assert_eq!(time.to_string().parse::<jiff::Timestamp>().unwrap(), reference);
            prop_assert_eq!(reference.to_string().parse::<Timestamp>(), Ok(time));
            prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-0-9TZ:.+ ]{0,30}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
