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
fn values_that_have_no_order_are_never_greater_or_less() {
    let values = [
        ("trigger.body.text", "a text"),
        ("'3'", "a text"),
        ("''", "a text"),
        ("steps.one.total", "a number"),
        ("[1]", "a list"),
        ("range(3)", "a list"),
        ("trigger.body.none", "null"),
        ("steps.one", "an object"),
        ("{}", "an object"),
    ];
    for (left, one) in values {
        for (right, other) in values {
            if one == other && one != "null" && one != "an object" {
                continue;
            }
            for operator in ["<", "<=", ">", ">="] {
                // Constants alone are compared while the template is compiled.
                let left = format!("[{left}, trigger][0]");
                for text in [
                    format!("{{{{ {left} {operator} {right} }}}}"),
                    format!("{{% if {left} {operator} {right} %}}yes{{% endif %}}"),
                    format!("a {{{{ [{left}] | select('{operator}', {right}) | list }}}}"),
                    format!("{{{{ {left} {operator} {right} == true }}}}"),
                    format!("{{{{ 'yes' if true and (not {left} {operator} {right}) else 'no' }}}}"),
                ] {
                    let expected = format!("{one} and {other} cannot be compared with `{operator}`");
                    match render(&text) {
                        Err(RenderError::Failed(message)) => {
                            assert!(message.contains(&expected), "{text}: {message}");
                        }
                        other => panic!("{text}: {other:?}"),
                    }
                }
            }
        }
    }
    let Err(RenderError::Failed(message)) = render("{{ trigger.body.text > 3 }}") else { panic!() };
    assert!(message.contains("`| int` and `| float` make a number of a text"), "{message}");
}

#[test]
fn values_that_have_an_order_are_compared_as_everywhere() {
    let cases = [
        ("{{ steps.one.total > 3 }}", json!(true)),
        ("{{ steps.one.total >= 7.0 }}", json!(true)),
        ("{{ steps.one.total < 7.5 }}", json!(true)),
        ("{{ steps.one.total <= 6 }}", json!(false)),
        ("{{ true < steps.one.total }}", json!(true)),
        ("{{ '10' < steps.one.list[0] }}", json!(true)),
        ("{{ steps.one.list < ['a', 'c'] }}", json!(true)),
        ("{{ steps.one.list > ['a'] }}", json!(true)),
        ("{{ range(3) <= [0, 1, 2] }}", json!(true)),
        ("{{ [steps.one.total, 'a'] < [8, 1] }}", json!(true)),
        ("{{ ('12' | int) > steps.one.total }}", json!(true)),
        ("{{ steps.one.total == '7' }}", json!(false)),
        ("{{ steps.one.total != '7' }}", json!(true)),
        ("{{ 1 < steps.one.total < 10 }}", json!(true)),
        ("{{ 1 < steps.one.total < 5 }}", json!(false)),
        ("{{ 1 < steps.one.total > 10 }}", json!(false)),
        ("{{ 10 > steps.one.total >= 7 > 6.5 }}", json!(true)),
        ("{{ 8 < steps.one.total < trigger.missing }}", json!(false)),
        ("{{ 1 <= steps.one.total == 7 }}", json!(true)),
        ("{{ 7 == steps.one.total >= 7 and 'x' or 'y' }}", json!("x")),
        ("{{ trigger.body.a[:2] | select('gt', 2) | list }}", json!([2.5])),
        (
            "{% for x in [3, 1, 2] if x > 1 %}{{ loop.index }}:{{ x }}{% if 2 < x < 4 %}!{% endif %} {% else %}none{% endfor %}",
            json!("1:3! 2:2 "),
        ),
        ("{% set x = steps.one.total > 3 %}{{ x and 'a' or 'b' }}", json!("a")),
    ];
    for (text, expected) in cases {
        assert_eq!(render(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_value_becomes_the_same_text_wherever_it_becomes_one() {
    let cases = [
        ("true", "true"),
        ("trigger.body.none", ""),
        ("steps.one.total", "7"),
        ("trigger.body.big", "18446744073709551615"),
        ("trigger.body.a", "[1,2.5,null,true]"),
        ("steps.one", r#"{"total":7,"list":["a","b"]}"#),
        ("trigger.body.text", "é\n"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-7"),
        ("1.0", "1.0"),
        ("2 ** 100", "1267650600228229401496703205376"),
    ];
    for (value, expected) in cases {
        for (text, expected) in [
            (format!("x{{{{ {value} }}}}"), format!("x{expected}")),
            (format!("{{{{ 'x' ~ [{value}, trigger][0] ~ 1 }}}}"), format!("x{expected}1")),
            (format!("{{{{ [{value}, trigger][0] | string }}}}"), expected.to_owned()),
            (format!("{{{{ ['a', {value}] | join('-') }}}}"), format!("a-{expected}")),
            (format!("{{{{ [{{'k': {value}}}] | join(attribute='k') }}}}"), expected.to_owned()),
            (format!("{{% set x = 'x' ~ [{value}, trigger][0] %}}{{{{ x }}}}"), format!("x{expected}")),
        ] {
            assert_eq!(render(&text), Ok(expected.into()), "{text}");
        }
    }
    for (text, expected) in [
        ("{{ 'abc' | join(', ') }}", "a, b, c"),
        ("{{ range(3) | join(d=0) }}", "00102"),
        ("{{ [] | join('x') }}", ""),
    ] {
        assert_eq!(render(text), Ok(expected.into()), "{text}");
    }
    for text in [
        "x{{ 1e308 * 10 }}",
        "{{ 'x' ~ trigger.body.missing }}",
        "{{ trigger.body.missing | string }}",
        "{{ trigger.body.missing | join }}",
        "{{ 1 | join }}",
        "{{ [1] | join(e=1) }}",
    ] {
        assert!(matches!(render(text), Err(RenderError::Failed(_))), "{text}");
    }
}

#[test]
fn a_comparison_names_what_is_not_there_and_costs_what_it_takes() {
    let cases = [
        ("{{ trigger.body.missing > 3 }}", "`trigger.body.missing` is undefined"),
        ("a {{ 3 <= trigger.body.missing }}", "`trigger.body.missing` is undefined"),
        ("{{ 1 < trigger.body.missing < 3 }}", "`trigger.body.missing` is undefined"),
        ("a\n{{ steps.one.total < 'x' }}", "(line 2 of the template)"),
        (
            "{% for x in range(100000) %}{% for y in range(100000) if x < y %}{% endfor %}{% endfor %}x",
            "fuel",
        ),
        ("{% for x in range(1000) %}{% if range(100000) < range(99999) %}{% endif %}{% endfor %}x", "fuel"),
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
    fn no_text_makes_the_engine_panic(text in "(\\{\\{|\\}\\}|\\{%|%\\}|[a-z .|'(){}\\[\\]~*/<>0-9é-]|steps\\.one\\.list| if | for | in ){0,30}") {
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
