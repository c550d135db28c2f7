//! What the bundled formatters send, held against the vendors' own clients, schemas and emulators.
//!
//! One host rehearses every channel's exchanges: an incident from opening to closing, and notifications that try a
//! channel's limits and its markup. What would be sent goes to `tests/python/formatters.py` and, where the validator is
//! JavaScript, to `tests/javascript/formatters.mjs`.

mod channels;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bellwether_tests::{Host, expect_json, python};
use serde_json::{Map, Value, json};

/// Where `cargo xtask test` installs what `tests/javascript/package.json` lists.
fn node_modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/validators/node_modules")
}

/// A channel under rehearsal.
struct Channel<'a> {
    host: &'a Host,
    name: &'static str,
    settings: Value,
}

impl Channel<'_> {
    /// Rehearses an exchange to its end, each request answered as the channel would; gives its steps.
    fn exchange(&self, told: &Value, memory: &str) -> Result<Vec<Value>> {
        let mut answers = Vec::new();
        loop {
            let path = format!("/v1/plugins/{}/format", self.name);
            let body = json!({"settings": self.settings, "notification": told, "memory": memory, "answers": answers});
            let answer = expect_json(self.host.as_admin("POST", &path).json(&body).send()?, 200)?;
            let steps = answer["steps"].as_array().context("an exchange is made of steps")?.clone();
            let Some(outgoing) = steps.last().and_then(|step| step.pointer("/send/outgoing")) else {
                return Ok(steps);
            };
            answers.push(channels::answer(self.name, outgoing));
        }
    }
}

/// What a notification says otherwise than the made-up one, by name. Each stays below the megabyte of a request.
fn extremes() -> Vec<(&'static str, Value)> {
    let hostile = "</b><script>alert(1)</script> *_~`[x](https://evil.example)|&amp; <!channel> @all {{secret}} ${key} \\ \" ' ";
    let control = "a\u{1}b\u{7f}\r\nc\u{2028}\u{202e}d\t\u{fffd}e\u{301}";
    let huge = "🦙 long & <b>ré*sumé</b> ".repeat(300);
    let series = |text: &str| {
        json!({
            "id": "series-1", "metric": text, "tags": [["country", text]], "unit": text, "open": true,
            "started": "2024-04-09T14:44:00Z", "value": 64.0, "score": 0.97,
            "upper": {"peak": 64.0, "expected": 16.0, "delta": 48.0, "delta_percentage": 300.0},
        })
    };
    let alert = |text: &str, count: usize, left_out: u32| {
        let series: Vec<Value> =
            (0..count).map(|_| series(&text.chars().take(200).collect::<String>())).collect();
        json!({
            "monitor": "monitor-1", "kind": "anomaly", "severity": "critical", "title": text, "description": text,
            "open": true, "labels": [["team", text]], "series": series, "left_out": left_out,
        })
    };
    let incident = |text: &str, alerts: Vec<Value>| {
        let links: Vec<Value> = (0..40)
            .map(|index| {
                let url = format!("https://bellwether.example/actions/{index}?a=1&b=(2)");
                json!({"purpose": "action", "label": text.chars().take(200).collect::<String>(), "url": url})
            })
            .collect();
        json!({"incident": {"title": text, "description": text, "assignee": text, "alerts": alerts, "links": links}})
    };
    vec![
        ("huge", incident(&huge, (0..3).map(|_| alert(&huge, 100, 7)).collect())),
        ("hostile", incident(hostile, vec![alert(hostile, 2, 0)])),
        ("control", incident(control, vec![alert(control, 2, 0)])),
        (
            "bare",
            json!({"organisation": "", "incident": {"title": "", "description": "", "alerts": [], "links": [], "events": []}}),
        ),
        ("many", incident("Disk full", vec![alert("Disk full", 100, 4000)])),
        (
            "no-data",
            json!({"incident": {"alerts": [{
                "monitor": "monitor-2", "kind": "no-data", "severity": "low", "title": "Silence", "open": true,
                "series": [{"id": "series-2", "metric": "heartbeat", "open": true, "started": "2024-04-09T14:44:00Z",
                            "last_seen": "2024-04-09T14:30:00Z"}],
            }]}}),
        ),
    ]
}

/// Every channel's exchanges: by channel, by notification, the steps.
fn rehearsed(host: &Host) -> Result<Value> {
    let mut all = Map::new();
    for (name, settings) in channels::settings() {
        let channel = Channel { host, name, settings };
        let mut told = Map::new();
        let mut memory = String::new();
        for event in ["opened", "updated", "closed"] {
            let steps = channel.exchange(&json!({ "event": event }), &memory)?;
            let end = steps.last().and_then(|step| step.pointer("/done/memory")).and_then(Value::as_str);
            end.with_context(|| format!("{name}: {event} does not end well: {steps:?}"))?
                .clone_into(&mut memory);
            told.insert(event.to_owned(), steps.into());
        }
        told.insert("test".to_owned(), channel.exchange(&json!({"event": "test"}), "")?.into());
        for (extreme, notification) in extremes() {
            let steps = channel.exchange(&notification, "").with_context(|| format!("{name}: {extreme}"))?;
            let done = steps.last().is_some_and(|step| step.get("done").is_some());
            ensure!(done, "{name}: {extreme} does not end well: {:?}", steps.last());
            told.insert(extreme.to_owned(), steps.into());
        }
        all.insert(name.to_owned(), told.into());
    }
    Ok(Value::Object(all))
}

#[test]
fn what_every_channel_is_sent_stands_up_to_the_vendors_own_validators() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let sent = rehearsed(&host)?;
    host.stop()?;
    let file = folder.path().join("sent.json");
    std::fs::write(&file, serde_json::to_vec(&sent)?)?;
    let file = file.to_str().context("a path of UTF-8")?;
    let printed = python("formatters.py", &[file])?;
    for (channel, _) in channels::settings() {
        ensure!(printed.contains(&format!("{channel}: ")), "nothing was said of {channel}: {printed}");
    }

    if !node_modules().is_dir() {
        println!("SKIPPED: validators in JavaScript were not installed, as `cargo xtask test` has said");
        return Ok(());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("javascript/formatters.mjs");
    let output = Command::new("node").arg(script).arg(node_modules()).arg(file).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(printed.contains("msteams: ") && printed.contains("jira: "), "{printed}");
    Ok(())
}
