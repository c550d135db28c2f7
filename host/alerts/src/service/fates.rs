//! What became of what an incident's channels were told: the trace says it where a channel did not simply take it.

use bellwether_kernel::OrganisationId;
use bellwether_store::{StoreError, decode};

use crate::delivery::{DeliveryRow, keys};
use crate::incident::{Note, NoteKind, ToldNote};
use crate::{Alerts, DeliveryId, DeliveryState, IncidentId};

/// Deliveries looked at for one page of a trace: an incident that is told more often, to more channels, is rare, and
/// `delivery list --incident` has the rest.
const LOOKED_AT: usize = 1_000;

impl Alerts {
    /// Adds to notes of tellings what became of them.
    pub(super) async fn add_fates(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
        notes: &mut [Note],
    ) -> Result<(), StoreError> {
        let mut left = LOOKED_AT;
        for note in notes.iter_mut().filter(|note| note.what == NoteKind::Told) {
            let Some(ToldNote { sequence, lead, channels, .. }) = ToldNote::read(&note.text) else {
                continue;
            };
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
