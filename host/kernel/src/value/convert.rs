//! JSON to declared types and back.
//!
//! Templates render text, and people write numbers in quotes, so these conversions are made and no others:
//!
//! | declared | JSON that is taken |
//! |---|---|
//! | text | text; a number or boolean, as JSON writes it |
//! | integer | a whole number of 64 bits, signed; a number without a fraction up to 2⁵³; text that reads as a whole number |
//! | number | a number; text that reads as a finite number |
//! | boolean | `true`, `false`; the same as text, in any case |
//! | binary | text in base64, with padding |
//! | texts, integers, numbers, binaries | a list of the above |
//! | json | anything |
//! | key-value | an object with `key`, a text that is not empty, and `value`, anything |
//! | entity | an object with `id`, `type` (not empty) and `value`, all texts, and whatever else |
//! | key-values, entities | a list of those |
//!
//! A number where a shape has a text is taken as JSON writes it: other systems' ids are numbers.
//!
//! `null` means "not given" for every type.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use super::{Input, MASK, Value, ValueType, misfit, shape};
use crate::FieldError;

/// The largest whole number every smaller one of which a double holds exactly: 2⁵³.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What would be right for a type, as a phrase of an error.
#[must_use]
pub fn expectation(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Text => "text",
        ValueType::Integer => "a whole number",
        ValueType::Number => "a number",
        ValueType::Boolean => "true or false",
        ValueType::Binary => "bytes in base64, with padding",
        ValueType::Texts => "a list of texts",
        ValueType::Integers => "a list of whole numbers",
        ValueType::Numbers => "a list of numbers",
        ValueType::Binaries => "a list of byte strings in base64, with padding",
        ValueType::Json => "any JSON",
        ValueType::KeyValue => r#"{"key": text, "value": any JSON}"#,
        ValueType::KeyValues => r#"a list of {"key": text, "value": any JSON}"#,
        ValueType::Entity => r#"{"id": text, "type": text, "value": text}"#,
        ValueType::Entities => r#"a list of {"id": text, "type": text, "value": text}"#,
    }
}

/// What would be right where `json` is not, as a phrase of an error: the type's own, and which field of a shape is
/// wrong.
#[must_use]
pub fn expectation_of(json: &Json, value_type: ValueType) -> String {
    let whole = expectation(value_type);
    match misfit(json, value_type) {
        Some(misfit) if !misfit.field.is_empty() => format!("{whole}; {misfit}"),
        _ => whole.to_owned(),
    }
}

/// `json` as `value_type`; `None` if it is not one by the table above.
#[must_use]
pub fn to_value(json: &Json, value_type: ValueType) -> Option<Value> {
    if json.is_null() {
        return Some(Value::None);
    }
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
        ValueType::Json => Value::Json(json.clone()),
        ValueType::KeyValue | ValueType::KeyValues | ValueType::Entity | ValueType::Entities => {
            let json = shape::with_texts(json, value_type);
            if misfit(&json, value_type).is_some() {
                return None;
            }
            Value::Json(json)
        }
    })
}

/// `value` as JSON: bytes in base64. A number that is not finite becomes `null`; see [`is_of`].
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Number(number) => (*number).into(),
        Value::Boolean(boolean) => (*boolean).into(),
        Value::Binary(bytes) => STANDARD.encode(bytes).into(),
        Value::Texts(texts) => texts.clone().into(),
        Value::Integers(numbers) => numbers.clone().into(),
        Value::Numbers(numbers) => numbers.clone().into(),
        Value::Binaries(binaries) => binaries.iter().map(|bytes| STANDARD.encode(bytes)).collect(),
        Value::Json(json) => json.clone(),
    }
}

/// Named values as a JSON object, bytes in base64, those not given left out.
#[must_use]
pub fn to_object(values: &[(String, Value)]) -> Map<String, Json> {
    let given = values.iter().filter(|(_, value)| *value != Value::None);
    given.map(|(name, value)| (name.clone(), to_json(value))).collect()
}

/// What is declared from JSON, in that order, defaults filled in. `place` is what holds it, for errors: `inputs`.
///
/// # Errors
/// Names the input that is missing, unknown, of another type or none of its choices. A secret's value is not in it.
pub fn from_object(
    declared: &[Input],
    place: &str,
    given: &Map<String, Json>,
) -> Result<Vec<(String, Value)>, FieldError> {
    if let Some(name) = given.keys().find(|name| declared.iter().all(|input| input.name != **name)) {
        let names: Vec<&str> = declared.iter().map(|input| input.name.as_str()).collect();
        let secret = declared.iter().any(|input| input.secret);
        return Err(undeclared(&format!("{place}.{name}"), &given[name], secret, &names));
    }
    declared
        .iter()
        .map(|input| Ok((input.name.clone(), one_from_json(input, place, given.get(&input.name))?)))
        .collect()
}

/// A field that is none of the declared `names`. Where any of those is `secret` its value is not shown: it may be meant for
/// one whose name was nearly hit.
#[must_use]
pub fn undeclared(field: &str, value: &Json, secret: bool, names: &[&str]) -> FieldError {
    let expected = match names {
        [] => "nothing here".to_owned(),
        [name] => format!("another name: {name}"),
        _ => format!("another name: one of {}", names.join(", ")),
    };
    FieldError::new(field, if secret { MASK.to_owned() } else { shown(value) }, expected)
}

/// JSON as an error shows it: a text without its quotes.
fn shown(json: &Json) -> String {
    json.as_str().map_or_else(|| json.to_string(), str::to_owned)
}

fn one_from_json(input: &Input, place: &str, given: Option<&Json>) -> Result<Value, FieldError> {
    let given = given.filter(|json| !json.is_null()).or(input.default.as_ref()).unwrap_or(&Json::Null);
    let wrong = |expected: String| {
        let value = match given {
            Json::Null => "nothing".to_owned(),
            _ if input.secret => MASK.to_owned(),
            other => shown(other),
        };
        FieldError::new(format!("{place}.{}", input.name), value, expected)
    };
    let value =
        to_value(given, input.value_type).ok_or_else(|| wrong(expectation_of(given, input.value_type)))?;
    let texts = match &value {
        Value::None if input.required => {
            return Err(wrong(format!("{}: it is required", expectation(input.value_type))));
        }
        Value::Text(text) => std::slice::from_ref(text),
        Value::Texts(texts) => texts.as_slice(),
        _ => &[],
    };
    if !input.choices.is_empty() && texts.iter().any(|text| !input.choices.contains(text)) {
        return Err(wrong(format!("one of {}", input.choices.join(", "))));
    }
    Ok(value)
}

/// Whether `value` is of `value_type`, its numbers finite.
#[must_use]
pub fn is_of(value: &Value, value_type: ValueType) -> bool {
    match (value, value_type) {
        (Value::Number(number), ValueType::Number) => number.is_finite(),
        (Value::Numbers(numbers), ValueType::Numbers) => numbers.iter().all(|number| number.is_finite()),
        (Value::Json(json), value_type) => misfit(json, value_type).is_none(),
        (Value::None, _)
        | (Value::Text(_), ValueType::Text)
        | (Value::Integer(_), ValueType::Integer)
        | (Value::Boolean(_), ValueType::Boolean)
        | (Value::Binary(_), ValueType::Binary)
        | (Value::Texts(_), ValueType::Texts)
        | (Value::Integers(_), ValueType::Integers)
        | (Value::Binaries(_), ValueType::Binaries) => true,
        _ => false,
    }
}

fn text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(boolean) => Some(boolean.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn integer(json: &Json) -> Option<i64> {
    match json {
        Json::String(text) => text.trim().parse().ok(),
        Json::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
            Some(float as i64)
        }),
        _ => None,
    }
}

fn number(json: &Json) -> Option<f64> {
    let number = match json {
        // The parser also takes "inf" and "nan", which are refused below.
        Json::String(text) => text.trim().parse().ok()?,
        Json::Number(number) => number.as_f64()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn boolean(json: &Json) -> Option<bool> {
    match json {
        Json::Bool(boolean) => Some(*boolean),
        Json::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Json::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn binary(json: &Json) -> Option<Vec<u8>> {
    STANDARD.decode(json.as_str()?).ok()
}

fn list<T>(json: &Json, item: impl Fn(&Json) -> Option<T>) -> Option<Vec<T>> {
    json.as_array()?.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn the_table_of_conversions_holds() {
        let cases = [
            (ValueType::Text, json!("a"), Some(Value::Text("a".into()))),
            (ValueType::Text, json!(1.5), Some(Value::Text("1.5".into()))),
            (ValueType::Text, json!(true), Some(Value::Text("true".into()))),
            (ValueType::Text, json!(["a"]), None),
            (ValueType::Text, json!({"a": 1}), None),
            (ValueType::Integer, json!(7), Some(Value::Integer(7))),
            (ValueType::Integer, json!(7.0), Some(Value::Integer(7))),
            (ValueType::Integer, json!(" -7 "), Some(Value::Integer(-7))),
            (ValueType::Integer, json!(7.5), None),
            (ValueType::Integer, json!("7.0"), None),
            (ValueType::Integer, json!(1e300), None),
            (ValueType::Integer, json!(u64::MAX), None),
            (ValueType::Integer, json!(""), None),
            (ValueType::Integer, json!(true), None),
            (ValueType::Number, json!(7), Some(Value::Number(7.0))),
            (ValueType::Number, json!("7.25"), Some(Value::Number(7.25))),
            (ValueType::Number, json!("1e3"), Some(Value::Number(1000.0))),
            (ValueType::Number, json!("inf"), None),
            (ValueType::Number, json!("NaN"), None),
            (ValueType::Number, json!("seven"), None),
            (ValueType::Boolean, json!(false), Some(Value::Boolean(false))),
            (ValueType::Boolean, json!("True"), Some(Value::Boolean(true))),
            (ValueType::Boolean, json!("yes"), None),
            (ValueType::Boolean, json!(1), None),
            (ValueType::Binary, json!("aGk="), Some(Value::Binary(b"hi".to_vec()))),
            (ValueType::Binary, json!("aGk"), None),
            (ValueType::Binary, json!([104, 105]), None),
            (ValueType::Texts, json!(["a", 1]), Some(Value::Texts(vec!["a".into(), "1".into()]))),
            (ValueType::Texts, json!("a"), None),
            (ValueType::Texts, json!(["a", null]), None),
            (ValueType::Integers, json!([1, "2"]), Some(Value::Integers(vec![1, 2]))),
            (ValueType::Integers, json!([1, 2.5]), None),
            (ValueType::Numbers, json!([1, "2.5"]), Some(Value::Numbers(vec![1.0, 2.5]))),
            (ValueType::Binaries, json!(["aGk="]), Some(Value::Binaries(vec![b"hi".to_vec()]))),
            (ValueType::Json, json!({"a": [1]}), Some(Value::Json(json!({"a": [1]})))),
            (
                ValueType::KeyValue,
                json!({"key": 7, "value": 7}),
                Some(Value::Json(json!({"key": "7", "value": 7}))),
            ),
            (ValueType::KeyValue, json!({"key": "a"}), None),
            (ValueType::KeyValue, json!([]), None),
            (ValueType::KeyValues, json!([]), Some(Value::Json(json!([])))),
            (ValueType::KeyValues, json!({"key": "a", "value": 1}), None),
            (
                ValueType::Entity,
                json!({"id": 12, "type": "Host", "value": "h", "rating": 4}),
                Some(Value::Json(json!({"id": "12", "type": "Host", "value": "h", "rating": 4}))),
            ),
            (ValueType::Entities, json!([{"id": "1", "type": "", "value": "h"}]), None),
        ];
        for (value_type, json, expected) in cases {
            assert_eq!(to_value(&json, value_type), expected, "{json} as {value_type:?}");
        }
    }

    #[test]
    fn null_is_not_given_whatever_the_type() {
        for value_type in [ValueType::Text, ValueType::Number, ValueType::Texts, ValueType::Json] {
            assert_eq!(to_value(&Json::Null, value_type), Some(Value::None));
        }
    }

    #[test]
    fn an_output_that_is_not_finite_is_of_no_type() {
        assert!(!is_of(&Value::Number(f64::NAN), ValueType::Number));
        assert!(!is_of(&Value::Numbers(vec![1.0, f64::INFINITY]), ValueType::Numbers));
        assert!(is_of(&Value::None, ValueType::Number));
        assert!(!is_of(&Value::Integer(1), ValueType::Number));
    }

    #[test]
    fn what_an_app_gives_keeps_to_the_shape_exactly() {
        let is = |json: Json, value_type| is_of(&Value::Json(json), value_type);
        assert!(is(json!({"key": "a", "value": null}), ValueType::KeyValue));
        assert!(
            !is(json!({"key": 7, "value": null}), ValueType::KeyValue),
            "a number is only taken on the way in"
        );
        assert!(!is(json!({"key": "a", "value": 1}), ValueType::Entity));
        assert!(!is(json!("text"), ValueType::Text), "JSON is no text");
        assert!(is(json!("text"), ValueType::Json));
    }

    #[test]
    fn the_field_that_breaks_a_shape_is_named() {
        let wrong = json!([{"key": "a", "value": 1}, {"value": 1}]);
        let expected = expectation_of(&wrong, ValueType::KeyValues);
        assert_eq!(
            expected,
            r#"a list of {"key": text, "value": any JSON}; [1].key is to be text that is not empty"#
        );
        assert_eq!(expectation_of(&json!([]), ValueType::Integer), "a whole number");
    }

    #[test]
    fn inputs_written_out_are_held_against_the_description() {
        let input = |name: &str, value_type, secret, choices: &[&str], default: Option<Json>| Input {
            name: name.to_owned(),
            value_type,
            required: name == "page",
            default,
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            secret,
            help: String::new(),
        };
        let declared = [
            input("page", ValueType::Text, false, &[], None),
            input("times", ValueType::Integer, false, &[], Some(json!(1))),
            input("kinds", ValueType::Texts, false, &["a", "b"], None),
            input("token", ValueType::Integer, true, &[], None),
        ];
        let read = |given: Json| from_object(&declared, "inputs", given.as_object().expect("an object"));
        let inputs = read(json!({"page": 7, "kinds": ["b"], "token": null})).expect("they are right");
        let inputs: Vec<Value> = inputs.into_iter().map(|(_, value)| value).collect();
        let kinds = Value::Texts(vec!["b".into()]);
        assert_eq!(inputs, [Value::Text("7".into()), Value::Integer(1), kinds, Value::None]);
        for (given, field, expected) in [
            (json!({}), "inputs.page", "text: it is required"),
            (
                json!({"page": "a", "pgae": "hunter2"}),
                "inputs.pgae",
                "another name: one of page, times, kinds, token",
            ),
            (json!({"page": "a", "times": "many"}), "inputs.times", "a whole number"),
            (json!({"page": "a", "kinds": ["a", "c"]}), "inputs.kinds", "one of a, b"),
            (json!({"page": "a", "token": "hunter2"}), "inputs.token", "a whole number"),
        ] {
            let error = read(given).expect_err(expected);
            assert_eq!((error.field.as_str(), error.expected.as_str()), (field, expected));
            assert!(!error.value.contains("hunter2"), "{error}");
        }
        let open = &declared[..1];
        let given = json!({"page": "a", "pgae": 404});
        let error = from_object(open, "inputs", given.as_object().expect("an object")).expect_err("a slip");
        assert_eq!(error.to_string(), "inputs.pgae is \"404\", expected another name: page");
    }

    fn any_value() -> impl Strategy<Value = (Value, ValueType)> {
        let finite = || any::<f64>().prop_filter("finite", |number| number.is_finite());
        prop_oneof![
            any::<String>().prop_map(|v| (Value::Text(v), ValueType::Text)),
            any::<i64>().prop_map(|v| (Value::Integer(v), ValueType::Integer)),
            finite().prop_map(|v| (Value::Number(v), ValueType::Number)),
            any::<bool>().prop_map(|v| (Value::Boolean(v), ValueType::Boolean)),
            any::<Vec<u8>>().prop_map(|v| (Value::Binary(v), ValueType::Binary)),
            any::<Vec<String>>().prop_map(|v| (Value::Texts(v), ValueType::Texts)),
            any::<Vec<i64>>().prop_map(|v| (Value::Integers(v), ValueType::Integers)),
            proptest::collection::vec(finite(), 0..9).prop_map(|v| (Value::Numbers(v), ValueType::Numbers)),
            any::<Vec<Vec<u8>>>().prop_map(|v| (Value::Binaries(v), ValueType::Binaries)),
        ]
    }

    proptest! {
        #[test]
        fn an_output_arrives_unchanged_at_an_input_of_its_type((value, value_type) in any_value()) {
            prop_assert!(is_of(&value, value_type));
            prop_assert_eq!(to_value(&to_json(&value), value_type), Some(value));
        }
    }
}
