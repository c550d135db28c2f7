//! Organisations: the caller's own at `/v1/organisation`, all of them at `/v1/organisations` for the operator; and
//! who the caller is, at `/v1/whoami`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_access::Caller;
use bellwether_kernel::KeyId;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::keys::{self, Key, KeyPage, KeyRequest, NewKeyAnswer, key_id, make, shown_once};
use super::words::Role;
use crate::extract::{
    Admin, AnyCaller, Authorised, Force, Instant, Json, List, OperatorOnly, PageQuery, Path, Query, Read,
};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

const ORGANISATIONS: List = List("organisations");

/// The time zone of an organisation nobody chose one for.
const DEFAULT_TIME_ZONE: &str = "UTC";

/// An organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct Organisation {
    #[schema(example = 1)]
    id: u64,
    /// 1 to 64 characters of `a-z0-9-`, unique on the host.
    #[schema(example = "acme")]
    name: String,
    /// An IANA time zone: new metrics get it.
    #[schema(example = "Europe/Vienna")]
    time_zone: String,
    created: Instant,
    /// Since when it is suspended; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended: Option<Instant>,
    /// Since when it is being deleted; absent if it is not. It is gone from the list once nothing is left of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    deleting: Option<Instant>,
}

impl From<bellwether_access::Organisation> for Organisation {
    fn from(organisation: bellwether_access::Organisation) -> Self {
        Self {
            id: organisation.id.0,
            name: organisation.name,
            time_zone: organisation.time_zone,
            created: organisation.created.into(),
            suspended: organisation.suspended.map(Instant::from),
            deleting: organisation.deleting.map(Instant::from),
        }
    }
}

/// A page of organisations.
#[derive(Serialize, ToSchema)]
pub(crate) struct OrganisationList {
    /// Ordered by id.
    items: Vec<Organisation>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a new organisation shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOrganisation {
    /// 1 to 64 characters of `a-z0-9-`.
    #[schema(example = "acme")]
    name: String,
    /// An IANA time zone; by default UTC.
    time_zone: Option<String>,
}

/// What of an organisation shall change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrganisationChange {
    /// An IANA time zone: metrics made from now on get it, those there keep theirs.
    #[schema(example = "Europe/Vienna")]
    time_zone: String,
}

/// Who the caller is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Whoami {
    kind: CallerKind,
    key: OwnKey,
    /// Absent for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// Absent for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    organisation: Option<OwnOrganisation>,
}

/// The kinds of caller.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CallerKind {
    /// Runs the host.
    Operator,
    /// Acts in an organisation.
    Principal,
}

/// The key the request came with.
#[derive(Serialize, ToSchema)]
struct OwnKey {
    #[schema(value_type = String)]
    id: KeyId,
    name: String,
}

/// The organisation the caller acts in.
#[derive(Serialize, ToSchema)]
struct OwnOrganisation {
    id: u64,
    name: String,
    time_zone: String,
}

/// Tells who the key belongs to.
#[utoipa::path(get, path = "/v1/whoami", tag = "organisations", security(("key" = [])),
    responses((status = 200, description = "Who the caller is", body = Whoami), Refusals))]
pub(crate) async fn whoami(AnyCaller(caller): AnyCaller) -> Json<Whoami> {
    Json(match caller {
        Caller::Operator(operator) => Whoami {
            kind: CallerKind::Operator,
            key: OwnKey { id: operator.key.clone(), name: operator.key_name.clone() },
            role: None,
            organisation: None,
        },
        Caller::Principal(principal) => Whoami {
            kind: CallerKind::Principal,
            key: OwnKey { id: principal.key.clone(), name: principal.key_name.clone() },
            role: Some(principal.role.into()),
            organisation: Some(OwnOrganisation {
                id: principal.organisation.0,
                name: principal.organisation_name.clone(),
                time_zone: principal.time_zone.clone(),
            }),
        },
    })
}

/// Shows the caller's own organisation.
#[utoipa::path(get, path = "/v1/organisation", tag = "organisations", security(("key" = [])),
    responses((status = 200, description = "The organisation", body = Organisation), Refusals))]
pub(crate) async fn own(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
) -> Result<Json<Organisation>, Problem> {
    Ok(Json(services.access().organisation(principal.organisation)?.into()))
}

/// Changes the caller's own organisation.
#[utoipa::path(patch, path = "/v1/organisation", tag = "organisations", security(("key" = [])),
    request_body = OrganisationChange,
    responses((status = 200, description = "The organisation, changed", body = Organisation), Refusals, Bodied))]
pub(crate) async fn change_own(
    Authorised(principal, ..): Authorised<Admin>,
    State(services): State<Shared>,
    Json(change): Json<OrganisationChange>,
) -> Result<Json<Organisation>, Problem> {
    let actor = principal.key.as_str();
    Ok(Json(services.access().set_time_zone(actor, principal.organisation, &change.time_zone).await?.into()))
}

/// Lists organisations.
#[utoipa::path(get, path = "/v1/organisations", tag = "organisations", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of organisations", body = OrganisationList), Refusals))]
pub(crate) async fn list(
    OperatorOnly(_): OperatorOnly,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<OrganisationList>, Problem> {
    let page = ORGANISATIONS.page(query.limit, query.cursor.as_deref())?;
    let found = services.access().organisations(&page)?.map(Organisation::from);
    Ok(Json(OrganisationList { items: found.items, next: ORGANISATIONS.next(found.next) }))
}

/// Makes an organisation.
#[utoipa::path(post, path = "/v1/organisations", tag = "organisations", security(("key" = [])),
    request_body = NewOrganisation,
    responses((status = 201, description = "The new organisation", body = Organisation), Refusals, Bodied, Clash))]
pub(crate) async fn create(
    OperatorOnly(operator): OperatorOnly,
    State(services): State<Shared>,
    Json(new): Json<NewOrganisation>,
) -> Result<Response, Problem> {
    let time_zone = new.time_zone.as_deref().unwrap_or(DEFAULT_TIME_ZONE);
    let made = services.access().create_organisation(operator.key.as_str(), &new.name, time_zone).await?;
    Ok((StatusCode::CREATED, Json(Organisation::from(made))).into_response())
}

/// Shows an organisation.
#[utoipa::path(get, path = "/v1/organisations/{name}", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name")),
    responses((status = 200, description = "The organisation", body = Organisation), Refusals, NotFound))]
pub(crate) async fn get(
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Organisation>, Problem> {
    Ok(Json(services.access().organisation_named(&name)?.into()))
}

/// Changes an organisation.
#[utoipa::path(patch, path = "/v1/organisations/{name}", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name")), request_body = OrganisationChange,
    responses((status = 200, description = "The organisation, changed", body = Organisation), Refusals, NotFound, Clash, Bodied))]
pub(crate) async fn change(
    OperatorOnly(operator): OperatorOnly,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(change): Json<OrganisationChange>,
) -> Result<Json<Organisation>, Problem> {
    let id = services.access().organisation_named(&name)?.id;
    Ok(Json(services.access().set_time_zone(operator.key.as_str(), id, &change.time_zone).await?.into()))
}

/// Deletes a suspended organisation for good, with everything it has.
///
/// It is answered at once, and erased in the background from five minutes on. Until nothing is left the organisation is shown with
/// `deleting`, its name is taken, and nothing of it can be changed; then the name may be another's. One that is not suspended is
/// 409.
#[utoipa::path(delete, path = "/v1/organisations/{name}", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name")),
    responses((status = 202, description = "The organisation, which is being deleted", body = Organisation), Refusals, NotFound, Clash))]
pub(crate) async fn delete(
    OperatorOnly(operator): OperatorOnly,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Response, Problem> {
    let id = services.access().organisation_named(&name)?.id;
    let deleting = services.access().delete_organisation(operator.key.as_str(), id).await?;
    Ok((StatusCode::ACCEPTED, Json(Organisation::from(deleting))).into_response())
}

/// Suspends an organisation: its keys, webhooks and links are refused with the problem `/problems/suspended`, and nothing is begun for it; what it has stays.
#[utoipa::path(post, path = "/v1/organisations/{name}/suspend", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name")),
    responses((status = 200, description = "The organisation, suspended", body = Organisation), Refusals, NotFound))]
pub(crate) async fn suspend(
    OperatorOnly(operator): OperatorOnly,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Organisation>, Problem> {
    let id = services.access().organisation_named(&name)?.id;
    Ok(Json(services.access().suspend_organisation(operator.key.as_str(), id).await?.into()))
}

/// Has an organisation go on that was suspended: what waited is done, and what was due meanwhile counts as missed.
#[utoipa::path(post, path = "/v1/organisations/{name}/resume", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name")),
    responses((status = 200, description = "The organisation, as it goes on", body = Organisation), Refusals, NotFound, Clash))]
pub(crate) async fn resume(
    OperatorOnly(operator): OperatorOnly,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Organisation>, Problem> {
    let id = services.access().organisation_named(&name)?.id;
    Ok(Json(services.access().resume_organisation(operator.key.as_str(), id).await?.into()))
}

/// Makes a key of an organisation: how its first admin comes to be.
///
/// At most 10,000 keys of an organisation work at once; one more is 413.
#[utoipa::path(post, path = "/v1/organisations/{name}/keys", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name")), request_body = KeyRequest,
    responses((status = 201, description = "The key and, this once, its secrets", body = NewKeyAnswer),
        Refusals, NotFound, Clash, Bodied))]
pub(crate) async fn create_key(
    OperatorOnly(operator): OperatorOnly,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(asked): Json<KeyRequest>,
) -> Result<Response, Problem> {
    let id = services.access().organisation_named(&name)?.id;
    Ok(shown_once(make(&services, operator.key.as_str(), id, asked).await?))
}

/// Lists the keys of an organisation.
///
/// Those that were revoked or have expired are listed for 90 days after, the newest for good.
#[utoipa::path(get, path = "/v1/organisations/{name}/keys", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name"), PageQuery),
    responses((status = 200, description = "A page of keys", body = KeyPage), Refusals, NotFound))]
pub(crate) async fn list_keys(
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<KeyPage>, Problem> {
    let whose = || Ok(Some(services.access().organisation_named(&name)?.id));
    keys::of(&services, &query, whose).map(Json)
}

/// Revokes a key of an organisation, but for its last admin's: it stops to work at once. One that published playbooks run as is
/// not revoked: the answer says which, to be published again with another key of the organisation. With `force` it is, and
/// they are not started until they are.
#[utoipa::path(delete, path = "/v1/organisations/{name}/keys/{id}", tag = "organisations", security(("key" = [])),
    params(("name" = String, Path, description = "The organisation's name"),
        ("id" = String, Path, description = "The key's id"), Force),
    responses((status = 200, description = "The key, revoked", body = Key), Refusals, NotFound, Clash))]
pub(crate) async fn revoke_key(
    OperatorOnly(operator): OperatorOnly,
    Path((name, key)): Path<(String, String)>,
    Query(Force { force }): Query<Force>,
    State(services): State<Shared>,
) -> Result<Json<Key>, Problem> {
    let (id, key) = (services.access().organisation_named(&name)?.id, key_id(&key)?);
    keys::revoke_of(&services, operator.key.as_str(), Some(id), &key, force).await.map(Json)
}
