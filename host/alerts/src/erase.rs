//! What an organisation has that is deleted, as far as it is kept in memory: all its rows have keys that say whose they are.

use async_trait::async_trait;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Erase, StoreError};

use crate::{Alerts, Deliveries, MonitorId};

/// Its monitors as they were compiled, what problems they have, what wakes them, and its calendar.
#[async_trait]
impl Erase for Alerts {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        let is_own = |(own, _): &&(OrganisationId, MonitorId)| *own == organisation;
        let problems: Vec<_> = self.problems.lock().keys().filter(is_own).copied().collect();
        for (_, id) in problems {
            self.forget_problem(organisation, id);
        }
        self.forget_compiled_of(organisation);
        self.calendars.lock().remove(&organisation);
        self.wakes.forget_all(organisation);
        Ok(0)
    }
}

/// Its channels, the tokens they were given, and what waits for them.
#[async_trait]
impl Erase for Deliveries {
    async fn erase(&self, organisation: OrganisationId) -> Result<u64, StoreError> {
        self.forget_all(organisation);
        Ok(0)
    }
}
