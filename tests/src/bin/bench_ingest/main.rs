//! `cargo xtask bench ingest`: points as Datadog's agents send them, beside VictoriaMetrics
//!
//! The same payloads, by the same load generator on the same machine, go to Bellwether through its sandboxed Datadog
//! plugin, durable when it answers, with several numbers of connections; to a second Bellwether that acknowledges
//! before the sync; and to VictoriaMetrics, which does not sync before it answers, each with eight connections. One
//! after the other, several rounds; medians. Then different samples go to each, and what they take of the disk is
//! looked at, and whether all are there.

mod disk;
mod payloads;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bellwether_tests::beside::Beside;
use bellwether_tests::load::{Target, mebibytes, median, sync_time};
use bellwether_tests::{Host, processor_time};

use payloads::Payload;

const USAGE: &str =
    "usage: bench_ingest [--seconds N] [--rounds N] [--connections N,N,…] [--payloads N,N,…] [--disk N]

--seconds N      how long one measurement takes; 3 by default
--rounds N       how many there are of each; 3 by default
--connections N  with how many requests on their way at once; 8,32,64,128,256,512 by default
--payloads N     which, counted from 1; 1,2,3,4 by default
--disk N         how many millions of samples the disk is looked at with; 10 by default, 0 leaves that out";

/// VictoriaMetrics, and whoever does not sync, is sent so many requests at once.
const FEW: u32 = 8;

struct Settings {
    seconds: u32,
    rounds: u32,
    connections: Vec<u32>,
    payloads: Vec<usize>,
    disk: usize,
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings> {
    let mut settings = Settings {
        seconds: 3,
        rounds: 3,
        connections: vec![8, 32, 64, 128, 256, 512],
        payloads: vec![1, 2, 3, 4],
        disk: 10,
    };
    while let Some(argument) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        let number = || value.parse::<u32>().with_context(|| format!("{argument} {value}\n{USAGE}"));
        match argument.as_str() {
            "--seconds" => settings.seconds = number()?.max(1),
            "--rounds" => settings.rounds = number()?.max(1),
            "--connections" => {
                settings.connections = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
                ensure!(!settings.connections.is_empty(), USAGE);
            }
            "--payloads" => {
                settings.payloads = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--disk" => settings.disk = number()? as usize,
            _ => anyhow::bail!(USAGE),
        }
    }
    Ok(settings)
}

/// A database, as the load generator meets it.
#[derive(Clone)]
struct Sink {
    name: &'static str,
    url: String,
    key: Option<String>,
    process: u32,
}

impl Sink {
    fn of(host: &Host, name: &'static str) -> Self {
        Self {
            name,
            url: format!("{}/datadog/api/v1/series", host.url),
            key: Some(host.keys().admin.clone()),
            process: host.id(),
        }
    }

    fn headers(&self, gzip: bool) -> Vec<(String, String)> {
        let key = self.key.iter().map(|key| ("DD-API-KEY".to_owned(), key.clone()));
        let encoding = gzip.then(|| ("Content-Encoding".to_owned(), "gzip".to_owned()));
        key.chain(encoding).collect()
    }
}

fn main() -> Result<()> {
    let settings = settings(std::env::args().skip(1))?;
    let folder = tempfile::tempdir()?;
    println!("disk: {}", sync_time(folder.path())?);
    let durable = Host::start(&folder.path().join("durable"), &[])?;
    let early_settings = folder.path().join("early.toml");
    std::fs::write(&early_settings, "[series]\nacknowledge_before_sync = true\n")?;
    let early_arguments = ["--config", early_settings.to_str().context("a path in UTF-8")?];
    let early = Host::start(&folder.path().join("early"), &early_arguments)?;
    let victoria = Beside::victoria_metrics(folder.path(), &["-retentionPeriod=100y"])?;
    let mut sinks = Vec::new();
    sinks
        .extend(settings.connections.iter().map(|count| (Sink::of(&durable, "Bellwether, durable"), *count)));
    sinks.push((Sink::of(&early, "Bellwether, acknowledges before the sync"), FEW));
    if let Some(victoria) = &victoria {
        let url = format!("{}/datadog/api/v1/series", victoria.url);
        sinks.push((Sink { name: "VictoriaMetrics", url, key: None, process: victoria.id() }, FEW));
    }
    println!(
        "\n| payload | to | connections | requests/s | samples/s | p99 ms | processor µs a sample | memory MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let payloads = payloads::all()?;
    let mut verdicts = Vec::new();
    for number in &settings.payloads {
        let payload = number.checked_sub(1).and_then(|at| payloads.get(at)).context(USAGE)?;
        verdicts.extend(measure(folder.path(), payload, &sinks, &settings)?);
    }
    drop((early, victoria));
    durable.stop()?;
    println!("\n| goal | measured | |\n|---|---|---|");
    for Verdict { goal, ours, theirs } in verdicts {
        let met = if ours >= theirs { "met" } else { "missed" };
        println!("| {goal} | {ours:.0} to {theirs:.0}, {:.2} times | {met} |", ours / theirs);
    }
    if settings.disk > 0 {
        disk::measure(folder.path(), settings.disk * 1_000_000)?;
    }
    Ok(())
}

/// Samples a second, of ours and of the others.
struct Verdict {
    goal: String,
    ours: f64,
    theirs: f64,
}

/// What one measurement saw.
struct Run {
    requests: f64,
    p99: f64,
    /// Microseconds of a sample.
    cost: f64,
    memory: f64,
}

/// Measures one payload at every database in turn, prints the table's lines, and holds the best against the others.
fn measure(
    folder: &Path,
    payload: &Payload,
    sinks: &[(Sink, u32)],
    settings: &Settings,
) -> Result<Vec<Verdict>> {
    let mut runs: Vec<Vec<Run>> = sinks.iter().map(|_| Vec::new()).collect();
    for _ in 0..settings.rounds {
        for ((sink, connections), runs) in sinks.iter().zip(&mut runs) {
            let headers = sink.headers(payload.gzip);
            let target = Target::in_turn(folder, sink.name, &sink.url, &payload.bodies, &headers)?;
            let before = processor_time(sink.process)?;
            let measured = target.measure(*connections, settings.seconds)?;
            let worked = processor_time(sink.process)? - before;
            let samples = measured.answers as f64 * payload.samples as f64;
            runs.push(Run {
                requests: measured.rate,
                p99: measured.p99,
                cost: worked.as_secs_f64() * 1e6 / samples,
                memory: mebibytes(bellwether_tests::resident_memory(sink.process)?),
            });
        }
    }
    let (mut durable, mut early, mut theirs) = (0.0_f64, 0.0, None);
    for ((sink, connections), runs) in sinks.iter().zip(&runs) {
        let of = |field: fn(&Run) -> f64| median(&mut runs.iter().map(field).collect::<Vec<_>>());
        let requests = of(|run| run.requests);
        let samples = requests * payload.samples as f64;
        println!(
            "| {} | {} | {connections} | {requests:.0} | {samples:.0} | {:.1} | {:.3} | {:.0} |",
            payload.name,
            sink.name,
            of(|run| run.p99),
            of(|run| run.cost),
            of(|run| run.memory)
        );
        match sink.name {
            "VictoriaMetrics" => theirs = Some(samples),
            "Bellwether, durable" => durable = durable.max(samples),
            _ => early = samples,
        }
    }
    let goal = |what: &str, ours| {
        let goal = format!("{}, {what}: ≥ VictoriaMetrics' samples/s", payload.name);
        theirs.map(|theirs| Verdict { goal, ours, theirs })
    };
    Ok([goal("durable, best point", durable), goal("acknowledged before the sync", early)]
        .into_iter()
        .flatten()
        .collect())
}
