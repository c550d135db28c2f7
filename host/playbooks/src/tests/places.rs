//! How many runs of one playbook there are at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_too_many_replaces_the_oldest_and_no_more() {
    use RunState::{Cancelled, Running, Succeeded};
    let world = World::new().await;
    let concurrency = json!({"policy": "replace", "limit": 3});
    let steps = json!([{"id": "wait", "delay": "20s"}]);
    world
        .store_json(
            json!({"name": "a", "trigger": {"type": "manual"}, "concurrency": concurrency, "steps": steps}),
        )
        .await;
    let mut ids = Vec::new();
    let states = async |ids: &[RunId]| {
        let mut states = Vec::new();
        for id in ids {
            states.push(world.playbooks.summary(world.organisation, *id).await.unwrap().state);
        }
        states
    };
    for number in 0..5_usize {
        ids.push(world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let gone = (number + 1).saturating_sub(3);
        let expected = [vec![Cancelled; gone], vec![Running; number + 1 - gone]].concat();
        assert_eq!(states(&ids).await, expected, "after start {number}");
    }
    // Several in one moment: those that wait for the places of runs that end are no more than there are places.
    for _ in 0..4 {
        world.clock.advance(1);
        ids.push(world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id);
    }
    for id in &ids {
        world.ended(*id).await;
    }
    assert_eq!(states(&ids).await, [vec![Cancelled; 6], vec![Succeeded; 3]].concat());
    for space in [Space::RunOpen, Space::PlaybookGate, Space::PlaybookQueue, Space::RunQueue] {
        assert_eq!(world.rows_of(space).await, 0, "{space:?}");
    }
}

/// An app that takes two seconds, and how many of its calls there were at once at most.
fn add_busy(world: &World) -> Arc<AtomicUsize> {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    world.apps.put("busy", describe(vec![], &[]), move |_| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&seen));
        Box::pin(async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(2)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            gives(&[])
        })
    });
    most
}

/// A playbook that is a step of others, so many of its runs at once.
#[allow(clippy::needless_pass_by_value)] // written where it is made
fn kid(policy: &str, limit: u32, steps: Json) -> Json {
    json!({"name": "kid", "trigger": {"type": "playbook", "inputs": {"n": {}}}, "outputs": {"n": "{{ trigger.inputs.n }}"},
        "concurrency": {"policy": policy, "limit": limit}, "steps": steps})
}

/// One that has it as its step, `rest` beside that.
#[allow(clippy::needless_pass_by_value)] // written where it is made
fn parent(rest: Json) -> Json {
    let mut step = json!({"id": "m", "playbook": "kid", "inputs": {"n": 1}});
    step.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!({"name": "parent", "trigger": {"type": "manual"}, "steps": [step]})
}

async fn start(world: &World) -> RunId {
    world.clock.advance(1);
    world.playbooks.start(&world.admin, "parent", json!({})).await.unwrap().id
}

/// The runs of the kid, oldest first.
async fn kids(world: &World) -> Vec<Run> {
    let runs = world.all_runs().await;
    runs.into_iter().filter(|run| run.summary.playbook_name == "kid").collect()
}

/// Waits for the end of a run, which is minutes away.
async fn ended(world: &World, id: RunId) -> Run {
    while !world.playbooks.summary(world.organisation, id).await.unwrap().state.has_ended() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.playbooks.run(world.organisation, id).await.unwrap()
}

async fn assert_nothing_left(world: &World) {
    for space in [Space::RunOpen, Space::PlaybookGate, Space::PlaybookQueue, Space::RunQueue, Space::RunWake]
    {
        assert_eq!(world.rows_of(space).await, 0, "{space:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_steps_wait_for_their_turn_within_one_run_and_across_many() {
    for (limit, parents, list, workers) in
        [(1, 1, 4, 64), (2, 1, 6, 64), (1, 4, 1, 64), (1, 4, 1, 1), (2, 3, 3, 3)]
    {
        let world = World::with_limits(Limits { concurrent_runs: workers, ..Limits::default() }).await;
        let most = add_busy(&world);
        let busy =
            json!([{"id": "a", "app": "busy"}, {"id": "pause", "delay": "5s"}, {"id": "b", "app": "busy"}]);
        world.store_json(kid("queue", limit, busy)).await;
        let list: Vec<u32> = (0..list).collect();
        world.store_json(parent(json!({"each": list, "parallel": 4, "inputs": {"n": "{{ item }}"}}))).await;
        let mut ids = Vec::new();
        for _ in 0..parents {
            ids.push(start(&world).await);
        }
        let began = world.clock.now();
        for id in ids {
            let run = ended(&world, id).await;
            assert_eq!((run.summary.state, run.summary.error), (RunState::Succeeded, None));
            assert_eq!(run.steps[0].outputs["n"], json!(list));
        }
        let case = format!("{limit} of {parents} × {} on {workers}", list.len());
        assert!(most.load(Ordering::SeqCst) <= limit as usize, "{case}: {most:?} at once");
        // A place that is free is taken at once, by whoever waits for it.
        let rounds = (parents * list.len()).div_ceil(limit as usize);
        let took = world.clock.now().milliseconds_since(began);
        assert!(took < i64::try_from(rounds).unwrap() * 11_500, "{case}: {took} ms");
        assert_nothing_left(&world).await;
        assert_eq!(kids(&world).await.len(), parents * list.len());
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_turn_of_a_step_takes_no_worker_and_survives_the_host() {
    let world = World::with_limits(Limits { concurrent_runs: 1, ..Limits::default() }).await;
    world.store_json(kid("queue", 1, json!([{"id": "wait", "delay": "10m"}]))).await;
    world.store_json(parent(json!({}))).await;
    let ids = [start(&world).await, start(&world).await, start(&world).await];
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.playbooks.active.lock().is_empty(), "none of them is at work");
    let states: Vec<_> = kids(&world).await.iter().map(|run| run.summary.state).collect();
    assert_eq!(states, [RunState::Running, RunState::Queued, RunState::Queued]);
    let world = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Another host goes on with what the first one began.
    let other = world.joined(2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.playbooks.die();
    for id in ids {
        assert_eq!(ended(&other, id).await.summary.state, RunState::Succeeded);
    }
    let took = other.clock.now().milliseconds_since(other.all_runs().await[0].summary.created);
    assert!((1_800_000..1_860_000).contains(&took), "{took} ms");
    assert_nothing_left(&other).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_playbook_ran_already_is_skipped() {
    let world = World::new().await;
    world.store_json(kid("skip", 1, json!([{"id": "wait", "delay": "1m"}]))).await;
    let mut document = parent(json!({"retry": {"attempts": 3}}));
    let after = json!({"id": "after", "app": "echo", "inputs": {"value": "{{ steps.m.n }}"}});
    document["steps"].as_array_mut().unwrap().push(after);
    world.store_json(document).await;
    let (first, second) = (start(&world).await, start(&world).await);
    let run = ended(&world, second).await;
    assert_eq!((run.summary.state, run.steps[0].state), (RunState::Succeeded, StepState::Skipped));
    assert_eq!((&run.steps[0].outputs["n"], &run.steps[1].outputs["value"]), (&json!(null), &json!(null)));
    let skipped = world.playbooks.run(world.organisation, run.steps[0].run.unwrap()).await.unwrap();
    assert_eq!(skipped.summary.state, RunState::Skipped);
    assert_eq!(skipped.summary.error.as_deref(), Some("the playbook ran already"));
    let run = ended(&world, first).await;
    assert_eq!((run.steps[0].state, &run.steps[0].outputs["n"]), (StepState::Succeeded, &json!(1)));

    world.store_json(parent(json!({"each": [7, 8, 9], "parallel": 3, "inputs": {"n": "{{ item }}"}}))).await;
    let id = start(&world).await;
    let run = ended(&world, id).await;
    let gave = run.steps[0].outputs["n"].as_array().unwrap().clone();
    assert_eq!((gave.len(), gave.iter().filter(|gave| gave.is_null()).count()), (3, 2), "{gave:?}");
    assert_eq!(run.steps[0].items, Some(ItemCounts { total: 3, succeeded: 1, failed: 0, cancelled: 0 }));
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_a_step_takes_the_place_of_the_oldest_whose_step_fails() {
    let world = World::new().await;
    world.store_json(kid("replace", 2, json!([{"id": "wait", "delay": "10m"}]))).await;
    world.store_json(parent(json!({}))).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(start(&world).await);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let run = ended(&world, ids[0]).await;
    let [first, _, third] = &kids(&world).await[..] else { panic!() };
    let (first, third) = (first.summary.id, third.summary.id);
    let expected = format!("step m: playbook kid (run {first}) was cancelled: run {third} took its place");
    assert_eq!(run.summary.error, Some(expected));
    assert!(run.summary.ended.unwrap().milliseconds_since(run.summary.created) < 10_000);
    for id in &ids[1..] {
        assert_eq!(ended(&world, *id).await.summary.state, RunState::Succeeded);
    }
    // Of one run's own items, too.
    let each = json!({"each": [1, 2, 3, 4], "parallel": 4, "on_item_error": "continue"});
    world.store_json(parent(each)).await;
    let id = start(&world).await;
    let run = ended(&world, id).await;
    assert_eq!(run.steps[0].items, Some(ItemCounts { total: 4, succeeded: 2, failed: 2, cancelled: 0 }));
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_keeps_a_place_who_was_cancelled_or_ran_out_of_time() {
    use RunState::{Cancelled, Failed, Queued, TimedOut};
    let world = World::new().await;
    world.store_json(kid("queue", 1, json!([{"id": "wait", "delay": "10m"}]))).await;
    // Who holds the place and who waits for it, each ended in its way.
    world.store_json(parent(json!({"timeout": "30s"}))).await;
    let ids = [start(&world).await, start(&world).await];
    for id in ids {
        let error = ended(&world, id).await.summary.error.unwrap();
        assert!(error.ends_with("took too long: it took longer than 30s"), "{error}");
    }
    let states: Vec<_> = kids(&world).await.iter().map(|run| run.summary.state).collect();
    assert_eq!(states, [TimedOut, TimedOut]);
    assert_nothing_left(&world).await;

    let mut document = parent(json!({}));
    document["timeout"] = "11m".into();
    world.store_json(document.clone()).await;
    let ids = [start(&world).await, start(&world).await, start(&world).await];
    tokio::time::sleep(Duration::from_secs(2)).await;
    // One that waits is cancelled itself, or the one around it.
    let waiting: Vec<RunId> = kids(&world)
        .await
        .iter()
        .filter(|run| run.summary.state == Queued)
        .map(|run| run.summary.id)
        .collect();
    world.playbooks.cancel(&world.admin, waiting[0]).await.unwrap();
    assert_eq!(ended(&world, ids[1]).await.summary.state, Failed);
    world.playbooks.cancel(&world.admin, ids[2]).await.unwrap();
    assert_eq!(ended(&world, ids[2]).await.summary.state, Cancelled);
    world.playbooks.cancel(&world.admin, ids[0]).await.unwrap();
    assert_eq!(ended(&world, ids[0]).await.summary.state, Cancelled);
    assert_nothing_left(&world).await;

    // The second gets its place after ten minutes, and a minute later its parent's time is over.
    let ids = [start(&world).await, start(&world).await];
    assert_eq!(ended(&world, ids[0]).await.summary.state, RunState::Succeeded);
    assert_eq!(ended(&world, ids[1]).await.summary.state, TimedOut);
    assert_nothing_left(&world).await;
    assert_eq!(kids(&world).await.last().unwrap().summary.state, Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_finds_no_room_to_wait_fails_and_may_be_tried_again() {
    let world = World::with_limits(Limits { queued_runs: 1, ..Limits::default() }).await;
    world.store_json(kid("queue", 1, json!([{"id": "wait", "delay": "1m"}]))).await;
    world.store_json(parent(json!({"each": [1, 2, 3], "parallel": 3}))).await;
    let id = start(&world).await;
    let error = ended(&world, id).await.summary.error.unwrap();
    assert!(
        error
            .ends_with("too many runs of the organisation wait already for places of their playbooks, 1; try again in 5 seconds"),
        "{error}"
    );
    assert_nothing_left(&world).await;
    let retry = json!({"attempts": 50, "delay": "1s", "backoff": 1});
    world.store_json(parent(json!({"each": [1, 2, 3], "parallel": 3, "retry": retry}))).await;
    let run = world.run("parent", json!({})).await;
    assert_eq!((run.summary.state, run.summary.error), (RunState::Succeeded, None));
    let page = bellwether_kernel::PageRequest::first(9);
    let items = world.playbooks.items(world.organisation, run.summary.id, "m", &page).await.unwrap().items;
    let attempts: Vec<u32> = items.iter().map(|item| item.attempt).collect();
    assert_eq!(attempts.iter().filter(|attempt| **attempt > 5).count(), 1, "{attempts:?}");
    assert_nothing_left(&world).await;
}

#[tokio::test(start_paused = true)]
async fn of_items_that_wait_in_their_playbook_no_more_are_begun_than_may_be_at_once() {
    let world = World::new().await;
    let steps = json!([{"id": "wait", "delay": "10s"},
        {"id": "s", "when": "trigger.inputs.n == 9", "stop": "failed", "message": "nine"}, {"id": "w", "delay": "10s"}]);
    let mut kid = kid("allow", 1, steps);
    kid.as_object_mut().unwrap().remove("concurrency");
    world.store_json(kid).await;
    let began = |list: Json, parallel: u32| {
        parent(json!({"each": list, "parallel": parallel, "inputs": {"n": "{{ item }}"}}))
    };
    world.store_json(began(json!([1, 2, 3, 4]), 2)).await;
    let id = start(&world).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(kids(&world).await.len(), 2);
    assert_eq!(ended(&world, id).await.steps[0].outputs["n"], json!([1, 2, 3, 4]));
    // Where one fails, those that wait end with their step.
    world.store_json(began(json!([1, 9, 2]), 2)).await;
    let id = start(&world).await;
    let run = ended(&world, id).await;
    assert_eq!(run.summary.state, RunState::Failed);
    assert_nothing_left(&world).await;
    let ended: Vec<_> = kids(&world).await.iter().skip(4).map(|run| run.summary.state).collect();
    assert_eq!(ended.iter().filter(|state| **state == RunState::Cancelled).count(), 1, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_when_the_run_that_holds_it_or_the_one_around_it_is_gone_with_its_version() {
    for (deleted, ends) in [("parent", RunState::Cancelled), ("kid", RunState::Failed)] {
        let world = World::new().await;
        world.store_json(kid("queue", 1, json!([{"id": "wait", "delay": "10m"}]))).await;
        world.store_json(parent(json!({}))).await;
        let ids = [start(&world).await, start(&world).await];
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.playbooks.die();
        let between = world.reading().await;
        between.playbooks.delete(&between.admin, deleted, true).await.unwrap();
        let after = between.reopened(between.store.restart()).await;
        for id in ids {
            assert_eq!(ended(&after, id).await.summary.state, ends, "{deleted}");
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(kids(&after).await.iter().all(|run| run.summary.state == RunState::Cancelled), "{deleted}");
        assert_nothing_left(&after).await;
    }
}

/// Has every commit take a second.
struct Slow;

#[async_trait::async_trait]
impl passing::Way for Slow {
    async fn before(&self, asked: &passing::Asked<'_>) -> Result<(), bellwether_store::StoreError> {
        if matches!(asked, passing::Asked::Commit) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_replaced_by_one_that_wakes_ends_however_long_it_takes_to_record_that() {
    let world = World::new().await;
    let store = passing::Passing::new(&world.store, Slow);
    let playbooks = Playbooks::open(world.parts(store, &world.access, 2, None)).await.unwrap();
    let called = AtomicUsize::new(0);
    world.apps.put("hangs", describe(vec![], &[]), move |_| match called.fetch_add(1, Ordering::SeqCst) {
        0 => Box::pin(std::future::ready(fails("at first"))),
        _ => Box::pin(std::future::pending()),
    });
    let steps = json!([{"id": "a", "app": "hangs", "timeout": "1h"}]);
    let again = json!({"type": "manual", "on_error": "retry", "on_error_times": 1, "on_error_delay": "30s"});
    let concurrency = json!({"policy": "replace", "limit": 1});
    world
        .store_json(json!({"name": "a", "trigger": again, "concurrency": concurrency, "steps": steps}))
        .await;
    world.playbooks.die();
    let failed = playbooks.start(&world.admin, "a", json!({})).await.unwrap().ended.await.unwrap();
    assert_eq!(failed.summary.state, RunState::Failed);
    let replaced = playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let replaced = playbooks.summary(world.organisation, replaced.id).await.unwrap();
    assert_eq!(replaced.state, RunState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn runs_that_wait_for_a_place_keep_no_other_organisation_from_its_own() {
    let world = World::with_limits(Limits { concurrent_runs: 3, queued_runs: 3, ..Limits::default() }).await;
    world.apps.put("hangs", describe(vec![], &[]), |_| Box::pin(std::future::pending()));
    let other = world.other().await;
    let every = json!({"type": "every", "interval": "10s"});
    let metric = json!({"type": "metric", "metric": "m"});
    for (who, app) in [(&world.admin, "hangs"), (&other, "echo")] {
        for (name, trigger) in
            [("manual", json!({"type": "manual"})), ("every", every.clone()), ("metric", metric.clone())]
        {
            let steps =
                json!([{"id": "a", "app": if name == "manual" { app } else { "echo" }, "timeout": "1h"}]);
            let places = json!({"policy": "queue", "limit": 1});
            let document = json!({"name": name, "trigger": trigger, "concurrency": places, "steps": steps});
            let stored = world.playbooks.store(who, &document.to_string(), Format::Json, true).await;
            stored.unwrap();
        }
    }
    let start = async || world.playbooks.start(&world.admin, "manual", json!({})).await;
    let mut started = Vec::new();
    for _ in 0..4 {
        started.push(start().await.unwrap().id);
    }
    let refused = start().await.err().unwrap();
    assert_eq!(
        (refused.kind(), refused.to_string().as_str()),
        (
            bellwether_kernel::ErrorKind::RateLimited,
            "too many runs of the organisation wait already for places of their playbooks, 3; try again in 5 seconds"
        )
    );
    for _ in 0..2 {
        let run = world.playbooks.start(&other, "manual", json!({})).await.unwrap().ended.await.unwrap();
        assert_eq!(run.summary.state, RunState::Succeeded);
        world.writes.push(other.organisation, "m", None, 1.0);
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    let runs = world.runs_of(&other).await;
    for (name, least) in [("manual", 2), ("every", 2), ("metric", 2)] {
        assert!(runs.iter().filter(|run| run.playbook_name == name).count() >= least, "{name}");
    }
    // One that ends gives its place to the next, and that leaves room for another to wait.
    world.playbooks.cancel(&world.admin, started[0]).await.unwrap();
    world.ended(started[0]).await;
    start().await.unwrap();
    // So does one that is cancelled while it waits, at once.
    assert!(start().await.is_err());
    world.playbooks.cancel(&world.admin, started[3]).await.unwrap();
    start().await.unwrap();
    assert!(start().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn runs_that_are_replaced_while_they_wait_leave_their_room_to_those_that_take_their_place() {
    let world = World::with_limits(Limits { queued_runs: 2, ..Limits::default() }).await;
    world.apps.put("hangs", describe(vec![], &[]), |_| Box::pin(std::future::pending()));
    let places = json!({"policy": "replace", "limit": 1});
    let steps = json!([{"id": "a", "app": "hangs", "timeout": "1h"}]);
    // The first one holds its place for as long as that takes.
    let after = json!([{"id": "w", "delay": "2m"}]);
    let trigger = json!({"type": "manual"});
    world
        .store_json(json!({"name": "a", "trigger": trigger, "concurrency": places, "steps": steps, "on_failure": after}))
        .await;
    for _ in 0..6 {
        world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.playbooks.placeless.recorded(), HashMap::from([(world.organisation, 1)]));
    assert!(world.playbooks.queued.recorded().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_while_it_waits_for_its_time_counts_as_ready() {
    let world = World::new().await;
    let steps = json!([{"id": "w", "delay": "1h"}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let id = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.playbooks.begin_no_more();
    world.playbooks.cancel(&world.admin, id).await.unwrap();
    assert_eq!(world.playbooks.queued.recorded(), HashMap::from([(world.organisation, 1)]));
}

#[tokio::test(start_paused = true)]
async fn what_starts_by_itself_and_would_wait_beyond_the_bound_holds_up_nothing() {
    let world = World::with_limits(Limits { queued_runs: 1, ..Limits::default() }).await;
    world.apps.put("hangs", describe(vec![], &[]), |_| Box::pin(std::future::pending()));
    let metric = json!({"type": "metric", "metric": "m"});
    for (name, trigger, app) in [
        ("full", metric.clone(), "hangs"),
        ("free", metric, "echo"),
        ("cron", json!({"type": "every", "interval": "10s"}), "hangs"),
    ] {
        let steps = json!([{"id": "a", "app": app, "timeout": "1h"}]);
        let places = json!({"policy": "queue", "limit": 1});
        let document = json!({"name": name, "trigger": trigger, "concurrency": places, "steps": steps});
        world.store_json(document).await;
    }
    for _ in 0..4 {
        world.writes.push(world.organisation, "m", None, 1.0);
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    let runs = world.all_runs().await;
    let count = |name: &str| runs.iter().filter(|run| run.summary.playbook_name == name).count();
    // One at work each, and one that waits in all.
    assert_eq!((count("free"), count("full") + count("cron")), (4, 3));
    let due = world.playbooks.get(world.organisation, "cron").await.unwrap().next_due.unwrap();
    assert!(due > world.clock.now(), "its times are passed over");
}
