//! Channels on the real binary: a receiver that fails first, a delivery that waits for its host, dead letters.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bellwether_access::{Access, Destination, HostKey};
use bellwether_alerts::{
    Deliveries, DeliveryLimits, DeliveryParts, Detector, Event, FilledRequest, Forecaster, Formatter,
    HttpAnswer, HttpSender, Notification, Roles, SendError, Telling, Tellings,
};
use bellwether_kernel::{OrganisationId, SystemClock, SystemRandomness, Timestamp};
use bellwether_store::{Batch, SledSettings, SledStore, Store};
use bellwether_tests::{Host, expect_json};
use serde_json::{Value, json};

/// How long a delivery may take: a few attempts with the waits between them.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request that was received: its head, and its body.
type Received = (String, Value);

/// A receiver that answers these statuses in order, the last again and again, and hands on what it was sent.
fn receiver(statuses: &'static [u16]) -> Result<(String, Receiver<Received>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (sender, received) = channel();
    std::thread::spawn(move || {
        let last = statuses.last().copied().unwrap_or(200);
        for (stream, status) in
            listener.incoming().zip(statuses.iter().copied().chain(std::iter::repeat(last)))
        {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(&mut stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            let answer = format!("HTTP/1.1 {status} It\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            let _ = sender.send((head, serde_json::from_slice(&body).unwrap_or_default()));
        }
    });
    Ok((url, received))
}

/// Sends nothing: what is put into the store here is delivered by the binary.
struct Nobody;

#[async_trait::async_trait]
impl HttpSender for Nobody {
    async fn send(&self, _: FilledRequest, _: &[Destination]) -> Result<HttpAnswer, SendError> {
        Err(SendError::Lost("nothing is sent from here".to_owned()))
    }
}

impl Roles for Nobody {
    fn detector(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Detector>> {
        None
    }

    fn forecaster(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Forecaster>> {
        None
    }

    fn formatter(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Formatter>> {
        None
    }
}

/// Puts what an incident tells into the store of a host that is not running. The channels are paused, so that nothing
/// else happens.
fn tell(data: &Path, incident: &str, told: &[(u32, Event)], channels: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let sled = Arc::new(SledStore::open(&data.join("store"), SledSettings::default())?);
        let (clock, randomness) = (Arc::new(SystemClock), Arc::new(SystemRandomness));
        let key = HostKey::load_or_create(&data.join("host.key"), &*randomness)?;
        let access = Access::open(sled.clone(), clock.clone(), randomness.clone(), key).await?;
        let organisation = access.organisation_named("default")?.id;
        let deliveries = Deliveries::open(DeliveryParts {
            store: sled.clone(),
            access: Arc::new(access),
            roles: Arc::new(Nobody),
            http: Arc::new(Nobody),
            mail: None,
            clock,
            randomness,
            limits: DeliveryLimits::default(),
        })
        .await?;
        for (sequence, event) in told {
            let mut telling = Telling {
                organisation,
                channels: channels.iter().map(|name| (*name).to_owned()).collect(),
                sequence: *sequence,
                event: *event,
                time: Timestamp::parse("2026-01-01T00:00:00Z").context("an instant")?,
                incident: Notification::sample(*event).incident,
            };
            incident.clone_into(&mut telling.incident.id);
            let mut batch = Batch::new();
            deliveries.add(&mut batch, &telling)?;
            sled.commit(batch).await?;
        }
        deliveries.stop(Duration::from_secs(5)).await;
        drop(deliveries);
        sled.close();
        Ok(())
    })
}

/// A delivery, once it is in this state.
fn delivered(host: &Host, token: &str, id: &str, state: &str) -> Result<Value> {
    let began = Instant::now();
    loop {
        let path = format!("/v1/deliveries/{id}");
        let delivery = expect_json(host.as_key(token, "GET", &path).send()?, 200)?;
        if delivery["state"] == state {
            return Ok(delivery);
        }
        ensure!(began.elapsed() < PATIENCE, "{id} is not {state}: {delivery}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn routes_are_put_and_tried_from_the_command_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = &host.keys().admin;
    let run = |arguments: &[&str]| -> Result<String> {
        let output = host.command(admin, arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let write = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("a path of text")?.to_owned())
    };
    let spec = json!({"formatter": "webhook", "settings": {"url": "https://hooks.example.com/"}}).to_string();
    run(&["channel", "put", "ops-de", &write("ops.json", &spec)?])?;
    let csv = "country,channels\nde,ops-de;mail\nfr,ops-fr\n";
    let countries = write("countries.csv", csv)?;
    run(&["route", "put", &countries, "--table", "countries", "--severity", "high"])?;
    let rules = r#"{"rules": [{"match": {"labels": {"team": "pay*"}}, "channels": ["pager"]}]}"#;
    run(&["route", "put", &write("rules.json", rules)?])?;

    let listed: Value = serde_json::from_str(&run(&["route", "list", "--json"])?)?;
    ensure!(listed["rules"][0]["channels"][0] == "pager" && listed["tables"][0]["rows"] == 2, "{listed}");
    ensure!(run(&["route", "show", "countries"])? == csv);
    let shown = write("shown.json", &run(&["route", "show"])?)?;
    ensure!(run(&["route", "put", &shown, "--version", "1"])?.contains("1 rule, version 2"));

    let warned =
        host.command(admin, &["route", "put", &countries, "--table", "countries", "--severity", "high"])?;
    let warned = String::from_utf8_lossy(&warned.stderr).into_owned();
    ensure!(
        warned.contains("warning: there is no channel \"mail\": until it is put, nobody is told by it"),
        "{warned}"
    );
    ensure!(run(&["route", "list"])?.contains("rules[0]: there is no channel \"pager\""));

    // What a table or rule names and is not there is passed over, and what the monitor names stays.
    let trial = ["route", "test", "--label", "team:payments", "--channel", "own"];
    for (country, severity, expected, passed_over) in [
        ("country:de", "high", &["ops-de"][..], &["mail", "pager"][..]),
        ("country:fr", "high", &["own"], &["ops-fr", "pager"]),
        ("country:de", "low", &["own"], &["pager"]),
    ] {
        let routed = run(&[&trial[..], &["--tag", country, "--severity", severity, "--json"]].concat())?;
        let routed: Value = serde_json::from_str(&routed)?;
        ensure!(routed["channels"] == json!(expected), "{country} {severity}: {routed}");
        ensure!(routed["passed_over"] == json!(passed_over), "{country} {severity}: {routed}");
        let missing: Vec<_> = expected.iter().filter(|name| **name != "ops-de").collect();
        ensure!(routed["missing"] == json!(missing), "{country} {severity}: {routed}");
    }
    ensure!(run(&trial)?.contains("own  (there is no such channel)"));

    let wrong = write("wrong.csv", "country,channels\nde,\n")?;
    for (arguments, said) in [
        (vec!["route", "put", &*wrong, "--table", "countries"], "line 2"),
        (vec!["route", "put", &countries, "--table", "countries", "--version", "7"], "version 2"),
        (vec!["route", "put", &countries], "--table"),
        (vec!["route", "test", "--severity", "huge"], "huge"),
        (vec!["route", "test", "--monitor", "nope"], "nope"),
        (vec!["route", "show", "nowhere"], "nowhere"),
    ] {
        let output = host.command(admin, &arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && errors.contains(said), "{arguments:?}: {errors}");
    }
    run(&["route", "delete", "countries"])?;
    let tables = expect_json(host.as_admin("GET", "/v1/routes/tables").send()?, 200)?;
    ensure!(tables["items"] == json!([]), "{tables}");
    host.stop()
}

#[test]
fn a_delivery_survives_its_host_and_a_receiver_that_fails_first_and_keeps_its_order() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let host = Host::start(&data, &[])?;
    let token = host.keys().admin.clone();
    let (url, received) = receiver(&[500, 429, 200])?;
    let (refusing, _refused) = receiver(&[400])?;
    let secret = json!({"value": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hosts": [url]});
    expect_json(host.as_admin("PUT", "/v1/secrets/hook").json(&secret).send()?, 201)?;
    let channel = json!({"formatter": "webhook", "settings": {"url": url, "signing_secret": "hook"}});
    let put = expect_json(host.as_admin("PUT", "/v1/channels/ops").json(&channel).send()?, 201)?;
    ensure!(put["hosts"] == json!([url]) && put["version"] == 1, "{put}");
    let other = json!({"formatter": "webhook", "settings": {"url": refusing}});
    expect_json(host.as_admin("PUT", "/v1/channels/strict").json(&other).send()?, 201)?;
    for name in ["ops", "strict"] {
        expect_json(host.as_admin("POST", &format!("/v1/channels/{name}/pause")).send()?, 200)?;
    }
    host.stop()?;

    tell(&data, "e2e", &[(1, Event::Opened), (2, Event::Closed)], &["ops", "strict"])?;
    let host = Host::start(&data, &[])?;
    ensure!(received.try_recv().is_err(), "a paused channel is told nothing");
    for name in ["ops", "strict"] {
        expect_json(host.as_key(&token, "POST", &format!("/v1/channels/{name}/resume")).send()?, 200)?;
    }
    let first = delivered(&host, &token, "e2e.ops.1", "delivered")?;
    ensure!(first["attempts"] == 3, "{first}");
    let statuses: Vec<&Value> = first["history"]
        .as_array()
        .context("a history")?
        .iter()
        .map(|attempt| &attempt["exchanges"][0]["status"])
        .collect();
    ensure!(statuses == [&json!(500), &json!(429), &json!(200)], "{first}");
    delivered(&host, &token, "e2e.ops.2", "delivered")?;
    let requests: Vec<Received> = received.try_iter().collect();
    let ids: Vec<bool> = requests.iter().map(|(head, _)| head.contains("e2e.ops.1")).collect();
    ensure!(ids == [true, true, true, false], "the same key for every attempt, and in order: {requests:?}");
    ensure!(requests.iter().all(|(head, _)| head.contains("webhook-signature: v1,")), "{requests:?}");
    ensure!(!first.to_string().contains("MfKQ9r8G"), "the secret is not shown: {first}");

    // What is refused for good is a dead letter, and can be resent.
    let dead = delivered(&host, &token, "e2e.strict.1", "dead")?;
    ensure!(dead["reason"].as_str().is_some_and(|reason| reason.contains("400")), "{dead}");
    let listed = expect_json(host.as_key(&token, "GET", "/v1/deliveries?state=dead").send()?, 200)?;
    ensure!(listed["items"].as_array().is_some_and(|items| items.len() == 2), "{listed}");
    let (mended, took) = receiver(&[200])?;
    let channel = json!({"formatter": "webhook", "settings": {"url": mended}});
    let path = "/v1/channels/strict?version=1";
    expect_json(host.as_key(&token, "PUT", path).json(&channel).send()?, 409)?;
    expect_json(host.as_key(&token, "PUT", "/v1/channels/strict").json(&channel).send()?, 200)?;
    for id in ["e2e.strict.1", "e2e.strict.2"] {
        expect_json(host.as_key(&token, "POST", &format!("/v1/deliveries/{id}/resend")).send()?, 200)?;
        delivered(&host, &token, id, "delivered")?;
    }
    ensure!(took.try_iter().count() == 2, "both arrived");

    // A channel is tried by the same way.
    let trial = expect_json(host.as_key(&token, "POST", "/v1/channels/ops/test").send()?, 200)?;
    ensure!(trial["outcome"] == "delivered" && trial["exchanges"][0]["status"] == 200, "{trial}");
    let (_, body) = received.recv_timeout(PATIENCE)?;
    ensure!(body.to_string().contains("test"), "{body}");
    let metrics = host.request("GET", "/metrics").send()?.text()?;
    ensure!(metrics.contains("bellwether_deliveries_total{state=\"delivered\"} 4"), "{metrics}");
    host.stop()
}

#[test]
fn what_is_wrong_with_a_channel_or_leaves_others_without_one_is_refused_and_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let admin = &host.keys().admin;
    // What only the formatter knows of its settings is asked of it.
    for (formatter, settings, field) in [
        ("webhook", json!({"url": "hooks.example.com"}), "settings.url"),
        ("email", json!({"to": ["nobody"]}), "settings.to"),
    ] {
        let channel = json!({"formatter": formatter, "settings": settings});
        let answer = host.as_admin("PUT", "/v1/channels/ops").json(&channel).send()?;
        let refused = expect_json(answer, 400)?;
        ensure!(refused["errors"][0]["field"] == field, "{refused}");
        expect_json(host.as_admin("GET", "/v1/channels/ops").send()?, 404)?;
    }
    let channel = json!({"formatter": "webhook", "settings": {"url": "https://hooks.example.com/"}});
    expect_json(host.as_admin("PUT", "/v1/channels/ops").json(&channel).send()?, 201)?;
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "channels": ["ops"],
        "thresholds": {"comparator": ">", "critical": 90},
    });
    expect_json(host.as_admin("POST", "/v1/monitors").json(&monitor).send()?, 201)?;
    let rules = json!({"rules": [{"channels": ["ops"]}]});
    expect_json(host.as_admin("PUT", "/v1/routes/rules").json(&rules).send()?, 200)?;
    let refused = expect_json(host.as_admin("DELETE", "/v1/channels/ops").send()?, 409)?;
    let detail = refused["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("the monitor load, and by the routes rules[0]"), "{refused}");
    for (arguments, said) in [
        (&["channel", "delete", "ops"][..], "the monitor load"),
        (&["mute", "create", "--for", "1h"], "--everything"),
        (&["mute", "create", "--everything", "--monitor", "load"], "--everything"),
    ] {
        let output = host.command(admin, arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && errors.contains(said), "{arguments:?}: {errors}");
    }
    for arguments in
        [&["channel", "delete", "ops", "--force"][..], &["mute", "create", "--everything", "--for", "1h"]]
    {
        let output = host.command(admin, arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {errors}");
    }
    host.stop()
}

#[test]
fn the_page_of_alerts_says_why_a_channel_can_be_told_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let keys = host.keys();
    let channel = json!({"formatter": "webhook", "settings": {"url": "https://hooks.example.com/"}});
    expect_json(host.as_admin("PUT", "/v1/channels/ops").json(&channel).send()?, 201)?;
    let off = host.as_key(&keys.operator, "PATCH", "/v1/plugins/webhook").json(&json!({"enabled": false}));
    expect_json(off.send()?, 200)?;
    let channel = expect_json(host.as_admin("GET", "/v1/channels/ops").send()?, 200)?;
    let problem = channel["problem"].as_str().context("it has a problem")?;
    let form = format!("next=/alerts&key={}", keys.admin);
    let signed_in =
        host.request("POST", "/sign-in").header("sec-fetch-site", "same-origin").body(form).send()?;
    let session = signed_in.headers()["set-cookie"].to_str()?.to_owned();
    let page = host.request("GET", "/alerts").header("cookie", session).send()?.text()?;
    let problem = format!(">{}</td></tr>", problem.replace('"', "&quot;"));
    ensure!(page.contains(&problem), "no {problem} in {page}");
    host.stop()
}

#[test]
fn a_breach_is_told_as_it_opens_and_as_it_closes_to_the_channels_it_had_when_it_opened() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let (url, received) = receiver(&[200])?;
    let (routed, also) = receiver(&[200])?;
    for (name, url) in [("ops", &url), ("web", &routed)] {
        let channel = json!({"formatter": "webhook", "settings": {"url": url}});
        expect_json(host.as_admin("PUT", &format!("/v1/channels/{name}")).json(&channel).send()?, 201)?;
    }
    let rules = json!({"rules": [{"match": {"labels": {"team": "web"}}, "channels": ["web"]}]});
    expect_json(host.as_admin("PUT", "/v1/routes/rules").json(&rules).send()?, 200)?;
    let monitor = json!({
        "name": "load", "kind": "threshold", "query": "avg:load{*} by {host}", "window": "10s", "every": "10s",
        "new_group_delay": "0s", "channels": ["ops"], "labels": {"team": "web"},
        "thresholds": {"comparator": ">", "critical": 90},
    });
    expect_json(host.as_admin("POST", "/v1/monitors").json(&monitor).send()?, 201)?;
    let token = host.keys().admin.clone();
    for (title, on) in [("Deployed shop 1.4", "web-1"), ("Deployed shop 1.5", "web-2")] {
        let sent =
            host.command(&token, &["event", "send", title, "--host", on, "--tag", "category:deployments"])?;
        ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    }
    let mut ids = Vec::new();
    for (value, expected) in [(99.0, "incident.opened"), (1.0, "incident.closed")] {
        let began = Instant::now();
        let (_, body) = loop {
            let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
            let body =
                json!({"series": [{"metric": "load", "tags": ["host:web-1"], "points": [[now, value]]}]});
            expect_json(host.as_admin("POST", "/v1/series").json(&body).send()?, 200)?;
            match received.recv_timeout(Duration::from_secs(1)) {
                Ok(told) => break told,
                Err(_) => ensure!(began.elapsed() < PATIENCE * 4, "nothing is told of {value}"),
            }
        };
        ensure!(body["type"] == expected, "{body}");
        let (_, same) = also.recv_timeout(PATIENCE)?;
        ensure!(same["type"] == expected, "a rule adds its channel: {same}");
        let incident = &body["data"]["incident"];
        let events = incident["events"].as_array().context("it tells of events")?;
        ensure!(events.len() == 1 && events[0]["title"] == "Deployed shop 1.4", "{events:?}");
        ensure!(events[0]["category"] == "deployments", "{events:?}");
        ids.push(incident["id"].clone());
        // What routes say from here on is for others.
        expect_json(host.as_admin("PUT", "/v1/routes/rules").json(&json!({"rules": []})).send()?, 200)?;
    }
    ensure!(ids[0] == ids[1] && ids[0].is_string(), "it is one incident: {ids:?}");

    // Its end kept what belongs to it.
    let id = ids[0].as_str().context("an id is a text")?;
    host.command(&token, &["event", "send", "Too late", "--host", "web-1"])?;
    let kept = expect_json(host.as_admin("GET", &format!("/v1/incidents/{id}/events")).send()?, 200)?;
    ensure!(kept["kept"] == true && kept["complete"] == true, "{kept}");
    ensure!(kept["items"].as_array().map(Vec::len) == Some(1), "{kept}");
    let shown = host.command(&token, &["incident", "get", id])?;
    let shown = String::from_utf8_lossy(&shown.stdout);
    ensure!(shown.contains("Deployed shop 1.4") && shown.contains("deployments"), "{shown}");
    ensure!(!shown.contains("shop 1.5") && !shown.contains("Too late"), "{shown}");
    host.stop()
}

#[test]
fn a_channel_goes_to_no_private_address_it_does_not_write_out_and_a_secret_to_no_other_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Host::start(&folder.path().join("data"), &[])?;
    let (url, received) = receiver(&[200])?;
    let secret = json!({"value": "hush-hush", "hosts": ["https://elsewhere.example"]});
    expect_json(host.as_admin("PUT", "/v1/secrets/token").json(&secret).send()?, 201)?;
    for (channel, field, expected) in [
        (
            json!({"settings": {"url": url, "authorization": "token"}}),
            "settings.authorization",
            "only to https://elsewhere.example",
        ),
        (json!({"settings": {"url": url}, "hosts": ["https://a.example"]}), "hosts", url.as_str()),
    ] {
        let mut channel = channel;
        channel["formatter"] = "webhook".into();
        let refused = expect_json(host.as_admin("PUT", "/v1/channels/c").json(&channel).send()?, 400)?;
        let error = &refused["errors"][0];
        ensure!(error["field"] == field && error.to_string().contains(expected), "{refused}");
        ensure!(!refused.to_string().contains("hush-hush"), "{refused}");
    }
    // What its secret is bound to may change later, and is held against every request.
    let secret = json!({"value": "hush-hush", "hosts": [url]});
    expect_json(host.as_admin("PUT", "/v1/secrets/token").json(&secret).send()?, 200)?;
    let channel = json!({"formatter": "webhook", "settings": {"url": url, "authorization": "token"}});
    expect_json(host.as_admin("PUT", "/v1/channels/c").json(&channel).send()?, 201)?;
    let secret = json!({"value": "hush-hush", "hosts": ["https://elsewhere.example"]});
    expect_json(host.as_admin("PUT", "/v1/secrets/token").json(&secret).send()?, 200)?;
    let trial = expect_json(host.as_admin("POST", "/v1/channels/c/test").send()?, 200)?;
    ensure!(trial["outcome"] == "failed", "{trial}");
    ensure!(trial["reason"].as_str().is_some_and(|reason| reason.contains("may not be sent to")), "{trial}");
    ensure!(!trial.to_string().contains("hush-hush"), "{trial}");
    ensure!(received.try_recv().is_err(), "nothing was sent");
    host.stop()
}
