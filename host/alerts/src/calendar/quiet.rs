//! Which series of a monitor are not looked at in an evaluation, and why.

use std::sync::Arc;

use bellwether_kernel::Timestamp;

use super::{CalendarEntry, EntryKind, Ready, Span};
use crate::evaluate::DAY;
use crate::monitor::Compiled;

/// How far to each side of a moment the times of an entry that repeats are told, in milliseconds.
const TOLD: i64 = 31 * DAY;

/// The calendar of one organisation, its rules read.
#[derive(Debug, Default)]
pub(crate) struct Calendar(Vec<Arc<Ready>>);

/// What the calendar says of a monitor's series at one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quiet {
    /// Suppressions and snoozes, whenever they last.
    suppressions: Vec<Arc<Ready>>,
    /// Of those that take series out now, what people are told of why.
    out: Vec<(Arc<Ready>, String)>,
    /// Of those that did since somebody looked, up to when.
    over: Vec<(Arc<Ready>, Timestamp)>,
    /// Office hours.
    hours: Vec<Hours>,
    /// From when on, and up to when, nobody looked before this evaluation.
    unseen: (Timestamp, Timestamp),
}

/// An entry of office hours.
#[derive(Clone, Debug)]
struct Hours {
    ready: Arc<Ready>,
    /// Whether it lasts at each of the moments that count.
    lasts: [bool; 2],
    /// When it lasted since somebody looked.
    spans: Vec<Span>,
}

impl Calendar {
    /// Entries that do not read are passed over: they were checked when they were stored.
    pub(crate) fn read(entries: &[CalendarEntry]) -> Self {
        let read = |entry: &CalendarEntry| {
            Ready::of(entry)
                .inspect_err(|error| tracing::warn!(entry = %entry.id, %error, "an entry of a calendar is passed over"))
                .ok()
                .map(Arc::new)
        };
        Self(entries.iter().filter_map(read).collect())
    }

    /// Its suppressions that last between two moments, both included, each time from when until when; of those that
    /// repeat, within a month of `near`. Office hours are how every day is, and a snooze stands in its incident's trace:
    /// neither is something that happened.
    pub(crate) fn spans(
        &self,
        within: (Timestamp, Timestamp),
        near: Timestamp,
    ) -> impl Iterator<Item = (&CalendarEntry, Span)> {
        let suppressions = self.0.iter().filter(|ready| ready.entry.kind == EntryKind::Suppress);
        let month = (within.0.max(near.saturating_add(-TOLD)), within.1.min(near.saturating_add(TOLD)));
        suppressions.flat_map(move |ready| {
            let within = if ready.entry.repeat.is_some() { month } else { within };
            ready.spans(within).into_iter().map(move |span| (&ready.entry, span))
        })
    }

    /// What it says of a monitor's series at an evaluation at `at` that looks at data up to `end`, of which nobody looked
    /// at what is of `since` or later.
    ///
    /// Both count, the evaluation and the last of its data: so what is suppressed is quiet at once, and does not open
    /// from data of its last minutes when it is over.
    pub(crate) fn quiet(
        &self,
        compiled: &Compiled,
        (at, end): (Timestamp, Timestamp),
        since: Timestamp,
    ) -> Quiet {
        let moments = [at, end.saturating_add(-1).min(at)];
        let unseen = (since, at);
        let mut quiet = Quiet { unseen, ..Quiet::default() };
        let monitor = &compiled.monitor;
        for ready in &self.0 {
            let entry = &ready.entry;
            if !entry.scope.covers_monitor(&monitor.name, &monitor.labels) {
                continue;
            }
            let lasting = moments.map(|moment| ready.lasting(moment));
            let spans = ready.spans(unseen);
            if entry.kind == EntryKind::OfficeHours {
                let lasts = lasting.map(|lasting| lasting.is_ok());
                quiet.hours.push(Hours { ready: Arc::clone(ready), lasts, spans });
                continue;
            }
            quiet.suppressions.push(Arc::clone(ready));
            if let Some(over) = spans.iter().map(|(_, over)| over.map_or(at, |over| over.min(at))).max() {
                quiet.over.push((Arc::clone(ready), over));
            }
            if let Some(until) = lasting.into_iter().find_map(Result::ok) {
                let verb = if entry.kind == EntryKind::Snooze { "snoozed" } else { "suppressed" };
                let until = until.map_or_else(|| "it is deleted".to_owned(), |until| until.to_string());
                let text = format!("{verb} until {until} by calendar entry {}, {}", entry.id, entry.name);
                quiet.out.push((Arc::clone(ready), text));
            }
        }
        quiet
    }
}

impl Quiet {
    /// Why a series with these tags is not looked at, if it is not.
    pub(crate) fn of(&self, tags: &[(String, String)], metric: Option<&str>) -> Option<String> {
        if let Some((_, because)) = self.out.iter().find(|(ready, _)| is_about(ready, tags, metric)) {
            return Some(because.clone());
        }
        let mut first = None;
        let mut within = [false; 2];
        for hours in self.hours.iter().filter(|hours| is_about(&hours.ready, tags, metric)) {
            first.get_or_insert(&hours.ready.entry);
            within = [within[0] || hours.lasts[0], within[1] || hours.lasts[1]];
        }
        let entry = first.filter(|_| within != [true; 2])?;
        Some(format!("out of the office hours of calendar entry {}, {}", entry.id, entry.name))
    }

    /// Up to when a series that is looked at now was taken out while nobody looked, if it was: between two evaluations, or
    /// while no host was up.
    pub(crate) fn passed(&self, tags: &[(String, String)], metric: Option<&str>) -> Option<Timestamp> {
        let over = self.over.iter().filter(|(ready, _)| is_about(ready, tags, metric));
        let over = over.map(|(_, over)| *over).max();
        let hours: Vec<&Hours> =
            self.hours.iter().filter(|hours| is_about(&hours.ready, tags, metric)).collect();
        // Before the first of them was made nothing was out of them.
        let made = hours.iter().map(|hours| hours.ready.entry.updated).min();
        let (since, mut begin) = self.unseen;
        // From now back, as long as one or the other lasted.
        while let Some(earlier) = hours.iter().filter_map(|hours| hours.began(begin)).min() {
            begin = earlier;
        }
        let began = made.map(|_| begin).filter(|begin| *begin > since && Some(*begin) > made);
        over.max(began)
    }

    /// Of each point of a series, a step long, whether detectors learn from it: not from what is suppressed at its time,
    /// whenever they are shown it.
    pub(crate) fn learns(
        &self,
        tags: &[(String, String)],
        metric: Option<&str>,
        (points, step): (&[(i64, f64)], i64),
    ) -> Vec<bool> {
        let instant = |time: i64| Timestamp::from_milliseconds(time).unwrap_or_default();
        let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { return Vec::new() };
        let within = (instant(*first), instant(last.saturating_add(step)));
        let suppressions = self.suppressions.iter().filter(|ready| is_about(ready, tags, metric));
        let spans: Vec<Span> = suppressions.flat_map(|ready| ready.spans(within)).collect();
        let is_suppressed = |begin: Timestamp| {
            let end = begin.saturating_add(step);
            spans.iter().any(|(from, over)| *from < end && over.is_none_or(|over| over > begin))
        };
        points.iter().map(|(time, _)| !is_suppressed(instant(*time))).collect()
    }
}

impl Hours {
    /// Since when it had lasted right before `now`, if it had.
    fn began(&self, now: Timestamp) -> Option<Timestamp> {
        let lasted = |(begin, over): &&Span| *begin < now && over.is_none_or(|over| over >= now);
        self.spans.iter().filter(lasted).map(|(begin, _)| *begin).min()
    }
}

/// Whether an entry is about a series with these tags, of that metric.
fn is_about(ready: &Ready, tags: &[(String, String)], metric: Option<&str>) -> bool {
    ready.entry.scope.covers_series(tags) && ready.is_about_metric(metric)
}
