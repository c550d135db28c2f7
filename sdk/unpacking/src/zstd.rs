//! Frames of Zstandard, one behind the other: RFC 8878.

use std::io::{self, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Bytes of a window that is always taken: what every decoder should support (RFC 8878, 3.1.1.1.2).
const WINDOW: u64 = 8 << 20;

/// What the frames of a body hold, one byte more than `most` if there is more.
pub(crate) fn unpacked(body: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(4).min(most));
    let (mut rest, mut decoder) = (body, FrameDecoder::new());
    loop {
        if let Some(behind) = behind_skipped(rest)? {
            rest = behind;
        } else {
            // A window is memory a frame asks for before it gives anything.
            let largest = WINDOW.max(most as u64 * 2);
            if window(rest).is_some_and(|window| window > largest) {
                return Err(io::Error::other(format!("its window is above {largest} bytes")));
            }
            let frame =
                StreamingDecoder::new_with_decoder(&mut rest, &mut decoder).map_err(io::Error::other)?;
            frame.take((most + 1 - unpacked.len()) as u64).read_to_end(&mut unpacked)?;
        }
        // What lies behind a body that is too large already is not looked at.
        if rest.is_empty() || unpacked.len() > most {
            return Ok(unpacked);
        }
    }
}

/// What stands behind a frame that is to be passed over, if this is one: 3.1.2.
fn behind_skipped(body: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some(([magic, 0x2a, 0x4d, 0x18], rest)) = body.split_first_chunk() else { return Ok(None) };
    if magic & 0xf0 != 0x50 {
        return Ok(None);
    }
    let behind =
        rest.split_first_chunk().and_then(|(size, rest)| rest.get(u32::from_le_bytes(*size) as usize..));
    behind.map(Some).ok_or_else(|| io::Error::other("a frame to be passed over breaks off"))
}

/// The size of a frame's window, if it says one: 3.1.1.1. Frames that say none have all they hold for it.
fn window(frame: &[u8]) -> Option<u64> {
    let descriptor = *frame.get(4)?;
    if descriptor & 0x20 != 0 {
        let at = 5 + [0, 1, 2, 4][usize::from(descriptor & 3)];
        let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
        let mut size = [0; 8];
        size[..length].copy_from_slice(frame.get(at..at + length)?);
        return Some(u64::from_le_bytes(size).saturating_add(if length == 2 { 256 } else { 0 }));
    }
    let window = u64::from(*frame.get(5)?);
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * (window & 7))
}
