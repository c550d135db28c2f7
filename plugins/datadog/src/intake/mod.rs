//! Points in: `series` v1 and v2, and `distribution_points`.
//!
//! A payload is read once, from its bytes into the columns the host takes: no tree is built, and no text is copied but
//! into those columns. What a payload says of its metrics beside their samples is kept where it is new.

mod batch;
mod json;
mod protobuf;
pub(crate) mod text;
pub(crate) mod value;

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, SeriesWrite, State};
use bellwether_sdk::series::Gauges;
use serde_json::json;

use batch::Batch;
pub(crate) use batch::Told;

use crate::body::{self, Format};
use crate::failure::Failure;
use crate::metadata::Learning;
use json::Points;

/// Bytes of a v2 payload, unpacked: Datadog's limit.
const LARGEST_V2: usize = 5 << 20;

/// Metrics an answer warns of.
const WARNINGS: usize = 10;

/// Bytes of a v1 payload, unpacked. Datadog takes 60 MiB, which is what a call may hold here.
const LARGEST_V1: usize = 8 << 20;

/// `POST /api/v1/series`
pub(crate) fn series_v1<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    request: &Request<'_>,
    gauges: &Gauges<Told>,
) -> Result<Response, Failure> {
    v1(host, request, gauges, Points::Single)
}

/// `POST /api/v2/series`
pub(crate) fn series_v2<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    request: &Request<'_>,
    gauges: &Gauges<Told>,
) -> Result<Response, Failure> {
    let batch = match body::format(request)? {
        Format::Json => json(request, Points::Single, LARGEST_V2)?,
        Format::Protobuf => {
            let body = body::unpacked(request, LARGEST_V2)?;
            let mut batch = Batch::new(&body);
            protobuf::read(&body, &mut batch).map_err(Failure::format)?;
            batch
        }
    };
    Ok(Response::json(202, &json!({ "errors": write(host, &batch, gauges)? })))
}

/// `POST /api/v1/distribution_points`
pub(crate) fn distributions<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    request: &Request<'_>,
    gauges: &Gauges<Told>,
) -> Result<Response, Failure> {
    v1(host, request, gauges, Points::Distribution)
}

fn v1<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    request: &Request<'_>,
    gauges: &Gauges<Told>,
    points: Points,
) -> Result<Response, Failure> {
    if body::format(request)? != Format::Json {
        return Err(Failure::new(415, "Unsupported media type: protobuf is taken at /api/v2/series"));
    }
    // Clients of the first version take an answer with `errors` for a failure.
    Ok(match &*write(host, &json(request, points, LARGEST_V1)?, gauges)? {
        [] => Response::json(202, &json!({ "status": "ok" })),
        warnings => Response::json(202, &json!({ "status": "ok", "warnings": warnings })),
    })
}

fn json(request: &Request<'_>, points: Points, most: usize) -> Result<Batch, Failure> {
    let body = body::unpacked(request, most)?;
    let mut batch = match points {
        Points::Single => Batch::new(&body),
        Points::Distribution => Batch::of_distributions(&body),
    };
    json::read(&body, points, &mut batch).map_err(Failure::format)?;
    Ok(batch)
}

/// First what metrics are that nobody knows, then their samples, then what else is new. Gives what is to be said of those
/// that came as something else than they are.
fn write<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    batch: &Batch,
    gauges: &Gauges<Told>,
) -> Result<Vec<String>, Failure> {
    let (learning, mut warnings) = Learning::begin(host, batch.told(), gauges)?;
    warnings.truncate(WARNINGS);
    if !batch.table().is_empty() {
        host.write_table(batch.table())?;
    }
    // What is told of metrics is told again: no reason to have samples sent again that are kept.
    if let Err(failure) = learning.keep(host) {
        warnings.push(format!("units, sources and intervals were not all kept: {failure}"));
    }
    Ok(warnings)
}
