//! The events of an incident, looked up or as its end kept them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bellwether_kernel::{OrganisationId, RecordId, Timestamp};
use bellwether_records::{Content, Nearest, Record, RecordKind};
use bellwether_store::{Batch, decode, encode, get_large, put_large};
use tokio::time::Instant;

use super::{CorrelatedEvent, CorrelatedEvents, EventOrigin};
use crate::monitor::{CATEGORY, EventRule};
use crate::{
    AlertError, Alerts, CalendarEntry, EntryKind, IncidentId, StoredIncident, UserEvent, limits, rows,
};

/// How long what is about to be told waits for its events; without them it is told all the same.
const PATIENCE: Duration = Duration::from_millis(500);

/// For how long nothing that is told waits for events, after they were not found in time once, in milliseconds: so that a
/// storm of incidents costs evaluations a moment in each of these spans, not in each of them.
const REST: i64 = 10_000;

/// What is known of an incident's events as something of it is committed.
pub(crate) struct Found {
    pub(crate) all: CorrelatedEvents,
    /// Whether channels are told.
    tell: bool,
}

impl Found {
    /// Those that channels are told.
    pub(crate) fn told(&self) -> Vec<UserEvent> {
        let told = self.all.events.iter().filter(|_| self.tell).take(limits::EVENTS_TOLD);
        told.map(CorrelatedEvent::as_told).collect()
    }
}

impl Alerts {
    /// The events that belong to an incident: those its end kept, or what is found now.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; what the search for events says.
    pub async fn incident_events(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
    ) -> Result<CorrelatedEvents, AlertError> {
        let incident = self.incident(organisation, id).await?;
        if let Some(kept) = get_large(&*self.store, &rows::incident_events(organisation, id)).await? {
            return Ok(decode(&kept)?);
        }
        let rule = self.event_rule(organisation, &incident).await?;
        self.correlate(organisation, &incident, &rule, None).await
    }

    /// The same for something that does not wait: nothing, where they are not found in time.
    pub(crate) async fn events_in_haste(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
    ) -> Option<Found> {
        self.events_within(organisation, incident, &mut { PATIENCE }).await
    }

    /// The same where so much time is left, off which what it takes is taken.
    pub(crate) async fn events_within(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
        left: &mut Duration,
    ) -> Option<Found> {
        if left.is_zero() {
            self.meters.events_skipped();
            return None;
        }
        let now = self.clock.now().as_milliseconds();
        let rest = self.events_rest.load(Ordering::Relaxed).saturating_sub(now);
        // A clock that was set back makes it no longer.
        if (1..=REST).contains(&rest) {
            self.meters.events_skipped();
            return None;
        }
        let began = Instant::now();
        let found = async {
            let rule = self.event_rule(organisation, incident).await?;
            // What the end of one that is over kept need not be looked for.
            let kept = match incident.is_open() {
                true => None,
                false => get_large(&*self.store, &rows::incident_events(organisation, incident.id)).await?,
            };
            let all = match kept {
                Some(kept) => decode(&kept)?,
                None => self.correlate(organisation, incident, &rule, Some(PATIENCE.min(*left))).await?,
            };
            Ok::<_, AlertError>(Found { all, tell: rule.tell })
        };
        let found = found.await;
        *left = left.saturating_sub(began.elapsed());
        self.meters.events_found(found.is_ok());
        found
            .inspect_err(|error| {
                tracing::warn!(incident = %incident.id, %error, "an incident goes on without its events");
                self.events_rest.store(now.saturating_add(REST), Ordering::Relaxed);
            })
            .ok()
    }

    /// Adds to the batch of an incident's end what is known of its events.
    pub(crate) fn keep_events(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: IncidentId,
        all: &CorrelatedEvents,
    ) -> Result<(), AlertError> {
        let kept = CorrelatedEvents { kept: true, ..all.clone() };
        Ok(put_large(batch, &rows::incident_events(organisation, id), &encode(&kept))?)
    }

    /// Which events belong to an incident, by the version of its monitor that opened it.
    async fn event_rule(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
    ) -> Result<Arc<EventRule>, AlertError> {
        let (monitor, version) = (incident.monitor, incident.monitor_version);
        let compiled = self.find_version(organisation, monitor, version).await?;
        Ok(compiled.map_or_else(Arc::default, |compiled| Arc::clone(&compiled.events)))
    }

    async fn correlate(
        &self,
        organisation: OrganisationId,
        incident: &StoredIncident,
        rule: &Arc<EventRule>,
        patience: Option<Duration>,
    ) -> Result<CorrelatedEvents, AlertError> {
        let breach = incident.started;
        let start = breach.saturating_add(-rule.before);
        let end = incident.closed.unwrap_or_else(|| self.clock.now()).max(breach);
        let near = Nearest {
            kind: RecordKind::Event,
            to: breach,
            start,
            end,
            limit: limits::EVENTS,
            budget: limits::EVENTS_LOOKED_AT,
        };
        let subject = rule.subject(incident);
        let wanted = {
            let (rule, subject) = (Arc::clone(rule), subject.clone());
            Arc::new(move |record: &Record| rule.wants(&subject, record))
        };
        let found = self.events.nearest(organisation, near, wanted, patience).await?;
        let of_record =
            |record: Record| CorrelatedEvent::of(EventOrigin::Event(record.id), record.content, None, breach);
        let mut events: Vec<CorrelatedEvent> = found.records.into_iter().map(of_record).collect();
        let calendar = self.calendar(organisation).await?;
        for (entry, span) in calendar.iter().flat_map(|calendar| calendar.spans((start, end), breach)) {
            let record = Record { id: RecordId(0), content: content(entry, span.0) };
            if is_about(entry, incident, rule) && rule.wants(&subject, &record) {
                let origin = EventOrigin::Calendar(entry.id);
                events.push(CorrelatedEvent::of(origin, record.content, span.1, breach));
            }
        }
        events.sort_by_key(CorrelatedEvent::distance);
        let complete = found.complete && events.len() <= limits::EVENTS;
        events.truncate(limits::EVENTS);
        Ok(CorrelatedEvents { events, complete, kept: false })
    }
}

/// Whether an entry of the calendar is about the monitor of an incident.
fn is_about(entry: &CalendarEntry, incident: &StoredIncident, rule: &EventRule) -> bool {
    let labels = incident.labels.iter().cloned().collect();
    entry.scope.covers_monitor(&incident.monitor_name, &labels)
        && (entry.metrics.is_empty() || rule.metrics.iter().any(|metric| entry.metrics.contains(metric)))
}

/// An entry of the calendar as an event that began then.
fn content(entry: &CalendarEntry, started: Timestamp) -> Content {
    let tags = entry.scope.tags.iter().map(|(key, value)| format!("{key}:{value}"));
    Content {
        time: started,
        title: entry.name.clone(),
        message: entry.reason.clone(),
        source: "calendar".to_owned(),
        tags: tags.chain([format!("{CATEGORY}:{}", EntryKind::Suppress.as_str())]).collect(),
        ..Content::default()
    }
}
