//! Points in: every shape, encoding and error.

use std::io::Write;

use bellwether_sdk::host::{SeriesWrite, State};
use bellwether_sdk::series::{Metadata, MetricKind};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use prost::encoding::{WireType, encode_key, encode_varint};

use super::*;

const AT: i64 = 1_712_620_800_000;

fn metadata(host: &MemoryHost, metric: &str) -> Metadata {
    host.tagged_metric(metric).expect("the metric").metadata
}

#[test]
fn v1_points_are_kept_with_host_device_and_tags() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = json!({ "series": [
        {
            "metric": "system.load.1", "type": "gauge", "interval": null, "host": "web-1", "device": "sda",
            "points": [[1_712_620_800, 0.5], [1_712_620_810.25, 1], ["1712620820", "2.5"], [1_712_620_830, null]],
            "tags": ["env:prod", "canary", ""], "unknown": { "a": [1] },
        },
        { "metric": "requests", "type": "count", "interval": 10, "points": [[1_712_620_800, 7]], "tags": null,
          "host": null },
        { "metric": "rates", "type": "rate", "interval": 20, "points": [[1_712_620_800, 7]], "host": "" },
        { "metric": "silent", "points": [] },
    ] });
    let response = client.post("/api/v1/series", &body.to_string());
    assert_eq!((response.status, &*response.body), (202, &br#"{"status":"ok"}"#[..]));
    assert_eq!(
        stored(&host, "system.load.1"),
        [(
            ["canary", "device:sda", "env:prod", "host:web-1"].map(str::to_owned).to_vec(),
            vec![(AT, 0.5), (AT + 10_250, 1.0), (AT + 20_000, 2.5)]
        )]
    );
    assert_eq!(stored(&host, "requests"), [(vec![], vec![(AT, 7.0)])]);
    assert_eq!(stored(&host, "rates"), [(vec![], vec![(AT, 7.0)])]);
    assert!(host.tagged_metric("silent").is_err());
    assert_eq!(metadata(&host, "system.load.1"), Metadata::default());
    assert_eq!(metadata(&host, "requests").kind, MetricKind::Count);
    assert_eq!(host.get("requests"), Ok(Some(b"10".to_vec())));
    assert_eq!(
        (metadata(&host, "rates").kind, host.get("rates")),
        (MetricKind::Rate, Ok(Some(b"20".to_vec())))
    );
}

#[test]
fn v2_points_are_kept_with_their_resources_and_unit() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = json!({ "series": [{
        "metric": "disk.free", "type": 3, "unit": "byte", "source_type_name": "system", "tags": ["env:prod"],
        "points": [{ "timestamp": 1_712_620_800, "value": 12.5 }, { "value": 2, "timestamp": 1_712_620_860 }],
        "resources": [{ "type": "host", "name": "web-1" }, { "name": "sda", "type": "device" }],
        "metadata": { "origin": { "metric_type": 1, "product": 2, "service": 3 } },
    }, { "metric": "hits", "type": 1, "interval": 10, "points": [{ "timestamp": 1_712_620_800, "value": 1 }] }] });
    let response = client.post("/api/v2/series", &body.to_string());
    assert_eq!((response.status, &*response.body), (202, &br#"{"errors":[]}"#[..]));
    assert_eq!(
        stored(&host, "disk.free"),
        [(
            ["device:sda", "env:prod", "host:web-1"].map(str::to_owned).to_vec(),
            vec![(AT, 12.5), (AT + 60_000, 2.0)]
        )]
    );
    let known = metadata(&host, "disk.free");
    assert_eq!((known.unit.as_deref(), known.integration.as_deref()), (Some("byte"), Some("system")));
    assert_eq!(metadata(&host, "hits").kind, MetricKind::Count);
}

#[test]
fn a_resource_without_a_type_or_a_name_is_no_tag_and_costs_no_points() {
    let host = MemoryHost::new();
    let body = json!({ "series": [{
        "metric": "m", "points": [{ "timestamp": 1_712_620_800, "value": 1 }],
        "resources": [{ "name": "web-1" }, { "type": "host" }, {}, { "type": null, "name": null }, { "type": "zone", "name": "a" }],
    }] });
    assert_eq!(Client::new(routes(), &host).post("/api/v2/series", &body.to_string()).status, 202);
    assert_eq!(stored(&host, "m"), [(vec!["zone:a".to_owned()], vec![(AT, 1.0)])]);
}

#[test]
fn the_payload_of_connectors_is_taken_as_documented() {
    let host = MemoryHost::new();
    let body = json!({ "series": [{
        "metric": "system.cpu.usage",
        "points": [
            { "POSIX_timestamp": "2023-05-15T10:30:00Z", "numeric_value": 75.5 },
            { "POSIX_timestamp": "2023-05-15T10:31:00Z", "numeric_value": 80.2 },
        ],
        "type": 3, "interval": 60, "tags": ["environment:production", "server:web01"],
        "metadata": { "origin": { "metric_type": 1, "product": 2, "service": 3 } },
        "source_type_name": "system", "resources": [{ "name": "web-server-01", "type": "instance" }],
        "unit": "percent",
    }] });
    assert_eq!(Client::new(routes(), &host).post("/api/v2/series", &body.to_string()).status, 202);
    assert_eq!(
        stored(&host, "system.cpu.usage"),
        [(
            ["environment:production", "instance:web-server-01", "server:web01"].map(str::to_owned).to_vec(),
            vec![(1_684_146_600_000, 75.5), (1_684_146_660_000, 80.2)]
        )]
    );
}

#[test]
fn no_value_of_a_distribution_is_lost_and_the_same_again_changes_nothing() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = json!({ "series": [{
        "metric": "latency", "host": "web-1", "tags": ["env:prod"], "type": "distribution",
        "points": [[1_712_620_800, [1.0, 2.0, 2.0]], [1_712_620_800.9, [3]], [1_712_620_801, []]],
    }] })
    .to_string();
    for _ in 0..2 {
        let response = client.post("/api/v1/distribution_points", &body);
        assert_eq!((response.status, &*response.body), (202, &br#"{"status":"ok"}"#[..]));
        let series = stored(&host, "latency");
        assert_eq!(series[0].0, ["env:prod", "host:web-1"]);
        let mut values: Vec<f64> = series[0].1.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        assert_eq!(values, [1.0, 2.0, 2.0, 3.0]);
        assert!(series[0].1.iter().all(|(time, _)| (AT..AT + 1000).contains(time)));
    }
    assert_eq!(metadata(&host, "latency").kind, MetricKind::Distribution);
    let full = json!({ "series": [{ "metric": "full", "points": [[1_712_620_800, vec![1.0; 1000]]] }] });
    assert_eq!(client.post("/api/v1/distribution_points", &full.to_string()).status, 202);
    assert_eq!(metadata(&host, "full").kind, MetricKind::Distribution, "without a word too");
    assert_eq!(stored(&host, "full")[0].1.len(), 1000);
    let over = json!({ "series": [{ "metric": "over", "points": [[1_712_620_800, vec![1.0; 1001]]] }] });
    let error = refused(&client.post("/api/v1/distribution_points", &over.to_string()), 400);
    assert!(error.contains("series[0].points[0] has 1001 values"), "{error}");
}

#[test]
fn a_second_of_a_distribution_has_a_thousand_values_however_they_are_split_and_no_more() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let points = |count: u16, from: f64| {
        let values: Vec<f64> = (0..count).map(|at| from + f64::from(at)).collect();
        json!([1_712_620_800, values])
    };
    let series = |tags: [&str; 2], points: Value| json!({ "metric": "d", "tags": tags, "points": points });
    let send =
        |series: Value| client.post("/api/v1/distribution_points", &json!({ "series": series }).to_string());
    // Another series between them takes no place of theirs.
    let full = json!([
        series(["a:1", "b:1"], json!([points(300, 0.0), points(300, 300.0)])),
        series(["a:2", "b:1"], json!([points(700, 0.0)])),
        series(["b:1", "a:1"], json!([points(400, 600.0)])),
    ]);
    for _ in 0..2 {
        assert_eq!(send(full.clone()).status, 202);
        let kept = stored(&host, "d");
        let mut values: Vec<f64> = kept[0].1.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        assert_eq!(values, (0..1000).map(f64::from).collect::<Vec<_>>());
        assert_eq!(kept[1].1.len(), 700);
    }
    for (over, at) in [
        (json!([series(["a:1", "b:1"], json!([points(600, 0.0), points(401, 0.0)]))]), 0),
        (
            json!([
                series(["a:3", "b:1"], json!([points(600, 0.0)])),
                series(["b:1", "a:3"], json!([points(401, 0.0)])),
            ]),
            1,
        ),
    ] {
        let error = refused(&send(over), 400);
        let said = format!(
            "series[{at}].points have 1001 values of one series in the second 1712620800, expected at most 1000"
        );
        assert!(error.contains(&said), "{error}");
    }
    assert_eq!(stored(&host, "d").len(), 2, "nothing of what is refused is kept");
}

#[test]
fn what_is_known_of_a_metric_is_not_unlearnt() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let send = |metric: &str, kind: u8, unit: &str| {
        let point = json!({ "timestamp": 1_712_620_800, "value": 1 });
        let body = json!({ "series": [{ "metric": metric, "type": kind, "unit": unit, "points": [point] }] });
        let response = client.post("/api/v2/series", &body.to_string());
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, answer.as_object().map(serde_json::Map::len)), (202, Some(1)));
        let known = metadata(&host, metric);
        (known.kind, known.unit, answer["errors"].as_array().unwrap().len())
    };
    let byte = || Some("byte".to_owned());
    assert_eq!(send("m", 1, ""), (MetricKind::Count, None, 0));
    assert_eq!(send("m", 0, ""), (MetricKind::Count, None, 0), "says nothing");
    assert_eq!(send("m", 2, "byte"), (MetricKind::Count, byte(), 1));
    assert_eq!(send("m", 3, "bit"), (MetricKind::Count, byte(), 1));
    // A unit longer than the host takes is no reason to refuse points.
    assert_eq!(send("long", 1, &"u".repeat(150)), (MetricKind::Count, Some("u".repeat(100)), 0));
    // Without a word it is a gauge, and so are the samples it has.
    for first in [0, 3] {
        let metric = format!("gauge{first}");
        assert_eq!(send(&metric, first, ""), (MetricKind::Gauge, None, 0));
        assert_eq!(send(&metric, 1, "byte"), (MetricKind::Gauge, byte(), 1));
    }
}

#[test]
fn an_interval_is_learnt_whenever_one_is_told_and_none_is_known() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let send = |intervals: &[Value]| {
        let series = intervals.iter().map(|interval| {
            json!({ "metric": "m", "type": "count", "interval": interval, "points": [[1_712_620_800, 1]] })
        });
        let body = json!({ "series": series.collect::<Vec<_>>() });
        assert_eq!(client.post("/api/v1/series", &body.to_string()).status, 202);
        host.get("m").expect("state").map(|kept| String::from_utf8(kept).expect("a text"))
    };
    assert_eq!(send(&[json!(null)]), None);
    assert_eq!(send(&[json!(null), json!(10)]).as_deref(), Some("10"), "the metric is known since long");
    assert_eq!(send(&[json!(20)]).as_deref(), Some("10"), "what is known stays");
    let long = "m".repeat(190);
    let body = json!({ "series": [{ "metric": long, "type": "count", "interval": 10, "points": [[1_712_620_800, 1]] }] });
    assert_eq!(client.post("/api/v1/series", &body.to_string()).status, 202);
    assert_eq!(stored(&host, &long).len(), 1);
}

#[test]
fn a_payload_of_many_new_metrics_is_kept_and_what_it_says_of_them_is_learnt_by_and_by() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = |count: u16, kind: &str| {
        let series = (0..count).map(|at| {
            json!({ "metric": format!("{kind}{at}"), "type": kind, "unit": "byte", "interval": 10,
                "points": [[1_712_620_800, 1]] })
        });
        json!({ "series": series.collect::<Vec<_>>() }).to_string()
    };
    let send = |count: u16, kind: &str| client.post("/api/v2/series", &body(count, kind));
    let known = |count: u16, kind: &str, is: &dyn Fn(&str) -> bool| {
        (0..count).filter(|at| is(&format!("{kind}{at}"))).count()
    };
    let has_unit = |metric: &str| metadata(&host, metric).unit.is_some();
    // Gauges are gauges from their samples on; units follow.
    for learnt in [100, 200, 250, 250] {
        assert_eq!(send(250, "gauge").status, 202);
        assert_eq!(known(250, "gauge", &has_unit), learnt);
    }
    // What a metric is, is known before its samples come, or they would be a gauge's for good.
    let counts = send(600, "count");
    assert!(refused(&counts, 503).contains("more than 500"), "{counts:?}");
    assert!(counts.headers.iter().any(|header| header.name == "retry-after"));
    assert!(
        host.tagged_metrics(Some("count"), None, 1000)
            .expect("a list")
            .iter()
            .all(|metric| metric.series == 0)
    );
    assert_eq!(send(600, "count").status, 202);
    let is_count = |metric: &str| metadata(&host, metric).kind == MetricKind::Count;
    assert_eq!(known(600, "count", &is_count), 600);
    let has_interval = |metric: &str| matches!(host.get(metric), Ok(Some(_)));
    assert_eq!(known(600, "count", &has_interval), 100);
}

#[test]
fn what_comes_as_another_kind_is_kept_and_told() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let series = |kind: &str| json!({ "metric": "m", "type": kind, "points": [[1_712_620_800, 1]] });
    let body = json!({ "series": [series(""), series("gauge"), series("count")] }).to_string();
    let told = |path: &str| -> Value {
        let response = client.post(path, &body);
        assert_eq!(response.status, 202);
        serde_json::from_slice(&response.body).unwrap()
    };
    let warning = "m is kept as a gauge, not as a count";
    assert_eq!(told("/api/v1/series"), json!({ "status": "ok", "warnings": [warning] }));
    assert_eq!(told("/api/v2/series"), json!({ "errors": [warning] }));
    assert_eq!(metadata(&host, "m").kind, MetricKind::Gauge);
}

#[test]
fn an_instance_asks_about_a_gauge_once_as_long_as_the_same_is_told_of_it() {
    let host = MemoryHost::new();
    let send = |client: &Client<'_>, unit: &str| {
        let series = json!({ "metric": "m", "type": 3, "unit": unit, "interval": 10, "points": [{ "timestamp": 1_712_620_800, "value": 1 }] });
        seen(&client.post("/api/v2/series", &json!({ "series": [series] }).to_string())).1
    };
    let instance = Client::new(routes(), &host);
    let nothing = json!({ "errors": [] });
    for _ in 0..2 {
        assert_eq!(send(&instance, "byte"), nothing);
    }
    let gauge = metadata(&host, "m");
    assert_eq!(gauge.unit.as_deref(), Some("byte"));
    host.describe("m", &Metadata { kind: MetricKind::Count, ..gauge }).expect("it is another now");
    let warning = json!({ "errors": ["m is kept as a count, not as a gauge"] });
    assert_eq!(send(&instance, "byte"), nothing, "it is not asked about again");
    assert_eq!(send(&instance, "bit"), warning);
    assert_eq!(send(&Client::new(routes(), &host), "byte"), warning);
}

fn packed(encoding: &str, body: &[u8]) -> Vec<u8> {
    let level = Compression::default();
    let write = |mut encoder: Box<dyn Write + '_>| encoder.write_all(body).expect("into memory");
    let mut out = Vec::new();
    match encoding {
        "gzip" => write(Box::new(GzEncoder::new(&mut out, level))),
        "deflate" => write(Box::new(ZlibEncoder::new(&mut out, level))),
        "raw deflate" => write(Box::new(DeflateEncoder::new(&mut out, level))),
        "zstd1" | "zstd" => out = zstd::encode_all(body, 3).expect("into memory"),
        _ => out.extend_from_slice(body),
    }
    out
}

#[test]
fn every_encoding_is_unpacked_on_every_endpoint() {
    for (encoding, header) in [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("raw deflate", "deflate"),
        ("zstd1", "zstd1"),
        ("zstd", "zstd"),
        ("identity", "identity"),
    ] {
        for (path, media_type) in [("/api/v1/series", "text/json"), ("/api/v2/series", "application/json")] {
            let host = MemoryHost::new();
            let client = Client::new(routes(), &host)
                .header("content-encoding", header)
                .header("content-type", media_type);
            let response = client.send("POST", path, packed(encoding, payload("m").as_bytes()));
            assert_eq!(response.status, 202, "{encoding}: {}", String::from_utf8_lossy(&response.body));
            assert_eq!(stored(&host, "m"), [(vec!["env:prod".to_owned()], vec![(AT, 1.5)])], "{encoding}");
        }
    }
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host).header("Content-Encoding", "gzip");
    let body = json!({ "series": [{ "metric": "d", "points": [[1_712_620_800, [1]]] }] }).to_string();
    assert_eq!(
        client.send("POST", "/api/v1/distribution_points", packed("gzip", body.as_bytes())).status,
        202
    );
    let client = Client::new(routes(), &host).header("content-encoding", "zstd1");
    let two = |first: &[u8], second: &[u8]| [packed("zstd1", first), packed("zstd1", second)].concat();
    let whole = payload("m").into_bytes();
    let split = two(&whole[..20], &whole[20..]);
    assert_eq!(client.send("POST", "/api/v1/series", split).status, 202, "frames are one payload");
    assert_eq!(client.send("POST", "/api/v1/series", two(&whole, &whole)).status, 400, "nothing is left out");
}

#[test]
fn a_body_that_does_not_unpack_or_is_too_large_is_refused() {
    let host = MemoryHost::new();
    for encoding in ["gzip", "deflate", "zstd1"] {
        let client = Client::new(routes(), &host).header("content-encoding", encoding);
        let whole = packed(encoding, payload("m").as_bytes());
        for body in [&payload("m").into_bytes(), &whole[..whole.len() / 2], &whole[..1], b""] {
            let error = refused(&client.send("POST", "/api/v2/series", body), 400);
            assert!(error.contains(encoding) || error.contains("expected format"), "{encoding}: {error}");
        }
        let bomb = packed(encoding, &vec![b' '; 20 << 20]);
        for path in ["/api/v1/series", "/api/v2/series", "/api/v1/distribution_points"] {
            let response = client.send("POST", path, &bomb);
            let error = String::from_utf8_lossy(&response.body).into_owned();
            assert_eq!(response.status, 413, "{encoding} {path}: {error}");
        }
    }
    let plain = " ".repeat((5 << 20) + 1);
    assert!(refused(&Client::new(routes(), &host).post("/api/v2/series", &plain), 413).contains("5242880"));
    // A frame that asks for a window of 2 TiB, and one that says it holds as much.
    for frame in [
        [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0, 0, 0, 0, 0, 0, 0],
        [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 2, 0, 0],
    ] {
        let client = Client::new(routes(), &host).header("content-encoding", "zstd");
        assert!(refused(&client.send("POST", "/api/v2/series", frame), 400).contains("window"));
    }
}

#[test]
fn what_is_no_payload_is_refused_by_its_place() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let with =
        |series: Value| json!({ "series": [{ "metric": "a", "points": [[1, 1]] }, series] }).to_string();
    let point = |point: Value| with(json!({ "metric": "m", "points": [[1, 1], point] }));
    for (body, said) in [
        (String::new(), "it is empty, expected JSON"),
        ("nothing".to_owned(), "expected format"),
        ("{}".to_owned(), "missing field `series`"),
        ("[]".to_owned(), "list \"series\""),
        (r#"{"series":7}"#.to_owned(), "a list of series"),
        (r#"{"series":[7]}"#.to_owned(), "an object for series[0]"),
        (payload("m") + "x", "trailing characters"),
        (payload("m").trim_end_matches('}').to_owned(), "EOF"),
        (with(json!({ "points": [[1, 1]] })), "series[1].metric is missing"),
        (with(json!({ "metric": "12", "points": [[1, 1]] })), "series[1].metric is \"12\""),
        (with(json!({ "metric": 7, "points": [] })), "expected"),
        (with(json!({ "metric": "m", "points": 7 })), "a list for series[1].points"),
        (with(json!({ "metric": "m", "points": [], "tags": "a" })), "a list"),
        (with(json!({ "metric": "m", "points": [], "type": "sum" })), "\"gauge\""),
        (with(json!({ "metric": "m", "points": [], "type": 4 })), "0 to 3"),
        (with(json!({ "metric": "m", "points": [], "interval": "often" })), "a number"),
        (point(json!(7)), "series[1].points[1]"),
        (point(json!([1])), "series[1].points[1]"),
        (point(json!([1, 2, 3])), "series[1].points[1]"),
        (point(json!(["soon", 2])), "\"soon\""),
        (point(json!([1e15, 2])), "before the year 10,000"),
        (point(json!([u64::MAX, 2])), "before the year 10,000"),
        (point(json!([i64::MIN, 2])), "before the year 10,000"),
        (point(json!([1, "much"])), "\"much\""),
        (point(json!([1, "NaN"])), "\"NaN\""),
        (point(json!({ "value": 1 })), "series[1].points[1] has no timestamp"),
        (r#"{"series":[{"metric":"m","points":[[1,NaN]]}]}"#.to_owned(), "expected"),
    ] {
        for path in ["/api/v1/series", "/api/v2/series"] {
            let error = refused(&client.post(path, &body), 400);
            assert!(error.contains(said), "{body}: {error} should say {said}");
        }
    }
    for value in [json!([1, 2]), json!({ "timestamp": 1, "value": 1 }), json!([1, ["x"]]), json!([1, [1], 1])]
    {
        let body = json!({ "series": [{ "metric": "m", "points": [value] }] }).to_string();
        refused(&client.post("/api/v1/distribution_points", &body), 400);
    }
    assert!(host.tagged_metric("a").is_err(), "nothing of a payload that is refused is kept");
    let many: Vec<String> = (0..3).map(|at| format!("{at}:{}", "x".repeat(100))).collect();
    let body = json!({ "series": [{ "metric": "m", "points": [[1, 1]], "tags": many }] });
    assert_eq!(client.post("/api/v1/series", &body.to_string()).status, 202);
}

#[test]
fn other_media_types_and_encodings_are_named() {
    let host = MemoryHost::new();
    let with = |name: &str, value: &str, path: &str| {
        Client::new(routes(), &host).header(name, value).post(path, &payload("m"))
    };
    assert!(
        refused(&with("content-type", "application/xml", "/api/v1/series"), 415).contains("application/xml")
    );
    assert!(refused(&with("content-encoding", "br", "/api/v2/series"), 415).contains("br"));
    for path in ["/api/v1/series", "/api/v1/distribution_points"] {
        assert!(
            refused(&with("content-type", "application/x-protobuf", path), 415).contains("/api/v2/series")
        );
    }
    for media_type in ["application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(with("content-type", media_type, "/api/v1/series").status, 202, "{media_type}");
    }
}

#[test]
fn a_payload_without_series_is_taken_as_what_it_is() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    for path in ["/api/v1/series", "/api/v2/series", "/api/v1/distribution_points"] {
        assert_eq!(client.post(path, r#"{"series":[]}"#).status, 202);
    }
}

/// Bytes of a field that has a length.
fn bytes(number: u32, value: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn varint(number: u32, value: u64, out: &mut Vec<u8>) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value, out);
}

/// What an agent sends: one series with two points, as its public description numbers the fields.
pub(super) fn agent_payload() -> Vec<u8> {
    let mut series = Vec::new();
    for (kind, name) in [("host", "web-1"), ("device", "sda")] {
        let mut resource = Vec::new();
        bytes(1, kind.as_bytes(), &mut resource);
        bytes(2, name.as_bytes(), &mut resource);
        bytes(1, &resource, &mut series);
    }
    bytes(2, b"system.io.r_s", &mut series);
    bytes(3, b"env:prod", &mut series);
    bytes(3, "größe:ä".as_bytes(), &mut series);
    for (time, value) in [(1_712_620_800, 1.5_f64), (1_712_620_810, 0.0)] {
        let mut point = Vec::new();
        if value != 0.0 {
            encode_key(1, WireType::SixtyFourBit, &mut point);
            point.extend_from_slice(&value.to_le_bytes());
        }
        varint(2, time, &mut point);
        bytes(4, &point, &mut series);
    }
    varint(5, 2, &mut series);
    bytes(6, b"request", &mut series);
    bytes(7, b"System", &mut series);
    varint(8, 10, &mut series);
    let mut origin = Vec::new();
    varint(4, 10, &mut origin);
    let mut metadata = Vec::new();
    bytes(1, &origin, &mut metadata);
    bytes(9, &metadata, &mut series);
    encode_key(99, WireType::ThirtyTwoBit, &mut series);
    series.extend_from_slice(&[1, 2, 3, 4]);
    let mut payload = Vec::new();
    bytes(1, &series, &mut payload);
    payload
}

#[test]
fn an_agents_protobuf_is_read() {
    for encoding in ["", "deflate", "gzip", "zstd"] {
        let host = MemoryHost::new();
        let client = Client::new(routes(), &host)
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", encoding);
        let response = client.send("POST", "/api/v2/series", packed(encoding, &agent_payload()));
        assert_eq!((response.status, &*response.body), (202, &br#"{"errors":[]}"#[..]), "{encoding}");
        assert_eq!(
            stored(&host, "system.io.r_s"),
            [(
                ["device:sda", "env:prod", "größe:ä", "host:web-1"].map(str::to_owned).to_vec(),
                vec![(AT, 1.5), (AT + 10_000, 0.0)]
            )]
        );
        let known = metadata(&host, "system.io.r_s");
        assert_eq!((known.kind, known.unit.as_deref()), (MetricKind::Rate, Some("request")));
        assert_eq!(known.integration.as_deref(), Some("System"));
        assert_eq!(host.get("system.io.r_s"), Ok(Some(b"10".to_vec())));
    }
}

#[test]
fn wrong_protobuf_is_refused_by_its_place() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host).header("content-type", "application/x-protobuf");
    let series = |fields: &dyn Fn(&mut Vec<u8>)| {
        let mut series = Vec::new();
        fields(&mut series);
        let mut payload = Vec::new();
        bytes(1, &series, &mut payload);
        payload
    };
    for (body, said) in [
        (vec![0xff], "no protobuf"),
        (series(&|out| out.push(0xff)), "series[0].message is no protobuf"),
        (vec![0x0a, 0x05, 0x01], "breaks off in 5 bytes"),
        (series(&|out| varint(5, 3, out)), "series[0].metric is missing"),
        (series(&|out| bytes(2, &[0xff], out)), "series[0].metric is no UTF-8"),
        (series(&|out| varint(5, 4, out)), "series[0].type is 4"),
        (
            series(&|out| bytes(4, &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], out)),
            "series[0].points[0]",
        ),
        (
            series(&|out| bytes(4, &[0x09, 1], out)),
            "series[0].points[0] is no protobuf: it breaks off in 8 bytes",
        ),
    ] {
        let error = refused(&client.send("POST", "/api/v2/series", body), 400);
        assert!(error.contains(said), "{error} should say {said}");
    }
    assert_eq!(client.send("POST", "/api/v2/series", "").status, 202, "nothing is a payload without series");
}
