//! What this crate keeps in the store, and under which keys.

use bellwether_kernel::{KeyId, OrganisationId, Timestamp};
use bellwether_store::{Key, MergeError, Space, StoreError, Versioned, decode, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::token::KeyIdBytes;
use crate::{AuditEntry, AuditScope, Organisation, Role, Sealed};

pub(crate) fn organisation(id: OrganisationId) -> Key {
    Key::new(Space::Organisation).number(id.0)
}

pub(crate) fn organisation_name(name: &str) -> Key {
    Key::new(Space::OrganisationName).text(name)
}

/// That an organisation was deleted and is gone: a [`StoredGone`].
pub(crate) fn organisation_gone(id: OrganisationId) -> Key {
    Key::new(Space::OrganisationGone).number(id.0)
}

pub(crate) fn organisation_counter() -> Key {
    Key::new(Space::Counter).number(Space::Organisation as u64).number(0)
}

pub(crate) fn access_key(id: &KeyIdBytes) -> Key {
    Key::new(Space::AccessKey).fixed(id)
}

pub(crate) fn access_key_use(id: &KeyIdBytes) -> Key {
    Key::new(Space::AccessKeyUse).fixed(id)
}

pub(crate) fn host_key_check() -> Key {
    Key::new(Space::Meta).text("access.host-key-check")
}

/// The audit log of `scope`; entries add time and number.
pub(crate) fn audit(scope: AuditScope) -> Key {
    Key::new(Space::Audit).number(match scope {
        AuditScope::Host => 0,
        AuditScope::Organisation(id) => id.0,
    })
}

/// Everything that is remembered of an organisation's requests, or of the operator's.
pub(crate) fn idempotencies(organisation: Option<OrganisationId>) -> Key {
    Key::new(Space::Idempotency).number(organisation.map_or(0, |id| id.0))
}

pub(crate) fn idempotency(organisation: Option<OrganisationId>, digest: &[u8; 32]) -> Key {
    idempotencies(organisation).fixed(digest)
}

/// What is remembered beside the answer in `row` until then; the rows add what they like.
pub(crate) fn beside(row: &Key, until: Timestamp) -> Key {
    let digest: [u8; 32] = Sha256::digest(row.as_bytes()).into();
    all_beside().signed(until.as_milliseconds()).fixed(&digest[..16])
}

/// Everything that is remembered beside answers, what counts no longer first.
pub(crate) fn all_beside() -> Key {
    Key::new(Space::IdempotencyBeside)
}

/// That the session of this digest was left, which would have ended then.
pub(crate) fn session_left(ends: Timestamp, digest: &[u8; 32]) -> Key {
    sessions_left().signed(ends.as_milliseconds()).fixed(digest)
}

/// Every session that was left, those that would have ended first before the others.
pub(crate) fn sessions_left() -> Key {
    Key::new(Space::SessionLeft)
}

/// Every secret of an organisation, by name.
pub(crate) fn secrets(organisation: OrganisationId) -> Key {
    Key::new(Space::Secret).number(organisation.0)
}

pub(crate) fn secret(organisation: OrganisationId, name: &str) -> Key {
    secrets(organisation).text(name)
}

pub(crate) fn name_of_secret(row: &Key) -> Result<String, StoreError> {
    let mut fields = row.fields();
    let name = fields.number().and_then(|_| fields.text());
    name.ok_or_else(|| StoreError::Damaged(format!("{row:?} is not the key of a secret")))
}

pub(crate) fn secret_count(organisation: OrganisationId) -> Key {
    Key::new(Space::Counter).number(Space::Secret as u64).number(organisation.0)
}

/// A key as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredKey {
    pub(crate) id: KeyId,
    pub(crate) organisation: Option<OrganisationId>,
    pub(crate) name: String,
    pub(crate) role: Option<Role>,
    /// Of the token's secret.
    pub(crate) digest: [u8; 32],
    pub(crate) signing: bool,
    /// Gone once the key is revoked.
    pub(crate) signing_secret: Option<Sealed>,
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) revoked: Option<Timestamp>,
}

impl StoredKey {
    /// Whether it works at `now`: it does not at the very instant it expires.
    pub(crate) fn works(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Whether it had been revoked or had expired by `then`.
    pub(crate) fn ended_by(&self, then: Timestamp) -> bool {
        [self.revoked, self.expires].into_iter().flatten().any(|ended| ended <= then)
    }

    /// Whether it may manage other keys.
    pub(crate) fn in_charge(&self) -> bool {
        self.role.is_none_or(|role| role == Role::Admin)
    }

    /// Whose it is: an organisation, or 0 for the operator.
    pub(crate) fn owner(&self) -> u64 {
        self.organisation.map_or(0, |id| id.0)
    }
}

impl Versioned for StoredKey {
    const NAME: &'static str = "key";
}

// The next two are also what callers see. A change to their serde attributes changes what is stored: give them a
// stored twin then.
impl Versioned for Organisation {
    const NAME: &'static str = "organisation";
    const VERSION: u8 = 3;

    fn upgrade(version: u8, bytes: &[u8]) -> Option<Self> {
        // What came to it later was nothing.
        let none = match version {
            1 => &[0, 0][..],
            2 => &[0],
            _ => return None,
        };
        postcard::from_bytes(&[bytes, none].concat()).ok()
    }
}

impl Versioned for AuditEntry {
    const NAME: &'static str = "audit entry";
}

/// An organisation's id where it is counted or found by name.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredOrganisationId(pub(crate) OrganisationId);

impl Versioned for StoredOrganisationId {
    const NAME: &'static str = "organisation's id";
}

/// When the last of an organisation was erased.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredGone(pub(crate) Timestamp);

impl Versioned for StoredGone {
    const NAME: &'static str = "deleted organisation";
}

/// A time in whole minutes since the epoch.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredMinute(pub(crate) i64);

impl Versioned for StoredMinute {
    const NAME: &'static str = "time of last use";
}

/// When a key was used, and when that was written, both as [`StoredMinute`].
#[derive(Serialize, Deserialize)]
pub(crate) struct WrittenUse {
    pub(crate) minute: i64,
    pub(crate) now: i64,
}

impl Versioned for WrittenUse {
    const NAME: &'static str = "use that is written";
}

/// Minutes of a day.
const DAY: i64 = 24 * 60;

/// The later of two uses, in minutes. One of more than a day after `now` was noted by a clock that was wrong, and gives way.
pub(crate) fn later(held: i64, minute: i64, now: i64) -> i64 {
    if held > now.saturating_add(DAY) { minute } else { held.max(minute) }
}

/// Keeps the [`later`] of two uses, so that hosts that write late take nothing back. What does not read is replaced: all that was
/// in it is an earlier time, and the uses of other keys are in the same commit.
pub(crate) fn later_use(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    let WrittenUse { minute, now } = decode(operand).map_err(|error| MergeError(error.to_string()))?;
    let held = existing.and_then(|held| decode::<StoredMinute>(held).ok());
    let minute = held.map_or(minute, |held| later(held.0, minute, now));
    Ok(encode(&StoredMinute(minute)).into())
}

/// A sealed constant: opens with the host key its store was made with and no other.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredCheck(pub(crate) Sealed);

impl Versioned for StoredCheck {
    const NAME: &'static str = "host key check";
}
