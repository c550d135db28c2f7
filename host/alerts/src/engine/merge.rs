//! Incidents that are told as one: which those are, and what is told of them together.
//!
//! Each stays its own monitor's, with its own course; the first of them lends the others its id. The row of those that are
//! told together is required by every commit that changes one, so that what is told has one order whichever monitor it
//! comes from.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Batch, Key, Precondition, StoreError, Versioned, decode, encode};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::evaluate::Changed;
use crate::incident::{Interval, Note, NoteKind, ToldNote};
use crate::{
    AlertError, Alerts, Event, Incident, IncidentId, StoredIncident, Telling, UserEvent, limits, rows,
};

/// What incidents share that are told as one: their values of what their monitors merge by, and who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// A digest of it.
    pub(crate) digest: [u8; 16],
    /// How long after the first of them one may open, in milliseconds.
    pub(crate) within: i64,
}

impl Shared {
    pub(crate) fn of(values: &[(String, String)], channels: &[String], within: i64) -> Self {
        let mut channels = channels.to_vec();
        channels.sort();
        let text = serde_json::to_vec(&(values, channels)).expect("texts are plain data");
        let digest: [u8; 32] = Sha256::digest(text).into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self { digest: first, within }
    }
}

/// Incidents that are told as one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MergedRow {
    /// The first, by whose id channels know them.
    pub(crate) lead: IncidentId,
    pub(crate) opened: Timestamp,
    /// What they share.
    pub(crate) digest: [u8; 16],
    /// Each, and whether it goes on, in the order they opened.
    pub(crate) parts: Vec<(IncidentId, bool)>,
    /// Whether channels were told that they opened.
    pub(crate) told: bool,
    /// How often they were told.
    pub(crate) tellings: u32,
    /// Whether an end was not told because others went on.
    pub(crate) owes_an_end: bool,
}

impl Versioned for MergedRow {
    const NAME: &'static str = "incidents that are told as one";
}

/// The first of the incidents that are told as one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lead(pub(crate) IncidentId);

impl Versioned for Lead {
    const NAME: &'static str = "first of the incidents that are told as one";
}

/// What a batch does to incidents that are told as one.
pub(crate) struct Merging {
    /// By the first of them, with the row as it was read.
    groups: BTreeMap<IncidentId, (Option<Bytes>, MergedRow)>,
    /// The latest of those that share something, with the row as it was read; `None` once all of them are over.
    latest: BTreeMap<Key, (Option<Bytes>, Option<IncidentId>)>,
    /// Incidents as the batch leaves them.
    parts: BTreeMap<IncidentId, Part>,
    /// For how long events are waited for yet.
    pub(super) events_within: Duration,
}

/// One of the incidents that are told as one.
struct Part {
    incident: StoredIncident,
    intervals: Vec<Interval>,
    /// What is told of its events.
    events: Vec<UserEvent>,
}

impl Merging {
    /// Nothing yet, and events are waited for that long.
    pub(super) fn within(events_within: Duration) -> Self {
        let (groups, latest, parts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { groups, latest, parts, events_within }
    }

    /// Adds to the batch that the rows are as they were read, and those that changed.
    pub(crate) fn put(self, batch: &mut Batch, organisation: OrganisationId) -> Result<(), StoreError> {
        let before = |stored: Option<Bytes>| stored.map_or(Precondition::Absent, Precondition::ValueIs);
        for (lead, (stored, row)) in self.groups {
            let (key, row) = (rows::merged(organisation, lead), encode(&row));
            let changed = stored.as_ref() != Some(&row);
            batch.require(key.clone(), before(stored));
            if changed {
                rows::put(batch, key, row)?;
            }
        }
        for (key, (stored, lead)) in self.latest {
            let row = lead.map(|lead| encode(&Lead(lead)));
            let changed = stored != row;
            batch.require(key.clone(), before(stored));
            if changed {
                match row {
                    Some(row) => batch.put(key, row),
                    None => batch.delete(key),
                };
            }
        }
        Ok(())
    }
}

impl Alerts {
    /// Finds with which others a changed incident is told, if it is, and says so in its trace.
    pub(super) async fn merge(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        changed: &mut Changed,
        merging: &mut Merging,
    ) -> Result<Option<IncidentId>, AlertError> {
        let id = changed.incident.id;
        let lead = if !changed.is_new {
            let row = self.store.get(&rows::merged_into(organisation, id)).await?;
            let Some(row) = row else { return Ok(None) };
            let Lead(lead) = decode(&row)?;
            // The first of them is removed before the others, once all are over.
            if !merging.groups.contains_key(&lead)
                && self.store.get(&rows::merged(organisation, lead)).await?.is_none()
            {
                return Ok(None);
            }
            lead
        } else {
            let Some(shared) = changed.shared.clone() else { return Ok(None) };
            self.join(organisation, changed, &shared, merging).await?
        };
        if changed.is_new {
            batch.put(rows::merged_into(organisation, id), encode(&Lead(lead)));
        }
        let row = self.group(organisation, lead, merging).await?;
        if let Some((_, is_open)) = row.parts.iter_mut().find(|(part, _)| *part == id) {
            *is_open = changed.incident.is_open();
        }
        let (digest, is_over) = (row.digest, !row.parts.iter().any(|(_, is_open)| *is_open));
        if is_over {
            let latest = self.latest(organisation, digest, merging).await?;
            if *latest == Some(lead) {
                *latest = None;
            }
        }
        Ok(Some(lead))
    }

    /// Adds an incident that opens to those it is told with, or makes it the first of some.
    async fn join(
        &self,
        organisation: OrganisationId,
        changed: &mut Changed,
        shared: &Shared,
        merging: &mut Merging,
    ) -> Result<IncidentId, AlertError> {
        let (id, opened) = (changed.incident.id, changed.incident.opened);
        let latest = *self.latest(organisation, shared.digest, merging).await?;
        if let Some(lead) = latest {
            let row = self.group(organisation, lead, merging).await?;
            let in_time = opened.milliseconds_since(row.opened) <= shared.within;
            let goes_on = row.parts.iter().any(|(_, is_open)| *is_open);
            if in_time && goes_on && row.parts.len() < limits::MERGED {
                row.parts.push((id, true));
                let text = format!("it is told with incident {lead}");
                changed.notes.push(Note::new(opened, None, NoteKind::Merged, text));
                return Ok(lead);
            }
        }
        let (digest, parts) = (shared.digest, vec![(id, true)]);
        let row = MergedRow { lead: id, opened, digest, parts, told: false, tellings: 0, owes_an_end: false };
        merging.groups.insert(id, (None, row));
        *self.latest(organisation, digest, merging).await? = Some(id);
        Ok(id)
    }

    async fn latest<'a>(
        &self,
        organisation: OrganisationId,
        digest: [u8; 16],
        merging: &'a mut Merging,
    ) -> Result<&'a mut Option<IncidentId>, AlertError> {
        let known = match merging.latest.entry(rows::merging(organisation, &digest)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let stored = self.store.get(vacant.key()).await?;
                let lead = stored.as_ref().map(|row| decode::<Lead>(row)).transpose()?;
                vacant.insert((stored, lead.map(|Lead(lead)| lead)))
            }
        };
        Ok(&mut known.1)
    }

    async fn group<'a>(
        &self,
        organisation: OrganisationId,
        lead: IncidentId,
        merging: &'a mut Merging,
    ) -> Result<&'a mut MergedRow, AlertError> {
        let known = match merging.groups.entry(lead) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let stored = self.store.get(&rows::merged(organisation, lead)).await?;
                let missing =
                    || StoreError::Damaged(format!("what is told with incident {lead} is not there"));
                let stored = stored.ok_or_else(missing)?;
                let row = decode(&stored)?;
                vacant.insert((Some(stored), row))
            }
        };
        Ok(&mut known.1)
    }

    /// Tells of incidents that are told as one what one of them would tell. Whether something is told.
    ///
    /// The first is told to open, every other is an update; an end is told once none of them goes on.
    pub(super) async fn tell_merged(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        lead: IncidentId,
        changed: &mut Changed,
        merging: &mut Merging,
    ) -> Result<bool, AlertError> {
        let row = self.group(organisation, lead, merging).await?;
        let goes_on = row.parts.iter().any(|(_, is_open)| *is_open);
        let mut wanted: Vec<(Event, Option<String>)> = Vec::new();
        for telling in std::mem::take(&mut changed.tellings) {
            let message = telling.message;
            match telling.event {
                Event::Closed if goes_on => {
                    row.owes_an_end = true;
                    if changed.incident.notify.update {
                        wanted.push((Event::Updated, message));
                    } else {
                        let text = "closed: others it is told with go on".to_owned();
                        let time = changed.incident.updated;
                        changed.notes.push(Note::new(time, None, NoteKind::Withheld, text));
                    }
                }
                Event::Closed => {
                    row.owes_an_end = false;
                    wanted.push((Event::Closed, message));
                }
                // Nobody is told of its opening.
                Event::Updated if !changed.incident.notify.open => wanted.push((Event::Updated, message)),
                _ if row.told => wanted.push((Event::Updated, message)),
                _ => {
                    row.told = true;
                    wanted.push((Event::Opened, message));
                }
            }
        }
        if row.owes_an_end && !goes_on {
            row.owes_an_end = false;
            wanted.push((Event::Closed, None));
        }
        let first = row.tellings + 1;
        row.tellings += u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        changed.notes.retain(|note| note.what != NoteKind::Told);
        let channels = changed.incident.channels.clone();
        let time = changed.incident.updated.max(changed.incident.last_told.unwrap_or(Timestamp::MIN));
        let is_told = !wanted.is_empty();
        for (sequence, (event, message)) in (first..).zip(wanted) {
            let incident = self.together(organisation, lead, merging, message.as_deref()).await?;
            let told = ToldNote::new(sequence, Some(lead), &channels);
            changed.notes.push(Note::of_telling(time, event, told));
            let channels = channels.clone();
            self.tellings.add(batch, &Telling { organisation, channels, sequence, event, time, incident })?;
        }
        Ok(is_told)
    }

    /// Remembers an incident as the batch leaves it.
    pub(super) async fn remember(
        &self,
        organisation: OrganisationId,
        changed: &Changed,
        events: &[UserEvent],
        merging: &mut Merging,
    ) -> Result<(), AlertError> {
        let id = changed.incident.id;
        let mut intervals = match changed.is_new {
            true => Vec::new(),
            false => self.intervals_of(organisation, id, limits::AFFECTED).await?,
        };
        intervals.extend(changed.over.iter().chain(&changed.open).cloned());
        let (incident, events) = (changed.incident.clone(), events.to_vec());
        merging.parts.insert(id, Part { incident, intervals, events });
        Ok(())
    }

    /// Incidents that are told as one, as one.
    async fn together(
        &self,
        organisation: OrganisationId,
        lead: IncidentId,
        merging: &mut Merging,
        message: Option<&str>,
    ) -> Result<Incident, AlertError> {
        let ids: Vec<IncidentId> =
            self.group(organisation, lead, merging).await?.parts.iter().map(|(id, _)| *id).collect();
        // In the order they opened: where time is short, what began it all is told of.
        for id in &ids {
            let Entry::Vacant(vacant) = merging.parts.entry(*id) else { continue };
            match self.read_incident(organisation, *id).await {
                Ok((incident, _)) => {
                    let intervals = self.all_intervals(organisation, &incident, limits::AFFECTED).await?;
                    let found = self.events_within(organisation, &incident, &mut merging.events_within).await;
                    let events = found.map(|found| found.told()).unwrap_or_default();
                    vacant.insert(Part { incident, intervals, events });
                }
                // It was over for long.
                Err(AlertError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let all: Vec<_> = ids.iter().filter_map(|id| merging.parts.get(id)).collect();
        let mut told = Vec::with_capacity(all.len());
        for (at, Part { incident, intervals, events }) in all.iter().enumerate() {
            let mut one = incident.as_told(intervals.clone(), message.filter(|_| at == 0));
            self.add_links(organisation, incident, &mut one).await;
            one.events.clone_from(events);
            told.push(one);
        }
        let is_open = all.iter().any(|part| part.incident.is_open());
        let severity = all
            .iter()
            .map(|part| &part.incident)
            .filter(|incident| !is_open || incident.is_open())
            .map(|incident| incident.severity)
            .max();
        let missing = || StoreError::Damaged(format!("no incident told with {lead} is there"));
        let mut told = told.into_iter();
        let mut one = told.next().ok_or_else(missing)?;
        one.id = lead.to_string();
        one.severity = severity.unwrap_or(one.severity);
        for other in told {
            one.started = one.started.min(other.started);
            one.ended = one.ended.max(other.ended);
            one.alerts.extend(other.alerts);
            let further = other.events.into_iter().filter(|event| !one.events.contains(event));
            let further: Vec<UserEvent> = further.collect();
            one.events.extend(further);
        }
        one.events.sort_by_key(|event| event.started.milliseconds_since(one.started).abs());
        one.events.truncate(limits::EVENTS_TOLD);
        one.ended = one.ended.filter(|_| !is_open);
        one.merged = ids.iter().filter(|id| **id != lead).map(ToString::to_string).collect();
        Ok(one)
    }

    /// Whether incidents go on that are told with this one, which is the first of them; or may, where that does not read.
    pub(crate) async fn leads_open_ones(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
    ) -> Result<bool, AlertError> {
        let key = rows::merged(organisation, id);
        let Some(row) = self.store.get(&key).await? else { return Ok(false) };
        let read = self.store.unread().decode::<MergedRow>(&key, &row);
        Ok(read.is_none_or(|row| row.parts.iter().any(|(_, is_open)| *is_open)))
    }

    /// With which incidents one is told as one: the first of them, and all.
    ///
    /// # Errors
    /// The store's.
    pub async fn merged(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
    ) -> Result<Option<(IncidentId, Vec<IncidentId>)>, AlertError> {
        let Some(row) = self.store.get(&rows::merged_into(organisation, id)).await? else { return Ok(None) };
        let Lead(lead) = decode(&row)?;
        let Some(row) = self.store.get(&rows::merged(organisation, lead)).await? else { return Ok(None) };
        let row: MergedRow = decode(&row)?;
        Ok(Some((lead, row.parts.into_iter().map(|(id, _)| id).collect())))
    }
}
