//! A version of a plugin tried on a share of the calls: `/v1/plugins/{name}/canary`.

use axum::extract::State;
use bellwether_plugins::{CanaryEnd, CanaryOutcome, Tally};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Plugin, own};
use crate::extract::{Admin, Instant, Json, OrOperator, Path};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

/// A version that is tried on a share of the calls.
#[derive(Serialize, ToSchema)]
#[schema(as = PluginCanary)]
pub(crate) struct CanaryState {
    #[schema(example = "1.5.0")]
    version: String,
    /// Hundredths of the calls.
    #[schema(minimum = 0, maximum = 100)]
    pub(crate) share: u8,
    /// Since when.
    since: Instant,
    /// The id of the key that set it.
    actor: String,
    /// What its calls of the last five minutes came to; absent where they are not the caller's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"calls": 40, "failed": 0}))]
    calls: Option<Tally>,
    /// What the current version's calls came to meanwhile; absent as `calls` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, example = json!({"calls": 360, "failed": 1}))]
    current_calls: Option<Tally>,
}

impl CanaryState {
    pub(super) fn without_calls(self) -> Self {
        Self { calls: None, current_calls: None, ..self }
    }
}

impl From<bellwether_plugins::Canary> for CanaryState {
    fn from(canary: bellwether_plugins::Canary) -> Self {
        let (calls, current_calls) = (Some(canary.canary), Some(canary.current));
        let bellwether_plugins::Canary { version, share, since, actor, .. } = canary;
        Self { version, share, since: since.into(), actor, calls, current_calls }
    }
}

/// How a canary ended.
#[derive(Serialize, ToSchema)]
#[schema(as = PluginCanaryEnd)]
pub(crate) struct CanaryEnded {
    version: String,
    /// When.
    at: Instant,
    /// `promoted`, `aborted`, or `rolled-back` by the host itself.
    #[schema(value_type = String)]
    how: CanaryOutcome,
    /// Why, if the host ended it; absent where the calls it tells of are not the caller's alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl CanaryEnded {
    pub(super) fn without_reason(self) -> Self {
        Self { reason: None, ..self }
    }
}

impl From<CanaryEnd> for CanaryEnded {
    fn from(CanaryEnd { version, at, how, reason }: CanaryEnd) -> Self {
        Self { version, at: at.into(), how, reason }
    }
}

/// Which version is to be tried, and on how many calls.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPluginCanary)]
pub(crate) struct NewCanary {
    /// A version that is installed and not the current one.
    version: String,
    /// Hundredths of the calls.
    #[schema(minimum = 0, maximum = 100)]
    share: u8,
}

/// Sends a share of the calls to a version, or changes the share. One caller is always answered by one version: a run
/// by the one it began with, a dialect's caller by its key or its address. A canary that fails more often than the
/// current version is ended by the host.
#[utoipa::path(put, path = "/v1/plugins/{name}/canary", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")), request_body = NewCanary,
    responses((status = 200, description = "The canary", body = CanaryState), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn set(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(NewCanary { version, share }): Json<NewCanary>,
) -> Result<Json<CanaryState>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    Ok(Json(services.plugins().set_canary(owner, actor, &name, &version, share).await?.into()))
}

/// Makes the canary the current version.
#[utoipa::path(post, path = "/v1/plugins/{name}/canary/promote", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses((status = 200, description = "The plugin as it is called now", body = Plugin), Refusals, NotFound, Clash))]
pub(crate) async fn promote(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Plugin>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    let plugin = services.plugins().promote(owner, actor, &name).await?;
    Ok(Json(Plugin::changed_to(&services, &plugin).await))
}

/// Sends nobody to the canary any more. The version is kept, and runs that began with it finish on it.
#[utoipa::path(delete, path = "/v1/plugins/{name}/canary", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses((status = 200, description = "The plugin as it is called now", body = Plugin), Refusals, NotFound, Clash))]
pub(crate) async fn abort(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Plugin>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    let plugin = services.plugins().abort(owner, actor, &name).await?;
    Ok(Json(Plugin::of(&services, &plugin)))
}
