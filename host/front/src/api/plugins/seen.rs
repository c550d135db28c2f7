//! How plugins do: their limits, statistics, logs and traps.

use axum::extract::State;
use bellwether_access::Caller;
use bellwether_playbooks::LogLine;
use bellwether_plugins::{
    BreakerState, EgressStats, Installed, Instances, LimitOverrides, PluginRole, RoleStats, TrapRecord,
    VersionLimits, VersionLine, VersionState, VersionStats, VersionTrap,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::canary::CanaryState;
use super::{PluginOwner, concerns_alone, own, own_then_host, seen};
use crate::api::words::LogLevel;
use crate::extract::{
    Admin, CallerExt, Instant, Json, List, OrOperator, PageQuery, Path, Query, Read, items,
};
use crate::openapi::{Bodied, Clash, NotFound, Refusals};
use crate::problem::{Problem, ProblemKind};
use crate::services::{Services, Shared};

const STATISTICS: List = List("plugin statistics");

/// What the calls of a plugin's current version may use.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginLimits {
    /// The version they are of.
    version: String,
    /// What was set for it. A version installed later begins with the same.
    #[schema(value_type = Object, example = json!({"memory_bytes": 1_048_576}))]
    set: LimitOverrides,
    /// What holds: that, and the host's limits for the rest.
    #[schema(value_type = Object)]
    effective: LimitOverrides,
}

impl From<VersionLimits> for PluginLimits {
    fn from(VersionLimits { version, set, effective }: VersionLimits) -> Self {
        Self { version, set, effective }
    }
}

/// Shows what the calls of a plugin may use.
#[utoipa::path(get, path = "/v1/plugins/{name}/limits", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses((status = 200, description = "Its limits", body = PluginLimits), Refusals, NotFound))]
pub(crate) async fn limits(
    OrOperator(caller, ..): OrOperator<Read>,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<PluginLimits>, Problem> {
    let owner = seen(&services, &caller, &name)?.owner;
    Ok(Json(services.plugins().limits(owner, &name)?.into()))
}

/// Gives the current version of a plugin of the caller's own limits in place of those it had; what is left out is as the
/// host has it. An organisation can only tighten what the host allows. Calls in flight finish under the old ones.
#[utoipa::path(put, path = "/v1/plugins/{name}/limits", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    request_body(content = Object, description = "`call_milliseconds`, `processor_milliseconds`, `memory_bytes`, \
        `table_entries`, `host_calls`, `host_call_bytes`, `transfer_bytes`, `output_bytes`, `log_lines`, `log_bytes`, \
        `concurrent_calls`, `state_quota_bytes`: each a number, none of them required"),
    responses((status = 200, description = "Its limits", body = PluginLimits), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn set_limits(
    OrOperator(caller, ..): OrOperator<Admin>,
    Path(name): Path<String>,
    State(services): State<Shared>,
    Json(limits): Json<LimitOverrides>,
) -> Result<Json<PluginLimits>, Problem> {
    let (owner, actor) = own(&services, &caller, &name)?;
    Ok(Json(services.plugins().set_limits(owner, actor, &name, limits).await?.into()))
}

/// How a plugin does.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginStatistics {
    name: String,
    owner: PluginOwner,
    /// The current version.
    version: String,
    /// A version that is tried on a share of the calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<CanaryState>,
    /// The versions that are loaded, the current one first.
    pub(crate) versions: Vec<VersionStatistics>,
}

/// How a version of a plugin does, since this host loaded it.
#[derive(Serialize, ToSchema)]
pub(crate) struct VersionStatistics {
    pub(crate) version: String,
    /// `current`, `canary` or `kept`.
    #[schema(value_type = String)]
    pub(crate) state: VersionState,
    /// Whether its calls share instances: `fresh` or `warm`.
    #[schema(value_type = String)]
    instances: Instances,
    /// Whether it is called (`closed`), left alone after failures (`open`), or tried again (`half-open`): for the
    /// caller's organisation; the operator sees it as it is for whom it is worst.
    #[schema(value_type = Object)]
    pub(crate) breaker: BreakerState,
    /// By role: `calls`, `errors` by kind (`bad-answer` is one that made no sense), `processor_microseconds`,
    /// `peak_memory_bytes`, `host_calls`, `latency` and `queue` with their quantiles. Absent where the calls are not the
    /// caller's alone: an organisation does not see how often others call a plugin of the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub(crate) roles: Option<Vec<RoleStats>>,
    /// What it sent out; absent as `roles` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    egress: Option<EgressStats>,
}

/// A page of statistics.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginStatisticsList {
    /// Ordered by name: an organisation's own plugins, then the host's.
    items: Vec<PluginStatistics>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a caller sees of how a plugin does.
pub(crate) fn statistics(
    services: &Services,
    caller: &Caller,
    installed: &Installed,
) -> Result<PluginStatistics, Problem> {
    let plugins = services.plugins();
    let Installed { owner, name, version, .. } = installed;
    let counted = concerns_alone(caller, *owner);
    let stats = plugins.stats_for(*owner, name, caller.organisation())?;
    let versions = stats.into_iter().map(|VersionStats { state, stats }| {
        let (roles, egress) = if counted { (Some(stats.roles), Some(stats.egress)) } else { (None, None) };
        let (version, instances, breaker) = (stats.version, stats.instances, stats.breaker);
        VersionStatistics { version, state, instances, breaker, roles, egress }
    });
    Ok(PluginStatistics {
        name: name.clone(),
        owner: (*owner).into(),
        version: version.clone(),
        canary: plugins.canary(*owner, name).0.map(|canary| {
            let canary = CanaryState::from(canary);
            if counted { canary } else { canary.without_calls() }
        }),
        versions: versions.collect(),
    })
}

/// Shows how a plugin does, each version that is loaded by itself.
#[utoipa::path(get, path = "/v1/plugins/{name}/stats", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name")),
    responses((status = 200, description = "How it does", body = PluginStatistics), Refusals, NotFound))]
pub(crate) async fn stats(
    OrOperator(caller, ..): OrOperator<Read>,
    Path(name): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<PluginStatistics>, Problem> {
    let installed = seen(&services, &caller, &name)?;
    statistics(&services, &caller, &installed).map(Json)
}

/// Shows how all plugins do that the caller may use.
#[utoipa::path(get, path = "/v1/plugin-stats", tag = "plugins", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of statistics", body = PluginStatisticsList), Refusals))]
pub(crate) async fn all_stats(
    OrOperator(caller, ..): OrOperator<Read>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<PluginStatisticsList>, Problem> {
    let page = STATISTICS.page(query.limit, query.cursor.as_deref())?;
    let (items, next) = own_then_host(&services, &caller, &page)?;
    // One that is removed meanwhile is left out.
    let shown = items.iter().filter_map(|installed| statistics(&services, &caller, installed).ok());
    Ok(Json(PluginStatisticsList { items: shown.collect(), next: STATISTICS.next(next) }))
}

/// How many of the last.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LastQuery {
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

impl LastQuery {
    fn of<T>(&self, mut all: Vec<T>) -> Result<Vec<T>, Problem> {
        let limit = items(self.limit)?;
        all.drain(..all.len().saturating_sub(limit));
        Ok(all)
    }
}

/// What a plugin logged last.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginLog {
    /// Oldest first.
    items: Vec<PluginLine>,
}

/// A line a plugin logged, or the host of its answer.
#[derive(Serialize, ToSchema)]
struct PluginLine {
    /// The version it is of.
    #[schema(example = "1.4.2")]
    version: String,
    /// Role and function of the call.
    #[schema(value_type = String, example = "app.run")]
    call: &'static str,
    time: Instant,
    level: LogLevel,
    message: String,
}

impl From<VersionLine> for PluginLine {
    fn from(VersionLine { version, logged }: VersionLine) -> Self {
        let LogLine { time, level, message } = logged.line;
        Self { version, call: logged.call, time: time.into(), level: level.into(), message }
    }
}

/// Shows what a plugin logged last, as far as it is the caller's: an organisation sees the lines of its own calls, the
/// operator those of calls without a caller, which belong to no organisation. Whoever owns the plugin also sees why an
/// answer of it made no sense, in a line of the level `error`.
#[utoipa::path(get, path = "/v1/plugins/{name}/logs", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name"), LastQuery),
    responses((status = 200, description = "The last lines", body = PluginLog), Refusals, NotFound))]
pub(crate) async fn logs(
    OrOperator(caller, ..): OrOperator<Read>,
    Path(name): Path<String>,
    Query(query): Query<LastQuery>,
    State(services): State<Shared>,
) -> Result<Json<PluginLog>, Problem> {
    let owner = seen(&services, &caller, &name)?.owner;
    let lines = services.plugins().logs(owner, &name, caller.organisation())?;
    Ok(Json(PluginLog { items: query.of(lines)?.into_iter().map(PluginLine::from).collect() }))
}

/// Where a plugin trapped last.
#[derive(Serialize, ToSchema)]
pub(crate) struct PluginTraps {
    /// Oldest first.
    items: Vec<PluginTrap>,
}

/// A trap of a plugin.
#[derive(Serialize, ToSchema)]
struct PluginTrap {
    /// The version it is of.
    #[schema(example = "1.4.2")]
    version: String,
    /// The role it was called in.
    #[schema(value_type = String, example = "app")]
    role: PluginRole,
    time: Instant,
    #[schema(example = "panicked at src/lib.rs:12:5: attempt to divide by zero")]
    message: String,
    /// The functions it was in, innermost first, by name where the component has names.
    #[schema(example = json!(["divide", "run"]))]
    backtrace: Vec<String>,
}

impl From<VersionTrap> for PluginTrap {
    fn from(VersionTrap { version, trap }: VersionTrap) -> Self {
        let TrapRecord { role, time, message, backtrace } = trap;
        Self { version, role, time: time.into(), message, backtrace }
    }
}

/// Shows where a plugin of the caller's own trapped last.
#[utoipa::path(get, path = "/v1/plugins/{name}/traps", tag = "plugins", security(("key" = [])),
    params(("name" = String, Path, description = "The plugin's name"), LastQuery),
    responses((status = 200, description = "The last traps", body = PluginTraps), Refusals, NotFound))]
pub(crate) async fn traps(
    OrOperator(caller, ..): OrOperator<Read>,
    Path(name): Path<String>,
    Query(query): Query<LastQuery>,
    State(services): State<Shared>,
) -> Result<Json<PluginTraps>, Problem> {
    let owner = seen(&services, &caller, &name)?.owner;
    if !concerns_alone(&caller, owner) {
        let detail = format!("the plugin {name:?} is the host's: where it trapped, only its operator sees");
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    let traps = query.of(services.plugins().traps(owner, &name)?)?;
    Ok(Json(PluginTraps { items: traps.into_iter().map(PluginTrap::from).collect() }))
}
