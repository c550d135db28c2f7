//! Events and logs, in and out.

use std::io::Write;

use bellwether_sdk::host::{RecordsRead, RecordsWrite};
use bellwether_sdk::records::{Content, Record, RecordKind, Search};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use serde_json::Map;

use super::*;

/// Every record of a kind, the oldest first.
fn kept(host: &MemoryHost, kind: RecordKind) -> Vec<Record> {
    let end = Timestamp::from_seconds(4_000_000_000);
    let search = Search { limit: 1000, ..Search::all(kind, Timestamp::from_seconds(0), end) };
    let mut records = host.search(&search).expect("a page").records;
    records.sort_by_key(|record| record.id);
    records
}

fn logs(host: &MemoryHost) -> Vec<Content> {
    kept(host, RecordKind::Log).into_iter().map(|record| record.content).collect()
}

/// A host whose clock stands at 2024-04-09T14:44:00Z.
const NOW: i64 = 1_712_673_840;

#[test]
fn an_event_is_kept_with_all_it_says_and_got_by_its_id() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host).reaches_at("https://b.example.com/datadog");
    let body = json!({
        "title": "High CPU Usage Alert", "text": "95% for 15 minutes", "date_happened": "1712670000",
        "priority": "low", "host": "web-01", "tags": ["production", " web-server ", ""], "alert_type": "warning",
        "aggregation_key": "high-cpu-web-01", "source_type_name": "nagios", "device_name": "sda",
    });
    let (status, answer) = seen(&client.post("/api/v1/events", &body.to_string()));
    let event = json!({
        "id": 1, "id_str": "1", "title": "High CPU Usage Alert", "text": "95% for 15 minutes",
        "date_happened": 1_712_670_000, "alert_type": "warning", "priority": "low",
        "tags": ["production", "web-server"], "url": "https://b.example.com/datadog/api/v1/events/1", "host": "web-01",
        "source_type_name": "nagios", "source": "nagios", "aggregation_key": "high-cpu-web-01", "device_name": "sda",
    });
    assert_eq!((status, answer), (202, json!({ "status": "ok", "event": event })));
    assert_eq!(seen(&client.get("/api/v1/events/1")), (200, json!({ "status": "ok", "event": event })));
    let bare =
        client.post("/api/v1/events", r#"{"title": "t", "text": null, "tags": null, "priority": null}"#);
    let (_, bare) = seen(&bare);
    assert_eq!(
        (&bare["event"]["date_happened"], &bare["event"]["alert_type"]),
        (&json!(NOW), &json!("info"))
    );
    assert_eq!(refused(&client.get("/api/v1/events/9"), 404), "No event matches that event_id.");
    assert!(refused(&client.get("/api/v1/events/x"), 400).contains("event_id"));
    for (body, said) in [
        ("{", "expected format"),
        (r#"{"text": "no title"}"#, "title"),
        (r#"{"title": " "}"#, "'title' is invalid: it is"),
        (r#"{"title": "t", "alert_type": "bad"}"#, "alert_type"),
        (r#"{"title": "t", "priority": "high"}"#, "priority"),
        (r#"{"title": "t", "date_happened": "soon"}"#, "soon"),
    ] {
        let said_instead = refused(&client.post("/api/v1/events", body), 400);
        assert!(said_instead.contains(said), "{body}: {said_instead}");
    }
    assert_eq!(kept(&host, RecordKind::Event).len(), 2);
}

#[test]
fn an_event_of_another_api_has_an_alert_type_that_clients_know() {
    let host = MemoryHost::new();
    let event = |status: &str| Content { title: "t".into(), status: status.into(), ..Content::default() };
    let sent = ["", "deployed", "success"].map(event).to_vec();
    host.append(RecordKind::Event, sent).unwrap();
    let client = Client::new(routes(), &host);
    for (id, expected) in [(1, "info"), (2, "info"), (3, "success")] {
        let (_, answer) = seen(&client.get(&format!("/api/v1/events/{id}")));
        assert_eq!(answer["event"]["alert_type"], expected, "{answer}");
    }
}

#[test]
fn the_stream_of_events_is_filtered_by_what_the_parameters_say() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    for (title, at) in [("one", NOW - 100), ("two", NOW - 50)] {
        let body = json!({ "title": title, "date_happened": at });
        assert_eq!(client.post("/api/v1/events", &body.to_string()).status, 202);
    }
    let range = format!("start={}&end={}", NOW - 1000, NOW);
    let titles = |answer: &Response| {
        let (status, body) = seen(answer);
        assert_eq!((status, &body["status"]), (200, &json!("ok")), "{body}");
        let events = body["events"].as_array().expect("a list").clone();
        events.iter().map(|event| event["title"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles(&client.get(&format!("/api/v1/events?{range}&unaggregated=True"))), ["two", "one"]);
    assert!(titles(&client.get(&format!("/api/v1/events?{range}&page=1"))).is_empty());
    // The host is asked in its own language, each value for exactly what it is.
    let query = r#"priority:low source:("a" OR "b \"c\"") tags:"env:prod" tags:"x*" -aggregation_key:*"#;
    host.answer_search(query, |content| content.title == "one");
    let filters = "priority=low&sources=a,b%20%22c%22&tags=env:prod,x*&exclude_aggregate=true";
    assert_eq!(titles(&client.get(&format!("/api/v1/events?{range}&{filters}"))), ["one"]);
    // One of which nobody said how it is, is shown as normal, and found as that.
    host.answer_search("-priority:low", |content| content.priority != "low");
    let silent =
        Content { title: "silent".into(), time: Timestamp::from_seconds(NOW - 10), ..Content::default() };
    host.append(RecordKind::Event, vec![silent]).expect("appended");
    let answer = client.get(&format!("/api/v1/events?{range}&priority=normal"));
    assert_eq!(titles(&answer), ["silent", "two", "one"]);
    assert_eq!(seen(&answer).1["events"][0]["priority"], "normal");
    for (query, said) in [
        ("end=5", "'start' is invalid"),
        ("start=5&end=4", "'end'"),
        ("start=1&end=2&priority=high", "'priority'"),
        ("start=1&end=2&page=x", "'page'"),
    ] {
        assert!(refused(&client.get(&format!("/api/v1/events?{query}")), 400).contains(said), "{query}");
    }
}

#[test]
fn events_of_the_second_version_are_created_and_searched() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host).reaches_at("http://localhost");
    let body = |category: &str, attributes: Value| {
        json!({ "data": { "type": "event", "attributes": {
            "title": "Deployed", "message": "by ada", "category": category, "timestamp": "2024-04-09T14:43:00Z",
            "tags": ["env:prod"], "aggregation_key": "deploy", "attributes": attributes,
        } } })
        .to_string()
    };
    let change = json!({ "changed_resource": { "name": "shop", "type": "feature_flag" } });
    let (status, answer) = seen(&client.post("/api/v2/events", &body("change", change)));
    assert_eq!((status, &answer["data"]["attributes"]["attributes"]["evt"]["id"]), (202, &json!("1")));
    assert_eq!(answer["links"]["self"], "http://localhost/api/v2/events/1");
    assert_eq!(client.post("/api/v2/events", &body("alert", json!({ "status": "warn" }))).status, 202);
    assert!(refused(&client.post("/api/v2/events", &body("alert", json!({}))), 400).contains("status"));
    assert!(refused(&client.post("/api/v2/events", &body("other", json!({}))), 400).contains("category"));
    for (wrong, said) in [
        (json!({ "type": "log", "attributes": { "title": "t", "category": "change" } }), "'data.type'"),
        (json!({ "attributes": { "title": "", "category": "change" } }), "'data.attributes.title'"),
    ] {
        let body = json!({ "data": wrong }).to_string();
        assert!(refused(&client.post("/api/v2/events", &body), 400).contains(said), "{body}");
    }

    let (status, found) = seen(&client.post("/api/v2/events/search", "{}"));
    assert_eq!((status, found["data"].as_array().map(Vec::len)), (200, Some(2)), "{found}");
    assert_eq!(found["meta"], json!({ "elapsed": 0, "status": "done" }));
    let event = &found["data"][1];
    assert_eq!((&event["id"], &event["type"]), (&json!("1"), &json!("event")));
    let attributes = &event["attributes"];
    assert_eq!(attributes["timestamp"], "2024-04-09T14:43:00Z");
    assert_eq!(attributes["message"], "by ada");
    assert_eq!(attributes["attributes"]["title"], "Deployed");
    assert_eq!(attributes["attributes"]["timestamp"], (NOW - 60) * 1000);
    assert_eq!(attributes["attributes"]["changed_resource"]["name"], "shop");
    assert_eq!(found["data"][0]["attributes"]["attributes"]["status"], "warning");
    assert_eq!(seen(&client.get("/api/v2/events/1")).1["data"], *event);

    host.answer_search("status:error service:web-app", |content| content.status == "warning");
    let connectors = json!({ "query": "status:error service:web-app", "from": "2024-04-09T00:00:00Z",
        "to": "2024-04-09T23:59:59Z", "sort": "-timestamp", "limit": 50 });
    let (_, found) = seen(&client.post("/api/v2/events/search", &connectors.to_string()));
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{found}");
}

#[test]
fn logs_come_in_every_form_clients_send_them_in() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let body = json!([
        { "message": "one", "ddsource": "nginx", "ddtags": "env:staging,version:5.1", "hostname": "i-1",
          "service": "payment", "status": "WARN", "timestamp": 1_712_670_000_123_i64, "http": { "code": 504 } },
        { "msg": "two", "level": 3, "@timestamp": "2024-04-09T14:40:00Z", "host": "i-2" },
        { "message": r#"{"message": "inner", "user": "ada", "service": "not this"}"#, "service": "api" },
        { "message": { "a": 1 }, "date": "no date" },
    ]);
    let response =
        client.post("/api/v2/logs?ddtags=env:prod,team:a&service=shop&ddsource=x", &body.to_string());
    assert_eq!(seen(&response), (202, json!({})));
    let logs = logs(&host);
    let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        logs[0],
        Content {
            time: Timestamp::from_milliseconds(1_712_670_000_123),
            message: "one".into(),
            status: "warn".into(),
            service: "payment".into(),
            source: "nginx".into(),
            host: "i-1".into(),
            tags: tags(&["env:staging", "version:5.1", "env:prod", "team:a"]),
            attributes: r#"{"http":{"code":504}}"#.into(),
            ..Content::default()
        }
    );
    assert_eq!((&*logs[1].message, &*logs[1].status, &*logs[1].service), ("two", "error", "shop"));
    assert_eq!((logs[1].time.to_string().as_str(), &*logs[1].host), ("2024-04-09T14:40:00Z", "i-2"));
    assert_eq!((&*logs[2].message, &*logs[2].service), ("inner", "api"));
    assert_eq!(logs[2].attributes, r#"{"user":"ada"}"#);
    assert_eq!((&*logs[3].message, logs[3].time), (r#"{"a":1}"#, Timestamp::from_seconds(NOW)));
}

#[test]
fn a_log_s_time_keeps_its_fraction_and_one_that_does_not_read_stays_an_attribute() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let now = NOW * 1000;
    for (log, time, attributes) in [
        (json!({ "timestamp": 1_712_670_000.75 }), 1_712_670_000_750, ""),
        (json!({ "timestamp": "1712670000.75" }), 1_712_670_000_750, ""),
        (json!({ "timestamp": 1_712_670_000_123.4 }), 1_712_670_000_123, ""),
        (json!({ "date": "no date" }), now, r#"{"date":"no date"}"#),
        (json!({ "date": "now-1h" }), now, r#"{"date":"now-1h"}"#),
        (json!({ "date": "NaN" }), now, r#"{"date":"NaN"}"#),
        (json!({ "timestamp": [1] }), now, r#"{"timestamp":[1]}"#),
        // Nanoseconds are no time here, and another field may be one.
        (
            json!({ "timestamp": 1_712_670_000_000_000_000_i64, "date": "2024-04-09T14:40:00Z" }),
            1_712_673_600_000,
            r#"{"timestamp":1712670000000000000}"#,
        ),
    ] {
        assert_eq!(client.post("/api/v2/logs", &log.to_string()).status, 202, "{log}");
        let kept = logs(&host).pop().expect("a log");
        assert_eq!((kept.time.milliseconds(), &*kept.attributes), (time, attributes), "{log}");
    }
}

#[test]
fn an_object_without_a_field_is_no_log_and_fine() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    // An agent tests its way so.
    for body in ["{}", "[{}]", "[{}, {}]", "{}\n{}"] {
        assert_eq!(seen(&client.post("/api/v2/logs", body)), (202, json!({})), "{body}");
    }
    assert!(logs(&host).is_empty());
    assert_eq!(client.post("/api/v2/logs", r#"[{}, {"message": "one"}]"#).status, 202);
    assert_eq!(logs(&host).len(), 1);
}

#[test]
fn a_log_that_is_too_large_loses_attributes_and_never_refuses_its_neighbours() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    let large = "x".repeat(600_000);
    let inner = json!({ "large": large, "code": 7 }).to_string();
    let tags: Vec<String> = (0..200).map(|at| format!("{at}:{}", "t".repeat(190))).collect();
    let body = json!([
        { "message": "one" },
        { "message": inner },
        { "message": "two", "a": large, "b": large, "c": "kept" },
        { "message": "m".repeat(1_100_000), "ddtags": tags.join(","), "only": "y".repeat(40_000) },
    ]);
    assert_eq!(seen(&client.post("/api/v2/logs", &body.to_string())), (202, json!({})));
    let logs = logs(&host);
    assert_eq!((&*logs[0].message, logs[0].tags.len()), ("one", 0));
    // What a message holds is not kept twice where it has no room.
    assert_eq!((&logs[1].message, &*logs[1].attributes), (&inner, r#"{"code":7}"#));
    let left: Value = serde_json::from_str(&logs[2].attributes).expect("an object");
    assert_eq!((left.as_object().map(Map::len), &left["c"]), (Some(2), &json!("kept")));
    assert_eq!((logs[3].message.len(), &*logs[3].attributes), (1_000_000, ""));
    assert_eq!(logs[3].tags.len(), 200);
    for log in &logs[1..] {
        assert_eq!(log.tags.last().map(String::as_str), Some("truncated:attributes"));
    }
    // Words take what they take, and a message has the rest.
    let tags: Vec<String> = (0..200).map(|at| format!("{at}:{}", "ä".repeat(200))).collect();
    let body = json!({ "message": "m".repeat(1_100_000), "ddtags": tags });
    assert_eq!(client.post("/api/v2/logs", &body.to_string()).status, 202);
}

#[test]
fn a_payload_that_becomes_more_than_one_append_takes_is_kept_whole() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    // Each message is JSON, and so are its fields.
    let message = json!({ "fields": "x".repeat(50_000) }).to_string();
    let body = Value::from(vec![json!({ "message": message }); 95]).to_string();
    assert!(body.len() < 5 << 20);
    assert_eq!(seen(&client.post("/api/v2/logs", &body)), (202, json!({})));
    // Each has the tags of the query.
    let tags: Vec<String> = (0..200).map(|at| format!("{at}:{}", "t".repeat(190))).collect();
    let body = Value::from(vec![json!({ "message": "short" }); 400]).to_string();
    let target = format!("/api/v2/logs?ddtags={}", tags.join(","));
    assert_eq!(seen(&client.post(&target, &body)), (202, json!({})));
    let logs = logs(&host);
    assert_eq!(logs.len(), 495);
    assert!(logs[..95].iter().all(|log| log.message == message && log.attributes == message));
    assert!(logs[95..].iter().all(|log| log.message == "short" && log.tags == tags));
}

#[test]
fn one_log_lines_and_lists_are_taken_plain_and_packed() {
    fn packed<W: Write>(mut encoder: W, body: &str, finish: impl FnOnce(W) -> Vec<u8>) -> Vec<u8> {
        encoder.write_all(body.as_bytes()).expect("memory takes it");
        finish(encoder)
    }
    let host = MemoryHost::new();
    let body = r#"{"message": "one"}"#;
    let level = Compression::default;
    for (encoding, bytes) in [
        ("identity", body.as_bytes().to_vec()),
        ("gzip", packed(GzEncoder::new(Vec::new(), level()), body, |e| e.finish().expect("written"))),
        ("deflate", packed(ZlibEncoder::new(Vec::new(), level()), body, |e| e.finish().expect("written"))),
        ("deflate", packed(DeflateEncoder::new(Vec::new(), level()), body, |e| e.finish().expect("written"))),
        ("zstd1", zstd::encode_all(body.as_bytes(), 1).expect("packed")),
    ] {
        let client = Client::new(routes(), &host).header("content-encoding", encoding);
        assert_eq!(client.send("POST", "/api/v2/logs", bytes).status, 202, "{encoding}");
    }
    assert_eq!(logs(&host).len(), 5);
    let text = Client::new(routes(), &host).header("content-type", "text/plain; charset=utf-8");
    assert_eq!(text.post("/v1/input?ddsource=app", "first line\n\n  second\n").status, 202);
    let lines = Client::new(routes(), &host).header("content-type", "application/json;simple");
    assert_eq!(lines.post("/v1/input", "{\"message\":\"x\"}\n{\"message\":\"y\"}").status, 202);
    let last: Vec<_> = logs(&host)[5..].iter().map(|log| log.message.clone()).collect();
    assert_eq!(last, ["first line", "  second", "x", "y"]);
    assert_eq!(Client::new(routes(), &host).post("/api/v2/logs", "[]").status, 202);
}

#[test]
fn what_is_no_log_is_refused_in_the_format_of_the_intake() {
    let host = MemoryHost::new();
    let client = Client::new(routes(), &host);
    for (body, status, said) in [
        ("{".to_owned(), 400, "expected format"),
        ("[1]".to_owned(), 400, "expected an object"),
        (format!("[{}\"\"]", "\"\",".repeat(10_001)), 413, "at most 10000 logs"),
        (format!("\"{}\"", "x".repeat(6 << 20)), 413, "5242880 bytes"),
    ] {
        let (got, answer) = seen(&client.post("/api/v2/logs", &body));
        let error = &answer["errors"][0];
        assert_eq!((got, &error["status"]), (status, &json!(status.to_string())), "{answer}");
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{answer}");
    }
    for path in ["/api/v2/logs", "/v1/input"] {
        let other = client.get(path);
        assert!(other.headers.iter().any(|header| header.name == "allow" && header.value == "POST"));
        let error = json!({ "status": "405", "title": "Method Not Allowed", "detail": "Method not allowed: GET is none of POST" });
        assert_eq!(seen(&other), (405, json!({ "errors": [error] })), "{path}");
        let (status, answer) =
            seen(&Client::new(routes(), &host).refused(AuthFailure::Unknown).post(path, "{}"));
        assert_eq!((status, &answer["errors"][0]["title"]), (403, &json!("Forbidden")), "{path}");
    }
    assert!(logs(&host).is_empty());
    // What is too long is cut, and words that no host takes are mended.
    let long = json!({ "message": "ä".repeat(600_000), "service": "a\nb" });
    assert_eq!(client.post("/api/v2/logs", &long.to_string()).status, 202);
    let log = &logs(&host)[0];
    assert_eq!((log.message.len(), &*log.service), (1_000_000, "a_b"));
}

fn three(host: &MemoryHost) {
    let log = |ago: i64, message: &str| Content {
        time: Timestamp::from_seconds(NOW - ago),
        message: message.into(),
        status: "error".into(),
        source: "nginx".into(),
        tags: vec!["env:prod".into()],
        attributes: r#"{"code":500}"#.into(),
        ..Content::default()
    };
    let logs = vec![log(3, "a"), log(1, "c"), log(2, "b"), log(3600, "old")];
    host.append(RecordKind::Log, logs).expect("appended");
}

fn messages(answer: &Value) -> Vec<&str> {
    let data = answer["data"].as_array().expect("a list");
    data.iter().map(|log| log["attributes"]["message"].as_str().unwrap_or_default()).collect()
}

#[test]
fn logs_are_searched_page_by_page_in_a_body_or_a_query_string() {
    let host = MemoryHost::new();
    three(&host);
    let client = Client::new(routes(), &host);
    let (status, first) = seen(&client.post("/api/v2/logs/events/search", r#"{"page": {"limit": 2}}"#));
    assert_eq!((status, messages(&first)), (200, vec!["c", "b"]), "{first}");
    assert_eq!(
        first["data"][0],
        json!({ "id": "2", "type": "log", "attributes": {
            "timestamp": "2024-04-09T14:43:59Z", "message": "c", "status": "error",
            "tags": ["env:prod", "source:nginx"], "attributes": { "code": 500 } } })
    );
    let after = first["meta"]["page"]["after"].as_str().expect("a cursor");
    let body = json!({ "filter": { "query": "*" }, "page": { "limit": 2, "cursor": after } });
    let (_, last) = seen(&client.post("/api/v2/logs/events/search", &body.to_string()));
    assert_eq!((messages(&last), last["meta"].get("page"), last.get("links")), (vec!["a"], None, None));
    // The link leads there too, wherever the API is.
    let (_, elsewhere) = seen(
        &Client::new(routes(), &host)
            .reaches_at("https://b.example.com/datadog")
            .post("/api/v2/logs/events/search", r#"{"page": {"limit": 2}}"#),
    );
    let next = elsewhere["links"]["next"].as_str().expect("a link");
    let next = next.strip_prefix("https://b.example.com/datadog").expect("the URL of the API");
    let (_, linked) = seen(&client.get(next));
    assert_eq!(messages(&linked), ["a"], "{next}");
    let query = "filter[from]=now-2h&filter[to]=now-30m&sort=timestamp";
    assert_eq!(messages(&seen(&client.get(&format!("/api/v2/logs/events?{query}"))).1), ["old"]);
    let shifted = json!({ "filter": { "from": "now-1m", "to": "now" }, "options": { "timeOffset": -3590 } });
    let (_, shifted) = seen(&client.post("/api/v2/logs/events/search", &shifted.to_string()));
    assert_eq!(messages(&shifted), ["old"]);
    for (body, said) in [
        (r#"{"sort": "status"}"#, "'sort'"),
        (r#"{"page": {"limit": 1001}}"#, "'page.limit'"),
        (r#"{"page": {"limit": "all"}}"#, "page.limit is \"all\", expected a whole number, not below 0"),
        (r#"{"filter": {"from": "yesterday"}}"#, "'from'"),
        (r#"{"filter": {"from": "now", "to": "now-1h"}}"#, "'to'"),
        ("[", "expected format"),
    ] {
        assert!(refused(&client.post("/api/v2/logs/events/search", body), 400).contains(said), "{body}");
    }
}

#[test]
fn a_page_that_is_too_large_for_an_answer_is_refused_with_what_to_ask_for_and_none_of_it_is_lost() {
    let host = MemoryHost::new();
    let record = |at: i64| Content {
        time: Timestamp::from_seconds(NOW - at),
        title: "large".into(),
        message: "m".repeat(9000),
        ..Content::default()
    };
    for kind in [RecordKind::Log, RecordKind::Event] {
        for from in [1, 501] {
            host.append(kind, (from..from + 500).map(record).collect()).expect("appended");
        }
    }
    let client = Client::new(routes(), &host);
    let hour = json!({ "from": "now-1h", "to": "now" });
    let logs_v1 = |limit: u32| json!({ "query": "*", "time": hour, "limit": limit }).to_string();
    let range = |length: i64| format!("/api/v1/events?start={}&end={}", NOW - length, NOW);
    let page = |limit: u32| format!("?filter[from]=now-1h&page[limit]={limit}");
    for (large, small, list) in [
        (
            client.get(&format!("/api/v2/logs/events{}", page(1000))),
            client.get(&format!("/api/v2/logs/events{}", page(500))),
            "data",
        ),
        (
            client.get(&format!("/api/v2/events{}", page(1000))),
            client.get(&format!("/api/v2/events{}", page(500))),
            "data",
        ),
        (
            client.post("/api/v1/logs-queries/list", &logs_v1(1000)),
            client.post("/api/v1/logs-queries/list", &logs_v1(500)),
            "logs",
        ),
        (client.get(&range(3600)), client.get(&range(500)), "events"),
    ] {
        assert!(refused(&large, 413).contains("8000000 bytes: ask for a smaller page, or for less time"));
        let (status, answer) = seen(&small);
        assert_eq!((status, answer[list].as_array().map(Vec::len)), (200, Some(500)), "{list}");
    }
}

#[test]
fn the_first_version_lists_logs_and_says_where_to_go_on() {
    let host = MemoryHost::new();
    three(&host);
    let client = Client::new(routes(), &host);
    let time = json!({ "from": "2024-04-09T14:40:00Z", "to": "2024-04-09T14:45:00Z" });
    let body = json!({ "query": "*", "time": time, "sort": "asc", "limit": 2 });
    let (status, first) = seen(&client.post("/api/v1/logs-queries/list", &body.to_string()));
    assert_eq!((status, &first["status"], &first["logs"][0]["id"]), (200, &json!("done"), &json!("1")));
    assert_eq!(first["logs"][1]["content"]["message"], "b");
    let body = json!({ "time": time, "sort": "asc", "startAt": first["nextLogId"] });
    let (_, last) = seen(&client.post("/api/v1/logs-queries/list", &body.to_string()));
    assert_eq!((&last["logs"][0]["content"]["message"], &last["nextLogId"]), (&json!("c"), &Value::Null));
    assert!(refused(&client.post("/api/v1/logs-queries/list", "{}"), 400).contains("time"));
    let wrong = json!({ "time": time, "sort": "up" });
    assert!(refused(&client.post("/api/v1/logs-queries/list", &wrong.to_string()), 400).contains("'sort'"));
}
