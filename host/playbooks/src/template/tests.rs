//! What templates give, refuse and cost.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn context() -> Rendered {
    from_json(&json!({
        "trigger": {"body": {"z": 1, "a": [1, 2.5, null, true], "text": "é\n", "big": u64::MAX, "none": null}},
        "steps": {"one": {"total": 7, "list": ["a", "b"]}},
    }))
}

fn render(text: &str) -> Result<Json, RenderError> {
    let mut compiler = Compiler::new();
    let template = compiler.compile(text, &mut Variables::new()).map_err(RenderError::Failed)?;
    compiler.render(&template, &context(), &mut Room::new(1000))
}

#[test]
fn a_sole_expression_keeps_its_type_and_other_text_stays_text() {
    let cases = [
        ("plain", json!("plain")),
        ("plain } text", json!("plain } text")),
        ("{{ steps.one.total }}", json!(7)),
        ("  {{- steps.one.total -}}\n", json!(7)),
        ("{{ steps.one.total }}.", json!("7.")),
        ("{{ steps.one.total }}{{ steps.one.total }}", json!("77")),
        ("{{ steps.one.total * 1.5 }}", json!(10.5)),
        ("{{ trigger.body.a }}", json!([1, 2.5, null, true])),
        ("{{ trigger.body.big }}", json!(u64::MAX)),
        ("{{ trigger.body.none }}", json!(null)),
        ("{{ steps.one }}", json!({"total": 7, "list": ["a", "b"]})),
        ("{{ {'a': 1} }}", json!({"a": 1})),
        ("{{ '}} {{' }}", json!("}} {{")),
        ("{{ trigger.body.text }}", json!("é\n")),
        ("{{ trigger.body.missing | default(0) }}", json!(0)),
        ("{{ trigger.body.a | length }}", json!(4)),
        ("{{ trigger.body.a | tojson }}", json!("[1, 2.5, null, true]")),
        ("{% for x in steps.one.list %}{{ x }},{% endfor %}", json!("a,b,")),
        ("all: {{ trigger.body.a }}", json!("all: [1,2.5,null,true]")),
        ("{{ steps.one }} ", json!({"total": 7, "list": ["a", "b"]})),
        ("{{ trigger.body.text }}|{{ trigger.body.none }}|{{ true }}", json!("é\n||true")),
        ("first\n{{ 1 }}\n", json!("first\n1\n")),
        ("<{{ '<b>' }}>", json!("<<b>>")),
        ("{# nothing #}", json!("")),
        ("{{ range(3) }}", json!([0, 1, 2])),
        ("a?b={{ 'c d/é&' | urlencode }}", json!("a?b=c%20d/%C3%A9%26")),
        ("a?{{ {'b': 'c d', 'e': 1} | urlencode }}", json!("a?b=c%20d&e=1")),
        ("{{ 'as much as fits'[:7] }}", json!("as much")),
        ("{{ 'how many words' | split | length }}", json!(3)),
    ];
    for (text, expected) in cases {
        assert_eq!(render(text), Ok(expected), "{text}");
    }
}

#[test]
fn fields_keep_the_order_they_were_written_in() {
    let Ok(Json::Object(body)) = render("{{ trigger.body }}") else { panic!() };
    assert_eq!(body.keys().collect::<Vec<_>>(), ["z", "a", "text", "big", "none"]);
}

#[test]
fn what_cannot_be_rendered_says_why() {
    let cases = [
        ("{{ trigger.body.missing }}", "`trigger.body.missing` is undefined"),
        ("is {{ trigger.body.missing }}", "`trigger.body.missing` is undefined"),
        ("{{ trigger.nobody.missing }}", "`trigger.nobody` is undefined"),
        ("{{ 1 if false }}", "undefined"),
        ("{{ [trigger.body.missing] }}", "undefined"),
        ("{{ 1e308 * 10 }}", "not finite"),
        ("{{ 2 ** 100 }}", "beyond 64 bits"),
        ("{{ range }}", "no value"),
        ("{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}x", "fuel"),
        ("{{ 'x' * 1000000000 }}", "fuel"),
        ("a {{ [range(100000)] * 100000 }}", "fuel"),
        ("{{ 'x' | int }}", "literal"),
    ];
    for (text, expected) in cases {
        match render(text) {
            Err(RenderError::Failed(message)) => assert!(message.contains(expected), "{text}: {message}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_does_not_read_is_refused_before_it_runs() {
    let cases = [
        "{{ trigger. }}",
        "{{ a b }} {{ c }}",
        "{% if x %}",
        "{{ x",
        "{{ x | nonsense }}",
        "{{ x is nonsense }}",
        "a {{ x | nonsense }}",
        "{% include 'secrets' %}",
    ];
    for text in cases {
        let error = Compiler::new().compile(text, &mut Variables::new()).map(drop).expect_err(text);
        assert!(error.starts_with("a template that reads"), "{text}: {error}");
    }
}

#[test]
fn all_of_a_steps_values_share_one_room() {
    for text in ["{{ 'x' * 600 }}", "a{{ 'x' * 600 }}", "{{ [range(300)] * 300 }}"] {
        let mut compiler = Compiler::new();
        let template = Template::List(vec![
            Template::Literal("y".repeat(500).into()),
            compiler.compile(text, &mut Variables::new()).unwrap(),
        ]);
        let rendered = compiler.render(&template, &context(), &mut Room::new(1000));
        assert_eq!(rendered, Err(RenderError::TooLarge(1000)), "{text}");
    }
}

#[test]
fn variables_are_found_wherever_they_are_read() {
    let mut variables = Variables::new();
    Compiler::new()
        .compile(
            "{% for c in trigger.body.commits %}{{ c.id }}{{ steps['a'].b }}{{ range(run.x) }}{% endfor %}",
            &mut variables,
        )
        .unwrap();
    let expected = ["range", "run.x", "steps", "trigger.body.commits"].map(String::from);
    assert_eq!(variables, Variables::from(expected));
}

proptest! {
    #[test]
    fn no_text_makes_the_engine_panic(text in "(\\{\\{|\\}\\}|\\{%|%\\}|[a-z .|'(){}\\[\\]~*/0-9é-]|steps\\.one\\.list| if | for | in ){0,30}") {
        let mut compiler = Compiler::new();
        if let Ok(template) = compiler.compile(&text, &mut Variables::new()) {
            let _ = compiler.render(&template, &context(), &mut Room::new(1000));
        }
    }

    #[test]
    fn text_without_a_template_is_passed_as_it_is(text in "[^{]*") {
        prop_assert_eq!(render(&text[..text.floor_char_boundary(900)]), Ok(Json::from(&text[..text.floor_char_boundary(900)])));
    }
}
