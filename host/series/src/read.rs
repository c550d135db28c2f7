//! Reading: the samples of a series from wherever they are, as of one moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bellwether_store::StoreError;
use roaring::RoaringBitmap;

use crate::SeriesError;
use crate::codec::{self, Decoder, Summary};
use crate::heads::{self, Head};
use crate::layout::SegmentRow;
use crate::limits::{PARTITION, SERIES_SAMPLES};
use crate::query::check_wanted;
use crate::rollup::{LONGEST_STEP, Rolled};
use crate::runs::Runs;
use crate::sample::Samples;
use crate::segment::{Cursor, Entry};
use crate::service::{Frozen, Placed, Shared};

/// Of what a query asks more than it may.
pub(crate) const TOO_MANY: &str = "samples read by one query; ask for less time";

/// What is to be read of series.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The samples from here to `last`, both included.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// The latest sample before `first` too, if it is not before this.
    pub(crate) before: i64,
    /// Whether a roll-up is of the time of its latest sample, and not of that when its step begins.
    pub(crate) raw: bool,
    /// Whether roll-ups come with their sketches.
    pub(crate) sketches: bool,
    /// Samples that may be unpacked.
    pub(crate) most: u64,
    /// Whether no series may have more than those, summaries or not.
    pub(crate) at_once: bool,
    /// Set when nobody waits for them any more.
    pub(crate) cancelled: &'a AtomicBool,
}

impl Wanted<'_> {
    /// Whether a segment may have some of it.
    fn may_be_within(&self, placed: &Placed) -> bool {
        let SegmentRow { partition, last, .. } = placed.row;
        // The latest sample of a step may be as late as its end, and is of the same week; scattered ones are no roll-ups.
        let behind = match partition.filter(|_| self.raw) {
            Some(partition) => last.saturating_add(LONGEST_STEP).min(partition + PARTITION - 1) - last,
            None => 0,
        };
        placed.is_within(self.before.saturating_sub(behind), self.last)
    }

    /// Whether a block may have some of it.
    fn may_be_in(&self, entry: &Entry) -> bool {
        let from = match entry.step {
            0 => self.before,
            step if self.raw => self.first.saturating_sub(step - 1),
            _ => self.first,
        };
        entry.first <= self.last && entry.last >= from
    }

    fn has(&self, rolled: &Rolled) -> bool {
        let time = if self.raw { rolled.last_at } else { rolled.start };
        (self.first..=self.last).contains(&time)
    }
}

/// Where the samples of some series are at one moment. What is written, packed or removed later changes nothing.
pub(crate) struct Snapshot<'a> {
    segments: Vec<Arc<Placed>>,
    /// Where this is in each of them.
    cursors: Vec<Cursor>,
    frozen: Option<Arc<Frozen>>,
    active: Arc<HashMap<u32, Head>>,
    wanted: Wanted<'a>,
    decoder: Decoder,
    /// Samples unpacked so far.
    pub(crate) unpacked: u64,
}

/// Some samples of a series.
pub(crate) struct Piece {
    /// Samples in order, each time once.
    pub(crate) samples: Runs,
    /// What blocks amount to that were not unpacked: where each begins, and its summary.
    pub(crate) summaries: Vec<(i64, Summary)>,
    /// Roll-ups of times that are asked for, in order. They are in addition to the samples.
    pub(crate) rolled: Vec<Rolled>,
    /// The latest finite sample before those, where that is asked for.
    pub(crate) before: Option<(i64, f64)>,
}

/// Puts blocks in order of time, so that their samples are; those that overlap in the order they were written, so that
/// the last of one time holds.
fn put_in_order(entries: &mut [(usize, Entry)]) {
    entries.sort_by_key(|(_, entry)| entry.first);
    let mut rest = entries;
    while let Some((_, entry)) = rest.first() {
        let mut last = entry.last;
        let overlapping = rest.iter().take_while(|(_, entry)| {
            let overlaps = entry.first <= last;
            last = last.max(entry.last);
            overlaps
        });
        let (overlapping, behind) = rest.split_at_mut(overlapping.count());
        overlapping.sort_by_key(|(rank, entry)| (*rank, entry.offset));
        rest = behind;
    }
}

fn decoder() -> Result<Decoder, StoreError> {
    Decoder::new().map_err(|error| StoreError::Failed(format!("unpacking samples: {error}")))
}

impl Shared {
    /// How many segments have samples from `first` to `last`, both included.
    pub(crate) fn segments_within(&self, first: i64, last: i64) -> usize {
        let state = self.state.read();
        state.segments.iter().filter(|placed| placed.is_within(first, last)).count()
    }

    /// What is wanted of `series`.
    pub(crate) fn snapshot<'a>(
        &self,
        series: &RoaringBitmap,
        wanted: Wanted<'a>,
    ) -> Result<Snapshot<'a>, StoreError> {
        let decoder = decoder()?;
        let state = self.state.read();
        let mut active = HashMap::new();
        for number in series {
            if let Some(head) = state.active.of(number) {
                active.insert(number, Arc::clone(head));
            }
        }
        let segments: Vec<_> =
            state.segments.iter().filter(|placed| wanted.may_be_within(placed)).cloned().collect();
        let frozen = state.frozen.clone();
        drop(state);
        let cursors = segments.iter().map(|_| Cursor::default()).collect();
        Ok(Snapshot { segments, cursors, frozen, active: Arc::new(active), wanted, decoder, unpacked: 0 })
    }
}

impl Snapshot<'_> {
    /// The same, for another thread.
    pub(crate) fn another(&self) -> Result<Self, StoreError> {
        Ok(Self {
            segments: self.segments.clone(),
            cursors: self.segments.iter().map(|_| Cursor::default()).collect(),
            frozen: self.frozen.clone(),
            active: Arc::clone(&self.active),
            decoder: decoder()?,
            unpacked: 0,
            ..*self
        })
    }

    /// The samples of one series. A block that lies whole within one step of `steps` (where the first begins, and how
    /// long they are), apart from every other sample, comes as its summary.
    pub(crate) fn read(&mut self, number: u32, steps: Option<(i64, i64)>) -> Result<Piece, SeriesError> {
        let wanted = self.wanted;
        let Wanted { first, last, .. } = wanted;
        let mut heads = Samples::default();
        let frozen = self.frozen.as_ref().and_then(|frozen| frozen.heads.of(number));
        for head in frozen.into_iter().chain(self.active.get(&number)) {
            heads::copy(head, wanted.before, last, &mut heads);
        }
        let mut entries: Vec<(usize, Entry)> = Vec::new();
        for (rank, placed) in self.segments.iter().enumerate() {
            let read = placed.segment()?.entries(&mut self.cursors[rank], number, |entry| {
                if wanted.may_be_in(entry) {
                    entries.push((rank, *entry));
                }
            });
            read.map_err(|error| placed.lost(error))?;
        }
        if wanted.at_once {
            self.check(&entries, heads.len())?;
        }
        let rolled: Vec<_> = entries.extract_if(.., |(_, entry)| entry.step > 0).collect();
        self.check(&rolled, 0)?;
        let rolled = self.rolled(rolled)?;
        let mut summaries = Vec::new();
        if let Some(steps) = steps.filter(|_| rolled.is_empty()) {
            self.summarise(&mut entries, &heads, steps, &mut summaries)?;
        }
        self.check(&entries, heads.len())?;
        put_in_order(&mut entries);
        let mut samples = Runs::default();
        for run in entries
            .chunk_by(|(a, one), (b, next)| a == b && one.offset + u64::from(one.length) == next.offset)
        {
            let (rank, last) = run[run.len() - 1];
            let (placed, end) = (&self.segments[rank], last.offset + u64::from(last.length));
            let segment = placed.segment()?;
            for (_, entry) in run {
                check_wanted(wanted.cancelled)?;
                self.unpacked += u64::from(entry.samples);
                if let Some(unpacked) = segment.unpacked(entry) {
                    samples.share(unpacked);
                    continue;
                }
                // With those behind it, which are then there.
                let bytes = self.cursors[rank].bytes(segment, entry.offset, end - entry.offset);
                let bytes = bytes.map_err(|error| placed.lost(error))?;
                let block = &bytes[..entry.length as usize];
                let most = (entry.samples as usize).min(codec::MAX_SAMPLES);
                if entry.is_kept() {
                    let mut unpacked = Samples::with_capacity(most);
                    self.decoder.decode(block, &mut unpacked).map_err(|_| placed.damaged())?;
                    let unpacked = Arc::new(unpacked);
                    segment.keep_unpacked(entry, &unpacked);
                    samples.share(unpacked);
                } else {
                    self.decoder.decode(block, samples.own(most)).map_err(|_| placed.damaged())?;
                }
            }
        }
        self.unpacked += heads.len() as u64;
        samples.add(heads);
        samples.settle();
        let before = samples.latest_before(first).filter(|(time, _)| *time >= wanted.before);
        samples.keep(first, last);
        Ok(Piece { samples, summaries, rolled, before })
    }

    /// Refuses to unpack these blocks of one series, beside so many other samples of it, where that is more than a query may
    /// or than memory should hold: before it is done.
    fn check(&self, entries: &[(usize, Entry)], others: usize) -> Result<(), SeriesError> {
        let samples = entries.iter().map(|(_, entry)| u64::from(entry.samples)).sum::<u64>() + others as u64;
        let most = self.wanted.most;
        if self.unpacked + samples > most {
            return Err(SeriesError::limit(TOO_MANY, most));
        }
        if samples > SERIES_SAMPLES {
            let what = "samples of one series read at once; ask for less time";
            return Err(SeriesError::limit(what, SERIES_SAMPLES));
        }
        Ok(())
    }

    /// The roll-ups of blocks, those of one step and time as one.
    fn rolled(&mut self, mut entries: Vec<(usize, Entry)>) -> Result<Vec<Rolled>, SeriesError> {
        let wanted = self.wanted;
        // In the order they were written, so that the last of one time is the latest.
        entries.sort_by_key(|(rank, entry)| (entry.step, *rank, entry.offset));
        let mut all: Vec<(i64, Rolled)> = Vec::new();
        let mut unpacked = Vec::new();
        for (rank, entry) in entries {
            check_wanted(wanted.cancelled)?;
            let placed = &self.segments[rank];
            let block = placed.block(&entry)?;
            let decoded = self.decoder.decode_rolled(&block, wanted.sketches, &mut unpacked);
            decoded.map_err(|_| placed.damaged())?;
            self.unpacked += u64::from(entry.samples);
            all.extend(unpacked.drain(..).map(|rolled| (entry.step, rolled)));
        }
        all.sort_by_key(|(step, rolled)| (rolled.start, *step));
        all.dedup_by(|(step, rolled), (before, into)| {
            let same = step == before && rolled.start == into.start;
            if same {
                into.merge(rolled);
            }
            same
        });
        // Only now: which sample of a step is the latest is known once all its parts are one.
        Ok(all.into_iter().map(|(_, rolled)| rolled).filter(|rolled| wanted.has(rolled)).collect())
    }

    /// Takes the entries that need no unpacking out of `entries`.
    fn summarise(
        &mut self,
        entries: &mut Vec<(usize, Entry)>,
        heads: &Samples,
        (start, step): (i64, i64),
        summaries: &mut Vec<(i64, Summary)>,
    ) -> Result<(), SeriesError> {
        let Wanted { first: wanted_from, last: wanted_to, cancelled, .. } = self.wanted;
        entries.sort_by_key(|(_, entry)| entry.first);
        let mut held = heads.times.clone();
        held.sort_unstable();
        let has_held = |entry: &Entry| {
            let next = held.partition_point(|time| *time < entry.first);
            held.get(next).is_some_and(|time| *time <= entry.last)
        };
        let mut last_before = i64::MIN;
        let mut rest = Vec::with_capacity(entries.len());
        for at in 0..entries.len() {
            check_wanted(cancelled)?;
            let (rank, entry) = entries[at];
            let alone = (at == 0 || entry.first > last_before)
                && entries.get(at + 1).is_none_or(|(_, next)| next.first > entry.last);
            last_before = last_before.max(entry.last);
            let step_of = |time: i64| time.saturating_sub(start).div_euclid(step);
            let within = entry.first >= wanted_from
                && entry.last <= wanted_to
                && step_of(entry.first) == step_of(entry.last);
            let summary = if alone && within && !has_held(&entry) {
                let (placed, length) = (&self.segments[rank], u64::from(entry.length));
                let block = self.cursors[rank].bytes(placed.segment()?, entry.offset, length);
                codec::summary(block.map_err(|error| placed.lost(error))?).map_err(|_| placed.damaged())?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_in_order_of_time_and_those_that_overlap_in_the_order_they_were_written() {
        let entry = |rank, offset, first, last| {
            (rank, Entry { series: 1, offset, length: 1, samples: 1, step: 0, first, last })
        };
        let late = entry(2, 0, 25, 25);
        let (one, two, three) = (entry(0, 0, 0, 9), entry(0, 1, 20, 30), entry(0, 2, 31, 40));
        let before = entry(1, 0, 10, 19);
        let mut entries = vec![three, late, before, two, one];
        put_in_order(&mut entries);
        let places = |entries: &[(usize, Entry)]| -> Vec<_> {
            entries.iter().map(|(rank, entry)| (*rank, entry.offset)).collect()
        };
        assert_eq!(places(&entries), places(&[one, before, two, late, three]));
    }
}
