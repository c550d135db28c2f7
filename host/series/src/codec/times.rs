//! The times of a block: milliseconds in any order, cheapest where they are regular.
//!
//! What is kept is how much each step differs from the step before. Arithmetic wraps, so every value is representable.

use super::{Decoder, Encoder, Malformed, unpack_pco, varint};

/// First and step; the rest follows.
const REGULAR: u8 = 0;
/// Changes of the step, as they are.
const CHANGES: u8 = 1;
/// The same, compressed with zstd.
const CHANGES_ZSTD: u8 = 2;
/// The steps, in pco's form, first time before them.
const STEPS_PCO: u8 = 3;

/// Adds `times`, at least one, behind a codec byte.
pub(super) fn encode(encoder: &mut Encoder, times: &[i64], out: &mut Vec<u8>) {
    let step_of = |pair: &[i64]| pair[1].wrapping_sub(pair[0]);
    let step = times.get(..2).map_or(0, step_of);
    if times.windows(2).all(|pair| step_of(pair) == step) {
        out.push(REGULAR);
        varint::put_signed(out, times[0]);
        varint::put_signed(out, step);
        return;
    }
    let mut changes = Vec::with_capacity(times.len() * 2);
    varint::put_signed(&mut changes, times[0]);
    let mut before = 0_i64;
    for pair in times.windows(2) {
        let step = step_of(pair);
        varint::put_signed(&mut changes, step.wrapping_sub(before));
        before = step;
    }
    let (mut codec, mut best) = (CHANGES, changes);
    if let Some(smaller) = encoder.zstd(&best) {
        (codec, best) = (CHANGES_ZSTD, smaller);
    }
    // Jitter around a step is noise that zstd's bytes cannot follow and pco's bits can.
    if encoder.thorough && times.len() >= super::PCO_FROM {
        let steps: Vec<i64> = times.windows(2).map(step_of).collect();
        let mut packed = Vec::new();
        varint::put_signed(&mut packed, times[0]);
        if encoder.pco(&steps, &mut packed) && packed.len() < best.len() {
            (codec, best) = (STEPS_PCO, packed);
        }
    }
    out.push(codec);
    out.extend_from_slice(&best);
}

/// Reads `count` times.
pub(super) fn decode(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    count: usize,
    times: &mut Vec<i64>,
) -> Result<(), Malformed> {
    let codec = varint::take_bytes(&mut bytes, 1).ok_or(Malformed)?[0];
    match codec {
        REGULAR => {
            let time = varint::take_signed(&mut bytes).ok_or(Malformed)?;
            let step = varint::take_signed(&mut bytes).ok_or(Malformed)?;
            times.extend((0..count as i64).map(|at| time.wrapping_add(step.wrapping_mul(at))));
        }
        CHANGES => changes(bytes, count, times)?,
        CHANGES_ZSTD => {
            changes(decoder.zstd(bytes, count)?, count, times)?;
        }
        STEPS_PCO => {
            let mut time = varint::take_signed(&mut bytes).ok_or(Malformed)?;
            times.push(time);
            for step in unpack_pco::<i64>(bytes, count - 1)? {
                time = time.wrapping_add(step);
                times.push(time);
            }
        }
        _ => return Err(Malformed),
    }
    Ok(())
}

fn changes(mut bytes: &[u8], count: usize, times: &mut Vec<i64>) -> Result<(), Malformed> {
    let mut time = varint::take_signed(&mut bytes).ok_or(Malformed)?;
    times.push(time);
    let mut step = 0_i64;
    for _ in 1..count {
        step = step.wrapping_add(varint::take_signed(&mut bytes).ok_or(Malformed)?);
        time = time.wrapping_add(step);
        times.push(time);
    }
    Ok(())
}
