//! Monitors: `/v1/monitors`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_alerts::{AlertError, BacktestRequest, Faults, SeriesStatus, StoredMonitor};
use bellwether_kernel::FieldError;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::feedback::FeedbackCounts;
use super::incidents::{Incident, Interval, pairs};
use crate::extract::{Authorised, Instant, Json, List, PageQuery, Path, Query, Read, Write};
use crate::openapi::{Bodied, Clash, Failing, NotFound, Refusals, TooMuch};
use crate::problem::Problem;
use crate::services::Shared;

pub(crate) const MONITORS: List = List("monitors");
const VERSIONS: List = List("monitor versions");
pub(crate) const SERIES: List = List("monitor series");
const DECISIONS: List = List("decisions");

/// A monitor.
#[derive(Serialize, ToSchema)]
pub(crate) struct Monitor {
    #[schema(example = 3)]
    id: u64,
    /// Unique in the organisation.
    #[schema(example = "checkout-errors")]
    name: String,
    /// Counted from 1; each change makes the next.
    version: u32,
    /// What it says, as the guide describes it.
    #[schema(value_type = Object)]
    document: bellwether_alerts::Monitor,
    created: Instant,
    /// When it was last changed.
    updated: Instant,
    /// By the key of this name.
    updated_by: String,
    /// When it is due next; absent while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due: Option<Instant>,
    /// When it was evaluated last.
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluated: Option<Instant>,
    /// How many series it knew then, or found when it was put; none is one of its warnings.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<u64>,
    /// Why that came to nothing, or what it left out, or what of it cannot work as things are.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What of it cannot work as things are, a sentence each: a query that finds no series, channels that are not there,
    /// actions whose playbook or app is not there or does not take what it is given. Absent where all can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
    /// What people thought of its incidents.
    feedback: FeedbackCounts,
}

impl From<StoredMonitor> for Monitor {
    fn from(monitor: StoredMonitor) -> Self {
        Self {
            id: monitor.id.0,
            name: monitor.document.name.clone(),
            version: monitor.version,
            document: monitor.document,
            created: monitor.created.into(),
            updated: monitor.updated.into(),
            updated_by: monitor.updated_by,
            next_due: monitor.next_due.map(Instant),
            evaluated: monitor.evaluated.map(Instant),
            series: monitor.series,
            problem: monitor.problem,
            warnings: monitor.warnings,
            feedback: monitor.feedback.into(),
        }
    }
}

/// A page of monitors.
#[derive(Serialize, ToSchema)]
pub(crate) struct MonitorList {
    /// Ordered by id.
    items: Vec<Monitor>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists monitors.
#[utoipa::path(get, path = "/v1/monitors", tag = "monitors", params(PageQuery), security(("key" = [])),
    responses((status = 200, description = "A page of monitors", body = MonitorList), Refusals))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<MonitorList>, Problem> {
    let page = MONITORS.page(query.limit, query.cursor.as_deref())?;
    let found = services.alerts().monitors(principal.organisation, &page).await?.map(Monitor::from);
    Ok(Json(MonitorList { items: found.items, next: MONITORS.next(found.next) }))
}

/// A document as the OpenAPI document shows it.
fn example() -> Value {
    serde_json::json!({
        "name": "errors", "kind": "threshold", "query": "sum:checkout.errors{env:prod} by {host}", "window": "5m",
        "thresholds": {"comparator": ">", "critical": 50}
    })
}

/// Stores a new monitor; it is evaluated from now on unless it is paused.
#[utoipa::path(post, path = "/v1/monitors", tag = "monitors", security(("key" = [])),
    request_body(description = "The document", content = Object, example = json!(example())),
    responses((status = 201, description = "The new monitor", body = Monitor), Refusals, Bodied, Clash))]
pub(crate) async fn create(
    Authorised(principal, ..): Authorised<Write>,
    State(services): State<Shared>,
    Json(document): Json<Value>,
) -> Result<Response, Problem> {
    let stored = services.alerts().create_monitor(&principal, &document).await?;
    Ok((StatusCode::CREATED, Json(Monitor::from(stored))).into_response())
}

/// Shows a monitor.
#[utoipa::path(get, path = "/v1/monitors/{monitor}", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id")),
    responses((status = 200, description = "The monitor", body = Monitor), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(monitor): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Monitor>, Problem> {
    Ok(Json(services.alerts().monitor(principal.organisation, &monitor).await?.into()))
}

/// Which version a change is made to.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangeQuery {
    /// The version that was read before the change: if it is another by now, nothing is changed.
    version: Option<u32>,
}

/// Stores the next version of a monitor. If it looks at something else than before, its incidents are closed.
#[utoipa::path(put, path = "/v1/monitors/{monitor}", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id"), ChangeQuery),
    request_body(description = "The document", content = Object),
    responses((status = 200, description = "The changed monitor", body = Monitor), Refusals, NotFound, Bodied, Clash))]
pub(crate) async fn replace(
    Authorised(principal, ..): Authorised<Write>,
    Path(monitor): Path<String>,
    Query(ChangeQuery { version }): Query<ChangeQuery>,
    State(services): State<Shared>,
    Json(document): Json<Value>,
) -> Result<Json<Monitor>, Problem> {
    Ok(Json(services.alerts().replace_monitor(&principal, &monitor, &document, version).await?.into()))
}

/// Deletes a monitor and closes its incidents, which stay.
#[utoipa::path(delete, path = "/v1/monitors/{monitor}", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id")),
    responses((status = 204, description = "It is gone"), Refusals, NotFound, Clash))]
pub(crate) async fn delete(
    Authorised(principal, ..): Authorised<Write>,
    Path(monitor): Path<String>,
    State(services): State<Shared>,
) -> Result<StatusCode, Problem> {
    services.alerts().delete_monitor(&principal, &monitor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pauses a monitor: it is not evaluated, and its incidents stay as they are.
#[utoipa::path(post, path = "/v1/monitors/{monitor}/pause", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id")),
    responses((status = 200, description = "The paused monitor", body = Monitor), Refusals, NotFound, Clash))]
pub(crate) async fn pause(
    Authorised(principal, ..): Authorised<Write>,
    Path(monitor): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Monitor>, Problem> {
    Ok(Json(services.alerts().pause_monitor(&principal, &monitor, true).await?.into()))
}

/// Goes on with a paused monitor, at once.
#[utoipa::path(post, path = "/v1/monitors/{monitor}/resume", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id")),
    responses((status = 200, description = "The monitor", body = Monitor), Refusals, NotFound, Clash))]
pub(crate) async fn resume(
    Authorised(principal, ..): Authorised<Write>,
    Path(monitor): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Monitor>, Problem> {
    Ok(Json(services.alerts().pause_monitor(&principal, &monitor, false).await?.into()))
}

/// A version of a monitor.
#[derive(Serialize, ToSchema)]
pub(crate) struct MonitorVersion {
    version: u32,
    #[schema(value_type = Object)]
    document: bellwether_alerts::Monitor,
    created: Instant,
    /// By the key of this name.
    created_by: String,
}

/// A page of versions.
#[derive(Serialize, ToSchema)]
pub(crate) struct MonitorVersionList {
    /// Newest first.
    items: Vec<MonitorVersion>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists the versions of a monitor that are kept.
#[utoipa::path(get, path = "/v1/monitors/{monitor}/versions", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id"), PageQuery),
    responses((status = 200, description = "A page of versions", body = MonitorVersionList), Refusals, NotFound))]
pub(crate) async fn versions(
    Authorised(principal, ..): Authorised<Read>,
    Path(monitor): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<MonitorVersionList>, Problem> {
    let page = VERSIONS.page(query.limit, query.cursor.as_deref())?;
    let found = services.alerts().monitor_versions(principal.organisation, &monitor, &page).await?;
    let found = found.map(|version| MonitorVersion {
        version: version.version,
        document: version.document,
        created: version.created.into(),
        created_by: version.created_by,
    });
    Ok(Json(MonitorVersionList { items: found.items, next: VERSIONS.next(found.next) }))
}

/// How one series of a monitor stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct MonitorSeries {
    /// Its tags, or `*`.
    #[schema(example = "country:de,host:web-1")]
    series: String,
    /// What it is grouped by.
    #[schema(value_type = Object)]
    tags: Value,
    /// `ok`, `warning`, `no-data` or `alert`.
    #[schema(value_type = String)]
    level: bellwether_alerts::Level,
    /// Whether it stays away longer than the monitor allows.
    missing: bool,
    /// When its last step with a point began.
    last_point: Instant,
    /// The first evaluation that saw it.
    first_seen: Instant,
    /// What was compared last.
    value: Option<f64>,
    /// Since when it breaches without being open.
    pending: Option<Instant>,
    /// Its breach, if it is open.
    breach: Option<Interval>,
    /// Why it is not looked at now: what the calendar says.
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet: Option<String>,
}

impl From<SeriesStatus> for MonitorSeries {
    fn from(series: SeriesStatus) -> Self {
        Self {
            series: series.series,
            tags: pairs(series.tags),
            level: series.level,
            missing: series.missing,
            last_point: series.last_point.into(),
            first_seen: series.first_seen.into(),
            value: series.value,
            pending: series.pending.map(Instant),
            breach: series.breach.map(Interval::from),
            quiet: series.quiet,
        }
    }
}

/// A page of how the series of a monitor stand.
#[derive(Serialize, ToSchema)]
pub(crate) struct MonitorSeriesList {
    /// Ordered by tags.
    items: Vec<MonitorSeries>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Shows how the series of a monitor stand.
#[utoipa::path(get, path = "/v1/monitors/{monitor}/series", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id"), PageQuery),
    responses((status = 200, description = "A page of its series", body = MonitorSeriesList), Refusals, NotFound))]
pub(crate) async fn series(
    Authorised(principal, ..): Authorised<Read>,
    Path(monitor): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<MonitorSeriesList>, Problem> {
    let page = SERIES.page(query.limit, query.cursor.as_deref())?;
    let found = services.alerts().monitor_series(principal.organisation, &monitor, &page).await?;
    let found = found.map(MonitorSeries::from);
    Ok(Json(MonitorSeriesList { items: found.items, next: SERIES.next(found.next) }))
}

/// What an evaluation decided.
#[derive(Serialize, ToSchema)]
pub(crate) struct Decision {
    /// When it was due.
    time: Instant,
    /// Series that were known then.
    series: u64,
    /// Why it came to nothing, or what it leaves out from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    lines: Vec<DecisionLine>,
    /// Lines left out.
    more: u64,
}

/// What one series, or one incident, did.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionLine {
    /// The series, its tags or `*`; or the incident, by its id.
    subject: String,
    /// `opened`, `changed`, `turned`, `closed`, `held`, `moved`; of an incident also `told` and `withheld`.
    what: String,
    why: String,
}

impl From<bellwether_alerts::Decision> for Decision {
    fn from(decision: bellwether_alerts::Decision) -> Self {
        let line = |line: bellwether_alerts::DecisionLine| DecisionLine {
            subject: line.subject,
            what: line.what,
            why: line.why,
        };
        Self {
            time: decision.time.into(),
            series: decision.series,
            problem: decision.problem,
            lines: decision.lines.into_iter().map(line).collect(),
            more: decision.more,
        }
    }
}

/// A page of decisions.
#[derive(Serialize, ToSchema)]
pub(crate) struct DecisionList {
    /// Newest first.
    items: Vec<Decision>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Says why a monitor did, or did not, what it did: its latest evaluations something came of.
#[utoipa::path(get, path = "/v1/monitors/{monitor}/trace", tag = "monitors", security(("key" = [])),
    params(("monitor" = String, Path, description = "Its name or id"), PageQuery),
    responses((status = 200, description = "A page of decisions", body = DecisionList), Refusals, NotFound))]
pub(crate) async fn trace(
    Authorised(principal, ..): Authorised<Read>,
    Path(monitor): Path<String>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<DecisionList>, Problem> {
    let page = DECISIONS.page(query.limit, query.cursor.as_deref())?;
    let found = services.alerts().monitor_trace(principal.organisation, &monitor, &page).await?;
    let found = found.map(Decision::from);
    Ok(Json(DecisionList { items: found.items, next: DECISIONS.next(found.next) }))
}

/// What is tried over which time.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({
    "document": example(), "from": "2024-04-01T14:00:00Z", "to": "2024-04-01T15:00:00Z"
}))]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitorTest {
    /// The document.
    #[schema(value_type = Object)]
    document: Value,
    /// The first evaluation; by default a day before the end, or as long before it as 2000 evaluations reach where that is
    /// less.
    from: Option<Instant>,
    /// The end; by default now.
    to: Option<Instant>,
}

/// Where a monitor would have fired.
#[derive(Serialize, ToSchema)]
pub(crate) struct MonitorTested {
    /// Evaluations that were made.
    evaluations: u64,
    /// Series that were seen.
    series: u64,
    /// In the order they would have opened; the first 1000.
    incidents: Vec<TestedIncident>,
    /// What evaluations decided; the first 1000.
    decisions: Vec<Decision>,
    /// Whether there were more of either, or of their breaches.
    more: bool,
}

/// An incident that would have been.
#[derive(Serialize, ToSchema)]
pub(crate) struct TestedIncident {
    #[serde(flatten)]
    incident: Incident,
    /// Breaches of its series; of all incidents together the first 10,000.
    intervals: Vec<Interval>,
    /// What its channels would have been told.
    tellings: Vec<TestedTelling>,
}

/// What channels would have been told.
#[derive(Serialize, ToSchema)]
pub(crate) struct TestedTelling {
    time: Instant,
    /// `opened`, `updated` or `closed`.
    #[schema(value_type = String)]
    event: bellwether_alerts::Event,
}

/// Runs a document over stored history, by the code that evaluates it, and stores nothing.
#[utoipa::path(post, path = "/v1/monitor-tests", tag = "monitors", security(("key" = [])),
    request_body = MonitorTest,
    responses((status = 200, description = "Where it would have fired", body = MonitorTested),
        Refusals, Bodied, TooMuch, Failing))]
pub(crate) async fn test(
    Authorised(principal, ..): Authorised<Read>,
    State(services): State<Shared>,
    Json(MonitorTest { document, from, to }): Json<MonitorTest>,
) -> Result<Json<MonitorTested>, Problem> {
    let from = from.map(|Instant(from)| from);
    let to = to.map_or_else(|| services.parts.clock.now(), |Instant(to)| to);
    let request = BacktestRequest { document, from, to };
    let tested = services.alerts().backtest(principal.organisation, &request).await.map_err(in_document)?;
    let incident = |tested: bellwether_alerts::BacktestIncident| TestedIncident {
        incident: tested.incident.into(),
        intervals: tested.intervals.into_iter().map(Interval::from).collect(),
        tellings: tested
            .tellings
            .into_iter()
            .map(|(time, event)| TestedTelling { time: time.into(), event })
            .collect(),
    };
    Ok(Json(MonitorTested {
        evaluations: tested.evaluations,
        series: tested.series,
        incidents: tested.incidents.into_iter().map(incident).collect(),
        decisions: tested.decisions.into_iter().map(Decision::from).collect(),
        more: tested.more,
    }))
}

/// Names the fields of a document as they lie in the body.
fn in_document(error: AlertError) -> AlertError {
    let AlertError::Document(Faults(faults)) = error else { return error };
    let named = |fault: FieldError| FieldError { field: format!("document.{}", fault.field), ..fault };
    Faults(faults.into_iter().map(named).collect()).into()
}
