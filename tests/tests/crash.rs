//! Killed at any moment, a host has every write it acknowledged.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use bellwether_tests::{Host, expect_json};
use serde_json::json;

const KILLS: u64 = 12;
const WRITERS: usize = 8;

#[test]
fn every_acknowledged_write_survives_kill_nine() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut host = Host::start(&data, &[])?;
    let token = host.keys().admin.clone();
    let metric = json!({"name": "survivors", "data_type": "sum", "interval": "yearly", "keyed": true});
    expect_json(host.as_admin("POST", "/v1/metrics").json(&metric).send()?, 201)?;
    let sent: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();

    for kill in 0..KILLS {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (host, token, stop) = (&host, &token, &stop);
                let (sent, acknowledged) = (&sent[writer], &acknowledged[writer]);
                scope.spawn(move || {
                    let sample = json!({"samples": [{
                        "metric": "survivors", "key": format!("writer {writer}"), "value": 1, "time": "2024-06-01T00:00:00Z"
                    }]});
                    while !stop.load(Ordering::Relaxed) {
                        sent.fetch_add(1, Ordering::Relaxed);
                        match host.as_key(token, "POST", "/v1/samples").json(&sample).send() {
                            Ok(answer) if answer.status() == 200 => acknowledged.fetch_add(1, Ordering::Relaxed),
                            _ => break,
                        };
                    }
                });
            }
            // Not the same moment each time, and never one that a timer of the host would prefer.
            std::thread::sleep(Duration::from_millis(150 + kill * 37 % 211));
            let status = std::process::Command::new("kill").args(["-KILL", &host.id().to_string()]).status();
            stop.store(true, Ordering::Relaxed);
            status
        })?;
        host.kill()?;
        host = Host::start(&data, &[])?;
        let path = "/v1/metrics/survivors/values?start=2024-06-01T00:00:00Z&end=2024-06-01T00:00:00Z";
        let values = expect_json(host.as_key(&token, "GET", path).send()?, 200)?;
        for writer in 0..WRITERS {
            let key = format!("writer {writer}");
            let series =
                values["series"].as_array().into_iter().flatten().find(|series| series["key"] == key);
            let stored = series.and_then(|series| series["values"][0]["value"].as_f64()).unwrap_or(0.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let stored = stored as u64;
            let (low, high) =
                (acknowledged[writer].load(Ordering::Relaxed), sent[writer].load(Ordering::Relaxed));
            ensure!((low..=high).contains(&stored), "{key} has {stored} of {low} acknowledged, {high} sent");
        }
    }
    let total: u64 = acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    println!("{KILLS} kills, {total} acknowledged writes, 0 lost");
    ensure!(total > KILLS, "writes were made between the kills");
    host.stop()
}
