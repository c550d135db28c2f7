//! Playbooks over time: crashes between any two commits, deliveries that come twice, apps that are slow and fail, all
//! drawn from a seed. A checker looks at what is left and at what the apps saw.
//!
//! A failing seed is printed; `BELLWETHER_SEED=<seed>` runs that one alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bellwether_kernel::PageRequest;
use bellwether_store::Crash;
use serde_json::json;

use super::*;

/// How many seeds run.
const SEEDS: u64 = 1_000;

/// A step, and the item of its list, of a run.
type Place = (RunId, String, Option<u32>);

/// What the apps saw, across all lives of the host.
#[derive(Default)]
struct Seen {
    keys: HashMap<Place, String>,
    /// Places whose result was committed when the host died.
    settled: HashSet<Place>,
    problems: Vec<String>,
}

/// Numbers from a seed (SplitMix64): any good mixer would do.
struct Draw(AtomicU64);

impl Draw {
    fn number(&self, below: u64) -> u64 {
        mix(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)) % below
    }

    fn chance(&self, percent: u64) -> bool {
        self.number(100) < percent
    }
}

fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// An app whose calls take up to three seconds and fail now and then, some of them for good.
fn add_effect(apps: &FakeApps, seed: u64, seen: &Arc<Mutex<Seen>>) {
    let seen = Arc::clone(seen);
    let described = describe(vec![input("n", ValueType::Json)], &[("n", ValueType::Integer)]);
    apps.put("effect", described, move |call| {
        let scope = call.effects.clone().expect("a run's call has its scope");
        let place = (scope.run, scope.step, scope.item);
        {
            let mut seen = seen.lock();
            if seen.settled.contains(&place) {
                seen.problems.push(format!("{place:?} was called again though its result was committed"));
            }
            let known = seen.keys.entry(place.clone()).or_insert_with(|| call.idempotency_key.clone());
            if *known != call.idempotency_key {
                let problem = format!("{place:?} has the keys {known} and {}", call.idempotency_key);
                seen.problems.push(problem);
            }
        }
        let chance = Draw(AtomicU64::new(
            seed ^ u64::from(call.attempt) << 32
                ^ place.0.0.as_u128() as u64
                ^ u64::from(place.2.unwrap_or(9)) << 8
                ^ place.1.len() as u64,
        ));
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(chance.number(3_000))).await;
            let error = |retry| Err(AppError { message: "no luck".into(), retry });
            let result = match chance.number(100) {
                0..20 => error(Retry::Yes),
                20..24 => error(Retry::No),
                _ => Ok(vec![("n".to_owned(), Value::Integer(1))]),
            };
            AppReport { result, log: Vec::new() }
        })
    });
}

/// The playbooks: a chain with retries, a loop with on-failure steps behind a webhook, a schedule with a delay, one
/// that queues, and one within another.
fn documents() -> Vec<serde_json::Value> {
    let retry = json!({"attempts": 4, "delay": "700ms"});
    let effect = |id: &str, n: &str| json!({"id": id, "app": "effect", "inputs": {"n": n}, "retry": retry});
    let after = json!([{"id": "after", "app": "effect", "inputs": {"n": 0}}]);
    vec![
        json!({"name": "within", "trigger": {"type": "playbook", "inputs": {"n": {}}}, "outputs": {"n": "{{ steps.two.n }}"},
            "steps": [effect("one", "{{ trigger.inputs.n }}"), {"id": "pause", "delay": "3s"}, effect("two", "{{ steps.one.n }}")]}),
        json!({"name": "chain", "trigger": {"type": "manual"}, "steps": [
            effect("a", "{{ trigger.inputs.n }}"),
            {"id": "b", "playbook": "within", "inputs": {"n": "{{ steps.a.n }}"}},
            effect("c", "{{ steps.b.n }}"),
        ], "on_failure": after}),
        json!({"name": "hook", "trigger": {"type": "webhook"}, "on_failure": after, "steps": [
            {"id": "loop", "app": "effect", "each": "trigger.body.list", "parallel": 2, "on_item_error": "continue",
             "inputs": {"n": "{{ item }}"}, "retry": retry},
            effect("last", "{{ steps.loop.n }}"),
        ]}),
        json!({"name": "tick", "trigger": {"type": "every", "interval": "20s", "on_error": "retry", "on_error_times": 1, "on_error_delay": "4s"},
            "timeout": "2m", "steps": [effect("a", "{{ trigger.scheduled }}"), {"id": "pause", "delay": "5s"}, effect("b", "{{ steps.a.n }}")]}),
        json!({"name": "queue", "trigger": {"type": "manual"}, "concurrency": {"policy": "queue", "limit": 1},
            "steps": [effect("a", "{{ trigger.inputs.n }}")]}),
    ]
}

struct Simulation {
    /// Lives of the host that ended in a crash between two commits.
    crashes: u64,
    draw: Draw,
    seen: Arc<Mutex<Seen>>,
    /// Runs somebody was told were accepted.
    accepted: HashSet<RunId>,
    deliveries: BTreeMap<u64, RunId>,
}

impl Simulation {
    /// What callers do in one life of the host.
    async fn live(&mut self, world: &World, token: &str) {
        for _ in 0..6 + self.draw.number(10) {
            if world.store.health().refusing.is_some() {
                return;
            }
            match self.draw.number(10) {
                0..3 => self.start(world, "chain").await,
                3..5 => self.start(world, "queue").await,
                5..8 => self.deliver(world, token).await,
                8 => self.cancel_one(world).await,
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(self.draw.number(6_000))).await;
        }
    }

    async fn start(&mut self, world: &World, name: &str) {
        if let Ok(started) = world.playbooks.start(&world.admin, name, json!({"n": 1})).await {
            self.accepted.insert(started.id);
        }
    }

    async fn deliver(&mut self, world: &World, token: &str) {
        let delivery = self.draw.number(8);
        let mut request =
            post("application/json", json!({"list": [1, 2, 3], "delivery": delivery}).to_string());
        request.headers.push(("webhook-id".into(), format!("delivery-{delivery}")));
        if let Ok(started) = world.playbooks.start_by_webhook(token, request).await {
            self.accepted.insert(started.id);
            let first = *self.deliveries.entry(delivery).or_insert(started.id);
            if first != started.id {
                let problem = format!("delivery {delivery} started {first} and {}", started.id);
                self.seen.lock().problems.push(problem);
            }
        }
    }

    async fn cancel_one(&mut self, world: &World) {
        let accepted: Vec<RunId> = self.deliveries.values().copied().collect();
        if !accepted.is_empty() && self.draw.chance(50) {
            let index = usize::try_from(self.draw.number(accepted.len() as u64)).unwrap();
            // It may have ended, or the store died.
            let _ = world.playbooks.cancel(&world.admin, accepted[index]).await;
        }
    }

    /// Notes whose results are committed.
    async fn note_settled(&self, world: &World) {
        let is_through = |result: &StepResult| result.state != StepState::Waiting;
        for run in world.all_runs().await {
            let id = run.summary.id;
            for step in &run.steps {
                if is_through(step) {
                    self.seen.lock().settled.insert((id, step.step.clone(), None));
                }
            }
            if run.summary.playbook_name == "hook" {
                let page = PageRequest::first(100);
                let items = world.playbooks.items(world.organisation, id, "loop", &page).await.unwrap();
                for item in items.items.iter().filter(|item| is_through(item)) {
                    self.seen.lock().settled.insert((id, "loop".into(), item.item));
                }
            }
        }
    }

    async fn check(&self, world: &World) -> Vec<String> {
        let mut problems = self.seen.lock().problems.clone();
        let runs = world.all_runs().await;
        let ids: HashSet<RunId> = runs.iter().map(|run| run.summary.id).collect();
        problems
            .extend(self.accepted.difference(&ids).map(|id| format!("the accepted run {id} is not there")));
        let mut firings: HashMap<String, RunId> = HashMap::new();
        for run in &runs {
            let id = run.summary.id;
            let firing = match &run.summary.triggered_by {
                TriggeredBy::Webhook => Some(format!("delivery {}", run.trigger["body"]["delivery"])),
                TriggeredBy::Schedule { scheduled } if run.summary.attempt == 1 => {
                    Some(format!("time {scheduled}"))
                }
                _ => None,
            };
            if let Some(firing) = firing
                && let Some(other) = firings.insert(firing.clone(), id)
            {
                problems.push(format!("{firing} has the runs {other} and {id}"));
            }
            if !run.summary.state.has_ended() {
                problems.push(format!("the run {id} has not ended: {:?}", run.summary));
            }
            let wants_after = matches!(run.summary.playbook_name.as_str(), "chain" | "hook")
                && matches!(run.summary.state, RunState::Failed | RunState::TimedOut)
                || run.summary.state == RunState::Cancelled
                    && run.summary.playbook_name == "hook"
                    && run.summary.started.is_some();
            if wants_after && run.steps.iter().all(|step| step.step != "after") {
                problems.push(format!("the on-failure steps of {id} were skipped: {:?}", run.summary));
            }
        }
        for space in
            [Space::RunOpen, Space::RunQueue, Space::RunWake, Space::PlaybookQueue, Space::PlaybookGate]
        {
            let left = world.rows_of(space).await;
            if left > 0 {
                problems.push(format!("{left} rows of {space:?} are left"));
            }
        }
        problems
    }
}

/// Gives what went wrong, and how often the host crashed.
async fn simulate(seed: u64) -> (Vec<String>, u64) {
    let draw = Draw(AtomicU64::new(mix(seed)));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut world = World::new().await;
    add_effect(&world.apps, seed, &seen);
    for document in documents() {
        world.store_json(document).await;
    }
    let token = world.playbooks.get(world.organisation, "hook").await.unwrap().webhook_token.clone().unwrap();
    let mut simulation =
        Simulation { crashes: 0, draw, seen, accepted: HashSet::new(), deliveries: BTreeMap::new() };
    for _ in 0..1 + simulation.draw.number(4) {
        // The first commit of a life is its lease.
        let at = 2 + simulation.draw.number(40);
        let crash = if simulation.draw.chance(50) { Crash::Before(at) } else { Crash::After(at) };
        world = world.reopened(world.store.restart_with_crashes(crash)).await;
        simulation.live(&world, &token).await;
        simulation.crashes += u64::from(world.store.health().refusing.is_some());
        world.playbooks.die();
        // What is committed is read before anything goes on.
        let readable = world.reading().await;
        simulation.note_settled(&readable).await;
        world = readable;
        tokio::time::sleep(Duration::from_millis(simulation.draw.number(100_000))).await;
    }
    world = world.reopened(world.store.restart()).await;
    simulation.live(&world, &token).await;
    // The schedule ends here; what it started goes on.
    let manual =
        json!({"name": "tick", "trigger": {"type": "manual"}, "steps": [{"id": "a", "app": "echo"}]});
    world.store_json(manual).await;
    for _ in 0..600 {
        if world.rows_of(Space::RunOpen).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let problems = simulation.check(&world).await;
    world.playbooks.die();
    (problems, simulation.crashes)
}

fn run(seed: u64) -> u64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (problems, crashes) = runtime.block_on(simulate(seed));
    assert!(problems.is_empty(), "BELLWETHER_SEED={seed}: {problems:#?}");
    crashes
}

#[test]
fn whatever_happens_every_firing_has_one_run_and_every_run_ends() {
    if let Ok(seed) = std::env::var("BELLWETHER_SEED") {
        run(seed.parse().expect("BELLWETHER_SEED is a number"));
        return;
    }
    let (next, crashes) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= SEEDS {
                        return;
                    }
                    crashes.fetch_add(run(seed), Ordering::SeqCst);
                }
            });
        }
    });
    let crashes = crashes.into_inner();
    assert!(crashes > SEEDS / 2, "only {crashes} crashes: the simulation tries little");
}
