//! Why a role did not answer, and why something about alerts was not done.

use std::fmt;

use bellwether_access::AccessError;
use bellwether_kernel::{ErrorKind, FieldError};
use bellwether_records::RecordError;
use bellwether_series::SeriesError;
use bellwether_store::StoreError;

use crate::{RoleKind, limits};

/// No plugin of that name is called in that role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCalled {
    /// In which.
    pub role: RoleKind,
    /// The name.
    pub name: String,
    /// Why one that is installed is not: "it is switched off".
    pub why: Option<String>,
}

impl std::error::Error for NotCalled {}

impl fmt::Display for NotCalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, name, why } = self;
        match why {
            None => write!(f, "there is no {role} {name:?}"),
            Some(why) => write!(f, "the plugin {name:?} is not called as a {role}: {why}"),
        }
    }
}

impl NotCalled {
    /// The same of a field that holds the name.
    pub(crate) fn in_field(self, field: &str) -> FieldError {
        let mut expected = format!("the name of a plugin that is installed and a {}", self.role);
        if let Some(why) = self.why {
            expected.push_str(&format!("; this one is installed, and {why}"));
        }
        FieldError::new(field, self.name, expected)
    }
}

/// Why a detector, a forecaster or a formatter did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A setting, or what was given besides, is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// It is not there, or not called.
    #[error(transparent)]
    NotCalled(#[from] NotCalled),
    /// The state is not one this version wrote: begin anew.
    #[error("{0} does not know the state it was given: another version wrote it")]
    UnknownState(String),
    /// There are too few points to predict from.
    #[error("{points} points are too few to predict from: {least} are needed")]
    TooShort {
        /// Points that were given.
        points: usize,
        /// Points that are needed.
        least: u32,
    },
    /// The role says why not; begins with the plugin, its version and the call.
    #[error("{0}")]
    Refused(String),
    /// The call came to nothing, or its answer is none; names the plugin, its version and the call.
    #[error("{message}")]
    Failed {
        /// Why.
        message: String,
        /// What a caller can do about it.
        kind: ErrorKind,
    },
}

impl RoleError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) | Self::TooShort { .. } => ErrorKind::Invalid,
            Self::NotCalled(_) => ErrorKind::NotFound,
            Self::UnknownState(_) => ErrorKind::Conflict,
            Self::Refused(_) => ErrorKind::Plugin,
            Self::Failed { kind, .. } => *kind,
        }
    }
}

/// Everything that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<FieldError>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

/// Why something about alerts was not done. Nothing of the call took effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlertError {
    /// There is no such thing.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// "monitor", "incident", "mute".
        what: &'static str,
        /// Which.
        name: String,
    },
    /// Something of the request is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// Something of a document is wrong; names all of it.
    #[error(transparent)]
    Document(#[from] Faults),
    /// It is there already.
    #[error("there is already a {what} {name:?}")]
    Exists {
        /// "monitor".
        what: &'static str,
        /// Which.
        name: String,
    },
    /// It clashes with what is there; says how.
    #[error("{0}")]
    Conflict(String),
    /// A limit is reached.
    #[error("at most {limit} {what}")]
    Limit {
        /// Of what: "monitors of one organisation".
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// An evaluation took longer than [`limits::EVALUATION`].
    #[error(
        "its evaluation takes longer than {} min and was ended: narrow its query by a filter, group by fewer tags, or choose \
         a faster detector",
        limits::EVALUATION.as_secs() / 60
    )]
    TooSlow,
    /// The series did not answer.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// The events did not answer.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Access did not do it.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A role of a plugin did not answer.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AlertError {
    /// There is no such thing.
    pub(crate) fn unknown(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { what, name: name.into() }
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Invalid(_) | Self::Document(_) => ErrorKind::Invalid,
            Self::Exists { .. } | Self::Conflict(_) => ErrorKind::Conflict,
            Self::Limit { .. } => ErrorKind::TooLarge,
            Self::TooSlow => ErrorKind::Deadline,
            Self::Series(error) => error.kind(),
            Self::Records(error) => error.kind(),
            Self::Role(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Access(error) => error.kind(),
        }
    }

    /// The field that is wrong, where it is one field.
    #[must_use]
    pub fn field(&self) -> Option<&FieldError> {
        match self {
            Self::Invalid(error) | Self::Role(RoleError::Invalid(error)) => Some(error),
            Self::Document(Faults(faults)) if faults.len() == 1 => faults.first(),
            _ => None,
        }
    }
}
