//! A monitor on the real binary: series in, an incident opens; a restart; it closes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bellwether_tests::{Host, expect_json, python};
use serde_json::{Value, json};

/// How long anything may take: some evaluations of ten seconds each, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn monitor() -> Value {
    json!({
        "name": "load", "title": "Load", "kind": "threshold", "query": "avg:load{*} by {host}",
        "window": "10s", "every": "10s", "new_group_delay": "0s", "channels": ["mail"],
        "thresholds": {"comparator": ">", "critical": 90},
        "actions": [{"name": "count", "app": "metric", "inputs": {"metric": "loads", "value": 1, "data_type": "sum"}}],
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
    let act = host.command(&token, &["incident", "act", &id, "count", "--json"])?;
    ensure!(act.status.success(), "{}", String::from_utf8_lossy(&act.stderr));
    let acted: Value = serde_json::from_slice(&act.stdout)?;
    ensure!(acted["state"] == "succeeded", "{acted}");
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
    for kind in ["opened", "told", "acknowledged", "acting", "acted", "closed"] {
        ensure!(kinds.contains(&kind), "{kind}: {trace}");
    }

    // The same, asked of history.
    let test = host.command(&token, &["monitor", "test", &file, "--from", "10m", "--json"])?;
    ensure!(test.status.success(), "{}", String::from_utf8_lossy(&test.stderr));
    let tested: Value = serde_json::from_slice(&test.stdout)?;
    ensure!(tested["incidents"].as_array().map(Vec::len) == Some(1), "{tested}");
    host.stop()
}

#[test]
fn a_write_is_seen_long_before_the_schedule_would_look() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let token = host.keys().admin.clone();
    let mut monitor = monitor();
    // Its schedule comes when nobody waits any more.
    monitor["every"] = "3m".into();
    expect_json(host.as_admin("POST", "/v1/monitors").json(&monitor).send()?, 201)?;
    write_until(&host, &token, 99.0, "open")?;
    let metrics = host.request("GET", "/metrics").send()?.text()?;
    let woken = metrics.lines().find_map(|line| line.strip_prefix("bellwether_monitor_wakes_total "));
    ensure!(woken.is_some_and(|count| count.trim() != "0"), "{metrics}");
    ensure!(metrics.contains("bellwether_monitors_behind_seconds"), "{metrics}");
    host.stop()
}

#[test]
fn every_answer_is_of_the_schema_the_openapi_document_declares() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let token = host.keys().admin.clone();
    let made = |path: &str, body: Value| expect_json(host.as_admin("POST", path).json(&body).send()?, 201);
    made("/v1/metrics", json!({"name": "pushes", "data_type": "sum", "interval": "daily"}))?;
    let sample = json!({"samples": [{"metric": "pushes", "value": 1}]});
    expect_json(host.as_admin("POST", "/v1/samples").json(&sample).send()?, 200)?;
    made("/v1/keys", json!({"name": "reader", "role": "read"}))?;
    made("/v1/mutes", json!({"scope": {"labels": {"team": "web"}}}))?;
    made("/v1/calendar", json!({"name": "work", "kind": "suppress", "scope": {"tags": {"host": "none"}}}))?;
    let event = json!({"events": [{"title": "Deployed", "tags": ["host:web-1"]}]});
    expect_json(host.as_admin("POST", "/v1/events").json(&event).send()?, 200)?;
    let log = json!({"logs": [{"message": "down", "status": "error"}]});
    expect_json(host.as_admin("POST", "/v1/logs").json(&log).send()?, 200)?;
    let hook = host.store_hook(&token, include_str!("../../examples/playbooks/count-pushes.toml"))?;
    let push = host.request("POST", &format!("{hook}?wait")).header("x-github-event", "push");
    expect_json(push.body(include_str!("../data/github-push.json")).send()?, 200)?;
    made("/v1/monitors", monitor())?;
    write_until(&host, &token, 99.0, "open")?;
    let printed = python("answers.py", &[&host.url, &token, &host.keys().operator])?;
    for path in ["/v1/series/metrics/{metric}", "/v1/monitors/{monitor}/series", "/v1/incidents/{incident}"] {
        ensure!(printed.contains(path), "{path} was not asked: {printed}");
    }
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

#[test]
fn the_calendar_and_what_people_think_are_kept_from_the_command_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let token = host.keys().admin.clone();
    let run = |arguments: &[&str]| -> Result<Value> {
        let done = host.command(&token, &[arguments, &["--json"]].concat())?;
        ensure!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(serde_json::from_slice(&done.stdout)?)
    };
    let hours = run(&[
        "calendar",
        "create",
        "office hours",
        "--kind",
        "office-hours",
        "--days",
        "mon-fri",
        "--from",
        "08:00",
        "--to",
        "18:00",
        "--time-zone",
        "Europe/Berlin",
        "--label",
        "team:web",
    ])?;
    ensure!(hours["repeat"]["rule"] == "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", "{hours}");
    let work =
        run(&["calendar", "create", "work", "--kind", "suppress", "--tag", "host:web-1", "--for", "2h"])?;
    ensure!(work["active"] == true && work["until"] == work["end"], "{work}");
    let id = work["id"].to_string();
    ensure!(run(&["calendar", "get", &id])?["name"] == "work");
    let silent = host.command(&token, &["calendar", "create", "all", "--kind", "suppress"])?;
    let told = String::from_utf8_lossy(&silent.stderr).into_owned();
    ensure!(!silent.status.success() && told.contains("--everything"), "{told}");
    let all = run(&["calendar", "create", "all", "--kind", "suppress", "--everything", "--for", "1h"])?;
    ensure!(host.command(&token, &["calendar", "delete", &all["id"].to_string()])?.status.success());
    let deleted = host.command(&token, &["calendar", "delete", &id])?;
    ensure!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    let left = expect_json(host.as_admin("GET", "/v1/calendar").send()?, 200)?;
    ensure!(left["items"].as_array().map(Vec::len) == Some(1), "{left}");
    let wrong = json!({"name": "a", "kind": "suppress", "everything": true, "repeat": {"rule": "FREQ=DAILY", "from": "8", "to": "9:00"}});
    let answer = expect_json(host.as_admin("POST", "/v1/calendar").json(&wrong).send()?, 400)?;
    ensure!(answer.to_string().contains("repeat.from"), "{answer}");
    let none =
        host.command(&token, &["incident", "judge", "01958f0c-0000-7000-8000-000000000000", "good-catch"])?;
    ensure!(!none.status.success());
    let feedback = expect_json(host.as_admin("GET", "/v1/feedback").send()?, 200)?;
    ensure!(feedback["items"].as_array().is_some_and(Vec::is_empty), "{feedback}");
    host.stop()
}
