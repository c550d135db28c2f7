//! When monitors are due. Their times lie in the store in order, so that however many there are, a host sleeps until
//! the first of them; several are evaluated at once, and how late they are is measured.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::Timestamp;
use bellwether_store::{Direction, Key, Space};
use futures::{FutureExt, StreamExt, stream};

use super::turn::Turn;
use crate::{AlertError, Alerts, rows};

/// The longest sleep: a clock that is set may bring a time nearer than it seemed, and another host may add one.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// Monitors taken from the schedule in one turn.
const TURN: usize = 1_024;

/// How long a loop that failed waits before its next turn.
const AFTER_ERROR: Duration = Duration::from_secs(1);

impl Alerts {
    /// Evaluates what is due, again and again, until told to stop.
    pub(crate) fn begin(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let alerts = Arc::clone(self);
        tokio::spawn(async move {
            while !alerts.halt.is_cancelled() {
                match AssertUnwindSafe(alerts.keep_time()).catch_unwind().await {
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

    async fn keep_time(&self) -> Result<(), AlertError> {
        let sooner = self.sooner.notified();
        tokio::pin!(sooner);
        // Listens from here on: what is committed behind the look is not slept through.
        sooner.as_mut().enable();
        let now = self.clock.now();
        if self.evaluate_due(now).await? > 0 {
            return Ok(());
        }
        let first = self.store.scan(Key::new(Space::MonitorDue).prefix(), Direction::Forward, 1).await?;
        let sleep = match first.first() {
            Some((key, _)) => {
                let milliseconds = rows::due_of(key)?.0.milliseconds_since(self.clock.now());
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

    /// Evaluates the monitors that are due at `now`, several at once; how many there were. One that fails does not
    /// keep the others from their turn.
    ///
    /// # Errors
    /// The store's; what was committed before stays.
    pub(crate) async fn evaluate_due(&self, now: Timestamp) -> Result<usize, AlertError> {
        let range = Key::new(Space::MonitorDue).prefix().start..rows::due_behind(now);
        let due = self.store.scan(range, Direction::Forward, TURN).await?;
        let mut count = 0;
        let mut turns = stream::iter(due)
            .map(|(key, _)| async move {
                // What was taken from the schedule is left to the next start.
                if self.halt.is_cancelled() {
                    return Ok(Turn::Stale);
                }
                let (at, organisation, id) = rows::due_of(&key)?;
                self.evaluate(at, organisation, id).await
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
