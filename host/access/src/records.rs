//! What is told of organisations and keys.

use std::fmt;

use bellwether_kernel::{KeyId, OrganisationId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Role;

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
    /// Since when it is suspended, if it is: its keys are refused, and nothing is begun for it.
    pub suspended: Option<Timestamp>,
    /// Since when it is being deleted, if it is: it stays suspended until nothing is left of it.
    pub deleting: Option<Timestamp>,
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

/// Shows the access id alone.
impl fmt::Debug for SigningPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningPair").field("access_id", &self.access_id).finish_non_exhaustive()
    }
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

/// Shows the key without its token.
impl fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedKey")
            .field("key", &self.key)
            .field("signing", &self.signing)
            .finish_non_exhaustive()
    }
}
