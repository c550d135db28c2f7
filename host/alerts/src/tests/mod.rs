//! What alerts as a whole promise, on a store in memory.

mod absence;
mod actions;
mod anomalies;
mod backtests;
mod calendar;
mod callers;
mod counts;
mod documents;
mod erasing;
mod events;
mod feedback;
mod lifecycle;
pub(crate) mod log;
mod merge;
mod mutes;
mod noticed;
mod parts;
mod problems;
mod room;
mod simulation;
mod slow;
mod suspension;
mod together;
mod wakes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bellwether_access::{Access, HostKey, Principal, Role};
use bellwether_kernel::{
    KeyId, ManualClock, OrganisationId, PageRequest, RecordId, SeededRandomness, Timestamp,
};
use bellwether_records::{Content, Near, Nearest, Record, RecordError, Wanted};
use bellwether_series::{Expression, Line, Listener, SeriesError, SeriesSlice, TimeRange};
use bellwether_store::{Batch, Key, MemoryStore, MergeError, Space, Store, StoreError};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::sync::Notify;

use crate::delivery::keys;
use crate::*;

const OURS: OrganisationId = OrganisationId(1);
/// 2023-11-14T22:13:00Z, a whole minute.
const START: i64 = 1_699_999_980_000;
const MINUTE: i64 = 60_000;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_milliseconds(START + minutes * MINUTE).unwrap()
}

/// Points of series, by the value of the one tag they are grouped by; no tag for the empty value. The next query waits
/// behind the gate, if there is one, after it was answered; while they are away none is.
#[derive(Default)]
struct FakeFigures(
    Mutex<BTreeMap<String, BTreeMap<i64, f64>>>,
    Mutex<Option<Arc<Notify>>>,
    Mutex<Vec<Weak<dyn Listener>>>,
    AtomicBool,
);

impl FakeFigures {
    fn put(&self, host: &str, time: Timestamp, value: f64) {
        let time = time.as_milliseconds();
        self.0.lock().entry(host.to_owned()).or_default().insert(time, value);
        let tag = format!("host:{host}");
        let slice = SeriesSlice { metric: "cpu", tags: &[&tag], times: &[time], values: &[value] };
        let listeners: Vec<_> = self.2.lock().iter().filter_map(Weak::upgrade).collect();
        listeners.into_iter().filter_map(|listener| listener.hint(OURS, &[slice])).for_each(|hint| hint());
    }
}

#[async_trait]
impl Figures for FakeFigures {
    async fn query(
        &self,
        _: OrganisationId,
        expression: &Expression,
        range: TimeRange,
    ) -> Result<Vec<Line>, SeriesError> {
        if expression.metrics() == ["broken"] || self.3.load(Ordering::Relaxed) {
            return Err(SeriesError::Limit { what: "series in one query", limit: 1 });
        }
        if expression.metrics() == ["nowhere"] {
            return Ok(Vec::new());
        }
        let (step, start, end) = (range.step(), range.start.as_milliseconds(), range.end.as_milliseconds());
        let mut lines = Vec::new();
        for (host, points) in &*self.0.lock() {
            let mut steps: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (time, value) in points.range(start..=end) {
                steps.entry(time.div_euclid(step) * step).or_default().push(*value);
            }
            let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            let points: Vec<(i64, f64)> =
                steps.into_iter().map(|(time, values)| (time, mean(values))).collect();
            if !points.is_empty() {
                let tags =
                    if host.is_empty() { Vec::new() } else { vec![("host".into(), host.as_str().into())] };
                lines.push(Line { metric: Some("cpu".into()), tags, step, points });
            }
        }
        let gate = self.1.lock().take();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        Ok(lines)
    }

    fn tell(&self, listener: &Arc<dyn Listener>) {
        self.2.lock().push(Arc::downgrade(listener));
    }
}

/// Events in memory, found after so long; or none that answers in time.
#[derive(Default)]
struct FakeEvents(Mutex<Vec<Record>>, AtomicBool, Mutex<Duration>);

impl FakeEvents {
    /// An event of now and then, with tags; its number is its id.
    fn put(&self, time: Timestamp, title: &str, tags: &[&str]) {
        let mut all = self.0.lock();
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let content = Content { time, title: title.to_owned(), tags, ..Content::default() };
        let id = RecordId(all.len() as u64 + 1);
        all.push(Record { id, content });
    }
}

#[async_trait]
impl EventSource for FakeEvents {
    async fn nearest(
        &self,
        _: OrganisationId,
        near: Nearest,
        wanted: Wanted,
        patience: Option<Duration>,
    ) -> Result<Near, RecordError> {
        if self.1.load(Ordering::Relaxed) && patience.is_some() {
            return Err(StoreError::Unavailable("events were not found in time").into());
        }
        let takes = *self.2.lock();
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let all = self.0.lock();
        let within = |record: &&Record| (near.start..=near.end).contains(&record.content.time);
        let mut records: Vec<Record> =
            all.iter().filter(within).filter(|record| wanted(record)).cloned().collect();
        records.sort_by_key(|record| {
            let passed = record.content.time.milliseconds_since(near.to);
            (passed.abs(), passed)
        });
        let complete = records.len() <= near.limit;
        records.truncate(near.limit);
        Ok(Near { records, complete })
    }
}

/// Keeps what is told in the store, so that it is there exactly if the commit it was part of is; appends, so that what
/// is told twice shows.
struct Outbox;

fn append(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    Ok([existing.unwrap_or_default(), operand, b"\n"].concat())
}

fn outbox() -> Key {
    Key::new(Space::Meta).text("told")
}

impl Tellings for Outbox {
    fn add(&self, batch: &mut Batch, telling: &Telling) -> Result<(), AlertError> {
        let line = json!({"event": telling.event, "sequence": telling.sequence, "incident": telling.incident.id,
            "time": telling.time.to_string(), "channels": telling.channels, "whole": telling.incident});
        let key = outbox().text(&telling.incident.id).number(telling.sequence.into());
        batch.merge(key, line.to_string(), append);
        Ok(())
    }

    fn committed(&self) {}
}

/// One plugin, the detector `bound`; where it is absent, it is switched off.
#[derive(Default)]
struct FakeRoles(Option<Arc<dyn Detector>>);

impl Roles for FakeRoles {
    fn detector(&self, _: OrganisationId, name: &str) -> Option<Arc<dyn Detector>> {
        self.0.clone().filter(|_| name == "bound")
    }

    fn forecaster(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Forecaster>> {
        None
    }

    fn formatter(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Formatter>> {
        None
    }

    fn why_not_called(&self, _: OrganisationId, name: &str, _: RoleKind) -> Option<String> {
        (name == "bound").then(|| "it is switched off".to_owned())
    }
}

struct World {
    store: Arc<MemoryStore>,
    figures: Arc<FakeFigures>,
    events: Arc<FakeEvents>,
    clock: Arc<ManualClock>,
    access: Arc<Access>,
    roles: Arc<FakeRoles>,
    limits: Limits,
    alerts: Arc<Alerts>,
    principal: Principal,
}

impl World {
    async fn new() -> Self {
        Self::with_roles(FakeRoles::default()).await
    }

    async fn with_roles(roles: FakeRoles) -> Self {
        let clock = Arc::new(ManualClock::new(at(0)));
        let chance = Arc::new(SeededRandomness::new(1));
        let host_key = HostKey::from_hex(&"5a".repeat(32)).unwrap();
        // On a store of its own: what is audited joins the batches of the alerts all the same.
        let store = Arc::new(MemoryStore::new());
        let access = Access::open(store, clock.clone(), chance.clone(), host_key).await.unwrap();
        let principal = Principal {
            organisation: OURS,
            organisation_name: "acme".into(),
            time_zone: "UTC".into(),
            key: KeyId::random(&*chance),
            key_name: "ada".into(),
            role: Role::Admin,
        };
        let (store, access, roles) = (Arc::new(MemoryStore::new()), Arc::new(access), Arc::new(roles));
        let figures = Arc::new(FakeFigures::default());
        let events = Arc::new(FakeEvents::default());
        let limits = Limits { at_once: 4, ..Limits::default() };
        let alerts = open(&store, (&figures, &events), &clock, &access, &roles, limits);
        Self { store, figures, events, clock, access, roles, limits, alerts, principal }
    }

    /// The same with room for so few series of a monitor.
    fn narrow(mut self, series: usize) -> Self {
        self.limits.series = series;
        self.alerts = self.beside();
        self
    }

    /// Another process on this store at the same time.
    fn beside(&self) -> Arc<Alerts> {
        let figures = (&self.figures, &self.events);
        open(&self.store, figures, &self.clock, &self.access, &self.roles, self.limits)
    }

    /// The process ends; another begins on `store`.
    fn restart_on(&mut self, store: MemoryStore) {
        self.store = Arc::new(store);
        self.alerts = self.beside();
    }

    /// Sets the clock and evaluates what is due.
    async fn evaluate(&self, minute: i64) {
        self.clock.set(at(minute));
        self.alerts.evaluate_due(at(minute)).await.unwrap();
    }

    /// Writes one value a minute to a host, from the last minute written on, and evaluates at each minute's end.
    async fn live(&self, from: i64, values: &[(&str, f64)]) -> i64 {
        for (host, value) in values {
            self.figures.put(host, at(from), *value);
        }
        self.evaluate(from + 1).await;
        from + 1
    }

    /// Puts channels of these names, as far as alerts ask for them.
    async fn put_channels(&self, names: &[&str]) {
        let mut batch = Batch::new();
        for name in names {
            batch.put(keys::channel(OURS, name), Vec::new());
        }
        self.store.commit(batch).await.unwrap();
    }

    async fn create(&self, document: Json) -> StoredMonitor {
        self.alerts.create_monitor(&self.principal, &document).await.unwrap()
    }

    /// What was told, incident by incident: `opened 1`.
    async fn told(&self) -> Vec<Vec<String>> {
        let each = |line: &Json| format!("{} {}", line["event"].as_str().unwrap(), line["sequence"]);
        self.told_whole().await.iter().map(|lines| lines.iter().map(each).collect()).collect()
    }

    async fn told_whole(&self) -> Vec<Vec<Json>> {
        let rows =
            self.store.scan(outbox().prefix(), bellwether_store::Direction::Forward, 10_000).await.unwrap();
        let text = rows.iter().flat_map(|(_, value)| std::str::from_utf8(value).unwrap().lines());
        let lines: Vec<Json> = text.map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.chunk_by(|one, next| one["incident"] == next["incident"]).map(<[Json]>::to_vec).collect()
    }

    async fn incidents(&self) -> Vec<StoredIncident> {
        let filter = IncidentFilter::default();
        self.alerts.incidents(OURS, &filter, &PageRequest::first(100)).await.unwrap().items
    }

    async fn notes(&self, id: IncidentId) -> Vec<(NoteKind, String)> {
        let page = PageRequest::first(1_000);
        let notes = self.alerts.incident_trace(OURS, id, &page).await.unwrap().items;
        notes.into_iter().map(|note| (note.what, note.text)).collect()
    }
}

fn open(
    store: &Arc<MemoryStore>,
    (figures, events): (&Arc<FakeFigures>, &Arc<FakeEvents>),
    clock: &Arc<ManualClock>,
    access: &Arc<Access>,
    roles: &Arc<FakeRoles>,
    limits: Limits,
) -> Arc<Alerts> {
    Alerts::idle(Parts {
        store: store.clone(),
        access: access.clone(),
        figures: figures.clone(),
        events: events.clone(),
        roles: roles.clone(),
        tellings: Arc::new(Outbox),
        clock: clock.clone(),
        limits,
        outward: Outward::default(),
    })
}

/// A monitor of a minute's window that tells one channel.
fn cpu(mut more: Json) -> Json {
    let mut document = json!({
        "name": "cpu", "kind": "threshold", "query": "avg:cpu{*} by {host}", "window": "1m", "new_group_delay": "0s",
        "thresholds": {"comparator": ">", "critical": 90}, "channels": ["mail"],
    });
    document.as_object_mut().unwrap().append(more.as_object_mut().unwrap());
    document
}
