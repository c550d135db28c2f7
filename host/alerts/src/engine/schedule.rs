//! When monitors are due. Their times lie in the store in order, so that however many there are, a host sleeps until
//! the first of them, or until a write wakes one; several are evaluated at once, and how late they are is measured.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_kernel::{ErrorKind, OrganisationId, Timestamp};
use bellwether_store::{Batch, Direction, Key, Precondition, Space, Walk, decode};
use futures::{FutureExt, StreamExt, stream};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::turn::{Cause, Turn};
use crate::rows::NextRow;
use crate::state::is_ahead;
use crate::{AlertError, Alerts, MonitorId, limits, rows};

/// The longest sleep: a clock that is set may bring a time nearer than it seemed, and another host may add one.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Monitors taken from the schedule in one turn.
const TURN: usize = 1_024;

/// How often monitors are looked for whose next time a clock set that was ahead.
const LOOKED_AHEAD: Duration = Duration::from_secs(60);

/// How long a loop that failed waits before its next turn.
const AFTER_ERROR: Duration = Duration::from_secs(1);

impl Alerts {
    /// Evaluates what is due, again and again, until told to stop.
    pub(crate) fn begin(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let alerts = Arc::clone(self);
        tokio::spawn(async move {
            let mut looked = None;
            while !alerts.halt.is_cancelled() {
                match AssertUnwindSafe(alerts.keep_time(&mut looked)).catch_unwind().await {
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
        })
    }

    async fn keep_time(self: &Arc<Self>, looked: &mut Option<Instant>) -> Result<(), AlertError> {
        let sooner = self.sooner.notified();
        tokio::pin!(sooner);
        // Listens from here on: what is committed behind the look is not slept through.
        sooner.as_mut().enable();
        if looked.is_none_or(|looked| looked.elapsed() >= LOOKED_AHEAD) {
            *looked = Some(Instant::now());
            self.bring_back().await?;
        }
        let now = self.clock.now();
        let due = self.evaluate_due(now).await;
        // Where the schedule is behind, it comes first: it covers what wakes are for.
        if due.as_ref().is_ok_and(|due| *due >= TURN) {
            return Ok(());
        }
        // Whatever became of those.
        let woken = self.evaluate_woken(now).await;
        if due? + woken? > 0 {
            return Ok(());
        }
        let first = self.first_due().await?;
        self.meters.behind(first.map_or(0, |first| self.clock.now().milliseconds_since(first)));
        let sleep = match first.into_iter().chain(self.wakes.first()).min() {
            Some(at) => {
                let milliseconds = at.milliseconds_since(self.clock.now());
                Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)).min(LONGEST_SLEEP)
            }
            None => LONGEST_SLEEP,
        };
        tokio::select! {
            biased;
            () = self.halt.cancelled() => {}
            () = sooner => {}
            () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => {}
        }
        Ok(())
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
        while let Some((key, _)) = due.next().await? {
            let (at, organisation, id) = rows::due_of(&key)?;
            let key = rows::next(organisation, id);
            let Some(stored) = self.store.get(&key).await? else { continue };
            let Ok(mut next) = decode::<NextRow>(&stored) else { continue };
            // One whose version does not read is brought back too, and told when its turn comes.
            let every = self.load(organisation, id, next.version).await.map_or(0, |compiled| compiled.every);
            let is_wrong = at.milliseconds_since(now) > every + slack
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

    /// Evaluates the monitors that are due at `now`, several at once; how many there were. One that fails does not
    /// keep the others from their turn.
    ///
    /// # Errors
    /// The store's; what was committed before stays.
    pub(crate) async fn evaluate_due(self: &Arc<Self>, now: Timestamp) -> Result<usize, AlertError> {
        let range = Key::new(Space::MonitorDue).prefix().start..rows::due_behind(now);
        let due = self.store.scan(range, Direction::Forward, TURN).await?;
        let due = due.iter().map(|(key, _)| rows::due_of(key)).collect::<Result<Vec<_>, _>>()?;
        if let Some((first, ..)) = due.first() {
            self.meters.behind(now.milliseconds_since(*first));
        }
        self.evaluate_all(due, Cause::Schedule).await
    }

    /// Evaluates the monitors that writes woke by `now`; how many there were.
    ///
    /// # Errors
    /// The store's. What was not evaluated for it is left to the schedule.
    pub(crate) async fn evaluate_woken(self: &Arc<Self>, now: Timestamp) -> Result<usize, AlertError> {
        self.evaluate_all(self.wakes.take(now, TURN), Cause::Write).await
    }

    async fn evaluate_all(
        self: &Arc<Self>,
        all: Vec<(Timestamp, OrganisationId, MonitorId)>,
        cause: Cause,
    ) -> Result<usize, AlertError> {
        let mut count = 0;
        let mut turns = stream::iter(all)
            .map(|(at, organisation, id)| {
                let alerts = Arc::clone(self);
                // A task each, so that every core has its share.
                let turn = tokio::spawn(async move {
                    // What was taken from the schedule is left to the next start.
                    if alerts.halt.is_cancelled() {
                        return Ok(Turn::Stale);
                    }
                    alerts.evaluate(cause, at, organisation, id).await
                });
                AbortOnDropHandle::new(turn).map(|turn| match turn.map_err(JoinError::try_into_panic) {
                    Ok(turn) => turn,
                    Err(Ok(panic)) => std::panic::resume_unwind(panic),
                    // The runtime ends.
                    Err(Err(_)) => Ok(Turn::Stale),
                })
            })
            .buffer_unordered(self.limits.at_once.max(1));
        let mut failed = None;
        while let Some(turn) = turns.next().await {
            match turn {
                Ok(turn) => {
                    count += 1;
                    self.meters.turn(turn);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(count), Err)
    }
}
