//! Instants as the API writes them: RFC 3339 in UTC.

use std::fmt;

use bellwether_kernel::{FieldError, Timestamp};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// An instant on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

/// Refuses a range that ends before it starts. Each end comes with its field's name; one that is not said is no end.
pub(crate) fn in_order(
    (start_field, start): (&str, Option<Instant>),
    (end_field, end): (&str, Option<Instant>),
) -> Result<(), FieldError> {
    match (start, end) {
        (Some(Instant(start)), Some(Instant(end))) if end < start => {
            Err(FieldError::new(end_field, end, format!("an instant not before {start_field}, {start}")))
        }
        _ => Ok(()),
    }
}

impl From<Timestamp> for Instant {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Instant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant as \"2024-04-01T14:44:00Z\" or a date as \"2024-04-01\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Instant, E> {
        Timestamp::parse(text).map(Instant).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl PartialSchema for Instant {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2024-04-01T14:44:00Z"])
            .into()
    }
}

impl ToSchema for Instant {}
