//! Mutes and downtimes: `/v1/mutes`.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{MuteId, NewMute, Scope};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{Authorised, Instant, Json, List, PageQuery, Path, Query, Read, Write};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::{Services, Shared};

const MUTES: List = List("mutes");

/// A mute; with a start to come it is a downtime.
#[derive(Serialize, ToSchema)]
pub(crate) struct Mute {
    id: u64,
    scope: MuteScope,
    start: Instant,
    /// Absent for one that lasts until it is deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<Instant>,
    reason: String,
    /// Whether it is in force now.
    active: bool,
    created: Instant,
    /// By the key of this name.
    created_by: String,
}

/// What a mute, or an entry of the calendar, is about: a series must have all of it. A scope that says nothing is everything.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MuteScope {
    /// Names of monitors; any of them.
    #[schema(required = false, example = json!(["checkout-errors"]))]
    monitors: Vec<String>,
    /// Labels of the monitor.
    #[schema(required = false, example = json!({"team": "payments"}))]
    labels: BTreeMap<String, String>,
    /// Tags of the series, among those its monitor groups by.
    #[schema(required = false, example = json!({"host": "web-1"}))]
    tags: BTreeMap<String, String>,
}

impl From<Scope> for MuteScope {
    fn from(Scope { monitors, labels, tags }: Scope) -> Self {
        Self { monitors, labels, tags }
    }
}

impl From<MuteScope> for Scope {
    fn from(MuteScope { monitors, labels, tags }: MuteScope) -> Self {
        Self { monitors, labels, tags }
    }
}

impl Mute {
    fn of(services: &Services, mute: bellwether_alerts::Mute) -> Self {
        Self {
            id: mute.id.0,
            active: mute.is_active(services.parts.clock.now()),
            scope: mute.scope.into(),
            start: mute.start.into(),
            end: mute.end.map(Instant),
            reason: mute.reason,
            created: mute.created.into(),
            created_by: mute.created_by,
        }
    }
}

/// A page of mutes.
#[derive(Serialize, ToSchema)]
pub(crate) struct MuteList {
    /// Ordered by id, those that have been over for up to 30 days included, the latest 1,000 of them.
    items: Vec<Mute>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists mutes.
#[utoipa::path(get, path = "/v1/mutes", tag = "mutes", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of mutes", body = MuteList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<MuteList>, Problem> {
    let page = MUTES.page(query.limit, query.cursor.as_deref())?;
    let found = services.alerts().mutes(principal.organisation, &page).await?;
    let found = found.map(|mute| Mute::of(&services, mute));
    Ok(Json(MuteList { items: found.items, next: MUTES.next(found.next) }))
}

/// What is to be muted: what has all of a scope, or everything.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({
    "scope": {"tags": {"env": "staging"}}, "end": "2099-12-31T00:00:00Z", "reason": "The staging cluster moves."
}))]
#[serde(deny_unknown_fields)]
pub(crate) struct MuteRequest {
    #[serde(default)]
    #[schema(required = false)]
    scope: MuteScope,
    /// To be said where the scope says nothing: every series of every monitor is muted.
    #[serde(default)]
    #[schema(required = false)]
    everything: bool,
    /// From when on; by default from now on.
    start: Option<Instant>,
    /// Until when; by default until it is deleted, which is to be said of a mute of everything with `until_deleted`.
    end: Option<Instant>,
    /// To be said of a mute of everything that has no end.
    #[serde(default)]
    #[schema(required = false)]
    until_deleted: bool,
    /// Why, up to 200 characters.
    #[serde(default)]
    #[schema(required = false)]
    reason: String,
}

/// Mutes what a scope says: monitors go on, and nobody is told of what opens. What was told before is ended, and what is
/// bad when the mute is over is told then.
#[utoipa::path(post, path = "/v1/mutes", tag = "mutes", security(("key" = [])), request_body = MuteRequest,
    responses((status = 201, description = "The new mute", body = Mute), Refusals, Bodied, Clash))]
pub(crate) async fn create(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    Json(request): Json<MuteRequest>,
) -> Result<Response, Problem> {
    let new = NewMute {
        scope: request.scope.into(),
        everything: request.everything,
        start: request.start.map(|Instant(start)| start),
        end: request.end.map(|Instant(end)| end),
        until_deleted: request.until_deleted,
        reason: request.reason,
    };
    let mute = services.alerts().create_mute(&principal, new).await?;
    Ok((StatusCode::CREATED, Json(Mute::of(&services, mute))).into_response())
}

/// Shows a mute.
#[utoipa::path(get, path = "/v1/mutes/{mute}", tag = "mutes", security(("key" = [])),
    params(("mute" = String, Path, description = "Its id")),
    responses((status = 200, description = "The mute", body = Mute), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(mute): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Mute>, Problem> {
    let mute = services.alerts().mute(principal.organisation, mute_id(&mute)?).await?;
    Ok(Json(Mute::of(&services, mute)))
}

/// Until when a mute lasts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MuteChange {
    /// `null` for until it is deleted.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required = true)]
    end: Option<Instant>,
}

/// Changes until when a mute lasts.
#[utoipa::path(patch, path = "/v1/mutes/{mute}", tag = "mutes", security(("key" = [])),
    params(("mute" = String, Path, description = "Its id")), request_body = MuteChange,
    responses((status = 200, description = "The changed mute", body = Mute), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn change(
    Authorised(principal, ..): Authorised<Write>,
    Path(mute): Path<String>,
    State(services): State<Shared>,
    Json(MuteChange { end }): Json<MuteChange>,
) -> Result<Json<Mute>, Problem> {
    let end = end.map(|Instant(end)| end);
    let mute = services.alerts().change_mute(&principal, mute_id(&mute)?, end).await?;
    Ok(Json(Mute::of(&services, mute)))
}

/// Deletes a mute: what is bad still is told at its monitor's next evaluation.
#[utoipa::path(delete, path = "/v1/mutes/{mute}", tag = "mutes", security(("key" = [])),
    params(("mute" = String, Path, description = "Its id")),
    responses((status = 204, description = "It is gone"), Refusals, NotFound, Clash))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Write>,
    Path(mute): Path<String>,
    State(services): State<Shared>,
) -> Result<StatusCode, Problem> {
    services.alerts().delete_mute(&principal, mute_id(&mute)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn mute_id(text: &str) -> Result<MuteId, Problem> {
    text.parse().map(MuteId).map_err(|_| Problem::not_found(format!("there is no mute {text:?}")))
}
