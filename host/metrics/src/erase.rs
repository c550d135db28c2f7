//! What an organisation has that is deleted, as far as the keys of rows do not tell it.

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Erase, StoreError};

use crate::Metrics;

/// Its writes in the logs of hosts, and what is known of its metrics in memory.
#[async_trait]
impl Erase for Metrics {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        self.watch(organisation, Vec::new());
        let found = self.erase_logged(organisation).await?;
        self.catalogue.forget(organisation);
        for (row, _) in &self.series {
            if row.organisation() == Some(organisation.0) {
                self.series.invalidate(&*row);
            }
        }
        Ok(found)
    }
}
