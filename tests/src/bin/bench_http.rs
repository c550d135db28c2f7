//! `cargo xtask bench http`: how many requests a second, how late, and at what cost the front answers
//!
//! (a) a bare axum route that reads and writes JSON, (b) the native sample write, (c) the same write through the
//! sandboxed ThreatConnect dialect with its signature checked; (b) and (c) durable. All in one run, in turn, at each
//! number of connections, several rounds; medians. Load: `wrk` with one thread on the same machine. Beside it the
//! processor time of the answering process for each request, which a busy machine changes least.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::{Json, Router, routing::post};
use bellwether_tests::load::{Measured, Target, mebibytes, median, sync_time};
use bellwether_tests::{Host, expect_json, processor_time, sign};

const USAGE: &str = "usage: bench_http [--seconds N] [--rounds N] [--connections N,N,…]";

/// The body of (a) and (b).
const NATIVE_BODY: &str = r#"{"samples":[{"metric":"requests","value":1}]}"#;
/// The body of (c).
const DIALECT_BODY: &str = r#"{"value":1}"#;

fn main() -> Result<()> {
    let (mut seconds, mut rounds, mut connections) = (4, 3, vec![8, 32, 64, 128, 256, 512]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        match argument.as_str() {
            "--seconds" => seconds = value.parse()?,
            "--rounds" => rounds = value.parse()?,
            "--connections" => connections = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            _ => anyhow::bail!(USAGE),
        }
    }
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    println!("disk: {}", sync_time(folder.path())?);

    // The first start compiles the plugins; the second finds them in its cache.
    let first = Host::start(&data, &[])?;
    let keys = first.keys().clone();
    println!("first start: {} ms", first.started_in.as_millis());
    first.stop()?;
    let mut starts = Vec::new();
    for _ in 0..5 {
        let host = Host::start(&data, &[])?;
        starts.push(host.started_in.as_secs_f64() * 1000.0);
        host.stop()?;
    }
    let host = Host::start(&data, &[])?;
    // What a start took the allocator gives back in the ten seconds behind it.
    std::thread::sleep(Duration::from_secs(15));
    println!("warm start: {:.0} ms (median of 5)", median(&mut starts));
    println!("idle memory: {:.1} MiB", mebibytes(host.resident_memory()?));

    let metric = serde_json::json!({"name": "requests", "data_type": "sum", "interval": "daily"});
    expect_json(host.as_key(&keys.admin, "POST", "/v1/metrics").json(&metric).send()?, 201)?;
    let bare = bare_axum()?;
    let mut targets = [
        Target::new(folder.path(), "(a) bare axum", &format!("{bare}/samples"), NATIVE_BODY, &[])?,
        Target::new(
            folder.path(),
            "(b) native write",
            &format!("{}/v1/samples", host.url),
            NATIVE_BODY,
            &[("Authorization".into(), format!("Bearer {}", keys.admin))],
        )?,
        Target::new(folder.path(), "(c) through the dialect", "", DIALECT_BODY, &[])?,
    ];
    println!(
        "\n| connections | route | requests/s | p50 ms | p99 ms | processor µs |\n|---|---|---|---|---|---|"
    );
    let answering = [std::process::id(), host.id(), host.id()];
    let mut best = [0.0_f64; 3];
    for count in &connections {
        let mut runs = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            // A signature holds for five minutes: a fresh one each round.
            let path = "/threatconnect/v2/customMetrics/requests/data";
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let (authorization, timestamp) = sign(&keys.access_id, &keys.secret, "POST", path, now);
            let headers = [("Authorization".into(), authorization), ("Timestamp".into(), timestamp)];
            targets[2] = Target::new(
                folder.path(),
                targets[2].name,
                &format!("{}{path}", host.url),
                DIALECT_BODY,
                &headers,
            )?;
            for ((target, results), process) in targets.iter().zip(&mut runs).zip(answering) {
                let before = processor_time(process)?;
                let measured = target.measure(*count, seconds)?;
                #[expect(clippy::cast_precision_loss, reason = "answers are fewer than 2^52")]
                let cost = (processor_time(process)? - before).as_secs_f64() / measured.answers as f64;
                results.push((measured, cost * 1e6));
            }
        }
        for ((target, results), best) in targets.iter().zip(&runs).zip(&mut best) {
            let of = |field: fn(&(Measured, f64)) -> f64| {
                median(&mut results.iter().map(field).collect::<Vec<_>>())
            };
            let rate = of(|(measured, _)| measured.rate);
            *best = best.max(rate);
            println!(
                "| {count} | {} | {rate:.0} | {:.2} | {:.2} | {:.1} |",
                target.name,
                of(|(measured, _)| measured.p50),
                of(|(measured, _)| measured.p99),
                of(|(_, cost)| *cost)
            );
        }
    }
    println!(
        "\nat the best point of each: (b) is {:.0} % of (a), (c) is {:.0} % of (b)",
        100.0 * best[1] / best[0],
        100.0 * best[2] / best[1]
    );
    println!("memory after the load: {:.1} MiB", mebibytes(host.resident_memory()?));
    host.stop()
}

/// What the field's plainest server does with the same request.
fn bare_axum() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let answer = |Json(body): Json<serde_json::Value>| async move {
                Json(serde_json::json!({ "written": body["samples"].as_array().map_or(0, Vec::len) }))
            };
            axum::serve(listener, Router::new().route("/samples", post(answer))).await
        })
    });
    Ok(url)
}
