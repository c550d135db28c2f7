//! The queue of runs that are ready. It is in the store; here is only where in it the next turn begins. Organisations
//! take turns, so that one with a thousand runs keeps another with one waiting for one run and not for a thousand.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bellwether_kernel::{ErrorKind, OrganisationId, RunId};
use bellwether_store::{Batch, Key, Precondition, Space, StoreError, Walk, encode};
use futures::FutureExt;
use futures::future::abortable;
use tracing::Instrument;

use super::Active;
use super::fence::Failure;
use super::recall::Begun;
use super::runner::{Came, Work};
use super::timers::LATE;
use super::workers::Worker;
use crate::rows::{OpenRun, RunRow};
use crate::{PlaybookError, Playbooks, RunState, rows};

/// How long a host that finds nothing waits unless it is told: for runs other hosts made ready.
const IDLE: Duration = Duration::from_secs(5);
/// Rows read of the queue first: the first is mostly the one that is next.
const FEW: usize = 4;
/// Rows read at once behind them, all of runs that are at work here.
const ROWS: usize = 256;

/// Takes a run off the list of those at work, however its task ends.
struct Leaving {
    playbooks: Arc<Playbooks>,
    id: RunId,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let passed_over = {
            let mut active = self.playbooks.active.lock();
            active.remove(&self.id);
            self.playbooks.passed_over.swap(false, Ordering::SeqCst)
        };
        self.playbooks.wait_no_more(self.id);
        self.playbooks.left.notify_waiters();
        if passed_over {
            self.playbooks.ready.notify_one();
        }
    }
}

impl Playbooks {
    /// Waits for a run that is ready and a worker for it, and sets it to work.
    pub(super) async fn dispatch(self: Arc<Self>) -> Result<(), PlaybookError> {
        let Some((organisation, id, worker)) = self.next_ready().await? else {
            tokio::select! {
                biased;
                () = self.ready.notified() => {}
                () = self.workers.freed() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
            return Ok(());
        };
        self.served.store(organisation.0, Ordering::SeqCst);
        let playbooks = Arc::clone(&self);
        self.spawn(id, async move { playbooks.resume(organisation, id, worker).await });
        Ok(())
    }

    /// The run that is next, and its worker: of the organisation behind the one that was served last, the oldest. Those of one
    /// that is suspended, or that gets no other worker now, are passed over.
    async fn next_ready(&self) -> Result<Option<(OrganisationId, RunId, Worker)>, StoreError> {
        if !self.workers.has_one() {
            return Ok(None);
        }
        let all = Key::new(Space::RunQueue).prefix();
        let served = OrganisationId(self.served.load(Ordering::SeqCst));
        let behind = rows::queue(served).prefix().end;
        for range in [behind.clone()..all.end, all.start..behind] {
            let mut queue = Walk::forward(&*self.store, range).at_once(FEW);
            while let Some((.., (organisation, run))) =
                queue.next_read(|key, _| rows::organisation_and_run(key)).await?
            {
                if !self.access.is_suspended(organisation) {
                    if self.is_passed_over(run) {
                        // Behind one there may be as many as are at work.
                        queue = queue.at_once(ROWS);
                        continue;
                    }
                    if let Some(worker) = self.workers.take(organisation) {
                        return Ok(Some((organisation, run, worker)));
                    }
                }
                queue.skip_to(rows::queue(organisation).prefix().end);
            }
        }
        Ok(None)
    }

    /// Whether a run is at work here: ready again already, or about to be claimed. Whoever leaves next says to look again.
    fn is_passed_over(&self, run: RunId) -> bool {
        let active = self.active.lock();
        let is_active = active.contains_key(&run);
        if is_active {
            self.passed_over.store(true, Ordering::SeqCst);
        }
        is_active
    }

    /// Sets a run to work that is this host's.
    pub(super) fn work_at(self: &Arc<Self>, mut work: Work, begun: Begun) {
        let playbooks = Arc::clone(self);
        let id = work.id;
        self.spawn(id, async move {
            playbooks.work_off(&mut work, Some(begun)).await;
        });
    }

    fn spawn(self: &Arc<Self>, id: RunId, task: impl Future<Output = ()> + Send + 'static) {
        let leaving = Leaving { playbooks: Arc::clone(self), id };
        let (task, handle) = abortable(async move {
            let _leaving = leaving;
            task.await;
        });
        let stop = self.halt_of(id);
        self.active.lock().insert(id, Active { stop, task: Some(handle) });
        tokio::spawn(task);
    }

    /// A run's own token, made on first use.
    pub(super) fn halt_of(&self, id: RunId) -> tokio_util::sync::CancellationToken {
        self.active.lock().get(&id).map_or_else(Default::default, |active| active.stop.clone())
    }

    /// Takes up a run that is ready.
    async fn resume(self: &Arc<Self>, organisation: OrganisationId, id: RunId, worker: Worker) {
        match self.claim(organisation, id).await {
            Ok(Some(mut work)) => {
                work.worker = Some(worker);
                self.work_off(&mut work, None).await;
            }
            Ok(None) => {}
            Err(error) => {
                self.meters.not_taken_up();
                tracing::warn!(run = %id, %error, "the run could not be taken up; it stays in the queue");
                tokio::time::sleep(super::AFTER_ERROR).await;
            }
        }
    }

    /// Makes a run that is ready this host's; `None` if it is not ready any more, or the host begins no more.
    async fn claim(&self, organisation: OrganisationId, id: RunId) -> Result<Option<Work>, PlaybookError> {
        while !self.halt.is_cancelled() {
            let queued = rows::queued(organisation, id);
            let key = rows::run_open(organisation, id);
            let stored = self.store.get(&key).await?;
            let unread = self.store.unread();
            // One that does not read can be taken up by nobody, and would keep those behind it waiting.
            let open: Option<OpenRun> = stored.as_ref().and_then(|row| unread.decode(&key, row));
            let (Some(stored), Some(mut open)) = (stored, open.filter(|open| open.owner.is_none())) else {
                let mut batch = Batch::new();
                batch.delete(queued);
                self.store.commit(batch).await?;
                self.queued.went(organisation, 1);
                return Ok(None);
            };
            let run_key = rows::run(organisation, open.playbook, id);
            let row = self.store.get(&run_key).await?;
            if row.is_none() {
                unread.tell(&run_key, "the row of an open run is missing");
            }
            let Some(mut row) = row.and_then(|row| unread.decode::<RunRow>(&run_key, &row)) else {
                self.end_unread(organisation, id, open.playbook).await?;
                return Ok(None);
            };
            let (loaded, gone) = match self.load(organisation, row.playbook, row.playbook_version).await {
                Err(PlaybookError::Store(damage @ StoreError::Damaged(_))) => (None, damage.to_string()),
                loaded => (loaded?, row.version_gone()),
            };
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(stored));
            if let Some(at) = open.wake.take() {
                batch.delete(rows::wake(at, organisation, id));
            }
            open.owner = Some(self.owner);
            row.waits_until = None;
            if row.deadline.is_some_and(|deadline| self.clock.now().milliseconds_since(deadline) > LATE) {
                // No host was there when it was to wake.
                row.grant_failure_time(self.clock.now());
            }
            if let Some(loaded) = &loaded
                && row.started.is_some_and(|started| self.is_ahead(started))
            {
                // A clock that was ahead began it: its time is from now on.
                let now = self.clock.now();
                row.started = Some(now);
                row.deadline = Some(now.saturating_add(self.run_time(&loaded.compiled).milliseconds()));
                row.grant_failure_time(now);
            }
            let untouched = row.state == RunState::Queued && row.replay_of.is_none();
            if let Some(loaded) = &loaded
                && row.state == RunState::Queued
                && open.cancel.is_none()
            {
                self.begin(organisation, id, loaded, &mut row);
            }
            self.require_lease(&mut batch);
            let fence = encode(&open);
            batch.put(key, fence.clone()).put(run_key, encode(&row)).delete(queued);
            match self.store.commit(batch).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    self.recover_lease().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            self.queued.went(organisation, 1);
            let Some(loaded) = loaded else {
                self.end_unknown(organisation, id, row, gone).await?;
                return Ok(None);
            };
            let mut work = Work::new(organisation, id, loaded, row, open, fence);
            work.untouched = untouched;
            return Ok(Some(work));
        }
        Ok(None)
    }

    /// Where the host begins no more runs, lets go of those who wait for one that is not at work.
    pub(super) fn wait_no_more(&self, id: RunId) {
        if self.halt.is_cancelled() && !self.active.lock().contains_key(&id) {
            self.waiters.lock().remove(&id);
        }
    }

    /// Works a run off until it has ended or waits.
    async fn work_off(self: &Arc<Self>, work: &mut Work, begun: Option<Begun>) {
        // Apart from the request that started it, which is over long before.
        let span = tracing::info_span!(
            parent: None,
            "run",
            run = %work.id,
            organisation = work.organisation.0,
            playbook = work.row.playbook_name,
            playbook_version = work.row.playbook_version,
            trigger = work.row.triggered_by.kind().as_str(),
        );
        work.stop = self.halt_of(work.id);
        let worked =
            AssertUnwindSafe(self.execute(work, begun)).catch_unwind().instrument(span.clone()).await;
        let worked = match worked {
            Ok(worked) => worked,
            Err(_) => {
                let error = "the run panicked, which is a fault of the host".to_owned();
                if let Err(error) = self.let_loose(work.organisation, work.id).await {
                    tracing::error!(run = %work.id, %error, "the runs within it could not be ended");
                }
                work.comes_to(RunState::Failed, Some(error));
                let ended = self.end(work, Batch::new()).instrument(span).await.map(|()| Came::Ended);
                self.tell_end(work.organisation, work.id).await;
                ended
            }
        };
        match worked {
            Ok(Came::Ended | Came::Parked | Came::Until(_)) => {}
            // If it is this host's all the same, somebody has to take it up again.
            Err(Failure::Lost | Failure::Moved) => self.dropped.lock().push((work.organisation, work.id)),
            Err(Failure::Store(error)) => {
                self.meters.not_taken_up();
                tracing::error!(run = %work.id, %error, "the run could not be recorded; it is taken up again");
                self.dropped.lock().push((work.organisation, work.id));
            }
        }
    }
}
