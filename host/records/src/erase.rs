//! What an organisation has that is deleted goes at once, whatever is kept for how long.

use std::sync::Arc;

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Erase, StoreError, to_the_end};

use crate::service::Shared;
use crate::shelf::Owner;
use crate::{RecordKind, Records};

/// Chunks and segments removed in one commit: with a chunk go the rows of its content, some of each.
const AT_ONCE: usize = 64;

/// Its events and logs, in chunks and in segments, those that are lost among them.
#[async_trait]
impl Erase for Records {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let mut found = 0;
        for kind in RecordKind::ALL {
            let shared = Arc::clone(&self.shared);
            found += to_the_end(async move { shared.erase((organisation, kind)).await }).await?;
        }
        let mut state = self.shared.state.write();
        state.retentions.remove(&organisation);
        state.next.remove(&organisation);
        drop(state);
        self.shared.searches.forget(organisation);
        Ok(found)
    }
}

impl Shared {
    /// Removes every chunk and segment of an owner; how many there were.
    async fn erase(self: &Arc<Self>, owner: Owner) -> Result<u64, StoreError> {
        let mut erased = 0;
        loop {
            let _turn = self.upkeep.lock().await;
            let (chunks, segments) = {
                let mut state = self.state.write();
                let Some(shelf) = state.shelves.get(&owner) else { return Ok(erased) };
                if shelf.chunks.is_empty() && shelf.segments.is_empty() {
                    state.shelves.remove(&owner);
                    return Ok(erased);
                }
                let chunks: Vec<_> = shelf.chunks.iter().take(AT_ONCE).cloned().collect();
                (chunks, shelf.segments.iter().take(AT_ONCE).cloned().collect::<Vec<_>>())
            };
            self.replace(owner, Vec::new(), &chunks, &segments).await?;
            erased += (chunks.len() + segments.len()) as u64;
        }
    }
}
