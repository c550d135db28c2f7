//! A monitor on the real binary: series in, an incident opens; a restart; it closes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bellwether_tests::{Host, expect_json};
use serde_json::{Value, json};

/// How long anything may take: some evaluations of ten seconds each, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn monitor() -> Value {
    json!({
        "name": "load", "title": "Load", "kind": "threshold", "query": "avg:load{*} by {host}",
        "window": "10s", "every": "10s", "new_group_delay": "0s", "channels": ["mail"],
        "thresholds": {"comparator": ">", "critical": 90},
    })
}

/// Writes a value a second until an incident is in this state, and gives it.
fn write_until(host: &Host, token: &str, value: f64, state: &str) -> Result<Value> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        let point = json!([now, value]);
        let body = json!({"series": [{"metric": "load", "tags": ["host:web-1"], "points": [point]}]});
        expect_json(host.as_key(token, "POST", "/v1/series").json(&body).send()?, 200)?;
        let path = format!("/v1/incidents?monitor=load&state={state}");
        let incidents = expect_json(host.as_key(token, "GET", &path).send()?, 200)?;
        if let Some(incident) = incidents["items"].as_array().and_then(|items| items.first()) {
            return Ok(incident.clone());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("no incident was {state} in {PATIENCE:?}")
}

#[test]
fn a_monitor_opens_an_incident_that_outlives_a_restart_and_closes_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let token = host.keys().admin.clone();
    let file = folder.path().join("load.json");
    std::fs::write(&file, monitor().to_string())?;
    let file = file.to_str().context("the folder's name is text")?.to_owned();
    let put = host.command(&token, &["monitor", "put", &file])?;
    ensure!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));

    let incident = write_until(&host, &token, 99.0, "open")?;
    let id = incident["id"].as_str().context("it has an id")?.to_owned();
    ensure!(incident["title"] == "Load: host:web-1" && incident["severity"] == "high", "{incident}");
    let path = format!("/v1/incidents/{id}/acknowledge");
    expect_json(host.as_key(&token, "POST", &path).send()?, 200)?;
    let metrics = host.request("GET", "/metrics").send()?.text()?;
    ensure!(metrics.contains("bellwether_monitor_evaluations_total"), "{metrics}");
    host.stop()?;

    let host = Host::start(&data, &[])?;
    let closed = write_until(&host, &token, 5.0, "closed")?;
    ensure!(closed["id"] == id.as_str() && closed["close_reason"] == "recovered", "{closed}");
    ensure!(closed["acknowledged_by"].is_string(), "what was said outlives the restart: {closed}");
    let whole = expect_json(host.as_key(&token, "GET", &format!("/v1/incidents/{id}")).send()?, 200)?;
    ensure!(whole["intervals"][0]["upper"]["peak"] == 99.0, "{whole}");
    let trace = expect_json(host.as_key(&token, "GET", &format!("/v1/incidents/{id}/trace")).send()?, 200)?;
    let kinds: Vec<&str> =
        trace["items"].as_array().into_iter().flatten().filter_map(|note| note["what"].as_str()).collect();
    ensure!(kinds.contains(&"opened") && kinds.contains(&"told") && kinds.contains(&"closed"), "{trace}");

    // The same, asked of history.
    let test = host.command(&token, &["monitor", "test", &file, "--from", "10m", "--json"])?;
    ensure!(test.status.success(), "{}", String::from_utf8_lossy(&test.stderr));
    let tested: Value = serde_json::from_slice(&test.stdout)?;
    ensure!(tested["incidents"].as_array().map(Vec::len) == Some(1), "{tested}");
    host.stop()
}

#[test]
fn a_document_that_is_wrong_is_refused_with_every_field_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let mut document = monitor();
    document["every"] = "1s".into();
    document["query"] = "avg:load{*".into();
    let answer = expect_json(host.as_admin("POST", "/v1/monitors").json(&document).send()?, 400)?;
    let fields: Vec<&str> = answer["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| error["field"].as_str())
        .collect();
    ensure!(fields == ["every", "query (line 1, column 11)"], "{answer}");
    let mute = json!({"scope": {"tags": {"host": "web-1"}}, "end": "2000-01-01T00:00:00Z"});
    expect_json(host.as_admin("POST", "/v1/mutes").json(&mute).send()?, 400)?;
    host.stop()
}
