//! What changes organisations and keys. Each change is one batch with its audit entry, applied in memory once it is
//! durable.

use std::sync::Arc;

use bellwether_kernel::{FieldError, KeyId, OrganisationId, Timestamp};
use bellwether_store::{Batch, Key, Precondition, Space, StoreError, Walk, decode, encode, to_the_end};

use crate::directory::{Entry, minute_of};
use crate::rows::{self, StoredKey, StoredOrganisationId, WrittenUse, later_use};
use crate::seal::Context;
use crate::service::{Inner, keyed};
use crate::token::{self, key_id_bytes};
use crate::{
    Access, AccessError, AuditScope, CreatedKey, KeyRecord, NewKey, Organisation, Role, SigningPair,
};

/// How often a change is tried when another host changes the same thing meanwhile.
const TRIES: usize = 16;

/// Last uses written in one batch.
const FLUSHED_AT_ONCE: usize = 500;

impl Access {
    /// Makes an organisation. `actor` is the key it is done with, or `host`.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for a name that is not 1 to 64 characters of `a-z0-9-` or an unknown time zone,
    /// [`AccessError::Exists`] if the name is taken, [`AccessError::Refused`] if by one that is being deleted; the store's.
    pub async fn create_organisation(
        &self,
        actor: &str,
        name: &str,
        time_zone: &str,
    ) -> Result<Organisation, AccessError> {
        check_organisation_name(name)?;
        let time_zone = check_time_zone(time_zone)?;
        let (inner, actor, name) = (Arc::clone(&self.inner), actor.to_owned(), name.to_owned());
        to_the_end(async move { inner.create_organisation(&actor, name, time_zone).await }).await
    }

    /// Changes the time zone new metrics get; those there keep theirs.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for a time zone that is not known, [`AccessError::Unknown`], [`AccessError::Refused`] for one that is
    /// being deleted; the store's.
    pub async fn set_time_zone(
        &self,
        actor: &str,
        id: OrganisationId,
        time_zone: &str,
    ) -> Result<Organisation, AccessError> {
        let time_zone = check_time_zone(time_zone)?;
        let (inner, actor) = (Arc::clone(&self.inner), actor.to_owned());
        to_the_end(async move { inner.set_time_zone(&actor, id, time_zone).await }).await
    }

    /// Makes a key of an organisation.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for a name that is not 1 to 100 characters without control characters or an expiry
    /// that is not in the future, [`AccessError::Unknown`] for an organisation that is not there, [`AccessError::Refused`] for one
    /// that is being deleted, [`AccessError::Limit`] for one that has [`crate::MAX_KEYS`] which work; the store's.
    pub async fn create_key(
        &self,
        actor: &str,
        organisation: OrganisationId,
        key: NewKey,
    ) -> Result<CreatedKey, AccessError> {
        self.inner.organisation(organisation)?;
        let NewKey { name, role, expires, signing } = key;
        let wanted = Wanted { organisation: Some((organisation, role)), name, expires, signing };
        self.create(actor, wanted).await
    }

    /// Makes a key of the operator.
    ///
    /// # Errors
    /// As [`Self::create_key`]; the operator has as many keys as it makes.
    pub async fn create_operator_key(
        &self,
        actor: &str,
        name: &str,
        expires: Option<Timestamp>,
    ) -> Result<CreatedKey, AccessError> {
        self.create(actor, Wanted { organisation: None, name: name.to_owned(), expires, signing: false })
            .await
    }

    async fn create(&self, actor: &str, wanted: Wanted) -> Result<CreatedKey, AccessError> {
        let length = wanted.name.chars().count();
        if !(1..=100).contains(&length) || wanted.name.chars().any(char::is_control) {
            let expected = "1 to 100 characters without control characters";
            return Err(FieldError::new("name", &wanted.name, expected).into());
        }
        let now = self.inner.clock.now();
        if let Some(expires) = wanted.expires
            && expires <= now
        {
            return Err(FieldError::new("expires", expires, format!("a time after {now}")).into());
        }
        let (inner, actor) = (Arc::clone(&self.inner), actor.to_owned());
        to_the_end(async move { inner.create_key(&actor, wanted).await }).await
    }

    /// Makes a key stop working at once, and forgets its signing secret. The last working admin key of an
    /// organisation, or the last of the operator, is refused, and so is one that outlasts all others. A key that is
    /// revoked already stays as it is.
    ///
    /// # Errors
    /// [`AccessError::Unknown`], also for a key of somebody else; [`AccessError::Refused`]; the store's.
    pub async fn revoke_key(
        &self,
        actor: &str,
        organisation: Option<OrganisationId>,
        id: &KeyId,
    ) -> Result<KeyRecord, AccessError> {
        let (inner, actor, id) = (Arc::clone(&self.inner), actor.to_owned(), id.clone());
        to_the_end(async move { inner.revoke_key(&actor, organisation, &id).await }).await
    }

    /// Writes the last uses that are still in memory; called every minute and at the end.
    ///
    /// # Errors
    /// The store's; what was not written is written by the next call.
    pub async fn flush_last_uses(&self) -> Result<(), AccessError> {
        // A key that is forgotten meanwhile would leave its use.
        let _alone = self.inner.changes.lock().await;
        let unsaved: Vec<_> = {
            let directory = self.inner.directory.read();
            let with_use = |entry: &Arc<Entry>| Some((Arc::clone(entry), entry.last_use.unsaved()?));
            directory.keys().filter_map(with_use).collect()
        };
        let now = minute_of(self.inner.clock.now());
        for chunk in unsaved.chunks(FLUSHED_AT_ONCE) {
            let mut batch = Batch::new();
            for (entry, minute) in chunk {
                let key = rows::access_key_use(&key_id_bytes(&entry.stored.id));
                batch.merge(key, encode(&WrittenUse { minute: *minute, now }), later_use);
            }
            self.inner.store.commit(batch).await?;
            for (entry, minute) in chunk {
                entry.last_use.saved(*minute);
            }
        }
        Ok(())
    }
}

/// What an organisation becomes, and what the audit log says of that.
pub(crate) struct OrganisationChange {
    pub(crate) organisation: Organisation,
    /// Whose log.
    pub(crate) scope: AuditScope,
    pub(crate) action: &'static str,
    pub(crate) details: Vec<(&'static str, String)>,
}

/// A key to be made; without an organisation, one of the operator.
struct Wanted {
    organisation: Option<(OrganisationId, Role)>,
    name: String,
    expires: Option<Timestamp>,
    signing: bool,
}

impl Inner {
    async fn create_organisation(
        &self,
        actor: &str,
        name: String,
        time_zone: String,
    ) -> Result<Organisation, AccessError> {
        let _alone = self.changes.lock().await;
        let (name_key, counter) = (rows::organisation_name(&name), rows::organisation_counter());
        let mut tries = 1..TRIES;
        loop {
            let held = self.store.get(&counter).await?;
            let last = match &held {
                Some(held) => match self.store.unread().decode::<StoredOrganisationId>(&counter, held) {
                    Some(last) => last.0.0,
                    None => self.last_organisation().await?,
                },
                None => 0,
            };
            let id = OrganisationId(last + 1);
            let created = self.clock.now();
            let organisation = Organisation {
                id,
                name: name.clone(),
                time_zone: time_zone.clone(),
                created,
                suspended: None,
                deleting: None,
            };
            let mut batch = Batch::new();
            batch
                .require(name_key.clone(), Precondition::Absent)
                .require(counter.clone(), held.map_or(Precondition::Absent, Precondition::ValueIs))
                .put(counter.clone(), encode(&StoredOrganisationId(id)))
                .put(name_key.clone(), encode(&StoredOrganisationId(id)))
                .put(rows::organisation(id), encode(&organisation));
            let details = [("id", id.to_string()), ("time_zone", time_zone.clone())];
            self.audit(&mut batch, AuditScope::Host, actor, "organisation.create", &name, &details);
            match self.store.commit(batch).await {
                Ok(_) => {
                    self.directory.write().put_organisation(organisation.clone());
                    return Ok(organisation);
                }
                Err(StoreError::Conflict(key)) if key == name_key => {
                    return Err(self.name_is_taken(name));
                }
                Err(StoreError::Conflict(_)) if tries.next().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The last organisation that was made, as far as rows tell: each leaves one, also when it is deleted.
    async fn last_organisation(&self) -> Result<u64, StoreError> {
        let mut last = 0;
        for space in [Space::Organisation, Space::OrganisationGone] {
            let mut rows = Walk::backward(&*self.store, Key::new(space).prefix());
            let read = |key: &Key, _: &[u8]| {
                let number = key.fields().number();
                number.ok_or_else(|| StoreError::Damaged(format!("{key:?} is no organisation's")))
            };
            last = rows.next_read(read).await?.map_or(last, |(.., number)| last.max(number));
        }
        Ok(last)
    }

    async fn set_time_zone(
        &self,
        actor: &str,
        id: OrganisationId,
        time_zone: String,
    ) -> Result<Organisation, AccessError> {
        let (scope, action) = (AuditScope::Organisation(id), "organisation.set-time-zone");
        let change = |before: &Organisation| {
            before.check_stays()?;
            let details = vec![("from", before.time_zone.clone()), ("to", time_zone.clone())];
            let organisation = Organisation { time_zone: time_zone.clone(), ..before.clone() };
            Ok(Some(OrganisationChange { organisation, scope, action, details }))
        };
        self.change_organisation(actor, id, change).await
    }

    /// Changes an organisation as `change` says, with an entry in the audit log; not at all where it says nothing.
    pub(crate) async fn change_organisation(
        &self,
        actor: &str,
        id: OrganisationId,
        change: impl Fn(&Organisation) -> Result<Option<OrganisationChange>, AccessError>,
    ) -> Result<Organisation, AccessError> {
        let _alone = self.changes.lock().await;
        self.organisation(id)?;
        let key = rows::organisation(id);
        let mut tries = 1..TRIES;
        loop {
            let gone = || StoreError::Damaged(format!("organisation {id} is gone"));
            let row = self.store.get(&key).await?.ok_or_else(gone)?;
            let before: Organisation = decode(&row)?;
            let Some(OrganisationChange { organisation, scope, action, details }) = change(&before)? else {
                return Ok(before);
            };
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(row)).put(key.clone(), encode(&organisation));
            self.audit(&mut batch, scope, actor, action, &before.name, &details);
            let is_stopped = organisation.suspended.is_some() && before.suspended.is_none();
            if is_stopped || organisation.deleting.is_some() {
                // Whoever fills the disk must not work on because it is full, nor keep what is on it.
                batch.frees();
            }
            match self.store.commit(batch).await {
                Ok(_) => {
                    self.directory.write().put_organisation(organisation.clone());
                    return Ok(organisation);
                }
                Err(StoreError::Conflict(_)) if tries.next().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn create_key(&self, actor: &str, wanted: Wanted) -> Result<CreatedKey, AccessError> {
        let _alone = self.changes.lock().await;
        if let Some((organisation, _)) = wanted.organisation {
            self.organisation(organisation)?.check_stays()?;
            self.check_room(organisation, self.clock.now())?;
        }
        let mut tries = 1..TRIES;
        loop {
            let id = KeyId::random(&*self.randomness);
            let (token, digest) = token::create(&id, &*self.randomness);
            let secret = wanted.signing.then(|| token::create_signing_secret(&*self.randomness));
            let context = Context::SigningSecret(id.as_str());
            let sealed = secret
                .as_ref()
                .map(|secret| self.host_key.seal(context, secret.as_bytes(), &*self.randomness));
            let stored = StoredKey {
                id: id.clone(),
                organisation: wanted.organisation.map(|(organisation, _)| organisation),
                name: wanted.name.clone(),
                role: wanted.organisation.map(|(_, role)| role),
                digest,
                signing: wanted.signing,
                signing_secret: sealed,
                created: self.clock.now(),
                expires: wanted.expires,
                revoked: None,
            };
            let row = rows::access_key(&key_id_bytes(&id));
            let mut batch = Batch::new();
            batch.require(row.clone(), Precondition::Absent).put(row, encode(&stored));
            let mut details = vec![("name", stored.name.clone())];
            details.extend(stored.role.map(|role| ("role", role.as_str().to_owned())));
            details.extend(stored.expires.map(|expires| ("expires", expires.to_string())));
            details.push(("signing", stored.signing.to_string()));
            self.audit(&mut batch, scope_of(&stored), actor, "key.create", id.as_str(), &details);
            match self.store.commit(batch).await {
                Ok(_) => {
                    let hmac = secret.as_ref().map(|secret| keyed(secret.as_bytes()));
                    let entry = self.directory.write().put_key(stored, hmac, None);
                    let key = entry.expect("an organisation that was there stays").record();
                    let signing = secret.map(|mut secret| SigningPair {
                        access_id: id.to_string(),
                        secret: std::mem::take(&mut *secret),
                    });
                    return Ok(CreatedKey { key, token, signing });
                }
                // The id is taken: so unlikely that only a repeated seed explains it, and harmless.
                Err(StoreError::Conflict(_)) if tries.next().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn revoke_key(
        &self,
        actor: &str,
        organisation: Option<OrganisationId>,
        id: &KeyId,
    ) -> Result<KeyRecord, AccessError> {
        let _alone = self.changes.lock().await;
        let entry = self.key(organisation, id)?;
        let now = self.clock.now();
        self.check_somebody_stays(&entry, now)?;
        let key = rows::access_key(&key_id_bytes(id));
        let mut tries = 1..TRIES;
        loop {
            let gone = || StoreError::Damaged(format!("key {id} is gone"));
            let row = self.store.get(&key).await?.ok_or_else(gone)?;
            let mut stored: StoredKey = decode(&row)?;
            if stored.revoked.is_none() {
                stored.revoked = Some(now);
                stored.signing_secret = None;
                let mut batch = Batch::new();
                batch.require(key.clone(), Precondition::ValueIs(row)).put(key.clone(), encode(&stored));
                let details = [("name", stored.name.clone())];
                self.audit(&mut batch, scope_of(&stored), actor, "key.revoke", id.as_str(), &details);
                // A key that leaked must not work on because the disk is full.
                batch.frees();
                match self.store.commit(batch).await {
                    Ok(_) => {}
                    Err(StoreError::Conflict(_)) if tries.next().is_some() => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            let entry = self.directory.write().put_key(stored, None, None);
            return Ok(entry.expect("an organisation that was there stays").record());
        }
    }

    /// Refuses to revoke the last key that works and may make others: one that ends sooner does not stand in for it.
    fn check_somebody_stays(&self, entry: &Entry, now: Timestamp) -> Result<(), AccessError> {
        let leads = |entry: &Entry| entry.stored.in_charge() && entry.stored.works(now);
        let end = |entry: &Entry| entry.stored.expires.unwrap_or(Timestamp::MAX);
        let directory = self.directory.read();
        let others = || {
            let keys = directory.keys_of(entry.stored.owner());
            keys.filter(|other| leads(other) && other.stored.id != entry.stored.id)
        };
        if !leads(entry) || others().any(|other| end(other) >= end(entry)) {
            return Ok(());
        }
        let whose = if entry.stored.organisation.is_some() {
            "admin key of its organisation"
        } else {
            "operator key"
        };
        let (name, id) = (&entry.stored.name, &entry.stored.id);
        Err(AccessError::Refused(match others().max_by_key(|other| end(other)) {
            None => format!("{name:?} ({id}) is the last working {whose}: make another one first"),
            Some(other) => {
                let (until, next) = (end(other), &other.stored.name);
                format!(
                    "{name:?} ({id}) is the last {whose} that works beyond {until}, when {next:?} expires: make \
                     one that lasts first"
                )
            }
        }))
    }
}

fn scope_of(stored: &StoredKey) -> AuditScope {
    stored.organisation.map_or(AuditScope::Host, AuditScope::Organisation)
}

/// Whether an organisation may be called so.
///
/// # Errors
/// What is wrong, as the field `name`.
pub fn check_organisation_name(name: &str) -> Result<(), FieldError> {
    let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    Err(FieldError::new("name", name, "1 to 64 characters of a-z, 0-9 and -"))
}

/// The time zone's name as the database spells it.
fn check_time_zone(name: &str) -> Result<String, FieldError> {
    let zone = jiff::tz::TimeZone::get(name).ok();
    zone.as_ref()
        .and_then(|zone| zone.iana_name())
        .map(str::to_owned)
        .ok_or_else(|| FieldError::new("time_zone", name, "an IANA time zone such as Europe/London or UTC"))
}
