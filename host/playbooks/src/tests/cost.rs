//! What a run costs: how many commits it makes, and what is read for it.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bellwether_store::{Batch, StoreError};
use serde_json::json;

use super::passing::{Asked, Passing, Way};
use super::*;

/// Notes what is asked of a store.
#[derive(Default)]
struct Noting {
    read: Mutex<Vec<Key>>,
    scanned: Mutex<Vec<Range<Key>>>,
}

#[async_trait]
impl Way for Noting {
    async fn before(&self, asked: &Asked<'_>) -> Result<(), StoreError> {
        match asked {
            Asked::Get(key) => self.read.lock().push((*key).clone()),
            Asked::Scan(range) => self.scanned.lock().push((*range).clone()),
            Asked::Commit => {}
        }
        Ok(())
    }
}

/// A host with a playbook of two steps behind a webhook, its store, and the webhook's token.
async fn noted(limits: Limits) -> (World, Arc<Passing<Noting>>, String) {
    let world = World::with_limits(limits).await;
    let steps = [("one", "{{ trigger.body.n }}"), ("two", "{{ steps.one.value }}")];
    let token = world.store_echo("webhook", &steps).await.webhook_token.clone().unwrap();
    world.playbooks.stop(Duration::from_secs(1)).await;
    let store = Passing::new(&world.store, Noting::default());
    let access = open_access(store.clone(), &world.clock, &world.chance).await.unwrap();
    let playbooks = Playbooks::open(world.parts(store.clone(), &access, 1, None)).await.unwrap();
    let world = world.with(Arc::clone(&world.store), access, playbooks);
    // The first run compiles the playbook.
    deliver(&world, &token).await.ended.await.unwrap();
    (world, store, token)
}

async fn deliver(world: &World, token: &str) -> StartedRun {
    let request = post("application/json", json!({"n": 1}).to_string());
    world.playbooks.start_by_webhook(token, request).await.unwrap()
}

/// How many rows of each kind were read, by the first byte of their keys, since this was asked last.
fn reads(store: &Passing<Noting>) -> Vec<u8> {
    let read = std::mem::take(&mut *store.way.read.lock());
    read.iter().map(|key| key.as_bytes()[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_of_two_steps_makes_three_commits() {
    let (world, store, token) = noted(Limits::default()).await;
    let before = store.health().commits;
    deliver(&world, &token).await.ended.await.unwrap();
    // Accepted and begun, the first result, and the second with the end.
    assert_eq!(store.health().commits - before, 3);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_begins_at_once_is_not_read_again_and_nobody_looks_for_another() {
    let (world, store, token) = noted(Limits::default()).await;
    reads(&store);
    store.way.scanned.lock().clear();
    deliver(&world, &token).await.ended.await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let expected = [Space::Webhook, Space::Playbook, Space::PlaybookHealth];
    assert_eq!(reads(&store), expected.map(|space| space as u8));
    assert_eq!(*store.way.scanned.lock(), []);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_worker_makes_one_commit_more_and_of_its_records_only_the_trigger_is_read() {
    let (world, store, token) = noted(Limits { concurrent_runs: 1, ..Limits::default() }).await;
    let (gate, _) = complaints::add_gate(&world);
    let steps = json!([{"id": "a", "app": "gate"}]);
    world.store_json(json!({"name": "gate", "trigger": {"type": "manual"}, "steps": steps})).await;
    let first = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap();
    let (before, _) = (store.health().commits, reads(&store));
    let second = deliver(&world, &token).await;
    gate.add_permits(1);
    first.ended.await.unwrap();
    let second = second.ended.await.unwrap();
    assert_eq!((second.summary.state, second.steps.len()), (RunState::Succeeded, 2));
    // The first one's end, and four of the second: accepted, begun, its first result, its second with the end.
    assert_eq!(store.health().commits - before, 1 + 4);
    let records = reads(&store).into_iter().filter(|space| *space == Space::RunStep as u8);
    assert_eq!(records.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_passed_over_while_it_is_at_work_is_looked_at_as_soon_as_it_is_left() {
    let world = World::new().await;
    let (gate, _) = complaints::add_gate(&world);
    let steps = json!([{"id": "a", "app": "gate"}]);
    world.store_json(json!({"name": "gate", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap();
    // As if it had become ready again before its task was done with it.
    let mut batch = Batch::new();
    batch.put(rows::queued(world.organisation, run.id), Vec::new());
    world.store.commit(batch).await.unwrap();
    world.playbooks.ready.notify_one();
    let moment = Duration::from_millis(1);
    tokio::time::sleep(moment).await;
    assert_eq!(world.rows_of(Space::RunQueue).await, 1, "it is at work, so it is passed over");
    gate.add_permits(1);
    run.ended.await.unwrap();
    tokio::time::sleep(moment).await;
    assert_eq!(world.rows_of(Space::RunQueue).await, 0, "it has ended: its row goes");
}

#[tokio::test]
async fn a_dry_run_of_costly_templates_holds_nobody_up_and_takes_a_bounded_time() {
    let world = World::new().await;
    let costly = "{% for i in range(20000) %}{{ i % 10 }}{% endfor %}";
    let steps: Vec<_> = (0..26)
        .map(|id| json!({"id": format!("s{id}"), "app": "echo", "inputs": {"value": [costly, costly, costly, costly]}}))
        .collect();
    let source = json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps}).to_string();
    let trying = world.playbooks.dry_run(&world.admin, &source, Format::Json, serde_json::Map::new());
    let mut trying = std::pin::pin!(trying);
    assert!(futures::poll!(&mut trying).is_pending(), "it gives way");
    let dry = trying.await.unwrap();
    let problems: Vec<_> = dry.steps.iter().map(|step| step.problem.as_deref()).collect();
    let (last, others) = problems.split_last().unwrap();
    assert_eq!(others, [None; 25]);
    assert_eq!(*last, Some("input value[0]: the templates before it took all the time there is"));
}

#[tokio::test]
async fn outputs_that_cost_much_are_given_all_the_same() {
    let world = World::new().await;
    for (output, expected) in
        [("{{ ('x' * 2000000)|length }}", Ok(2_000_000)), ("{{ 'x' * 100000000 }}", Err("output n: "))]
    {
        let kid = json!({"name": "kid", "trigger": {"type": "playbook"}, "outputs": {"n": output},
            "steps": [{"id": "a", "app": "echo"}]});
        world.store_json(kid).await;
        let steps = json!([{"id": "k", "playbook": "kid"}]);
        world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
        let run = world.run("a", json!({})).await;
        match expected {
            Ok(length) => assert_eq!(run.steps[0].outputs["n"], json!(length)),
            Err(problem) => assert!(run.summary.error.unwrap().contains(problem), "{output}"),
        }
    }
}
