//! Plugins: `/v1/plugins`. The operator installs for every organisation, an admin for its own.

pub(crate) mod canary;
pub(crate) mod seen;
pub(crate) mod settings;
pub(crate) mod versions;

use std::sync::Arc;

use axum::extract::{FromRequest as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bellwether_access::{Caller, Role};
use bellwether_alerts::{DetectorDescription, ForecasterDescription, FormatterDescription};
use bellwether_kernel::{Cursor, FieldError, PageRequest, counted};
use bellwether_playbooks::AppDescription;
use bellwether_plugins::{
    Change, DialectSummary, Grant, Inspection, Installed, Instances, LimitOverrides, Manifest, Owner,
    PluginRole, Removed,
};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::canary::{CanaryEnded, CanaryState};
use crate::extract::{
    Admin, CallerExt, Force, Instant, Json, List, OrOperator, PageQuery, Path, Query, Read, bearer_of,
    content_type, enough, read_body, recognised,
};
use crate::idempotency::BodyLimit;
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::patience::Patience;
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

pub(crate) const PLUGINS: List = List("plugins");

/// A plugin that is installed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Plugin {
    /// Unique among its owner's.
    #[schema(example = "metric")]
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Who installed it and for whom.
    owner: PluginOwner,
    /// The version of the contract it was made for.
    contract: String,
    /// What it may be: `app`, `dialect` and so on.
    #[schema(value_type = Vec<String>)]
    roles: Vec<PluginRole>,
    /// What it was granted: exactly what it asks for.
    #[schema(value_type = Vec<Object>, example = json!([{"interface": "metrics-write", "metrics": ["web.*"]}]))]
    grants: Vec<Grant>,
    /// SHA-256 of the component.
    digest: String,
    /// Bytes of the component.
    size: u64,
    /// When this version was installed.
    installed: Instant,
    /// The id of the key it was installed with, or `host`.
    actor: String,
    /// Whether it is called.
    enabled: bool,
    /// Why it is not called although it is enabled: it did not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What it takes and gives as an app.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    app: Option<AppDescription>,
    /// What it speaks as a dialect: a summary and its routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    dialect: Option<DialectSummary>,
    /// What it is and takes as a detector.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    detector: Option<DetectorDescription>,
    /// What it is and takes as a forecaster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    forecaster: Option<ForecasterDescription>,
    /// What it is and takes as a formatter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    formatter: Option<FormatterDescription>,
    /// What its current version may use where it is other than the host's limits.
    #[schema(value_type = Object, example = json!({"memory_bytes": 1_048_576}))]
    limits: LimitOverrides,
    /// Whether its calls share instances: `fresh` or `warm`.
    #[schema(value_type = String)]
    instances: Instances,
    /// A version that is tried on a share of the calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryState>,
    /// How the last canary ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_canary: Option<CanaryEnded>,
    /// What else the change means that this answers, a sentence each: the playbooks whose steps do not fit the version, or
    /// who calls what was removed by force, and what went with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// Whose a plugin is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PluginOwner {
    /// The host's operator installed it for every organisation.
    Host,
    /// The organisation installed it for itself.
    Organisation,
}

impl From<Owner> for PluginOwner {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Host => Self::Host,
            Owner::Organisation(_) => Self::Organisation,
        }
    }
}

impl Plugin {
    /// A plugin in its current version.
    fn of(services: &Services, installed: &Installed) -> Self {
        let installed = installed.clone();
        let (canary, ended) = services.plugins().canary(installed.owner, &installed.name);
        Self {
            name: installed.name,
            version: installed.version,
            description: installed.description,
            owner: installed.owner.into(),
            contract: installed.contract,
            roles: installed.roles,
            grants: installed.grants,
            digest: installed.digest.to_string(),
            size: installed.size,
            installed: installed.installed.into(),
            actor: installed.actor,
            enabled: installed.enabled,
            problem: installed.problem,
            app: installed.app,
            dialect: installed.dialect,
            detector: installed.detector,
            forecaster: installed.forecaster,
            formatter: installed.formatter,
            limits: installed.limits,
            instances: installed.instances,
            canary: canary.map(CanaryState::from),
            last_canary: ended.map(CanaryEnded::from),
            warnings: Vec::new(),
        }
    }

    /// A plugin whose version somebody is sent to from now on, with the playbooks that do not fit it. What cannot be read of
    /// those is no failure of what is done.
    async fn changed_to(services: &Services, installed: &Installed) -> Self {
        let Installed { owner, name, version, .. } = installed;
        let warnings = services.plugins().misfits(*owner, name, version).await.unwrap_or_else(|error| {
            tracing::warn!(plugin = name, version, %error, "which playbooks do not fit a version could not be read");
            Vec::new()
        });
        Self { warnings, ..Self::of(services, installed) }
    }
}

impl Plugin {
    /// A plugin as a caller sees it: how often others call one of the host's, an organisation does not.
    fn shown_to(services: &Services, caller: &Caller, installed: &Installed) -> Self {
        let mut plugin = Self::of(services, installed);
        if !concerns_alone(caller, installed.owner) {
            plugin.canary = plugin.canary.map(CanaryState::without_calls);
            plugin.last_canary = plugin.last_canary.map(CanaryEnded::without_reason);
        }
        plugin
    }
}

/// Whether nobody but the caller, or those the operator is there for, calls a plugin.
pub(crate) fn concerns_alone(caller: &Caller, owner: Owner) -> bool {
    caller.organisation().is_none() || owner != Owner::Host
}

/// A page of plugins.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginList {
    /// Ordered by name: an organisation's own, then the host's.
    items: Vec<Plugin>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Whose plugins a caller changes.
fn owner(caller: &Caller) -> Owner {
    caller.organisation().map_or(Owner::Host, Owner::Organisation)
}

/// Lists the plugins the caller may use: the host's, and for an organisation its own before them.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of plugins", body = PluginList), Refusals))]
pub(crate) async fn list(
    OrOperator(caller, ..): OrOperator<Read>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<PluginList>, Problem> {
    let page = PLUGINS.page(query.limit, query.cursor.as_deref())?;
    let (items, next) = own_then_host(&services, &caller, &page)?;
    let items = items.iter().map(|installed| Plugin::shown_to(&services, &caller, installed)).collect();
    Ok(Json(PluginList { items, next: PLUGINS.next(next) }))
}

/// Which of the two lists a cursor is of: its first byte.
const OWN: u8 = 0;
const HOST: u8 = 1;

pub(crate) type Found = (Vec<Arc<Installed>>, Option<Cursor>);

/// The host's plugins, and for an organisation its own before them: one page over two lists.
pub(crate) fn own_then_host(
    services: &Services,
    caller: &Caller,
    page: &PageRequest,
) -> Result<Found, Problem> {
    let first = if caller.organisation().is_some() { OWN } else { HOST };
    let (list, within) = match &page.cursor {
        None => (first, None),
        Some(cursor) => match cursor.0.split_first() {
            Some((&list, rest)) if list == HOST || list == first => {
                (list, (!rest.is_empty()).then(|| Cursor(rest.to_vec())))
            }
            _ => return Err(FieldError::wrong_cursor(cursor).into()),
        },
    };
    let marked = |list: u8, Cursor(bytes): Cursor| Cursor([&[list], bytes.as_slice()].concat());
    let mut items = Vec::new();
    let mut within = within;
    if let (OWN, Some(organisation)) = (list, caller.organisation()) {
        let asked = PageRequest { limit: page.limit, cursor: within.take() };
        let own = services.plugins().list(Owner::Organisation(organisation), &asked)?;
        items = own.items;
        if let Some(next) = own.next {
            return Ok((items, Some(marked(OWN, next))));
        }
        if items.len() == page.limit {
            return Ok((items, Some(Cursor(vec![HOST]))));
        }
    }
    let asked = PageRequest { limit: page.limit - items.len(), cursor: within };
    let host = services.plugins().list(Owner::Host, &asked)?;
    items.extend(host.items);
    Ok((items, host.next.map(|next| marked(HOST, next))))
}

/// How a plugin is installed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InstallQuery {
    /// A privilege and its scope as on the command line, `metrics-write=web.*`; repeated for each the component
    /// asks for.
    #[serde(default)]
    #[param(explode = true)]
    grant: Vec<String>,
    /// Whether it may take the place of another component of its version; by default not.
    #[serde(default)]
    replace: bool,
    /// Sends only so many hundredths of the calls to it, 0 to 100, and leaves the current version the others.
    canary: Option<u8>,
}

/// A plugin that the host's binary carries.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BundledPlugin {
    /// Its name.
    #[schema(example = "metric")]
    bundled: String,
}

/// Installs a version: for the operator on the whole host, for an admin in its organisation. The versions before are
/// kept; calls in flight finish on what they began with. The operator may name a plugin the host's binary carries instead
/// of sending a component; what is not granted in the query it then has as it had, or as when the host first started.
#[utoipa::path(post, path = "/v1/plugins", tag = "plugins", params(InstallQuery), security(("key" = [])),
    request_body(content((Vec<u8> = "application/wasm"), (BundledPlugin = "application/json")),
        description = "The component, or the name of one that the host's binary carries"),
    responses((status = 201, description = "The version, ready to be called", body = Plugin), Refusals, Bodied, Clash))]
pub(crate) async fn install(
    OrOperator(caller, ..): OrOperator<Admin>,
    Query(query): Query<InstallQuery>,
    State(services): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let read = |text: &String| {
        let grant = text.parse::<Grant>();
        grant.map_err(|error| Problem::from(FieldError::new("grant", text, error.reason)))
    };
    let grants = query.grant.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let (owner, actor) = (owner(&caller), caller.key().as_str());
    let plugins = services.plugins();
    if content_type(request.headers()).eq_ignore_ascii_case("application/json") {
        if owner != Owner::Host {
            let detail = "A bundled plugin serves every organisation: only the host's operator installs it";
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        if let Some(share) = query.canary {
            return Err(FieldError::new("canary", share, "none: a bundled plugin is not tried").into());
        }
        let Json(BundledPlugin { bundled }) = Json::from_request(request, &services).await?;
        let installed = plugins.install_bundled(actor, &bundled, grants, query.replace).await?;
        let plugin = Plugin::changed_to(&services, &installed).await;
        return Ok((StatusCode::CREATED, Json(plugin)).into_response());
    }
    let bytes = component(&services, request).await?;
    let installed = match query.canary {
        None => plugins.install(owner, actor, bytes, grants, query.replace).await?,
        Some(share) => plugins.install_canary(owner, actor, bytes, grants, query.replace, share).await?,
    };
    Ok((StatusCode::CREATED, Json(Plugin::changed_to(&services, &installed).await)).into_response())
}

/// Shows whoever may install a component what it is and asks for, without installing it.
#[utoipa::path(post, path = "/v1/plugins/inspect", tag = "plugins", security(("key" = [])),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "The component"),
    responses((status = 200, description = "Its roles, what it asks for, and what stands in its way", body = Object),
        Refusals, Bodied))]
pub(crate) async fn inspect(
    OrOperator(..): OrOperator<Admin>,
    State(services): State<Shared>,
    request: Request,
) -> Result<Json<Inspection>, Problem> {
    let bytes = component(&services, request).await?;
    let inspected = tokio::task::spawn_blocking(move || bellwether_plugins::inspect(&bytes)).await;
    Ok(Json(inspected.map_err(Problem::internal)??))
}

/// Lets a request of whoever may install plugins bring a component, and take as long as one takes. Others are refused before
/// so much is read of them.
pub(crate) async fn of_components(
    State(services): State<Shared>,
    patience: Patience,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() == Method::POST {
        let caller = services.access().authenticate_token(bearer_of(request.headers())?)?;
        if let Caller::Principal(principal) = &caller
            && let Err(refused) = enough(principal, Role::Admin)
        {
            recognised(&services, caller.key(), caller.organisation())?;
            return Err(refused);
        }
    }
    request.extensions_mut().insert(BodyLimit(services.settings().component_limit_bytes));
    Ok(compiling(State(services), patience, request, next).await)
}

/// Lets a request take as long as a component that has to be compiled first.
pub(crate) async fn compiling(
    State(services): State<Shared>,
    patience: Patience,
    request: Request,
    next: Next,
) -> Response {
    patience.at_least(services.settings().install_time());
    next.run(request).await
}

async fn component(services: &Services, request: Request) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    if !content_type(&parts.headers).eq_ignore_ascii_case("application/wasm") {
        let detail = "The body must be a component: set `Content-Type: application/wasm`";
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    read_body(&parts.headers, body, services.settings().component_limit_bytes).await
}

/// Shows a plugin: an organisation's own before the host's of that name.
#[utoipa::path(get, path = "/v1/plugins/{name}", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses((status = 200, description = "The plugin", body = Plugin), Refusals, NotFound))]
pub(crate) async fn get(
    OrOperator(caller, ..): OrOperator<Read>,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Plugin>, Problem> {
    let installed = seen(&services, &caller, &name)?;
    Ok(Json(Plugin::shown_to(&services, &caller, &installed)))
}

/// The plugin of that name a caller sees: its own before the host's.
pub(crate) fn seen(services: &Services, caller: &Caller, name: &str) -> Result<Arc<Installed>, Problem> {
    let plugins = services.plugins();
    let found = plugins.get(owner(caller), name).or_else(|| plugins.get(Owner::Host, name));
    found.ok_or_else(|| Problem::not_found(format!("there is no plugin {name:?}")))
}

/// Shows what a plugin takes and gives, as JSON Schema 2020-12, beside what it is and asks for: enough to ask a person
/// for its inputs.
#[utoipa::path(get, path = "/v1/plugins/{name}/manifest", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses((status = 200, description = "The manifest: `app.inputs` and `app.outputs` are JSON Schemas", body = Object),
        Refusals, NotFound))]
pub(crate) async fn manifest(
    OrOperator(caller, ..): OrOperator<Read>,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Manifest>, Problem> {
    Ok(Json(seen(&services, &caller, &name)?.manifest()))
}

/// Removes a plugin of the caller's own in all its versions, and all state it kept. One that somebody calls, or that
/// organisations have settings of, is not removed unless that is forced; `warnings` then say whom it breaks.
#[utoipa::path(delete, path = "/v1/plugins/{name}", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name"), Force),
    responses((status = 200, description = "The plugin that was", body = Plugin), Refusals, NotFound, Clash))]
pub(crate) async fn remove(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    Query(Force { force }): Query<Force>,
    State(services): State<Shared>,
) -> Result<Json<Plugin>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    let found = services.plugins().get(owner, &name);
    let shown = found.map(|found| Plugin::of(&services, &found));
    let Removed { broken: mut warnings, set } =
        services.plugins().remove_all(owner, actor, &name, force).await?;
    if set > 0 {
        warnings.push(format!("the settings that {} had of it are gone", counted(set, "organisation")));
    }
    let shown = shown.map(|shown| Plugin { warnings, ..shown });
    shown.map(Json).ok_or_else(|| not_own(&services, &caller, &name))
}

/// What of a plugin shall change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PluginChange {
    /// Whether it is called.
    enabled: Option<bool>,
    /// Whether its calls share instances: `fresh` gives every call its own, `warm` lets those of an organisation follow
    /// each other on the same, which keep what the plugin leaves in memory.
    #[schema(value_type = Option<String>)]
    instances: Option<Instances>,
}

/// Switches a plugin of the caller's own on or off, says whether its calls share instances, or both at once. Calls in flight
/// finish.
#[utoipa::path(patch, path = "/v1/plugins/{name}", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")), request_body = PluginChange,
    responses((status = 200, description = "The plugin, changed", body = Plugin), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn change(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(change): Json<PluginChange>,
) -> Result<Json<Plugin>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    let PluginChange { enabled, instances } = change;
    let changed = services.plugins().change(owner, actor, &name, Change { enabled, instances }).await?;
    Ok(Json(Plugin::of(&services, &changed)))
}

/// What a plugin shall be granted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewGrants {
    /// One for each privilege it asks for.
    #[schema(value_type = Vec<Object>, example = json!([{"interface": "metrics-write", "metrics": ["web.*"]}]))]
    grants: Vec<Grant>,
}

/// Changes the scopes of a plugin of the caller's own. Calls in flight finish under the old ones.
#[utoipa::path(put, path = "/v1/plugins/{name}/grants", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")), request_body = NewGrants,
    responses((status = 200, description = "The plugin with its new grants", body = Plugin),
        Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn grant(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(new): Json<NewGrants>,
) -> Result<Json<Plugin>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    let changed = services.plugins().set_grants(owner, actor, &name, new.grants).await?;
    Ok(Json(Plugin::of(&services, &changed)))
}

/// Whose the plugin is that a caller wants to change, and who does it.
fn own<'a>(services: &Services, caller: &'a Caller, name: &str) -> Result<(Owner, &'a str), Problem> {
    let owner = owner(caller);
    if services.plugins().get(owner, name).is_none() {
        return Err(not_own(services, caller, name));
    }
    Ok((owner, caller.key().as_str()))
}

/// Why a plugin cannot be changed: there is none, or it is the host's.
fn not_own(services: &Services, caller: &Caller, name: &str) -> Problem {
    if caller.organisation().is_some() && services.plugins().get(Owner::Host, name).is_some() {
        let detail = format!(
            "the plugin {name:?} is the host's: only its operator changes it; install one of your own"
        );
        return Problem::new(ProblemKind::Forbidden, detail);
    }
    Problem::not_found(format!("there is no plugin {name:?}"))
}
