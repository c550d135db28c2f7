//! Protobuf's values as JSON writes them: whole numbers of 64 bits are texts, or numbers; doubles may be `"NaN"` and
//! `"Infinity"`; bytes are base64; `null` is what is left out. A message is an object, never a list of its fields.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use crate::messages::{self, ArrayValue, KeyValueList, Value};

/// Anything, or its default for `null`.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A message, or none for `null`.
pub(crate) fn message<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Object(message)| message))
}

/// A list of messages, empty for `null`.
pub(crate) fn messages<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let all: Vec<Object<T>> = or_default(deserializer)?;
    Ok(all.into_iter().map(|Object(message)| message).collect())
}

pub(crate) fn whole<'de, D: Deserializer<'de>, T: TryFrom<i128> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(optional_whole(deserializer)?.unwrap_or_default())
}

pub(crate) fn optional_whole<'de, D: Deserializer<'de>, T: TryFrom<i128>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Whole(number)| number))
}

pub(crate) fn wholes<'de, D: Deserializer<'de>, T: TryFrom<i128>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let all: Vec<Whole<T>> = or_default(deserializer)?;
    Ok(all.into_iter().map(|Whole(number)| number).collect())
}

pub(crate) fn double<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(optional_double(deserializer)?.unwrap_or_default())
}

pub(crate) fn optional_double<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(|Double(number)| number))
}

pub(crate) fn doubles<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let all: Vec<Double> = or_default(deserializer)?;
    Ok(all.into_iter().map(|Double(number)| number).collect())
}

/// A message: derived, each would be read from a list of its fields too.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(OnlyObject(deserializer)).map(Self)
    }
}

/// Takes no list where a struct is expected.
struct OnlyObject<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for OnlyObject<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A whole number that fits `T`, as a number or a text.
struct Whole<T>(T);

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor(PhantomData))
    }
}

struct WholeVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i128>> WholeVisitor<T> {
    fn fit<E: Error>(self, number: Option<i128>, found: Unexpected<'_>) -> Result<Whole<T>, E> {
        let fit = number.and_then(|number| T::try_from(number).ok());
        fit.map(Whole).ok_or_else(|| E::invalid_value(found, &self))
    }
}

impl<T: TryFrom<i128>> Visitor<'_> for WholeVisitor<T> {
    type Value = Whole<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = size_of::<T>() * 8;
        let sign = if T::try_from(-1).is_ok() { "" } else { "un" };
        write!(f, "a whole number ({sign}signed, {bits} bits), or a text that is one")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Whole<T>, E> {
        self.fit(Some(number.into()), Unexpected::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Whole<T>, E> {
        self.fit(Some(number.into()), Unexpected::Signed(number))
    }

    /// As `1e3`.
    fn visit_f64<E: Error>(self, number: f64) -> Result<Whole<T>, E> {
        let whole = (number.fract() == 0.0).then_some(number as i128);
        self.fit(whole, Unexpected::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Whole<T>, E> {
        self.fit(text.parse().ok(), Unexpected::Str(text))
    }
}

/// A double, as a number or a text.
struct Double(f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DoubleVisitor)
    }
}

struct DoubleVisitor;

impl Visitor<'_> for DoubleVisitor {
    type Value = Double;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Double, E> {
        Ok(Double(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Double, E> {
        Ok(Double(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Double, E> {
        Ok(Double(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Double, E> {
        text.parse().map(Double).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// `AnyValue` with a field for each of what it may be; where there are several, the first counts.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    #[serde(deserialize_with = "optional_whole")]
    int_value: Option<i64>,
    #[serde(deserialize_with = "optional_double")]
    double_value: Option<f64>,
    #[serde(deserialize_with = "message")]
    array_value: Option<ArrayValue>,
    #[serde(deserialize_with = "message")]
    kvlist_value: Option<KeyValueList>,
    bytes_value: Option<Bytes>,
}

impl From<AnyValue> for messages::AnyValue {
    fn from(any: AnyValue) -> Self {
        let value = any.string_value.map(Value::String);
        let value = value.or(any.bool_value.map(Value::Bool)).or(any.int_value.map(Value::Int));
        let value = value.or(any.double_value.map(Value::Double)).or(any.array_value.map(Value::Array));
        let bytes = any.bytes_value.map(|Bytes(bytes)| Value::Bytes(bytes));
        Self { value: value.or(any.kvlist_value.map(Value::Kvlist)).or(bytes) }
    }
}

struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |_| D::Error::invalid_value(Unexpected::Str(&text), &"bytes in base64");
        BASE64_STANDARD.decode(&text).map(Self).map_err(wrong)
    }
}
