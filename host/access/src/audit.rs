//! What was done to keys, grants, installs and settings, and data that was deleted: by whom, when.

use std::sync::atomic::Ordering;

use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Batch, Direction, Key, Space, StoreError, encode};
use serde::{Deserialize, Serialize};

use crate::service::Inner;
use crate::{Access, AccessError, rows};

/// Bytes of an audit key behind its scope: time and number.
const PLACE: usize = 16;
/// Entries read from the store at a time.
const PAGE: usize = 500;
/// Entries looked at for one page of a filtered list.
const LOOKED_AT: usize = 10_000;
/// Characters kept of one text of an entry.
const TEXT: usize = 1_000;
/// Details kept of one entry. With [`TEXT`] and four bytes to a character, an entry stays under
/// [`bellwether_store::MAX_VALUE`] unless its details are all long, and then [`DETAILS_BYTES`] cuts them.
const DETAILS: usize = 32;
/// Bytes kept of all details of one entry.
const DETAILS_BYTES: usize = 16 * 1024;

/// Whose log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// The host's: organisations, plugins for all.
    Host,
    /// One organisation's.
    Organisation(OrganisationId),
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub time: Timestamp,
    /// The id of the key it was done with, or `host` for what the host did by itself.
    pub actor: String,
    /// What, as `thing.verb`: `key.create`, `plugin.install`.
    pub action: String,
    /// To what: a name or an id.
    pub target: String,
    /// What else matters, as text; never a secret.
    pub details: Vec<(String, String)>,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only this action, or this thing (`key` finds `key.create` too).
    pub action: Option<String>,
    /// Only what this key did.
    pub actor: Option<String>,
    /// Only what was done then or later.
    pub since: Option<Timestamp>,
    /// Only what was done before.
    pub until: Option<Timestamp>,
}

impl AuditFilter {
    fn wants(&self, entry: &AuditEntry) -> bool {
        let of_action = |wanted: &String| {
            entry
                .action
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.action.as_ref().is_none_or(of_action)
            && self.actor.as_ref().is_none_or(|actor| *actor == entry.actor)
    }
}

impl Access {
    /// Adds an audit entry, stamped now, to `batch`, so that it is there exactly if what it tells of is. Texts over
    /// 1000 characters are cut, and so are details beyond 32 or 16 KiB: a log must not stop what it tells of.
    pub fn audit(
        &self,
        batch: &mut Batch,
        scope: AuditScope,
        actor: &str,
        action: &str,
        target: &str,
        details: &[(&str, String)],
    ) {
        self.inner.audit(batch, scope, actor, action, target, details);
    }

    /// The audit log, newest first. A page may hold fewer entries than asked for, even none, and still lead to a
    /// next one: one call looks at no more than 10 000 entries for those the filter wants.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] for a cursor of another list; the store's.
    pub async fn audit_log(
        &self,
        scope: AuditScope,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEntry>, AccessError> {
        let log = || rows::audit(scope);
        let mut range = log().prefix();
        if let Some(since) = filter.since {
            range.start = log().signed(since.as_milliseconds());
        }
        if let Some(until) = filter.until {
            range.end = log().signed(until.as_milliseconds());
        }
        if let Some(cursor) = &page.cursor {
            if cursor.0.len() != PLACE {
                return Err(FieldError::wrong_cursor(cursor).into());
            }
            range.end = log().fixed(&cursor.0);
        }
        let limit = page.limit.max(1);
        // Without a filter one scan does, and its last row only tells that there is more.
        let at_once =
            if filter.action.is_none() && filter.actor.is_none() { limit.saturating_add(1) } else { PAGE };
        let at_once = at_once.min(PAGE);
        let mut items = Vec::new();
        let mut looked_at = 0;
        loop {
            let rows = self.inner.store.scan(range.clone(), Direction::Backward, at_once).await?;
            let ended = rows.len() < at_once;
            for (key, value) in rows {
                if items.len() == limit || looked_at == LOOKED_AT {
                    // `range.end` is the last entry that was looked at: the next page ends below it.
                    return Ok(Page { items, next: Some(place(&range.end)?) });
                }
                let entry: Option<AuditEntry> = self.inner.store.unread().decode(&key, &value);
                items.extend(entry.filter(|entry| filter.wants(entry)));
                looked_at += 1;
                range.end = key;
            }
            if ended {
                return Ok(Page { items, next: None });
            }
        }
    }

    /// Forgets every entry older than `before`, of all logs, and returns how many there were. Deletes in small
    /// batches, so that writes go on in between.
    ///
    /// # Errors
    /// The store's; what was deleted by then stays so.
    pub async fn trim_audit(&self, before: Timestamp) -> Result<u64, AccessError> {
        let store = &self.inner.store;
        let everything = Key::new(Space::Audit).prefix();
        let mut from = everything.start;
        let mut deleted = 0;
        // From log to log: the first key at or after `from` names the next log that has entries.
        while let Some((first, _)) =
            store.scan(from..everything.end.clone(), Direction::Forward, 1).await?.pop()
        {
            let Some(scope) = first.fields().number() else {
                store.unread().tell(&first, "it is not a key of the audit log");
                from = first.successor();
                continue;
            };
            let log = Key::new(Space::Audit).number(scope);
            loop {
                let old = log.clone()..log.clone().signed(before.as_milliseconds());
                let rows = store.scan(old, Direction::Forward, PAGE).await?;
                let count = rows.len();
                let mut batch = Batch::new();
                for (key, _) in rows {
                    batch.delete(key);
                }
                if !batch.is_empty() {
                    store.commit(batch).await?;
                }
                deleted += count as u64;
                if count < PAGE {
                    break;
                }
            }
            from = log.prefix().end;
        }
        Ok(deleted)
    }
}

impl Inner {
    pub(crate) fn audit(
        &self,
        batch: &mut Batch,
        scope: AuditScope,
        actor: &str,
        action: &str,
        target: &str,
        details: &[(&str, String)],
    ) {
        let time = self.clock.now();
        let mut left = DETAILS_BYTES;
        let mut kept = Vec::new();
        for (name, value) in details.iter().take(DETAILS) {
            let (name, value) = (shortened(name), shortened(value));
            let Some(rest) = left.checked_sub(name.len() + value.len()) else { break };
            left = rest;
            kept.push((name, value));
        }
        if kept.len() < details.len() {
            kept.push(("…".into(), format!("{} more", details.len() - kept.len())));
        }
        let (actor, action, target) = (shortened(actor), shortened(action), shortened(target));
        let entry = AuditEntry { time, actor, action, target, details: kept };
        // The number counts entries within one millisecond; its lower half keeps hosts apart that share a store.
        let mut chance = [0; 4];
        self.randomness.fill(&mut chance);
        let count = self.audit_number.fetch_add(1, Ordering::Relaxed);
        let number = u64::from(count) << 32 | u64::from(u32::from_be_bytes(chance));
        let row = |scope| rows::audit(scope).signed(time.as_milliseconds()).number(number);
        batch.put(row(scope), encode(&entry));
        // What the operator does in an organisation stands in both logs: the organisation's may be its admin's to read, and
        // the operator's is asked who did what on this host.
        if let AuditScope::Organisation(id) = scope
            && self.is_operator(&entry.actor)
        {
            let mut entry = entry;
            entry.details.insert(0, ("organisation".into(), id.to_string()));
            batch.put(row(AuditScope::Host), encode(&entry));
        }
    }

    fn is_operator(&self, actor: &str) -> bool {
        actor.parse().is_ok_and(|id| self.key(None, &id).is_ok())
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// Where an entry is in its log, as a cursor.
fn place(key: &Key) -> Result<Cursor, StoreError> {
    let mut fields = key.fields();
    fields
        .number()
        .and_then(|_| fields.fixed(PLACE))
        .map(|place| Cursor(place.to_vec()))
        .ok_or_else(|| damaged(key))
}

fn damaged(key: &Key) -> StoreError {
    StoreError::Damaged(format!("{key:?} is not a key of the audit log"))
}
