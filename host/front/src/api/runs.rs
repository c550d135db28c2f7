//! Runs of playbooks: started at `/v1/playbooks/{playbook}/runs`, read at `/v1/runs`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_kernel::{KeyId, RunId};
use bellwether_playbooks::{LogLine, RunFilter, RunSummary, StartedRun, StepResult, TriggeredBy};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::words::{LogLevel, RunState, StepState};
use crate::extract::{Authorised, Instant, Json, JsonOrNothing, Path, Query, Read, Write, page};
use crate::idempotency::InShort;
use crate::openapi::{Bodied, Busy, Clash, NotFound, Refusals};
use crate::problem::Problem;
use crate::services::Shared;
use crate::webhooks::{Wait, within};

/// A run in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = RunSummary)]
pub(crate) struct Summary {
    #[schema(value_type = String, format = "uuid")]
    id: RunId,
    /// Of which playbook, by id.
    playbook: u64,
    playbook_name: String,
    /// Which version of it, counted from 1.
    playbook_version: u32,
    state: RunState,
    triggered_by: Trigger,
    /// When it was accepted.
    created: Instant,
    /// When its first step began.
    started: Option<Instant>,
    /// When it ended.
    ended: Option<Instant>,
    /// Why it failed.
    error: Option<String>,
}

/// What started a run.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schema(as = TriggeredBy)]
enum Trigger {
    /// A request to its URL.
    Webhook,
    /// A caller with this key.
    Manual {
        #[schema(value_type = String)]
        key: KeyId,
    },
    /// Its time came.
    Schedule { scheduled: Instant },
    /// A write to a metric.
    Metric { metric: String, key: String },
    /// A step of another run.
    Playbook {
        #[schema(value_type = String, format = "uuid")]
        run: RunId,
        step: String,
    },
}

impl From<TriggeredBy> for Trigger {
    fn from(by: TriggeredBy) -> Self {
        match by {
            TriggeredBy::Webhook => Self::Webhook,
            TriggeredBy::Manual { key } => Self::Manual { key },
            TriggeredBy::Schedule { scheduled } => Self::Schedule { scheduled: scheduled.into() },
            TriggeredBy::Metric { metric, key } => Self::Metric { metric, key },
            TriggeredBy::Playbook { run, step } => Self::Playbook { run, step },
        }
    }
}

impl From<RunSummary> for Summary {
    fn from(summary: RunSummary) -> Self {
        Self {
            id: summary.id,
            playbook: summary.playbook.0,
            playbook_name: summary.playbook_name,
            playbook_version: summary.playbook_version,
            state: summary.state.into(),
            triggered_by: summary.triggered_by.into(),
            created: summary.created.into(),
            started: summary.started.map(Instant),
            ended: summary.ended.map(Instant),
            error: summary.error,
        }
    }
}

/// A run, whole.
#[derive(Serialize, ToSchema)]
pub(crate) struct Run {
    #[serde(flatten)]
    summary: Summary,
    /// What it was started with.
    #[schema(value_type = Object)]
    trigger: Value,
    /// Its steps so far, in order.
    steps: Vec<Step>,
}

/// What a step came to.
#[derive(Serialize, ToSchema)]
#[schema(as = StepResult)]
struct Step {
    /// The step's id.
    step: String,
    app: String,
    app_version: String,
    state: StepState,
    started: Instant,
    ended: Instant,
    /// Which attempt this was, counted from 1.
    attempt: u32,
    /// What it was given, secrets replaced.
    #[schema(value_type = Object)]
    inputs: Map<String, Value>,
    /// What it gave.
    #[schema(value_type = Object)]
    outputs: Map<String, Value>,
    /// Why it failed.
    error: Option<String>,
    /// What it logged.
    log: Vec<Line>,
}

/// A line an app logged.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
struct Line {
    time: Instant,
    level: LogLevel,
    message: String,
}

impl From<bellwether_playbooks::Run> for Run {
    fn from(run: bellwether_playbooks::Run) -> Self {
        let steps = run.steps.into_iter().map(Step::from).collect();
        Self { summary: run.summary.into(), trigger: run.trigger, steps }
    }
}

impl From<StepResult> for Step {
    fn from(result: StepResult) -> Self {
        Self {
            step: result.step,
            app: result.app,
            app_version: result.app_version,
            state: result.state.into(),
            started: result.started.into(),
            ended: result.ended.into(),
            attempt: result.attempt,
            inputs: result.inputs,
            outputs: result.outputs,
            error: result.error,
            log: result.log.into_iter().map(Line::from).collect(),
        }
    }
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Self {
        Self { time: line.time.into(), level: line.level.into(), message: line.message }
    }
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunList {
    /// Newest first.
    items: Vec<Summary>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Which runs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Only of this playbook, by name or id.
    playbook: Option<String>,
    /// Only in this state.
    state: Option<RunState>,
    /// At most this many, 1 to 1000; by default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists runs.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(RunQuery), security(("key" = [])),
    responses((status = 200, description = "A page of runs", body = RunList), Refusals, NotFound))]
pub(crate) async fn list(
    Authorised(principal, ..): Authorised<Read>,
    Query(query): Query<RunQuery>,
    State(services): State<Shared>,
) -> Result<Json<RunList>, Problem> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let playbook = match query.playbook {
        Some(playbook) => Some(services.playbooks().get(principal.organisation, &playbook).await?.id),
        None => None,
    };
    let filter = RunFilter { playbook, state: query.state.map(Into::into), ..RunFilter::default() };
    let found = services.playbooks().runs(principal.organisation, &filter, &page).await?.map(Summary::from);
    Ok(Json(RunList { items: found.items, next: found.next.map(|cursor| cursor.to_string()) }))
}

/// Shows a run, its steps with their inputs, outputs and log.
#[utoipa::path(get, path = "/v1/runs/{run}", tag = "runs", security(("key" = [])),
    params(("run" = String, Path, description = "The run's id")),
    responses((status = 200, description = "The run", body = Run), Refusals, NotFound))]
pub(crate) async fn get(
    Authorised(principal, ..): Authorised<Read>,
    Path(run): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Run>, Problem> {
    let id: RunId = run.parse().map_err(|_| Problem::not_found(format!("there is no run {run:?}")))?;
    Ok(Json(services.playbooks().run(principal.organisation, id).await?.into()))
}

/// What a run is started with.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// What the playbook's steps read as `trigger.inputs`; any JSON.
    #[schema(value_type = Object)]
    inputs: Option<Value>,
}

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StartQuery {
    /// Wait up to so many seconds for the run's end and answer the whole run; 10 if no number is given, at most 60.
    #[param(value_type = Option<u64>)]
    wait: Option<Wait>,
}

/// A run that was accepted: it is recorded, and goes on by itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[schema(value_type = String, format = "uuid")]
    run_id: RunId,
    /// Where it can be read, relative to the host.
    #[schema(example = "/v1/runs/0192f3c4-0000-7000-8000-000000000000")]
    url: String,
}

/// Starts a playbook by hand.
#[utoipa::path(post, path = "/v1/playbooks/{playbook}/runs", tag = "runs", security(("key" = [])),
    params(("playbook" = String, Path, description = "The playbook's name or id"), StartQuery),
    request_body(content = Option<Start>),
    responses(
        (status = 202, description = "Accepted; the run goes on by itself", body = Accepted),
        (status = 200, description = "It ended within the wait", body = Run),
        Refusals, NotFound, Bodied, Busy, Clash))]
pub(crate) async fn start(
    Authorised(principal, ..): Authorised<Write>,
    Path(playbook): Path<String>,
    Query(query): Query<StartQuery>,
    State(services): State<Shared>,
    JsonOrNothing(start): JsonOrNothing<Start>,
) -> Result<Response, Problem> {
    let inputs = start.inputs.unwrap_or_else(|| Value::Object(Map::new()));
    let started = services.playbooks().start(&principal, &playbook, inputs).await?;
    Ok(answer(started, query.wait).await)
}

/// Answers with the run if it ends in time, else with where it will be.
pub(crate) async fn answer(started: StartedRun, wait: Option<Wait>) -> Response {
    let id = started.id;
    let url = format!("/v1/runs/{id}");
    let location = HeaderValue::try_from(url.as_str()).expect("a UUID in a path is a header value");
    let accepted = Accepted { run_id: id, url };
    let in_short = serde_json::to_vec(&accepted).map(|body| InShort(StatusCode::ACCEPTED, Bytes::from(body)));
    let mut response = match within(wait, started.ended).await {
        Some(run) => Json(Run::from(run)).into_response(),
        None => (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted)).into_response(),
    };
    if let Ok(in_short) = in_short {
        response.extensions_mut().insert(in_short);
    }
    response
}
