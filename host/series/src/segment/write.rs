//! Builds a segment in memory.

use super::{Entry, MAGIC, PAGE_ENTRIES, STEPS};
use crate::codec::{Encoder, MAX_SAMPLES, varint};
use crate::rollup::Rolled;
use crate::sample::Samples;

/// A segment that was built.
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) samples: u64,
    /// The times of its samples.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Takes series in order and makes a segment of them.
pub(crate) struct SegmentWriter {
    base: i64,
    out: Vec<u8>,
    entries: Vec<Entry>,
    samples: u64,
}

impl SegmentWriter {
    /// A segment whose times are kept relative to `base`.
    pub(crate) fn new(base: i64) -> Self {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[0; 8]);
        Self { base, out, entries: Vec::new(), samples: 0 }
    }

    /// Adds the samples of a series, in order, each time once; series come in rising order.
    pub(crate) fn add(&mut self, encoder: &mut Encoder, series: u32, samples: &Samples) {
        let mut at = 0;
        while at < samples.len() {
            let end = (at + MAX_SAMPLES).min(samples.len());
            let part =
                Samples { times: samples.times[at..end].to_vec(), values: samples.values[at..end].to_vec() };
            self.block(encoder, series, &part);
            at = end;
        }
    }

    fn block(&mut self, encoder: &mut Encoder, series: u32, samples: &Samples) {
        let offset = self.out.len();
        encoder.encode(samples, &mut self.out);
        self.entries.push(Entry {
            series,
            offset: offset as u64,
            length: (self.out.len() - offset) as u32,
            samples: samples.len() as u32,
            step: 0,
            first: samples.times[0],
            last: samples.times[samples.len() - 1],
        });
        self.samples += samples.len() as u64;
    }

    /// Adds roll-ups of a series, of one step and in order; behind the series' samples.
    pub(crate) fn roll(&mut self, encoder: &mut Encoder, series: u32, step: i64, rolled: &[Rolled]) {
        for part in rolled.chunks(MAX_SAMPLES) {
            let offset = self.out.len();
            encoder.encode_rolled(step, part, &mut self.out);
            self.entries.push(Entry {
                series,
                offset: offset as u64,
                length: (self.out.len() - offset) as u32,
                samples: part.len() as u32,
                step,
                first: part[0].start,
                last: part[part.len() - 1].start,
            });
            self.samples += part.len() as u64;
        }
    }

    /// Adds a block that is already packed.
    pub(crate) fn copy(&mut self, entry: &Entry, block: &[u8]) {
        let offset = self.out.len() as u64;
        self.out.extend_from_slice(block);
        self.entries.push(Entry { offset, ..*entry });
        self.samples += u64::from(entry.samples);
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.out.len() as u64
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The segment of what was added, at least one block.
    pub(crate) fn finish(self) -> Built {
        let Self { base, mut out, entries, samples } = self;
        let first = entries.iter().map(|entry| entry.first).min().unwrap_or(i64::MAX);
        let last = entries.iter().map(|entry| entry.last).max().unwrap_or(i64::MIN);
        let mut directory = Vec::new();
        for page in entries.chunks(PAGE_ENTRIES) {
            let start = out.len();
            let mut series = page[0].series;
            for entry in page {
                varint::put(&mut out, u64::from(entry.series - series));
                varint::put(&mut out, u64::from(entry.length));
                let step = (entry.step / 1000) as u32 * STEPS;
                varint::put(&mut out, u64::from(entry.samples + step));
                varint::put_signed(&mut out, entry.first - base);
                varint::put(&mut out, (entry.last - entry.first) as u64);
                series = entry.series;
            }
            let crc = crc32fast::hash(&out[start..]);
            out.extend_from_slice(&crc.to_le_bytes());
            directory.extend_from_slice(&page[0].series.to_le_bytes());
            directory.extend_from_slice(&(start as u64).to_le_bytes());
            directory.extend_from_slice(&((out.len() - start) as u32).to_le_bytes());
            directory.extend_from_slice(&page[0].offset.to_le_bytes());
        }
        let (start, crc) = (out.len() as u64, crc32fast::hash(&directory));
        out.extend_from_slice(&directory);
        out.extend_from_slice(&start.to_le_bytes());
        out.extend_from_slice(&((directory.len() / super::LINE) as u32).to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        Built { bytes: out, samples, first, last }
    }
}
