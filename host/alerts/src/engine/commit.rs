//! What came of an evaluation, as a batch: the state, the incidents with their notes and intervals, the tellings, and the
//! trace of what was decided.

use std::collections::BTreeMap;
use std::time::Duration;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{
    Batch, Direction, Precondition, StoreError, decode, delete_large, encode, get_large, put_large,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Merging;
use crate::evaluate::{Changed, Decided, Move};
use crate::incident::{Interval, cut};
use crate::rows::{self, DecisionRow, NextRow};
use crate::state::MonitorState;
use crate::{AlertError, Alerts, Event, IncidentId, MonitorId, Moved, StoredIncident, Telling, limits};

/// What an evaluation decided, where something came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When it was due.
    pub time: Timestamp,
    /// Series that were known then.
    pub series: u64,
    /// Why it came to nothing, or what it leaves out from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What series did, and why.
    pub lines: Vec<DecisionLine>,
    /// Lines left out.
    #[serde(default)]
    pub more: u64,
}

/// What one series, or one incident, did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionLine {
    /// The series, its tags or `*`; or the incident, by its id.
    pub subject: String,
    /// `opened`, `changed`, `turned`, `closed`, `held`, `moved`; of an incident also `told` and `withheld`.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What was added to a batch of what became of incidents.
pub(crate) struct Put {
    /// Whether something is told.
    pub(crate) is_told: bool,
    /// Whether it holds as many as one commit is to hold.
    pub(crate) is_full: bool,
}

/// The open incidents of a monitor, and the rows they were read from.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) incidents: BTreeMap<IncidentId, StoredIncident>,
    pub(crate) rows: BTreeMap<IncidentId, Bytes>,
}

impl Alerts {
    /// How a monitor's series stand, and how many bytes that takes.
    pub(crate) async fn read_state(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
    ) -> Result<(MonitorState, usize), StoreError> {
        match get_large(&*self.store, &rows::state(organisation, id)).await? {
            Some(bytes) => Ok((decode(&bytes)?, bytes.len())),
            None => Ok((MonitorState::default(), 0)),
        }
    }

    /// Adds a monitor's state to a batch; `before` are the bytes it took. Gives those it takes now.
    pub(crate) async fn put_state(
        &self,
        batch: &mut Batch,
        (organisation, id): (OrganisationId, MonitorId),
        state: &MonitorState,
        before: usize,
    ) -> Result<usize, StoreError> {
        let owner = rows::state(organisation, id);
        let bytes = encode(state);
        if before > bytes.len() {
            delete_large(&*self.store, batch, &owner).await?;
        }
        put_large(batch, &owner, &bytes)?;
        Ok(bytes.len())
    }

    /// The open incidents of a monitor.
    pub(crate) async fn known(
        &self,
        organisation: OrganisationId,
        state: &MonitorState,
    ) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for open in &state.incidents {
            let row = self.store.get(&rows::incident(organisation, open.id)).await?;
            let missing = || StoreError::Damaged(format!("the open incident {} is not there", open.id));
            let row = row.ok_or_else(missing)?;
            known.incidents.insert(open.id, decode(&row)?);
            known.rows.insert(open.id, row);
        }
        Ok(known)
    }

    /// Adds an incident to a batch: its row, notes, intervals and tellings. `stored` is the row it was read from.
    /// Whether somebody is to be woken who is told of it, or follows it.
    pub(crate) async fn put_incident(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        changed: Changed,
        stored: Option<Bytes>,
    ) -> Result<bool, AlertError> {
        let mut merging = Merging::within(limits::EVENTS_WITHIN);
        let is_told = self.put_one(batch, organisation, changed, stored, &mut merging).await?;
        merging.put(batch, organisation)?;
        Ok(is_told)
    }

    async fn put_one(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        mut changed: Changed,
        stored: Option<Bytes>,
        merging: &mut Merging,
    ) -> Result<bool, AlertError> {
        let id = changed.incident.id;
        let key = rows::incident(organisation, id);
        let moved = changed.moved();
        let ends = matches!(moved, Some((Event::Closed, ..)));
        let moved = moved.filter(|_| self.tellings.follows(organisation));
        batch.require(key.clone(), stored.map_or(Precondition::Absent, Precondition::ValueIs));
        let is_seen = ends || moved.is_some() || !changed.tellings.is_empty();
        let events = match is_seen {
            true => self.events_within(organisation, &changed.incident, &mut merging.events_within).await,
            false => None,
        };
        if let Some(events) = events.as_ref().filter(|_| ends) {
            self.keep_events(batch, organisation, id, &events.all)?;
        }
        let events = events.map(|events| events.told()).unwrap_or_default();
        let mut is_told = false;
        if let Some(lead) = self.merge(batch, organisation, &mut changed, merging).await? {
            self.remember(organisation, &changed, &events, merging).await?;
            is_told = self.tell_merged(batch, organisation, lead, &mut changed, merging).await?;
        }
        for note in &changed.notes {
            rows::put(batch, rows::note(organisation, id, changed.incident.notes), encode(note))?;
            changed.incident.notes += 1;
        }
        let first = changed.incident.intervals - changed.over.len() as u64;
        for (number, interval) in (first..).zip(&changed.over) {
            rows::put(batch, rows::interval(organisation, id, number), encode(interval))?;
        }
        rows::put(batch, key, encode(&changed.incident))?;
        match changed.incident.is_open() {
            true => batch.put(rows::open_incident(organisation, id), Bytes::new()),
            false => batch.delete(rows::open_incident(organisation, id)),
        };
        is_told |= !changed.tellings.is_empty();
        if !changed.tellings.is_empty() || moved.is_some() {
            let mut intervals = match changed.is_new {
                true => Vec::new(),
                false => self.intervals_of(organisation, id, limits::AFFECTED).await?,
            };
            intervals.append(&mut changed.over);
            intervals.append(&mut changed.open);
            for telling in &changed.tellings {
                let mut incident = changed.incident.as_told(intervals.clone(), telling.message.as_deref());
                self.add_links(organisation, &changed.incident, &mut incident).await;
                incident.events.clone_from(&events);
                let telling = Telling {
                    organisation,
                    channels: changed.incident.channels.clone(),
                    sequence: telling.sequence,
                    event: telling.event,
                    time: changed.incident.last_told.unwrap_or(changed.incident.updated),
                    incident,
                };
                self.tellings.add(batch, &telling)?;
            }
            if let Some((event, sequence, time)) = moved {
                let (incident, mut as_told) =
                    (changed.incident.clone(), changed.incident.as_told(intervals, None));
                self.add_links(organisation, &incident, &mut as_told).await;
                as_told.events = events;
                let moved = Moved { organisation, event, sequence, time, told: is_told, incident, as_told };
                self.tellings.moved(batch, &moved)?;
            }
        }
        Ok(is_told || moved.is_some())
    }

    /// Adds what became of a monitor's incidents to a batch, of as many as one commit is to hold. What they were read from
    /// is in `known`; events are waited for within `events_within`, of which is taken what that took.
    pub(crate) async fn put_incidents(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        decided: &mut Decided,
        known: &Known,
        events_within: &mut Duration,
    ) -> Result<Put, AlertError> {
        let mut merging = Merging::within(*events_within);
        let mut put = Put { is_told: false, is_full: false };
        let mut bytes = 0;
        while !put.is_full
            && let Some(changed) = decided.next()
        {
            self.meters.incident(&changed);
            let stored = known.rows.get(&changed.incident.id).cloned();
            let mut one = Batch::new();
            put.is_told |= self.put_one(&mut one, organisation, changed, stored, &mut merging).await?;
            bytes += one.bytes();
            put.is_full = bytes >= self.limits.incidents_at_once;
            batch.append(one);
        }
        *events_within = merging.events_within;
        merging.put(batch, organisation)?;
        Ok(put)
    }

    /// The latest breaches of an incident that are over.
    pub(crate) async fn intervals_of(
        &self,
        organisation: OrganisationId,
        id: IncidentId,
        most: usize,
    ) -> Result<Vec<Interval>, StoreError> {
        let range = rows::intervals(organisation, id).prefix();
        let rows = self.store.scan(range, Direction::Backward, most).await?;
        rows.iter().map(|(_, row)| decode(row)).collect()
    }

    /// Adds a decision to a monitor's trace, and drops the one that is one too many.
    pub(crate) fn put_decision(
        &self,
        batch: &mut Batch,
        (organisation, id): (OrganisationId, MonitorId),
        next: &mut NextRow,
        decision: &Decision,
    ) -> Result<(), StoreError> {
        let number = next.decisions;
        next.decisions += 1;
        let text = serde_json::to_string(decision).expect("a decision is plain data");
        rows::put(batch, rows::decision(organisation, id, number), encode(&DecisionRow(text)))?;
        if let Some(old) = number.checked_sub(limits::DECISIONS) {
            batch.delete(rows::decision(organisation, id, old));
        }
        Ok(())
    }
}

impl Decision {
    pub(crate) fn of(time: Timestamp, series: usize, moves: &[Move], changed: &[Changed]) -> Self {
        let of_series = moves.iter().map(|moved| DecisionLine {
            subject: cut(&moved.series()),
            what: moved.what.word().to_owned(),
            why: cut(&format!("{} to {}: {}", moved.from.as_str(), moved.to.as_str(), moved.why)),
        });
        let of_incidents = changed.iter().flat_map(|changed| {
            changed.notes.iter().map(|note| DecisionLine {
                subject: changed.incident.id.to_string(),
                what: serde_json::to_value(note.what)
                    .ok()
                    .and_then(|word| word.as_str().map(str::to_owned))
                    .unwrap_or_default(),
                why: cut(&note.text),
            })
        });
        let mut lines: Vec<DecisionLine> = of_incidents.chain(of_series).collect();
        let all = lines.len();
        lines.truncate(limits::DECISION_LINES);
        let mut room = limits::DECISION;
        // What a character takes in JSON, its text does not say.
        let fits = |line: &DecisionLine| {
            let text = serde_json::to_string(line).expect("a line is plain data");
            let left = room.checked_sub(text.len() + 1);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let kept = lines.iter().map(fits).take_while(|fits| *fits).count();
        lines.truncate(kept);
        let more = (all - kept) as u64;
        Self { time, series: series as u64, problem: None, lines, more }
    }

    pub(crate) fn failed(time: Timestamp, series: usize, problem: &str) -> Self {
        Self { time, series: series as u64, problem: Some(cut(problem)), lines: Vec::new(), more: 0 }
    }
}
