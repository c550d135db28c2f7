//! What an organisation has that is deleted goes whole, and not only once much of a segment is garbage.

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Erase, StoreError};
use tokio::sync::oneshot;

use crate::index::Index;
use crate::service::Series;
use crate::writer::{DeleteOrder, Order, closed};

/// Its series, and their samples in memory, in the log and in segments, which other organisations' share. What is known of its
/// metrics lies under keys that say whose it is.
///
/// What is in a segment that is lost stays there, and nobody finds it: its series are gone, and no other gets their numbers.
#[async_trait]
impl Erase for Series {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let shared = &self.shared;
        let (reply, done) = oneshot::channel();
        let order = DeleteOrder {
            organisation,
            index: shared.index(organisation),
            select: Box::new(|index: &Index| index.all().iter().collect()),
            spares: false,
            join: Batch::new(),
            reply,
        };
        self.orders.send(Order::Delete(order)).await.map_err(|_| closed())?;
        let mut found = done.await.map_err(|_| closed())??;
        // The log has samples of theirs as long as it is not packed, without them, into segments.
        let packed = match shared.pack().await {
            // There is no room for a segment of others' samples, but what is in segments may go.
            full @ Err(StoreError::DiskFull { .. }) => full,
            done => Ok(done?),
        };
        let freed = {
            let _turn = shared.merging.lock().await;
            shared.free(true).await
        };
        packed?;
        found += freed?;
        shared.forget_index(organisation);
        shared.queries.forget(organisation);
        Ok(found)
    }
}
