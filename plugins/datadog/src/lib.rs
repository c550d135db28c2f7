//! The data side of Datadog's API over tagged series: points in by `series` v1 and v2 and `distribution_points`, out by
//! `query`, `search`, active metrics, metadata and tags.
//!
//! Submissions ask for `DD-API-KEY`, everything else for `DD-APPLICATION-KEY`, in a header or, as old clients do, in the
//! query (`api_key`, `application_key`). Each holds a key of Bellwether's; both may hold the same.
//!
//! Where this is not as Datadog is: `docs/guide/datadog.md`.

mod body;
mod failure;
mod formula;
mod intake;
mod metadata;
mod metrics;
mod parameters;
mod query;
mod unit;

use bellwether_sdk::dialect::{Authentication, Response, Router, dialect};
use bellwether_sdk::host::{Clock, SeriesRead, SeriesWrite, State};

use failure::Failure;

/// Who submits.
const API_KEY: &[Authentication] =
    &[Authentication::HeaderKey("dd-api-key"), Authentication::QueryKey("api_key")];

/// Who reads, and who changes what is known of a metric.
const APPLICATION_KEY: &[Authentication] =
    &[Authentication::HeaderKey("dd-application-key"), Authentication::QueryKey("application_key")];

const VALIDATE: &str = "/api/v1/validate";
const SERIES_V1: &str = "/api/v1/series";
const SERIES_V2: &str = "/api/v2/series";
const DISTRIBUTIONS: &str = "/api/v1/distribution_points";
const QUERY: &str = "/api/v1/query";
const TIMESERIES: &str = "/api/v2/query/timeseries";
const SCALAR: &str = "/api/v2/query/scalar";
const SEARCH: &str = "/api/v1/search";
const ACTIVE: &str = "/api/v1/metrics";
const METADATA: &str = "/api/v1/metrics/{metric}";
const METRICS: &str = "/api/v2/metrics";
const ALL_TAGS: &str = "/api/v2/metrics/{metric}/all-tags";

/// The data side of Datadog's API, for unchanged Datadog clients and agents.
#[dialect]
pub fn routes<H: SeriesRead + SeriesWrite + State + Clock>() -> Router<H> {
    Router::new()
        .refuse(Failure::refusal)
        .authenticate(API_KEY)
        .post(SERIES_V2, intake::series_v2)
        .post(SERIES_V1, intake::series_v1)
        .post(DISTRIBUTIONS, intake::distributions)
        .get(VALIDATE, |_, _| Response::new(200, "application/json", r#"{"valid":true}"#))
        .authenticate(APPLICATION_KEY)
        .get(QUERY, query::answer)
        .post(TIMESERIES, formula::timeseries)
        .post(SCALAR, formula::scalar)
        .get(SEARCH, metrics::search)
        .get(ACTIVE, metrics::active)
        .get(METADATA, metadata::get)
        .put(METADATA, metadata::put)
        .get(METRICS, metrics::list)
        .get(ALL_TAGS, metrics::tags)
        .authenticate(&[])
        .any(SERIES_V2, |_, request| Failure::method(request, "POST"))
        .any(SERIES_V1, |_, request| Failure::method(request, "POST"))
        .any(DISTRIBUTIONS, |_, request| Failure::method(request, "POST"))
        .any(TIMESERIES, |_, request| Failure::method(request, "POST"))
        .any(SCALAR, |_, request| Failure::method(request, "POST"))
        .any(METADATA, |_, request| Failure::method(request, "GET, PUT"))
        .fallback(|_, request| Failure::path(request))
}

#[cfg(test)]
mod tests;
