//! Where events are found that may belong to incidents.

use std::time::Duration;

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_records::{Near, Nearest, RecordError, Records, Wanted};
use bellwether_store::StoreError;

/// Where events are found that may belong to incidents.
#[async_trait]
pub trait EventSource: Send + Sync + 'static {
    /// The events nearest to a moment that are wanted, as [`Records::nearest`] finds them.
    ///
    /// # Errors
    /// Its errors; where there is `patience`, that it did not suffice.
    async fn nearest(
        &self,
        organisation: OrganisationId,
        near: Nearest,
        wanted: Wanted,
        patience: Option<Duration>,
    ) -> Result<Near, RecordError>;
}

#[async_trait]
impl EventSource for Records {
    async fn nearest(
        &self,
        organisation: OrganisationId,
        near: Nearest,
        wanted: Wanted,
        patience: Option<Duration>,
    ) -> Result<Near, RecordError> {
        let found = Self::nearest(self, organisation, near, wanted);
        let Some(patience) = patience else { return found.await };
        let late = |_| Err(StoreError::Unavailable("events were not found in time").into());
        tokio::time::timeout(patience, found).await.unwrap_or_else(late)
    }
}
