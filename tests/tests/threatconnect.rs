//! The ThreatConnect dialect: the vendor's own client, and every error in the vendor's format.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use bellwether_tests::{Host, python, sign};
use serde_json::{Value, json};

/// A signed request to a path below the dialect's mount; its status and body.
fn call(host: &Host, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
    let target = format!("/threatconnect/v2/customMetrics{path}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (authorization, timestamp) = sign(&host.keys().access_id, &host.keys().secret, method, &target, now);
    let mut request =
        host.request(method, &target).header("authorization", authorization).header("timestamp", timestamp);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send()?;
    let status = answer.status().as_u16();
    let text = answer.text()?;
    Ok((status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? }))
}

#[test]
fn the_vendors_own_client_works_unchanged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let keys = host.keys();
    for base in ["/threatconnect/api", "/threatconnect"] {
        let printed = python(
            "threatconnect.py",
            &[&format!("{}{base}", host.url), &keys.access_id, &keys.secret, &keys.admin],
        )?;
        ensure!(printed.lines().count() >= 10, "{printed}");
        let gone = call(&host, "DELETE", "/playbook%20runs", None)?;
        ensure!(gone.0 == 200, "{gone:?}");
    }
    host.stop()
}

#[test]
fn the_articles_table_comes_out_exactly() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    for (data_type, first_day, second_day) in [
        ("Sum", 15.0, 9.0),
        ("Count", 2.0, 3.0),
        ("Min", 2.0, 1.0),
        ("Max", 13.0, 7.0),
        ("First", 13.0, 1.0),
        ("Last", 2.0, 7.0),
        ("Average", 7.5, 3.0),
    ] {
        let definition = json!({"name": data_type, "dataType": data_type, "interval": "Daily"});
        let created = call(&host, "POST", "", Some(&definition))?;
        ensure!(matches!(created.0, 200 | 201), "{created:?}");
        for (day, values, expected) in [(9, vec![13, 2], first_day), (10, vec![1, 1, 7], second_day)] {
            let mut last = Value::Null;
            for value in values {
                let sample = json!({"value": value, "date": format!("2024-04-{day:02}T14:44:00Z")});
                last = call(&host, "POST", &format!("/{data_type}?returnValue=true"), Some(&sample))?.1;
            }
            ensure!(last["value"] == expected, "{data_type} on day {day}: {last}");
            ensure!(last["date"] == format!("2024-04-{day:02}T00:00:00Z"), "{last}");
        }
    }
    host.stop()
}

#[test]
fn bad_input_is_answered_in_the_vendors_format_and_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let metric = |name: &str, keyed: bool| json!({"name": name, "dataType": "Sum", "interval": "Daily", "keyedValues": keyed});
    call(&host, "POST", "", Some(&metric("plain", false)))?;
    call(&host, "POST", "", Some(&metric("keyed", true)))?;
    let with = |field: &str, value: Value| {
        let mut body = metric("other", false);
        body[field] = value;
        body
    };
    for (method, path, body, status, named) in [
        ("POST", "", with("name", json!("")), 400, "name"),
        ("POST", "", with("name", json!("x".repeat(46))), 400, "name"),
        ("POST", "", with("name", json!("x".repeat(500))), 400, "name"),
        ("POST", "", with("name", json!(7)), 400, "name"),
        ("POST", "", with("dataType", json!("Median")), 400, "Median"),
        ("POST", "", with("interval", json!("Minutely")), 400, "Minutely"),
        ("POST", "", with("description", json!("x".repeat(501))), 400, "description"),
        ("POST", "", with("keyedValues", json!("perhaps")), 400, "keyedValues"),
        ("POST", "/keyed/data", json!({"value": 1}), 400, "name"),
        ("POST", "/plain/data", json!({"value": 1, "name": "a"}), 400, "name"),
        ("POST", "/missing/data", json!({"value": 1}), 404, "missing"),
        ("POST", "/plain/data", json!({"value": 1, "date": "yesterday"}), 400, "yesterday"),
        ("POST", "/plain/data", json!({"value": "many"}), 400, "many"),
        ("POST", "/plain/data", json!({"value": "1e999"}), 400, "value"),
        ("POST", "/plain/data", json!({}), 400, "value"),
        ("POST", "/plain/data", json!({"value": 1, "weight": -1}), 400, "weight"),
        ("GET", "/missing", Value::Null, 404, "missing"),
        ("DELETE", "/missing", Value::Null, 404, "missing"),
        ("GET", "?resultLimit=many", Value::Null, 400, "resultLimit"),
        ("PATCH", "/plain", json!({}), 405, "PATCH"),
    ] {
        let answer = call(&host, method, path, Some(&body).filter(|body| !body.is_null()))?;
        ensure!(answer.0 == status, "{method} {path} {body}: {answer:?}");
        ensure!(answer.1["status"] == "Failure", "{answer:?}");
        let message = answer.1["message"].as_str().unwrap_or_default();
        ensure!(message.contains(named), "{method} {path} {body}: {message:?} should name {named}");
    }
    let (_, list) = call(&host, "GET", "", None)?;
    ensure!(list["data"]["resultCount"] == 2, "{list}");
    host.stop()
}

#[test]
fn a_signature_is_checked_before_anything_else_happens() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let target = "/threatconnect/v2/customMetrics";
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let keys = host.keys();
    let (good, _) = sign(&keys.access_id, &keys.secret, "GET", target, now);
    let (late, _) = sign(&keys.access_id, &keys.secret, "GET", target, now - 400);
    for (authorization, timestamp, said) in [
        (None, None, "401"),
        (Some(good.clone()), Some(now - 1), "Signature data did not match expected result"),
        (Some(late), Some(now - 400), "Timestamp out of acceptable time range"),
        (Some("TC ABC".to_owned()), Some(now), "401"),
        (Some(format!("TC-Token {}x", keys.admin)), None, "401"),
    ] {
        let mut request = host.request("GET", target);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(timestamp) = timestamp {
            request = request.header("timestamp", timestamp.to_string());
        }
        let answer = request.send()?;
        let seen = format!("{} {}", answer.status().as_u16(), answer.text()?);
        ensure!(
            seen.starts_with("401") && seen.contains("Failure") && seen.contains(said),
            "{seen} should say {said}"
        );
    }
    let signed =
        host.request("GET", target).header("authorization", good).header("timestamp", now.to_string());
    ensure!(signed.send()?.status() == 200);
    host.stop()
}
