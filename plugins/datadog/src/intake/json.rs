//! Payloads in JSON. Every shape of a point is taken wherever points are: a pair of time and value, as v1 has it, an
//! object, as v2 has it, and the object connectors send.

use std::borrow::Cow;
use std::fmt;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::JsonError;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Batch;
use super::batch::Entry;
use super::value::{Kind, Number, Time};

/// What a point holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Points {
    /// A value.
    Single,
    /// A list of values.
    Distribution,
}

/// Reads a payload into a batch.
///
/// # Errors
/// Says what is wrong, where, and what would be right.
pub(super) fn read(body: &[u8], points: Points, batch: &mut Batch) -> Result<(), String> {
    // At once: each text by itself would be looked through again.
    let body = std::str::from_utf8(body).map_err(|error| format!("it is not UTF-8: {error}"))?;
    if body.trim_ascii().is_empty() {
        return Err(JsonError::Empty.to_string());
    }
    let mut reader = serde_json::Deserializer::from_str(body);
    let payload = Payload { points, batch };
    payload.deserialize(&mut reader).and_then(|()| reader.end()).map_err(|error| error.to_string())
}

struct Payload<'b> {
    points: Points,
    batch: &'b mut Batch,
}

impl<'de> DeserializeSeed<'de> for Payload<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Payload<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the list \"series\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(Text(key)) = map.next_key()? {
            if key == "series" {
                found = true;
                map.next_value_seed(AllSeries { points: self.points, batch: &mut *self.batch })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(A::Error::missing_field("series")) }
    }
}

struct AllSeries<'b> {
    points: Points,
    batch: &'b mut Batch,
}

impl<'de> DeserializeSeed<'de> for AllSeries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AllSeries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut entry = Entry::default();
        loop {
            entry.clear();
            let series = OneSeries { points: self.points, batch: &mut *self.batch, entry: &mut entry };
            if list.next_element_seed(series)?.is_none() {
                return Ok(());
            }
            let at = self.batch.at();
            self.batch
                .finish(&entry)
                .map_err(|error| A::Error::custom(format_args!("series[{at}].{error}")))?;
        }
    }
}

struct OneSeries<'b, 'de> {
    points: Points,
    batch: &'b mut Batch,
    entry: &'b mut Entry<'de>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Metric,
    Points,
    Tags,
    Host,
    Device,
    Resources,
    #[serde(alias = "metric_type")]
    Type,
    Interval,
    Unit,
    SourceTypeName,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for OneSeries<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneSeries<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object for series[{}]", self.batch.at())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { points, batch, entry } = self;
        let text = |value: Option<Text<'de>>| value.map(|Text(text)| text);
        while let Some(field) = map.next_key()? {
            match field {
                Field::Metric => entry.metric = text(map.next_value()?),
                Field::Host => entry.host = text(map.next_value()?),
                Field::Device => entry.device = text(map.next_value()?),
                Field::Unit => entry.unit = text(map.next_value()?),
                Field::SourceTypeName => entry.source = text(map.next_value()?),
                Field::Tags => map.next_value_seed(List(&mut entry.tags, |Text(text): Text<'de>| text))?,
                Field::Resources => map.next_value_seed(List(&mut entry.resources, Resource::pair))?,
                Field::Type => entry.kind = map.next_value::<Option<Kind>>()?.and_then(|Kind(kind)| kind),
                Field::Interval => {
                    let interval = map.next_value::<Option<Number>>()?;
                    // Whole seconds; what is none says nothing.
                    entry.interval = interval.map(|Number(number)| number as u64);
                }
                Field::Points => map.next_value_seed(PointList { points, batch: &mut *batch })?,
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A text, borrowed from the payload if nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a series is of; one without a type or a name is no tag.
#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

impl<'a> Resource<'a> {
    /// Its type and name, each empty if it is not there.
    fn pair(self) -> (Cow<'a, str>, Cow<'a, str>) {
        let text = |text: Option<Text<'a>>| text.map(|Text(text)| text).unwrap_or_default();
        (text(self.kind), text(self.name))
    }
}

/// A list, or `null`, each item as this function makes it.
struct List<'b, I, T>(&'b mut Vec<T>, fn(I) -> T);

impl<'de, I: Deserialize<'de>, T> DeserializeSeed<'de> for List<'_, I, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, I: Deserialize<'de>, T> Visitor<'de> for List<'_, I, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            self.0.push((self.1)(item));
        }
        Ok(())
    }
}

/// A series' points, or `null`.
struct PointList<'b> {
    points: Points,
    batch: &'b mut Batch,
}

impl<'de> DeserializeSeed<'de> for PointList<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PointList<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for series[{}].points", self.batch.at())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut at = 0;
        loop {
            let point = Point { points: self.points, batch: &mut *self.batch, at };
            if list.next_element_seed(point)?.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }
}

struct Point<'b> {
    points: Points,
    batch: &'b mut Batch,
    at: usize,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum PointField {
    #[serde(rename = "timestamp", alias = "POSIX_timestamp")]
    Time,
    #[serde(rename = "value", alias = "numeric_value")]
    Value,
    #[serde(other)]
    Other,
}

impl Point<'_> {
    fn wrong<E: Error>(&self, what: impl fmt::Display) -> E {
        E::custom(format_args!("series[{}].points[{}] {what}", self.batch.at(), self.at))
    }

    /// A value that is `null` is none.
    fn take(self, time: Timestamp, value: Option<&Number>) {
        if let Some(Number(value)) = value {
            self.batch.sample(time, *value);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Point<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Point<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match self.points {
            Points::Single => "[time, value] or {\"timestamp\": time, \"value\": value}",
            Points::Distribution => "[time, [value, …]]",
        };
        write!(f, "{shape} for series[{}].points[{}]", self.batch.at(), self.at)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<(), A::Error> {
        let Some(Time(time)) = pair.next_element()? else { return Err(A::Error::invalid_length(0, &self)) };
        if self.points == Points::Distribution {
            let Some(values) = pair.next_element::<Vec<Number>>()? else {
                return Err(A::Error::invalid_length(1, &self));
            };
            let values: Vec<f64> = values.into_iter().map(|Number(value)| value).collect();
            if let Err(error) = self.batch.values(time, &values) {
                return Err(self.wrong(format_args!("has {error}")));
            }
            return match pair.next_element::<IgnoredAny>()? {
                Some(_) => Err(A::Error::invalid_length(3, &self)),
                None => Ok(()),
            };
        }
        let Some(value) = pair.next_element::<Option<Number>>()? else {
            return Err(A::Error::invalid_length(1, &self));
        };
        if pair.next_element::<IgnoredAny>()?.is_some() {
            return Err(A::Error::invalid_length(3, &self));
        }
        self.take(time, value.as_ref());
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.points == Points::Distribution {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let (mut time, mut value) = (None, None);
        while let Some(field) = map.next_key()? {
            match field {
                PointField::Time => time = map.next_value::<Option<Time>>()?,
                PointField::Value => value = map.next_value::<Option<Number>>()?,
                PointField::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        match time {
            Some(Time(time)) => {
                self.take(time, value.as_ref());
                Ok(())
            }
            None => Err(self.wrong("has no timestamp, expected seconds since 1970")),
        }
    }
}
