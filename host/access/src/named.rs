//! Named secrets of an organisation: what playbooks refer to instead of holding it.
//!
//! A secret goes in, is sealed with the host key under its organisation and name, and comes out again only for what
//! the host itself does with it; no list, audit entry, error or `Debug` output holds its value.

use std::fmt;

use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Batch, Key, MergeError, Precondition, StoreError, Versioned, Walk, decode, encode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::seal::Context;
use crate::service::Inner;
use crate::{Access, AccessError, AuditScope, Destination, Principal, Role, Sealed, rows};

/// Secrets of one organisation.
pub const MAX_SECRETS: u64 = 1_000;

/// Bytes of a secret's value: five times a long private key in text. With its hosts it fits one row.
pub const MAX_SECRET: usize = 16 * 1024;

/// Characters of a secret's name.
const MAX_NAME: usize = 100;
/// Hosts one secret is bound to.
const MAX_HOSTS: usize = 20;
/// Characters of one of them: the longest name the DNS has, a scheme and a port.
const MAX_HOST: usize = 270;

/// How often a change is tried when another changes the same secret meanwhile.
const TRIES: usize = 16;

/// What [`one_more`] refuses with.
const TOO_MANY: &str = "an organisation has all the secrets it may";

/// A secret's value. Wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The value itself: only for where it is used, never for what is kept or shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Shows nothing of the value, not even how long it is.
impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// A secret, ready for use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its value.
    pub value: SecretText,
    /// Where the host may send it, as grants name hosts (`https://api.example.com`); empty means nowhere.
    pub hosts: Vec<String>,
}

/// What is told of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretRecord {
    /// 1 to 100 characters of `a-z0-9_-`, unique in the organisation.
    pub name: String,
    /// Where the host may send it.
    pub hosts: Vec<String>,
    /// When it was first put.
    pub created: Timestamp,
    /// When its value or its hosts were last put.
    pub updated: Timestamp,
}

/// A secret as it is stored; organisation and name are in its key and bound to the seal.
#[derive(Debug, Serialize, Deserialize)]
struct StoredSecret {
    sealed: Sealed,
    hosts: Vec<String>,
    created: Timestamp,
    updated: Timestamp,
}

impl Versioned for StoredSecret {
    const NAME: &'static str = "secret";
}

/// How many secrets an organisation has.
#[derive(Serialize, Deserialize)]
struct StoredCount(u64);

impl Versioned for StoredCount {
    const NAME: &'static str = "count of secrets";
}

fn held(existing: Option<&[u8]>) -> Result<u64, MergeError> {
    let read = |bytes| decode::<StoredCount>(bytes).map_err(|error| MergeError(error.to_string()));
    Ok(existing.map(read).transpose()?.map_or(0, |count| count.0))
}

fn one_more(existing: Option<&[u8]>, _: &[u8]) -> Result<Vec<u8>, MergeError> {
    match held(existing)? {
        count if count < MAX_SECRETS => Ok(encode(&StoredCount(count + 1)).into()),
        _ => Err(MergeError(TOO_MANY.to_owned())),
    }
}

fn one_less(existing: Option<&[u8]>, _: &[u8]) -> Result<Vec<u8>, MergeError> {
    Ok(encode(&StoredCount(held(existing)?.saturating_sub(1))).into())
}

impl Access {
    /// Makes a secret of the principal's organisation, or gives one that is there another value, and other hosts where
    /// some are given, none at all perhaps. Whether it is new.
    ///
    /// # Errors
    /// [`AccessError::Forbidden`] unless the role is admin; [`AccessError::Invalid`] for a name that is not 1 to 100
    /// characters of `a-z0-9_-`, a value that is empty or over [`MAX_SECRET`] bytes, more than 20 hosts or a host that
    /// can be none; [`AccessError::Limit`] beyond [`MAX_SECRETS`]; the store's. None repeats the value.
    pub async fn put_secret(
        &self,
        principal: &Principal,
        name: &str,
        value: &str,
        hosts: impl Into<Option<Vec<String>>>,
    ) -> Result<bool, AccessError> {
        admin(principal, "put secrets")?;
        check_name(name)?;
        check_value(value)?;
        let given: Option<Vec<String>> = hosts.into();
        check_hosts(given.as_deref().unwrap_or_default())?;
        let (inner, organisation) = (&self.inner, principal.organisation);
        let row = rows::secret(organisation, name);
        let mut tries = 1..TRIES;
        loop {
            let before = inner.store.get(&row).await?;
            let now = inner.clock.now();
            let (created, bound) = match &before {
                Some(before) => match inner.store.unread().decode::<StoredSecret>(&row, before) {
                    Some(before) => (before.created, before.hosts),
                    None if given.is_some() => (now, Vec::new()),
                    // It would be bound to none of them any more.
                    None => {
                        let expected = "the hosts it may be sent to: which those were does not read any more";
                        return Err(FieldError::new("hosts", "", expected).into());
                    }
                },
                None => (now, Vec::new()),
            };
            let hosts = given.clone().unwrap_or(bound);
            let context = Context::Secret(organisation, name);
            let sealed = inner.host_key.seal(context, value.as_bytes(), &*inner.randomness);
            let details = [("hosts", hosts.join(", "))];
            let stored = StoredSecret { sealed, hosts, created, updated: now };
            let new = before.is_none();
            let mut batch = Batch::new();
            if new {
                batch.merge(rows::secret_count(organisation), "", one_more);
            }
            batch
                .require(row.clone(), before.map_or(Precondition::Absent, Precondition::ValueIs))
                .put(row.clone(), encode(&stored));
            let action = if new { "secret.create" } else { "secret.update" };
            let scope = AuditScope::Organisation(organisation);
            inner.audit(&mut batch, scope, principal.key.as_str(), action, name, &details);
            match inner.store.commit(batch).await {
                Ok(_) => return Ok(new),
                Err(StoreError::Merge(MergeError(error))) if error == TOO_MANY => {
                    return Err(AccessError::Limit {
                        what: "secrets of an organisation",
                        limit: MAX_SECRETS,
                    });
                }
                Err(StoreError::Merge(_)) if tries.next().is_some() => {
                    inner.recount_secrets(organisation).await?;
                }
                Err(StoreError::Conflict(_)) if tries.next().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// One secret, for what the host does with it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it does not open; the store's.
    pub async fn secret(
        &self,
        organisation: OrganisationId,
        name: &str,
    ) -> Result<Option<Secret>, AccessError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let Some(row) = self.inner.store.get(&rows::secret(organisation, name)).await? else {
            return Ok(None);
        };
        let StoredSecret { sealed, hosts, .. } = decode(&row)?;
        // The host key was proven when the store was opened.
        let damaged = || StoreError::Damaged(format!("the secret {name:?} does not open: put it again"));
        let context = Context::Secret(organisation, name);
        let mut value = self.inner.host_key.unseal(context, &sealed).map_err(|_| damaged())?;
        // The seal tells that these are the bytes of a text that was put.
        let value = String::from_utf8(std::mem::take(&mut *value)).map_err(|_| damaged())?;
        Ok(Some(Secret { value: SecretText(Zeroizing::new(value)), hosts }))
    }

    /// The secrets of an organisation, ordered by name, without their values.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for a cursor of another list; the store's.
    pub async fn secrets(
        &self,
        organisation: OrganisationId,
        page: &PageRequest,
    ) -> Result<Page<SecretRecord>, AccessError> {
        let mut range = rows::secrets(organisation).prefix();
        if let Some(cursor) = &page.cursor {
            let after = std::str::from_utf8(&cursor.0).ok().filter(|name| check_name(name).is_ok());
            let after = after.ok_or_else(|| FieldError::wrong_cursor(cursor))?;
            range.start = rows::secret(organisation, after).successor();
        }
        let limit = page.limit.clamp(1, MAX_SECRETS as usize);
        let mut found = Walk::forward(&*self.inner.store, range).at_once(limit + 1);
        let mut items = Vec::new();
        let read = |key: &Key, row: &[u8]| Ok((rows::name_of_secret(key)?, decode(row)?));
        while items.len() <= limit
            && let Some((.., (name, stored))) = found.next_read(read).await?
        {
            let StoredSecret { hosts, created, updated, .. } = stored;
            items.push(SecretRecord { name, hosts, created, updated });
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| Cursor(last.name.clone().into_bytes()));
        Ok(Page { items, next })
    }

    /// Forgets a secret.
    ///
    /// # Errors
    /// [`AccessError::Forbidden`] unless the role is admin; [`AccessError::Unknown`]; the store's.
    pub async fn delete_secret(&self, principal: &Principal, name: &str) -> Result<(), AccessError> {
        admin(principal, "delete secrets")?;
        let (inner, organisation) = (&self.inner, principal.organisation);
        let unknown = || AccessError::Unknown { what: "secret", name: name.to_owned() };
        check_name(name).map_err(|_| unknown())?;
        let row = rows::secret(organisation, name);
        let mut tries = 1..TRIES;
        loop {
            let before = inner.store.get(&row).await?.ok_or_else(unknown)?;
            let mut batch = Batch::new();
            batch
                .merge(rows::secret_count(organisation), "", one_less)
                .require(row.clone(), Precondition::ValueIs(before))
                .delete(row.clone());
            let scope = AuditScope::Organisation(organisation);
            inner.audit(&mut batch, scope, principal.key.as_str(), "secret.delete", name, &[]);
            batch.frees();
            match inner.store.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Merge(_)) if tries.next().is_some() => {
                    inner.recount_secrets(organisation).await?;
                }
                Err(StoreError::Conflict(_)) if tries.next().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Inner {
    /// Counts the secrets of an organisation anew if their count does not read: with it none could be put or deleted.
    async fn recount_secrets(&self, organisation: OrganisationId) -> Result<(), StoreError> {
        let key = rows::secret_count(organisation);
        let Some(held) = self.store.get(&key).await? else { return Ok(()) };
        if self.store.unread().decode::<StoredCount>(&key, &held).is_some() {
            return Ok(());
        }
        let secrets = Walk::forward(&*self.store, rows::secrets(organisation).prefix());
        let count = secrets.count().await? as u64;
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(held)).put(key, encode(&StoredCount(count)));
        batch.frees();
        match self.store.commit(batch).await {
            // Somebody else did.
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn admin(principal: &Principal, action: &'static str) -> Result<(), AccessError> {
    if principal.role == Role::Admin {
        return Ok(());
    }
    Err(AccessError::Forbidden { action, role: principal.role.as_str(), needed: Role::Admin.as_str() })
}

fn check_name(name: &str) -> Result<(), FieldError> {
    let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    Err(FieldError::new("name", name, format!("1 to {MAX_NAME} characters of a-z, 0-9, _ and -")))
}

/// Says how long a wrong value is, and nothing else of it.
fn check_value(value: &str) -> Result<(), FieldError> {
    if (1..=MAX_SECRET).contains(&value.len()) {
        return Ok(());
    }
    let found = format!("({} bytes, not shown)", value.len());
    Err(FieldError::new("value", found, format!("a text of 1 to {MAX_SECRET} bytes")))
}

fn check_hosts(hosts: &[String]) -> Result<(), FieldError> {
    if hosts.len() > MAX_HOSTS {
        return Err(FieldError::new(
            "hosts",
            format!("{} hosts", hosts.len()),
            format!("at most {MAX_HOSTS}"),
        ));
    }
    for (number, host) in hosts.iter().enumerate() {
        if host.len() > MAX_HOST || host.parse::<Destination>().is_err() {
            let expected = "a host as grants name it, such as https://api.example.com";
            return Err(FieldError::new(format!("hosts[{number}]"), host, expected));
        }
    }
    Ok(())
}
