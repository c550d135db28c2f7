//! Which series of a monitor are not looked at in an evaluation, and why.

use std::sync::Arc;

use bellwether_kernel::Timestamp;

use super::{CalendarEntry, EntryKind, Ready, Span};
use crate::monitor::Compiled;

/// The calendar of one organisation, its rules read.
#[derive(Debug, Default)]
pub(crate) struct Calendar(Vec<Arc<Ready>>);

/// What the calendar says of a monitor's series at one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quiet {
    /// Of entries that take series out now.
    out: Vec<(Arc<Ready>, Because)>,
    /// Of office hours, whether each lasts at each of the moments that count.
    hours: Vec<(Arc<Ready>, [bool; 2])>,
}

/// Why a series is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Because {
    /// Whether detectors learn from it all the same.
    pub(crate) learns: bool,
    /// What people are told.
    pub(crate) text: String,
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
    /// repeat, about `near`. Office hours are how every day is, and a snooze stands in its incident's trace: neither is
    /// something that happened.
    pub(crate) fn spans(
        &self,
        within: (Timestamp, Timestamp),
        near: Timestamp,
    ) -> impl Iterator<Item = (&CalendarEntry, Span)> {
        let suppressions = self.0.iter().filter(|ready| ready.entry.kind == EntryKind::Suppress);
        suppressions.flat_map(move |ready| {
            ready.spans(within, near).into_iter().map(move |span| (&ready.entry, span))
        })
    }

    /// What it says of a monitor's series at an evaluation at `at` that looks at data up to `end`.
    ///
    /// Both count, the evaluation and the last of its data: so what is suppressed is quiet at once, and does not open
    /// from data of its last minutes when it is over.
    pub(crate) fn quiet(&self, compiled: &Compiled, at: Timestamp, end: Timestamp) -> Quiet {
        let moments = [at, end.saturating_add(-1).min(at)];
        let mut quiet = Quiet::default();
        let monitor = &compiled.monitor;
        for ready in &self.0 {
            let entry = &ready.entry;
            if !entry.scope.covers_monitor(&monitor.name, &monitor.labels) {
                continue;
            }
            let lasting = moments.map(|moment| ready.lasting(moment));
            if entry.kind == EntryKind::OfficeHours {
                quiet.hours.push((Arc::clone(ready), lasting.map(|lasting| lasting.is_ok())));
            } else if let Some(until) = lasting.into_iter().find_map(Result::ok) {
                let verb = if entry.kind == EntryKind::Snooze { "snoozed" } else { "suppressed" };
                let until = until.map_or_else(|| "it is deleted".to_owned(), |until| until.to_string());
                let text = format!("{verb} until {until} by calendar entry {}, {}", entry.id, entry.name);
                quiet.out.push((Arc::clone(ready), Because { learns: false, text }));
            }
        }
        quiet
    }
}

impl Quiet {
    /// Why a series with these tags is not looked at, if it is not.
    pub(crate) fn of(&self, tags: &[(String, String)], metric: Option<&str>) -> Option<Because> {
        let is_about = |ready: &Ready| ready.entry.scope.covers_series(tags) && ready.is_about_metric(metric);
        if let Some((_, because)) = self.out.iter().find(|(ready, _)| is_about(ready)) {
            return Some(because.clone());
        }
        let mut first = None;
        let mut within = [false; 2];
        for (ready, lasts) in self.hours.iter().filter(|(ready, _)| is_about(ready)) {
            first.get_or_insert(&ready.entry);
            within = [within[0] || lasts[0], within[1] || lasts[1]];
        }
        let entry = first.filter(|_| within != [true; 2])?;
        let text = format!("out of the office hours of calendar entry {}, {}", entry.id, entry.name);
        Some(Because { learns: true, text })
    }
}
