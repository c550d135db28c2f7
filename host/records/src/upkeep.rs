//! What keeps records small and quick: chunks are packed into segments, small segments become large ones, and what is
//! older than its retention is freed; while appends and searches go on.
//!
//! Each turn is brought to its end though nobody waits for it: what is in memory is what its commit left.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::RecordId;
use bellwether_store::{Batch, Digest, StoreError, blocking, delete_large, encode, get_large, to_the_end};

use crate::layout::{self, Next, SegmentRow};
use crate::limits::{CHUNK_AGE, DAY, DAYS, GARBAGE, MERGE, SEGMENT};
use crate::loss::HAS_NO_CONTENT;
use crate::service::{Records, Shared};
use crate::shelf::{Chunk, Owner, Placed};
use crate::{Record, RecordError, chunk, segment};

impl Records {
    /// Does what is due: packs chunks that have waited long, merges small segments, frees what is not kept. To be called
    /// every now and then.
    ///
    /// # Errors
    /// The last of the store's: but for a full disk, one organisation's keeps no other waiting. It is tried again at the
    /// next call.
    pub async fn tend(&self) -> Result<(), RecordError> {
        let now = self.shared.parts.clock.now();
        let owners = self.shared.owners(|chunk| now.milliseconds_since(chunk.appended) >= CHUNK_AGE);
        let mut last = Ok(());
        // Says whether there is room for more.
        let mut goes_on = |owner: Owner, done: Result<(), StoreError>| {
            let Err(error) = done else { return true };
            tracing::warn!(organisation = %owner.0, kind = %owner.1, %error, "the upkeep of records failed");
            let full = matches!(error, StoreError::DiskFull { .. });
            last = Err(error);
            !full
        };
        // On a full disk nothing can be written anew, but what is not kept can be freed: everybody's, and first.
        for (owner, _) in &owners {
            goes_on(*owner, self.shared.sweep(*owner).await);
        }
        for (owner, due) in owners {
            let packed = if due { self.shared.pack(owner).await } else { Ok(()) };
            if !goes_on(owner, packed) || !goes_on(owner, self.shared.merge(owner).await) {
                break;
            }
        }
        Ok(last?)
    }

    /// Packs every chunk now, whatever its age.
    ///
    /// # Errors
    /// If the store's.
    pub async fn pack(&self) -> Result<(), RecordError> {
        for (owner, _) in self.shared.owners(|_| true) {
            self.shared.pack(owner).await?;
        }
        Ok(())
    }
}

/// Records in order of time and id, once each.
type Sorted = Vec<Record>;

fn sorted(mut records: Vec<Record>, from: i64) -> Sorted {
    records.retain(|record| record.content.time.as_milliseconds() >= from);
    records.sort_unstable_by_key(|record| (record.content.time, record.id));
    records.dedup_by_key(|record| record.id);
    records
}

impl Shared {
    /// Everybody who has records, and whether a chunk of theirs is as `due` says.
    fn owners(&self, due: impl Fn(&Chunk) -> bool) -> Vec<(Owner, bool)> {
        let state = self.state.read();
        let shelves = state.shelves.iter();
        shelves.map(|(owner, shelf)| (*owner, shelf.packable().any(|chunk| due(chunk)))).collect()
    }

    /// From which time on an owner's records are kept; from the first on, while the clock may be wrong: what is freed is
    /// gone.
    fn first_kept(&self, owner: Owner) -> i64 {
        match self.parts.clock.steady() {
            Some(now) => self.state.read().first_kept(owner, &self.parts.limits, now),
            None => i64::MIN,
        }
    }

    /// Packs into segments what chunks an owner has, the oldest first. What comes meanwhile is left for another time.
    pub(crate) async fn pack(self: &Arc<Self>, owner: Owner) -> Result<(), StoreError> {
        let shared = Arc::clone(self);
        to_the_end(async move { shared.pack_chunks(owner).await }).await
    }

    async fn pack_chunks(self: &Arc<Self>, owner: Owner) -> Result<(), StoreError> {
        let until = self.state.read().next(owner.0);
        loop {
            let _turn = self.upkeep.lock().await;
            let mut chunks: Vec<_> = match self.state.read().shelves.get(&owner) {
                Some(shelf) => shelf.packable().filter(|chunk| chunk.extent.low < until).cloned().collect(),
                None => return Ok(()),
            };
            chunks.sort_unstable_by_key(|chunk| chunk.extent.low);
            let mut size = 0;
            let fits = chunks.iter().take_while(|chunk| {
                size += chunk.extent.size;
                size <= SEGMENT
            });
            let most = fits.count().max(1);
            chunks.truncate(most);
            if chunks.is_empty() {
                return Ok(());
            }
            let mut packed = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                let key = layout::chunk(self.parts.host, owner.0, RecordId(chunk.extent.low));
                match get_large(&*self.parts.store, &key).await {
                    Ok(Some(bytes)) => packed.push((chunk, bytes)),
                    Ok(None) => self.lose(owner, &chunk, HAS_NO_CONTENT),
                    Err(StoreError::Damaged(why)) => self.lose(owner, &chunk, &why),
                    Err(error) => return Err(error),
                }
            }
            let from = self.first_kept(owner);
            let shared = Arc::clone(self);
            let unpacking = blocking("unpacking records", move || {
                let (mut records, mut chunks) = (Vec::new(), Vec::with_capacity(packed.len()));
                for (chunk, bytes) in packed {
                    match chunk::unpack(&bytes) {
                        Ok(unpacked) => {
                            records.extend(unpacked);
                            chunks.push(chunk);
                        }
                        Err(StoreError::Damaged(why)) => shared.lose(owner, &chunk, &why),
                        Err(error) => return Err(error),
                    }
                }
                Ok((sorted(records, from), chunks))
            });
            let (records, chunks) = unpacking.await?;
            if !chunks.is_empty() {
                self.replace(owner, records, &chunks, &[]).await?;
            }
        }
    }

    /// Merges an owner's segments as long as there is something to merge.
    async fn merge(self: &Arc<Self>, owner: Owner) -> Result<(), StoreError> {
        let shared = Arc::clone(self);
        to_the_end(async move { shared.merge_segments(owner).await }).await
    }

    async fn merge_segments(self: &Arc<Self>, owner: Owner) -> Result<(), StoreError> {
        loop {
            let _turn = self.upkeep.lock().await;
            let segments = match self.state.read().shelves.get(&owner) {
                Some(shelf) => shelf.segments.clone(),
                None => return Ok(()),
            };
            // What is lost stays as it is, for whoever puts it back.
            let whole: Vec<_> =
                segments.into_iter().filter(|placed| !self.lost.has(&placed.row.digest)).collect();
            let Some(run) = run(&whole) else { return Ok(()) };
            let records = match self.read(&run, owner).await {
                Err(StoreError::Lost(_)) => continue,
                read => read?,
            };
            self.replace(owner, records, &[], &run).await?;
        }
    }

    /// What is kept of several segments.
    async fn read(self: &Arc<Self>, segments: &[Arc<Placed>], owner: Owner) -> Result<Sorted, StoreError> {
        let (shared, segments) = (Arc::clone(self), segments.to_vec());
        let from = self.first_kept(owner);
        blocking("reading segments of records", move || {
            let mut records = Vec::new();
            for placed in segments {
                let file = shared.open_file(&placed)?;
                records.extend(segment::all(&file).map_err(|error| shared.damaged(&placed, error))?);
            }
            Ok(sorted(records, from))
        })
        .await
    }

    /// Removes what an owner no longer keeps, whole segments and chunks; those of several days are written anew where
    /// much of them is not.
    async fn sweep(self: &Arc<Self>, owner: Owner) -> Result<(), StoreError> {
        let shared = Arc::clone(self);
        to_the_end(async move { shared.free(owner).await }).await
    }

    async fn free(self: &Arc<Self>, owner: Owner) -> Result<(), StoreError> {
        let _turn = self.upkeep.lock().await;
        let from = self.first_kept(owner);
        let (chunks, segments, partly) = {
            let state = self.state.read();
            let Some(shelf) = state.shelves.get(&owner) else { return Ok(()) };
            let chunks: Vec<_> =
                shelf.chunks.iter().filter(|chunk| chunk.extent.last < from).cloned().collect();
            let (over, rest): (Vec<_>, Vec<_>) =
                shelf.segments.iter().cloned().partition(|placed| placed.row.extent.last < from);
            let of_days = |placed: &Arc<Placed>| placed.row.extent.first < from && day(placed).is_none();
            (chunks, over, rest.into_iter().filter(of_days).collect::<Vec<_>>())
        };
        if !chunks.is_empty() || !segments.is_empty() {
            self.replace(owner, Vec::new(), &chunks, &segments).await?;
        }
        for placed in partly {
            match self.without_garbage(owner, &placed, from).await {
                // What of it is over stays with the rest, until all of it is.
                Err(StoreError::Lost(_)) => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Writes a segment anew where much of it is not kept.
    async fn without_garbage(
        self: &Arc<Self>,
        owner: Owner,
        placed: &Arc<Placed>,
        from: i64,
    ) -> Result<(), StoreError> {
        let (shared, looked_at) = (Arc::clone(self), Arc::clone(placed));
        let garbage = blocking("reading a segment's index", move || {
            let file = shared.open_file(&looked_at)?;
            let blocks = segment::blocks(&file).map_err(|error| shared.damaged(&looked_at, error))?;
            let over = blocks.iter().filter(|block| block.extent.last < from);
            Ok(over.map(|block| u64::from(block.length)).sum::<u64>())
        });
        if garbage.await? * GARBAGE >= placed.row.bytes {
            let run = [Arc::clone(placed)];
            let records = self.read(&run, owner).await?;
            self.replace(owner, records, &[], &run).await?;
        }
        Ok(())
    }

    /// Puts segments of `records` on the disk and into use, in the place of chunks and other segments.
    pub(crate) async fn replace(
        self: &Arc<Self>,
        owner: Owner,
        records: Sorted,
        chunks: &[Arc<Chunk>],
        old: &[Arc<Placed>],
    ) -> Result<(), StoreError> {
        let shared = Arc::clone(self);
        let (new, files) = blocking("building segments of records", move || {
            let (mut new, mut files) = (Vec::new(), Vec::new());
            for piece in pieces(&records) {
                let number = shared.next_segment.fetch_add(1, Ordering::Relaxed);
                let bytes = segment::build(owner, number, piece)?;
                let row = SegmentRow {
                    organisation: owner.0,
                    kind: owner.1,
                    digest: Digest::of(&bytes),
                    extent: chunk::extent(piece),
                    bytes: bytes.len() as u64,
                };
                files.push((row.digest, bytes));
                new.push(Arc::new(Placed { number, row }));
            }
            Ok((new, files))
        })
        .await?;
        let batch = self.replacing(owner, &new, chunks, old).await?;
        let loose = layout::loose(&self.parts);
        loose.put(files).await?;
        loose.swap(batch, digests(&new), &digests(old)).await?;
        {
            let mut state = self.state.write();
            let shelf = state.shelves.entry(owner).or_default();
            let gone: HashSet<u64> = chunks.iter().map(|chunk| chunk.extent.low).collect();
            shelf.chunks.retain(|there| !gone.contains(&there.extent.low));
            shelf.segments.retain(|there| old.iter().all(|gone| gone.number != there.number));
            shelf.segments.extend(new);
        }
        old.iter().for_each(|gone| self.lost.forget(&gone.row.digest));
        loose.remove(digests(old)).await
    }

    /// The rows of new segments, without those of what is in them now.
    async fn replacing(
        &self,
        owner: Owner,
        new: &[Arc<Placed>],
        chunks: &[Arc<Chunk>],
        old: &[Arc<Placed>],
    ) -> Result<Batch, StoreError> {
        let (host, mut batch) = (self.parts.host, Batch::new());
        for placed in new {
            batch.put(layout::segments(host).number(placed.number), encode(&placed.row));
        }
        for placed in old {
            batch.delete(layout::segments(host).number(placed.number));
        }
        for chunk in chunks {
            let key = layout::chunk(host, owner.0, RecordId(chunk.extent.low));
            delete_large(&*self.parts.store, &mut batch, &key).await?;
            batch.delete(key);
        }
        // An id is never used again, and what had it may be about to go.
        let next = self.state.read().next(owner.0);
        batch.put(layout::next(owner.0), encode(&Next(next)));
        Ok(batch)
    }
}

fn digests(segments: &[Arc<Placed>]) -> Vec<Digest> {
    segments.iter().map(|placed| placed.row.digest).collect()
}

fn day_of(record: &Record) -> i64 {
    record.content.time.as_milliseconds().div_euclid(DAY)
}

/// The records of each segment to build: of one day each, if that makes no crowd of them, and none too large.
fn pieces(records: &[Record]) -> Vec<&[Record]> {
    let days: Vec<&[Record]> = records.chunk_by(|a, b| day_of(a) == day_of(b)).collect();
    let days = if days.len() > DAYS { vec![records] } else { days };
    days.into_iter().flat_map(|day| chunk::runs(day, SEGMENT)).collect()
}

/// The day of a segment's records, if they are of one.
fn day(placed: &Placed) -> Option<i64> {
    let (first, last) = (placed.row.extent.first.div_euclid(DAY), placed.row.extent.last.div_euclid(DAY));
    (first == last).then_some(first)
}

/// Segments of about one size, of one day or of several each, that are worth merging: the smallest there are.
fn run(segments: &[Arc<Placed>]) -> Option<Vec<Arc<Placed>>> {
    let mut groups: BTreeMap<(u32, Option<i64>), Vec<&Arc<Placed>>> = BTreeMap::new();
    for placed in segments {
        groups.entry((tier(placed.row.extent.size), day(placed))).or_default().push(placed);
    }
    groups.into_values().find_map(|mut group| {
        group.sort_unstable_by_key(|placed| placed.row.extent.low);
        let mut size = 0;
        let fits = group.iter().take_while(|placed| {
            size += placed.row.extent.size;
            size <= SEGMENT
        });
        let run: Vec<_> = fits.map(|placed| Arc::clone(placed)).collect();
        (run.len() >= MERGE).then_some(run)
    })
}

/// Segments of one tier are within a factor of four of each other's size.
fn tier(size: u64) -> u32 {
    size.max(1 << 16).ilog2() / 2
}
