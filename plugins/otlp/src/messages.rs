//! The messages of `opentelemetry/proto/metrics/v1` and what they hold, in both encodings: as far as they are read here.
//! What is left out (exemplars, minima and maxima, counts of what was dropped) is skipped unread.

use prost::{Message, Oneof};
use serde::Deserialize;

use crate::json;

/// `ExportMetricsServiceRequest`
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Request {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) scope_metrics: Vec<ScopeMetrics>,
}

/// A `ResourceMetrics` but for what it holds metrics in, which is skipped unread.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OfResource {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) metrics: Vec<Metric>,
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) schema_url: String,
}

/// A `ScopeMetrics` but for its metrics, which are skipped unread.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OfScope {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<Scope>,
    #[prost(string, tag = "3")]
    pub(crate) schema_url: String,
}

/// `InstrumentationScope`
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Scope {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) version: String,
    #[prost(message, repeated, tag = "3")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) attributes: Vec<KeyValue>,
}

/// At most one of the five kinds of data is there.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metric {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) description: String,
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) unit: String,
    #[prost(message, optional, tag = "5")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) sum: Option<Sum>,
    #[prost(message, optional, tag = "9")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) histogram: Option<Histogram>,
    #[prost(message, optional, tag = "10")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) exponential_histogram: Option<ExponentialHistogram>,
    #[prost(message, optional, tag = "11")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Gauge {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Sum {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) data_points: Vec<NumberDataPoint>,
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Histogram {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) data_points: Vec<HistogramDataPoint>,
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ExponentialHistogram {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) data_points: Vec<ExponentialHistogramDataPoint>,
    #[prost(int32, tag = "2")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Summary {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) data_points: Vec<SummaryDataPoint>,
}

/// A point of a gauge or a sum, with one of the two values.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NumberDataPoint {
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    #[serde(deserialize_with = "json::optional_double")]
    pub(crate) as_double: Option<f64>,
    #[prost(sfixed64, optional, tag = "6")]
    #[serde(deserialize_with = "json::optional_whole")]
    pub(crate) as_int: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "8")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HistogramDataPoint {
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) count: u64,
    #[prost(double, optional, tag = "5")]
    #[serde(deserialize_with = "json::optional_double")]
    pub(crate) sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    #[serde(deserialize_with = "json::wholes")]
    pub(crate) bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    #[serde(deserialize_with = "json::doubles")]
    pub(crate) explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ExponentialHistogramDataPoint {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) count: u64,
    #[prost(double, optional, tag = "5")]
    #[serde(deserialize_with = "json::optional_double")]
    pub(crate) sum: Option<f64>,
    #[prost(sint32, tag = "6")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) scale: i32,
    #[prost(fixed64, tag = "7")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) zero_count: u64,
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) positive: Option<Buckets>,
    #[prost(message, optional, tag = "9")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) negative: Option<Buckets>,
    #[prost(uint32, tag = "10")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) flags: u32,
    #[prost(double, tag = "14")]
    #[serde(deserialize_with = "json::double")]
    pub(crate) zero_threshold: f64,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Buckets {
    #[prost(sint32, tag = "1")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) offset: i32,
    #[prost(uint64, repeated, tag = "2")]
    #[serde(deserialize_with = "json::wholes")]
    pub(crate) bucket_counts: Vec<u64>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SummaryDataPoint {
    #[prost(fixed64, tag = "2")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) count: u64,
    #[prost(double, tag = "5")]
    #[serde(deserialize_with = "json::double")]
    pub(crate) sum: f64,
    #[prost(message, repeated, tag = "6")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) quantile_values: Vec<ValueAtQuantile>,
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "8")]
    #[serde(deserialize_with = "json::whole")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ValueAtQuantile {
    #[prost(double, tag = "1")]
    #[serde(deserialize_with = "json::double")]
    pub(crate) quantile: f64,
    #[prost(double, tag = "2")]
    #[serde(deserialize_with = "json::double")]
    pub(crate) value: f64,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::or_default")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    #[serde(deserialize_with = "json::message")]
    pub(crate) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(from = "json::AnyValue")]
pub(crate) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Value {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Kvlist(KeyValueList),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::messages")]
    pub(crate) values: Vec<KeyValue>,
}

/// `ExportMetricsServiceResponse`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// `ExportMetricsPartialSuccess`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_data_points: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}
