//! JSON as documents are written in it, and where in it what is wrong.

use bellwether_kernel::value::MAX_NESTING;
use serde_path_to_error::Segment;

use super::{Document, syntax};
use crate::position::{Path, locate};
use crate::{Format, PlaybookError};

/// Reads a document.
///
/// # Errors
/// [`PlaybookError::Syntax`], as [`Document::read`].
pub(super) fn read(source: &str) -> Result<Document, PlaybookError> {
    serde_json::from_str(source).map_err(|error| {
        let message = message(&error);
        match place(source, &error, &message) {
            Some(place) => syntax(place, &message),
            None => syntax((error.line(), error.column()), &message),
        }
    })
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

/// Where the value is that was refused, if it was one: serde_json only knows how far it had read by then, which may be
/// lines behind it.
fn place(source: &str, error: &serde_json::Error, message: &str) -> Option<(usize, usize)> {
    // Of a name that is there twice the first would be found.
    if !error.is_data() || message.starts_with("duplicate field") {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(source);
    let refused = serde_path_to_error::deserialize::<_, Document>(&mut reader).err()?;
    let path = refused.path().iter().fold(Path::default(), |path, segment| match segment {
        Segment::Map { key } => path.field(key),
        Segment::Seq { index } => path.item(*index),
        Segment::Enum { .. } | Segment::Unknown => path,
    });
    (!path.0.is_empty()).then(|| locate(source, Format::Json, &path))
}
