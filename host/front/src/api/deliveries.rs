//! What channels are told, and what came of it: `/v1/deliveries`.

use axum::extract::State;
use bellwether_alerts::{AlertError, DeliveryFilter, DeliveryHistory, DeliveryId, Exchanged};
use bellwether_kernel::FieldError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::words::{DeliveryOutcome, DeliveryState, IncidentEvent};
use crate::extract::{Authorised, Instant, Json, List, Path, Query, Read, Write, in_order};
use crate::openapi::{Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

const DELIVERIES: List = List("deliveries");

/// One telling of one incident to one channel.
#[derive(Serialize, ToSchema)]
pub(crate) struct Delivery {
    /// `incident.channel.sequence`: its idempotency key, too.
    #[schema(example = "17.ops.1")]
    id: String,
    channel: String,
    incident: String,
    /// Counts what is told of the incident, from 1.
    sequence: u32,
    event: IncidentEvent,
    state: DeliveryState,
    /// When what it tells of came about.
    time: Instant,
    /// When it is tried next, while it waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<Instant>,
    /// Attempts so far.
    attempts: u32,
    /// Why it is not delivered, or not yet; of an e-mail that was, whom it did not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Instant>,
}

impl From<bellwether_alerts::Delivery> for Delivery {
    fn from(delivery: bellwether_alerts::Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            channel: delivery.id.channel,
            incident: delivery.id.incident,
            sequence: delivery.id.sequence,
            event: delivery.event.into(),
            state: delivery.state.into(),
            time: delivery.time.into(),
            due: delivery.due.map(Instant),
            attempts: delivery.attempts,
            reason: delivery.reason,
            ended: delivery.ended.map(Instant),
        }
    }
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    /// Newest first. There may be fewer than asked for, even none, before the last page.
    items: Vec<Delivery>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which deliveries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveryQuery {
    /// Only in this state: `dead` for dead letters.
    state: Option<DeliveryState>,
    /// Only to this channel; one that is not there and was told nothing is refused.
    channel: Option<String>,
    /// Only of this incident.
    incident: Option<String>,
    /// Only of what came about at or after this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    since: Option<Instant>,
    /// Only of what came about before this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    until: Option<Instant>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A delivery with what was tried.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryDetail {
    #[serde(flatten)]
    delivery: Delivery,
    /// Oldest first: the first ones, and the latest. What `attempts` counts.
    history: Vec<DeliveryAttempt>,
}

/// One attempt.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeliveryAttempt {
    /// Counted from 1.
    number: u32,
    time: Instant,
    /// How long it took, in milliseconds.
    duration_ms: u64,
    /// The formatter and its version.
    #[schema(example = "webhook 0.1.0")]
    formatter: String,
    outcome: DeliveryOutcome,
    /// Why it did not succeed; of an e-mail that was taken, whom it did not reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What was sent, in order.
    exchanges: Vec<Exchange>,
}

/// One request and its answer. Secrets are named in `‹…›`, long texts are cut.
#[derive(Serialize, ToSchema)]
pub(crate) struct Exchange {
    /// The request, or the e-mail.
    #[schema(value_type = Object)]
    request: Value,
    /// The answer's status, of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The answer's body, or what the mail server said.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// How long it took, in milliseconds.
    duration_ms: u64,
}

impl From<Exchanged> for Exchange {
    fn from(exchanged: Exchanged) -> Self {
        let Exchanged { request, status, answer, error, milliseconds } = exchanged;
        Self { request, status, answer, error, duration_ms: milliseconds }
    }
}

impl From<bellwether_alerts::Attempt> for DeliveryAttempt {
    fn from(attempt: bellwether_alerts::Attempt) -> Self {
        Self {
            number: attempt.number,
            time: attempt.time.into(),
            duration_ms: attempt.milliseconds,
            formatter: attempt.formatter,
            outcome: attempt.outcome.into(),
            reason: attempt.reason,
            exchanges: attempt.exchanges.into_iter().map(Exchange::from).collect(),
        }
    }
}

/// Lists deliveries.
#[utoipa::path(get, path = "/v1/deliveries", tag = "channels", params(DeliveryQuery), security(("key" = [])),
    responses((status = 200, description = "A page of deliveries", body = DeliveryList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<DeliveryQuery>,
    State(services): State<Shared>,
) -> Result<Json<DeliveryList>, Problem> {
    let page = DELIVERIES.page(query.limit, query.cursor.as_deref())?;
    in_order(("since", query.since), ("until", query.until))?;
    let filter = DeliveryFilter {
        state: query.state.map(Into::into),
        channel: query.channel,
        incident: query.incident,
        since: query.since.map(|Instant(since)| since),
        until: query.until.map(|Instant(until)| until),
    };
    let (organisation, deliveries) = (principal.organisation, services.deliveries());
    let found = deliveries.deliveries(organisation, &filter, &page).await?;
    // Dead letters outlive their channel: only where there are none is it asked for.
    if let Some(channel) =
        filter.channel.filter(|_| found.items.is_empty() && found.next.is_none() && page.cursor.is_none())
        && let Err(AlertError::NotFound { .. }) = deliveries.channel(organisation, &channel).await
    {
        return Err(FieldError::new("channel", channel, "the name of a channel there is").into());
    }
    let found = found.map(Delivery::from);
    Ok(Json(DeliveryList { items: found.items, next: DELIVERIES.next(found.next) }))
}

/// Shows a delivery with what was tried.
#[utoipa::path(get, path = "/v1/deliveries/{delivery}", tag = "channels", security(("key" = [])),
    params(("delivery" = String, Path, description = "Its id: incident.channel.sequence")),
    responses((status = 200, description = "The delivery", body = DeliveryDetail), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(delivery): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<DeliveryDetail>, Problem> {
    let found = services.deliveries().delivery(principal.organisation, &delivery_id(&delivery)?).await?;
    let DeliveryHistory { delivery, attempts } = found;
    let history = attempts.into_iter().map(DeliveryAttempt::from).collect();
    Ok(Json(DeliveryDetail { delivery: delivery.into(), history }))
}

/// Delivers a dead letter after all, as patiently as a new one.
#[utoipa::path(post, path = "/v1/deliveries/{delivery}/resend", tag = "channels", security(("key" = [])),
    params(("delivery" = String, Path, description = "Its id: incident.channel.sequence")),
    responses((status = 200, description = "The delivery, which waits again", body = Delivery),
        Refusals, NotFound, Clash))]
pub(crate) async fn resend(
    Authorised(principal, ..): Authorised<Write>,
    Path(delivery): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Delivery>, Problem> {
    Ok(Json(services.deliveries().resend(&principal, &delivery_id(&delivery)?).await?.into()))
}

pub(crate) fn delivery_id(text: &str) -> Result<DeliveryId, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("there is no delivery {text:?}")))
}
