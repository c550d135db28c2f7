//! What came of attempts that end at about the same time is recorded in one commit.

use std::sync::Arc;
use std::time::Duration;

use bellwether_store::{Batch, StoreError};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::Deliveries;
use crate::AlertError;

/// How long what came of an attempt waits for what comes of others, as long as there are others. What is sent meanwhile
/// is what a crash may have sent again, so it is short.
const GATHERED_FOR: Duration = Duration::from_millis(2);
/// Attempts recorded in one commit. Each is a few rows, so that it stays far below what a commit may hold.
const AT_ONCE: usize = 64;

/// What came of attempts and is not recorded yet.
#[derive(Default)]
pub(super) struct Results {
    gathered: Mutex<Gathered>,
    /// Told when nothing is waited for any more.
    complete: Notify,
}

#[derive(Default)]
struct Gathered {
    waiting: Vec<Waiting>,
    /// Somebody commits what waits.
    is_gathering: bool,
    /// Attempts of which nothing has come yet.
    at_work: usize,
}

/// What is to be recorded, and who waits for that.
type Waiting = (Batch, oneshot::Sender<Result<(), AlertError>>);

impl Gathered {
    fn is_complete(&self) -> bool {
        self.at_work == 0 || self.waiting.len() >= AT_ONCE
    }
}

/// An attempt of which nothing has come yet.
pub(super) struct AtWork<'a>(&'a Results);

impl Results {
    /// An attempt begins.
    pub(super) fn begin(&self) -> AtWork<'_> {
        self.gathered.lock().at_work += 1;
        AtWork(self)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut gathered = self.0.gathered.lock();
        gathered.at_work -= 1;
        if gathered.is_gathering && gathered.is_complete() {
            self.0.complete.notify_one();
        }
    }
}

impl Deliveries {
    /// Commits what came of an attempt, with what came of others; patiently, as it was done already.
    pub(super) async fn record(self: &Arc<Self>, batch: Batch) -> Result<(), AlertError> {
        let recorded = {
            let mut gathered = self.results.gathered.lock();
            if gathered.at_work == 0 && !gathered.is_gathering {
                None
            } else {
                let (sender, recorded) = oneshot::channel();
                gathered.waiting.push((batch.clone(), sender));
                if !std::mem::replace(&mut gathered.is_gathering, true) {
                    self.gather();
                } else if gathered.is_complete() {
                    self.results.complete.notify_one();
                }
                Some(recorded)
            }
        };
        match recorded {
            None => self.commit_patiently(batch).await,
            // Nobody answers once deliveries are cut off.
            Some(recorded) => recorded.await.unwrap_or_else(|_| Err(CUT_OFF.into())),
        }
    }

    fn gather(self: &Arc<Self>) {
        let deliveries = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = deliveries.cut.cancelled() => {}
                () = deliveries.record_waiting() => {}
            }
        });
    }

    async fn record_waiting(self: &Arc<Self>) {
        let is_complete = self.results.gathered.lock().is_complete();
        if !is_complete {
            tokio::select! {
                biased;
                () = self.results.complete.notified() => {}
                () = tokio::time::sleep(GATHERED_FOR) => {}
            }
        }
        let part: Vec<Waiting> = {
            let mut gathered = self.results.gathered.lock();
            let count = gathered.waiting.len().min(AT_ONCE);
            let part = gathered.waiting.drain(..count).collect();
            gathered.is_gathering = !gathered.waiting.is_empty();
            if gathered.is_gathering {
                self.gather();
            }
            part
        };
        let mut all = Batch::new();
        for (batch, _) in &part {
            all.append(batch.clone());
        }
        let is_done = self.store.commit(all).await.is_ok();
        for (batch, sender) in part {
            // One that cannot be recorded keeps nobody else from it: each by itself then.
            let done = if is_done { Ok(()) } else { self.commit_patiently(batch).await };
            // Who waited may be cut off.
            let _ = sender.send(done);
        }
    }
}

const CUT_OFF: StoreError = StoreError::Unavailable("deliveries were cut off");
