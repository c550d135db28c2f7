//! The dialect over HTTP, on a host in memory.

mod catalogue;
mod expressions;
mod ranges;
mod writing;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{AuthFailure, Response};
use bellwether_sdk::host::SeriesWrite;
use bellwether_sdk::series::TaggedSamples;
use bellwether_sdk::testing::{Client, MemoryHost};
use serde_json::{Value, json};

use crate::routes;

/// What ends a series, as Prometheus marks it.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The status of an answer and its JSON.
fn seen(response: &Response) -> (u16, Value) {
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

/// The data of a success.
#[track_caller]
fn data(response: &Response) -> Value {
    let (status, mut body) = seen(response);
    assert_eq!((status, &body["status"]), (200, &json!("success")), "{body}");
    body["data"].take()
}

/// The words of a refusal, whose status and type these are.
#[track_caller]
fn refused(response: &Response, status: u16, kind: &str) -> String {
    let (got, body) = seen(response);
    assert_eq!((got, &body["status"], &body["errorType"]), (status, &json!("error"), &json!(kind)), "{body}");
    body["error"].as_str().expect("a text").to_owned()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|header| header.name == name).map(|header| &*header.value)
}

/// A path with these parameters.
fn target(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

/// Samples every minute from 1970 on, as many in a call as a host takes.
fn write(host: &MemoryHost, metric: &str, tags: &[&str], values: &[f64]) {
    let times: Vec<_> = (0..values.len() as i64).map(|at| Timestamp::from_seconds(at * 60)).collect();
    for (times, values) in times.chunks(200_000).zip(values.chunks(200_000)) {
        let samples = TaggedSamples {
            metric: metric.to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            times: times.to_vec(),
            values: values.to_vec(),
        };
        host.write_series(&[], [samples]).expect("they are written");
    }
}

/// What the tables below are worked out of.
fn host() -> MemoryHost {
    let host = MemoryHost::new();
    let counted = |by: f64| (0..11).map(|at| f64::from(at) * by).collect::<Vec<_>>();
    write(&host, "requests_total", &["job:api", "code:200"], &counted(10.0));
    write(&host, "requests_total", &["job:api", "code:500"], &counted(1.0));
    let again = [0.0, 20.0, 40.0, 60.0, 80.0, 5.0, 25.0, 45.0, 65.0, 85.0, 105.0];
    write(&host, "requests_total", &["job:db", "code:200"], &again);
    write(&host, "temp", &["room:a"], &[20.0, 22.0, 19.0, 21.0, 20.0, 18.0]);
    write(&host, "temp", &["room:b"], &[10.0, 10.0, f64::from_bits(STALE)]);
    for (bound, count) in [("0.1", 10.0), ("0.5", 30.0), ("1", 40.0), ("+Inf", 50.0)] {
        write(&host, "lat_bucket", &[&format!("le:{bound}")], &[count; 11]);
    }
    write(&host, "info", &["job:api", "version:v2"], &[1.0; 11]);
    write(&host, "info", &["job:db", "version:v1"], &[1.0; 11]);
    host
}

#[test]
fn who_calls_is_known_by_a_token_or_told_how_to_be() {
    let host = host();
    for failure in [AuthFailure::Missing, AuthFailure::Unknown, AuthFailure::Expired] {
        let stranger = Client::new(routes(), &host).refused(failure);
        for (method, path) in [
            ("POST", "/api/v1/write"),
            ("GET", "/api/v1/query"),
            ("POST", "/api/v1/query_range"),
            ("GET", "/api/v1/series"),
            ("GET", "/api/v1/labels"),
            ("GET", "/api/v1/label/job/values"),
            ("GET", "/api/v1/metadata"),
            ("GET", "/api/v1/query_exemplars"),
            ("GET", "/api/v1/rules"),
            ("GET", "/api/v1/alerts"),
            ("GET", "/api/v1/status/buildinfo"),
        ] {
            let response = stranger.send(method, path, "");
            refused(&response, 401, "unauthorized");
            assert!(header(&response, "www-authenticate").is_some_and(|value| value.starts_with("Basic")));
        }
    }
    let suspended = AuthFailure::Other("the organisation is suspended".to_owned());
    let response = Client::new(routes(), &host).refused(suspended).get("/api/v1/query");
    assert!(refused(&response, 403, "forbidden").contains("suspended"));
}

#[test]
fn what_is_not_there_is_told_in_prometheus_format() {
    let host = host();
    let client = Client::new(routes(), &host);
    assert!(refused(&client.get("/api/v1/targets"), 404, "not_found").contains("/api/v1/targets"));
    let response = client.delete("/api/v1/query");
    assert!(refused(&response, 405, "bad_data").contains("DELETE is none of GET, POST"));
    assert_eq!(header(&response, "allow"), Some("GET, POST"));
}
