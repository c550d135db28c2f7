//! Who may do what: organisations, keys, principals, the schemes a request proves its caller with, sealed secrets
//! and the audit log.
//!
//! A token is shown once and kept as a SHA-256 digest; what cannot be hashed is sealed with the host key. Nobody
//! outside this crate sees a credential.

mod audit;
mod error;
mod principal;
mod scheme;
mod seal;
mod service;

pub use audit::{AuditEntry, AuditFilter, AuditScope};
pub use error::{AccessError, AuthFailure};
pub use principal::{Caller, Operator, Principal, Role};
pub use scheme::{Authentication, Encoding, MessagePart, RawRequest, Signature};
pub use seal::{HostKey, Sealed};
pub use service::{Access, CreatedKey, KeyRecord, NewKey, Organisation, SigningPair};
