//! Incidents as they are found, and what people do to them.

use std::collections::HashMap;

use bellwether_kernel::{ErrorKind, FieldError, MonitorId, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Batch, Direction, Key, Precondition, Row, Space, Walk, decode, delete_large};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{By, Subject, cursor_to, place_of, until_it_holds};
use crate::delivery::keys;
use crate::evaluate::{Changed, interval};
use crate::incident::{Acknowledgement, Interval, Note, NoteKind};
use crate::{AlertError, Alerts, Event, IncidentId, Level, Severity, StoredIncident, limits, rows};

/// Incidents looked at for one page of a filtered list.
const LOOKED_AT: usize = 10_000;
/// Rows read, or removed, at a time.
const PAGE: usize = 500;

/// Whether an incident goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// It does.
    Open,
    /// It is over.
    Closed,
}

/// Which incidents are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IncidentFilter {
    /// Only those.
    pub state: Option<IncidentState>,
    /// Only of the monitor of this name or id.
    pub monitor: Option<String>,
    /// Only so severe ones, or worse: what goes on by its severity now, what is over by the worst it had.
    pub severity: Option<Severity>,
    /// Only those with these labels.
    pub labels: Vec<(String, String)>,
    /// Only those somebody acknowledged, or nobody did.
    pub acknowledged: Option<bool>,
    /// Only those this one looks after.
    pub assignee: Option<String>,
    /// Only those opened then or later.
    pub from: Option<Timestamp>,
    /// Only those opened before.
    pub to: Option<Timestamp>,
}

impl IncidentFilter {
    fn wants(&self, incident: &StoredIncident) -> bool {
        let id: Option<MonitorId> = self.monitor.as_ref().and_then(|text| text.parse().ok());
        let of_monitor = |name: &String| incident.monitor_name == *name || id == Some(incident.monitor);
        self.state.is_none_or(|state| incident.is_open() == (state == IncidentState::Open))
            && self.monitor.as_ref().is_none_or(of_monitor)
            && self.severity.is_none_or(|severity| incident.severity_to_find() >= severity)
            && self.labels.iter().all(|label| incident.labels.contains(label))
            && self.acknowledged.is_none_or(|known| incident.acknowledgement.is_some() == known)
            && self.assignee.as_ref().is_none_or(|assignee| incident.assignee.as_ref() == Some(assignee))
            && self.from.is_none_or(|from| incident.opened >= from)
            && self.to.is_none_or(|to| incident.opened < to)
    }
}

impl Alerts {
    /// Incidents, those that opened last first. A page may be short where few of those looked at are wanted.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn incidents(
        &self,
        organisation: OrganisationId,
        filter: &IncidentFilter,
        page: &PageRequest,
    ) -> Result<Page<StoredIncident>, AlertError> {
        let only_open = filter.state == Some(IncidentState::Open);
        let prefix =
            if only_open { rows::open_incidents(organisation) } else { rows::incidents(organisation) };
        let mut range = prefix.prefix();
        if let Some(place) = place_of(page, 16)? {
            range.end = prefix.fixed(place).successor();
        }
        let (mut items, mut looked_at) = (Vec::new(), 0);
        loop {
            let found = self.store.scan(range.clone(), Direction::Backward, PAGE).await?;
            let more = found.len() == PAGE;
            for (key, row) in found {
                if items.len() == page.limit || looked_at == LOOKED_AT {
                    return Ok(Page { items, next: Some(cursor_to(&key, 16)) });
                }
                looked_at += 1;
                let found = match only_open {
                    true => self.opened_by(organisation, &key).await?,
                    false => Some((key.clone(), row)),
                };
                let incident =
                    found.and_then(|(key, row)| self.store.unread().decode::<StoredIncident>(&key, &row));
                items.extend(incident.filter(|incident| filter.wants(incident)));
                range.end = key;
            }
            if !more {
                return Ok(Page { items, next: None });
            }
        }
    }

    /// The row of the incident that a row says is open; gone if it was removed meanwhile.
    async fn opened_by(&self, organisation: OrganisationId, open: &Key) -> Result<Option<Row>, AlertError> {
        let Some(id) = self.store.unread().unless_damaged(open, rows::incident_of(open))? else {
            return Ok(None);
        };
        let key = rows::incident(organisation, id);
        Ok(self.store.get(&key).await?.map(|row| (key, row)))
    }

    /// How the monitors stand that have open incidents: at the worst level of theirs.
    ///
    /// # Errors
    /// The store's.
    pub async fn open_levels(
        &self,
        organisation: OrganisationId,
    ) -> Result<HashMap<MonitorId, Level>, AlertError> {
        let mut levels = HashMap::new();
        let mut open = Walk::forward(&*self.store, rows::open_incidents(organisation).prefix());
        while let Some((open, _)) = open.next().await? {
            let found = self.opened_by(organisation, &open).await?;
            let incident =
                found.and_then(|(key, row)| self.store.unread().decode::<StoredIncident>(&key, &row));
            let Some(incident) = incident else { continue };
            let level = levels.entry(incident.monitor).or_insert(incident.level);
            *level = incident.level.max(*level);
        }
        Ok(levels)
    }

    /// One incident.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn incident(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
    ) -> Result<StoredIncident, AlertError> {
        Ok(self.read_incident(organisation, id).await?.0)
    }

    /// The breaches of an incident's series: those that go on, then the latest that are over.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn incident_intervals(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
        most: usize,
    ) -> Result<Vec<Interval>, AlertError> {
        let incident = self.incident(organisation, id).await?;
        self.all_intervals(organisation, &incident, most).await
    }

    pub(crate) async fn all_intervals(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
        most: usize,
    ) -> Result<Vec<Interval>, AlertError> {
        let mut all = self.open_intervals(organisation, incident).await?;
        all.truncate(most);
        all.extend(self.intervals_of(organisation, incident.id, most - all.len()).await?);
        Ok(all)
    }

    pub(super) async fn open_intervals(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
    ) -> Result<Vec<Interval>, AlertError> {
        if !incident.is_open() {
            return Ok(Vec::new());
        }
        let (state, _) = self.read_state(organisation, incident.monitor).await?;
        let of_incident =
            state.series.iter().filter(|series| incident.tags.iter().all(|tag| series.tags.contains(tag)));
        Ok(of_incident.filter_map(interval).collect())
    }

    /// What happened to an incident, and why its channels were told or not, oldest first. Where they are told, what
    /// became of it is said, too, if a channel did not simply take it.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn incident_trace(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
        page: &PageRequest,
    ) -> Result<Page<Note>, AlertError> {
        self.incident(organisation, id).await?;
        let found = self.numbered(rows::notes(organisation, id), Direction::Forward, page).await?;
        let mut notes = found.try_map(|(_, row)| Ok::<_, AlertError>(decode(&row)?))?;
        self.add_fates(organisation, id, &mut notes.items).await?;
        Ok(notes)
    }

    /// Says that an incident is known: it is not told again until it becomes worse. Said twice by the same key it is said
    /// once.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Conflict`] if it is over.
    pub async fn acknowledge(
        &self,
        by: impl Into<By<'_>>,
        id: IncidentId,
    ) -> Result<StoredIncident, AlertError> {
        let (caller, now) = (by.into(), self.clock.now());
        let known = |incident: &mut StoredIncident| {
            let (by, severity) = (caller.key_name.clone(), incident.severity);
            let before = incident.acknowledgement.as_ref();
            if before.is_some_and(|known| known.by == by && known.severity >= severity) {
                return None;
            }
            incident.acknowledgement = Some(Acknowledgement { by, at: now, severity });
            Some((NoteKind::Acknowledged, String::new()))
        };
        self.touch(caller, id, true, known).await
    }

    /// Says who looks after an incident; nobody, if it is not said.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Conflict`] if it is over.
    pub async fn assign(
        &self,
        by: impl Into<By<'_>>,
        id: IncidentId,
        assignee: Option<String>,
    ) -> Result<StoredIncident, AlertError> {
        if let Some(name) = assignee.as_ref().filter(|name| !(1..=limits::NAME).contains(&name.len())) {
            let expected = format!("a name of 1 to {} bytes, or null", limits::NAME);
            return Err(FieldError::new("assignee", name, expected).into());
        }
        let assigned = |incident: &mut StoredIncident| {
            if incident.assignee == assignee {
                return None;
            }
            incident.assignee.clone_from(&assignee);
            Some((NoteKind::Assigned, assignee.clone().unwrap_or_else(|| "nobody".to_owned())))
        };
        self.touch(by.into(), id, true, assigned).await
    }

    /// Says something about an incident, also after it is over.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn comment(
        &self,
        by: impl Into<By<'_>>,
        id: IncidentId,
        text: &str,
    ) -> Result<StoredIncident, AlertError> {
        let length = text.chars().count();
        if !(1..=limits::MESSAGE).contains(&length) {
            let expected = format!("1 to {} characters", limits::MESSAGE);
            return Err(FieldError::new("text", text, expected).into());
        }
        self.touch(by.into(), id, false, |_| Some((NoteKind::Commented, text.to_owned()))).await
    }

    /// Changes an incident on behalf of somebody, and tells of it where the monitor tells of updates. Without a change
    /// nothing happens: who asks again because an answer was lost is not told of twice.
    async fn touch(
        &self,
        by: By<'_>,
        id: IncidentId,
        needs_open: bool,
        change: impl Fn(&mut StoredIncident) -> Option<(NoteKind, String)>,
    ) -> Result<StoredIncident, AlertError> {
        until_it_holds(|| self.try_touch(by, id, needs_open, &change)).await
    }

    async fn try_touch(
        &self,
        by: By<'_>,
        id: IncidentId,
        needs_open: bool,
        change: impl Fn(&mut StoredIncident) -> Option<(NoteKind, String)>,
    ) -> Result<StoredIncident, AlertError> {
        let organisation = by.organisation;
        let (mut incident, stored) = self.read_incident(organisation, id).await?;
        if needs_open && !incident.is_open() {
            return Err(AlertError::Conflict(format!("the incident {id} is over")));
        }
        let now = self.clock.now();
        let mut batch = by.joined(Subject::Incident(id));
        let Some((what, text)) = change(&mut incident) else {
            if !batch.is_empty() {
                self.store.commit(batch).await?;
            }
            return Ok(incident);
        };
        incident.updated = now;
        let mut changed = Changed::of(incident, false);
        changed.notes.push(Note::new(now, Some(by.key_name.clone()), what, text));
        let incident = &changed.incident;
        if needs_open && incident.is_followed() && incident.notify.update {
            changed.open = self.open_intervals(organisation, incident).await?;
            changed.tell(now, Event::Updated, None);
        }
        let mut incident = changed.incident.clone();
        incident.notes += changed.notes.len() as u64;
        let is_told = self.put_incident(&mut batch, organisation, changed, Some(stored)).await?;
        self.store.commit(batch).await?;
        if is_told {
            self.tellings.committed();
        }
        Ok(incident)
    }

    pub(crate) async fn read_incident(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
    ) -> Result<(StoredIncident, Bytes), AlertError> {
        let row = self.store.get(&rows::incident(organisation, id)).await?;
        let row = row.ok_or_else(|| AlertError::unknown("incident", id.to_string()))?;
        Ok((decode(&row)?, row))
    }

    /// Removes incidents that closed before `before`, in every organisation, until `budget` rows went or more: each goes with
    /// all that belongs to it. How many rows went; the next call goes on behind them.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep(&self, before: Timestamp, budget: usize) -> Result<usize, AlertError> {
        let all = Key::new(Space::Incident).prefix();
        let begin = self.swept.lock().take().unwrap_or(all.start);
        let mut incidents = Walk::forward(&*self.store, begin..all.end.clone());
        let mut removed = 0;
        while let Some((key, row, incident)) = incidents.next_of::<StoredIncident>().await? {
            let organisation = key.fields().number().map(OrganisationId).unwrap_or(OrganisationId(0));
            if incident.opened >= before {
                // Nor can one have closed sooner that opened later, as those behind it in its organisation.
                let behind = rows::incidents(organisation).prefix().end;
                incidents = Walk::forward(&*self.store, behind..all.end.clone());
                continue;
            }
            let is_kept = incident.closed.is_none_or(|closed| closed >= before);
            if is_kept || self.leads_open_ones(organisation, incident.id).await? {
                continue;
            }
            removed += self.forget(organisation, &incident, row).await?;
            if removed >= budget {
                *self.swept.lock() = Some(key.successor());
                break;
            }
        }
        Ok(removed)
    }

    /// Removes what belongs to an incident, some rows at a time, and the incident itself last, so that what is cut off here
    /// is found again. How many rows went.
    async fn forget(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
        stored: Bytes,
    ) -> Result<usize, AlertError> {
        let (id, mut batch, mut removed) = (incident.id, Batch::new(), 0);
        for prefix in [
            rows::notes(organisation, id),
            rows::intervals(organisation, id),
            rows::feedback_on(organisation, id),
            rows::acts(organisation, id),
            rows::clicks(organisation, id),
        ] {
            let mut found = Walk::forward(&*self.store, prefix.prefix());
            while let Some((key, _)) = found.next().await? {
                batch.delete(key);
                removed += 1;
                if removed % PAGE == 0 {
                    self.store.commit(std::mem::take(&mut batch)).await?;
                }
            }
        }
        delete_large(&*self.store, &mut batch, &rows::incident_events(organisation, id)).await?;
        for channel in &incident.channels {
            batch.delete(keys::memory(organisation, channel, &id.to_string()));
        }
        batch.delete(rows::merged(organisation, id)).delete(rows::merged_into(organisation, id));
        let key = rows::incident(organisation, id);
        batch.require(key.clone(), Precondition::ValueIs(stored)).delete(key);
        match self.store.commit(batch).await {
            // Somebody commented on it just now: the next sweep sees it again.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => drop(done?),
        }
        Ok(removed + 1)
    }
}
