//! JSON as documents are written in it: where in it what is wrong, and names that are given twice.

use std::collections::HashSet;

use bellwether_kernel::value::MAX_NESTING;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Document, refused, syntax, unknown_in};
use crate::position::{Path, locate};
use crate::{Format, PlaybookError};

/// Reads a document.
///
/// # Errors
/// [`PlaybookError::Syntax`], as [`Document::read`].
pub(super) fn read(source: &str) -> Result<Document, PlaybookError> {
    serde_json::from_str(source).map_err(|error| {
        let message = message(&error);
        match refused_in(source, &error, &message) {
            Some(path) => {
                let path = unknown_in(&path, &message).unwrap_or(path);
                syntax(locate(source, Format::Json, &path), Some(&path), &message, Format::Json)
            }
            None => syntax((error.line(), error.column()), None, &message, Format::Json),
        }
    })
}

/// Refuses an object with a name twice, wherever it is: of all but the last nothing would be left.
///
/// # Errors
/// [`PlaybookError::Syntax`].
pub(crate) fn check_names(source: &str) -> Result<(), PlaybookError> {
    let checked = serde_json::from_str::<Distinct>(source);
    let place = |error: &serde_json::Error| (error.line(), error.column());
    checked.map(drop).map_err(|error| syntax(place(&error), None, &message(&error), Format::Json))
}

/// What is wrong, without its place.
fn message(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = error.to_string();
    match message.strip_suffix(&place).unwrap_or(&message) {
        "recursion limit exceeded" => format!(
            "lists and objects lie too deep in each other here; a value may have {MAX_NESTING} levels"
        ),
        message => message.to_owned(),
    }
}

/// Which value was refused, if it was one: serde_json only knows how far it had read by then, which may be lines behind it.
fn refused_in(source: &str, error: &serde_json::Error, message: &str) -> Option<Path> {
    // Of a name that is there twice the first would be found.
    if !error.is_data() || message.starts_with("duplicate field") {
        return None;
    }
    refused(&mut serde_json::Deserializer::from_str(source))
}

/// Any JSON in which no object has a name twice.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Self;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            names.insert(name);
            fields.next_value::<Self>()?;
        }
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }
}
