//! What a playbook may take: its steps' time, its delays, and how deep playbooks lie in each other.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;

#[allow(clippy::needless_pass_by_value)] // written where it is made
fn playbook(name: &str, trigger: &str, steps: Json) -> Json {
    json!({"name": name, "trigger": {"type": trigger}, "steps": steps})
}

#[tokio::test(start_paused = true)]
async fn a_playbook_that_is_a_step_ends_at_the_step_s_time_and_may_be_tried_again() {
    let world = World::new().await;
    let mut kid = playbook("kid", "playbook", json!([{"id": "wait", "delay": "40s"}]));
    kid["on_failure"] = json!([{"id": "tidy", "app": "echo", "inputs": {"value": "{{ run.error }}"}}]);
    world.store_json(kid).await;
    let step = |timeout: &str, retry: Json| {
        let mut step = json!({"id": "m", "playbook": "kid", "timeout": timeout});
        if !retry.is_null() {
            step["retry"] = retry;
        }
        playbook("parent", "manual", json!([step]))
    };
    world.store_json(step("10s", Json::Null)).await;
    let id = world.playbooks.start(&world.admin, "parent", json!({})).await.unwrap().id;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The time goes on where the host died in between.
    let world = world.reopened(world.store.restart()).await;
    let run = world.ended(id).await;
    let within = world.playbooks.run(world.organisation, run.steps[0].run.unwrap()).await.unwrap();
    let error =
        format!("step m: playbook kid (run {}) took too long: it took longer than 10s", within.summary.id);
    assert_eq!((run.summary.state, run.summary.error.as_deref()), (RunState::Failed, Some(error.as_str())));
    let took = run.summary.ended.unwrap().milliseconds_since(run.summary.created);
    assert!((10_000..13_000).contains(&took), "{took} ms");
    assert_eq!(within.summary.state, RunState::TimedOut);
    assert_eq!(within.steps.last().unwrap().outputs["value"], json!("it took longer than 10s"));

    world.store_json(step("10s", json!({"attempts": 3, "delay": "1s"}))).await;
    let run = world.run("parent", json!({})).await;
    assert_eq!((run.steps[0].attempt, run.steps[0].failed_attempts.len()), (3, 2));
    world.store_json(step("2h", Json::Null)).await;
    assert_eq!(world.run("parent", json!({})).await.summary.state, RunState::Succeeded);
    assert_eq!(world.rows_of(Space::RunOpen).await, 0);
}
