//! Why a metric call did not happen.

use bellwether_kernel::{ErrorKind, FieldError};
use bellwether_store::StoreError;

use crate::MetricReference;

/// Why a metric call did not happen. Nothing of the call took effect.
#[derive(Debug, thiserror::Error)]
pub enum MetricError {
    /// There is no such metric.
    #[error("there is no metric {0:?}")]
    UnknownMetric(String),
    /// An argument is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// A metric of that name exists with another definition.
    #[error("the metric {name:?} exists with another {field}: {present}")]
    Conflict {
        /// Its name.
        name: String,
        /// What differs.
        field: &'static str,
        /// What it is.
        present: String,
    },
    /// A limit is reached.
    #[error("at most {limit} {what}")]
    Limit {
        /// Of what: "keys of the metric logins".
        what: String,
        /// How many.
        limit: u64,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MetricError {
    /// There is no such metric.
    pub(crate) fn unknown(metric: &MetricReference) -> Self {
        Self::UnknownMetric(match metric {
            MetricReference::Id(id) => id.to_string(),
            MetricReference::Name(name) => name.clone(),
        })
    }

    /// More than a limit allows.
    pub(crate) fn limit(limit: impl TryInto<u64>, what: impl Into<String>) -> Self {
        Self::Limit { what: what.into(), limit: limit.try_into().unwrap_or(u64::MAX) }
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownMetric(_) => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Limit { .. } => ErrorKind::TooLarge,
            Self::Store(error) => error.kind(),
        }
    }
}
