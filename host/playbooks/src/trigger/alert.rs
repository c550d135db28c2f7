//! What `trigger` holds of a run that an incident started.

use bellwether_alerts::{Event, Incident, Moved, Notification, Series, StoredIncident};
use bellwether_kernel::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::AlertMove;

/// Its fields, in order.
pub(crate) const FIELDS: [&str; 29] = [
    "acknowledged_by",
    "assignee",
    "close_reason",
    "closed",
    "events",
    "expected",
    "incident",
    "kind",
    "labels",
    "level",
    "links",
    "message",
    "monitor",
    "monitor_id",
    "move",
    "open_series",
    "opened",
    "sequence",
    "series",
    "severity",
    "started",
    "state",
    "tags",
    "time",
    "title",
    "told",
    "url",
    "value",
    "version",
];

/// Series that are passed on: the worst. How many there are is passed on besides.
const SERIES: usize = 10;

/// `trigger` of a run started by what an incident did.
pub(crate) fn of(moved: &Moved) -> Json {
    let mut trigger = about(&moved.incident, &moved.as_told);
    trigger.insert("move".into(), word(moved.event).into());
    trigger.insert("sequence".into(), moved.sequence.into());
    trigger.insert("time".into(), instant(moved.time));
    trigger.insert("told".into(), moved.told.into());
    trigger.into()
}

/// The incident itself, whatever it did.
pub(crate) fn about(incident: &StoredIncident, told: &Incident) -> Map<String, Json> {
    let series: &[Series] = told.alerts.first().map_or(&[], |alert| &alert.series);
    let worst = series.first();
    let mut about = Map::new();
    let mut put = |name: &str, value: Json| about.insert(name.to_owned(), value);
    put("incident", incident.id.to_string().into());
    put("monitor", incident.monitor_name.clone().into());
    put("monitor_id", incident.monitor.0.into());
    put("version", incident.monitor_version.into());
    put("kind", json!(incident.kind));
    put("title", incident.title.clone().into());
    put("message", incident.message.clone().into());
    let state = if incident.is_open() { "open" } else { "closed" };
    put("state", state.into());
    put("severity", json!(incident.severity));
    put("level", json!(incident.level));
    put("value", json!(worst.and_then(|series| series.value)));
    put("expected", json!(worst.and_then(expected)));
    put("tags", object(&incident.tags));
    put("labels", object(&incident.labels));
    put("started", instant(incident.started));
    put("opened", instant(incident.opened));
    put("closed", incident.closed.map_or(Json::Null, instant));
    put("close_reason", json!(incident.close_reason));
    put("acknowledged_by", json!(told.acknowledged_by));
    put("assignee", json!(incident.assignee));
    put("open_series", incident.open_series.into());
    put("series", series.iter().take(SERIES).map(of_series).collect());
    put("events", json!(told.events));
    let links = told.links.iter().chain(told.alerts.iter().flat_map(|alert| &alert.links));
    put("links", links.map(|link| json!(link)).collect());
    let page = told.links.iter().find(|link| link.purpose == bellwether_alerts::Purpose::Incident);
    put("url", json!(page.map(|link| &link.url)));
    about
}

/// `trigger` of an incident that is made up, for one that is only tried.
pub(crate) fn made_up(moved: AlertMove) -> Json {
    let event = match moved {
        AlertMove::Open => Event::Opened,
        AlertMove::Update => Event::Updated,
        AlertMove::Close => Event::Closed,
    };
    let Notification { sequence, time, incident: told, .. } = Notification::sample(event);
    let incident = StoredIncident::sample(&told);
    let (organisation, sequence) = (bellwether_kernel::OrganisationId(1), u64::from(sequence));
    of(&Moved { organisation, event, sequence, time, told: true, incident, as_told: told })
}

/// What would have been usual of a series, or its threshold.
fn expected(series: &Series) -> Option<f64> {
    let beyond = [series.upper, series.lower].into_iter().flatten().find_map(|side| side.expected);
    beyond.or(series.threshold)
}

fn of_series(series: &Series) -> Json {
    let beyond = series.upper.or(series.lower);
    json!({
        "series": series.id,
        "metric": series.metric,
        "tags": object(&series.tags),
        "open": series.open,
        "started": series.started.to_string(),
        "ended": series.ended.map(|ended| ended.to_string()),
        "value": series.value,
        "expected": expected(series),
        "peak": beyond.map(|side| side.peak),
        "score": series.score,
    })
}

fn object(pairs: &[(String, String)]) -> Json {
    pairs.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect::<Map<_, _>>().into()
}

fn instant(time: Timestamp) -> Json {
    time.to_string().into()
}

/// The word of documents for what an incident did; none is ever only tried.
fn word(event: Event) -> &'static str {
    match event {
        Event::Opened => AlertMove::Open,
        Event::Updated | Event::Test => AlertMove::Update,
        Event::Closed => AlertMove::Close,
    }
    .as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_incident_has_every_field_a_template_may_read_and_no_other() {
        for moved in [AlertMove::Open, AlertMove::Update, AlertMove::Close] {
            let trigger = made_up(moved);
            let mut fields: Vec<&String> = trigger.as_object().unwrap().keys().collect();
            fields.sort();
            assert_eq!(fields, FIELDS);
            assert_eq!(trigger["move"], moved.as_str());
            assert_eq!(trigger["state"], if moved == AlertMove::Close { "closed" } else { "open" });
            assert_eq!(
                (&trigger["tags"]["country"], &trigger["labels"]["team"]),
                (&json!("de"), &json!("payments"))
            );
            assert!(trigger["value"].is_f64() && trigger["expected"].is_f64());
        }
    }
}
