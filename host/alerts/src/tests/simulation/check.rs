//! What must be true of what a simulation left.

use super::*;

impl Simulation {
    /// Everything that is wrong.
    pub(super) async fn check(&mut self) -> Vec<String> {
        let mut problems = std::mem::take(&mut self.problems);
        let series =
            self.world.alerts.monitor_series(OURS, "cpu", &PageRequest::first(100)).await.unwrap().items;
        let levels: BTreeMap<String, Level> =
            series.iter().map(|series| (series.tags[0].1.clone(), series.level)).collect();
        if levels != self.model.levels() {
            problems.push(format!("levels are {levels:?}, the model has {:?}", self.model.levels()));
        }
        let page = PageRequest::first(1_000);
        let mut incidents =
            self.world.alerts.incidents(OURS, &IncidentFilter::default(), &page).await.unwrap().items;
        incidents.sort_by_key(|incident| (incident.opened, incident.tags.clone()));
        let told = self.world.told_whole().await;
        let told: BTreeMap<String, Vec<Json>> = told
            .into_iter()
            .map(|lines| (lines[0]["incident"].as_str().unwrap().to_owned(), lines))
            .collect();
        let expected = &self.model.incidents;
        if incidents.len() != expected.len() {
            problems.push(format!("{} incidents, the model has {}", incidents.len(), expected.len()));
        }
        for (incident, expected) in incidents.iter().zip(expected) {
            let lines = told.get(&incident.id.to_string()).map_or(&[][..], Vec::as_slice);
            problems.extend(self.one(incident, lines, expected).await);
            let own = if self.model.merges { &[][..] } else { lines };
            problems.extend(self.check_events(incident, own).await);
        }
        for group in &self.model.groups {
            let Some(lead) = incidents.get(group.parts[0]) else { continue };
            let lines = told.get(&lead.id.to_string()).map_or(&[][..], Vec::as_slice);
            let is_open =
                group.parts.iter().any(|part| incidents.get(*part).is_some_and(StoredIncident::is_open));
            problems.extend(life(lead, lines, &group.events, is_open));
            let parts: Vec<IncidentId> =
                group.parts.iter().filter_map(|part| incidents.get(*part)).map(|part| part.id).collect();
            let merged = self.world.alerts.merged(OURS, lead.id).await.unwrap();
            if merged != Some((lead.id, parts)) {
                problems.push(format!("incident {} is told with {merged:?}, not {group:?}", lead.id));
            }
        }
        if self.model.merges && told.len() > self.model.groups.len() {
            problems.push(format!("{} were told of, the model has {:?}", told.len(), self.model.groups));
        }
        problems
    }

    async fn one(
        &self,
        incident: &StoredIncident,
        lines: &[Json],
        expected: &model::Expected,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let mut wrong = |what: String| problems.push(format!("incident {}: {what}", incident.id));
        let tuple = incident.tags.first().map_or("", |(_, host)| host);
        if (tuple, incident.is_open()) != (expected.tuple.as_str(), expected.open) {
            wrong(format!("{tuple:?}, open {}, the model has {expected:?}", incident.is_open()));
        }
        if !self.model.merges && incident.tellings as usize != lines.len() {
            wrong(format!("{} tellings were counted: {lines:?}", incident.tellings));
        }
        let intervals = self.world.alerts.incident_intervals(OURS, incident.id, 1_000).await.unwrap();
        let ended = intervals.iter().filter(|interval| interval.ended.is_some()).count() as u64;
        let open = (intervals.len() as u64 - ended) as u32;
        if ended != incident.intervals || open != if incident.is_open() { incident.open_series } else { 0 } {
            wrong(format!("{ended} intervals are over and {open} open: {incident:?}"));
        }
        let notes = self.world.notes(incident.id).await;
        let kinds = |kind| notes.iter().filter(|(known, _)| *known == kind).count();
        if notes.len() as u64 != incident.notes
            || kinds(NoteKind::Opened) != 1
            || kinds(NoteKind::Closed) != usize::from(!incident.is_open())
            || !self.model.merges && kinds(NoteKind::Told) != lines.len()
        {
            wrong(format!("its trace does not tell it: {notes:?}"));
        }
        if !self.model.merges {
            problems.extend(life(incident, lines, &expected.events, incident.is_open()));
        }
        problems
    }
}

/// What is wrong with what channels were told under the id of an incident.
fn life(incident: &StoredIncident, lines: &[Json], expected: &[Event], is_open: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut wrong = |what: String| problems.push(format!("incident {}: {what}", incident.id));
    let events: Vec<Event> =
        lines.iter().map(|line| serde_json::from_value(line["event"].clone()).unwrap()).collect();
    if events != expected {
        wrong(format!("told {events:?}, the model has {expected:?}"));
    }
    let sequences: Vec<u64> = lines.iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    if sequences != (1..=lines.len() as u64).collect::<Vec<_>>() {
        wrong(format!("the sequence is {sequences:?}"));
    }
    let of = |event: Event| events.iter().filter(|told| **told == event).count();
    let first = events.first().is_none_or(|event| *event == Event::Opened);
    let closed = of(Event::Closed) == usize::from(!is_open && !events.is_empty());
    let last = of(Event::Closed) == 0 || events.last() == Some(&Event::Closed);
    if !first || !last || !closed || of(Event::Opened) > 1 {
        wrong(format!("{events:?} is no life of an incident, open {is_open}"));
    }
    problems
}
