//! Blocks of roll-ups: up to [`MAX_SAMPLES`] of one series and step, compressed without loss.
//!
//! A block is: how many (varint); flags (1 byte); the step in milliseconds (varint); columns, each behind its length
//! (varint): when steps begin, when their latest samples were taken, counts, sums, minima, maxima, latest samples; with
//! [`SKETCHED`], the length of the sketches (varint), 1 if they are compressed, else 0, and they, each behind its length;
//! the CRC-32.

use super::{Decoder, Encoder, MAX_SAMPLES, Malformed, ROLLED, SKETCHED, times, values, varint};
use crate::rollup::Rolled;
use crate::sketch::Sketch;

/// Counts up to here are exact as doubles, which they are packed as.
const MOST: u64 = 1 << 53;

/// Sketches of one block take no more, unpacked.
const SKETCHES: u64 = 64 * 1024 * 1024;

type Column<T> = fn(&Rolled) -> T;
const TIMES: [Column<i64>; 2] = [|rolled| rolled.start, |rolled| rolled.last_at];
const VALUES: [Column<f64>; 5] = [
    |rolled| rolled.count.min(MOST) as f64,
    |rolled| rolled.sum,
    |rolled| rolled.minimum,
    |rolled| rolled.maximum,
    |rolled| rolled.last,
];

impl Encoder {
    /// Adds a block of roll-ups, 1 to [`MAX_SAMPLES`] of them. Sketches are kept where all have one.
    pub(crate) fn encode_rolled(&mut self, step: i64, rolled: &[Rolled], out: &mut Vec<u8>) {
        let begin = out.len();
        debug_assert!((1..=MAX_SAMPLES).contains(&rolled.len()), "a block of {} roll-ups", rolled.len());
        let sketched = rolled.iter().all(|rolled| rolled.sketch.is_some());
        varint::put(out, rolled.len() as u64);
        out.push(ROLLED | if sketched { SKETCHED } else { 0 });
        varint::put(out, step as u64);
        let mut packed = Vec::new();
        for column in TIMES {
            times::encode(self, &rolled.iter().map(column).collect::<Vec<_>>(), &mut packed);
            put_section(&mut packed, out);
        }
        for column in VALUES {
            values::encode(self, &rolled.iter().map(column).collect::<Vec<_>>(), &mut packed);
            put_section(&mut packed, out);
        }
        if sketched {
            let mut sketches = Vec::new();
            for sketch in rolled.iter().filter_map(|rolled| rolled.sketch.as_ref()) {
                put_section(&mut sketch.to_bytes(), &mut sketches);
            }
            varint::put(out, sketches.len() as u64);
            let compressed = self.zstd(&sketches);
            out.push(u8::from(compressed.is_some()));
            out.extend_from_slice(compressed.as_deref().unwrap_or(&sketches));
        }
        let crc = crc32fast::hash(&out[begin..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
}

fn put_section(section: &mut Vec<u8>, out: &mut Vec<u8>) {
    varint::put(out, section.len() as u64);
    out.append(section);
}

fn section<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = varint::take(bytes).and_then(|length| usize::try_from(length).ok()).ok_or(Malformed)?;
    varint::take_bytes(bytes, length).ok_or(Malformed)
}

impl Decoder {
    /// Adds the roll-ups of a block to `rolled`, with their sketches where wanted.
    pub(crate) fn decode_rolled(
        &mut self,
        block: &[u8],
        sketches: bool,
        rolled: &mut Vec<Rolled>,
    ) -> Result<(), Malformed> {
        let (header, mut body) = super::open(block)?;
        if header.flags & ROLLED == 0 {
            return Err(Malformed);
        }
        let _step = varint::take(&mut body).ok_or(Malformed)?;
        let (mut moments, mut numbers) = ([const { Vec::new() }; 2], [const { Vec::new() }; 5]);
        for column in &mut moments {
            times::decode(self, section(&mut body)?, header.count, column)?;
        }
        for column in &mut numbers {
            values::decode(self, section(&mut body)?, header.count, column)?;
        }
        let whole = moments.iter().all(|column| column.len() == header.count)
            && numbers.iter().all(|column| column.len() == header.count);
        if !whole {
            return Err(Malformed);
        }
        let [starts, lasts_at] = &moments;
        let [counts, sums, minima, maxima, lasts] = &numbers;
        let begin = rolled.len();
        rolled.extend((0..header.count).map(|at| Rolled {
            start: starts[at],
            count: counts[at] as u64,
            sum: sums[at],
            minimum: minima[at],
            maximum: maxima[at],
            last: lasts[at],
            last_at: lasts_at[at],
            sketch: None,
        }));
        if sketches && header.flags & SKETCHED != 0 {
            let length = varint::take(&mut body).filter(|length| *length <= SKETCHES).ok_or(Malformed)?;
            let (compressed, packed) = body.split_first().ok_or(Malformed)?;
            let unpacked;
            let mut rest = if *compressed == 1 {
                unpacked = self.zstd.decompress(packed, length as usize).map_err(|_| Malformed)?;
                unpacked.as_slice()
            } else {
                packed
            };
            for rolled in &mut rolled[begin..] {
                rolled.sketch = Some(Sketch::from_bytes(section(&mut rest)?)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rolled() -> impl Strategy<Value = Vec<Rolled>> {
        let one = (prop::collection::vec(-1e9..1e9, 1..20), 0..200_i64);
        (prop::collection::vec(one, 1..40), any::<bool>()).prop_map(|(steps, sketched)| {
            let mut start = 0;
            let mut all = Vec::new();
            for (values, gap) in steps {
                start += (1 + gap) * 60_000;
                let mut rolled = Rolled::of(start, start, values[0], sketched);
                (1..).zip(&values[1..]).for_each(|(at, value)| rolled.add(start + at * 7, *value));
                all.push(rolled);
            }
            all
        })
    }

    proptest! {
        #[test]
        fn roll_ups_are_read_back_as_they_were(rolled in rolled(), thorough in any::<bool>()) {
            let mut block = Vec::new();
            Encoder::new(thorough).unwrap().encode_rolled(60_000, &rolled, &mut block);
            let (mut decoder, mut back, mut bare) = (Decoder::new().unwrap(), Vec::new(), Vec::new());
            decoder.decode_rolled(&block, true, &mut back).unwrap();
            prop_assert_eq!(&back, &rolled);
            decoder.decode_rolled(&block, false, &mut bare).unwrap();
            prop_assert!(bare.iter().all(|rolled| rolled.sketch.is_none()));
            prop_assert_eq!(decoder.decode(&block, &mut crate::Samples::default()), Err(Malformed));
            prop_assert_eq!(super::super::summary(&block), Ok(None));
            block[3] ^= 1;
            prop_assert_eq!(decoder.decode_rolled(&block, true, &mut back), Err(Malformed));
        }

        #[test]
        fn roll_ups_merge_in_any_order(rolled in rolled(), at in any::<prop::sample::Index>()) {
            let all = |order: &[Rolled]| {
                let mut merged = order[0].clone();
                order[1..].iter().for_each(|other| merged.merge(other));
                merged
            };
            let mut turned = rolled.clone();
            turned.rotate_left(at.index(rolled.len()));
            let (a, b) = (all(&rolled), all(&turned));
            prop_assert_eq!((a.count, a.minimum, a.maximum, a.last, a.last_at), (b.count, b.minimum, b.maximum, b.last, b.last_at));
            prop_assert!((a.sum - b.sum).abs() <= 1e-9 * 1e9 * a.count as f64);
            for percent in [0.0, 50.0, 95.0, 100.0] {
                let of = |rolled: &Rolled| rolled.sketch.as_ref().map(|sketch| sketch.percentile(percent));
                prop_assert_eq!(of(&a), of(&b));
            }
        }
    }
}
