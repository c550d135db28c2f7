//! Why a call on series did not happen.

use bellwether_kernel::{ErrorKind, FieldError};
use bellwether_store::StoreError;

/// Why a call on series did not happen. Nothing of the call took effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// There is no such metric.
    #[error("there is no metric {0:?} with samples")]
    UnknownMetric(String),
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
        /// Of what: "series of one organisation".
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// The caller may not read or write this metric.
    #[error("the metric {0:?} is not among those that may be used here")]
    Forbidden(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SeriesError {
    /// More than a limit allows.
    pub(crate) fn limit(what: &'static str, limit: impl TryInto<u64>) -> Self {
        Self::Limit { what, limit: limit.try_into().unwrap_or(u64::MAX) }
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownMetric(_) => ErrorKind::NotFound,
            Self::Invalid(_) | Self::Syntax { .. } => ErrorKind::Invalid,
            Self::Limit { .. } => ErrorKind::TooLarge,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::Store(error) => error.kind(),
        }
    }
}
