//! What a document may say, and where the fault is when it does not.

use serde_json::json;

use super::*;

/// Stands for the metric app: required, typed, chosen and secret inputs.
fn add_apps(apps: &FakeApps) {
    let mut inputs = vec![
        Input { required: true, ..Input::new("name", ValueType::Text) },
        Input::new("value", ValueType::Number),
        Input { required: true, default: Some(json!(true)), ..Input::new("create", ValueType::Boolean) },
        Input::new("tags", ValueType::Texts),
        Input { secret: true, ..Input::new("token", ValueType::Text) },
    ];
    inputs.push(Input { choices: vec!["sum".into(), "count".into()], ..Input::new("kind", ValueType::Text) });
    apps.put_quick("add", describe(inputs, &[("total", ValueType::Number)]), |_| gives(&[]));
}

const GOOD: &str = r#"name = "count"

[trigger]
type = "webhook"

[[steps]]
id = "first"
app = "add"
inputs = { name = "a" }

[[steps]]
id = "second"
app = "add"

[steps.inputs]
name = "{{ trigger.body.name }}"
value = "{{ steps.first.total + 1 }}"
tags = ["a", "{{ run.id }}"]
kind = "sum"
token = "{{ trigger.headers['x-key'] }}"
"#;

#[tokio::test]
async fn a_good_document_is_accepted_in_either_format() {
    let world = World::new().await;
    add_apps(&world.apps);
    let document = world.playbooks.validate(world.organisation, GOOD, Format::Toml).await.unwrap();
    let json = serde_json::to_string_pretty(&document).unwrap();
    assert_eq!(world.playbooks.validate(world.organisation, &json, Format::Json).await.unwrap(), document);
}

#[tokio::test]
async fn a_fault_is_named_with_its_field_and_its_place() {
    let world = World::new().await;
    add_apps(&world.apps);
    // What is replaced in the good document, by what; the field at fault; line and column; what would be right.
    let cases = [
        ("\"count\"\n", "\"Count\"\n", "name", (1, 1), "characters of a-z"),
        ("\"count\"\n", "\"12\"\n", "name", (1, 1), "not digits alone"),
        ("\"second\"", "\"first\"", "steps[1].id", (12, 1), "an id no other step has"),
        ("\"second\"", "\"2nd\"", "steps[1].id", (12, 1), "the first no digit"),
        ("app = \"add\"\n\n", "app = \"ad\"\n\n", "steps[1].app", (13, 1), "an installed app"),
        ("app = \"add\"\n\n", "app = \"add@1.3.0\"\n\n", "steps[1].app", (13, 1), "is installed: add@1.2.0"),
        ("app = \"add\"\n\n", "app = \"ad@1.2.0\"\n\n", "steps[1].app", (13, 1), "an installed app"),
        ("kind =", "knid =", "steps[1].inputs.knid", (19, 1), "name, value, create, tags, token, kind"),
        ("{ name = \"a\" }", "{}", "steps[0].inputs.name", (9, 1), "text: add requires it"),
        ("\"{{ steps.first.total + 1 }}\"", "\"many\"", "steps[1].inputs.value", (17, 1), "a number"),
        ("\"{{ steps.first.total + 1 }}\"", "[1]", "steps[1].inputs.value", (17, 1), "a number"),
        ("\"{{ steps.first.total + 1 }}\"", "nan", "steps[1].inputs.value", (17, 1), "a finite number"),
        ("[\"a\", \"{{ run.id }}\"]", "[\"a\", [1]]", "steps[1].inputs.tags[1]", (18, 14), "text"),
        (
            "[\"a\", \"{{ run.id }}\"]",
            "\"a {{ run.id }}\"",
            "steps[1].inputs.tags",
            (18, 1),
            "a list of texts",
        ),
        ("\"sum\"", "\"average\"", "steps[1].inputs.kind", (19, 1), "one of sum, count"),
        ("\"{{ trigger.headers['x-key'] }}\"", "\"hunter2\"", "steps[1].inputs.token", (20, 1), "a template"),
        ("trigger.body.name", "trigger.body.", "steps[1].inputs.name", (16, 1), "a template that reads"),
        (
            "trigger.body.name",
            "trigger.body | nmae",
            "steps[1].inputs.name",
            (16, 1),
            "a template that reads",
        ),
        (
            "trigger.body.name",
            "triger.body.name",
            "steps[1].inputs.name",
            (16, 1),
            "trigger, steps, run or playbook",
        ),
        ("trigger.body.name", "name", "steps[1].inputs.name", (16, 1), "trigger, steps, run or playbook"),
        ("trigger.body.name", "trigger.inputs.name", "steps[1].inputs.name", (16, 1), "body, form, headers"),
        ("run.id", "run.number", "steps[1].inputs.tags[1]", (18, 14), "created, id"),
        (
            "steps.first.total",
            "steps.second.total",
            "steps[1].inputs.value",
            (17, 1),
            "an earlier step: first",
        ),
        (
            "steps.first.total",
            "steps.frist.total",
            "steps[1].inputs.value",
            (17, 1),
            "an earlier step: first",
        ),
        (
            "steps.first.total",
            "steps.first.sum",
            "steps[1].inputs.value",
            (17, 1),
            "an output of step first: total",
        ),
    ];
    for (good, bad, field, place, expected) in cases {
        assert!(GOOD.contains(good), "{good}");
        let source = GOOD.replacen(good, bad, 1);
        let error = world.playbooks.validate(world.organisation, &source, Format::Toml).await.unwrap_err();
        let PlaybookError::Document { line, column, error } = &error else { panic!("{error}") };
        assert_eq!((error.field.as_str(), (*line, *column)), (field, place), "{bad}: {error}");
        assert!(error.expected.contains(expected), "{bad}: {error}");
        assert!(!error.to_string().contains("hunter2"), "a secret is not repeated: {error}");
    }
}

#[tokio::test]
async fn a_name_that_is_there_twice_is_refused_wherever_it_is() {
    let world = World::new().await;
    let document = |trigger: &str, value: &str| {
        format!(
            "{{\"name\": \"a\",\n\"trigger\": {trigger},\n\"steps\": [{{\"id\": \"a\", \"app\": \"echo\", \"inputs\": {{\n{value}\n}}}}]}}"
        )
    };
    let manual = r#"{"type": "manual"}"#;
    for (trigger, value, line, name) in [
        (manual, r#""value": 1, "value": 2"#, 4, "value"),
        (manual, r#""value": [{"a": {"b": 1, "c": [], "b": null}}]"#, 4, "b"),
        (r#"{"type": "manual", "inputs": {"n": {}, "n": {"required": true}}}"#, r#""value": 1"#, 2, "n"),
    ] {
        let source = document(trigger, value);
        let refused = world.playbooks.validate(world.organisation, &source, Format::Json).await.unwrap_err();
        let told = refused.to_string();
        assert!(told.contains(&format!("line {line}, ")), "{told}");
        assert!(told.ends_with(&format!("duplicate field `{name}`")), "{told}");
    }
    let source = document(manual, r#""value": [{"a": 1.5}, {"a": true, "b": {"a": -1, "b": "b"}}, null]"#);
    world.playbooks.validate(world.organisation, &source, Format::Json).await.unwrap();
}

#[tokio::test]
async fn a_secret_input_says_nothing_of_what_the_secret_is() {
    let world = World::new().await;
    for (input, field) in [
        (json!({"type": "text", "secret": true, "default": "hunter2"}), "trigger.inputs.token.default"),
        (json!({"type": "text", "secret": true, "choices": ["hunter2"]}), "trigger.inputs.token.choices"),
    ] {
        let trigger = json!({"type": "manual", "inputs": {"token": input}});
        let source = json!({"name": "a", "trigger": trigger, "steps": [{"id": "a", "app": "echo"}]});
        let refused = world.playbooks.store(&world.admin, &source.to_string(), Format::Json, false).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.field().map(|error| error.field.as_str()), Some(field), "{refused}");
        assert!(!refused.to_string().contains("hunter2"), "a secret is not repeated: {refused}");
        let compiled = compile::Compiled::read(&source.to_string(), Format::Json, usize::MAX, None);
        assert!(compiled.is_ok(), "one that was stored before is run as it is");
    }
}

#[tokio::test]
async fn a_fault_of_a_schedule_has_its_place() {
    let world = World::new().await;
    for (trigger, fault) in [
        ("type = \"cron\"\nexpression = \"61 * * * *\"", "line 4, column 1: trigger.expression is \"61\""),
        (
            "type = \"cron\"\nexpression = \"0 0 0 1 1 * 2023\"",
            "line 4, column 1: trigger.expression is \"0 0 0 1 1 * 2023\", expected times of which one is yet to come",
        ),
        ("type = \"cron\"\nexpression = \"daily\"", "line 4, column 1: trigger.expression is \"daily\""),
        (
            "type = \"cron\"\nexpression = \"@daily\"\ntime_zone = \"Mars/Base\"",
            "line 5, column 1: trigger.time_zone is \"Mars/Base\"",
        ),
        ("type = \"every\"\ninterval = \"100ms\"", "line 4, column 1: trigger.interval is \"100ms\""),
    ] {
        let source = format!("name = \"a\"\n[trigger]\n{trigger}\n[[steps]]\nid = \"a\"\napp = \"echo\"\n");
        let error = world.playbooks.validate(world.organisation, &source, Format::Toml).await.unwrap_err();
        assert!(error.to_string().starts_with(fault), "{error}");
    }
}

#[tokio::test]
async fn a_fault_in_json_has_its_place_too() {
    let world = World::new().await;
    let source = "{\"name\": \"x\", \"trigger\": {\"type\": \"manual\"}, \"steps\": [\n  {\"id\": \"a\", \"app\": \"echo\",\n   \"inputs\": {\"value\": [1, \"{{ trigger.body }}\"]}}]}";
    let error = world.playbooks.validate(world.organisation, source, Format::Json).await.unwrap_err();
    let expected = "line 3, column 28: steps[0].inputs.value[1] is \"trigger.body\", expected a field of trigger: inputs";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.field().unwrap().field, "steps[0].inputs.value[1]");
}

#[tokio::test]
async fn a_variable_that_is_not_there_is_named_where_it_is_however_deep() {
    let world = World::new().await;
    let good = "name = \"a\"\n[trigger]\ntype = \"manual\"\n[[steps]]\nid = \"a\"\napp = \"echo\"\n[steps.inputs.value]\nlist = [1, 2, \"{{ run.id }}\"]\n[steps.inputs.value.user]\nid = \"{{ run.attempt }}\"\n";
    for (there, field, place) in [
        ("run.id", "steps[0].inputs.value.list[2]", "line 8, column 15: "),
        ("run.attempt", "steps[0].inputs.value.user.id", "line 10, column 1: "),
    ] {
        for wrong in ["trigger.body", "secrets.key", "nothing", "steps.b.value"] {
            let source = good.replace(there, wrong);
            let error =
                world.playbooks.validate(world.organisation, &source, Format::Toml).await.unwrap_err();
            assert_eq!(error.field().map(|error| error.field.as_str()), Some(field), "{error}");
            assert!(error.to_string().starts_with(place), "{error}");
        }
    }
}

#[tokio::test]
async fn a_mark_before_a_document_is_no_part_of_it() {
    let world = World::new().await;
    add_apps(&world.apps);
    let document = world.playbooks.validate(world.organisation, GOOD, Format::Toml).await.unwrap();
    let json = serde_json::to_string(&document).unwrap();
    for (source, format) in [(GOOD, Format::Toml), (json.as_str(), Format::Json)] {
        let marked = format!("\u{feff}{source}");
        let read = world.playbooks.validate(world.organisation, &marked, format).await.unwrap();
        assert_eq!(read, document);
        let wrong = marked.replacen("count", "Count", 1);
        let error = world.playbooks.validate(world.organisation, &wrong, format).await.unwrap_err();
        let plain = world.playbooks.validate(world.organisation, &wrong[3..], format).await.unwrap_err();
        assert_eq!(error.to_string(), plain.to_string(), "it moves no column");
    }
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let world = World::with_limits(Limits { steps: 2, ..Limits::default() }).await;
    let step = |id: usize| json!({"id": format!("s{id}"), "app": "echo"});
    let document =
        |steps: Vec<_>| json!({"name": "x", "trigger": {"type": "manual"}, "steps": steps}).to_string();
    for count in [0, 3] {
        let source = document((0..count).map(step).collect());
        let error = world.playbooks.validate(world.organisation, &source, Format::Json).await.unwrap_err();
        assert!(error.to_string().contains("1 to 2 steps"), "{error}");
    }
    let source = " ".repeat(256 * 1024 + 1);
    let error = world.playbooks.validate(world.organisation, &source, Format::Json).await.unwrap_err();
    assert!(matches!(error, PlaybookError::TooLarge { .. }), "{error}");
    let templates = vec!["{{ 1 }}"; 2001];
    let source = document(vec![json!({"id": "a", "app": "echo", "inputs": {"value": templates}})]);
    let error = world.playbooks.validate(world.organisation, &source, Format::Json).await.unwrap_err();
    assert!(error.to_string().contains("at most 2000 templates"), "{error}");
}

#[tokio::test]
async fn a_document_that_takes_long_to_compile_holds_nobody_up() {
    let world = World::new().await;
    for (steps, bytes, is_long) in [(3, 100, false), (100, 2_500, true)] {
        let step = |number: usize| {
            let value = format!("{}{{{{ trigger.inputs.n }}}}", "x".repeat(bytes));
            json!({"id": format!("s{number}"), "app": "echo", "inputs": {"value": value}})
        };
        let steps: Vec<_> = (0..steps).map(step).collect();
        let source = json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps}).to_string();
        let mut checking =
            std::pin::pin!(world.playbooks.validate(world.organisation, &source, Format::Json));
        let first = futures::poll!(&mut checking);
        assert_eq!(first.is_pending(), is_long);
        let checked = match first {
            std::task::Poll::Ready(checked) => checked,
            std::task::Poll::Pending => checking.await,
        };
        assert_eq!(checked.unwrap().name, "a");
    }
}

#[tokio::test]
async fn outputs_that_nobody_reads_are_named_with_the_type_of_trigger_that_reads_none() {
    let world = World::new().await;
    let steps = json!([{"id": "a", "app": "echo", "inputs": {"value": 1}}]);
    let outputs = json!({"n": "{{ steps.a.value }}", "twice": "{{ steps.a.value }}"});
    let source = json!({"name": "a", "trigger": {"type": "manual"}, "steps": steps, "outputs": outputs});
    let error =
        world.playbooks.validate(world.organisation, &source.to_string(), Format::Json).await.unwrap_err();
    let expected = "outputs is \"n, twice\", expected none: nobody reads them, as its trigger is of type manual and not playbook";
    assert!(error.to_string().ends_with(expected), "{error}");
}
