//! One run of a playbook, as it is recorded.

use bellwether_kernel::{KeyId, PlaybookId, RunId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::LogLine;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Accepted, not yet begun.
    Queued,
    /// At work.
    Running,
    /// Every step succeeded.
    Succeeded,
    /// A step failed.
    Failed,
    /// The host stopped before it ended.
    Interrupted,
}

/// What started a run.
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
    /// Why it failed.
    pub error: Option<String>,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// It gave its outputs.
    Succeeded,
    /// It did not.
    Failed,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    /// The step's id.
    pub step: String,
    /// Its app.
    pub app: String,
    /// That app's version.
    pub app_version: String,
    /// How it stands.
    pub state: StepState,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Which attempt this was, counted from 1.
    pub attempt: u32,
    /// What it was given, secrets replaced.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// What it gave.
    pub outputs: serde_json::Map<String, serde_json::Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// What it logged.
    pub log: Vec<LogLine>,
}

/// A run, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What its list shows.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// What it was started with.
    pub trigger: serde_json::Value,
    /// Its steps so far, in order.
    pub steps: Vec<StepResult>,
}

/// Which runs are wanted.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this playbook.
    pub playbook: Option<PlaybookId>,
    /// Only in this state.
    pub state: Option<RunState>,
}
