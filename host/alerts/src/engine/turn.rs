//! One evaluation of one monitor: read, look, move, settle, and commit all of it together, or in parts where it is too
//! much for one commit.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bellwether_kernel::{ErrorKind, OrganisationId, Timestamp};
use bellwether_series::SeriesError;
use bellwether_store::decode;

use super::fence::Fence;
use super::{Decision, Kept, Known, Looking, ProblemKind};
use crate::evaluate::{Decided, Settling, Tags, What, advance};
use crate::incident::cut;
use crate::monitor::Compiled;
use crate::rows::{self, NextRow};
use crate::service::no_channels;
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
    /// There was none: incidents of it that nobody is to wait for any longer were closed.
    Ended,
    /// Somebody evaluated or changed the monitor, or one of its incidents, at the same moment: nothing more was committed.
    Overtaken,
}

/// What an evaluation is of.
struct Evaluation<'a> {
    organisation: OrganisationId,
    id: MonitorId,
    compiled: &'a Compiled,
    version: u32,
    at: Timestamp,
}

/// What is made of one.
struct Made {
    decided: Decided,
    known: Known,
    kept: Kept,
    /// Series of which detectors may keep something.
    series: BTreeSet<Tags>,
    /// For the monitor's trace, where something came of it.
    decision: Option<Decision>,
    /// What is wrong where it left series out.
    left_out: Option<String>,
}

/// Where the commits of an evaluation stand.
struct Course {
    fence: Fence,
    /// The row as it is once all is committed.
    next: NextRow,
    /// When the monitor is due as long as it is not: it is evaluated again, for what is left.
    due: Timestamp,
    evaluated: Option<Timestamp>,
    /// What the state takes, in bytes.
    bytes: usize,
    /// For how long events are waited for yet.
    events_within: Duration,
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
        if !matches!(turn, Ok(Turn::Evaluated | Turn::Stale | Turn::Ended)) {
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
        let stored = self.store.get(&rows::next(organisation, id)).await?;
        let next = stored.as_ref().map(|row| decode::<NextRow>(row)).transpose();
        let mut fence = Fence { monitor: (organisation, id), stored, scheduled: due };
        // When one is evaluated again of which something does not read.
        let put_off = self.clock.now().saturating_add(UNREAD);
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                if cause == Cause::Schedule {
                    let mut batch = fence.batch();
                    batch.put(rows::due(put_off, organisation, id), Vec::new());
                    self.store.commit(batch).await?;
                    self.meters.failed(ProblemKind::Store);
                    self.problem_is((organisation, id), ProblemKind::Store, &error.to_string()).await;
                }
                return Ok(Turn::Failed);
            }
        };
        let next = match cause {
            Cause::Schedule => {
                let Some(next) = next.filter(|next| next.at == Some(due)) else {
                    self.store.commit(fence.batch()).await?;
                    return Ok(Turn::Stale);
                };
                next
            }
            Cause::Write => {
                let Some((next, scheduled)) = next.and_then(|next| next.at.map(|at| (next, at))) else {
                    self.wakes.forget(organisation, id);
                    return Ok(Turn::Stale);
                };
                fence.scheduled = scheduled;
                next
            }
        };
        if next.ending.is_some() {
            return match self.end_rest(organisation, id).await {
                Err(error) => {
                    let next = NextRow { at: Some(put_off), ..next };
                    self.fail(&fence, next, (due, 0), error).await
                }
                done => done,
            };
        }
        let compiled = match self.load(organisation, id, next.version).await {
            Ok(compiled) => compiled,
            Err(error) => {
                let next = NextRow { at: Some(put_off), ..next };
                return self.fail(&fence, next, (due, 0), error.into()).await;
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
        // Where no host was up, or it was paused. Of evaluations that failed, what came meanwhile is looked at now as far as the
        // window goes.
        let longest = 2 * compiled.every;
        let is_up = next.evaluated.is_none_or(|last| at.milliseconds_since(last) <= longest);
        let seen = if is_up { longest.max(compiled.window) } else { longest };
        let gap = next.looked.filter(|last| at.milliseconds_since(*last) > seen);
        let (evaluated, had_problem) = (next.evaluated, next.problem.is_some());
        let next = NextRow { at: Some(following), evaluated: Some(at), ..next };

        // Before it looks: what is written from here on may not be seen.
        self.wakes.evaluated(organisation, id, next.version, &compiled, at);
        let (mut state, bytes) = match self.read_state(organisation, id).await {
            Ok(read) => read,
            Err(error) => return self.fail(&fence, next, (at, 0), error.into()).await,
        };
        let end = Timestamp::from_milliseconds(compiled.end(at.as_milliseconds())).unwrap_or(at);
        state.come_back(at, end);
        if let Some(from) = gap {
            state.gap = Some(Gap { from, to: at });
        }
        let known = state.series.len();
        let evaluation = Evaluation { organisation, id, compiled: &compiled, version: next.version, at };
        let events_within = limits::EVENTS_WITHIN;
        let mut course = Course { fence, next, due, evaluated, bytes, events_within };
        match self.carry_out(&evaluation, &mut course, state).await {
            Ok(left_out) => {
                let monitor = (organisation, id);
                // It is committed: a store that does not say which channels are there says so the next time.
                let missing =
                    self.missing_channels(organisation, &compiled.monitor).await.unwrap_or_default();
                match (left_out, no_channels(&missing)) {
                    (Some(problem), _) => self.problem_is(monitor, ProblemKind::LeftOut, &problem).await,
                    (None, Some(problem)) => {
                        self.problem_is(monitor, ProblemKind::NoChannel, &problem).await;
                    }
                    (None, None) => self.problem_is_over(monitor, &compiled.monitor.name, had_problem),
                }
                let now = self.clock.now();
                let late = now.milliseconds_since(due);
                self.meters.evaluated(began.elapsed(), late, cause);
                self.pacing.count(now, late, cause == Cause::Write);
                Ok(Turn::Evaluated)
            }
            Err(error) => {
                let mut next = course.next;
                if matches!(error, AlertError::TooSlow) {
                    let put_off = self.put_off((organisation, id), evaluated, at);
                    next.at = next.at.max(Some(put_off));
                }
                self.fail(&course.fence, next, (at, known), error).await
            }
        }
    }

    /// When a monitor is evaluated again whose evaluation at `at` was too slow: it leaves its place to others for as long as it
    /// held it, and where its last, at `before`, was too slow too, for twice as long as that is ago.
    fn put_off(
        &self,
        monitor: (OrganisationId, MonitorId),
        before: Option<Timestamp>,
        at: Timestamp,
    ) -> Timestamp {
        let least = limits::EVALUATION.as_millis().try_into().unwrap_or(i64::MAX);
        let before = before.filter(|_| self.is_too_slow(monitor));
        let wait = before.map_or(least, |before| 2 * at.milliseconds_since(before));
        self.clock.now().saturating_add(wait.clamp(least, limits::PUT_OFF.milliseconds()))
    }

    /// Whether a monitor's last evaluation by this host was too slow.
    fn is_too_slow(&self, (organisation, id): (OrganisationId, MonitorId)) -> bool {
        self.problem_of(organisation, id) == Some(ProblemKind::TooSlow)
    }

    /// Records that an evaluation at a time came to nothing, and how many series were known then; unless it is tried again.
    async fn fail(
        &self,
        fence: &Fence,
        mut next: NextRow,
        (at, known): (Timestamp, usize),
        error: AlertError,
    ) -> Result<Turn, AlertError> {
        if is_tried_again(&error) {
            return Err(error);
        }
        let (mut batch, problem) = (fence.batch(), cut(&error.to_string()));
        if next.problem.as_ref() != Some(&problem) {
            let decision = Decision::failed(at, known, &problem);
            self.put_decision(&mut batch, fence.monitor, &mut next, &decision)?;
            next.problem = Some(problem.clone());
        }
        next.turn += 1;
        fence.put(&mut batch, &next);
        self.store.commit(batch).await?;
        let kind = ProblemKind::of(&error);
        self.meters.failed(kind);
        self.problem_is(fence.monitor, kind, &problem).await;
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
        // It would take the place again that it was put off from.
        if next.problem.is_some() && self.is_too_slow((organisation, id)) {
            return false;
        }
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

    /// Makes an evaluation and commits what came of it, in as many commits as that takes. Gives what is wrong where series
    /// were left out.
    async fn carry_out(
        &self,
        evaluation: &Evaluation<'_>,
        course: &mut Course,
        state: MonitorState,
    ) -> Result<Option<String>, AlertError> {
        let mut made = in_time(self.make(evaluation, &mut course.next, state)).await?;
        while !in_time(self.commit_some(evaluation, course, &mut made)).await? {}
        Ok(made.left_out)
    }

    /// What is made of an evaluation.
    async fn make(
        &self,
        evaluation: &Evaluation<'_>,
        next: &mut NextRow,
        mut state: MonitorState,
    ) -> Result<Made, AlertError> {
        let Evaluation { organisation, id, compiled, version, at } = *evaluation;
        let mut kept = Kept::stored(&self.store, organisation, id);
        let quiet = &self.quiet(organisation, compiled, at, next.looked).await?;
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
        let (end, mutes, routes) = (look.end, &mutes[..], &routes);
        let settling =
            Settling { organisation, monitor: id, version, compiled, at, end, mutes, routes, quiet };
        let changed = settling.settle(&mut state, &known.incidents, &moves);
        let begins = left_out.is_some() && self.problem_of(organisation, id) != Some(ProblemKind::LeftOut);
        next.problem.clone_from(&left_out);
        next.series = Some(state.series.len() as u64);
        let decision = (!moves.is_empty() || !changed.is_empty() || begins).then(|| {
            let decision = Decision::of(at, state.series.len(), &moves, &changed);
            Decision { problem: left_out.clone().filter(|_| begins), ..decision }
        });
        if compiled.anomaly.is_some() {
            series.extend(look.seen.into_iter().map(|seen| seen.tags));
        }
        let decided = Decided::new(state, changed);
        Ok(Made { decided, known, kept, series, decision, left_out })
    }

    /// Commits the next incidents of an evaluation, with the last of them all else that came of it; whether those were the
    /// last. Until then the monitor stays due: whoever is to go on evaluates it again.
    async fn commit_some(
        &self,
        evaluation: &Evaluation<'_>,
        course: &mut Course,
        made: &mut Made,
    ) -> Result<bool, AlertError> {
        let Evaluation { organisation, id, compiled, .. } = *evaluation;
        let (mut batch, mut next) = (course.fence.batch(), course.next.clone());
        if let Some(decision) = made.decision.take() {
            self.put_decision(&mut batch, (organisation, id), &mut next, &decision)?;
        }
        let Made { decided, known, kept, series, .. } = made;
        let within = &mut course.events_within;
        let put = self.put_incidents(&mut batch, organisation, decided, known, within).await?;
        // What detectors keep may be as much again as the incidents of one commit.
        let is_last = decided.is_done() && !put.is_full;
        let so_far = match is_last {
            true => None,
            false => {
                let (before, _) = self.read_state(organisation, id).await?;
                Some(decided.state_so_far(compiled, &before))
            }
        };
        let state = so_far.as_ref().unwrap_or_else(|| decided.state());
        let bytes = self.put_state(&mut batch, (organisation, id), state, course.bytes).await?;
        if is_last {
            if let Some(anomaly) = &compiled.anomaly {
                kept.let_go(&mut batch, anomaly, series, state).await?;
            }
            kept.put(&mut batch, organisation, id).await?;
        }
        next.turn += 1;
        let fence = match is_last {
            true => {
                next.looked = next.evaluated;
                course.fence.put(&mut batch, &next)
            }
            false => {
                let (at, evaluated) = (Some(course.due), course.evaluated);
                course.fence.put(&mut batch, &NextRow { at, evaluated, ..next.clone() })
            }
        };
        self.store.commit(batch).await?;
        (course.fence, course.next, course.bytes) = (fence, next, bytes);
        if put.is_told {
            self.tellings.committed();
        }
        Ok(is_last)
    }
}

/// What is done within the time an evaluation has.
async fn in_time<T>(work: impl Future<Output = Result<T, AlertError>>) -> Result<T, AlertError> {
    tokio::time::timeout(limits::EVALUATION, work).await.unwrap_or(Err(AlertError::TooSlow))
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
