//! The dialect over HTTP, on a host in memory.

mod mapping;
mod points;
mod refusals;

use std::collections::BTreeMap;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::Response;
use bellwether_sdk::host::SeriesRead;
use bellwether_sdk::series::{Comparison, Matcher};
use bellwether_sdk::testing::{Client, MemoryHost};
use prost::Message as _;
use serde_json::{Value as Json, json};

use crate::messages::*;
use crate::routes;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Samples, times in milliseconds, by metric and tags: `metric{key:value,…}`.
type Stored = BTreeMap<String, Vec<(i64, f64)>>;

fn client<'a>(host: &'a MemoryHost, kind: &str) -> Client<'a> {
    Client::new(routes(), host).header("content-type", kind)
}

fn send(host: &MemoryHost, request: &Request) -> Response {
    client(host, PROTOBUF).send("POST", "/v1/metrics", request.encode_to_vec())
}

/// Sends what has to be taken wholly.
#[track_caller]
fn take(host: &MemoryHost, request: &Request) {
    let response = send(host, request);
    assert_eq!((response.status, kind(&response)), (200, Some(PROTOBUF)));
    assert_eq!(Answer::decode(&*response.body), Ok(Answer::default()));
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|header| header.name == name).map(|header| &*header.value)
}

fn kind(response: &Response) -> Option<&str> {
    header(response, "content-type")
}

/// Everything a host has.
fn stored(host: &MemoryHost) -> Stored {
    let found =
        host.select(&[Matcher::metric(Comparison::NotEqual, "")], Timestamp::MIN, Timestamp::MAX, 100_000);
    let series = found.expect("they are few").into_iter().map(|found| {
        let name = format!("{}{{{}}}", found.identity.metric, found.identity.tags.join(","));
        (name, found.times.into_iter().zip(found.values).collect())
    });
    series.collect()
}

/// What a host has, expected.
fn series(all: &[(&str, &[(i64, f64)])]) -> Stored {
    all.iter().map(|(name, samples)| ((*name).to_owned(), samples.to_vec())).collect()
}

fn attribute(key: &str, value: impl Into<Value>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value.into()) }) }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

/// A double, a second after 1970.
fn double(value: f64) -> NumberDataPoint {
    NumberDataPoint { time_unix_nano: SECOND, as_double: Some(value), ..Default::default() }
}

fn gauge(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    Metric { name: name.to_owned(), gauge: Some(Gauge { data_points }), ..Default::default() }
}

fn sum(name: &str, aggregation_temporality: i32, is_monotonic: bool, point: NumberDataPoint) -> Metric {
    let sum = Sum { data_points: vec![point], aggregation_temporality, is_monotonic };
    Metric { name: name.to_owned(), sum: Some(sum), ..Default::default() }
}

fn histogram(name: &str, aggregation_temporality: i32, point: HistogramDataPoint) -> Metric {
    let histogram = Histogram { data_points: vec![point], aggregation_temporality };
    Metric { name: name.to_owned(), histogram: Some(histogram), ..Default::default() }
}

/// Metrics of no resource and scope.
fn request(metrics: Vec<Metric>) -> Request {
    of(Vec::new(), Scope::default(), metrics)
}

fn of(attributes: Vec<KeyValue>, scope: Scope, metrics: Vec<Metric>) -> Request {
    let scope = ScopeMetrics { scope: Some(scope), metrics, ..Default::default() };
    let resource = ResourceMetrics { resource: Some(Resource { attributes }), scope_metrics: vec![scope] };
    Request { resource_metrics: vec![resource] }
}
