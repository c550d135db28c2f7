//! What a playbook says, read from TOML or JSON.

use serde::{Deserialize, Serialize};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

/// A playbook's document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// 1 to 100 characters of `a-z0-9-`, unique in its organisation.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// What starts it.
    pub trigger: Trigger,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

/// What starts a playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Trigger {
    /// A request to the playbook's own URL.
    Webhook {},
    /// A call of the API or the command line.
    Manual {},
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// 1 to 50 characters of `a-z0-9_`, unique in the playbook: later steps read `steps.<id>.<output>`.
    pub id: String,
    /// Which app.
    pub app: String,
    /// Its inputs; texts are templates.
    #[serde(default)]
    pub inputs: serde_json::Map<String, serde_json::Value>,
}
