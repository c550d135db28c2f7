//! An app's inputs and outputs as a playbook passes them, so that a test meets names, defaults and types too.

use serde_json::{Map, Value as Json};

use crate::app::Input;
use crate::value::{self, BASE64, Mismatch, NamedValue, Value, ValueType, base64};
use crate::{AppError, Entity, FromValue, Inputs, KeyValue, Outputs};

/// The largest whole number every smaller one of which a double holds exactly: 2⁵³.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads inputs from a JSON object of names and values, as the host does: defaults stand in for what is absent, a
/// wrong name, type or choice is refused. A number is taken for a text, a text that reads as a number, or as `true` or
/// `false`, for that; bytes are text in base64.
///
/// ```
/// use bellwether_sdk::testing::inputs;
/// use bellwether_sdk::{Inputs, serde_json::json};
///
/// #[derive(Debug, Inputs)]
/// struct Visit {
///     page: String,
///     #[input(default = 1)]
///     times: u32,
/// }
///
/// let visit: Visit = inputs(&json!({ "page": "/start" }))?;
/// assert_eq!(visit.times, 1);
/// let error = inputs::<Visit>(&json!({ "page": ["/start"] })).unwrap_err();
/// assert_eq!(error.message(), "input \"page\": expected a text, found the JSON [\"/start\"]");
/// # Ok::<(), bellwether_sdk::AppError>(())
/// ```
///
/// # Errors
/// Names the input that is missing, unknown or of another type.
pub fn inputs<I: Inputs>(given: &Json) -> Result<I, AppError> {
    let values = named(&I::describe(), given).map_err(|(name, value, expected)| {
        AppError::fatal(match (name.as_str(), value.as_str()) {
            ("", value) => format!("expected {expected}, found {value}"),
            (name, "nothing") => format!("input {name:?}: it is required"),
            (name, _) => format!("there is no input {name:?}, but {expected}"),
        })
    })?;
    I::read(values)
}

/// What is declared, from a JSON object. What is wrong is told as name, value and what would be right; the name is empty
/// where it is the whole.
pub(super) fn named(declared: &[Input], given: &Json) -> Result<Vec<NamedValue>, (String, String, String)> {
    let none = Map::new();
    let given = match given {
        Json::Object(given) => given,
        Json::Null => &none,
        other => return Err((String::new(), other.to_string(), "an object of inputs".to_owned())),
    };
    if let Some(name) = given.keys().find(|name| declared.iter().all(|input| input.name != **name)) {
        let names: Vec<_> = declared.iter().map(|input| input.name.as_str()).collect();
        return Err((name.clone(), "given".to_owned(), names.join(", ")));
    }
    let value = |input: &Input| match given.get(&input.name).filter(|value| !value.is_null()) {
        Some(value) => Ok(of_json(value, input.value_type).unwrap_or_else(|| as_it_is(value))),
        None if input.required => {
            Err((input.name.clone(), "nothing".to_owned(), "a value: it is required".to_owned()))
        }
        None => Ok(Value::None),
    };
    declared.iter().map(|input| Ok(NamedValue { name: input.name.clone(), value: value(input)? })).collect()
}

/// Outputs as the JSON object a playbook's later steps see. Those not given are left out, bytes are text in base64.
///
/// # Panics
/// If a host would refuse them: a number is not finite, a whole one has more than 64 bits, signed, or the key of a
/// key-value or the type of an entity is empty.
#[must_use]
#[track_caller]
pub fn outputs<O: Outputs>(given: O) -> Json {
    let declared = O::describe();
    let given = given.write();
    for NamedValue { name, value } in &given {
        let output = declared.iter().find(|output| output.name == *name);
        if let Some(Mismatch { expected, found }) = output.and_then(|output| misfit(value, output.value_type))
        {
            panic!("the host refuses the outputs: {name} is {found}, expected {expected}");
        }
    }
    let to_json = |value: &Value| serde_json::from_str(&value::json_text(value)?).ok();
    let given = given.into_iter().filter_map(|NamedValue { name, value }| Some((name, to_json(&value)?)));
    Json::Object(given.collect())
}

/// Why the host does not take a value as one of this type.
fn misfit(value: &Value, value_type: ValueType) -> Option<Mismatch> {
    match value_type {
        _ if *value == Value::None => None,
        ValueType::KeyValue => KeyValue::from_value(value.clone()).err(),
        ValueType::KeyValues => Vec::<KeyValue>::from_value(value.clone()).err(),
        ValueType::Entity => Entity::from_value(value.clone()).err(),
        ValueType::Entities => Vec::<Entity>::from_value(value.clone()).err(),
        _ => value::misfit(value, value_type),
    }
}

/// A value of the declared type where the JSON is one, or is taken for one: as the host reads it.
fn of_json(json: &Json, value_type: ValueType) -> Option<Value> {
    Some(match value_type {
        ValueType::Text => Value::Text(text(json)?),
        ValueType::Integer => Value::Integer(integer(json)?),
        ValueType::Number => Value::Number(number(json)?),
        ValueType::Boolean => Value::Boolean(boolean(json)?),
        ValueType::Binary => Value::Binary(binary(json)?),
        ValueType::Texts => Value::Texts(list(json, text)?),
        ValueType::Integers => Value::Integers(list(json, integer)?),
        ValueType::Numbers => Value::Numbers(list(json, number)?),
        ValueType::Binaries => Value::Binaries(list(json, binary)?),
        ValueType::Json => Value::Json(json.to_string()),
        ValueType::KeyValue | ValueType::KeyValues => Value::Json(with_texts(json, &["key"]).to_string()),
        ValueType::Entity | ValueType::Entities => {
            Value::Json(with_texts(json, &["id", "type", "value"]).to_string())
        }
    })
}

/// A value as its JSON is, which is of another type than the declared, for the plugin to refuse.
fn as_it_is(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        other => Value::Json(other.to_string()),
    }
}

fn text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(json.to_string()),
        _ => None,
    }
}

fn integer(json: &Json) -> Option<i64> {
    match json {
        Json::String(text) => text.trim().parse().ok(),
        _ => json.as_i64().or_else(|| {
            let number = json.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
            Some(number as i64)
        }),
    }
}

fn number(json: &Json) -> Option<f64> {
    let number: f64 = match json {
        Json::String(text) => text.trim().parse().ok()?,
        _ => json.as_f64()?,
    };
    number.is_finite().then_some(number)
}

fn boolean(json: &Json) -> Option<bool> {
    match json {
        Json::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => json.as_bool(),
    }
}

fn binary(json: &Json) -> Option<Vec<u8>> {
    let text = json.as_str()?;
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            let digit = group.get(at)?;
            // What stands for nothing is cut off below.
            let place = BASE64.iter().position(|known| known == digit).or((*digit == b'=').then_some(0))?;
            bits = bits << 6 | u32::try_from(place).expect("there are 64");
        }
        bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    let padding = text.bytes().rev().take_while(|digit| *digit == b'=').count();
    bytes.truncate(bytes.len().saturating_sub(padding));
    // There is one way to write them.
    (base64(&bytes) == text).then_some(bytes)
}

fn list<T>(json: &Json, item: impl Fn(&Json) -> Option<T>) -> Option<Vec<T>> {
    json.as_array()?.iter().map(item).collect()
}

/// A shape, or a list of them, whose numbers in these fields are written as text: other systems' ids are numbers.
fn with_texts(json: &Json, fields: &[&str]) -> Json {
    match json {
        Json::Array(items) => items.iter().map(|item| with_texts(item, fields)).collect(),
        Json::Object(object) => {
            let mut object = object.clone();
            for (_, value) in object.iter_mut().filter(|(name, _)| fields.contains(&name.as_str())) {
                if value.is_number() {
                    *value = value.to_string().into();
                }
            }
            Json::Object(object)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Binary, Choice, Entity, KeyValue};

    #[derive(Choice, Clone, Copy, Debug, PartialEq)]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Debug, PartialEq, Inputs)]
    struct All {
        text: String,
        #[input(default = 2.5)]
        number: f64,
        counts: Option<Vec<i64>>,
        headers: Option<Vec<KeyValue>>,
        entity: Option<Entity>,
        #[input(choices("a", "b"))]
        letters: Option<Vec<String>>,
        colours: Option<Vec<Colour>>,
        #[input(secret)]
        token: Option<String>,
        bytes: Option<Binary>,
        switch: Option<bool>,
        count: Option<u32>,
    }

    #[derive(Outputs)]
    struct Given {
        number: f64,
        entity: Entity,
        absent: Option<String>,
        bytes: Binary,
    }

    #[test]
    fn inputs_are_read_by_name_and_type() {
        let read: All = inputs(&json!({
            "text": "a", "counts": [1, 2], "headers": [{"key": "a", "value": 1}], "letters": ["b"],
            "entity": {"id": "1", "type": "Host", "value": "h"}, "colours": ["green", "red"], "token": null,
        }))
        .expect("they are right");
        let expected = All {
            text: "a".into(),
            number: 2.5,
            counts: Some(vec![1, 2]),
            headers: Some(vec![KeyValue::new("a", 1)]),
            entity: Some(Entity::new("1", "Host", "h")),
            letters: Some(vec!["b".into()]),
            colours: Some(vec![Colour::Green, Colour::Red]),
            token: None,
            bytes: None,
            switch: None,
            count: None,
        };
        assert_eq!(read, expected);
        let described = All::describe();
        assert_eq!(described[6].choices, ["red", "green"], "a list of choices has the choices of its items");
    }

    #[test]
    fn what_a_template_renders_is_taken_as_the_host_takes_it() {
        let read: All = inputs(&json!({
            "text": 7, "number": "1e3", "counts": ["1", 2.0, " -3 "], "headers": [{"key": 404, "value": 1}],
            "entity": {"id": 12, "type": "Host", "value": 7, "rating": 4}, "token": true, "bytes": "QmVsbA==",
            "switch": "True", "count": "2",
        }))
        .expect("they are right");
        let expected = All {
            text: "7".into(),
            number: 1000.0,
            counts: Some(vec![1, 2, -3]),
            headers: Some(vec![KeyValue::new("404", 1)]),
            entity: Some(Entity::new("12", "Host", "7").with("rating", 4)),
            letters: None,
            colours: None,
            token: Some("true".into()),
            bytes: Some(Binary(b"Bell".to_vec())),
            switch: Some(true),
            count: Some(2),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn conversions_are_those_of_the_host_and_no_others() {
        for (value_type, json, expected) in [
            (ValueType::Text, json!(1.5), Some(Value::Text("1.5".into()))),
            (ValueType::Text, json!({"a": 1}), None),
            (ValueType::Integer, json!(7.0), Some(Value::Integer(7))),
            (ValueType::Integer, json!(7.5), None),
            (ValueType::Integer, json!("7.0"), None),
            (ValueType::Integer, json!(1e300), None),
            (ValueType::Integer, json!(u64::MAX), None),
            (ValueType::Integer, json!(true), None),
            (ValueType::Number, json!(7), Some(Value::Number(7.0))),
            (ValueType::Number, json!("inf"), None),
            (ValueType::Number, json!("NaN"), None),
            (ValueType::Boolean, json!(" FALSE "), Some(Value::Boolean(false))),
            (ValueType::Boolean, json!("yes"), None),
            (ValueType::Boolean, json!(1), None),
            (ValueType::Binary, json!(""), Some(Value::Binary(Vec::new()))),
            (ValueType::Binary, json!("aGk="), Some(Value::Binary(b"hi".to_vec()))),
            (ValueType::Binary, json!("aGk"), None),
            (ValueType::Binary, json!("aGl="), None),
            (ValueType::Binary, json!("a=k="), None),
            (ValueType::Binary, json!("===="), None),
            (ValueType::Binary, json!([104, 105]), None),
            (ValueType::Texts, json!(["a", 1]), Some(Value::Texts(vec!["a".into(), "1".into()]))),
            (ValueType::Texts, json!("a"), None),
            (ValueType::Texts, json!(["a", null]), None),
            (ValueType::Integers, json!([1, 2.5]), None),
            (ValueType::Numbers, json!([1, "2.5"]), Some(Value::Numbers(vec![1.0, 2.5]))),
            (ValueType::Binaries, json!(["aGk="]), Some(Value::Binaries(vec![b"hi".to_vec()]))),
            (ValueType::Json, json!({"a": [1]}), Some(Value::Json(r#"{"a":[1]}"#.into()))),
        ] {
            assert_eq!(of_json(&json, value_type), expected, "{json} as {value_type:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_a_secret_is_not_shown() {
        for (given, expected) in [
            (json!({}), "input \"text\": it is required"),
            (json!({"text": "a", "txet": 1}), "there is no input \"txet\", but text, number"),
            (
                json!({"text": "a", "number": "x"}),
                "input \"number\": expected a number, found the text \"x\"",
            ),
            (json!({"text": "a", "counts": [1.5]}), "input \"counts\": expected a list of whole numbers"),
            (
                json!({"text": "a", "letters": ["a", "c"]}),
                "input \"letters\": expected one of a, b, found \"c\"",
            ),
            (json!({"text": "a", "colours": ["blue"]}), "input \"colours\": expected one of red, green"),
            (json!({"text": "a", "headers": [{"key": "a"}]}), "missing field `value`"),
            (json!({"text": "a", "token": [12345]}), "input \"token\": expected a text"),
            (
                json!({"text": "a", "headers": [{"key": "", "value": 1}]}),
                "[0].key is to be a text that is not empty",
            ),
            (json!({"text": "a", "entity": {"id": 1, "type": "", "value": ""}}), "; type is to be"),
            (json!({"text": "a", "bytes": "Qg"}), "input \"bytes\": expected bytes, found the text \"Qg\""),
            (json!([]), "expected an object of inputs"),
        ] {
            let error = inputs::<All>(&given).expect_err(expected);
            assert!(error.message().contains(expected), "{error}, expected {expected}");
            assert!(!error.message().contains("12345"), "{error}");
        }
    }

    #[test]
    fn outputs_are_what_later_steps_see() {
        let given = Given {
            number: 1.5,
            entity: Entity::new("1", "Host", "h"),
            absent: None,
            bytes: Binary(vec![7]),
        };
        let expected =
            json!({"number": 1.5, "entity": {"id": "1", "type": "Host", "value": "h"}, "bytes": "Bw=="});
        assert_eq!(outputs(given), expected);
    }

    #[test]
    #[should_panic(expected = "number is NaN, expected a finite number")]
    fn outputs_that_no_host_takes_fail_the_test() {
        let (entity, bytes) = (Entity::new("1", "Host", "h"), Binary(Vec::new()));
        let _ = outputs(Given { number: f64::NAN, entity, absent: None, bytes });
    }

    #[test]
    #[should_panic(expected = "shares is inf, expected a finite number")]
    fn a_number_of_a_list_is_looked_at_too() {
        #[derive(Outputs)]
        struct Shared {
            shares: Vec<f64>,
        }
        let _ = outputs(Shared { shares: vec![1.0, f64::INFINITY] });
    }

    #[test]
    #[should_panic(expected = "id is 9223372036854775808, expected at most 9223372036854775807")]
    fn a_whole_number_past_the_integers_is_no_output() {
        #[derive(Outputs)]
        struct Created {
            id: Option<u64>,
        }
        let _ = outputs(Created { id: Some(1 << 63) });
    }

    #[test]
    #[should_panic(expected = "; type is to be a text that is not empty")]
    fn an_entity_that_does_not_say_what_it_is_is_no_output() {
        let (entity, bytes) = (Entity::new("1", "", "h"), Binary(Vec::new()));
        let _ = outputs(Given { number: 1.0, entity, absent: None, bytes });
    }
}
