//! What keeps series small and quick: samples go from memory into segments, small segments become large ones, old samples
//! become roll-ups, and what is deleted or older than its retention is freed; while writes and queries go on.

mod erase;
mod forget;
mod merge;
mod pack;
mod roll;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::Timestamp;
use bellwether_store::{Batch, Digest, StoreError, blocking, encode};
use hashbrown::DefaultHashBuilder;
use roaring::RoaringBitmap;

use crate::SeriesError;
use crate::layout::{self, SegmentRow};
use crate::limits::{DELETED_ROWS, GARBAGE, SEGMENT_BYTES};
use crate::open::place;
use crate::segment::{self, Built};
use crate::service::{Placed, Series, Shared};

pub(crate) use roll::Looked;

/// Samples stay in memory no longer than this many milliseconds, so that the log a start reads stays short.
const HEAD_AGE: i64 = 10 * 60 * 1000;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// A segment that was built, and the partition of its samples; `None` if they are scattered.
pub(crate) type Placeable = (Option<i64>, Built);

fn digests(segments: &[Arc<Placed>]) -> Vec<Digest> {
    segments.iter().map(|placed| placed.row.digest).collect()
}

/// Which samples are kept.
pub(crate) struct Kept {
    alive: RoaringBitmap,
    /// For how many days each series is kept whose metric says so: asked for every block of every segment, and there may be
    /// as many retentions as metrics.
    days: HashMap<u32, u32, DefaultHashBuilder>,
    default_days: u32,
    /// The most days anything is kept; 0 for ever.
    longest: u32,
    /// `None` while the clock cannot be trusted: then everything is kept, and as it is.
    now: Option<Timestamp>,
    rolls: roll::Rolls,
}

impl Kept {
    /// The first time that is kept of a series; `None` if the series is gone.
    pub(crate) fn first(&self, number: u32) -> Option<i64> {
        if !self.alive.contains(number) {
            return None;
        }
        let Some(now) = self.now else { return Some(i64::MIN) };
        Some(first_kept(now, self.days.get(&number).copied().unwrap_or(self.default_days)))
    }

    /// Whether a time is before what is kept of any series.
    fn is_over(&self, time: i64) -> bool {
        self.now.is_some_and(|now| time < first_kept(now, self.longest))
    }
}

/// The first time kept now of what is kept for so many days.
pub(crate) fn first_kept(now: Timestamp, days: u32) -> i64 {
    if days == 0 { i64::MIN } else { now.as_milliseconds() - i64::from(days) * DAY }
}

impl Series {
    /// Does what is due: packs samples that were long in memory, merges small segments, rolls up what is old enough, frees
    /// what is not kept, forgets series of which nothing is left, and forgets the log that is in segments. To be called every now and then.
    ///
    /// # Errors
    /// If the store's; it is tried again at the next call.
    pub async fn tend(&self) -> Result<(), SeriesError> {
        let now = self.shared.parts.clock.now();
        self.shared.steady.lock().look(now);
        let old = |since: Timestamp| now.milliseconds_since(since) >= HEAD_AGE;
        let due = {
            let state = self.shared.state.read();
            state.since.is_some_and(old) || state.frozen.is_some()
        };
        // On a full disk nothing can be written anew, but what is not kept can be freed: the more so.
        let mut full = Ok(());
        let mut unless_full = |done: Result<(), StoreError>| match done {
            Err(error @ StoreError::DiskFull { .. }) => {
                full = Err(error);
                Ok(())
            }
            done => done,
        };
        if due {
            unless_full(self.shared.pack().await)?;
        }
        unless_full(self.shared.merge_all().await)?;
        // Into segments as large as a merge makes them.
        unless_full(self.shared.roll_up(SEGMENT_BYTES).await)?;
        // What goes leaves space.
        unless_full(self.forget().await)?;
        unless_full(self.shared.sweep().await)?;
        self.shared.trim_log().await?;
        Ok(full?)
    }

    /// Packs everything in memory now, whatever its age.
    ///
    /// # Errors
    /// If the store's.
    pub async fn pack(&self) -> Result<(), SeriesError> {
        Ok(self.shared.pack().await?)
    }
}

impl Shared {
    /// The time, and whether the clock can be trusted with what is freed for good.
    fn now(&self) -> (Timestamp, bool) {
        let now = self.parts.clock.now();
        (now, self.steady.lock().is_steady(now, self.parts.limits.steady))
    }

    /// What is kept at present.
    pub(crate) fn kept(&self) -> Kept {
        let (now, trusted) = self.now();
        let mut kept = Kept {
            alive: RoaringBitmap::new(),
            days: HashMap::default(),
            default_days: self.parts.limits.keep_days,
            longest: self.parts.limits.keep_days,
            now: trusted.then_some(now),
            rolls: roll::Rolls::at(now.as_milliseconds()),
        };
        for (_, index) in self.all_indexes() {
            index.read().each_metric(|series, metadata| {
                kept.alive |= series;
                if trusted {
                    kept.rolls.add(metadata, series);
                }
                if let Some(days) = metadata.keep_days {
                    kept.days.extend(series.iter().map(|number| (number, days)));
                    let for_ever = days == 0 || kept.longest == 0;
                    kept.longest = if for_ever { 0 } else { kept.longest.max(days) };
                }
            });
        }
        kept
    }

    /// Puts segments on the disk and into use, in the place of others.
    pub(crate) async fn replace(
        self: &Arc<Self>,
        built: Vec<Placeable>,
        range: (u64, u64),
        old: &[Arc<Placed>],
        packed: Option<u64>,
    ) -> Result<(), StoreError> {
        let opened = self.put(built, range).await?;
        self.swap(opened, old, packed).await
    }

    /// Puts segments on the disk, not yet into use: all of them, or none.
    async fn put(
        self: &Arc<Self>,
        built: Vec<Placeable>,
        range: (u64, u64),
    ) -> Result<Vec<Arc<Placed>>, StoreError> {
        let (mut rows, mut files) = (Vec::with_capacity(built.len()), Vec::with_capacity(built.len()));
        for (partition, mut built) in built {
            let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
            segment::sign(&mut built.bytes, number);
            let row = SegmentRow {
                digest: Digest::of(&built.bytes),
                partition,
                low: range.0,
                high: range.1,
                first: built.first,
                last: built.last,
                samples: built.samples,
                bytes: built.bytes.len() as u64,
            };
            files.push((row.digest, built.bytes));
            rows.push((number, row));
        }
        let loose = layout::loose(&self.parts);
        loose.put(files).await?;
        let put: Vec<Digest> = rows.iter().map(|(_, row)| row.digest).collect();
        let shared = Arc::clone(self);
        let opening = blocking("opening segments", move || {
            let opened = rows.into_iter().map(|(number, row)| {
                let placed = place(&shared.parts, (&shared.cache, &shared.lost), number, row)?;
                placed.segment()?;
                Ok(Arc::new(placed))
            });
            opened.collect()
        });
        let opened = opening.await;
        if opened.is_err() {
            put.iter().for_each(|digest| self.lost.forget(digest));
            loose.discard(put).await;
        }
        opened
    }

    /// Puts segments that are on the disk into use, in the place of others.
    async fn swap(
        self: &Arc<Self>,
        opened: Vec<Arc<Placed>>,
        old: &[Arc<Placed>],
        packed: Option<u64>,
    ) -> Result<(), StoreError> {
        let host = self.parts.host;
        let mut batch = Batch::new();
        for placed in &opened {
            batch.put(layout::segments(host).number(placed.number), encode(&placed.row));
        }
        for placed in old {
            batch.delete(layout::segments(host).number(placed.number));
        }
        if let Some(packed) = packed {
            batch.put(layout::packed(host), encode(&layout::Number(packed)));
        }
        let loose = layout::loose(&self.parts);
        loose.swap(batch, digests(&opened), &digests(old)).await?;
        {
            let mut state = self.state.write();
            let mut segments: Vec<Arc<Placed>> = state.segments.iter().cloned().collect();
            segments.retain(|placed| old.iter().all(|old| old.number != placed.number));
            segments.extend(opened);
            segments.sort_by_key(|placed| (placed.row.high, placed.number));
            state.segments = Arc::new(segments);
            if let Some(packed) = packed {
                state.packed = packed;
                state.frozen = None;
            }
        }
        for gone in old {
            // Before the file goes: who finds it missing then knows why.
            gone.gone.store(true, Ordering::Release);
            self.lost.forget(&gone.row.digest);
        }
        let removed = loose.remove(digests(old)).await;
        // Only now, or who reads one would open it again.
        old.iter().for_each(|gone| self.cache.close(gone.number));
        removed
    }

    /// Writes segments anew of which much is not kept, and drops those of which nothing is.
    async fn sweep(self: &Arc<Self>) -> Result<(), StoreError> {
        let _turn = self.merging.lock().await;
        let deletions: u64 = self.all_indexes().iter().map(|(_, index)| index.read().deletions).sum();
        let (now, trusted) = self.now();
        let mark = (deletions, trusted.then(|| now.as_milliseconds().div_euclid(DAY)));
        if *self.swept.lock() == Some(mark) {
            return Ok(());
        }
        self.free(false).await?;
        *self.swept.lock() = Some(mark);
        Ok(())
    }

    /// Writes segments anew of which much is not kept, or, where that is to go `whole`, that have anything of series that are gone;
    /// drops those of which nothing is kept. How many there were. Only under `merging`.
    async fn free(self: &Arc<Self>, whole: bool) -> Result<u64, StoreError> {
        // Before what is kept, so that no series of theirs is missing there.
        let segments = Arc::clone(&self.state.read().segments);
        let kept = Arc::new(self.kept());
        let (mut freed, mut full) = (0, Ok(()));
        for placed in segments.iter() {
            let (shared, looked_at, kept) = (Arc::clone(self), Arc::clone(placed), Arc::clone(&kept));
            let built =
                match blocking("freeing segments", move || shared.without_garbage(&looked_at, &kept, whole))
                    .await
                {
                    // What of it is over stays with the rest, until all of it is.
                    Err(StoreError::Lost(_)) => None,
                    done => done?,
                };
            if let Some(built) = built {
                let range = (placed.row.low, placed.row.high);
                match self.replace(built, range, std::slice::from_ref(placed), None).await {
                    // There is no room to write the rest of it anew, but others may go whole.
                    Err(error @ StoreError::DiskFull { .. }) => full = Err(error),
                    done => {
                        done?;
                        freed += 1;
                    }
                }
            }
        }
        full.map(|()| freed)
    }

    /// The segment without what is not kept: one or none; `None` if there is too little of that, and nothing that is to go
    /// `whole`.
    fn without_garbage(
        &self,
        placed: &Arc<Placed>,
        kept: &Kept,
        whole: bool,
    ) -> Result<Option<Vec<Placeable>>, StoreError> {
        if kept.is_over(placed.row.last) {
            return Ok(Some(Vec::new()));
        }
        let (mut all, mut garbage, mut has_gone) = (0, 0, false);
        for entry in placed.all()? {
            all += u64::from(entry.length);
            let first = kept.first(entry.series);
            has_gone |= first.is_none();
            if first.is_none_or(|from| entry.last < from) {
                garbage += u64::from(entry.length);
            }
        }
        if garbage == all {
            return Ok(Some(Vec::new()));
        }
        if garbage * GARBAGE < all && !(whole && has_gone) {
            return Ok(None);
        }
        merge::merged(std::slice::from_ref(placed), kept).map(|built| Some(built.into_iter().collect()))
    }

    /// Removes rows of the log that nobody needs.
    pub(crate) async fn trim_log(&self) -> Result<(), StoreError> {
        let rows = self.removable_rows();
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min(start + DELETED_ROWS as u64);
            let mut batch = Batch::new();
            for number in start..end {
                batch.delete(layout::log(self.parts.host).number(number));
            }
            self.parts.store.commit(batch).await?;
            self.first_row.store(end, Ordering::Release);
            start = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_kept_for_as_long_as_its_metric_says_and_a_time_is_over_when_it_is_for_all() {
        let now = Timestamp::parse("2026-03-01").unwrap();
        let kept = |default_days, longest| Kept {
            alive: (1..=4).collect(),
            days: [(1, 10), (2, 20), (3, 0)].into_iter().collect(),
            default_days,
            longest,
            now: Some(now),
            rolls: roll::Rolls::at(0),
        };
        let first = |days: i64| Some(now.as_milliseconds() - days * DAY);
        let (bounded, for_ever) = (kept(30, 30), kept(30, 0));
        let found: Vec<_> = (1..=5).map(|number| bounded.first(number)).collect();
        assert_eq!(found, [first(10), first(20), Some(i64::MIN), first(30), None]);
        let old = now.as_milliseconds() - 31 * DAY;
        assert!(bounded.is_over(old) && !bounded.is_over(old + 2 * DAY) && !for_ever.is_over(old));
    }
}
