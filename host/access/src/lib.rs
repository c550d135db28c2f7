//! Who may do what: organisations, keys, principals, the schemes a request proves its caller with, sealed secrets
//! and the audit log.
//!
//! A token is shown once and kept as a SHA-256 digest; what cannot be hashed is sealed with the host key. Nobody
//! outside this crate sees a credential.

mod address;
mod audit;
mod changes;
mod data;
mod deletion;
mod destination;
mod directory;
mod error;
mod idempotency;
mod kept;
mod named;
mod principal;
mod records;
mod rows;
mod scheme;
mod seal;
mod service;
mod session;
mod sought;
mod suspension;
#[cfg(test)]
mod tests;
mod token;
mod verify;

pub use address::{AZURE_WIRE_SERVER, carried, is_public};
pub use audit::{AuditEntry, AuditFilter, AuditScope};
pub use changes::check_organisation_name;
pub use data::DataChange;
pub use deletion::AT_REST;
pub use destination::{Destination, InvalidDestination, LOCALHOST, NEVER_SENT};
pub use error::{AccessError, AuthFailure, SUSPENDED};
pub use idempotency::{
    ANSWER_KEPT, Begun, CLAIM_KEPT, Idempotency, IdempotencyError, MAX_ANSWER, StoredAnswer, Ticket,
};
pub use kept::{KEY_KEPT, MAX_KEYS};
pub use named::{MAX_SECRET, MAX_SECRETS, Secret, SecretRecord, SecretText};
pub use principal::{Caller, Operator, Principal, Role};
pub use records::{CreatedKey, KeyRecord, NewKey, Organisation, SigningPair};
pub use scheme::{Authentication, Encoding, MessagePart, RawRequest, Signature};
pub use seal::{HostKey, Sealed};
pub use service::Access;
pub use sought::Sought;
pub use verify::claimed_by;
