//! Blocks: up to [`MAX_SAMPLES`] samples of one series, compressed without loss.
//!
//! A block is: how many samples (varint); flags (1 byte); with [`SUMMARY`], minimum, maximum, sum, first and last value
//! (5 doubles, little-endian); the length of the times (varint); the times; the values; the CRC-32 of all before. Times
//! and values begin with a codec byte each, so that a better codec is one more number and old blocks stay readable.

mod rolled;
mod times;
mod values;
pub(crate) mod varint;

use pco::ChunkConfig;
use pco::data_types::Number;

use crate::sample::Samples;

/// Samples of one block. Larger ones compress a little better and make a query of one point read more.
pub(crate) const MAX_SAMPLES: usize = 1024;

/// From so many samples on a block says what its values amount to, so that a query over a longer step need not
/// unpack it: 40 bytes, 0.04 to 0.6 a sample.
const SUMMARY_FROM: usize = 64;

/// Below, pco's own header outweighs what it saves.
const PCO_FROM: usize = 64;

/// The flag of a block with a summary.
const SUMMARY: u8 = 1;
/// The flag of a block of roll-ups.
const ROLLED: u8 = 2;
/// The flag of a block of roll-ups with sketches.
const SKETCHED: u8 = 4;

/// The fastest: what is packed are differences, which higher levels hardly make smaller.
const ZSTD_LEVEL: i32 = 1;

/// A block does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What the values of a block amount to. A block with a value that is not finite, or a sum that is not, has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) minimum: f64,
    pub(crate) maximum: f64,
    pub(crate) sum: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

/// Packs blocks; keeps what is costly to make.
pub(crate) struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
    config: ChunkConfig,
    /// Whether to try every codec: slower, for what is written once and kept.
    thorough: bool,
}

impl Encoder {
    /// An encoder; `thorough` tries every codec.
    pub(crate) fn new(thorough: bool) -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(ZSTD_LEVEL)?, config: ChunkConfig::default(), thorough })
    }

    /// Adds a block of `samples`, 1 to [`MAX_SAMPLES`] of them.
    pub(crate) fn encode(&mut self, samples: &Samples, out: &mut Vec<u8>) {
        let (start, count) = (out.len(), samples.len());
        debug_assert!((1..=MAX_SAMPLES).contains(&count), "a block of {count} samples");
        varint::put(out, count as u64);
        match summarise(&samples.values).filter(|_| count >= SUMMARY_FROM) {
            Some(summary) => {
                out.push(SUMMARY);
                for number in [summary.minimum, summary.maximum, summary.sum, summary.first, summary.last] {
                    out.extend_from_slice(&number.to_bits().to_le_bytes());
                }
            }
            None => out.push(0),
        }
        let mut packed = Vec::new();
        times::encode(self, &samples.times, &mut packed);
        varint::put(out, packed.len() as u64);
        out.extend_from_slice(&packed);
        values::encode(self, &samples.values, out);
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// `bytes` compressed, if that is smaller.
    fn zstd(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        // A frame's own header takes about ten bytes.
        if bytes.len() < 32 {
            return None;
        }
        self.zstd.compress(bytes).ok().filter(|packed| packed.len() < bytes.len())
    }

    /// Adds `numbers` in pco's form; false if it cannot.
    fn pco<N: Number>(&self, numbers: &[N], out: &mut Vec<u8>) -> bool {
        match pco::standalone::simple_compress(numbers, &self.config) {
            Ok(packed) => {
                out.extend_from_slice(&packed);
                true
            }
            Err(_) => false,
        }
    }
}

/// Unpacks blocks.
pub(crate) struct Decoder {
    zstd: zstd::bulk::Decompressor<'static>,
    /// What zstd unpacked last: one allocation for all blocks.
    unpacked: Vec<u8>,
}

impl Decoder {
    /// A decoder.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()?, unpacked: Vec::new() })
    }

    /// Adds the samples of a block to `samples`.
    pub(crate) fn decode(&mut self, block: &[u8], samples: &mut Samples) -> Result<(), Malformed> {
        let (header, mut body) = open(block)?;
        if header.flags & ROLLED != 0 {
            return Err(Malformed);
        }
        let length = varint::take(&mut body).and_then(|length| usize::try_from(length).ok());
        let packed = varint::take_bytes(&mut body, length.ok_or(Malformed)?).ok_or(Malformed)?;
        times::decode(self, packed, header.count, &mut samples.times)?;
        values::decode(self, body, header.count, &mut samples.values)?;
        if samples.times.len() == samples.values.len() { Ok(()) } else { Err(Malformed) }
    }

    /// Differences of `count` numbers, at most ten bytes each.
    fn zstd(&mut self, bytes: &[u8], count: usize) -> Result<&[u8], Malformed> {
        self.unpacked.clear();
        self.unpacked.reserve(count * 10);
        self.zstd.decompress_to_buffer(bytes, &mut self.unpacked).map_err(|_| Malformed)?;
        Ok(&self.unpacked)
    }
}

/// `count` numbers in pco's form.
fn unpack_pco<N: Number>(bytes: &[u8], count: usize) -> Result<Vec<N>, Malformed> {
    let numbers = pco::standalone::simple_decompress(bytes).map_err(|_| Malformed)?;
    if numbers.len() == count { Ok(numbers) } else { Err(Malformed) }
}

struct Header {
    count: usize,
    flags: u8,
    summary: Option<Summary>,
}

/// What a block says about itself, without unpacking it.
pub(crate) fn summary(block: &[u8]) -> Result<Option<Summary>, Malformed> {
    open(block).map(|(header, _)| header.summary)
}

/// Checks a block and reads up to its times.
fn open(block: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    let (content, crc) = block.split_last_chunk::<4>().ok_or(Malformed)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return Err(Malformed);
    }
    let mut rest = content;
    let count = varint::take(&mut rest).ok_or(Malformed)?;
    if !(1..=MAX_SAMPLES as u64).contains(&count) {
        return Err(Malformed);
    }
    let flags = varint::take_bytes(&mut rest, 1).ok_or(Malformed)?[0];
    let summary = if flags & SUMMARY == 0 {
        None
    } else {
        let mut number = || {
            let bits = varint::take_bytes(&mut rest, 8)?.try_into().ok()?;
            Some(f64::from_bits(u64::from_le_bytes(bits)))
        };
        let mut next = || number().ok_or(Malformed);
        let (minimum, maximum, sum) = (next()?, next()?, next()?);
        Some(Summary { count, minimum, maximum, sum, first: next()?, last: next()? })
    };
    Ok((Header { count: count as usize, flags, summary }, rest))
}

/// What values amount to, if all of them and their sum are finite.
pub(crate) fn summarise(values: &[f64]) -> Option<Summary> {
    let (first, last) = (*values.first()?, *values.last()?);
    let mut summary =
        Summary { count: values.len() as u64, minimum: first, maximum: first, sum: 0.0, first, last };
    for value in values {
        summary.minimum = summary.minimum.min(*value);
        summary.maximum = summary.maximum.max(*value);
        summary.sum += value;
    }
    // A value that is not finite makes the sum so.
    summary.sum.is_finite().then_some(summary)
}

#[cfg(test)]
mod tests;
