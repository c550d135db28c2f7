//! An app's inputs and outputs as a playbook passes them, so that a test meets names, defaults and types too.

use std::fmt::Display;

use serde_json::{Map, Value as Json};

use crate::app::Input;
use crate::value::{self, NamedValue, Value, ValueType};
use crate::{AppError, Inputs, Outputs};

/// Reads inputs from a JSON object of names and values, as the host does: defaults stand in for what is absent, a
/// wrong name, type or choice is refused. Bytes are not JSON and cannot be given this way: make the struct itself.
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
/// let error = inputs::<Visit>(&json!({ "page": 7 })).unwrap_err();
/// assert_eq!(error.message(), "input \"page\": expected a text, found the number 7");
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
        Some(value) => Ok(of_json(value, input.value_type)),
        None if input.required => {
            Err((input.name.clone(), "nothing".to_owned(), "a value: it is required".to_owned()))
        }
        None => Ok(Value::None),
    };
    declared.iter().map(|input| Ok(NamedValue { name: input.name.clone(), value: value(input)? })).collect()
}

/// Outputs as the JSON object a playbook's later steps see. Those not given are left out, bytes are lists of numbers.
///
/// # Panics
/// If a host would refuse them: a number is not finite, or a whole one has more than 64 bits, signed.
#[must_use]
#[track_caller]
pub fn outputs<O: Outputs>(given: O) -> Json {
    let declared = O::describe();
    let is_integer = |name: &str| {
        declared.iter().any(|output| output.name == name && output.value_type == ValueType::Integer)
    };
    let given = given.write();
    for NamedValue { name, value } in &given {
        let refused = |found: &dyn Display, expected: &str| -> ! {
            panic!("the host refuses the outputs: {name} is {found}, expected {expected}")
        };
        let numbers = match value {
            Value::Number(number) => std::slice::from_ref(number),
            Value::Numbers(numbers) => numbers,
            // So a `u64` is written that is no integer of the contract.
            Value::Json(number) if is_integer(name) => refused(number, "at most 9223372036854775807"),
            _ => &[],
        };
        if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
            refused(number, "a finite number");
        }
    }
    let given = given.into_iter().filter_map(|NamedValue { name, value }| Some((name, to_json(&value)?)));
    Json::Object(given.collect())
}

/// A value of the declared type where the JSON is one; else what it looks like, for the plugin to refuse.
fn of_json(json: &Json, value_type: ValueType) -> Value {
    fn all<T>(list: &[Json], read: impl Fn(&Json) -> Option<T>) -> Option<Vec<T>> {
        list.iter().map(read).collect()
    }
    match (value_type, json) {
        (ValueType::Number, Json::Number(number)) => number.as_f64().map(Value::Number),
        (ValueType::Texts, Json::Array(list)) => {
            all(list, |item| item.as_str().map(str::to_owned)).map(Value::Texts)
        }
        (ValueType::Integers, Json::Array(list)) => all(list, Json::as_i64).map(Value::Integers),
        (ValueType::Numbers, Json::Array(list)) => all(list, Json::as_f64).map(Value::Numbers),
        (
            ValueType::Json
            | ValueType::KeyValue
            | ValueType::KeyValues
            | ValueType::Entity
            | ValueType::Entities,
            json,
        ) => Some(Value::Json(json.to_string())),
        (_, Json::String(text)) => Some(Value::Text(text.clone())),
        (_, Json::Bool(boolean)) => Some(Value::Boolean(*boolean)),
        (_, Json::Number(number)) => number.as_i64().map(Value::Integer),
        _ => None,
    }
    .unwrap_or_else(|| match json {
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        other => Value::Json(other.to_string()),
    })
}

fn to_json(value: &Value) -> Option<Json> {
    match value {
        Value::None => None,
        Value::Binary(bytes) => Some(bytes.clone().into()),
        Value::Binaries(list) => Some(list.iter().map(|bytes| Json::from(bytes.clone())).collect()),
        value => value::json_text(value).and_then(|text| serde_json::from_str(&text).ok()),
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
        };
        assert_eq!(read, expected);
        let described = All::describe();
        assert_eq!(described[6].choices, ["red", "green"], "a list of choices has the choices of its items");
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
            (json!({"text": "a", "token": 12345}), "input \"token\": expected a text"),
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
            json!({"number": 1.5, "entity": {"id": "1", "type": "Host", "value": "h"}, "bytes": [7]});
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
}
