//! What an organisation has that is deleted, as far as the keys of rows do not tell it.

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Erase, Space, StoreError, Walk, erase};

use crate::rows::PlaybookRef;
use crate::{Playbooks, rows};

/// Webhooks forgotten in one commit.
const WEBHOOKS: usize = 256;

/// What goes before all else: what starts runs, and what says that some are open, so that none is started or gone on with, nor
/// ended because its playbook is gone.
const FIRST: [Space; 7] = [
    Space::PlaybookWatch,
    Space::PlaybookFollower,
    Space::PlaybookIncident,
    Space::PlaybookDue,
    Space::RunQueue,
    Space::RunWake,
    Space::RunOpen,
];

/// The tokens of its webhooks, what its triggers watch, and what is kept in memory of its playbooks and runs.
#[async_trait]
impl Erase for Playbooks {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let mut found = erase(&*self.store, organisation, &FIRST).await?;
        self.read_triggers(Some(organisation)).await?;
        found += self.erase_webhooks(organisation).await?;
        for (version, _) in &self.loaded {
            if version.0 == organisation {
                self.loaded.invalidate(&*version);
            }
        }
        self.unstarted.lock().retain(|(own, _), _| *own != organisation);
        self.dropped.lock().retain(|(own, _)| *own != organisation);
        self.waiters.lock().retain(|_, waiters| {
            waiters.retain(|(own, _)| *own != organisation);
            !waiters.is_empty()
        });
        self.queued.forget(organisation);
        self.placeless.forget(organisation);
        Ok(found)
    }
}

impl Playbooks {
    /// Forgets the tokens of an organisation's webhooks; how many there were.
    async fn erase_webhooks(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let mut webhooks = Walk::forward(&*self.store, rows::webhooks().prefix());
        let (mut erased, mut batch, mut rows) = (0, Batch::new(), 0);
        while let Some((key, _, of)) = webhooks.next_of::<PlaybookRef>().await? {
            if of.organisation != organisation {
                continue;
            }
            batch.delete(key);
            (erased, rows) = (erased + 1, rows + 1);
            if rows == WEBHOOKS {
                self.store.commit(std::mem::take(&mut batch)).await?;
                rows = 0;
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(erased)
    }
}
