//! What the host says of a wrong argument, whatever it is an argument of.

use std::fmt::Display;

use crate::Timestamp;
use crate::metrics::FieldError;

/// That `field` holds `value` where `expected` would be right; by the host's own code, which shortens the value.
pub(super) fn field(
    field: impl Into<String>,
    value: impl Display,
    expected: impl Into<String>,
) -> FieldError {
    said(bellwether_reading::FieldError::new(field, value, expected))
}

fn said(error: bellwether_reading::FieldError) -> FieldError {
    let bellwether_reading::FieldError { field, value, expected } = error;
    FieldError { field, value, expected }
}

/// How many items are asked for, of which there are `most` at once.
pub(super) fn limit(limit: u32, most: u32) -> Result<usize, FieldError> {
    if (1..=most).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(field("limit", limit, format!("1 to {most}")))
}

/// Where in a list a page goes on; here a cursor is the number of a place.
pub(super) fn cursor(cursor: Option<&str>) -> Result<usize, FieldError> {
    let wrong = |text: &str| said(bellwether_reading::FieldError::wrong_cursor(text));
    cursor.map_or(Ok(0), |text| text.parse().map_err(|_| wrong(text)))
}

/// Refuses an instant beyond the calendar; `name` is the argument it came in.
pub(super) fn instant(instant: Timestamp, name: impl FnOnce() -> String) -> Result<(), FieldError> {
    if (Timestamp::MIN..=Timestamp::MAX).contains(&instant) {
        return Ok(());
    }
    let (first, last) = (Timestamp::MIN, Timestamp::MAX);
    let expected = format!("milliseconds since 1970 of an instant from {first} to {last}");
    Err(field(name(), instant.milliseconds(), expected))
}

/// Refuses a range that ends before it begins.
pub(super) fn range(start: Timestamp, end: Timestamp) -> Result<(), FieldError> {
    if start <= end {
        return Ok(());
    }
    Err(field("end", end, format!("an instant not before start, {start}")))
}
