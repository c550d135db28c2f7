//! Runs as callers see them: listed, looked into, repeated, and forgotten in the end.

mod replay;
mod retention;

use std::collections::{HashMap, HashSet};

use bellwether_kernel::{Cursor, FieldError, OrganisationId, Page, PageRequest, Period, PlaybookId, RunId};
use bellwether_store::{Direction, Key, Row, StoreError, Walk, decode};
use serde_json::Value as Json;

use crate::compile::LONGEST_RUN;
use crate::rows::{PlaybookRef, Record, RecordOf, RunRow};
use crate::{
    PlaybookError, Playbooks, Run, RunFilter, RunState, RunSummary, StepResult, StepState, TriggerKind, rows,
};

pub use replay::ReplayFrom;
pub(crate) use retention::Trimmed;

/// The most items of one page.
pub(crate) const PAGE: usize = 1_000;
/// How many runs one page looks at for those a filter wants; a page that found fewer still leads on.
const LOOKED_AT: usize = 5_000;
/// How many runs one page passes over of which no more than where they are found is read.
const PASSED_OVER: usize = 250_000;
/// Rows read at once.
const ROWS: usize = 256;

impl RunFilter {
    fn wants(&self, row: &RunRow) -> bool {
        self.state.is_none_or(|state| state == row.state)
            && self.trigger.is_none_or(|trigger| trigger == row.triggered_by.kind())
            && self.since.is_none_or(|since| row.created >= since)
            && self.until.is_none_or(|until| row.created < until)
    }

    fn is_narrow(&self) -> bool {
        self.state.is_some() || self.trigger.is_some() || self.since.is_some() || self.until.is_some()
    }
}

/// The least id of a run accepted at `instant`: ids begin with their time in milliseconds, in 48 bits. That of a run within
/// another begins with the time of that one.
fn first_id(instant: bellwether_kernel::Timestamp) -> [u8; 16] {
    let milliseconds = u64::try_from(instant.as_milliseconds()).unwrap_or(0).min((1 << 48) - 1);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    id
}

impl Playbooks {
    /// Runs, newest first. A page may hold fewer than asked for, even none, and still lead to a next one.
    ///
    /// # Errors
    /// [`PlaybookError::Invalid`] for a cursor that is not of this list.
    pub async fn runs(
        &self,
        organisation: OrganisationId,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<RunSummary>, PlaybookError> {
        let prefix = match filter.playbook {
            Some(playbook) => rows::runs(organisation, playbook),
            None => rows::run_indexes(organisation),
        };
        let mut range = prefix.prefix();
        // Before it only those within others are looked for.
        let first = filter.since.map_or([0; 16], first_id);
        let mut within: HashMap<PlaybookId, bool> = HashMap::new();
        if let Some(since) = filter.since {
            let may_be_within = match (filter.trigger, filter.playbook) {
                (None | Some(TriggerKind::Playbook), None) => true,
                (None | Some(TriggerKind::Playbook), Some(playbook)) => {
                    self.may_run_within(organisation, playbook).await?
                }
                (Some(_), _) => false,
            };
            within.extend(filter.playbook.map(|playbook| (playbook, may_be_within)));
            // The id of a run within another begins with the time of that one, which may have run for so long.
            let earlier = if may_be_within { Period(LONGEST_RUN).milliseconds() } else { 0 };
            range.start = prefix.clone().fixed(&first_id(since.saturating_add(-earlier)));
        }
        if let Some(until) = filter.until {
            range.end = prefix.clone().fixed(&first_id(until));
        }
        if let Some(cursor) = &page.cursor {
            if cursor.0.len() != 16 {
                return Err(FieldError::wrong_cursor(cursor).into());
            }
            range.end = prefix.fixed(&cursor.0).min(range.end);
        }
        let limit = page.limit.clamp(1, PAGE);
        let mut items: Vec<RunSummary> = Vec::new();
        let (mut looked_at, mut passed_over) = (0, 0);
        let rows = if filter.is_narrow() { ROWS } else { ROWS.min(limit + 1) };
        while range.start < range.end {
            let found = self.store.scan(range.clone(), Direction::Backward, rows).await?;
            let Some((last, _)) = found.last() else { break };
            range.end = last.clone();
            let unread = self.store.unread();
            for (key, value) in found {
                let run = match filter.playbook {
                    Some(_) => rows::run_of(&key),
                    None => rows::organisation_and_run(&key).map(|(_, run)| run),
                };
                let Some(run) = unread.unless_damaged(&key, run)? else { continue };
                let of = match filter.playbook {
                    Some(playbook) => Some(playbook),
                    None => unread.decode::<PlaybookRef>(&key, &value).map(|of| of.playbook),
                };
                let is_looked_at = match of {
                    Some(of) if *run.0.as_bytes() < first => match within.get(&of) {
                        Some(may_be_within) => *may_be_within,
                        None => {
                            let may_be_within = self.may_run_within(organisation, of).await?;
                            within.insert(of, may_be_within);
                            may_be_within
                        }
                    },
                    _ => true,
                };
                if is_looked_at {
                    looked_at += 1;
                } else {
                    passed_over += 1;
                }
                if items.len() == limit || looked_at > LOOKED_AT || passed_over > PASSED_OVER {
                    // This run is the next page's first: its page ends just behind it.
                    let after = run.0.as_u128().saturating_add(1);
                    return Ok(Page { items, next: Some(Cursor(after.to_be_bytes().to_vec())) });
                }
                let Some(of) = of.filter(|_| is_looked_at) else { continue };
                let (key, row) = match filter.playbook {
                    Some(_) => (key, Some(value)),
                    None => {
                        let key = rows::run(organisation, of, run);
                        let row = self.store.get(&key).await?;
                        (key, row)
                    }
                };
                // Without a row it was removed since.
                let Some(row) = row.and_then(|row| unread.decode::<RunRow>(&key, &row)) else { continue };
                if filter.wants(&row) {
                    items.push(row.summary(run));
                }
            }
        }
        Ok(Page { items, next: None })
    }

    /// One run, whole but for the items of its steps; see [`Self::items`].
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is none of that id.
    pub async fn run(&self, organisation: OrganisationId, id: RunId) -> Result<Run, PlaybookError> {
        let row = self.run_row(organisation, id).await?;
        let mut trigger = Json::Null;
        let mut steps: Vec<StepResult> = Vec::new();
        let mut settled = HashSet::new();
        let mut records = Walk::forward(&*self.store, rows::records(organisation, id).prefix());
        while let Some((key, record)) = records.next().await? {
            match rows::record_of(&key)? {
                RecordOf::Trigger => {
                    trigger = decode::<Record>(&record)?.read(&*self.store, &key).await?;
                }
                RecordOf::Step(position) => {
                    let result: StepResult = decode::<Record>(&record)?.read(&*self.store, &key).await?;
                    if result.state != StepState::Waiting {
                        settled.insert(position);
                    }
                    steps.push(as_it_ended(&row, result));
                }
                // The rest of the items is passed over, of which there may be thousands.
                RecordOf::Item(position, _) => {
                    records.skip_to(rows::items(organisation, id, position).prefix().end);
                }
                RecordOf::Secrets | RecordOf::Outputs => {}
            }
        }
        let mut current_step = None;
        if row.state == RunState::Running
            && let Ok(Some(loaded)) = self.load(organisation, row.playbook, row.playbook_version).await
        {
            let coming = row.coming(&loaded.compiled, |position| !settled.contains(&position));
            current_step = coming.map(|position| loaded.compiled.steps[position].id.clone());
        }
        Ok(Run { summary: row.summary(id), current_step, trigger, steps })
    }

    /// What the items of a run's step came to, in their order.
    ///
    /// # Errors
    /// [`PlaybookError::Unknown`] if there is no such run, or no such step of it; [`PlaybookError::Invalid`] for a
    /// cursor that is not of this list.
    pub async fn items(
        &self,
        organisation: OrganisationId,
        id: RunId,
        step: &str,
        page: &PageRequest,
    ) -> Result<Page<StepResult>, PlaybookError> {
        let row = self.run_row(organisation, id).await?;
        let unknown = || PlaybookError::Unknown { what: "step", name: step.to_owned() };
        let loaded =
            self.load(organisation, row.playbook, row.playbook_version).await?.ok_or_else(unknown)?;
        let position = loaded.compiled.steps.iter().position(|known| known.id == step).ok_or_else(unknown)?;
        let prefix = rows::items(organisation, id, position);
        let mut range = prefix.prefix();
        if let Some(cursor) = &page.cursor {
            if cursor.0.len() != 8 {
                return Err(FieldError::wrong_cursor(cursor).into());
            }
            range.start = prefix.fixed(&cursor.0);
        }
        let limit = page.limit.clamp(1, PAGE);
        let mut items: Vec<StepResult> = Vec::new();
        for (key, record) in self.store.scan(range, Direction::Forward, limit + 1).await? {
            let RecordOf::Item(_, item) = rows::record_of(&key)? else { continue };
            if items.len() == limit {
                let next = Cursor(u64::from(item).to_be_bytes().to_vec());
                return Ok(Page { items, next: Some(next) });
            }
            let result = decode::<Record>(&record)?.read(&*self.store, &key).await?;
            items.push(as_it_ended(&row, result));
        }
        Ok(Page { items, next: None })
    }

    pub(crate) async fn summary(
        &self,
        organisation: OrganisationId,
        id: RunId,
    ) -> Result<RunSummary, PlaybookError> {
        Ok(self.run_row(organisation, id).await?.summary(id))
    }

    async fn run_row(&self, organisation: OrganisationId, id: RunId) -> Result<RunRow, PlaybookError> {
        let unknown = || PlaybookError::Unknown { what: "run", name: id.to_string() };
        let reference = self.store.get(&rows::run_index(organisation, id)).await?.ok_or_else(unknown)?;
        let PlaybookRef { playbook, .. } = decode(&reference)?;
        let row = self.store.get(&rows::run(organisation, playbook, id)).await?.ok_or_else(unknown)?;
        Ok(decode(&row)?)
    }

    /// All rows under `prefix`.
    async fn all(&self, prefix: Key) -> Result<Vec<Row>, StoreError> {
        let (mut found, mut all) = (Walk::forward(&*self.store, prefix.prefix()), Vec::new());
        while let Some(row) = found.next().await? {
            all.push(row);
        }
        Ok(all)
    }
}

/// What waited when its run was ended was cut off, and waits no more.
pub(crate) fn as_it_ended(row: &RunRow, mut result: StepResult) -> StepResult {
    let over = row.state.has_ended() || (row.outcome.is_some() && !result.on_failure);
    if result.state == StepState::Waiting && over {
        result.state = StepState::Cancelled;
        result.waits_until = None;
    }
    result
}
