//! Killed again and again while playbooks run, a host ends every run as if nothing had happened.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_tests::Host;
use serde_json::{Value, json};

use crate::{World, eventually};

const KILLS: u64 = 10;
const SENDERS: usize = 4;

/// Three effects a run: one by itself, one for each item of a list, one after a wait.
const PLAYBOOK: &str = r#"
name = "survivors"
[trigger]
type = "webhook"
[[steps]]
id = "first"
app = "metric"
inputs = { metric = "first", value = "{{ trigger.body.value }}", date = "2026-06-01", interval = "yearly" }
[[steps]]
id = "items"
app = "metric"
each = [1, 2, 3]
parallel = 2
inputs = { metric = "items", key = "{{ 'item ' ~ item }}", value = "{{ item }}", date = "2026-06-01", interval = "yearly" }
[[steps]]
id = "pause"
delay = "100ms"
[[steps]]
id = "last"
app = "metric"
inputs = { metric = "last", data_type = "count", date = "2026-06-01", interval = "yearly" }
"#;

/// Sends deliveries until told to stop. What was not answered is sent again by the next round, as a sender does.
fn send(world: &World, hook: &str, stop: &AtomicBool, open: &Mutex<BTreeSet<usize>>, next: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        let again = open.lock().expect("whole").pop_first();
        let delivery = again.unwrap_or_else(|| next.fetch_add(1, Ordering::Relaxed));
        let request = world.host.request("POST", hook).json(&json!({ "value": delivery % 7 }));
        let answered = match request.header("x-github-delivery", format!("delivery-{delivery}")).send() {
            Ok(answer) => answer.status().is_success(),
            Err(_) => false,
        };
        if !answered {
            open.lock().expect("whole").insert(delivery);
            // Killed, or its queue is full.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn killed_while_playbooks_run_a_host_ends_every_run_once() -> Result<()> {
    let mut world = World::new()?;
    let hook = world.store_hook(PLAYBOOK)?;
    let (open, next) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    for kill in 0..=KILLS {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| -> Result<()> {
            for _ in 0..SENDERS {
                scope.spawn(|| send(&world, &hook, &stop, &open, &next));
            }
            // Not the same moment each time, and never one that a timer of the host would prefer.
            std::thread::sleep(Duration::from_millis(150 + kill * 37 % 211));
            let killed = if kill < KILLS {
                std::process::Command::new("kill").args(["-KILL", &world.host.id().to_string()]).status()
            } else {
                Ok(std::process::ExitStatus::default())
            };
            stop.store(true, Ordering::Relaxed);
            ensure!(killed?.success(), "the host is killed");
            Ok(())
        })?;
        if kill < KILLS {
            world = world.restarted(Host::kill)?;
        }
    }
    // Whatever was not answered is delivered now.
    for delivery in open.into_inner().expect("whole") {
        eventually("a delivery is accepted", || {
            let request = world.host.request("POST", &hook).json(&json!({ "value": delivery % 7 }));
            let answer = request.header("x-github-delivery", format!("delivery-{delivery}")).send()?;
            Ok(answer.status().is_success().then_some(()))
        })?;
    }
    let deliveries = next.into_inner();
    let runs = eventually("every run has ended", || {
        let runs = every_run(&world)?;
        let at_work =
            runs.iter().filter(|run| ["queued", "running"].contains(&run["state"].as_str().unwrap_or("")));
        Ok((at_work.count() == 0).then_some(runs))
    })?;
    for run in &runs {
        ensure!(run["state"] == "succeeded", "{run}");
    }
    ensure!(runs.len() == deliveries, "{} runs of {deliveries} deliveries", runs.len());
    ensure!(deliveries > usize::try_from(KILLS)?, "playbooks ran between the kills");

    #[expect(clippy::cast_precision_loss, reason = "thousands, not 2^53")]
    let exactly = |count: usize| Some(count as f64);
    let sums = [world.total("first")?, world.total("items")?, world.total("last")?];
    let values: usize = (0..deliveries).map(|delivery| delivery % 7).sum();
    let expected = [exactly(values), exactly(deliveries * 6), exactly(deliveries)];
    ensure!(sums == expected, "{sums:?} where {expected:?} was to be: nothing twice, nothing lost");
    println!("{KILLS} kills, {deliveries} runs, every one succeeded, 0 effects lost, 0 twice");
    world.host.stop()
}

fn every_run(world: &World) -> Result<Vec<Value>> {
    let (mut runs, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = world.get(&format!("/v1/runs?limit=1000{cursor}"))?;
        runs.extend(page["items"].as_array_mut().map(std::mem::take).context("a page has items")?);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(runs),
        }
    }
}
