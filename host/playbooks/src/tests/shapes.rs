//! Key-values, entities and lists of choices between apps: what the document may say, what arrives, what an app may
//! give.

use serde_json::json;

use super::*;

/// An app that takes key-values and gives entities: one for each pair, its value the pair's.
fn add_apps(apps: &FakeApps) {
    let inputs = vec![Input::new("headers", ValueType::KeyValues), Input::new("subject", ValueType::Entity)];
    apps.put_quick("tag", describe(inputs, &[("found", ValueType::Entities)]), |call| {
        let Value::Json(headers) = given(&call, "headers") else { return gives(&[]) };
        let entity =
            |pair: &serde_json::Value| json!({"id": "1", "type": pair["key"], "value": pair["value"]});
        let found = headers.as_array().unwrap().iter().map(entity).collect();
        gives(&[("found", Value::Json(found))])
    });
}

fn document(inputs: &serde_json::Value) -> String {
    let steps = json!([{"id": "a", "app": "tag", "inputs": inputs}]);
    json!({"name": "tags", "trigger": {"type": "manual"}, "steps": steps}).to_string()
}

#[tokio::test]
async fn a_shape_written_out_with_templates_arrives_whole() {
    let world = World::new().await;
    add_apps(&world.apps);
    let headers = json!([{"key": "{{ trigger.inputs.key }}", "value": "{{ trigger.inputs.value }}"}]);
    let steps = json!([
        {"id": "a", "app": "tag", "inputs": {"headers": headers}},
        {"id": "b", "app": "tag", "inputs": {"subject": "{{ steps.a.found[0] }}"}},
    ]);
    world.store_json(json!({"name": "tags", "trigger": {"type": "manual"}, "steps": steps})).await;
    let run = world.run("tags", json!({"key": "Host", "value": "a.example"})).await;
    assert_eq!(run.summary.error, None);
    assert_eq!(run.steps[0].outputs["found"], json!([{"id": "1", "type": "Host", "value": "a.example"}]));
    assert_eq!(run.steps[1].inputs["subject"]["type"], "Host");

    // A value that is no text is right for a key-value and wrong for an entity: the app's fault, named.
    let run = world.run("tags", json!({"key": "Host", "value": [1]})).await;
    let error = run.summary.error.unwrap();
    assert!(error.contains("\"found\"") && error.contains("[0].value is to be text"), "{error}");

    let run = world.run("tags", json!({"key": "", "value": 1})).await;
    let error = run.summary.error.unwrap();
    assert!(
        error.contains("input headers") && error.contains("[0].key is to be text that is not empty"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_document_writes_out_wrongly_is_named_before_it_is_stored() {
    let world = World::new().await;
    add_apps(&world.apps);
    for (inputs, field, expected) in [
        (json!({"headers": "{{ trigger.inputs }}"}), None, ""),
        (json!({"headers": [{"key": "a", "value": {"b": "{{ run.id }}"}}]}), None, ""),
        (json!({"subject": {"id": 7, "type": "Host", "value": "h", "rating": 4}}), None, ""),
        (json!({"headers": [{"key": "a"}]}), Some("steps[0].inputs.headers[0].value"), "any JSON"),
        (
            json!({"headers": [{"key": "{{ run.id }}"}]}),
            Some("steps[0].inputs.headers[0].value"),
            "\"key\": text",
        ),
        (
            json!({"headers": [{"key": ["{{ run.id }}"], "value": 1}]}),
            Some("steps[0].inputs.headers[0].key"),
            "text",
        ),
        (
            json!({"headers": [{"key": "{{ run.id }}", "value": 1, "more": 2}]}),
            Some("steps[0].inputs.headers[0].more"),
            "\"key\": text",
        ),
        (json!({"headers": "a {{ run.id }}"}), Some("steps[0].inputs.headers"), "a list of"),
        (json!({"subject": "{{ run.id }} b"}), Some("steps[0].inputs.subject"), "\"type\": text"),
        (
            json!({"subject": {"id": "{{ run.id }}", "value": "v"}}),
            Some("steps[0].inputs.subject.type"),
            "\"type\"",
        ),
    ] {
        let checked = world.playbooks.validate(world.organisation, &document(&inputs), Format::Json).await;
        let error = checked.as_ref().err().and_then(|error| error.field());
        assert_eq!(error.map(|error| error.field.as_str()), field, "{inputs}: {checked:?}");
        assert!(error.is_none_or(|error| error.expected.contains(expected)), "{inputs}: {error:?}");
    }
}

#[tokio::test]
async fn each_of_several_texts_is_held_against_the_choices() {
    let world = World::new().await;
    let kinds = Input { choices: vec!["a".into(), "b".into()], ..Input::new("kinds", ValueType::Texts) };
    world.apps.put_quick("sort", describe(vec![kinds], &[]), |_| gives(&[]));
    let steps = json!([{"id": "s", "app": "sort", "inputs": {"kinds": "{{ trigger.inputs.kinds }}"}}]);
    world.store_json(json!({"name": "sorting", "trigger": {"type": "manual"}, "steps": steps})).await;
    assert_eq!(world.run("sorting", json!({"kinds": ["b", "a"]})).await.summary.error, None);
    let error = world.run("sorting", json!({"kinds": ["a", "c"]})).await.summary.error.unwrap();
    assert!(error.contains("input kinds") && error.contains("a list of a, b"), "{error}");
}
