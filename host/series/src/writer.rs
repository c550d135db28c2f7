//! The one writer: it takes what waits, commits it together, shows it to readers, and only then acknowledges it.
//!
//! So the numbers of the log's rows are the order of writes for everybody, before and after a restart.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Batch, StoreError, encode};
use bytes::Bytes;
use futures::future::join_all;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::SeriesNumber;
use crate::brought::{Brought, Fate};
use crate::index::Index;
use crate::layout::{self, Number};
use crate::limits::{DELETED_ROWS, GROUP_SAMPLES, LOG_ROWS, QUEUE};
use crate::log::{self, Columns, Rows};
use crate::service::Shared;
use crate::write::put_row;

/// Something for the writer to do.
pub(crate) enum Order {
    Write(WriteOrder),
    Delete(DeleteOrder),
    /// Answers once everything before it is done.
    Flush(oneshot::Sender<()>),
}

/// A write, worked out.
pub(crate) struct WriteOrder {
    pub(crate) organisation: OrganisationId,
    pub(crate) columns: Columns,
    /// The same, as parts of rows of the log.
    pub(crate) parts: Vec<Vec<u8>>,
    /// Rows of series that may not be in the store yet, and which.
    pub(crate) rows: Batch,
    pub(crate) new: Brought,
    pub(crate) join: Batch,
    pub(crate) index: Arc<RwLock<Index>>,
    /// [`Index::deletions`] when it was worked out.
    pub(crate) deletions: u64,
    /// [`Index::epoch`] then; held until the write is done.
    #[expect(dead_code, reason = "that it is held is what is asked for")]
    pub(crate) epoch: Arc<u8>,
    /// Who waits for it; nobody if it is acknowledged already.
    pub(crate) reply: Option<oneshot::Sender<Result<(), StoreError>>>,
}

impl WriteOrder {
    /// Leaves out what was deleted since it was worked out, as if it had been written before, and brings the rows along
    /// that went.
    fn forget_deleted(&mut self) {
        let mut new = Brought::none(&self.index);
        let index = self.index.read();
        if index.deletions == self.deletions {
            return;
        }
        self.columns.retain(|number| index.identity(number).is_some());
        self.parts = log::parts(&self.columns);
        self.rows = Batch::new();
        for (number, _) in &self.columns.runs {
            if let Some((metric, tags)) = index.identity(*number).filter(|_| !index.is_durable(*number)) {
                put_row(&mut self.rows, self.organisation, SeriesNumber(*number), &metric, &tags);
                new.add(&index, SeriesNumber(*number));
            }
        }
        drop(index);
        // Only now are those before let go of, so that no series is without a write meanwhile.
        self.new = new;
    }
}

/// Tells who waits for a write what became of it; if nobody does, the log of one that is lost.
fn tell(
    reply: Option<oneshot::Sender<Result<(), StoreError>>>,
    samples: usize,
    result: Result<(), StoreError>,
) {
    match (reply, result) {
        // A caller that went away needs no answer.
        (Some(reply), result) => drop(reply.send(result)),
        (None, Ok(())) => {}
        (None, Err(error)) => tracing::error!(%error, samples, "samples that were acknowledged are lost"),
    }
}

/// Finds series by their index.
pub(crate) type Select = Box<dyn FnOnce(&Index) -> Vec<u32> + Send>;

/// Series to forget.
pub(crate) struct DeleteOrder {
    pub(crate) organisation: OrganisationId,
    pub(crate) index: Arc<RwLock<Index>>,
    /// Finds them, when it is their turn.
    pub(crate) select: Select,
    /// Whether those stay that a write finds meanwhile.
    pub(crate) spares: bool,
    pub(crate) join: Batch,
    pub(crate) reply: oneshot::Sender<Result<u64, StoreError>>,
}

pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable("the series are being closed")
}

/// Works until nobody can send orders any more.
pub(crate) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Order>) {
    let mut packing: Option<JoinHandle<Result<(), StoreError>>> = None;
    let mut orders = Vec::new();
    let mut next = None;
    loop {
        if next.is_none() && queue.recv_many(&mut orders, 1).await == 0 {
            return;
        }
        orders.extend(next.take());
        // What else waits, up to what is no write or as much as one commit should hold.
        let mut samples = orders.iter().map(size).sum::<usize>();
        while orders.len() < QUEUE
            && samples < GROUP_SAMPLES
            && matches!(orders.last(), Some(Order::Write(_)))
        {
            match queue.try_recv() {
                Ok(order @ Order::Write(_)) => {
                    samples += size(&order);
                    orders.push(order);
                }
                Ok(order) => {
                    next = Some(order);
                    break;
                }
                Err(_) => break,
            }
        }
        // What is to be deleted is let through: it may be what makes the room.
        if matches!(orders[..], [Order::Write(_), ..])
            && let Err(error) = make_room(&shared, &mut packing).await
        {
            refuse(&shared, orders.drain(..), &error);
            continue;
        }
        let mut writes = Vec::with_capacity(orders.len());
        for order in orders.drain(..) {
            match order {
                Order::Write(order) => writes.push(order),
                Order::Delete(order) => delete(&shared, order).await,
                Order::Flush(reply) => drop(reply.send(())),
            }
        }
        write(&shared, writes).await;
    }
}

fn size(order: &Order) -> usize {
    match order {
        Order::Write(order) => order.columns.times.len(),
        Order::Delete(_) | Order::Flush(_) => 0,
    }
}

/// Has samples packed when memory holds enough; waits, and so makes callers wait, when it holds twice that. Fails only
/// then: a packing that failed before is tried again.
async fn make_room(
    shared: &Arc<Shared>,
    packing: &mut Option<JoinHandle<Result<(), StoreError>>>,
) -> Result<(), StoreError> {
    let budget = shared.parts.limits.head_samples;
    loop {
        let (samples, rows) = {
            let state = shared.state.read();
            (state.active.samples(), state.applied - state.packed)
        };
        if samples < budget && rows < LOG_ROWS {
            return Ok(());
        }
        let wait = samples >= budget * 2 || rows >= LOG_ROWS * 2;
        let work = packing.take().unwrap_or_else(|| {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { shared.pack().await })
        });
        if !wait && !work.is_finished() {
            *packing = Some(work);
            return Ok(());
        }
        let done = work.await.map_err(|error| StoreError::Failed(format!("packing samples: {error}")));
        match done.flatten() {
            Ok(()) if wait => {}
            Ok(()) => return Ok(()),
            Err(error) if wait => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "samples in memory could not be packed; it is tried again");
                return Ok(());
            }
        }
    }
}

fn refuse(shared: &Shared, orders: impl Iterator<Item = Order>, error: &StoreError) {
    shared.failing.store(true, Ordering::Relaxed);
    for order in orders {
        match order {
            Order::Write(order) => {
                drop(order.new);
                tell(order.reply, order.columns.times.len(), Err(again(error)));
            }
            Order::Delete(order) => drop(order.reply.send(Err(again(error)))),
            Order::Flush(reply) => drop(reply.send(())),
        }
    }
}

/// Commits writes together; one with something to join alone, in the same sync.
async fn write(shared: &Shared, writes: Vec<WriteOrder>) {
    let mut number = shared.state.read().applied;
    let mut commits: Vec<Commit> = Vec::new();
    for mut order in writes {
        order.forget_deleted();
        let alone = !order.join.is_empty();
        let bytes = bytes(&order.parts, &order.rows, &order.join);
        match commits.last_mut() {
            // One that is too large for the store is refused alone.
            Some(commit) if !alone && !commit.alone && commit.bytes + bytes <= COMMIT_BYTES => {
                commit.add(order, bytes);
            }
            _ => {
                let mut commit = Commit { alone, ..Commit::default() };
                commit.add(order, bytes);
                commits.push(commit);
            }
        }
    }
    let host = shared.parts.host;
    let mut batches = Vec::with_capacity(commits.len());
    for commit in &mut commits {
        let mut batch = std::mem::take(&mut commit.batch);
        for row in std::mem::take(&mut commit.rows).finish() {
            number += 1;
            batch.put(layout::log(host).number(number), Bytes::from(row));
        }
        commit.last = number;
        batches.push(shared.parts.store.commit(batch));
    }
    let results = join_all(batches).await;
    let mut durable = Vec::new();
    {
        let mut state = shared.state.write();
        for (commit, result) in commits.iter().zip(&results) {
            if result.is_ok() {
                commit.orders.iter().for_each(|order| state.active.add(&order.columns));
            }
            // The number of a row that was refused is not used again: nobody knows how far it came.
            state.applied = commit.last;
        }
        if state.since.is_none() && state.active.samples() > 0 {
            state.since = Some(shared.parts.clock.now());
        }
    }
    for (commit, result) in commits.into_iter().zip(results) {
        for mut order in commit.orders {
            order.new.fate = Fate::of(&result);
            drop(order.new);
            let told = result.as_ref().map(|_| ()).map_err(again);
            durable.push((order.reply, order.columns.times.len(), told));
        }
        // What is joined may conflict, and says nothing of the store.
        if !commit.alone {
            shared.failing.store(result.is_err(), Ordering::Relaxed);
        }
    }
    for (reply, samples, result) in durable {
        tell(reply, samples, result);
    }
}

/// What a write takes of a commit, in bytes.
pub(crate) fn bytes(parts: &[Vec<u8>], rows: &Batch, join: &Batch) -> usize {
    /// Of a row of the log, and what holds it.
    const ROW: usize = 256;
    let own = |batch: &Batch| if batch.is_empty() { 0 } else { batch.bytes() };
    parts.iter().map(|part| part.len() + ROW).sum::<usize>() + own(rows) + own(join)
}

/// A commit is begun anew before it holds more; well below the store's largest batch, so that writes share a sync and
/// not a limit.
const COMMIT_BYTES: usize = 4 * 1024 * 1024;

#[derive(Default)]
struct Commit {
    alone: bool,
    orders: Vec<WriteOrder>,
    batch: Batch,
    rows: Rows,
    bytes: usize,
    last: u64,
}

impl Commit {
    fn add(&mut self, mut order: WriteOrder, bytes: usize) {
        self.batch.append(std::mem::take(&mut order.rows));
        self.batch.append(std::mem::take(&mut order.join));
        for part in std::mem::take(&mut order.parts) {
            self.rows.add(&part);
        }
        self.bytes += bytes;
        self.orders.push(order);
    }
}

/// Deletes the rows of series, then forgets them and what is in memory of them.
async fn delete(shared: &Shared, order: DeleteOrder) {
    let numbers = (order.select)(&order.index.read());
    let mut join = order.join;
    let mut result = Ok(numbers.len() as u64);
    for chunk in numbers.chunks(DELETED_ROWS) {
        let mut batch = std::mem::take(&mut join);
        // A number is never used again: samples of it may be in segments for a while.
        let next = Number(u64::from(shared.next_series.load(Ordering::Relaxed)));
        batch.put(layout::next_series(), encode(&next)).frees();
        for number in chunk {
            batch.delete(layout::series(order.organisation, *number));
        }
        let done = shared.parts.store.commit(batch).await;
        {
            let mut index = order.index.write();
            index.deletions += 1;
            for number in chunk {
                // Nobody knows how far a commit that failed came.
                if done.is_err() || (order.spares && index.is_wanted(*number)) {
                    index.doubtful(*number);
                } else {
                    index.remove(SeriesNumber(*number));
                }
            }
        }
        if let Err(error) = done {
            result = Err(error);
            break;
        }
        let mut state = shared.state.write();
        chunk.iter().for_each(|number| state.active.remove(*number));
    }
    order.index.write().shrink();
    if result.is_ok() && !join.is_empty() {
        result = shared.parts.store.commit(join).await.map(|_| 0);
    }
    let _ = order.reply.send(result);
}

/// The same error for one more caller.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Conflict(key) => StoreError::Conflict(key.clone()),
        StoreError::Merge(error) => StoreError::Merge(error.clone()),
        &StoreError::TooLarge { what, size, limit } => StoreError::TooLarge { what, size, limit },
        &StoreError::DiskFull { free, needed } => StoreError::DiskFull { free, needed },
        &StoreError::Unavailable(why) => StoreError::Unavailable(why),
        other => StoreError::Failed(other.to_string()),
    }
}

impl Shared {
    /// Rows of the log that may be removed: up to what is in segments.
    pub(crate) fn removable_rows(&self) -> std::ops::Range<u64> {
        self.first_row.load(Ordering::Acquire)..self.state.read().packed + 1
    }
}
