//! A host that is told to stop begins nothing more by itself, and loses nothing.

use std::time::Duration;

use bellwether_alerts::{Event, Severity};
use serde_json::json;

use super::incidents::{commit, following, moved};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A host at work: a run holds its only worker, another waits for that, and every kind of trigger has a playbook.
async fn at_work() -> (World, Arc<tokio::sync::Semaphore>, [StartedRun; 2]) {
    let world = World::with_limits(Limits { concurrent_runs: 1, ..Limits::default() }).await;
    let (gate, _) = complaints::add_gate(&world);
    world.store_json(following("alert", json!({}), "{{ trigger.incident }}")).await;
    for (name, trigger, app) in [
        ("every", json!({"type": "every", "interval": "10s"}), "echo"),
        ("metric", json!({"type": "metric", "metric": "m"}), "echo"),
        ("gate", json!({"type": "manual"}), "gate"),
    ] {
        let steps = json!([{"id": "a", "app": app, "timeout": "1h"}]);
        world.store_json(json!({"name": name, "trigger": trigger, "steps": steps})).await;
    }
    let start = async || world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap();
    let started = [start().await, start().await];
    (world, gate, started)
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_begins_no_run_by_itself_and_the_next_start_finds_them_all() {
    let (world, gate, [at_work, waiting]) = at_work().await;
    world.playbooks.begin_no_more();
    assert!(waiting.ended.await.is_err(), "who waits for one that does not begin is told so");
    let before = world.all_runs().await.len();
    world.writes.push(world.organisation, "m", None, 1.0);
    commit(&world, &[moved(&world, 1, Event::Opened, Severity::High)]).await.unwrap();
    tokio::time::sleep(40 * SECOND).await;
    gate.add_permits(1);
    assert_eq!(at_work.ended.await.unwrap().summary.state, RunState::Succeeded, "it goes on");
    tokio::time::sleep(SECOND).await;
    assert_eq!(world.all_runs().await.len(), before);
    let queued = world.playbooks.summary(world.organisation, waiting.id).await.unwrap();
    assert_eq!(queued.state, RunState::Queued, "there is room for it now");
    world.playbooks.stop(SECOND).await;

    gate.add_permits(1);
    let world = world.reopened(world.store.restart()).await;
    tokio::time::sleep(SECOND).await;
    let mut names: Vec<_> = world.all_runs().await.into_iter().map(|run| run.summary.playbook_name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["alert", "every", "gate", "metric"]);
    assert_eq!(world.ended(waiting.id).await.summary.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_stopping_host_accepts_has_its_run_begun_or_recorded() {
    let (world, gate, started) = at_work().await;
    gate.add_permits(2);
    for run in started {
        run.ended.await.unwrap();
    }
    world.playbooks.begin_no_more();
    let start = async || world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap();
    let (begun, recorded) = (start().await, start().await);
    assert!(recorded.ended.await.is_err());
    gate.add_permits(1);
    assert_eq!(begun.ended.await.unwrap().summary.state, RunState::Succeeded);
    world.playbooks.stop(SECOND).await;
    let refused = world.playbooks.start(&world.admin, "gate", json!({})).await.err().unwrap();
    assert!(matches!(refused, PlaybookError::Stopping));
    gate.add_permits(1);
    let world = world.reopened(world.store.restart()).await;
    assert_eq!(world.ended(recorded.id).await.summary.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_comes_to_wait_while_its_host_stops_is_left_to_the_next_start() {
    let world = World::new().await;
    let steps = json!([{"id": "a", "delay": "500ms"}, {"id": "b", "delay": "10s"}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    world.playbooks.begin_no_more();
    assert!(run.ended.await.is_err(), "nobody waits for what does not go on here");
    tokio::time::sleep(20 * SECOND).await;
    let waits = world.playbooks.run(world.organisation, run.id).await.unwrap();
    assert_eq!((waits.summary.state, waits.steps.len()), (RunState::Running, 2));
    world.playbooks.stop(SECOND).await;
    let world = world.reopened(world.store.restart()).await;
    assert_eq!(world.ended(run.id).await.summary.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_host_keeps_its_lease_as_long_as_its_last_runs_take() {
    let (world, gate, [at_work, waiting]) = at_work().await;
    let other = world.joined(2).await;
    world.playbooks.begin_no_more();
    let (playbooks, passed) = (Arc::clone(&world.playbooks), Arc::clone(&gate));
    let stopped = tokio::spawn(async move { playbooks.stop(300 * SECOND).await });
    tokio::time::sleep(100 * SECOND).await;
    // The other host took what waited, and not what is at work.
    passed.add_permits(2);
    stopped.await.unwrap();
    assert_eq!(at_work.ended.await.unwrap().summary.state, RunState::Succeeded);
    assert_eq!(other.ended(waiting.id).await.summary.state, RunState::Succeeded);
}
