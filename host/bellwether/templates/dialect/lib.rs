//! Takes visits over HTTP and tells how many there were: a dialect, an HTTP API of your own making.
//!
//! The routes are data. The host reads them when the plugin is installed, verifies who calls on the raw request, and
//! asks for one route's answer at a time. What the handlers ask of the host becomes what the component imports.

use bellwether_sdk::dialect::{Authentication, Request, Response, Router, dialect};
use bellwether_sdk::host::{Clock, MetricsRead, MetricsWrite};
use bellwether_sdk::metrics::{
    DataType, Definition, Interval, IntervalQuery, MetricError, Samples,
};
use bellwether_sdk::serde_json::json;

/// Takes visits over HTTP and tells how many there were.
#[dialect]
pub fn visits<H: Clock + MetricsRead + MetricsWrite>() -> Router<H> {
    Router::new()
        .authenticate(&[Authentication::Authorization("Bearer")])
        .post("/visits/{page}", count)
        .get("/visits/{page}", tell)
        .fallback(|_, _| Response::text(404, "there are only visits here"))
}

/// Adds one visit of a page; the answer is how many it has today.
fn count(host: &impl MetricsWrite, request: &Request<'_>) -> Result<Response, Response> {
    let page = request.parameter("page");
    host.define(&Definition::new("visits", DataType::Sum, Interval::Daily).keyed())
        .map_err(refusal)?;
    let written = host
        .write_one(Samples::of("visits").key(page).value(1.0))
        .map_err(refusal)?;
    Ok(Response::json(
        201,
        &json!({ "page": page, "today": written.value }),
    ))
}

/// How many visits a page has today.
fn tell(host: &(impl Clock + MetricsRead), request: &Request<'_>) -> Result<Response, Response> {
    let (page, now) = (request.parameter("page"), host.now());
    let today = host.query(&IntervalQuery::new("visits", now, now).keys([page]));
    let today = match today {
        Err(MetricError::UnknownMetric(_)) => Vec::new(),
        answer => answer.map_err(refusal)?,
    };
    let points = today.first().map(|series| &series.points);
    let value = points
        .and_then(|points| points.first())
        .and_then(|point| point.value);
    Ok(Response::json(
        200,
        &json!({ "page": page, "today": value.unwrap_or(0.0) }),
    ))
}

/// What went wrong, in this API's own words.
fn refusal(error: MetricError) -> Response {
    let status = match &error {
        MetricError::UnknownMetric(_) => 404,
        MetricError::Forbidden(_) => 403,
        MetricError::Unavailable(_) | MetricError::Other(_) => 503,
        MetricError::Invalid(_) | MetricError::Conflict(_) | MetricError::Limit(_) => 400,
    };
    Response::text(status, error)
}

#[cfg(test)]
mod tests {
    use bellwether_sdk::dialect::AuthFailure;
    use bellwether_sdk::testing::{Client, MemoryHost};

    use super::*;

    #[test]
    fn what_is_posted_is_told() {
        let host = MemoryHost::new();
        let client = Client::new(visits(), &host);
        assert_eq!(
            client.get("/visits/start").body,
            br#"{"page":"start","today":0.0}"#
        );
        assert_eq!(client.post("/visits/start", "").status, 201);
        assert_eq!(client.post("/visits/start", "").status, 201);
        assert_eq!(
            client.get("/visits/start").body,
            br#"{"page":"start","today":2.0}"#
        );
        assert_eq!(client.get("/elsewhere").status, 404);
    }

    #[test]
    fn a_caller_nobody_knows_is_told_nothing() {
        let host = MemoryHost::new();
        let stranger = Client::new(visits(), &host).refused(AuthFailure::Unknown);
        assert_eq!(stranger.post("/visits/start", "").status, 401);
        assert!(
            host.value("visits", Some("start")).is_err(),
            "nothing was counted"
        );
    }
}
