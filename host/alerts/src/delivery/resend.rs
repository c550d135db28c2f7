//! Dead letters that are sent again.

use std::time::Duration;

use bellwether_access::{AuditScope, Principal};
use bellwether_kernel::ErrorKind;
use bellwether_store::{Batch, Direction, Precondition, decode, encode};

use super::find::unknown;
use super::record::{DeliveryRow, WaitingRow};
use super::{ChannelKey, Deliveries, Delivery, DeliveryId, DeliveryState, keys};
use crate::AlertError;
use crate::channel::ChannelState;

/// How often it is tried when the delivery is changed meanwhile.
const TRIES: usize = 16;
/// How long a line is waited for at a time.
const PAUSE: Duration = Duration::from_millis(250);
/// Later deliveries of the incident to the channel that are looked at: more are not told of one incident.
const LATER: usize = 1_000;

impl Deliveries {
    /// Delivers a dead letter after all, as patiently as a new one. Its earlier attempts stay on record.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Conflict`] if it is no dead letter, if its channel is gone or disabled, or
    /// if the channel took a later one of the incident: an opening must not follow its closing.
    pub async fn resend(&self, principal: &Principal, id: &DeliveryId) -> Result<Delivery, AlertError> {
        let channel = (principal.organisation, id.channel.clone());
        // While a later one is on its way, it is not known yet whether the channel takes it.
        let mut tries = 0;
        while !self.schedule.lock().hold(&channel, &id.incident) {
            tries += 1;
            if tries > TRIES {
                let text =
                    format!("{id} waits behind one that is on its way to the channel; try again later");
                return Err(AlertError::Conflict(text));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let held = Held { deliveries: self, channel, incident: &id.incident };
        let resent = self.resend_held(principal, id).await;
        // Before the line is let go: what waits behind it in the line must not be taken first.
        if let Ok(delivery) = &resent {
            self.schedule.lock().restore(principal.organisation, id, delivery.event, None, None);
        }
        drop(held);
        resent
    }

    async fn resend_held(&self, principal: &Principal, id: &DeliveryId) -> Result<Delivery, AlertError> {
        let organisation = principal.organisation;
        for _ in 0..TRIES {
            let key = keys::delivery(organisation, id);
            let stored = self.store.get(&key).await?.ok_or_else(|| unknown(id))?;
            let mut row: DeliveryRow = decode(&stored)?;
            let (DeliveryState::Dead, Some(ended)) = (row.state, row.ended) else {
                return Err(AlertError::Conflict(format!("the delivery {id} is no dead letter")));
            };
            match self.stored_channel(organisation, &id.channel).await? {
                None => return Err(AlertError::Conflict(format!("there is no channel {:?}", id.channel))),
                Some((channel, _)) => {
                    if let ChannelState::Disabled { reason, .. } = channel.state {
                        let text =
                            format!("the channel {:?} is disabled: {reason}; resume it first", id.channel);
                        return Err(AlertError::Conflict(text));
                    }
                }
            }
            let mut batch = Batch::new();
            let range = key.successor()..keys::line(organisation, &id.channel, &id.incident).prefix().end;
            for (later, stored) in self.store.scan(range, Direction::Forward, LATER).await? {
                let state = decode::<DeliveryRow>(&stored)?.state;
                if state == DeliveryState::Delivered {
                    let (_, later) = keys::delivery_of(&later)?;
                    let text = format!("the channel took {later} since, which must not be followed by {id}");
                    return Err(AlertError::Conflict(text));
                }
                batch.require(later, Precondition::ValueIs(stored));
            }
            (row.state, row.reason, row.ended) = (DeliveryState::Waiting, None, None);
            (row.attempts_before, row.first_attempt) = (row.attempts, None);
            // An address that was unknown then may be known by now.
            row.refused = Vec::new();
            batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&row));
            batch.put(keys::waiting(organisation, id), encode(&WaitingRow { event: row.event, due: None }));
            batch.delete(keys::order(organisation, keys::List::Dead, row.time, id));
            batch.delete(keys::ended(ended, organisation, id));
            let scope = AuditScope::Organisation(organisation);
            let actor = principal.key.as_str();
            self.access.audit(&mut batch, scope, actor, "delivery.resend", &id.to_string(), &[]);
            match self.store.commit(batch).await {
                Ok(_) => return Ok(row.delivery(id.clone())),
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AlertError::Conflict(format!("the delivery {id} is changed all the time; try again")))
    }
}

/// A line nobody works at meanwhile.
struct Held<'a> {
    deliveries: &'a Deliveries,
    channel: ChannelKey,
    incident: &'a str,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.deliveries.schedule.lock().let_go(&self.channel, self.incident);
        self.deliveries.wake.notify_one();
    }
}
