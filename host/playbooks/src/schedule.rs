//! When a trigger fires by itself: cron expressions in a time zone, and fixed intervals.
//!
//! The rules, where cron's dialects differ or a zone's clock is changed:
//!
//! - **Fields.** Five (minute, hour, day of month, month, day of week), six with seconds first, seven with years last;
//!   or `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`.
//! - **Days of the week** are names; in five fields also numbers, 0 and 7 being Sunday as in crontab. With seconds the
//!   dialects count from different days, so there only names are taken.
//! - **Day of month and day of week**: where both are restricted (neither begins with `*` or `?`), a day that meets
//!   either is meant, as in crontab.
//! - **Daylight saving.** An expression that names every hour follows real time: it fires at each instant whose local
//!   time it names, so an hour that comes twice has its firings twice. Any other follows the wall clock: a local time
//!   that comes twice fires the first time, and local times that are left out fire once, at the first instant after
//!   the gap.

use std::time::Duration;

use bellwether_kernel::{FieldError, Timestamp};
use chrono::DateTime;
use cron::TimeUnitSpec as _;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// Characters of an expression: several times what every field spelt out takes.
const LONGEST_EXPRESSION: usize = 500;

/// The shortest interval: a playbook that must act faster watches a metric instead.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// The longest interval, a leap year: what is rarer is a date, which cron names.
const LONGEST_INTERVAL: Duration = Duration::from_secs(366 * 86_400);

/// The last instant before any zone's 1970, where cron's years begin, in seconds.
const BEFORE_THE_FIRST_YEAR: i64 = -2 * 86_400;

/// The days of the week from Sunday on.
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// The fields of the longest form: what each is called and takes.
const FIELDS: [(&str, &str); 7] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of week", "SUN to SAT"),
    ("year", "1970 to 2100"),
];

/// Where the day of the month and the day of the week stand in [`FIELDS`].
const DAY_OF_MONTH: usize = 3;
const DAY_OF_WEEK: usize = 5;

/// When a trigger fires by itself.
#[derive(Clone, Debug)]
pub(crate) struct Schedule(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Cron(Box<Cron>),
    Every {
        /// In milliseconds, at least 1.
        interval: i64,
        anchor: Timestamp,
    },
}

impl Schedule {
    /// The instants `expression` names in `time_zone`, an IANA name.
    ///
    /// # Errors
    /// Names `expression` with the field of it that is wrong, or `time_zone`.
    pub(crate) fn cron(expression: &str, time_zone: &str) -> Result<Self, FieldError> {
        let zone =
            TimeZone::get(time_zone).ok().filter(|zone| !zone.is_unknown() && zone.iana_name().is_some());
        let zone = zone.ok_or_else(|| {
            FieldError::new("time_zone", time_zone, "an IANA time zone such as UTC or Europe/Berlin")
        })?;
        Ok(Self(Kind::Cron(Box::new(Cron { times: LocalTimes::read(expression)?, zone }))))
    }

    /// `anchor` and every whole number of `interval`s after it.
    ///
    /// # Errors
    /// Names `interval` if the interval is under a second, over 366 days, or no whole number of milliseconds.
    pub(crate) fn every(interval: Duration, anchor: Timestamp) -> Result<Self, FieldError> {
        let whole = interval.subsec_nanos().is_multiple_of(1_000_000);
        if !whole || !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
            let expected = "1 second to 366 days, in whole milliseconds";
            return Err(FieldError::new("interval", format_args!("{interval:?}"), expected));
        }
        let interval = i64::try_from(interval.as_millis()).expect("366 days are few milliseconds");
        Ok(Self(Kind::Every { interval, anchor }))
    }

    /// The first firing after `instant`; `None` if there is none any more. Cron knows no year after 2100.
    pub(crate) fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Kind::Cron(cron) => cron.next_after(instant),
            Kind::Every { interval, anchor } => {
                let passed = instant.milliseconds_since(*anchor);
                let steps = if passed < 0 { 0 } else { passed / interval + 1 };
                Timestamp::from_milliseconds(
                    anchor.as_milliseconds().checked_add(steps.checked_mul(*interval)?)?,
                )
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Cron {
    times: LocalTimes,
    zone: TimeZone,
}

impl Cron {
    fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        // Firings are whole seconds, so the first after this second is the first after the instant.
        let after = instant.as_milliseconds().div_euclid(1000).max(BEFORE_THE_FIRST_YEAR);
        let next = if self.times.every_hour() { self.in_real_time(after) } else { self.by_wall_clock(after) };
        Timestamp::from_milliseconds(next?.checked_mul(1000)?)
    }

    /// Between two changes of the zone's offset, instants and local times are the same up to that offset: so the next
    /// local time is looked for in one such stretch after the other.
    fn in_real_time(&self, mut after: i64) -> Option<i64> {
        let mut boundary = jiff::Timestamp::from_second(after).ok()?;
        let mut offset = self.zone.to_offset(boundary);
        loop {
            let next = self.times.next_after(after + seconds(offset))? - seconds(offset);
            match self.zone.following(boundary).next() {
                Some(change) if next >= change.timestamp().as_second() => {
                    boundary = change.timestamp();
                    after = boundary.as_second() - 1;
                    offset = change.offset();
                }
                _ => return Some(next),
            }
        }
    }

    /// The instants of later local times are never earlier, so the first that lies after is the next.
    fn by_wall_clock(&self, after: i64) -> Option<i64> {
        let now = jiff::Timestamp::from_second(after).ok()?;
        let mut local = after + seconds(self.zone.to_offset(now));
        loop {
            local = self.times.next_after(local)?;
            let next = self.instant(local)?;
            if next > after {
                return Some(next);
            }
            // This hour comes for the second time and its firings were the first time's: go on where it ends.
            let later = jiff::Timestamp::from_second(after + 1).ok()?;
            let change = self.zone.preceding(later).next()?.timestamp().as_second();
            let before = self.zone.to_offset(jiff::Timestamp::from_second(change - 1).ok()?);
            local = local.max(change + seconds(before) - 1);
        }
    }

    /// When the local time comes for the first time or, if it is left out, the first instant after the gap.
    fn instant(&self, local: i64) -> Option<i64> {
        let civil = Offset::UTC.to_datetime(jiff::Timestamp::from_second(local).ok()?);
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                Some(local - seconds(offset))
            }
            AmbiguousOffset::Gap { after, .. } => {
                let before_the_gap = jiff::Timestamp::from_second(local - seconds(after)).ok()?;
                Some(self.zone.following(before_the_gap).next()?.timestamp().as_second())
            }
        }
    }
}

fn seconds(offset: Offset) -> i64 {
    i64::from(offset.seconds())
}

/// The local times an expression names, counted in seconds since 1970 as if the zone were UTC.
#[derive(Clone, Debug)]
struct LocalTimes {
    times: cron::Schedule,
    /// The same on the days of the week, where those are an alternative to the days of the month.
    or: Option<cron::Schedule>,
}

impl LocalTimes {
    fn read(expression: &str) -> Result<Self, FieldError> {
        let wrong = |expected: &str| FieldError::new("expression", expression, expected);
        if expression.len() > LONGEST_EXPRESSION {
            return Err(wrong(&format!("at most {LONGEST_EXPRESSION} bytes")));
        }
        let fields = match expression.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            fields => fields,
        };
        let mut fields: Vec<_> = fields.split_whitespace().map(str::to_owned).collect();
        let numbered_days = fields.len() == 5;
        match fields.len() {
            5 => fields.insert(0, "0".into()),
            6 | 7 => {}
            _ => {
                return Err(wrong(
                    "five fields (minute hour day-of-month month day-of-week), six with seconds first, seven with \
                     years last, or @hourly, @daily, @weekly, @monthly, @yearly",
                ));
            }
        }
        let restricted = |at: usize, fields: &[String]| !fields[at].starts_with(['*', '?']);
        let either = restricted(DAY_OF_MONTH, &fields) && restricted(DAY_OF_WEEK, &fields);
        fields[DAY_OF_WEEK] = days_of_week(&fields[DAY_OF_WEEK], numbered_days).map_err(|expected| {
            FieldError::new("expression", &fields[DAY_OF_WEEK], format!("{expected} as the day of week"))
        })?;
        for (at, field) in fields.iter().enumerate() {
            let mut alone = ["*"; FIELDS.len()];
            alone[at] = field;
            if alone.join(" ").parse::<cron::Schedule>().is_err() {
                let (name, takes) = FIELDS[at];
                let expected = format!("*, {takes}, a range, a list or a step of those as the {name}");
                return Err(FieldError::new("expression", field, expected));
            }
        }
        let parse = |fields: &[String]| {
            fields.join(" ").parse::<cron::Schedule>().map_err(|_| wrong("a cron expression"))
        };
        let times = if either {
            let (mut month, mut week) = (fields.clone(), fields);
            month[DAY_OF_WEEK] = "*".into();
            week[DAY_OF_MONTH] = "*".into();
            Self { times: parse(&month)?, or: Some(parse(&week)?) }
        } else {
            Self { times: parse(&fields)?, or: None }
        };
        if times.next_after(BEFORE_THE_FIRST_YEAR).is_none() {
            return Err(wrong("a date there is: this one never comes"));
        }
        Ok(times)
    }

    /// Whether it names every hour of the day.
    fn every_hour(&self) -> bool {
        self.times.hours().is_all()
    }

    fn next_after(&self, local: i64) -> Option<i64> {
        let after = DateTime::from_timestamp(local, 0)?;
        let next = |schedule: &cron::Schedule| Some(schedule.after(&after).next()?.timestamp());
        let first = next(&self.times);
        let second = self.or.as_ref().and_then(next);
        match (first, second) {
            (Some(first), Some(second)) => Some(first.min(second)),
            (first, second) => first.or(second),
        }
    }
}

/// A field's days as the list of numbers the parser takes, which counts from 1 for Sunday.
///
/// # Errors
/// What would be right.
fn days_of_week(field: &str, numbered: bool) -> Result<String, &'static str> {
    let expected = if numbered {
        "*, SUN to SAT or 0 to 7 (0 and 7 are Sunday), a range, a list or a step of those"
    } else {
        "*, or names as MON or MON-FRI, for with seconds the dialects number days differently,"
    };
    let mut named = [false; DAYS.len()];
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let step = match step {
            Some(step) => step.parse().ok().filter(|step| (1..=7).contains(step)).ok_or(expected)?,
            None => 1,
        };
        let stepped = part.contains('/');
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (0, 6),
            Some((first, last)) => {
                let (first, last) =
                    (day(first, numbered).ok_or(expected)?, day(last, numbered).ok_or(expected)?);
                // Sunday ends a week as well as it begins one.
                (first, if last == 0 && first > 0 { 7 } else { last })
            }
            None => {
                let first = day(range, numbered).ok_or(expected)?;
                (first, if stepped { first.max(6) } else { first })
            }
        };
        if first > last {
            return Err(expected);
        }
        for day in (first..=last).step_by(step) {
            named[day % DAYS.len()] = true;
        }
    }
    if named == [true; DAYS.len()] {
        return Ok("*".into());
    }
    let numbers =
        named.iter().zip(1..).filter(|(named, _)| **named).map(|(_, number): (_, u8)| number.to_string());
    Ok(numbers.collect::<Vec<_>>().join(","))
}

/// A day of the week, 0 for Sunday; 7 is Sunday too.
fn day(text: &str, numbered: bool) -> Option<usize> {
    if let Ok(number) = text.parse() {
        return (numbered && (0..=7).contains(&number) && text.len() == 1).then_some(number);
    }
    let text = text.to_ascii_lowercase();
    DAYS.iter().position(|day| text == *day || text == day[..3])
}

#[cfg(test)]
mod tests;
