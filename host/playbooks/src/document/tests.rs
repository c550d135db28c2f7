//! Documents as they are read.

use super::*;
use serde_json::json;

const TOML: &str = r#"
name = "count"
description = "Counts."

[trigger]
type = "webhook"

[[steps]]
id = "add"
app = "metric"

[steps.inputs]
value = 1
date = 2024-04-01
times = [2024-04-01T10:00:00Z]
"#;

#[test]
fn toml_and_json_say_the_same() {
    let json = json!({
        "name": "count", "description": "Counts.", "trigger": {"type": "webhook"},
        "steps": [{"id": "add", "app": "metric", "inputs": {
            "value": 1, "date": "2024-04-01", "times": ["2024-04-01T10:00:00Z"],
        }}],
    });
    let from_toml = Document::read(TOML, Format::Toml).unwrap();
    assert_eq!(from_toml, Document::read(&json.to_string(), Format::Json).unwrap());
    assert_eq!(from_toml.trigger.kind(), TriggerKind::Webhook);
}

/// A document of two lines and `rest`.
fn within(rest: &str) -> String {
    format!("{{\n\"name\": \"a\",\n{rest}\n}}")
}

#[test]
fn what_does_not_read_is_refused_with_its_place() {
    let cases = [
        (Format::Toml, TOML.replace("name = ", "name : "), (2, 6), "key"),
        (Format::Toml, TOML.replace("app =", "apps ="), (10, 1), "unknown field `apps`"),
        (Format::Toml, TOML.replace("webhook", "telepathy"), (6, 8), "unknown variant `telepathy`"),
        (Format::Toml, TOML.replace("name = \"count\"", "name = 1"), (2, 8), "string"),
        (Format::Toml, TOML.replace("id = \"add\"\n", ""), (8, 1), "missing field `id`"),
        (Format::Toml, TOML.replace("name = \"count\"", ""), (1, 1), "missing field `name`"),
        (Format::Json, "{\n  \"name\": \"a\",\n  \"nam\": 1}".into(), (3, 3), "unknown field `nam`"),
        // What is last in its object is not taken for the brace behind it.
        (Format::Json, within("\"timeout\": \"soon\"\n"), (3, 1), "\"soon\" is no span of time"),
        (Format::Json, within("\"timeout\": 5\n"), (3, 1), "invalid type: integer"),
        (
            Format::Json,
            within("\"trigger\": {\n\"type\": \"every\",\n\"interval\": \"x\"\n}\n"),
            (5, 1),
            "\"x\" is no",
        ),
        (
            Format::Json,
            within("\"trigger\": {\n\"type\": \"every\"\n}\n"),
            (3, 1),
            "missing field `interval`",
        ),
        (
            Format::Json,
            within("\"steps\": [{},\n{\n\"id\": \"b\",\n\"timeout\": \"x\"\n}]"),
            (3, 11),
            "missing field `id`",
        ),
        (
            Format::Json,
            within("\"steps\": [{\"id\": \"a\"},\n{\n\"id\": \"b\",\n\"timeout\": \"x\"\n}]"),
            (6, 1),
            "\"x\" is no span of time",
        ),
        (Format::Json, within("\"name\": \"b\"\n"), (3, 6), "duplicate field `name`"),
        (Format::Json, "{\n  \"name\": \"a\",\n}".into(), (3, 1), "trailing comma"),
        (
            Format::Json,
            format!("{{\"outputs\": {{\"a\": {}", "[".repeat(200)),
            (1, 144),
            "too deep in each other here; a value may have 64 levels",
        ),
        (Format::Json, "".into(), (1, 1), "EOF"),
        (Format::Json, "{\"name\": \"a\"} x".into(), (1, 13), "missing field `trigger`"),
    ];
    for (format, source, place, expected) in cases {
        let error = Document::read(&source, format).unwrap_err();
        let PlaybookError::Syntax { line, column, message, .. } = &error else { panic!("{error}") };
        assert!(message.contains(expected), "{message}");
        assert_eq!((*line, *column), place, "{error}");
    }
}

#[test]
fn what_does_not_read_is_named_by_its_field_where_it_is_in_one() {
    let cases = [
        (Format::Toml, TOML.replace("webhook", "telepathy"), Some("trigger.type")),
        (Format::Toml, TOML.replace("app =", "timeout = \"soon\"\napp ="), Some("steps[0].timeout")),
        (Format::Toml, TOML.replace("id = \"add\"\n", ""), Some("steps[0]")),
        (Format::Toml, TOML.replace("app =", "apps ="), Some("steps[0].apps")),
        (Format::Toml, TOML.replace("name = ", "name : "), None),
        (
            Format::Json,
            within("\"steps\": [{\"id\": \"a\"}, {\"id\": \"b\", \"timeout\": \"x\"}]"),
            Some("steps[1].timeout"),
        ),
        (Format::Json, within("\"trigger\": {\"type\": \"every\"}"), Some("trigger")),
        (Format::Json, "{\"name\": 1".into(), Some("name")),
        (Format::Json, "{\"name\"".into(), None),
    ];
    for (format, source, expected) in cases {
        let error = Document::read(&source, format).unwrap_err();
        let PlaybookError::Syntax { line, column, field, message } = &error else { panic!("{error}") };
        assert_eq!(field.as_deref(), expected, "{error}");
        let field = field.as_ref().map_or_else(String::new, |field| format!("{field}: "));
        assert_eq!(error.to_string(), format!("line {line}, column {column}: {field}{message}"));
    }
}

#[test]
fn a_field_the_trigger_does_not_have_is_named_at_its_own_line() {
    let cases = [
        (Format::Toml, TOML.replace("\"webhook\"", "\"webhook\"\nsigned = true"), "signed", (7, 1)),
        (Format::Toml, TOML.replace("\"webhook\"", "\"webhook\"\ninterval = \"1h\""), "interval", (7, 1)),
        (Format::Json, within("\"trigger\": {\"type\": \"manual\",\n\"every\": 1}"), "every", (4, 1)),
        (
            Format::Json,
            within("\"trigger\": {\"type\": \"manual\",\n\"interval\": \"1h\"}"),
            "interval",
            (4, 1),
        ),
    ];
    for (format, source, name, place) in cases {
        let error = Document::read(&source, format).unwrap_err();
        let PlaybookError::Syntax { line, column, field, .. } = &error else { panic!("{error}") };
        assert_eq!(field.as_deref(), Some(format!("trigger.{name}").as_str()), "{error}");
        assert_eq!((*line, *column), place, "{error}");
    }
}

#[test]
fn what_is_expected_is_said_in_the_words_of_documents() {
    let cases = [
        (
            Format::Toml,
            TOML.replace("\"webhook\"", "\"webhook\"\nsignature = \"github\""),
            "expected a table",
        ),
        (
            Format::Toml,
            TOML.replace("app =", "parallel = \"many\"\napp ="),
            "expected a whole number, 0 or more",
        ),
        (
            Format::Toml,
            TOML.replace("app =", "retry = { attempts = 1, backoff = \"x\" }\napp ="),
            "expected a number",
        ),
        (Format::Json, within("\"steps\": 5"), "expected a list"),
        (
            Format::Json,
            within("\"steps\": [], \"trigger\": {\"type\": \"manual\"}, \"outputs\": 5"),
            "expected an object",
        ),
        (Format::Json, "[]".into(), "expected an object"),
        (Format::Json, "5".into(), "expected an object"),
    ];
    for (format, source, expected) in cases {
        let error = Document::read(&source, format).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}
