//! Values of playbooks in the contract's types and back.

use bellwether_playbooks::{Value, ValueType, misfit};
use serde_json::Value as Json;

use crate::bindings::bellwether::host::types::{NamedValueParam, NamedValueResult, ValueParam, ValueResult};
use crate::limits;

/// What a value needs beside itself to be borrowed by the contract's type.
#[derive(Default)]
pub(crate) struct Backing<'a> {
    json: String,
    texts: Vec<&'a str>,
    binaries: Vec<&'a [u8]>,
}

impl<'a> Backing<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        let mut backing = Self::default();
        match value {
            Value::Json(json) => backing.json = json.to_string(),
            Value::Texts(texts) => backing.texts = texts.iter().map(String::as_str).collect(),
            Value::Binaries(binaries) => backing.binaries = binaries.iter().map(Vec::as_slice).collect(),
            _ => {}
        }
        backing
    }
}

/// Bytes of a named value a plugin gave.
pub(crate) fn size(value: &NamedValueResult) -> usize {
    let content = match &value.value {
        ValueResult::None => 0,
        ValueResult::Text(text) | ValueResult::Json(text) => text.len(),
        ValueResult::Integer(_) | ValueResult::Number(_) | ValueResult::Boolean(_) => 8,
        ValueResult::Binary(bytes) => bytes.len(),
        ValueResult::Texts(texts) => texts.iter().map(String::len).sum(),
        ValueResult::Integers(numbers) => numbers.len() * 8,
        ValueResult::Numbers(numbers) => numbers.len() * 8,
        ValueResult::Binaries(binaries) => binaries.iter().map(Vec::len).sum(),
    };
    value.name.len() + content
}

/// A named value as a plugin takes it.
pub(crate) fn lower<'a>(name: &'a str, value: &'a Value, backing: &'a Backing<'a>) -> NamedValueParam<'a> {
    let value = match value {
        Value::None => ValueParam::None,
        Value::Text(text) => ValueParam::Text(text),
        Value::Integer(number) => ValueParam::Integer(*number),
        Value::Number(number) => ValueParam::Number(*number),
        Value::Boolean(boolean) => ValueParam::Boolean(*boolean),
        Value::Binary(bytes) => ValueParam::Binary(bytes),
        Value::Texts(_) => ValueParam::Texts(&backing.texts),
        Value::Integers(numbers) => ValueParam::Integers(numbers),
        Value::Numbers(numbers) => ValueParam::Numbers(numbers),
        Value::Binaries(_) => ValueParam::Binaries(&backing.binaries),
        Value::Json(_) => ValueParam::Json(&backing.json),
    };
    NamedValueParam { name, value }
}

/// A value a plugin gave, if it is one: numbers are finite, JSON reads.
pub(crate) fn lift(value: NamedValueResult) -> Result<(String, Value), String> {
    let NamedValueResult { name, value } = value;
    let finite = |number: f64| {
        number
            .is_finite()
            .then_some(number)
            .ok_or_else(|| format!("{name} is {number}, expected a finite number"))
    };
    let value = match value {
        ValueResult::None => Value::None,
        ValueResult::Text(text) => Value::Text(text),
        ValueResult::Integer(number) => Value::Integer(number),
        ValueResult::Number(number) => Value::Number(finite(number)?),
        ValueResult::Boolean(boolean) => Value::Boolean(boolean),
        ValueResult::Binary(bytes) => Value::Binary(bytes),
        ValueResult::Texts(texts) => Value::Texts(texts),
        ValueResult::Integers(numbers) => Value::Integers(numbers),
        ValueResult::Numbers(numbers) => {
            Value::Numbers(numbers.into_iter().map(finite).collect::<Result<_, _>>()?)
        }
        ValueResult::Binaries(binaries) => Value::Binaries(binaries),
        ValueResult::Json(text) => {
            let json =
                serde_json::from_str(&text).map_err(|error| format!("{name} does not hold JSON: {error}"))?;
            Value::Json(json)
        }
    };
    Ok((name, value))
}

/// Whether a value is of a type; an absent one is of every type, and JSON is of every type whose shape it has.
pub(crate) fn is_of_type(value: &Value, value_type: ValueType) -> bool {
    let own = match value {
        Value::None => return true,
        Value::Text(_) => ValueType::Text,
        Value::Integer(_) => ValueType::Integer,
        Value::Number(_) => ValueType::Number,
        Value::Boolean(_) => ValueType::Boolean,
        Value::Binary(_) => ValueType::Binary,
        Value::Texts(_) => ValueType::Texts,
        Value::Integers(_) => ValueType::Integers,
        Value::Numbers(_) => ValueType::Numbers,
        Value::Binaries(_) => ValueType::Binaries,
        Value::Json(json) => return misfit(json, value_type).is_none(),
    };
    own == value_type
}

/// Whether JSON can stand for a value of a type, as an input's default must. Bytes are base64.
pub(crate) fn is_json_of_type(json: &Json, value_type: ValueType) -> bool {
    let all = |of: fn(&Json) -> bool| json.as_array().is_some_and(|items| items.iter().all(of));
    let base64 =
        |json: &Json| json.as_str().is_some_and(|text| data_encoding::BASE64.decode(text.as_bytes()).is_ok());
    match value_type {
        ValueType::Text => json.is_string(),
        ValueType::Integer => json.is_i64(),
        ValueType::Number => json.is_number(),
        ValueType::Boolean => json.is_boolean(),
        ValueType::Binary => base64(json),
        ValueType::Texts => all(Json::is_string),
        ValueType::Integers => all(Json::is_i64),
        ValueType::Numbers => all(Json::is_number),
        ValueType::Binaries => all(base64),
        ValueType::Json
        | ValueType::KeyValue
        | ValueType::KeyValues
        | ValueType::Entity
        | ValueType::Entities => misfit(json, value_type).is_none(),
    }
}

/// The first line of what a plugin says, bounded.
pub(crate) fn one_line(mut message: String) -> String {
    if let Some(end) = message.find(['\r', '\n']) {
        message.truncate(end);
    }
    message.truncate(message.floor_char_boundary(limits::TEXT));
    message
}
