//! The data side of Datadog's API over tagged series: points in by `series` v1 and v2 and `distribution_points`, out by
//! `query`, `search`, active metrics, metadata and tags; and events and logs, in and out by search.
//!
//! Submissions ask for `DD-API-KEY`, everything else for `DD-APPLICATION-KEY` beside it, in a header or, as old clients do,
//! in the query (`api_key`, `application_key`). Each holds a key of Bellwether's, of one organisation; both may hold the
//! same. Who reads is the application key.
//!
//! Where this is not as Datadog is: `docs/guide/datadog.md`.

mod answer;
mod body;
mod failure;
mod formula;
mod intake;
mod metadata;
mod metrics;
mod parameters;
mod query;
mod records;
mod unit;

use bellwether_sdk::dialect::{Authentication, Request, Response, Role, Router, dialect};
use bellwether_sdk::host::{Clock, RecordsRead, RecordsWrite, SeriesRead, SeriesWrite, State};
use bellwether_sdk::series::Gauges;
use serde_json::json;

use failure::Failure;

const API_HEADER: Authentication = Authentication::HeaderKey("dd-api-key");
const API_QUERY: Authentication = Authentication::QueryKey("api_key");
const APPLICATION_HEADER: Authentication = Authentication::HeaderKey("dd-application-key");
const APPLICATION_QUERY: Authentication = Authentication::QueryKey("application_key");

/// Who submits.
const API_KEY: &[Authentication] = &[API_HEADER, API_QUERY];

/// Who reads, and who changes what is known of a metric.
const BOTH_KEYS: &[Authentication] = &[
    Authentication::All(&[APPLICATION_HEADER, API_HEADER]),
    Authentication::All(&[APPLICATION_HEADER, API_QUERY]),
    Authentication::All(&[APPLICATION_QUERY, API_HEADER]),
    Authentication::All(&[APPLICATION_QUERY, API_QUERY]),
];

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

/// Whether a key is one to submit with: an agent asks as it starts, and should not learn of it by what it loses.
fn validate(request: &Request<'_>) -> Result<Response, Failure> {
    if request.caller().is_some_and(|caller| caller.role == Role::Read) {
        return Err(Failure::new(403, "Forbidden: the key may read, and submitting takes the role write"));
    }
    Ok(Response::json(200, &json!({ "valid": true })))
}

/// The data side of Datadog's API, for unchanged Datadog clients and agents.
#[dialect]
pub fn routes<H: SeriesRead + SeriesWrite + RecordsRead + RecordsWrite + State + Clock>() -> Router<H> {
    let [in_v2, in_v1, in_distributions] = Gauges::shared();
    let router = Router::new()
        .refuse_request(Failure::refusal)
        .authenticate(API_KEY)
        .post(SERIES_V2, move |host, request| intake::series_v2(host, request, &in_v2))
        .post(SERIES_V1, move |host, request| intake::series_v1(host, request, &in_v1))
        .post(DISTRIBUTIONS, move |host, request| intake::distributions(host, request, &in_distributions))
        .get(VALIDATE, |_, request| validate(request));
    let router = records::submissions(router)
        .authenticate(BOTH_KEYS)
        .get(QUERY, query::answer)
        .post(TIMESERIES, formula::timeseries)
        .post(SCALAR, formula::scalar)
        .get(SEARCH, metrics::search)
        .get(ACTIVE, metrics::active)
        .get(METADATA, metadata::get)
        .put(METADATA, metadata::put)
        .get(METRICS, metrics::list)
        .get(ALL_TAGS, metrics::tags);
    records::others(records::reads(router).authenticate(&[]))
        .any(SERIES_V2, |_, request| Failure::method(request, "POST"))
        .any(SERIES_V1, |_, request| Failure::method(request, "POST"))
        .any(DISTRIBUTIONS, |_, request| Failure::method(request, "POST"))
        .any(TIMESERIES, |_, request| Failure::method(request, "POST"))
        .any(SCALAR, |_, request| Failure::method(request, "POST"))
        .any(METADATA, |_, request| Failure::method(request, "GET, PUT"))
        .fallback(|_, _| Failure::path())
}

#[cfg(test)]
mod tests;
