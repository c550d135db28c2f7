//! Small segments become large ones, each time they are of about one size: so a sample is written anew a few times in
//! its life, not each time a neighbour comes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_store::StoreError;

use super::{Kept, Placeable};
use crate::codec::{Decoder, Encoder, MAX_SAMPLES};
use crate::limits::{MERGE, SEGMENT_BYTES};
use crate::sample::Samples;
use crate::segment::{Entry, SegmentWriter, damaged};
use crate::service::{Placed, Shared};

impl Shared {
    /// Merges as long as there is something to merge.
    pub(crate) async fn merge_all(self: &Arc<Self>) -> Result<(), StoreError> {
        loop {
            let _turn = self.merging.lock().await;
            let segments = Arc::clone(&self.state.read().segments);
            let Some(run) = run(&segments) else { return Ok(()) };
            let kept = self.kept();
            let sources = run.clone();
            let built = tokio::task::spawn_blocking(move || merged(&sources, &kept));
            let built =
                built.await.map_err(|error| StoreError::Failed(format!("merging segments: {error}")))??;
            let low = run.iter().map(|placed| placed.row.low).min().unwrap_or(0);
            let high = run.iter().map(|placed| placed.row.high).max().unwrap_or(0);
            self.replace(built.into_iter().collect(), (low, high), &run, None).await?;
        }
    }
}

/// Segments of one partition, one after the other in the order of writes, that are worth merging.
fn run(segments: &[Arc<Placed>]) -> Option<Vec<Arc<Placed>>> {
    let mut partitions: BTreeMap<i64, Vec<&Arc<Placed>>> = BTreeMap::new();
    let mut scattered = Vec::new();
    for placed in segments {
        match placed.row.partition {
            Some(partition) => partitions.entry(partition).or_default().push(placed),
            None => scattered.push(placed.row.high),
        }
    }
    let mut best: Option<Vec<Arc<Placed>>> = None;
    for placed in partitions.values() {
        for tier in 0..=tier(SEGMENT_BYTES) {
            for run in placed.chunk_by(|a, b| {
                // What was scattered between two may lie in their partition, and must stay between them.
                let apart = scattered.iter().any(|high| (a.row.high..b.row.high).contains(high));
                self::tier(a.row.bytes) <= tier && self::tier(b.row.bytes) <= tier && !apart
            }) {
                let mut bytes = 0;
                let fits = run.iter().take_while(|placed| {
                    bytes += placed.row.bytes;
                    bytes <= SEGMENT_BYTES
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
    let failed = |error: std::io::Error| StoreError::Failed(format!("merging segments: {error}"));
    let (mut encoder, mut decoder) = (Encoder::new(true).map_err(failed)?, Decoder::new().map_err(failed)?);
    let partition = sources[0].row.partition;
    let mut entries: Vec<(usize, Entry)> = Vec::new();
    for (rank, placed) in sources.iter().enumerate() {
        entries.extend(placed.segment.all()?.into_iter().map(|entry| (rank, entry)));
    }
    entries.sort_by_key(|(rank, entry)| (entry.series, entry.first, *rank));
    let mut writer = SegmentWriter::new(partition.unwrap_or(0));
    for series in entries.chunk_by(|(_, a), (_, b)| a.series == b.series) {
        let number = series[0].1.series;
        let Some(from) = kept.first(number) else { continue };
        let mut gathered: Vec<(usize, Entry)> = Vec::new();
        let mut read = |gathered: &mut Vec<(usize, Entry)>| -> Result<Samples, StoreError> {
            let mut samples = Samples::default();
            gathered.sort_by_key(|(rank, entry)| (*rank, entry.offset));
            for (rank, entry) in gathered.drain(..) {
                let block = sources[rank].segment.block(&entry)?;
                decoder.decode(&block, &mut samples).map_err(|_| damaged("a block"))?;
            }
            samples.settle();
            samples.keep(from, i64::MAX);
            Ok(samples)
        };
        let mut last_before = i64::MIN;
        for (at, (rank, entry)) in series.iter().enumerate() {
            let alone = entry.first > last_before
                && series.get(at + 1).is_none_or(|(_, next)| next.first > entry.last);
            last_before = last_before.max(entry.last);
            if entry.last < from {
                continue;
            }
            // What is nearly full and lies in nobody's way is taken as it is.
            if alone && entry.samples as usize >= MAX_SAMPLES / 2 && entry.first >= from {
                writer.add(&mut encoder, number, &read(&mut gathered)?);
                writer.copy(entry, &sources[*rank].segment.block(entry)?);
            } else {
                gathered.push((*rank, *entry));
            }
        }
        writer.add(&mut encoder, number, &read(&mut gathered)?);
    }
    if writer.is_empty() {
        return Ok(None);
    }
    Ok(Some((partition, writer.finish())))
}
