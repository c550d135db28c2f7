//! What is not taken, wholly or in part, and how it is told.

use std::io::Write as _;

use bellwether_sdk::dialect::AuthFailure;
use bellwether_sdk::series::{MetricKind, SeriesError};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;
use crate::failure::Failure;

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("it packs");
    encoder.finish().expect("it packs")
}

/// The words of a refusal in protobuf, whose status and code these are.
#[track_caller]
fn refused(response: &Response, status: u16, code: i32) -> String {
    assert_eq!((response.status, kind(response)), (status, Some(PROTOBUF)));
    let told = Status::decode(&*response.body).expect("a Status");
    assert_eq!(told.code, code, "{}", told.message);
    told.message
}

/// The same in JSON.
#[track_caller]
fn refused_in_json(response: &Response, status: u16, code: i32) -> String {
    let body: Json = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(
        (response.status, kind(response), &body["code"]),
        (status, Some(JSON), &json!(code)),
        "{body}"
    );
    body["message"].as_str().expect("a text").to_owned()
}

#[test]
fn who_calls_is_known_by_a_key_or_told_how_to_be() {
    let host = MemoryHost::new();
    for failure in [AuthFailure::Missing, AuthFailure::Unknown, AuthFailure::Expired] {
        let response = client(&host, PROTOBUF).refused(failure.clone()).post("/v1/metrics", "");
        refused(&response, 401, 16);
        assert!(header(&response, "www-authenticate").is_some_and(|value| value.starts_with("Basic")));
        refused_in_json(&client(&host, JSON).refused(failure).post("/v1/metrics", "{}"), 401, 16);
    }
    let suspended = AuthFailure::Other("the organisation is suspended".to_owned());
    let response = client(&host, PROTOBUF).refused(suspended).post("/v1/metrics", "");
    assert!(refused(&response, 403, 7).contains("suspended"));
}

#[test]
fn what_the_host_cannot_take_now_is_sent_again_and_what_it_never_takes_is_not() {
    let host = MemoryHost::new();
    // A dialect's answer to a request that met this error of the host's.
    let answer = |error: SeriesError| {
        let error = std::cell::RefCell::new(Some(error));
        let router = bellwether_sdk::dialect::Router::new().post("/", move |_: &MemoryHost, request| {
            Failure::from(error.take().expect("one request")).answer(request)
        });
        Client::new(router, &host).header("content-type", PROTOBUF).post("/", "")
    };
    let said = || "said".to_owned();
    for (error, status, code, retry) in [
        (SeriesError::Unavailable(said()), 503, 14, Some("1")),
        (SeriesError::Limit(said()), 413, 8, None),
        (SeriesError::Limit("said: at most 2 samples of one write".to_owned()), 413, 3, None),
        (SeriesError::Forbidden(said()), 403, 7, None),
        (SeriesError::Other(said()), 500, 13, None),
    ] {
        let response = answer(error);
        assert!(refused(&response, status, code).contains("said"));
        assert_eq!(header(&response, "retry-after"), retry, "{status}");
    }
}

#[test]
fn a_request_of_more_new_metrics_than_one_can_settle_is_sent_again_and_kept_then() {
    let host = MemoryHost::new();
    let metrics: Vec<Metric> = (0..600).map(|at| sum(&format!("m{at}"), 1, true, double(1.0))).collect();
    let message = request(metrics);
    let response = send(&host, &message);
    assert!(refused(&response, 503, 14).contains("more than 500 metrics are new"));
    assert!(header(&response, "retry-after").is_some());
    assert!(stored(&host).is_empty());
    take(&host, &message);
    assert_eq!(stored(&host).len(), 600);
    let metrics = host.tagged_metrics(None, None, 1000).expect("a list");
    assert!(metrics.iter().all(|metric| metric.metadata.kind == MetricKind::Count));
}

#[test]
fn a_body_that_is_none_is_refused_for_good_and_says_where() {
    let host = MemoryHost::new();
    let good = request(vec![gauge("g", vec![double(1.0)])]).encode_to_vec();
    let post = |client: Client<'_>, body: &[u8]| client.send("POST", "/v1/metrics", body);
    let (protobuf, json) = (|| client(&host, PROTOBUF), || client(&host, JSON));
    for (response, status, said) in [
        (post(protobuf(), &good[..good.len() - 1]), 400, "no ExportMetricsServiceRequest"),
        (post(protobuf(), &packed(&good)), 400, "no ExportMetricsServiceRequest"),
        (post(protobuf().header("content-encoding", "gzip"), &good), 400, "no gzip"),
        (
            post(protobuf().header("content-encoding", "br"), &good),
            415,
            "\"br\", expected deflate, gzip, zstd or none",
        ),
        (post(protobuf().header("content-encoding", "deflate"), &good), 400, "no deflate"),
        (post(protobuf().header("content-encoding", "gzip"), &packed(&[0; 17 << 20])), 413, "16777216 bytes"),
        (post(protobuf(), &[0; 17 << 20]), 413, "16777216 bytes"),
    ] {
        let told = refused(&response, status, 3);
        assert!(told.contains(said), "{told}");
    }
    for (body, said) in [
        ("", "it is empty, expected JSON"),
        ("{", "line 1, column 1: EOF while parsing"),
        ("{} {}", "line 1, column 4: trailing characters"),
        ("[]", r#"the body is "[]", expected an object"#),
        ("[[]]", r#"the body is "[[]]", expected an object"#),
        (r#"{"resourceMetrics":[[]]}"#, r#"resourceMetrics[0] is "[]", expected an object"#),
        (
            r#"{"resourceMetrics":[{"resource":[]}]}"#,
            r#"resourceMetrics[0].resource is "[]", expected an object"#,
        ),
        (
            r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":[]}]}}]}"#,
            r#"attributes[0].value is "[]", expected an object"#,
        ),
        (r#"{"resourceMetrics": 1}"#, "resourceMetrics is \"1\", expected a list"),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":"1.5"}]}}]}]}]}"#,
            "resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints[0].asInt is \"1.5\", \
             expected a whole number (signed, 64 bits)",
        ),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"timeUnixNano":-1}]}}]}]}]}"#,
            "timeUnixNano is \"-1\", expected a whole number (unsigned, 64 bits)",
        ),
        (
            r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":{"bytesValue":"?"}}]}}]}"#,
            "expected bytes in base64",
        ),
    ] {
        let told = refused_in_json(&post(json(), body.as_bytes()), 400, 3);
        assert!(told.contains(said), "{told}");
    }
    let spaces = " ".repeat(5 << 20);
    assert!(refused_in_json(&post(json(), spaces.as_bytes()), 413, 3).contains("4194304 bytes"));
    let response = post(client(&host, "text/plain"), &good);
    assert!(refused_in_json(&response, 415, 3).contains("\"text/plain\", expected application/x-protobuf"));
    assert!(stored(&host).is_empty());
    let response = post(protobuf().header("content-encoding", "gzip"), &packed(&good));
    assert_eq!((response.status, stored(&host).len()), (200, 1));
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::default());
    deflated.write_all(&request(vec![gauge("other", vec![double(1.0)])]).encode_to_vec()).unwrap();
    let response = post(protobuf().header("content-encoding", "deflate"), &deflated.finish().unwrap());
    assert_eq!((response.status, stored(&host).len()), (200, 2));
}

#[test]
fn a_message_that_does_not_read_is_refused_wherever_in_it_that_is() {
    let host = MemoryHost::new();
    let good = of(vec![attribute("a", "b")], Scope::default(), vec![gauge("g", vec![double(1.0)])]);
    let [resource] = &good.resource_metrics[..] else { panic!("one resource") };
    let [scope] = &resource.scope_metrics[..] else { panic!("one scope") };
    // A field of this number with these bytes, behind everything else a message has.
    let behind = |message: Vec<u8>, number: u8, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128).expect("it is short");
        [&message[..], &[number << 3 | 2, length], bytes].concat()
    };
    let whole = |resource: &[u8]| behind(good.encode_to_vec(), 1, resource);
    let in_resource = |scope: &[u8]| whole(&behind(resource.encode_to_vec(), 2, scope));
    let in_scope = |metric: &[u8]| in_resource(&behind(scope.encode_to_vec(), 2, metric));
    // It breaks off; what is in it is no message, or no text.
    for wrong in [&[0x0a, 9, 1][..], &[0x0a, 1, 0xff]] {
        for body in [whole(wrong), in_resource(wrong), in_scope(wrong)] {
            let told = refused(&client(&host, PROTOBUF).send("POST", "/v1/metrics", body), 400, 3);
            assert!(told.starts_with("the body is no ExportMetricsServiceRequest: "), "{told}");
        }
    }
    assert!(stored(&host).is_empty());
    assert_eq!(client(&host, PROTOBUF).send("POST", "/v1/metrics", in_scope(&[])).status, 200);
}

#[test]
fn what_is_not_there_is_told_as_everything_is() {
    let host = MemoryHost::new();
    let response = client(&host, PROTOBUF).post("/v1/traces", "");
    assert!(refused(&response, 404, 5).contains("/v1/traces"));
    let response = client(&host, JSON).get("/v1/metrics");
    assert!(refused_in_json(&response, 405, 12).contains("GET is not POST"));
    assert_eq!(header(&response, "allow"), Some("POST"));
}

#[test]
fn points_that_cannot_be_kept_are_told_and_cost_the_others_nothing() {
    let timeless = NumberDataPoint { as_int: Some(1), ..Default::default() };
    let empty = NumberDataPoint { time_unix_nano: SECOND, ..Default::default() };
    let many = (0..65).map(|at| attribute(&format!("a{at}"), "v")).collect::<Vec<_>>();
    let fits = NumberDataPoint { attributes: many[..64].to_vec(), ..double(1.0) };
    let classic = |bucket_counts: &[u64], explicit_bounds: &[f64]| {
        let point = HistogramDataPoint {
            time_unix_nano: SECOND,
            count: 3,
            bucket_counts: bucket_counts.to_vec(),
            explicit_bounds: explicit_bounds.to_vec(),
            ..Default::default()
        };
        histogram("h", 2, point)
    };
    let exponential = |count, zero_threshold| {
        let point = ExponentialHistogramDataPoint {
            time_unix_nano: SECOND,
            count,
            zero_threshold,
            zero_count: 1,
            ..Default::default()
        };
        let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: 2 };
        Metric { name: "e".to_owned(), exponential_histogram: Some(data), ..Default::default() }
    };
    let quantile = SummaryDataPoint {
        time_unix_nano: SECOND,
        quantile_values: vec![ValueAtQuantile { quantile: 1.5, value: 1.0 }],
        ..Default::default()
    };
    let summary = Some(Summary { data_points: vec![quantile] });
    let long = "x".repeat(194);
    for (wrong, said) in [
        (
            gauge("g", vec![timeless]),
            ".gauge.data_points[0].time_unix_nano is 0, expected nanoseconds since 1970",
        ),
        (gauge("g", vec![empty]), ".gauge.data_points[0] has no value, expected as_double or as_int"),
        (
            gauge("g", vec![NumberDataPoint { attributes: many, ..double(1.0) }]),
            ".attributes are more than 64, expected at most as many",
        ),
        (
            histogram(
                "h",
                2,
                HistogramDataPoint {
                    time_unix_nano: SECOND,
                    attributes: fits.attributes.clone(),
                    ..Default::default()
                },
            ),
            ".histogram.data_points[0] has 65 tags with those of its scope and resource, expected at most 64",
        ),
        (gauge("", vec![double(1.0)]), ": name is \"\", which becomes \"\", expected 1 to 193 bytes"),
        (gauge(&long, vec![double(1.0)]), "expected 1 to 193 bytes"),
        (
            sum("s", 0, true, double(1.0)),
            ": sum.aggregation_temporality is 0, expected 1 (delta) or 2 (cumulative)",
        ),
        (histogram("h", 3, HistogramDataPoint::default()), ": histogram.aggregation_temporality is 3"),
        (classic(&[1, 2], &[1.0, 2.0]), ".bucket_counts has 2, expected 3: one more than explicit_bounds"),
        (classic(&[], &[1.0]), ".bucket_counts has 0, expected 2"),
        (classic(&[1, 1, 1], &[2.0, 1.0]), ".explicit_bounds has 1 behind 2, expected a larger one"),
        (classic(&[1, 2], &[f64::INFINITY]), ".explicit_bounds has inf, expected finite numbers"),
        (classic(&[1, 1], &[1.0]), ".bucket_counts add up to 2, expected the point's count, 3"),
        (classic(&[u64::MAX, u64::MAX], &[1.0]), "add up to 36893488147419103230"),
        (exponential(2, 0.0), "add up to 1, expected the point's count, 2"),
        (exponential(1, -1.0), ".zero_threshold is -1, expected a finite number from 0 on"),
        (
            Metric { name: "q".to_owned(), summary, ..Default::default() },
            ".quantile_values has the quantile 1.5, expected 0 to 1",
        ),
    ] {
        let host = MemoryHost::new();
        let good = gauge("good", vec![fits.clone()]);
        let response = send(&host, &request(vec![good, wrong]));
        assert_eq!(response.status, 200);
        let answer =
            Answer::decode(&*response.body).expect("an answer").partial_success.expect("it is one in part");
        assert_eq!(answer.rejected_data_points, 1, "{}", answer.error_message);
        let path = "1 data points were not kept; the first: resource_metrics[0].scope_metrics[0].metrics[1]";
        assert!(
            answer.error_message.starts_with(path) && answer.error_message.contains(said),
            "{} should say {said}",
            answer.error_message
        );
        let kept: Vec<String> = stored(&host).into_keys().collect();
        assert!(kept.len() == 1 && kept[0].starts_with("good{a0:v"), "{kept:?}");
    }
}

#[test]
fn all_points_of_a_resource_with_too_many_attributes_are_counted() {
    let host = MemoryHost::new();
    let attributes = (0..65).map(|at| attribute(&format!("a{at}"), "v")).collect();
    let points = vec![double(1.0), double(2.0)];
    let message = of(attributes, Scope::default(), vec![gauge("g", points), gauge("h", vec![double(1.0)])]);
    let answer = Answer::decode(&*send(&host, &message).body).expect("an answer").partial_success;
    let answer = answer.expect("it is one in part");
    assert_eq!(answer.rejected_data_points, 3);
    assert!(
        answer.error_message.contains("the setting resource_attributes says"),
        "{}",
        answer.error_message
    );
}

#[test]
fn a_partial_success_has_its_count_as_a_text_in_json() {
    let host = MemoryHost::new();
    let metric = r#"{"name":"g","gauge":{"dataPoints":[{"asInt":1},{"asInt":1}]}}"#;
    let message = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#);
    let response = client(&host, JSON).post("/v1/metrics", &message);
    let body: Json = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!((response.status, &body["partialSuccess"]["rejectedDataPoints"]), (200, &json!("2")));
}

proptest! {
    #[test]
    fn whatever_comes_is_answered(body in prop::collection::vec(any::<u8>(), 0..200), json: bool) {
        let host = MemoryHost::new();
        let kind = if json { JSON } else { PROTOBUF };
        let response = client(&host, kind).send("POST", "/v1/metrics", body);
        prop_assert!(matches!(response.status, 200 | 400));
    }

    #[test]
    fn a_request_with_wrong_bytes_is_answered(at in 0..400_usize, byte: u8) {
        let host = MemoryHost::new();
        let point = HistogramDataPoint {
            time_unix_nano: SECOND,
            count: 3,
            bucket_counts: vec![1, 2],
            explicit_bounds: vec![0.5],
            attributes: vec![attribute("a", "b")],
            ..Default::default()
        };
        let metrics = vec![gauge("g", vec![double(1.0)]), histogram("h", 2, point)];
        let mut body = of(vec![attribute("service.name", "s")], Scope::default(), metrics).encode_to_vec();
        let at = at % body.len();
        body[at] = byte;
        let response = client(&host, PROTOBUF).send("POST", "/v1/metrics", body);
        prop_assert!(matches!(response.status, 200 | 400));
    }
}
