//! One field that is wrong.

use std::fmt;

use serde::Serialize;

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The path of the field as the caller wrote it: `samples[3].key`.
    pub field: String,
    /// The offending value, shortened to 100 characters.
    pub value: String,
    /// What would be right, as a phrase: "one of Sum, Count, Min".
    pub expected: String,
}

impl FieldError {
    /// Says that `field` holds `value` where `expected` would be right.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        let mut value = value.to_string();
        if let Some((cut, _)) = value.char_indices().nth(100) {
            value.truncate(cut);
            value.push('…');
        }
        Self { field: field.into(), value, expected: expected.into() }
    }

    /// Says that `cursor` is none of the list it is given for.
    pub fn wrong_cursor(cursor: impl fmt::Display) -> Self {
        Self::new("cursor", cursor, "`next` of the page before, unchanged")
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}, expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for FieldError {}
