//! Events of the first version: `POST /api/v1/events`, one by its id, and the stream of a range.

use bellwether_sdk::dialect::{Request, Response, from_json};
use bellwether_sdk::host::{Clock, RecordsRead, RecordsWrite};
use bellwether_sdk::records::{Content, Order, Record, RecordKind, Search};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::page::{self, MOST, Page, attributes};
use super::{EVENTS_V1, LARGEST, accepted, of_event, url_of};
use crate::answer;
use crate::body;
use crate::failure::Failure;
use crate::intake::text::tag;
use crate::intake::value::Time;
use crate::parameters::{count, flag, quoted, seconds};

/// What an event may be about.
const ALERT_TYPES: [&str; 7] =
    ["error", "warning", "info", "success", "user_update", "recommendation", "snapshot"];

/// What the host calls otherwise than clients of this version do.
const NAMES: [(&str, &str); 4] = [
    ("time", "date_happened"),
    ("message", "text"),
    ("status", "alert_type"),
    ("source", "source_type_name"),
];

/// The last page that can be asked for: each before it has to be gone through.
const LAST_PAGE: u32 = 100;

/// An event as clients send it.
#[derive(Deserialize)]
struct NewEvent {
    title: String,
    text: Option<String>,
    date_happened: Option<Time>,
    priority: Option<String>,
    host: Option<String>,
    tags: Option<Vec<String>>,
    alert_type: Option<String>,
    aggregation_key: Option<String>,
    source_type_name: Option<String>,
    device_name: Option<Value>,
    related_event_id: Option<Value>,
}

/// `POST /api/v1/events`
pub(super) fn create<H: RecordsWrite + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let body = body::unpacked(request, LARGEST)?;
    let new: NewEvent = from_json("the body", &body).map_err(Failure::format)?;
    let alert_type = new.alert_type.unwrap_or_else(|| "info".to_owned());
    if !ALERT_TYPES.contains(&&*alert_type) {
        let expected =
            format_args!("it is {alert_type:?}, expected one of {}", ALERT_TYPES.join(", ")).to_string();
        return Err(Failure::parameter("alert_type", expected));
    }
    let priority = new.priority.unwrap_or_else(|| "normal".to_owned());
    if !matches!(&*priority, "normal" | "low") {
        return Err(Failure::parameter(
            "priority",
            format_args!("it is {priority:?}, expected normal or low"),
        ));
    }
    let mut known = Map::new();
    for (name, value) in [("device_name", new.device_name), ("related_event_id", new.related_event_id)] {
        known.extend(value.filter(|value| !value.is_null()).map(|value| (name.to_owned(), value)));
    }
    let content = Content {
        time: new.date_happened.map_or_else(|| host.now(), |Time(time)| time),
        title: new.title,
        message: new.text.unwrap_or_default(),
        status: alert_type,
        priority,
        source: new.source_type_name.unwrap_or_default(),
        host: new.host.unwrap_or_default(),
        aggregation_key: new.aggregation_key.unwrap_or_default(),
        tags: tags(new.tags.iter().flatten().map(String::as_str)),
        attributes: if known.is_empty() { String::new() } else { Value::Object(known).to_string() },
        ..Content::default()
    };
    let id =
        host.append(RecordKind::Event, vec![content.clone()]).map_err(|error| of_event(error, "", &NAMES))?;
    Ok(accepted(&json!({ "status": "ok", "event": shown(request, &Record { id, content }) })))
}

/// Tags as the host takes them.
pub(super) fn tags<'a>(tags: impl Iterator<Item = &'a str>) -> Vec<String> {
    tags.filter_map(tag).map(std::borrow::Cow::into_owned).collect()
}

/// An event as clients expect it. Its source is a text here; what it was in numbers only Datadog knows.
fn shown(request: &Request<'_>, event: &Record) -> Value {
    let Record { id, content } = event;
    // Who sent it otherwise than by this API may say anything, and typed clients read these words alone.
    let alert_type = ALERT_TYPES.iter().find(|word| **word == content.status).unwrap_or(&"info");
    let mut shown = json!({
        "id": id,
        "id_str": id.to_string(),
        "title": content.title,
        "text": content.message,
        "date_happened": content.time.milliseconds().div_euclid(1000),
        "alert_type": alert_type,
        "priority": if content.priority == "low" { "low" } else { "normal" },
        "tags": content.tags,
        "url": format!("{}/{id}", url_of(request, EVENTS_V1)),
    });
    for (name, text) in [
        ("host", &content.host),
        ("source_type_name", &content.source),
        ("source", &content.source),
        ("aggregation_key", &content.aggregation_key),
    ] {
        if !text.is_empty() {
            shown[name] = text.as_str().into();
        }
    }
    if let Some(name @ Value::String(_)) = attributes(event).get("device_name") {
        shown["device_name"] = name.clone();
    }
    shown
}

/// The id of a path.
pub(super) fn id(request: &Request<'_>) -> Result<u64, Failure> {
    let text = request.parameter("id");
    text.parse().map_err(|_| Failure::parameter("event_id", format_args!("{text:?} is no whole number")))
}

/// `GET /api/v1/events/{id}`
pub(super) fn get(host: &impl RecordsRead, request: &Request<'_>) -> Result<Response, Failure> {
    let event = host.record(RecordKind::Event, id(request)?)?;
    Ok(Response::json(200, &json!({ "status": "ok", "event": shown(request, &event) })))
}

/// `GET /api/v1/events?start&end[&priority&sources&tags&unaggregated&exclude_aggregate&page]`
pub(super) fn list(host: &impl RecordsRead, request: &Request<'_>) -> Result<Response, Failure> {
    let (start, end) = (seconds(request, "start")?, seconds(request, "end")?);
    if end < start {
        return Err(Failure::parameter("end", format_args!("{end} is before start, {start}")));
    }
    let mut terms = Vec::new();
    match request.query("priority").filter(|priority| !priority.is_empty()) {
        None => {}
        Some("low") => terms.push("priority:low".to_owned()),
        // Who sent it otherwise than by this API may have said nothing of it, or anything: it is shown as normal.
        Some("normal") => terms.push("-priority:low".to_owned()),
        Some(other) => {
            return Err(Failure::parameter(
                "priority",
                format_args!("it is {other:?}, expected normal or low"),
            ));
        }
    }
    let listed = |name| {
        let texts = request.query(name).unwrap_or_default().split(',').map(str::trim);
        texts.filter(|text| !text.is_empty()).map(quoted).collect::<Vec<_>>()
    };
    let sources = listed("sources");
    if !sources.is_empty() {
        terms.push(format!("source:({})", sources.join(" OR ")));
    }
    terms.extend(listed("tags").into_iter().map(|tag| format!("tags:{tag}")));
    flag(request, "unaggregated")?;
    if flag(request, "exclude_aggregate")? == Some(true) {
        terms.push("-aggregation_key:*".to_owned());
    }
    let number = count(request, "page", 0, LAST_PAGE)?.unwrap_or(0);
    let mut search = Search {
        query: terms.join(" "),
        order: Order::Newest,
        limit: MOST,
        // A second has events in all of its milliseconds.
        ..Search::all(RecordKind::Event, start, page::moved(end, 999))
    };
    for _ in 0..number {
        search.cursor = page::skip(host, &search)?;
        if search.cursor.is_none() {
            return answered(&Page::default());
        }
    }
    answered(&page::gather(host, &search, |event| shown(request, event))?)
}

#[derive(Serialize)]
struct Listed<'a> {
    status: &'static str,
    events: &'a [Box<RawValue>],
}

fn answered(page: &Page) -> Result<Response, Failure> {
    answer::json(&Listed { status: "ok", events: &page.items }, page::SMALLER)
}
