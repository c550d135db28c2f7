//! How deep lists and objects may lie in each other. Every value that comes from outside is held to one bound, where it
//! comes in: what is stored of it lies in a few levels of its own, and a reader of JSON takes no more than 128.

use serde_json::Value as Json;

use crate::FieldError;

/// How many levels of lists and objects a value that comes from outside may have: a webhook's body, an input, a value of
/// a document, an output. Nothing people write or services send comes near; and twice as many are the most that
/// `serde_json` reads, which the value's own record, and the answer it is shown in, must stay below.
pub const MAX_NESTING: usize = 64;

/// How many levels of lists and objects `json` has: none for a text, one for `[]`.
#[must_use]
pub fn nesting(json: &Json) -> usize {
    match json {
        Json::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Json::Object(fields) => 1 + fields.values().map(nesting).max().unwrap_or(0),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => 0,
    }
}

/// Refuses what is nested deeper than [`MAX_NESTING`]. Nothing of the value is in the error: it may be a secret.
///
/// # Errors
/// Names `field` and how deep it is.
pub fn check_nesting(field: &str, json: &Json) -> Result<(), FieldError> {
    match nesting(json) {
        levels if levels > MAX_NESTING => Err(too_deep(field, levels)),
        _ => Ok(()),
    }
}

/// As [`check_nesting`], for the text of JSON that may be too deep to be read at all.
///
/// # Errors
/// Names `field` and how deep it is.
pub fn check_text_nesting(field: &str, text: &str) -> Result<(), FieldError> {
    let (mut level, mut levels) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            // Brackets within a text are no levels.
            _ if in_text => {}
            b'[' | b'{' => {
                level += 1;
                levels = levels.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    if levels > MAX_NESTING { Err(too_deep(field, levels)) } else { Ok(()) }
}

fn too_deep(field: &str, levels: usize) -> FieldError {
    FieldError::new(
        field,
        format_args!("nested {levels} levels deep"),
        format!("at most {MAX_NESTING} levels of lists and objects in each other"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn levels_are_counted_in_values_and_in_their_text() {
        let cases = [
            (json!("[["), 0),
            (json!(1), 0),
            (json!([]), 1),
            (json!({"a[": "\\\"{{["}), 1),
            (json!([1, {"a": [2], "b": 3}, [4]]), 3),
        ];
        for (json, levels) in cases {
            assert_eq!(nesting(&json), levels, "{json}");
            let mut text = json.to_string();
            assert!(check_text_nesting("body", &text).is_ok(), "{text}");
            text = format!("{}{text}{}", "[".repeat(MAX_NESTING - levels), "]".repeat(MAX_NESTING - levels));
            assert!(check_text_nesting("body", &text).is_ok(), "{text}");
            assert!(check_text_nesting("body", &format!("[{text}]")).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_too_deep_is_refused_with_how_deep_it_is() {
        let deep = |levels| (0..levels).fold(json!(null), |inner, _| json!([inner]));
        assert_eq!(check_nesting("body", &deep(MAX_NESTING)), Ok(()));
        let error = check_nesting("body", &deep(MAX_NESTING + 1)).unwrap_err().to_string();
        let expected = "body is \"nested 65 levels deep\", expected at most 64 levels of lists and objects in each other";
        assert_eq!(error, expected);
        let unread = "[".repeat(1_000);
        assert!(check_text_nesting("body", &unread).unwrap_err().value.contains("1000"));
    }
}
