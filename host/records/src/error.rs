//! Why a call on records did not happen.

use bellwether_kernel::{ErrorKind, FieldError, RecordId};
use bellwether_store::StoreError;

/// Why a call on records did not happen. Nothing of the call took effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There is no such record, or it is no longer kept.
    #[error("there is no {kind} {id}")]
    Unknown {
        /// "event" or "log".
        kind: &'static str,
        /// Which.
        id: RecordId,
    },
    /// An argument is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// A query does not read.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong there and what would be right.
        message: String,
    },
    /// A limit is reached.
    #[error("at most {limit} {what}")]
    Limit {
        /// Of what: "records of one append".
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RecordError {
    pub(crate) fn limit(what: &'static str, limit: impl TryInto<u64>) -> Self {
        Self::Limit { what, limit: limit.try_into().unwrap_or(u64::MAX) }
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Invalid(_) | Self::Syntax { .. } => ErrorKind::Invalid,
            Self::Limit { .. } => ErrorKind::TooLarge,
            Self::Store(error) => error.kind(),
        }
    }
}
