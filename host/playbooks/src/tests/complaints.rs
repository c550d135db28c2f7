//! What users of other engines complain of most: one test for each, named after what is promised here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use super::*;

const MINUTE: i64 = 60_000;

#[allow(clippy::needless_pass_by_value)] // written where it is made
fn manual(name: &str, steps: serde_json::Value) -> serde_json::Value {
    json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})
}

/// An app that waits for a permit, and counts its calls.
pub(super) fn add_gate(world: &World) -> (Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, entered) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (passed, counted) = (Arc::clone(&gate), Arc::clone(&entered));
    world.apps.put("gate", describe(vec![], &[]), move |_| {
        let (gate, entered) = (Arc::clone(&passed), Arc::clone(&counted));
        Box::pin(async move {
            entered.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            gives(&[])
        })
    });
    (gate, entered)
}

async fn until_entered(entered: &AtomicUsize, times: usize) {
    while entered.load(Ordering::SeqCst) < times {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// 1: a worker dies and its runs stay "running" for ever.
#[tokio::test(start_paused = true)]
async fn a_run_whose_host_dies_goes_on_and_one_that_hangs_ends_at_its_time() {
    let world = World::new().await;
    let (gate, entered) = add_gate(&world);
    let mut document = manual("gate", json!([{"id": "a", "app": "gate", "timeout": "1h"}]));
    world.store_json(document.clone()).await;
    let id = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap().id;
    until_entered(&entered, 1).await;
    let after = world.reopened(world.store.restart()).await;
    gate.add_permits(1);
    assert_eq!(after.ended(id).await.summary.state, RunState::Succeeded);

    document["timeout"] = "90s".into();
    after.store_json(document).await;
    let started = after.playbooks.start(&after.admin, "gate", json!({})).await.unwrap();
    let began = after.clock.now();
    let run = started.ended.await.unwrap();
    assert_eq!((run.summary.state, run.steps[0].state), (RunState::TimedOut, StepState::Cancelled));
    assert_eq!(run.summary.failed_step.as_deref(), Some("a"));
    let took = run.summary.ended.unwrap().milliseconds_since(began);
    assert!((90_000..92_000).contains(&took), "{took} ms");
    assert_eq!(after.rows_of(Space::RunOpen).await, 0);
}

/// 1, with another host: the run is taken over when the lease of the one that is gone has run out, and that one
/// commits nothing more of it.
#[tokio::test(start_paused = true)]
async fn another_host_takes_a_run_over_and_the_first_one_is_fenced_off() {
    let world = World::new().await;
    let (gate, entered) = add_gate(&world);
    world.store_json(manual("gate", json!([{"id": "a", "app": "gate", "timeout": "1h"}]))).await;
    let id = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap().id;
    until_entered(&entered, 1).await;
    // The first host stands still: it renews no lease, and its call goes on.
    world.playbooks.end.cancel();
    let other = world.joined(2).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(entered.load(Ordering::SeqCst), 1, "its lease has not run out");
    until_entered(&entered, 2).await;
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    // The first one's call has ended, and its result is not the run's.
    assert_eq!(other.playbooks.run(other.organisation, id).await.unwrap().summary.state, RunState::Running);
    gate.add_permits(1);
    let run = other.ended(id).await;
    assert_eq!((run.summary.state, run.steps.len()), (RunState::Succeeded, 1));
}

/// 1, with a host that stood still past its lease and dies before it renews it: what it began then is known to be its.
#[tokio::test(start_paused = true)]
async fn no_run_begins_on_a_host_whose_lease_was_ended() {
    let world = World::new().await;
    let (gate, entered) = add_gate(&world);
    world.store_json(manual("gate", json!([{"id": "a", "app": "gate", "timeout": "1h"}]))).await;
    world.playbooks.end.cancel();
    let other = world.joined(2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let id = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap().id;
    until_entered(&entered, 1).await;
    world.playbooks.die();
    gate.add_permits(1);
    let run = other.ended(id).await;
    assert_eq!(run.summary.state, RunState::Succeeded);
}

/// 1, with a run within another whose host dies as it is cancelled: nobody waits for it, and it ends all the same.
#[tokio::test(start_paused = true)]
async fn a_run_within_one_that_was_cancelled_ends_whenever_the_host_dies() {
    let world = World::new().await;
    let (gate, entered) = add_gate(&world);
    let mut within = manual("within", json!([{"id": "a", "app": "gate", "timeout": "1h"}]));
    within["trigger"]["type"] = "playbook".into();
    world.store_json(within).await;
    world.store_json(manual("outer", json!([{"id": "inner", "playbook": "within"}]))).await;
    let id = world.playbooks.start(&world.admin, "outer", json!({})).await.unwrap().id;
    until_entered(&entered, 1).await;
    world.playbooks.die();
    let between = world.reading().await;
    between.playbooks.cancel(&between.admin, id).await.unwrap();
    let after = between.reopened(between.store.restart()).await;
    gate.add_permits(1);
    assert_eq!(after.ended(id).await.summary.state, RunState::Cancelled);
    assert!(after.all_runs().await.iter().all(|run| run.summary.state == RunState::Cancelled));
    assert_eq!(after.rows_of(Space::RunOpen).await, 0);
}

/// Runs that one host accepts and another takes off count as waiting nowhere.
#[tokio::test(start_paused = true)]
async fn a_host_whose_waiting_runs_another_takes_is_not_full_for_ever() {
    let world = World::with_limits(Limits { concurrent_runs: 1, queued_runs: 3, ..Limits::default() }).await;
    let (gate, entered) = add_gate(&world);
    world.store_json(manual("gate", json!([{"id": "a", "app": "gate", "timeout": "1h"}]))).await;
    let start = async || world.playbooks.start(&world.admin, "gate", json!({})).await;
    for _ in 0..4 {
        start().await.unwrap();
    }
    assert!(matches!(start().await, Err(PlaybookError::Busy { .. })));
    let other = world.joined(2).await;
    gate.add_permits(3);
    until_entered(&entered, 4).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let waited_for = start().await.unwrap();
    // Whoever waits here for a run that ends there is told.
    gate.add_permits(2);
    let told = tokio::time::timeout(Duration::from_secs(60), waited_for.ended).await;
    assert_eq!(told.unwrap().unwrap().summary.state, RunState::Succeeded);
    drop(other);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(world.playbooks.waiters.lock().is_empty(), "nobody waits any more");
}

/// 2: recovery marks successes as crashed.
#[tokio::test(start_paused = true)]
async fn a_restart_leaves_what_has_ended_as_it_is() {
    let world = World::new().await;
    world.store_echo("manual", &[("a", "{{ trigger.inputs }}")]).await;
    let run = world.run("echo", json!({"value": "x"})).await;
    let after = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(after.playbooks.run(after.organisation, run.summary.id).await.unwrap(), run);
    assert_eq!(after.all_runs().await.len(), 1);
}

/// 3: the error handler is skipped after a crash.
#[tokio::test(start_paused = true)]
async fn the_on_failure_steps_are_taken_whenever_the_host_dies() {
    let world = World::new().await;
    let (gate, entered) = add_gate(&world);
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("no luck"));
    let mut document = manual("a", json!([{"id": "work", "app": "fails"}, {"id": "never", "app": "echo"}]));
    document["on_failure"] = json!([
        {"id": "wait", "app": "gate", "timeout": "1h"},
        {"id": "tell", "app": "echo", "inputs": {"value": "{{ run.failed_step }}: {{ run.error }}, {{ steps.never.value }}"}},
    ]);
    world.store_json(document).await;
    let id = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id;
    until_entered(&entered, 1).await;
    let after = world.reopened(world.store.restart()).await;
    gate.add_permits(1);
    let run = after.ended(id).await;
    assert_eq!(run.summary.state, RunState::Failed);
    assert_eq!(run.summary.error.as_deref(), Some("step work: no luck"));
    let taken: Vec<_> = run.steps.iter().map(|step| (step.step.as_str(), step.on_failure)).collect();
    assert_eq!(taken, [("work", false), ("wait", true), ("tell", true)]);
    assert_eq!(run.steps[2].outputs["value"], json!("work: step work: no luck, "));
}

/// 3, with the host gone for longer than the on-failure steps may take: the time it was gone is not theirs.
#[tokio::test(start_paused = true)]
async fn the_on_failure_steps_are_taken_however_long_the_host_was_gone() {
    let world = World::new().await;
    let (gate, entered) = add_gate(&world);
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("no luck"));
    let on_failure = |first: serde_json::Value| json!([first, {"id": "tell", "app": "echo"}]);
    let mut within = manual("within", json!([{"id": "work", "app": "fails"}]));
    within["trigger"]["type"] = "playbook".into();
    within["on_failure"] = on_failure(json!({"id": "wait", "app": "gate", "timeout": "1h"}));
    world.store_json(within).await;
    world.store_json(manual("outer", json!([{"id": "inner", "playbook": "within"}]))).await;
    for (name, first) in [
        ("at-work", json!({"id": "wait", "app": "gate", "timeout": "1h"})),
        ("waiting", json!({"id": "wait", "delay": "2m"})),
    ] {
        let mut document = manual(name, json!([{"id": "work", "app": "fails"}]));
        document["on_failure"] = on_failure(first);
        world.store_json(document).await;
    }
    for name in ["outer", "at-work", "waiting"] {
        world.playbooks.start(&world.admin, name, json!({})).await.unwrap();
    }
    until_entered(&entered, 2).await;
    world.playbooks.die();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let after = world.reopened(world.store.restart()).await;
    gate.add_permits(2);
    for run in after.all_runs().await {
        let run = after.ended(run.summary.id).await;
        if run.summary.playbook_name != "outer" {
            let taken: Vec<_> = run.steps.iter().map(|step| step.step.as_str()).collect();
            assert_eq!(taken, ["work", "wait", "tell"], "{:?}", run.summary);
        }
    }
}

/// 4: retries are capped low.
#[tokio::test(start_paused = true)]
async fn a_step_is_tried_as_often_and_as_late_as_its_document_and_its_error_say() {
    let world = World::new().await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (seen, clock) = (Arc::clone(&calls), Arc::clone(&world.clock));
    world.apps.put_quick("flaky", describe(vec![], &[]), move |call| {
        seen.lock().push((call.attempt, call.idempotency_key.clone(), clock.now()));
        let retry = if call.attempt == 3 { Retry::After(7_200_000) } else { Retry::Yes };
        match call.attempt {
            200 => gives(&[]),
            _ => AppReport { result: Err(AppError { message: "not yet".into(), retry }), log: Vec::new() },
        }
    });
    let retry = json!({"attempts": 500, "delay": "2s", "backoff": 2, "max_delay": "10s"});
    world.store_json(manual("a", json!([{"id": "a", "app": "flaky", "retry": retry}]))).await;
    let run = world.run("a", json!({})).await;
    assert_eq!((run.summary.state, run.steps[0].attempt), (RunState::Succeeded, 200));
    assert_eq!(run.steps[0].failed_attempts.len(), 20);
    let calls = calls.lock().clone();
    assert_eq!(calls.len(), 200);
    assert!(calls.iter().all(|(_, key, _)| *key == calls[0].1), "always the same key");
    let waits: Vec<i64> =
        calls.windows(2).map(|pair| pair[1].2.milliseconds_since(pair[0].2) / 1_000).collect();
    assert_eq!(waits[..6], [2, 4, 7_200, 10, 10, 10]);

    // What will fail the same way again is not tried again.
    world.apps.put_quick("flaky", describe(vec![], &[]), |_| fails("never"));
    assert_eq!(world.run("a", json!({})).await.steps[0].attempt, 1);
}

fn every(seconds: u32, word: &str, missed: &str) -> serde_json::Value {
    json!({
        "name": "tick", "trigger": {"type": "every", "interval": format!("{seconds}s"), "missed": missed},
        "steps": [{"id": "a", "app": "echo", "inputs": {"value": format!("{word} {{{{ trigger.scheduled }}}}")}}],
    })
}

/// 5: cron fires twice, or from an old version.
#[tokio::test(start_paused = true)]
async fn every_time_fires_once_by_the_version_published_then() {
    let world = World::new().await;
    world.store_json(every(60, "old", "run-once")).await;
    tokio::time::sleep(Duration::from_secs(150)).await;
    world.store_json(every(60, "new", "run-once")).await;
    let published = world.clock.now();
    tokio::time::sleep(Duration::from_secs(100)).await;
    let after = world.reopened(world.store.restart()).await;
    let other = after.joined(2).await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    let mut times = Vec::new();
    for run in other.all_runs().await {
        let TriggeredBy::Every { scheduled } = run.summary.triggered_by else { panic!() };
        times.push(scheduled);
        let word = if scheduled < published { "old" } else { "new" };
        assert_eq!(run.steps[0].outputs["value"], json!(format!("{word} {scheduled}")));
        assert!(run.summary.created.milliseconds_since(scheduled) < 1_000, "within a second of its time");
    }
    assert_eq!(times.len(), 7, "{times:?}");
    let steps = times.windows(2).all(|pair| pair[1].milliseconds_since(pair[0]) == MINUTE);
    assert!(steps, "each minute once: {times:?}");
}

/// 6: missed schedules wait for months.
#[tokio::test(start_paused = true)]
async fn a_missed_time_is_made_up_for_at_once_or_not_as_the_document_says() {
    for (missed, made_up) in [("run-once", 1), ("skip", 0)] {
        let world = World::new().await;
        world.store_json(every(3_600, "x", missed)).await;
        world.playbooks.die();
        world.clock.advance(100 * 24 * 60 * MINUTE);
        let after = world.reopened(world.store.restart()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let runs = after.all_runs().await;
        assert_eq!(runs.len(), made_up, "{missed}");
        assert!(runs.iter().all(|run| run.trigger["missed"] == json!(true)));
        let next = after.playbooks.get(after.organisation, "tick").await.unwrap().next_due.unwrap();
        assert!(after.until(next) <= Duration::from_secs(3_600), "{missed}: next at {next}");
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let runs = after.all_runs().await;
        assert_eq!(runs.len(), made_up + 1, "{missed}");
        assert_eq!(runs.last().unwrap().trigger["missed"], json!(false));
    }
}

/// 6, of several times of which the last is seconds old.
#[tokio::test(start_paused = true)]
async fn a_time_that_is_seconds_old_is_not_missed_though_others_before_it_were() {
    let world = World::new().await;
    world.store_json(every(3_600, "x", "skip")).await;
    world.playbooks.die();
    // It is 14:44; the times at 15:00 and 16:00 are missed, the one at 17:00 is not.
    world.clock.advance((2 * 60 + 16) * MINUTE + 20_000);
    let after = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let runs = after.all_runs().await;
    let triggers: Vec<_> = runs.iter().map(|run| run.trigger.clone()).collect();
    assert_eq!(triggers, [json!({"scheduled": "2024-04-09T17:00:00Z", "missed": false})]);
}

impl World {
    fn until(&self, at: Timestamp) -> Duration {
        self.playbooks.until(at)
    }
}

/// 7: restart from a step fails inside loops.
#[tokio::test(start_paused = true)]
async fn a_run_is_repeated_from_any_step_and_from_within_its_loops() {
    let world = World::new().await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let outputs = &[("n", ValueType::Integer)];
    world.apps.put_quick("add", describe(vec![Input::new("n", ValueType::Integer)], outputs), move |call| {
        let Value::Integer(n) = given(&call, "n") else { panic!() };
        let scope = call.effects.clone().unwrap();
        seen.lock().push((scope.step, scope.item));
        gives(&[("n", Value::Integer(n + 1))])
    });
    let steps = json!([
        {"id": "first", "app": "add", "inputs": {"n": 1}},
        {"id": "loop", "app": "add", "each": "[10, 20, 30]", "inputs": {"n": "{{ item + steps.first.n }}"}},
        {"id": "last", "app": "echo", "inputs": {"value": "{{ steps.loop.n }}"}},
    ]);
    world.store_json(manual("a", steps)).await;
    let run = world.run("a", json!({})).await;
    assert_eq!(run.steps[2].outputs["value"], json!([13, 23, 33]));
    let again = async |step: &str, item| {
        calls.lock().clear();
        let from = ReplayFrom { step: step.into(), item };
        let started = world.playbooks.replay(&world.admin, run.summary.id, Some(&from), None).await.unwrap();
        let again = started.ended.await.unwrap();
        assert_eq!(again.summary.replay_of, Some(run.summary.id));
        assert_eq!(again.steps.last().unwrap().outputs["value"], json!([13, 23, 33]), "from {step}");
        calls.lock().clone()
    };
    let loops = |items: &[u32]| items.iter().map(|item| ("loop".to_owned(), Some(*item))).collect::<Vec<_>>();
    assert_eq!(again("loop", Some(1)).await, loops(&[1, 2]));
    assert_eq!(again("loop", None).await, loops(&[0, 1, 2]));
    assert_eq!(again("last", None).await, []);
    assert_eq!(again("first", None).await.len(), 4);
    for (step, item, expected) in
        [("first", 0, "none: the step first has no `each`"), ("loop", 3, "0 to 2: the step's list had 3")]
    {
        let wrong = ReplayFrom { step: step.into(), item: Some(item) };
        let refused =
            world.playbooks.replay(&world.admin, run.summary.id, Some(&wrong), None).await.err().unwrap();
        let field = refused.field().unwrap();
        assert_eq!(
            (field.field.as_str(), field.value.as_str(), field.expected.as_str()),
            ("item", item.to_string().as_str(), expected)
        );
    }
}

/// 8: loops exhaust memory.
#[tokio::test(start_paused = true)]
async fn a_long_list_is_worked_off_so_many_items_at_once_within_bounds() {
    let world = World::with_limits(Limits { items: 3_000, outputs: 100_000, ..Limits::default() }).await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (at_work, highest) = (Arc::clone(&now), Arc::clone(&most));
    let described = describe(vec![Input::new("size", ValueType::Integer)], &[("text", ValueType::Text)]);
    world.apps.put("slow", described, move |call| {
        let (at_work, highest) = (Arc::clone(&at_work), Arc::clone(&highest));
        Box::pin(async move {
            let Value::Integer(size) = given(&call, "size") else { panic!() };
            highest.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            at_work.fetch_sub(1, Ordering::SeqCst);
            gives(&[("text", Value::Text("x".repeat(usize::try_from(*size).unwrap())))])
        })
    });
    let step = json!({"id": "a", "app": "slow", "each": "{{ trigger.inputs.list }}", "parallel": 7,
        "inputs": {"size": "{{ trigger.inputs.size }}"}});
    world.store_json(manual("a", json!([step.clone()]))).await;
    let run =
        async |count: usize, size: usize| world.run("a", json!({"list": vec![0; count], "size": size})).await;
    let through = run(2_000, 1).await;
    let counts = through.steps[0].items.unwrap();
    assert_eq!((through.summary.error, counts.total, counts.succeeded), (None, 2_000, 2_000));
    assert_eq!(most.load(Ordering::SeqCst), 7);
    let page = bellwether_kernel::PageRequest::first(10);
    let items = world.playbooks.items(world.organisation, through.summary.id, "a", &page).await.unwrap();
    assert_eq!((items.items.len(), items.items[9].item), (10, Some(9)));
    assert!(items.next.is_some());

    let refused = run(3_001, 1).await.summary.error.unwrap();
    assert!(refused.contains("3001 items, at most 3000"), "{refused}");
    let refused = run(1_000, 1_000).await;
    assert!(
        refused.summary.error.as_ref().unwrap().contains("more than 100000 bytes"),
        "{:?}",
        refused.summary
    );
    assert!(refused.steps[0].items.unwrap().succeeded < 200, "no more were begun");
    // What does not fit is an item's failure like any other.
    let mut goes_on = step;
    goes_on["on_item_error"] = "continue".into();
    world.store_json(manual("a", json!([goes_on]))).await;
    let went_on = run(200, 1_000).await;
    let counts = went_on.steps[0].items.unwrap();
    assert_eq!((went_on.summary.error, counts.total), (None, 200));
    assert!(counts.succeeded >= 95 && counts.failed == 200 - counts.succeeded, "{counts:?}");
    let last = &went_on.steps[0].outputs["errors"][199];
    assert!(last.as_str().unwrap().contains("more than 100000 bytes of outputs"), "{last}");
    assert_eq!(went_on.steps[0].outputs["text"][199], json!(null));
}

/// 9: secrets in clear text in history.
#[tokio::test(start_paused = true)]
async fn a_named_secret_reaches_its_app_and_nothing_else() {
    let world = World::new().await;
    world.secrets.put("api", "hunter2-secret");
    let secret = Input { secret: true, ..Input::new("token", ValueType::Text) };
    let described = describe(vec![secret, Input::new("note", ValueType::Text)], &[("said", ValueType::Text)]);
    world.apps.put_quick("call", described, |call| {
        assert_eq!(given(&call, "token"), &Value::Text("hunter2-secret".into()));
        let line = LogLine {
            time: Timestamp::default(),
            level: LogLevel::Info,
            message: "sent hunter2-secret".into(),
        };
        AppReport { log: vec![line], ..gives(&[("said", Value::Text("it was hunter2-secret".into()))]) }
    });
    let good = json!([
        {"id": "a", "app": "call", "inputs": {"token": "{{ secrets.api }}"}},
        {"id": "b", "app": "echo", "inputs": {"value": "{{ steps.a.said }}"}},
        {"id": "c", "app": "echo", "inputs": {"value": "{{ steps.b.value | int }}"}},
    ]);
    world.store_json(manual("a", good)).await;
    let run = world.run("a", json!({})).await;
    assert_eq!(run.steps[0].inputs["token"], json!("•••"));
    assert_eq!(run.steps[0].outputs["said"], json!("it was •••"));
    assert_eq!(run.steps[1].outputs["value"], json!("it was •••"), "and whatever repeats it");
    for (key, row) in world.rows().await {
        assert!(!row.windows(7).any(|bytes| bytes == b"hunter2"), "{key:?}");
    }

    let bad = [
        (json!({"note": "{{ secrets.api }}"}), "an input declared secret"),
        (json!({"note": "x {{ secrets.api }}"}), "only as the whole of an input"),
        (json!({"token": "Bearer {{ secrets.api }}"}), "only as the whole of an input"),
        (json!({"token": "{{ secrets.gone }}"}), "a secret that is there"),
    ];
    for (inputs, expected) in bad {
        let document = manual("a", json!([{"id": "a", "app": "call", "inputs": inputs}])).to_string();
        let error = world.playbooks.validate(world.organisation, &document, Format::Json).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// 10: a stale version comes back on restart.
#[tokio::test(start_paused = true)]
async fn what_was_published_last_runs_after_any_restart() {
    let mut world = World::new().await;
    let document =
        |word: &str| manual("a", json!([{"id": "a", "app": "echo", "inputs": {"value": word}}])).to_string();
    let said = async |world: &World| world.run("a", json!({})).await.steps[0].outputs["value"].clone();
    world.playbooks.store(&world.admin, &document("one"), Format::Json, false).await.unwrap();
    world.playbooks.store(&world.admin, &document("two"), Format::Json, true).await.unwrap();
    let draft = world.playbooks.save_draft(&world.admin, &document("three"), Format::Json).await.unwrap();
    assert_eq!((draft.published, draft.latest), (Some(2), 3));
    world = world.reopened(world.store.restart()).await;
    assert_eq!(said(&world).await, json!("two"), "a draft does not run");
    world.playbooks.publish(&world.admin, "a", 3).await.unwrap();
    world = world.reopened(world.store.restart()).await;
    assert_eq!(said(&world).await, json!("three"));
    assert_eq!(world.playbooks.roll_back(&world.admin, "a", None).await.unwrap().published, Some(2));
    world = world.reopened(world.store.restart()).await;
    assert_eq!(said(&world).await, json!("two"));
    assert_eq!(world.playbooks.roll_back(&world.admin, "a", None).await.unwrap().published, Some(1));
    assert!(world.playbooks.roll_back(&world.admin, "a", None).await.is_err(), "nothing ran before");
    world = world.reopened(world.store.restart()).await;
    assert_eq!(said(&world).await, json!("one"));
    let page = bellwether_kernel::PageRequest::first(10);
    let versions = world.playbooks.versions(world.organisation, "a", &page).await.unwrap().items;
    let versions: Vec<_> = versions.iter().map(|version| (version.version, version.current)).collect();
    assert_eq!(versions, [(3, false), (2, false), (1, true)]);
}

/// Also: an unmet branch or a failed loop item hangs the run.
#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_and_an_item_that_fails_hang_nothing() {
    let world = World::new().await;
    let described = describe(vec![Input::new("n", ValueType::Integer)], &[("n", ValueType::Integer)]);
    world.apps.put_quick("odd", described, |call| match given(&call, "n") {
        Value::Integer(n) if n % 2 == 1 => gives(&[("n", Value::Integer(*n))]),
        _ => fails("even"),
    });
    let steps = json!([
        {"id": "skipped", "app": "odd", "when": "trigger.inputs.yes", "inputs": {"n": 1}},
        {"id": "loop", "app": "odd", "each": [1, 2, 3], "parallel": 2, "on_item_error": "continue", "inputs": {"n": "{{ item }}"}},
        {"id": "all", "app": "echo", "inputs": {"value": ["{{ steps.skipped.n }}", "{{ steps.loop.n }}", "{{ steps.loop.errors }}"]}},
    ]);
    world.store_json(manual("a", steps.clone())).await;
    let run = world.run("a", json!({"yes": false})).await;
    assert_eq!((run.summary.state, run.steps[0].state), (RunState::Succeeded, StepState::Skipped));
    assert_eq!(run.steps[2].outputs["value"], json!([null, [1, null, 3], [null, "even", null]]));
    let counts = run.steps[1].items.unwrap();
    assert_eq!((counts.total, counts.succeeded, counts.failed), (3, 2, 1));

    let mut failing = steps;
    failing[1]["on_item_error"] = json!("fail");
    world.store_json(manual("a", failing)).await;
    let run = world.run("a", json!({"yes": true})).await;
    assert_eq!(run.summary.error.as_deref(), Some("step loop: item 1: even"));
    assert_eq!(world.rows_of(Space::RunOpen).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_says_which_step_it_is_at_while_it_runs() {
    let world = World::new().await;
    let (gate, entered) = add_gate(&world);
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("no luck today"));
    let steps = json!([
        {"id": "before", "app": "echo"},
        {"id": "first", "app": "gate"},
        {"id": "pause", "delay": "1m"},
        {"id": "second", "app": "fails"},
        {"id": "never", "app": "gate"},
    ]);
    let mut document = manual("gate", steps);
    document["on_failure"] = json!([{"id": "clean", "app": "gate"}]);
    world.store_json(document).await;
    let started = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap();
    let at = async || world.playbooks.run(world.organisation, started.id).await.unwrap().current_step;
    until_entered(&entered, 1).await;
    assert_eq!(at().await.as_deref(), Some("first"));
    gate.add_permits(1);
    while at().await.as_deref() == Some("first") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(at().await.as_deref(), Some("pause"));
    until_entered(&entered, 2).await;
    assert_eq!(at().await.as_deref(), Some("clean"));
    gate.add_permits(1);
    assert_eq!(started.ended.await.unwrap().current_step, None);
    assert_eq!(at().await, None);
}
