//! An organisation that is suspended starts nothing and goes on with nothing, and loses nothing by it.

use std::time::Duration;

use bellwether_alerts::{Event, Severity};
use bellwether_kernel::ErrorKind;
use serde_json::json;

use super::incidents::{commit, following, moved};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl World {
    async fn suspend(&self) {
        self.access.suspend_organisation("host", self.organisation).await.unwrap();
    }

    async fn resume(&self) {
        self.access.resume_organisation("host", self.organisation).await.unwrap();
    }

    async fn names(&self) -> Vec<String> {
        self.all_runs().await.into_iter().map(|run| run.summary.playbook_name).collect()
    }

    /// The steps of a run that are recorded as through.
    async fn through(&self, id: RunId) -> usize {
        let run = self.playbooks.run(self.organisation, id).await.unwrap();
        run.steps.iter().filter(|step| step.state == StepState::Succeeded).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_of_a_suspended_organisation_is_refused_and_starts_nothing() {
    let mut world = World::new().await;
    let token = world.store_echo("webhook", &[("a", "1")]).await.webhook_token.clone().unwrap();
    world.suspend().await;
    for _ in 0..2 {
        let refused = world.playbooks.start_by_webhook(&token, post("text/plain", "a")).await.err().unwrap();
        assert!(matches!(refused, PlaybookError::Access(AccessError::Suspended)), "{refused}");
        assert_eq!((refused.kind(), world.rows_of(Space::Run).await), (ErrorKind::Forbidden, 0));
        world = world.reopened(world.store.restart()).await;
    }
    world.resume().await;
    let started = world.playbooks.start_by_webhook(&token, post("text/plain", "a")).await.unwrap();
    assert_eq!(started.ended.await.unwrap().summary.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_was_due_while_its_organisation_was_suspended_counts_as_missed() {
    for restarts in [false, true] {
        let world = World::new().await;
        let other = world.other().await;
        for (missed, whose) in [("run-once", &world.admin), ("skip", &world.admin), ("run-once", &other)] {
            let trigger = json!({"type": "every", "interval": "10m", "missed": missed});
            let steps = json!([{"id": "a", "app": "echo"}]);
            let document = json!({"name": missed, "trigger": trigger, "steps": steps}).to_string();
            world.playbooks.store(whose, &document, Format::Json, true).await.unwrap();
        }
        world.suspend().await;
        tokio::time::sleep(3_900 * SECOND).await;
        let world = if restarts { world.reopened(world.store.restart()).await } else { world };
        tokio::time::sleep(600 * SECOND).await;
        assert_eq!(world.names().await, Vec::<String>::new(), "{restarts}");
        assert!(world.runs_of(&other).await.len() >= 6, "others go on");
        world.resume().await;
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(world.names().await, ["run-once"], "once for all of them; {restarts}");
        tokio::time::sleep(600 * SECOND).await;
        let mut names = world.names().await;
        names.sort();
        assert_eq!(names, ["run-once", "run-once", "skip"], "{restarts}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_writes_and_incidents_before_a_suspension_cause_is_begun_behind_it() {
    let world = World::new().await;
    world.store_json(following("alert", json!({}), "{{ trigger.incident }}")).await;
    let trigger = json!({"type": "metric", "metric": "m"});
    world
        .store_json(json!({"name": "metric", "trigger": trigger, "steps": [{"id": "a", "app": "echo"}]}))
        .await;
    world.suspend().await;
    world.writes.push(world.organisation, "m", None, 1.0);
    commit(&world, &[moved(&world, 1, Event::Opened, Severity::High)]).await.unwrap();
    tokio::time::sleep(120 * SECOND).await;
    let world = world.reopened(world.store.restart()).await;
    tokio::time::sleep(120 * SECOND).await;
    assert!(world.all_runs().await.iter().all(|run| run.summary.state == RunState::Queued));
    world.resume().await;
    tokio::time::sleep(5 * SECOND).await;
    let mut names = world.names().await;
    names.sort();
    assert_eq!(names, ["alert", "metric"]);
    assert!(world.all_runs().await.iter().all(|run| run.summary.state == RunState::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_run_at_work_stops_behind_its_step_and_goes_on_when_its_organisation_is_resumed() {
    let gate = json!({"id": "a", "app": "gate", "timeout": "1h"});
    let each = json!({"id": "a", "app": "gate", "timeout": "1h", "each": [1, 2, 3, 4, 5], "parallel": 2});
    let within = json!({"id": "a", "playbook": "kid"});
    let each_within = json!({"id": "a", "playbook": "kid", "each": [1, 2, 3], "parallel": 2});
    let waits = json!({"id": "a", "delay": "10m"});
    // How often the app is called before the run stands still, and in all.
    for (step, at_first, in_all) in
        [(gate, 1, 1), (each, 2, 5), (within, 1, 2), (each_within, 2, 6), (waits, 0, 0)]
    {
        for restarts in [false, true] {
            // A run at work has the only worker: who stands still gives it back.
            let world = World::with_limits(Limits { concurrent_runs: 1, ..Limits::default() }).await;
            let (gate, entered) = complaints::add_gate(&world);
            let other = world.other().await;
            let manual = json!({"type": "manual"});
            let echo =
                json!({"name": "echo", "trigger": manual, "steps": [{"id": "a", "app": "echo"}]}).to_string();
            world.playbooks.store(&other, &echo, Format::Json, true).await.unwrap();
            let kid = json!([{"id": "a", "app": "gate", "timeout": "1h"}, {"id": "b", "app": "gate", "timeout": "1h"}]);
            world.store_json(json!({"name": "kid", "trigger": {"type": "playbook"}, "steps": kid})).await;
            let steps = json!([step, {"id": "b", "app": "echo"}]);
            world.store_json(json!({"name": "run", "trigger": manual, "steps": steps})).await;
            let id = world.playbooks.start(&world.admin, "run", json!({})).await.unwrap().id;
            let waiting = world.playbooks.start(&world.admin, "run", json!({})).await.unwrap().id;
            tokio::time::sleep(SECOND).await;
            world.suspend().await;
            gate.add_permits(100);
            tokio::time::sleep(1_200 * SECOND).await;
            let world = if restarts { world.reopened(world.store.restart()).await } else { world };
            let run = world.playbooks.start(&other, "echo", json!({})).await.unwrap();
            assert_eq!(run.ended.await.unwrap().summary.state, RunState::Succeeded, "{step}");
            tokio::time::sleep(1_200 * SECOND).await;
            let called = || entered.load(Ordering::SeqCst);
            assert_eq!((called(), world.through(id).await < 2), (at_first, true), "{step}");
            let queued = world.playbooks.summary(world.organisation, waiting).await.unwrap();
            assert_eq!(
                queued.state,
                if at_first == 0 { RunState::Running } else { RunState::Queued },
                "{step}"
            );
            world.resume().await;
            for id in [id, waiting] {
                assert_eq!(world.ended(id).await.summary.state, RunState::Succeeded, "{step}");
                assert_eq!(world.through(id).await, 2, "{step}");
            }
            assert_eq!(called(), 2 * in_all, "{step}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_suspended_organisation_that_was_cancelled_ends() {
    let world = World::new().await;
    let (gate, _) = complaints::add_gate(&world);
    let steps = json!([{"id": "a", "app": "gate", "timeout": "1h"}, {"id": "b", "app": "echo"}]);
    world.store_json(json!({"name": "run", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.playbooks.start(&world.admin, "run", json!({})).await.unwrap();
    tokio::time::sleep(SECOND).await;
    world.suspend().await;
    world.playbooks.cancel(&world.admin, run.id).await.unwrap();
    gate.add_permits(1);
    assert_eq!(run.ended.await.unwrap().summary.state, RunState::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn the_runs_of_a_suspended_organisation_take_no_room_in_the_queue_from_others() {
    let limits = Limits { concurrent_runs: 1, queued_runs: 3, ..Limits::default() };
    let world = World::with_limits(limits).await;
    let (gate, _) = complaints::add_gate(&world);
    let other = world.other().await;
    let steps = json!([{"id": "a", "app": "gate", "timeout": "1h"}]);
    let document = json!({"name": "gate", "trigger": {"type": "manual"}, "steps": steps}).to_string();
    for whose in [&world.admin, &other] {
        world.playbooks.store(whose, &document, Format::Json, true).await.unwrap();
    }
    let start = async |whose: &Arc<Principal>| world.playbooks.start(whose, "gate", json!({})).await;
    for _ in 0..4 {
        start(&world.admin).await.unwrap();
    }
    assert!(start(&world.admin).await.is_err(), "it has no room for another");
    world.suspend().await;
    tokio::time::sleep(60 * SECOND).await;
    for _ in 0..3 {
        start(&other).await.unwrap();
    }
    gate.add_permits(100);
    world.resume().await;
    for run in world.all_runs().await {
        assert_eq!(world.ended(run.summary.id).await.summary.state, RunState::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_passive_host_begins_nothing_and_answers() {
    let world = World::new().await;
    let token = world.store_echo("webhook", &[("a", "1")]).await.webhook_token.clone().unwrap();
    let trigger = json!({"type": "every", "interval": "10m", "missed": "run-once"});
    world
        .store_json(json!({"name": "timed", "trigger": trigger, "steps": [{"id": "a", "app": "echo"}]}))
        .await;
    world.access.become_passive();
    world.playbooks.start_by_webhook(&token, post("text/plain", "a")).await.unwrap();
    tokio::time::sleep(3_600 * SECOND).await;
    let states: Vec<_> = world.all_runs().await.into_iter().map(|run| run.summary.state).collect();
    assert_eq!(states, [RunState::Queued], "what is started waits, and no schedule fires");
}
