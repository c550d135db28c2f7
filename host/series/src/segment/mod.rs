//! Segments: immutable files of blocks, sorted by series and time, all within one partition of time.
//!
//! A segment is [`MAGIC`]; its number (u64); the blocks; pages of entries, one entry a block; the directory, one line a page; the
//! footer. Only the directory is kept in memory. It covers writes from one number to another: of two samples at one
//! time, that of the segment with the higher numbers holds.
//!
//! An entry is varints: how many series further than the one before (0 for the same), bytes, samples plus 2,048 for each
//! second of a roll-up's step, first time (signed, from the segment's base), last time from there. Blocks lie behind each other, so their places follow.

use crate::limits::CACHED_BLOCK;

mod cache;
mod cursor;
mod read;
mod write;

pub(crate) use cache::Cache;
pub(crate) use cursor::Cursor;
pub(crate) use read::{Segment, damaged};
pub(crate) use write::{Built, SegmentWriter};

/// What a segment begins and ends with.
const MAGIC: [u8; 8] = *b"bwseries";

/// Writes a segment's number into it. So no two segments are the same, and one object is never two of them.
pub(crate) fn sign(segment: &mut [u8], number: u64) {
    segment[MAGIC.len()..][..8].copy_from_slice(&number.to_le_bytes());
}

/// Entries of a page: one read finds the blocks of any series.
const PAGE_ENTRIES: usize = 256;

/// Above the samples of any block: an entry's step is kept in multiples of it.
const STEPS: u32 = 2048;
const _: () = assert!((STEPS as usize) > crate::codec::MAX_SAMPLES);

/// The footer's bytes: where the directory begins, pages, CRC-32 of the directory, magic.
const FOOTER: usize = 8 + 4 + 4 + 8;

/// A page of the directory: its first series (u32), where it begins (u64), its bytes (u32), where its first block
/// begins (u64).
const LINE: usize = 4 + 8 + 4 + 8;

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) series: u32,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Samples, or roll-ups.
    pub(crate) samples: u32,
    /// Milliseconds of the step of roll-ups; 0 for samples.
    pub(crate) step: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Entry {
    /// Whether the samples of the block are kept for a while once they are unpacked.
    pub(crate) fn is_kept(&self) -> bool {
        self.samples >= CACHED_BLOCK
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::{Decoder, Encoder};
    use crate::limits::PARTITION;
    use crate::sample::Samples;

    fn written(series: &[(u32, Samples)]) -> Vec<u8> {
        let (mut writer, mut encoder) = (SegmentWriter::new(3 * PARTITION), Encoder::new(true).unwrap());
        series.iter().for_each(|(series, samples)| writer.add(&mut encoder, *series, samples));
        writer.finish().bytes
    }

    fn opened(bytes: &[u8]) -> Result<Arc<Segment>, bellwether_store::StoreError> {
        let folder = tempfile::tempdir().unwrap();
        let objects = bellwether_store::Objects::open(folder.path()).unwrap();
        let digest = objects.put(bytes).unwrap();
        Segment::open((objects, digest), 1, 3 * PARTITION, Cache::new()).map(Arc::new)
    }

    #[test]
    fn every_series_is_found_again_whole() {
        let series: Vec<(u32, Samples)> = (0..1000)
            .map(|at| {
                let mut samples = Samples::default();
                (0..1 + at % 3 * 900)
                    .for_each(|n| samples.push(3 * PARTITION + i64::from(n) * 10, f64::from(n)));
                (1 + at * 7, samples)
            })
            .collect();
        let segment = opened(&written(&series)).unwrap();
        let (mut decoder, mut moving) = (Decoder::new().unwrap(), Cursor::default());
        let entries = |cursor: &mut Cursor, number| {
            let mut found = Vec::new();
            segment.entries(cursor, number, |entry| found.push(*entry)).unwrap();
            found
        };
        for (number, samples) in &series {
            // By itself, and behind those before.
            for cursor in [&mut Cursor::default(), &mut moving] {
                let mut found = Samples::default();
                for entry in entries(cursor, *number) {
                    let (offset, length) = (entry.offset, u64::from(entry.length));
                    let bytes = cursor.bytes(&segment, offset, length).unwrap();
                    assert_eq!(bytes, segment.block(&entry).unwrap());
                    decoder.decode(bytes, &mut found).unwrap();
                }
                assert_eq!(&found, samples, "series {number}");
                assert_eq!(entries(cursor, number + 1), []);
            }
        }
        assert_eq!(entries(&mut moving, 0), []);
        let all: u64 = segment.all().unwrap().iter().map(|entry| u64::from(entry.samples)).sum();
        assert_eq!(all, series.iter().map(|(_, samples)| samples.len() as u64).sum::<u64>());
    }

    #[test]
    fn a_segment_cut_short_or_changed_is_refused() {
        let mut samples = Samples::default();
        (0..5000).for_each(|n| samples.push(3 * PARTITION + n, n as f64));
        let whole = written(&[(1, samples)]);
        for length in [0, 7, whole.len() / 2, whole.len() - 1] {
            assert!(opened(&whole[..length]).is_err(), "{length} bytes");
        }
        let mut changed = whole.clone();
        let directory = whole.len() - FOOTER - 3;
        changed[directory] ^= 1;
        assert!(opened(&changed).is_err());
    }
}
