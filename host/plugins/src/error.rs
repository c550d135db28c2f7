//! Why a plugin was not installed, found or did not answer.

use bellwether_access::AccessError;
use bellwether_engine::{CallError, EngineError};
use bellwether_kernel::{ErrorKind, FieldError, counted};
use bellwether_playbooks::PlaybookError;
use bellwether_store::StoreError;

use crate::grant::{InvalidGrant, Privilege};

/// Why a plugin was not installed, found or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The file is no component.
    #[error("the file is not a plugin: {0}")]
    NotAComponent(String),
    /// The file is too large.
    #[error("the file has {size} bytes, a plugin may have {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The component cannot be installed on this host.
    #[error("the plugin {name} cannot be installed: {}", .problems.join("; "))]
    Problems {
        /// Its name, or "without a name".
        name: String,
        /// What stands in the way.
        problems: Vec<String>,
    },
    /// Privileges it asks for were not granted.
    #[error("the plugin {name} asks for what was not granted: {}", flags(.missing))]
    NotGranted {
        /// Its name.
        name: String,
        /// What is missing.
        missing: Vec<Privilege>,
    },
    /// Privileges were granted it does not ask for.
    #[error("the plugin {name} does not ask for {}: leave it out", names(.surplus))]
    NotRequested {
        /// Its name.
        name: String,
        /// What was granted for nothing.
        surplus: Vec<Privilege>,
    },
    /// A grant is none, or there are two of one privilege.
    #[error(transparent)]
    Grant(#[from] InvalidGrant),
    /// What it says of itself makes no sense.
    #[error("the plugin {name} {version}: {call}: {source}")]
    Description {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// `app.describe` or `dialect.describe`.
        call: &'static str,
        /// What is wrong.
        source: Box<FieldError>,
    },
    /// Only the host's operator may install it.
    #[error(
        "the plugin {name} is a dialect: dialects serve every organisation, so only the host's operator installs them{}",
        besides.as_ref().map(|besides| format!("; besides, {besides}")).unwrap_or_default()
    )]
    HostOnly {
        /// Its name.
        name: String,
        /// What else would be refused.
        besides: Option<Box<PluginError>>,
    },
    /// An organisation has as many plugins of its own as it may.
    #[error(
        "the plugin {name} would be one too many: an organisation has at most {limit} of its own; remove one, or have the \
         operator raise plugins.per_organisation"
    )]
    TooMany {
        /// Its name.
        name: String,
        /// How many there may be.
        limit: usize,
    },
    /// Another component of that version is installed, or the same one with other grants.
    #[error(
        "version {version} of the plugin {name} is installed already with {}, or replace it (`--replace`, `?replace=true`)",
        if *.same_digest { "other grants: change those" } else { "other content: give this one another version" }
    )]
    Exists {
        /// Its name.
        name: String,
        /// The version.
        version: String,
        /// Whether it is the same component.
        same_digest: bool,
    },
    /// That version of the plugin is not installed.
    #[error("there is no version {version:?} of the plugin {name}: there is {}", .installed.join(", "))]
    UnknownVersion {
        /// Its name.
        name: String,
        /// Which.
        version: String,
        /// Those that are, newest first.
        installed: Vec<String>,
    },
    /// A version cannot go while it is called.
    #[error("version {version} of the plugin {name} is {what}")]
    InUse {
        /// Its name.
        name: String,
        /// The version.
        version: String,
        /// What it is, and what to do first.
        what: &'static str,
    },
    /// Somebody keeps to what was to be removed.
    #[error("the plugin {name} is kept to: {}; end or change that first, or force it", .by.join(", "))]
    Pinned {
        /// Its name.
        name: String,
        /// Which version by whom.
        by: Vec<String>,
    },
    /// Organisations have set what was to be removed.
    #[error(
        "the settings that {} had of the plugin {name} would be gone with it; have them reset, or force it",
        counted(*organisations, "organisation")
    )]
    Set {
        /// Its name.
        name: String,
        /// How many.
        organisations: usize,
    },
    /// A version is tried on a share of the calls.
    #[error("version {version} of the plugin {name} is tried as its canary: promote or abort it first")]
    CanaryOn {
        /// Its name.
        name: String,
        /// The canary.
        version: String,
    },
    /// No version is tried.
    #[error("the plugin {0} has no canary")]
    NoCanary(String),
    /// There is nothing to go back to.
    #[error("the plugin {0} has no version that was installed before the current one")]
    NothingBefore(String),
    /// It could not be read who keeps to which version.
    #[error("who keeps to its versions could not be read: {0}")]
    Pins(Box<PlaybookError>),
    /// It is switched off.
    #[error("the plugin {0} is switched off")]
    SwitchedOff(String),
    /// No plugin of that name is installed.
    #[error("there is no plugin {0:?}")]
    Unknown(String),
    /// An argument is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// A call came to nothing.
    #[error("plugin {name} {version}: {call}: {source}")]
    Call {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Role and function: `app.run`.
        call: &'static str,
        /// Why.
        source: CallError,
    },
    /// A call gave an answer that is none.
    #[error("plugin {name} {version}: {call}: {problem}")]
    Answer {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Role and function: `dialect.handle`.
        call: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
    /// What an organisation has set does not fit the version that is called.
    #[error("the plugin {name} {version} does not take what was set for it: {source}; set it anew")]
    Settings {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// What is wrong.
        source: Box<FieldError>,
    },
    /// The component of an installed version is missing or damaged.
    #[error("the component {0}: install that version again, or remove it")]
    Lost(String),
    /// The host's HTTP client could not be set up.
    #[error("the HTTP client for plugins could not be set up: {0}")]
    Client(String),
    /// The sandbox did not take it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Access was not given.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PluginError {
    /// What whoever only called is told: the error, without what only the plugin's author can make use of.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Call { name, version, call, source: CallError::Trap { .. } } => {
                format!("plugin {name} {version}: {call}: trapped")
            }
            Self::Answer { name, version, call, .. } => {
                format!("plugin {name} {version}: {call}: the answer makes no sense")
            }
            other => other.to_string(),
        }
    }

    /// When it makes sense to try again, if the host knows.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Call { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether a call that came to nothing so tells anything of the version it was to go to. One that is not called any more,
    /// or whose caller had as much at work as it may, would not have run in any other either. One that is left alone after
    /// failures has them to blame: few calls would ever reach one that always fails.
    pub(crate) fn is_fault(&self) -> bool {
        !matches!(self, Self::SwitchedOff(_) | Self::Unknown(_) | Self::UnknownVersion { .. })
            && self.kind() != ErrorKind::RateLimited
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAComponent(_)
            | Self::Problems { .. }
            | Self::NotGranted { .. }
            | Self::NotRequested { .. }
            | Self::Grant(_)
            | Self::Description { .. }
            | Self::Invalid(_) => ErrorKind::Invalid,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::HostOnly { .. } => ErrorKind::Forbidden,
            Self::TooMany { .. }
            | Self::Exists { .. }
            | Self::InUse { .. }
            | Self::Pinned { .. }
            | Self::Set { .. }
            | Self::CanaryOn { .. }
            | Self::NoCanary(_)
            | Self::NothingBefore(_)
            | Self::SwitchedOff(_) => ErrorKind::Conflict,
            Self::Unknown(_) | Self::UnknownVersion { .. } => ErrorKind::NotFound,
            Self::Pins(error) => error.kind(),
            Self::Call { source, .. } => source.kind(),
            Self::Answer { .. } | Self::Settings { .. } => ErrorKind::Plugin,
            Self::Lost(_) | Self::Client(_) => ErrorKind::Internal,
            Self::Engine(error) => error.kind(),
            Self::Access(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

/// `metrics-write (metrics-write=web.*), log (log)` with the flag each is given by.
fn flags(privileges: &[Privilege]) -> String {
    let flags: Vec<_> = privileges
        .iter()
        .map(|privilege| format!("{privilege} (as in --grant {})", privilege.example()))
        .collect();
    flags.join(", ")
}

fn names(privileges: &[Privilege]) -> String {
    let names: Vec<_> = privileges.iter().map(|privilege| privilege.interface()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bellwether_engine::BreakerReason;

    use super::*;

    #[test]
    fn a_call_that_would_not_have_run_in_any_version_is_no_version_s_fault() {
        let call = |source| PluginError::Call {
            name: "probe".to_owned(),
            version: "1.0.0".to_owned(),
            call: "app.run",
            source,
        };
        let busy = |over_share| CallError::Busy { waited: Duration::ZERO, slots: 8, over_share };
        let why = BreakerReason::Share;
        for (error, is_fault) in [
            (call(busy(true)), false),
            (PluginError::SwitchedOff("probe".to_owned()), false),
            (PluginError::Unknown("probe".to_owned()), false),
            (call(CallError::CoolingDown { why, retry_after: Duration::ZERO }), true),
            (call(CallError::Deadline { wall: Duration::ZERO }), true),
        ] {
            assert_eq!(error.is_fault(), is_fault, "{error}");
        }
    }
}
