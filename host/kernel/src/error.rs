//! The kinds of failure every crate's error can be asked for, so that each dialect maps them once.

use std::fmt;

use serde::Serialize;

/// What a caller can do about an error; one line of every error-to-response table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong; repeating it unchanged is useless.
    Invalid,
    /// Nobody, or nobody this host knows, is asking.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// There is no such thing, or none the caller may see.
    NotFound,
    /// It clashes with what is already there.
    Conflict,
    /// The request is larger than a limit allows.
    TooLarge,
    /// The caller has used up its share for now.
    RateLimited,
    /// The host cannot do this now; later it may.
    Unavailable,
    /// It took longer than it was allowed to.
    Deadline,
    /// A plugin failed at its work.
    Plugin,
    /// A fault of the host itself.
    Internal,
}

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
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}, expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for FieldError {}
