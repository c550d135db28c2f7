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
            let start = at - self.into_hour(at);
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
            let end = at + HOUR - self.into_hour(at);
            let changed = self.zone.following(instant(at).to_jiff()).next();
            match changed.map(|transition| transition.timestamp().as_millisecond()) {
                Some(changed) if changed <= end && self.into_hour(changed) == 0 => return changed,
                Some(changed) if changed <= end => at = changed,
                _ => return end,
            }
        }
    }

    /// How many milliseconds of the local hour have passed.
    fn into_hour(&self, at: i64) -> i64 {
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
