//! How puts and deletes are written one behind the other, in the journal and in backups: key length (u16), value
//! length (u32, or [`DELETED`]), key, value; numbers are little-endian.

use bytes::{BufMut, Bytes};

use crate::Key;

const DELETED: u32 = u32::MAX;

/// Adds one row to `out`; `None` is a removed one.
pub(crate) fn put_row(out: &mut Vec<u8>, key: &Key, value: Option<&Bytes>) {
    let key = key.as_bytes();
    out.put_u16_le(u16::try_from(key.len()).expect("keys are limited"));
    let length = value.map_or(DELETED, |value| u32::try_from(value.len()).expect("values are limited"));
    out.put_u32_le(length);
    out.extend_from_slice(key);
    out.extend_from_slice(value.map_or(&[], |value| &value[..]));
}

/// The first row of `bytes`, its value unless it is a removed one, and the rest; `None` if the lengths do not fit.
#[expect(clippy::type_complexity, reason = "three slices of one")]
pub(crate) fn split_row(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>, &[u8])> {
    let (key_length, rest) = bytes.split_first_chunk::<2>()?;
    let (value_length, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u16::from_le_bytes(*key_length).into())?;
    match u32::from_le_bytes(*value_length) {
        DELETED => Some((key, None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(length as usize)?;
            Some((key, Some(value), rest))
        }
    }
}
