//! A request's body without its compression, within bounds: what unpacks to more than is taken is never unpacked whole.

use std::borrow::Cow;
use std::io::Read;

use bellwether_sdk::dialect::Request;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use crate::failure::Failure;

/// What a body may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Protobuf,
}

/// The media type, as its client says; JSON where it says none, or what clients say that do not think of it.
pub(crate) fn format(request: &Request<'_>) -> Result<Format, Failure> {
    let said = request.header("content-type").unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/x-protobuf" | "application/protobuf" | "application/vnd.google.protobuf" => {
            Ok(Format::Protobuf)
        }
        "" | "application/octet-stream" | "application/x-www-form-urlencoded" | "text/plain" => {
            Ok(Format::Json)
        }
        _ if media_type.ends_with("/json") || media_type.ends_with("+json") => Ok(Format::Json),
        _ => Err(unsupported(format_args!(
            "content type {media_type:?}, expected application/json or application/x-protobuf"
        ))),
    }
}

fn unsupported(reason: impl std::fmt::Display) -> Failure {
    Failure::new(415, format_args!("Unsupported media type: {reason}"))
}

/// The body, of at most `most` bytes once it is unpacked.
pub(crate) fn unpacked<'a>(request: &Request<'a>, most: usize) -> Result<Cow<'a, [u8]>, Failure> {
    let body = request.body();
    let encoding = request.header("content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    let unpacked = match encoding.as_str() {
        "" | "identity" => return within(Cow::Borrowed(body), most),
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body), body, most),
        "deflate" if is_zlib(body) => read(ZlibDecoder::new(body), body, most),
        // Some take the name at its word.
        "deflate" => read(DeflateDecoder::new(body), body, most),
        "zstd" | "zstd1" => zstd(body, most),
        _ => {
            let expected = "expected deflate, gzip, zstd1 or none";
            return Err(unsupported(format_args!("content encoding {encoding:?}, {expected}")));
        }
    };
    let unpacked = unpacked.map_err(|error| {
        Failure::bad(format_args!("Unable to decompress the {encoding} payload: {error}"))
    })?;
    within(Cow::Owned(unpacked), most)
}

fn within(body: Cow<'_, [u8]>, most: usize) -> Result<Cow<'_, [u8]>, Failure> {
    if body.len() > most {
        return Err(Failure::too_large(format_args!("at most {most} bytes are taken, uncompressed")));
    }
    Ok(body)
}

/// Two bytes of RFC 1950: method 8, and together a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// What a decoder gives, one byte more than `most` if there is more.
fn read(decoder: impl Read, packed: &[u8], most: usize) -> std::io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity((packed.len() * 4).min(most));
    decoder.take(most as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

fn zstd(body: &[u8], most: usize) -> std::io::Result<Vec<u8>> {
    // A window is memory a frame asks for before it gives anything.
    if window(body).is_some_and(|window| window > most as u64 * 2) {
        return Err(std::io::Error::other(
            format_args!("its window is above {} bytes", most * 2).to_string(),
        ));
    }
    let mut rest = body;
    let decoder = StreamingDecoder::new(&mut rest).map_err(std::io::Error::other)?;
    read(decoder, body, most)
}

/// The size of a frame's window, if it says one: RFC 8878, 3.1.1.1. Frames that say none have all they hold for it.
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
