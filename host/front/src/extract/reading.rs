//! What serde says about input it cannot read, turned into the field, its value and what would be right.

use bellwether_kernel::FieldError;

/// The field error for serde's `message` at `path`; `value` looks up what the caller wrote at a path.
pub(super) fn field_error(path: &str, message: &str, value: impl Fn(&str) -> Option<String>) -> FieldError {
    let message = match message.rfind(" at line ") {
        Some(place) => &message[..place],
        None => message,
    };
    let path = if path == "." { "" } else { path };
    if let Some(name) = quoted(message, "missing field ") {
        return FieldError::new(child(path, name), "", "to be there");
    }
    if let Some(name) = quoted(message, "unknown field ") {
        let field = child(path, name);
        let value = value(&field).unwrap_or_default();
        return FieldError::new(field, value, one_of(message));
    }
    let value = value(path).unwrap_or_default();
    let field = if path.is_empty() { "body" } else { path };
    if message.starts_with("unknown variant ") {
        return FieldError::new(field, value, one_of(message));
    }
    let expected = message.split_once(", expected ").map_or(message, |(_, expected)| expected);
    FieldError::new(field, value, expected)
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

/// The names behind "expected", without serde's quotes.
fn one_of(message: &str) -> String {
    match message.split_once(", expected ") {
        Some((_, names)) => {
            let names = names.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "");
            if names.contains(", ") { format!("one of {names}") } else { names }
        }
        None => "nothing here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_messages_become_field_value_and_expectation() {
        let value = |path: &str| Some(format!("<{path}>"));
        for (path, message, field, held, expected) in [
            (".", "missing field `name` at line 1 column 2", "name", "", "to be there"),
            ("samples[3]", "missing field `metric`", "samples[3].metric", "", "to be there"),
            ("a.b", "unknown field `b`, expected `c` or `d`", "a.b", "<a.b>", "one of c, d"),
            (".", "unknown field `b`, expected one of `c`, `d`, `e`", "b", "<b>", "one of c, d, e"),
            ("b", "unknown field `b`, there are no fields", "b", "<b>", "nothing here"),
            (
                "role",
                "unknown variant `king`, expected `read` or `write`",
                "role",
                "<role>",
                "one of read, write",
            ),
            ("n", "invalid type: string \"x\", expected u64 at line 3 column 9", "n", "<n>", "u64"),
            ("n", "invalid digit found in string", "n", "<n>", "invalid digit found in string"),
        ] {
            assert_eq!(
                field_error(path, message, value),
                FieldError::new(field, held, expected),
                "{message}"
            );
        }
    }
}
