//! The one door to access: opens it on a store, reads what is in memory, authenticates.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use bellwether_kernel::{Clock, KeyId, OrganisationId, Page, PageRequest, Randomness};
use bellwether_store::{
    Batch, Key, Precondition, SharedStore, Space, Store, StoreError, Walk, decode, encode,
};
use hmac::{Hmac, KeyInit};
use parking_lot::RwLock;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::directory::{Directory, Entry};
use crate::rows::{self, StoredCheck, StoredKey, StoredMinute};
use crate::seal::Context;
use crate::token::{KEY_ID, KeyIdBytes, key_id_bytes};
use crate::verify::{self, Credential};
use crate::{
    AccessError, AuthFailure, Authentication, Caller, HostKey, Idempotency, KeyRecord, Organisation,
    Principal, RawRequest, Sealed, Signature, token,
};

/// What the check value says once it is open.
const CHECK: &[u8] = b"bellwether";

/// Organisations, keys, the audit log and sealed secrets of one store.
///
/// Every organisation and key is held in memory, so that authenticating reads no store; a change is applied there
/// once its commit is durable. Methods that change something finish even if their future is dropped: a revoked key
/// does not go on working because the caller hung up.
pub struct Access {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: SharedStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) host_key: HostKey,
    pub(crate) directory: RwLock<Directory>,
    /// Held from reading what a change builds on until the change is in memory.
    pub(crate) changes: tokio::sync::Mutex<()>,
    pub(crate) audit_number: AtomicU32,
    /// Whether nothing is begun for any organisation.
    pub(crate) passive: AtomicBool,
    /// Told when an organisation was suspended or resumed, or is gone.
    pub(crate) suspensions: watch::Sender<()>,
    /// What a request signed with nobody's key is checked against, for the time it takes.
    nobody: Hmac<Sha256>,
}

impl Access {
    /// Opens access on `store` and reads its keys into memory.
    ///
    /// # Errors
    /// [`AccessError::WrongHostKey`] if the store was first opened with another host key; the store's own.
    pub async fn open(
        store: SharedStore,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
        host_key: HostKey,
    ) -> Result<Self, AccessError> {
        check_host_key(&*store, &host_key, &*randomness).await?;
        let directory = load(&*store, &host_key).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                clock,
                randomness,
                host_key,
                directory: RwLock::new(directory),
                changes: tokio::sync::Mutex::new(()),
                audit_number: AtomicU32::new(0),
                passive: AtomicBool::new(false),
                suspensions: watch::Sender::new(()),
                nobody: keyed(&[0; 32]),
            }),
        })
    }

    /// One organisation.
    ///
    /// # Errors
    /// [`AccessError::Unknown`].
    pub fn organisation(&self, id: OrganisationId) -> Result<Organisation, AccessError> {
        self.inner.organisation(id)
    }

    /// One organisation, by its name.
    ///
    /// # Errors
    /// [`AccessError::Unknown`].
    pub fn organisation_named(&self, name: &str) -> Result<Organisation, AccessError> {
        let directory = self.inner.directory.read();
        let unknown = || AccessError::Unknown { what: "organisation", name: name.to_owned() };
        directory.organisation_named(name).cloned().ok_or_else(unknown)
    }

    /// Every organisation, ordered by id.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for a cursor of another list.
    pub fn organisations(&self, page: &PageRequest) -> Result<Page<Organisation>, AccessError> {
        Ok(self.inner.directory.read().organisation_page(page)?)
    }

    /// Whether there is any key of the operator, or one of which nobody knows whose it was: false on a new store alone.
    #[must_use]
    pub fn has_operator(&self) -> bool {
        let directory = self.inner.directory.read();
        directory.keys_of(0).next().is_some() || directory.misses_keys()
    }

    /// The keys of an organisation, or the operator's (`None`), newest first.
    ///
    /// # Errors
    /// [`AccessError::Unknown`] for an organisation that is not there, [`AccessError::Invalid`] for a cursor of
    /// another list.
    pub fn keys(
        &self,
        organisation: Option<OrganisationId>,
        page: &PageRequest,
    ) -> Result<Page<KeyRecord>, AccessError> {
        if let Some(id) = organisation {
            self.inner.organisation(id)?;
        }
        Ok(self.inner.directory.read().key_page(organisation.map_or(0, |id| id.0), page)?)
    }

    /// One key of an organisation, or of the operator (`None`).
    ///
    /// # Errors
    /// [`AccessError::Unknown`], also for a key of somebody else.
    pub fn key(&self, organisation: Option<OrganisationId>, id: &KeyId) -> Result<KeyRecord, AccessError> {
        self.inner.key(organisation, id).map(|entry| entry.record())
    }

    /// Who a token belongs to. Takes the same time whatever is wrong with the secret.
    ///
    /// # Errors
    /// [`AuthFailure::Malformed`] for what is no token, [`AuthFailure::Unknown`] for an id nobody has as for a wrong
    /// secret, [`AuthFailure::Expired`] and [`AuthFailure::Suspended`] only if the secret is right.
    pub fn authenticate_token(&self, token: &str) -> Result<Caller, AuthFailure> {
        self.inner.token(token.as_bytes())
    }

    /// Who sent a request: the first of `alternatives` whose every place is filled decides. All its credentials must hold
    /// and be of one organisation; the caller is the key of the first.
    ///
    /// A place is filled if there is at least one character in it, for `Authorization` behind the declared word.
    /// Header names and the word are compared without regard to case; name and value of a query parameter are
    /// percent-decoded. A key of the operator is nobody here: what a dialect serves belongs to an organisation.
    ///
    /// # Errors
    /// The first that applies:
    /// 1. [`AuthFailure::Missing`]: no alternative's places are filled.
    /// 2. [`AuthFailure::Malformed`]: the place is there twice, or what it holds does not read; for a signed request
    ///    also the header with its time.
    /// 3. Of a signed request, [`AuthFailure::OutOfTime`]: both times are cut to whole seconds first.
    /// 4. [`AuthFailure::Unknown`]: no key has this id, the key cannot sign, is the operator's, the token's secret is
    ///    wrong, or the keys are of several organisations.
    /// 5. [`AuthFailure::Expired`].
    /// 6. [`AuthFailure::SignatureMismatch`].
    /// 7. [`AuthFailure::Suspended`].
    pub fn authenticate(
        &self,
        alternatives: &[Vec<Authentication>],
        request: &RawRequest<'_>,
    ) -> Result<Arc<Principal>, AuthFailure> {
        let (first, others) = verify::find(alternatives, request)?;
        let caller = self.inner.holder(&first, request)?;
        for other in &others {
            if self.inner.holder(other, request)?.organisation != caller.organisation {
                return Err(AuthFailure::Unknown);
            }
        }
        Ok(caller)
    }

    /// The principal of a key that still works: for what runs without a caller. It is given for a suspended organisation
    /// too, so that what is at work comes to its end; who begins something asks [`Self::is_suspended`].
    ///
    /// # Errors
    /// [`AuthFailure::Unknown`], also for a key of the operator; [`AuthFailure::Expired`].
    pub fn principal(&self, key: &KeyId) -> Result<Arc<Principal>, AuthFailure> {
        let entry = self.inner.directory.read().key(&key_id_bytes(key)).ok_or(AuthFailure::Unknown)?;
        match &entry.holder {
            Caller::Operator(_) => Err(AuthFailure::Unknown),
            Caller::Principal(_) if !entry.stored.works(self.inner.clock.now()) => Err(AuthFailure::Expired),
            Caller::Principal(principal) => Ok(Arc::clone(principal)),
        }
    }

    /// Seals a secret. `purpose` is bound to it: it opens only with the same.
    #[must_use]
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Sealed {
        self.inner.host_key.seal(Context::Purpose(purpose), secret, &*self.inner.randomness)
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// [`AccessError::WrongHostKey`] if it was sealed with another key or for another purpose, or was changed.
    pub fn unseal(&self, purpose: &str, sealed: &Sealed) -> Result<Vec<u8>, AccessError> {
        self.inner
            .host_key
            .unseal(Context::Purpose(purpose), sealed)
            .map(|mut secret| std::mem::take(&mut *secret))
    }

    /// The remembered answers of requests with an `Idempotency-Key`.
    #[must_use]
    pub fn idempotency(&self) -> Idempotency {
        Idempotency::new(Arc::clone(&self.inner))
    }
}

impl Inner {
    pub(crate) fn organisation(&self, id: OrganisationId) -> Result<Organisation, AccessError> {
        let directory = self.directory.read();
        let unknown = || AccessError::Unknown { what: "organisation", name: id.to_string() };
        directory.organisation(id).cloned().ok_or_else(unknown)
    }

    pub(crate) fn key(
        &self,
        organisation: Option<OrganisationId>,
        id: &KeyId,
    ) -> Result<Arc<Entry>, AccessError> {
        let entry = self.directory.read().key(&key_id_bytes(id));
        entry
            .filter(|entry| entry.stored.organisation == organisation)
            .ok_or_else(|| AccessError::Unknown { what: "key", name: id.to_string() })
    }

    /// The principal a credential is of.
    fn holder(
        &self,
        credential: &Credential<'_>,
        request: &RawRequest<'_>,
    ) -> Result<Arc<Principal>, AuthFailure> {
        let caller = match credential {
            Credential::Token(token) => self.token(token)?,
            Credential::Signed(scheme, found) => self.signed(scheme, found, request)?,
        };
        match caller {
            Caller::Principal(principal) => Ok(principal),
            Caller::Operator(_) => Err(AuthFailure::Unknown),
        }
    }

    fn token(&self, token: &[u8]) -> Result<Caller, AuthFailure> {
        let malformed = || AuthFailure::Malformed("a token is `bw_<key id>_<secret>`".into());
        let presented = token::read(token).ok_or_else(malformed)?;
        let entry = self.directory.read().key(&presented.id);
        let digest = entry.as_ref().map_or(&[0; 32], |entry| &entry.stored.digest);
        let right = bool::from(presented.digest.ct_eq(digest));
        let entry = entry.filter(|_| right).ok_or(AuthFailure::Unknown)?;
        self.used(&entry)
    }

    fn signed(
        &self,
        scheme: &Signature,
        found: &[u8],
        request: &RawRequest<'_>,
    ) -> Result<Caller, AuthFailure> {
        let claim = verify::claim(scheme, found, request)?;
        let id: Option<&KeyIdBytes> = claim.access_id.try_into().ok();
        let entry = id.and_then(|id| self.directory.read().key(id)).filter(|entry| entry.stored.signing);
        let secret = entry.as_ref().and_then(|entry| entry.signing.as_ref()).unwrap_or(&self.nobody);
        let right = verify::matches(secret.clone(), scheme, &claim, request)?;
        let entry = entry.ok_or(AuthFailure::Unknown)?;
        if !entry.stored.works(self.clock.now()) {
            return Err(AuthFailure::Expired);
        }
        if entry.signing.is_none() || !right {
            return Err(AuthFailure::SignatureMismatch);
        }
        self.used(&entry)
    }

    /// The holder of a key that was shown to be theirs.
    fn used(&self, entry: &Entry) -> Result<Caller, AuthFailure> {
        let now = self.clock.now();
        if !entry.stored.works(now) {
            return Err(AuthFailure::Expired);
        }
        if entry.suspended {
            return Err(AuthFailure::Suspended);
        }
        entry.last_use.note(now);
        Ok(entry.holder.clone())
    }
}

/// HMAC-SHA256, keyed.
pub(crate) fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of any length")
}

/// Tells at once whether the store belongs to this host key, and makes it so if it belongs to none yet.
async fn check_host_key(
    store: &dyn Store,
    host_key: &HostKey,
    randomness: &dyn Randomness,
) -> Result<(), AccessError> {
    let key = rows::host_key_check();
    if store.get(&key).await?.is_none() {
        let sealed = StoredCheck(host_key.seal(Context::Check, CHECK, randomness));
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::Absent).put(key.clone(), encode(&sealed));
        match store.commit(batch).await {
            // Another process was first: whose key it was is seen below.
            Ok(_) | Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let row =
        store.get(&key).await?.ok_or_else(|| StoreError::Damaged("the host key check is gone".into()))?;
    if host_key.opens(&row)? { Ok(()) } else { Err(AccessError::WrongHostKey) }
}

impl HostKey {
    /// The row of a store that tells with which host key it was made.
    #[must_use]
    pub fn check_row() -> Key {
        rows::host_key_check()
    }

    /// Whether a store that has this in [`Self::check_row`] was made with this key.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if that does not read.
    pub fn opens(&self, row: &[u8]) -> Result<bool, StoreError> {
        let StoredCheck(sealed) = decode(row)?;
        Ok(self.unseal(Context::Check, &sealed).is_ok())
    }
}

async fn load(store: &dyn Store, host_key: &HostKey) -> Result<Directory, AccessError> {
    let mut directory = Directory::default();
    let mut rows = Walk::forward(store, Key::new(Space::Organisation).prefix());
    while let Some((_, _, organisation)) = rows.next_of().await? {
        directory.put_organisation(organisation);
    }
    let mut rows = Walk::forward(store, Key::new(Space::OrganisationGone).prefix());
    let read = |key: &Key, _: &[u8]| {
        let id = key.fields().number().map(OrganisationId);
        id.ok_or_else(|| StoreError::Damaged(format!("{key:?} is no organisation's")))
    };
    while let Some((.., id)) = rows.next_read(read).await? {
        directory.remove_organisation(id);
    }
    let mut uses: HashMap<KeyIdBytes, i64> = HashMap::new();
    let mut rows = Walk::forward(store, Key::new(Space::AccessKeyUse).prefix());
    let read = |key: &Key, value: &[u8]| {
        let id: Option<KeyIdBytes> = key.fields().fixed(KEY_ID).and_then(|id| id.try_into().ok());
        let id = id.ok_or_else(|| StoreError::Damaged(format!("{key:?} is not a key's use")))?;
        Ok((id, decode::<StoredMinute>(value)?.0))
    };
    while let Some((_, _, (id, minute))) = rows.next_read(read).await? {
        uses.insert(id, minute);
    }
    let unread = store.unread();
    let mut rows = Walk::forward(store, Key::new(Space::AccessKey).prefix());
    while let Some((row, value)) = rows.next().await? {
        let Some(stored) = unread.decode::<StoredKey>(&row, &value) else {
            directory.miss_key();
            continue;
        };
        let id = stored.id.clone();
        // One whose secret does not open signs nothing; its token is another secret.
        let signing = unread.unless_damaged(&row, open_signing_secret(host_key, &stored))?.flatten();
        let last_use = uses.get(&key_id_bytes(&id)).copied();
        if directory.put_key(stored, signing, last_use).is_none() {
            unread.tell(&row, &format!("the organisation of key {id} is gone or does not read"));
        }
    }
    Ok(directory)
}

/// The signing secret of a key, ready for use. The host key is known to be right by now, so that one that does not
/// open is damage.
fn open_signing_secret(host_key: &HostKey, stored: &StoredKey) -> Result<Option<Hmac<Sha256>>, StoreError> {
    let Some(sealed) = &stored.signing_secret else { return Ok(None) };
    match host_key.unseal(Context::SigningSecret(stored.id.as_str()), sealed) {
        Ok(secret) => Ok(Some(keyed(&secret))),
        Err(_) => Err(StoreError::Damaged(format!("the signing secret of key {} does not open", stored.id))),
    }
}
