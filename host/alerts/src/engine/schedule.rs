//! When monitors are due. Their times lie in the store in order, so that however many there are, a host sleeps until
//! the first of them, or until a write wakes one. Several are evaluated at once, another as each ends, so that none waits
//! for one that is slow; and how late they are is measured.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{ErrorKind, OrganisationId, Timestamp};
use bellwether_store::{Batch, Key, Precondition, Space, Walk, decode};
use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lines::{Begun, Lines};
use super::turn::Turn;
use crate::rows::NextRow;
use crate::state::is_ahead;
use crate::{AlertError, Alerts, MonitorId, limits, rows};

/// The longest sleep: a clock that is set may bring a time nearer than it seemed, and another host may add one.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Monitors that writes woke taken at once, between two looks at what ended.
const WOKEN: usize = 1_024;

/// How often monitors are looked for whose next time a clock set that was ahead.
const LOOKED_AHEAD: Duration = Duration::from_secs(60);

/// How long a loop that failed waits before its next turn, and a monitor whose evaluation the store did not take.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// How many times as long as a look at the schedule took it is not looked at again while monitors wait: where very many are
/// due, looking takes a tenth of the time at most.
const BETWEEN_LOOKS: u32 = 9;

/// An evaluation that ended, or panicked.
type Ended = (Begun, std::thread::Result<Result<Turn, AlertError>>);

/// What is evaluated, and what waits for that.
struct Running {
    lines: Lines,
    tasks: JoinSet<Ended>,
    /// Monitors whose evaluation came to nothing that the store could keep, until they are tried again.
    resting: VecDeque<(Instant, OrganisationId, MonitorId)>,
    /// Whether more may be due by the schedule than is known.
    is_to_look: bool,
    /// When it was looked at, and for how long.
    looked: Option<(Instant, Duration)>,
    /// Monitors of suspended organisations that were due when it was looked at.
    passed: usize,
    /// When the first is due that was not when it was looked at.
    next: Option<Timestamp>,
    /// When monitors were looked for last that a clock set which was ahead.
    looked_ahead: Option<Instant>,
    /// When it was last said that evaluations fail.
    said: Option<Instant>,
}

impl Running {
    fn new() -> Self {
        Self {
            lines: Lines::default(),
            tasks: JoinSet::new(),
            resting: VecDeque::new(),
            is_to_look: true,
            looked: None,
            passed: 0,
            next: None,
            looked_ahead: None,
            said: None,
        }
    }

    /// For how long the schedule is not looked at yet, though there is reason to; the sooner the fewer wait, or
    /// are passed over.
    fn before_look(&self, at_once: usize) -> Duration {
        match self.looked {
            Some((at, took)) if self.lines.waiting() + self.passed >= at_once => {
                (took * BETWEEN_LOOKS).saturating_sub(at.elapsed())
            }
            _ => Duration::ZERO,
        }
    }

    /// Lets monitors be tried again whose time has come.
    fn rest(&mut self) {
        let now = Instant::now();
        while let Some((until, organisation, id)) = self.resting.front().copied()
            && until <= now
        {
            self.resting.pop_front();
            self.lines.rested(organisation, id);
            self.is_to_look = true;
        }
    }
}

impl Alerts {
    /// Evaluates what is due, again and again, until told to stop; then waits for what is at work.
    pub(crate) fn begin(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let alerts = Arc::clone(self);
        tokio::spawn(async move {
            let mut running = Running::new();
            while !alerts.halt.is_cancelled() {
                match AssertUnwindSafe(alerts.keep_time(&mut running)).catch_unwind().await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => tracing::warn!(%error, "evaluating monitors failed; it is tried again"),
                    Err(_) => {
                        tracing::error!(
                            "evaluating monitors panicked, which is a fault of the host; it is tried again"
                        );
                    }
                }
                tokio::select! {
                    biased;
                    () = alerts.halt.cancelled() => {}
                    () = tokio::time::sleep(AFTER_ERROR) => {}
                }
            }
            while let Some(ended) = running.tasks.join_next().await {
                alerts.note(&mut running, ended.ok());
            }
        })
    }

    async fn keep_time(self: &Arc<Self>, running: &mut Running) -> Result<(), AlertError> {
        let sooner = self.sooner.notified();
        tokio::pin!(sooner);
        // Listens from here on: what is committed behind the look is not slept through.
        sooner.as_mut().enable();
        if running.looked_ahead.is_none_or(|looked| looked.elapsed() >= LOOKED_AHEAD) {
            running.looked_ahead = Some(Instant::now());
            self.bring_back().await?;
        }
        let now = self.clock.now();
        running.rest();
        if running.is_to_look && running.before_look(self.limits.at_once).is_zero() {
            self.look_for_due(now, running).await?;
        }
        self.take_woken(now, running);
        self.begin_some(running);
        let until = |at: Timestamp| {
            let milliseconds = at.milliseconds_since(self.clock.now());
            Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
        };
        let look = match running.is_to_look {
            true => Some(running.before_look(self.limits.at_once)),
            false => running.next.map(until),
        };
        let rest = running.resting.front().map(|(until, ..)| until.duration_since(Instant::now()));
        let wake = self.wakes.first().map(until);
        let sleep =
            look.into_iter().chain(rest).chain(wake).min().unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        tokio::select! {
            biased;
            () = self.halt.cancelled() => {}
            Some(ended) = running.tasks.join_next() => self.note(running, ended.ok()),
            () = sooner => running.is_to_look = true,
            () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => running.is_to_look = true,
        }
        while let Some(ended) = running.tasks.try_join_next() {
            self.note(running, ended.ok());
        }
        Ok(())
    }

    /// Takes in what is due at `now`, but for what is of organisations that are suspended, and finds when the next is.
    async fn look_for_due(&self, now: Timestamp, running: &mut Running) -> Result<(), AlertError> {
        let began = Instant::now();
        let (mut first, mut next, mut is_left, mut passed) = (None, None, false, 0);
        let mut due = Walk::forward(&*self.store, Key::new(Space::MonitorDue).prefix());
        while let Some((.., (at, organisation, id))) = due.next_read(|key, _| rows::due_of(key)).await? {
            if at <= now && self.access.is_suspended(organisation) {
                passed += 1;
                continue;
            }
            first.get_or_insert(at);
            if at > now {
                next = Some(at);
                break;
            }
            is_left |= !running.lines.schedule(at, organisation, id);
        }
        self.meters.behind(first.map_or(0, |first| now.milliseconds_since(first)));
        (running.next, running.is_to_look, running.passed) = (next, is_left, passed);
        running.looked = Some((Instant::now(), began.elapsed()));
        Ok(())
    }

    /// Takes in what writes woke by `now`.
    fn take_woken(&self, now: Timestamp, running: &mut Running) {
        for (at, organisation, id) in self.wakes.take(now, WOKEN) {
            running.lines.wake(at, organisation, id);
        }
    }

    /// Begins what may begin now: a task each, so that every core has its share.
    fn begin_some(self: &Arc<Self>, running: &mut Running) {
        while let Some(begun) = running.lines.begin(self.limits.at_once) {
            let alerts = Arc::clone(self);
            running.tasks.spawn(async move {
                let Begun { cause, at, organisation, id } = begun;
                // What was taken from the schedule is left to the next start, or until its organisation is resumed.
                if alerts.halt.is_cancelled() || alerts.access.is_suspended(organisation) {
                    return (begun, Ok(Ok(Turn::Stale)));
                }
                let turn = AssertUnwindSafe(alerts.evaluate(cause, at, organisation, id)).catch_unwind();
                (begun, turn.await)
            });
        }
    }

    /// Notes what became of an evaluation; nothing of one that the end of the runtime cut off.
    fn note(&self, running: &mut Running, ended: Option<Ended>) {
        let Some((Begun { organisation, id, .. }, turn)) = ended else { return };
        running.lines.end(organisation);
        running.is_to_look = true;
        match turn {
            Ok(Ok(turn)) => {
                self.meters.turn(turn);
                running.lines.rested(organisation, id);
                return;
            }
            Ok(Err(error)) => {
                // Where the store takes nothing, all of them fail.
                if running.said.is_none_or(|said| said.elapsed() >= AFTER_ERROR) {
                    running.said = Some(Instant::now());
                    tracing::warn!(organisation = organisation.0, monitor = id.0, %error, "evaluating a monitor failed; it is tried again");
                }
            }
            Err(_) => {
                tracing::error!(
                    organisation = organisation.0,
                    monitor = id.0,
                    "evaluating a monitor panicked, which is a fault of the host; it is tried again"
                );
            }
        }
        running.resting.push_back((Instant::now() + AFTER_ERROR, organisation, id));
    }

    /// Has monitors evaluated now whose next time lies where only a clock that was ahead can have put it. Otherwise they
    /// would stand still until that time.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn bring_back(&self) -> Result<(), AlertError> {
        let now = self.clock.now();
        let slack = limits::CLOCK_AHEAD.milliseconds();
        let range = rows::due_behind(now.saturating_add(slack))..Key::new(Space::MonitorDue).prefix().end;
        let mut due = Walk::forward(&*self.store, range);
        while let Some((.., (at, organisation, id))) = due.next_read(|key, _| rows::due_of(key)).await? {
            let key = rows::next(organisation, id);
            let Some(stored) = self.store.get(&key).await? else { continue };
            let Ok(mut next) = decode::<NextRow>(&stored) else { continue };
            // One whose version does not read is brought back too, and told when its turn comes.
            let every = self.load(organisation, id, next.version).await.map_or(0, |compiled| compiled.every);
            let put_off = if next.problem.is_some() { limits::PUT_OFF.milliseconds() } else { 0 };
            let is_wrong = at.milliseconds_since(now) > every.max(put_off) + slack
                || next.evaluated.is_some_and(|last| is_ahead(last, now));
            if next.at != Some(at) || !is_wrong {
                continue;
            }
            let mut batch = Batch::new();
            batch.require(key, Precondition::ValueIs(stored));
            self.schedule(&mut batch, organisation, id, false, &mut next);
            match self.store.commit(batch).await {
                // Somebody else did, or changed the monitor.
                Err(error) if error.kind() == ErrorKind::Conflict => continue,
                done => drop(done?),
            }
            tracing::warn!(organisation = organisation.0, monitor = id.0, %at, "a monitor was due when a clock that was ahead had it; it is evaluated now");
        }
        Ok(())
    }
}

#[cfg(test)]
impl Alerts {
    /// Evaluates the monitors that are due at `now`, several at once; how many there were. One that fails does not
    /// keep the others from their turn.
    ///
    /// # Errors
    /// The store's; what was committed before stays.
    pub(crate) async fn evaluate_due(self: &Arc<Self>, now: Timestamp) -> Result<usize, AlertError> {
        let mut running = Running::new();
        self.look_for_due(now, &mut running).await?;
        self.to_the_end(running).await
    }

    /// Evaluates the monitors that writes woke by `now`; how many there were.
    ///
    /// # Errors
    /// The store's. What was not evaluated for it is left to the schedule.
    pub(crate) async fn evaluate_woken(self: &Arc<Self>, now: Timestamp) -> Result<usize, AlertError> {
        let mut running = Running::new();
        self.take_woken(now, &mut running);
        self.to_the_end(running).await
    }

    async fn to_the_end(self: &Arc<Self>, mut running: Running) -> Result<usize, AlertError> {
        let (mut count, mut failed) = (0, None);
        loop {
            self.begin_some(&mut running);
            let Some(ended) = running.tasks.join_next().await else { break };
            let (begun, turn) = ended.unwrap();
            let turn = turn.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match turn {
                Ok(turn) => {
                    count += 1;
                    self.note(&mut running, Some((begun, Ok(Ok(turn)))));
                }
                Err(error) => {
                    running.lines.end(begun.organisation);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(count), Err)
    }
}
