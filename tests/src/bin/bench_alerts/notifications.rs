//! Notifications a second, and how soon a breach is told, beside Alertmanager.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bellwether_tests::beside::{Beside, post_alerts};
use bellwether_tests::load::{median, quantile};
use bellwether_tests::sink::Sink;
use bellwether_tests::{Host, client, expect_json, processor_time};
use serde_json::{Value, json};

use super::{Settings, met};

/// How long a request may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Channels that are told at once, each of as many.
const CHANNELS: usize = 4;
/// A write brings no evaluation forward for so long after the last; soon the schedule comes.
const DISTANCE: Duration = Duration::from_secs(11);

/// Notifications a second, and processor time of one in microseconds.
type Storm = (f64, f64);

pub(crate) fn measure(folder: &Path, settings: &Settings) -> Result<()> {
    let (storm, mut soon) = ours(folder, settings)?;
    let theirs = theirs(folder, settings)?;
    println!(
        "\n| {} told at once | notifications/s | processor µs each |\n|---|---|---|",
        settings.notifications
    );
    println!("| Bellwether, from the write on, durable | {:.0} | {:.0} |", storm.0, storm.1);
    if let Some((storm, _)) = &theirs {
        println!("| Alertmanager, from the alert on | {:.0} | {:.0} |", storm.0, storm.1);
    }
    println!("\n| one breach | median ms | p90 ms |\n|---|---|---|");
    row("Bellwether, from the write on", &mut soon);
    if let Some((other, mut alone)) = theirs {
        row("Alertmanager, from the alert on", &mut alone);
        println!("\nmore notifications/s than Alertmanager: {}", met(storm.0 > other.0));
        if let Some(mut chain) = chain(folder, settings)? {
            row("victoria-metrics, vmalert each second, Alertmanager, from the write on", &mut chain);
            println!("\nsooner from breach to request: {}", met(median(&mut soon) < median(&mut chain)));
        }
    }
    Ok(())
}

fn row(name: &str, times: &mut [f64]) {
    println!("| {name} | {:.1} | {:.1} |", median(times), quantile(times, 0.9));
}

/// Milliseconds since the epoch, so long ago.
fn ago(span: Duration) -> Result<u64> {
    Ok(u64::try_from((SystemTime::now().duration_since(UNIX_EPOCH)? - span).as_millis())?)
}

fn ours(folder: &Path, settings: &Settings) -> Result<(Storm, Vec<f64>)> {
    let sink = Sink::start(|_| (200, "ok"))?;
    let host = Host::start(&folder.join("data"), &[])?;
    for number in 0..=CHANNELS {
        let channel = json!({"formatter": "webhook", "settings": {"url": sink.url},
            "rate": {"per_minute": 60_000, "burst": 10_000}});
        expect_json(host.as_admin("PUT", &format!("/v1/channels/ops{number}")).json(&channel).send()?, 201)?;
    }
    let monitor = |name: String, query: String, channel: usize| {
        json!({"name": name, "kind": "threshold", "query": query, "window": "10s", "step": "1s",
            "reduce": "last", "new_group_delay": "0s", "channels": [format!("ops{channel}")],
            "thresholds": {"comparator": ">", "critical": 90}})
    };
    let storms = (0..CHANNELS)
        .map(|of| monitor(format!("storm{of}"), format!("avg:storm{{of:{of}}} by {{host}}"), of));
    let alone = (0..settings.trials)
        .map(|of| monitor(format!("alone{of}"), format!("avg:alone{{of:{of}}}"), CHANNELS));
    for monitor in storms.chain(alone) {
        expect_json(host.as_admin("POST", "/v1/monitors").json(&monitor).send()?, 201)?;
    }
    // Each is evaluated once when it is made; from a while later on, writes wake it.
    std::thread::sleep(DISTANCE);

    let write = |series: Vec<Value>| -> Result<Instant> {
        let began = Instant::now();
        expect_json(host.as_admin("POST", "/v1/series").json(&json!({"series": series})).send()?, 200)?;
        Ok(began)
    };
    let sample = |metric: &str, tags: &[String]| -> Result<Value> {
        Ok(json!({"metric": metric, "tags": tags, "points": [[ago(Duration::from_millis(1_500))?, 99.0]]}))
    };
    let mut soon = Vec::new();
    for of in 0..settings.trials {
        let began = write(vec![sample("alone", &[format!("of:{of}")])?])?;
        soon.push(milliseconds(sink.next(PATIENCE)?.at - began));
    }
    let tags = |number: usize| [format!("of:{}", number % CHANNELS), format!("host:h{number}")];
    let series = (0..settings.notifications).map(|number| sample("storm", &tags(number)));
    let series = series.collect::<Result<Vec<_>>>()?;
    let before = host.processor_time()?;
    let began = write(series)?;
    let took = last_of(&sink, settings.notifications)? - began;
    let storm = figures(settings.notifications, took, host.processor_time()? - before);
    host.stop()?;
    Ok((storm, soon))
}

fn theirs(folder: &Path, settings: &Settings) -> Result<Option<(Storm, Vec<f64>)>> {
    let sink = Sink::start(|_| (200, "ok"))?;
    let Some(manager) = manager(folder, &sink)? else { return Ok(None) };
    let alert = |name: String| json!({"labels": {"alertname": name, "severity": "critical"}, "annotations": {"summary": "it breaches"}});
    let mut soon = Vec::new();
    for of in 0..settings.trials {
        let began = Instant::now();
        post_alerts(&manager.url, &json!([alert(format!("alone{of}"))]))?;
        soon.push(milliseconds(sink.next(PATIENCE)?.at - began));
    }
    let alerts: Vec<Value> =
        (0..settings.notifications).map(|number| alert(format!("storm{number}"))).collect();
    let (began, before) = (Instant::now(), processor_time(manager.id())?);
    post_alerts(&manager.url, &Value::Array(alerts))?;
    let took = last_of(&sink, settings.notifications)? - began;
    Ok(Some((figures(settings.notifications, took, processor_time(manager.id())? - before), soon)))
}

fn manager(folder: &Path, sink: &Sink) -> Result<Option<Beside>> {
    let webhook = json!({"name": "all", "webhook_configs": [{"url": sink.url, "send_resolved": false}]});
    Beside::alertmanager(folder, &webhook)
}

/// The whole way of the others, from a sample to a request. `None` if they are not installed.
fn chain(folder: &Path, settings: &Settings) -> Result<Option<Vec<f64>>> {
    let sink = Sink::start(|_| (200, "ok"))?;
    let store = Beside::victoria_metrics(folder, &["-search.latencyOffset=0s"])?;
    let (Some(store), Some(manager)) = (store, manager(folder, &sink)?) else { return Ok(None) };
    let file = folder.join("chain.yml");
    let rules = json!({"groups": [{"name": "bench", "interval": "1s",
        "rules": [{"alert": "alone", "expr": "alone > 90"}]}]});
    std::fs::write(&file, rules.to_string())?;
    let arguments = [
        format!("-rule={}", file.display()),
        format!("-datasource.url={}", store.url),
        format!("-notifier.url={}", manager.url),
    ];
    let alert = Beside::start("vmalert", &arguments, "-httpListenAddr=", "/health", folder)?;
    let Some(_alert) = alert else { return Ok(None) };
    let mut soon = Vec::new();
    for of in 0..settings.trials {
        // Not in step with the second the rules are evaluated at.
        std::thread::sleep(Duration::from_millis(37 * of as u64 % 1_000));
        let began = Instant::now();
        let text = format!("alone{{of=\"{of}\"}} 99 {}\n", ago(Duration::ZERO)?);
        client()
            .post(format!("{}/api/v1/import/prometheus", store.url))
            .body(text)
            .send()?
            .error_for_status()?;
        soon.push(milliseconds(sink.next(PATIENCE)?.at - began));
    }
    Ok(Some(soon))
}

/// When the last of so many requests came.
fn last_of(sink: &Sink, count: usize) -> Result<Instant> {
    let mut last = Instant::now();
    for _ in 0..count {
        last = sink.next(PATIENCE)?.at;
    }
    Ok(last)
}

fn figures(count: usize, took: Duration, worked: Duration) -> Storm {
    (count as f64 / took.as_secs_f64(), worked.as_secs_f64() * 1e6 / count as f64)
}

fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
