//! The shapes of key-values and entities: JSON that other playbook engines' apps pass, held against what is declared on
//! the way in and on the way out.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::ValueType;

/// Where JSON departs from a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The path below the value: `[2].key`; empty for the value itself.
    pub field: String,
    /// What would be right there, as a phrase.
    pub expected: &'static str,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is to be {}", self.field, self.expected)
    }
}

/// What a field of a shape may hold.
#[derive(Clone, Copy)]
enum Member {
    Text,
    FullText,
    Anything,
}

impl Member {
    fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::FullText => "text that is not empty",
            Self::Anything => "any JSON",
        }
    }

    fn is(self, json: &Json) -> bool {
        match self {
            Self::Text => json.is_string(),
            Self::FullText => json.as_str().is_some_and(|text| !text.is_empty()),
            Self::Anything => true,
        }
    }
}

/// An object's fields.
pub struct Shape {
    members: &'static [(&'static str, Member)],
    /// Whether other fields may stand beside them.
    open: bool,
    expected: &'static str,
}

const KEY_VALUE: Shape = Shape {
    members: &[("key", Member::FullText), ("value", Member::Anything)],
    open: false,
    expected: "an object with the fields key and value",
};

const ENTITY: Shape = Shape {
    members: &[("id", Member::Text), ("type", Member::FullText), ("value", Member::Text)],
    open: true,
    expected: "an object with the fields id, type and value",
};

/// The shape of one item, and whether the type is a list of such.
#[must_use]
pub fn of(value_type: ValueType) -> Option<(&'static Shape, bool)> {
    match value_type {
        ValueType::KeyValue => Some((&KEY_VALUE, false)),
        ValueType::KeyValues => Some((&KEY_VALUE, true)),
        ValueType::Entity => Some((&ENTITY, false)),
        ValueType::Entities => Some((&ENTITY, true)),
        _ => None,
    }
}

impl Shape {
    /// The fields there have to be, each with whether it is a text.
    pub fn members(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.members.iter().map(|(name, member)| (*name, !matches!(member, Member::Anything)))
    }

    /// Whether it may have a field of that name.
    pub fn takes(&self, name: &str) -> bool {
        self.open || self.members.iter().any(|(member, _)| *member == name)
    }

    fn misfit(&self, at: &str, json: &Json) -> Option<Misfit> {
        let Json::Object(fields) = json else {
            return Some(Misfit { field: at.to_owned(), expected: self.expected });
        };
        let wrong =
            self.members.iter().find(|(name, member)| !fields.get(*name).is_some_and(|json| member.is(json)));
        if let Some((name, member)) = wrong {
            return Some(Misfit { field: format!("{at}.{name}"), expected: member.expected() });
        }
        let surplus = fields.keys().find(|name| !self.takes(name))?;
        Some(Misfit { field: format!("{at}.{surplus}"), expected: "left out" })
    }

    /// The object with numbers where texts are due written as text.
    fn with_texts(&self, fields: &Map<String, Json>) -> Json {
        let text_of = |name: &str| self.members().any(|(member, text)| text && member == name);
        let fields = fields.iter().map(|(name, json)| match json {
            Json::Number(number) if text_of(name) => (name.clone(), Json::String(number.to_string())),
            json => (name.clone(), json.clone()),
        });
        Json::Object(fields.collect())
    }
}

/// Where `json` departs from the shape of `value_type`, if it does. Any JSON fits [`ValueType::Json`], and none fits a
/// type that is not passed as JSON.
#[must_use]
pub fn misfit(json: &Json, value_type: ValueType) -> Option<Misfit> {
    let whole = |expected| Some(Misfit { field: String::new(), expected });
    match (of(value_type), json) {
        (Some((shape, false)), json) => shape.misfit("", json),
        (Some((shape, true)), Json::Array(items)) => {
            items.iter().enumerate().find_map(|(index, item)| shape.misfit(&format!("[{index}]"), item))
        }
        (Some((_, true)), _) => whole("a list"),
        (None, _) if value_type == ValueType::Json => None,
        (None, _) => whole("of another type"),
    }
}

/// `json` with numbers written as text where the shape has texts.
#[must_use]
pub fn with_texts(json: &Json, value_type: ValueType) -> Json {
    match (of(value_type), json) {
        (Some((shape, true)), Json::Array(items)) => items
            .iter()
            .map(|item| item.as_object().map_or_else(|| item.clone(), |fields| shape.with_texts(fields)))
            .collect(),
        (Some((shape, false)), Json::Object(fields)) => shape.with_texts(fields),
        _ => json.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_field_that_does_not_fit_is_named() {
        let pair = json!({"key": "a", "value": [1]});
        let entity = json!({"id": "", "type": "Host", "value": "", "more": {}});
        for (value_type, json, expected) in [
            (ValueType::KeyValue, pair.clone(), None),
            (ValueType::KeyValue, json!("a"), Some(("", "an object with the fields key and value"))),
            (ValueType::KeyValue, json!({"key": "", "value": 1}), Some((".key", "text that is not empty"))),
            (ValueType::KeyValue, json!({"key": "a"}), Some((".value", "any JSON"))),
            (ValueType::KeyValue, json!({"key": "a", "value": 1, "b": 2}), Some((".b", "left out"))),
            (ValueType::KeyValues, json!([pair, pair]), None),
            (ValueType::KeyValues, pair.clone(), Some(("", "a list"))),
            (
                ValueType::KeyValues,
                json!([pair, 7]),
                Some(("[1]", "an object with the fields key and value")),
            ),
            (ValueType::Entity, entity.clone(), None),
            (ValueType::Entity, json!({"id": 1, "type": "T", "value": "v"}), Some((".id", "text"))),
            (
                ValueType::Entities,
                json!([entity, {"id": "1", "value": "v"}]),
                Some(("[1].type", "text that is not empty")),
            ),
            (ValueType::Json, json!([1, null]), None),
            (ValueType::Text, json!("a"), Some(("", "of another type"))),
        ] {
            let found = misfit(&json, value_type);
            let found = found.as_ref().map(|misfit| (misfit.field.as_str(), misfit.expected));
            assert_eq!(found, expected, "{json} as {value_type:?}");
        }
    }
}
