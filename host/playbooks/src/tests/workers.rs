//! Workers are shared out by organisation: what hangs of one holds up nobody else's runs.

use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A world with eight workers and another organisation, both with a playbook `hangs`, whose app waits for a permit and notes
/// whose call it was, and one `echo`, which ends at once.
async fn shared() -> (World, Arc<Principal>, Arc<Semaphore>, Arc<Mutex<Vec<OrganisationId>>>) {
    let world = World::with_limits(Limits { concurrent_runs: 8, ..Limits::default() }).await;
    let (gate, entered) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (passed, noted) = (Arc::clone(&gate), Arc::clone(&entered));
    world.apps.put("hangs", describe(vec![], &[]), move |call| {
        let (gate, entered) = (Arc::clone(&passed), Arc::clone(&noted));
        Box::pin(async move {
            entered.lock().push(call.principal.organisation);
            gate.acquire().await.unwrap().forget();
            gives(&[])
        })
    });
    let other = world.other().await;
    for who in [&world.admin, &other] {
        for app in ["hangs", "echo"] {
            let steps = json!([{"id": "a", "app": app, "timeout": "1h"}]);
            let document = json!({"name": app, "trigger": {"type": "manual"}, "steps": steps}).to_string();
            world.playbooks.store(who, &document, Format::Json, true).await.unwrap();
        }
    }
    (world, other, gate, entered)
}

#[tokio::test(start_paused = true)]
async fn however_many_runs_of_one_organisation_hang_anothers_begin_at_once() {
    let (world, other, gate, entered) = shared().await;
    let start = async |who, name| world.playbooks.start(who, name, json!({})).await.unwrap();
    let entered = |who: &Principal| {
        entered.lock().iter().filter(|organisation| **organisation == who.organisation).count()
    };
    for _ in 0..20 {
        start(&world.admin, "hangs").await;
    }
    // Until between two renewals of the host's lease, which is a commit.
    tokio::time::sleep(65 * SECOND).await;
    assert_eq!(entered(&world.admin), 6, "it has three quarters of the workers, as nobody else has any run");
    for _ in 0..20 {
        let before = world.store.health().commits;
        let run = start(&other, "echo").await.ended.await.unwrap();
        assert_eq!(run.summary.state, RunState::Succeeded);
        // It was begun as it was accepted, and ended with its step.
        assert_eq!(world.store.health().commits - before, 2);
    }
    for _ in 0..2 {
        start(&other, "hangs").await;
    }
    tokio::time::sleep(SECOND).await;
    assert_eq!((entered(&world.admin), entered(&other)), (6, 1), "it leaves one to others, too");
    gate.add_permits(1);
    tokio::time::sleep(SECOND).await;
    assert_eq!((entered(&world.admin), entered(&other)), (6, 2), "what comes free is for who holds fewer");
    gate.add_permits(100);
    for run in world.all_runs().await {
        assert_eq!(world.ended(run.summary.id).await.summary.state, RunState::Succeeded);
    }
    assert_eq!((entered(&world.admin), entered(&other)), (20, 2));
}

#[tokio::test(start_paused = true)]
async fn runs_of_others_that_wait_are_taken_beside_those_of_one_that_has_its_share() {
    let (world, other, gate, entered) = shared().await;
    // All are recorded before a host is there to work them off.
    world.access.become_passive();
    for _ in 0..20 {
        world.playbooks.start(&world.admin, "hangs", json!({})).await.unwrap();
    }
    for _ in 0..20 {
        world.playbooks.start(&other, "echo", json!({})).await.unwrap();
    }
    let world = world.reopened(world.store.restart()).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(*entered.lock(), vec![world.organisation; 6]);
    let runs = world.runs_of(&other).await;
    assert_eq!(runs.len(), 20);
    assert!(runs.iter().all(|run| run.state == RunState::Succeeded));
    gate.add_permits(100);
    for run in world.all_runs().await {
        assert_eq!(world.ended(run.summary.id).await.summary.state, RunState::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_wait_for_their_time_take_no_worker() {
    let (world, ..) = shared().await;
    let steps = json!([{"id": "wait", "delay": "10m"}, {"id": "a", "app": "echo"}]);
    let within = json!({"name": "waits", "trigger": {"type": "playbook"}, "steps": steps});
    world.store_json(within).await;
    let steps = json!([{"id": "a", "playbook": "waits"}]);
    world.store_json(json!({"name": "around", "trigger": {"type": "manual"}, "steps": steps})).await;
    for _ in 0..20 {
        world.playbooks.start(&world.admin, "around", json!({})).await.unwrap();
    }
    tokio::time::sleep(SECOND).await;
    let began = world.clock.now();
    assert_eq!(world.run("echo", json!({})).await.summary.state, RunState::Succeeded);
    assert_eq!(world.clock.now(), began, "it began at once");
}
