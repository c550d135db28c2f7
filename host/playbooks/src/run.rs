//! One run of a playbook, as it is recorded.

use bellwether_kernel::{KeyId, PlaybookId, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document::is_default;
use crate::{LogLine, TriggerKind};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Accepted, not yet begun.
    Queued,
    /// At work, or waiting for the end of a delay or for its next attempt.
    Running,
    /// Every step succeeded or was skipped.
    Succeeded,
    /// A step failed.
    Failed,
    /// A host of an earlier version stopped before it ended; nothing ends so any more.
    Interrupted,
    /// Somebody ended it, or a newer run took its place.
    Cancelled,
    /// It took longer than it may.
    TimedOut,
    /// Its playbook ran already, and its policy is to skip.
    Skipped,
    /// The key it runs as lost the right to.
    Blocked,
}

impl RunState {
    /// Whether nothing more happens to it.
    #[must_use]
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether it ended as nobody wanted it to.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

/// What started a run; `type` is the word of its [`TriggerKind`](crate::TriggerKind).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum TriggeredBy {
    /// A request to its URL.
    Webhook,
    /// A caller with this key.
    Manual {
        /// Its key.
        key: KeyId,
    },
    /// Its time by the calendar came.
    Cron {
        /// Which time.
        scheduled: Timestamp,
    },
    /// Its interval was over.
    Every {
        /// Which time.
        scheduled: Timestamp,
    },
    /// A write to a metric.
    Metric {
        /// Which metric.
        metric: String,
        /// Which key of it, where it has keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A step of another run.
    Playbook {
        /// That run.
        run: RunId,
        /// That step.
        step: String,
    },
    /// Something an incident did, or an action on it.
    Alert {
        /// The incident's id.
        incident: String,
        /// The number of the entry of its timeline that says so.
        sequence: u64,
    },
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Of which playbook.
    pub playbook: PlaybookId,
    /// What that is called.
    pub playbook_name: String,
    /// Which version of it, counted from 1.
    pub playbook_version: u32,
    /// How it stands.
    pub state: RunState,
    /// What started it.
    pub triggered_by: TriggeredBy,
    /// When it was accepted.
    pub created: Timestamp,
    /// When its first step began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// When it ends at the latest, once it has begun.
    pub deadline: Option<Timestamp>,
    /// Until when it waits, while it does.
    pub waits_until: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    /// The step that failed.
    pub failed_step: Option<String>,
    /// Which run of its firing it is: 1, and more where its trigger starts a failed run again.
    pub attempt: u32,
    /// The run it repeats.
    pub replay_of: Option<RunId>,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It gave its outputs.
    Succeeded,
    /// It did not.
    Failed,
    /// Its condition did not hold; its outputs are `null`.
    Skipped,
    /// It waits for its time, or for its next attempt.
    Waiting,
    /// It was cut off when its run was cancelled or ran out of time.
    Cancelled,
}

/// What a step does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Calls an app.
    #[default]
    App,
    /// Runs a playbook.
    Playbook,
    /// Waits.
    Delay,
    /// Ends the run.
    Stop,
}

/// One attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Why it failed.
    pub error: String,
}

/// How the items of a step stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemCounts {
    /// How many there are.
    pub total: u32,
    /// Of those, how many gave their outputs.
    pub succeeded: u32,
    /// Of those, how many did not.
    pub failed: u32,
    /// Of those, how many began and were cut off; what is left of them never began.
    #[serde(default)]
    pub cancelled: u32,
}

/// What a step came to, or one item of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// The step's id.
    pub step: String,
    /// What it does.
    #[serde(default)]
    pub kind: StepKind,
    /// Its app, or the playbook it runs; empty where it has neither.
    pub app: String,
    /// That app's version; of a playbook its number.
    pub app_version: String,
    /// How it stands.
    pub state: StepState,
    /// Whether it is one of the on-failure steps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: bool,
    /// Which item of its list, counted from 0; absent for the step as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// How its items stand, for a step with a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemCounts>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, or when its last attempt did.
    pub ended: Timestamp,
    /// Until when it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<Timestamp>,
    /// Which attempt this was, counted from 1.
    pub attempt: u32,
    /// Attempts that failed before it, the latest 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<Attempt>,
    /// What it was given, secrets replaced.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// What it gave; of a step with a list, a list of each.
    pub outputs: serde_json::Map<String, serde_json::Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it logged, in every attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// The run of the playbook it is, for one that is a playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Copied from the run this one repeats, not taken again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copied: bool,
}

/// A run, whole; its items apart, of which there may be many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What its list shows.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The step it is at, while it runs.
    pub current_step: Option<String>,
    /// What it was started with.
    pub trigger: serde_json::Value,
    /// Its steps so far, in order: each since it ended, or began to wait.
    pub steps: Vec<StepResult>,
}

/// Which runs are wanted: those for which everything that is given holds.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this playbook.
    pub playbook: Option<PlaybookId>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only started by this kind of trigger.
    pub trigger: Option<TriggerKind>,
    /// Only accepted at or after this instant.
    pub since: Option<Timestamp>,
    /// Only accepted before this instant.
    pub until: Option<Timestamp>,
}
