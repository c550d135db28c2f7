//! What an organisation has that is deleted, as far as the keys of rows do not tell it.

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Erase, Space, StoreError, erase, erase_of};

use crate::Playbooks;
use crate::rows::PlaybookRef;

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
        found += erase_of(&*self.store, Space::Webhook, |of: &PlaybookRef| of.organisation == organisation)
            .await?;
        for (version, _) in &self.loaded {
            if version.0 == organisation {
                self.loaded.invalidate(&*version);
            }
        }
        self.unstarted.lock().retain(|(own, _), _| *own != organisation);
        self.trimmed.lock().retain(|(own, _), _| *own != organisation);
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
