//! Many playbooks on schedules spread evenly over the hour: what they cost a host that does nothing else, and how late
//! they start.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bellwether_tests::load::{mebibytes, quantile};
use bellwether_tests::{Host, expect_json};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Settings, met};

/// Seconds an hour, over which the schedules are spread.
pub(crate) const HOUR: u32 = 3_600;
/// Organisations that share the playbooks. Each stores its own one after another, all at once.
const ORGANISATIONS: u32 = 8;
/// How long the host is left alone before it is watched, for what it does behind its start and behind the storing.
const SETTLE: Duration = Duration::from_secs(10);
/// How long the runs of the last second get to begin.
const LAST_STARTS: Duration = Duration::from_secs(3);
/// The share of one core it is to cost less than.
const GOAL_SHARE: f64 = 0.05;
/// How late the latest may start, in milliseconds.
const GOAL_LATE: f64 = 1_000.0;

/// An organisation and its share of the playbooks.
struct Share {
    key: String,
    /// The second of the hour of each of its playbooks, by name.
    seconds: HashMap<String, u32>,
}

/// A run that a schedule started.
struct Started {
    playbook: String,
    /// Milliseconds from when it was due to its first step.
    late: f64,
}

/// Stores the playbooks, watches the host and prints what it saw.
pub(crate) fn measure(folder: &Path, settings: &Settings) -> Result<()> {
    let data = folder.join("schedules");
    let host = Host::start(&data, &[])?;
    let shares = shares(&host, settings.schedules)?;
    std::thread::sleep(SETTLE);
    let idle = share_of_a_core(&host, SETTLE)?;
    println!("\nidle host without schedules: {:.2} % of a core", 100.0 * idle);

    let began = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let host = &host;
        let storing: Vec<_> = shares.iter().map(|share| scope.spawn(move || share.store(host))).collect();
        storing.into_iter().try_for_each(|stored| stored.join().expect("storing does not panic"))
    })?;
    let took = began.elapsed().as_secs_f64();
    println!(
        "{} playbooks stored in {took:.0} s, {:.0} a second",
        settings.schedules,
        f64::from(settings.schedules) / took
    );
    // What is measured has read nothing yet, as a host has that comes up with schedules in its store.
    host.stop()?;
    let host = Host::start(&data, &[])?;
    println!("started with them in {} ms", host.started_in.as_millis());
    std::thread::sleep(SETTLE);

    let from = Timestamp::now();
    let share = share_of_a_core(&host, Duration::from_secs(u64::from(settings.watch)))?;
    let memory = host.resident_memory()?;
    std::thread::sleep(LAST_STARTS);
    let mut late = Vec::new();
    for organisation in &shares {
        let due = organisation.due(from, settings.watch);
        let started = organisation.started(&host, from, settings.watch)?;
        let mut runs: HashMap<&str, u32> = HashMap::new();
        for run in &started {
            *runs.entry(&run.playbook).or_default() += 1;
        }
        let wrong = due.iter().find(|name| runs.get(name.as_str()) != Some(&1));
        ensure!(
            wrong.is_none(),
            "{wrong:?} was due once and started {:?} times",
            wrong.map(|w| runs.get(w.as_str()))
        );
        ensure!(runs.len() == due.len(), "{} started of {} that were due", runs.len(), due.len());
        late.extend(started.iter().map(|run| run.late));
    }
    ensure!(!late.is_empty(), "none was due within {} s", settings.watch);
    println!(
        "watched for {} s: {:.2} % of a core, {:.1} MiB, {} runs (each of one step that writes a metric)",
        settings.watch,
        100.0 * share,
        mebibytes(memory),
        late.len()
    );
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(&mut late, share));
    println!(
        "every playbook that was due ran once; started after p50 {p50:.0} ms, p99 {p99:.0} ms, at most {most:.0} ms"
    );
    println!("goal, under {} % of a core: {}", 100.0 * GOAL_SHARE, met(share < GOAL_SHARE));
    println!("goal, starts within {GOAL_LATE} ms: {}", met(most <= GOAL_LATE));
    host.stop()
}

/// Makes the organisations and deals out the playbooks.
fn shares(host: &Host, count: u32) -> Result<Vec<Share>> {
    let operator = host.keys().operator.clone();
    let share = |number: u32| -> Result<Share> {
        let name = format!("schedules-{number}");
        let made = host.as_key(&operator, "POST", "/v1/organisations").json(&json!({ "name": name }));
        expect_json(made.send()?, 201)?;
        let path = format!("/v1/organisations/{name}/keys");
        let asked = json!({"name": "schedules", "role": "admin"});
        let made = expect_json(host.as_key(&operator, "POST", &path).json(&asked).send()?, 201)?;
        let key = made["token"].as_str().context("a new key shows its token")?.to_owned();
        let own = (0..count).filter(|playbook| playbook % ORGANISATIONS == number);
        let second = |playbook: u32| u64::from(playbook) * u64::from(HOUR) / u64::from(count);
        let seconds = own.map(|playbook| {
            (format!("tick-{playbook}"), u32::try_from(second(playbook)).expect("less than an hour"))
        });
        Ok(Share { key, seconds: seconds.collect() })
    };
    (0..ORGANISATIONS).map(share).collect()
}

/// How much of one core the host takes within this time.
fn share_of_a_core(host: &Host, time: Duration) -> Result<f64> {
    let (before, began) = (host.processor_time()?, Instant::now());
    std::thread::sleep(time);
    Ok((host.processor_time()? - before).as_secs_f64() / began.elapsed().as_secs_f64())
}

impl Share {
    fn store(&self, host: &Host) -> Result<()> {
        for (name, second) in &self.seconds {
            let document = json!({
                "name": name,
                "trigger": {"type": "cron", "expression": format!("{} {} * * * *", second % 60, second / 60)},
                "steps": [{"id": "tick", "app": "metric", "inputs": {"metric": "ticks", "data_type": "count"}}],
            });
            expect_json(host.as_key(&self.key, "POST", "/v1/playbooks").json(&document).send()?, 201)?;
        }
        Ok(())
    }

    /// The playbooks with a time in the `seconds` from `from` on.
    fn due(&self, from: Timestamp, seconds: u32) -> Vec<&String> {
        // The first whole second that is not before.
        let first = (from.as_millisecond() + 999).div_euclid(1_000);
        let hour = i64::from(HOUR);
        let is_due = |second: u32| (i64::from(second) - first).rem_euclid(hour) < i64::from(seconds);
        self.seconds.iter().filter(|(_, second)| is_due(**second)).map(|(name, _)| name).collect()
    }

    /// The runs that were due in the `seconds` from `from` on.
    fn started(&self, host: &Host, from: Timestamp, seconds: u32) -> Result<Vec<Started>> {
        let end = from + Duration::from_secs(u64::from(seconds));
        let mut runs = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/runs?limit=1000{cursor}");
            let page = expect_json(host.as_key(&self.key, "GET", &path).send()?, 200)?;
            for run in page["items"].as_array().context("a page has items")? {
                // Newest first: a run is never created before it is due.
                if instant(&run["created"])? < from {
                    return Ok(runs);
                }
                let due = instant(&run["triggered_by"]["scheduled"])?;
                if due < from || due >= end {
                    continue;
                }
                let began = instant(&run["started"]).with_context(|| format!("has not begun: {run}"))?;
                let playbook = run["playbook_name"].as_str().context("a run has a playbook")?.to_owned();
                runs.push(Started { playbook, late: began.duration_since(due).as_secs_f64() * 1000.0 });
            }
            let Some(next) = page["next"].as_str() else { return Ok(runs) };
            cursor = format!("&cursor={next}");
        }
    }
}

fn instant(value: &Value) -> Result<Timestamp> {
    let text = value.as_str().with_context(|| format!("no instant: {value}"))?;
    Ok(text.parse()?)
}
