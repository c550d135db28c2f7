//! A webhook, two steps, stored metrics, and the answer when they are stored: runs a second and how late.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bellwether_tests::load::{Measured, Target, mebibytes, median};
use bellwether_tests::{Host, expect_json};

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
    /// How many runs have stored what they had to, so far.
    stored: Box<dyn Fn() -> Result<u64> + 'a>,
    /// The medians, one for each number of connections.
    medians: Vec<Measured>,
}

/// Measures every engine there is and prints the table.
pub(crate) fn measure(folder: &Path, settings: &Settings) -> Result<()> {
    let host = Host::start(&folder.join("webhooks"), &[])?;
    let node_red = NodeRed::start(folder)?;
    let mut contenders = contenders(folder, &host, node_red.as_ref())?;
    println!("\n| connections | engine | runs/s | p50 ms | p99 ms |\n|---|---|---|---|---|");
    for connections in &settings.connections {
        let mut rounds = vec![Vec::new(); contenders.len()];
        for _ in 0..settings.rounds {
            for (contender, results) in contenders.iter().zip(&mut rounds) {
                results.push(contender.measure(*connections, settings.seconds)?);
            }
        }
        for (contender, results) in contenders.iter_mut().zip(&rounds) {
            let of = |field: fn(&Measured) -> f64| median(&mut results.iter().map(field).collect::<Vec<_>>());
            let (rate, p50, p99) = (of(|m| m.rate), of(|m| m.p50), of(|m| m.p99));
            println!("| {connections} | {} | {rate:.0} | {p50:.2} | {p99:.2} |", contender.target.name);
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
    let stored = host.as_admin("POST", "/v1/playbooks").header("content-type", "application/toml");
    let stored = expect_json(stored.body(PLAYBOOK).send()?, 201)?;
    let url = stored["webhook_url"].as_str().context("an admin is shown the webhook's URL")?;
    let path = &url[url.find("/hooks/").context("webhooks live under /hooks/")?..];
    // The first run makes the metrics.
    let first = host.request("POST", &format!("{path}?wait=10")).header("content-type", "application/json");
    let first = expect_json(first.body(BODY).send()?, 200)?;
    ensure!(first["state"] == "succeeded", "the first run did not succeed: {first}");
    let contender = |name, url: &str, stored: Box<dyn Fn() -> Result<u64> + 'a>| -> Result<Contender<'a>> {
        Ok(Contender { target: Target::new(folder, name, url, BODY, &[])?, stored, medians: Vec::new() })
    };
    let awaited = format!("{}{path}?wait=60", host.url);
    let mut contenders =
        vec![contender("Bellwether, run and metrics durable", &awaited, Box::new(move || runs(host)))?];
    if let Some(node_red) = node_red {
        let appended = format!("{}/appended", node_red.url);
        let synced = format!("{}/synced", node_red.url);
        contenders.push(contender(
            "Node-RED, sample appended, not synced",
            &appended,
            Box::new(move || node_red.appended()),
        )?);
        contenders.push(contender(
            "Node-RED, sample synced by our function",
            &synced,
            Box::new(move || node_red.synced()),
        )?);
    }
    Ok(contenders)
}

impl Contender<'_> {
    /// One measurement, in which every answer has to stand for a run that stored what it had to.
    fn measure(&self, connections: u32, seconds: u32) -> Result<Measured> {
        let before = (self.stored)()?;
        let measured = self.target.measure(connections, seconds)?;
        let stored = (self.stored)()? - before;
        ensure!(
            stored >= measured.answers,
            "{} answered {} times and stored {stored}",
            self.target.name,
            measured.answers
        );
        Ok(measured)
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
