//! The only writer of a sled store: two threads that turn many concurrent commits into few syncs.
//!
//! The *writer* takes batches off the queue, works them out over the store plus the group so far, and applies the
//! group as one atomic sled batch. The *syncer* makes it durable and then answers every caller. While it syncs, the
//! writer prepares the next group, but does not apply it: sled's batches and flushes take a lock of which a waiting
//! writer would hold up every reader for the length of a sync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, unbounded};
use tokio::sync::{Semaphore, oneshot};

use crate::group::{self, Group, Rows};
use crate::sled::failed;
use crate::space::Watermark;
use crate::tee::Tee;
use crate::{Batch, Committed, Key, StoreError};

/// How often the writer looks into the queue while a group syncs. Woken for every batch instead, it would take a
/// third of the processor for nothing where a sync takes tenths of a millisecond; where it takes milliseconds, most of
/// a group is still worked out before its turn comes.
const LOOK: Duration = Duration::from_micros(500);

/// How long a busy store waits for more batches before it syncs. A sync costs about 0.25 ms of processor time in
/// threads that wake each other, whatever it writes; a caller of a busy store waits longer than this anyway.
const PACE: Duration = Duration::from_micros(300);

/// A store is busy while its groups have at least so many batches: callers who are alone or few wait for nobody.
const BUSY: usize = 4;

/// What a closed store answers.
pub(crate) const CLOSED: StoreError = StoreError::Unavailable("it is closed");

/// What a commit gets in the end.
type Answer = Result<Committed, StoreError>;

/// One batch on its way.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    /// Its share of the queue, given back when it is answered.
    pub(crate) cost: u32,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What the writer is told to do, in order.
pub(crate) enum Order {
    Commit(Job),
    /// Sends every change applied from here on to the tee.
    Subscribe(Tee),
    /// Answers once everything before it is durable.
    Barrier(Sender<()>),
    Close,
}

/// What the writer and the store's handle both see.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Bounds the queue in bytes: a caller waits for its batch's share before it queues it.
    pub(crate) queue: Semaphore,
    /// No writes any more: closed, or a sync failed.
    pub(crate) closed: AtomicBool,
    pub(crate) commits: AtomicU64,
    pub(crate) flushes: AtomicU64,
    pub(crate) watermark: Watermark,
}

impl Shared {
    /// How often the log was made durable.
    pub(crate) fn syncs(&self) -> u64 {
        #[cfg(target_os = "linux")]
        return crate::sync::count();
        #[cfg(not(target_os = "linux"))]
        return self.flushes.load(Ordering::Relaxed);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.queue.close();
    }
}

/// Bounds of a group: what is applied as one sled batch and synced once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    pub(crate) batches: usize,
    pub(crate) bytes: usize,
}

/// The running threads.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts them.
    pub(crate) fn start(db: sled::Db, shared: Arc<Shared>, limits: GroupLimits) -> Result<Self, StoreError> {
        let (orders, inbox) = unbounded();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                let (work, queued) = bounded(1);
                let (finish, finished) = bounded(1);
                let syncer = std::thread::Builder::new().name("store-syncer".to_owned()).spawn({
                    let (db, shared) = (db.clone(), shared.clone());
                    move || sync_groups(&db, &shared, &queued, &finish)
                });
                match syncer {
                    Ok(syncer) => {
                        let run =
                            Run { db, shared: &shared, limits, inbox, work, finished, tees: Vec::new() };
                        // A panic of sled must not leave callers waiting for an answer that never comes.
                        let end = catch_unwind(AssertUnwindSafe(|| run.run()));
                        if end.is_err() {
                            tracing::error!("the store's writer panicked; the store takes no more writes");
                        }
                        shared.close();
                        let _ = syncer.join();
                    }
                    Err(error) => {
                        tracing::error!(%error, "the store's second thread does not start");
                        shared.close();
                    }
                }
            })
            .map_err(|error| StoreError::Failed(format!("the writer's thread does not start: {error}")))?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Finishes what was accepted and ends both threads.
    pub(crate) fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.orders.send(Order::Close);
            let _ = thread.join();
        }
    }
}

/// An applied group on its way to the disk.
#[derive(Default)]
struct Applied {
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    barriers: Vec<Sender<()>>,
    cost: usize,
}

/// A group being prepared.
#[derive(Default)]
struct Next {
    group: Group,
    applied: Applied,
}

impl Next {
    fn is_empty(&self) -> bool {
        self.applied.answers.is_empty() && self.applied.barriers.is_empty()
    }

    fn is_full(&self, limits: GroupLimits) -> bool {
        self.applied.answers.len() >= limits.batches || self.group.bytes() >= limits.bytes
    }
}

struct Run<'a> {
    db: sled::Db,
    shared: &'a Shared,
    limits: GroupLimits,
    inbox: Receiver<Order>,
    work: Sender<Applied>,
    finished: Receiver<bool>,
    tees: Vec<Tee>,
}

impl Run<'_> {
    fn run(mut self) {
        let mut next = Next::default();
        let mut syncing = false;
        let mut closing = false;
        let mut busy = false;
        loop {
            if syncing {
                let look = if closing || next.is_full(self.limits) { Duration::MAX } else { LOOK };
                match self.finished.recv_timeout(look) {
                    Ok(true) => syncing = false,
                    Err(RecvTimeoutError::Timeout) => closing |= self.drain(&mut next),
                    Ok(false) | Err(RecvTimeoutError::Disconnected) => return,
                }
            } else if next.is_empty() && !closing {
                closing |= self.take(self.inbox.recv().ok(), &mut next);
            } else {
                if busy && !closing {
                    std::thread::sleep(PACE);
                }
                closing |= self.drain(&mut next);
                if next.is_empty() {
                    return;
                }
                busy = next.applied.answers.len() >= BUSY;
                let Some(applied) = self.apply(std::mem::take(&mut next)) else { return };
                if self.work.send(applied).is_err() {
                    return;
                }
                syncing = true;
            }
        }
    }

    /// Takes what is queued, as far as it fits the group; true if the store is to be closed.
    fn drain(&mut self, next: &mut Next) -> bool {
        let mut closing = false;
        while !next.is_full(self.limits) {
            match self.inbox.try_recv() {
                Ok(order) => closing |= self.take(Some(order), next),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        closing
    }

    /// Does what `order` says; true if the store is to be closed.
    fn take(&mut self, order: Option<Order>, next: &mut Next) -> bool {
        match order {
            Some(Order::Commit(job)) => {
                let answer = self.work_out(job.batch, &mut next.group);
                next.applied.answers.push((job.answer, answer));
                next.applied.cost += job.cost as usize;
                false
            }
            Some(Order::Subscribe(tee)) => {
                // What this group holds already is applied after this moment, so it is seen.
                self.tees.push(tee);
                false
            }
            Some(Order::Barrier(barrier)) => {
                next.applied.barriers.push(barrier);
                false
            }
            Some(Order::Close) | None => true,
        }
    }

    fn work_out(&self, batch: Batch, group: &mut Group) -> Answer {
        if !group::only_deletes(&batch) {
            self.shared.watermark.check(0)?;
        }
        group.add(batch, |key| read(&self.db, key))
    }

    /// Applies the group to sled, not durable yet. `None` if that failed: its callers know, and the store is closed.
    fn apply(&mut self, next: Next) -> Option<Applied> {
        let Next { group, mut applied } = next;
        let bytes = group.bytes();
        let rows = group.into_rows();
        if rows.is_empty() {
            return Some(applied);
        }
        let result = self.db.apply_batch(sled_batch(&rows)).map_err(failed);
        if let Err(error) = result {
            refuse(&mut applied, &error);
            answer(applied, self.shared);
            return None;
        }
        let _ = self.shared.watermark.check(bytes as u64);
        if !self.tees.is_empty() {
            let rows = Arc::new(rows);
            self.tees.retain(|tee| tee.send(&rows, bytes));
        }
        Some(applied)
    }
}

/// Syncs one group after the other and answers its callers. The first failure is the last: what the disk holds is
/// not known any more, and a repeated sync may succeed without having written what the first one lost.
fn sync_groups(db: &sled::Db, shared: &Shared, queued: &Receiver<Applied>, finish: &Sender<bool>) {
    while let Ok(mut applied) = queued.recv() {
        let flushed = catch_unwind(AssertUnwindSafe(|| db.flush().map_err(failed)))
            .unwrap_or_else(|_| Err(StoreError::Failed("the sync panicked".to_owned())));
        if let Err(error) = &flushed {
            tracing::error!(%error, "the store's log could not be made durable; it takes no more writes");
            shared.close();
            refuse(&mut applied, error);
        }
        shared.flushes.fetch_add(1, Ordering::Relaxed);
        let _ = finish.send(flushed.is_ok());
        answer(applied, shared);
    }
}

/// Turns every success of a group into `error`.
fn refuse(applied: &mut Applied, error: &StoreError) {
    let message = format!("it is not known whether this was written: {error}");
    applied.barriers.clear();
    for (_, answer) in &mut applied.answers {
        if answer.is_ok() {
            *answer = Err(StoreError::Failed(message.clone()));
        }
    }
}

fn answer(applied: Applied, shared: &Shared) {
    let commits = applied.answers.iter().filter(|(_, answer)| answer.is_ok()).count();
    shared.commits.fetch_add(commits as u64, Ordering::Relaxed);
    for (caller, answer) in applied.answers {
        // A caller that stopped waiting does not take its commit back.
        let _ = caller.send(answer);
    }
    for barrier in applied.barriers {
        let _ = barrier.send(());
    }
    shared.queue.add_permits(applied.cost);
}

/// A row as sled holds it.
pub(crate) fn read(tree: &sled::Tree, key: &Key) -> Result<Option<Bytes>, StoreError> {
    let value = tree.get(key.as_bytes()).map_err(failed)?;
    Ok(value.map(|value| Bytes::copy_from_slice(&value)))
}

/// The rows as one atomic change of sled.
pub(crate) fn sled_batch(rows: &Rows) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (key, row) in rows {
        match row {
            Some(value) => batch.insert(key.as_bytes(), &value[..]),
            None => batch.remove(key.as_bytes()),
        }
    }
    batch
}
