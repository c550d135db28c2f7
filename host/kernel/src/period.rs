//! Spans of time as people write them in a document: `30s`, `5m`, `1h 30m`, `2d`.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time of a document. A day is 24 hours, a week 7 days; months and years have no one length and are
/// refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// So many whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many whole minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// So many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours * 60)
    }

    /// So many days.
    #[must_use]
    pub const fn days(days: u64) -> Self {
        Self::hours(days * 24)
    }

    /// So many milliseconds; nothing, if they are negative.
    #[must_use]
    pub fn from_milliseconds(milliseconds: i64) -> Self {
        Self(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)))
    }

    /// Reads `30s`, `5m`, `1h 30m`, `2d`, `PT30S`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let span: Span = text.trim().parse().ok()?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(duration).ok().map(Self)
    }

    /// In whole milliseconds.
    #[must_use]
    pub fn milliseconds(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(duration) => write!(f, "{duration:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "{text:?} is no span of time, expected one such as \"30s\", \"5m\" or \"1h 30m\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_period_is_read_as_people_write_it() {
        let cases = [
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h 30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("2d", Some(172_800_000)),
            ("1w", Some(604_800_000)),
            ("1h30m", Some(5_400_000)),
            ("PT10S", Some(10_000)),
            ("PT30S", Some(30_000)),
            ("0s", Some(0)),
            ("1mo", None),
            ("1 month", None),
            ("1y", None),
            ("-5m", None),
            ("5", None),
            ("5 moons", None),
            ("", None),
            ("soon", None),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(Period::parse(text).map(Period::milliseconds), milliseconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0u64..10_000_000_000) {
            let period = Period(Duration::from_millis(milliseconds));
            prop_assert_eq!(Period::parse(&period.to_string()), Some(period));
        }
    }
}
