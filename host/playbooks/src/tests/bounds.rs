//! What a playbook may take: its steps' time, its delays, and how deep playbooks lie in each other.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;

#[allow(clippy::needless_pass_by_value)] // written where it is made
fn playbook(name: &str, trigger: &str, steps: Json) -> Json {
    json!({"name": name, "trigger": {"type": trigger}, "steps": steps})
}

async fn refusal(world: &World, document: &str, format: Format) -> String {
    let refused = world.playbooks.store(&world.admin, document, format, true).await;
    refused.err().map_or_else(|| "it was stored".to_owned(), |error| error.to_string())
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

#[tokio::test]
async fn a_delay_a_run_has_no_time_for_is_refused_with_its_place() {
    let world = World::new().await;
    let document = |timeout: &str, steps: &str| {
        format!("name = \"a\"\n{timeout}\n[trigger]\ntype = \"manual\"\n{steps}")
    };
    let step = |list: &str, id: &str, rest: &str| format!("[[{list}]]\nid = \"{id}\"\n{rest}\n");
    let after = |delay: &str| {
        step("steps", "b", "app = \"echo\"") + &step("on_failure", "c", &format!("delay = \"{delay}\""))
    };
    let both = step("steps", "a", "delay = \"20h\"") + &step("steps", "b", "delay = \"5h\"");
    let cases = [
        (
            "",
            step("steps", "a", "delay = \"25h\""),
            "line 7, column 1: steps[0].delay is \"25h\", expected less than 24h, the run's `timeout`",
        ),
        ("", step("steps", "a", "delay = \"24h\""), "steps[0].delay is \"24h\", expected less than 24h"),
        (
            "timeout = \"10s\"",
            step("steps", "a", "delay = \"1h\""),
            "steps[0].delay is \"1h\", expected less than 10s, the run's `timeout`",
        ),
        ("timeout = \"26h\"", step("steps", "a", "delay = \"25h\""), "it was stored"),
        ("timeout = \"31d\"", step("steps", "a", "delay = \"30d\""), "it was stored"),
        (
            "",
            both.clone(),
            "line 10, column 1: steps[1].delay is \"5h\", expected less than 4h: the run's `timeout` is 24h, and the delays before it take 20h",
        ),
        ("timeout = \"26h\"", both, "it was stored"),
        (
            "",
            after("5m"),
            "on_failure[0].delay is \"5m\", expected less than 5m, what the on-failure steps have in all",
        ),
        ("", after("4m"), "it was stored"),
    ];
    for (timeout, steps, expected) in cases {
        let error = refusal(&world, &document(timeout, &steps), Format::Toml).await;
        assert!(error.contains(expected), "{timeout}: {error}\n{steps}");
    }
    // One that may be left out takes no time for sure.
    let maybe = step("steps", "a", "delay = \"20h\"\nwhen = \"trigger.inputs.x\"")
        + &step("steps", "b", "delay = \"5h\"");
    assert_eq!(refusal(&world, &document("", &maybe), Format::Toml).await, "it was stored");
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_turns_out_longer_than_the_run_may_take_fails_at_once() {
    let world = World::new().await;
    let step = json!({"id": "wait", "delay": "{{ trigger.inputs.delay }}"});
    world.store_json(playbook("a", "manual", json!([step]))).await;
    let run = world.run("a", json!({"delay": "25h"})).await;
    let expected = "step wait: delay is \"25h\", expected less than 24h, the run's `timeout`";
    assert_eq!(run.summary.error.as_deref(), Some(expected));
    assert_eq!(world.run("a", json!({"delay": "23h"})).await.summary.state, RunState::Succeeded);
}

fn link(number: usize, last: usize) -> Json {
    let step = match number {
        _ if number == last => json!({"id": "a", "app": "echo"}),
        _ => json!({"id": "a", "playbook": format!("link-{}", number + 1)}),
    };
    playbook(&format!("link-{number}"), if number == 0 { "manual" } else { "playbook" }, json!([step]))
}

#[tokio::test(start_paused = true)]
async fn playbooks_too_deep_in_each_other_are_refused_and_shown() {
    let world = World::new().await;
    for number in (1..=10).rev() {
        world.store_json(link(number, 10)).await;
    }
    world.store_json(link(0, 10)).await;
    let run = world.run("link-0", json!({})).await;
    assert_eq!((run.summary.state, run.summary.error), (RunState::Succeeded, None));

    let mut above = link(0, 10);
    above["name"] = "above".into();
    above["steps"] = json!([{"id": "x", "app": "echo"}, {"id": "a", "playbook": "link-0"}]);
    let mut first = link(0, 10);
    first["trigger"]["type"] = "playbook".into();
    world.store_json(first.clone()).await;
    let error = refusal(&world, &above.to_string(), Format::Json).await;
    let expected = "steps[1].playbook is \"link-0\", expected playbooks at most 10 deep in each other (link-0 → link-1 → ";
    assert!(error.starts_with("line 1, column ") && error.contains(expected), "{error}");
    assert!(error.ends_with(" → link-9 → link-10)"), "{error}");

    // What is below changes later.
    let shown = world.playbooks.get(world.organisation, "link-0").await.unwrap();
    assert_eq!(shown.problem, None);
    world.store_json(playbook("link-11", "playbook", json!([{"id": "a", "app": "echo"}]))).await;
    world.store_json(link(10, 11)).await;
    let shown = world.playbooks.get(world.organisation, "link-0").await.unwrap();
    let problem = shown.problem.clone().unwrap();
    assert!(
        problem.contains("steps[0].playbook is \"link-1\", expected playbooks at most 10 deep"),
        "{problem}"
    );
    assert_eq!(world.playbooks.get(world.organisation, "link-1").await.unwrap().problem, None);
}
