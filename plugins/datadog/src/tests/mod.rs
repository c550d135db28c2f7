//! The dialect over HTTP, on a host in memory.

mod hostile;
mod reading;
mod submitting;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{AuthFailure, Response};
use bellwether_sdk::host::SeriesRead;
use bellwether_sdk::testing::{Client, MemoryHost};
use serde_json::{Value, json};

use crate::routes;

/// The status of an answer and its JSON.
fn seen(response: &Response) -> (u16, Value) {
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

/// The words of a refusal, whose status this is.
#[track_caller]
fn refused(response: &Response, status: u16) -> String {
    let (got, body) = seen(response);
    assert_eq!(got, status, "{body}");
    let errors = body["errors"].as_array().expect("a list of errors");
    assert_eq!((errors.len(), body.as_object().map(serde_json::Map::len)), (1, Some(1)), "{body}");
    errors[0].as_str().expect("a text").to_owned()
}

/// Tags, with each sample's time in milliseconds and its value.
type Stored = (Vec<String>, Vec<(i64, f64)>);

/// The series of a metric.
fn stored(host: &MemoryHost, metric: &str) -> Vec<Stored> {
    let series = host.samples(metric, "*", Timestamp::MIN, Timestamp::MAX).expect("the metric's samples");
    let samples = |samples: Vec<(Timestamp, f64)>| {
        samples.into_iter().map(|(time, value)| (time.milliseconds(), value)).collect()
    };
    series.into_iter().map(|series| (series.tags, samples(series.samples))).collect()
}

/// A payload of one series with one sample.
fn payload(metric: &str) -> String {
    json!({ "series": [{ "metric": metric, "points": [[1_712_620_800, 1.5]], "tags": ["env:prod"] }] })
        .to_string()
}

#[test]
fn a_key_is_good_or_forbidden() {
    let host = MemoryHost::new();
    assert_eq!(seen(&Client::new(routes(), &host).get("/api/v1/validate")), (200, json!({ "valid": true })));
    for failure in [AuthFailure::Missing, AuthFailure::Unknown, AuthFailure::Expired] {
        let stranger = Client::new(routes(), &host).refused(failure);
        for (method, path) in [
            ("GET", "/api/v1/validate"),
            ("POST", "/api/v1/series"),
            ("POST", "/api/v2/series"),
            ("POST", "/api/v1/distribution_points"),
            ("GET", "/api/v1/query"),
            ("POST", "/api/v2/query/timeseries"),
            ("POST", "/api/v2/query/scalar"),
            ("GET", "/api/v1/search"),
            ("GET", "/api/v1/metrics"),
            ("GET", "/api/v1/metrics/m"),
            ("PUT", "/api/v1/metrics/m"),
            ("GET", "/api/v2/metrics"),
            ("GET", "/api/v2/metrics/m/all-tags"),
        ] {
            assert_eq!(refused(&stranger.send(method, path, ""), 403), "Forbidden", "{method} {path}");
        }
    }
    let later =
        Client::new(routes(), &host).refused(AuthFailure::Other("the key could not be looked up".to_owned()));
    assert!(refused(&later.get("/api/v1/validate"), 503).contains("looked up"));
}

#[test]
fn submissions_ask_for_the_api_key_and_reads_for_the_application_key() {
    use bellwether_sdk::dialect::Authentication;
    let schemes = |header: &'static str, query: &'static str| {
        [Authentication::HeaderKey(header).into(), Authentication::QueryKey(query).into()]
    };
    for route in routes::<MemoryHost>().describe("").routes {
        let submits =
            ["/series", "/distribution_points", "/validate"].iter().any(|end| route.path.ends_with(end));
        let expected = match (route.method.as_str(), submits) {
            ("*", _) => Vec::new(),
            (_, true) => schemes("dd-api-key", "api_key").to_vec(),
            (_, false) => schemes("dd-application-key", "application_key").to_vec(),
        };
        assert_eq!(route.authentication, expected, "{} {}", route.method, route.path);
    }
}

#[test]
fn what_is_not_there_is_told_in_the_vendors_format() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    assert!(refused(&client.get("/api/v1/dashboard"), 404).contains("/api/v1/dashboard"));
    let other = client.get("/api/v1/series");
    assert!(refused(&other, 405).contains("GET is none of POST"));
    assert!(other.headers.iter().any(|header| header.name == "allow" && header.value == "POST"));
    assert!(refused(&client.delete("/api/v1/metrics/m"), 405).contains("GET, PUT"));
}
