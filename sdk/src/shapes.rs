//! Values of a fixed shape, as apps of other playbook engines pass them: a key with its value, and an entity.
//!
//! They travel as JSON the host holds against the shape, on the way in and on the way out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Tree};

use crate::value::{FromValue, IntoValue, Mismatch, Value, ValueType};

/// A key with a value: a header, a tag, a row of a form. As JSON `{"key": <text>, "value": <any JSON>}`.
///
/// ```
/// use bellwether_sdk::KeyValue;
///
/// let header = KeyValue::new("retries", 3);
/// assert_eq!((header.key.as_str(), &*header.text()), ("retries", "3"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyValue {
    /// At least one character.
    pub key: String,
    /// Any JSON; most often a text, see [`Self::text`].
    pub value: Tree,
}

impl KeyValue {
    /// A key with a value.
    pub fn new(key: impl Into<String>, value: impl Into<Tree>) -> Self {
        Self { key: key.into(), value: value.into() }
    }

    /// The value as text: a text as it is, anything else as JSON writes it.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match &self.value {
            Tree::String(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.to_string()),
        }
    }
}

/// Something a system knows by id, type and value: an address, a file, a user. As JSON
/// `{"id": <text>, "type": <text>, "value": <text>}`; further fields (a rating, a link) are kept in [`Self::more`].
///
/// ```
/// use bellwether_sdk::Entity;
///
/// let entity = Entity::new("7", "Address", "192.0.2.7").with("rating", 4);
/// assert_eq!(entity.more["rating"], 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// Its id in the system that knows it.
    pub id: String,
    /// What it is, as that system names it; at least one character.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// What it says.
    pub value: String,
    /// Further fields.
    #[serde(flatten)]
    pub more: Map<String, Tree>,
}

impl Entity {
    /// An entity without further fields.
    pub fn new(id: impl Into<String>, entity_type: impl Into<String>, value: impl Into<String>) -> Self {
        Self { id: id.into(), entity_type: entity_type.into(), value: value.into(), more: Map::new() }
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Tree>) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }
}

/// What a shape asks for beyond the types of its fields.
trait Shape {
    /// The field that is empty and has to say something.
    fn empty(&self) -> Option<String>;
}

impl Shape for KeyValue {
    fn empty(&self) -> Option<String> {
        self.key.is_empty().then(|| "key".to_owned())
    }
}

impl Shape for Entity {
    fn empty(&self) -> Option<String> {
        self.entity_type.is_empty().then(|| "type".to_owned())
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn empty(&self) -> Option<String> {
        self.iter().enumerate().find_map(|(index, item)| Some(format!("[{index}].{}", item.empty()?)))
    }
}

macro_rules! shapes {
    ($($rust:ty: $type:ident, $expected:literal;)+) => {$(
        impl FromValue for $rust {
            const TYPE: ValueType = ValueType::$type;

            fn from_value(value: Value) -> Result<Self, Mismatch> {
                let Value::Json(text) = &value else { return Err(Mismatch::new($expected, &value)) };
                let read: Self = serde_json::from_str(text)
                    .map_err(|error| Mismatch::new(format!("{} ({error})", $expected), &value))?;
                match read.empty() {
                    None => Ok(read),
                    Some(field) => {
                        let expected = format!("{}; {field} is to be a text that is not empty", $expected);
                        Err(Mismatch::new(expected, &value))
                    }
                }
            }
        }

        impl IntoValue for $rust {
            const TYPE: ValueType = ValueType::$type;

            fn into_value(self) -> Value {
                Value::Json(serde_json::to_string(&self).expect("its keys are texts, so it is writable as JSON"))
            }
        }
    )+};
}

shapes! {
    KeyValue: KeyValue, r#"{"key": text, "value": any JSON}"#;
    Vec<KeyValue>: KeyValues, r#"a list of {"key": text, "value": any JSON}"#;
    Entity: Entity, r#"{"id": text, "type": text, "value": text}"#;
    Vec<Entity>: Entities, r#"a list of {"id": text, "type": text, "value": text}"#;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json(value: &Tree) -> Value {
        Value::Json(value.to_string())
    }

    #[test]
    fn a_shape_is_read_from_its_json_and_written_back_with_every_field() {
        let pair = json!({"key": "a", "value": {"nested": [1]}});
        let read = KeyValue::from_value(json(&pair)).expect("a pair");
        assert_eq!(read, KeyValue::new("a", json!({"nested": [1]})));
        assert_eq!(read.into_value(), json(&pair));
        let entities = json!([{"id": "1", "type": "Host", "value": "a.example", "rating": 3}]);
        let read = Vec::<Entity>::from_value(json(&entities)).expect("entities");
        assert_eq!(read, [Entity::new("1", "Host", "a.example").with("rating", 3)]);
        assert_eq!(read.into_value(), json(&entities));
        assert_eq!(<Vec<KeyValue> as FromValue>::TYPE, ValueType::KeyValues);
        assert_eq!(Option::<Entity>::from_value(Value::None), Ok(None));
    }

    #[test]
    fn what_lacks_a_field_is_told_which() {
        for (wrong, field) in [(json!({"key": "a"}), "`value`"), (json!({"value": 1}), "`key`")] {
            let error = KeyValue::from_value(json(&wrong)).expect_err(field).to_string();
            assert!(error.contains(field) && error.contains("\"key\": text"), "{error}");
        }
        let surplus = json!({"key": "a", "value": 1, "more": 2});
        assert!(KeyValue::from_value(json(&surplus)).is_err());
        let error = Entity::from_value(json(&json!({"id": "1", "value": "x"}))).expect_err("no type");
        assert!(error.to_string().contains("`type`"), "{error}");
        let nameless = json!([{"key": "a", "value": 1}, {"key": "", "value": 1}]);
        let error = Vec::<KeyValue>::from_value(json(&nameless)).expect_err("an empty key").to_string();
        assert!(error.contains("[1].key is to be a text that is not empty"), "{error}");
        let error =
            Entity::from_value(json(&json!({"id": "", "type": "", "value": ""}))).expect_err("no type");
        assert!(error.to_string().contains("; type is to be"), "{error}");
        let error = Entity::from_value(Value::Text("x".into())).expect_err("a text");
        assert_eq!(
            error.to_string(),
            "expected {\"id\": text, \"type\": text, \"value\": text}, found the text \"x\""
        );
    }

    #[test]
    fn a_value_reads_as_text_whatever_it_is() {
        for (value, text) in
            [(json!("a"), "a"), (json!(1.5), "1.5"), (json!(null), "null"), (json!([1]), "[1]")]
        {
            assert_eq!(KeyValue::new("k", value).text(), text);
        }
    }
}
