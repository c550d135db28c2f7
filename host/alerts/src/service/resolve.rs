//! An incident that somebody says is over.

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, Precondition, StoreError, decode, encode};

use super::{By, Subject, until_it_holds};
use crate::evaluate::{Decided, close_some};
use crate::rows::{self, NextRow};
use crate::{AlertError, Alerts, IncidentId, StoredIncident, limits};

/// Why such an incident closed.
const REASON: &str = "resolved";

impl Alerts {
    /// Closes an incident: its series count as well, and those that breach still at the next evaluation open another.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Conflict`] if it is over.
    pub async fn resolve(&self, by: impl Into<By<'_>>, id: IncidentId) -> Result<StoredIncident, AlertError> {
        let by = by.into();
        until_it_holds(|| self.try_resolve(by, id)).await
    }

    async fn try_resolve(&self, by: By<'_>, id: IncidentId) -> Result<StoredIncident, AlertError> {
        let organisation = by.organisation;
        let (incident, _) = self.read_incident(organisation, id).await?;
        if !incident.is_open() {
            return Err(AlertError::Conflict(format!("the incident {id} is over")));
        }
        let mut batch = by.joined(Subject::Incident(id));
        let version = self.next_turn(&mut batch, organisation, &incident).await?;
        let compiled = self.load(organisation, incident.monitor, version).await?;
        let (mut state, bytes) = self.read_state(organisation, incident.monitor).await?;
        let of_incident = |tags: &[(String, String)]| incident.tags.iter().all(|tag| tags.contains(tag));
        let why = format!("resolved by {}", by.key_name);
        let moves = close_some(&mut state, REASON, &why, of_incident);
        let monitor = (organisation, incident.monitor);
        let (changed, known) = self.settle_ended(monitor, version, &compiled, &mut state, &moves).await?;
        let mut decided = Decided::new(state, changed);
        let (mut is_told, mut within) = (false, limits::EVENTS_WITHIN);
        while !decided.is_done() {
            let put = self.put_incidents(&mut batch, organisation, &mut decided, &known, &mut within);
            is_told |= put.await?.is_told;
        }
        self.put_state(&mut batch, monitor, decided.state(), bytes).await?;
        self.audit(&mut batch, &by, "incident.resolve", &id.to_string(), &[]);
        self.store.commit(batch).await?;
        if is_told {
            self.tellings.committed();
        }
        self.incident(organisation, id).await
    }

    /// Makes the turn of an incident's monitor another, so that an evaluation at work commits nothing; the version its
    /// series are grouped by.
    async fn next_turn(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        incident: &StoredIncident,
    ) -> Result<u32, AlertError> {
        let key = rows::next(organisation, incident.monitor);
        let missing =
            || StoreError::Damaged(format!("the monitor of the open incident {} is not there", incident.id));
        let stored = self.store.get(&key).await?.ok_or_else(missing)?;
        let mut next: NextRow = decode(&stored)?;
        next.turn += 1;
        batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&next));
        Ok(next.grouped_by())
    }
}
