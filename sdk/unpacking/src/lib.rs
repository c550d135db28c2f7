//! A body without its compression, within bounds, for dialects that are sent it packed: what unpacks to more than is
//! taken is never unpacked whole.
//!
//! ```
//! use bellwether_unpacking::{Unpacking, unpacked};
//!
//! assert_eq!(unpacked("identity", b"as it is", 8).as_deref(), Ok(&b"as it is"[..]));
//! assert_eq!(unpacked("", b"too large", 8), Err(Unpacking::TooLarge));
//! assert_eq!(unpacked("br", b"", 8), Err(Unpacking::Unknown));
//! assert!(matches!(unpacked("gzip", b"no gzip", 8), Err(Unpacking::Broken(_))));
//! ```

mod zstd;

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::bufread::{DeflateDecoder, ZlibDecoder};
use flate2::read::MultiGzDecoder;

/// What a body is expected to be packed with, for who words a refusal.
pub const EXPECTED: &str = "deflate, gzip, zstd or none";

/// Why a body does not unpack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpacking {
    /// The encoding is none of those known here.
    #[error("it is none of {EXPECTED}")]
    Unknown,
    /// It is not what its encoding says, or breaks off; says where it fails.
    #[error("{0}")]
    Broken(String),
    /// It is larger than is taken, unpacked.
    #[error("it is larger than is taken, unpacked")]
    TooLarge,
}

/// A body of at most `most` bytes once it is unpacked, by the value of its `Content-Encoding`: `gzip`, `deflate` with or
/// without the frame of zlib, `zstd`, `identity`, or nothing. Members of gzip and frames of zstd may stand one behind the
/// other.
///
/// # Errors
/// [`Unpacking`].
pub fn unpacked<'a>(encoding: &str, body: &'a [u8], most: usize) -> Result<Cow<'a, [u8]>, Unpacking> {
    let unpacked = match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => return within(Cow::Borrowed(body), most),
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body), body, most),
        "deflate" => {
            let mut behind = body;
            let unpacked = if is_zlib(body) {
                read(ZlibDecoder::new(&mut behind), body, most)
            } else {
                // Some take the name at its word.
                read(DeflateDecoder::new(&mut behind), body, most)
            };
            unpacked.and_then(|unpacked| alone(unpacked, behind.len(), most))
        }
        // The latter is Datadog's name for it.
        "zstd" | "zstd1" => zstd::unpacked(body, most),
        _ => return Err(Unpacking::Unknown),
    };
    within(Cow::Owned(unpacked.map_err(|error| Unpacking::Broken(error.to_string()))?), most)
}

fn within(body: Cow<'_, [u8]>, most: usize) -> Result<Cow<'_, [u8]>, Unpacking> {
    if body.len() > most { Err(Unpacking::TooLarge) } else { Ok(body) }
}

/// Two bytes of RFC 1950: method 8, and together a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// What a decoder gives, one byte more than `most` if there is more.
fn read(decoder: impl Read, packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(packed.len().saturating_mul(4).min(most));
    decoder.take(most as u64 + 1).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// What was unpacked, of a format that knows no second stream behind its first.
fn alone(unpacked: Vec<u8>, behind: usize, most: usize) -> io::Result<Vec<u8>> {
    // A body that is too large already has not been read to its end.
    if behind > 0 && unpacked.len() <= most {
        return Err(io::Error::other(format!("{behind} bytes stand behind the end of its stream")));
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn packed(encoding: &str, body: &[u8]) -> Vec<u8> {
        let level = Compression::default();
        let written = |mut encoder: Box<dyn Write + '_>| encoder.write_all(body).expect("into memory");
        let mut out = Vec::new();
        match encoding {
            "gzip" => written(Box::new(GzEncoder::new(&mut out, level))),
            "deflate" => written(Box::new(ZlibEncoder::new(&mut out, level))),
            "raw" => written(Box::new(DeflateEncoder::new(&mut out, level))),
            _ => out = ::zstd::encode_all(body, 3).expect("into memory"),
        }
        out
    }

    fn broken(encoding: &str, body: &[u8]) -> String {
        match unpacked(encoding, body, 1 << 20) {
            Err(Unpacking::Broken(reason)) => reason,
            other => panic!("{encoding}: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_to_the_last_byte_or_refused(body in prop::collection::vec(0..4_u8, 0..5000)) {
            for (how, encoding) in [("gzip", "X-Gzip"), ("deflate", "deflate"), ("raw", " deflate "), ("zstd", "zstd1")] {
                let packed = packed(how, &body);
                let most = body.len();
                prop_assert_eq!(unpacked(encoding, &packed, most), Ok(Cow::from(&body)));
                if most > 0 {
                    prop_assert_eq!(unpacked(encoding, &packed, most - 1), Err(Unpacking::TooLarge));
                }
            }
        }

        #[test]
        fn whatever_comes_is_unpacked_within_its_bound_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let frame = [&[0x28, 0xb5, 0x2f, 0xfd][..], &body].concat();
            for encoding in ["gzip", "deflate", "zstd"] {
                for body in [&body, &frame] {
                    prop_assert!(unpacked(encoding, body, 1000).map_or(true, |unpacked| unpacked.len() <= 1000));
                }
            }
        }
    }

    #[test]
    fn what_stands_behind_a_frame_is_unpacked_too_or_refused() {
        for encoding in ["gzip", "zstd"] {
            let two = [packed(encoding, b"one, "), packed(encoding, b"two")].concat();
            assert_eq!(unpacked(encoding, &two, 8).as_deref(), Ok(&b"one, two"[..]));
            assert_eq!(unpacked(encoding, &two, 7), Err(Unpacking::TooLarge), "the bound is of all");
            let half = &two[..two.len() - 2];
            assert!(!broken(encoding, half).is_empty());
            assert!(!broken(encoding, &[&two[..], b"more"].concat()).is_empty());
        }
        // Eight bytes to be passed over: RFC 8878, 3.1.2.
        let skipped = [&[0x5f, 0x2a, 0x4d, 0x18, 8, 0, 0, 0][..], b"whatever"].concat();
        let three = [&skipped[..], &packed("zstd", b"one"), &skipped].concat();
        assert_eq!(unpacked("zstd", &three, 8).as_deref(), Ok(&b"one"[..]));
        assert!(broken("zstd", &skipped[..10]).contains("breaks off"));
        assert!(!broken("zstd", b"").is_empty(), "nothing is no frame");
    }

    #[test]
    fn what_stands_behind_a_stream_of_deflate_is_refused() {
        for how in ["deflate", "raw"] {
            let one = packed(how, b"one");
            for behind in [&one[..], b"\0", b"more"] {
                let both = [&one[..], behind].concat();
                let expected = format!("{} bytes stand behind the end of its stream", behind.len());
                assert_eq!(broken("deflate", &both), expected, "{how}");
                assert_eq!(unpacked("deflate", &both, 2), Err(Unpacking::TooLarge), "{how}");
            }
        }
    }

    #[test]
    fn a_frame_that_asks_for_much_memory_is_refused_before_it_has_it() {
        // A frame that asks for a window of 2 TiB, and one that says it holds as much; behind one that is good, too.
        for frame in [
            [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0, 0, 0, 0, 0, 0, 0],
            [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 2, 0, 0],
        ] {
            assert!(broken("zstd", &frame).contains("window"));
            assert!(broken("zstd", &[&packed("zstd", b"one")[..], &frame].concat()).contains("window"));
        }
    }
}
