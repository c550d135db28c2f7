//! What an organisation has that is deleted, as far as the keys of rows do not tell it.

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Erase, StoreError};

use super::{Owner, Plugins};

/// Its own plugins with their components, what it set of the host's, and what they logged of its calls. Their state lies under
/// keys that say whose it is.
#[async_trait]
impl Erase for Plugins {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let _change = self.changes.lock().await;
        let owner = Owner::Organisation(organisation);
        let own: Vec<_> =
            self.table().0.get(&owner).into_iter().flatten().map(|(_, own)| own.clone()).collect();
        for plugin in &own {
            self.uninstall(plugin, Batch::new()).await?;
        }
        self.uncleared.lock().retain(|(left, _)| *left != owner);
        self.shared.settings.forget(organisation);
        let table = self.table();
        for (_, served) in table.0.values().flatten().flat_map(|(_, entry)| entry.loaded()) {
            served.loaded.forget(organisation);
        }
        Ok(own.len() as u64)
    }
}
