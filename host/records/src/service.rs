//! The one door to events and logs.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bellwether_kernel::{Clock, FieldError, HostId, OrganisationId, RecordId};
use bellwether_store::{Batch, Lost, Objects, SharedStore, StoreError, Turns, encode, put_large, to_the_end};
use parking_lot::{Mutex, RwLock};

use crate::chunk::{self, FAST};
use crate::layout::{self, ChunkRow, Extent};
use crate::limits::{BACKLOG, CHUNK, SEARCH_PATIENCE, SEARCHES, TOO_MANY_SEARCHES};
use crate::shelf::{Chunk, Owner, Shelf, State};
use crate::{Content, Limits, Record, RecordError, RecordKind, open};

/// What records are kept on.
#[derive(Clone)]
pub struct Parts {
    /// Chunks, and which segments there are.
    pub store: SharedStore,
    /// Segments.
    pub objects: Objects,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Whose chunks and segments these are.
    pub host: HostId,
    /// How much there may be.
    pub limits: Limits,
}

/// The events and logs of every organisation on one store.
pub struct Records {
    pub(crate) shared: Arc<Shared>,
}

/// What calls and the background share.
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) state: RwLock<State>,
    /// Segments that are missing or damaged.
    pub(crate) lost: Lost,
    /// The next segment's number.
    pub(crate) next_segment: AtomicU64,
    /// Held while chunks are packed, and segments merged or removed.
    pub(crate) upkeep: tokio::sync::Mutex<()>,
    /// Whose chunks are about to be packed.
    pub(crate) packing: Mutex<HashSet<Owner>>,
    /// Turns for searches: each holds a thread.
    pub(crate) searches: Turns,
    /// Held from when a change of how long records are kept is committed until it is in memory.
    pub(crate) retaining: tokio::sync::Mutex<()>,
}

/// How the records of a kind are doing, of all organisations together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are, those included that are no longer kept and not yet freed.
    pub records: u64,
    /// Bytes of their texts.
    pub size: u64,
    /// Chunks in the store.
    pub chunks: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of segments.
    pub segment_bytes: u64,
}

impl Records {
    /// Opens the records of a host: reads which chunks and segments there are, and tells in the log of segments whose
    /// files are not.
    ///
    /// # Errors
    /// If the store's.
    pub async fn open(parts: Parts) -> Result<Self, RecordError> {
        let (state, next_segment) = open::open(&parts).await?;
        let records = Self {
            shared: Arc::new(Shared {
                lost: Lost::new(parts.objects.clone()),
                parts,
                state: RwLock::new(state),
                next_segment: AtomicU64::new(next_segment),
                upkeep: tokio::sync::Mutex::default(),
                packing: Mutex::default(),
                searches: Turns::new(SEARCHES, SEARCH_PATIENCE, TOO_MANY_SEARCHES),
                retaining: tokio::sync::Mutex::default(),
            }),
        };
        records.look_for_segments().await?;
        Ok(records)
    }

    /// How much there may be.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.parts.limits
    }

    /// How much there is of a kind.
    #[must_use]
    pub fn totals(&self, kind: RecordKind) -> Totals {
        let state = self.shared.state.read();
        let mut totals = Totals::default();
        for (_, Shelf { chunks, segments }) in state.shelves.iter().filter(|((_, own), _)| *own == kind) {
            let of_chunks = chunks.iter().map(|chunk| &chunk.extent);
            for extent in of_chunks.chain(segments.iter().map(|placed| &placed.row.extent)) {
                totals.records += extent.records;
                totals.size += extent.size;
            }
            totals.chunks += chunks.len() as u64;
            totals.segments += segments.len() as u64;
            totals.segment_bytes += segments.iter().map(|placed| placed.row.bytes).sum::<u64>();
        }
        totals
    }

    /// Appends records of one kind and gives the first one's id; the others' follow it, in order. All are durable when
    /// this returns, together with `join`, or none is. What is older than the organisation keeps is taken and never seen.
    ///
    /// # Errors
    /// [`RecordError::Invalid`] names the field, [`RecordError::Limit`] what is too much.
    pub async fn append(
        &self,
        organisation: OrganisationId,
        kind: RecordKind,
        contents: Vec<Content>,
        join: Batch,
    ) -> Result<RecordId, RecordError> {
        self.append_with(organisation, kind, contents, |_| join).await
    }

    /// As [`Self::append`]; what joins is made of the first one's id.
    ///
    /// # Errors
    /// As there.
    pub async fn append_with(
        &self,
        organisation: OrganisationId,
        kind: RecordKind,
        contents: Vec<Content>,
        join: impl FnOnce(RecordId) -> Batch,
    ) -> Result<RecordId, RecordError> {
        let Parts { limits, clock, .. } = &self.shared.parts;
        let now = clock.now();
        if contents.is_empty() {
            return Err(FieldError::new("records", "none", "at least one").into());
        }
        if contents.len() > limits.batch_records {
            return Err(RecordError::limit("records of one append", limits.batch_records));
        }
        let mut size = 0;
        for (at, content) in contents.iter().enumerate() {
            content.check(kind, at, now, limits)?;
            size += content.size();
        }
        if size > limits.batch_bytes {
            return Err(RecordError::limit("bytes of records in one append", limits.batch_bytes));
        }
        let owner = (organisation, kind);
        self.make_room(owner).await?;
        let low = {
            let mut state = self.shared.state.write();
            let low = state.next(organisation);
            state.next.insert(organisation, low + contents.len() as u64);
            low
        };
        let ids = (low..).map(RecordId);
        let records: Vec<Record> = ids.zip(contents).map(|(id, content)| Record { id, content }).collect();
        let packed = if size > INLINE {
            let work = tokio::task::spawn_blocking(move || packed(&records));
            work.await.map_err(|error| StoreError::Failed(format!("packing records: {error}")))??
        } else {
            packed(&records)?
        };
        let mut batch = join(RecordId(low));
        let mut chunks = Vec::with_capacity(packed.len());
        for (extent, bytes) in packed {
            let key = layout::chunk(self.shared.parts.host, organisation, RecordId(extent.low));
            put_large(&mut batch, &key, &bytes)?;
            batch.put(key, encode(&ChunkRow { kind, extent, appended: now }));
            chunks.push(Arc::new(Chunk::new(extent, now)));
        }
        let shared = Arc::clone(&self.shared);
        to_the_end(async move {
            shared.parts.store.commit(batch).await?;
            shared.state.write().shelves.entry(owner).or_default().chunks.extend(chunks);
            Ok(RecordId(low))
        })
        .await
    }

    /// Has chunks packed where there are enough; waits, and so makes callers wait, where there are several times that.
    async fn make_room(&self, owner: Owner) -> Result<(), RecordError> {
        let shared = &self.shared;
        let full = |times| {
            let state = shared.state.read();
            state.shelves.get(&owner).is_some_and(|shelf| shelf.is_full(&shared.parts.limits, times))
        };
        if full(BACKLOG) {
            shared.pack(owner).await?;
        } else if full(1)
            && let Some(packing) = Packing::begin(shared, owner)
        {
            tokio::spawn(async move {
                if let Err(error) = packing.shared.pack(owner).await {
                    tracing::warn!(%error, "records could not be packed; it is tried again");
                }
            });
        }
        Ok(())
    }
}

/// An owner's chunks are about to be packed, until this is dropped: also by a panic.
struct Packing {
    shared: Arc<Shared>,
    owner: Owner,
}

impl Packing {
    /// `None` if they are already.
    fn begin(shared: &Arc<Shared>, owner: Owner) -> Option<Self> {
        let begun = shared.packing.lock().insert(owner);
        begun.then(|| Self { shared: Arc::clone(shared), owner })
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        self.shared.packing.lock().remove(&self.owner);
    }
}

/// Records of so many bytes are packed where they come in: handing them over costs as much.
const INLINE: usize = 64 * 1024;

fn packed(records: &[Record]) -> Result<Vec<(Extent, Vec<u8>)>, StoreError> {
    let runs = chunk::runs(records, CHUNK as u64).into_iter();
    runs.map(|run| Ok((chunk::extent(run), chunk::pack(run, FAST)?))).collect()
}
