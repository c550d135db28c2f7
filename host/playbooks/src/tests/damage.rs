//! A run of which something does not read any more ends: nobody waits for it for ever.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use bellwether_alerts::{Event, Severity, Tellings};
use bellwether_store::{Batch, StoreError, delete_large, encode, put_large};
use serde_json::json;

use super::incidents::{commit, following, moved};
use super::log::Log;
use super::passing::{Asked, Passing, Way};
use super::*;
use crate::rows::{Part, Payload, Record, VersionRow};

/// What a host of an earlier version recorded: a value too deep to be read again.
fn unreadable() -> Vec<u8> {
    format!("{}{}", "[".repeat(200), "]".repeat(200)).into()
}

async fn damage_trigger(world: &World, run: RunId) {
    put_trigger(world, run, Record { shown: Payload::Inline(unreadable().into()), sealed: None }).await;
}

/// What was sealed with another host key.
fn does_not_open() -> Record {
    let sealed = Payload::Inline(vec![7; 64].into());
    Record { shown: Payload::Inline(b"{}".as_slice().into()), sealed: Some(sealed) }
}

async fn put_trigger(world: &World, run: RunId, record: Record) {
    let mut batch = Batch::new();
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
async fn a_trigger_that_does_not_read_or_open_is_not_tried_again() {
    for (record, expected) in [
        (Record { shown: Payload::Inline(unreadable().into()), sealed: None }, "does not read"),
        (does_not_open(), "does not open"),
    ] {
        let world = World::new().await;
        let trigger =
            json!({"type": "manual", "on_error": "retry", "on_error_times": 3, "on_error_delay": "1s"});
        let steps = json!([{"id": "wait", "delay": "1h"}]);
        world.store_json(json!({"name": "a", "trigger": trigger, "steps": steps})).await;
        let id = start(&world, "a").await;
        put_trigger(&world, id, record).await;
        let failed = ended(&world, id).await;
        assert_eq!(failed.state, RunState::Failed);
        assert!(failed.error.as_ref().unwrap().contains(expected), "{failed:?}");
        assert!(failed.ended.unwrap().milliseconds_since(failed.created) < 2 * 3_600_000, "{failed:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((world.rows_of(Space::RunOpen).await, world.rows_of(Space::Run).await), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_trigger_does_not_open_ends_the_runs_within_it() {
    let world = waiting("playbook").await;
    let steps = json!([{"id": "a", "playbook": "a"}]);
    world.store_json(json!({"name": "outer", "trigger": {"type": "manual"}, "steps": steps})).await;
    let outer = start(&world, "outer").await;
    assert_eq!(world.rows_of(Space::RunOpen).await, 2);
    put_trigger(&world, outer, does_not_open()).await;
    world.playbooks.cancel(&world.admin, outer).await.unwrap();
    assert!(ended(&world, outer).await.error.unwrap().contains("does not open"));
    assert_eq!(world.rows_of(Space::RunOpen).await, 0);
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

/// The same world after a restart, the first version of these playbooks unreadable.
async fn with_damaged_versions(world: World, names: &[&str]) -> World {
    let mut batch = Batch::new();
    for name in names {
        let playbook = world.playbooks.get(world.organisation, name).await.unwrap();
        let key = rows::version(world.organisation, playbook.id, 1);
        let source = Payload::write(&mut batch, &key, Part::Shown, unreadable()).unwrap();
        let (created, created_by) = (playbook.created, world.admin.key.clone());
        batch.put(key, encode(&VersionRow { source, format: Format::Json, created, created_by }));
    }
    world.store.commit(batch).await.unwrap();
    // What is compiled is kept ready, but not over a restart.
    world.reopened(world.store.restart()).await
}

#[tokio::test(start_paused = true)]
async fn a_playbook_that_does_not_read_keeps_no_other_from_being_started() {
    let world = World::new().await;
    for name in ["damaged", "whole"] {
        world.store_json(following(name, json!({}), "{{ trigger.incident }}")).await;
        let trigger = json!({"type": "metric", "metric": "m"});
        let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.value }}"}}]);
        let name = format!("{name}-metric");
        world.store_json(json!({"name": name, "trigger": trigger, "steps": steps})).await;
    }
    let world = with_damaged_versions(world, &["damaged", "damaged-metric"]).await;
    commit(&world, &[1, 2].map(|number| moved(&world, number, Event::Opened, Severity::High))).await.unwrap();
    for value in [1.0, 2.0] {
        world.writes.push(world.organisation, "m", None, value);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut started: Vec<_> =
        world.all_runs().await.into_iter().map(|run| run.summary.playbook_name).collect();
    started.sort();
    assert_eq!(started, ["whole", "whole", "whole-metric", "whole-metric"]);
    assert_eq!(world.rows_of(Space::PlaybookIncident).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_an_incident_did_that_does_not_read_is_removed_and_what_came_after_it_starts_its_run() {
    for damage in ["no value", "no JSON", "no row"] {
        let world = World::new().await;
        world.store_json(following("a", json!({}), "{{ trigger.incident }}")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let moves = [1, 2].map(|number| moved(&world, number, Event::Opened, Severity::High));
        let mut batch = Batch::new();
        for moved in &moves {
            world.playbooks.moved(&mut batch, moved).unwrap();
        }
        world.store.commit(batch).await.unwrap();
        let first =
            rows::incident_move(world.organisation, moves[0].incident.id.0.as_bytes(), moves[0].sequence);
        let mut batch = Batch::new();
        match damage {
            "no value" => delete_large(&*world.store, &mut batch, &first).await.unwrap(),
            "no JSON" => put_large(&mut batch, &first, b"{").unwrap(),
            _ => drop(batch.put(first, b"?".to_vec())),
        }
        world.store.commit(batch).await.unwrap();
        world.playbooks.committed();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let started: Vec<_> =
            world.all_runs().await.iter().map(|run| run.steps[0].outputs["value"].clone()).collect();
        assert_eq!(started, [json!(uuid::Uuid::from_u128(2).to_string())], "{damage}");
        for space in [Space::PlaybookIncident, Space::Chunk] {
            assert_eq!(world.rows_of(space).await, 0, "{damage}: {space:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_version_does_not_read_fails_and_the_next_has_its_place() {
    let world = waiting("manual").await;
    let id = start(&world, "a").await;
    let world = with_damaged_versions(world, &["a"]).await;
    let document = json!({
        "name": "a", "trigger": {"type": "manual"}, "concurrency": {"policy": "queue", "limit": 1},
        "steps": [{"id": "a", "app": "echo"}],
    });
    world.store_json(document).await;
    let second = start(&world, "a").await;
    assert_eq!(ended(&world, id).await.state, RunState::Failed);
    assert_eq!(ended(&world, second).await.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_playbook_that_does_not_read_is_looked_at_each_minute_and_fires_for_its_time_once_it_reads()
 {
    let world = World::new().await;
    for name in ["damaged", "whole"] {
        let trigger = json!({"type": "every", "interval": "10s"});
        let steps = json!([{"id": "a", "app": "echo"}]);
        world.store_json(json!({"name": name, "trigger": trigger, "steps": steps})).await;
    }
    let damaged = world.playbooks.get(world.organisation, "damaged").await.unwrap();
    let key = rows::version(world.organisation, damaged.id, 1);
    let before = world.store.get(&key).await.unwrap().unwrap();
    let world = with_damaged_versions(world, &["damaged"]).await;
    let (log, _listening) = Log::listen();
    let looked_at = Arc::new(AtomicUsize::new(0));
    let counting = Passing::new(&world.store, Counting(key.clone(), Arc::clone(&looked_at)));
    world.playbooks.die();
    let playbooks = Playbooks::open(world.parts(counting, &world.access, 1, None)).await.unwrap();
    let world = world.with(Arc::clone(&world.store), Arc::clone(&world.access), playbooks);

    tokio::time::sleep(Duration::from_secs(600)).await;
    let looks = looked_at.load(Ordering::SeqCst);
    assert!((9..=11).contains(&looks), "{looks} looks in ten minutes");
    let runs = world.all_runs().await;
    assert!((59..=61).contains(&runs.len()), "the other goes on: {}", runs.len());
    assert!(runs.iter().all(|run| run.summary.playbook_name == "whole"));
    assert_eq!(log.lines("WARN").len(), 1, "{:?}", log.lines("WARN"));
    assert!(log.lines("WARN")[0].contains("is not started"));

    let mut batch = Batch::new();
    batch.put(key, before);
    world.store.commit(batch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(log.lines("is started by its trigger again").len(), 1);
    let runs = world.all_runs().await;
    let first = runs.iter().find(|run| run.summary.playbook_name == "damaged").unwrap();
    let scheduled = Timestamp::parse(first.trigger["scheduled"].as_str().unwrap()).unwrap();
    assert!(scheduled.milliseconds_since(damaged.created) <= 10_000, "for its first time: {scheduled}");
}

#[tokio::test(start_paused = true)]
async fn a_playbook_that_does_not_read_is_told_once_however_often_it_is_triggered() {
    let world = World::new().await;
    let trigger = json!({"type": "metric", "metric": "m"});
    let steps = json!([{"id": "a", "app": "echo"}]);
    let document = json!({"name": "a", "trigger": trigger, "steps": steps});
    world.store_json(document.clone()).await;
    let world = with_damaged_versions(world, &["a"]).await;
    let (log, _listening) = Log::listen();
    for value in 0..100 {
        world.writes.push(world.organisation, "m", None, f64::from(value));
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(log.lines("WARN").len(), 1, "{:?}", log.lines("WARN"));
    world.store_json(document).await;
    for value in [1.0, 2.0] {
        world.writes.push(world.organisation, "m", None, value);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(log.lines("is started by its trigger again").len(), 1);
    assert_eq!(world.all_runs().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_playbook_that_does_not_read_says_so_and_can_be_stored_anew_or_deleted() {
    let world = World::new().await;
    for name in ["damaged", "gone", "whole"] {
        let steps = json!([{"id": "a", "app": "echo"}]);
        world.store_json(json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})).await;
    }
    let world = with_damaged_versions(world, &["damaged", "gone"]).await;
    let (playbooks, organisation) = (&world.playbooks, world.organisation);
    let page = bellwether_kernel::PageRequest::first(9);
    let listed = playbooks.list(organisation, &page).await.unwrap().items;
    let told: Vec<_> = listed.iter().map(|it| (it.name.as_str(), it.document.is_some())).collect();
    assert_eq!(told, [("damaged", false), ("gone", false), ("whole", true)]);
    let problem = listed[0].problem.as_ref().unwrap();
    assert!(problem.contains("it is not started") && problem.contains("version 1"), "{problem}");
    assert_eq!(listed[0].source.as_bytes(), unreadable(), "what there is of it is shown");
    assert!(playbooks.start_inputs(organisation, "damaged").await.unwrap().is_empty());
    assert!(playbooks.pins(organisation, "echo").await.is_ok(), "apps are installed all the same");
    for name in ["whole", "gone"] {
        playbooks.delete(&world.admin, name, false).await.unwrap();
    }
    let steps = json!([{"id": "a", "app": "echo"}]);
    let document = json!({"name": "damaged", "trigger": {"type": "manual"}, "steps": steps}).to_string();
    let draft = playbooks.save_draft(&world.admin, &document, Format::Json).await.unwrap();
    assert_eq!((draft.version, draft.document.is_some()), (1, false));
    let whole = playbooks.publish(&world.admin, "damaged", 2).await.unwrap();
    assert_eq!((&whole.problem, whole.document.is_some()), (&None, true));
}

/// Counts how often a key is read.
struct Counting(Key, Arc<AtomicUsize>);

#[async_trait]
impl Way for Counting {
    async fn before(&self, asked: &Asked<'_>) -> Result<(), StoreError> {
        if matches!(asked, Asked::Get(key) if **key == self.0) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}
