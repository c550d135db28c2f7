//! Reading: the samples of a series from wherever they are, as of one moment.

use std::collections::HashMap;
use std::sync::Arc;

use bellwether_store::StoreError;
use roaring::RoaringBitmap;

use crate::codec::{self, Decoder, Summary};
use crate::sample::Samples;
use crate::segment::{Entry, damaged};
use crate::service::{Frozen, Placed, Shared};

/// Where the samples of some series are at one moment. What is written, packed or removed later changes nothing.
pub(crate) struct Snapshot {
    segments: Vec<Arc<Placed>>,
    frozen: Option<Arc<Frozen>>,
    active: HashMap<u32, Samples>,
    first: i64,
    last: i64,
    decoder: Decoder,
    /// Samples unpacked so far.
    pub(crate) unpacked: u64,
}

/// Some samples of a series.
pub(crate) struct Piece {
    /// Samples in order, each time once.
    pub(crate) samples: Samples,
    /// What blocks amount to that were not unpacked: where each begins, and its summary.
    pub(crate) summaries: Vec<(i64, Summary)>,
}

impl Shared {
    /// The samples of `series` from `first` to `last`, both included.
    pub(crate) fn snapshot(
        &self,
        series: &RoaringBitmap,
        first: i64,
        last: i64,
    ) -> Result<Snapshot, StoreError> {
        let decoder =
            Decoder::new().map_err(|error| StoreError::Failed(format!("unpacking samples: {error}")))?;
        let state = self.state.read();
        let mut active = HashMap::new();
        for number in series {
            let mut samples = Samples::default();
            state.active.copy(number, first, last, &mut samples);
            if !samples.is_empty() {
                active.insert(number, samples);
            }
        }
        let within = |placed: &&Arc<Placed>| placed.row.first <= last && placed.row.last >= first;
        let segments = state.segments.iter().filter(within).cloned().collect();
        let frozen = state.frozen.clone();
        drop(state);
        Ok(Snapshot { segments, frozen, active, first, last, decoder, unpacked: 0 })
    }
}

impl Snapshot {
    /// The samples of one series. A block that lies whole within one step of `steps` (where the first begins, and how
    /// long they are), apart from every other sample, comes as its summary.
    pub(crate) fn read(&mut self, number: u32, steps: Option<(i64, i64)>) -> Result<Piece, StoreError> {
        let mut heads = Samples::default();
        if let Some(frozen) = &self.frozen {
            frozen.heads.copy(number, self.first, self.last, &mut heads);
        }
        if let Some(active) = self.active.get(&number) {
            heads.times.extend_from_slice(&active.times);
            heads.values.extend_from_slice(&active.values);
        }
        let mut entries: Vec<(usize, Entry)> = Vec::new();
        for (rank, placed) in self.segments.iter().enumerate() {
            let found = placed.segment.entries(number)?;
            let within =
                found.into_iter().filter(|entry| entry.first <= self.last && entry.last >= self.first);
            entries.extend(within.map(|entry| (rank, entry)));
        }
        let mut summaries = Vec::new();
        if let Some(steps) = steps {
            self.summarise(&mut entries, &heads, steps, &mut summaries)?;
        }
        // In the order they were written, so that the last of one time holds.
        entries.sort_by_key(|(rank, entry)| (*rank, entry.offset));
        let mut samples = Samples::default();
        for run in entries
            .chunk_by(|(a, one), (b, next)| a == b && one.offset + u64::from(one.length) == next.offset)
        {
            let (rank, first) = run[0];
            let length = run.iter().map(|(_, entry)| u64::from(entry.length)).sum();
            let bytes = self.segments[rank].segment.bytes(first.offset, length)?;
            let mut rest = bytes.as_slice();
            for (_, entry) in run {
                let block;
                (block, rest) = rest.split_at(entry.length as usize);
                self.decoder.decode(block, &mut samples).map_err(|_| damaged("a block"))?;
                self.unpacked += u64::from(entry.samples);
            }
        }
        self.unpacked += heads.len() as u64;
        samples.times.append(&mut heads.times);
        samples.values.append(&mut heads.values);
        samples.settle();
        samples.keep(self.first, self.last);
        Ok(Piece { samples, summaries })
    }

    /// Takes the entries that need no unpacking out of `entries`.
    fn summarise(
        &self,
        entries: &mut Vec<(usize, Entry)>,
        heads: &Samples,
        (start, step): (i64, i64),
        summaries: &mut Vec<(i64, Summary)>,
    ) -> Result<(), StoreError> {
        entries.sort_by_key(|(_, entry)| entry.first);
        let mut last_before = i64::MIN;
        let mut rest = Vec::with_capacity(entries.len());
        for at in 0..entries.len() {
            let (rank, entry) = entries[at];
            let alone = (at == 0 || entry.first > last_before)
                && entries.get(at + 1).is_none_or(|(_, next)| next.first > entry.last);
            last_before = last_before.max(entry.last);
            let within = entry.first >= self.first
                && entry.last <= self.last
                && (entry.first - start).div_euclid(step) == (entry.last - start).div_euclid(step);
            let summary = if alone
                && within
                && !heads.times.iter().any(|time| (entry.first..=entry.last).contains(time))
            {
                codec::summary(&self.segments[rank].segment.block(&entry)?).map_err(|_| damaged("a block"))?
            } else {
                None
            };
            match summary {
                Some(summary) => summaries.push((entry.first, summary)),
                None => rest.push((rank, entry)),
            }
        }
        *entries = rest;
        Ok(())
    }
}
