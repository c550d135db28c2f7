//! Where intervals begin and end, in UTC.

use crate::metrics::Interval;
use crate::{Date, Timestamp};

/// When the interval that contains `time` begins.
pub(super) fn start(interval: Interval, time: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000;
    let date = time.date();
    match interval {
        Interval::Hourly => Timestamp::from_milliseconds(time.milliseconds().div_euclid(HOUR) * HOUR),
        Interval::Daily => Timestamp::midnight(date),
        Interval::Weekly => {
            let midnight = Timestamp::midnight(date).milliseconds();
            Timestamp::from_milliseconds(midnight - i64::from(date.weekday()) * 24 * HOUR)
        }
        Interval::Monthly => Timestamp::midnight(Date { day: 1, ..date }),
        Interval::Yearly => Timestamp::midnight(Date { month: 1, day: 1, ..date }),
    }
}

/// When the interval after the one that begins at `begins` does.
pub(super) fn next(interval: Interval, begins: Timestamp) -> Timestamp {
    let Date { year, month, .. } = begins.date();
    match (interval, month) {
        (Interval::Hourly, _) => Timestamp::from_milliseconds(begins.milliseconds() + 3_600_000),
        (Interval::Daily, _) => Timestamp::from_milliseconds(begins.milliseconds() + 86_400_000),
        (Interval::Weekly, _) => Timestamp::from_milliseconds(begins.milliseconds() + 7 * 86_400_000),
        (Interval::Monthly, 1..12) => Timestamp::midnight(Date { year, month: month + 1, day: 1 }),
        (Interval::Monthly | Interval::Yearly, _) => {
            Timestamp::midnight(Date { year: year + 1, month: 1, day: 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn an_interval_begins_where_its_calendar_says() {
        for (interval, at, begins, ends) in [
            (Interval::Hourly, "2024-04-09T14:44:00Z", "2024-04-09T14:00:00Z", "2024-04-09T15:00:00Z"),
            (Interval::Daily, "2024-02-29T23:59:59Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Interval::Weekly, "2024-04-14T23:59:59Z", "2024-04-08T00:00:00Z", "2024-04-15T00:00:00Z"),
            (Interval::Weekly, "1969-12-31T12:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"),
            (Interval::Monthly, "2023-12-31T23:59:59Z", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z"),
            (Interval::Yearly, "2024-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(start(interval, time(at)), time(begins), "{interval} {at}");
            assert_eq!(next(interval, time(begins)), time(ends), "{interval} {at}");
        }
    }
}
