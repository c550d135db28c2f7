//! From memory into segments.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bellwether_store::{StoreError, blocking};

use super::{Kept, Placeable};
use crate::codec::Encoder;
use crate::limits::{PACKED_PARTITIONS, PARTITION};
use crate::sample::Samples;
use crate::segment::SegmentWriter;
use crate::service::{Frozen, Shared};

impl Shared {
    /// Packs what is in memory; first what an earlier packing that failed left.
    pub(crate) async fn pack(self: &Arc<Self>) -> Result<(), StoreError> {
        let _turn = self.packing.lock().await;
        while let Some((frozen, fresh)) = self.freeze() {
            let kept = self.kept();
            let heads = Arc::clone(&frozen);
            let built = blocking("packing samples", move || built(&heads, &kept)).await?;
            self.replace(built, (frozen.low, frozen.high), &[], Some(frozen.high)).await?;
            // What came meanwhile can wait, unless it is much.
            if fresh && self.state.read().active.samples() < self.parts.limits.head_samples {
                break;
            }
        }
        self.trim_log().await
    }

    /// What is to be packed next, and whether it was frozen just now; `None` if there is nothing.
    fn freeze(&self) -> Option<(Arc<Frozen>, bool)> {
        let mut state = self.state.write();
        let fresh = state.frozen.is_none();
        if fresh && state.applied > state.packed {
            let (low, high) = (state.packed + 1, state.applied);
            let heads = std::mem::take(&mut state.active);
            state.since = None;
            state.frozen = Some(Arc::new(Frozen { heads, low, high }));
        }
        state.frozen.clone().map(|frozen| (frozen, fresh))
    }
}

/// The partition of a time.
pub(super) fn partition(time: i64) -> i64 {
    time.div_euclid(PARTITION) * PARTITION
}

fn built(frozen: &Frozen, kept: &Kept) -> Result<Vec<Placeable>, StoreError> {
    let failed = |error: std::io::Error| StoreError::Failed(format!("packing samples: {error}"));
    let mut encoder = Encoder::new(false).map_err(failed)?;
    let own = own_partitions(frozen);
    let mut writers: BTreeMap<Option<i64>, SegmentWriter> = BTreeMap::new();
    for (number, samples) in frozen.heads.settled() {
        let Some(from) = kept.first(number) else { continue };
        let mut parts: BTreeMap<Option<i64>, Samples> = BTreeMap::new();
        for (time, value) in samples.times.iter().zip(&samples.values).filter(|(time, _)| **time >= from) {
            let partition = Some(partition(*time))
                .filter(|partition| own.as_ref().is_none_or(|own| own.contains(partition)));
            parts.entry(partition).or_default().push(*time, *value);
        }
        for (partition, samples) in parts {
            let writer =
                writers.entry(partition).or_insert_with(|| SegmentWriter::new(partition.unwrap_or(0)));
            writer.add(&mut encoder, number, &samples);
        }
    }
    Ok(writers.into_iter().map(|(partition, writer)| (partition, writer.finish())).collect())
}

/// The partitions that get a segment of their own, the fullest ones; `None` if all do.
fn own_partitions(frozen: &Frozen) -> Option<Vec<i64>> {
    let mut counts: HashMap<i64, usize> = HashMap::new();
    for time in frozen.heads.times() {
        *counts.entry(partition(time)).or_default() += 1;
    }
    if counts.len() <= PACKED_PARTITIONS {
        return None;
    }
    let mut counts: Vec<(usize, i64)> =
        counts.into_iter().map(|(partition, count)| (count, partition)).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts.truncate(PACKED_PARTITIONS - 1);
    Some(counts.into_iter().map(|(_, partition)| partition).collect())
}
