//! Versions of a playbook: drafts tried, published and rolled back at `/v1/playbooks/{playbook}/…`.

use axum::extract::State;
use bellwether_kernel::KeyId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::playbooks::Playbook;
use super::words::{Format, StepKind};
use crate::extract::{
    Admin, Authorised, Instant, Json, JsonOrNothing, List, PageQuery, Path, Query, Read, Write,
};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;

const VERSIONS: List = List("playbook versions");

/// A version of a playbook.
#[derive(Serialize, ToSchema)]
#[schema(as = PlaybookVersion)]
pub(crate) struct Version {
    /// Counted from 1.
    version: u32,
    format: Format,
    /// When it was stored.
    created: Instant,
    /// With which key.
    #[schema(value_type = String)]
    created_by: KeyId,
    /// When it was last published; absent for a draft.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<Instant>,
    /// Whether it is the one that runs.
    current: bool,
}

impl From<bellwether_playbooks::Version> for Version {
    fn from(version: bellwether_playbooks::Version) -> Self {
        Self {
            version: version.version,
            format: version.format.into(),
            created: version.created.into(),
            created_by: version.created_by,
            published: version.published.map(Instant),
            current: version.current,
        }
    }
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionList {
    /// Newest first.
    items: Vec<Version>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What one version says.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionDocument {
    version: u32,
    name: String,
    #[schema(value_type = Object)]
    trigger: bellwether_playbooks::Trigger,
    #[schema(value_type = Vec<Object>)]
    steps: Vec<bellwether_playbooks::Step>,
    /// As it was written.
    source: String,
    format: Format,
}

/// Lists the versions of a playbook.
#[utoipa::path(get, path = "/v1/playbooks/{playbook}/versions", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name or id"), PageQuery),
    responses((status = 200, description = "A page of versions", body = VersionList), Refusals, NotFound))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Path(playbook): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<VersionList>, Problem> {
    let page = VERSIONS.page(query.limit, query.cursor.as_deref())?;
    let found = services.playbooks().versions(principal.organisation, &playbook, &page).await?;
    let found = found.map(Version::from);
    Ok(Json(VersionList { items: found.items, next: VERSIONS.next(found.next) }))
}

/// Shows what one version says.
#[utoipa::path(get, path = "/v1/playbooks/{playbook}/versions/{version}", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name or id"), ("version" = u32, Path, description = "Counted from 1")),
    responses((status = 200, description = "The version", body = VersionDocument), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path((playbook, version)): Path<(String, u32)>,
    State(services): State<Shared>,
) -> Result<Json<VersionDocument>, Problem> {
    let found = services.playbooks().version(principal.organisation, &playbook, version).await?;
    let (document, source, format) = found;
    let bellwether_playbooks::Document { name, trigger, steps, .. } = document;
    Ok(Json(VersionDocument { version, name, trigger, steps, source, format: format.into() }))
}

/// Which version.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    /// Counted from 1. By default the one that runs: it is published again.
    version: Option<u32>,
}

/// Publishes a version: it runs from here on, as the caller's key; without `version` the one that runs already does. A playbook
/// that was disabled is enabled.
#[utoipa::path(post, path = "/v1/playbooks/{playbook}/publish", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name or id")),
    request_body(content = Option<Publish>),
    responses((status = 200, description = "The playbook as it runs now", body = Playbook), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn publish(
    Authorised(principal, ..): Authorised<Admin>,
    Path(playbook): Path<String>,
    State(services): State<Shared>,
    JsonOrNothing(Publish { version }): JsonOrNothing<Publish>,
) -> Result<Json<Playbook>, Problem> {
    let playbook = match version {
        Some(version) => services.playbooks().publish(&principal, &playbook, version).await?,
        None => services.playbooks().publish_again(&principal, &playbook).await?,
    };
    Ok(Json(Playbook::shown_to(&principal, &services, &playbook)))
}

/// Which earlier version.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollBack {
    /// By default the greatest below the present one that was ever published.
    version: Option<u32>,
}

/// Publishes again what ran before.
#[utoipa::path(post, path = "/v1/playbooks/{playbook}/roll-back", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name or id")),
    request_body(content = Option<RollBack>),
    responses((status = 200, description = "The playbook as it runs now", body = Playbook), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn roll_back(
    Authorised(principal, ..): Authorised<Admin>,
    Path(playbook): Path<String>,
    State(services): State<Shared>,
    JsonOrNothing(RollBack { version }): JsonOrNothing<RollBack>,
) -> Result<Json<Playbook>, Problem> {
    let playbook = services.playbooks().roll_back(&principal, &playbook, version).await?;
    Ok(Json(Playbook::shown_to(&principal, &services, &playbook)))
}

/// Starts the trigger of a playbook again that was disabled because its runs failed. One whose key works no more is to be
/// published again instead.
#[utoipa::path(post, path = "/v1/playbooks/{playbook}/enable", tag = "playbooks", security(("key" = [])),
    params(("playbook" = String, Path, description = "Its name or id")),
    responses((status = 200, description = "The playbook as it is now", body = Playbook), Refusals, NotFound, Clash))]
pub(crate) async fn enable(
    Authorised(principal, ..): Authorised<Admin>,
    Path(playbook): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Playbook>, Problem> {
    let playbook = services.playbooks().enable(&principal, &playbook).await?;
    Ok(Json(Playbook::shown_to(&principal, &services, &playbook)))
}

/// A document to be tried.
#[derive(Deserialize, ToSchema)]
#[schema(as = PlaybookTrial)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    /// The document.
    source: String,
    format: Format,
    /// What its templates read as `trigger`; for a manual one `{"inputs": …}`, held against what is declared as at a start.
    /// Of what is not given, a trigger by time is as when it is due next, and declared inputs have their defaults.
    #[serde(default)]
    #[schema(value_type = Object)]
    trigger: Map<String, Value>,
}

/// What a run would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct DryRun {
    /// Its steps in order, the on-failure steps behind the others.
    steps: Vec<DryStep>,
}

/// What a step would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct DryStep {
    step: String,
    kind: StepKind,
    /// Its app, or the playbook it runs; empty where it has neither.
    app: String,
    app_version: String,
    /// Whether it is one of the on-failure steps.
    on_failure: bool,
    /// Whether its condition holds; absent where that depends on what is not known before the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<bool>,
    /// Over how many items it is taken; absent for a step without a list, or where that is not known before the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<usize>,
    /// What it would be given, secrets masked. What depends on an earlier step is `{"unknown": "<template>"}`.
    #[schema(value_type = Object)]
    inputs: Map<String, Value>,
    /// What would be wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<bellwether_playbooks::DryStep> for DryStep {
    fn from(step: bellwether_playbooks::DryStep) -> Self {
        Self {
            step: step.step,
            kind: step.kind.into(),
            app: step.app,
            app_version: step.app_version,
            on_failure: step.on_failure,
            runs: step.runs,
            items: step.items,
            inputs: step.inputs,
            problem: step.problem,
        }
    }
}

/// Tries a document without storing it: everything is checked and rendered, no app is called, nothing is recorded.
#[utoipa::path(post, path = "/v1/playbooks/dry-run", tag = "playbooks", security(("key" = [])),
    request_body = Trial,
    responses((status = 200, description = "What a run would do", body = DryRun), Refusals, Bodied))]
pub(crate) async fn dry_run(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    Json(Trial { source, format, trigger }): Json<Trial>,
) -> Result<Json<DryRun>, Problem> {
    let run = services.playbooks().dry_run(&principal, &source, format.into(), trigger).await?;
    Ok(Json(DryRun { steps: run.steps.into_iter().map(DryStep::from).collect() }))
}
