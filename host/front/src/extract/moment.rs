//! Times of interval metrics on the wire: an instant, or a day or local time in the metric's own time zone.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A time on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) bellwether_kernel::Moment);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Moment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an instant as \"2024-04-01T14:44:00Z\", or in the metric's time zone a day as \"2024-04-01\" or a time \
             as \"2024-04-01T14:44:00\"; no zone in brackets",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
        let read = bellwether_kernel::Moment::parse(text);
        read.map(Moment).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "RFC 3339. A date alone is that day in the metric's own time zone, its beginning; a date and time \
                 without an offset are of that zone too. A zone in brackets is refused.",
            ))
            .examples(["2024-04-01T14:44:00Z", "2024-04-01"])
            .into()
    }
}

impl ToSchema for Moment {}
