//! Events of the second version: created with a category, searched and listed by a query.

use bellwether_sdk::dialect::{Request, Response, from_json};
use bellwether_sdk::host::{Clock, RecordsRead, RecordsWrite};
use bellwether_sdk::records::{Content, Record, RecordKind, Search};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::page::{self, attributes};
use super::stream::{id, tags};
use super::{EVENTS_V2, LARGEST, accepted, of_event, url_of};
use crate::body;
use crate::failure::Failure;

/// The words for how bad an event is that clients of this version know.
const STATUSES: [&str; 8] =
    ["failure", "error", "warning", "info", "success", "user_update", "recommendation", "snapshot"];

/// What the host calls otherwise than clients of this version do.
const NAMES: [(&str, &str); 2] = [("time", "timestamp"), ("source", "integration_id")];

#[derive(Deserialize)]
struct Payload {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "type")]
    kind: Option<String>,
    attributes: NewEvent,
}

/// An event as clients send it.
#[derive(Deserialize)]
struct NewEvent {
    title: String,
    category: String,
    message: Option<String>,
    timestamp: Option<String>,
    host: Option<String>,
    tags: Option<Vec<String>>,
    aggregation_key: Option<String>,
    integration_id: Option<String>,
    #[serde(default)]
    attributes: Map<String, Value>,
}

/// `POST /api/v2/events`
pub(super) fn create<H: RecordsWrite + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let body = body::unpacked(request, LARGEST)?;
    let Payload { data: Data { kind, attributes: new } } =
        from_json("the body", &body).map_err(Failure::format)?;
    if let Some(other) = kind.filter(|kind| kind != "event") {
        return Err(Failure::parameter("data.type", format_args!("it is {other:?}, expected event")));
    }
    let status = match &*new.category {
        "change" => "info",
        // An alert's own word for how it is.
        "alert" => match new.attributes.get("status").and_then(Value::as_str) {
            Some("error") => "error",
            Some("warn") => "warning",
            Some("ok") => "success",
            other => {
                let seen = other.unwrap_or_default();
                let expected = format_args!("it is {seen:?}, expected ok, warn or error").to_string();
                return Err(Failure::parameter("data.attributes.attributes.status", expected));
            }
        },
        other => {
            let expected = format_args!("it is {other:?}, expected change or alert").to_string();
            return Err(Failure::parameter("data.attributes.category", expected));
        }
    };
    let time = match &new.timestamp {
        None => host.now(),
        Some(text) => text.trim().parse().map_err(|error| {
            Failure::parameter("data.attributes.timestamp", format_args!("{text:?}: {error}"))
        })?,
    };
    let mut known = new.attributes;
    known.insert("category".to_owned(), new.category.into());
    let content = Content {
        time,
        title: new.title,
        message: new.message.unwrap_or_default(),
        status: status.to_owned(),
        priority: "normal".to_owned(),
        source: new.integration_id.unwrap_or_default(),
        host: new.host.unwrap_or_default(),
        aggregation_key: new.aggregation_key.unwrap_or_default(),
        tags: tags(new.tags.iter().flatten().map(String::as_str)),
        attributes: Value::Object(known).to_string(),
        ..Content::default()
    };
    let id = host
        .append(RecordKind::Event, vec![content])
        .map_err(|error| of_event(error, "data.attributes.", &NAMES))?
        .to_string();
    Ok(accepted(&json!({
        "data": { "type": "event", "attributes": { "attributes": { "evt": { "id": id, "uid": id } } } },
        "links": { "self": format!("{}/{id}", url_of(request, EVENTS_V2)) },
    })))
}

/// `GET /api/v2/events?filter[query]&filter[from]&filter[to]&sort&page[limit]&page[cursor]`
pub(super) fn list<H: RecordsRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    found(host, request, &page::of_query(host, request, RecordKind::Event)?)
}

/// `POST /api/v2/events/search`
pub(super) fn search<H: RecordsRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    found(host, request, &page::of_body(host, request, RecordKind::Event)?)
}

fn found(host: &impl RecordsRead, request: &Request<'_>, search: &Search) -> Result<Response, Failure> {
    let page = page::gather(host, search, shown)?;
    page::answer(&url_of(request, EVENTS_V2), search, &page)
}

/// `GET /api/v2/events/{id}`
pub(super) fn get(host: &impl RecordsRead, request: &Request<'_>) -> Result<Response, Failure> {
    let event = host.record(RecordKind::Event, id(request)?)?;
    Ok(Response::json(200, &json!({ "data": shown(&event) })))
}

fn shown(event: &Record) -> Value {
    let Record { id, content } = event;
    let mut inner = attributes(event);
    for (name, value) in [
        ("title", content.title.as_str()),
        ("hostname", &content.host),
        ("service", &content.service),
        ("source_type_name", &content.source),
        ("aggregation_key", &content.aggregation_key),
    ] {
        inner.remove(name);
        if !value.is_empty() {
            inner.insert(name.to_owned(), value.into());
        }
    }
    inner.remove("priority");
    if matches!(&*content.priority, "normal" | "low") {
        inner.insert("priority".to_owned(), content.priority.as_str().into());
    }
    inner.remove("status");
    if STATUSES.contains(&&*content.status) {
        inner.insert("status".to_owned(), content.status.as_str().into());
    }
    inner.insert("evt".to_owned(), json!({ "id": id.to_string(), "name": content.title }));
    inner.insert("tags".to_owned(), json!(content.tags));
    inner.insert("timestamp".to_owned(), content.time.milliseconds().into());
    json!({
        "id": id.to_string(),
        "type": "event",
        "attributes": {
            "attributes": inner,
            "message": content.message,
            "tags": content.tags,
            "timestamp": content.time.to_string(),
        },
    })
}
