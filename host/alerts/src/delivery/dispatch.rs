//! What moves deliveries: one loop hands out what is due, each attempt is a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bellwether_kernel::{ErrorKind, Timestamp};
use futures::FutureExt;
use metrics::gauge;

use super::schedule::{Task, Turn, Work};
use super::{ChannelKey, Deliveries};

/// How often everything that waits is looked for in the store.
const LOOKED_FOR: Duration = Duration::from_secs(60);
/// How long what failed for a fault of the host's waits.
const AFTER_ERROR: i64 = 1_000;

const WAITING: &str = "bellwether_deliveries_waiting";

impl Deliveries {
    /// Starts what goes on for as long as the host is up.
    pub(super) fn begin(self: &Arc<Self>) {
        metrics::describe_gauge!(WAITING, "Deliveries that are still to be delivered.");
        metrics::describe_counter!(super::ending::ATTEMPTS, "Attempts at deliveries, by what came of them.");
        metrics::describe_counter!(super::ending::ENDED, "Deliveries that ended, by how.");
        let (deliveries, halt) = (Arc::clone(self), self.halt.clone());
        self.tasks.spawn(async move {
            let mut looked = tokio::time::Instant::now();
            let mut suspensions = deliveries.access.suspensions();
            loop {
                let wait = match AssertUnwindSafe(deliveries.turn(&mut looked)).catch_unwind().await {
                    Ok(wait) => wait,
                    Err(_) => {
                        tracing::error!(
                            "the deliveries' loop panicked, which is a fault of the host; it goes on"
                        );
                        Duration::from_secs(1)
                    }
                };
                tokio::select! {
                    biased;
                    () = halt.cancelled() => return,
                    () = deliveries.wake.notified() => {}
                    Ok(()) = suspensions.changed() => deliveries.look_at_held(),
                    () = tokio::time::sleep(wait) => {}
                }
            }
        });
    }

    /// Has channels looked at again that waited for their organisations to be resumed.
    fn look_at_held(&self) {
        self.schedule.lock().release_held(|organisation| self.access.is_suspended(organisation));
    }

    /// Hands out what may be done now, and gives how long there is nothing else.
    async fn turn(self: &Arc<Self>, looked: &mut tokio::time::Instant) -> Duration {
        let mut found = self.take_pending().await;
        if looked.elapsed() >= LOOKED_FOR || self.is_to_find.swap(false, Ordering::Relaxed) {
            *looked = tokio::time::Instant::now();
            self.schedule.lock().bring_back(self.clock.now());
            found = found.and(self.find_waiting().await);
        }
        if let Err(error) = found {
            tracing::warn!(%error, "what is to be delivered could not be read; it is tried again");
            return Duration::from_secs(1);
        }
        while !self.halt.is_cancelled() {
            let Some(mut work) = self.schedule.lock().take(self.clock.now()) else { break };
            let deliveries = Arc::clone(self);
            self.tasks.spawn(async move {
                deliveries.work(&mut work).await;
                deliveries.wake.notify_one();
            });
        }
        let schedule = self.schedule.lock();
        gauge!(WAITING).set(schedule.waiting() as f64);
        schedule
            .next()
            .map_or(LOOKED_FOR, |next| self.until(next).clamp(Duration::from_millis(1), LOOKED_FOR))
    }

    async fn work(self: &Arc<Self>, work: &mut Work) {
        let done = AssertUnwindSafe(self.one(work)).catch_unwind();
        let done = tokio::select! {
            biased;
            () = self.cut.cancelled() => return,
            done = done => done,
        };
        let later = Turn::Later(self.clock.now().saturating_add(AFTER_ERROR));
        let turn = match done {
            Ok(Ok(turn)) => turn,
            Ok(Err(error)) => {
                // Somebody else changed the delivery meanwhile: it is looked at again.
                if error.kind() != ErrorKind::Conflict {
                    tracing::warn!(channel = work.channel, incident = work.incident, %error, "a delivery was not worked at; it is tried again");
                }
                later
            }
            Err(_) => {
                tracing::error!(
                    channel = work.channel,
                    incident = work.incident,
                    "a delivery panicked, which is a fault of the host; it is tried again"
                );
                later
            }
        };
        if let (Turn::Later(_), Task::Fold(..)) = (&turn, &work.task) {
            // A fold has no time of its own to wait for.
            tokio::time::sleep(self.until(self.clock.now().saturating_add(AFTER_ERROR))).await;
        }
        self.schedule.lock().put_back(work, &turn);
    }

    /// Waits until then, and for a worker: the one that was at this does something else meanwhile, if it can be spared.
    pub(super) async fn pause(&self, channel: &ChannelKey, until: Timestamp) {
        let goes_on = self.schedule.lock().pause(channel, until);
        if let Some(goes_on) = goes_on {
            self.wake.notify_one();
            tokio::select! {
                biased;
                _ = goes_on => return,
                // Nobody hands out work any more.
                () = self.halt.cancelled() => {}
            }
        }
        tokio::time::sleep(self.until(until)).await;
    }

    async fn one(self: &Arc<Self>, work: &mut Work) -> Result<Turn, crate::AlertError> {
        let told = work.told.take();
        match &work.task {
            Task::Deliver(sequence) => self.deliver(work.organisation, &work.id(*sequence), told).await,
            Task::Fold(needless, into) => {
                let needless: Vec<_> = needless.iter().map(|sequence| work.id(*sequence)).collect();
                self.fold(work.organisation, &needless, *into).await.map(|()| Turn::Ended)
            }
        }
    }
}
