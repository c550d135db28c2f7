//! The events that belong to an incident: `/v1/incidents/{incident}/events`.

use axum::extract::State;
use bellwether_alerts::{CorrelatedEvents, EventOrigin};
use serde::Serialize;
use utoipa::ToSchema;

use super::incidents::incident_id;
use crate::extract::{Authorised, Instant, Json, Path, Read};
use crate::openapi::{NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

/// Something that happened near an incident and is about the same.
#[derive(Serialize, ToSchema)]
pub(crate) struct CorrelatedEvent {
    /// Its id among the events, `/v1/events/{id}`; it may no longer be kept there.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u64>,
    /// Its id in the calendar, of a suppression; it may be deleted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    calendar_entry: Option<u64>,
    title: String,
    /// The first 500 characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    /// What it came from; of a suppression `calendar`.
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    /// Of its tag or attribute of that name.
    #[serde(skip_serializing_if = "String::is_empty")]
    category: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    /// Its service and host, and its tags; at most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    started: Instant,
    /// When it was over, of one that lasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Instant>,
    /// How long after the incident's first breach it began, in milliseconds; negative of one that was before.
    after: i64,
}

impl From<bellwether_alerts::CorrelatedEvent> for CorrelatedEvent {
    fn from(event: bellwether_alerts::CorrelatedEvent) -> Self {
        let (of_records, of_calendar) = match event.origin {
            EventOrigin::Event(id) => (Some(id.0), None),
            EventOrigin::Calendar(id) => (None, Some(id.0)),
        };
        Self {
            event: of_records,
            calendar_entry: of_calendar,
            title: event.title,
            message: event.description,
            source: event.source,
            category: event.category,
            status: event.status,
            tags: event.tags,
            started: event.started.into(),
            ended: event.ended.map(Instant),
            after: event.after,
        }
    }
}

/// The events that belong to an incident.
#[derive(Serialize, ToSchema)]
pub(crate) struct CorrelatedEventList {
    /// Those nearest to its first breach first, at most 50.
    items: Vec<CorrelatedEvent>,
    /// Whether these are known to be all.
    complete: bool,
    /// Whether they stay as they are: the incident's end kept them.
    kept: bool,
}

/// Shows the events that belong to an incident: from some time before its first breach to its end, about the same.
#[utoipa::path(get, path = "/v1/incidents/{incident}/events", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")),
    responses((status = 200, description = "The events", body = CorrelatedEventList), Refusals, NotFound))]
pub(crate) async fn events(
    Authorised(principal, ..): Authorised<Read>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<CorrelatedEventList>, Problem> {
    let id = incident_id(&incident)?;
    let CorrelatedEvents { events, complete, kept } =
        services.alerts().incident_events(principal.organisation, id).await?;
    let items = events.into_iter().map(CorrelatedEvent::from).collect();
    Ok(Json(CorrelatedEventList { items, complete, kept }))
}
