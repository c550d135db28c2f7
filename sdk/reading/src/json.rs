//! JSON, and where in it what is wrong.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;

use crate::FieldError;
use crate::said::{field_error, pointer, value_at, without_place};

/// Why a text is not the JSON that was asked for. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// There is nothing at all.
    #[error("it is empty, expected JSON")]
    Empty,
    /// It is not JSON.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is JSON of another shape.
    #[error("line {line}, column {column}: {field}")]
    Field {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// What is wrong there.
        field: FieldError,
    },
    /// It is JSON by its grammar alone: a number no double holds, half a character, too many levels.
    #[error("line {line}, column {column}: {path}: {message}")]
    Value {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
        /// The path of the value: `samples[3].key`.
        path: String,
        /// What is wrong there.
        message: String,
    },
}

/// Reads JSON; `whole` is what it is called where no field of it is wrong: "body". What reads costs one pass; only what
/// does not is read again to find out where it fails.
///
/// # Errors
/// Says where it fails, and at which field.
pub fn from_json<T: DeserializeOwned>(whole: &str, text: &[u8]) -> Result<T, JsonError> {
    serde_json::from_slice(text).map_err(|error| why::<T>(whole, text, &error))
}

#[cold]
fn why<T: DeserializeOwned>(whole: &str, text: &[u8], error: &serde_json::Error) -> JsonError {
    if text.trim_ascii().is_empty() {
        return JsonError::Empty;
    }
    let said = |error: &serde_json::Error| without_place(&error.to_string()).to_owned();
    // Of a wrong type serde_json says in some places what it says of a wrong character.
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(text) {
        return JsonError::Syntax { line: error.line(), column: error.column(), message: said(&error) };
    }
    let (line, column) = (error.line(), error.column());
    let mut reader = serde_json::Deserializer::from_slice(text);
    let Err(wrong) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        return JsonError::Syntax { line, column, message: said(error) };
    };
    let path = wrong.path().to_string();
    let message = if wrong.inner().is_data() {
        wrong.inner().to_string()
    } else if let Some(message) = names_at::<T>(text, &path) {
        message
    } else {
        return JsonError::Value { line, column, path, message: said(error) };
    };
    let value = |path: &str| value_at(&serde_json::from_slice(text).ok()?, path);
    JsonError::Field { line, column, field: field_error(whole, &path, &message, value) }
}

/// What serde says of the value at `path` if it is a text. Of a value that is none, where one of some names is wanted, it
/// only says that it expected another.
fn names_at<T: DeserializeOwned>(text: &[u8], path: &str) -> Option<String> {
    let mut json: Json = serde_json::from_slice(text).ok()?;
    let value = json.pointer_mut(&pointer(path))?;
    *value = value.to_string().into();
    let wrong = serde_path_to_error::deserialize::<_, T>(&json).err()?;
    (wrong.path().to_string() == path).then(|| wrong.into_inner().to_string())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Read,
        Write,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it reads counts")]
    struct Key {
        role: Role,
        #[serde(default)]
        more: Vec<Role>,
        #[serde(default)]
        share: f64,
    }

    #[test]
    fn what_does_not_read_is_told_by_its_place_field_value_and_what_would_be_right() {
        for (text, told) in [
            ("", "it is empty, expected JSON"),
            (" \n", "it is empty, expected JSON"),
            ("{\"role\": [}", "line 1, column 11: expected value"),
            ("{\n\"role\": \"king\"}", "line 2, column 14: role is \"king\", expected one of read, write"),
            ("{\"role\": 5}", "line 1, column 10: role is \"5\", expected one of read, write"),
            ("{\"role\": [1]}", "line 1, column 10: role is \"[1]\", expected one of read, write"),
            ("{}", "line 1, column 2: role is \"\", expected to be there"),
            ("[]", "line 1, column 2: the key is \"[]\", expected an object"),
            (
                "{\"role\": \"read\", \"more\": [\"write\", true]}",
                "line 1, column 36: more[1] is \"true\", expected one of read, write",
            ),
            (
                "{\"role\": \"read\", \"role\": \"write\"}",
                "line 1, column 23: role is \"write\", expected to be there once",
            ),
            (
                "{\"rule\": 1}",
                "line 1, column 7: rule is \"1\", expected another name: one of role, more, share",
            ),
            ("{\"role\": \"read\", \"share\": 1e999}", "line 1, column 31: share: number out of range"),
        ] {
            let refused = from_json::<Key>("the key", text.as_bytes()).expect_err(text);
            assert_eq!(refused.to_string(), told, "{text}");
        }
    }
}
