//! What would happen, told without doing it; and what a start by hand may give.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_calls_nothing() {
    let world = World::new().await;
    world.apps.put_quick(
        "never",
        describe(vec![Input::new("n", ValueType::Integer)], &[("n", ValueType::Integer)]),
        |_| panic!("called"),
    );
    let steps = json!([
        {"id": "a", "app": "never", "inputs": {"n": "{{ trigger.inputs.n }}"}},
        {"id": "b", "app": "never", "when": "trigger.inputs.n > 5", "inputs": {"n": "{{ steps.a.n }}"}},
        {"id": "c", "app": "never", "inputs": {"n": "{{ trigger.inputs.text }}"}},
        {"id": "d", "app": "never", "each": "{{ [1, 2] }}", "inputs": {"n": "{{ item + index }}"}},
    ]);
    let source = json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps}).to_string();
    let trigger = json!({"inputs": {"n": 3, "text": "abc"}});
    let dry = world.playbooks.dry_run(&world.admin, &source, Format::Json, object(&trigger)).await.unwrap();
    let [a, b, c, d] = &dry.steps[..] else { panic!() };
    assert_eq!((json!(a.inputs), &a.problem, a.app_version.as_str()), (json!({"n": 3}), &None, "1.2.0"));
    assert_eq!((json!(b.inputs), b.runs), (json!({"n": {"unknown": "{{ steps.a.n }}"}}), Some(false)));
    assert_eq!(c.problem.as_deref(), Some("input n is \"abc\", expected a whole number"));
    assert_eq!((json!(d.inputs), d.items), (json!({"n": {"unknown": "{{ index }} {{ item }}"}}), Some(2)));
    assert_eq!((world.rows_of(Space::Run).await, world.rows_of(Space::Playbook).await), (0, 0));
}

fn object(json: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    json.as_object().cloned().unwrap()
}

#[tokio::test]
async fn a_dry_run_knows_of_its_trigger_what_the_document_says() {
    let world = World::new().await;
    let dry = async |trigger: serde_json::Value, value: &str, given: serde_json::Value| {
        let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": value}}]);
        let source = json!({"name": "a", "trigger": trigger, "steps": steps}).to_string();
        let dry = world.playbooks.dry_run(&world.admin, &source, Format::Json, object(&given)).await.unwrap();
        (dry.steps[0].inputs.get("value").cloned(), dry.steps[0].problem.clone())
    };
    let cron = json!({"type": "cron", "expression": "0 6 * * *"});
    let every = json!({"type": "every", "interval": "1h"});
    let manual = json!({"type": "manual", "inputs": {"who": {"type": "text", "default": "Ada"}, "n": {"required": true}}});
    let scheduled = "{{ trigger.scheduled }} {{ trigger.missed }}";
    for (trigger, value, given, expected) in [
        (&cron, scheduled, json!({}), "2024-04-10T06:00:00Z false"),
        (&every, scheduled, json!({}), "2024-04-09T15:00:00Z false"),
        (&every, scheduled, json!({"missed": true}), "2024-04-09T15:00:00Z true"),
        (&cron, scheduled, json!({"scheduled": "x"}), "x false"),
        (&manual, "{{ trigger.inputs.who }}", json!({}), "Ada"),
        (&manual, "{{ trigger.inputs.who }}", json!({"inputs": {"who": "Bo", "n": 1}}), "Bo"),
    ] {
        assert_eq!(dry(trigger.clone(), value, given).await, (Some(expected.into()), None), "{trigger}");
    }
    let (_, problem) = dry(manual, "{{ trigger.inputs.n }}", json!({})).await;
    assert!(problem.unwrap().contains("trigger.inputs.n"), "what is required has to be given");
}

#[tokio::test]
async fn a_dry_run_takes_its_inputs_as_a_start_does() {
    let world = World::new().await;
    let declared = json!({
        "who": {"type": "text", "default": "Ada"}, "n": {"type": "integer", "required": true}, "more": {"type": "text"},
    });
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.inputs }}"}}]);
    for kind in ["manual", "playbook"] {
        let trigger = json!({"type": kind, "inputs": declared});
        let document = json!({"name": "a", "trigger": trigger, "steps": steps});
        world.store_json(document.clone()).await;
        let source = document.to_string();
        for inputs in [json!({"n": "3"}), json!({"n": 1, "who": null, "more": 5})] {
            let given = object(&json!({"inputs": inputs}));
            let dry = world.playbooks.dry_run(&world.admin, &source, Format::Json, given).await.unwrap();
            let run = world.run("a", inputs).await;
            assert_eq!(dry.steps[0].inputs["value"], run.steps[0].outputs["value"], "{kind}");
        }
        for inputs in [json!({}), json!({"n": "many"}), json!({"n": 1, "m": 1}), json!(5)] {
            let given = object(&json!({"inputs": inputs}));
            let dry = world.playbooks.dry_run(&world.admin, &source, Format::Json, given).await.unwrap_err();
            let run = world.playbooks.start(&world.admin, "a", inputs).await.err().unwrap();
            assert_eq!(dry.to_string(), format!("trigger.{run}"), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_refuses_what_the_run_refuses_in_the_same_words() {
    let world = World::new().await;
    let inputs = vec![
        Input { choices: vec!["sum".into(), "count".into()], ..Input::new("kind", ValueType::Text) },
        Input { required: true, ..Input::new("name", ValueType::Text) },
        Input { choices: vec!["a".into(), "b".into()], ..Input::new("some", ValueType::Texts) },
        Input { default: Some(json!(1)), ..Input::new("value", ValueType::Number) },
    ];
    world.apps.put_quick("add", describe(inputs, &[]), |_| gives(&[]));
    for (input, value, refused) in [
        ("kind", json!("Sum"), true),
        ("kind", json!("sum"), false),
        ("kind", json!(null), false),
        ("name", json!(null), true),
        ("some", json!(["a", "c"]), true),
        ("some", json!(["a", "b"]), false),
        ("value", json!("many"), true),
        ("value", json!(null), false),
        ("value", json!([1]), true),
    ] {
        let mut given = json!({"name": "n"});
        given[input] = "{{ trigger.inputs.it }}".into();
        let steps = json!([{"id": "a", "app": "add", "inputs": given}]);
        let document = json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps});
        world.store_json(document.clone()).await;
        let with = json!({"it": value});
        let trigger = object(&json!({"inputs": with}));
        let dry = world
            .playbooks
            .dry_run(&world.admin, &document.to_string(), Format::Json, trigger)
            .await
            .unwrap();
        let run = world.run("a", with).await;
        assert_eq!(dry.steps[0].problem, run.steps[0].error, "{input} {value}");
        assert_eq!(dry.steps[0].problem.is_some(), refused, "{input} {value}");
    }
}

#[tokio::test]
async fn inputs_that_are_no_object_start_nothing_whatever_is_declared() {
    let world = World::new().await;
    world.store_echo("manual", &[("a", "x")]).await;
    for inputs in [json!(5), json!([]), json!("abc"), json!(true), json!(null)] {
        let refused = world.playbooks.start(&world.admin, "echo", inputs.clone()).await.err().unwrap();
        assert_eq!(refused.field().map(|error| error.field.as_str()), Some("inputs"), "{inputs}");
    }
    assert_eq!(world.rows_of(Space::Run).await, 0);
}

#[tokio::test]
async fn a_start_by_hand_is_told_what_it_may_give() {
    let world = World::new().await;
    let name = Input {
        required: true,
        choices: vec!["Ada".into()],
        help: "Who.".into(),
        ..Input::new("name", ValueType::Text)
    };
    let token = Input { secret: true, ..Input::new("token", ValueType::Text) };
    world.apps.put_quick("greet", describe(vec![name.clone(), token.clone()], &[]), |_| gives(&[]));
    let given = json!({"name": "{{ trigger.inputs.who }}", "token": "{{ trigger.inputs.token }}"});
    let steps = json!([
        {"id": "a", "app": "greet", "inputs": given},
        {"id": "b", "app": "echo", "inputs": {"value": "{{ trigger.inputs.who }} {{ trigger.inputs.rest | default(1) }}"}},
    ]);
    world.store_json(json!({"name": "read", "trigger": {"type": "manual"}, "steps": steps})).await;
    let declared =
        json!({"type": "manual", "inputs": {"who": {"type": "text", "default": "Bo", "help": "Whom."}}});
    let said = json!([{"id": "a", "app": "echo", "inputs": {"value": "{{ trigger.inputs.who }}"}}]);
    world.store_json(json!({"name": "declared", "trigger": declared, "steps": said})).await;
    world.store_echo("webhook", &[("a", "x")]).await;
    let inputs = async |name: &str| world.playbooks.start_inputs(world.organisation, name).await.unwrap();
    assert_eq!(
        inputs("read").await,
        [
            Input { name: "who".into(), ..name },
            Input { required: true, ..token },
            Input { name: "rest".into(), ..Input::new("rest", ValueType::Json) },
        ]
    );
    let who =
        Input { default: Some("Bo".into()), help: "Whom.".into(), ..Input::new("who", ValueType::Text) };
    assert_eq!(inputs("declared").await, [who]);
    assert_eq!(inputs("echo").await, []);
}
