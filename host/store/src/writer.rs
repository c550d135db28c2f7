//! The only writer of a sled store: one thread that turns many concurrent commits into few syncs.
//!
//! It takes batches off the queue, works them out over the store plus the group so far, appends the group's final rows
//! to the journal as one record, which makes them durable, shows them to the readers, and answers every caller. Nothing
//! is to be seen before it is durable. Batches that come while a group syncs are the next group.

use std::collections::VecDeque;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Sender;
use tokio::sync::{Semaphore, oneshot};

use crate::checkpoint::Checkpoints;
use crate::group::{self, Group, Rows};
use crate::journal::{AppendError, Journal};
use crate::queue::Queue;
use crate::space::Watermark;
use crate::tee::Tee;
use crate::view::View;
use crate::{Batch, Committed, StoreError, slice};

/// The longest a busy store waits for its callers to come again before it syncs without them: they wait longer than this
/// for a sync of their own.
const PACE: Duration = Duration::from_micros(300);

/// A store is busy with at least so many callers: who is alone or one of few waits for nobody.
const BUSY: usize = 4;

/// What a closed store answers.
pub(crate) const CLOSED: StoreError = StoreError::Unavailable("it is closed");

/// What a commit is answered of which nobody knows whether it was written.
pub(crate) fn unsure(why: &dyn Display) -> StoreError {
    StoreError::Failed(format!("it is not known whether this was written: {why}"))
}

/// What a commit gets in the end.
type Answer = Result<Committed, StoreError>;

/// One batch on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Batch,
    /// Its share of the queue, given back when it is answered.
    pub(crate) cost: u32,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What the writer is told to do, in order.
#[derive(Debug)]
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
    pub(crate) syncs: AtomicU64,
    pub(crate) watermark: Watermark,
}

impl Shared {
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.queue.close();
    }
}

/// Bounds of a group: what is one record and synced once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupLimits {
    pub(crate) batches: usize,
    pub(crate) bytes: usize,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) orders: Arc<Queue<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts it, and the thread for its checkpoints.
    pub(crate) fn start(
        db: sled::Db,
        view: View,
        journal: Journal,
        shared: Arc<Shared>,
        limits: GroupLimits,
    ) -> Result<Self, StoreError> {
        let orders = Arc::new(Queue::new());
        let queue = Arc::clone(&orders);
        let checkpoints = Checkpoints::start(db, view.clone())?;
        let run = move || {
            slice::shorten();
            let mut run = Run {
                view,
                journal,
                checkpoints,
                shared: &shared,
                limits,
                queue: &queue,
                inbox: VecDeque::new(),
                tees: Vec::new(),
            };
            // A panic of sled must not leave callers waiting for an answer that never comes.
            let end = catch_unwind(AssertUnwindSafe(|| run.run()))
                .unwrap_or_else(|_| Err(StoreError::Failed("the writer panicked".to_owned())));
            if let Err(error) = end {
                tracing::error!(%error, "the store takes no more writes");
            }
            shared.close();
            // Nobody has begun to write these.
            for order in run.inbox.drain(..).chain(queue.close()) {
                if let Order::Commit(job) = order {
                    let _ = job.answer.send(Err(CLOSED));
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::Failed(format!("the writer's thread does not start: {error}")))?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Finishes what was accepted and ends the threads.
    pub(crate) fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.orders.put(Order::Close);
            let _ = thread.join();
        }
    }
}

/// The callers of a group and what they are to be told.
#[derive(Default)]
struct Callers {
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    barriers: Vec<Sender<()>>,
    cost: usize,
}

/// A group being prepared.
#[derive(Default)]
struct Next {
    group: Group,
    callers: Callers,
}

impl Next {
    fn is_empty(&self) -> bool {
        self.callers.answers.is_empty() && self.callers.barriers.is_empty()
    }

    fn is_full(&self, limits: GroupLimits) -> bool {
        self.callers.answers.len() >= limits.batches || self.group.bytes() >= limits.bytes
    }
}

struct Run<'a> {
    view: View,
    journal: Journal,
    checkpoints: Checkpoints,
    shared: &'a Shared,
    limits: GroupLimits,
    queue: &'a Queue<Order>,
    /// What was taken off the queue and is in no group yet.
    inbox: VecDeque<Order>,
    tees: Vec<Tee>,
}

impl Run<'_> {
    /// Until the store is closed. An error is one after which nothing may be written any more.
    fn run(&mut self) -> Result<(), StoreError> {
        let mut next = Next::default();
        let mut closing = false;
        // As many as had a batch here when the last group was answered: who is answered comes again soon.
        let mut callers = 0;
        loop {
            if !closing && self.inbox.is_empty() {
                self.queue.wait(&mut self.inbox);
            }
            if callers >= BUSY && !closing {
                self.queue.gather(callers.saturating_sub(self.inbox.len()), PACE);
            }
            closing |= self.fill(&mut next);
            if next.is_empty() && closing {
                return self.close();
            }
            let answered = next.callers.answers.len();
            self.commit(std::mem::take(&mut next))?;
            callers = answered + self.inbox.len() + self.queue.len();
        }
    }

    /// Takes what is queued, as far as it fits the group; true if the store is to be closed.
    fn fill(&mut self, next: &mut Next) -> bool {
        let mut closing = false;
        while !next.is_full(self.limits) {
            if self.inbox.is_empty() {
                self.queue.take(&mut self.inbox);
            }
            let Some(order) = self.inbox.pop_front() else { break };
            closing |= self.take(order, next);
        }
        closing
    }

    /// Does what `order` says; true if the store is to be closed.
    fn take(&mut self, order: Order, next: &mut Next) -> bool {
        match order {
            Order::Commit(job) => {
                let answer = self.work_out(job.batch, &mut next.group);
                next.callers.answers.push((job.answer, answer));
                next.callers.cost += job.cost as usize;
            }
            // What this group holds already is shown after this moment, so it is seen.
            Order::Subscribe(tee) => self.tees.push(tee),
            Order::Barrier(barrier) => next.callers.barriers.push(barrier),
            Order::Close => return true,
        }
        false
    }

    fn work_out(&self, batch: Batch, group: &mut Group) -> Answer {
        if !group::frees_space(&batch) {
            self.shared.watermark.check(0)?;
        }
        group.add(batch, |key| self.view.get(key))
    }

    /// Makes the group durable and visible, and answers its callers.
    fn commit(&mut self, next: Next) -> Result<(), StoreError> {
        let Next { group, mut callers } = next;
        let bytes = group.bytes();
        let rows = group.into_rows();
        if rows.is_empty() {
            callers.answer(self.shared);
            return Ok(());
        }
        let shown = self.make_durable(&rows).and_then(|()| {
            let _ = self.shared.watermark.check(bytes as u64);
            // What is durable and cannot be shown is there after the next opening.
            self.show(rows, bytes).map_err(AppendError::Unsure)
        });
        match shown {
            Ok(()) => {}
            Err(AppendError::Full) => {
                callers.refuse(|| self.shared.watermark.full());
                callers.answer(self.shared);
                return Ok(());
            }
            Err(AppendError::Unsure(error)) => {
                // The first failure is the last: what the disk holds is not known any more, and a repeated sync may
                // succeed without having written what this one lost.
                self.shared.close();
                callers.refuse(|| unsure(&error));
                callers.barriers.clear();
                callers.answer(self.shared);
                return Err(error);
            }
        }
        callers.answer(self.shared);
        if self.view.has_many_removed() && !self.checkpoints.is_under_way()? {
            self.begin_checkpoint()?;
        }
        Ok(())
    }

    /// Shows readers a group that is durable.
    fn show(&mut self, rows: Rows, bytes: usize) -> Result<(), StoreError> {
        if self.tees.is_empty() {
            return self.view.apply(rows);
        }
        // A tee's reader scans what is shown first and then adds what the tee has: in this order nothing is missed.
        let rows = Arc::new(rows);
        self.view.apply(Rows::clone(&rows))?;
        self.tees.retain(|tee| tee.send(&rows, bytes));
        Ok(())
    }

    fn make_durable(&mut self, rows: &Rows) -> Result<(), AppendError> {
        if self.journal.is_full() {
            self.checkpoints.wait().and_then(|()| self.begin_checkpoint()).map_err(AppendError::Unsure)?;
        }
        self.journal.append(rows)?;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Goes on in the journal's other file, while the rows of this one settle; no checkpoint is under way.
    fn begin_checkpoint(&mut self) -> Result<(), StoreError> {
        self.journal.turn();
        self.checkpoints.begin(self.view.settle(), self.journal.last())
    }

    /// Settles everything. A last record without rows says that there is nothing behind it: should sled lose its
    /// newest rows, it shows.
    fn close(&mut self) -> Result<(), StoreError> {
        self.checkpoints.wait()?;
        if !self.journal.is_begun() {
            return Ok(());
        }
        self.begin_checkpoint()?;
        self.checkpoints.wait()?;
        match self.journal.append(&Rows::new()) {
            Ok(()) | Err(AppendError::Full) => Ok(()),
            Err(AppendError::Unsure(error)) => Err(error),
        }
    }
}

impl Callers {
    /// Tells everyone `error`: also who was refused, as that may have been for another batch of the group.
    fn refuse(&mut self, error: impl Fn() -> StoreError) {
        for (_, answer) in &mut self.answers {
            *answer = Err(error());
        }
    }

    fn answer(self, shared: &Shared) {
        let commits = self.answers.iter().filter(|(_, answer)| answer.is_ok()).count();
        shared.commits.fetch_add(commits as u64, Ordering::Relaxed);
        for (caller, answer) in self.answers {
            // A caller that stopped waiting does not take its commit back.
            let _ = caller.send(answer);
        }
        for barrier in self.barriers {
            let _ = barrier.send(());
        }
        shared.queue.add_permits(self.cost);
    }
}
