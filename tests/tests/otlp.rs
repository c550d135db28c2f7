//! The OTLP dialect: OpenTelemetry's own SDK and exporter, and what no exporter sends.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use bellwether_tests::{Host, expect_json, python};
use serde_json::{Value, json};

/// The value of an instant query of one element.
fn value(host: &Host, key: &str, query: &str) -> Result<Value> {
    let request = host.request_with("GET", "/prometheus/api/v1/query", &[("query", query)]);
    let answer = expect_json(request.bearer_auth(key).send()?, 200)?;
    Ok(answer["data"]["result"][0]["value"][1].clone())
}

/// A gauge of one point, now.
fn gauge(name: &str, value: f64) -> Result<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos().to_string();
    let points = json!([{ "timeUnixNano": now, "asDouble": value }]);
    let metrics = json!([{ "name": name, "gauge": { "dataPoints": points } }]);
    Ok(json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": metrics }] }] }))
}

#[test]
fn opentelemetrys_own_exporter_sends_unchanged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let printed = python("otlp.py", &[&host.url, &host.keys().admin])?;
    ensure!(printed.lines().count() >= 40, "{printed}");
    host.stop()
}

#[test]
fn what_was_taken_is_read_back_after_a_power_cut() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let key = host.keys().admin.clone();
    for number in 0..20 {
        let message = gauge(&format!("kept.{number}"), f64::from(number))?;
        // As the collector's basic authentication sends it.
        let request = host.request("POST", "/otlp/v1/metrics").basic_auth("collector", Some(&key));
        ensure!(expect_json(request.json(&message).send()?, 200)? == json!({}));
    }
    host.kill()?;
    let host = Host::start(&data, &[])?;
    let sum = value(&host, &key, r#"sum({__name__=~"kept_.+"})"#)?;
    ensure!(sum == "190", "{sum}");
    host.stop()
}

#[test]
fn every_refusal_is_a_status_and_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = host.keys().admin.clone();
    let reader = host.reader()?;
    let good = gauge("never", 1.0)?.to_string();
    for (method, path, key, header, body, status, code) in [
        ("POST", "/v1/metrics", "wrong", ("accept", "*/*"), &*good, 401, 16),
        ("POST", "/v1/metrics", &*reader, ("accept", "*/*"), &good, 403, 7),
        ("POST", "/v1/metrics", &*admin, ("content-encoding", "gzip"), &good, 400, 3),
        ("POST", "/v1/metrics", &*admin, ("content-encoding", "br"), &good, 415, 3),
        ("POST", "/v1/metrics", &*admin, ("accept", "*/*"), "[1]", 400, 3),
        ("GET", "/v1/metrics", &*admin, ("accept", "*/*"), "", 405, 12),
        ("POST", "/v1/traces", &*admin, ("accept", "*/*"), "{}", 404, 5),
    ] {
        let request =
            host.request(method, &format!("/otlp{path}")).bearer_auth(key).header(header.0, header.1);
        let request = request.header("content-type", "application/json").body(body.to_owned());
        let answer = expect_json(request.send()?, status)?;
        ensure!(
            answer["code"] == code && answer["message"].is_string(),
            "{method} {path} {header:?}: {answer}"
        );
    }
    let none = value(&host, &admin, "never")?;
    ensure!(none.is_null(), "{none}");
    host.stop()
}
