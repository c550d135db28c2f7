//! The JSON of a notification: `type`, `timestamp` and `data`, as Standard Webhooks recommends.

use bellwether_sdk::formatter::{
    AffectedSeries, Alert, Event, Excursion, Incident, Kind, Link, Notification, Purpose, Severity, UserEvent,
};
use bellwether_sdk::serde_json::{Value as Json, from_str};
use bellwether_sdk::{Timestamp, Value};
use serde::{Serialize, Serializer};

/// The whole body. It borrows: a tree of values of its own took as long as everything else of a notification.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    r#type: &'static str,
    timestamp: Time,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    organisation: &'a str,
    sequence: u32,
    incident: IncidentBody<'a>,
}

#[derive(Serialize)]
struct IncidentBody<'a> {
    id: &'a str,
    title: &'a str,
    description: &'a str,
    severity: &'static str,
    state: &'static str,
    started: Time,
    ended: Option<Time>,
    time_scale_ms: Option<u64>,
    merged: &'a [String],
    assignee: Option<&'a str>,
    acknowledged_by: Option<&'a str>,
    links: Vec<LinkBody<'a>>,
    alerts: Vec<AlertBody<'a>>,
    events: Vec<EventBody<'a>>,
}

#[derive(Serialize)]
struct AlertBody<'a> {
    monitor: &'a str,
    triggers: &'a [String],
    kind: &'static str,
    severity: &'static str,
    title: &'a str,
    description: &'a str,
    state: &'static str,
    #[serde(serialize_with = "pairs")]
    labels: &'a [(String, String)],
    links: Vec<LinkBody<'a>>,
    series: Vec<SeriesBody<'a>>,
    series_left_out: u32,
}

#[derive(Serialize)]
struct SeriesBody<'a> {
    id: &'a str,
    metric: &'a str,
    #[serde(serialize_with = "pairs")]
    tags: &'a [(String, String)],
    unit: Option<&'a str>,
    state: &'static str,
    started: Time,
    ended: Option<Time>,
    value: Option<f64>,
    upper: Option<ExcursionBody>,
    lower: Option<ExcursionBody>,
    score: Option<f64>,
    threshold: Option<f64>,
    last_seen: Option<Time>,
    season_ms: Option<u64>,
    close_reason: Option<&'a str>,
    links: Vec<LinkBody<'a>>,
    #[serde(serialize_with = "details")]
    details: &'a AffectedSeries,
}

#[derive(Serialize)]
struct ExcursionBody {
    peak: f64,
    expected: Option<f64>,
    delta: Option<f64>,
    delta_percentage: Option<f64>,
}

#[derive(Serialize)]
struct EventBody<'a> {
    title: &'a str,
    description: &'a str,
    source: &'a str,
    category: &'a str,
    started: Time,
    ended: Option<Time>,
}

#[derive(Serialize)]
struct LinkBody<'a> {
    purpose: &'static str,
    label: &'a str,
    url: &'a str,
}

/// Milliseconds since the epoch, written as a date.
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Timestamp::from_milliseconds(self.0))
    }
}

/// The body of a notification.
pub(crate) fn of(notification: &Notification) -> Body<'_> {
    Body {
        r#type: match notification.event {
            Event::Opened => "incident.opened",
            Event::Updated => "incident.updated",
            Event::Closed => "incident.closed",
            Event::Test => "test",
        },
        timestamp: Time(notification.time),
        data: Data {
            organisation: &notification.organisation,
            sequence: notification.sequence,
            incident: incident(&notification.incident),
        },
    }
}

fn incident(incident: &Incident) -> IncidentBody<'_> {
    IncidentBody {
        id: &incident.id,
        title: &incident.title,
        description: &incident.description,
        severity: severity(incident.severity),
        state: state(incident.ended.is_none()),
        started: Time(incident.started),
        ended: incident.ended.map(Time),
        time_scale_ms: incident.time_scale,
        merged: &incident.merged,
        assignee: incident.assignee.as_deref(),
        acknowledged_by: incident.acknowledged_by.as_deref(),
        links: links(&incident.links),
        alerts: incident.alerts.iter().map(alert).collect(),
        events: incident.events.iter().map(user_event).collect(),
    }
}

fn alert(alert: &Alert) -> AlertBody<'_> {
    AlertBody {
        monitor: &alert.monitor,
        triggers: &alert.triggers,
        kind: match alert.kind {
            Kind::Threshold => "threshold",
            Kind::NoData => "no-data",
            Kind::Anomaly => "anomaly",
        },
        severity: severity(alert.severity),
        title: &alert.title,
        description: &alert.description,
        state: state(alert.open),
        labels: &alert.labels,
        links: links(&alert.links),
        series: alert.series.iter().map(series).collect(),
        series_left_out: alert.left_out,
    }
}

fn series(series: &AffectedSeries) -> SeriesBody<'_> {
    SeriesBody {
        id: &series.id,
        metric: &series.metric,
        tags: &series.tags,
        unit: series.unit.as_deref(),
        state: state(series.open),
        started: Time(series.started),
        ended: series.ended.map(Time),
        value: series.value,
        upper: series.upper.as_ref().map(excursion),
        lower: series.lower.as_ref().map(excursion),
        score: series.score,
        threshold: series.threshold,
        last_seen: series.last_seen.map(Time),
        season_ms: series.season,
        close_reason: series.close_reason.as_deref(),
        links: links(&series.links),
        details: series,
    }
}

fn excursion(excursion: &Excursion) -> ExcursionBody {
    let Excursion { peak, expected, delta, delta_percentage } = *excursion;
    ExcursionBody { peak, expected, delta, delta_percentage }
}

fn user_event(event: &UserEvent) -> EventBody<'_> {
    EventBody {
        title: &event.title,
        description: &event.description,
        source: &event.source,
        category: &event.category,
        started: Time(event.started),
        ended: event.ended.map(Time),
    }
}

fn links(links: &[Link]) -> Vec<LinkBody<'_>> {
    let purpose = |purpose| match purpose {
        Purpose::Incident => "incident",
        Purpose::Investigation => "investigation",
        Purpose::Monitor => "monitor",
        Purpose::Image => "image",
        Purpose::Action => "action",
    };
    links
        .iter()
        .map(|link| LinkBody { purpose: purpose(link.purpose), label: &link.label, url: &link.url })
        .collect()
}

/// As an object; of several values of one name the last.
fn pairs<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let is_last = |at: usize, name: &String| pairs[at + 1..].iter().all(|(later, _)| later != name);
    let last = pairs.iter().enumerate().filter(|(at, (name, _))| is_last(*at, name));
    serializer.collect_map(last.map(|(_, (name, value))| (name, value)))
}

/// As an object; of several values of one name the last.
fn details<S: Serializer>(series: &AffectedSeries, serializer: S) -> Result<S::Ok, S::Error> {
    let all = &series.details;
    let is_last = |at: usize, name: &String| all[at + 1..].iter().all(|later| later.name != *name);
    let last = all.iter().enumerate().filter(|(at, detail)| is_last(*at, &detail.name));
    serializer.collect_map(last.map(|(_, detail)| (&detail.name, value(&detail.value))))
}

/// A detail, bytes left out: they are not JSON.
fn value(value: &Value) -> Json {
    match value {
        Value::None | Value::Binary(_) | Value::Binaries(_) => Json::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Number(number) => (*number).into(),
        Value::Boolean(boolean) => (*boolean).into(),
        Value::Texts(texts) => texts.clone().into(),
        Value::Integers(numbers) => numbers.clone().into(),
        Value::Numbers(numbers) => numbers.clone().into(),
        Value::Json(text) => from_str(text).unwrap_or(Json::Null),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn state(open: bool) -> &'static str {
    if open { "open" } else { "closed" }
}
