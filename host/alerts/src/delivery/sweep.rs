//! What ended long ago is forgotten.

use std::time::Duration;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Direction, Walk, delete_large};

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
        let range = keys::all_ended().prefix().start..keys::all_ended().signed(before.as_milliseconds());
        let mut ended = Walk::forward(&*self.store, range);
        let mut swept = 0;
        loop {
            let mut batch = Batch::new();
            let mut forgotten: Vec<(OrganisationId, DeliveryId)> = Vec::new();
            while forgotten.len() < AT_ONCE.min(budget - swept)
                && let Some((key, _, (_, organisation, id))) =
                    ended.next_read(|key, _| keys::ended_of(key)).await?
            {
                if self.forget(&mut batch, organisation, &id).await? {
                    batch.delete(key);
                    forgotten.push((organisation, id));
                }
            }
            if forgotten.is_empty() {
                return Ok(swept);
            }
            for (organisation, id) in &forgotten {
                self.forget_telling(&mut batch, *organisation, id, &forgotten).await?;
            }
            self.store.commit(batch).await?;
            swept += forgotten.len();
        }
    }

    /// Forgets a delivery, unless its row does not read; whether it did.
    async fn forget(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: &DeliveryId,
    ) -> Result<bool, AlertError> {
        let key = keys::delivery(organisation, id);
        let Some(stored) = self.store.get(&key).await? else { return Ok(true) };
        let read = self.store.unread().decode::<DeliveryRow>(&key, &stored);
        let Some(row) = read else { return Ok(false) };
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
        Ok(true)
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
        let key = keys::telling(organisation, &id.incident, id.sequence);
        let telling = self.telling(organisation, id, None).await;
        let Some(telling) = self.store.unread().unless_damaged(&key, telling)?.flatten() else {
            return Ok(());
        };
        for channel in telling.channels {
            let other = DeliveryId { channel, ..id.clone() };
            let goes = forgotten.iter().any(|(own, id)| *own == organisation && *id == other);
            if !goes && self.store.get(&keys::delivery(organisation, &other)).await?.is_some() {
                return Ok(());
            }
        }
        Ok(delete_large(&*self.store, batch, &key).await?)
    }
}
