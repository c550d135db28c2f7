//! One evaluation of one monitor: read, look, move, settle, and commit all of it together.

use std::collections::BTreeSet;
use std::time::Instant;

use bellwether_kernel::{ErrorKind, OrganisationId, Timestamp};
use bellwether_series::SeriesError;
use bellwether_store::{Batch, Precondition, decode, encode};

use super::{Decision, Kept, Looking, ProblemKind};
use crate::evaluate::{Settling, What, advance};
use crate::incident::cut;
use crate::monitor::Compiled;
use crate::rows::{self, NextRow};
use crate::state::{Gap, MonitorState};
use crate::{AlertError, Alerts, MonitorId, limits};

/// After how long a monitor is evaluated again of which something does not read, in milliseconds.
const UNREAD: i64 = 60_000;

/// Why a monitor is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its time has come.
    Schedule,
    /// Something it looks at was written.
    Write,
}

/// What became of an evaluation that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It was made.
    Evaluated,
    /// It was made and came to nothing: the query or the detector did not answer.
    Failed,
    /// It was not due any more, or not yet.
    Stale,
    /// Somebody evaluated or changed the monitor, or one of its incidents, at the same moment: nothing was committed.
    Overtaken,
}

/// What an evaluation is of.
struct Evaluation<'a> {
    organisation: OrganisationId,
    id: MonitorId,
    compiled: &'a Compiled,
    at: Timestamp,
    /// What the state took before, in bytes.
    bytes: usize,
}

/// What is made of one.
struct Made {
    batch: Batch,
    is_told: bool,
    /// What is wrong where it left series out.
    left_out: Option<String>,
}

impl Alerts {
    /// Evaluates a monitor that was due at `due`, or woken to be evaluated then. What a write brings forward moves the
    /// schedule: the next time is counted from it.
    ///
    /// The monitor's row of when it is due next is the fence: what it says is required by the commit, and each commit
    /// makes its turn another. A lease besides would only save the work of two hosts that evaluate at once, and would
    /// let a monitor stand still until the lease of a host that died runs out.
    pub(crate) async fn evaluate(
        &self,
        cause: Cause,
        due: Timestamp,
        organisation: OrganisationId,
        id: MonitorId,
    ) -> Result<Turn, AlertError> {
        let turn = match self.try_evaluate(cause, due, organisation, id).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Turn::Overtaken),
            done => done,
        };
        if !matches!(turn, Ok(Turn::Evaluated | Turn::Stale)) {
            self.tellings.failed(organisation, id);
        }
        turn
    }

    async fn try_evaluate(
        &self,
        cause: Cause,
        due: Timestamp,
        organisation: OrganisationId,
        id: MonitorId,
    ) -> Result<Turn, AlertError> {
        let began = Instant::now();
        let key = rows::next(organisation, id);
        let stored = self.store.get(&key).await?;
        let next = stored.as_ref().map(|row| decode::<NextRow>(row)).transpose();
        let mut fence = Batch::new();
        fence.require(key.clone(), stored.map_or(Precondition::Absent, Precondition::ValueIs));
        // When one is evaluated again of which something does not read.
        let put_off = self.clock.now().saturating_add(UNREAD);
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                if cause == Cause::Schedule {
                    fence.delete(rows::due(due, organisation, id));
                    fence.put(rows::due(put_off, organisation, id), Vec::new());
                    self.store.commit(fence).await?;
                    self.meters.failed(ProblemKind::Store);
                    self.problem_is((organisation, id), ProblemKind::Store, &error.to_string()).await;
                }
                return Ok(Turn::Failed);
            }
        };
        let (next, scheduled) = match cause {
            Cause::Schedule => {
                let Some(next) = next.filter(|next| next.at == Some(due)) else {
                    fence.delete(rows::due(due, organisation, id));
                    self.store.commit(fence).await?;
                    return Ok(Turn::Stale);
                };
                (next, due)
            }
            Cause::Write => {
                let Some((next, scheduled)) = next.and_then(|next| next.at.map(|at| (next, at))) else {
                    self.wakes.forget(organisation, id);
                    return Ok(Turn::Stale);
                };
                (next, scheduled)
            }
        };
        fence.delete(rows::due(scheduled, organisation, id));
        let compiled = match self.load(organisation, id, next.version).await {
            Ok(compiled) => compiled,
            Err(error) => {
                fence.put(rows::due(put_off, organisation, id), Vec::new());
                let next = NextRow { turn: next.turn + 1, at: Some(put_off), ..next };
                return self.fail(fence, (organisation, id), next, (due, 0), error.into()).await;
            }
        };
        if cause == Cause::Write && !self.is_needed(&next, &compiled, due, (organisation, id)) {
            return Ok(Turn::Stale);
        }
        // Times that were missed are passed over: the latest of them is evaluated.
        let late = self.clock.now().milliseconds_since(due).max(0);
        self.meters.missed(late / compiled.every);
        let at = due.saturating_add(late / compiled.every * compiled.every);
        let following = at.saturating_add(compiled.every);
        fence.put(rows::due(following, organisation, id), Vec::new());
        let gap = next.evaluated.filter(|last| at.milliseconds_since(*last) > 2 * compiled.every);
        let next = NextRow { turn: next.turn + 1, at: Some(following), evaluated: Some(at), ..next };

        // Before it looks: what is written from here on may not be seen.
        self.wakes.evaluated(organisation, id, next.version, &compiled, at);
        let (mut state, bytes) = match self.read_state(organisation, id).await {
            Ok(read) => read,
            Err(error) => return self.fail(fence, (organisation, id), next, (at, 0), error.into()).await,
        };
        let end = Timestamp::from_milliseconds(compiled.end(at.as_milliseconds())).unwrap_or(at);
        state.come_back(at, end);
        if let Some(from) = gap {
            state.gap = Some(Gap { from, to: at });
        }
        let evaluation = Evaluation { organisation, id, compiled: &compiled, at, bytes };
        let known = state.series.len();
        let made = self.make(&evaluation, fence.clone(), next.clone(), state);
        let committed = match tokio::time::timeout(limits::EVALUATION, made).await {
            Ok(Ok(Made { batch, is_told, left_out })) => {
                self.store.commit(batch).await.map(|_| (is_told, left_out)).map_err(AlertError::from)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(AlertError::TooSlow),
        };
        match committed {
            Ok((is_told, left_out)) => {
                if is_told {
                    self.tellings.committed();
                }
                let monitor = (organisation, id);
                match left_out {
                    Some(problem) => self.problem_is(monitor, ProblemKind::LeftOut, &problem).await,
                    None => self.problem_is_over(monitor, &compiled.monitor.name, next.problem.is_some()),
                }
                let now = self.clock.now();
                let late = now.milliseconds_since(due);
                self.meters.evaluated(began.elapsed(), late, cause);
                self.pacing.count(now, late, cause == Cause::Write);
                Ok(Turn::Evaluated)
            }
            Err(error) => self.fail(fence, (organisation, id), next, (at, known), error).await,
        }
    }

    /// Records that an evaluation at a time came to nothing, and how many series were known then; unless it is tried again.
    async fn fail(
        &self,
        mut fence: Batch,
        (organisation, id): (OrganisationId, MonitorId),
        mut next: NextRow,
        (at, known): (Timestamp, usize),
        error: AlertError,
    ) -> Result<Turn, AlertError> {
        if is_tried_again(&error) {
            return Err(error);
        }
        let problem = cut(&error.to_string());
        if next.problem.as_ref() != Some(&problem) {
            let decision = Decision::failed(at, known, &problem);
            self.put_decision(&mut fence, (organisation, id), &mut next, &decision)?;
            next.problem = Some(problem.clone());
        }
        fence.put(rows::next(organisation, id), encode(&next));
        self.store.commit(fence).await?;
        let kind = ProblemKind::of(&error);
        self.meters.failed(kind);
        self.problem_is((organisation, id), kind, &problem).await;
        Ok(Turn::Failed)
    }

    /// Whether a monitor that was woken for `due` is evaluated now.
    fn is_needed(
        &self,
        next: &NextRow,
        compiled: &Compiled,
        due: Timestamp,
        (organisation, id): (OrganisationId, MonitorId),
    ) -> bool {
        let now = self.clock.now();
        // An evaluation at that time or later sees what was written, whether it was made or is about to be.
        let is_covered = next.evaluated.is_some_and(|last| last >= due)
            || next.at.is_some_and(|scheduled| (due..=now).contains(&scheduled));
        if is_covered {
            return false;
        }
        let soonest = next.evaluated.map_or(due, |last| compiled.soonest_after(last));
        if soonest > due {
            self.wakes.put_off(soonest, organisation, id);
        }
        soonest <= due
    }

    /// What is made of an evaluation.
    async fn make(
        &self,
        evaluation: &Evaluation<'_>,
        mut batch: Batch,
        mut next: NextRow,
        mut state: MonitorState,
    ) -> Result<Made, AlertError> {
        let Evaluation { organisation, id, compiled, at, bytes } = *evaluation;
        let mut kept = Kept::stored(&self.store, organisation, id);
        let quiet = &self.quiet(organisation, compiled, at).await?;
        let looking = Looking {
            figures: &*self.figures,
            roles: &*self.roles,
            organisation,
            monitor: Some(id),
            compiled,
            quiet,
            series: self.limits.series,
        };
        let known = compiled.anomaly.iter().flat_map(|_| &state.series);
        let mut series: BTreeSet<_> = known.map(|series| series.tags.clone()).collect();
        let look = looking.look(&mut state, &mut kept, at).await?;
        let left_out = looking.left_out(&look);
        let moves = advance(compiled, &mut state, &look);
        let known = self.known(organisation, &state).await?;
        let is_quiet = moves.is_empty() && known.incidents.is_empty();
        let mutes = if is_quiet { Vec::new() } else { self.active_mutes(organisation, at).await? };
        // What opens is routed, and what may become worse is held against what routes say.
        let is_routed = moves.iter().any(|moved| matches!(moved.what, What::Opened | What::Changed));
        let routes = if is_routed { self.routes.of(organisation).await? } else { Default::default() };
        let (version, end, mutes, routes) = (next.version, look.end, &mutes[..], &routes);
        let settling =
            Settling { organisation, monitor: id, version, compiled, at, end, mutes, routes, quiet };
        let changed = settling.settle(&mut state, &known.incidents, &moves);
        let begins = left_out.is_some() && self.problem_of(organisation, id) != Some(ProblemKind::LeftOut);
        next.problem.clone_from(&left_out);
        next.series = Some(state.series.len() as u64);
        if !moves.is_empty() || !changed.is_empty() || begins {
            let decision = Decision::of(at, state.series.len(), &moves, &changed);
            let problem = left_out.clone().filter(|_| begins);
            self.put_decision(&mut batch, (organisation, id), &mut next, &Decision { problem, ..decision })?;
        }
        self.put_state(&mut batch, (organisation, id), &state, bytes).await?;
        if let Some(anomaly) = &compiled.anomaly {
            series.extend(look.seen.into_iter().map(|seen| seen.tags));
            kept.let_go(&mut batch, anomaly, &series, &state).await?;
        }
        kept.put(&mut batch, organisation, id).await?;
        batch.put(rows::next(organisation, id), encode(&next));
        let is_told = self.put_incidents(&mut batch, organisation, changed, &known).await?;
        Ok(Made { batch, is_told, left_out })
    }
}

/// Whether it is the store that did not do it for now; all else is told, and is tried at the monitor's next time.
fn is_tried_again(error: &AlertError) -> bool {
    match error {
        AlertError::Store(error) | AlertError::Series(SeriesError::Store(error)) => {
            matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable)
        }
        _ => false,
    }
}
