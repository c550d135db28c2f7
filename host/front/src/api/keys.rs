//! Keys: `/v1/keys`, an admin's own organisation's or the operator's own.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_access::{CreatedKey, KeyRecord, NewKey};
use bellwether_kernel::{FieldError, KeyId, OrganisationId};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::secrets::named;
use super::words::Role;
use crate::extract::{Admin, CallerExt, Force, Instant, Json, List, OrOperator, PageQuery, Path, Query};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

const KEYS: List = List("keys");

/// A key, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct Key {
    /// Its public half; also the access id of signed requests.
    #[schema(value_type = String, example = "K7VQ2XJ4M5N6P7QR")]
    id: KeyId,
    /// What it is for.
    name: String,
    /// What it may do; absent for a key of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// Whether it can sign requests.
    signing: bool,
    created: Instant,
    /// When it stops to work.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Instant>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<Instant>,
    /// When it was last used, to the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Instant>,
}

impl From<KeyRecord> for Key {
    fn from(key: KeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role.map(Role::from),
            signing: key.signing,
            created: key.created.into(),
            expires: key.expires.map(Instant),
            revoked: key.revoked.map(Instant),
            last_used: key.last_used.map(Instant),
        }
    }
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyPage {
    /// Newest first.
    items: Vec<Key>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a new key shall be.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"name": "grafana", "role": "read", "expires": "2099-12-31T00:00:00Z"}))]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// What it is for, 1 to 100 characters.
    #[schema(example = "collector in Vienna")]
    name: String,
    /// What it may do; needed for a key of an organisation, absent for one of the operator.
    role: Option<Role>,
    /// When it stops to work; by default never.
    expires: Option<Instant>,
    /// Whether it can sign requests, as clients of some dialects do; by default not.
    #[serde(default)]
    signing: bool,
}

/// A new key with what is shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedKey)]
pub(crate) struct NewKeyAnswer {
    key: Key,
    /// What to send as `Authorization: Bearer <token>`. It is kept as a digest alone: nobody can show it again.
    #[schema(example = "bw_K7VQ2XJ4M5N6P7QR_…")]
    token: String,
    /// For a key that can sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing: Option<Signing>,
}

/// What a signing client is configured with.
#[derive(Serialize, ToSchema)]
pub(crate) struct Signing {
    access_id: String,
    secret: String,
}

impl From<CreatedKey> for NewKeyAnswer {
    fn from(created: CreatedKey) -> Self {
        let signing = created.signing.map(|pair| Signing { access_id: pair.access_id, secret: pair.secret });
        Self { key: created.key.into(), token: created.token, signing }
    }
}

/// Lists keys.
///
/// Those that were revoked or have expired are listed for 90 days after, the newest for good.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of keys", body = KeyPage), Refusals))]
pub(crate) async fn list(
    OrOperator(caller, ..): OrOperator<Admin>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<KeyPage>, Problem> {
    of(&services, &query, || Ok(caller.organisation())).map(Json)
}

/// A page of the keys of an organisation, or of the operator.
pub(super) fn of(
    services: &Services,
    query: &PageQuery,
    whose: impl FnOnce() -> Result<Option<OrganisationId>, Problem>,
) -> Result<KeyPage, Problem> {
    let page = KEYS.page(query.limit, query.cursor.as_deref())?;
    let found = services.access().keys(whose()?, &page)?.map(Key::from);
    Ok(KeyPage { items: found.items, next: KEYS.next(found.next) })
}

/// Makes a key: for an admin in its organisation, for the operator one like its own.
///
/// At most 10,000 keys of an organisation work at once; one more is 413.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = KeyRequest, security(("key" = [])),
    responses((status = 201, description = "The key and, this once, its secrets", body = NewKeyAnswer), Refusals, Bodied))]
pub(crate) async fn create(
    OrOperator(caller, ..): OrOperator<Admin>,
    State(services): State<Shared>,
    Json(asked): Json<KeyRequest>,
) -> Result<Response, Problem> {
    let actor = caller.key().as_str();
    let created = match caller.organisation() {
        Some(organisation) => make(&services, actor, organisation, asked).await?,
        None => {
            if let Some(role) = asked.role {
                let said = format!("{role:?}").to_lowercase();
                return Err(
                    FieldError::new("role", said, "nothing: a key of the operator has no role").into()
                );
            }
            if asked.signing {
                let expected = "false: what signed requests reach belongs to organisations";
                return Err(FieldError::new("signing", true, expected).into());
            }
            let expires = asked.expires.map(|Instant(expires)| expires);
            services.access().create_operator_key(actor, &asked.name, expires).await?
        }
    };
    Ok(shown_once(created))
}

/// Makes a key of an organisation.
pub(super) async fn make(
    services: &Services,
    actor: &str,
    organisation: OrganisationId,
    asked: KeyRequest,
) -> Result<CreatedKey, Problem> {
    let role = asked.role.ok_or_else(|| FieldError::new("role", "", "one of read, write, admin"))?;
    let key = NewKey {
        name: asked.name,
        role: role.into(),
        expires: asked.expires.map(|Instant(expires)| expires),
        signing: asked.signing,
    };
    Ok(services.access().create_key(actor, organisation, key).await?)
}

/// Answers with a new key's secrets, which no cache on the way may keep.
pub(super) fn shown_once(created: CreatedKey) -> Response {
    let uncached = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::CREATED, uncached, Json(NewKeyAnswer::from(created))).into_response()
}

/// Shows a key.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "keys", security(("key" = [])),
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The key", body = Key), Refusals, NotFound))]
pub(crate) async fn get(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(id): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Key>, Problem> {
    Ok(Json(services.access().key(caller.organisation(), &key_id(&id)?)?.into()))
}

/// Revokes a key: it stops to work at once. One that published playbooks run as is not revoked: the answer says which, to be
/// published again with another. With `force` it is, and they are not started until they are.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", security(("key" = [])),
    params(("id" = String, Path, description = "The key's id"), Force),
    responses((status = 200, description = "The key, revoked", body = Key), Refusals, NotFound, Clash))]
pub(crate) async fn revoke(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(id): Path<String>,
    Query(Force { force }): Query<Force>,
    State(services): State<Shared>,
) -> Result<Json<Key>, Problem> {
    let (actor, owner) = (caller.key().as_str(), caller.organisation());
    revoke_of(&services, actor, owner, &key_id(&id)?, force).await.map(Json)
}

/// Revokes a key of an organisation, or of the operator.
pub(super) async fn revoke_of(
    services: &Services,
    actor: &str,
    owner: Option<OrganisationId>,
    key: &KeyId,
    force: bool,
) -> Result<Key, Problem> {
    if let Some(organisation) = owner.filter(|_| !force) {
        let published = services.playbooks().published_by(organisation, key).await?;
        if let Some(playbooks) = named("playbook", &published) {
            let text = format!(
                "nothing would start {playbooks} without the key {key} to run as: publish again with another key, \
                 `bellwether playbook publish NAME --again`, then revoke this one; or force it"
            );
            return Err(Problem::new(ProblemKind::Conflict, text));
        }
    }
    Ok(services.access().revoke_key(actor, owner, key).await?.into())
}

pub(super) fn key_id(id: &str) -> Result<KeyId, Problem> {
    id.parse().map_err(|_| Problem::not_found(format!("there is no key {id:?}")))
}
