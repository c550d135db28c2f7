//! What the moves of series make of incidents, and what is told of that.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_kernel::{OrganisationId, Timestamp};

use super::{Move, Tags, What};
use crate::calendar::Quiet;
use crate::engine::Shared;
use crate::incident::{Interval, Note, NoteKind, ToldNote, cut};
use crate::monitor::{Compiled, RenotifyStatus, series_id};
use crate::mute::Mute;
use crate::route::named;
use crate::state::{MonitorState, OpenIncident, SeriesState};
use crate::{
    Event, IncidentId, Level, MonitorId, Notify, OrganisationRoutes, Recipients, Routed, Severity,
    StoredIncident, limits,
};

/// The tags of a series, and its metric.
type Subject<'a> = (&'a Tags, Option<&'a str>);

/// What incidents are settled with.
pub(crate) struct Settling<'a> {
    pub(crate) organisation: OrganisationId,
    pub(crate) monitor: MonitorId,
    pub(crate) version: u32,
    pub(crate) compiled: &'a Compiled,
    pub(crate) at: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) mutes: &'a [Mute],
    /// Where incidents that open go, beyond the monitor's own channels.
    pub(crate) routes: &'a OrganisationRoutes,
    /// Which series are not looked at.
    pub(crate) quiet: &'a Quiet,
}

/// An incident that is new or changed.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) incident: StoredIncident,
    pub(crate) is_new: bool,
    pub(crate) notes: Vec<Note>,
    /// Breaches of its series that are over now.
    pub(crate) over: Vec<Interval>,
    /// Breaches that go on.
    pub(crate) open: Vec<Interval>,
    pub(crate) tellings: Vec<ToTell>,
    /// What others share with it that it may be told with, of one that is new.
    pub(crate) shared: Option<Shared>,
    /// Why its channels are not those the routes say, of one that is new.
    routed: Option<String>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToTell {
    pub(crate) event: Event,
    pub(crate) sequence: u32,
    /// What is said instead of the monitor's message.
    pub(crate) message: Option<String>,
}

impl Changed {
    /// Notes what happened, as far as a row holds it.
    fn note(&mut self, time: Timestamp, what: NoteKind, text: impl Into<String>) {
        let mut text = text.into();
        if text.len() > limits::NOTE {
            text.truncate(text.floor_char_boundary(limits::NOTE));
            text.push('…');
        }
        self.notes.push(Note::new(time, None, what, text));
    }

    /// Tells the channels something.
    pub(crate) fn tell(&mut self, time: Timestamp, event: Event, message: Option<String>) {
        let incident = &mut self.incident;
        incident.tellings += 1;
        incident.last_told = Some(time);
        incident.told_severity = incident.severity;
        if event == Event::Opened {
            incident.told = Some(time);
        }
        let sequence = incident.tellings;
        let told = ToldNote::new(sequence, None, &incident.channels);
        self.tellings.push(ToTell { event, sequence, message });
        self.notes.push(Note::of_telling(time, event, told));
    }
}

/// What an incident did, in a sentence about it.
pub(crate) fn past(event: Event) -> &'static str {
    match event {
        Event::Opened => "opened",
        Event::Closed => "closed",
        Event::Updated | Event::Test => "updated",
    }
}

impl Settling<'_> {
    /// Opens, updates and closes incidents by what series did. `known` are the open incidents of `state`.
    pub(crate) fn settle(
        &self,
        state: &mut MonitorState,
        known: &BTreeMap<IncidentId, StoredIncident>,
        moves: &[Move],
    ) -> Vec<Changed> {
        let mut by_tuple: BTreeMap<Tags, Vec<&Move>> = BTreeMap::new();
        for moved in moves.iter().filter(|moved| !matches!(moved.what, What::Held | What::Moved)) {
            by_tuple.entry(self.compiled.tuple(&moved.tags)).or_default().push(moved);
        }
        let mut open: BTreeMap<Tags, Vec<&SeriesState>> = BTreeMap::new();
        for series in state.series.iter().filter(|series| series.breach.is_some()) {
            open.entry(self.compiled.tuple(&series.tags)).or_default().push(series);
        }
        let ids: BTreeMap<&Tags, IncidentId> =
            state.incidents.iter().map(|known| (&known.tuple, known.id)).collect();
        let mut tuples: BTreeSet<&Tags> = by_tuple.keys().collect();
        tuples.extend(ids.keys().copied());
        let (mut all, mut opened) = (Vec::new(), state.opened);
        for tuple in tuples {
            let moves = by_tuple.get(tuple).map_or(&[][..], Vec::as_slice);
            let series = open.get(tuple).map_or(&[][..], Vec::as_slice);
            let before = ids.get(tuple).and_then(|id| known.get(id));
            let mut changed = match before {
                Some(incident) => {
                    let mut changed = Changed::of(incident.clone(), false);
                    // What a clock that was ahead told is told now: until its time nothing would be told again.
                    let told = [&mut changed.incident.told, &mut changed.incident.last_told];
                    for told in told.into_iter().flatten() {
                        *told = (*told).min(self.at);
                    }
                    changed
                }
                None if series.is_empty() => continue,
                None => {
                    opened += 1;
                    let recipients = self.recipients(series);
                    let why = recipients.why();
                    let mut changed = Changed::of(self.opening(tuple, opened, series, recipients), true);
                    changed.routed = why;
                    changed.shared = self.shared(&changed.incident);
                    changed
                }
            };
            self.one(&mut changed, moves, series);
            if changed.is_new || before != Some(&changed.incident) {
                all.push(changed);
            }
        }
        state.opened = opened;
        let closed: BTreeSet<IncidentId> = all
            .iter()
            .filter(|changed| !changed.incident.is_open())
            .map(|changed| changed.incident.id)
            .collect();
        state.incidents.retain(|known| !closed.contains(&known.id));
        let new = all.iter().filter(|changed| changed.is_new);
        state.incidents.extend(
            new.map(|changed| OpenIncident { tuple: changed.incident.tags.clone(), id: changed.incident.id }),
        );
        all
    }

    fn opening(
        &self,
        tuple: &Tags,
        number: u64,
        series: &[&SeriesState],
        recipients: Recipients,
    ) -> StoredIncident {
        let monitor = &self.compiled.monitor;
        let started =
            series.iter().filter_map(|series| series.breach.as_ref()).map(|breach| breach.started).min();
        let title = monitor.title.as_ref().unwrap_or(&monitor.name);
        let title =
            if tuple.is_empty() { title.clone() } else { format!("{title}: {}", cut(&series_id(tuple))) };
        StoredIncident {
            id: IncidentId::of(self.organisation, self.monitor, number, self.at),
            monitor: self.monitor,
            monitor_name: monitor.name.clone(),
            monitor_version: self.version,
            kind: monitor.kind,
            title,
            message: monitor.message.clone(),
            tags: tuple.clone(),
            labels: monitor.labels.clone().into_iter().collect(),
            severity: Severity::Info,
            level: Level::Ok,
            started: started.unwrap_or(self.at),
            opened: self.at,
            updated: self.at,
            closed: None,
            close_reason: None,
            time_scale: u64::try_from(self.compiled.step).unwrap_or_default(),
            channels: recipients.channels,
            notify: monitor.notify,
            told: None,
            last_told: None,
            tellings: 0,
            renotified: 0,
            acknowledgement: None,
            assignee: None,
            open_series: 0,
            intervals: 0,
            notes: 0,
            worst: Severity::Info,
            told_severity: Severity::Info,
        }
    }

    /// What an incident shares with those it may be told with: it has a value of everything its monitor merges by.
    fn shared(&self, incident: &StoredIncident) -> Option<Shared> {
        let merge = self.compiled.monitor.merge.as_ref()?;
        let value = |name: &String| {
            let known = incident.tags.iter().chain(&incident.labels).find(|(known, _)| known == name);
            known.cloned()
        };
        let mut values = merge.by.iter().map(value).collect::<Option<Vec<_>>>()?;
        values.sort();
        Some(Shared::of(&values, &incident.channels, merge.within.milliseconds()))
    }

    /// Who is told of an incident of these series that opens now: its channels, to its end.
    fn recipients(&self, series: &[&SeriesState]) -> Recipients {
        let monitor = &self.compiled.monitor;
        let labels: Vec<_> = monitor.labels.clone().into_iter().collect();
        let tags: Vec<Tags> = series.iter().map(|series| series.tags.clone()).collect();
        self.routes.recipients(&Routed {
            labels: &labels,
            severity: self.severity(series),
            monitors: &[self.monitor.to_string(), monitor.name.clone()],
            tags: &tags,
            own: &monitor.channels,
        })
    }

    fn one(&self, changed: &mut Changed, moves: &[&Move], series: &[&SeriesState]) {
        changed.open = series.iter().filter_map(|series| interval(series)).collect();
        for moved in moves {
            if let What::Closed { breach, reason, value, season } = &moved.what {
                let name = (moved.series(), moved.tags.clone(), moved.metric.clone());
                let end = Some((self.end, *reason));
                changed.over.push(Interval::new(name, breach, *value, *season, end));
            }
        }
        let incident = &mut changed.incident;
        incident.intervals += changed.over.len() as u64;
        incident.open_series = u32::try_from(series.len()).unwrap_or(u32::MAX);
        let before = incident.severity;
        if let Some(level) = series.iter().map(|series| series.level).max() {
            incident.level = level;
            incident.severity = self.severity(series);
            incident.worst = incident.worst.max(incident.severity);
        }
        if !moves.is_empty() {
            incident.updated = self.at;
        }
        let is_new = changed.is_new;
        let told: Vec<String> = moves.iter().take(10).map(|moved| told(moved)).collect();
        let mut text = told.join("; ");
        if moves.len() > told.len() {
            text.push_str(&format!("; and {} more", moves.len() - told.len()));
        }
        if series.is_empty() {
            self.close(changed, moves, text);
            return;
        }
        if is_new {
            changed.note(self.at, NoteKind::Opened, text);
            if let Some(why) = changed.routed.take() {
                changed.note(self.at, NoteKind::Routed, why);
            }
        } else if !moves.is_empty() {
            changed.note(self.at, NoteKind::Updated, text);
        }
        let rose = !is_new && changed.incident.severity > before;
        if rose {
            self.note_other_routes(changed, series);
        }
        if let Some(known) = changed.incident.acknowledgement.clone()
            && changed.incident.severity > known.severity
        {
            changed.incident.acknowledgement = None;
            changed.note(
                self.at,
                NoteKind::Unacknowledged,
                "it is more severe than when it was acknowledged",
            );
        }
        let subjects: Vec<Subject<'_>> =
            series.iter().map(|series| (&series.tags, series.metric.as_deref())).collect();
        self.tell_open(changed, !moves.is_empty(), rose, &subjects);
    }

    /// Says of an incident that became worse which channels would be told of one that opens so.
    fn note_other_routes(&self, changed: &mut Changed, series: &[&SeriesState]) {
        let told = &changed.incident.channels;
        let mut others = self.recipients(series).channels;
        others.retain(|name| !told.contains(name));
        if others.is_empty() {
            return;
        }
        let severity = format!("{:?}", changed.incident.severity).to_lowercase();
        let text = format!(
            "it is {severity} now, and one that opens so would be told to {} too; who is told of this one was decided when \
             it opened",
            named(&others)
        );
        changed.note(self.at, NoteKind::Routed, text);
    }

    fn severity(&self, series: &[&SeriesState]) -> Severity {
        let monitor = &self.compiled.monitor;
        let each = series.iter().map(|series| match series.level {
            Level::Warning => monitor.warning_severity,
            _ => monitor.severity,
        });
        each.max().unwrap_or(monitor.severity)
    }

    /// What is told of an incident that goes on.
    fn tell_open(&self, changed: &mut Changed, moved: bool, rose: bool, series: &[Subject<'_>]) {
        let incident = &changed.incident;
        let Notify { open, update, .. } = incident.notify;
        let muted = self.silent(series, true);
        let withheld = if incident.channels.is_empty() {
            Some("it had no channels when it opened".to_owned())
        } else if !open {
            Some("the monitor does not tell of openings".to_owned())
        } else {
            muted.clone()
        };
        if incident.told.is_none() && (changed.is_new || !incident.is_followed()) {
            match withheld {
                Some(why) if changed.is_new => {
                    changed.note(self.at, NoteKind::Withheld, format!("opened: {why}"));
                }
                Some(_) => {}
                None => changed.tell(self.at, Event::Opened, None),
            }
            return;
        }
        let is_update = rose && open || moved && update;
        // What became worse while it was muted is told once it is not.
        if is_update || open && incident.severity > incident.told_severity {
            match muted {
                Some(why) if is_update => {
                    changed.note(self.at, NoteKind::Withheld, format!("updated: {why}"));
                }
                Some(_) => {}
                None => changed.tell(self.at, Event::Updated, None),
            }
            return;
        }
        if muted.is_none() && changed.incident.last_told.is_some() {
            self.renotify(changed);
        }
    }

    fn renotify(&self, changed: &mut Changed) {
        let Some(renotify) = &self.compiled.monitor.renotify else { return };
        let incident = &changed.incident;
        let status = match incident.level {
            Level::Alert => RenotifyStatus::Alert,
            Level::NoData => RenotifyStatus::NoData,
            Level::Warning | Level::Ok => RenotifyStatus::Warning,
        };
        let due = incident
            .last_told
            .is_some_and(|last| self.at.milliseconds_since(last) >= renotify.every.milliseconds());
        let times = renotify.times.is_none_or(|times| incident.renotified < times);
        if due && times && renotify.statuses.contains(&status) && incident.acknowledgement.is_none() {
            changed.incident.renotified += 1;
            changed.tell(self.at, Event::Updated, renotify.message.clone());
        }
    }

    fn close(&self, changed: &mut Changed, moves: &[&Move], text: String) {
        let reason = moves.iter().rev().find_map(|moved| match &moved.what {
            What::Closed { reason, .. } => Some(*reason),
            _ => None,
        });
        changed.incident.closed = Some(self.at);
        changed.incident.close_reason = Some(reason.unwrap_or("recovered").to_owned());
        changed.note(self.at, NoteKind::Closed, text);
        let series: Vec<Subject<'_>> =
            moves.iter().map(|moved| (&moved.tags, moved.metric.as_deref())).collect();
        let incident = &changed.incident;
        let Notify { open, close, .. } = incident.notify;
        // What was told is ended, muted or not; what nobody was told of needs no end.
        let withheld = match incident.told {
            _ if !close => Some("the monitor does not tell of closings".to_owned()),
            Some(_) => None,
            None if incident.tellings > 0 => None,
            None if open => Some("nobody was told that it opened".to_owned()),
            None if incident.channels.is_empty() => Some("it had no channels when it opened".to_owned()),
            None => self.silent(&series, false),
        };
        match withheld {
            Some(why) => changed.note(self.at, NoteKind::Withheld, format!("closed: {why}")),
            None => changed.tell(self.at, Event::Closed, None),
        }
    }

    /// Why none of these series is told of, if none is: each is muted or, where the calendar counts, not looked at.
    fn silent(&self, series: &[Subject<'_>], calendar: bool) -> Option<String> {
        let monitor = &self.compiled.monitor;
        let mut last = None;
        for (tags, metric) in series {
            let covers =
                |mute: &&Mute| mute.is_active(self.at) && mute.covers(&monitor.name, &monitor.labels, tags);
            last = Some(match self.mutes.iter().find(covers) {
                Some(mute) => {
                    let until = mute.end.map_or_else(|| "it is deleted".to_owned(), |end| end.to_string());
                    format!("mute {} until {until}", mute.id)
                }
                None => self.quiet.of(tags, *metric).filter(|_| calendar)?,
            });
        }
        last
    }
}

impl Changed {
    /// Whether it opened, was updated or closed, by which entry of its timeline, when; as long as these are not counted
    /// in the incident yet.
    pub(crate) fn moved(&self) -> Option<(Event, u64, Timestamp)> {
        (self.incident.notes..).zip(&self.notes).find_map(|(number, note)| {
            let event = match note.what {
                NoteKind::Opened => Event::Opened,
                NoteKind::Updated => Event::Updated,
                NoteKind::Closed => Event::Closed,
                _ => return None,
            };
            Some((event, number, note.time))
        })
    }

    pub(crate) fn of(incident: StoredIncident, is_new: bool) -> Self {
        let (notes, over, open, tellings) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { incident, is_new, notes, over, open, tellings, shared: None, routed: None }
    }
}

/// A series that breaches, as an interval without an end.
pub(crate) fn interval(series: &SeriesState) -> Option<Interval> {
    let name = (series.id(), series.tags.clone(), series.metric.clone());
    Some(Interval::new(name, series.breach.as_ref()?, series.value, series.season, None))
}

fn told(moved: &Move) -> String {
    let Move { from, to, why, .. } = moved;
    let (series, from, to) = (cut(&moved.series()), from.as_str(), to.as_str());
    match from == to {
        true => format!("{series} {}: {why}", moved.what.word()),
        false => format!("{series} {} from {from} to {to}: {why}", moved.what.word()),
    }
}

/// Ends every breach of a monitor that is not evaluated any more.
pub(crate) fn close_all(state: &mut MonitorState, reason: &'static str) -> Vec<Move> {
    close_some(state, reason, &format!("the {}", reason.replace('-', " was ")), |_| true)
}

/// Ends the breaches of the series whose tags are wanted.
pub(crate) fn close_some(
    state: &mut MonitorState,
    reason: &'static str,
    why: &str,
    wanted: impl Fn(&[(String, String)]) -> bool,
) -> Vec<Move> {
    let mut moves = Vec::new();
    for series in state.series.iter_mut().filter(|series| wanted(&series.tags)) {
        let Some(breach) = series.breach.take() else { continue };
        let from = std::mem::replace(&mut series.level, Level::Ok);
        let what =
            What::Closed { breach: Box::new(breach), reason, value: series.value, season: series.season };
        let (tags, metric) = (series.tags.clone(), series.metric.clone());
        moves.push(Move { tags, metric, from, to: Level::Ok, what, why: why.to_owned() });
    }
    moves
}
