//! Prometheus' HTTP API over tagged series: remote write in (1.0 and 2.0), PromQL and what is known of series out.
//!
//! Callers prove themselves as Prometheus' and Grafana's clients can be told to: `Authorization: Bearer <token>`, or
//! HTTP basic authentication with the token as its password. A label is a tag `name:value`, `__name__` the metric.
//!
//! Where this is not as Prometheus is: `docs/guide/prometheus.md`.

mod answer;
mod catalogue;
mod failure;
mod form;
mod intake;
mod metadata;
mod parameters;
mod promql;
mod query;

use bellwether_sdk::dialect::{Authentication, Router, dialect};
use bellwether_sdk::host::{Clock, SeriesRead, SeriesWrite, State};

use failure::Failure;

const WRITE: &str = "/api/v1/write";
const QUERY: &str = "/api/v1/query";
const QUERY_RANGE: &str = "/api/v1/query_range";
const SERIES: &str = "/api/v1/series";
const LABELS: &str = "/api/v1/labels";
const VALUES: &str = "/api/v1/label/{name}/values";
const METADATA: &str = "/api/v1/metadata";
const EXEMPLARS: &str = "/api/v1/query_exemplars";
const RULES: &str = "/api/v1/rules";
const ALERTS: &str = "/api/v1/alerts";
const BUILD: &str = "/api/v1/status/buildinfo";

/// Prometheus' API, for unchanged Prometheus servers, agents and Grafana.
#[dialect]
pub fn routes<H: SeriesRead + SeriesWrite + State + Clock>() -> Router<H> {
    Router::new()
        .refuse(Failure::refusal)
        .authenticate(Authentication::BEARER_OR_BASIC)
        .post(WRITE, intake::write)
        .get(QUERY, query::instant)
        .post(QUERY, query::instant)
        .get(QUERY_RANGE, query::range)
        .post(QUERY_RANGE, query::range)
        .get(SERIES, catalogue::series)
        .post(SERIES, catalogue::series)
        .get(LABELS, catalogue::labels)
        .post(LABELS, catalogue::labels)
        .get(VALUES, catalogue::values)
        .get(METADATA, metadata::list)
        .get(EXEMPLARS, |_, request| query::exemplars(request))
        .post(EXEMPLARS, |_, request| query::exemplars(request))
        .get(RULES, |_, _| answer::none("groups"))
        .get(ALERTS, |_, _| answer::none("alerts"))
        .get(BUILD, |_, _| answer::build())
        .authenticate(&[])
        .any(WRITE, |_, request| Failure::method(request, "POST"))
        .any(QUERY, |_, request| Failure::method(request, "GET, POST"))
        .any(QUERY_RANGE, |_, request| Failure::method(request, "GET, POST"))
        .any(SERIES, |_, request| Failure::method(request, "GET, POST"))
        .any(LABELS, |_, request| Failure::method(request, "GET, POST"))
        .any(VALUES, |_, request| Failure::method(request, "GET"))
        .any(METADATA, |_, request| Failure::method(request, "GET"))
        .any(EXEMPLARS, |_, request| Failure::method(request, "GET, POST"))
        .any(RULES, |_, request| Failure::method(request, "GET"))
        .any(ALERTS, |_, request| Failure::method(request, "GET"))
        .fallback(|_, request| Failure::path(request))
}

#[cfg(test)]
mod tests;
