//! Single values in JSON, each in every way clients write it.

use std::fmt;

use bellwether_sdk::Timestamp;
use bellwether_sdk::series::MetricKind;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::parameters::{from_seconds, from_whole_seconds};

/// What a metric's values are: v1's word or v2's number. `None` is whatever it was.
pub(super) struct Kind(pub(super) Option<MetricKind>);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl Visitor<'_> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type: \"gauge\", \"count\", \"rate\", \"distribution\", or 0 to 3")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Kind, E> {
        match i32::try_from(number).ok().and_then(kind_of) {
            Some(kind) => Ok(Kind(kind)),
            None => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Kind, E> {
        match kind_of_word(word) {
            None if !word.is_empty() => Err(E::invalid_value(Unexpected::Str(word), &self)),
            kind => Ok(Kind(kind)),
        }
    }
}

/// The kind of v1's word, if it is one.
pub(crate) fn kind_of_word(word: &str) -> Option<MetricKind> {
    match word {
        "gauge" => Some(MetricKind::Gauge),
        "count" | "counter" => Some(MetricKind::Count),
        "rate" => Some(MetricKind::Rate),
        "distribution" => Some(MetricKind::Distribution),
        _ => None,
    }
}

/// The kind of v2's number, if it is one; 0 says nothing.
pub(super) fn kind_of(number: i32) -> Option<Option<MetricKind>> {
    match number {
        0 => Some(None),
        1 => Some(Some(MetricKind::Count)),
        2 => Some(Some(MetricKind::Rate)),
        3 => Some(Some(MetricKind::Gauge)),
        _ => None,
    }
}

/// A finite number, or a text that is one.
pub(super) struct Number(pub(super) f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Number(number)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// An instant: seconds since 1970, or a date with a time.
pub(crate) struct Time(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in seconds since 1970, before the year 10,000")
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
        from_seconds(seconds).map(Time).ok_or_else(|| E::invalid_value(Unexpected::Float(seconds), &self))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
        let time = i64::try_from(seconds).ok().and_then(from_whole_seconds);
        time.map(Time).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(seconds), &self))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
        let time = from_whole_seconds(seconds);
        time.map(Time).ok_or_else(|| E::invalid_value(Unexpected::Signed(seconds), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        let seconds = text.trim().parse().ok().and_then(from_seconds);
        let time = seconds.or_else(|| text.trim().parse().ok());
        time.map(Time).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}
