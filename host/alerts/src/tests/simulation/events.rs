//! Events that happen meanwhile, are reported late, are freed, or are not found in time: what belongs to an incident in the
//! end is what a naive look says, as it was when the incident ended.

use std::cell::Cell;

use super::*;

/// What happens besides, by a chance of its own.
pub(super) struct Happenings {
    draw: SmallRng,
    /// Whether events are sometimes not found in time.
    unreliable: bool,
    /// Everything that ever happened.
    all: Vec<Record>,
    /// What belonged to incidents as they ended.
    ends: BTreeMap<IncidentId, Vec<String>>,
    /// Events that belonged to incidents, all together.
    pub(super) belonged: Cell<u64>,
}

impl Happenings {
    pub(super) fn new(seed: u64) -> Self {
        let mut draw = SmallRng::seed_from_u64(!seed);
        let unreliable = draw.random_bool(0.2);
        Self { draw, unreliable, all: Vec::new(), ends: BTreeMap::new(), belonged: Cell::new(0) }
    }
}

/// Whether an event belongs to an incident by its time and tags, `until` being its end.
fn belongs(record: &Record, incident: &StoredIncident, until: Timestamp) -> bool {
    let Content { time, tags, .. } = &record.content;
    let in_time = *time >= incident.started.saturating_add(-60 * MINUTE) && *time <= until;
    let hosts: Vec<String> = incident.tags.iter().map(|(key, host)| format!("{key}:{host}")).collect();
    in_time && (hosts.is_empty() || tags.is_empty() || tags.contains(&hosts[0]))
}

impl Simulation {
    /// Before a minute's evaluations: something happens, or is reported late; old events are freed.
    pub(super) fn happen(&mut self) {
        let (events, happenings) = (&self.world.events, &mut self.happenings);
        let draw = &mut happenings.draw;
        if draw.random_bool(0.4) {
            let late = if draw.random_bool(0.5) { 0 } else { draw.random_range(0..70) };
            let hosts = ["host:a", "host:b", "host:c", "host:d"];
            let tags = hosts.get(draw.random_range(0..hosts.len() + 1)).map_or(&[][..], std::slice::from_ref);
            let id = RecordId(happenings.all.len() as u64 + 1);
            let content = Content {
                time: at(self.minute - late),
                title: format!("event {id}"),
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
                ..Content::default()
            };
            happenings.all.push(Record { id, content: content.clone() });
            events.0.lock().push(Record { id, content });
        }
        if draw.random_bool(0.05) {
            let kept = at(self.minute - draw.random_range(0..60));
            events.0.lock().retain(|record| record.content.time >= kept);
        }
        if happenings.unreliable {
            events.1.store(draw.random_bool(0.3), Ordering::Relaxed);
        }
    }

    /// After a minute's evaluations: notes what belongs to the incidents that ended.
    pub(super) async fn note_ends(&mut self) {
        let over = IncidentFilter { state: Some(IncidentState::Closed), ..IncidentFilter::default() };
        let over = self.world.alerts.incidents(OURS, &over, &PageRequest::first(1_000)).await.unwrap().items;
        for incident in over {
            if !self.happenings.ends.contains_key(&incident.id) {
                let titles = self.now_belonging(&incident);
                self.happenings.ends.insert(incident.id, titles);
            }
        }
    }

    /// Titles of the events there are now that belong to an incident, the nearest first.
    fn now_belonging(&self, incident: &StoredIncident) -> Vec<String> {
        let until = incident.closed.unwrap_or_else(|| self.world.clock.now());
        let all = self.world.events.0.lock();
        let mut found: Vec<&Record> = all.iter().filter(|record| belongs(record, incident, until)).collect();
        found.sort_by_key(|record| {
            let passed = record.content.time.milliseconds_since(incident.started);
            (passed.abs(), passed)
        });
        found.into_iter().map(|record| record.content.title.clone()).collect()
    }

    /// What is wrong with the events of an incident, and with what was told of them, in `lines`.
    pub(super) async fn check_events(&self, incident: &StoredIncident, lines: &[Json]) -> Vec<String> {
        let mut problems = Vec::new();
        let found = self.world.alerts.incident_events(OURS, incident.id).await.unwrap();
        let of_events = found.events.iter().filter(|event| matches!(event.origin, EventOrigin::Event(_)));
        let titles: Vec<String> = of_events.map(|event| event.title.clone()).collect();
        let expected = match self.happenings.ends.get(&incident.id).filter(|_| found.kept) {
            Some(ended) => ended.clone(),
            None => self.now_belonging(incident),
        };
        if titles != expected {
            problems.push(format!("incident {} has {titles:?}, not {expected:?}", incident.id));
        }
        if !self.happenings.unreliable && found.kept == incident.is_open() {
            problems.push(format!("incident {}: kept {}", incident.id, found.kept));
        }
        self.happenings.belonged.set(self.happenings.belonged.get() + titles.len() as u64);
        for line in lines {
            let until = Timestamp::parse(line["time"].as_str().unwrap()).unwrap();
            // The evaluation was due less than a minute before it was made.
            let until = until.saturating_add(MINUTE);
            for told in line["whole"]["events"].as_array().unwrap() {
                let title = told["title"].as_str().unwrap();
                let known = self.happenings.all.iter().find(|record| record.content.title == title);
                if known.is_some_and(|record| !belongs(record, incident, until)) {
                    problems.push(format!("incident {} was told with {title}", incident.id));
                }
            }
        }
        problems
    }
}
