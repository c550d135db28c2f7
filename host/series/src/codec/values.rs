//! The values of a block: doubles, bit for bit.
//!
//! Most measurements are decimals of few digits. Where every value of a block is a whole number over one power of ten,
//! those whole numbers are kept; where not, the doubles themselves, through pco or as they are.

use super::{Decoder, Encoder, Malformed, unpack_pco, varint};

/// One value for all.
const CONSTANT: u8 = 0;
/// Eight bytes each.
const RAW: u8 = 1;
/// The doubles through pco.
const PCO: u8 = 2;
/// Decimals; differences as they are, compressed with zstd, or through pco.
const DECIMAL: u8 = 3;
const DECIMAL_ZSTD: u8 = 4;
const DECIMAL_PCO: u8 = 5;

/// Powers of ten up to here and whole numbers below 2^53 are exact as doubles, so that their quotient is the double
/// nearest to the decimal: what a decimal text was read as.
const MAX_SCALE: usize = 15;
const POWERS: [f64; MAX_SCALE + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Adds `values`, at least one, behind a codec byte.
pub(super) fn encode(encoder: &mut Encoder, values: &[f64], out: &mut Vec<u8>) {
    let first = values[0].to_bits();
    if values.len() > 1 && values.iter().all(|value| value.to_bits() == first) {
        out.push(CONSTANT);
        out.extend_from_slice(&first.to_le_bytes());
        return;
    }
    let raw = values.len() * 8;
    let (mut codec, mut best) = (RAW, Vec::new());
    let mut keep = |candidate: u8, bytes: Vec<u8>| {
        if bytes.len() < if codec == RAW { raw } else { best.len() } {
            (codec, best) = (candidate, bytes);
        }
    };
    let pco = values.len() >= super::PCO_FROM;
    if let Some((scale, numbers)) = decimals(values) {
        let mut differences = vec![scale as u8];
        let mut before = 0_i64;
        for number in &numbers {
            varint::put_signed(&mut differences, number - before);
            before = *number;
        }
        if let Some(mut smaller) = encoder.zstd(&differences[1..]) {
            smaller.insert(0, scale as u8);
            keep(DECIMAL_ZSTD, smaller);
        }
        keep(DECIMAL, differences);
        let mut packed = vec![scale as u8];
        if pco && encoder.thorough && encoder.pco(&numbers, &mut packed) {
            keep(DECIMAL_PCO, packed);
        }
    } else if pco {
        let mut packed = Vec::new();
        if encoder.pco(values, &mut packed) {
            keep(PCO, packed);
        }
    }
    out.push(codec);
    if codec == RAW {
        values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
    } else {
        out.extend_from_slice(&best);
    }
}

/// The least power of ten under which every value is a whole number, and those numbers.
fn decimals(values: &[f64]) -> Option<(usize, Vec<i64>)> {
    let mut scale = 0;
    for value in values {
        while whole(*value, scale).is_none() {
            scale += 1;
            if scale > MAX_SCALE {
                return None;
            }
        }
    }
    // A larger scale can push an earlier value beyond what is exact.
    let numbers = values.iter().map(|value| whole(*value, scale)).collect::<Option<Vec<i64>>>()?;
    Some((scale, numbers))
}

/// `value` times ten to the `scale`, if that is whole and gives `value` back bit for bit.
fn whole(value: f64, scale: usize) -> Option<i64> {
    let scaled = (value * POWERS[scale]).round();
    if scaled.abs() < EXACT && (scaled as i64 as f64 / POWERS[scale]).to_bits() == value.to_bits() {
        Some(scaled as i64)
    } else {
        None
    }
}

/// Reads `count` values.
pub(super) fn decode(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    count: usize,
    values: &mut Vec<f64>,
) -> Result<(), Malformed> {
    let codec = varint::take_bytes(&mut bytes, 1).ok_or(Malformed)?[0];
    match codec {
        CONSTANT => {
            let bits = bytes.try_into().map_err(|_| Malformed)?;
            values.resize(values.len() + count, f64::from_bits(u64::from_le_bytes(bits)));
        }
        RAW => {
            let (all, rest) = bytes.as_chunks::<8>();
            if all.len() != count || !rest.is_empty() {
                return Err(Malformed);
            }
            values.extend(all.iter().map(|bits| f64::from_bits(u64::from_le_bytes(*bits))));
        }
        PCO => values.extend(unpack_pco::<f64>(bytes, count)?),
        DECIMAL | DECIMAL_ZSTD | DECIMAL_PCO => {
            let scale = usize::from(varint::take_bytes(&mut bytes, 1).ok_or(Malformed)?[0]);
            let power = *POWERS.get(scale).ok_or(Malformed)?;
            match codec {
                DECIMAL => differences(bytes, count, power, values)?,
                DECIMAL_ZSTD => {
                    differences(decoder.zstd(bytes, count)?, count, power, values)?;
                }
                _ => {
                    let numbers = unpack_pco::<i64>(bytes, count)?;
                    values.extend(numbers.into_iter().map(|number| number as f64 / power));
                }
            }
        }
        _ => return Err(Malformed),
    }
    Ok(())
}

fn differences(mut bytes: &[u8], count: usize, power: f64, values: &mut Vec<f64>) -> Result<(), Malformed> {
    let (mut number, start) = (0_i64, values.len());
    values.resize(start + count, 0.0);
    for value in &mut values[start..] {
        number = number.wrapping_add(varint::take_signed(&mut bytes).ok_or(Malformed)?);
        *value = number as f64 / power;
    }
    Ok(())
}
