//! Works a run off: finds what is next from what is recorded and nothing else, takes the step, records it. Each
//! result is committed before the next step begins, the last one together with the run's end. Between two steps, or two
//! items of one, it is let go of where its organisation is suspended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bellwether_access::AccessError;
use bellwether_kernel::{OrganisationId, Period, RunId, Timestamp};
use bellwether_store::{Batch, StoreError};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Map;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::fence::Failure;
use super::recall::{Begun, Recalled};
use super::record::{ERROR_BYTES, shortened};
use super::step::{Took, Waits, next_attempt};
use super::workers::Worker;
use crate::compile::{Compiled, FAILURE_TIME};
use crate::rows::{OpenRun, RunRow};
use crate::secrets::Secrets;
use crate::service::Loaded;
use crate::{PlaybookError, Playbooks, RunState, StepResult, StepState};

/// A wait up to this is waited out by the run's own task; for a longer one the run is let go of.
const HELD: Duration = Duration::from_secs(1);

/// A run that is this host's, with the version of its playbook it began with.
pub(super) struct Work {
    pub(super) organisation: OrganisationId,
    pub(super) id: RunId,
    pub(super) loaded: Arc<Loaded>,
    /// The run's row.
    pub(super) row: RunRow,
    /// Whose it is, and whether it is to end.
    pub(super) open: OpenRun,
    /// That as it is stored: who finds something else there has lost the run.
    pub(super) fence: Bytes,
    /// Whether none of its steps was ever taken or copied: nothing is recorded of any.
    pub(super) untouched: bool,
    /// The items of the step that is taken which began and are not through, as they stand.
    pub(super) begun: Mutex<BTreeMap<u32, StepResult>>,
    /// What its items were given that is secret: known also where the step is cut off.
    pub(super) learned: Mutex<Secrets>,
    /// Its worker, free again as soon as it has ended; one within another has none.
    pub(super) worker: Option<Worker>,
    /// Says that it is to end.
    pub(super) stop: CancellationToken,
}

impl Work {
    pub(super) fn new(
        organisation: OrganisationId,
        id: RunId,
        loaded: Arc<Loaded>,
        row: RunRow,
        open: OpenRun,
        fence: Bytes,
    ) -> Self {
        let stop = CancellationToken::new();
        let (begun, learned, untouched, worker) = (Mutex::default(), Mutex::default(), false, None);
        Self { organisation, id, loaded, row, open, fence, untouched, begun, learned, worker, stop }
    }

    /// Says how it will end, and why: as much of that as its row holds.
    pub(super) fn comes_to(&mut self, outcome: RunState, error: Option<String>) {
        self.row.outcome = Some(outcome);
        self.row.error = error.map(|error| shortened(error, ERROR_BYTES));
    }
}

/// How far a run came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It has ended.
    Ended,
    /// It waits in the store.
    Parked,
    /// It is a step of another run, which waits for it until then.
    Until(Waits),
}

impl Playbooks {
    /// Works a run off until it has ended or waits. One of which something does not read is ended: it would not read
    /// the next time either.
    ///
    /// # Errors
    /// It is another host's, or the store did not record it: what is recorded is what counts.
    pub(super) async fn execute(&self, work: &mut Work, begun: Option<Begun>) -> Result<Came, Failure> {
        match self.take_steps(work, begun).await {
            Err(Failure::Store(error @ StoreError::Damaged(_))) => {
                self.end_damaged(work, &error).await?;
                Ok(Came::Ended)
            }
            came => came,
        }
    }

    async fn take_steps(&self, work: &mut Work, begun: Option<Begun>) -> Result<Came, Failure> {
        let mut recalled = match self.recall(work, begun).await {
            Ok(recalled) => recalled,
            Err(PlaybookError::Store(error) | PlaybookError::Access(AccessError::Store(error))) => {
                return Err(error.into());
            }
            Err(error) => {
                self.end_all_within(work).await?;
                work.comes_to(RunState::Failed, Some(error.to_string()));
                self.end(work, Batch::new()).await?;
                self.tell_end(work.organisation, work.id).await;
                return Ok(Came::Ended);
            }
        };
        loop {
            self.interrupt(work, &mut recalled).await?;
            let Some(position) = self.coming(work, &recalled) else {
                self.end(work, Batch::new()).await?;
                self.hand_over(work, &mut recalled).await;
                return Ok(Came::Ended);
            };
            if self.access.is_suspended(work.organisation) {
                let now = self.clock.now();
                if work.open.parent.is_some() {
                    return Ok(Came::Until(now.saturating_add(Period(HELD).milliseconds()).into()));
                }
                if self.park(work, &now.into()).await? {
                    return Ok(Came::Parked);
                }
                // It is to end.
                continue;
            }
            if let Err(reason) = self.principal(work.organisation, &work.row.runs_as) {
                self.end_all_within(work).await?;
                let error = format!("{reason}; publish the playbook again with a key that works");
                work.comes_to(RunState::Blocked, Some(error));
                self.end(work, Batch::new()).await?;
                self.hand_over(work, &mut recalled).await;
                return Ok(Came::Ended);
            }
            let began = self.clock.now();
            let took = match self.take(work, &mut recalled, position).await {
                Err(Failure::Moved) => Took::Cut,
                took => took?,
            };
            match took {
                Took::Settled(settled) => {
                    let batch = self.settle(work, &mut recalled, position, *settled);
                    if self.coming(work, &recalled).is_some() && !is_final(work.row.outcome) {
                        self.commit_fenced(work, batch).await?;
                    } else if self.end_with_outputs(work, &recalled, batch).await? {
                        self.hand_over(work, &mut recalled).await;
                        return Ok(Came::Ended);
                    }
                }
                Took::Wait(mut waits) => {
                    let until = work.row.deadline.map_or(waits.until, |deadline| waits.until.min(deadline));
                    waits.until = until;
                    if self.until(until) <= HELD {
                        tokio::select! {
                            biased;
                            () = work.stop.cancelled(), if work.row.outcome.is_none() => {
                                self.refresh(work).await?;
                            }
                            () = tokio::time::sleep(self.until(until)) => {}
                        }
                    } else if work.open.parent.is_some() {
                        return Ok(Came::Until(waits));
                    } else if self.park(work, &waits).await? {
                        return Ok(Came::Parked);
                    }
                }
                Took::Cut => self.cut_off(work, &mut recalled, position, Some(began)).await?,
            }
        }
    }

    /// The position of the step that is next; `None` if there is none.
    fn coming(&self, work: &Work, recalled: &Recalled) -> Option<usize> {
        if work.row.outcome.is_some() && self.is_late(work) {
            return None;
        }
        work.row.coming(&work.loaded.compiled, |position| {
            recalled.results[position].as_ref().is_none_or(|result| result.state == StepState::Waiting)
        })
    }

    fn is_late(&self, work: &Work) -> bool {
        work.row.deadline.is_some_and(|deadline| deadline <= self.clock.now())
    }

    /// Notices that a run is to end before it is through, and records that it will.
    async fn interrupt(&self, work: &mut Work, recalled: &mut Recalled) -> Result<(), Failure> {
        if work.row.outcome.is_some() || !self.is_to_end(work) {
            return Ok(());
        }
        // A step that waits within a playbook of its own is cut off as one at work is: it leads to what that did. So is one over
        // a list, whose items say how far it came.
        if let Some(position) = self.coming(work, recalled) {
            let attempt = next_attempt(recalled.results[position].as_ref());
            if self.begun_within(work, position, None, attempt).await?.is_some()
                || self.has_begun_items(work, position).await?
            {
                return self.cut_off(work, recalled, position, None).await;
            }
        }
        // One that never began has nothing to clean up after.
        let began = work.row.started.is_some();
        if began {
            // A host that died may have left runs within it.
            self.end_all_within(work).await?;
        }
        self.decide_interrupted(work);
        if began {
            let mut batch = Batch::new();
            self.write_row(work, &mut batch);
            self.commit_fenced(work, batch).await?;
        } else {
            work.row.deadline = Some(self.clock.now());
        }
        Ok(())
    }

    /// Ends the runs within a run that goes on with none of its steps, or cut short with its on-failure steps.
    pub(super) async fn end_all_within(&self, work: &mut Work) -> Result<(), Failure> {
        let mut actions = work.loaded.compiled.steps.iter().map(|step| &step.action);
        if !actions.any(|action| action.kind() == crate::StepKind::Playbook) {
            return Ok(());
        }
        loop {
            let reason =
                work.open.cancel.clone().unwrap_or_else(|| "the run it is a step of has ended".into());
            match self.end_within(work, &reason).await {
                Err(Failure::Moved) => self.refresh(work).await.map(drop)?,
                ended => return ended,
            }
        }
    }

    pub(super) fn is_to_end(&self, work: &Work) -> bool {
        work.open.cancel.is_some() || self.is_late(work)
    }

    fn decide_interrupted(&self, work: &mut Work) {
        let (outcome, error) = match &work.open.cancel {
            Some(reason) => (RunState::Cancelled, reason.clone()),
            None => (RunState::TimedOut, format!("it took longer than {}", self.time_of(work))),
        };
        self.decide(work, outcome, Some(error), None);
    }

    /// How long a run might take: its own time, or less where it is a step of another, of which that says how long it may
    /// take.
    fn time_of(&self, work: &Work) -> Period {
        let (own, row) = (self.run_time(&work.loaded.compiled), &work.row);
        let Some(deadline) = row.deadline else { return own };
        let is_own = |started: Timestamp| started.saturating_add(own.milliseconds()) <= deadline;
        if work.open.parent.is_none() || row.started.is_some_and(is_own) {
            return own;
        }
        let milliseconds = deadline.milliseconds_since(row.created);
        Period(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)))
    }

    /// Says how a run will end, and gives its on-failure steps their time.
    pub(super) fn decide(
        &self,
        work: &mut Work,
        outcome: RunState,
        error: Option<String>,
        step: Option<String>,
    ) {
        work.comes_to(outcome, error);
        work.row.failed_step = step;
        work.row.grant_failure_time(self.clock.now());
    }

    /// Takes a step, unless the run is to end before it is through.
    async fn take(&self, work: &mut Work, recalled: &mut Recalled, position: usize) -> Result<Took, Failure> {
        let step = &work.loaded.compiled.steps[position];
        let span = tracing::info_span!(
            "step",
            step = step.id,
            app = step.action.target(),
            version = tracing::field::Empty
        );
        work.begun.lock().clear();
        *work.learned.lock() = Secrets::default();
        let stop = work.stop.clone();
        let may_stop = work.row.outcome.is_none();
        let deadline = work.row.deadline.map_or(Duration::MAX, |deadline| self.until(deadline));
        tokio::select! {
            biased;
            took = self.take_step(work, recalled, position).instrument(span) => took,
            () = stop.cancelled(), if may_stop => Ok(Took::Cut),
            () = tokio::time::sleep(deadline) => Ok(Took::Cut),
        }
    }

    /// A batch with a step's result, which is known from here on, and with how the run will end if it decides that.
    fn settle(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
        settled: super::step::Settled,
    ) -> Batch {
        let super::step::Settled { mut result, stop } = settled;
        let mut batch = Batch::new();
        let Recalled { secrets, secret_variables, .. } = recalled;
        let whole = self.write_result(&mut batch, work, secrets, secret_variables, position, &mut result);
        recalled.know(&result.step, whole);
        let before = work.row.outcome;
        if before.is_none() {
            if let Some((outcome, message)) = stop {
                let message = message.map(|message| recalled.secrets.mask_text(&message).into_owned());
                let failed = (outcome == RunState::Failed).then(|| result.step.clone());
                self.decide(work, outcome, message, failed);
            } else if result.state == StepState::Failed {
                let error = result.error.as_deref().unwrap_or("it failed");
                let error = format!("step {}: {error}", result.step);
                self.decide(work, RunState::Failed, Some(error), Some(result.step.clone()));
            }
        }
        recalled.results[position] = Some(result);
        if work.row.outcome != before {
            self.write_row(work, &mut batch);
        }
        batch
    }

    /// Records that a step was cut off which began then, if that is known, and why the run ends.
    async fn cut_off(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
        began: Option<Timestamp>,
    ) -> Result<(), Failure> {
        let batch = loop {
            self.refresh(work).await?;
            match self.cut(work, recalled, position, began).await {
                Err(Failure::Moved) => {}
                batch => break batch?,
            }
        };
        self.commit_fenced(work, batch).await
    }

    /// A batch that records that a step was cut off, and why the run ends.
    async fn cut(
        &self,
        work: &mut Work,
        recalled: &mut Recalled,
        position: usize,
        began: Option<Timestamp>,
    ) -> Result<Batch, Failure> {
        recalled.secrets.learn(&work.learned.lock().all());
        let mut batch = Batch::new();
        let on_failure = work.row.outcome.is_some();
        if !on_failure && !self.is_to_end(work) {
            work.stop = CancellationToken::new();
            if let Some(active) = self.active.lock().get_mut(&work.id) {
                active.stop = work.stop.clone();
            }
            return Ok(batch);
        }
        let step = &work.loaded.compiled.steps[position];
        let now = self.clock.now();
        let (kind, target) = (step.action.kind(), step.action.target().to_owned());
        let id = step.id.clone();
        let reason = work.open.cancel.clone().unwrap_or_else(|| "its time was over".into());
        if kind == crate::StepKind::Playbook {
            self.end_within(work, &reason).await?;
        }
        let (items, first) = self.cut_items(work, recalled, position, &reason).await?;
        if !on_failure {
            self.decide_interrupted(work);
            if work.row.outcome == Some(RunState::TimedOut) {
                work.row.failed_step = Some(id.clone());
            }
        }
        let attempt = next_attempt(recalled.results[position].as_ref());
        let within = self.begun_within(work, position, None, attempt).await?;
        let prior = recalled.results[position].take();
        let outputs = recalled.nothing(position);
        let recorded =
            [prior.as_ref().map(|prior| prior.started), within.as_ref().map(|run| run.created), first];
        let mut result = StepResult {
            step: id,
            kind,
            app: target,
            app_version: String::new(),
            state: StepState::Cancelled,
            on_failure,
            item: None,
            items,
            started: recorded.into_iter().flatten().min().or(began).unwrap_or(now),
            ended: now,
            waits_until: None,
            attempt,
            run: within.map(|run| run.id).or_else(|| prior.as_ref()?.run),
            failed_attempts: prior.map_or_else(Vec::new, |prior| prior.failed_attempts),
            inputs: Map::new(),
            outputs,
            error: Some(reason),
            log: Vec::new(),
            copied: false,
        };
        let Recalled { secrets, secret_variables, .. } = recalled;
        let whole = self.write_result(&mut batch, work, secrets, secret_variables, position, &mut result);
        recalled.know(&result.step, whole);
        recalled.results[position] = Some(result);
        self.write_row(work, &mut batch);
        Ok(batch)
    }
}

impl RunRow {
    /// The position of the first step that `is_open`, of those that are taken as the run stands; `None` if there is none.
    pub(crate) fn coming(&self, compiled: &Compiled, is_open: impl Fn(usize) -> bool) -> Option<usize> {
        let mut positions = match self.outcome {
            None => 0..compiled.main,
            Some(outcome) if has_failure_steps(outcome) => compiled.main..compiled.steps.len(),
            Some(_) => return None,
        };
        positions.find(|position| is_open(*position))
    }

    /// Gives the on-failure steps, where they follow, their time from `now` on: begun anew where no host was there to take
    /// them.
    pub(super) fn grant_failure_time(&mut self, now: Timestamp) {
        if self.outcome.is_some_and(has_failure_steps) {
            self.deadline = Some(now.saturating_add(Period(FAILURE_TIME).milliseconds()));
        }
    }
}

/// Whether the on-failure steps follow.
fn has_failure_steps(outcome: RunState) -> bool {
    matches!(outcome, RunState::Failed | RunState::TimedOut | RunState::Cancelled)
}

/// Whether a run that ends so is through at once.
fn is_final(outcome: Option<RunState>) -> bool {
    outcome.is_some_and(|outcome| !has_failure_steps(outcome))
}
