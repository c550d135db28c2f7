//! Remote write, in messages made field by field.

use bellwether_sdk::host::{SeriesRead, StateError};
use bellwether_sdk::series::{Comparison, Matcher};

use super::*;

const ONE: &str = "application/x-protobuf";
const TWO: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A field with bytes for its value: a text, a message, packed numbers.
fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn sample(value: f64, time: i64) -> Vec<u8> {
    bytes(
        2,
        [varint(1 << 3 | 1), value.to_bits().to_le_bytes().to_vec(), number(2, time.cast_unsigned())]
            .concat(),
    )
}

/// A series of a 1.0 request.
fn series(labels: &[(&str, &str)], rest: &[u8]) -> Vec<u8> {
    let labels = labels.iter().flat_map(|(name, value)| bytes(1, [bytes(1, name), bytes(2, value)].concat()));
    bytes(1, [labels.collect(), rest.to_vec()].concat())
}

fn send(host: &MemoryHost, kind: &str, message: &[u8]) -> Response {
    let body = snap::raw::Encoder::new().compress_vec(message).expect("it packs");
    let client = Client::new(routes(), host)
        .header("content-type", kind)
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0");
    client.send("POST", "/api/v1/write", body)
}

/// A series' metric, its tags, and its samples, values as their bits.
type Stored = (String, Vec<String>, Vec<(i64, u64)>);

/// Everything a host has.
fn stored(host: &MemoryHost) -> Vec<Stored> {
    let found =
        host.select(&[Matcher::metric(Comparison::NotEqual, "")], Timestamp::MIN, Timestamp::MAX, 1000);
    let found = found.expect("they are few").into_iter();
    found
        .map(|selection| {
            let samples = selection.times.into_iter().zip(selection.values.into_iter().map(f64::to_bits));
            (selection.identity.metric, selection.identity.tags, samples.collect())
        })
        .collect()
}

#[test]
fn labels_become_tags_and_every_bit_of_a_value_is_kept() {
    let host = MemoryHost::new();
    let samples = [sample(1.5, 1000), sample(f64::from_bits(STALE), -2000)].concat();
    let message = [
        series(&[("__name__", "up"), ("instance", "a:9090"), ("empty", ""), ("job", "ä b")], &samples),
        series(&[("__name__", "nothing")], &[]),
    ]
    .concat();
    for _ in 0..2 {
        let response = send(&host, ONE, &message);
        assert_eq!((response.status, response.body.len()), (204, 0));
        let tags = vec!["instance:a:9090".to_owned(), "job:ä b".to_owned()];
        assert_eq!(stored(&host), [("up".to_owned(), tags, vec![(-2000, STALE), (1000, 1.5_f64.to_bits())])]);
    }
    assert_eq!(send(&host, ONE, &[]).status, 204);
}

#[test]
fn version_2_says_what_it_kept() {
    let host = MemoryHost::new();
    let symbols = ["", "__name__", "lat_bucket", "le", "0.5", "Latency.", "seconds"];
    let symbols = symbols.iter().flat_map(|symbol| bytes(4, symbol)).collect::<Vec<u8>>();
    let metadata = bytes(5, [number(1, 3), number(3, 5), number(4, 6)].concat());
    let own = [bytes(1, [1, 2, 3, 4]), sample(3.0, 1000), sample(4.0, 2000), metadata].concat();
    // Symbols may lie behind what refers to them, and references may come one by one.
    let response = send(&host, TWO, &[bytes(5, own), symbols.clone()].concat());
    assert_eq!(response.status, 204);
    assert_eq!(header(&response, "x-prometheus-remote-write-samples-written"), Some("2"));
    assert_eq!(header(&response, "x-prometheus-remote-write-histograms-written"), Some("0"));
    let single = [number(1, 1), number(1, 2), number(1, 3), number(1, 4), sample(5.0, 3000)].concat();
    assert_eq!(send(&host, TWO, &[symbols.clone(), bytes(5, single)].concat()).status, 204);
    assert_eq!(stored(&host)[0].1, ["le:0.5"]);
    assert_eq!(stored(&host)[0].2.len(), 3);
    let known = data(&Client::new(routes(), &host).get("/api/v1/metadata"));
    assert_eq!(known, json!({ "lat": [{ "type": "histogram", "help": "Latency.", "unit": "seconds" }] }));
    for (wrong, said) in [
        ([symbols.clone(), bytes(5, bytes(1, [1, 9]))].concat(), "beyond the 7 symbols"),
        ([symbols, bytes(5, bytes(1, [1]))].concat(), "pairs"),
        (bytes(4, "x"), "the first of symbols"),
    ] {
        let response = send(&host, TWO, &wrong);
        assert!(refused(&response, 400, "bad_data").contains(said));
        assert_eq!(header(&response, "x-prometheus-remote-write-samples-written"), Some("0"));
    }
}

#[test]
fn samples_that_are_kept_are_not_asked_for_again_because_of_what_is_told_of_their_metrics() {
    let symbols = ["", "__name__", "lat"].iter().flat_map(|symbol| bytes(4, symbol)).collect::<Vec<u8>>();
    let metadata = bytes(5, number(1, 3));
    let told = |rest: Vec<u8>| [symbols.clone(), bytes(5, [bytes(1, [1, 2]), rest].concat())].concat();
    let full = || {
        let host = MemoryHost::new();
        host.fail_state_after(0, StateError::Quota("the state is full".into()));
        host
    };
    let host = full();
    assert_eq!(send(&host, TWO, &told([sample(1.0, 1000), metadata.clone()].concat())).status, 204);
    assert_eq!(stored(&host).len(), 1);
    assert_eq!(send(&full(), TWO, &told(metadata)).status, 400, "where there is nothing else it is said");
}

#[test]
fn what_cannot_be_kept_is_told_and_costs_the_others_nothing() {
    let sampled = sample(1.0, 1000);
    let many: Vec<(String, String)> = (0..65).map(|at| (format!("l{at}"), "v".to_owned())).collect();
    let mut many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    many.push(("__name__", "m"));
    let long = "x".repeat(400);
    let histogram = [sampled.clone(), bytes(4, "")].concat();
    for (wrong, samples, said) in [
        (series(&[("job", "a")], &sampled), 1, "__name__ is \"\""),
        (series(&[("__name__", &long)], &sampled), 1, "1 to 200 bytes"),
        (series(&many, &sampled), 1, "65 labels"),
        (series(&[("__name__", "m"), ("a", "1"), ("a", "2")], &sampled), 1, "more than once"),
        (series(&[("__name__", "m"), ("a", &long)], &sampled), 1, "400 bytes"),
        (series(&[("__name__", "m"), ("a:b", "1")], &sampled), 1, "without a colon"),
        (series(&[("__name__", "m"), ("a", "1\n2")], &sampled), 1, "control characters"),
        (series(&[("__name__", "m")], &sample(1.0, i64::MAX)), 1, "the timestamp 9223372036854775807"),
        (series(&[("__name__", "m")], &histogram), 2, "native histograms"),
    ] {
        let host = MemoryHost::new();
        let good = series(&[("__name__", "good")], &sampled);
        let error = refused(&send(&host, ONE, &[wrong, good].concat()), 400, "bad_data");
        assert!(error.contains(said) && error.starts_with("1 series were not kept"), "{error}");
        assert_eq!(stored(&host).len(), samples, "{said}");
        assert!(stored(&host).iter().any(|(metric, ..)| metric == "good"));
    }
}

#[test]
fn what_is_no_request_is_refused_for_good() {
    let host = MemoryHost::new();
    let good = series(&[("__name__", "m")], &sample(1.0, 1000));
    let client = |kind: &str, encoding: &str| {
        Client::new(routes(), &host).header("content-type", kind).header("content-encoding", encoding)
    };
    for (response, status, said) in [
        (client(ONE, "snappy").send("POST", "/api/v1/write", &good), 400, "snappy"),
        (client(ONE, "gzip").send("POST", "/api/v1/write", &good), 415, "\"gzip\""),
        (
            client("application/json", "snappy").send("POST", "/api/v1/write", &good),
            415,
            "proto=prometheus.WriteRequest",
        ),
        (
            send(&host, "application/x-protobuf;proto=other", &good),
            415,
            "\"application/x-protobuf;proto=other\"",
        ),
        (send(&host, ONE, &good[..good.len() - 3]), 400, "breaks off"),
        (send(&host, ONE, &series(&[("__name__", "m")], &bytes(1, bytes(1, [0xff])))), 400, "UTF-8"),
        (send(&host, ONE, &[0x0f, 0x01]), 400, "no protobuf"),
        // A block that says it unpacks to 4 GiB is not unpacked.
        (
            client(ONE, "snappy").send("POST", "/api/v1/write", varint(u64::from(u32::MAX))),
            413,
            "4294967295 bytes",
        ),
    ] {
        let error = refused(&response, status, "bad_data");
        assert!(error.contains(said), "{error}");
    }
    assert!(stored(&host).is_empty());
}

#[test]
fn metadata_is_kept_where_nothing_else_is_known() {
    let host = MemoryHost::new();
    let told = |kind, metric: &str, help: &str, unit: &str| {
        bytes(3, [number(1, kind), bytes(2, metric), bytes(4, help), bytes(5, unit)].concat())
    };
    let set = bellwether_sdk::series::Metadata { description: Some("Set.".to_owned()), ..Default::default() };
    host.describe("mine", &set).expect("it is described");
    let long = "ä".repeat(600);
    let message =
        [told(1, "a_total", "Things.", ""), told(2, "mine", "Told.", "bytes"), told(9, "odd", &long, "")]
            .concat();
    for _ in 0..2 {
        assert_eq!(send(&host, ONE, &message).status, 204);
    }
    let client = Client::new(routes(), &host);
    let known = |query: &str| data(&client.get(&format!("/api/v1/metadata{query}")));
    let all = known("");
    assert_eq!(all["a_total"], json!([{ "type": "counter", "help": "Things.", "unit": "" }]));
    assert_eq!(all["mine"], json!([{ "type": "gauge", "help": "Set.", "unit": "bytes" }]));
    assert_eq!(all["odd"][0]["type"], "unknown");
    assert_eq!(all["odd"][0]["help"].as_str().map(str::len), Some(1000));
    assert_eq!(known("?metric=mine").as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(known("?metric=none"), json!({}));
    assert_eq!(known("?limit=2").as_object().map(serde_json::Map::len), Some(2));
    assert_eq!((known("?limit=0"), known("?limit=-1")), (json!({}), all));
    refused(&client.get("/api/v1/metadata?limit=x"), 400, "bad_data");
}

#[test]
fn metadata_is_told_of_metrics_that_others_described() {
    use bellwether_sdk::series::{Metadata, MetricKind};

    let host = MemoryHost::new();
    let described = |metric: &str, kind, unit: &str, help: &str| {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let metadata = Metadata { kind, unit: text(unit), description: text(help), ..Metadata::default() };
        write(&host, metric, &["host:a"], &[1.0]);
        host.describe(metric, &metadata).expect("it is described");
    };
    described("app.hits", MetricKind::Count, "request", "");
    described("disk.free", MetricKind::Gauge, "byte", "What is free.");
    described("http_requests_total", MetricKind::Gauge, "", "Requests.");
    described("http_seconds_bucket", MetricKind::Gauge, "seconds", "");
    described("latency", MetricKind::Distribution, "", "");
    described("rate", MetricKind::Rate, "", "");
    write(&host, "silent", &[], &[1.0]);
    let told = |kind, metric: &str| bytes(3, [number(1, kind), bytes(2, metric), bytes(4, "Told.")].concat());
    assert_eq!(send(&host, ONE, &[told(1, "disk.free"), told(2, "b")].concat()).status, 204);
    let client = Client::new(routes(), &host);
    let known = |query: &str| data(&client.get(&format!("/api/v1/metadata{query}")));
    let entry = |kind: &str, help: &str, unit: &str| json!([{ "type": kind, "help": help, "unit": unit }]);
    let all = json!({
        "app.hits": entry("unknown", "", "request"),
        "b": entry("gauge", "Told.", ""),
        "disk.free": entry("counter", "What is free.", "byte"),
        "http_requests_total": entry("counter", "Requests.", ""),
        "http_seconds_bucket": entry("unknown", "", "seconds"),
        "latency": entry("unknown", "", ""),
        "rate": entry("gauge", "", ""),
    });
    assert_eq!(known(""), all);
    assert_eq!(
        known("?metric=http_requests_total"),
        json!({ "http_requests_total": all["http_requests_total"] })
    );
    assert_eq!(known("?metric=silent"), json!({}));
    let first = json!({ "app.hits": all["app.hits"], "b": all["b"], "disk.free": all["disk.free"] });
    assert_eq!(known("?limit=3"), first);
}
