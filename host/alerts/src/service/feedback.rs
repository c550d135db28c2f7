//! What people thought of incidents, as it is stored and found.

use bellwether_access::Principal;
use bellwether_kernel::{MonitorId, OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Batch, Direction, Precondition, StoreError, decode, encode};

use super::{cursor_to, place_of, until_it_holds};
use crate::evaluate::Changed;
use crate::feedback::{Feedback, FeedbackCounts, Opinion, check};
use crate::incident::{Note, NoteKind};
use crate::{AlertError, Alerts, IncidentId, limits, rows};

/// Opinions looked at for one page of a filtered list.
const LOOKED_AT: usize = 10_000;
/// Rows read at a time.
const PAGE: usize = 500;
/// Bytes of an incident and a digest at the end of a key.
const PLACE: usize = 32;

/// Which opinions are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedbackFilter {
    /// Only on this incident.
    pub incident: Option<IncidentId>,
    /// Only on incidents of the monitor of this name or id.
    pub monitor: Option<String>,
    /// Only this one.
    pub opinion: Option<Opinion>,
    /// Only those last changed then or later.
    pub from: Option<Timestamp>,
    /// Only those last changed before.
    pub to: Option<Timestamp>,
}

impl FeedbackFilter {
    fn wants(&self, feedback: &Feedback) -> bool {
        let id: Option<MonitorId> = self.monitor.as_ref().and_then(|text| text.parse().ok());
        let of_monitor = |name: &String| feedback.monitor_name == *name || id == Some(feedback.monitor);
        self.monitor.as_ref().is_none_or(of_monitor)
            && self.opinion.is_none_or(|opinion| feedback.opinion == opinion)
            && self.from.is_none_or(|from| feedback.updated >= from)
            && self.to.is_none_or(|to| feedback.updated < to)
    }
}

impl Alerts {
    /// Says what the principal's key thinks of an incident, in the place of what it thought before; also after it is over.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] for a text that is too long.
    pub async fn judge(
        &self,
        principal: &Principal,
        id: IncidentId,
        opinion: Opinion,
        text: &str,
    ) -> Result<Feedback, AlertError> {
        check(text)?;
        let given = self.turn_feedback(principal, id, Some((opinion, text))).await?;
        given.ok_or_else(|| AlertError::unknown("feedback on the incident", id.to_string()))
    }

    /// Takes back what the principal's key thought of an incident.
    ///
    /// # Errors
    /// [`AlertError::NotFound`] if it thought nothing, or there is no such incident.
    pub async fn withdraw(&self, principal: &Principal, id: IncidentId) -> Result<(), AlertError> {
        self.turn_feedback(principal, id, None).await.map(drop)
    }

    async fn turn_feedback(
        &self,
        principal: &Principal,
        id: IncidentId,
        given: Option<(Opinion, &str)>,
    ) -> Result<Option<Feedback>, AlertError> {
        until_it_holds(|| self.try_turn_feedback(principal, id, given)).await
    }

    async fn try_turn_feedback(
        &self,
        principal: &Principal,
        id: IncidentId,
        given: Option<(Opinion, &str)>,
    ) -> Result<Option<Feedback>, AlertError> {
        let (organisation, now) = (principal.organisation, self.clock.now());
        let (incident, row) = self.read_incident(organisation, id).await?;
        let key = rows::feedback(organisation, id, principal.key.as_str());
        let stored = self.store.get(&key).await?;
        let before: Option<Feedback> = stored.as_ref().map(|row| decode(row)).transpose()?;
        if given.is_none() && before.is_none() {
            return Err(AlertError::unknown("feedback of this key on the incident", id.to_string()));
        }
        let mut batch = Batch::new();
        batch.require(key.clone(), stored.map_or(Precondition::Absent, Precondition::ValueIs));
        let now_said = match given {
            Some((opinion, text)) => {
                let intervals = self.all_intervals(organisation, &incident, limits::AFFECTED).await?;
                let feedback = Feedback {
                    incident: id,
                    monitor: incident.monitor,
                    monitor_name: incident.monitor_name.clone(),
                    opinion,
                    text: text.to_owned(),
                    score: intervals.iter().filter_map(|interval| interval.score).reduce(f64::max),
                    by: (principal.key.as_str().to_owned(), principal.key_name.clone()),
                    created: before.as_ref().map_or(now, |before| before.created),
                    updated: now,
                };
                rows::put(&mut batch, key, encode(&feedback))?;
                Some(feedback)
            }
            None => {
                batch.delete(key);
                None
            }
        };
        let opinions = [&before, &now_said].map(|said| said.as_ref().map(|said| said.opinion));
        self.count_feedback(&mut batch, organisation, incident.monitor, opinions).await?;
        let said = match given {
            Some((opinion, "")) => opinion.as_str().to_owned(),
            Some((opinion, text)) => format!("{}: {text}", opinion.as_str()),
            None => "it is taken back".to_owned(),
        };
        let mut changed = Changed::of(incident, false);
        changed.incident.updated = now;
        let by = Some(principal.key_name.clone());
        changed.notes.push(Note::new(now, by, NoteKind::Judged, said));
        self.put_incident(&mut batch, organisation, changed, Some(row)).await?;
        self.store.commit(batch).await?;
        Ok(now_said)
    }

    /// Counts what was thought of a monitor's incident, if there is that monitor still.
    async fn count_feedback(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        monitor: MonitorId,
        [before, now]: [Option<Opinion>; 2],
    ) -> Result<(), StoreError> {
        let monitor_key = rows::monitor(organisation, monitor);
        let Some(row) = self.store.get(&monitor_key).await? else { return Ok(()) };
        batch.require(monitor_key, Precondition::ValueIs(row));
        let key = rows::feedback_count(organisation, monitor);
        let stored = self.store.get(&key).await?;
        let mut counts: FeedbackCounts =
            stored.as_ref().map_or(Ok(FeedbackCounts::default()), |row| decode(row))?;
        counts.turn(before, now);
        batch.require(key.clone(), stored.map_or(Precondition::Absent, Precondition::ValueIs));
        batch.put(key, encode(&counts));
        Ok(())
    }

    /// How many opinions a monitor's incidents got.
    pub(crate) async fn feedback_counts(
        &self,
        organisation: OrganisationId,
        monitor: MonitorId,
    ) -> Result<FeedbackCounts, StoreError> {
        let row = self.store.get(&rows::feedback_count(organisation, monitor)).await?;
        row.map_or(Ok(FeedbackCounts::default()), |row| decode(&row))
    }

    /// What people thought, on those incidents first that opened last. A page may be short where few of those looked at
    /// are wanted.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn feedback(
        &self,
        organisation: OrganisationId,
        filter: &FeedbackFilter,
        page: &PageRequest,
    ) -> Result<Page<Feedback>, AlertError> {
        let all = rows::all_feedback(organisation);
        let mut range = match filter.incident {
            Some(incident) => rows::feedback_on(organisation, incident).prefix(),
            None => all.prefix(),
        };
        if let Some(place) = place_of(page, PLACE)? {
            range.end = all.fixed(place).successor().min(range.end);
        }
        let (mut items, mut looked_at) = (Vec::new(), 0);
        loop {
            let found = self.store.scan(range.clone(), Direction::Backward, PAGE).await?;
            let more = found.len() == PAGE;
            for (key, row) in found {
                if items.len() == page.limit || looked_at == LOOKED_AT {
                    return Ok(Page { items, next: Some(cursor_to(&key, PLACE)) });
                }
                looked_at += 1;
                range.end = key;
                let feedback: Feedback = decode(&row)?;
                items.extend(Some(feedback).filter(|feedback| filter.wants(feedback)));
            }
            if !more {
                return Ok(Page { items, next: None });
            }
        }
    }
}
