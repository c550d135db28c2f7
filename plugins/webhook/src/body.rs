//! The JSON of a notification: `type`, `timestamp` and `data`, as Standard Webhooks recommends.

use bellwether_sdk::formatter::{
    AffectedSeries, Alert, Event, Excursion, Incident, Kind, Link, Notification, Purpose, Severity, UserEvent,
};
use bellwether_sdk::serde_json::{Map, Value as Json, from_str, json};
use bellwether_sdk::{Timestamp, Value};

/// The whole body.
pub(crate) fn of(notification: &Notification) -> Json {
    let event = match notification.event {
        Event::Opened => "incident.opened",
        Event::Updated => "incident.updated",
        Event::Closed => "incident.closed",
        Event::Test => "test",
    };
    json!({
        "type": event,
        "timestamp": time(notification.time),
        "data": {
            "organisation": notification.organisation,
            "sequence": notification.sequence,
            "incident": incident(&notification.incident),
        },
    })
}

fn incident(incident: &Incident) -> Json {
    json!({
        "id": incident.id,
        "title": incident.title,
        "description": incident.description,
        "severity": severity(incident.severity),
        "state": state(incident.ended.is_none()),
        "started": time(incident.started),
        "ended": incident.ended.map(time),
        "time_scale_ms": incident.time_scale,
        "merged": incident.merged,
        "assignee": incident.assignee,
        "acknowledged_by": incident.acknowledged_by,
        "links": links(&incident.links),
        "alerts": incident.alerts.iter().map(alert).collect::<Json>(),
        "events": incident.events.iter().map(user_event).collect::<Json>(),
    })
}

fn alert(alert: &Alert) -> Json {
    let kind = match alert.kind {
        Kind::Threshold => "threshold",
        Kind::NoData => "no-data",
        Kind::Anomaly => "anomaly",
    };
    json!({
        "monitor": alert.monitor,
        "triggers": alert.triggers,
        "kind": kind,
        "severity": severity(alert.severity),
        "title": alert.title,
        "description": alert.description,
        "state": state(alert.open),
        "labels": pairs(&alert.labels),
        "links": links(&alert.links),
        "series": alert.series.iter().map(series).collect::<Json>(),
        "series_left_out": alert.left_out,
    })
}

fn series(series: &AffectedSeries) -> Json {
    let details: Map<String, Json> =
        series.details.iter().map(|detail| (detail.name.clone(), value(&detail.value))).collect();
    json!({
        "id": series.id,
        "metric": series.metric,
        "tags": pairs(&series.tags),
        "unit": series.unit,
        "state": state(series.open),
        "started": time(series.started),
        "ended": series.ended.map(time),
        "value": series.value,
        "upper": series.upper.as_ref().map(excursion),
        "lower": series.lower.as_ref().map(excursion),
        "score": series.score,
        "threshold": series.threshold,
        "last_seen": series.last_seen.map(time),
        "season_ms": series.season,
        "close_reason": series.close_reason,
        "links": links(&series.links),
        "details": details,
    })
}

fn excursion(excursion: &Excursion) -> Json {
    json!({
        "peak": excursion.peak,
        "expected": excursion.expected,
        "delta": excursion.delta,
        "delta_percentage": excursion.delta_percentage,
    })
}

fn user_event(event: &UserEvent) -> Json {
    json!({
        "title": event.title,
        "description": event.description,
        "source": event.source,
        "category": event.category,
        "started": time(event.started),
        "ended": event.ended.map(time),
    })
}

fn links(links: &[Link]) -> Json {
    let purpose = |purpose| match purpose {
        Purpose::Incident => "incident",
        Purpose::Investigation => "investigation",
        Purpose::Monitor => "monitor",
        Purpose::Image => "image",
        Purpose::Action => "action",
    };
    links
        .iter()
        .map(|link| json!({"purpose": purpose(link.purpose), "label": link.label, "url": link.url}))
        .collect()
}

fn pairs(pairs: &[(String, String)]) -> Json {
    pairs.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect()
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

fn time(milliseconds: i64) -> String {
    Timestamp::from_milliseconds(milliseconds).to_string()
}
