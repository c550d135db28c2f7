//! What becomes of the points of each kind, in both encodings.

use bellwether_sdk::host::SeriesWrite;
use bellwether_sdk::series::{Metadata, MetricKind};
use proptest::prelude::*;

use super::*;

#[test]
fn gauges_and_sums_are_series_under_prometheus_names() {
    let host = MemoryHost::new();
    let at = |seconds: u64, number: i64| NumberDataPoint {
        time_unix_nano: seconds * SECOND + 1_999_999,
        as_int: Some(number),
        attributes: vec![attribute("http.route", "/a")],
        ..Default::default()
    };
    let seconds = |metric: Metric| Metric { unit: "s".to_owned(), ..metric };
    let message = request(vec![
        seconds(gauge("queue.wait", vec![at(1, -3), at(2, i64::MAX)])),
        seconds(sum("cpu.time", 2, true, at(1, 7))),
        sum("queue.length", 2, false, at(1, 8)),
        sum("orders", 1, true, at(1, 9)),
        Metric { unit: "1".to_owned(), ..gauge("load", vec![double(0.1), double(0.1)]) },
        Metric { name: "nothing".to_owned(), ..Default::default() },
    ]);
    // To send it again changes nothing.
    for _ in 0..2 {
        take(&host, &message);
        let expected = series(&[
            ("queue_wait_seconds{http_route:/a}", &[(1001, -3.0), (2001, i64::MAX as f64)]),
            ("cpu_time_seconds_total{http_route:/a}", &[(1001, 7.0)]),
            ("queue_length{http_route:/a}", &[(1001, 8.0)]),
            ("orders{http_route:/a}", &[(1001, 9.0)]),
            ("load_ratio{}", &[(1000, 0.1)]),
        ]);
        assert_eq!(stored(&host), expected);
    }
    let kind = |metric: &str| host.tagged_metric(metric).expect("it is there").metadata.kind;
    assert_eq!(kind("orders"), MetricKind::Count, "what was since the point before is a count");
    assert_eq!(kind("cpu_time_seconds_total"), MetricKind::Gauge);
    take(&host, &Request::default());
}

#[test]
fn histograms_are_buckets_that_quantiles_are_made_of() {
    let host = MemoryHost::new();
    let point = HistogramDataPoint {
        time_unix_nano: SECOND,
        count: 10,
        sum: Some(2.5),
        bucket_counts: vec![1, 2, 0, 7],
        explicit_bounds: vec![0.005, 1.0, 2.5],
        attributes: vec![attribute("le", "own"), attribute("route", "/")],
        ..Default::default()
    };
    let bare =
        HistogramDataPoint { sum: None, bucket_counts: vec![10], explicit_bounds: vec![], ..point.clone() };
    take(
        &host,
        &request(vec![
            Metric { unit: "s".to_owned(), ..histogram("latency", 2, point) },
            histogram("bare", 1, bare),
        ]),
    );
    let expected = series(&[
        ("latency_seconds_bucket{le:0.005,route:/}", &[(1000, 1.0)]),
        ("latency_seconds_bucket{le:1,route:/}", &[(1000, 3.0)]),
        ("latency_seconds_bucket{le:2.5,route:/}", &[(1000, 3.0)]),
        ("latency_seconds_bucket{le:+Inf,route:/}", &[(1000, 10.0)]),
        ("latency_seconds_count{le:own,route:/}", &[(1000, 10.0)]),
        ("latency_seconds_sum{le:own,route:/}", &[(1000, 2.5)]),
        ("bare_bucket{le:+Inf,route:/}", &[(1000, 10.0)]),
        ("bare_count{le:own,route:/}", &[(1000, 10.0)]),
    ]);
    assert_eq!(stored(&host), expected);
    let kind = |metric: &str| host.tagged_metric(metric).expect("it is there").metadata.kind;
    assert_eq!((kind("bare_bucket"), kind("bare_count")), (MetricKind::Count, MetricKind::Count));
}

#[test]
fn exponential_histograms_are_buckets_with_bounds() {
    let host = MemoryHost::new();
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: SECOND,
        count: 9,
        sum: Some(20.5),
        scale: 1,
        zero_count: 2,
        zero_threshold: 1e-12,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![3, 4] }),
        ..Default::default()
    };
    let metric = |name: &str, aggregation_temporality| Metric {
        name: name.to_owned(),
        exponential_histogram: Some(ExponentialHistogram {
            data_points: vec![point.clone()],
            aggregation_temporality,
        }),
        ..Default::default()
    };
    take(&host, &request(vec![metric("size", 2)]));
    let expected = series(&[
        ("size_bucket{le:1e-12}", &[(1000, 2.0)]),
        ("size_bucket{le:1}", &[(1000, 2.0)]),
        ("size_bucket{le:1.4142135623730951}", &[(1000, 5.0)]),
        ("size_bucket{le:2}", &[(1000, 9.0)]),
        ("size_bucket{le:+Inf}", &[(1000, 9.0)]),
        ("size_count{}", &[(1000, 9.0)]),
        ("size_sum{}", &[(1000, 20.5)]),
    ]);
    assert_eq!(stored(&host), expected);
    take(&host, &request(vec![metric("delta", 1)]));
    let kind = |metric: &str| host.tagged_metric(metric).expect("it is there").metadata.kind;
    for ending in ["bucket", "count", "sum"] {
        let found = (kind(&format!("size_{ending}")), kind(&format!("delta_{ending}")));
        assert_eq!(found, (MetricKind::Gauge, MetricKind::Count));
    }
}

#[test]
fn what_counts_begins_at_zero_where_it_says_that_it_began() {
    let point = |start: u64, time: u64, value: f64| NumberDataPoint {
        start_time_unix_nano: start * SECOND,
        time_unix_nano: time * SECOND,
        ..double(value)
    };
    let counter = |start, time, value| request(vec![sum("c", 2, true, point(start, time, value))]);
    let host = MemoryHost::new();
    for (message, expected) in [
        (counter(1, 11, 7.0), &[(1000, 0.0), (11_000, 7.0)][..]),
        (counter(1, 21, 9.0), &[(1000, 0.0), (11_000, 7.0), (21_000, 9.0)]),
        // It began anew, and nobody could tell from its values.
        (counter(25, 31, 12.0), &[(1000, 0.0), (11_000, 7.0), (21_000, 9.0), (25_000, 0.0), (31_000, 12.0)]),
    ] {
        take(&host, &message);
        assert_eq!(stored(&host)["c_total{}"], expected);
    }
    // The first point of a quick stream comes within the millisecond it began in.
    let host = MemoryHost::new();
    for time in [SECOND + 900, 2 * SECOND] {
        let began =
            NumberDataPoint { start_time_unix_nano: SECOND + 100, time_unix_nano: time, ..double(3.0) };
        take(&host, &request(vec![sum("c", 2, true, began)]));
    }
    assert_eq!(stored(&host)["c_total{}"], [(999, 0.0), (1000, 3.0), (2000, 3.0)]);
    // A stream's first sample stands at its start, and stays.
    let host = MemoryHost::new();
    take(&host, &counter(1, 1, 100.0));
    take(&host, &counter(1, 11, 110.0));
    assert_eq!(stored(&host)["c_total{}"], [(1000, 100.0), (11_000, 110.0)]);
    for message in [
        counter(0, 11, 7.0),
        counter(12, 11, 7.0),
        counter(1, 602, 7.0),
        request(vec![sum("c", 1, true, point(1, 11, 7.0))]),
        request(vec![sum("c", 2, false, point(1, 11, 7.0))]),
        request(vec![gauge("c", vec![point(1, 11, 7.0)])]),
    ] {
        let host = MemoryHost::new();
        take(&host, &message);
        assert!(stored(&host).values().all(|samples| samples.len() == 1), "{:?}", stored(&host));
    }
    let host = MemoryHost::new();
    let histogram_point = HistogramDataPoint {
        start_time_unix_nano: SECOND,
        time_unix_nano: 2 * SECOND,
        count: 3,
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        attributes: vec![attribute("b", "2"), attribute("a", "1")],
        ..Default::default()
    };
    let mut quantiles = summary();
    quantiles.summary.iter_mut().flat_map(|summary| &mut summary.data_points).for_each(|point| {
        (point.start_time_unix_nano, point.time_unix_nano) = (SECOND, 2 * SECOND);
    });
    take(&host, &request(vec![histogram("h", 2, histogram_point), quantiles]));
    let expected = series(&[
        ("h_bucket{a:1,b:2,le:+Inf}", &[(1000, 0.0), (2000, 3.0)]),
        ("h_bucket{a:1,b:2,le:0.5}", &[(1000, 0.0), (2000, 1.0)]),
        ("h_count{a:1,b:2}", &[(1000, 0.0), (2000, 3.0)]),
        ("wait_milliseconds_count{}", &[(1000, 0.0), (2000, 4.0)]),
        ("wait_milliseconds_sum{}", &[(1000, 0.0), (2000, 8.0)]),
        ("wait_milliseconds{quantile:0}", &[(2000, 1.0)]),
        ("wait_milliseconds{quantile:0.99}", &[(2000, 3.0)]),
    ]);
    assert_eq!(stored(&host), expected);
}

fn summary() -> Metric {
    let at = |quantile, value| ValueAtQuantile { quantile, value };
    let point = SummaryDataPoint {
        time_unix_nano: SECOND,
        count: 4,
        sum: 8.0,
        quantile_values: vec![at(0.0, 1.0), at(0.99, 3.0)],
        ..Default::default()
    };
    let summary = Some(Summary { data_points: vec![point] });
    Metric { name: "wait".to_owned(), unit: "ms".to_owned(), summary, ..Default::default() }
}

#[test]
fn summaries_are_quantiles_a_sum_and_a_count() {
    let host = MemoryHost::new();
    take(&host, &request(vec![summary()]));
    let expected = series(&[
        ("wait_milliseconds{quantile:0}", &[(1000, 1.0)]),
        ("wait_milliseconds{quantile:0.99}", &[(1000, 3.0)]),
        ("wait_milliseconds_count{}", &[(1000, 4.0)]),
        ("wait_milliseconds_sum{}", &[(1000, 8.0)]),
    ]);
    assert_eq!(stored(&host), expected);
}

#[test]
fn a_point_without_a_recorded_value_ends_its_series() {
    let host = MemoryHost::new();
    let number = NumberDataPoint { time_unix_nano: SECOND, flags: 1, ..Default::default() };
    let point = HistogramDataPoint {
        time_unix_nano: SECOND,
        flags: 1,
        sum: Some(0.0),
        explicit_bounds: vec![1.0],
        ..Default::default()
    };
    take(&host, &request(vec![gauge("up", vec![number]), histogram("latency", 2, point)]));
    let ended = stored(&host);
    let names: Vec<&str> = ended.keys().map(String::as_str).collect();
    let buckets = ["latency_bucket{le:+Inf}", "latency_bucket{le:1}"];
    assert_eq!(names, [&buckets[..], &["latency_count{}", "latency_sum{}", "up{}"]].concat());
    for (name, samples) in &ended {
        assert_eq!((samples[0].0, samples[0].1.to_bits()), (1000, 0x7ff0_0000_0000_0002), "{name}");
    }
}

#[test]
fn unit_and_description_are_kept_where_nothing_else_is_known() {
    let host = MemoryHost::new();
    let told = |metric: Metric, unit: &str| Metric {
        description: "Said.\nTwice.".to_owned(),
        unit: unit.to_owned(),
        ..metric
    };
    let set = Metadata { description: Some("Set.".to_owned()), ..Metadata::default() };
    host.describe("mine_bytes", &set).expect("it is described");
    let point = HistogramDataPoint { time_unix_nano: SECOND, sum: Some(0.0), ..Default::default() };
    let message = request(vec![
        told(gauge("mine", vec![double(1.0)]), "By"),
        told(histogram("latency", 2, point), "s"),
        told(gauge("open", vec![double(1.0)]), "{connection}"),
    ]);
    take(&host, &message);
    take(&host, &message);
    for (metric, description, unit) in [
        ("mine_bytes", "Set.", Some("bytes")),
        ("latency_seconds_bucket", "Said. Twice.", None),
        ("latency_seconds_count", "Said. Twice.", None),
        ("latency_seconds_sum", "Said. Twice.", Some("seconds")),
        ("open", "Said. Twice.", Some("connection")),
    ] {
        let known = host.tagged_metric(metric).expect("it is there").metadata;
        assert_eq!(
            (known.description.as_deref(), known.unit.as_deref()),
            (Some(description), unit),
            "{metric}"
        );
    }
}

/// What a request is warned of, that is taken wholly.
fn warning(host: &MemoryHost, metrics: Vec<Metric>) -> String {
    let answer = Answer::decode(&*send(host, &request(metrics)).body).expect("an Answer");
    let partial = answer.partial_success.expect("a warning");
    assert_eq!(partial.rejected_data_points, 0);
    partial.error_message
}

#[test]
fn a_metric_stays_what_it_was_when_its_first_samples_came() {
    let host = MemoryHost::new();
    let kind = |metric: &str| host.tagged_metric(metric).expect("it is there").metadata.kind;
    let delta = |name| sum(name, 1, true, double(1.0));
    // A level, of which nothing was said but its samples.
    take(&host, &request(vec![gauge("m", vec![double(1.0)])]));
    let said = warning(&host, vec![delta("m"), delta("n")]);
    assert!(
        said.contains("1 metrics came as another kind") && said.contains("\"m\" has points that are counts"),
        "{said}"
    );
    assert_eq!((kind("m"), kind("n")), (MetricKind::Gauge, MetricKind::Count));
    let said = warning(&host, vec![gauge("n", vec![double(1.0)])]);
    assert!(said.contains("levels (a gauge, or cumulative), and is kept as counts (delta)"), "{said}");
    take(&host, &request(vec![delta("n")]));
    // Within one request the first holds.
    assert!(
        warning(&host, vec![gauge("o", vec![double(1.0)]), delta("o"), delta("o")]).contains("1 metrics")
    );
    assert_eq!((kind("n"), kind("o")), (MetricKind::Count, MetricKind::Gauge));
    // What somebody set is what it is.
    let set = Metadata { kind: MetricKind::Count, ..Metadata::default() };
    host.describe("m", &set).expect("it is described");
    take(&host, &request(vec![delta("m")]));
}

#[test]
fn an_instance_asks_about_a_gauge_once_as_long_as_the_same_is_told_of_it() {
    let host = MemoryHost::new();
    let said = |client: &Client<'_>, description: &str| {
        let metric = Metric { description: description.to_owned(), ..gauge("m", vec![double(1.0)]) };
        let response = client.send("POST", "/v1/metrics", request(vec![metric]).encode_to_vec());
        let answer = Answer::decode(&*response.body).expect("an Answer");
        answer.partial_success.map(|partial| partial.error_message)
    };
    let instance = client(&host, PROTOBUF);
    for _ in 0..2 {
        assert_eq!(said(&instance, "One."), None);
    }
    let known = host.tagged_metric("m").expect("it is there").metadata;
    assert_eq!(known.description.as_deref(), Some("One."));
    host.describe("m", &Metadata { kind: MetricKind::Count, ..known }).expect("it is another now");
    assert_eq!(said(&instance, "One."), None, "it is not asked about again");
    for (instance, description) in [(&instance, "Two."), (&client(&host, PROTOBUF), "One.")] {
        assert!(said(instance, description).is_some_and(|said| said.contains("kept as counts")));
    }
}

#[test]
fn every_metric_of_a_request_is_what_it_came_as() {
    let host = MemoryHost::new();
    let metrics = (0..150).map(|at| sum(&format!("m{at}"), 1, true, double(1.0)));
    take(&host, &request(metrics.collect()));
    let kind = |at: u32| host.tagged_metric(&format!("m{at}")).expect("it is there").metadata.kind;
    assert!((0..150).all(|at| kind(at) == MetricKind::Count));
}

#[test]
fn a_large_request_is_kept_whole_in_several_writes() {
    let host = MemoryHost::new();
    let point = |at: u64| HistogramDataPoint {
        start_time_unix_nano: SECOND,
        time_unix_nano: at * SECOND,
        count: at,
        ..Default::default()
    };
    let data_points = (2..=20_001).map(point).collect();
    let data = Histogram { data_points, aggregation_temporality: 2 };
    take(&host, &request(vec![Metric { name: "h".to_owned(), histogram: Some(data), ..Default::default() }]));
    let all = stored(&host);
    assert_eq!((all.len(), all["h_count{}"].len()), (2, 20_001));
    assert_eq!(all["h_count{}"][..2], [(1000, 0.0), (2000, 2.0)]);
    assert_eq!(all["h_bucket{le:+Inf}"].last(), Some(&(20_001_000, 20_001.0)));
}

#[test]
fn a_batch_of_many_megabytes_is_kept_whole_if_no_metric_of_it_is_too_large_for_itself() {
    let metric = |at: u64, points: u64| {
        let point = |point: u64| NumberDataPoint {
            time_unix_nano: (1 + point) * SECOND,
            attributes: vec![attribute("long", "x".repeat(390).as_str())],
            ..double(point as f64)
        };
        gauge(&format!("m{at}"), (0..points).map(point).collect())
    };
    let message = request((0..10).map(|at| metric(at, 2500)).collect());
    assert!(message.encoded_len() > 10_000_000);
    let host = MemoryHost::new();
    take(&host, &message);
    let all = stored(&host);
    assert_eq!((all.len(), all.values().map(Vec::len).sum::<usize>()), (10, 25_000));
    let response = send(&host, &request(vec![metric(0, 1), metric(1, 12_000)]));
    let told = Status::decode(&*response.body).expect("a Status");
    assert_eq!((response.status, told.code), (413, 3));
    let place = "resource_metrics[0].scope_metrics[0].metrics[1]";
    assert_eq!(told.message, format!("{place} has more than 4194304 bytes"));
}

/// One of each kind, as the specification's examples write JSON.
fn in_json() -> Json {
    let attributes = json!([
        { "key": "text", "value": { "stringValue": "x" } },
        { "key": "yes", "value": { "boolValue": true } },
        { "key": "whole", "value": { "intValue": "-9007199254740993" } },
        { "key": "part", "value": { "doubleValue": 0.1 } },
        { "key": "list", "value": { "arrayValue": { "values": [{ "intValue": 1 }, {}] } } },
        { "key": "map", "value": { "kvlistValue": { "values": [{ "key": "a", "value": { "boolValue": false } }] } } },
        { "key": "bytes", "value": { "bytesValue": "AQI=" } },
        { "key": "none", "value": null },
    ]);
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }], "droppedAttributesCount": 1 },
        "schemaUrl": "https://resource",
        "scopeMetrics": [{
            "scope": { "name": "meter", "version": "1.0" },
            "schemaUrl": "https://scope",
            "metrics": [
                { "name": "g", "unit": "1", "description": "G.", "metadata": [], "gauge": { "dataPoints": [
                    { "timeUnixNano": "1000000000", "asDouble": 0.1, "attributes": attributes, "exemplars": [{ "asInt": "1" }] },
                    { "timeUnixNano": 2_000_000_000_u64, "startTimeUnixNano": "1", "asDouble": "-Infinity", "flags": 0 },
                ] } },
                { "name": "s", "sum": { "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
                    { "timeUnixNano": "1000000000", "asInt": "9007199254740993" },
                    { "timeUnixNano": "2000000000", "asInt": 1e3, "asDouble": null },
                ] } },
                { "name": "h", "histogram": { "aggregationTemporality": 1, "dataPoints": [
                    { "timeUnixNano": "1000000000", "count": "3", "sum": 1, "bucketCounts": ["1", 2], "explicitBounds": [0.5],
                      "min": 0, "max": 1 },
                ] } },
                { "name": "e", "exponentialHistogram": { "aggregationTemporality": 2, "dataPoints": [
                    { "timeUnixNano": "1000000000", "count": 3, "scale": -1, "zeroCount": "1", "zeroThreshold": 0.03125,
                      "positive": { "offset": -2, "bucketCounts": ["2"] }, "negative": null },
                ] } },
                { "name": "q", "summary": { "dataPoints": [
                    { "timeUnixNano": "1000000000", "count": "2", "sum": 3.5, "quantileValues": [{ "quantile": 0.5, "value": "NaN" }] },
                ] } },
            ],
        }],
    }] })
}

/// The same as a message.
fn in_protobuf() -> Request {
    let any = |value| AnyValue { value: Some(value) };
    let list = ArrayValue { values: vec![any(Value::Int(1)), AnyValue::default()] };
    let map = KeyValueList { values: vec![attribute("a", Value::Bool(false))] };
    let attributes = vec![
        attribute("text", "x"),
        attribute("yes", Value::Bool(true)),
        attribute("whole", Value::Int(-9_007_199_254_740_993)),
        attribute("part", Value::Double(0.1)),
        attribute("list", Value::Array(list)),
        attribute("map", Value::Kvlist(map)),
        attribute("bytes", Value::Bytes(vec![1, 2])),
        KeyValue { key: "none".to_owned(), value: None },
    ];
    let endless =
        NumberDataPoint { time_unix_nano: 2 * SECOND, start_time_unix_nano: 1, ..double(f64::NEG_INFINITY) };
    let whole = |seconds: u64, number| NumberDataPoint {
        time_unix_nano: seconds * SECOND,
        as_int: Some(number),
        ..Default::default()
    };
    let mut counted = sum("s", 2, true, whole(1, 9_007_199_254_740_993));
    counted.sum.iter_mut().for_each(|sum| sum.data_points.push(whole(2, 1000)));
    let classic = HistogramDataPoint {
        time_unix_nano: SECOND,
        count: 3,
        sum: Some(1.0),
        bucket_counts: vec![1, 2],
        explicit_bounds: vec![0.5],
        ..Default::default()
    };
    let exponential = ExponentialHistogramDataPoint {
        time_unix_nano: SECOND,
        count: 3,
        scale: -1,
        zero_count: 1,
        zero_threshold: 0.03125,
        positive: Some(Buckets { offset: -2, bucket_counts: vec![2] }),
        ..Default::default()
    };
    let quantile = SummaryDataPoint {
        time_unix_nano: SECOND,
        count: 2,
        sum: 3.5,
        quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: f64::NAN }],
        ..Default::default()
    };
    let metrics = vec![
        Metric {
            unit: "1".to_owned(),
            description: "G.".to_owned(),
            ..gauge("g", vec![NumberDataPoint { attributes, ..double(0.1) }, endless])
        },
        counted,
        histogram("h", 1, classic),
        Metric {
            name: "e".to_owned(),
            exponential_histogram: Some(ExponentialHistogram {
                data_points: vec![exponential],
                aggregation_temporality: 2,
            }),
            ..Default::default()
        },
        Metric {
            name: "q".to_owned(),
            summary: Some(Summary { data_points: vec![quantile] }),
            ..Default::default()
        },
    ];
    let scope = Scope { name: "meter".to_owned(), version: "1.0".to_owned(), attributes: vec![] };
    let mut message = of(vec![attribute("service.name", "shop")], scope, metrics);
    message.resource_metrics[0].scope_metrics[0].schema_url = "https://scope".to_owned();
    message
}

#[test]
fn json_says_what_protobuf_says() {
    let (one, other) = (MemoryHost::new(), MemoryHost::new());
    let response =
        client(&one, "application/json; charset=utf-8").post("/v1/metrics", &in_json().to_string());
    assert_eq!((response.status, kind(&response), &response.body[..]), (200, Some(JSON), &b"{}"[..]));
    take(&other, &in_protobuf());
    // Values that are no number are like none, but as texts.
    assert_eq!(format!("{:?}", stored(&one)), format!("{:?}", stored(&other)));
    assert_eq!(stored(&one).len(), 2 + 1 + 4 + 5 + 3);
    let scope = "otel_scope_name:meter,otel_scope_schema_url:https://scope,otel_scope_version:1.0";
    let tags = format!(
        "bytes:AQI=,job:shop,list:[1,null],map:{{\"a\":false}},{scope},part:0.1,text:x,whole:-9007199254740993,yes:true"
    );
    assert_eq!(stored(&one)[&format!("g_ratio{{{tags}}}")], [(1000, 0.1)]);
    assert_eq!(
        stored(&one)[&format!("s_total{{job:shop,{scope}}}")],
        [(1000, 9_007_199_254_740_992.0), (2000, 1000.0)]
    );
}

proptest! {
    #[test]
    fn a_double_is_kept_to_the_last_bit_in_both_encodings(bits: u64, milliseconds in 1..4_000_000_000_000_u64) {
        let value = f64::from_bits(bits);
        let (one, other) = (MemoryHost::new(), MemoryHost::new());
        let nanoseconds = milliseconds * 1_000_000;
        take(&one, &request(vec![gauge("g", vec![NumberDataPoint { time_unix_nano: nanoseconds, ..double(value) }])]));
        let kept = stored(&one)["g{}"][0];
        prop_assert_eq!((kept.0, kept.1.to_bits()), (milliseconds as i64, bits));
        let written = if value.is_nan() {
            json!("NaN")
        } else if value.is_infinite() {
            json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
        } else {
            json!(value)
        };
        let point = json!({ "timeUnixNano": nanoseconds.to_string(), "asDouble": written });
        let metrics = json!([{ "name": "g", "gauge": { "dataPoints": [point] } }]);
        let message = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": metrics }] }] });
        prop_assert_eq!(client(&other, JSON).post("/v1/metrics", &message.to_string()).status, 200);
        let kept = stored(&other)["g{}"][0];
        prop_assert!(kept.1.to_bits() == bits || kept.1.is_nan() && value.is_nan());
    }
}
