//! What starts runs, how many at once, and what a failure does to the trigger.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bellwether_kernel::{ErrorKind, PageRequest};
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_delivery_that_comes_twice_starts_one_run_and_an_unsigned_one_none() {
    let world = World::new().await;
    world.secrets.put("github", "sesame");
    let trigger = json!({"type": "webhook", "signature": {"scheme": "github", "secret": "github"}});
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.body }}"}}]);
    let playbook = world.store_json(json!({"name": "hook", "trigger": trigger, "steps": steps})).await;
    let token = playbook.webhook_token.clone().unwrap();
    let signed = |signature: &str, delivery: &str| {
        let mut request = post("application/json", "{\"a\": 1}");
        request.headers.push(("x-hub-signature-256".into(), format!("sha256={signature}")));
        request.headers.push(("x-github-delivery".into(), delivery.into()));
        request
    };
    let refused = world.playbooks.start_by_webhook(&token, signed(&"0".repeat(64), "1")).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert!(!refused.to_string().contains("sesame"));
    assert_eq!(world.rows_of(Space::Run).await, 0);
    let good = {
        use hmac::{Hmac, KeyInit, Mac};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"sesame").unwrap();
        mac.update(b"{\"a\": 1}");
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let first = world.playbooks.start_by_webhook(&token, signed(&good, "1")).await.unwrap();
    let again = world.playbooks.start_by_webhook(&token, signed(&good, "1")).await.unwrap();
    let other = world.playbooks.start_by_webhook(&token, signed(&good, "2")).await.unwrap();
    assert_eq!((first.id, first.repeated, again.repeated), (again.id, false, true));
    assert_ne!(other.id, first.id);
    assert_eq!(again.ended.await.unwrap().summary.state, RunState::Succeeded, "it gives the run too");
    assert_eq!(world.rows_of(Space::Run).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_without_a_name_in_the_header_of_its_trigger_is_refused() {
    let world = World::new().await;
    let trigger = json!({"type": "webhook", "delivery_id": "X-My-Id"});
    let steps = json!([{"id": "a", "app": "echo"}]);
    let playbook = world.store_json(json!({"name": "hook", "trigger": trigger, "steps": steps})).await;
    let token = playbook.webhook_token.clone().unwrap();
    let send = async |ids: &[&str]| {
        let mut request = post("application/json", "{}");
        request.headers.extend(ids.iter().map(|id| ("x-my-id".to_owned(), (*id).to_owned())));
        world.playbooks.start_by_webhook(&token, request).await.map(|started| started.id)
    };
    for wrong in [&[""][..], &["a b"], &[&"a".repeat(256)], &["a", "b"]] {
        let refused = send(wrong).await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.field().unwrap().field.as_str()),
            (ErrorKind::Invalid, "X-My-Id")
        );
    }
    assert_eq!(world.rows_of(Space::Run).await, 0);
    assert_eq!(send(&["a"]).await.unwrap(), send(&["a"]).await.unwrap());
    assert_ne!(send(&[]).await.unwrap(), send(&[]).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_metric_trigger_fires_when_its_value_crosses_a_bound() {
    let world = World::new().await;
    let trigger = json!({"type": "metric", "metric": "api.*", "rises_above": 10, "when": "value < 1000"});
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.value }}"}}]);
    world.store_json(json!({"name": "watch", "trigger": trigger, "steps": steps})).await;
    assert_eq!(world.writes.watched.lock()[&world.organisation], ["api.*"]);
    let writes = [
        ("api.errors", None, 5.0),
        ("api.errors", Some(5.0), 11.0),
        ("api.errors", Some(11.0), 12.0),
        ("web.errors", Some(5.0), 11.0),
        ("api.errors", Some(5.0), 5_000.0),
        ("api.latency", None, 20.0),
    ];
    for (metric, before, value) in writes {
        world.writes.push(world.organisation, metric, before, value);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    // What was acted on is not acted on again.
    let after = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let mut values: Vec<_> =
        after.all_runs().await.iter().map(|run| run.steps[0].outputs["value"].to_string()).collect();
    values.sort();
    assert_eq!(values, ["11.0", "20.0"]);
    after.playbooks.delete(&after.admin, "watch", false).await.unwrap();
    assert!(after.writes.watched.lock()[&after.organisation].is_empty());
}

#[tokio::test(start_paused = true)]
async fn conditions_that_cost_much_hold_up_no_trigger_of_another_organisation() {
    let world = World::new().await;
    let other = world.other().await;
    let (costly, cheap) = ("value > 30 or ('x' * 2000000)|length > value", "value > 0");
    for (who, name, when) in [(&world.admin, "a", costly), (&world.admin, "b", costly), (&other, "a", cheap)]
    {
        let trigger = json!({"type": "metric", "metric": "m", "when": when});
        let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.value }}"}}]);
        let document = json!({"name": name, "trigger": trigger, "steps": steps}).to_string();
        world.playbooks.store(who, &document, Format::Json, true).await.unwrap();
    }
    // More than are held of one at once, and in between one of the other's.
    let writes = 300;
    for value in 1..=writes {
        world.writes.push(world.organisation, "m", None, value as f64);
        if value == 10 {
            world.writes.push(other.organisation, "m", None, 1.0);
        }
    }
    let before = world.runs_before_one_of(&other).await;
    assert!(before < 20, "{before} runs of the other organisation came first");
    // Nothing is lost of those that were slow, and the cursor waits for them.
    let after = world.reopened(world.store.restart()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut values: Vec<_> = after
        .all_runs()
        .await
        .iter()
        .map(|run| run.steps[0].outputs["value"].as_f64().unwrap() as usize)
        .collect();
    values.sort_unstable();
    let expected: Vec<usize> = (1..=writes).flat_map(|value| [value, value]).collect();
    assert_eq!(values, expected);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_the_first_of_its_interval_has_risen_and_not_fallen() {
    let world = World::new().await;
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.value }}"}}]);
    for (name, bound) in [("rises", "rises_above"), ("falls", "falls_below")] {
        let trigger = json!({"type": "metric", "metric": "*", bound: 10});
        world.store_json(json!({"name": name, "trigger": trigger, "steps": steps})).await;
    }
    let writes = [
        (None, 9.0),
        (None, 11.0),
        (None, 10.0),
        (Some(10.0), 8.0),
        (Some(10.0), 12.0),
        (Some(9.0), 7.0),
        (Some(20.0), 6.0),
    ];
    for (before, value) in writes {
        world.writes.push(world.organisation, "load", before, value);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut started: Vec<_> = world
        .all_runs()
        .await
        .into_iter()
        .map(|run| (run.summary.playbook_name.clone(), run.trigger["value"].to_string()))
        .collect();
    started.sort();
    let expected = [("falls", "6.0"), ("falls", "8.0"), ("rises", "11.0"), ("rises", "12.0")];
    assert_eq!(started, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_metric_without_keys_has_null_for_one() {
    let world = World::new().await;
    let trigger = json!({"type": "metric", "metric": "plain", "key": "*", "when": "key is none"});
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.key }}"}}]);
    world.store_json(json!({"name": "watch", "trigger": trigger, "steps": steps})).await;
    world.writes.push_keyed(world.organisation, "plain", None, None, 1.0);
    world.writes.push_keyed(world.organisation, "plain", Some("k"), None, 2.0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let runs = world.all_runs().await;
    let [run] = &runs[..] else { panic!("{runs:?}") };
    assert_eq!((&run.trigger["key"], &run.steps[0].outputs["value"]), (&json!(null), &json!(null)));
    assert_eq!(run.summary.triggered_by, TriggeredBy::Metric { metric: "plain".into(), key: None });
}

async fn with_policy(policy: &str) -> (World, Arc<Semaphore>) {
    let world = World::new().await;
    let gate = Arc::new(Semaphore::new(0));
    let passed = Arc::clone(&gate);
    world.apps.put("gate", describe(vec![], &[]), move |_| {
        let gate = Arc::clone(&passed);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            gives(&[])
        })
    });
    let steps = json!([{"id": "a", "app": "gate"}]);
    let concurrency = json!({"policy": policy, "limit": 2});
    let document = json!({"name": "a", "trigger": {"type": "manual"}, "concurrency": concurrency, "steps": steps, "on_failure": [{"id": "b", "app": "echo"}]});
    world.store_json(document).await;
    (world, gate)
}

#[tokio::test(start_paused = true)]
async fn a_policy_says_what_becomes_of_a_run_too_many() {
    use RunState::{Cancelled, Queued, Running, Skipped, Succeeded};
    for (policy, meanwhile, finally) in [
        ("queue", [Running, Running, Queued, Queued], [Succeeded, Succeeded, Succeeded, Succeeded]),
        ("skip", [Running, Running, Skipped, Skipped], [Succeeded, Succeeded, Skipped, Skipped]),
        ("replace", [Cancelled, Cancelled, Running, Running], [Cancelled, Cancelled, Succeeded, Succeeded]),
    ] {
        let (world, gate) = with_policy(policy).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            world.clock.advance(1);
            ids.push(world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id);
        }
        let states = async || {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let runs = world.all_runs().await;
            assert_eq!(runs.iter().map(|run| run.summary.id).collect::<Vec<_>>(), ids);
            runs.iter().map(|run| run.summary.state).collect::<Vec<_>>()
        };
        assert_eq!(states().await, meanwhile, "{policy}");
        gate.add_permits(4);
        assert_eq!(states().await, finally, "{policy}");
        for space in [Space::RunOpen, Space::PlaybookGate, Space::PlaybookQueue, Space::RunQueue] {
            assert_eq!(world.rows_of(space).await, 0, "{policy}: {space:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_retries_or_is_disabled_as_its_document_says() {
    let world = World::new().await;
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("no luck"));
    let trigger = |action: &str, times: u32| json!({"type": "every", "interval": "1h", "on_error": action, "on_error_times": times});
    let document = |trigger| json!({"name": "a", "trigger": trigger, "steps": [{"id": "a", "app": "fails"}]});
    world.store_json(document(trigger("retry", 2))).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let mut attempts: Vec<u32> = world.all_runs().await.iter().map(|run| run.summary.attempt).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2, 3]);

    world.store_json(document(trigger("disable", 2))).await;
    tokio::time::sleep(Duration::from_secs(5 * 3_600)).await;
    assert_eq!(world.all_runs().await.len(), 5, "two more");
    let playbook = world.playbooks.get(world.organisation, "a").await.unwrap();
    assert!(matches!(&playbook.status, Status::Disabled { reason, .. } if reason.contains("no luck")));
    assert_eq!(playbook.next_due, None);
    let refused = world.playbooks.start(&world.admin, "a", json!({})).await.err().unwrap();
    assert!(matches!(refused, PlaybookError::Disabled { .. }), "{refused}");
    let enabled = world.playbooks.enable(&world.admin, "a").await.unwrap();
    assert!(enabled.status == Status::Active && enabled.next_due.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_replayed_from_a_step_is_not_begun_anew_when_it_fails() {
    let world = World::new().await;
    world.apps.put_quick("fails", describe(vec![], &[]), |_| fails("no luck"));
    let trigger = json!({"type": "manual", "on_error": "retry", "on_error_times": 1});
    let steps = json!([{"id": "a", "app": "echo"}, {"id": "b", "app": "fails"}]);
    world.store_json(json!({"name": "a", "trigger": trigger, "steps": steps})).await;
    let run = world.run("a", json!({})).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.all_runs().await.len(), 2, "the run itself is");
    let from = ReplayFrom { step: "b".into(), item: None };
    let again = world.playbooks.replay(&world.admin, run.summary.id, Some(&from), None).await.unwrap();
    assert_eq!(again.ended.await.unwrap().summary.state, RunState::Failed);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.all_runs().await.len(), 3);
}

/// Publishes a next version before the commit that follows.
struct Publishes {
    playbooks: Arc<Playbooks>,
    admin: Arc<Principal>,
    document: serde_json::Value,
    next: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl passing::Way for Publishes {
    async fn before(&self, asked: &passing::Asked<'_>) -> Result<(), bellwether_store::StoreError> {
        if matches!(asked, passing::Asked::Commit) && self.next.swap(false, Ordering::SeqCst) {
            let document = self.document.to_string();
            self.playbooks.store(&self.admin, &document, Format::Json, true).await.unwrap();
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_disables_no_version_that_is_published_as_it_ends() {
    let world = World::new().await;
    let publishes = Arc::new(AtomicBool::new(false));
    let next = Arc::clone(&publishes);
    world.apps.put_quick("fails", describe(vec![], &[]), move |_| {
        next.store(true, Ordering::SeqCst);
        fails("no luck")
    });
    let trigger = json!({"type": "manual", "on_error": "disable", "on_error_times": 1});
    let document = |app: &str| json!({"name": "a", "trigger": trigger, "steps": [{"id": "a", "app": app}]});
    world.store_json(document("fails")).await;
    let way = Publishes {
        playbooks: Arc::clone(&world.playbooks),
        admin: Arc::clone(&world.admin),
        document: document("echo"),
        next: publishes,
    };
    let store = passing::Passing::new(&world.store, way);
    let playbooks = Playbooks::open(world.parts(store, &world.access, 2, None)).await.unwrap();
    let run = playbooks.start(&world.admin, "a", json!({})).await.unwrap().ended.await.unwrap();
    assert_eq!(run.summary.state, RunState::Failed);
    let playbook = world.playbooks.get(world.organisation, "a").await.unwrap();
    assert_eq!((playbook.version, &playbook.status), (2, &Status::Active));
}

#[tokio::test(start_paused = true)]
async fn a_playbook_whose_key_is_revoked_is_blocked_and_says_so() {
    let world = World::new().await;
    let publisher = new_principal(&world.access, world.organisation, Role::Admin).await;
    let source = json!({"name": "a", "trigger": {"type": "every", "interval": "1m"}, "steps": [
        {"id": "wait", "delay": "30s"}, {"id": "a", "app": "echo"}]});
    world.playbooks.store(&publisher, &source.to_string(), Format::Json, false).await.unwrap();
    tokio::time::sleep(Duration::from_secs(75)).await;
    world.access.revoke_key("host", Some(world.organisation), &publisher.key).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let runs = world.all_runs().await;
    assert_eq!(runs.last().unwrap().summary.state, RunState::Blocked);
    assert!(runs.len() <= 2, "none was started without the right");
    let listed = world.playbooks.list(world.organisation, &PageRequest::first(9)).await.unwrap().items;
    for playbook in [world.playbooks.get(world.organisation, "a").await.unwrap(), Arc::clone(&listed[0])] {
        assert!(matches!(playbook.status, Status::Blocked { .. }));
        assert_eq!(playbook.next_due, None, "its times start nothing");
        let why = playbook.why_not().unwrap();
        assert!(why.contains(&format!("the key {} it runs as does not work", publisher.key)), "{why}");
    }
    let refused = world.playbooks.enable(&world.admin, "a").await.unwrap_err();
    assert!(matches!(&refused, PlaybookError::Blocked { name, .. } if name == "a"), "{refused}");
    assert!(refused.to_string().ends_with("publish it again with a key that works"), "{refused}");
    let published = world.playbooks.publish(&world.admin, "a", 1).await.unwrap();
    assert!(published.status == Status::Active && published.next_due.is_some());
    assert_eq!(published.why_not(), None);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(world.all_runs().await[runs.len()].summary.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_playbook_is_a_step_of_another_through_crashes_and_cycles_are_refused() {
    let world = World::new().await;
    let inner = json!({"name": "inner", "trigger": {"type": "playbook", "inputs": {"n": {"type": "integer", "required": true}}},
        "steps": [{"id": "wait", "delay": "1m"}, {"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.inputs.n + 1 }}"}}],
        "outputs": {"n": "{{ steps.a.value }}"}});
    world.store_json(inner.clone()).await;
    let outer = |inputs: serde_json::Value| {
        json!({"name": "outer", "trigger": {"type": "manual"}, "steps": [
        {"id": "in", "playbook": "inner", "inputs": inputs}, {"id": "out", "app": "echo", "inputs": {"value": "{{ steps.in.n }}"}}]})
    };
    world.store_json(outer(json!({"n": "{{ trigger.inputs.n }}"}))).await;
    let id = world.playbooks.start(&world.admin, "outer", json!({"n": 41})).await.unwrap().id;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let after = world.reopened(world.store.restart()).await;
    let run = after.ended(id).await;
    assert_eq!((run.summary.error, &run.steps[1].outputs["value"]), (None, &json!(42)));
    let within = after.playbooks.run(after.organisation, run.steps[0].run.unwrap()).await.unwrap();
    assert_eq!(within.summary.triggered_by, TriggeredBy::Playbook { run: id, step: "in".into() });
    assert_eq!(after.all_runs().await.len(), 2);

    let mut cycle = inner;
    cycle["steps"] = json!([{"id": "a", "playbook": "inner", "inputs": {"n": 1}}]);
    cycle["outputs"] = json!({});
    let cases = [
        (cycle, "does not lead back to this one (inner)"),
        (outer(json!({"n": "many"})), "a whole number"),
        (outer(json!({})), "inner requires it"),
        (outer(json!({"m": 1})), "an input of inner: n"),
    ];
    for (document, expected) in cases {
        let source = document.to_string();
        let error = after.playbooks.validate(after.organisation, &source, Format::Json).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled_while_it_waits_and_its_on_failure_steps_are_taken() {
    let world = World::new().await;
    let document = json!({"name": "a", "trigger": {"type": "manual"}, "steps": [{"id": "wait", "delay": "2h"}],
        "on_failure": [{"id": "tell", "app": "echo", "inputs": {"value": "{{ run.error }}"}}]});
    world.store_json(document).await;
    let id = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap().id;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.playbooks.active.lock().is_empty(), "a run that waits takes no place");
    world.playbooks.cancel(&world.admin, id).await.unwrap();
    let run = world.ended(id).await;
    assert_eq!(run.summary.state, RunState::Cancelled);
    let expected = format!("it was cancelled with the key {}", world.admin.key);
    assert_eq!(run.steps.last().unwrap().outputs["value"], json!(expected));
    assert_eq!(
        (run.steps[0].state, run.steps[0].waits_until),
        (StepState::Cancelled, None),
        "it waits no more"
    );
    assert!(world.playbooks.cancel(&world.admin, id).await.is_err(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_cut_off_leads_to_the_run_within_it() {
    let world = World::new().await;
    world.apps.put("hangs", describe(vec![], &[]), |_| Box::pin(std::future::pending()));
    for (within, timeout) in [
        (json!({"id": "a", "delay": "2h"}), None),
        (json!({"id": "a", "delay": "2h"}), Some("30m")),
        (json!({"id": "a", "app": "hangs", "timeout": "1h"}), None),
        (json!({"id": "a", "app": "hangs", "timeout": "1h"}), Some("30m")),
    ] {
        world.store_json(json!({"name": "inner", "trigger": {"type": "playbook"}, "steps": [within]})).await;
        let mut outer = json!({"name": "outer", "trigger": {"type": "manual"}, "steps": [
            {"id": "in", "playbook": "inner"}, {"id": "after", "app": "echo", "inputs": {"value": 1}}]});
        outer["timeout"] = timeout.unwrap_or("1d").into();
        world.store_json(outer).await;
        let id = world.playbooks.start(&world.admin, "outer", json!({})).await.unwrap().id;
        tokio::time::sleep(Duration::from_secs(60)).await;
        if timeout.is_none() {
            world.playbooks.cancel(&world.admin, id).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let run = world.ended(id).await;
        let case = format!("{within}, {timeout:?}");
        let [step] = &run.steps[..] else { panic!("{case}: {:?}", run.steps) };
        assert_eq!((step.step.as_str(), step.state), ("in", StepState::Cancelled), "{case}");
        let within = world.playbooks.run(world.organisation, step.run.expect(&case)).await.unwrap();
        assert_eq!(within.summary.triggered_by, TriggeredBy::Playbook { run: id, step: "in".into() });
        assert!(within.summary.state.has_ended(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn organisations_take_turns() {
    let world = World::with_limits(Limits { concurrent_runs: 1, ..Limits::default() }).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&order);
    world.apps.put("slow", describe(vec![], &[]), move |call| {
        let seen = Arc::clone(&seen);
        Box::pin(async move {
            seen.lock().push(call.principal.organisation);
            tokio::time::sleep(Duration::from_secs(1)).await;
            gives(&[])
        })
    });
    let stranger = world.other().await;
    let source = json!({"name": "a", "trigger": {"type": "manual"}, "steps": [{"id": "a", "app": "slow"}]})
        .to_string();
    for principal in [&world.admin, &stranger] {
        world.playbooks.store(principal, &source, Format::Json, false).await.unwrap();
    }
    for _ in 0..50 {
        world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    }
    let last = world.playbooks.start(&stranger, "a", json!({})).await.unwrap();
    last.ended.await.unwrap();
    let before = order.lock().iter().filter(|organisation| **organisation == world.organisation).count();
    assert!(before <= 3, "{before} runs of the other organisation came first");
}

#[tokio::test(start_paused = true)]
async fn runs_that_wait_for_their_turn_keep_no_other_organisation_from_starting_its_own() {
    let world = World::with_limits(Limits { concurrent_runs: 1, queued_runs: 3, ..Limits::default() }).await;
    let (gate, _) = complaints::add_gate(&world);
    let other = world.other().await;
    for who in [&world.admin, &other] {
        for (name, trigger) in [
            ("manual", json!({"type": "manual"})),
            ("every", json!({"type": "every", "interval": "40s"})),
            ("metric", json!({"type": "metric", "metric": "m"})),
        ] {
            let steps = json!([{"id": "a", "app": "gate", "timeout": "1h"}]);
            let document = json!({"name": name, "trigger": trigger, "steps": steps}).to_string();
            world.playbooks.store(who, &document, Format::Json, true).await.unwrap();
        }
    }
    let start = async |who| world.playbooks.start(who, "manual", json!({})).await;
    for _ in 0..4 {
        start(&world.admin).await.unwrap();
    }
    let refused = start(&world.admin).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
    let expected = "too many runs of the organisation wait already, 3; try again in 5 seconds";
    assert_eq!(refused.to_string(), expected);
    start(&other).await.unwrap();
    // Nor does what starts by itself and finds no room hold up what another's writes and times start.
    for who in [&world.admin, &other] {
        world.writes.push(who.organisation, "m", None, 1.0);
    }
    tokio::time::sleep(Duration::from_secs(75)).await;
    let names = async |who: &Principal| {
        let mut names: Vec<String> =
            world.runs_of(who).await.into_iter().map(|run| run.playbook_name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&other).await, ["every", "manual", "metric"]);
    assert_eq!(names(&world.admin).await, ["manual"; 4]);
    let due = world.playbooks.get(world.organisation, "every").await.unwrap().next_due.unwrap();
    assert!(due > world.clock.now(), "its times are passed over");
    gate.add_permits(99);
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert!(start(&world.admin).await.is_ok(), "there is room again");
    assert!(names(&world.admin).await.contains(&"every".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_run_keeps_the_apps_it_began_with_or_says_that_they_are_gone() {
    let world = World::new().await;
    let steps = json!([{"id": "wait", "delay": "1m"}, {"id": "a", "app": "echo", "inputs": {"value": 1}}]);
    world.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;
    let started = world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    let described = describe(vec![Input::new("value", ValueType::Json)], &[("value", ValueType::Json)]);
    world.apps.put_version("echo", "2.0.0", described, |_| Box::pin(async { gives(&[]) }));
    let error = started.ended.await.unwrap().summary.error.unwrap();
    assert!(
        error.contains("version 1.2.0 of the app \"echo\", with which this run began, is gone"),
        "{error}"
    );
    assert_eq!(world.run("a", json!({})).await.summary.state, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn it_is_known_which_versions_published_playbooks_and_open_runs_keep_to() {
    let world = World::new().await;
    let playbook = |name: &str, app: &str| {
        let steps = json!([{"id": "wait", "delay": "1m"}, {"id": "a", "app": app, "inputs": {"value": 1}}]);
        json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})
    };
    for (name, app) in [("any", "echo"), ("one", "echo@1.2.0")] {
        world.store_json(playbook(name, app)).await;
    }
    let pins = async || {
        let mut pins = world.playbooks.pins(world.organisation, "echo").await.unwrap();
        // The playbook that names no version keeps to the app, and to none of its versions.
        let any = Pin { version: None, by: PinnedBy::Playbook("any".to_owned()) };
        assert!(pins.contains(&any), "{pins:?}");
        pins.retain(|pin| *pin != any);
        assert!(pins.iter().all(|pin| pin.version.as_deref() == Some("1.2.0")), "{pins:?}");
        pins.into_iter().map(|pin| pin.by).collect::<Vec<_>>()
    };
    let one = PinnedBy::Playbook("one".to_owned());
    assert_eq!(pins().await, std::slice::from_ref(&one));
    let [any, named] = [
        world.playbooks.start(&world.admin, "any", json!({})).await.unwrap(),
        world.playbooks.start(&world.admin, "one", json!({})).await.unwrap(),
    ];
    let mut runs = vec![PinnedBy::Run(any.id), PinnedBy::Run(named.id)];
    runs.sort_by_key(|by| if let PinnedBy::Run(run) = by { run.0 } else { unreachable!() });
    assert_eq!(pins().await, [vec![one.clone()], runs].concat());
    let run = named.ended.await.unwrap();
    let step = &run.steps[1];
    assert_eq!(
        (step.app.as_str(), step.app_version.as_str(), step.state),
        ("echo", "1.2.0", StepState::Succeeded)
    );
    any.ended.await.unwrap();
    assert_eq!(pins().await, [one]);
    assert_eq!(world.playbooks.pins(world.organisation, "another").await.unwrap(), []);
}

/// A clock that is set back brings a time again that has fired.
#[tokio::test(start_paused = true)]
async fn a_time_that_comes_again_fires_once_and_the_next_one_is_not_held_up() {
    let world = World::new().await;
    let document = json!({"name": "tick", "trigger": {"type": "every", "interval": "1m"}, "steps": [{"id": "a", "app": "echo"}]});
    world.store_json(document.clone()).await;
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(world.all_runs().await.len(), 1);
    world.clock.advance(-30_000);
    // Due times are worked out from the clock as it is now.
    world.store_json(document).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.all_runs().await.len(), 1, "the time that came again has its run");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.all_runs().await.len(), 2);
}

/// Whoever frees the last place looks for those that wait, and one may come between the look and the commit.
#[tokio::test(start_paused = true)]
async fn a_run_that_comes_to_wait_as_the_last_place_is_freed_gets_it() {
    let world = World::new().await;
    let steps = json!([{"id": "a", "app": "echo"}]);
    let concurrency = json!({"policy": "queue", "limit": 1});
    world
        .store_json(
            json!({"name": "q", "trigger": {"type": "manual"}, "concurrency": concurrency, "steps": steps}),
        )
        .await;
    for yields in 0..40 {
        let first = world.playbooks.start(&world.admin, "q", json!({})).await.unwrap();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        let second = world.playbooks.start(&world.admin, "q", json!({})).await.unwrap();
        for started in [first, second] {
            let ended = tokio::time::timeout(Duration::from_secs(60), started.ended).await;
            assert!(ended.is_ok(), "after {yields} other turns");
        }
    }
}

/// A place that is given up at the same moment makes the commit of the firing fail.
#[tokio::test(start_paused = true)]
async fn a_write_starts_its_run_although_others_of_its_playbook_begin_and_end() {
    let world = World::new().await;
    let trigger = json!({"type": "metric", "metric": "m"});
    let steps = json!([{"id": "a", "app": "echo"}, {"id": "b", "app": "echo"}]);
    let concurrency = json!({"policy": "queue", "limit": 1});
    world
        .store_json(json!({"name": "watch", "trigger": trigger, "concurrency": concurrency, "steps": steps}))
        .await;
    for count in 1..200 {
        world.writes.push(world.organisation, "m", None, f64::from(count));
        for _ in 0..count % 17 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let runs = world.all_runs().await;
    assert_eq!(runs.len(), 199);
    assert!(runs.iter().all(|run| run.summary.state == RunState::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_for_a_while_silences_no_playbook() {
    const YEAR: i64 = 365 * 86_400_000;
    let hours = |count: u64| Duration::from_secs(count * 3_600);
    let world = World::new().await;
    for (name, trigger) in [
        ("every", json!({"type": "every", "interval": "1h"})),
        ("cron", json!({"type": "cron", "expression": "30 * * * *"})),
        ("yearly", json!({"type": "cron", "expression": "@yearly"})),
    ] {
        let steps = json!([{"id": "a", "app": "echo"}]);
        world.store_json(json!({"name": name, "trigger": trigger, "steps": steps})).await;
    }
    let due = async |name| world.playbooks.get(world.organisation, name).await.unwrap().next_due.unwrap();
    let new_year = due("yearly").await;
    world.clock.advance(YEAR);
    tokio::time::sleep(hours(2)).await;
    world.clock.advance(-YEAR);
    tokio::time::sleep(Duration::from_secs(120)).await;
    for name in ["every", "cron"] {
        let wait = due(name).await.milliseconds_since(world.clock.now());
        assert!((0..=3_600_000).contains(&wait), "{name}: {wait}");
    }
    assert_eq!(due("yearly").await, new_year);
    let before = world.all_runs().await.len();
    tokio::time::sleep(hours(2)).await;
    assert_eq!(world.all_runs().await.len(), before + 4);
    assert_eq!(due("yearly").await, new_year, "a time that is far is as it should be");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_for_a_while_holds_up_no_run_that_waits() {
    const YEAR: i64 = 365 * 86_400_000;
    let world = World::new().await;
    world.apps.put_quick("later", describe(vec![], &[]), |call| {
        let error = AppError { message: "not yet".into(), retry: Retry::Yes };
        if call.attempt > 1 { gives(&[]) } else { AppReport { result: Err(error), log: Vec::new() } }
    });
    let calls = AtomicU64::new(0);
    world.apps.put_quick("once", describe(vec![], &[]), move |_| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => fails("at first"),
            _ => gives(&[]),
        }
    });
    let wait = json!([{"id": "w", "delay": "30m"}]);
    world.store_json(json!({"name": "kid", "trigger": {"type": "playbook"}, "steps": wait})).await;
    let retry = json!({"attempts": 2, "delay": "30m"});
    let again = json!({"type": "manual", "on_error": "retry", "on_error_times": 1, "on_error_delay": "30m"});
    let names = ["delay", "retry", "each", "within", "again"];
    for (name, step) in names.iter().zip([
        wait[0].clone(),
        json!({"id": "a", "app": "later", "retry": retry}),
        json!({"id": "a", "app": "later", "each": [1, 2], "retry": retry}),
        json!({"id": "a", "playbook": "kid"}),
        json!({"id": "a", "app": "once"}),
    ]) {
        let trigger = if *name == "again" { again.clone() } else { json!({"type": "manual"}) };
        let steps = json!([step, {"id": "b", "app": "echo"}]);
        world.store_json(json!({"name": name, "trigger": trigger, "timeout": "2h", "steps": steps})).await;
    }
    world.clock.advance(YEAR);
    for name in names {
        world.playbooks.start(&world.admin, name, json!({})).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.playbooks.active.lock().is_empty(), "all of them wait");
    world.clock.advance(-YEAR);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let runs = world.all_runs().await;
    for name in names {
        let ended =
            |run: &&Run| run.summary.playbook_name == name && run.summary.state == RunState::Succeeded;
        let run = runs.iter().find(ended).unwrap_or_else(|| panic!("{name}: {runs:?}"));
        let deadline = run.summary.deadline.unwrap().milliseconds_since(world.clock.now());
        assert!((0..=7_200_000).contains(&deadline), "{name}: {deadline}");
        assert!(run.steps.iter().all(|step| step.started <= step.ended), "{name}: {:?}", run.steps);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_behind_for_a_while_ends_no_wait() {
    const YEAR: i64 = 365 * 86_400_000;
    let world = World::new().await;
    let steps = json!([{"id": "w", "delay": "24h"}, {"id": "b", "app": "echo"}]);
    let trigger = json!({"type": "manual"});
    world.store_json(json!({"name": "a", "trigger": trigger, "timeout": "48h", "steps": steps})).await;
    world.playbooks.start(&world.admin, "a", json!({})).await.unwrap();
    let soon = || tokio::time::sleep(Duration::from_secs(60));
    let state = async || world.all_runs().await[0].summary.state;
    soon().await;
    world.clock.distrust(true);
    world.clock.advance(-YEAR);
    soon().await;
    world.clock.advance(YEAR);
    soon().await;
    world.clock.distrust(false);
    soon().await;
    assert_eq!(state().await, RunState::Running);
    tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
    assert_eq!(state().await, RunState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_starts_when_its_clock_was_set_right_has_its_playbooks_due_in_time() {
    const YEAR: i64 = 365 * 86_400_000;
    let world = World::new().await;
    world.clock.advance(YEAR);
    let trigger = json!({"type": "every", "interval": "1h"});
    let steps = json!([{"id": "a", "app": "echo"}]);
    world.store_json(json!({"name": "every", "trigger": trigger, "steps": steps})).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.playbooks.stop(Duration::from_secs(1)).await;
    world.clock.advance(-YEAR);
    let again = Playbooks::open(world.parts(world.store.clone(), &world.access, 1, None)).await.unwrap();
    let due = again.get(world.organisation, "every").await.unwrap().next_due.unwrap();
    let wait = due.milliseconds_since(world.clock.now());
    assert!((0..=3_600_000).contains(&wait), "{wait}");
}
