//! Why a playbook was not stored, started or read.

use bellwether_access::AccessError;
use bellwether_kernel::{ErrorKind, FieldError};
use bellwether_store::StoreError;

/// Why a playbook was not stored, started or read.
#[derive(Debug, thiserror::Error)]
pub enum PlaybookError {
    /// There is no such thing.
    #[error("there is no {what} {name:?}")]
    Unknown {
        /// "playbook", "run".
        what: &'static str,
        /// Which.
        name: String,
    },
    /// The document does not read.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Something in the document or the request is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// A playbook of that name exists.
    #[error("there is already a playbook {0:?}")]
    Exists(String),
    /// The playbook is not started this way.
    #[error("{0}")]
    Refused(String),
    /// Too many runs wait already.
    #[error("{0} runs wait already; try again in a few seconds")]
    Busy(usize),
    /// Access was not given.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PlaybookError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Syntax { .. } | Self::Invalid(_) => ErrorKind::Invalid,
            Self::Exists(_) | Self::Refused(_) => ErrorKind::Conflict,
            Self::Busy(_) => ErrorKind::RateLimited,
            Self::Access(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}
