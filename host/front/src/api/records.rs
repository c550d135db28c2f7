//! Events and logs: `/v1/events`, `/v1/logs` and how long both are kept, `/v1/retention`.

use axum::extract::State;
use bellwether_access::DataChange;
use bellwether_kernel::{FieldError, OrganisationId, RecordId, Timestamp};
use bellwether_records::{Content, Order, Record, RecordError, RecordKind, Retention, Search, parse};
use bellwether_store::Batch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::words::RecordOrder;
use crate::causes;
use crate::extract::{Admin, Authorised, Instant, Json, List, Path, Query, Read, Write};
use crate::openapi::{Bodied, NotFound, Refusals, TooMuch};
use crate::problem::Problem;
use crate::services::{Services, Shared};

/// Events to append.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"events": [{"title": "Deployed shop 1.4.2", "message": "by ada", "status": "success", "service": "shop", "tags": ["env:prod"]}]}))]
pub(crate) struct NewEvents {
    /// All are appended, or none is; at most 10,000 of 8 MiB together, and what the host takes of a body. Each
    /// has a title.
    events: Vec<NewRecord>,
}

/// Logs to append.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"logs": [{"message": "GET /cart took 31 s", "status": "error", "service": "shop", "host": "web-1", "tags": ["env:prod"], "attributes": {"http": {"status_code": 504}}}]}))]
pub(crate) struct NewLogs {
    /// All are appended, or none is; at most 10,000 of 8 MiB together, each of 1 MiB, and what the host takes of
    /// a body.
    logs: Vec<NewRecord>,
}

/// What an event or a log says; a text left out is absent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRecord {
    /// When it happened, from 1970 to a day ahead; by default now.
    time: Option<Instant>,
    /// An event's, at most 1,000 bytes.
    #[serde(default)]
    title: String,
    /// An event's text, or what a log says.
    #[serde(default)]
    message: String,
    /// How bad it is. This and the next five have at most 200 bytes each.
    #[serde(default)]
    status: String,
    /// An event's `normal` or `low`.
    #[serde(default)]
    priority: String,
    /// The service it is of.
    #[serde(default)]
    service: String,
    /// What it came from.
    #[serde(default)]
    source: String,
    /// Where it happened.
    #[serde(default)]
    host: String,
    /// What events have in common that belong together.
    #[serde(default)]
    aggregation_key: String,
    /// `key:value`, or a word; at most 200.
    #[serde(default)]
    tags: Vec<String>,
    /// Whatever else is known.
    #[serde(default)]
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
}

impl NewRecord {
    fn content(self, now: Timestamp) -> Content {
        let attributes = if self.attributes.is_empty() {
            String::new()
        } else {
            Value::Object(self.attributes).to_string()
        };
        Content {
            time: self.time.map_or(now, |Instant(time)| time),
            title: self.title,
            message: self.message,
            status: self.status,
            priority: self.priority,
            service: self.service,
            source: self.source,
            host: self.host,
            aggregation_key: self.aggregation_key,
            tags: self.tags,
            attributes,
        }
    }
}

/// What was appended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Appended {
    /// How many.
    appended: usize,
    /// The first one's id; the others' follow it, in order.
    first_id: u64,
}

/// Appends events: all are durable when this answers, or none is.
#[utoipa::path(post, path = "/v1/events", tag = "records", request_body = NewEvents, security(("key" = [])),
    responses((status = 200, description = "All are durable", body = Appended), Refusals, Bodied))]
pub(crate) async fn append_events(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    Json(new): Json<NewEvents>,
) -> Result<Json<Appended>, Problem> {
    append(&services, principal.organisation, RecordKind::Event, new.events).await
}

/// Appends logs: all are durable when this answers, or none is.
#[utoipa::path(post, path = "/v1/logs", tag = "records", request_body = NewLogs, security(("key" = [])),
    responses((status = 200, description = "All are durable", body = Appended), Refusals, Bodied))]
pub(crate) async fn append_logs(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    Json(new): Json<NewLogs>,
) -> Result<Json<Appended>, Problem> {
    append(&services, principal.organisation, RecordKind::Log, new.logs).await
}

async fn append(
    services: &Services,
    organisation: OrganisationId,
    kind: RecordKind,
    new: Vec<NewRecord>,
) -> Result<Json<Appended>, Problem> {
    for (at, NewRecord { priority, .. }) in new.iter().enumerate() {
        if !matches!(priority.as_str(), "" | "normal" | "low") {
            let field = format!("{}[{at}].priority", kind.plural());
            return Err(FieldError::new(field, priority, "normal or low").into());
        }
    }
    let (appended, now) = (new.len(), services.parts.clock.now());
    let contents = new.into_iter().map(|record| record.content(now)).collect();
    let first = services.records().append(organisation, kind, contents, Batch::new()).await;
    // The list has the name of what is in it.
    let first = first.map_err(|error| match error {
        RecordError::Invalid(mut field) => {
            field.field = field.field.replacen("records", kind.plural(), 1);
            field.into()
        }
        other => Problem::from(other),
    })?;
    Ok(Json(Appended { appended, first_id: first.0 }))
}

/// What is looked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordQuery {
    /// In Datadog's log search syntax: `service:web status:error "timed out" -env:dev @http.status_code:[400 TO 499]`;
    /// by default everything.
    #[param(example = "service:web status:error")]
    query: Option<String>,
    /// From when on; by default from the beginning.
    start: Option<Instant>,
    /// Until when, included; by default the end.
    end: Option<Instant>,
    /// `newest` (unless said otherwise) or `oldest` first.
    #[param(inline)]
    order: Option<RecordOrder>,
    /// At most this many, 1 to 1000; by default 100. Fewer where they are large.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of what was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordList {
    /// In the order asked for.
    items: Vec<RecordItem>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Whether so much was looked at that the search stopped with room on the page: go on at `next`.
    stopped_early: bool,
}

/// An event or a log; what it does not say is left out.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordItem {
    /// Counted from 1, events and logs together, in the order they came.
    id: u64,
    time: Instant,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    priority: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    service: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    aggregation_key: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
}

impl From<Record> for RecordItem {
    fn from(record: Record) -> Self {
        let Content {
            time,
            title,
            message,
            status,
            priority,
            service,
            source,
            host,
            aggregation_key,
            tags,
            attributes,
        } = record.content;
        // It was an object when it was taken.
        let attributes = serde_json::from_str(&attributes).unwrap_or_default();
        Self {
            id: record.id.0,
            time: time.into(),
            title,
            message,
            status,
            priority,
            service,
            source,
            host,
            aggregation_key,
            tags,
            attributes,
        }
    }
}

/// Searches events, the newest first.
#[utoipa::path(get, path = "/v1/events", tag = "records", params(RecordQuery), security(("key" = [])),
    responses((status = 200, description = "A page of events", body = RecordList), Refusals, TooMuch))]
pub(crate) async fn events(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<RecordQuery>,
    State(services): State<Shared>,
) -> Result<Json<RecordList>, Problem> {
    search(&services, principal.organisation, RecordKind::Event, query).await
}

/// Searches logs, the newest first.
#[utoipa::path(get, path = "/v1/logs", tag = "records", params(RecordQuery), security(("key" = [])),
    responses((status = 200, description = "A page of logs", body = RecordList), Refusals, TooMuch))]
pub(crate) async fn logs(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<RecordQuery>,
    State(services): State<Shared>,
) -> Result<Json<RecordList>, Problem> {
    search(&services, principal.organisation, RecordKind::Log, query).await
}

async fn search(
    services: &Services,
    organisation: OrganisationId,
    kind: RecordKind,
    asked: RecordQuery,
) -> Result<Json<RecordList>, Problem> {
    let list = match kind {
        RecordKind::Event => List("events"),
        RecordKind::Log => List("logs"),
    };
    let page = list.page(asked.limit, asked.cursor.as_deref())?;
    let query = asked.query.unwrap_or_default();
    let search = Search {
        kind,
        query: parse(&query).map_err(|error| causes::search(&query, error))?,
        start: asked.start.map_or(Timestamp::MIN, |Instant(start)| start),
        end: asked.end.map_or(Timestamp::MAX, |Instant(end)| end),
        order: asked.order.map_or(Order::Newest, Order::from),
        limit: page.limit,
        cursor: page.cursor,
    };
    let found = services.records().search(organisation, search).await?;
    Ok(Json(RecordList {
        items: found.records.into_iter().map(RecordItem::from).collect(),
        next: list.next(found.next),
        stopped_early: found.stopped_early,
    }))
}

/// Shows an event.
#[utoipa::path(get, path = "/v1/events/{id}", tag = "records", params(("id" = u64, Path, description = "Its id")),
    security(("key" = [])),
    responses((status = 200, description = "The event", body = RecordItem), Refusals, NotFound))]
pub(crate) async fn event(
    Authorised(principal, ..): Authorised<Read>,
    Path(id): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<RecordItem>, Problem> {
    get(&services, principal.organisation, RecordKind::Event, &id).await
}

/// Shows a log.
#[utoipa::path(get, path = "/v1/logs/{id}", tag = "records", params(("id" = u64, Path, description = "Its id")),
    security(("key" = [])),
    responses((status = 200, description = "The log", body = RecordItem), Refusals, NotFound))]
pub(crate) async fn log(
    Authorised(principal, ..): Authorised<Read>,
    Path(id): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<RecordItem>, Problem> {
    get(&services, principal.organisation, RecordKind::Log, &id).await
}

async fn get(
    services: &Services,
    organisation: OrganisationId,
    kind: RecordKind,
    id: &str,
) -> Result<Json<RecordItem>, Problem> {
    let id: RecordId = id.parse().map_err(|_| FieldError::new("id", id, "a whole number"))?;
    Ok(Json(services.records().get(organisation, kind, id).await?.into()))
}

/// For how many days events and logs are kept; null is for as long as the host keeps them.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordRetention {
    /// 1 to 36,500, and no more than the host's.
    #[schema(minimum = 1, maximum = 36500)]
    events_days: Option<u32>,
    /// 1 to 36,500, and no more than the host's.
    #[schema(minimum = 1, maximum = 36500)]
    logs_days: Option<u32>,
}

impl From<Retention> for RecordRetention {
    fn from(Retention { events_days, logs_days }: Retention) -> Self {
        Self { events_days, logs_days }
    }
}

/// Shows how long the organisation keeps events and logs.
#[utoipa::path(get, path = "/v1/retention", tag = "records", security(("key" = [])),
    responses((status = 200, description = "How long", body = RecordRetention), Refusals))]
pub(crate) async fn retention(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
) -> Json<RecordRetention> {
    Json(services.records().retention(principal.organisation).into())
}

/// Sets how long the organisation keeps events and logs; what is older is freed in the background.
#[utoipa::path(put, path = "/v1/retention", tag = "records", request_body = RecordRetention, security(("key" = [])),
    responses((status = 200, description = "How long", body = RecordRetention), Refusals, Bodied))]
pub(crate) async fn set_retention(
    Authorised(principal, ..): Authorised<Admin>,
    State(services): State<Shared>,
    Json(RecordRetention { events_days, logs_days }): Json<RecordRetention>,
) -> Result<Json<RecordRetention>, Problem> {
    let retention = Retention { events_days, logs_days };
    let told = services.told(&principal, &DataChange::SetRetention { events_days, logs_days });
    services.records().set_retention(principal.organisation, retention, told).await?;
    Ok(Json(retention.into()))
}
