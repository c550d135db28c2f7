//! What is to be told joins the batch that caused it, and is found again once that is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_store::{
    Batch, Direction, Key, MAX_LARGE, StoreError, Walk, decode, encode, get_large, put_large,
};
use serde::{Deserialize, Serialize};

use super::record::{DeliveryRow, WaitingRow};
use super::{Deliveries, DeliveryId, DeliveryState, keys};
use crate::{AlertError, Event, Incident, MonitorId, Telling, Tellings, channel, limits};

/// How long what was added to a batch is looked for: a commit takes less. What is not found by then is found with
/// everything that waits, a minute later at most.
const LOOKED_FOR: i64 = 60_000;
/// The same of what most likely was not committed: as long as it may take what tells of the same monitors, and was added
/// beside it, to be.
const LOOKED_FOR_STILL: i64 = 2_000;
/// How much is looked for at all. What is beyond is found with everything that waits, once something was committed.
const PENDING: usize = 100_000;
/// Bytes of tellings, as they are stored, that are kept at hand until they are first delivered. What is beyond is read.
const AT_HAND: usize = 8 << 20;

/// Added to a batch.
pub(super) struct Pending {
    organisation: OrganisationId,
    id: DeliveryId,
    /// Until when it is looked for.
    until: Timestamp,
    /// The monitors it tells of.
    monitors: Arc<[String]>,
    told: Option<Arc<Told>>,
}

impl Pending {
    pub(super) fn is_of(&self, organisation: OrganisationId) -> bool {
        self.organisation == organisation
    }

    fn is_waited_for(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// What this process added to a batch, kept until its first delivery: it need not be read again. Whether it was committed
/// so, and not another telling in its place, the stored bytes say.
#[derive(Debug)]
pub(super) struct Told {
    bytes: Vec<u8>,
    telling: StoredTelling,
    _room: Room,
}

/// A share of [`AT_HAND`].
#[derive(Debug)]
struct Room(Arc<AtomicUsize>, usize);

impl Room {
    fn take(used: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let room = Self(Arc::clone(used), bytes);
        (used.fetch_add(bytes, Ordering::Relaxed) + bytes <= AT_HAND).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// What the channels of an incident are told, as it is stored: JSON, since details are of any shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredTelling {
    pub(super) event: Event,
    pub(super) time: Timestamp,
    pub(super) channels: Vec<String>,
    pub(super) incident: Incident,
}

impl Tellings for Deliveries {
    fn add(&self, batch: &mut Batch, telling: &Telling) -> Result<(), AlertError> {
        check(telling)?;
        let Telling { organisation, channels, sequence, event, time, incident } = telling;
        let (telling, bytes) = bounded(telling)?;
        put_large(batch, &keys::telling(*organisation, &incident.id, *sequence), &bytes)?;
        let room = Room::take(&self.at_hand, bytes.len());
        let told = room.map(|room| Arc::new(Told { bytes, telling, _room: room }));
        let until = self.clock.now().saturating_add(LOOKED_FOR);
        let monitors: Arc<[String]> = incident.alerts.iter().map(|alert| alert.monitor.clone()).collect();
        let mut pending = self.pending.lock();
        for channel in channels {
            let id =
                DeliveryId { channel: channel.clone(), incident: incident.id.clone(), sequence: *sequence };
            batch.put(keys::delivery(*organisation, &id), encode(&DeliveryRow::new(*event, *time)));
            batch.put(keys::waiting(*organisation, &id), encode(&WaitingRow { event: *event, due: None }));
            batch.put(keys::order(*organisation, keys::List::All, *time, &id), "");
            if pending.len() < PENDING {
                let (monitors, told) = (Arc::clone(&monitors), told.clone());
                pending.push(Pending { organisation: *organisation, id, until, monitors, told });
            } else {
                self.overflowed.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn committed(&self) {
        if self.overflowed.swap(false, Ordering::Relaxed) {
            self.is_to_find.store(true, Ordering::Relaxed);
        }
        self.wake.notify_one();
    }

    fn failed(&self, organisation: OrganisationId, monitor: MonitorId) {
        let monitor = monitor.to_string();
        let until = self.clock.now().saturating_add(LOOKED_FOR_STILL);
        let mut pending = self.pending.lock();
        for one in pending.iter_mut().filter(|one| one.organisation == organisation) {
            if one.monitors.contains(&monitor) {
                one.until = one.until.min(until);
            }
        }
    }
}

fn check(telling: &Telling) -> Result<(), AlertError> {
    let id = &telling.incident.id;
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !(1..=limits::INCIDENT_ID).contains(&id.len()) || !id.bytes().all(good) {
        let expected = format!("1 to {} characters of A-Z, a-z, 0-9, _, . and -", limits::INCIDENT_ID);
        return Err(FieldError::new("incident.id", id, expected).into());
    }
    if telling.event == Event::Test || telling.sequence == 0 {
        let found = format!("{:?} with the number {}", telling.event, telling.sequence);
        return Err(FieldError::new("event", found, "opened, updated or closed, counted from 1").into());
    }
    if telling.channels.len() > limits::TELLING_CHANNELS {
        let expected = format!("at most {}", limits::TELLING_CHANNELS);
        return Err(FieldError::new("channels", telling.channels.len(), expected).into());
    }
    for (index, name) in telling.channels.iter().enumerate() {
        let field = format!("channels[{index}]");
        channel::check_name(&field, name)?;
        if telling.channels[..index].contains(name) {
            return Err(FieldError::new(field, name, "each channel once").into());
        }
    }
    Ok(())
}

/// A telling as it is stored, and its bytes. One that is too large tells of fewer series, the worst of each alert, and of
/// how many are left out.
fn bounded(telling: &Telling) -> Result<(StoredTelling, Vec<u8>), AlertError> {
    let mut stored = StoredTelling {
        event: telling.event,
        time: telling.time,
        channels: telling.channels.clone(),
        incident: telling.incident.clone(),
    };
    let mut most = limits::AFFECTED;
    loop {
        let bytes = serde_json::to_vec(&stored).expect("an incident is plain data");
        if bytes.len() <= MAX_LARGE {
            return Ok((stored, bytes));
        }
        if most == 0 {
            let (size, limit) = (bytes.len(), MAX_LARGE);
            return Err(StoreError::TooLarge { what: "an incident", size, limit }.into());
        }
        most /= 2;
        for alert in &mut stored.incident.alerts {
            let missing = alert.series.len().saturating_sub(most);
            alert.series.truncate(most);
            alert.left_out = alert.left_out.saturating_add(u32::try_from(missing).unwrap_or(u32::MAX));
        }
    }
}

impl Deliveries {
    /// Takes what was added to batches and is committed by now into the schedule.
    pub(super) async fn take_pending(&self) -> Result<(), AlertError> {
        let pending = std::mem::take(&mut *self.pending.lock());
        if pending.is_empty() {
            return Ok(());
        }
        let (mut left, mut full) = (Vec::new(), Vec::new());
        let mut pending = pending.into_iter();
        let mut failed = Ok(());
        for one in pending.by_ref() {
            match self.store.get(&keys::waiting(one.organisation, &one.id)).await {
                Ok(Some(row)) => {
                    let key = keys::waiting(one.organisation, &one.id);
                    let read = self.store.unread().decode(&key, &row);
                    let Some(WaitingRow { event, due }) = read else { continue };
                    if !self.schedule.lock().add(one.organisation, &one.id, event, due, one.told) {
                        full.push((one.organisation, one.id));
                    }
                }
                Ok(None) if one.is_waited_for(self.clock.now()) => left.push(one),
                Ok(None) => {}
                Err(error) => {
                    left.push(one);
                    failed = Err(error.into());
                    break;
                }
            }
        }
        left.extend(pending);
        self.pending.lock().extend(left);
        for (organisation, id) in full {
            let most = self.limits.waiting;
            let reason = format!("the channel's queue was full: {most} deliveries waited already");
            self.give_up(organisation, &id, &reason).await?;
        }
        failed
    }

    /// Takes everything that waits into the schedule.
    pub(super) async fn find_waiting(&self) -> Result<(), AlertError> {
        let mut waiting = Walk::forward(&*self.store, keys::all_waiting().prefix());
        let read = |key: &Key, row: &[u8]| Ok((keys::delivery_of(key)?, decode::<WaitingRow>(row)?));
        while let Some((.., ((organisation, id), row))) = waiting.next_read(read).await? {
            self.schedule.lock().restore(organisation, &id, row.event, row.due, None);
        }
        Ok(())
    }

    /// Whether nothing of the same line waits before a delivery. What does, and nobody knew of, is taken into the schedule:
    /// its commit was not heard of yet.
    pub(super) async fn is_first(
        &self,
        organisation: OrganisationId,
        id: &DeliveryId,
    ) -> Result<bool, AlertError> {
        let line = keys::waiting_line(organisation, &id.channel, &id.incident).prefix();
        let before = line.start..keys::waiting(organisation, id);
        let Some((key, row)) = self.store.scan(before, Direction::Forward, 1).await?.pop() else {
            return Ok(true);
        };
        // One of whose rows one does not read, or is not there, holds nothing back for good.
        let read = self.store.unread().unless_damaged(&key, keys::delivery_of(&key))?;
        let Some((_, first)) = read else { return Ok(true) };
        let stored = self.store.get(&keys::delivery(organisation, &first)).await?;
        let is_there = stored
            .and_then(|row| decode::<DeliveryRow>(&row).ok())
            .is_some_and(|row| row.state == DeliveryState::Waiting);
        let Some(row) = decode::<WaitingRow>(&row).ok().filter(|_| is_there) else { return Ok(true) };
        self.schedule.lock().restore(organisation, &first, row.event, row.due, None);
        Ok(false)
    }

    /// What the channels of an incident are told; `told` if that is what is stored.
    pub(super) async fn telling(
        &self,
        organisation: OrganisationId,
        id: &DeliveryId,
        told: Option<Arc<Told>>,
    ) -> Result<Option<StoredTelling>, StoreError> {
        let key: Key = keys::telling(organisation, &id.incident, id.sequence);
        let Some(bytes) = get_large(&*self.store, &key).await? else { return Ok(None) };
        if let Some(told) = told.filter(|told| told.bytes == bytes) {
            let alone = Arc::try_unwrap(told).map(|told| told.telling);
            return Ok(Some(alone.unwrap_or_else(|shared| shared.telling.clone())));
        }
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|error| {
            StoreError::Damaged(format!("what {} tells does not read: {error}", id.incident))
        })
    }
}
