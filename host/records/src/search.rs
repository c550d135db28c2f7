//! Finding records: by id, and by a query over a range of time, the newest or the oldest first.
//!
//! What overlaps the range waits in the order of the best record it may hold. A segment that comes up is replaced by its
//! blocks, a chunk or block is unpacked and looked through, until nothing that waits can hold a better record than the
//! page has: so a page of the newest logs reads the newest blocks alone, however late some records came.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};

use bellwether_kernel::{Cursor, FieldError, OrganisationId, RecordId, Timestamp};
use bellwether_store::{StoreError, get_large};
use tokio::runtime::Handle;

use crate::layout::{self, Extent};
use crate::limits::{ATTEMPTS, CONDITIONS, MOVED, PAGE, PAGE_BYTES, PATIENCE, RECORD};
use crate::loss::HAS_NO_CONTENT;
use crate::query::Query;
use crate::segment::{self, Block};
use crate::service::{Records, Shared};
use crate::shelf::{Chunk, Owner, Placed};
use crate::{Record, RecordError, RecordKind, chunk};

/// Which come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The latest; of one time, the one that came last.
    #[default]
    Newest,
    /// The earliest; of one time, the one that came first.
    Oldest,
}

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Of which kind.
    pub kind: RecordKind,
    /// What they match.
    pub query: Query,
    /// From when on.
    pub start: Timestamp,
    /// Until when, included.
    pub end: Timestamp,
    /// Which come first.
    pub order: Order,
    /// At most so many, 1 to 1,000.
    pub limit: usize,
    /// [`Found::next`] of the page before; the rest of the search must be the same.
    pub cursor: Option<Cursor>,
}

/// A page of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order asked for.
    pub records: Vec<Record>,
    /// Leads to the next page; absent on the last one.
    pub next: Option<Cursor>,
    /// Whether the search stopped at its budget with a page that has room left: go on at `next`.
    pub stopped_early: bool,
}

/// Where a record stands: of two, the greater comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank(i64, u64);

impl Rank {
    /// Ahead of all.
    pub(crate) const FIRST: Self = Self(i64::MAX, u64::MAX);

    fn of(order: Order, time: i64, id: u64) -> Self {
        match order {
            Order::Newest => Self(time, id),
            Order::Oldest => Self(!time, !id),
        }
    }

    pub(crate) fn cursor(self, order: Order) -> Cursor {
        let mut bytes = vec![u8::from(order == Order::Oldest)];
        bytes.extend_from_slice(&self.0.to_be_bytes());
        bytes.extend_from_slice(&self.1.to_be_bytes());
        Cursor(bytes)
    }

    fn read(cursor: &Cursor, order: Order) -> Result<Self, FieldError> {
        let read = || {
            let (first, rest) = cursor.0.split_first()?;
            let (time, rest) = rest.split_first_chunk::<8>()?;
            let id = <[u8; 8]>::try_from(rest).ok()?;
            let same = *first == u8::from(order == Order::Oldest);
            same.then_some(Self(i64::from_be_bytes(*time), u64::from_be_bytes(id)))
        };
        read().ok_or_else(|| FieldError::wrong_cursor(cursor))
    }
}

/// Something that may hold records, and the best place one of them can have.
struct Waiting {
    best: i64,
    source: Source,
}

enum Source {
    Chunk(Arc<Chunk>),
    Segment(Arc<Placed>),
    Block(Arc<Placed>, Arc<File>, Block),
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.best == other.best
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.best.cmp(&other.best)
    }
}

/// Why a look had no end.
pub(crate) enum Stop {
    /// What was to be read has been packed or merged: look again.
    Moved,
    Error(RecordError),
}

/// Who waits for a look.
pub(crate) struct Caller {
    handle: Handle,
    gone: Arc<AtomicBool>,
}

impl Caller {
    /// Ends a look that nobody waits for.
    fn check(&self) -> Result<(), Stop> {
        if self.gone.load(Atomic::Relaxed) {
            return Err(StoreError::Unavailable("nobody waits for the answer").into());
        }
        Ok(())
    }
}

/// Says, once it is dropped, that a caller does not wait any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Atomic::Relaxed);
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl Records {
    /// A page of what matches.
    ///
    /// # Errors
    /// [`RecordError::Invalid`] for a limit, a cursor or a range that is none; [`RecordError::Limit`] where one moment has
    /// more records than one search may look at.
    pub async fn search(&self, organisation: OrganisationId, search: Search) -> Result<Found, RecordError> {
        if !(1..=PAGE).contains(&search.limit) {
            return Err(FieldError::new("limit", search.limit, format!("1 to {PAGE}")).into());
        }
        if search.end < search.start {
            let expected = format!("an instant not before start, {}", search.start);
            return Err(FieldError::new("end", search.end, expected).into());
        }
        let before = match &search.cursor {
            Some(cursor) => Rank::read(cursor, search.order)?,
            None => Rank::FIRST,
        };
        let owner = (organisation, search.kind);
        let found = move |shared: &Shared, caller: &Caller| {
            let is_wanted = || caller.check().is_ok();
            let wanted = |record: &Record| search.query.matches_while(record, &is_wanted);
            let budget = shared.parts.limits.search_records;
            look(shared, caller, owner, &search, before, budget, &wanted)
        };
        self.look(organisation, found).await
    }

    /// One record.
    ///
    /// # Errors
    /// [`RecordError::Unknown`]; [`RecordError::Limit`] where it may be among more records than one search may look at.
    pub async fn get(
        &self,
        organisation: OrganisationId,
        kind: RecordKind,
        id: RecordId,
    ) -> Result<Record, RecordError> {
        let owner = (organisation, kind);
        let found = self.look(organisation, move |shared, caller| find(shared, caller, owner, id)).await?;
        found.ok_or(RecordError::Unknown { kind: kind.name(), id })
    }

    /// Runs `look` on a thread that may block, again where what it reads moves; in a turn of the organisation's.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        organisation: OrganisationId,
        look: impl Fn(&Shared, &Caller) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, RecordError> {
        let shared = Arc::clone(&self.shared);
        let turn = shared.searches.take(organisation).await?;
        let gone = Gone(Arc::default());
        let caller = Caller { handle: Handle::current(), gone: Arc::clone(&gone.0) };
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            for _ in 0..ATTEMPTS {
                match look(&shared, &caller) {
                    Ok(found) => return Ok(found),
                    Err(Stop::Moved) => std::thread::sleep(MOVED),
                    Err(Stop::Error(error)) => return Err(error),
                }
            }
            Err(StoreError::Unavailable("records were moved again and again while they were read").into())
        });
        work.await.map_err(|error| StoreError::Failed(format!("reading records: {error}")))?
    }
}

/// The best records that are `wanted`, whatever the query of `search` says, after `budget` of them at the latest.
pub(crate) fn look(
    shared: &Shared,
    caller: &Caller,
    owner: Owner,
    search: &Search,
    before: Rank,
    budget: u64,
    wanted: &dyn Fn(&Record) -> bool,
) -> Result<Found, Stop> {
    let (order, limit) = (search.order, search.limit);
    let (mut first, mut last) = (search.start.as_milliseconds(), search.end.as_milliseconds());
    match order {
        Order::Newest => last = last.min(before.0),
        Order::Oldest => first = first.max(!before.0),
    }
    let mut waiting = BinaryHeap::new();
    let now = shared.parts.clock.now();
    first = first.max(shared.state.read().first_kept(owner, &shared.parts.limits, now));
    let best = |extent: &Extent| match order {
        Order::Newest => extent.last.min(last),
        Order::Oldest => !extent.first.max(first),
    };
    {
        let state = shared.state.read();
        let Some(shelf) = state.shelves.get(&owner) else { return Ok(Found::default()) };
        let overlaps = |extent: &Extent| extent.first <= last && first <= extent.last;
        for chunk in shelf.chunks.iter().filter(|chunk| overlaps(&chunk.extent)) {
            waiting.push(Waiting { best: best(&chunk.extent), source: Source::Chunk(Arc::clone(chunk)) });
        }
        for placed in shelf.segments.iter().filter(|placed| overlaps(&placed.row.extent)) {
            let source = Source::Segment(Arc::clone(placed));
            waiting.push(Waiting { best: best(&placed.row.extent), source });
        }
    }
    let weight = 1 + search.query.conditions() / CONDITIONS;
    let mut looked_at = 0;
    let (mut found, mut size): (BTreeMap<Rank, Record>, usize) = Default::default();
    // The best that found no room on the page: there is a next one, and nothing worse is of interest.
    let mut left_out: Option<Rank> = None;
    while let Some(next) = waiting.pop() {
        if left_out.is_some_and(|rank| rank.0 > next.best) {
            break;
        }
        if looked_at >= budget {
            // All that stands before this is known. Where that is no step on, the search goes on for a while.
            let reached = Rank(next.best.saturating_add(1), 0);
            if reached < before {
                if left_out.is_some_and(|rank| rank >= reached) {
                    break;
                }
                let records = found.split_off(&reached).into_values().rev().collect();
                return Ok(Found { records, next: Some(reached.cursor(order)), stopped_early: true });
            }
            let most = budget.saturating_mul(PATIENCE);
            if looked_at >= most {
                let what = "records may be looked at for one moment; ask for a shorter range";
                return Err(Stop::Error(RecordError::limit(what, most)));
            }
        }
        let records = match next.source {
            Source::Segment(placed) => {
                let file = open_file(shared, owner, &placed)?;
                for block in segment::blocks(&file).map_err(|error| shared.damaged(&placed, error))? {
                    if block.extent.first <= last && first <= block.extent.last {
                        let source = Source::Block(Arc::clone(&placed), Arc::clone(&file), block);
                        waiting.push(Waiting { best: best(&block.extent), source });
                    }
                }
                continue;
            }
            Source::Chunk(chunk) => read_chunk(shared, caller, owner, &chunk)?,
            Source::Block(placed, file, block) => {
                segment::read(&file, &block).map_err(|error| shared.damaged(&placed, error))?
            }
        };
        for record in records {
            caller.check()?;
            looked_at += cost(&record) * weight;
            let time = record.content.time.as_milliseconds();
            let rank = Rank::of(order, time, record.id.0);
            let has_place =
                (first..=last).contains(&time) && rank < before && left_out.is_none_or(|out| rank > out);
            if !has_place || !wanted(&record) {
                continue;
            }
            size += record.content.size();
            if let Some(same) = found.insert(rank, record) {
                size -= same.content.size();
            }
            while found.len() > limit || size > PAGE_BYTES && found.len() > 1 {
                let Some((rank, record)) = found.pop_first() else { break };
                size -= record.content.size();
                left_out = left_out.max(Some(rank));
            }
        }
    }
    let next = found.first_key_value().filter(|_| left_out.is_some()).map(|(rank, _)| rank.cursor(order));
    Ok(Found { records: found.into_values().rev().collect(), next, stopped_early: false })
}

/// What a record counts where it is counted what a search looks at.
fn cost(record: &Record) -> u64 {
    1 + record.content.size() as u64 / RECORD
}

fn find(shared: &Shared, caller: &Caller, owner: Owner, id: RecordId) -> Result<Option<Record>, Stop> {
    let holds = |extent: &Extent| (extent.low..=extent.high).contains(&id.0);
    let (first, chunks, segments) = {
        let state = shared.state.read();
        let Some(shelf) = state.shelves.get(&owner) else { return Ok(None) };
        let chunks: Vec<_> = shelf.chunks.iter().filter(|chunk| holds(&chunk.extent)).cloned().collect();
        let segments: Vec<_> =
            shelf.segments.iter().filter(|placed| holds(&placed.row.extent)).cloned().collect();
        (state.first_kept(owner, &shared.parts.limits, shared.parts.clock.now()), chunks, segments)
    };
    let budget = shared.parts.limits.search_records;
    let looked_at = Cell::new(0);
    let check = || {
        caller.check()?;
        if looked_at.get() < budget {
            return Ok(());
        }
        let what = "records may be looked at for one; search for it by its time";
        Err(Stop::Error(RecordError::limit(what, budget)))
    };
    let among = |records: Vec<Record>| {
        looked_at.set(looked_at.get() + records.iter().map(cost).sum::<u64>());
        let kept = |record: &Record| record.id == id && record.content.time.as_milliseconds() >= first;
        records.into_iter().find(kept)
    };
    for chunk in chunks {
        check()?;
        if let Some(record) = among(read_chunk(shared, caller, owner, &chunk)?) {
            return Ok(Some(record));
        }
    }
    for placed in segments {
        check()?;
        let file = open_file(shared, owner, &placed)?;
        let damaged = |error| shared.damaged(&placed, error);
        for block in segment::blocks(&file).map_err(damaged)?.iter().filter(|block| holds(&block.extent)) {
            check()?;
            if let Some(record) = among(segment::read(&file, block).map_err(damaged)?) {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}

fn read_chunk(shared: &Shared, caller: &Caller, owner: Owner, chunk: &Chunk) -> Result<Vec<Record>, Stop> {
    let key = layout::chunk(shared.parts.host, owner.0, RecordId(chunk.extent.low));
    let bytes = caller.handle.block_on(get_large(&*shared.parts.store, &key));
    match bytes.and_then(|bytes| bytes.map(|bytes| chunk::unpack(&bytes)).transpose()) {
        Ok(Some(records)) => Ok(records),
        // Whoever packs knows whether it was there at all.
        Ok(None) if chunk.is_lost() => Err(shared.lost_chunk(owner, chunk, HAS_NO_CONTENT).into()),
        Ok(None) => Err(Stop::Moved),
        Err(StoreError::Damaged(why)) => Err(shared.lost_chunk(owner, chunk, &why).into()),
        Err(error) => Err(error.into()),
    }
}

fn open_file(shared: &Shared, owner: Owner, placed: &Placed) -> Result<Arc<File>, Stop> {
    shared.open_file(placed).map(Arc::new).map_err(|error| {
        let same = |there: &Arc<Placed>| there.number == placed.number;
        let is_there =
            shared.state.read().shelves.get(&owner).is_some_and(|shelf| shelf.segments.iter().any(same));
        if is_there { error.into() } else { Stop::Moved }
    })
}
