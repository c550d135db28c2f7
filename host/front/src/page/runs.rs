//! The pages at `/runs`: what playbooks did, newest first, and each run step by step. What goes on is shown as it goes on.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_kernel::{FieldError, OrganisationId, Period, Timestamp};
use bellwether_playbooks::{Run, RunFilter, RunState, RunSummary, StepResult, TriggeredBy};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::frame::{Frame, further, moment, problem, table, text, word};
use super::session::SignedIn;
use super::{Form, field};
use crate::api::runs::{RUNS, run_id};
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::services::{Services, Shared};

const TITLE: &str = "Runs";
/// Runs of a page.
const ROWS: usize = 50;
/// Bytes of a filled-in form.
const FORM: usize = 4 << 10;

/// Which runs.
#[derive(Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    playbook: String,
    #[serde(default)]
    state: String,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Lists runs.
pub(crate) async fn list(
    signed_in: SignedIn,
    Query(wanted): Query<Wanted>,
    State(services): State<Shared>,
) -> Response {
    let who = &*signed_in.0;
    Frame::new(TITLE, Some(who)).answer(found(&services, who.organisation, &wanted).await)
}

const STATES: [RunState; 9] = [
    RunState::Queued,
    RunState::Running,
    RunState::Succeeded,
    RunState::Failed,
    RunState::Interrupted,
    RunState::Cancelled,
    RunState::TimedOut,
    RunState::Skipped,
    RunState::Blocked,
];

async fn found(
    services: &Services,
    organisation: OrganisationId,
    wanted: &Wanted,
) -> Result<Markup, Problem> {
    let playbooks = services.playbooks();
    let playbook = match &*wanted.playbook {
        "" => None,
        name => Some(playbooks.get(organisation, name).await?.id),
    };
    let state = STATES.into_iter().find(|state| word(state) == wanted.state);
    if state.is_none() && !wanted.state.is_empty() {
        return Err(FieldError::new("state", &wanted.state, STATES.map(word).join(", ")).into());
    }
    let filter = RunFilter { playbook, state, ..RunFilter::default() };
    let page = RUNS.page(Some(ROWS), wanted.cursor.as_deref())?;
    let runs = playbooks.runs(organisation, &filter, &page).await?;
    let rows = runs.items.iter().map(|run| {
        [
            html! { a href={ "/runs/" (run.id) } { (moment(run.created)) } },
            text(&run.playbook_name),
            state_of(run),
            by(run),
            text(took(run.started, run.ended)),
            text(run.error.as_deref().unwrap_or_default()),
        ]
    });
    let columns = ["Accepted", "Playbook", "State", "Started by", "Took", "Why"];
    let rows: Vec<_> = rows.collect();
    Ok(html! {
        form.inline method="get" action="/runs" {
            input name="playbook" value=(wanted.playbook) aria-label="Playbook" placeholder="Playbook";
            select name="state" aria-label="State" {
                option value="" { "any state" }
                @for known in STATES { option selected[state == Some(known)] { (word(known)) } }
            }
            button { "Show" }
        }
        (table("", columns, &rows, false))
        (further("/runs", &[("playbook", &wanted.playbook), ("state", &wanted.state)], RUNS.next(runs.next)))
        p.soft { "Times are in UTC." }
    })
}

/// Whether a page that goes on is left as it is, to be read in peace.
#[derive(Default, Deserialize)]
pub(crate) struct Held {
    #[serde(default)]
    hold: bool,
}

/// Shows a run.
pub(crate) async fn show(
    signed_in: SignedIn,
    Path(run): Path<String>,
    Query(Held { hold }): Query<Held>,
    State(services): State<Shared>,
) -> Response {
    shown(&services, &signed_in, &run, hold, None).await
}

/// Cancels a run, or starts it again.
pub(crate) async fn cancel(
    signed_in: SignedIn,
    Path(run): Path<String>,
    State(services): State<Shared>,
    Form(form): Form<FORM>,
) -> Response {
    let done = async {
        signed_in.writes()?;
        let (playbooks, id) = (services.playbooks(), run_id(&run)?);
        Ok::<_, Problem>(match field(&form, "do") {
            "again" => {
                // Sent twice it starts one.
                let once = field(&form, "once");
                let name = (!once.is_empty()).then(|| format!("form {once}"));
                playbooks.replay(&signed_in.0, id, None, name.as_deref()).await?.id
            }
            _ => playbooks.cancel(&signed_in.0, id).await?.id,
        })
    };
    match done.await {
        Ok(id) => Redirect::to(&format!("/runs/{id}")).into_response(),
        Err(problem) => shown(&services, &signed_in, &run, true, Some(&problem)).await,
    }
}

async fn shown(
    services: &Services,
    signed_in: &SignedIn,
    id: &str,
    held: bool,
    refused: Option<&Problem>,
) -> Response {
    let who = &*signed_in.0;
    let found = async { Ok(services.playbooks().run(who.organisation, run_id(id)?).await?) };
    let run = match found.await {
        Ok(run) => run,
        Err(problem) => return Frame::new(TITLE, Some(who)).answer(Err(problem)),
    };
    let frame = Frame::new(&run.summary.playbook_name, Some(who)).within(TITLE);
    let once = services.request_ids.fresh();
    let once = signed_in.writes().is_ok().then(|| once.to_str().unwrap_or_default());
    let goes_on = refused.is_none() && !held && !run.summary.state.has_ended();
    frame.going_on(goes_on).shown(refused, Ok(body(&run, held, once)))
}

/// A run; for whoever may do something about it, with the forms for that, one of which is told from every other by `once`.
fn body(run: &Run, held: bool, once: Option<&str>) -> Markup {
    let summary = &run.summary;
    let rows: Vec<_> = run.steps.iter().map(step).collect();
    let at = match &run.current_step {
        Some(step) => format!("at {step}"),
        None => took(summary.started, summary.ended),
    };
    let known = [state_of(summary), by(summary), text(moment(summary.created)), text(at)];
    html! {
        (table("", ["State", "Started by", "Accepted", "Took"], &[known], false))
        @if let Some(error) = &summary.error { (problem(error)) }
        @if let Some(once) = once {
            div.deeds { form.inline method="post" {
                @if summary.state.has_ended() {
                    input type="hidden" name="once" value=(once);
                    button name="do" value="again" { "Start it again" }
                } @else {
                    button name="do" value="cancel" { "Cancel" }
                }
            } }
        }
        @if !summary.state.has_ended() {
            p.soft {
                @if held { a href={ "/runs/" (summary.id) } { "Follow it as it goes on" } }
                @else { "It is shown as it goes on. " a href="?hold=true" { "Keep it still" } }
            }
        }
        (table("Steps", ["Step", "State", "Began", "Took", "Outputs", "Log"], &rows, false))
        details { summary { "What it was started with" } pre { (pretty(&run.trigger)) } }
        p.soft {
            "Run " (summary.id) " of version " (summary.playbook_version)
            @if let Some(before) = summary.replay_of { ", again after " a href={ "/runs/" (before) } { (before) } }
            ". Times are in UTC."
        }
    }
}

fn step(step: &StepResult) -> [Markup; 6] {
    let whose = if step.on_failure { " (on failure)" } else { "" };
    let attempts = if step.attempt > 1 { format!(", attempt {}", step.attempt) } else { String::new() };
    let items = step.items.map(|items| {
        let cut_off =
            if items.cancelled > 0 { format!(", {} cut off", items.cancelled) } else { String::new() };
        let (total, failed) = (items.total, items.failed);
        format!(", {} of {total} items succeeded, {failed} failed{cut_off}", items.succeeded)
    });
    [
        html! {
            (step.step) (whose) br; span.soft { (step.app) }
            @if let Some(run) = step.run { br; a href={ "/runs/" (run) } { "its run" } }
        },
        html! { (word(step.state)) (attempts) (items.unwrap_or_default()) },
        text(moment(step.started)),
        text(took(Some(step.started), Some(step.ended))),
        html! {
            @if let Some(error) = &step.error { (problem(error)) }
            (values(&step.outputs))
            @if !step.inputs.is_empty() { details { summary { "inputs" } (values(&step.inputs)) } }
        },
        html! { @for line in &step.log { (word(line.level)) " " (line.message) br; } },
    ]
}

fn values(values: &Map<String, Value>) -> Markup {
    html! { @for (name, value) in values { div { (name) " = " (value) } } }
}

fn state_of(run: &RunSummary) -> Markup {
    html! { span.bad[run.state.is_failure()] { (word(run.state)) @if run.attempt > 1 { ", attempt " (run.attempt) } } }
}

/// What started it, and where that is seen.
fn by(run: &RunSummary) -> Markup {
    html! {
        @match &run.triggered_by {
            TriggeredBy::Webhook => "webhook",
            TriggeredBy::Manual { .. } => "manual",
            TriggeredBy::Cron { .. } => "cron",
            TriggeredBy::Every { .. } => "every",
            TriggeredBy::Metric { metric, .. } => { "metric " (metric) }
            TriggeredBy::Playbook { run, step } => { "playbook " a href={ "/runs/" (run) } { (step) } }
            TriggeredBy::Alert { incident, .. } => {
                "alert " a href={ "/alerts?incident=" (incident) } { "incident" }
            }
        }
    }
}

fn took(started: Option<Timestamp>, ended: Option<Timestamp>) -> String {
    let Some((started, ended)) = started.zip(ended) else { return String::new() };
    match ended.milliseconds_since(started) {
        short @ 0..10_000 => format!("{short} ms"),
        long => Period::from_milliseconds(long / 1000 * 1000).to_string(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
