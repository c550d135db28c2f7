//! Runs of playbooks: started at `/v1/playbooks/{playbook}/runs`; read, cancelled and replayed at `/v1/runs`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bellwether_kernel::{FieldError, RunId};
use bellwether_playbooks::{ReplayFrom, RunFilter, StartedRun};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

pub(crate) use super::recorded::Run;
use super::recorded::{Step, Summary};
use super::words::{RunState, TriggerKind};
use crate::extract::{
    Authorised, Instant, Json, JsonOrNothing, List, PageQuery, Path, Query, Read, Write, in_order,
};
use crate::idempotency::{self, InShort};
use crate::openapi::{Bodied, Busy, Clash, NotFound, Refusals};
use crate::patience::Patience;
use crate::problem::Problem;
use crate::services::Shared;
use crate::webhooks::{Wait, within};

pub(crate) const RUNS: List = List("runs");
const ITEMS: List = List("run items");

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
    /// Only of this playbook, by name or id; of one that was deleted by its id alone.
    playbook: Option<String>,
    /// Only in this state.
    state: Option<RunState>,
    /// Only started by this kind of trigger.
    trigger: Option<TriggerKind>,
    /// Only accepted at or after this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    since: Option<Instant>,
    /// Only accepted before this instant.
    #[param(value_type = Option<String>, format = "date-time")]
    until: Option<Instant>,
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
    let page = RUNS.page(query.limit, query.cursor.as_deref())?;
    in_order(("since", query.since), ("until", query.until))?;
    let playbook = match query.playbook {
        Some(playbook) => Some(services.playbooks().id_of(principal.organisation, &playbook).await?),
        None => None,
    };
    let filter = RunFilter {
        playbook,
        state: query.state.map(Into::into),
        trigger: query.trigger.map(Into::into),
        since: query.since.map(|Instant(since)| since),
        until: query.until.map(|Instant(until)| until),
    };
    let found = services.playbooks().runs(principal.organisation, &filter, &page).await?.map(Summary::from);
    Ok(Json(RunList { items: found.items, next: RUNS.next(found.next) }))
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
    Ok(Json(services.playbooks().run(principal.organisation, run_id(&run)?).await?.into()))
}

pub(crate) fn run_id(text: &str) -> Result<RunId, Problem> {
    text.parse().map_err(|_| Problem::not_found(format!("there is no run {text:?}")))
}

/// A page of a step's items.
#[derive(Serialize, ToSchema)]
pub(crate) struct ItemList {
    /// In the order of the list.
    items: Vec<Step>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists what the items of a step over a list came to.
#[utoipa::path(get, path = "/v1/runs/{run}/steps/{step}/items", tag = "runs", security(("key" = [])),
    params(("run" = String, Path, description = "The run's id"), ("step" = String, Path, description = "The step's id"),
        PageQuery),
    responses((status = 200, description = "A page of items", body = ItemList), Refusals, NotFound))]
pub(crate) async fn items(
    Authorised(principal, ..): Authorised<Read>,
    Path((run, step)): Path<(String, String)>,
    Query(query): Query<PageQuery>,
    State(services): State<Shared>,
) -> Result<Json<ItemList>, Problem> {
    let page = ITEMS.page(query.limit, query.cursor.as_deref())?;
    let found = services.playbooks().items(principal.organisation, run_id(&run)?, &step, &page).await?;
    let found = found.map(Step::from);
    Ok(Json(ItemList { items: found.items, next: ITEMS.next(found.next) }))
}

/// Ends a run before it is through; its on-failure steps are taken if it has begun.
#[utoipa::path(post, path = "/v1/runs/{run}/cancel", tag = "runs", security(("key" = [])),
    params(("run" = String, Path, description = "The run's id")),
    responses((status = 200, description = "The run as it is now", body = Summary), Refusals, NotFound, Clash))]
pub(crate) async fn cancel(
    Authorised(principal, ..): Authorised<Write>,
    Path(run): Path<String>,
    State(services): State<Shared>,
) -> Result<Json<Summary>, Problem> {
    Ok(Json(services.playbooks().cancel(&principal, run_id(&run)?).await?.into()))
}

/// Where a run is repeated from; without a step from its beginning.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    /// The step's id, not one of the on-failure steps.
    #[schema(example = "add")]
    step: Option<String>,
    /// For a step over a list: the item, counted from 0. Those before it that succeeded are taken over.
    item: Option<u32>,
}

/// Starts a run again that has ended: a new run of the same version with the same trigger.
#[utoipa::path(post, path = "/v1/runs/{run}/replay", tag = "runs", security(("key" = [])),
    params(("run" = String, Path, description = "The run's id"), StartQuery),
    request_body(content = Option<Replay>),
    responses(
        (status = 202, description = "Accepted; the new run goes on by itself", body = Accepted),
        (status = 200, description = "It ended within the wait", body = Run),
        Refusals, NotFound, Bodied, Busy, Clash))]
pub(crate) async fn replay(
    Authorised(principal, ..): Authorised<Write>,
    Path(run): Path<String>,
    Query(query): Query<StartQuery>,
    State(services): State<Shared>,
    patience: Patience,
    headers: HeaderMap,
    JsonOrNothing(replay): JsonOrNothing<Replay>,
) -> Result<Response, Problem> {
    let from = match replay {
        Replay { step: Some(step), item } => Some(ReplayFrom { step, item }),
        Replay { step: None, item: Some(_) } => {
            return Err(FieldError::new("step", "nothing", "the step whose item it is").into());
        }
        Replay { step: None, item: None } => None,
    };
    let started =
        services.playbooks().replay(&principal, run_id(&run)?, from.as_ref(), name_of(&headers)).await?;
    Ok(answer(started, query.wait, &patience).await)
}

/// What a run is started with.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// What the playbook's steps read as `trigger.inputs`; any JSON in it.
    #[schema(value_type = Object)]
    inputs: Option<Map<String, Value>>,
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
    patience: Patience,
    headers: HeaderMap,
    JsonOrNothing(start): JsonOrNothing<Start>,
) -> Result<Response, Problem> {
    let inputs = Value::Object(start.inputs.unwrap_or_default());
    let started = services.playbooks().start_named(&principal, &playbook, inputs, name_of(&headers)).await?;
    Ok(answer(started, query.wait, &patience).await)
}

/// What the caller names its request, which names the run too: its answer is kept only once it is there, and a host that
/// dies while it waits is asked again.
fn name_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(idempotency::HEADER)?.to_str().ok()
}

/// Answers with the run if it ends in time, else with where it will be.
pub(crate) async fn answer(started: StartedRun, wait: Option<Wait>, patience: &Patience) -> Response {
    let id = started.id;
    let url = format!("/v1/runs/{id}");
    let location = HeaderValue::try_from(url.as_str()).expect("a UUID in a path is a header value");
    let accepted = Accepted { run_id: id, url };
    let in_short = serde_json::to_vec(&accepted).map(|body| InShort(StatusCode::ACCEPTED, Bytes::from(body)));
    let mut response = match within(wait, patience, started.ended).await {
        Some(run) => Json(Run::from(run)).into_response(),
        None => (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted)).into_response(),
    };
    if let Ok(in_short) = in_short {
        response.extensions_mut().insert(in_short);
    }
    response
}
