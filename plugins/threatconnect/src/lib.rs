//! ThreatConnect's v2 API of custom metrics: list, get, create, delete, and add data to them.
//!
//! Served under the dialect's mount at `/v2/customMetrics`, and at `/api/v2/customMetrics` because a client's base
//! URL ends in `/api` and the path is signed with it. Callers sign their requests, or send a token.
//!
//! Where ThreatConnect's documentation leaves something open:
//!
//! - Creating a metric that exists as described answers 200 with it, one that is new 201, one that exists otherwise 409.
//!   Another description is no difference: the metric keeps its own, which the answer shows.
//! - A segment means the metric of that name, or else, of digits, the metric of that id. To delete, it must not be both.
//! - A list holds 100 metrics unless `resultLimit` says otherwise, 10,000 at most.
//! - `value` and `weight` may have fractions, and may come as text; `null` is as good as absent.
//! - A `date` without an offset is in UTC. The `date` of an answer is the beginning of the interval: on the hour in
//!   UTC, but for an organisation whose time zone is not whole hours away from it.

mod body;
mod data;
mod failure;
mod metrics;

use bellwether_sdk::dialect::{Authentication, Encoding, MessagePart, Router, Signature, dialect};
use bellwether_sdk::host::{MetricsRead, MetricsWrite};

use failure::Failure;

/// A signature over `<path and query>:<METHOD>:<Timestamp>`, or a token.
const AUTHENTICATION: &[Authentication] = &[
    Authentication::Signed(Signature {
        prefix: "TC",
        message: &[
            MessagePart::RequestTarget,
            MessagePart::Literal(":"),
            MessagePart::Method,
            MessagePart::Literal(":"),
            MessagePart::Header("Timestamp"),
        ],
        encoding: Encoding::Base64,
        timestamp_header: "Timestamp",
        tolerance: 300,
    }),
    Authentication::Authorization("TC-Token"),
];

const METRICS: &str = "/v2/customMetrics";
const METRIC: &str = "/v2/customMetrics/{metric}";
const DATA: &str = "/v2/customMetrics/{metric}/data";

/// ThreatConnect's v2 API of custom metrics, for unchanged ThreatConnect clients.
#[dialect]
pub fn routes<H: MetricsRead + MetricsWrite>() -> Router<H> {
    Router::new()
        .under(&["", "/api"])
        .refuse(Failure::refusal)
        .authenticate(AUTHENTICATION)
        .post(DATA, data::add)
        .post(METRIC, data::add)
        .get(METRIC, metrics::get)
        .delete(METRIC, metrics::delete)
        .get(METRICS, metrics::list)
        .post(METRICS, metrics::create)
        .any(DATA, |_, request| Failure::method(request, "POST"))
        .any(METRIC, |_, request| Failure::method(request, "GET, POST, DELETE"))
        .any(METRICS, |_, request| Failure::method(request, "GET, POST"))
        .fallback(|_, request| Failure::path(request))
}

#[cfg(test)]
mod tests;
