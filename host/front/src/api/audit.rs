//! The audit log: `/v1/audit`, an admin's organisation's or the host's.

use std::collections::BTreeMap;

use axum::extract::State;
use bellwether_access::{AuditEntry, AuditFilter, AuditScope};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::extract::{Admin, CallerExt, Instant, Json, List, OrOperator, Query, in_order};
use crate::openapi::Refusals;
use crate::problem::Problem;
use crate::services::Shared;

const ENTRIES: List = List("audit entries");

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only this action, or everything about one kind of thing: `key` finds `key.create` too.
    action: Option<String>,
    /// Only what this key did, by its id.
    actor: Option<String>,
    /// Only what was done at or after this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    since: Option<Instant>,
    /// Only what was done before this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    until: Option<Instant>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// One thing that was done.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct Entry {
    time: Instant,
    /// The id of the key it was done with, or `host`.
    actor: String,
    #[schema(example = "key.create")]
    action: String,
    /// To what: a name or an id.
    target: String,
    /// What else matters.
    details: BTreeMap<String, String>,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        Self {
            time: entry.time.into(),
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            details: entry.details.into_iter().collect(),
        }
    }
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// Newest first. A filtered page may hold fewer than asked for and still lead to a next one.
    items: Vec<Entry>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Shows what was done to keys, grants, installs and settings, and data that was deleted.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditQuery), security(("key" = [])),
    responses((status = 200, description = "A page of the log", body = AuditPage), Refusals))]
pub(crate) async fn list(
    OrOperator(caller, ..): OrOperator<Admin>,
    Query(query): Query<AuditQuery>,
    State(services): State<Shared>,
) -> Result<Json<AuditPage>, Problem> {
    let page = ENTRIES.page(query.limit, query.cursor.as_deref())?;
    let scope = caller.organisation().map_or(AuditScope::Host, AuditScope::Organisation);
    in_order(("since", query.since), ("until", query.until))?;
    let (since, until) = (query.since.map(|Instant(since)| since), query.until.map(|Instant(until)| until));
    let filter = AuditFilter { action: query.action, actor: query.actor, since, until };
    let found = services.access().audit_log(scope, &filter, &page).await?.map(Entry::from);
    Ok(Json(AuditPage { items: found.items, next: ENTRIES.next(found.next) }))
}
