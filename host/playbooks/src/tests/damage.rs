//! A run of which something does not read any more ends: nobody waits for it for ever.

use std::time::Duration;

use bellwether_store::{Batch, encode};
use serde_json::json;

use super::*;
use crate::rows::{Part, Payload, Record, VersionRow};

/// What a host of an earlier version recorded: a value too deep to be read again.
fn unreadable() -> Vec<u8> {
    format!("{}{}", "[".repeat(200), "]".repeat(200)).into()
}

async fn damage_trigger(world: &World, run: RunId) {
    let mut batch = Batch::new();
    let record = Record { shown: Payload::Inline(unreadable().into()), sealed: None };
    batch.put(rows::trigger(world.organisation, run), encode(&record));
    world.store.commit(batch).await.unwrap();
}

/// A playbook that waits for an hour first, one run at a time; a failed one is started again.
async fn waiting(trigger: &str) -> World {
    let world = World::new().await;
    let document = json!({
        "name": "a", "trigger": {"type": trigger}, "concurrency": {"policy": "queue", "limit": 1},
        "steps": [{"id": "wait", "delay": "1h"}, {"id": "a", "app": "echo"}],
    });
    world.store_json(document).await;
    world
}

async fn ended(world: &World, id: RunId) -> RunSummary {
    loop {
        let summary = world.playbooks.summary(world.organisation, id).await.unwrap();
        if summary.state.has_ended() {
            return summary;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn start(world: &World, name: &str) -> RunId {
    let id = world.playbooks.start(&world.admin, name, json!({})).await.unwrap().id;
    tokio::time::sleep(Duration::from_secs(2)).await;
    id
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_trigger_does_not_read_fails_and_the_next_has_its_place() {
    let world = waiting("manual").await;
    let (first, second) = (start(&world, "a").await, start(&world, "a").await);
    damage_trigger(&world, first).await;
    let failed = ended(&world, first).await;
    assert_eq!(failed.state, RunState::Failed);
    let error = failed.error.unwrap();
    assert!(error.contains("a run's record does not read: recursion limit exceeded"), "{error}");
    assert_eq!(ended(&world, second).await.state, RunState::Succeeded);
    assert_eq!(world.rows_of(Space::RunOpen).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_read_can_be_cancelled() {
    let world = waiting("manual").await;
    let id = start(&world, "a").await;
    damage_trigger(&world, id).await;
    world.playbooks.cancel(&world.admin, id).await.unwrap();
    let cancelled = ended(&world, id).await;
    assert_eq!(cancelled.state, RunState::Cancelled);
    assert!(cancelled.error.unwrap().starts_with("it was cancelled with the key"));
    let early = cancelled.ended.unwrap().milliseconds_since(cancelled.created);
    assert!(early < 60_000, "after {early} ms");
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_does_not_read_is_not_tried_again() {
    let world = World::new().await;
    let trigger = json!({"type": "manual", "on_error": "retry", "on_error_times": 3, "on_error_delay": "1s"});
    let steps = json!([{"id": "wait", "delay": "1h"}]);
    world.store_json(json!({"name": "a", "trigger": trigger, "steps": steps})).await;
    let id = start(&world, "a").await;
    damage_trigger(&world, id).await;
    assert_eq!(ended(&world, id).await.state, RunState::Failed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((world.rows_of(Space::RunOpen).await, world.rows_of(Space::Run).await), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_within_another_that_does_not_read_fails_its_step() {
    let world = waiting("playbook").await;
    let document =
        json!({"name": "outer", "trigger": {"type": "manual"}, "steps": [{"id": "a", "playbook": "a"}]});
    world.store_json(document).await;
    let outer = start(&world, "outer").await;
    let page = bellwether_kernel::PageRequest::first(9);
    let runs = world.playbooks.runs(world.organisation, &RunFilter::default(), &page).await.unwrap().items;
    let inner = runs.iter().map(|run| run.id).find(|run| *run != outer).unwrap();
    damage_trigger(&world, inner).await;
    let failed = ended(&world, outer).await;
    assert_eq!((failed.state, failed.failed_step.as_deref()), (RunState::Failed, Some("a")));
    assert_eq!(ended(&world, inner).await.state, RunState::Failed);
    assert_eq!(world.rows_of(Space::RunOpen).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_version_does_not_read_fails_and_the_next_has_its_place() {
    let world = waiting("manual").await;
    let id = start(&world, "a").await;
    let playbook = world.playbooks.get(world.organisation, "a").await.unwrap();
    let mut batch = Batch::new();
    let key = rows::version(world.organisation, playbook.id, 1);
    let source = Payload::write(&mut batch, &key, Part::Shown, unreadable()).unwrap();
    let (created, created_by) = (playbook.created, world.admin.key.clone());
    batch.put(key, encode(&VersionRow { source, format: Format::Json, created, created_by }));
    world.store.commit(batch).await.unwrap();
    // What is compiled is kept ready, but not over a restart.
    let world = world.reopened(world.store.restart()).await;
    let document = json!({
        "name": "a", "trigger": {"type": "manual"}, "concurrency": {"policy": "queue", "limit": 1},
        "steps": [{"id": "a", "app": "echo"}],
    });
    world.store_json(document).await;
    let second = start(&world, "a").await;
    assert_eq!(ended(&world, id).await.state, RunState::Failed);
    assert_eq!(ended(&world, second).await.state, RunState::Succeeded);
}
