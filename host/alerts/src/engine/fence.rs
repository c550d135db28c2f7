//! The row of when a monitor is due next, as the fence of whoever evaluates it: what it says is required by each commit, and
//! each makes its turn another.

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Batch, Precondition, encode};
use bytes::Bytes;

use crate::MonitorId;
use crate::rows::{self, NextRow};

/// The row as it is stored.
pub(super) struct Fence {
    pub(super) monitor: (OrganisationId, MonitorId),
    pub(super) stored: Option<Bytes>,
    /// When the monitor is due by it.
    pub(super) scheduled: Timestamp,
}

impl Fence {
    /// A batch that holds as long as the row is as it was read, after which the monitor is due no more.
    pub(super) fn batch(&self) -> Batch {
        let (organisation, id) = self.monitor;
        let stored = self.stored.clone().map_or(Precondition::Absent, Precondition::ValueIs);
        let mut batch = Batch::new();
        batch.require(rows::next(organisation, id), stored);
        batch.delete(rows::due(self.scheduled, organisation, id));
        batch
    }

    /// Puts the row that follows, and when the monitor is due by it, into such a batch; gives the fence behind it.
    pub(super) fn put(&self, batch: &mut Batch, next: &NextRow) -> Self {
        let (organisation, id) = self.monitor;
        let row = encode(next);
        batch.put(rows::next(organisation, id), row.clone());
        if let Some(at) = next.at {
            batch.put(rows::due(at, organisation, id), Vec::new());
        }
        let scheduled = next.at.unwrap_or(self.scheduled);
        Self { monitor: self.monitor, stored: Some(row), scheduled }
    }
}
