//! Remote write: a snappy block of protobuf, 1.0 or 2.0.
//!
//! A request is read once, from its bytes into the columns the host takes. To send it again changes nothing. What
//! cannot be kept (labels the host has no room for, native histograms) is left out and told with 400, which means "do
//! not send it again"; the rest of the request is kept all the same.

mod batch;
mod version_1;
mod version_2;

use bellwether_sdk::dialect::{IntoResponse, Request, Response};
use bellwether_sdk::host::{SeriesRead, SeriesWrite, State};

use crate::failure::Failure;
use batch::Batch;

/// Bytes of a request, unpacked: a hundred times what Prometheus sends by default, a quarter of what a call may hold.
const LARGEST: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// `POST /api/v1/write`
pub(crate) fn write<H: SeriesRead + SeriesWrite + State>(host: &H, request: &Request<'_>) -> Response {
    match version(request) {
        Err(failure) => failure.into_response(),
        Ok(Version::One) => taken(host, request, Version::One).1.into_response(),
        Ok(Version::Two) => {
            let (written, response) = taken(host, request, Version::Two);
            response
                .into_response()
                .header("x-prometheus-remote-write-samples-written", &written.to_string())
                .header("x-prometheus-remote-write-histograms-written", "0")
                .header("x-prometheus-remote-write-exemplars-written", "0")
        }
    }
}

/// The message a request says it carries.
fn version(request: &Request<'_>) -> Result<Version, Failure> {
    let said = request.header("content-type").unwrap_or_default();
    let mut parts = said.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let message = parts.find_map(|part| part.strip_prefix("proto=")).unwrap_or("prometheus.WriteRequest");
    if media_type.eq_ignore_ascii_case("application/x-protobuf") || media_type.is_empty() {
        match message {
            "prometheus.WriteRequest" => return Ok(Version::One),
            "io.prometheus.write.v2.Request" => return Ok(Version::Two),
            _ => {}
        }
    }
    Err(Failure::unsupported(format_args!(
        "content type {said:?}, expected application/x-protobuf;proto=prometheus.WriteRequest or \
         application/x-protobuf;proto=io.prometheus.write.v2.Request"
    )))
}

/// How many samples were kept, and the answer.
fn taken<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    request: &Request<'_>,
    version: Version,
) -> (usize, Result<Response, Failure>) {
    let batch = match batch(request, version) {
        Ok(batch) => batch,
        Err(failure) => return (0, Err(failure)),
    };
    if !batch.table.is_empty()
        && let Err(error) = host.write_table(&batch.table)
    {
        return (0, Err(error.into()));
    }
    // What is told of metrics is told again and again: no reason to have samples sent again that are kept.
    if let Err(failure) = batch.told.keep(host)
        && batch.samples == 0
    {
        return (0, Err(failure));
    }
    let answer = match batch.refused {
        0 => Ok(Response::status(204)),
        refused => Err(Failure::bad(format_args!(
            "{refused} series were not kept, {} samples of others were; the first: {}",
            batch.samples, batch.reason
        ))),
    };
    (batch.samples, answer)
}

fn batch(request: &Request<'_>, version: Version) -> Result<Batch, Failure> {
    let encoding = request.header("content-encoding").unwrap_or("snappy").trim();
    if !encoding.eq_ignore_ascii_case("snappy") {
        return Err(Failure::unsupported(format_args!("content encoding {encoding:?}, expected snappy")));
    }
    let wrong = |error: snap::Error| Failure::bad(format_args!("the body is no block of snappy: {error}"));
    let length = snap::raw::decompress_len(request.body()).map_err(wrong)?;
    if length > LARGEST {
        return Err(Failure::too_large(format_args!(
            "the body has {length} bytes, unpacked, expected at most {LARGEST}"
        )));
    }
    let body = snap::raw::Decoder::new().decompress_vec(request.body()).map_err(wrong)?;
    let mut batch = Batch::new(&body);
    let read = match version {
        Version::One => version_1::read(&body, &mut batch),
        Version::Two => version_2::read(&body, &mut batch),
    };
    read.map_err(|reason| Failure::bad(format_args!("the body is no message of this kind: {reason}")))?;
    Ok(batch)
}
