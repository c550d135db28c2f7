//! Times of tagged series on the wire: milliseconds, as their answers have them, or an instant.

use std::fmt;

use bellwether_kernel::Timestamp;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Milliseconds since 1970, whichever way they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText)
    }
}

struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since 1970, or an instant as \"2024-04-01T14:44:00Z\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Time, E> {
        Ok(Time(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Time, E> {
        i64::try_from(number).map(Time).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Time, E> {
        if number.fract() == 0.0 && number.abs() < 1e15 {
            return Ok(Time(number as i64));
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }

    /// A query string has its numbers as texts.
    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        let number = text.parse().ok();
        let milliseconds = number.or_else(|| Some(Timestamp::parse(text)?.as_milliseconds()));
        milliseconds.map(Time).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let format = |known| Some(SchemaFormat::KnownFormat(known));
        let number = ObjectBuilder::new().schema_type(Type::Integer).format(format(KnownFormat::Int64));
        let text = ObjectBuilder::new().schema_type(Type::String).format(format(KnownFormat::DateTime));
        OneOfBuilder::new()
            .item(number.description(Some("Milliseconds since 1970")))
            .item(text.examples(["2024-04-01T14:44:00Z"]))
            .into()
    }
}

impl ToSchema for Time {
    fn name() -> std::borrow::Cow<'static, str> {
        "SeriesTime".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_milliseconds_or_an_instant_as_a_number_or_a_text() {
        for (json, milliseconds) in [
            ("1712000000000", Some(1_712_000_000_000)),
            ("-1", Some(-1)),
            ("1.712e12", Some(1_712_000_000_000)),
            ("\"1712000000000\"", Some(1_712_000_000_000)),
            ("\"2024-04-01T19:33:20Z\"", Some(1_712_000_000_000)),
            ("\"2024-04-01\"", Some(1_711_929_600_000)),
            ("1.5", None),
            ("18446744073709551615", None),
            ("\"yesterday\"", None),
            ("null", None),
        ] {
            let read = serde_json::from_str::<Time>(json);
            assert_eq!(read.as_ref().ok(), milliseconds.map(Time).as_ref(), "{json}: {read:?}");
        }
    }
}
