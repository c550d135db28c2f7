//! On whose behalf something happens.

use std::sync::Arc;

use bellwether_kernel::{KeyId, OrganisationId};
use serde::{Deserialize, Serialize};

/// What a key of an organisation may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything but secrets, keys and the audit log.
    Read,
    /// Also write and delete metrics, series, events and logs; change monitors, mutes and the calendar, work on
    /// incidents; start playbooks.
    Write,
    /// Also channels, routes, secrets, keys, plugins of the organisation, playbooks, settings.
    Admin,
}

impl Role {
    /// The role's name: `read`, `write` or `admin`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A key's holder within one organisation. Bound to every call by the host, never an argument of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The organisation everything it does happens in.
    pub organisation: OrganisationId,
    /// That organisation's name.
    pub organisation_name: String,
    /// That organisation's time zone, an IANA name: new metrics get it.
    pub time_zone: String,
    /// Its key.
    pub key: KeyId,
    /// What the key was called when it was made.
    pub key_name: String,
    /// What it may do.
    pub role: Role,
}

/// Who runs the host: makes organisations, installs plugins for all, sees the host's health, and sees no
/// organisation's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its key.
    pub key: KeyId,
    /// What the key was called when it was made.
    pub key_name: String,
}

/// Whoever a token belongs to.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Of the host.
    Operator(Arc<Operator>),
    /// Of an organisation.
    Principal(Arc<Principal>),
}
