//! A request's body: in which encoding it and its answer are, and what it is without its compression.

use std::borrow::Cow;

use bellwether_sdk::dialect::{Request, Response, from_json};
use bellwether_unpacking::{EXPECTED, Unpacking};
use prost::Message;

use crate::failure::Failure;
use crate::json::Object;
use crate::messages;

/// Bytes of a request in protobuf, unpacked, of which a metric is read at a time. A collector's batch of 8,192 points has
/// some two million, but one that it was sent at once is as large as that was, unless a maximum is set.
const LARGEST: usize = 16 << 20;

/// Bytes of what is read at once, a request in JSON or one metric in protobuf: read, it takes up to eight times as many, and a
/// call may hold 64 MiB.
pub(crate) const AT_ONCE: usize = 4 << 20;

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    const PROTOBUF: &str = "application/x-protobuf";
    const JSON: &str = "application/json";

    /// What a request says it is in, if it is one of the two.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let said = request.header("content-type").unwrap_or_default();
        let media_type = said.split(';').next().unwrap_or_default().trim();
        [(Self::Protobuf, Self::PROTOBUF), (Self::Json, Self::JSON)]
            .into_iter()
            .find_map(|(encoding, name)| media_type.eq_ignore_ascii_case(name).then_some(encoding))
    }

    /// An answer in it.
    pub(crate) fn answer(self, status: u16, message: &impl Message, json: &serde_json::Value) -> Response {
        match self {
            Self::Protobuf => Response::new(status, Self::PROTOBUF, message.encode_to_vec()),
            Self::Json => Response::json(status, json),
        }
    }
}

/// An `ExportMetricsServiceRequest`.
pub(crate) enum Body<'a> {
    /// As it came, without its compression.
    Protobuf(Cow<'a, [u8]>),
    Json(messages::Request),
}

impl<'a> Body<'a> {
    pub(crate) fn of(request: &Request<'a>) -> Result<Self, Failure> {
        match Encoding::of(request) {
            None => {
                let said = request.header("content-type").unwrap_or_default();
                let (protobuf, json) = (Encoding::PROTOBUF, Encoding::JSON);
                Err(Failure::unsupported(format_args!(
                    "content-type is {said:?}, expected {protobuf} or {json}"
                )))
            }
            Some(Encoding::Protobuf) => Ok(Self::Protobuf(unpacked(request, LARGEST)?)),
            Some(Encoding::Json) => {
                let body = unpacked(request, AT_ONCE)?;
                let Object(message) = from_json("the body", &body).map_err(Failure::message)?;
                Ok(Self::Json(message))
            }
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        match self {
            Self::Protobuf(_) => Encoding::Protobuf,
            Self::Json(_) => Encoding::Json,
        }
    }
}

fn unpacked<'a>(request: &Request<'a>, most: usize) -> Result<Cow<'a, [u8]>, Failure> {
    let encoding = request.header("content-encoding").unwrap_or_default();
    bellwether_unpacking::unpacked(encoding, request.body(), most).map_err(|error| match error {
        Unpacking::Unknown => {
            Failure::unsupported(format_args!("content-encoding is {encoding:?}, expected {EXPECTED}"))
        }
        Unpacking::Broken(reason) => Failure::bad(format_args!("the body is no {encoding}: {reason}")),
        Unpacking::TooLarge => {
            Failure::too_large(format_args!("the body has more than {most} bytes, unpacked"))
        }
    })
}
