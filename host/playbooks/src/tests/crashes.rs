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
        describe(vec![Input::new("n", ValueType::Integer)], &[("n", ValueType::Integer)]),
        move |call| {
            calls.lock().push(call.idempotency_key.clone());
            let Value::Integer(n) = given(&call, "n") else { panic!() };
            gives(&[("n", Value::Integer(n + 1))])
        },
    );
    let step = |id: &str, n: &str| json!({"id": id, "app": "effect", "inputs": {"n": n}});
    let steps = [
        step("one", "{{ trigger.inputs.n }}"),
        step("two", "{{ steps.one.n }}"),
        step("three", "{{ steps.two.n }}"),
    ];
    before.store_json(json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps})).await;

    let world = before.reopened(before.store.restart_with_crashes(crash)).await;
    let accepted = match world.playbooks.start(&world.admin, "a", json!({"n": 1})).await {
        Ok(started) => {
            let id = started.id;
            let ended = tokio::select! {
                ended = started.ended => ended.ok(),
                () = world.until_crashed() => None,
            };
            Some((id, ended))
        }
        Err(_) => None,
    };
    let crashed = world.store.health().refusing.is_some();

    let after = world.reopened(world.store.restart()).await;
    let page = bellwether_kernel::PageRequest::first(9);
    let runs = after.playbooks.runs(after.organisation, &RunFilter::default(), &page).await.unwrap().items;
    if let Some((id, _)) = &accepted {
        let found: Vec<RunId> = runs.iter().map(|run| run.id).collect();
        assert_eq!(found, [*id], "{crash:?}: what was accepted is there");
    }
    let Some(run) = runs.first() else {
        assert!(called.lock().is_empty(), "{crash:?}: nothing happens for a run that is not recorded");
        return crashed;
    };
    let run = after.ended(run.id).await;
    assert_eq!(after.rows_of(Space::RunOpen).await, 0, "{crash:?}: no run is open");
    if let Some((_, Some(ended))) = &accepted {
        assert_eq!(run, *ended, "{crash:?}: what has ended stays as it is");
    }
    assert_eq!((run.summary.state, run.steps.len()), (RunState::Succeeded, 3), "{crash:?}: {run:?}");
    for (number, result) in run.steps.iter().enumerate() {
        let expected = (STEPS[number], &json!(number + 2));
        assert_eq!((result.step.as_str(), &result.outputs["n"]), expected, "{crash:?}");
    }
    // Every step was called, in order, always with the same key; and one alone twice, whose result was not recorded.
    let mut called = called.lock().clone();
    let calls = called.len();
    called.dedup();
    let keys: Vec<String> = STEPS.iter().map(|step| format!("{}.{step}", run.summary.id)).collect();
    assert_eq!(called, keys, "{crash:?}: each step is called in its turn");
    assert!(calls <= 4, "{crash:?}: {calls} calls");
    crashed
}

#[tokio::test(start_paused = true)]
async fn a_run_that_any_commit_is_cut_off_at_goes_on_from_its_last_result() {
    let mut crashes = 0;
    // The first commit is the host's lease: a host that dies there has not begun.
    for number in 2.. {
        let before = survives(Crash::Before(number)).await;
        let after = survives(Crash::After(number)).await;
        assert_eq!(before, after);
        if !before {
            break;
        }
        crashes += 1;
    }
    // Accepted and begun, two results, and the last result with the end.
    assert_eq!(crashes, 4);
}
