//! How deep values may be that come from outside: what is taken can be read again, and what is not is refused at its
//! door.

use bellwether_kernel::ErrorKind;
use bellwether_kernel::value::MAX_NESTING;
use serde_json::{Value as Json, json};

use super::*;

/// So many lists in each other.
fn nested(levels: usize) -> Json {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

#[tokio::test]
async fn a_body_at_the_bound_runs_and_is_read_again_and_one_beyond_it_starts_nothing() {
    let world = World::new().await;
    let playbook = world.store_echo("webhook", &[("a", "{{ trigger.body }}"), ("b", "{{ steps }}")]).await;
    let token = playbook.webhook_token.clone().unwrap();
    let send = async |levels| {
        let body = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        world.playbooks.start_by_webhook(&token, post("application/json", body)).await
    };
    for levels in [MAX_NESTING + 1, 126, 10_000] {
        let refused = send(levels).await.err().unwrap();
        let expected = format!(
            "body is \"nested {levels} levels deep\", expected at most 64 levels of lists and objects in each other"
        );
        assert_eq!((refused.kind(), refused.to_string()), (ErrorKind::Invalid, expected));
    }
    assert_eq!(world.rows_of(Space::Run).await, 0);
    let run = send(MAX_NESTING).await.unwrap().ended.await.unwrap();
    assert_eq!(run.steps[0].outputs["value"], nested(MAX_NESTING), "{run:?}");
    // What an app gives is held to the bound too: here it is the body with two levels around it.
    let error = run.summary.error.as_deref().unwrap();
    assert_eq!(
        error,
        "step b: echo 1.2.0 gave an output \"value\" nested 66 levels deep, at most 64 are taken"
    );
    assert_eq!(world.playbooks.run(world.organisation, run.summary.id).await.unwrap(), run);
}

#[tokio::test]
async fn inputs_are_held_to_the_bound_by_hand_and_from_step_to_step() {
    let world = World::new().await;
    world.store_echo("manual", &[("a", "{{ trigger.inputs.x }}")]).await;
    let start = async |inputs| world.playbooks.start(&world.admin, "echo", inputs).await.err();
    assert!(start(json!({"x": nested(MAX_NESTING)})).await.is_none());
    let refused = start(json!({"y": 1, "x": nested(MAX_NESTING + 1)})).await.unwrap();
    assert_eq!(refused.field().unwrap().field, "inputs.x", "{refused}");

    let child = json!({
        "name": "child", "trigger": {"type": "playbook", "inputs": {"x": {}}},
        "steps": [{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.inputs.x }}"}}],
    });
    world.store_json(child).await;
    let step = json!({"id": "a", "playbook": "child", "inputs": {"x": [["{{ trigger.inputs }}"]]}});
    world.store_json(json!({"name": "outer", "trigger": {"type": "manual"}, "steps": [step]})).await;
    let run = world.run("outer", json!({"x": nested(MAX_NESTING)})).await;
    let error = run.summary.error.unwrap();
    assert!(error.starts_with("step a: inputs.x is \"nested 67 levels deep\""), "{error}");
}

#[tokio::test]
async fn what_a_template_puts_together_stays_below_what_can_be_read() {
    let world = World::new().await;
    // Each start puts 20 levels around what it is given.
    let around = (0..20).fold(json!("{{ trigger.inputs.x }}"), |inner, _| json!({"a": inner}));
    let step = json!({"id": "a", "app": "echo", "inputs": {"value": around}});
    world.store_json(json!({"name": "wrap", "trigger": {"type": "manual"}, "steps": [step]})).await;
    let run = world.run("wrap", json!({"x": nested(MAX_NESTING)})).await;
    let error = run.summary.error.unwrap();
    assert!(error.contains("lists and objects lie more than 80 deep in each other"), "{error}");
    assert!(world.run("wrap", json!({"x": nested(40)})).await.summary.error.is_none());
}

#[tokio::test]
async fn a_document_is_held_to_the_bound_with_its_place() {
    let world = World::new().await;
    let document = |input: Json, default: Json| {
        let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": input}}]);
        let trigger = json!({"type": "manual", "inputs": {"x": {"default": default}}});
        json!({"name": "a", "trigger": trigger, "steps": steps}).to_string()
    };
    let store = async |source: String| {
        let stored = world.playbooks.store(&world.admin, &source, Format::Json, true).await;
        stored.map(drop).map_err(|error| error.to_string())
    };
    let bound = "expected at most 64 levels of lists and objects in each other";
    let error = store(document(nested(65), json!(1))).await.unwrap_err();
    assert!(error.starts_with("line 1, column "), "{error}");
    assert!(
        error.ends_with(&format!("steps[0].inputs.value is \"nested 65 levels deep\", {bound}")),
        "{error}"
    );
    let error = store(document(json!(1), nested(65))).await.unwrap_err();
    assert!(error.contains("trigger.inputs.x.default is \"nested 65 levels deep\""), "{error}");
    let error = store(document(nested(130), json!(1))).await.unwrap_err();
    assert!(error.contains("a value may have 64 levels"), "{error}");
    assert_eq!(store(document(nested(64), nested(64))).await, Ok(()));
}
