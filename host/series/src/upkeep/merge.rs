//! Small segments become large ones, each time they are of about one size: so a sample is written anew a few times in
//! its life, not each time a neighbour comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_store::{StoreError, blocking};

use super::{Kept, Placeable};
use crate::codec::{Decoder, Encoder, MAX_SAMPLES};
use crate::limits::{GATHERED_SAMPLES, MERGE, MERGED_SAMPLES, PARTITION, SEGMENT_BYTES};
use crate::rollup::Rolled;
use crate::sample::Samples;
use crate::segment::{Entry, SegmentWriter};
use crate::service::{Placed, Shared};

impl Shared {
    /// Merges as long as there is something to merge.
    pub(crate) async fn merge_all(self: &Arc<Self>) -> Result<(), StoreError> {
        loop {
            let _turn = self.merging.lock().await;
            let segments = Arc::clone(&self.state.read().segments);
            let Some(run) = run(&segments, |placed| self.is_lost(placed)) else { return Ok(()) };
            let kept = self.kept();
            let sources = with_scattered(&run, &segments);
            let built = match blocking("merging segments", move || merged(&sources, &kept)).await {
                // It is known from here on, and the others are merged without it.
                Err(StoreError::Lost(_)) => continue,
                built => built?,
            };
            let low = run.iter().map(|placed| placed.row.low).min().unwrap_or(0);
            let high = run.iter().map(|placed| placed.row.high).max().unwrap_or(0);
            self.replace(built.into_iter().collect(), (low, high), &run, None).await?;
        }
    }
}

/// What a run is made one of: its segments, and in the order of writes those of scattered samples between them. What of these
/// lies in the run's partition must stay between what was written before and after, so it is taken along; it stays where it
/// was too, where the same sample is there twice and the later holds.
fn with_scattered(run: &[Arc<Placed>], segments: &[Arc<Placed>]) -> Vec<Arc<Placed>> {
    let [first, .., last] = run else { return run.to_vec() };
    let partition = first.row.partition.unwrap_or_default();
    let taken = |placed: &&Arc<Placed>| {
        let row = &placed.row;
        let within = placed.is_within(partition, partition + PARTITION - 1);
        let between = (first.row.high..last.row.high).contains(&row.high);
        row.partition.is_none() && within && between || run.iter().any(|own| own.number == placed.number)
    };
    segments.iter().filter(taken).cloned().collect()
}

/// Segments of one partition, one after the other in the order of writes, that are worth merging. What is lost stays as
/// it is and where it is, for whoever puts it back.
fn run(segments: &[Arc<Placed>], is_lost: impl Fn(&Placed) -> bool) -> Option<Vec<Arc<Placed>>> {
    let mut partitions: BTreeMap<i64, Vec<&Arc<Placed>>> = BTreeMap::new();
    let mut lost = Vec::new();
    for placed in segments {
        match placed.row.partition {
            Some(partition) => partitions.entry(partition).or_default().push(placed),
            None if is_lost(placed) => lost.push(placed.row.high),
            None => {}
        }
    }
    let mut best: Option<Vec<Arc<Placed>>> = None;
    for placed in partitions.values() {
        for tier in 0..=tier(SEGMENT_BYTES) {
            for run in placed.chunk_by(|a, b| {
                // What was scattered between two may lie in their partition, and is to come between them again.
                let apart = lost.iter().any(|high| (a.row.high..b.row.high).contains(high));
                let small = |placed: &Placed| {
                    self::tier(placed.row.bytes) <= tier && placed.row.samples <= MERGED_SAMPLES
                };
                small(a) && small(b) && !apart && !is_lost(a) && !is_lost(b)
            }) {
                let (mut bytes, mut samples) = (0, 0);
                let fits = run.iter().take_while(|placed| {
                    bytes += placed.row.bytes;
                    samples += placed.row.samples;
                    bytes <= SEGMENT_BYTES && samples <= MERGED_SAMPLES * MERGE as u64
                });
                let run: Vec<_> = fits.map(|placed| Arc::clone(*placed)).collect();
                let size = |run: &[Arc<Placed>]| run.iter().map(|placed| placed.row.bytes).sum::<u64>();
                if run.len() >= MERGE && best.as_ref().is_none_or(|best| size(&run) < size(best)) {
                    best = Some(run);
                }
            }
        }
    }
    best
}

/// Segments of one tier are within a factor of four of each other's size.
fn tier(bytes: u64) -> u32 {
    bytes.max(1 << 16).ilog2() / 2
}

/// One segment of what is kept of several, given in the order of writes; `None` if nothing is.
pub(super) fn merged(sources: &[Arc<Placed>], kept: &Kept) -> Result<Option<Placeable>, StoreError> {
    Merging::new(sources.to_vec())?.next(kept, &|_| None, u64::MAX)
}

/// Of a series: the step its samples are to be rolled up to, in milliseconds, and whether with sketches.
pub(super) type Target = Option<(i64, bool)>;

/// Blocks, each with its source.
type Blocks = Vec<(usize, Entry)>;

/// Makes segments of several others of one partition, or of one of scattered samples, series after series.
pub(super) struct Merging {
    /// In the order of writes. Among those of a partition may be some of scattered samples.
    sources: Vec<Arc<Placed>>,
    partition: Option<i64>,
    /// The first and the last time of samples that are taken.
    times: (i64, i64),
    /// Blocks, each with its source; in order of series and time.
    entries: Blocks,
    /// The first that is not done.
    at: usize,
    encoder: Encoder,
    decoder: Decoder,
}

impl Merging {
    pub(super) fn new(sources: Vec<Arc<Placed>>) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed(format!("merging segments: {error}"));
        let (encoder, decoder) = (Encoder::new(true).map_err(failed)?, Decoder::new().map_err(failed)?);
        let partition = sources.iter().find_map(|placed| placed.row.partition);
        let times = partition.map_or((i64::MIN, i64::MAX), |begin| (begin, begin + PARTITION - 1));
        // What is rolled up is of the partition, and the step in which that begins may begin before it.
        let taken = |entry: &Entry| entry.step > 0 || entry.first <= times.1 && entry.last >= times.0;
        let mut entries: Blocks = Vec::new();
        for (rank, placed) in sources.iter().enumerate() {
            entries.extend(placed.all()?.into_iter().filter(taken).map(|entry| (rank, entry)));
        }
        entries.sort_by_key(|(rank, entry)| (entry.series, entry.first, *rank));
        Ok(Self { sources, partition, times, entries, at: 0, encoder, decoder })
    }

    /// The next segment, ended by the series with which it has `most` bytes; `None` if nothing is left.
    pub(super) fn next(
        &mut self,
        kept: &Kept,
        target: &dyn Fn(u32) -> Target,
        most: u64,
    ) -> Result<Option<Placeable>, StoreError> {
        let mut writer = SegmentWriter::new(self.partition.unwrap_or(0));
        while let Some((_, first)) = self.entries.get(self.at)
            && (writer.is_empty() || writer.bytes() < most)
        {
            let number = first.series;
            let end = self.at + self.entries[self.at..].partition_point(|(_, entry)| entry.series == number);
            let series = self.entries[self.at..end].to_vec();
            self.at = end;
            let Some(from) = kept.first(number) else { continue };
            let (rolled, samples): (Vec<_>, Vec<_>) =
                series.into_iter().partition(|(_, entry)| entry.step > 0);
            match target(number) {
                Some(target) => {
                    self.roll_ups(&mut writer, number, rolled, from, Some((target, samples)))?;
                }
                None => {
                    self.samples(&mut writer, number, &samples, from)?;
                    self.roll_ups(&mut writer, number, rolled, from, None)?;
                }
            }
        }
        Ok((!writer.is_empty()).then(|| (self.partition, writer.finish())))
    }

    fn block(&self, rank: usize, entry: &Entry) -> Result<Vec<u8>, StoreError> {
        self.sources[rank].block(entry)
    }

    /// The samples of blocks, from a time on.
    fn read(&mut self, mut blocks: Blocks, from: i64) -> Result<Samples, StoreError> {
        let mut samples = Samples::default();
        blocks.sort_by_key(|(rank, entry)| (*rank, entry.offset));
        for (rank, entry) in blocks {
            let block = self.block(rank, &entry)?;
            self.decoder.decode(&block, &mut samples).map_err(|_| self.sources[rank].damaged())?;
        }
        samples.settle();
        samples.keep(from.max(self.times.0), self.times.1);
        Ok(samples)
    }

    /// Writes the samples of one series, in order of time.
    fn samples(
        &mut self,
        writer: &mut SegmentWriter,
        number: u32,
        series: &[(usize, Entry)],
        from: i64,
    ) -> Result<(), StoreError> {
        let (mut gathered, mut count): (Blocks, u64) = (Vec::new(), 0);
        let mut last_before = i64::MIN;
        for (at, (rank, entry)) in series.iter().enumerate() {
            let behind = entry.first > last_before;
            let alone = behind && series.get(at + 1).is_none_or(|(_, next)| next.first > entry.last);
            last_before = last_before.max(entry.last);
            if entry.last < from {
                continue;
            }
            if behind && count >= GATHERED_SAMPLES {
                let before = self.read(std::mem::take(&mut gathered), from)?;
                writer.add(&mut self.encoder, number, &before);
                count = 0;
            }
            // What is nearly full and lies in nobody's way is taken as it is.
            let whole = entry.first >= from.max(self.times.0) && entry.last <= self.times.1;
            if alone && whole && entry.samples as usize >= MAX_SAMPLES / 2 {
                let before = self.read(std::mem::take(&mut gathered), from)?;
                writer.add(&mut self.encoder, number, &before);
                count = 0;
                writer.copy(entry, &self.block(*rank, entry)?);
            } else {
                count += u64::from(entry.samples);
                gathered.push((*rank, *entry));
            }
        }
        let rest = self.read(gathered, from)?;
        writer.add(&mut self.encoder, number, &rest);
        Ok(())
    }

    /// Writes the roll-ups of one series, those of one step together; with samples to be rolled up among them.
    fn roll_ups(
        &mut self,
        writer: &mut SegmentWriter,
        number: u32,
        mut blocks: Blocks,
        from: i64,
        samples: Option<((i64, bool), Blocks)>,
    ) -> Result<(), StoreError> {
        let target = samples.as_ref().map_or(0, |((step, _), _)| *step);
        // What is of a finer step that divides it becomes of the target's too.
        let becomes = |step: i64| if target > step && target % step == 0 { target } else { step };
        blocks.sort_by_key(|(rank, entry)| (becomes(entry.step), *rank, entry.offset));
        let mut merged: BTreeMap<i64, BTreeMap<i64, Rolled>> = BTreeMap::new();
        for same in blocks.chunk_by(|(_, a), (_, b)| becomes(a.step) == becomes(b.step)) {
            let (rank, entry) = same[0];
            if same.len() == 1 && becomes(entry.step) != target && entry.first >= from {
                writer.copy(&entry, &self.block(rank, &entry)?);
                continue;
            }
            let steps = merged.entry(becomes(entry.step)).or_default();
            for (rank, entry) in same {
                let (block, mut rolled) = (self.block(*rank, entry)?, Vec::new());
                let read = self.decoder.decode_rolled(&block, true, &mut rolled);
                read.map_err(|_| self.sources[*rank].damaged())?;
                for mut rolled in rolled.into_iter().filter(|rolled| rolled.start >= from) {
                    let step = becomes(entry.step);
                    rolled.start = rolled.start.div_euclid(step) * step;
                    match steps.get_mut(&rolled.start) {
                        Some(there) => there.merge(&rolled),
                        None => {
                            steps.insert(rolled.start, rolled);
                        }
                    }
                }
            }
        }
        if let Some(((step, sketched), samples)) = samples {
            let steps = merged.entry(step).or_default();
            for blocks in apart(&samples) {
                roll(&self.read(blocks.to_vec(), from)?, step, sketched, steps);
            }
        }
        for (step, steps) in merged {
            let rolled: Vec<Rolled> = steps.into_values().collect();
            writer.roll(&mut self.encoder, number, step, &rolled);
        }
        Ok(())
    }
}

/// Blocks in order of time, in parts of which each lies whole behind the one before: of several samples at one time all are
/// in one part.
fn apart(mut blocks: &[(usize, Entry)]) -> impl Iterator<Item = &[(usize, Entry)]> {
    std::iter::from_fn(move || {
        let mut last = blocks.first()?.1.last;
        let overlapping = blocks.iter().take_while(|(_, entry)| {
            let overlaps = entry.first <= last;
            last = last.max(entry.last);
            overlaps
        });
        let part;
        (part, blocks) = blocks.split_at(overlapping.count());
        Some(part)
    })
}

/// Rolls samples up, into what there is of their steps. What is no finite number is in none.
fn roll(samples: &Samples, step: i64, sketched: bool, steps: &mut BTreeMap<i64, Rolled>) {
    for (time, value) in samples.times.iter().zip(&samples.values).filter(|(_, value)| value.is_finite()) {
        let start = time.div_euclid(step) * step;
        steps
            .entry(start)
            .and_modify(|rolled| rolled.add(*time, *value))
            .or_insert_with(|| Rolled::of(start, *time, *value, sketched));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_overlap_stay_together_and_others_apart() {
        let block =
            |first, last| (0, Entry { series: 1, offset: 0, length: 1, samples: 1, step: 0, first, last });
        let blocks = [(0, 9), (10, 30), (15, 20), (25, 40), (40, 41), (42, 50), (60, 60)];
        let blocks = blocks.map(|(first, last)| block(first, last));
        let parts: Vec<usize> = apart(&blocks).map(<[_]>::len).collect();
        assert_eq!(parts, [1, 4, 1, 1]);
        assert_eq!(apart(&[]).count(), 0);
    }
}
