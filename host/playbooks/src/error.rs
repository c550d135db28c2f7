//! Why a playbook was not stored, started or read.

use std::time::Duration;

use bellwether_access::AccessError;
use bellwether_kernel::{ErrorKind, FieldError, counted};
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
    #[error("line {line}, column {column}: {}{message}", .field.as_ref().map_or_else(String::new, |field| format!("{field}: ")))]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is there, where it is in a field: `steps[1].timeout`.
        field: Option<String>,
        /// What is wrong.
        message: String,
    },
    /// Something in the document or the request is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// Something in a document that reads is wrong, and where.
    #[error("line {line}, column {column}: {error}")]
    Document {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What is wrong there.
        error: FieldError,
    },
    /// It is larger than the limit.
    #[error("{what} of {size} bytes, at most {limit} are taken")]
    TooLarge {
        /// "a document", "a payload".
        what: &'static str,
        /// In bytes.
        size: usize,
        /// In bytes.
        limit: usize,
    },
    /// The caller's role does not allow it.
    #[error("a key with the role {role} may not {action}; it takes a key with the role {needed}")]
    Forbidden {
        /// What was tried.
        action: &'static str,
        /// The caller's role.
        role: &'static str,
        /// The least role that may.
        needed: &'static str,
    },
    /// A playbook of that name exists.
    #[error(
        "there is already a playbook {0:?}; make this its next version (PUT, or `--replace`) or its next draft (`?publish=false`, or `--draft`)"
    )]
    Exists(String),
    /// Published playbooks have it as a step.
    #[error("the playbook {name:?} is a step of {}; change or delete those first, or force it", .of.join(", "))]
    IsStep {
        /// Its name.
        name: String,
        /// The names of those playbooks.
        of: Vec<String>,
    },
    /// The playbook is not started this way.
    #[error("{0}")]
    Refused(String),
    /// Nothing starts the playbook any more: its runs failed too often.
    #[error("the playbook {name:?} is disabled: {reason}; enable it, or publish it again")]
    Disabled {
        /// Its name.
        name: String,
        /// Since when and why.
        reason: String,
    },
    /// The key the playbook runs as lost the right to.
    #[error("the playbook {name:?} is blocked: {reason}; publish it again with a key that works")]
    Blocked {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A webhook's request does not prove who sent it.
    #[error("the request is not signed as the webhook wants it: {0}")]
    Signature(String),
    /// Too many runs of the organisation wait already. Others may start theirs.
    #[error(
        "too many runs of the organisation wait already{}, {runs}; try again in {}",
        if *placeless { " for places of their playbooks" } else { "" },
        counted(retry_after.as_secs(), "second")
    )]
    Busy {
        /// How many.
        runs: usize,
        /// Whether they wait for places of their playbooks' and not for their turn.
        placeless: bool,
        /// When it may be worth another try.
        retry_after: Duration,
    },
    /// The host is being stopped.
    #[error("the host is stopping and takes no more runs")]
    Stopping,
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
            Self::Syntax { .. } | Self::Invalid(_) | Self::Document { .. } => ErrorKind::Invalid,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Forbidden { .. } => ErrorKind::Forbidden,
            Self::Stopping => ErrorKind::Unavailable,
            Self::Exists(_)
            | Self::IsStep { .. }
            | Self::Refused(_)
            | Self::Disabled { .. }
            | Self::Blocked { .. } => ErrorKind::Conflict,
            Self::Signature(_) => ErrorKind::Unauthenticated,
            Self::Busy { .. } => ErrorKind::RateLimited,
            Self::Access(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    /// Whether others' runs are not started now either, and this one may be before long.
    pub(crate) fn concerns_all(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// The field that is wrong, where it is one field.
    #[must_use]
    pub fn field(&self) -> Option<&FieldError> {
        match self {
            Self::Invalid(error) | Self::Document { error, .. } => Some(error),
            _ => None,
        }
    }
}
