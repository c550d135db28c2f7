//! A request's body: in which format it is, and what it is without its compression.

use std::borrow::Cow;

use bellwether_sdk::dialect::Request;
use bellwether_unpacking::{EXPECTED, Unpacking};

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
    let encoding = request.header("content-encoding").unwrap_or_default();
    bellwether_unpacking::unpacked(encoding, request.body(), most).map_err(|error| match error {
        Unpacking::Unknown => unsupported(format_args!("content encoding {encoding:?}, expected {EXPECTED}")),
        Unpacking::Broken(reason) => {
            Failure::bad(format_args!("Unable to decompress the {encoding} payload: {reason}"))
        }
        Unpacking::TooLarge => {
            Failure::too_large(format_args!("at most {most} bytes are taken, uncompressed"))
        }
    })
}
