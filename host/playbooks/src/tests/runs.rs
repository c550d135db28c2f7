//! What a run does and what it leaves behind.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bellwether_kernel::{ErrorKind, PageRequest, PlaybookId, RunId};
use bellwether_store::StoreError;
use futures::FutureExt;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_run_hands_typed_values_from_step_to_step() {
    let world = World::new().await;
    world.apps.put_quick(
        "double",
        describe(
            vec![
                Input { required: true, ..Input::new("number", ValueType::Integer) },
                Input { default: Some(json!("x")), ..Input::new("text", ValueType::Text) },
                Input::new("unused", ValueType::Number),
            ],
            &[("number", ValueType::Integer), ("bytes", ValueType::Binary), ("none", ValueType::Text)],
        ),
        |call| {
            assert_eq!(given(&call, "unused"), &Value::None);
            assert_eq!(given(&call, "text"), &Value::Text("x".into()));
            let Value::Integer(number) = given(&call, "number") else { panic!() };
            gives(&[("number", Value::Integer(number * 2)), ("bytes", Value::Binary(vec![0, 255]))])
        },
    );
    let step = |id: &str, number: &str| json!({"id": id, "app": "double", "inputs": {"number": number}});
    let echo = json!({"id": "all", "app": "echo", "inputs": {"value": {
        "steps": "{{ steps }}", "text": "{{ steps.two.number }} of {{ playbook.name }} {{ playbook.version }}",
        "run": "{{ run.id }}", "created": "{{ run.created }}",
    }}});
    let steps =
        json!([step("one", " {{ trigger.inputs.start }}"), step("two", "{{ steps.one.number }}"), echo]);
    world.store_json(json!({"name": "chain", "trigger": {"type": "manual"}, "steps": steps})).await;

    let run = world.run("chain", json!({"start": "21"})).await;
    assert_eq!(run.summary.error, None);
    assert_eq!(run.summary.state, RunState::Succeeded);
    assert_eq!(run.summary.triggered_by, TriggeredBy::Manual { key: world.admin.key.clone() });
    assert_eq!(run.trigger, json!({"inputs": {"start": "21"}}));
    let [one, two, all] = &run.steps[..] else { panic!("{:?}", run.steps) };
    assert_eq!(json!(one.inputs), json!({"number": 21, "text": "x"}));
    assert_eq!(json!(one.outputs), json!({"number": 42, "bytes": "AP8=", "none": null}));
    assert_eq!(json!(two.outputs["number"]), json!(84));
    assert_eq!((two.app.as_str(), two.app_version.as_str(), two.attempt), ("double", "1.2.0", 1));
    let expected = json!({
        "steps": {"one": one.outputs, "two": two.outputs}, "text": "84 of chain 1",
        "run": run.summary.id, "created": "2024-04-09T14:44:00Z",
    });
    assert_eq!(all.outputs["value"], expected);
    assert_eq!(
        world.playbooks.run(world.organisation, run.summary.id).await.unwrap(),
        run,
        "as it is read again"
    );
    assert_eq!(world.rows_of(Space::RunOpen).await, 0);
}

#[tokio::test]
async fn a_webhook_starts_its_playbook_as_the_key_it_was_stored_with() {
    let world = World::new().await;
    let principal = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&principal);
    world.apps.put_quick("who", describe(vec![Input::new("text", ValueType::Text)], &[]), move |call| {
        *seen.lock() = Some(call.principal);
        gives(&[])
    });
    let steps = [json!({"id": "a", "app": "who", "inputs": {"text": "{{ trigger.text }}"}})];
    let playbook =
        world.store_json(json!({"name": "hook", "trigger": {"type": "webhook"}, "steps": steps})).await;
    let token = playbook.webhook_token.clone().unwrap();
    let body = "{\"a\":  1}";
    let started = world.playbooks.start_by_webhook(&token, post("application/json", body)).await.unwrap();
    let run = started.ended.await.unwrap();
    assert_eq!((run.summary.state, &run.summary.triggered_by), (RunState::Succeeded, &TriggeredBy::Webhook));
    assert_eq!(run.steps[0].inputs["text"], body, "to the blank");
    assert_eq!(*principal.lock(), Some(Arc::clone(&world.admin)));

    let refused = world.playbooks.start(&world.admin, "hook", json!({})).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let refused = world.playbooks.start_by_webhook("wrong", post("", "")).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_named_starts_one_run_a_day_however_often_it_is_asked_for() {
    let world = World::new().await;
    for name in ["echo", "other"] {
        let steps = json!([{"id": "a", "app": "echo"}]);
        world.store_json(json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})).await;
    }
    let start = async |world: &World, principal: &Principal, playbook: &str, name: &str| {
        let started = world.playbooks.start_named(principal, playbook, json!({}), Some(name)).await.unwrap();
        (started.id, started.repeated, started.ended.await.unwrap().summary.id)
    };
    let (first, repeated, ended) = start(&world, &world.admin, "echo", "a").await;
    assert_eq!((repeated, ended), (false, first));
    // Its host dies before whoever asked is told.
    let world = world.reopened(world.store.restart()).await;
    assert_eq!(start(&world, &world.admin, "echo", "a").await, (first, true, first));
    let another = new_principal(&world.access, world.organisation, Role::Write).await;
    let others = [(&world.admin, "echo", "b"), (&world.admin, "other", "a"), (&another, "echo", "a")];
    for (principal, playbook, name) in others {
        assert!(!start(&world, principal, playbook, name).await.1, "{playbook} {name}");
    }
    tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
    let (again, repeated, _) = start(&world, &world.admin, "echo", "a").await;
    assert!(!repeated && again != first, "as its answer, its name is kept for a day");
    assert_eq!(start(&world, &world.admin, "echo", "a").await, (again, true, again));
    assert_eq!(world.all_runs().await.len(), 5);
}

#[tokio::test]
async fn a_failing_step_ends_the_run_and_says_why() {
    let world = World::new().await;
    let outputs = &[("number", ValueType::Number)];
    world.apps.put_quick("fails", describe(vec![], outputs), |_| fails("no luck today"));
    world.apps.put_quick("panics", describe(vec![], outputs), |_| panic!("on purpose"));
    world.apps.put_quick("undeclared", describe(vec![], outputs), |_| gives(&[("other", Value::None)]));
    world
        .apps
        .put_quick("mistyped", describe(vec![], outputs), |_| gives(&[("number", Value::Text("1".into()))]));
    world.apps.put_quick("endless", describe(vec![], outputs), |_| {
        gives(&[("number", Value::Number(f64::INFINITY))])
    });
    world.apps.put("slow", describe(vec![], outputs), |_| Box::pin(std::future::pending()));
    world.apps.put_quick("integer", describe(vec![Input::new("n", ValueType::Integer)], &[]), |_| gives(&[]));
    tokio::time::pause();
    let n = |template: &str| json!({"id": "a", "app": "integer", "inputs": {"n": template}});
    let cases = [
        (json!({"id": "a", "app": "fails"}), "step a: no luck today"),
        (json!({"id": "a", "app": "panics"}), "step a: panics 1.2.0 panicked"),
        (json!({"id": "a", "app": "slow"}), "step a: slow 1.2.0 took longer than 30s"),
        (json!({"id": "a", "app": "slow", "timeout": "90s"}), "step a: slow 1.2.0 took longer than 1m 30s"),
        (
            json!({"id": "a", "app": "undeclared"}),
            "undeclared 1.2.0 gave an output \"other\" that it does not declare",
        ),
        (
            json!({"id": "a", "app": "mistyped"}),
            "mistyped 1.2.0 gave an output \"number\" that is not a number",
        ),
        (
            json!({"id": "a", "app": "endless"}),
            "endless 1.2.0 gave an output \"number\" that is not a number",
        ),
        (n("{{ trigger.inputs.text }}"), "step a: input n is \"abc\", expected a whole number"),
        (n("{{ trigger.inputs.nothing }}"), "step a: input n: `trigger.inputs.nothing` is undefined"),
        (n("{{ [trigger.inputs] }}"), "step a: input n is [{\"text\":\"abc\"}], expected a whole number"),
        (n("{{ 'x' * 100000000 }}"), "step a: input n: engine ran out of fuel"),
    ];
    for (step, expected) in cases {
        let steps = json!([step, {"id": "after", "app": "echo"}]);
        world.store_json(json!({"name": "failing", "trigger": {"type": "manual"}, "steps": steps})).await;
        let run = world.run("failing", json!({"text": "abc"})).await;
        assert_eq!(run.summary.state, RunState::Failed);
        let error = run.summary.error.unwrap();
        assert!(error.contains(expected), "{error}");
        assert_eq!(run.steps.len(), 1, "the step after it never began");
        assert_eq!(run.steps[0].state, StepState::Failed);
        assert_eq!(format!("step a: {}", run.steps[0].error.as_ref().unwrap()), error);
    }
    assert_eq!(world.rows_of(Space::RunOpen).await, 0);
}

#[tokio::test]
async fn a_run_whose_key_or_app_is_gone_fails_and_says_what_to_do() {
    let world = World::new().await;
    let publisher = new_principal(&world.access, world.organisation, Role::Admin).await;
    let source = json!({"name": "a", "trigger": {"type": "manual"}, "steps": [{"id": "a", "app": "echo"}]})
        .to_string();
    world.playbooks.store(&publisher, &source, Format::Json, false).await.unwrap();
    world.access.revoke_key("host", Some(world.organisation), &publisher.key).await.unwrap();
    let error = world.playbooks.start(&world.admin, "a", json!({})).await.err().unwrap().to_string();
    assert!(error.contains("expired or was revoked; publish it again with a key that works"), "{error}");

    world.playbooks.store(&world.admin, &source, Format::Json, true).await.unwrap();
    assert_eq!(world.run("a", json!({})).await.summary.state, RunState::Succeeded);
    world.apps.remove("echo");
    let error = world.run("a", json!({})).await.summary.error.unwrap();
    assert!(error.contains("there is no app \"echo\" any more"), "{error}");
}

#[tokio::test]
async fn an_app_that_does_not_load_is_told_from_one_that_is_gone_and_is_tried_again() {
    let world = World::new().await;
    let steps = json!([{"id": "a", "app": "echo", "retry": {"attempts": 2, "delay": "1ms"}}]);
    let source = json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps}).to_string();
    world.playbooks.store(&world.admin, &source, Format::Json, false).await.unwrap();
    world.apps.break_off("echo", "it does not load: too little memory");
    let run = world.run("a", json!({})).await;
    let error = run.summary.error.unwrap();
    assert!(
        error.contains("the app \"echo\" is installed and not called: it does not load: too little memory"),
        "{error}"
    );
    assert_eq!(run.steps[0].attempt, 2, "somebody may mend it meanwhile");
    let error = world.playbooks.validate(world.organisation, &source, Format::Json).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("this one is installed, and it does not load: too little memory"), "{error}");
}

#[tokio::test]
async fn the_idempotency_key_is_the_steps_own() {
    let world = World::new().await;
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&keys);
    world.apps.put_quick("key", describe(vec![], &[]), move |call| {
        assert_eq!(call.attempt, 1);
        seen.lock().push(call.idempotency_key);
        gives(&[])
    });
    let steps = json!([{"id": "a", "app": "key"}, {"id": "b", "app": "key"}]);
    world.store_json(json!({"name": "keys", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("keys", json!({})).await.summary.id;
    assert_eq!(*keys.lock(), [format!("{run}.a"), format!("{run}.b")]);
}

/// A world whose app `gate` waits for a permit.
async fn gated(limits: Limits) -> (World, Arc<Semaphore>, Arc<AtomicUsize>) {
    let world = World::with_limits(limits).await;
    let (gate, entered) = complaints::add_gate(&world);
    let steps = json!([{"id": "a", "app": "gate"}]);
    world.store_json(json!({"name": "gate", "trigger": {"type": "manual"}, "steps": steps})).await;
    (world, gate, entered)
}

#[tokio::test]
async fn what_is_too_much_is_refused_before_anything_is_recorded() {
    let (world, gate, entered) =
        gated(Limits { concurrent_runs: 3, queued_runs: 3, ..Limits::default() }).await;
    let mut started = Vec::new();
    for _ in 0..5 {
        started.push(world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap());
    }
    let rows = world.rows_of(Space::Run).await;
    for _ in 0..3 {
        let refused = world.playbooks.start(&world.admin, "gate", json!({})).await.err().unwrap();
        assert!(matches!(refused, PlaybookError::Busy { runs: 3, .. }), "{refused}");
    }
    assert_eq!(world.rows_of(Space::Run).await, rows);
    while entered.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let filter = |state| RunFilter { state: Some(state), ..RunFilter::default() };
    let count = async |state| {
        let page =
            world.playbooks.runs(world.organisation, &filter(state), &PageRequest::first(10)).await.unwrap();
        page.items.len()
    };
    assert_eq!((count(RunState::Running).await, count(RunState::Queued).await), (2, 3));

    gate.add_permits(5);
    for started in started {
        assert_eq!(started.ended.await.unwrap().summary.state, RunState::Succeeded);
    }
    assert_eq!(entered.load(Ordering::SeqCst), 5);
    gate.add_permits(1);
    assert_eq!(world.run("gate", json!({})).await.summary.state, RunState::Succeeded, "there is room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_wait_than_may_however_many_come_at_once() {
    for concurrency in [json!({"policy": "allow"}), json!({"policy": "queue", "limit": 2})] {
        let (world, gate, _) =
            gated(Limits { concurrent_runs: 3, queued_runs: 5, ..Limits::default() }).await;
        let steps = json!([{"id": "a", "app": "gate"}]);
        world
            .store_json(json!({"name": "gate", "trigger": {"type": "manual"}, "concurrency": concurrency.clone(), "steps": steps}))
            .await;
        let start = || world.playbooks.start(&world.admin, "gate", json!({}));
        let started = futures::future::join_all(std::iter::repeat_with(start).take(30)).await;
        let (accepted, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
        assert!((5..=7).contains(&accepted.len()), "{concurrency}: {}", accepted.len());
        assert_eq!(world.rows_of(Space::Run).await, accepted.len(), "{concurrency}");
        let busy =
            |refused: &Result<StartedRun, PlaybookError>| matches!(refused, Err(PlaybookError::Busy { .. }));
        assert!(refused.iter().all(busy), "{concurrency}");
        gate.add_permits(30);
        for started in accepted {
            assert_eq!(started.unwrap().ended.await.unwrap().summary.state, RunState::Succeeded);
        }
        assert_eq!((world.playbooks.queued.reserved(), world.playbooks.placeless.reserved()), (0, 0));
        assert_eq!(world.run("gate", json!({})).await.summary.state, RunState::Succeeded, "there is room");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_at_its_on_failure_steps_is_not_cancelled_and_whoever_tries_is_told() {
    let world = World::new().await;
    let (gate, entered) = complaints::add_gate(&world);
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("no luck"));
    let document = json!({"name": "a", "trigger": {"type": "manual"}, "steps": [{"id": "a", "app": "fails"}],
        "on_failure": [{"id": "b", "app": "gate"}]});
    world.store_json(document).await;
    let started = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    while entered.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    let refused = world.playbooks.cancel(&world.admin, started.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("on-failure steps"), "{refused}");
    gate.add_permits(1);
    let run = started.ended.await.unwrap();
    assert_eq!((run.summary.state, run.steps[1].state), (RunState::Failed, StepState::Succeeded));
}

#[tokio::test]
async fn payloads_over_the_limit_are_refused_and_those_below_come_through_whole() {
    let world = World::with_limits(Limits { payload: 400_000, ..Limits::default() }).await;
    world
        .store_echo("webhook", &[("a", "{{ trigger.body.text }}"), ("b", "{{ steps.a.value ~ '!' }}")])
        .await;
    let token = world.playbooks.get(world.organisation, "echo").await.unwrap().webhook_token.clone().unwrap();
    let request = |length| post("application/json", json!({"text": "é".repeat(length)}).to_string());
    let refused = world.playbooks.start_by_webhook(&token, request(250_000)).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    assert_eq!(world.rows_of(Space::Run).await, 0);
    let run = world.playbooks.start_by_webhook(&token, request(150_000)).await.unwrap().ended.await.unwrap();
    assert_eq!(run.summary.error, None);
    assert_eq!(run.steps[1].outputs["value"].as_str().unwrap().chars().count(), 150_001);
    assert_eq!(world.playbooks.run(world.organisation, run.summary.id).await.unwrap(), run);

    world
        .store_echo("manual", &[("a", "{{ trigger.inputs }}"), ("b", "{{ [steps.a.value, steps.a.value] }}")])
        .await;
    let run = world.run("echo", json!({"value": "x".repeat(250_000)})).await;
    assert_eq!(run.summary.error.unwrap(), "step b: the inputs are larger than 400000 bytes in all");
    let refused = world
        .playbooks
        .start(&world.admin, "echo", json!({"value": "x".repeat(400_001)}))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn a_log_is_kept_up_to_its_bounds() {
    let world = World::new().await;
    world.apps.put_quick("loud", describe(vec![], &[]), |_| {
        let line = |number: i32| LogLine {
            time: Timestamp::default(),
            level: LogLevel::Info,
            message: number.to_string(),
        };
        AppReport { result: Ok(vec![]), log: (0..5_000).map(line).collect() }
    });
    world
        .store_json(
            json!({"name": "a", "trigger": {"type": "manual"}, "steps": [{"id": "a", "app": "loud"}]}),
        )
        .await;
    let log = world.run("a", json!({})).await.steps.remove(0).log;
    assert_eq!(log.len(), 1_001);
    assert_eq!(
        (log[999].message.as_str(), log[1_000].message.as_str()),
        ("999", "4000 more lines were not kept")
    );
}

#[tokio::test]
async fn runs_are_listed_newest_first_page_by_page() {
    let world = World::new().await;
    world.store_echo("manual", &[("a", "x")]).await;
    let steps = json!([{"id": "a", "app": "gone"}]);
    world.apps.put_quick("gone", describe(vec![], &[]), |_| fails("no"));
    world.store_json(json!({"name": "other", "trigger": {"type": "manual"}, "steps": steps})).await;
    let mut ids = Vec::new();
    for number in 0..11 {
        world.clock.advance(1);
        ids.push(world.run(if number % 3 == 0 { "other" } else { "echo" }, json!({})).await.summary.id);
    }
    ids.reverse();
    let every = |filter: RunFilter, limit| {
        let world = &world;
        async move {
            let (mut request, mut found) = (PageRequest::first(limit), Vec::new());
            loop {
                let page = world.playbooks.runs(world.organisation, &filter, &request).await.unwrap();
                assert!(page.items.len() <= limit);
                found.extend(page.items.iter().map(|run| run.id));
                match page.next {
                    Some(next) => request.cursor = Some(next),
                    None => return found,
                }
            }
        }
    };
    let others: Vec<RunId> = [1, 4, 7, 10].iter().map(|at| ids[*at]).collect();
    for limit in [1, 2, 5, 11, 100] {
        assert_eq!(every(RunFilter::default(), limit).await, ids, "{limit}");
        let of_other = RunFilter { playbook: Some(PlaybookId(2)), ..RunFilter::default() };
        assert_eq!(every(of_other, limit).await, others, "{limit}");
        let failed = RunFilter { state: Some(RunState::Failed), ..RunFilter::default() };
        assert_eq!(every(failed, limit).await, others, "{limit}");
        let both = RunFilter {
            playbook: Some(PlaybookId(1)),
            state: Some(RunState::Failed),
            ..RunFilter::default()
        };
        assert_eq!(every(both, limit).await, [], "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn old_runs_are_swept_away_whole_and_younger_or_open_ones_stay() {
    let (world, gate, _) = gated(Limits::default()).await;
    world.store_echo("manual", &[("a", "{{ trigger.inputs }}"), ("b", "{{ steps.a.value }}")]).await;
    let open = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap();
    for _ in 0..5 {
        world.run("echo", json!({"value": "x".repeat(100_000)})).await;
        world.clock.advance(1_000);
    }
    let hour = Duration::from_secs(3_600);
    assert_eq!(world.playbooks.sweep(hour, 100).await.unwrap(), 0);
    world.clock.advance(3_598_000);
    world.clock.distrust(true);
    assert_eq!(world.playbooks.sweep(hour, 100).await.unwrap(), 0, "the clock may be wrong");
    world.clock.distrust(false);
    // Those of the first three seconds are old; the gated one of the first is open.
    assert_eq!(world.playbooks.sweep(hour, 2).await.unwrap(), 2);
    assert_eq!(world.playbooks.sweep(hour, 2).await.unwrap(), 1);
    assert_eq!(world.playbooks.sweep(hour, 2).await.unwrap(), 0);
    assert_eq!(world.rows_of(Space::Run).await, 3);
    gate.add_permits(1);
    open.ended.await.unwrap();
    assert_eq!(world.playbooks.sweep(Duration::ZERO, 100).await.unwrap(), 3);
    for space in [Space::Run, Space::RunIndex, Space::RunStep, Space::RunOpen, Space::Chunk] {
        assert_eq!(world.rows_of(space).await, 0, "{space:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_at_work_and_leaves_the_rest_to_the_next_start() {
    let (world, gate, entered) = gated(Limits { concurrent_runs: 1, ..Limits::default() }).await;
    let mut started = Vec::new();
    for _ in 0..3 {
        world.clock.advance(1);
        started.push(world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap());
    }
    let ids: Vec<RunId> = started.iter().map(|started| started.id).collect();
    gate.add_permits(1);
    while entered.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    world.playbooks.stop(Duration::from_secs(5)).await;
    let refused = world.playbooks.start(&world.admin, "gate", json!({})).await.err().unwrap();
    assert!(matches!(refused, PlaybookError::Stopping));
    let state =
        async |world: &World, id| world.playbooks.run(world.organisation, id).await.unwrap().summary.state;
    let mut states = Vec::new();
    for started in started {
        states.push((state(&world, started.id).await, started.ended.await.is_ok()));
    }
    let expected = [(RunState::Succeeded, true), (RunState::Running, false), (RunState::Queued, false)];
    assert_eq!(states, expected);

    gate.add_permits(2);
    let after = world.reopened(world.store.restart()).await;
    for id in ids {
        after.ended(id).await;
        assert_eq!(state(&after, id).await, RunState::Succeeded);
    }
    assert_eq!(after.rows_of(Space::RunOpen).await, 0);
}

#[tokio::test]
async fn a_caller_who_goes_away_changes_nothing_for_the_run() {
    let (world, gate, entered) = gated(Limits::default()).await;
    {
        let start = world.playbooks.start(&world.admin, "gate", json!({}));
        futures::pin_mut!(start);
        // Polled once, which hands it over, and dropped before the run is committed.
        assert!(start.as_mut().now_or_never().is_none());
        while world.playbooks.waiters.lock().is_empty() {
            assert!(start.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    gate.add_permits(1);
    while world.rows_of(Space::Run).await == 0 || world.rows_of(Space::RunOpen).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(entered.load(Ordering::SeqCst), 1);
    let page = world
        .playbooks
        .runs(world.organisation, &RunFilter::default(), &PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!(page.items[0].state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_full_delays_a_run_and_ends_none() {
    let (world, gate, entered) = gated(Limits::default()).await;
    for full in [Duration::from_millis(500), Duration::from_secs(60)] {
        let before = entered.load(Ordering::SeqCst);
        let started = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap();
        while entered.load(Ordering::SeqCst) == before {
            tokio::task::yield_now().await;
        }
        world.store.set_disk_full(true);
        // A second time, should the first result not be recorded.
        gate.add_permits(2);
        tokio::time::sleep(full).await;
        let refused = world.playbooks.start(&world.admin, "gate", json!({})).await.err().unwrap();
        assert!(matches!(refused, PlaybookError::Store(StoreError::DiskFull { .. })), "{refused}");
        world.store.set_disk_full(false);
        assert_eq!(started.ended.await.unwrap().summary.state, RunState::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_starts_on_a_full_disk_and_goes_on_with_its_runs_once_there_is_room() {
    let (world, gate, entered) = gated(Limits::default()).await;
    let open = world.playbooks.start(&world.admin, "gate", json!({})).await.unwrap().id;
    while entered.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let store = world.store.restart();
    store.set_disk_full(true);
    let again = world.reopened(store).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(again.playbooks.run(again.organisation, open).await.unwrap().summary.state, RunState::Running);
    let refused = again.playbooks.start(&again.admin, "gate", json!({})).await.err().unwrap();
    assert!(matches!(refused, PlaybookError::Store(StoreError::DiskFull { .. })), "{refused}");

    again.store.set_disk_full(false);
    gate.add_permits(2);
    // Whoever asks first need not wait for the next turn of the lease.
    let started = again.playbooks.start(&again.admin, "gate", json!({})).await.unwrap();
    assert_eq!(started.ended.await.unwrap().summary.state, RunState::Succeeded);
    assert_eq!(again.ended(open).await.summary.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_stop_s_message_of_any_length_ends_the_run_as_the_document_says() {
    let world = World::new().await;
    world
        .store_json(json!({"name": "told", "trigger": {"type": "manual", "inputs": {"text": {}}}, "steps": [
            {"id": "s", "stop": "succeeded", "message": "{{ trigger.inputs.text }}"},
        ]}))
        .await;
    let inputs = json!({"text": "ä".repeat(100_000)});
    let id = world.playbooks.start(&world.admin, "told", inputs).await.unwrap().id;
    let run = world.ended(id).await;
    assert_eq!(run.summary.state, RunState::Succeeded);
    let message = run.summary.error.unwrap();
    assert!(message.starts_with("ää") && message.ends_with("ä…"), "{} bytes", message.len());
}

#[tokio::test]
async fn what_outputs_read_of_a_step_is_the_same_whether_it_was_skipped_or_not_reached() {
    let world = World::new().await;
    for (stops, when) in [(true, true), (false, false), (true, false)] {
        let inner = json!({"name": "inner", "trigger": {"type": "playbook"}, "steps": [
            {"id": "a", "stop": "succeeded", "when": format!("{stops}")},
            {"id": "b", "app": "echo", "when": format!("{when}"), "inputs": {"value": 1}},
            {"id": "c", "app": "echo", "when": format!("{when}"), "each": [1, 2], "inputs": {"value": "{{ item }}"}},
        ], "outputs": {
            "one": "{{ steps.b.value }}", "other": "{{ steps.b.value | default(0, true) }}",
            "list": "{{ steps.c.value }}", "errors": "{{ steps.c.errors }}",
        }});
        world.store_json(inner).await;
        let steps = json!([{"id": "in", "playbook": "inner"}, {"id": "out", "app": "echo", "inputs": {"value": "{{ steps.in }}"}}]);
        world.store_json(json!({"name": "outer", "trigger": {"type": "manual"}, "steps": steps})).await;
        let run = world.run("outer", json!({})).await;
        assert_eq!((run.summary.state, &run.summary.error), (RunState::Succeeded, &None));
        let expected = json!({"one": null, "other": 0, "list": [], "errors": []});
        assert_eq!(run.steps[1].outputs["value"], expected, "{stops} {when}");
    }
}

#[tokio::test]
async fn a_condition_over_values_without_an_order_fails_its_step_and_names_what_to_do() {
    let world = World::new().await;
    let steps =
        json!([{"id": "a", "app": "echo", "when": "{{ trigger.query.size > 3 }}", "inputs": {"value": 1}}]);
    let hook = json!({"name": "hook", "trigger": {"type": "webhook"}, "steps": steps});
    let token = world.store_json(hook).await.webhook_token.clone().unwrap();
    for size in ["1", "2", "", "abc"] {
        let mut request = post("text/plain", "");
        request.query.push(("size".into(), size.into()));
        let run = world.playbooks.start_by_webhook(&token, request).await.unwrap().ended.await.unwrap();
        assert_eq!((run.summary.state, run.steps[0].state), (RunState::Failed, StepState::Failed), "{size}");
        let error = run.steps[0].error.as_deref().unwrap();
        assert!(error.contains("when: ") && error.contains("a text and a number"), "{error}");
        assert!(error.contains("| int"), "{error}");
    }
}

#[tokio::test]
async fn an_error_names_the_place_within_an_input() {
    let world = World::new().await;
    let value = json!({"user": {"id": "{{ trigger.inputs.missing }}"}, "list": []});
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": value}}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("a", json!({})).await;
    let error = run.steps[0].error.as_deref().unwrap();
    assert!(error.starts_with("input value.user.id: "), "{error}");
}

#[tokio::test]
async fn on_failure_steps_follow_where_what_a_playbook_gives_does_not_render() {
    let world = World::new().await;
    let clean_up = json!([{"id": "f", "app": "echo", "inputs": {"value": "{{ run.error }}"}}]);
    let kid = json!({"name": "kid", "trigger": {"type": "playbook"}, "outputs": {"o": "{{ steps.a.value.missing.x }}"},
        "steps": [{"id": "a", "app": "echo", "inputs": {"value": {}}}], "on_failure": clean_up});
    world.store_json(kid).await;
    let steps = json!([{"id": "k", "playbook": "kid"}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let outer = world.run("a", json!({})).await;
    assert_eq!(outer.summary.state, RunState::Failed);
    let run = world.playbooks.run(world.organisation, outer.steps[0].run.unwrap()).await.unwrap();
    let error = run.summary.error.unwrap();
    assert!(error.starts_with("output o: "), "{error}");
    let [_, cleaned] = &run.steps[..] else { panic!("{:?}", run.steps) };
    assert_eq!((run.summary.state, &cleaned.outputs["value"]), (RunState::Failed, &json!(error)));
    assert!(outer.summary.error.unwrap().ends_with(&error));
}
