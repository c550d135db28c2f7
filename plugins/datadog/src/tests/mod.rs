//! The dialect over HTTP, on a host in memory.

mod hostile;
mod reading;
mod records;
mod submitting;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{AuthFailure, Principal, Response, Role};
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
    let reader = Principal {
        organisation: 1,
        organisation_name: "own".to_owned(),
        key_id: "k".to_owned(),
        key_name: "dashboard".to_owned(),
        role: Role::Read,
    };
    let reads = Client::new(routes(), &host).caller(reader);
    assert!(refused(&reads.get("/api/v1/validate"), 403).contains("the role write"));
    for failure in [AuthFailure::Missing, AuthFailure::Unknown, AuthFailure::Expired] {
        let missing = failure == AuthFailure::Missing;
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
            ("POST", "/api/v1/events"),
            ("GET", "/api/v1/events"),
            ("GET", "/api/v1/events/1"),
            ("POST", "/api/v2/events"),
            ("POST", "/api/v2/events/search"),
            ("POST", "/api/v2/logs"),
            ("POST", "/api/v2/logs/events/search"),
            ("GET", "/api/v2/logs/events"),
        ] {
            let submits = ["validate", "series", "distribution_points"].iter().any(|end| path.ends_with(end));
            let submits = submits && !path.ends_with("timeseries");
            let (status, word) = if missing && !submits { (401, "Unauthorized") } else { (403, "Forbidden") };
            let refusal = stranger.send(method, path, "");
            if path == "/api/v2/logs" {
                // The intake of logs has a format of its own.
                let error = json!({ "status": status.to_string(), "title": word, "detail": word });
                assert_eq!(seen(&refusal), (status, json!({ "errors": [error] })));
            } else {
                assert_eq!(refused(&refusal, status), word, "{method} {path}");
            }
        }
    }
    let suspended = AuthFailure::Other("the organisation is suspended".to_owned());
    let suspended = Client::new(routes(), &host).refused(suspended);
    assert!(refused(&suspended.get("/api/v1/validate"), 403).contains("suspended"));
}

#[test]
fn submissions_ask_for_the_api_key_and_reads_for_the_application_key_beside_it() {
    let alone = [vec!["dd-api-key"], vec!["api_key"]];
    let both = ["dd-application-key", "application_key"]
        .into_iter()
        .flat_map(|application| ["dd-api-key", "api_key"].map(|api| vec![application, api]));
    let both: Vec<_> = both.collect();
    for route in routes::<MemoryHost>().describe("").routes {
        let submits = ["/series", "/distribution_points", "/validate", "/v1/input", "/v2/logs"]
            .iter()
            .any(|end| route.path.ends_with(end))
            || route.method == "POST" && route.path.ends_with("/events");
        let expected = match (route.method.as_str(), submits) {
            ("*", _) => &[][..],
            (_, true) => &alone,
            (_, false) => &both,
        };
        let place = format!("{} {}", route.method, route.path);
        assert_eq!(route.authentication.len(), expected.len(), "{place}");
        for (alternative, names) in route.authentication.iter().zip(expected) {
            let shown = alternative.iter().map(|credential| format!("{credential:?}"));
            assert_eq!(alternative.len(), names.len(), "{place}");
            for (shown, name) in shown.zip(names) {
                assert!(shown.contains(&format!("{name:?}")), "{place}: {shown} should be of {name}");
            }
        }
    }
}

#[test]
fn what_is_not_there_is_told_in_the_vendors_format() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    assert!(refused(&client.get("/api/v1/dashboard"), 404).contains("nothing at this path"));
    let with_a_key = refused(&client.post("/v1/input/0123456789abcdef", "{}"), 404);
    assert!(!with_a_key.contains("0123456789abcdef"), "{with_a_key}");
    let other = client.get("/api/v1/series");
    assert!(refused(&other, 405).contains("GET is none of POST"));
    assert!(other.headers.iter().any(|header| header.name == "allow" && header.value == "POST"));
    assert!(refused(&client.delete("/api/v1/metrics/m"), 405).contains("GET, PUT"));
}
