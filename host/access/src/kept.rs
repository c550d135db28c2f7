//! How many keys there may be, and how long those are kept that work no more.

use std::sync::Arc;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Batch, StoreError, to_the_end};

use crate::directory::Entry;
use crate::service::Inner;
use crate::token::key_id_bytes;
use crate::{Access, AccessError, rows};

/// Keys of one organisation that work: one for each machine of a large fleet. Each is held in memory, some of them are a
/// kibibyte.
pub const MAX_KEYS: u64 = 10_000;

/// How long a key is kept that was revoked or has expired, in milliseconds: 90 days, in which it is seen in lists whose it
/// was that the audit log names.
pub const KEY_KEPT: i64 = 90 * 24 * 60 * 60 * 1000;

/// Keys forgotten in one commit.
pub(crate) const AT_ONCE: usize = 500;

impl Access {
    /// Forgets keys that were revoked or have expired more than [`KEY_KEPT`] ago, but for the newest of each owner: who had a
    /// key is not to look as if there never was one. Called now and then; nothing but space depends on it.
    ///
    /// Gives how many it was, at most 500 in one call; none while the clock is not [steady](bellwether_kernel::Clock::steady):
    /// by a wrong one keys have expired that are to work again.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget_keys(&self) -> Result<usize, AccessError> {
        let Some(now) = self.inner.clock.steady() else { return Ok(0) };
        let inner = Arc::clone(&self.inner);
        to_the_end(async move { inner.forget_keys(now).await }).await
    }
}

impl Inner {
    pub(crate) async fn forget_keys(&self, now: Timestamp) -> Result<usize, AccessError> {
        let _alone = self.changes.lock().await;
        let before = now.saturating_add(-KEY_KEPT);
        let over: Vec<_> = self.directory.read().over(before).take(AT_ONCE).collect();
        if over.is_empty() {
            return Ok(0);
        }
        self.forget(&over).await?;
        Ok(over.len())
    }

    /// Forgets some keys, and when they were used; the caller lets nobody else change keys meanwhile.
    pub(crate) async fn forget(&self, some: &[Arc<Entry>]) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for entry in some {
            let id = key_id_bytes(&entry.stored.id);
            batch.delete(rows::access_key(&id)).delete(rows::access_key_use(&id));
        }
        self.store.commit(batch).await?;
        let mut directory = self.directory.write();
        some.iter().for_each(|entry| directory.remove_key(entry));
        Ok(())
    }

    /// Refuses another key of an organisation that has all it may.
    pub(crate) fn check_room(&self, organisation: OrganisationId, now: Timestamp) -> Result<(), AccessError> {
        let directory = self.directory.read();
        let working = directory.keys_of(organisation.0).filter(|entry| entry.stored.works(now)).count();
        if (working as u64) < MAX_KEYS {
            return Ok(());
        }
        let what = "working keys of an organisation: revoke those that nobody uses";
        Err(AccessError::Limit { what, limit: MAX_KEYS })
    }
}
