//! What serde says about input it cannot read, turned into the field, its value and what would be right.

use serde_json::Value as Json;

use crate::FieldError;

/// The field error for serde's `message` at `path`, as `serde_path_to_error` writes one; `value` looks up what the caller
/// wrote at a path. `whole` is what the input as a whole is called: "body".
#[must_use]
pub fn field_error(
    whole: &str,
    path: &str,
    message: &str,
    value: impl Fn(&str) -> Option<String>,
) -> FieldError {
    let message = without_place(message);
    let path = if path == "." { "" } else { path };
    if let Some(name) = quoted(message, "missing field ") {
        return FieldError::new(child(path, name), "", "to be there");
    }
    if let Some(name) = quoted(message, "unknown field ") {
        let field = child(path, name);
        let value = value(&field).unwrap_or_default();
        let expected = match one_of(message) {
            names if names.is_empty() => "nothing here".to_owned(),
            names => format!("another name: {names}"),
        };
        return FieldError::new(field, value, expected);
    }
    if let Some(name) = quoted(message, "duplicate field ") {
        let field = child(path, name);
        let value = value(&field).unwrap_or_default();
        return FieldError::new(field, value, "to be there once");
    }
    let value = value(path).unwrap_or_default();
    let field = if path.is_empty() { whole } else { path };
    if message.starts_with("unknown variant ") {
        return FieldError::new(field, value, one_of(message));
    }
    let expected = message.split_once(", expected ").map_or(message, |(_, expected)| expected);
    let bare = ["integer", "floating point", "boolean"];
    if expected == "a string"
        && bare.iter().any(|kind| message.starts_with(&format!("invalid type: {kind} ")))
    {
        return FieldError::new(field, value, "a text: put it in quotes");
    }
    FieldError::new(field, value, in_words(expected))
}

/// A message without the line and column behind it.
pub(crate) fn without_place(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |place| &message[..place])
}

/// What JSON holds at a path as `samples[3].key`; a text without its quotes.
#[must_use]
pub fn value_at(json: &Json, path: &str) -> Option<String> {
    match json.pointer(&pointer(path))? {
        Json::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    }
}

/// A path as `samples[3].key` as a JSON pointer, as RFC 6901 writes one.
#[must_use]
pub fn pointer(path: &str) -> String {
    let parts = path.split(['.', '[']).filter(|part| !part.is_empty());
    parts
        .map(|part| format!("/{}", part.trim_end_matches(']').replace('~', "~0").replace('/', "~1")))
        .collect()
}

/// What is expected in the words of who calls, where serde says it in Rust's.
#[must_use]
pub fn in_words(expected: &str) -> &str {
    match expected {
        "f64" | "f32" | "invalid float literal" | "cannot parse float from empty string" => "a number",
        "i8"
        | "i16"
        | "i32"
        | "i64"
        | "invalid digit found in string"
        | "cannot parse integer from empty string" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not below 0",
        "number too large to fit in target type" => "a smaller number",
        "number too small to fit in target type" => "a larger number",
        "a boolean" | "provided string was not `true` or `false`" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") || expected.starts_with("internally tagged enum ") => {
            "an object"
        }
        _ => expected,
    }
}

/// The name in back quotes behind `start`, where the message begins so.
fn quoted<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

/// The path of `name` under `path`; some readers count the unknown name to the path already.
fn child(path: &str, name: &str) -> String {
    match path.strip_suffix(name) {
        Some("") => name.to_owned(),
        Some(parent) if parent.ends_with('.') => path.to_owned(),
        _ if path.is_empty() => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

/// The names behind "expected", without serde's quotes; empty if there are none.
fn one_of(message: &str) -> String {
    let Some((_, names)) = message.split_once(", expected ") else { return String::new() };
    let names = names.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "");
    if names.contains(", ") { format!("one of {names}") } else { names }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn serde_messages_become_field_value_and_expectation() {
        let value = |path: &str| Some(format!("<{path}>"));
        for (path, message, field, held, expected) in [
            (".", "missing field `name` at line 1 column 2", "name", "", "to be there"),
            ("samples[3]", "missing field `metric`", "samples[3].metric", "", "to be there"),
            ("a.b", "unknown field `b`, expected `c` or `d`", "a.b", "<a.b>", "another name: one of c, d"),
            (
                ".",
                "unknown field `b`, expected one of `c`, `d`, `e`",
                "b",
                "<b>",
                "another name: one of c, d, e",
            ),
            ("b", "unknown field `b`, there are no fields", "b", "<b>", "nothing here"),
            ("a", "duplicate field `b` at line 1 column 9", "a.b", "<a.b>", "to be there once"),
            (
                "role",
                "unknown variant `king`, expected `read` or `write`",
                "role",
                "<role>",
                "one of read, write",
            ),
            (
                "n",
                "invalid type: string \"x\", expected u64 at line 3 column 9",
                "n",
                "<n>",
                "a whole number, not below 0",
            ),
            ("n", "invalid digit found in string", "n", "<n>", "a whole number"),
            (
                "query",
                "invalid type: integer `404`, expected a string",
                "query",
                "<query>",
                "a text: put it in quotes",
            ),
            ("query", "invalid type: map, expected a string", "query", "<query>", "a text"),
            (".", "invalid length 0, expected struct NewSamples with 2 elements", "body", "<>", "an object"),
            ("n", "what a field's own reader says", "n", "<n>", "what a field's own reader says"),
        ] {
            assert_eq!(
                field_error("body", path, message, value),
                FieldError::new(field, held, expected),
                "{message}"
            );
        }
    }

    #[test]
    fn a_value_is_found_by_the_path_of_its_field() {
        let json = json!({"a": [{"b": "text"}, {"b": 1}], "c/d": null});
        for (path, found) in
            [("a[0].b", Some("text")), ("a[1].b", Some("1")), ("c/d", Some("null")), ("a[2].b", None)]
        {
            assert_eq!(value_at(&json, path).as_deref(), found, "{path}");
        }
    }
}
