//! What may be done about an incident now, and how often its links were followed.

use bellwether_kernel::{ErrorKind, OrganisationId};
use bellwether_store::{Direction, MergeError, StoreError, decode};

use super::{ActRow, Action, MonitorLink};
use crate::{AlertError, Alerts, IncidentId, Monitor, StoredIncident, limits, rows};

/// An action that may be done about an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Which.
    pub action: Action,
    /// How often its link was followed.
    pub clicks: u64,
    /// Whether it is being done.
    pub running: bool,
}

/// A page elsewhere that helps with an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedLink {
    /// Which.
    pub link: MonitorLink,
    /// How often it was followed.
    pub clicks: u64,
}

impl Alerts {
    /// What may be done about an incident, as its monitor says now; nothing, if that is deleted.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn offers(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
    ) -> Result<(Vec<Offer>, Vec<OfferedLink>), AlertError> {
        let incident = self.incident(organisation, id).await?;
        let Some(monitor) = self.monitor_of(organisation, &incident).await? else {
            return Ok((Vec::new(), Vec::new()));
        };
        let running = self.running(organisation, id).await?;
        let (mut offers, mut links) = (Vec::new(), Vec::new());
        for action in monitor.actions {
            let clicks = self.clicks(organisation, id, &action.name).await?;
            let running = running.contains(&action.name);
            offers.push(Offer { action, clicks, running });
        }
        for link in monitor.links {
            let clicks = self.clicks(organisation, id, &link.name).await?;
            links.push(OfferedLink { link, clicks });
        }
        Ok((offers, links))
    }

    /// An incident's monitor, as it is now.
    pub(super) async fn monitor_of(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
    ) -> Result<Option<Monitor>, AlertError> {
        match self.monitor(organisation, &incident.monitor.to_string()).await {
            Ok(monitor) => Ok(Some(monitor.document)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The actions that are being done about an incident.
    pub(super) async fn running(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
    ) -> Result<Vec<String>, AlertError> {
        let range = rows::acts(organisation, id).prefix();
        let found = self.store.scan(range, Direction::Forward, limits::ACTIONS * 2).await?;
        found.iter().map(|(_, row)| Ok(action_of(&decode(row)?)?.name)).collect()
    }

    pub(super) async fn clicks(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
        name: &str,
    ) -> Result<u64, AlertError> {
        let row = self.store.get(&rows::click(organisation, id, name)).await?;
        Ok(row.map_or(0, |row| count(&row)))
    }
}

/// What an act that has not ended does.
pub(super) fn action_of(row: &ActRow) -> Result<Action, StoreError> {
    let damaged = |error| StoreError::Damaged(format!("an action of a monitor: {error}"));
    serde_json::from_str(&row.action).map_err(damaged)
}

fn count(row: &[u8]) -> u64 {
    row.try_into().map_or(0, u64::from_be_bytes)
}

/// Adds one to a count.
pub(super) fn add_one(existing: Option<&[u8]>, _: &[u8]) -> Result<Vec<u8>, MergeError> {
    Ok(existing.map_or(0, count).saturating_add(1).to_be_bytes().to_vec())
}
