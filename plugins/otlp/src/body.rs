//! A request's body: in which encoding it and its answer are, and what it is without its compression.

use std::borrow::Cow;

use bellwether_sdk::dialect::{Request, Response, from_json};
use bellwether_unpacking::{EXPECTED, Unpacking};
use prost::Message;

use crate::failure::Failure;
use crate::json::Object;
use crate::messages;

/// Bytes of a request, unpacked: what OTLP's receivers over gRPC take. A collector's batch of 8,192 points has some two
/// million; what is read of one takes up to eight times its bytes, and a call may hold 64 MiB.
const LARGEST: usize = 4 << 20;

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

/// The message a request carries, and how it is written.
pub(crate) fn message(request: &Request<'_>) -> Result<(Encoding, messages::Request), Failure> {
    let encoding = Encoding::of(request).ok_or_else(|| {
        let said = request.header("content-type").unwrap_or_default();
        let (protobuf, json) = (Encoding::PROTOBUF, Encoding::JSON);
        Failure::unsupported(format_args!("content-type is {said:?}, expected {protobuf} or {json}"))
    })?;
    let body = unpacked(request)?;
    let message = match encoding {
        Encoding::Protobuf => messages::Request::decode(&*body).map_err(|error| {
            Failure::bad(format_args!("the body is no ExportMetricsServiceRequest: {error}"))
        })?,
        Encoding::Json => {
            let Object(message) = from_json("the body", &body).map_err(|error| {
                Failure::bad(format_args!("the body is no ExportMetricsServiceRequest: {error}"))
            })?;
            message
        }
    };
    Ok((encoding, message))
}

fn unpacked<'a>(request: &Request<'a>) -> Result<Cow<'a, [u8]>, Failure> {
    let encoding = request.header("content-encoding").unwrap_or_default();
    bellwether_unpacking::unpacked(encoding, request.body(), LARGEST).map_err(|error| match error {
        Unpacking::Unknown => {
            Failure::unsupported(format_args!("content-encoding is {encoding:?}, expected {EXPECTED}"))
        }
        Unpacking::Broken(reason) => Failure::bad(format_args!("the body is no {encoding}: {reason}")),
        Unpacking::TooLarge => {
            Failure::too_large(format_args!("the body has more than {LARGEST} bytes, unpacked"))
        }
    })
}
