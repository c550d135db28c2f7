//! What moves runs: firings are accepted, runs wait in the store and are worked off, timers wake them, leases tell
//! whose they are.

mod accept;
mod acting;
mod begin;
mod call;
mod component;
mod context;
mod ending;
mod fence;
mod following;
mod gate;
mod items;
mod lease;
mod lines;
mod queue;
mod recall;
mod record;
mod repeating;
mod runner;
mod step;
mod timers;
mod unstarted;
mod waiting;
mod watching;
mod workers;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::StoreError;
use futures::FutureExt;
use futures::future::{AbortHandle, BoxFuture};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::{PlaybookError, Playbooks};

pub(crate) use accept::{Copied, Firing};
pub use acting::IncidentActions;
pub(crate) use begin::declared_inputs;
pub(crate) use context::taken;
pub(crate) use following::Following;
pub(crate) use recall::{Described, pinned, purpose};
pub(crate) use record::shortened;
pub(crate) use unstarted::{Unstarted, WHY_BYTES};
pub(crate) use waiting::Waiting;
pub(crate) use watching::Watching;
pub(crate) use workers::Workers;

/// How often triggers are looked at that nobody told of.
const LOOKED_AGAIN: Duration = Duration::from_secs(60);
/// How long a loop that failed waits before its next turn.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What a task came to; where it panicked, so does this.
fn outcome<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// A run at work on this host.
pub(crate) struct Active {
    /// Says that it is to end.
    pub(crate) stop: CancellationToken,
    /// Its task; a run within another has that one's.
    pub(crate) task: Option<AbortHandle>,
}

type Turn = fn(Arc<Playbooks>) -> BoxFuture<'static, Result<(), PlaybookError>>;

impl Playbooks {
    /// Starts what goes on for as long as the host is up.
    pub(crate) fn begin_loops(self: &Arc<Self>) {
        self.keep_at("leases", &self.end, |playbooks| playbooks.keep_lease().boxed());
        self.keep_at("queued runs", &self.halt, |playbooks| playbooks.dispatch().boxed());
        self.keep_at("timers", &self.halt, |playbooks| playbooks.keep_time().boxed());
        self.keep_at("alert triggers", &self.halt, |playbooks| playbooks.keep_following().boxed());
        self.keep_at("triggers", &self.halt, |playbooks| playbooks.look_again().boxed());
        self.keep_at("suspensions", &self.halt, |playbooks| playbooks.keep_resuming().boxed());
        if self.writes.is_some() {
            self.keep_at("metric triggers", &self.halt, |playbooks| playbooks.keep_watch().boxed());
        }
    }

    /// Does `turn` again and again until `halt`; an error or a panic is told and ends only that turn.
    fn keep_at(self: &Arc<Self>, what: &'static str, halt: &CancellationToken, turn: Turn) {
        let (playbooks, halt) = (Arc::clone(self), halt.clone());
        tokio::spawn(async move {
            loop {
                let done = tokio::select! {
                    biased;
                    () = halt.cancelled() => return,
                    done = AssertUnwindSafe(turn(Arc::clone(&playbooks))).catch_unwind() => done,
                };
                match done {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => tracing::warn!(what, %error, "failed; it is tried again"),
                    Err(_) => {
                        tracing::error!(what, "panicked, which is a fault of the host; it is tried again");
                    }
                }
                tokio::select! {
                    biased;
                    () = halt.cancelled() => return,
                    () = tokio::time::sleep(AFTER_ERROR) => {}
                }
            }
        });
    }

    /// Begins no more runs by itself: those that wait, and those that triggers would start, are left to the next start.
    /// Who asks for a run still has it recorded, and begun where there is room; who waits for one that does not begin, or
    /// that waits itself, is told at once that it goes on later. Runs at work go on.
    pub fn begin_no_more(&self) {
        self.halt.cancel();
        let mut waiters = self.waiters.lock();
        let active = self.active.lock();
        waiters.retain(|run, _| active.contains_key(run));
    }

    /// Takes no more runs and waits until those at work have ended or wait for something, at most so long. What is
    /// left then is cut off, and taken up again from its last committed result by whoever opens the store next.
    pub async fn stop(&self, patience: Duration) {
        self.begin_no_more();
        self.stopping.store(true, Ordering::SeqCst);
        if tokio::time::timeout(patience, self.all_left()).await.is_err() {
            let tasks: Vec<AbortHandle> =
                self.active.lock().values().filter_map(|active| active.task.clone()).collect();
            tasks.iter().for_each(AbortHandle::abort);
            self.all_left().await;
        }
        self.waiters.lock().clear();
        self.end.cancel();
        if let Err(error) = self.give_up_lease().await {
            tracing::warn!(%error, "the lease could not be given back; it runs out by itself");
        }
    }

    async fn all_left(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Listens from here on, so that nobody leaves unnoticed between the look and the wait.
            left.as_mut().enable();
            if self.active.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Ends at once, as a process that is killed: nothing more is committed.
    #[cfg(test)]
    pub(crate) fn die(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.end.cancel();
        self.active.lock().values().filter_map(|active| active.task.as_ref()).for_each(AbortHandle::abort);
        self.waiters.lock().clear();
    }

    /// How long from now until `at`, by the host's clock; nothing if that has passed.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        let milliseconds = at.milliseconds_since(self.clock.now());
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
    }

    /// Reads anew which metrics the organisation's playbooks watch, and which follow its incidents. What changed that is done
    /// already: where they cannot be read, they are before long.
    pub(crate) async fn refresh_watches(&self, organisation: OrganisationId) {
        if let Err(error) = self.read_triggers(Some(organisation)).await {
            tracing::warn!(%organisation, %error, "what a changed playbook watches or follows could not be read; it is tried again");
            self.unread.notify_one();
        }
    }

    /// Reads which playbooks watch metrics or follow incidents, of one organisation or of all.
    pub(crate) async fn read_triggers(&self, only: Option<OrganisationId>) -> Result<(), StoreError> {
        let _in_order = self.reading_triggers.lock().await;
        self.read_followers(only).await?;
        self.read_watches(only).await
    }

    /// Has what waited looked at again when an organisation is resumed.
    async fn keep_resuming(self: Arc<Self>) -> Result<(), PlaybookError> {
        // Listens from here on: what is resumed behind the look is not slept through.
        let mut suspensions = self.access.suspensions();
        self.ready.notify_one();
        self.sooner.notify_one();
        // It tells as long as there is the access that this holds.
        let _ = suspensions.changed().await;
        Ok(())
    }

    /// Looks at triggers that another host published, or that could not be read.
    async fn look_again(self: Arc<Self>) -> Result<(), PlaybookError> {
        self.read_triggers(None).await?;
        tokio::select! {
            biased;
            () = self.unread.notified() => {}
            () = tokio::time::sleep(LOOKED_AGAIN) => {}
        }
        Ok(())
    }
}
