//! What a plugin declares that it takes: an app's inputs, another role's settings.

use std::collections::HashSet;

use bellwether_kernel::FieldError;
use bellwether_kernel::value::{Input, ValueType};
use serde_json::Value as Json;

use crate::bindings::bellwether::host::types as wit;
use crate::limits;
use crate::value::is_json_of_type;

/// A declared list, called `list` in errors, if it makes sense.
pub(crate) fn inputs(list: &str, given: Vec<wit::Input>) -> Result<Vec<Input>, FieldError> {
    check_count(list, given.len())?;
    let mut names = HashSet::new();
    given
        .into_iter()
        .enumerate()
        .map(|(index, input)| one(&format!("{list}[{index}]"), input, &mut names))
        .collect()
}

/// The settings of a role that sends nothing, so that a secret would be of no use to it.
pub(crate) fn open_settings(given: Vec<wit::Input>) -> Result<Vec<Input>, FieldError> {
    let settings = inputs("settings", given)?;
    match settings.iter().position(|setting| setting.secret) {
        None => Ok(settings),
        Some(at) => {
            let field = format!("settings[{at}].secret");
            Err(FieldError::new(field, true, "false: a role that sends nothing has no use for a secret"))
        }
    }
}

/// No more than a human fills in.
pub(crate) fn check_count(list: &str, count: usize) -> Result<(), FieldError> {
    if count > limits::FIELDS {
        return Err(FieldError::new(list, count, format!("at most {}", limits::FIELDS)));
    }
    Ok(())
}

fn one(field: &str, input: wit::Input, names: &mut HashSet<String>) -> Result<Input, FieldError> {
    let field = |name: &str| format!("{field}.{name}");
    check_name(&field("name"), &input.name, names)?;
    bounded(&field("help"), &input.help)?;
    let value_type = value_type(input.value_type);
    if !input.choices.is_empty() && !matches!(value_type, ValueType::Text | ValueType::Texts) {
        let expected = "choices only where the type is text or texts";
        return Err(FieldError::new(field("choices"), input.choices.join(", "), expected));
    }
    let default = match input.default {
        None => None,
        Some(text) => {
            let json: Option<Json> = serde_json::from_str(&text).ok();
            if !json.as_ref().is_some_and(|json| is_json_of_type(json, value_type)) {
                let expected = format!("JSON of the declared type, {value_type:?}");
                return Err(FieldError::new(field("default"), text, expected));
            }
            json
        }
    };
    let texts = match &default {
        Some(Json::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    if !input.choices.is_empty()
        && let Some(text) = texts
            .iter()
            .filter_map(Json::as_str)
            .find(|text| input.choices.iter().all(|choice| choice != text))
    {
        return Err(FieldError::new(field("default"), text, format!("one of {}", input.choices.join(", "))));
    }
    let (name, required, choices, secret, help) =
        (input.name, input.required, input.choices, input.secret, input.help);
    Ok(Input { name, value_type, required, default, choices, secret, help })
}

/// Names are used in templates, where `.` and spaces mean something else.
pub(crate) fn check_name(field: &str, name: &str, taken: &mut HashSet<String>) -> Result<(), FieldError> {
    let good = name.len() <= limits::NAME
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !good {
        return Err(FieldError::new(
            field,
            name,
            format!("1 to {} characters of A-Z, a-z, 0-9, _ and -, a letter first", limits::NAME),
        ));
    }
    if !taken.insert(name.to_owned()) {
        return Err(FieldError::new(field, name, "a name no other has"));
    }
    Ok(())
}

/// A text of a description is for humans.
pub(crate) fn bounded(field: &str, text: &str) -> Result<(), FieldError> {
    if text.len() > limits::TEXT {
        return Err(FieldError::new(field, text, format!("at most {} KiB of text", limits::TEXT >> 10)));
    }
    Ok(())
}

pub(crate) fn value_type(given: wit::ValueType) -> ValueType {
    match given {
        wit::ValueType::Text => ValueType::Text,
        wit::ValueType::Integer => ValueType::Integer,
        wit::ValueType::Number => ValueType::Number,
        wit::ValueType::Boolean => ValueType::Boolean,
        wit::ValueType::Binary => ValueType::Binary,
        wit::ValueType::Texts => ValueType::Texts,
        wit::ValueType::Integers => ValueType::Integers,
        wit::ValueType::Numbers => ValueType::Numbers,
        wit::ValueType::Binaries => ValueType::Binaries,
        wit::ValueType::Json => ValueType::Json,
        wit::ValueType::KeyValue => ValueType::KeyValue,
        wit::ValueType::KeyValues => ValueType::KeyValues,
        wit::ValueType::Entity => ValueType::Entity,
        wit::ValueType::Entities => ValueType::Entities,
    }
}
