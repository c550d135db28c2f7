//! What people think of incidents: `/v1/feedback`, and each on its incident.

use axum::extract::State;
use bellwether_alerts::{FeedbackFilter, Opinion};
use bellwether_kernel::FieldError;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::incidents::incident_id;
use crate::extract::{Authorised, Instant, Json, List, Path, Query, Read, Write, in_order};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

const FEEDBACK: List = List("feedback");

/// What one key thinks of one incident.
#[derive(Serialize, ToSchema)]
pub(crate) struct Feedback {
    incident: String,
    /// The monitor it is of, by id.
    monitor: u64,
    monitor_name: String,
    /// `good-catch`, `not-interesting`, `no-business-impact`, `incorrect-data` or `not-an-anomaly`.
    #[schema(value_type = String, example = "not-an-anomaly")]
    opinion: Opinion,
    text: String,
    /// How strange it was at most by then, in [0, 1], where a detector scored it.
    score: Option<f64>,
    /// The key of this name.
    by: String,
    created: Instant,
    updated: Instant,
}

impl From<bellwether_alerts::Feedback> for Feedback {
    fn from(feedback: bellwether_alerts::Feedback) -> Self {
        Self {
            incident: feedback.incident.to_string(),
            monitor: feedback.monitor.0,
            monitor_name: feedback.monitor_name,
            opinion: feedback.opinion,
            text: feedback.text,
            score: feedback.score,
            by: feedback.by.1,
            created: feedback.created.into(),
            updated: feedback.updated.into(),
        }
    }
}

/// How many opinions a monitor's incidents got.
#[derive(Serialize, ToSchema)]
pub(crate) struct FeedbackCounts {
    good_catch: u64,
    /// All others.
    not_interesting: u64,
    /// Of those, what was found not to be an anomaly.
    not_an_anomaly: u64,
}

impl From<bellwether_alerts::FeedbackCounts> for FeedbackCounts {
    fn from(counts: bellwether_alerts::FeedbackCounts) -> Self {
        let bellwether_alerts::FeedbackCounts { good_catch, not_interesting, not_an_anomaly } = counts;
        Self { good_catch, not_interesting, not_an_anomaly }
    }
}

/// What is thought of an incident.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judgement {
    /// `good-catch`, `not-interesting`, `no-business-impact`, `incorrect-data` or `not-an-anomaly`.
    #[schema(value_type = String, example = "not-an-anomaly")]
    opinion: Opinion,
    /// More of it, up to 2000 characters.
    #[serde(default)]
    #[schema(required = false)]
    text: String,
}

/// Says what the key thinks of an incident, in the place of what it thought before; also after it is over.
#[utoipa::path(put, path = "/v1/incidents/{incident}/feedback", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")), request_body = Judgement,
    responses((status = 200, description = "What it thinks now", body = Feedback), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn put(
    Authorised(principal, ..): Authorised<Write>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
    Json(Judgement { opinion, text }): Json<Judgement>,
) -> Result<Json<Feedback>, Problem> {
    Ok(Json(services.alerts().judge(&principal, incident_id(&incident)?, opinion, &text).await?.into()))
}

/// Takes back what the key thought of an incident.
#[utoipa::path(delete, path = "/v1/incidents/{incident}/feedback", tag = "incidents", security(("key" = [])),
    params(("incident" = String, Path, description = "Its id")),
    responses((status = 204, description = "It thinks nothing of it"), Refusals, NotFound, Clash))]
pub(crate) async fn withdraw(
    Authorised(principal, ..): Authorised<Write>,
    Path(incident): Path<String>,
    State(services): State<Shared>,
) -> Result<StatusCode, Problem> {
    services.alerts().withdraw(&principal, incident_id(&incident)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which opinions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FeedbackQuery {
    /// Only on this incident.
    incident: Option<String>,
    /// Only on incidents of this monitor, by name or id.
    monitor: Option<String>,
    /// Only this one: `good-catch`, `not-interesting`, `no-business-impact`, `incorrect-data`, `not-an-anomaly`.
    #[param(value_type = Option<String>, example = "not-an-anomaly")]
    opinion: Option<Opinion>,
    /// Only last changed at or after this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    since: Option<Instant>,
    /// Only last changed before this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    until: Option<Instant>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A page of opinions.
#[derive(Serialize, ToSchema)]
pub(crate) struct FeedbackList {
    /// On those incidents first that opened last.
    items: Vec<Feedback>,
    /// Pass it as `cursor` for the next page; absent on the last one. A page may hold fewer than asked for and still
    /// have a next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists what people thought of incidents.
#[utoipa::path(get, path = "/v1/feedback", tag = "incidents", params(FeedbackQuery), security(("key" = [])),
    responses((status = 200, description = "A page of opinions", body = FeedbackList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<FeedbackQuery>,
    State(services): State<Shared>,
) -> Result<Json<FeedbackList>, Problem> {
    let page = FEEDBACK.page(query.limit, query.cursor.as_deref())?;
    in_order(("since", query.since), ("until", query.until))?;
    let incident = query
        .incident
        .map(|text| text.parse().map_err(|_| FieldError::new("incident", &text, "the id of an incident")));
    let filter = FeedbackFilter {
        incident: incident.transpose()?,
        monitor: query.monitor,
        opinion: query.opinion,
        from: query.since.map(|Instant(since)| since),
        to: query.until.map(|Instant(until)| until),
    };
    let found = services.alerts().feedback(principal.organisation, &filter, &page).await?;
    let found = found.map(Feedback::from);
    Ok(Json(FeedbackList { items: found.items, next: FEEDBACK.next(found.next) }))
}
