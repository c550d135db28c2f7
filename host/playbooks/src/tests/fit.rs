//! Apps, playbooks and secrets that change after a playbook was stored.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;

const TEXT: (&str, ValueType) = ("text", ValueType::Text);

fn takes(name: &str, value_type: ValueType) -> Vec<Input> {
    vec![Input::new(name, value_type)]
}

/// A playbook whose first step calls `greet` with a `name`, and whose second reads its `text`.
fn greeting(name: &str) -> serde_json::Value {
    let inputs = json!({"name": "{{ trigger.inputs.name }}"});
    let steps = json!([
        {"id": "hello", "app": "greet", "inputs": inputs},
        {"id": "tell", "app": "echo", "inputs": {"value": "{{ steps.hello.text }}"}},
    ]);
    json!({"name": name, "trigger": {"type": "manual"}, "steps": steps})
}

/// A world with the app `greet` and a playbook that calls it.
async fn world() -> World {
    let world = World::new().await;
    let description = describe(takes("name", ValueType::Text), &[TEXT]);
    world.apps.put_quick("greet", description, |_| gives(&[("text", Value::Text("hello".into()))]));
    world.store_json(greeting("greeting")).await;
    world
}

#[tokio::test]
async fn a_run_whose_steps_do_not_fit_a_version_that_is_tried_gets_the_present_one() {
    let world = world().await;
    let unfit = [
        describe(takes("who", ValueType::Text), &[TEXT]),
        describe(takes("name", ValueType::Text), &[("words", ValueType::Text)]),
        describe(vec![Input { required: true, ..Input::new("tone", ValueType::Text) }], &[TEXT]),
    ];
    for description in unfit {
        world.apps.try_version("greet", "2.0.0", description, |_| gives(&[]));
        let run = world.run("greeting", json!({"name": "Ada"})).await;
        assert_eq!(run.summary.state, RunState::Succeeded, "{run:?}");
        assert_eq!(run.steps[0].app_version, "1.2.0");
    }
    let fits = describe(takes("name", ValueType::Text), &[TEXT, ("more", ValueType::Text)]);
    world.apps.try_version("greet", "2.0.0", fits, |_| gives(&[("text", Value::Text("hi".into()))]));
    let run = world.run("greeting", json!({"name": "Ada"})).await;
    assert_eq!((run.summary.state, run.steps[0].app_version.as_str()), (RunState::Succeeded, "2.0.0"));
}

#[tokio::test]
async fn an_app_is_told_of_calls_that_are_not_made_as_it_does_not_take_what_it_was_to_be_given() {
    let world = world().await;
    let description = describe(takes("name", ValueType::Integer), &[TEXT]);
    world.apps.try_version("greet", "2.0.0", description, |_| gives(&[("text", Value::Text("hi".into()))]));
    let not_called = || world.apps.not_called.load(Ordering::SeqCst);
    let run = world.run("greeting", json!({"name": 7})).await;
    assert_eq!((run.summary.state, not_called()), (RunState::Succeeded, 0));
    // What a template gives is only known once it is rendered.
    let run = world.run("greeting", json!({"name": "Ada"})).await;
    let why = run.steps[0].error.as_deref().unwrap();
    assert!(why.contains("input name is \"Ada\""), "{why}");
    assert_eq!((run.steps[0].app_version.as_str(), not_called()), ("2.0.0", 1));

    // A template that does not render is no fault of the version.
    let mut document = greeting("broken");
    document["steps"][0]["inputs"]["name"] = "{{ trigger.inputs.name.a.b }}".into();
    world.store_json(document).await;
    let run = world.run("broken", json!({})).await;
    assert_eq!((run.summary.state, not_called()), (RunState::Failed, 1), "{run:?}");
}

#[tokio::test]
async fn a_playbook_shows_what_of_it_does_not_fit_what_it_calls_any_more() {
    let world = world().await;
    world.secrets.put("token", "hunter2");
    let mut within = greeting("within");
    within["trigger"] = json!({"type": "playbook", "inputs": {"name": {"type": "text"}}});
    within["outputs"] = json!({"said": "{{ steps.tell.value }}"});
    world.store_json(within.clone()).await;
    let secret = Input { secret: true, ..Input::new("key", ValueType::Text) };
    world.apps.put_quick("login", describe(vec![secret], &[]), |_| gives(&[]));
    let steps = json!([
        {"id": "login", "app": "login", "inputs": {"key": "{{ secrets.token }}"}},
        {"id": "inner", "playbook": "within", "inputs": {"name": "Ada"}},
        {"id": "tell", "app": "echo", "inputs": {"value": "{{ steps.inner.said }}"}},
    ]);
    world.store_json(json!({"name": "outer", "trigger": {"type": "manual"}, "steps": steps})).await;
    let problem = async |name: &str| {
        let shown = world.playbooks.get(world.organisation, name).await.unwrap().problem.clone();
        let listed =
            world.playbooks.list(world.organisation, &bellwether_kernel::PageRequest::first(10)).await;
        let listed = listed.unwrap().items.into_iter().find(|playbook| playbook.name == name).unwrap();
        assert_eq!(shown, listed.problem);
        shown
    };
    for name in ["greeting", "within", "outer"] {
        assert_eq!(problem(name).await, None);
    }
    let put = |inputs, outputs: &[(&str, ValueType)]| {
        world.apps.put_quick("greet", describe(inputs, outputs), |_| gives(&[]));
    };
    let required = Input { required: true, ..Input::new("tone", ValueType::Text) };
    for (inputs, outputs, expected) in [
        (
            takes("who", ValueType::Text),
            TEXT,
            "steps[0].inputs.name is \"name\", expected an input of greet: who",
        ),
        (
            [takes("name", ValueType::Text), vec![required]].concat(),
            TEXT,
            "steps[0].inputs.tone is \"nothing\", expected text: greet requires it",
        ),
        (
            takes("name", ValueType::Text),
            ("words", ValueType::Text),
            "steps[0] is \"steps.hello.text\", expected an output of step hello: words",
        ),
    ] {
        put(inputs, &[outputs]);
        let told = problem("greeting").await.unwrap();
        assert!(told.starts_with("line 1, column ") && told.ends_with(expected), "{told}");
        let within = problem("within").await.unwrap();
        assert!(within.ends_with(expected), "{within}");
        let outer = problem("outer").await.unwrap();
        assert_eq!(outer, format!("in the playbook \"within\", which it runs: {within}"));
    }
    put(takes("name", ValueType::Text), &[TEXT]);
    assert_eq!((problem("greeting").await, problem("outer").await), (None, None));

    world.apps.break_off("greet", "it is switched off");
    assert!(problem("greeting").await.unwrap().ends_with("this one is installed, and it is switched off"));
    world.secrets.remove("token");
    let told = problem("outer").await.unwrap();
    assert!(told.ends_with("expected the name of a secret that is there"), "{told}");
    world.playbooks.delete(&world.admin, "within", true).await.unwrap();
    let told = problem("outer").await.unwrap();
    assert!(
        told.ends_with("steps[1].playbook is \"within\", expected the name of a published playbook"),
        "{told}"
    );
}

#[tokio::test]
async fn the_playbooks_that_a_version_of_an_app_breaks_are_known_before_it_is_there() {
    let world = world().await;
    let mut pinned = greeting("pinned");
    pinned["steps"][0]["app"] = "greet@1.2.0".into();
    world.store_json(pinned).await;
    let draft = greeting("draft").to_string();
    world.playbooks.save_draft(&world.admin, &draft, Format::Json).await.unwrap();
    let misfits = async |inputs| {
        let description = describe(inputs, &[TEXT]);
        let found = world.playbooks.misfits(world.organisation, "greet", &description).await.unwrap();
        found.into_iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>()
    };
    assert!(misfits(takes("name", ValueType::Text)).await.is_empty());
    let expected = "greeting: steps[0].inputs.name is \"name\", expected an input of greet: who";
    assert_eq!(misfits(takes("who", ValueType::Text)).await, [expected]);
}
