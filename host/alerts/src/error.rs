//! Why a role did not answer.

use bellwether_kernel::{ErrorKind, FieldError};

/// Why a detector, a forecaster or a formatter did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A setting, or what was given besides, is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
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
            Self::UnknownState(_) => ErrorKind::Conflict,
            Self::Refused(_) => ErrorKind::Plugin,
            Self::Failed { kind, .. } => *kind,
        }
    }
}
