//! `POST /v1/metrics`: a request's points become the samples of series.
//!
//! To send it again changes nothing. A point that cannot be kept is left out and told as OTLP tells it, as part of a
//! success, which exporters do not send again; the other points are kept all the same.

mod batch;
mod beginning;
mod exponential;
mod points;

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, SeriesWrite};
use bellwether_sdk::series::{Gauges, Said};
use serde_json::json;

use crate::body::{Body, Encoding};
use crate::failure::Failure;
use crate::messages::{Answer, PartialSuccess};
use crate::settings::Mapping;
use batch::Batch;

/// `POST /v1/metrics`
pub(crate) fn metrics<H: SeriesRead + SeriesWrite>(
    host: &H,
    request: &Request<'_>,
    gauges: &Gauges<Said>,
) -> Response {
    taken(host, request, gauges).unwrap_or_else(|failure| failure.answer(request))
}

fn taken<H: SeriesRead + SeriesWrite>(
    host: &H,
    request: &Request<'_>,
    gauges: &Gauges<Said>,
) -> Result<Response, Failure> {
    let mapping: Mapping = request.settings()?;
    let body = Body::of(request)?;
    let mut batch = Batch::new(host, gauges);
    batch.read(&body, &mapping)?;
    // What is told of metrics is told again and again: no reason to have points sent again that are kept.
    let told =
        batch.told.keep(host).map_err(|error| format!("units and descriptions were not all kept: {error}"));
    let refused = (batch.refused > 0)
        .then(|| format!("{} data points were not kept; the first: {}", batch.refused, batch.reason));
    let said: Vec<String> = refused.into_iter().chain(batch.told.warning()).chain(told.err()).collect();
    Ok(success(body.encoding(), (!said.is_empty()).then(|| (batch.refused, said.join("; ")))))
}

/// The answer to a request that is taken, but for so many points, or with a warning.
fn success(encoding: Encoding, partial: Option<(i64, String)>) -> Response {
    let json = partial.as_ref().map_or_else(
        || json!({}),
        // Protobuf's JSON has whole numbers of 64 bits as texts.
        |(rejected, message)| {
            json!({ "partialSuccess": { "rejectedDataPoints": rejected.to_string(), "errorMessage": message } })
        },
    );
    let partial_success = partial
        .map(|(rejected_data_points, error_message)| PartialSuccess { rejected_data_points, error_message });
    encoding.answer(200, &Answer { partial_success }, &json)
}
