//! Tellings that go nowhere, and events that come from nowhere.

use std::time::Duration;

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_records::{Near, Nearest, RecordError, Wanted};
use bellwether_store::Batch;

use crate::{AlertError, EventSource, Telling, Tellings};

/// Tells nobody: for tests of what is not about channels.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTellings;

impl Tellings for NoTellings {
    fn add(&self, _: &mut Batch, _: &Telling) -> Result<(), AlertError> {
        Ok(())
    }

    fn committed(&self) {}
}

/// Has no events: for tests of what is not about them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

#[async_trait]
impl EventSource for NoEvents {
    async fn nearest(
        &self,
        _: OrganisationId,
        _: Nearest,
        _: Wanted,
        _: Option<Duration>,
    ) -> Result<Near, RecordError> {
        Ok(Near { records: Vec::new(), complete: true })
    }
}
