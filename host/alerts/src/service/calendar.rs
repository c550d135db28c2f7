//! The calendar as it is stored and found, and what it says to an evaluation.

use std::sync::Arc;

use bellwether_access::Principal;
use bellwether_kernel::{FieldError, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Batch, Direction, Precondition, Space, decode, encode};
use bytes::Bytes;

use super::{forgotten, until_it_holds};
use crate::calendar::{Calendar, CalendarEntry, EntryId, EntryKind, NewEntry, Quiet};
use crate::evaluate::Changed;
use crate::incident::{Note, NoteKind};
use crate::monitor::Compiled;
use crate::rows;
use crate::{AlertError, Alerts, IncidentId, Scope, limits};

/// The version of a calendar, as its row is, and what it says.
pub(crate) type Kept = (Option<Bytes>, Arc<Calendar>);

impl Alerts {
    /// Stores an entry, and forgets those that have been over for 30 days, and the oldest of more than [`limits::CALENDAR`]
    /// that are over.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] names the field that is wrong; [`AlertError::Limit`].
    pub async fn create_entry(
        &self,
        principal: &Principal,
        new: NewEntry,
    ) -> Result<CalendarEntry, AlertError> {
        until_it_holds(|| async {
            let mut batch = Batch::new();
            let entry = self.add_entry(&mut batch, principal, &new, None).await?;
            self.store.commit(batch).await?;
            Ok(entry)
        })
        .await
    }

    async fn add_entry(
        &self,
        batch: &mut Batch,
        principal: &Principal,
        new: &NewEntry,
        incident: Option<IncidentId>,
    ) -> Result<CalendarEntry, AlertError> {
        let (organisation, now) = (principal.organisation, self.clock.now());
        new.check(now)?;
        let (mut in_force, mut over) = (0, Vec::new());
        for entry in self.all_entries(organisation).await? {
            match entry.end {
                Some(end) if end <= now => over.push((end, entry.id)),
                _ => in_force += 1,
            }
        }
        for id in forgotten(over, now, limits::CALENDAR) {
            batch.delete(rows::calendar_entry(organisation, id));
        }
        if in_force >= limits::CALENDAR {
            let limit = limits::CALENDAR as u64;
            return Err(AlertError::Limit { what: "entries of a calendar", limit });
        }
        let id = EntryId(self.count(batch, Space::Calendar, organisation).await?);
        let entry = CalendarEntry { incident, ..stored(id, new, new.start.unwrap_or(now), now, principal) };
        rows::put(batch, rows::calendar_entry(organisation, id), encode(&entry))?;
        self.turn_calendar(batch, organisation).await?;
        let details = [("name", entry.name.clone()), ("kind", entry.kind.as_str().to_owned())];
        self.audit(batch, principal, "calendar.create", &id.to_string(), &details);
        Ok(entry)
    }

    /// Puts an entry in the place of one.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] names the field that is wrong.
    pub async fn replace_entry(
        &self,
        principal: &Principal,
        id: EntryId,
        new: NewEntry,
    ) -> Result<CalendarEntry, AlertError> {
        until_it_holds(|| self.try_replace_entry(principal, id, &new)).await
    }

    async fn try_replace_entry(
        &self,
        principal: &Principal,
        id: EntryId,
        new: &NewEntry,
    ) -> Result<CalendarEntry, AlertError> {
        let (organisation, now) = (principal.organisation, self.clock.now());
        let (before, row) = self.read_entry(organisation, id).await?;
        let start = new.start.unwrap_or(before.start);
        NewEntry { start: Some(start), ..new.clone() }.check(now)?;
        let entry = CalendarEntry { incident: before.incident, ..stored(id, new, start, now, principal) };
        let key = rows::calendar_entry(organisation, id);
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(row));
        rows::put(&mut batch, key, encode(&entry))?;
        self.turn_calendar(&mut batch, organisation).await?;
        self.audit(&mut batch, principal, "calendar.change", &id.to_string(), &[]);
        self.store.commit(batch).await?;
        Ok(entry)
    }

    /// Deletes an entry: the series it was about are looked at again.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn delete_entry(&self, principal: &Principal, id: EntryId) -> Result<(), AlertError> {
        until_it_holds(|| self.try_delete_entry(principal, id)).await
    }

    async fn try_delete_entry(&self, principal: &Principal, id: EntryId) -> Result<(), AlertError> {
        let organisation = principal.organisation;
        let (_, row) = self.read_entry(organisation, id).await?;
        let key = rows::calendar_entry(organisation, id);
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(row)).delete(key);
        self.turn_calendar(&mut batch, organisation).await?;
        self.audit(&mut batch, principal, "calendar.delete", &id.to_string(), &[]);
        batch.frees();
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Snoozes the series of an incident until a time: all that share its tags, or the one of this name. Its trace says
    /// so.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Conflict`] if it is over; [`AlertError::Invalid`] for a time that is past,
    /// or a series that does not breach.
    pub async fn snooze(
        &self,
        principal: &Principal,
        id: IncidentId,
        series: Option<&str>,
        until: Timestamp,
    ) -> Result<CalendarEntry, AlertError> {
        until_it_holds(|| self.try_snooze(principal, id, series, until)).await
    }

    async fn try_snooze(
        &self,
        principal: &Principal,
        id: IncidentId,
        series: Option<&str>,
        until: Timestamp,
    ) -> Result<CalendarEntry, AlertError> {
        let (organisation, now) = (principal.organisation, self.clock.now());
        let (mut incident, row) = self.read_incident(organisation, id).await?;
        if !incident.is_open() {
            return Err(AlertError::Conflict(format!("the incident {id} is over")));
        }
        let (name, tags, metric) = match series {
            None => (incident.title.clone(), incident.tags.clone(), None),
            Some(name) => {
                let open = self.open_intervals(organisation, &incident).await?;
                let found = open.into_iter().find(|interval| interval.series == name);
                let wrong = || FieldError::new("series", name, "a series of the incident that breaches");
                let interval = found.ok_or_else(wrong)?;
                (interval.series, interval.tags, interval.metric)
            }
        };
        // As it is called now, which may be other than when the incident opened.
        let monitor = self.find(organisation, &incident.monitor.to_string()).await?;
        let scope =
            Scope { monitors: vec![monitor.row.name], tags: tags.into_iter().collect(), ..Scope::default() };
        let new = NewEntry {
            name: name.chars().take(limits::TITLE).collect(),
            kind: EntryKind::Snooze,
            scope,
            metrics: metric.into_iter().collect(),
            everything: false,
            start: Some(now),
            end: Some(until),
            repeat: None,
            reason: String::new(),
        };
        let mut batch = Batch::new();
        let entry = self.add_entry(&mut batch, principal, &new, Some(id)).await?;
        incident.updated = now;
        let mut changed = Changed::of(incident, false);
        let text = format!("{} until {until}, by calendar entry {}", entry.name, entry.id);
        let by = Some(principal.key_name.clone());
        changed.notes.push(Note::new(now, by, NoteKind::Snoozed, text));
        self.put_incident(&mut batch, organisation, changed, Some(row)).await?;
        self.store.commit(batch).await?;
        Ok(entry)
    }

    /// One entry.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn entry(
        &self,
        organisation: OrganisationId,
        id: EntryId,
    ) -> Result<CalendarEntry, AlertError> {
        Ok(self.read_entry(organisation, id).await?.0)
    }

    /// Every entry, those over for up to 30 days included, ordered by id.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn entries(
        &self,
        organisation: OrganisationId,
        page: &PageRequest,
    ) -> Result<Page<CalendarEntry>, AlertError> {
        let found = self.numbered(rows::calendar(organisation), Direction::Forward, page).await?;
        found.try_map(|(_, row)| Ok(decode(&row)?))
    }

    /// What the calendar says of a monitor's series at an evaluation at `at`, the last of which that came to something was
    /// at `looked`.
    pub(crate) async fn quiet(
        &self,
        organisation: OrganisationId,
        compiled: &Compiled,
        at: Timestamp,
        looked: Option<Timestamp>,
    ) -> Result<Quiet, AlertError> {
        let Some(calendar) = self.calendar(organisation).await? else { return Ok(Quiet::default()) };
        let end =
            |at: Timestamp| Timestamp::from_milliseconds(compiled.end(at.as_milliseconds())).unwrap_or(at);
        // What is further back counts for nothing.
        let recovery = compiled.anomaly.as_ref().and_then(|anomaly| anomaly.recovery_window).unwrap_or(0);
        let longest = compiled.window.max(compiled.missing_after).max(recovery);
        let reach = end(at).saturating_add(-longest);
        let since = looked.map_or(reach, |looked| end(looked).max(reach));
        Ok(calendar.quiet(compiled, (at, end(at)), since))
    }

    /// The calendar, of an organisation that has one.
    pub(crate) async fn calendar(
        &self,
        organisation: OrganisationId,
    ) -> Result<Option<Arc<Calendar>>, AlertError> {
        let version = self.store.get(&rows::calendar_version(organisation)).await?;
        if version.is_none() {
            return Ok(None);
        }
        let known = self.calendars.lock().get(&organisation).cloned();
        if let Some((_, calendar)) = known.filter(|(kept, _)| *kept == version) {
            return Ok(Some(calendar));
        }
        // Entries that are newer than the version are read again once it is.
        let calendar = Arc::new(Calendar::read(&self.all_entries(organisation).await?));
        let mut kept = self.calendars.lock();
        if kept.len() >= limits::CALENDARS_IN_MEMORY {
            kept.clear();
        }
        kept.insert(organisation, (version, Arc::clone(&calendar)));
        Ok(Some(calendar))
    }

    /// Makes the version of a calendar another.
    async fn turn_calendar(&self, batch: &mut Batch, organisation: OrganisationId) -> Result<(), AlertError> {
        self.add_one(batch, rows::calendar_version(organisation)).await?;
        Ok(())
    }

    async fn read_entry(
        &self,
        organisation: OrganisationId,
        id: EntryId,
    ) -> Result<(CalendarEntry, Bytes), AlertError> {
        let row = self.store.get(&rows::calendar_entry(organisation, id)).await?;
        let row = row.ok_or_else(|| AlertError::unknown("entry of the calendar", id.to_string()))?;
        Ok((decode(&row)?, row))
    }

    async fn all_entries(&self, organisation: OrganisationId) -> Result<Vec<CalendarEntry>, AlertError> {
        let range = rows::calendar(organisation).prefix();
        let rows = self.store.scan(range, Direction::Forward, 2 * limits::CALENDAR).await?;
        Ok(rows.iter().filter_map(|(key, row)| self.store.unread().decode(key, row)).collect())
    }
}

fn stored(
    id: EntryId,
    new: &NewEntry,
    start: Timestamp,
    now: Timestamp,
    principal: &Principal,
) -> CalendarEntry {
    let NewEntry { name, kind, scope, metrics, end, repeat, reason, .. } = new.clone();
    let (updated, updated_by) = (now, principal.key_name.clone());
    CalendarEntry {
        id,
        name,
        kind,
        scope,
        metrics,
        start,
        end,
        repeat,
        reason,
        incident: None,
        updated,
        updated_by,
    }
}
