//! Reading the time column of a file.

use bellwether_kernel::{Moment, Timestamp};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// A whole number of at least this many is milliseconds, a smaller one seconds: as seconds it would lie in the year
/// 5138, as milliseconds in 1973.
const FIRST_MILLISECONDS: f64 = 1e11;

/// How a file writes its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// Whatever each looks like: RFC 3339, `YYYY-MM-DD[ HH:MM[:SS[.fraction]]]`, seconds or milliseconds since 1970.
    Detected,
    /// RFC 3339 alone.
    Rfc3339,
    /// Seconds since 1970, with a fraction if there is one.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// As strftime's directives say.
    Pattern(String),
}

impl std::str::FromStr for TimeFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Detected),
            "rfc3339" => Ok(Self::Rfc3339),
            "seconds" => Ok(Self::Seconds),
            "milliseconds" => Ok(Self::Milliseconds),
            pattern if pattern.contains('%') => Ok(Self::Pattern(pattern.to_owned())),
            _ => {
                Err("use auto, rfc3339, seconds, milliseconds or a pattern such as '%d/%m/%Y %H:%M'"
                    .to_owned())
            }
        }
    }
}

/// Reads times of one format; those without an offset are of one zone.
#[derive(Clone, Debug)]
pub(crate) struct TimeReader {
    format: TimeFormat,
    zone: TimeZone,
}

impl TimeReader {
    /// A reader of `format`, times without an offset being of `zone`. A time that the zone's clocks skip is none, one they
    /// show twice the first of the two.
    pub(crate) fn new(format: TimeFormat, zone: TimeZone) -> Self {
        Self { format, zone }
    }

    /// The instant `text` names.
    ///
    /// # Errors
    /// What would be right.
    pub(crate) fn read(&self, text: &str) -> Result<Timestamp, String> {
        let read = match &self.format {
            TimeFormat::Detected if is_compact_date(text) => {
                return Err(format!(
                    "the time is {text:?}, which may be a date or a number of seconds: say --time-format '%Y%m%d' or \
                     --time-format seconds"
                ));
            }
            TimeFormat::Detected => detected(text).or_else(|| epoch(text, None)),
            TimeFormat::Rfc3339 => rfc_3339(text),
            TimeFormat::Seconds => epoch(text, Some(1000.0)),
            TimeFormat::Milliseconds => epoch(text, Some(1.0)),
            TimeFormat::Pattern(format) => pattern(format, text),
        };
        let moment = read.ok_or_else(|| format!("the time is {text:?}, expected {}", self.expected()))?;
        if let Moment::Local(civil) = moment
            && let AmbiguousOffset::Gap { .. } = self.zone.to_ambiguous_timestamp(civil).offset()
        {
            let zone = self.zone.iana_name().unwrap_or("its zone");
            return Err(format!("the time is {text:?}, expected one that the clocks of {zone} do not skip"));
        }
        Ok(moment.in_zone(&self.zone))
    }

    fn expected(&self) -> String {
        match &self.format {
            TimeFormat::Detected => {
                "RFC 3339, YYYY-MM-DD HH:MM:SS, or seconds or milliseconds since 1970".to_owned()
            }
            TimeFormat::Rfc3339 => "RFC 3339, such as 2026-01-31T12:00:00Z".to_owned(),
            TimeFormat::Seconds => "seconds since 1970".to_owned(),
            TimeFormat::Milliseconds => "milliseconds since 1970".to_owned(),
            TimeFormat::Pattern(pattern) => format!("a time written as {pattern:?}"),
        }
    }
}

/// Whether eight digits are a date of these centuries: as seconds they lie in 1970, and nobody would notice.
fn is_compact_date(text: &str) -> bool {
    let is_of_now = ["19", "20", "21"].iter().any(|century| text.starts_with(century));
    text.len() == 8 && is_of_now && Moment::parse(text).is_some_and(|moment| matches!(moment, Moment::Day(_)))
}

fn detected(text: &str) -> Option<Moment> {
    let moment = Moment::parse(text)?;
    // Week dates and other compact forms are read as well, which no CSV means by digits.
    let is_meant = matches!(moment, Moment::Instant(_)) || text.get(..5)?.ends_with('-');
    is_meant.then_some(moment)
}

fn pattern(pattern: &str, text: &str) -> Option<Moment> {
    let parts = BrokenDownTime::parse(pattern, text).ok()?;
    if let Ok(instant) = parts.to_timestamp() {
        return Timestamp::from_milliseconds(instant.as_millisecond()).map(Moment::Instant);
    }
    let civil = parts.to_datetime().ok()?;
    // Where nothing is said of the hour it is midnight, which not every day has.
    Some(if parts.hour().is_some() { Moment::Local(civil) } else { Moment::Day(civil.date()) })
}

fn rfc_3339(text: &str) -> Option<Moment> {
    Moment::parse(text).filter(|moment| matches!(moment, Moment::Instant(_)))
}

/// A number since 1970, in units of `milliseconds` each or, where not said, by its size.
fn epoch(text: &str, milliseconds: Option<f64>) -> Option<Moment> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    let milliseconds = milliseconds.unwrap_or(if number.abs() >= FIRST_MILLISECONDS { 1.0 } else { 1000.0 });
    // Times are whole milliseconds; the bounds of a Timestamp lie far within what f64 holds exactly.
    Timestamp::from_milliseconds((number * milliseconds).round() as i64).map(Moment::Instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, zone: &str, text: &str) -> Result<String, String> {
        let zone = TimeZone::get(zone).expect("a zone");
        let reader = TimeReader::new(format.parse().expect("a format"), zone);
        reader.read(text).map(|instant| instant.to_string())
    }

    #[test]
    fn times_are_read_as_their_format_and_zone_say() {
        for (format, zone, text, instant) in [
            ("auto", "UTC", "2014-04-01 00:05:00", "2014-04-01T00:05:00Z"),
            ("auto", "UTC", "2014-04-01 00:05:00.250", "2014-04-01T00:05:00.25Z"),
            ("auto", "UTC", "2014-04-01 00:05", "2014-04-01T00:05:00Z"),
            ("auto", "UTC", "2014-04-01", "2014-04-01T00:00:00Z"),
            ("auto", "Europe/Berlin", "2014-04-01 00:05:00", "2014-03-31T22:05:00Z"),
            ("auto", "Europe/Berlin", "2014-04-01T00:05:00Z", "2014-04-01T00:05:00Z"),
            ("auto", "Europe/Berlin", "2014-04-01T00:05:00+05:00", "2014-03-31T19:05:00Z"),
            ("auto", "UTC", "1396310700", "2014-04-01T00:05:00Z"),
            ("auto", "UTC", "1396310700.5", "2014-04-01T00:05:00.5Z"),
            ("auto", "UTC", "1396310700500", "2014-04-01T00:05:00.5Z"),
            ("auto", "America/New_York", "2014-04-01", "2014-04-01T04:00:00Z"),
            ("auto", "UTC", "9999-12-31", "9999-12-30T22:00:00Z"),
            ("auto", "UTC", "20141401", "1970-08-22T02:50:01Z"),
            ("seconds", "UTC", "20140401", "1970-08-22T02:33:21Z"),
            ("%Y%m%d", "UTC", "20140401", "2014-04-01T00:00:00Z"),
            ("seconds", "UTC", "0", "1970-01-01T00:00:00Z"),
            ("milliseconds", "UTC", "1500", "1970-01-01T00:00:01.5Z"),
            ("%d/%m/%Y %H:%M", "Asia/Tokyo", "31/12/2025 09:00", "2025-12-31T00:00:00Z"),
            ("%d/%m/%Y", "UTC", "31/12/2025", "2025-12-31T00:00:00Z"),
            ("%Y-%m-%d %H:%M:%S %z", "UTC", "2025-12-31 09:00:00 +0900", "2025-12-31T00:00:00Z"),
        ] {
            assert_eq!(read(format, zone, text).as_deref(), Ok(instant), "{format} {zone} {text}");
        }
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_refused_and_of_one_they_show_twice_the_first_is_taken() {
        for (format, zone, text, read_as) in [
            ("auto", "Europe/Berlin", "2026-03-29 01:59:59", Ok("2026-03-29T00:59:59Z")),
            ("auto", "Europe/Berlin", "2026-03-29 02:00:00", Err("Europe/Berlin")),
            ("auto", "Europe/Berlin", "2026-03-29T02:30", Err("Europe/Berlin")),
            ("%d.%m.%Y %H:%M", "Europe/Berlin", "29.03.2026 02:30", Err("Europe/Berlin")),
            ("auto", "Europe/Berlin", "2026-03-29 03:00:00", Ok("2026-03-29T01:00:00Z")),
            ("auto", "Europe/Berlin", "2026-03-29 02:30:00+01:00", Ok("2026-03-29T01:30:00Z")),
            ("auto", "UTC", "2026-03-29 02:30:00", Ok("2026-03-29T02:30:00Z")),
            ("auto", "Europe/Berlin", "2026-10-25 02:30:00", Ok("2026-10-25T00:30:00Z")),
            // A day begins where its first hour is skipped, too.
            ("auto", "America/Sao_Paulo", "2018-11-04", Ok("2018-11-04T03:00:00Z")),
            ("%d/%m/%Y", "America/Sao_Paulo", "04/11/2018", Ok("2018-11-04T03:00:00Z")),
            ("auto", "America/Sao_Paulo", "2018-11-04 00:00", Err("America/Sao_Paulo")),
        ] {
            match (read(format, zone, text), read_as) {
                (Ok(instant), Ok(expected)) => assert_eq!(instant, expected, "{text}"),
                (Err(refused), Err(zone)) => {
                    let whole =
                        format!("the time is {text:?}, expected one that the clocks of {zone} do not skip");
                    assert_eq!(refused, whole);
                }
                (read, _) => panic!("{text} in {zone}: {read:?}"),
            }
        }
    }

    #[test]
    fn what_may_be_a_date_or_seconds_is_taken_for_neither_unless_somebody_says() {
        let refused = read("auto", "UTC", "20261127").expect_err("a date or seconds");
        assert!(refused.contains("--time-format '%Y%m%d' or --time-format seconds"), "{refused}");
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_would_be_right() {
        for (format, text) in [
            ("auto", ""),
            ("auto", "yesterday"),
            ("auto", "2014-13-01 00:00:00"),
            ("auto", "NaN"),
            ("auto", "1e300"),
            ("auto", "2014-04-01T00:05:00[Europe/Berlin]"),
            ("auto", "2014-04-01 00:05:00+00:00[Asia/Tokyo]"),
            ("rfc3339", "2014-04-01T00:05:00Z[UTC]"),
            ("rfc3339", "2014-04-01 00:05:00"),
            ("seconds", "2014-04-01"),
            ("%d/%m/%Y", "2025-12-31"),
        ] {
            let refused = read(format, "UTC", text).expect_err(text);
            assert!(refused.contains("expected") && refused.contains(&format!("{text:?}")), "{refused}");
        }
        assert!("whenever".parse::<TimeFormat>().is_err());
    }
}
