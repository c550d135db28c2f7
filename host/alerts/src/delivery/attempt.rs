//! One attempt at a delivery: what it needs is read, the exchange is driven, and what came of it is recorded.

use std::sync::Arc;

use bellwether_access::AccessError;
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Direction, Precondition, StoreError, encode};
use bytes::Bytes;

use super::ending::Ending;
use super::letters::Letters;
use super::outbox::Told;
use super::record::{DeliveryRow, MemoryRow};
use super::schedule::Turn;
use super::talk::{End, Keep, Talk};
use super::{Attempt, Deliveries, DeliveryId, DeliveryState, Outcome, backoff, keys};
use crate::channel::{Channel, ChannelState};
use crate::sending::Secrets;
use crate::state::is_ahead;
use crate::{AlertError, Formatter, Notification, Regular, RoleKind, Settings};

impl Deliveries {
    /// Tries a delivery that is due; `told` is what it tells, where that is at hand.
    pub(super) async fn deliver(
        self: &Arc<Self>,
        organisation: OrganisationId,
        id: &DeliveryId,
        told: Option<Arc<Told>>,
    ) -> Result<Turn, AlertError> {
        let key = keys::delivery(organisation, id);
        let Some(stored) = self.store.get(&key).await? else { return Ok(Turn::Ended) };
        // One that does not read holds nothing back; it is found again with everything that waits.
        let Some(row) = self.store.unread().decode::<DeliveryRow>(&key, &stored) else {
            return Ok(Turn::Ended);
        };
        if row.state != DeliveryState::Waiting {
            return Ok(Turn::Ended);
        }
        if self.access.is_suspended(organisation) {
            return Ok(Turn::Held);
        }
        let now = self.clock.now();
        if !self.is_first(organisation, id).await? {
            return Ok(Turn::Later(now));
        }
        if let Some(due) = row.due.filter(|due| *due > now) {
            // One that some have already does not hold back what follows it.
            let gives_way = !row.accepted.is_empty() && self.is_followed(organisation, id).await?;
            if !gives_way && self.is_waited_for(organisation, id, &row, (due, now)).await? {
                return Ok(Turn::Later(due));
            }
        }
        let ending = Ending { organisation, id, row, stored };
        let channel = self.channel_at_hand(organisation, &id.channel).await;
        let key = keys::channel(organisation, &id.channel);
        let Some(channel) = self.store.unread().unless_damaged(&key, channel)? else {
            // It waits for the row to be put right.
            return Ok(Turn::Later(now.saturating_add(backoff::LONGEST_WAIT)));
        };
        let Some(channel) = channel else {
            self.forget_channel(organisation, &id.channel);
            let reason = format!("there is no channel {:?}: it was deleted, or never was", id.channel);
            return self.end_dead(ending, &reason).await;
        };
        match &channel.state {
            ChannelState::Active => {}
            ChannelState::Paused { .. } => return Ok(Turn::Held),
            ChannelState::Disabled { reason, .. } => {
                let reason = format!("the channel is disabled: {reason}");
                return self.end_dead(ending, &reason).await;
            }
        }
        if let Err(until) = self.count_request(&(organisation, id.channel.clone()), channel.spec.rate) {
            return Ok(Turn::Limited(until));
        }
        self.attempt(ending, &channel, told).await
    }

    async fn attempt(
        self: &Arc<Self>,
        ending: Ending<'_>,
        channel: &Channel,
        told: Option<Arc<Told>>,
    ) -> Result<Turn, AlertError> {
        let (organisation, id, row) = (ending.organisation, ending.id, &ending.row);
        let began = self.clock.now();
        let at_work = self.results.begin();
        let mut attempt = Attempt {
            number: row.attempts + 1,
            time: began,
            milliseconds: 0,
            formatter: channel.spec.formatter.clone(),
            outcome: Outcome::Failed,
            reason: None,
            failing_since: None,
            exchanges: Vec::new(),
        };
        // What this process added itself and nobody tried yet is the first the channel's formatter hears of the incident.
        let is_first = told.is_some() && id.sequence == 1 && row.attempts == 0;
        let telling = match self.telling(organisation, id, told).await {
            Ok(Some(telling)) => telling,
            Ok(None) => return self.end_dead(ending, "what it tells is not kept any more").await,
            Err(StoreError::Damaged(why)) => return self.end_dead(ending, &why).await,
            Err(error) => return Err(error.into()),
        };
        let notification = Notification {
            event: telling.event,
            sequence: id.sequence,
            idempotency_key: id.idempotency_key(),
            time: telling.time,
            organisation: self.access.organisation(organisation)?.name,
            incident: telling.incident,
        };
        let (end, letters, memory) = match self.prepared(organisation, channel, Some(&id.incident)).await? {
            Err(end) => (end, Letters::default(), Vec::new()),
            Ok((formatter, settings, secrets)) => {
                attempt.formatter = format!("{} {}", channel.spec.formatter, formatter.version());
                let memory = match is_first {
                    true => Vec::new(),
                    false => self.memory(organisation, channel, &id.incident).await?.unwrap_or_default(),
                };
                let keep = Keep { organisation, id, channel, stored: &ending.stored };
                let mut talk = Talk::new(self, organisation, channel, settings, secrets, notification);
                talk.letters = Letters::of(row, channel.spec.retry, began);
                talk.memory = memory;
                let end = talk.run(&*formatter, Some(&keep)).await?;
                attempt.exchanges = talk.exchanges;
                (end, talk.letters, talk.memory)
            }
        };
        attempt.milliseconds = u64::try_from(self.clock.now().milliseconds_since(began)).unwrap_or_default();
        drop(at_work);
        self.finish(ending, channel, attempt, end, letters, memory).await
    }

    /// Whether a time to come is waited for: not one that lies further ahead than any wait is long, which a clock that was
    /// ahead set. A receiver that limits requests is left alone for as long as it says.
    async fn is_waited_for(
        &self,
        organisation: OrganisationId,
        id: &DeliveryId,
        row: &DeliveryRow,
        (due, now): (Timestamp, Timestamp),
    ) -> Result<bool, AlertError> {
        if due.milliseconds_since(now) <= backoff::LONGEST_WAIT {
            return Ok(true);
        }
        let last = self.attempt_of(organisation, id, row.attempts).await?;
        let limits_requests = |last: &Attempt| {
            last.exchanges.last().is_some_and(|exchange| exchange.status == Some(429))
                && !is_ahead(last.time, now)
        };
        let is_waited_for = last.as_ref().is_some_and(limits_requests);
        if !is_waited_for {
            let organisation = organisation.0;
            tracing::warn!(delivery = %id, organisation, %due, "a delivery was due when a clock that was ahead had it; it is tried now");
        }
        Ok(is_waited_for)
    }

    /// An attempt at a delivery, if it is on record and reads.
    pub(super) async fn attempt_of(
        &self,
        organisation: OrganisationId,
        id: &DeliveryId,
        number: u32,
    ) -> Result<Option<Attempt>, StoreError> {
        let key = keys::attempt(organisation, id, number);
        let Some(row) = self.store.get(&key).await? else { return Ok(None) };
        self.store.unread().unless_damaged(&key, Attempt::decode(&row))
    }

    /// Whether another delivery waits behind this one.
    pub(super) async fn is_followed(
        &self,
        organisation: OrganisationId,
        id: &DeliveryId,
    ) -> Result<bool, AlertError> {
        let end = keys::waiting_line(organisation, &id.channel, &id.incident).prefix().end;
        let behind = keys::waiting(organisation, id).successor()..end;
        Ok(!self.store.scan(behind, Direction::Forward, 1).await?.is_empty())
    }

    /// What an exchange about an incident, or a test, needs besides what it is about; or how it ends without.
    pub(super) async fn prepared(
        &self,
        organisation: OrganisationId,
        channel: &Channel,
        incident: Option<&str>,
    ) -> Result<Result<(Arc<dyn Formatter>, Settings, Secrets), End>, AlertError> {
        let name = &channel.spec.formatter;
        let formatter = match incident {
            Some(incident) => {
                // A channel's name has no space.
                let exchange = format!("{} {incident}", channel.name);
                let regular = Regular { name: exchange.as_bytes(), settings: &channel.spec.settings };
                self.roles.formatter_for(organisation, name, &regular)
            }
            None => self.formatter(organisation, name),
        };
        let Some(formatter) = formatter else {
            // It may be being replaced, or be switched off for a while.
            let reason = self.roles.not_called(organisation, name, RoleKind::Formatter).to_string();
            return Ok(Err(End::Retry { after: None, reason }));
        };
        let settings = match Settings::read(&formatter.description().settings, &channel.spec.settings) {
            Ok(settings) => settings,
            // Another version of it may want others: as with one that fails, there is a while to mend either.
            Err(error) => return Ok(Err(End::Broken(error.to_string()))),
        };
        match self.secrets(organisation, &settings).await {
            Ok(secrets) => Ok(Ok((formatter, settings, secrets))),
            // It may be put again.
            Err(AlertError::Access(AccessError::Store(StoreError::Damaged(reason)))) => {
                Ok(Err(End::Retry { after: None, reason }))
            }
            Err(error) => Err(error),
        }
    }

    /// The secrets that settings name, those that are there.
    pub(crate) async fn secrets(
        &self,
        organisation: OrganisationId,
        settings: &Settings,
    ) -> Result<Secrets, AlertError> {
        let mut secrets = Secrets::default();
        for (setting, kept) in settings.secrets() {
            let secret = self.access.secret(organisation, kept).await?;
            secrets.0.insert(setting.clone(), (kept.clone(), secret));
        }
        Ok(secrets)
    }

    /// What the channel's formatter keeps for an incident; nothing if another formatter or channel kept it.
    async fn memory(
        &self,
        organisation: OrganisationId,
        channel: &Channel,
        incident: &str,
    ) -> Result<Option<Vec<u8>>, AlertError> {
        let key = keys::memory(organisation, &channel.name, incident);
        let Some(row) = self.store.get(&key).await? else { return Ok(None) };
        let row = self.store.unread().decode::<MemoryRow>(&key, &row);
        let own = |row: &MemoryRow| row.formatter == channel.spec.formatter && row.channel == channel.created;
        Ok(row.filter(own).map(|row| row.memory))
    }
}

impl Keep<'_> {
    /// Keeps memory from before a request is sent, so that it is there whatever becomes of the exchange.
    pub(super) async fn keep(&self, deliveries: &Deliveries, memory: &[u8]) -> Result<(), AlertError> {
        let mut batch = bellwether_store::Batch::new();
        let delivery = keys::delivery(self.organisation, self.id);
        batch.require(delivery, Precondition::ValueIs(self.stored.clone()));
        let key = keys::memory(self.organisation, &self.channel.name, &self.id.incident);
        batch.put(key, memory_row(self.channel, memory));
        deliveries.store.commit(batch).await?;
        Ok(())
    }
}

/// Memory as it is stored.
pub(super) fn memory_row(channel: &Channel, memory: &[u8]) -> Bytes {
    encode(&MemoryRow {
        formatter: channel.spec.formatter.clone(),
        channel: channel.created,
        memory: memory.to_vec(),
    })
}
