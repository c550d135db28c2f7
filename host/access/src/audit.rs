//! What was done to keys, grants, installs and settings, by whom, when.

use bellwether_kernel::{OrganisationId, Timestamp};
use serde::{Deserialize, Serialize};

/// Whose log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// The host's: organisations, plugins for all.
    Host,
    /// One organisation's.
    Organisation(OrganisationId),
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub time: Timestamp,
    /// The id of the key it was done with, or `host` for what the host did by itself.
    pub actor: String,
    /// What, as `thing.verb`: `key.create`, `plugin.install`.
    pub action: String,
    /// To what: a name or an id.
    pub target: String,
    /// What else matters, as text; never a secret.
    pub details: Vec<(String, String)>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this action, or this thing (`key` finds `key.create` too).
    pub action: Option<String>,
    /// Only what this key did.
    pub actor: Option<String>,
}
