//! Why access was not given.

use bellwether_kernel::{ErrorKind, FieldError, Timestamp};
use bellwether_store::StoreError;

/// What whoever asks for something of a suspended organisation is told.
pub const SUSPENDED: &str = "the organisation is suspended; the host's operator can resume it";

/// Why a caller is not known, or not heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// No declared place of the request holds a credential.
    #[error("the request carries no credential")]
    Missing,
    /// A credential is there but does not read.
    #[error("the credential does not read: {0}")]
    Malformed(String),
    /// No key answers to it, or its secret is another.
    #[error("no key answers to this credential")]
    Unknown,
    /// The key's time is over, or it was revoked.
    #[error("the key has expired or was revoked")]
    Expired,
    /// The signed time is too far from the host's.
    #[error("the request's time is too far from the host's, {host}")]
    OutOfTime {
        /// The host's time.
        host: Timestamp,
    },
    /// The signature is another than the one computed.
    #[error("the signature does not match the request")]
    SignatureMismatch,
    /// The key works, and its organisation is suspended.
    #[error("{SUSPENDED}")]
    Suspended,
}

/// Why an organisation, key or secret was not made, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no such thing.
    #[error("there is no {what} {name:?}")]
    Unknown {
        /// "key", "organisation", "secret".
        what: &'static str,
        /// Which.
        name: String,
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
    /// The organisation is suspended.
    #[error("{SUSPENDED}")]
    Suspended,
    /// A limit is reached.
    #[error("at most {limit} {what}")]
    Limit {
        /// Of what: "secrets of an organisation".
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// An argument is wrong.
    #[error(transparent)]
    Invalid(#[from] FieldError),
    /// It is there already.
    #[error("there is already {what} {name:?}")]
    Exists {
        /// "an organisation".
        what: &'static str,
        /// Which.
        name: String,
    },
    /// It would leave nobody in charge.
    #[error("{0}")]
    Refused(String),
    /// A sealed secret does not open: it was sealed with another host key, or for another purpose.
    #[error(
        "a sealed secret does not open with this host key; start the host with the key this store was made with"
    )]
    WrongHostKey,
    /// The host key's file cannot be used.
    #[error("the host key file {path}: {problem}")]
    KeyFile {
        /// Where it is.
        path: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AccessError {
    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Forbidden { .. } | Self::Suspended => ErrorKind::Forbidden,
            Self::Limit { .. } => ErrorKind::TooLarge,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Exists { .. } | Self::Refused(_) => ErrorKind::Conflict,
            Self::WrongHostKey | Self::KeyFile { .. } => ErrorKind::Internal,
            Self::Store(error) => error.kind(),
        }
    }
}
