//! Where the intervals of a time zone begin and end.
//!
//! An hourly interval begins whenever the local clock comes to read a full hour: the hour that is repeated when
//! daylight saving ends is two intervals, and where clocks are moved by half an hour one interval is longer. The
//! others begin with the first instant of a date, which is not midnight where midnight is skipped and the first of
//! the two where it comes twice. A date a zone never had (Samoa's 2011-12-30) has no interval. So the intervals of
//! a zone follow each other without gaps and overlaps.

use bellwether_kernel::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ToSpan};
use parking_lot::Mutex;

use crate::Interval;

/// An hour in milliseconds.
const HOUR: i64 = 3_600_000;

/// The first millisecond after every [`Timestamp`].
const END: i64 = Timestamp::MAX.as_milliseconds() + 1;

/// One interval, in milliseconds since the epoch, held within the bounds of [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its first millisecond.
    pub(crate) start: i64,
    /// The first millisecond after it.
    pub(crate) end: i64,
}

impl Span {
    fn contains(self, instant: i64) -> bool {
        (self.start..self.end).contains(&instant)
    }

    /// Where it begins.
    pub(crate) fn start(self) -> Timestamp {
        instant(self.start)
    }
}

/// A [`Timestamp`] within the bounds.
fn instant(milliseconds: i64) -> Timestamp {
    Timestamp::default().saturating_add(milliseconds)
}

/// The intervals of one length in one time zone.
#[derive(Debug)]
pub(crate) struct Calendar {
    zone: TimeZone,
    interval: Interval,
    /// The interval asked for last: most writes fall into it, and working one out costs microseconds.
    recent: Mutex<Span>,
}

impl Calendar {
    /// The intervals of `zone`.
    pub(crate) fn new(zone: TimeZone, interval: Interval) -> Self {
        Self { zone, interval, recent: Mutex::new(Span { start: 0, end: 0 }) }
    }

    /// Their time zone.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The interval that holds `instant`.
    pub(crate) fn containing(&self, instant: Timestamp) -> Span {
        let at = instant.as_milliseconds();
        let recent = *self.recent.lock();
        if recent.contains(at) {
            return recent;
        }
        let span = self.work_out(at);
        *self.recent.lock() = span;
        span
    }

    /// The intervals from the one that holds `start` to the one that holds `end`.
    pub(crate) fn between(&self, start: Timestamp, end: Timestamp) -> impl Iterator<Item = Span> {
        let next = move |span: &Span| {
            let more = span.end <= end.as_milliseconds() && span.end < END;
            more.then(|| self.work_out(span.end))
        };
        std::iter::successors((start <= end).then(|| self.containing(start)), next)
    }

    fn work_out(&self, at: i64) -> Span {
        let (start, end) = match self.interval {
            Interval::Hourly => {
                let start = self.hour_start(at);
                (start, self.hour_end(start))
            }
            _ => self.dates(at),
        };
        Span { start: start.max(Timestamp::MIN.as_milliseconds()), end: end.min(END) }
    }

    /// The latest instant up to `at` when the local clock came to read a full hour.
    fn hour_start(&self, mut at: i64) -> i64 {
        loop {
            let start = at - self.past_hour(at);
            // `preceding` gives what lies before an instant; we want one at this very instant as well.
            let changed = self.zone.preceding(instant(at).saturating_add(1).to_jiff()).next();
            match changed.map(|transition| transition.timestamp().as_millisecond()) {
                Some(changed) if changed > start => at = changed - 1,
                _ => return start,
            }
        }
    }

    /// The earliest instant after `at` when the local clock comes to read a full hour.
    fn hour_end(&self, mut at: i64) -> i64 {
        loop {
            let end = at + HOUR - self.past_hour(at);
            let changed = self.zone.following(instant(at).to_jiff()).next();
            match changed.map(|transition| transition.timestamp().as_millisecond()) {
                Some(changed) if changed <= end && self.past_hour(changed) == 0 => return changed,
                Some(changed) if changed <= end => at = changed,
                _ => return end,
            }
        }
    }

    /// How many milliseconds of the local hour have passed.
    fn past_hour(&self, at: i64) -> i64 {
        let offset = self.zone.to_offset(instant(at).to_jiff());
        (at + i64::from(offset.seconds()) * 1000).rem_euclid(HOUR)
    }

    /// The interval around `at` whose bounds are dates.
    fn dates(&self, at: i64) -> (i64, i64) {
        let mut date = self.first_date(self.zone.to_datetime(instant(at).to_jiff()).date());
        let mut start = self.first_instant(date).unwrap_or(i64::MIN);
        loop {
            let next = self.next_date(date);
            let end = next.and_then(|next| self.first_instant(next)).unwrap_or(END);
            match next {
                // The date's second run: the clock was set back over its end. Or a date the zone never had.
                Some(next) if end <= at => (date, start) = (next, end),
                _ => return (start, end),
            }
        }
    }

    /// The date that begins the interval `date` lies in.
    fn first_date(&self, date: Date) -> Date {
        match self.interval {
            Interval::Hourly | Interval::Daily => date,
            Interval::Weekly => {
                let days = date.weekday().since(Weekday::Monday);
                date.checked_sub(i32::from(days).days())
                    .expect("no Timestamp is in the calendar's first week")
            }
            Interval::Monthly => date.first_of_month(),
            Interval::Yearly => date.first_of_year(),
        }
    }

    /// The date that begins the interval after the one `date` begins; `None` beyond the calendar's end.
    fn next_date(&self, date: Date) -> Option<Date> {
        let length = match self.interval {
            Interval::Hourly | Interval::Daily => 1.day(),
            Interval::Weekly => 1.week(),
            Interval::Monthly => 1.month(),
            Interval::Yearly => 1.year(),
        };
        date.checked_add(length).ok()
    }

    /// The first instant of `date`; where the zone never had it, of the next it had. `None` beyond the bounds of
    /// the calendar.
    fn first_instant(&self, date: Date) -> Option<i64> {
        let midnight = date.at(0, 0, 0, 0);
        let start = match self.zone.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(midnight).ok()?
            }
            AmbiguousOffset::Gap { before, .. } => {
                // Read by the clock from before the gap, a skipped time lies after the instant of the change.
                let after =
                    before.to_timestamp(midnight).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
                self.zone.preceding(after).next()?.timestamp()
            }
        };
        Some(start.as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Zones that have done something odd with their clocks: hours that come twice or never at midnight, half
    /// hours, days skipped or repeated, changes at odd minutes, offsets of seconds in the past.
    const ZONES: [&str; 16] = [
        "UTC",
        "Europe/Berlin",
        "Europe/Dublin",
        "America/New_York",
        "America/Sao_Paulo",
        "America/Havana",
        "America/St_Johns",
        "America/Toronto",
        "America/Juneau",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Asia/Manila",
        "Asia/Gaza",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kwajalein",
    ];

    const INTERVALS: [Interval; 5] =
        [Interval::Hourly, Interval::Daily, Interval::Weekly, Interval::Monthly, Interval::Yearly];

    fn calendar(zone: &str, interval: Interval) -> Calendar {
        Calendar::new(TimeZone::get(zone).unwrap(), interval)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn intervals_begin_and_end_where_the_local_clock_says() {
        use Interval::{Daily, Hourly, Monthly, Weekly, Yearly};
        for (zone, interval, instant, start, hours) in [
            ("UTC", Hourly, "2024-04-09T14:44:00Z", "2024-04-09T14:00:00Z", 1.0),
            ("UTC", Daily, "2024-04-09T14:44:00Z", "2024-04-09T00:00:00Z", 24.0),
            ("UTC", Weekly, "2024-04-09T14:44:00Z", "2024-04-08T00:00:00Z", 168.0),
            ("UTC", Weekly, "2024-04-08T00:00:00Z", "2024-04-08T00:00:00Z", 168.0),
            ("UTC", Weekly, "2024-04-07T23:59:59.999Z", "2024-04-01T00:00:00Z", 168.0),
            ("UTC", Monthly, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", 29.0 * 24.0),
            ("UTC", Yearly, "2024-12-31T23:59:59.999Z", "2024-01-01T00:00:00Z", 366.0 * 24.0),
            ("UTC", Yearly, "1969-12-31T23:59:59.999Z", "1969-01-01T00:00:00Z", 365.0 * 24.0),
            // Days of 23 and of 25 hours, and the month they are in.
            ("Europe/Berlin", Daily, "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", 23.0),
            ("Europe/Berlin", Daily, "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", 25.0),
            ("Europe/Berlin", Monthly, "2024-03-31T12:00:00Z", "2024-02-29T23:00:00Z", 31.0 * 24.0 - 1.0),
            ("Europe/Berlin", Weekly, "2024-10-27T12:00:00Z", "2024-10-20T22:00:00Z", 169.0),
            // Between 2 and 3 there is nothing in spring; in autumn it comes twice, as two intervals.
            ("Europe/Berlin", Hourly, "2024-03-31T00:59:00Z", "2024-03-31T00:00:00Z", 1.0),
            ("Europe/Berlin", Hourly, "2024-03-31T01:00:00Z", "2024-03-31T01:00:00Z", 1.0),
            ("Europe/Berlin", Hourly, "2024-10-27T00:30:00Z", "2024-10-27T00:00:00Z", 1.0),
            ("Europe/Berlin", Hourly, "2024-10-27T01:30:00Z", "2024-10-27T01:00:00Z", 1.0),
            // Midnight was skipped: the day begins at one o'clock.
            ("America/Sao_Paulo", Daily, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", 23.0),
            ("America/Sao_Paulo", Daily, "2018-11-04T02:59:59.999Z", "2018-11-03T03:00:00Z", 24.0),
            ("America/Sao_Paulo", Daily, "2018-02-18T02:30:00Z", "2018-02-17T02:00:00Z", 25.0),
            // From half past eleven straight to half past midnight.
            ("America/Toronto", Daily, "1919-03-31T12:00:00Z", "1919-03-31T04:30:00Z", 23.5),
            ("America/Toronto", Daily, "1919-03-31T04:29:59Z", "1919-03-30T05:00:00Z", 23.5),
            // Midnight came twice: the day begins with the first.
            ("America/Havana", Daily, "2023-11-05T12:00:00Z", "2023-11-05T04:00:00Z", 25.0),
            ("America/Havana", Daily, "2023-11-05T05:30:00Z", "2023-11-05T04:00:00Z", 25.0),
            // Set back at one past midnight: the last hour of the day before comes again, in the day begun.
            ("America/St_Johns", Daily, "2010-11-07T02:30:30Z", "2010-11-07T02:30:00Z", 25.0),
            ("America/St_Johns", Daily, "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z", 25.0),
            // A date that never was, and the days around it.
            ("Pacific/Apia", Daily, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", 24.0),
            ("Pacific/Apia", Daily, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", 24.0),
            ("Pacific/Apia", Weekly, "2011-12-30T10:00:00Z", "2011-12-26T10:00:00Z", 144.0),
            // Hours of zones that are half or three quarters of an hour off.
            ("Asia/Kolkata", Hourly, "2024-04-09T14:44:00Z", "2024-04-09T14:30:00Z", 1.0),
            ("Asia/Kathmandu", Hourly, "2024-04-09T14:44:00Z", "2024-04-09T14:15:00Z", 1.0),
            // Daylight saving of half an hour: from 2:00 to 2:30 in spring, from 2:00 back to 1:30 in autumn.
            ("Australia/Lord_Howe", Hourly, "2024-10-05T15:45:00Z", "2024-10-05T14:30:00Z", 1.5),
            ("Australia/Lord_Howe", Hourly, "2024-04-06T15:15:00Z", "2024-04-06T14:00:00Z", 1.5),
            ("Australia/Lord_Howe", Hourly, "2024-04-06T15:30:00Z", "2024-04-06T15:30:00Z", 1.0),
        ] {
            let span = calendar(zone, interval).containing(at(instant));
            let found = (span.start().to_string(), (span.end - span.start) as f64 / HOUR as f64);
            assert_eq!(found, (start.to_owned(), hours), "{zone} {interval} {instant}");
        }
    }

    #[test]
    fn the_first_and_the_last_intervals_are_cut_at_the_bounds() {
        for zone in ZONES {
            for interval in INTERVALS {
                let calendar = calendar(zone, interval);
                let first = calendar.containing(Timestamp::MIN);
                assert_eq!(first.start(), Timestamp::MIN, "{zone} {interval}");
                let last = calendar.containing(Timestamp::MAX);
                assert_eq!(last.end, END, "{zone} {interval}");
                assert_eq!(calendar.between(Timestamp::MAX, Timestamp::MAX).count(), 1, "{zone} {interval}");
                assert_eq!(calendar.between(Timestamp::MAX, Timestamp::MIN).count(), 0, "{zone} {interval}");
            }
        }
    }

    #[test]
    fn a_year_has_as_many_intervals_as_the_zone_gave_it() {
        for (zone, interval, year, count) in [
            ("UTC", Interval::Hourly, 2024, 8784),
            ("Europe/Berlin", Interval::Hourly, 2023, 8760),
            ("Australia/Lord_Howe", Interval::Hourly, 2023, 8759),
            ("Pacific/Apia", Interval::Daily, 2011, 364),
            ("Europe/Berlin", Interval::Daily, 2024, 366),
            ("Europe/Berlin", Interval::Weekly, 2024, 53),
            ("Asia/Kathmandu", Interval::Monthly, 2024, 12),
            ("Asia/Kathmandu", Interval::Yearly, 2024, 1),
        ] {
            let zone_of = TimeZone::get(zone).unwrap();
            let midnight = |year| zone_of.to_timestamp(jiff::civil::date(year, 1, 1).at(0, 0, 0, 0)).unwrap();
            let (start, end) = (midnight(year).as_millisecond(), midnight(year + 1).as_millisecond() - 1);
            let found = calendar(zone, interval).between(instant(start), instant(end)).count();
            assert_eq!(found, count, "{zone} {interval} {year}");
        }
    }

    /// Instants of all times, but often near a change of some zone's clocks.
    fn instants() -> impl Strategy<Value = (usize, Timestamp)> {
        let anywhere = Timestamp::MIN.as_milliseconds()..=Timestamp::MAX.as_milliseconds();
        let near = (0..200_usize, -90_000_000..90_000_000_i64);
        (0..ZONES.len(), prop_oneof![anywhere.prop_map(Ok), near.prop_map(Err)]).prop_map(
            |(zone, instant)| {
                let instant = instant.unwrap_or_else(|(number, away)| {
                    let zone = TimeZone::get(ZONES[zone]).unwrap();
                    let before = zone.following(Timestamp::MIN.to_jiff()).nth(number);
                    before.map_or(0, |change| change.timestamp().as_millisecond()).saturating_add(away)
                });
                (zone, super::instant(instant))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn intervals_follow_each_other_without_gaps_and_overlaps((zone, at) in instants(), interval in 0..5_usize) {
            let (zone, interval) = (ZONES[zone], INTERVALS[interval]);
            let calendar = calendar(zone, interval);
            let span = calendar.work_out(at.as_milliseconds());
            prop_assert!(span.contains(at.as_milliseconds()), "{zone} {interval} {at}: {span:?}");
            // From any instant of it the same one is found.
            for within in [span.start, (span.start + span.end) / 2, span.end - 1] {
                prop_assert_eq!(calendar.work_out(within), span, "{} {} {} from {}", zone, interval, at, within);
            }
            if span.start > Timestamp::MIN.as_milliseconds() {
                prop_assert_eq!(calendar.work_out(span.start - 1).end, span.start, "before {} {} {}", zone, interval, at);
            }
            if span.end < END {
                prop_assert_eq!(calendar.work_out(span.end).start, span.end, "after {} {} {}", zone, interval, at);
            }
        }

        #[test]
        fn an_interval_begins_where_its_name_says((zone, at) in instants(), interval in 0..5_usize) {
            let (zone, interval) = (ZONES[zone], INTERVALS[interval]);
            let span = calendar(zone, interval).containing(at);
            prop_assume!(span.start > Timestamp::MIN.as_milliseconds());
            let zone = TimeZone::get(zone).unwrap();
            let (before, start) = (instant(span.start - 1), span.start());
            let (before, start) = (zone.to_datetime(before.to_jiff()), zone.to_datetime(start.to_jiff()));
            match interval {
                Interval::Hourly => prop_assert_eq!((start.minute(), start.second()), (0, 0)),
                Interval::Daily => prop_assert!(before.date() < start.date()),
                // A zone may have skipped the very date an interval begins with.
                Interval::Weekly => prop_assert!(
                    start.weekday() == Weekday::Monday || start.date() > before.date().tomorrow().unwrap()
                ),
                Interval::Monthly => prop_assert!(before.first_of_month() < start.first_of_month()),
                Interval::Yearly => prop_assert!(before.year() < start.year()),
            }
        }
    }
}
