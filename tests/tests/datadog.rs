//! The Datadog dialect: the vendor's own clients, and what no client sends.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use bellwether_tests::{Host, expect_json, python};
use serde_json::{Value, json};

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

#[test]
fn the_vendors_own_clients_work_unchanged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let key = &host.keys().admin;
    let printed = python("datadog_clients.py", &[&format!("{}/datadog", host.url), key, key])?;
    ensure!(printed.lines().count() >= 40, "{printed}");
    host.stop()
}

#[test]
fn the_vendors_own_clients_send_and_find_events_and_logs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let key = &host.keys().admin;
    let printed = python("datadog_records.py", &[&format!("{}/datadog", host.url), key, key])?;
    ensure!(printed.lines().count() >= 30, "{printed}");
    host.stop()
}

#[test]
fn events_and_logs_that_were_acknowledged_are_found_after_a_power_cut() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let key = host.keys().admin.clone();
    // More appends than are kept in chunks, so that some are packed when it goes dark.
    for batch in 0..1100 {
        let logs = json!([{ "message": format!("log {batch}"), "service": "shop", "number": batch }]);
        let sent =
            host.request("POST", "/datadog/api/v2/logs").header("DD-API-KEY", &key).json(&logs).send()?;
        ensure!(expect_json(sent, 202)? == json!({}));
    }
    let event = json!({ "title": "Deployed", "text": "shop", "tags": ["env:prod"] });
    let sent =
        host.request("POST", "/datadog/api/v1/events").header("DD-API-KEY", &key).json(&event).send()?;
    let event = expect_json(sent, 202)?;
    host.kill()?;
    let host = Host::start(&data, &[])?;
    let ask = |cursor: Option<&str>| {
        let mut parameters = vec![("query", "service:shop @number:[0 TO 1099]"), ("limit", "1000")];
        parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
        let request = host.request_with("GET", "/v1/logs", &parameters).bearer_auth(&key);
        expect_json(request.send()?, 200)
    };
    let first = ask(None)?;
    let last = ask(first["next"].as_str())?;
    let count = |page: &Value| page["items"].as_array().map_or(0, Vec::len);
    ensure!((count(&first), count(&last)) == (1000, 100), "{last}");
    let path = format!("/datadog/api/v1/events/{}", event["event"]["id"]);
    let got = host.request("GET", &path).header("DD-API-KEY", &key).header("DD-APPLICATION-KEY", &key);
    let got = expect_json(got.send()?, 200)?;
    ensure!(got["event"]["title"] == "Deployed", "{got}");
    host.stop()
}

#[test]
fn what_was_sent_is_read_back_after_a_power_cut() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let (key, at) = (host.keys().admin.clone(), now()? / 60 * 60);
    let series: Vec<Value> = (0..1000)
        .map(|number| {
            let tags = [format!("series:{number}"), "env:prod".to_owned()];
            json!({ "metric": "many", "points": [[at, number]], "type": "gauge", "host": "web-1", "tags": tags })
        })
        .collect();
    // As old clients do: the key in the query.
    let path = format!("/datadog/api/v1/series?api_key={key}");
    let answer = expect_json(host.request("POST", &path).json(&json!({ "series": series })).send()?, 202)?;
    ensure!(answer == json!({ "status": "ok" }), "{answer}");
    host.kill()?;
    let host = Host::start(&data, &[])?;
    let (from, to, query) =
        (at.to_string(), (at + 59).to_string(), "sum:many{env:prod,host:web-1}.rollup(sum, 60)");
    let parameters =
        [("from", &*from), ("to", &*to), ("query", query), ("application_key", &*key), ("api_key", &*key)];
    let answer = expect_json(host.request_with("GET", "/datadog/api/v1/query", &parameters).send()?, 200)?;
    ensure!(answer["series"][0]["pointlist"][0][1] == 499_500.0, "{answer}");
    host.stop()
}

#[test]
fn what_is_acknowledged_before_the_sync_outlives_a_stop() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, settings) = (folder.path().join("data"), folder.path().join("early.toml"));
    std::fs::write(&settings, "[series]\nacknowledge_before_sync = true\n")?;
    let host = Host::start(&data, &["--config", &settings.to_string_lossy()])?;
    let (key, at) = (host.keys().admin.clone(), now()? / 60 * 60);
    for number in 0..200 {
        let tag = format!("n:{number}");
        let series = json!({ "series": [{ "metric": "kept", "points": [[at, 1]], "tags": [tag] }] });
        let request = host.request("POST", "/datadog/api/v2/series").header("DD-API-KEY", &key);
        expect_json(request.json(&series).send()?, 202)?;
    }
    host.stop()?;
    let host = Host::start(&data, &[])?;
    let (from, to) = (at.to_string(), (at + 59).to_string());
    let query = "sum:kept{*}.rollup(sum, 60)";
    let mut parameters = vec![("api_key", &*key), ("application_key", &*key), ("query", query)];
    parameters.extend([("from", &*from), ("to", &*to)]);
    let answer = expect_json(host.request_with("GET", "/datadog/api/v1/query", &parameters).send()?, 200)?;
    ensure!(answer["series"][0]["pointlist"][0][1] == 200.0, "{answer}");
    host.stop()
}

#[test]
fn every_refusal_is_in_the_vendors_format_and_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = &host.keys().admin;
    let reader = host.reader()?;
    let good = json!({ "series": [{ "metric": "m", "points": [[now()?, 1]] }] }).to_string();
    for (key, path, header, body, status, said) in [
        ("", "/api/v1/series", ("accept", "*/*"), &*good, 403, "Forbidden"),
        ("wrong", "/api/v2/series", ("accept", "*/*"), &good, 403, "Forbidden"),
        (&reader, "/api/v1/series", ("accept", "*/*"), &good, 403, "Forbidden"),
        (admin, "/api/v1/series", ("accept", "*/*"), "no JSON", 400, "expected format"),
        (admin, "/api/v2/series", ("content-encoding", "gzip"), &good, 400, "gzip"),
        (admin, "/api/v2/series", ("content-encoding", "br"), &good, 415, "br"),
        (admin, "/api/v1/series", ("content-type", "application/x-protobuf"), &good, 415, "/api/v2/series"),
    ] {
        let request = host.request("POST", &format!("/datadog{path}")).header(header.0, header.1);
        let request = if key.is_empty() { request } else { request.header("DD-API-KEY", key) };
        let answer = expect_json(request.body(body.to_owned()).send()?, status)?;
        let error = answer["errors"][0].as_str().unwrap_or_default();
        ensure!(error.contains(said), "{path} {header:?}: {answer} should say {said}");
    }
    let other = host.stranger()?;
    for (application, api, status, said) in [
        ("", "", 401, "Unauthorized"),
        (&*reader, "", 401, "Unauthorized"),
        ("", &**admin, 401, "Unauthorized"),
        (&reader, "wrong", 403, "Forbidden"),
        ("wrong", admin, 403, "Forbidden"),
        (&reader, &other, 403, "Forbidden"),
        (&other, admin, 403, "Forbidden"),
    ] {
        let mut request = host.request("GET", "/datadog/api/v2/metrics");
        for (name, key) in [("DD-APPLICATION-KEY", application), ("DD-API-KEY", api)] {
            if !key.is_empty() {
                request = request.header(name, key);
            }
        }
        let answer = expect_json(request.send()?, status)?;
        ensure!(answer == json!({ "errors": [said] }), "{application} {api}: {answer}");
    }
    let metrics = host.request("GET", "/datadog/api/v2/metrics").header("DD-APPLICATION-KEY", &reader);
    let metrics = expect_json(metrics.header("DD-API-KEY", admin).send()?, 200)?;
    ensure!(metrics == json!({ "data": [] }), "{metrics}");
    host.stop()
}
