//! What an organisation sets of the host's dialects: `/v1/plugins/{name}/settings`.

use axum::extract::State;
use bellwether_kernel::value::Input;
use bellwether_plugins::DialectSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::extract::{Admin, Authorised, Json, Path, Read};
use crate::openapi::{Bodied, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

/// How a dialect is set for the organisation.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginSettings {
    /// What the organisation has set.
    #[schema(value_type = Object, example = json!({"brands_metrics": true}))]
    settings: Map<String, Value>,
    /// What holds, defaults filled in.
    #[schema(value_type = Object)]
    effective: Map<String, Value>,
    /// What can be set: name, type, default, choices and help.
    #[schema(value_type = Vec<Object>)]
    declared: Vec<Input>,
}

impl From<DialectSettings> for PluginSettings {
    fn from(settings: DialectSettings) -> Self {
        let DialectSettings { given, effective, declared } = settings;
        Self { settings: given, effective, declared }
    }
}

/// What a dialect shall be set to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutPluginSettings {
    /// By name; those left out have their defaults.
    #[schema(value_type = Object, example = json!({"brands_metrics": true}))]
    settings: Map<String, Value>,
}

/// Shows how a dialect is set for the organisation.
#[utoipa::path(get, path = "/v1/plugins/{name}/settings", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses((status = 200, description = "What is set, and what can be", body = PluginSettings), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<PluginSettings>, Problem> {
    Ok(Json(services.plugins().settings(principal.organisation, &name)?.into()))
}

/// Sets a dialect for the organisation, in the place of what was set before. Holds from the next call on.
#[utoipa::path(put, path = "/v1/plugins/{name}/settings", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")), request_body = PutPluginSettings,
    responses((status = 200, description = "What is set now", body = PluginSettings), Refusals, NotFound, Bodied))]
pub(crate) async fn put(
    Authorised(principal, ..): Authorised<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(PutPluginSettings { settings }): Json<PutPluginSettings>,
) -> Result<Json<PluginSettings>, Problem> {
    Ok(Json(services.plugins().set_settings(&principal, &name, settings).await?.into()))
}
