//! What an organisation has that is deleted goes whole, and not only once much of a segment is garbage.

use std::sync::Arc;

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Erase, StoreError, blocking};
use tokio::sync::oneshot;

use super::{Kept, Placeable, merge};
use crate::index::Index;
use crate::service::{Placed, Series, Shared};
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
        shared.pack().await?;
        found += shared.purge().await?;
        shared.forget_index(organisation);
        shared.queries.forget(organisation);
        Ok(found)
    }
}

impl Shared {
    /// Writes segments anew that have anything of series that are gone, without that; how many there were.
    async fn purge(self: &Arc<Self>) -> Result<u64, StoreError> {
        let _turn = self.merging.lock().await;
        // Before what is kept, so that no series of theirs is missing there.
        let segments = Arc::clone(&self.state.read().segments);
        let kept = Arc::new(self.kept());
        let mut purged = 0;
        for placed in segments.iter() {
            let (looked_at, kept) = (Arc::clone(placed), Arc::clone(&kept));
            let built = match blocking("purging segments", move || without_gone(&looked_at, &kept)).await {
                Err(StoreError::Lost(_)) => None,
                done => done?,
            };
            if let Some(built) = built {
                let range = (placed.row.low, placed.row.high);
                self.replace(built, range, std::slice::from_ref(placed), None).await?;
                purged += 1;
            }
        }
        Ok(purged)
    }
}

/// The segment without what is of series that are gone: one or none; `None` if nothing is.
fn without_gone(placed: &Arc<Placed>, kept: &Kept) -> Result<Option<Vec<Placeable>>, StoreError> {
    if placed.all()?.iter().all(|entry| kept.alive.contains(entry.series)) {
        return Ok(None);
    }
    merge::merged(std::slice::from_ref(placed), kept).map(|built| Some(built.into_iter().collect()))
}
