//! Metrics in OpenTelemetry's protocol: OTLP 1.x over HTTP, in protobuf and in JSON, over tagged series.
//!
//! Exporters and collectors prove themselves with `Authorization: Bearer <key>`, or HTTP basic authentication with the
//! key as its password. Names become what OpenTelemetry's compatibility with Prometheus says, or stay as they are,
//! which each organisation sets.
//!
//! What becomes of a data point: `docs/guide/otlp.md`.

mod body;
mod failure;
mod intake;
mod json;
mod messages;
mod metadata;
mod names;
mod settings;
mod tags;

use bellwether_sdk::dialect::{Authentication, Router, dialect};
use bellwether_sdk::host::{SeriesRead, SeriesWrite};
use bellwether_sdk::series::Gauges;

use failure::Failure;
use settings::Mapping;

const METRICS: &str = "/v1/metrics";

/// OpenTelemetry's protocol over HTTP, for unchanged exporters and collectors.
#[dialect]
pub fn routes<H: SeriesRead + SeriesWrite>() -> Router<H> {
    let gauges = Gauges::default();
    Router::new()
        .settings::<Mapping>()
        .refuse_request(|failure, request| Failure::refusal(failure).answer(request))
        .authenticate(Authentication::BEARER_OR_BASIC)
        .post(METRICS, move |host, request| intake::metrics(host, request, &gauges))
        .authenticate(&[])
        .any(METRICS, |_, request| Failure::method(request, "POST").answer(request))
        .fallback(|_, request| Failure::path(request).answer(request))
}

#[cfg(test)]
mod tests;
