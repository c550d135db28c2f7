//! The one door to access.

use std::sync::Arc;

use bellwether_kernel::{Clock, KeyId, OrganisationId, Page, PageRequest, Randomness, Timestamp};
use bellwether_store::{Batch, SharedStore};
use serde::{Deserialize, Serialize};

use crate::{AccessError, AuditEntry, AuditFilter, AuditScope, AuthFailure, Authentication, Caller, HostKey, Principal, RawRequest, Role, Sealed};

/// An organisation: everything of one never meets anything of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// Its id.
    pub id: OrganisationId,
    /// 1 to 64 characters of `a-z0-9-`, unique on the host.
    pub name: String,
    /// An IANA time zone: new metrics get it.
    pub time_zone: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its public half; also the access id of signed requests.
    pub id: KeyId,
    /// Its organisation; absent for a key of the operator.
    pub organisation: Option<OrganisationId>,
    /// What it is for, 1 to 100 characters.
    pub name: String,
    /// What it may do; absent for a key of the operator.
    pub role: Option<Role>,
    /// Whether it can sign requests.
    pub signing: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops to work.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it stops to work.
    pub expires: Option<Timestamp>,
    /// Whether it can sign requests; then its signing secret is kept, sealed.
    pub signing: bool,
}

/// What a signing client is configured with.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningPair {
    /// The key's id.
    pub access_id: String,
    /// The secret.
    pub secret: String,
}

/// A new key with what is shown once.
pub struct CreatedKey {
    /// The key.
    pub key: KeyRecord,
    /// The token: `bw_<key id>_<secret>`.
    pub token: String,
    /// For a key that can sign.
    pub signing: Option<SigningPair>,
}

/// Organisations, keys, the audit log and sealed secrets of one store.
pub struct Access {
    _store: SharedStore,
    _clock: Arc<dyn Clock>,
    _randomness: Arc<dyn Randomness>,
    _host_key: HostKey,
}

#[expect(unused_variables)]
impl Access {
    /// Opens access on `store` and reads its keys into memory.
    pub async fn open(store: SharedStore, clock: Arc<dyn Clock>, randomness: Arc<dyn Randomness>, host_key: HostKey) -> Result<Self, AccessError> {
        Ok(Self { _store: store, _clock: clock, _randomness: randomness, _host_key: host_key })
    }

    /// Makes an organisation. `actor` is the key it is done with, or `host`.
    pub async fn create_organisation(&self, actor: &str, name: &str, time_zone: &str) -> Result<Organisation, AccessError> {
        todo!()
    }

    /// One organisation.
    pub fn organisation(&self, id: OrganisationId) -> Result<Organisation, AccessError> {
        todo!()
    }

    /// Every organisation, ordered by id.
    pub fn organisations(&self, page: &PageRequest) -> Result<Page<Organisation>, AccessError> {
        todo!()
    }

    /// Changes the time zone new metrics get; those there keep theirs.
    pub async fn set_time_zone(&self, actor: &str, id: OrganisationId, time_zone: &str) -> Result<Organisation, AccessError> {
        todo!()
    }

    /// Makes a key of an organisation.
    pub async fn create_key(&self, actor: &str, organisation: OrganisationId, key: NewKey) -> Result<CreatedKey, AccessError> {
        todo!()
    }

    /// Makes a key of the operator.
    pub async fn create_operator_key(&self, actor: &str, name: &str, expires: Option<Timestamp>) -> Result<CreatedKey, AccessError> {
        todo!()
    }

    /// Whether there is any key of the operator: false on a new store alone.
    pub fn has_operator(&self) -> bool {
        todo!()
    }

    /// The keys of an organisation, or the operator's (`None`), newest first.
    pub fn keys(&self, organisation: Option<OrganisationId>, page: &PageRequest) -> Result<Page<KeyRecord>, AccessError> {
        todo!()
    }

    /// One key of an organisation, or of the operator (`None`).
    pub fn key(&self, organisation: Option<OrganisationId>, id: &KeyId) -> Result<KeyRecord, AccessError> {
        todo!()
    }

    /// Makes a key stop working at once. The last working admin key of an organisation, or the last of the operator,
    /// is refused.
    pub async fn revoke_key(&self, actor: &str, organisation: Option<OrganisationId>, id: &KeyId) -> Result<KeyRecord, AccessError> {
        todo!()
    }

    /// Who a token belongs to. Takes the same time whatever is wrong with the secret.
    pub fn authenticate_token(&self, token: &str) -> Result<Caller, AuthFailure> {
        todo!()
    }

    /// Who sent a request: the first of `schemes` whose place is filled decides.
    pub fn authenticate(&self, schemes: &[Authentication], request: &RawRequest<'_>) -> Result<Arc<Principal>, AuthFailure> {
        todo!()
    }

    /// The principal of a key that still works: for what runs without a caller.
    pub fn principal(&self, key: &KeyId) -> Result<Arc<Principal>, AuthFailure> {
        todo!()
    }

    /// Seals a secret. `purpose` is bound to it: it opens only with the same.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Sealed {
        todo!()
    }

    /// Opens a sealed secret.
    pub fn unseal(&self, purpose: &str, sealed: &Sealed) -> Result<Vec<u8>, AccessError> {
        todo!()
    }

    /// Adds an audit entry, stamped now, to `batch`, so that it is there exactly if what it tells of is.
    pub fn audit(&self, batch: &mut Batch, scope: AuditScope, actor: &str, action: &str, target: &str, details: &[(&str, String)]) {
        todo!()
    }

    /// The audit log, newest first.
    pub async fn audit_log(&self, scope: AuditScope, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>, AccessError> {
        todo!()
    }

    /// Writes the last uses that are still in memory; called every minute and at the end.
    pub async fn flush_last_uses(&self) -> Result<(), AccessError> {
        todo!()
    }
}
