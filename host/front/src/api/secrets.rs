//! Secrets that playbooks and channels name: `/v1/secrets`. A value goes in and never comes out again.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_access::SecretRecord;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{Admin, Authorised, Force, Instant, Json, List, PageQuery, Path, Query};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::{Problem, ProblemKind};
use crate::services::Shared;

const SECRETS: List = List("secrets");

/// A secret, without its value.
#[derive(Serialize, ToSchema)]
pub(crate) struct Secret {
    /// What playbooks name it by, `{{ secrets.<name> }}`, and channels in their settings.
    #[schema(example = "ticket-token")]
    name: String,
    /// Where channels may send it; playbooks' apps send where their grants allow.
    hosts: Vec<String>,
    created: Instant,
    /// When it was last put.
    updated: Instant,
}

impl From<SecretRecord> for Secret {
    fn from(SecretRecord { name, hosts, created, updated }: SecretRecord) -> Self {
        Self { name, hosts, created: created.into(), updated: updated.into() }
    }
}

/// A page of secrets.
#[derive(Serialize, ToSchema)]
pub(crate) struct SecretList {
    /// Ordered by name.
    items: Vec<Secret>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A secret's value. It has no `Debug`, so that no log can show it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutSecret {
    /// 1 byte to 16 KiB.
    #[schema(format = "password")]
    value: String,
    /// Where channels may send it, as grants name hosts: at most 20, an empty list is nowhere. Without it where it could be
    /// sent before, a new one nowhere.
    #[serde(default)]
    #[schema(example = json!(["https://hooks.example.com"]))]
    hosts: Option<Vec<String>>,
}

/// Whether a secret was there before.
#[derive(Serialize, ToSchema)]
pub(crate) struct Put {
    name: String,
    /// Whether it is new; otherwise its value was replaced.
    created: bool,
}

/// Lists secrets, never their values.
#[utoipa::path(get, path = "/v1/secrets", tag = "secrets", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of secrets", body = SecretList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Admin>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<SecretList>, Problem> {
    let page = SECRETS.page(query.limit, query.cursor.as_deref())?;
    let found = services.access().secrets(principal.organisation, &page).await?.map(Secret::from);
    Ok(Json(SecretList { items: found.items, next: SECRETS.next(found.next) }))
}

/// Puts a secret, or replaces the value of the one of that name, and its hosts where some are given. Runs read it when a step begins, channels when they are
/// told something.
#[utoipa::path(put, path = "/v1/secrets/{name}", tag = "secrets", security(("key" = [])),
    params(("name" = String, Path, description = "1 to 100 characters of `a-z0-9_-`")),
    request_body = PutSecret,
    responses(
        (status = 200, description = "Its value was replaced", body = Put),
        (status = 201, description = "It is new", body = Put),
        Refusals, Bodied, Clash))]
pub(crate) async fn put(
    Authorised(principal, ..): Authorised<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(PutSecret { value, hosts }): Json<PutSecret>,
) -> Result<Response, Problem> {
    let created = services.access().put_secret(&principal, &name, &value, hosts).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Put { name, created })).into_response())
}

/// Deletes a secret. One that channels or playbooks name, newest drafts among them, is not deleted: the answer says which.
/// With `force` it is, and a step or a channel that names it fails from here on.
#[utoipa::path(delete, path = "/v1/secrets/{name}", tag = "secrets", security(("key" = [])),
    params(("name" = String, Path, description = "Its name"), Force),
    responses((status = 204, description = "It is gone"), Refusals, NotFound, Clash))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Admin>,
    Path(name): Path<String>,
    Query(Force { force }): Query<Force>,
    State(services): State<Shared>,
) -> Result<StatusCode, Problem> {
    if !force {
        let organisation = principal.organisation;
        let channels = services.deliveries().channels_naming_secret(organisation, &name).await?;
        let playbooks = services.playbooks().naming_secret(organisation, &name).await?;
        if let Some(users) = users(&channels, &playbooks) {
            let text = format!(
                "the secret {name:?} is named by {users}: they would fail without it; change them first, or force it"
            );
            return Err(Problem::new(ProblemKind::Conflict, text));
        }
    }
    services.access().delete_secret(&principal, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Those of one kind in words: `the playbook restart`, `the channels ops, mail`; `None` if there are none.
pub(super) fn named(one: &str, names: &[String]) -> Option<String> {
    match names {
        [] => None,
        [name] => Some(format!("the {one} {name}")),
        names => Some(format!("the {one}s {}", names.join(", "))),
    }
}

/// Who names a secret, in words: `the channels ops, mail, and by the playbook restart`; `None` if nobody does.
fn users(channels: &[String], playbooks: &[String]) -> Option<String> {
    let all: Vec<String> =
        [named("channel", channels), named("playbook", playbooks)].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", and by "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_names_a_secret_is_named_by_kind() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (channels, playbooks, expected) in [
            (&[][..], &[][..], None),
            (&["ops"], &[], Some("the channel ops")),
            (&["ops", "mail"], &["restart"], Some("the channels ops, mail, and by the playbook restart")),
        ] {
            assert_eq!(users(&names(channels), &names(playbooks)).as_deref(), expected);
        }
    }
}
