//! What passes between an app and its playbook, and the Rust types it is read into and made from.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Timestamp;
pub use crate::bindings::imports::bellwether::host::types::{NamedValue, Value, ValueType};

/// A type an input can be read into.
///
/// Implemented for `String`, `bool`, whole numbers, `f64`, [`Timestamp`] (as RFC 3339 text), [`Binary`], [`Json`],
/// [`KeyValue`](crate::KeyValue), [`Entity`](crate::Entity), every [`Choice`], for `Vec`s of `String`, `i64`, `f64`,
/// `Binary`, `KeyValue`, `Entity` and choices, and for `Option` of all of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an input",
    label = "not a type an input can be read into",
    note = "use String, bool, a whole number, f64, Timestamp, Binary, KeyValue, Entity, Json<T>, an enum with #[derive(Choice)], a Vec of String, i64, f64, Binary, KeyValue, Entity or choices, or an Option of one of them"
)]
pub trait FromValue: Sized {
    /// What it is declared as.
    const TYPE: ValueType;
    /// Whether it can be made from nothing.
    const OPTIONAL: bool = false;
    /// Whether it stands for a secret: a [`Secret`](crate::Secret), or an `Option` of one.
    const SECRET: bool = false;

    /// The only texts it can be read from; empty means any.
    #[must_use]
    fn choices() -> Vec<String> {
        Vec::new()
    }

    /// Reads it.
    ///
    /// # Errors
    /// If the value is another.
    fn from_value(value: Value) -> Result<Self, Mismatch>;
}

/// A type an output can be made from: the same types as [`FromValue`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output",
    label = "not a type an output can be made from",
    note = "use String, bool, a whole number, f64, Timestamp, Binary, KeyValue, Entity, Json<T>, an enum with #[derive(Choice)], a Vec of String, i64, f64, Binary, KeyValue, Entity or choices, or an Option of one of them"
)]
pub trait IntoValue {
    /// What it is declared as.
    const TYPE: ValueType;

    /// Makes the value.
    fn into_value(self) -> Value;
}

/// A value is not what an input needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What would be right, as a phrase.
    pub expected: String,
    /// What it is, shortened.
    pub found: String,
}

impl Mismatch {
    /// Says that `expected` would be right where `found` is.
    pub fn new(expected: impl Into<String>, found: &Value) -> Self {
        Self { expected: expected.into(), found: shown(found) }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for Mismatch {}

/// A value for an error: enough to recognise it by.
fn shown(value: &Value) -> String {
    let mut text = match value {
        Value::None => return "nothing".into(),
        Value::Text(text) => format!("the text {text:?}"),
        Value::Integer(number) => format!("the number {number}"),
        Value::Number(number) => format!("the number {number}"),
        Value::Boolean(boolean) => return boolean.to_string(),
        Value::Binary(bytes) => return format!("{} bytes", bytes.len()),
        Value::Texts(list) => return format!("a list of {} texts", list.len()),
        Value::Integers(list) => return format!("a list of {} whole numbers", list.len()),
        Value::Numbers(list) => return format!("a list of {} numbers", list.len()),
        Value::Binaries(list) => return format!("a list of {} byte strings", list.len()),
        Value::Json(text) => format!("the JSON {text}"),
    };
    if let Some((cut, _)) = text.char_indices().nth(100) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// Bytes, where a `Vec<u8>` would be a list of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Vec<u8>);

/// Anything serde reads and writes, as a JSON document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Json<T>(pub T);

/// A fixed set of texts: an enum without fields. Derive it.
///
/// ```
/// use bellwether_sdk::{Choice, FromValue, Value};
///
/// #[derive(Choice, Clone, Copy, Debug, PartialEq)]
/// enum Priority {
///     Low,
///     #[choice("on-call")]
///     OnCall,
/// }
///
/// assert_eq!(Priority::from_value(Value::Text("on-call".into())), Ok(Priority::OnCall));
/// assert_eq!(Priority::choices(), ["low", "on-call"]);
/// ```
///
/// A variant without an attribute is its name in kebab-case.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a choice nor what else a list may hold",
    note = "a list is a Vec of String, i64, f64, Binary, KeyValue, Entity, or of an enum with #[derive(Choice)]",
    note = "bytes are a Binary, other whole numbers a Vec<i64>, f32 a Vec<f64>; a list of anything else is Json<Vec<_>>"
)]
pub trait Choice: Copy + 'static {
    /// Every case with its text, in the order they are offered.
    const CASES: &'static [(&'static str, Self)];

    /// The text of this case.
    #[must_use]
    fn text(self) -> &'static str;

    /// The case of that text.
    #[must_use]
    fn of_text(text: &str) -> Option<Self> {
        Self::CASES.iter().find(|(name, _)| *name == text).map(|(_, case)| *case)
    }

    #[doc(hidden)]
    fn read(value: &Value) -> Result<Self, Mismatch> {
        let case = if let Value::Text(text) = value { Self::of_text(text) } else { None };
        case.ok_or_else(|| {
            let names: Vec<&str> = Self::CASES.iter().map(|(name, _)| *name).collect();
            Mismatch::new(format!("one of {}", names.join(", ")), value)
        })
    }
}

macro_rules! value_of {
    ($($rust:ty: $type:ident, $expected:literal, $($pattern:pat => $read:expr),+; $self:ident => $write:expr;)+) => {$(
        impl FromValue for $rust {
            const TYPE: ValueType = ValueType::$type;

            fn from_value(value: Value) -> Result<Self, Mismatch> {
                match value {
                    $($pattern => $read,)+
                    other => Err(Mismatch::new($expected, &other)),
                }
            }
        }

        impl IntoValue for $rust {
            const TYPE: ValueType = ValueType::$type;

            fn into_value($self) -> Value {
                $write
            }
        }
    )+};
}

value_of! {
    String: Text, "a text", Value::Text(text) => Ok(text); self => Value::Text(self);
    bool: Boolean, "true or false", Value::Boolean(boolean) => Ok(boolean); self => Value::Boolean(self);
    i64: Integer, "a whole number", Value::Integer(number) => Ok(number); self => Value::Integer(self);
    f64: Number, "a number", Value::Number(number) => Ok(number), Value::Integer(number) => Ok(number as f64);
        self => Value::Number(self);
    Binary: Binary, "bytes", Value::Binary(bytes) => Ok(Self(bytes)); self => Value::Binary(self.0);
    Vec<String>: Texts, "a list of texts", Value::Texts(list) => Ok(list); self => Value::Texts(self);
    Vec<i64>: Integers, "a list of whole numbers", Value::Integers(list) => Ok(list); self => Value::Integers(self);
    Vec<f64>: Numbers, "a list of numbers", Value::Numbers(list) => Ok(list),
        Value::Integers(list) => Ok(list.into_iter().map(|number| number as f64).collect());
        self => Value::Numbers(self);
    Vec<Binary>: Binaries, "a list of byte strings",
        Value::Binaries(list) => Ok(list.into_iter().map(Binary).collect());
        self => Value::Binaries(self.into_iter().map(|bytes| bytes.0).collect());
}

macro_rules! whole_numbers {
    ($($rust:ty),+) => {$(
        impl FromValue for $rust {
            const TYPE: ValueType = ValueType::Integer;

            fn from_value(value: Value) -> Result<Self, Mismatch> {
                let expected = || format!("a whole number from {} to {}", Self::MIN, Self::MAX);
                match value {
                    Value::Integer(number) => {
                        Self::try_from(number).map_err(|_| Mismatch::new(expected(), &Value::Integer(number)))
                    }
                    other => Err(Mismatch::new(expected(), &other)),
                }
            }
        }
    )+};
}

macro_rules! small_numbers {
    ($($rust:ty),+) => {$(
        impl IntoValue for $rust {
            const TYPE: ValueType = ValueType::Integer;

            fn into_value(self) -> Value {
                Value::Integer(i64::from(self))
            }
        }
    )+};
}

whole_numbers!(u8, u16, u32, u64, i8, i16, i32);
small_numbers!(u8, u16, u32, i8, i16, i32);

/// What is past `i64::MAX` is no integer of the contract. It becomes JSON, which a host refuses where an integer is
/// declared: the call ends with an error that names the output, and nobody goes on with another number.
impl IntoValue for u64 {
    const TYPE: ValueType = ValueType::Integer;

    fn into_value(self) -> Value {
        i64::try_from(self).map_or_else(|_| Value::Json(self.to_string()), Value::Integer)
    }
}

impl FromValue for Timestamp {
    const TYPE: ValueType = ValueType::Text;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let time = if let Value::Text(text) = &value { text.parse().ok() } else { None };
        time.ok_or_else(|| Mismatch::new("an ISO 8601 date and time such as 2024-04-09T14:44:00Z", &value))
    }
}

impl IntoValue for Timestamp {
    const TYPE: ValueType = ValueType::Text;

    fn into_value(self) -> Value {
        Value::Text(self.to_string())
    }
}

impl<T: DeserializeOwned> FromValue for Json<T> {
    const TYPE: ValueType = ValueType::Json;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match &value {
            Value::Json(text) => serde_json::from_str(text)
                .map(Self)
                .map_err(|error| Mismatch::new(format!("another JSON document ({error})"), &value)),
            other => Err(Mismatch::new("a JSON document", other)),
        }
    }
}

impl<T: Serialize> IntoValue for Json<T> {
    const TYPE: ValueType = ValueType::Json;

    /// # Panics
    /// If `T` cannot be written as JSON: a map whose keys are not texts.
    fn into_value(self) -> Value {
        Value::Json(serde_json::to_string(&self.0).expect("an output is writable as JSON"))
    }
}

/// Several of a fixed set of texts.
impl<T: Choice> FromValue for Vec<T> {
    const TYPE: ValueType = ValueType::Texts;

    fn choices() -> Vec<String> {
        T::CASES.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Texts(texts) => texts.into_iter().map(|text| T::read(&Value::Text(text))).collect(),
            other => Err(Mismatch::new(format!("a list of {}", Self::choices().join(", ")), &other)),
        }
    }
}

impl<T: Choice> IntoValue for Vec<T> {
    const TYPE: ValueType = ValueType::Texts;

    fn into_value(self) -> Value {
        Value::Texts(self.into_iter().map(|case| case.text().to_owned()).collect())
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const TYPE: ValueType = T::TYPE;
    const OPTIONAL: bool = true;
    const SECRET: bool = T::SECRET;

    fn choices() -> Vec<String> {
        T::choices()
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::None => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    const TYPE: ValueType = T::TYPE;

    fn into_value(self) -> Value {
        self.map_or(Value::None, IntoValue::into_value)
    }
}

/// A value as JSON text, as `describe` declares a default.
#[must_use]
pub(crate) fn json_text(value: &Value) -> Option<String> {
    fn text(value: &(impl Serialize + ?Sized)) -> Option<String> {
        serde_json::to_string(value).ok()
    }
    match value {
        Value::None => None,
        Value::Binary(bytes) => text(&base64(bytes)),
        Value::Binaries(list) => text(&list.iter().map(|bytes| base64(bytes)).collect::<Vec<_>>()),
        Value::Text(value) => text(value),
        Value::Integer(value) => text(value),
        // As Rust writes it is as JSON does, without the 15 KB of tables serde_json brings along for it.
        Value::Number(value) => value.is_finite().then(|| format!("{value:?}")),
        Value::Boolean(value) => text(value),
        Value::Texts(value) => text(value),
        Value::Integers(value) => text(value),
        Value::Numbers(value) => value.iter().all(|number| number.is_finite()).then(|| format!("{value:?}")),
        Value::Json(value) => Some(value.clone()),
    }
}

/// Why no host takes a value, which Rust has, as one of this type.
pub(crate) fn misfit(value: &Value, value_type: ValueType) -> Option<Mismatch> {
    let numbers = match value {
        Value::Number(number) => std::slice::from_ref(number),
        Value::Numbers(numbers) => numbers,
        // So a `u64` is written that is no integer of the contract.
        Value::Json(number) if value_type == ValueType::Integer => {
            return Some(Mismatch { expected: format!("at most {}", i64::MAX), found: number.clone() });
        }
        _ => return None,
    };
    let number = numbers.iter().find(|number| !number.is_finite())?;
    Some(Mismatch { expected: "a finite number".to_owned(), found: number.to_string() })
}

/// The digits of base64, in order.
pub(crate) const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base64, with padding: as they stand in JSON.
#[must_use]
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = char::from(BASE64[(bits >> (18 - 6 * at) & 63) as usize]);
            text.push(if at <= group.len() { digit } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: FromValue + IntoValue + Clone + PartialEq + fmt::Debug>(value: &T) {
        assert_eq!(T::from_value(value.clone().into_value()).as_ref(), Ok(value));
        assert_eq!(<T as FromValue>::TYPE, <T as IntoValue>::TYPE);
    }

    #[test]
    fn what_is_written_is_read_back() {
        round_trip(&"häuser".to_owned());
        round_trip(&true);
        round_trip(&-5_i64);
        round_trip(&u64::from(u32::MAX));
        round_trip(&1.5);
        round_trip(&Timestamp::from_seconds(1_712_673_840));
        round_trip(&Binary(vec![0, 255]));
        round_trip(&vec!["a".to_owned()]);
        round_trip(&vec![1_i64, 2]);
        round_trip(&vec![0.5]);
        round_trip(&vec![Binary(vec![1])]);
        round_trip(&Json(serde_json::json!({"nested": [1, null]})));
        round_trip(&Some(3_u8));
        round_trip(&None::<String>);
    }

    #[test]
    fn a_whole_number_serves_as_a_number_and_not_the_other_way() {
        assert_eq!(f64::from_value(Value::Integer(3)), Ok(3.0));
        assert_eq!(Vec::<f64>::from_value(Value::Integers(vec![3])), Ok(vec![3.0]));
        assert!(i64::from_value(Value::Number(3.0)).is_err());
    }

    #[test]
    fn a_number_past_the_integers_is_none_and_not_another() {
        let largest = i64::MAX as u64;
        assert_eq!(largest.into_value(), Value::Integer(i64::MAX));
        assert_eq!((largest + 1).into_value(), Value::Json("9223372036854775808".into()));
    }

    #[test]
    fn a_default_is_written_as_json() {
        for (value, text) in [
            (Value::Text("a\"b".into()), Some("\"a\\\"b\"")),
            (Value::Integer(-1), Some("-1")),
            (Value::Number(1.0), Some("1.0")),
            (Value::Number(1e300), Some("1e300")),
            (Value::Number(f64::NAN), None),
            (Value::Numbers(vec![0.5, -2.0]), Some("[0.5, -2.0]")),
            (Value::Texts(vec!["a".into()]), Some("[\"a\"]")),
            (Value::Json("{}".into()), Some("{}")),
            (Value::Binary(b"Bell".to_vec()), Some("\"QmVsbA==\"")),
            (Value::Binaries(vec![vec![0xfb, 0xff], Vec::new()]), Some("[\"+/8=\",\"\"]")),
        ] {
            let written = json_text(&value);
            assert_eq!(written.as_deref(), text);
            assert!(written.is_none_or(|text| serde_json::from_str::<serde_json::Value>(&text).is_ok()));
        }
    }

    #[test]
    fn a_mismatch_says_what_is_there_and_what_would_be_right() {
        let message = |mismatch: Mismatch| mismatch.to_string();
        assert_eq!(
            u8::from_value(Value::Integer(300)).map_err(message),
            Err("expected a whole number from 0 to 255, found the number 300".into())
        );
        assert_eq!(
            String::from_value(Value::None).map_err(message),
            Err("expected a text, found nothing".into())
        );
        assert_eq!(
            Timestamp::from_value(Value::Text("soon".into())).map_err(message),
            Err("expected an ISO 8601 date and time such as 2024-04-09T14:44:00Z, found the text \"soon\""
                .into())
        );
        let long = i64::from_value(Value::Text("é".repeat(1000))).expect_err("a text");
        assert!(long.found.chars().count() <= 101, "{long}");
    }
}
