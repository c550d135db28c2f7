//! A webhook, two steps, stored metrics, and the answer when they are stored: runs a second and how late.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bellwether_tests::load::{Measured, Target, mebibytes, median};
use bellwether_tests::{Host, expect_json, processor_time};

use crate::node_red::NodeRed;
use crate::{Settings, met};

/// What every engine is sent.
const BODY: &str = r#"{"page":"/pricing","seconds":90}"#;

/// Counts a visit, and adds its minutes to the interval the visit was counted in. By the year, so that no count begins
/// anew during the benchmark.
const PLAYBOOK: &str = r#"
name = "visits"

[trigger]
type = "webhook"

[[steps]]
id = "visit"
app = "metric"

[steps.inputs]
metric = "visits"
data_type = "count"
interval = "yearly"
key = "{{ trigger.body.page }}"

[[steps]]
id = "minutes"
app = "metric"

[steps.inputs]
metric = "visit.minutes"
data_type = "sum"
interval = "yearly"
key = "{{ steps.visit.key }}"
value = "{{ trigger.body.seconds / 60 }}"
date = "{{ steps.visit.interval_start }}"
"#;

/// How much faster than the fastest of the others it is to be.
const GOAL: f64 = 10.0;

/// One engine with one way to store.
struct Contender<'a> {
    target: Target,
    /// Its process.
    process: u32,
    /// How many runs have stored what they had to, so far.
    stored: Box<dyn Fn() -> Result<u64> + 'a>,
    /// The medians, one for each number of connections.
    medians: Vec<Measured>,
}

/// One measurement, and what it took.
#[derive(Clone, Copy)]
struct Taken {
    measured: Measured,
    /// Milliseconds of processor time a run.
    processor: f64,
}

/// Measures every engine there is and prints the table.
pub(crate) fn measure(folder: &Path, settings: &Settings) -> Result<()> {
    let host = Host::start(&folder.join("webhooks"), &[])?;
    let node_red = NodeRed::start(folder)?;
    let mut contenders = contenders(folder, &host, node_red.as_ref())?;
    println!(
        "\n| connections | engine | runs/s | p50 ms | p99 ms | processor ms a run |\n|---|---|---|---|---|---|"
    );
    for connections in &settings.connections {
        let mut rounds = vec![Vec::new(); contenders.len()];
        for _ in 0..settings.rounds {
            for (contender, results) in contenders.iter().zip(&mut rounds) {
                results.push(contender.measure(*connections, settings.seconds)?);
            }
        }
        for (contender, results) in contenders.iter_mut().zip(&rounds) {
            let of = |field: fn(&Taken) -> f64| median(&mut results.iter().map(field).collect::<Vec<_>>());
            let (rate, p50, p99) = (of(|t| t.measured.rate), of(|t| t.measured.p50), of(|t| t.measured.p99));
            let (name, processor) = (contender.target.name, of(|taken| taken.processor));
            println!("| {connections} | {name} | {rate:.0} | {p50:.2} | {p99:.2} | {processor:.3} |");
            contender.medians.push(Measured { rate, p50, p99, answers: 0 });
        }
    }
    println!();
    compare(&contenders);
    println!("memory of the host after {} runs: {:.1} MiB", runs(&host)?, mebibytes(host.resident_memory()?));
    none_failed(&host)?;
    drop(contenders);
    host.stop()
}

/// Bellwether first.
fn contenders<'a>(
    folder: &Path,
    host: &'a Host,
    node_red: Option<&'a NodeRed>,
) -> Result<Vec<Contender<'a>>> {
    let path = host.store_hook(&host.keys().admin, PLAYBOOK)?;
    // The first run makes the metrics.
    let first = host.request("POST", &format!("{path}?wait=10")).header("content-type", "application/json");
    let first = expect_json(first.body(BODY).send()?, 200)?;
    ensure!(first["state"] == "succeeded", "the first run did not succeed: {first}");
    let contender = |name, url: &str, process, stored: Box<dyn Fn() -> Result<u64> + 'a>| {
        let target = Target::new(folder, name, url, BODY, &[])?;
        anyhow::Ok(Contender { target, process, stored, medians: Vec::new() })
    };
    let awaited = format!("{}{path}?wait=60", host.url);
    let own = "Bellwether, run and metrics durable";
    let mut contenders = vec![contender(own, &awaited, host.id(), Box::new(move || runs(host)))?];
    if let Some(node_red) = node_red {
        let appended = format!("{}/appended", node_red.url);
        let synced = format!("{}/synced", node_red.url);
        contenders.push(contender(
            "Node-RED, sample appended, not synced",
            &appended,
            node_red.id(),
            Box::new(move || node_red.appended()),
        )?);
        contenders.push(contender(
            "Node-RED, sample synced by our function",
            &synced,
            node_red.id(),
            Box::new(move || node_red.synced()),
        )?);
    }
    Ok(contenders)
}

impl Contender<'_> {
    /// One measurement, in which every answer has to stand for a run that stored what it had to.
    fn measure(&self, connections: u32, seconds: u32) -> Result<Taken> {
        let (before, spent) = ((self.stored)()?, processor_time(self.process)?);
        let measured = self.target.measure(connections, seconds)?;
        let spent = processor_time(self.process)? - spent;
        let stored = (self.stored)()? - before;
        ensure!(
            stored >= measured.answers,
            "{} answered {} times and stored {stored}",
            self.target.name,
            measured.answers
        );
        Ok(Taken { measured, processor: spent.as_secs_f64() * 1e3 / stored as f64 })
    }

    /// The most runs a second, at whatever number of connections.
    fn best(&self) -> f64 {
        self.medians.iter().map(|measured| measured.rate).fold(0.0, f64::max)
    }
}

fn compare(contenders: &[Contender<'_>]) {
    let Some((own, others)) = contenders.split_first() else { return };
    for other in others {
        println!("at the best point of each: {:.2} times {}", own.best() / other.best(), other.target.name);
    }
    if let Some(fastest) = others.iter().map(Contender::best).max_by(f64::total_cmp) {
        let ratio = own.best() / fastest;
        println!("goal, {GOAL} times the fastest: {} ({ratio:.2})", met(ratio >= GOAL));
    }
}

/// How many runs have stored both of their metrics.
fn runs(host: &Host) -> Result<u64> {
    let count = |metric: &str| -> Result<u64> {
        let answer = host.as_admin("GET", &format!("/v1/metrics/{metric}/values")).send()?;
        let values = expect_json(answer, 200)?;
        let count = &values["series"][0]["values"][0]["count"];
        count.as_u64().with_context(|| format!("no count of {metric}: {values}"))
    };
    Ok(count("visits")?.min(count("visit.minutes")?))
}

fn none_failed(host: &Host) -> Result<()> {
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/runs?state=failed&limit=1000{cursor}");
        let failed = expect_json(host.as_admin("GET", &path).send()?, 200)?;
        ensure!(failed["items"].as_array().is_some_and(Vec::is_empty), "a run failed: {failed}");
        // A page that holds none of that state may have others behind it.
        let Some(next) = failed["next"].as_str() else { return Ok(()) };
        cursor = format!("&cursor={next}");
    }
}
