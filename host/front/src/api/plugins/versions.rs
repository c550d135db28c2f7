//! The versions of a plugin: `/v1/plugins/{name}/versions`, and going back to one.

use axum::extract::State;
use bellwether_plugins::{Grant, KeptVersion, LimitOverrides, PluginRole, VersionState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Plugin, own, seen};
use crate::extract::{
    Admin, Force, Instant, Json, JsonOrNothing, List, OrOperator, PageQuery, Path, Query, Read,
};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

const VERSIONS: List = List("plugin versions");

/// A version of a plugin that is kept.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginVersion {
    #[schema(example = "1.4.2")]
    version: String,
    /// `current`: everybody is answered by it; `canary`: a share of the callers is; `kept`: only those that keep to
    /// it.
    #[schema(value_type = String)]
    state: VersionState,
    /// Whether it is in memory; one that is not is loaded when it is called.
    loaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The version of the contract it was made for.
    contract: String,
    /// What it may be: `app`, `dialect` and so on.
    #[schema(value_type = Vec<String>)]
    roles: Vec<PluginRole>,
    /// What it was granted.
    #[schema(value_type = Vec<Object>)]
    grants: Vec<Grant>,
    /// What it may use where it is other than the host's limits.
    #[schema(value_type = Object)]
    limits: LimitOverrides,
    /// SHA-256 of the component.
    digest: String,
    /// Bytes of the component.
    size: u64,
    /// When it was installed.
    installed: Instant,
    /// The id of the key it was installed with, or `host`.
    actor: String,
    /// Why it is not called: it did not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<KeptVersion> for PluginVersion {
    fn from(KeptVersion { installed, state, loaded }: KeptVersion) -> Self {
        let installed = (*installed).clone();
        Self {
            version: installed.version,
            state,
            loaded,
            description: installed.description,
            contract: installed.contract,
            roles: installed.roles,
            grants: installed.grants,
            limits: installed.limits,
            digest: installed.digest.to_string(),
            size: installed.size,
            installed: installed.installed.into(),
            actor: installed.actor,
            problem: installed.problem,
        }
    }
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginVersionList {
    /// Newest first.
    items: Vec<PluginVersion>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists the versions of a plugin that are kept.
#[utoipa::path(get, path = "/v1/plugins/{name}/versions", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name"), PageQuery),
    responses((status = 200, description = "A page of versions", body = PluginVersionList), Refusals, NotFound))]
pub(crate) async fn list(
    OrOperator(caller, ..): OrOperator<Read>,
    Path(name): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<PluginVersionList>, Problem> {
    let page = VERSIONS.page(query.limit, query.cursor.as_deref())?;
    let owner = seen(&services, &caller, &name)?.owner;
    let found = services.plugins().versions(owner, &name, &page)?.map(PluginVersion::from);
    Ok(Json(PluginVersionList { items: found.items, next: VERSIONS.next(found.next) }))
}

/// Removes a version that is neither the current one nor the canary. The plugin's state stays. One
/// that somebody keeps to is not removed unless that is forced; `warnings` then say whom it breaks.
#[utoipa::path(delete, path = "/v1/plugins/{name}/versions/{version}", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name"),
        ("version" = String, Path, description = "The version"), Force),
    responses((status = 200, description = "The plugin without it", body = Plugin), Refusals, NotFound, Clash))]
pub(crate) async fn remove(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path((name, version)): Path<(String, String)>,
    Query(Force { force }): Query<Force>,
    State(services): State<Shared>,
) -> Result<Json<Plugin>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    let warnings = services.plugins().remove_version(owner, actor, &name, &version, force).await?;
    let installed = seen(&services, &caller, &name)?;
    Ok(Json(Plugin { warnings, ..Plugin::of(&services, &installed) }))
}

/// Which version to go back to.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginRollBack)]
pub(crate) struct RollBack {
    /// By default the one that was current before.
    version: Option<String>,
}

/// Makes an earlier version the current one. It is loaded first; calls in flight finish on what they began with. A
/// canary ends.
#[utoipa::path(post, path = "/v1/plugins/{name}/roll-back", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    request_body(content = Option<RollBack>),
    responses((status = 200, description = "The plugin as it is called now", body = Plugin),
        Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn roll_back(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    JsonOrNothing(RollBack { version }): JsonOrNothing<RollBack>,
) -> Result<Json<Plugin>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    let plugin = services.plugins().roll_back(owner, actor, &name, version.as_deref()).await?;
    Ok(Json(Plugin::changed_to(&services, &plugin).await))
}
