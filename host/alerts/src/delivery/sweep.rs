//! What ended long ago is forgotten.

use std::time::Duration;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Direction, decode, delete_large};

use super::record::DeliveryRow;
use super::{Deliveries, DeliveryId, keys};
use crate::{AlertError, Event, IncidentId, rows};

/// Deliveries forgotten in one commit.
const AT_ONCE: usize = 100;

impl Deliveries {
    /// Forgets deliveries that ended longer ago than `keep`, at most `budget` of them. How many those were.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep(&self, keep: Duration, budget: usize) -> Result<usize, AlertError> {
        let kept = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let before = self.clock.now().saturating_add(-kept);
        let mut swept = 0;
        while swept < budget {
            let range = keys::all_ended().prefix().start..keys::all_ended().signed(before.as_milliseconds());
            let rows = self.store.scan(range, Direction::Forward, AT_ONCE.min(budget - swept)).await?;
            if rows.is_empty() {
                break;
            }
            let mut batch = Batch::new();
            let mut forgotten: Vec<(OrganisationId, DeliveryId)> = Vec::new();
            for (key, _) in rows {
                let (_, organisation, id) = keys::ended_of(&key)?;
                batch.delete(key);
                self.forget(&mut batch, organisation, &id).await?;
                forgotten.push((organisation, id));
            }
            for (organisation, id) in &forgotten {
                self.forget_telling(&mut batch, *organisation, id, &forgotten).await?;
            }
            self.store.commit(batch).await?;
            swept += forgotten.len();
        }
        Ok(swept)
    }

    async fn forget(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: &DeliveryId,
    ) -> Result<(), AlertError> {
        let key = keys::delivery(organisation, id);
        let Some(stored) = self.store.get(&key).await? else { return Ok(()) };
        let row: DeliveryRow = decode(&stored)?;
        // One that was resent meanwhile stays.
        batch.require(key.clone(), bellwether_store::Precondition::ValueIs(stored)).delete(key);
        for list in [keys::List::All, keys::List::Dead] {
            batch.delete(keys::order(organisation, list, row.time, id));
        }
        for (attempt, _) in
            self.store.scan(keys::attempts(organisation, id).prefix(), Direction::Forward, 256).await?
        {
            batch.delete(attempt);
        }
        if row.event == Event::Closed || self.is_forgotten(organisation, &id.incident).await? {
            batch.delete(keys::memory(organisation, &id.channel, &id.incident));
        }
        Ok(())
    }

    /// Whether an incident is not kept any more, so that nothing more is told of it.
    async fn is_forgotten(&self, organisation: OrganisationId, incident: &str) -> Result<bool, AlertError> {
        let Ok(id) = incident.parse::<IncidentId>() else { return Ok(false) };
        Ok(self.store.get(&rows::incident(organisation, id)).await?.is_none())
    }

    /// Forgets what was told, once no channel's delivery is left of it.
    async fn forget_telling(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: &DeliveryId,
        forgotten: &[(OrganisationId, DeliveryId)],
    ) -> Result<(), AlertError> {
        let Some(telling) = self.telling(organisation, id, None).await? else {
            return Ok(());
        };
        for channel in telling.channels {
            let other = DeliveryId { channel, ..id.clone() };
            let goes = forgotten.iter().any(|(own, id)| *own == organisation && *id == other);
            if !goes && self.store.get(&keys::delivery(organisation, &other)).await?.is_some() {
                return Ok(());
            }
        }
        let key = keys::telling(organisation, &id.incident, id.sequence);
        Ok(delete_large(&*self.store, batch, &key).await?)
    }
}
