//! The same alert, told by Bellwether and by Alertmanager (0.25 in Debian) to the channels both have. What is sent is
//! caught on the loopback and read by one reader for each vendor's API, whoever sent it; where the two differ is said
//! beside the comparison.
//!
//! Alertmanager is given alerts; Bellwether finds them itself, with a monitor over a series that breaches and recovers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bellwether_kernel::Timestamp;
use bellwether_tests::beside::{Beside, post_alerts};
use bellwether_tests::sink::{Sink, Taken};
use bellwether_tests::{Host, expect_json};
use serde_json::{Value, json};

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// The series that breaches, and the text of its monitor.
const HOST: &str = "web-1";
const SUMMARY: &str = "the load is high";

const CHANNELS: [&str; 5] = ["opsgenie", "pagerduty", "slack", "telegram", "webhook"];

/// What one request says, whoever sent it.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    opens: bool,
    /// What the vendor knows the alert by.
    key: Option<String>,
    /// With the key left out.
    path: String,
    /// How the sender shows who it is.
    credential: Option<String>,
    severity: Option<String>,
    /// Whether it tells of the series, and what its owner wrote.
    tells: (bool, bool),
}

/// What the vendors answer.
fn answer(path: &str) -> (u16, &'static str) {
    match path.split('/').nth(1) {
        Some("opsgenie") => {
            (202, r#"{"result": "Request will be processed", "took": 0.1, "requestId": "r"}"#)
        }
        Some("pagerduty") => {
            (202, r#"{"status": "success", "message": "Event processed", "dedup_key": "k"}"#)
        }
        Some("telegram") => (
            200,
            r#"{"ok": true, "result": {"message_id": 7, "date": 0, "chat": {"id": -100, "type": "group"}}}"#,
        ),
        _ => (200, "ok"),
    }
}

/// Which channel a request is for.
fn channel(taken: &Taken) -> String {
    taken.path.split('/').nth(1).unwrap_or_default().to_owned()
}

/// Reads a request by its vendor's API.
fn read(taken: &Taken) -> Result<Said> {
    ensure!(taken.method == "POST", "{taken:?}");
    let json_sent = taken.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    ensure!(json_sent, "every one of them takes JSON: {taken:?}");
    let (body, text) = (taken.json()?, String::from_utf8_lossy(&taken.body));
    let of = |value: &Value| value.as_str().map(str::to_owned);
    let mut said = Said {
        opens: true,
        key: None,
        path: taken.path.clone(),
        credential: None,
        severity: None,
        tells: (text.contains(HOST), text.contains(SUMMARY)),
    };
    match channel(taken).as_str() {
        "opsgenie" => {
            let closed = taken.path.strip_suffix("/close?identifierType=alias");
            said.opens = closed.is_none();
            said.credential = taken.header("authorization").map(str::to_owned);
            said.key = match closed.and_then(|path| path.strip_prefix("/opsgenie/v2/alerts/")) {
                Some(alias) => Some(alias.to_owned()),
                None => of(&body["alias"]),
            };
        }
        "pagerduty" => {
            said.opens = match body["event_action"].as_str() {
                Some("trigger") => true,
                Some("resolve") => false,
                _ => bail!("an action of the Events API v2: {body}"),
            };
            said.key = of(&body["dedup_key"]);
            said.credential = of(&body["routing_key"]);
            said.severity = of(&body["payload"]["severity"]);
        }
        "slack" => {
            // What is over is green; theirs has Slack's own name for it.
            let color = body["attachments"][0]["color"].as_str().context("an attachment with a colour")?;
            said.opens = color != "good" && !is_green(color);
        }
        "telegram" => {
            let (path, token) = (taken.path.clone(), "/telegram/bot1:secret/");
            said.credential = path.starts_with(token).then(|| token.to_owned());
            // Which of the two it is, each says in words of its own.
            said.opens = !["[Closed]", "Alerts Resolved"].iter().any(|words| text.contains(words));
        }
        "webhook" => {
            let alert = &body["alerts"][0];
            let incident = &body["data"]["incident"];
            (said.opens, said.key, said.severity) = match (body["status"].as_str(), body["type"].as_str()) {
                (Some(status), None) => {
                    (status == "firing", of(&body["groupKey"]), of(&alert["labels"]["severity"]))
                }
                (None, Some(kind)) => {
                    (kind == "incident.opened", of(&incident["id"]), of(&incident["severity"]))
                }
                _ => bail!("a webhook of either: {body}"),
            };
        }
        other => bail!("nobody is told at {other:?}"),
    }
    if let Some(key) = &said.key {
        said.path = said.path.replace(key.as_str(), "{key}");
    }
    Ok(said)
}

/// Whether `#rrggbb` is more green than anything else.
fn is_green(color: &str) -> bool {
    let part =
        |at: usize| color.get(at..at + 2).and_then(|part| u8::from_str_radix(part, 16).ok()).unwrap_or(0);
    part(3) > part(1) && part(3) > part(5)
}

/// Waits until every channel was told that it opened, and gives what each was told.
fn told(sink: &Sink, opens: bool, mut write: impl FnMut() -> Result<()>) -> Result<BTreeMap<String, Said>> {
    let mut all = BTreeMap::new();
    let began = std::time::Instant::now();
    while all.len() < CHANNELS.len() {
        ensure!(began.elapsed() < PATIENCE, "only {:?} were told", all.keys());
        write()?;
        if let Ok(taken) = sink.next(Duration::from_secs(1)) {
            let said = read(&taken)?;
            ensure!(
                said.opens == opens,
                "{said:?}, where opens is {opens}: {}",
                String::from_utf8_lossy(&taken.body)
            );
            let before = all.insert(channel(&taken), said);
            ensure!(before.is_none(), "{} is told twice", channel(&taken));
        }
    }
    Ok(all)
}

/// What each channel was told as it opened, and as it closed.
type Life = [BTreeMap<String, Said>; 2];

fn ours(folder: &Path) -> Result<Life> {
    let sink = Sink::start(answer)?;
    let host = Host::start(&folder.join("data"), &[])?;
    let url = |path: &str| format!("{}/{path}", sink.url);
    for (name, value) in [
        ("opsgenie-key", "K0".to_owned()),
        ("pagerduty-key", "R0".to_owned()),
        ("slack-url", url("slack")),
        ("telegram-token", "1:secret".to_owned()),
    ] {
        let secret = json!({"value": value, "hosts": [sink.url]});
        expect_json(host.as_admin("PUT", &format!("/v1/secrets/{name}")).json(&secret).send()?, 201)?;
    }
    for (name, settings) in [
        ("opsgenie", json!({"api_key": "opsgenie-key", "api_url": url("opsgenie")})),
        ("pagerduty", json!({"routing_key": "pagerduty-key", "api_url": url("pagerduty")})),
        ("slack", json!({"url": "slack-url"})),
        ("telegram", json!({"token": "telegram-token", "chat_id": "-100", "api_url": url("telegram")})),
        ("webhook", json!({"url": url("webhook")})),
    ] {
        let channel = json!({"formatter": name, "settings": settings, "hosts": [sink.url]});
        expect_json(host.as_admin("PUT", &format!("/v1/channels/{name}")).json(&channel).send()?, 201)?;
    }
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "window": "10s", "every": "10s",
        "new_group_delay": "0s", "channels": CHANNELS, "message": SUMMARY, "severity": "critical",
        "thresholds": {"comparator": ">", "critical": 90},
    });
    expect_json(host.as_admin("POST", "/v1/monitors").json(&monitor).send()?, 201)?;
    let write = |value: f64| -> Result<()> {
        let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let series = json!({"metric": "load", "tags": [format!("host:{HOST}")], "points": [[now, value]]});
        expect_json(host.as_admin("POST", "/v1/series").json(&json!({"series": [series]})).send()?, 200)?;
        Ok(())
    };
    let opened = told(&sink, true, || write(99.0))?;
    let closed = told(&sink, false, || write(1.0))?;
    host.stop()?;
    ensure!(sink.rest().is_empty(), "nothing else is told");
    Ok([opened, closed])
}

/// `None` if Alertmanager is not installed.
fn theirs(folder: &Path) -> Result<Option<Life>> {
    let sink = Sink::start(answer)?;
    let url = |path: &str| format!("{}/{path}", sink.url);
    let receiver = json!({
        "name": "all",
        "opsgenie_configs": [{"api_key": "K0", "api_url": url("opsgenie/")}],
        // By default it says `error` of everything; its owner has to hand the label on.
        "pagerduty_configs": [{"routing_key": "R0", "url": url("pagerduty/v2/enqueue"),
            "severity": "{{ .CommonLabels.severity }}"}],
        // By default it tells Slack of no end, and needs a channel, which Slack's webhooks pass over by now.
        "slack_configs": [{"api_url": url("slack"), "channel": "#ops", "send_resolved": true,
            "text": "{{ .CommonAnnotations.summary }}"}],
        "telegram_configs": [{"bot_token": "1:secret", "chat_id": -100, "api_url": url("telegram")}],
        "webhook_configs": [{"url": url("webhook")}],
    });
    let Some(manager) = Beside::alertmanager(folder, &receiver)? else { return Ok(None) };
    let mut alert = json!({
        "labels": {"alertname": "load", "host": HOST, "severity": "critical"},
        "annotations": {"summary": SUMMARY},
    });
    let mut once = Some(());
    let opened = told(&sink, true, || match once.take() {
        Some(()) => post_alerts(&manager.url, &json!([alert.clone()])),
        None => Ok(()),
    })?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    alert["endsAt"] = Timestamp::from_milliseconds(now).context("an instant")?.to_string().into();
    let mut once = Some(());
    let closed = told(&sink, false, || match once.take() {
        Some(()) => post_alerts(&manager.url, &json!([alert.clone()])),
        None => Ok(()),
    })?;
    Ok(Some([opened, closed]))
}

#[test]
fn the_same_alert_says_the_same_to_the_channels_alertmanager_has_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(theirs) = theirs(folder.path())? else { return Ok(()) };
    let ours = ours(folder.path())?;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for name in CHANNELS {
            let (mut one, mut other) = (ours[name].clone(), theirs[name].clone());
            // Ours is the incident's id, another for each recurrence; theirs a hash of the group's labels, the same for
            // each, so that what recurs within PagerDuty's or Opsgenie's memory is one alert there.
            ensure!(
                one.key.is_some() == other.key.is_some() && (one.key != other.key || one.key.is_none()),
                "{name}"
            );
            (one.key, other.key) = (None, None);
            match (name, one.opens) {
                // An end is said by the key alone where the vendor asks for no more: theirs repeats what it is about.
                ("pagerduty", false) => {
                    (one.severity, one.tells) = (other.severity.clone(), other.tells);
                }
                // Ours says in a note why it is over, theirs nothing.
                ("opsgenie", false) => one.tells = other.tells,
                // Ours edits the message it sent as it opened; theirs sends another.
                ("telegram", false) => {
                    ensure!(one.path.ends_with("/editMessageText"), "{one:?}");
                    ensure!(other.path.ends_with("/sendMessage"), "{other:?}");
                    one.path.clone_from(&other.path);
                }
                _ => {}
            }
            ensure!(one == other, "{name}: ours {one:?}, theirs {other:?}");
        }
    }
    for life in [&ours, &theirs] {
        for name in CHANNELS {
            ensure!(
                life[0][name].key == life[1][name].key,
                "what opened under a key ends under it: {life:?}"
            );
        }
    }
    Ok(())
}
