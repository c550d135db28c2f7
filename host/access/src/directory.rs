//! Every organisation and key in memory: what each request is authenticated against.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, Timestamp};
use hmac::Hmac;
use sha2::Sha256;

use crate::rows::{StoredKey, later};
use crate::token::{KEY_ID, KeyIdBytes, key_id_bytes};
use crate::{Caller, KeyRecord, Operator, Organisation, Principal};

const MINUTE: i64 = 60_000;
const NEVER: i64 = i64::MIN;

/// When a key was last used, in whole minutes since the epoch, shared by every [`Entry`] the key has had.
#[derive(Debug)]
pub(crate) struct LastUse {
    seen: AtomicI64,
    stored: AtomicI64,
}

impl LastUse {
    fn new(stored: Option<i64>) -> Self {
        let minute = stored.unwrap_or(NEVER);
        Self { seen: AtomicI64::new(minute), stored: AtomicI64::new(minute) }
    }

    /// Takes note of a use. Nearly always only a load: the minute is that of the request before.
    pub(crate) fn note(&self, now: Timestamp) {
        let minute = minute_of(now);
        let noted = |seen| later(seen, minute, minute);
        let seen = self.seen.load(Ordering::Relaxed);
        if noted(seen) != seen {
            let _ = self.seen.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| Some(noted(seen)));
        }
    }

    /// The minute that is not stored yet, if there is one.
    pub(crate) fn unsaved(&self) -> Option<i64> {
        let seen = self.seen.load(Ordering::Relaxed);
        (seen != self.stored.load(Ordering::Relaxed)).then_some(seen)
    }

    /// Takes note that `minute` is stored.
    pub(crate) fn saved(&self, minute: i64) {
        self.stored.store(minute, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Timestamp> {
        let minute = self.seen.load(Ordering::Relaxed);
        (minute != NEVER).then(|| Timestamp::from_milliseconds(minute.saturating_mul(MINUTE))).flatten()
    }
}

/// The minute an instant lies in, since the epoch.
pub(crate) fn minute_of(instant: Timestamp) -> i64 {
    instant.as_milliseconds().div_euclid(MINUTE)
}

/// One key, ready to be asked.
pub(crate) struct Entry {
    pub(crate) stored: StoredKey,
    pub(crate) holder: Caller,
    /// Whether its organisation is suspended.
    pub(crate) suspended: bool,
    /// Keyed with the signing secret. Wiped when the last request that uses it ends.
    pub(crate) signing: Option<Hmac<Sha256>>,
    pub(crate) last_use: Arc<LastUse>,
}

impl Entry {
    pub(crate) fn record(&self) -> KeyRecord {
        let stored = &self.stored;
        KeyRecord {
            id: stored.id.clone(),
            organisation: stored.organisation,
            name: stored.name.clone(),
            role: stored.role,
            signing: stored.signing,
            created: stored.created,
            expires: stored.expires,
            revoked: stored.revoked,
            // Uses are noted by the minute.
            last_used: self.last_use.get().map(|used| used.max(stored.created)),
        }
    }
}

/// Organisations and keys.
#[derive(Default)]
pub(crate) struct Directory {
    organisations: BTreeMap<OrganisationId, Organisation>,
    /// Those that were deleted.
    gone: BTreeSet<OrganisationId>,
    keys: HashMap<KeyIdBytes, Arc<Entry>>,
    /// Keys by owner (0 is the operator), newest first.
    order: BTreeSet<(u64, Reverse<Timestamp>, KeyIdBytes)>,
    /// Whether the store has keys that do not read.
    misses_keys: bool,
}

impl Directory {
    /// There is a key that does not read, whosever it is.
    pub(crate) fn miss_key(&mut self) {
        self.misses_keys = true;
    }

    pub(crate) fn misses_keys(&self) -> bool {
        self.misses_keys
    }

    /// Adds or replaces an organisation, and tells its keys' principals.
    pub(crate) fn put_organisation(&mut self, organisation: Organisation) {
        let id = organisation.id;
        self.organisations.insert(id, organisation);
        for (_, _, key) in Self::owned(&self.order, id.0) {
            let entry = self.keys.get(key).expect("every key in order is there");
            let (holder, suspended) =
                holder(&self.organisations, &entry.stored).expect("its organisation was put just now");
            let entry = Entry {
                stored: entry.stored.clone(),
                holder,
                suspended,
                signing: entry.signing.clone(),
                last_use: Arc::clone(&entry.last_use),
            };
            self.keys.insert(*key, Arc::new(entry));
        }
    }

    /// Forgets an organisation that is gone and has no keys, but for its id.
    pub(crate) fn remove_organisation(&mut self, id: OrganisationId) {
        debug_assert!(self.keys_of(id.0).next().is_none(), "keys of {id} are left");
        self.organisations.remove(&id);
        self.gone.insert(id);
    }

    /// Whether nothing is begun for an organisation: it is suspended, or gone.
    pub(crate) fn is_suspended(&self, id: OrganisationId) -> bool {
        match self.organisations.get(&id) {
            Some(organisation) => organisation.suspended.is_some(),
            None => self.gone.contains(&id),
        }
    }

    /// Whether an organisation is being deleted, or gone.
    pub(crate) fn is_deleted(&self, id: OrganisationId) -> bool {
        match self.organisations.get(&id) {
            Some(organisation) => organisation.deleting.is_some(),
            None => self.gone.contains(&id),
        }
    }

    /// The organisations that are being deleted.
    pub(crate) fn deleting(&self) -> impl Iterator<Item = &Organisation> {
        self.organisations.values().filter(|organisation| organisation.deleting.is_some())
    }

    /// Adds or replaces a key. `last_use` is what the store holds, for a key that is not there yet. `None` if its
    /// organisation is not known.
    pub(crate) fn put_key(
        &mut self,
        stored: StoredKey,
        signing: Option<Hmac<Sha256>>,
        last_use: Option<i64>,
    ) -> Option<Arc<Entry>> {
        let (holder, suspended) = holder(&self.organisations, &stored)?;
        let id = key_id_bytes(&stored.id);
        let last_use = match self.keys.get(&id) {
            Some(entry) => Arc::clone(&entry.last_use),
            None => Arc::new(LastUse::new(last_use)),
        };
        self.order.insert((stored.owner(), Reverse(stored.created), id));
        let entry = Arc::new(Entry { stored, holder, suspended, signing, last_use });
        self.keys.insert(id, Arc::clone(&entry));
        Some(entry)
    }

    /// The keys that had ended by `before`, but for the newest of each owner.
    pub(crate) fn over(&self, before: Timestamp) -> impl Iterator<Item = Arc<Entry>> {
        let mut owner = None;
        let older = self.order.iter().filter(move |(of, _, _)| owner.replace(*of) == Some(*of));
        let entries = older.map(|(_, _, id)| self.keys.get(id).expect("every key in order is there"));
        entries.filter(move |entry| entry.stored.ended_by(before)).map(Arc::clone)
    }

    pub(crate) fn remove_key(&mut self, entry: &Entry) {
        let id = key_id_bytes(&entry.stored.id);
        self.keys.remove(&id);
        self.order.remove(&(entry.stored.owner(), Reverse(entry.stored.created), id));
    }

    pub(crate) fn key(&self, id: &KeyIdBytes) -> Option<Arc<Entry>> {
        self.keys.get(id).map(Arc::clone)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.keys.values()
    }

    /// The keys of `owner`, newest first.
    pub(crate) fn keys_of(&self, owner: u64) -> impl Iterator<Item = &Arc<Entry>> {
        Self::owned(&self.order, owner)
            .map(|(_, _, id)| self.keys.get(id).expect("every key in order is there"))
    }

    fn owned(
        order: &BTreeSet<(u64, Reverse<Timestamp>, KeyIdBytes)>,
        owner: u64,
    ) -> impl Iterator<Item = &(u64, Reverse<Timestamp>, KeyIdBytes)> {
        order
            .range((owner, Reverse(Timestamp::MAX), [0; KEY_ID])..)
            .take_while(move |(of, _, _)| *of == owner)
    }

    pub(crate) fn key_page(&self, owner: u64, page: &PageRequest) -> Result<Page<KeyRecord>, FieldError> {
        let begin = match &page.cursor {
            None => Bound::Included((owner, Reverse(Timestamp::MAX), [0; KEY_ID])),
            Some(cursor) => {
                let (created, id) =
                    read_key_cursor(cursor).ok_or_else(|| FieldError::wrong_cursor(cursor))?;
                Bound::Excluded((owner, Reverse(created), id))
            }
        };
        let rows = self.order.range((begin, Bound::Unbounded)).take_while(|(of, _, _)| *of == owner);
        let rows = rows.map(|(_, _, id)| self.keys.get(id).expect("every key in order is there").record());
        Ok(cut(rows, page.limit, |key| {
            let created = key.created.as_milliseconds().to_be_bytes();
            Cursor([created.as_slice(), &key_id_bytes(&key.id)].concat())
        }))
    }

    pub(crate) fn organisation(&self, id: OrganisationId) -> Option<&Organisation> {
        self.organisations.get(&id)
    }

    pub(crate) fn organisation_named(&self, name: &str) -> Option<&Organisation> {
        self.organisations.values().find(|organisation| organisation.name == name)
    }

    pub(crate) fn organisation_page(&self, page: &PageRequest) -> Result<Page<Organisation>, FieldError> {
        let begin = match &page.cursor {
            None => Bound::Unbounded,
            Some(cursor) => {
                let id = cursor.0.as_slice().try_into().map_err(|_| FieldError::wrong_cursor(cursor))?;
                Bound::Excluded(OrganisationId(u64::from_be_bytes(id)))
            }
        };
        let rows =
            self.organisations.range((begin, Bound::Unbounded)).map(|(_, organisation)| organisation.clone());
        Ok(cut(rows, page.limit, |organisation| Cursor(organisation.id.0.to_be_bytes().to_vec())))
    }
}

/// Who holds a key, and whether its organisation is suspended; `None` if that is not known.
fn holder(
    organisations: &BTreeMap<OrganisationId, Organisation>,
    stored: &StoredKey,
) -> Option<(Caller, bool)> {
    let (Some(organisation), Some(role)) = (stored.organisation, stored.role) else {
        let operator = Operator { key: stored.id.clone(), key_name: stored.name.clone() };
        return Some((Caller::Operator(Arc::new(operator)), false));
    };
    let organisation = organisations.get(&organisation)?;
    let principal = Principal {
        organisation: organisation.id,
        organisation_name: organisation.name.clone(),
        time_zone: organisation.time_zone.clone(),
        key: stored.id.clone(),
        key_name: stored.name.clone(),
        role,
    };
    Some((Caller::Principal(Arc::new(principal)), organisation.suspended.is_some()))
}

/// The first `limit` of `rows`, at least one, and a cursor if there are more.
fn cut<T>(mut rows: impl Iterator<Item = T>, limit: usize, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let items: Vec<T> = rows.by_ref().take(limit.max(1)).collect();
    let next = rows.next().and_then(|_| items.last()).map(cursor);
    Page { items, next }
}

fn read_key_cursor(cursor: &Cursor) -> Option<(Timestamp, KeyIdBytes)> {
    let (created, id) = cursor.0.split_first_chunk::<8>()?;
    Some((Timestamp::from_milliseconds(i64::from_be_bytes(*created))?, id.try_into().ok()?))
}
