//! The calendar: when series are not looked at. A suppression or a snooze takes them out while it lasts, office hours while
//! they do not last; once, or again and again on the days of a rule, between two times of day in a zone.

mod quiet;
mod rule;

use std::fmt;

use bellwether_kernel::{FieldError, Timestamp};
use bellwether_store::Versioned;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ToSpan};
use serde::{Deserialize, Serialize};

pub(crate) use quiet::{Calendar, Quiet};
use rule::Rule;

use crate::mute::check_said;
use crate::{AlertError, IncidentId, Period, Scope, limits};

/// An entry of the calendar, counted from 1 within its organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an entry does to the series in its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// While it lasts they are taken out: nothing of them opens, and detectors do not learn from them.
    Suppress,
    /// They are looked at only while it, or another of that kind about them, lasts; detectors learn on.
    OfficeHours,
    /// A suppression somebody made of what they saw, until a time.
    Snooze,
}

impl EntryKind {
    /// As it is written: `suppress`, `office-hours`, `snooze`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::OfficeHours => "office-hours",
            Self::Snooze => "snooze",
        }
    }
}

/// Again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// Whose days and times of day, as `Europe/Berlin`.
    pub zone: String,
    /// On which days it begins, as `FREQ=WEEKLY;BYDAY=MO,TU`.
    pub rule: String,
    /// At what time of day, as `08:00`.
    pub from: String,
    /// Until what time of day; of the next day where that is not after `from`.
    pub to: Option<String>,
    /// Or for how long, up to seven days.
    pub lasts: Option<Period>,
}

/// What is asked for with a new entry, or in the place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// One line.
    pub name: String,
    /// What it does.
    pub kind: EntryKind,
    /// What it is about.
    pub scope: Scope,
    /// Names of metrics; any of them. Only a series of one metric has one.
    pub metrics: Vec<String>,
    /// Whether it is about everything: to be said of what makes quiet, where neither scope nor metrics say anything.
    /// Office hours without a scope are those of the organisation.
    pub everything: bool,
    /// From when on; from now on if it is not said.
    pub start: Option<Timestamp>,
    /// Until when; until it is deleted if it is not said.
    pub end: Option<Timestamp>,
    /// On which days and at which times in between; all the time if it is not said.
    pub repeat: Option<Repeat>,
    /// Why.
    pub reason: String,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarEntry {
    /// Its id.
    pub id: EntryId,
    /// One line.
    pub name: String,
    /// What it does.
    pub kind: EntryKind,
    /// What it is about.
    pub scope: Scope,
    /// Names of metrics; any of them.
    pub metrics: Vec<String>,
    /// From when on.
    pub start: Timestamp,
    /// Until when.
    pub end: Option<Timestamp>,
    /// On which days and at which times in between.
    pub repeat: Option<Repeat>,
    /// Why.
    pub reason: String,
    /// The incident it was made of.
    pub incident: Option<IncidentId>,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Who changed it last.
    pub updated_by: String,
}

impl Versioned for CalendarEntry {
    const NAME: &'static str = "entry of a calendar";
}

impl CalendarEntry {
    /// Until when it lasts, of one that lasts at `now`: the end of this time of several; `None` where it has no end.
    /// `Err` of one that does not last then.
    ///
    /// # Errors
    /// That it does not last.
    pub fn lasting(&self, now: Timestamp) -> Result<Option<Timestamp>, NotNow> {
        // What was stored was checked: a zone that went from the database since makes nothing quiet.
        let ready = Ready::of(self).map_err(|_| NotNow)?;
        ready.lasting(now)
    }

    /// When it lasts next, of one that does not last at `now`; `None` of one that lasts then, or does not begin again within
    /// a hundred years.
    #[must_use]
    pub fn begins(&self, now: Timestamp) -> Option<Timestamp> {
        let ready = Ready::of(self).ok()?;
        if ready.lasting(now).is_ok() { None } else { ready.begins(now) }
    }
}

/// It does not last at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not last then")]
pub struct NotNow;

impl NewEntry {
    /// Whether it can be kept.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), AlertError> {
        let fits = (1..=limits::TITLE).contains(&self.name.chars().count());
        if !fits {
            let expected = format!("1 to {} characters", limits::TITLE);
            return Err(FieldError::new("name", &self.name, expected).into());
        }
        if self.reason.chars().count() > limits::TITLE {
            let expected = format!("at most {} characters", limits::TITLE);
            return Err(FieldError::new("reason", &self.reason, expected).into());
        }
        let start = self.start.unwrap_or(now);
        if let Some(end) = self.end.filter(|end| *end <= start || *end <= now) {
            return Err(FieldError::new("end", end, "an instant to come, after the start").into());
        }
        if self.kind == EntryKind::Snooze && (self.end.is_none() || self.repeat.is_some()) {
            let expected = "an instant to come: a snooze is once, and has an end";
            return Err(FieldError::new("end", "", expected).into());
        }
        let is_everything = self.scope.is_everything() && self.metrics.is_empty();
        check_said(is_everything, self.everything)?;
        self.scope.check()?;
        let size: usize = self.metrics.iter().map(String::len).sum();
        if size > limits::SCOPE {
            let expected = format!("at most {} bytes of text", limits::SCOPE);
            return Err(FieldError::new("metrics", format!("{size} bytes"), expected).into());
        }
        if let Some(repeat) = &self.repeat {
            let recurrence = Recurrence::read(repeat, start)?;
            let from = start.max(now);
            let begins = recurrence.lasting(from).map(|_| from).or_else(|| recurrence.begins(from));
            if begins.is_none_or(|begins| self.end.is_some_and(|end| begins >= end)) {
                let expected = "days that come before the entry's end, and within a hundred years";
                return Err(FieldError::new("repeat.rule", &repeat.rule, expected).into());
            }
        }
        Ok(())
    }
}

/// From when until when something lasts; `None` where it has no end.
pub(crate) type Span = (Timestamp, Option<Timestamp>);

/// How many days after a moment the next time of an entry is looked for: a hundred years. What begins less often, as the
/// 31st of February, is a mistake.
const LOOKED_AHEAD: i64 = 36_525;

/// An entry whose rule is read.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) entry: CalendarEntry,
    recurrence: Option<Recurrence>,
}

impl Ready {
    pub(crate) fn of(entry: &CalendarEntry) -> Result<Self, FieldError> {
        let recurrence =
            entry.repeat.as_ref().map(|repeat| Recurrence::read(repeat, entry.start)).transpose()?;
        Ok(Self { entry: entry.clone(), recurrence })
    }

    /// Until when it lasts, of one that lasts at `now`.
    pub(crate) fn lasting(&self, now: Timestamp) -> Result<Option<Timestamp>, NotNow> {
        let CalendarEntry { start, end, .. } = self.entry;
        if now < start || end.is_some_and(|end| now >= end) {
            return Err(NotNow);
        }
        let Some(recurrence) = &self.recurrence else { return Ok(end) };
        let until = recurrence.lasting(now).ok_or(NotNow)?;
        Ok(Some(end.map_or(until, |end| end.min(until))))
    }

    /// When it begins to last after `now`.
    fn begins(&self, now: Timestamp) -> Option<Timestamp> {
        let CalendarEntry { start, end, .. } = self.entry;
        let begins = match &self.recurrence {
            None => Some(start).filter(|start| *start > now),
            // What began before its start, and covers that, is cut there.
            Some(recurrence) if start > now && recurrence.lasting(start).is_some() => Some(start),
            Some(recurrence) => recurrence.begins(now.max(start)),
        };
        begins.filter(|begins| end.is_none_or(|end| *begins < end))
    }

    /// When it lasts between two moments, both included, each time from when until when.
    pub(crate) fn spans(&self, (from, until): (Timestamp, Timestamp)) -> Vec<Span> {
        let CalendarEntry { start, end, .. } = self.entry;
        let overlaps =
            |(begin, over): &Span| *begin <= until && over.is_none_or(|over| over > from && over > *begin);
        let Some(recurrence) = &self.recurrence else {
            return Some((start, end)).filter(overlaps).into_iter().collect();
        };
        let times = recurrence
            .times((from, until))
            .map(|(begin, over)| (begin.max(start), Some(end.map_or(over, |end| end.min(over)))));
        times.filter(overlaps).collect()
    }

    pub(crate) fn is_about_metric(&self, metric: Option<&str>) -> bool {
        let metrics = &self.entry.metrics;
        metrics.is_empty() || metric.is_some_and(|metric| metrics.iter().any(|name| name == metric))
    }
}

/// A [`Repeat`] that was read.
#[derive(Clone, Debug)]
struct Recurrence {
    zone: TimeZone,
    rule: Rule,
    /// The day of the entry's start, from which its days are counted.
    anchor: Date,
    from: Time,
    length: Length,
}

/// How long it lasts once it began.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// Until this time of day.
    To(Time),
    /// So long.
    Lasts(SignedDuration),
}

impl Recurrence {
    fn read(repeat: &Repeat, start: Timestamp) -> Result<Self, FieldError> {
        let zone = TimeZone::get(&repeat.zone).map_err(|_| {
            FieldError::new("repeat.zone", &repeat.zone, "a time zone of the IANA database, as Europe/Berlin")
        })?;
        let length = match (&repeat.to, repeat.lasts) {
            (Some(to), None) => Length::To(time_of_day("repeat.to", to)?),
            (None, Some(lasts)) if (Period::minutes(1)..=Period::days(7)).contains(&lasts) => {
                Length::Lasts(SignedDuration::from_millis(lasts.milliseconds()))
            }
            (None, Some(lasts)) => {
                return Err(FieldError::new("repeat.lasts", lasts, "a span from 1m to 7d"));
            }
            (Some(_), Some(_)) => {
                return Err(FieldError::new("repeat.lasts", "", "none where there is repeat.to"));
            }
            (None, None) => {
                return Err(FieldError::new("repeat.to", "", "a time of day as 18:00, or repeat.lasts"));
            }
        };
        Ok(Self {
            rule: Rule::read(&repeat.rule)?,
            anchor: zone.to_datetime(start.to_jiff()).date(),
            from: time_of_day("repeat.from", &repeat.from)?,
            zone,
            length,
        })
    }

    /// The end of what began before or at `now` and lasts; that it began before the entry's start too.
    fn lasting(&self, now: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(now.to_jiff()).date();
        let ends = (0..=self.days()).filter_map(|back| {
            let day = today.checked_sub(back.days()).ok()?;
            let (start, end) = self.rule.names(self.anchor, day).then(|| self.span(day))??;
            (start <= now && now < end).then_some(end)
        });
        ends.max()
    }

    /// When it begins first after `now`.
    fn begins(&self, now: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(now.to_jiff()).date();
        let last = today.checked_add(LOOKED_AHEAD.days()).unwrap_or(Date::MAX);
        let last = self.rule.until().map_or(last, |until| until.min(last));
        // A time of yesterday that a change of the clocks skips may be today.
        let days = today.yesterday().unwrap_or(today).series(1.day()).take_while(|day| *day <= last);
        let named = days.filter(|day| self.rule.names(self.anchor, *day));
        let begins = named.filter_map(|day| self.span(day)).filter(|(begin, end)| begin < end);
        begins.map(|(begin, _)| begin).find(|begin| *begin > now)
    }

    /// How many days after the day it begins on it may last yet.
    fn days(&self) -> i64 {
        match self.length {
            Length::To(_) => 1,
            Length::Lasts(lasts) => lasts.as_hours() / 24 + 1,
        }
    }

    /// From when until when it lasts each time that may last between two moments.
    fn times(&self, (from, until): (Timestamp, Timestamp)) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let day = |moment: Timestamp| self.zone.to_datetime(moment.to_jiff()).date();
        let last = day(until);
        // A time of yesterday that a change of the clocks skips may be today.
        let first = day(from).checked_sub((self.days() + 1).days()).unwrap_or(Date::MIN);
        let days = first.series(1.day()).take_while(move |day| *day <= last);
        days.filter(move |day| self.rule.names(self.anchor, *day)).filter_map(move |day| self.span(day))
    }

    /// From when until when it lasts if it begins on this day: for no time at all where a change of the clocks skips all of
    /// it.
    fn span(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let begin = self.instant(day.to_datetime(self.from))?;
        let end = match self.length {
            Length::Lasts(lasts) => begin.checked_add(lasts).ok()?,
            Length::To(to) => {
                let last = if to > self.from { day } else { day.tomorrow().ok()? };
                self.instant(last.to_datetime(to))?
            }
        };
        let instant = |at: jiff::Timestamp| Timestamp::from_milliseconds(at.as_millisecond());
        Some((instant(begin)?, instant(end)?))
    }

    /// When it is that time of day: the moment the clocks are changed where they skip it, as a schedule of cron's words has
    /// it; the first of two where they are set back over it.
    fn instant(&self, at: DateTime) -> Option<jiff::Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(at);
        let AmbiguousOffset::Gap { after, .. } = ambiguous.offset() else {
            return ambiguous.compatible().ok();
        };
        // By the offset of after the change that time lies before it.
        let before = ambiguous.earlier().ok()?;
        let change = self.zone.following(before).find(|change| change.offset() == after)?;
        Some(change.timestamp())
    }
}

fn time_of_day(field: &str, text: &str) -> Result<Time, FieldError> {
    let text = if text == "24:00" { "00:00" } else { text };
    let time = Time::strptime("%H:%M", text);
    time.map_err(|_| FieldError::new(field, text, "a time of day from 00:00 to 24:00, as 08:30"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instant(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn entry(start: &str, end: Option<&str>, repeat: Option<Repeat>) -> CalendarEntry {
        CalendarEntry {
            id: EntryId(1),
            name: "work".into(),
            kind: EntryKind::Suppress,
            scope: Scope::default(),
            metrics: Vec::new(),
            start: instant(start),
            end: end.map(instant),
            repeat,
            reason: String::new(),
            incident: None,
            updated: instant(start),
            updated_by: "ada".into(),
        }
    }

    fn repeat(rule: &str, from: &str, to: &str) -> Repeat {
        let (to, lasts) = match to.contains(':') {
            true => (Some(to.to_owned()), None),
            false => (None, Period::parse(to)),
        };
        Repeat { zone: "Europe/Berlin".into(), rule: rule.into(), from: from.into(), to, lasts }
    }

    #[test]
    fn an_entry_lasts_on_the_days_of_its_rule_between_its_times_in_its_zone() {
        let weekdays = || repeat("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "08:00", "18:00");
        let nights = || repeat("FREQ=DAILY", "22:00", "06:00");
        let weekend = || repeat("FREQ=WEEKLY;BYDAY=FR", "18:00", "62h");
        let whole = || repeat("FREQ=MONTHLY;BYMONTHDAY=1", "00:00", "24:00");
        // The clocks of Berlin go forward on 2026-03-29 at 02:00; before, they are one hour ahead of UTC.
        for (repeat, now, until) in [
            (weekdays(), "2026-03-02T07:00:00Z", Some("2026-03-02T17:00:00Z")),
            (weekdays(), "2026-03-02T06:59:59.999Z", None),
            (weekdays(), "2026-03-02T16:59:59.999Z", Some("2026-03-02T17:00:00Z")),
            (weekdays(), "2026-03-02T17:00:00Z", None),
            (weekdays(), "2026-03-07T12:00:00Z", None),
            (weekdays(), "2026-03-30T06:00:00Z", Some("2026-03-30T16:00:00Z")),
            (weekdays(), "2026-02-27T12:00:00Z", None),
            (nights(), "2026-03-02T23:00:00Z", Some("2026-03-03T05:00:00Z")),
            (nights(), "2026-03-03T04:59:00Z", Some("2026-03-03T05:00:00Z")),
            (nights(), "2026-03-29T00:30:00Z", Some("2026-03-29T04:00:00Z")),
            (nights(), "2026-03-03T12:00:00Z", None),
            (weekend(), "2026-03-09T06:59:00Z", Some("2026-03-09T07:00:00Z")),
            (weekend(), "2026-03-06T16:59:00Z", None),
            (whole(), "2026-03-31T22:30:00Z", Some("2026-04-01T22:00:00Z")),
            (whole(), "2026-04-01T22:00:00Z", None),
        ] {
            let entry = entry("2026-03-01T00:00:00Z", None, Some(repeat));
            let lasting = entry.lasting(instant(now)).ok().flatten();
            assert_eq!(lasting, until.map(instant), "{:?} at {now}", entry.repeat);
        }
    }

    #[test]
    fn a_time_of_day_that_a_change_of_the_clocks_skips_is_the_moment_of_the_change() {
        // The clocks of Berlin go from 02:00 to 03:00 at 01:00 UTC of 2027-03-28, and from 03:00 to 02:00 on 2027-10-31.
        for (from, to, day, expected) in [
            ("02:30", "03:30", "2027-03-28", Some(("2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z"))),
            ("02:30", "04:30", "2027-03-28", Some(("2027-03-28T01:00:00Z", "2027-03-28T02:30:00Z"))),
            ("02:30", "90m", "2027-03-28", Some(("2027-03-28T01:00:00Z", "2027-03-28T02:30:00Z"))),
            ("01:30", "02:30", "2027-03-28", Some(("2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z"))),
            ("23:00", "02:30", "2027-03-27", Some(("2027-03-27T22:00:00Z", "2027-03-28T01:00:00Z"))),
            ("02:00", "03:00", "2027-03-28", None),
            ("02:15", "02:45", "2027-03-28", None),
            ("02:15", "02:45", "2028-03-26", None),
            ("02:15", "02:45", "2027-03-29", Some(("2027-03-29T00:15:00Z", "2027-03-29T00:45:00Z"))),
            ("02:30", "03:30", "2027-10-31", Some(("2027-10-31T00:30:00Z", "2027-10-31T02:30:00Z"))),
        ] {
            let recurrence = Recurrence::read(&repeat("FREQ=DAILY", from, to), instant(day)).unwrap();
            let (begin, end) = recurrence.span(day.parse().unwrap()).unwrap();
            let found = (begin < end).then_some((begin, end));
            let expected = expected.map(|(begin, end)| (instant(begin), instant(end)));
            assert_eq!(found, expected, "{from} to {to} on {day}");
            assert!(begin <= end);
        }
        let short = entry("2027-01-01", None, Some(repeat("FREQ=DAILY", "02:15", "02:45")));
        assert_eq!(short.begins(instant("2027-03-27T12:00:00Z")), Some(instant("2027-03-29T00:15:00Z")));
        for minute in 0..120 {
            let now = instant("2027-03-28T00:30:00Z").saturating_add(minute * 60_000);
            assert_eq!(short.lasting(now), Err(NotNow), "{now}");
        }
        let spans =
            Ready::of(&short).unwrap().spans((instant("2027-03-28"), instant("2027-03-28T12:00:00Z")));
        assert_eq!(spans, []);
    }

    #[test]
    fn an_entry_made_within_one_of_its_times_lasts_from_its_start_on() {
        let in_zone = |zone: &str, repeat: Repeat| Repeat { zone: zone.into(), ..repeat };
        let thursdays = || repeat("FREQ=WEEKLY;BYDAY=TH", "22:00", "06:00");
        let nights = || repeat("FREQ=DAILY", "22:00", "06:00");
        // 2026-03-06 is a Friday. The clocks of Berlin go forward on 2026-03-29 at 02:00 and back on 2026-10-25 at 03:00,
        // those of New York on 2026-03-08 and 2026-11-01 at 02:00.
        for (repeat, start, until) in [
            (thursdays(), "2026-03-05T23:55:00Z", Some("2026-03-06T05:00:00Z")),
            (thursdays(), "2026-03-06T05:00:00Z", None),
            (thursdays(), "2026-03-06T23:55:00Z", None),
            (nights(), "2026-03-05T23:58:00Z", Some("2026-03-06T05:00:00Z")),
            (nights(), "2026-03-28T23:58:00Z", Some("2026-03-29T04:00:00Z")),
            (nights(), "2026-03-29T00:58:00Z", Some("2026-03-29T04:00:00Z")),
            (nights(), "2026-10-25T00:58:00Z", Some("2026-10-25T05:00:00Z")),
            (nights(), "2026-10-25T05:00:00Z", None),
            (in_zone("America/New_York", nights()), "2026-03-08T07:30:00Z", Some("2026-03-08T10:00:00Z")),
            (in_zone("America/New_York", nights()), "2026-11-01T06:30:00Z", Some("2026-11-01T11:00:00Z")),
            (in_zone("Asia/Kathmandu", nights()), "2026-03-05T19:00:00Z", Some("2026-03-06T00:15:00Z")),
            (in_zone("Pacific/Kiritimati", nights()), "2026-03-05T11:00:00Z", Some("2026-03-05T16:00:00Z")),
            (repeat("FREQ=DAILY", "02:30", "7d"), "2026-03-06T00:00:00Z", Some("2026-03-12T01:30:00Z")),
            (
                repeat("FREQ=WEEKLY;BYDAY=SA", "00:00", "48h"),
                "2026-03-08T12:00:00Z",
                Some("2026-03-08T23:00:00Z"),
            ),
            (repeat("FREQ=DAILY;INTERVAL=2", "22:00", "06:00"), "2026-03-05T23:58:00Z", None),
            (
                repeat("FREQ=MONTHLY;BYMONTHDAY=-1", "22:00", "06:00"),
                "2026-03-01T01:00:00Z",
                Some("2026-03-01T05:00:00Z"),
            ),
        ] {
            let entry = entry(start, None, Some(repeat));
            let start = instant(start);
            assert_eq!(
                entry.lasting(start).ok().flatten(),
                until.map(instant),
                "{:?} from {start}",
                entry.repeat
            );
            assert_eq!(entry.lasting(start.saturating_add(-1)), Err(NotNow), "not before its start");
            if let Some(until) = until.map(instant) {
                let spans = Ready::of(&entry).unwrap().spans((start, start));
                assert!(spans.contains(&(start, Some(until))), "{spans:?}");
                assert!(spans.iter().all(|(begin, _)| *begin == start), "{spans:?}");
            }
        }
    }

    #[test]
    fn an_entry_that_does_not_last_says_when_it_begins() {
        let nights = || Some(repeat("FREQ=DAILY", "22:00", "06:00"));
        let fridays = || Some(repeat("FREQ=WEEKLY;BYDAY=FR", "08:00", "18:00"));
        let leap_days = Some(repeat("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "08:00", "18:00"));
        let over = Some(repeat("FREQ=DAILY;UNTIL=20260303", "08:00", "18:00"));
        for (start, end, repeat, begins) in [
            ("2026-03-06T12:00:00Z", None, nights(), Some("2026-03-06T21:00:00Z")),
            ("2026-03-05T23:58:00Z", None, nights(), Some("2026-03-06T21:00:00Z")),
            ("2026-03-10T23:58:00Z", None, nights(), Some("2026-03-10T23:58:00Z")),
            ("2026-03-10T12:00:00Z", None, nights(), Some("2026-03-10T21:00:00Z")),
            ("2026-03-01T12:00:00Z", Some("2026-03-06T20:00:00Z"), nights(), None),
            ("2026-03-01T12:00:00Z", None, fridays(), None),
            ("2026-03-07T12:00:00Z", None, fridays(), Some("2026-03-13T07:00:00Z")),
            ("2026-03-01T12:00:00Z", None, leap_days, Some("2028-02-29T07:00:00Z")),
            ("2026-03-01T12:00:00Z", None, over, None),
            ("2026-03-01T12:00:00Z", Some("2026-03-02T12:00:00Z"), None, None),
            ("2026-03-08T12:00:00Z", None, None, Some("2026-03-08T12:00:00Z")),
        ] {
            let entry = entry(start, end, repeat);
            let found = entry.begins(instant("2026-03-06T12:00:00Z"));
            assert_eq!(found, begins.map(instant), "{:?} from {start}", entry.repeat);
        }
    }

    proptest! {
        #[test]
        fn on_every_day_a_time_begins_no_sooner_than_it_says_and_ends_not_before_it_begins(
            zone in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Beirut",
                "Africa/Cairo", "Pacific/Apia", "America/St_Johns", "UTC",
            ]),
            (from, to) in (0..1_440_u32, 0..1_440_u32),
            year in 2005..2040_i16,
        ) {
            let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
            let repeat = Repeat {
                zone: zone.into(), rule: "FREQ=DAILY".into(), from: time(from), to: Some(time(to)), lasts: None,
            };
            let recurrence = Recurrence::read(&repeat, instant("2005-01-01")).unwrap();
            let mut before = Timestamp::MIN;
            for day in jiff::civil::date(year, 1, 1).series(1.day()).take(366) {
                let (begin, end) = recurrence.span(day).unwrap();
                let wall = |time: Timestamp| recurrence.zone.to_datetime(time.to_jiff());
                prop_assert!(begin <= end && before <= begin, "{day}: {begin} to {end}");
                let last = if to > from { day } else { day.tomorrow().unwrap() };
                for (at, named) in [(begin, day.to_datetime(recurrence.from)), (end, last.at((to / 60) as i8, (to % 60) as i8, 0, 0))] {
                    prop_assert!(wall(at) >= named, "{day}: {named} is {at}");
                    // It is the first such moment: a moment before, the clock showed less.
                    prop_assert!(wall(at.saturating_add(-1)) < named, "{day}: {named} is {at}");
                }
                before = begin;
            }
        }

        #[test]
        fn whenever_an_entry_was_made_it_lasts_as_one_made_long_before_from_its_start_on(
            zone in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC",
            ]),
            rule in prop::sample::select(vec![
                "FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SA,SU", "FREQ=WEEKLY;BYDAY=TH", "FREQ=MONTHLY;BYMONTHDAY=1,-1",
            ]),
            (from, to) in (0..48_u32, 0..48_u32),
            // About the nights the clocks change in Berlin and New York, among others.
            near in prop::sample::select(vec!["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01", "2026-07-01"]),
            (start, after) in (-2_880_i64..2_880, 0..2_880_i64),
        ) {
            let time = |half: u32| format!("{:02}:{:02}", half / 2, half % 2 * 30);
            let repeat = Repeat {
                zone: zone.into(), rule: rule.into(), from: time(from), to: Some(time(to)), lasts: None,
            };
            let start = instant(near).saturating_add(start * 60_000);
            let now = start.saturating_add(after * 60_000);
            let long_before = entry("2025-01-01", None, Some(repeat.clone()));
            let made = CalendarEntry { start, ..entry(near, None, Some(repeat)) };
            prop_assert_eq!(made.lasting(now), long_before.lasting(now));
            let begins = made.begins(now);
            prop_assert_eq!(begins.is_none(), made.lasting(now).is_ok());
            if let Some(begins) = begins {
                prop_assert!(begins > now && made.lasting(begins).is_ok());
                prop_assert!(made.lasting(begins.saturating_add(-1)).is_err());
            }
        }
    }

    #[test]
    fn an_entry_lasts_no_longer_than_its_own_start_and_end() {
        let once = entry("2026-03-02T10:00:00Z", Some("2026-03-02T11:00:00Z"), None);
        assert_eq!(once.lasting(instant("2026-03-02T10:00:00Z")), Ok(Some(instant("2026-03-02T11:00:00Z"))));
        assert_eq!(once.lasting(instant("2026-03-02T09:59:59Z")), Err(NotNow));
        assert_eq!(once.lasting(instant("2026-03-02T11:00:00Z")), Err(NotNow));
        let open = entry("2026-03-02T10:00:00Z", None, None);
        assert_eq!(open.lasting(instant("2030-01-01")), Ok(None));
        let daily = Some(repeat("FREQ=DAILY", "00:00", "24:00"));
        let cut = entry("2026-03-02T10:00:00Z", Some("2026-03-02T11:00:00Z"), daily);
        assert_eq!(cut.lasting(instant("2026-03-02T10:30:00Z")), Ok(Some(instant("2026-03-02T11:00:00Z"))));
        assert_eq!(cut.lasting(instant("2026-03-02T09:30:00Z")), Err(NotNow));
    }

    #[test]
    fn what_cannot_be_kept_is_told_which_field_is_wrong() {
        let now = instant("2026-03-02T10:00:00Z");
        let fine = NewEntry {
            name: "work".into(),
            kind: EntryKind::OfficeHours,
            scope: Scope::default(),
            metrics: Vec::new(),
            everything: true,
            start: None,
            end: None,
            repeat: Some(repeat("FREQ=DAILY", "08:00", "18:00")),
            reason: String::new(),
        };
        assert!(fine.check(now).is_ok());
        let repeated = |repeat| NewEntry { repeat: Some(repeat), ..fine.clone() };
        let snooze = NewEntry { kind: EntryKind::Snooze, repeat: None, ..fine.clone() };
        let zone = Repeat { zone: "Mars".into(), ..repeat("FREQ=DAILY", "08:00", "18:00") };
        let neither = Repeat { to: None, ..repeat("FREQ=DAILY", "08:00", "18:00") };
        let both = Repeat { to: Some("18:00".into()), ..repeat("FREQ=DAILY", "08:00", "3h") };
        let unsaid = NewEntry { everything: false, ..fine.clone() };
        let suppress = NewEntry { kind: EntryKind::Suppress, ..unsaid.clone() };
        let of_metric = NewEntry { metrics: vec!["m".into()], ..suppress.clone() };
        assert!(of_metric.check(now).is_ok());
        assert!(NewEntry { everything: true, ..suppress.clone() }.check(now).is_ok());
        for (new, field) in [
            (suppress, "scope"),
            (unsaid, "scope"),
            (NewEntry { everything: true, ..of_metric }, "everything"),
            (NewEntry { name: String::new(), ..fine.clone() }, "name"),
            (NewEntry { end: Some(now), ..fine.clone() }, "end"),
            (snooze, "end"),
            (repeated(repeat("DAILY", "08:00", "18:00")), "repeat.rule"),
            (repeated(repeat("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31", "08:00", "18:00")), "repeat.rule"),
            (repeated(repeat("FREQ=DAILY;UNTIL=20260301", "08:00", "18:00")), "repeat.rule"),
            (
                NewEntry {
                    end: Some(now.saturating_add(60_000)),
                    ..repeated(repeat("FREQ=DAILY", "12:00", "13:00"))
                },
                "repeat.rule",
            ),
            (repeated(repeat("FREQ=DAILY", "8 o'clock", "18:00")), "repeat.from"),
            (repeated(repeat("FREQ=DAILY", "08:00", "25:00")), "repeat.to"),
            (repeated(repeat("FREQ=DAILY", "08:00", "8d")), "repeat.lasts"),
            (repeated(zone), "repeat.zone"),
            (repeated(neither), "repeat.to"),
            (repeated(both), "repeat.lasts"),
        ] {
            match new.check(now) {
                Err(AlertError::Invalid(error)) => assert_eq!(error.field, field, "{error}"),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
