//! What became of what an incident's channels were told: the trace says it where a channel did not simply take it, and
//! which channels know of the incident is read off it.

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{StoreError, Walk, decode};

use crate::delivery::{DeliveryRow, keys};
use crate::incident::{Note, ToldNote};
use crate::{Alerts, DeliveryId, DeliveryState, IncidentId, StoredIncident, rows};

/// Deliveries looked at for one page of a trace: an incident that is told more often, to more channels, is rare, and
/// `delivery list --incident` has the rest.
const LOOKED_AT: usize = 1_000;

/// Notes looked at for who was told: an incident's first tellings are among them, and what comes later of one that is
/// told without end changes little.
const NOTES: usize = 1_000;

/// Whether a channel knows of an incident. Of what became of several tellings the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// It took nothing: what it was to be told is among the dead letters, or it was told nothing.
    NotTold,
    /// It is still to be told.
    Waits,
    /// It may have been told: what became of that is not kept any more.
    Forgotten,
    /// It took what it was told, the first of it then.
    Told(Timestamp),
}

impl Alerts {
    /// Whether each of an incident's channels knows of it, in their order: [`StoredIncident::channels`] are those that were
    /// to be told, and [`StoredIncident::told`] says when that was decided.
    ///
    /// # Errors
    /// The store's.
    pub async fn reach(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
    ) -> Result<Vec<(String, Reach)>, StoreError> {
        let mut all: Vec<_> = incident.channels.iter().map(|name| (name.clone(), Reach::NotTold)).collect();
        let (mut notes, mut left) = (0, LOOKED_AT);
        let mut walk = Walk::forward(&*self.store, rows::notes(organisation, incident.id).prefix());
        while notes < NOTES && all.iter().any(|(_, reach)| !matches!(reach, Reach::Told(_))) {
            let Some((_, row)) = walk.next().await? else { break };
            notes += 1;
            let note: Note = decode(&row)?;
            let Some(told) = note.told else { continue };
            let id = told.lead.unwrap_or(incident.id).to_string();
            for (channel, reach) in all.iter_mut().filter(|(name, _)| told.channels.contains(name)) {
                if matches!(reach, Reach::Told(_)) || left == 0 {
                    continue;
                }
                left -= 1;
                let (channel, incident) = (channel.clone(), id.clone());
                let delivery = DeliveryId { channel, incident, sequence: told.sequence };
                let row = self.store.get(&keys::delivery(organisation, &delivery)).await?;
                let row = row.map(|row| decode::<DeliveryRow>(&row)).transpose()?;
                let found = match row.map(|row| (row.state, row.ended)) {
                    Some((DeliveryState::Delivered, ended)) => Reach::Told(ended.unwrap_or(note.time)),
                    Some((DeliveryState::Waiting, _)) => Reach::Waits,
                    Some((DeliveryState::Dead | DeliveryState::Folded, _)) => Reach::NotTold,
                    None => Reach::Forgotten,
                };
                *reach = (*reach).max(found);
            }
        }
        Ok(all)
    }

    /// Adds to notes of tellings what became of them.
    pub(super) async fn add_fates(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
        notes: &mut [Note],
    ) -> Result<(), StoreError> {
        let mut left = LOOKED_AT;
        for note in notes {
            let Some(ToldNote { sequence, lead, channels }) = note.told.clone() else { continue };
            let incident = lead.unwrap_or(id).to_string();
            for channel in channels {
                if left == 0 {
                    return Ok(());
                }
                left -= 1;
                let delivery = DeliveryId { channel, incident: incident.clone(), sequence };
                // What ended long ago is forgotten before its incident.
                let Some(row) = self.store.get(&keys::delivery(organisation, &delivery)).await? else {
                    continue;
                };
                if let Some(fate) = fate(decode(&row)?) {
                    note.text.push_str(&format!("; {}: {fate}", delivery.channel));
                }
            }
        }
        Ok(())
    }
}

/// What became of a delivery; nothing, if its channel took it.
fn fate(row: DeliveryRow) -> Option<String> {
    let reason = row.reason.unwrap_or_default();
    match row.state {
        DeliveryState::Delivered => (!reason.is_empty()).then_some(reason),
        DeliveryState::Dead => Some(format!("not delivered, a dead letter: {reason}")),
        DeliveryState::Folded => Some(format!("not delivered by itself: {reason}")),
        DeliveryState::Waiting if row.attempts == 0 => Some("waits to be delivered".to_owned()),
        DeliveryState::Waiting => {
            Some(format!("not delivered yet, attempts so far {}: {reason}", row.attempts))
        }
    }
}
