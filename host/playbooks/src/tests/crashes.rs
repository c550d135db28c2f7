//! The host dies between any two commits: what was accepted is found, what was recorded stays, nothing is left open.

use bellwether_store::Crash;
use serde_json::json;

use super::*;

const STEPS: [&str; 3] = ["one", "two", "three"];

/// Runs three steps on a store that dies as `crash` says, restarts, and checks. Gives whether the crash came.
async fn survives(crash: Crash) -> bool {
    let before = World::new().await;
    let called = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&called);
    before.apps.put_quick(
        "effect",
        describe(vec![input("n", ValueType::Integer)], &[("n", ValueType::Integer)]),
        move |call| {
            calls.lock().push(call.idempotency_key.clone());
            let Value::Integer(n) = given(&call, "n") else { panic!() };
            gives(&[("n", Value::Integer(n + 1))])
        },
    );
    let step = |id: &str, n: &str| json!({"id": id, "app": "effect", "inputs": {"n": n}});
    let steps = [
        step("one", "{{ trigger.inputs }}"),
        step("two", "{{ steps.one.n }}"),
        step("three", "{{ steps.two.n }}"),
    ];
    before.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;

    let world = before.reopened(before.store.restart_with_crashes(crash)).await;
    let accepted = match world.playbooks.start(&world.admin, "a", json!(1)).await {
        Ok(started) => {
            let id = started.id;
            let ended = started.ended.await.ok();
            Some((id, ended))
        }
        Err(_) => None,
    };
    let crashed = world.store.health().refusing.is_some();

    let after = world.reopened(world.store.restart()).await;
    assert_eq!(after.rows_of(Space::RunOpen).await, 0, "{crash:?}: no run is open");
    let page = bellwether_kernel::PageRequest::first(9);
    let runs = after.playbooks.runs(after.organisation, &RunFilter::default(), &page).await.unwrap().items;
    if let Some((id, ended)) = &accepted {
        assert_eq!(
            runs.iter().map(|run| run.id).collect::<Vec<_>>(),
            [*id],
            "{crash:?}: what was accepted is there"
        );
        if let Some(ended) = ended {
            assert_eq!(after.playbooks.run(after.organisation, *id).await.unwrap(), *ended, "{crash:?}");
        }
    }
    let called = called.lock().clone();
    let Some(run) = runs.first() else {
        assert!(called.is_empty(), "{crash:?}: nothing happens for a run that is not recorded");
        return crashed;
    };
    let run = after.playbooks.run(after.organisation, run.id).await.unwrap();
    let keys: Vec<String> = STEPS.iter().map(|step| format!("{}.{step}", run.summary.id)).collect();
    assert_eq!(called, keys[..called.len()], "{crash:?}: each step is called once, in order");
    // A step began only when the results of all before it were committed.
    assert!(
        run.steps.len() + 1 >= called.len() && run.steps.len() <= called.len(),
        "{crash:?}: {:?}",
        run.steps
    );
    for (number, result) in run.steps.iter().enumerate() {
        assert_eq!(
            (result.step.as_str(), &result.outputs["n"]),
            (STEPS[number], &json!(number + 2)),
            "{crash:?}"
        );
    }
    let expected = if run.steps.len() == 3 { RunState::Succeeded } else { RunState::Interrupted };
    assert_eq!(run.summary.state, expected, "{crash:?}");
    assert!(run.summary.ended.is_some());
    assert_eq!(run.summary.error.is_some(), expected == RunState::Interrupted);
    crashed
}

#[tokio::test(start_paused = true)]
async fn a_crash_around_any_commit_loses_no_result_and_leaves_no_run_open() {
    let mut crashes = 0;
    for number in 1.. {
        let before = survives(Crash::Before(number)).await;
        let after = survives(Crash::After(number)).await;
        assert_eq!(before, after);
        if !before {
            break;
        }
        crashes += 1;
    }
    // Accepted, running, two results, and the last result with the end.
    assert_eq!(crashes, 5);
}
