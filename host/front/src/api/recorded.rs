//! A run as the API shows it: its state, its steps with their inputs, outputs and log.

use bellwether_kernel::{KeyId, RunId};
use bellwether_playbooks::{LogLine, RunSummary, StepResult, TriggeredBy};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::words::{LogLevel, RunState, StepKind, StepState};
use crate::extract::Instant;

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
    /// When it ends at the latest, once it has begun.
    deadline: Option<Instant>,
    /// Until when it waits, while it does.
    waits_until: Option<Instant>,
    /// Why it failed.
    error: Option<String>,
    /// The step that failed.
    failed_step: Option<String>,
    /// Which run of its firing it is: 1, and more where its trigger starts a failed run again.
    attempt: u32,
    /// The run it repeats.
    #[schema(value_type = Option<String>, format = "uuid")]
    replay_of: Option<RunId>,
}

/// What started a run; `type` is what the list's `trigger` takes.
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
    /// Its time by the calendar came.
    Cron { scheduled: Instant },
    /// Its interval was over.
    Every { scheduled: Instant },
    /// A write to a metric.
    Metric {
        metric: String,
        /// Absent for a metric without keys.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A step of another run.
    Playbook {
        #[schema(value_type = String, format = "uuid")]
        run: RunId,
        step: String,
    },
    /// Something an incident did or an action on it, and the number of the entry of its timeline that says so.
    Alert { incident: String, sequence: u64 },
}

impl From<TriggeredBy> for Trigger {
    fn from(by: TriggeredBy) -> Self {
        match by {
            TriggeredBy::Webhook => Self::Webhook,
            TriggeredBy::Manual { key } => Self::Manual { key },
            TriggeredBy::Cron { scheduled } => Self::Cron { scheduled: scheduled.into() },
            TriggeredBy::Every { scheduled } => Self::Every { scheduled: scheduled.into() },
            TriggeredBy::Metric { metric, key } => Self::Metric { metric, key },
            TriggeredBy::Playbook { run, step } => Self::Playbook { run, step },
            TriggeredBy::Alert { incident, sequence } => Self::Alert { incident, sequence },
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
            deadline: summary.deadline.map(Instant),
            waits_until: summary.waits_until.map(Instant),
            error: summary.error,
            failed_step: summary.failed_step,
            attempt: summary.attempt,
            replay_of: summary.replay_of,
        }
    }
}

/// A run, whole.
#[derive(Serialize, ToSchema)]
pub(crate) struct Run {
    #[serde(flatten)]
    summary: Summary,
    /// The step it is at, while it runs.
    current_step: Option<String>,
    /// What it was started with.
    #[schema(value_type = Object)]
    trigger: Value,
    /// Its steps so far, in order: each since it ended, or began to wait.
    steps: Vec<Step>,
}

/// What a step came to, or one item of it.
#[derive(Serialize, ToSchema)]
#[schema(as = StepResult)]
pub(crate) struct Step {
    /// The step's id.
    step: String,
    kind: StepKind,
    /// Its app, or the playbook it runs; empty where it has neither.
    app: String,
    /// That app's version; of a playbook its number.
    app_version: String,
    state: StepState,
    /// Whether it is one of the on-failure steps.
    on_failure: bool,
    /// Which item of its list, counted from 0; absent for the step as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u32>,
    /// How its items stand, for a step with a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<ItemCounts>,
    started: Instant,
    ended: Instant,
    /// Until when it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_until: Option<Instant>,
    /// Which attempt this was, counted from 1.
    attempt: u32,
    /// Attempts that failed before it, the latest 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed_attempts: Vec<Attempt>,
    /// What it was given, secrets replaced.
    #[schema(value_type = Object)]
    inputs: Map<String, Value>,
    /// What it gave; of a step with a list, a list of each.
    #[schema(value_type = Object)]
    outputs: Map<String, Value>,
    /// Why it failed.
    error: Option<String>,
    /// What it logged, in every attempt.
    log: Vec<Line>,
    /// The run of the playbook it is, for one that is a playbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    run: Option<RunId>,
    /// Copied from the run this one repeats, not taken again.
    copied: bool,
}

/// One attempt that failed.
#[derive(Serialize, ToSchema)]
struct Attempt {
    /// Counted from 1.
    number: u32,
    started: Instant,
    ended: Instant,
    /// Why it failed.
    error: String,
}

/// How the items of a step stand.
#[derive(Serialize, ToSchema)]
struct ItemCounts {
    total: u32,
    succeeded: u32,
    failed: u32,
    /// Those that began and were cut off; what is left of them never began.
    cancelled: u32,
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
        Self { summary: run.summary.into(), current_step: run.current_step, trigger: run.trigger, steps }
    }
}

impl From<StepResult> for Step {
    fn from(result: StepResult) -> Self {
        Self {
            step: result.step,
            kind: result.kind.into(),
            app: result.app,
            app_version: result.app_version,
            state: result.state.into(),
            on_failure: result.on_failure,
            item: result.item,
            items: result.items.map(|counts| ItemCounts {
                total: counts.total,
                succeeded: counts.succeeded,
                failed: counts.failed,
                cancelled: counts.cancelled,
            }),
            started: result.started.into(),
            ended: result.ended.into(),
            waits_until: result.waits_until.map(Instant),
            attempt: result.attempt,
            failed_attempts: result.failed_attempts.into_iter().map(Attempt::from).collect(),
            inputs: result.inputs,
            outputs: result.outputs,
            error: result.error,
            log: result.log.into_iter().map(Line::from).collect(),
            run: result.run,
            copied: result.copied,
        }
    }
}

impl From<bellwether_playbooks::Attempt> for Attempt {
    fn from(attempt: bellwether_playbooks::Attempt) -> Self {
        let bellwether_playbooks::Attempt { number, started, ended, error } = attempt;
        Self { number, started: started.into(), ended: ended.into(), error }
    }
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Self {
        Self { time: line.time.into(), level: line.level.into(), message: line.message }
    }
}
