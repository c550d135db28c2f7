//! Attributes of points, scopes and resources as the tags of a series.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bellwether_sdk::series::{LONGEST_TAG, MOST_TAGS};
use serde_json::{Map, Value as Json, json};

use crate::messages::{AnyValue, KeyValue, Resource, Scope, Value};
use crate::names;
use crate::settings::{Mapping, Names};

/// Bytes of a key; what is longer is cut.
const KEY: usize = 200;

/// A key and a value.
pub(crate) type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What says who sends: Prometheus knows it as `job` and `instance`.
const NAMESPACE: &str = "service.namespace";
const NAME: &str = "service.name";
const INSTANCE: &str = "service.instance.id";
const JOB: &str = "job";
const INSTANCE_TAG: &str = "instance";

/// The tags that all points of a scope have.
pub(crate) struct Common<'a> {
    /// Who sends; no attribute of a point stands in their place.
    sender: Vec<Tag<'a>>,
    /// Those of the scope, then those of the resource.
    others: Vec<Tag<'a>>,
}

impl<'a> Common<'a> {
    /// # Errors
    /// If they are more than a series may have; says so.
    pub(crate) fn of(
        resource: Option<&'a Resource>,
        scope: Option<&'a Scope>,
        schema_url: &'a str,
        mapping: &Mapping,
    ) -> Result<Self, String> {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        let sender = match mapping.names {
            Names::Prometheus => sender(attributes),
            Names::OpenTelemetry => Vec::new(),
        };
        let mut others = Vec::new();
        if mapping.scope {
            let (name, version, attributes) =
                scope.map_or(("", "", &[][..]), |scope| (&scope.name, &scope.version, &scope.attributes));
            let prefix = names::attribute(mapping.names, "otel.scope.");
            for (key, value) in [("name", name), ("version", version), ("schema_url", schema_url)] {
                if !value.is_empty() {
                    others.push((format!("{prefix}{key}").into(), clean(Cow::Borrowed(value))));
                }
            }
            let attributes =
                of(attributes, mapping.names).map_err(|most| format!("scope.attributes are {most}"))?;
            for (key, value) in attributes {
                let key = format!("{prefix}{key}");
                if others.iter().all(|(own, _)| *own != key) {
                    others.push((key.into(), value));
                }
            }
        }
        // What the sender's tags say is said, unless it is asked for by name.
        let says = |key: &str| {
            let tag = match key {
                NAMESPACE | NAME => JOB,
                INSTANCE => INSTANCE_TAG,
                _ => return false,
            };
            sender.iter().any(|(own, _)| own == tag)
        };
        let named = |key: &str| mapping.resource_attributes.iter().any(|taken| taken == key);
        let taken =
            attributes.iter().filter(|KeyValue { key, .. }| mapping.takes(key) && (named(key) || !says(key)));
        let taken = of(taken, mapping.names).map_err(|most| {
            format!("resource.attributes are {most}: the setting resource_attributes says which count")
        })?;
        for (key, value) in taken {
            if others.iter().all(|(own, _)| *own != key) {
                others.push((key, value));
            }
        }
        Ok(Self { sender, others })
    }

    /// All tags of a series of a point with its own, which leave room for `more`.
    ///
    /// # Errors
    /// If they are more than a series may have; says so.
    pub(crate) fn with<'b>(
        &'b self,
        own: &'b [Tag<'b>],
        more: usize,
    ) -> Result<Vec<(&'b str, &'b str)>, String> {
        let mut all: Vec<(&str, &str)> =
            Vec::with_capacity(self.sender.len() + own.len() + self.others.len());
        for (key, value) in self.sender.iter().chain(own).chain(&self.others) {
            let key = cut(key, KEY);
            if all.iter().all(|(before, _)| *before != key) {
                all.push((key, cut(value, LONGEST_TAG - key.len() - 1)));
            }
        }
        let count = all.len() + more;
        if count > MOST_TAGS {
            return Err(format!(
                "has {count} tags with those of its scope and resource, expected at most {MOST_TAGS}"
            ));
        }
        Ok(all)
    }
}

/// `job` is the service's name behind its namespace, `instance` its instance's id.
fn sender(attributes: &[KeyValue]) -> Vec<Tag<'_>> {
    let said = |key: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == key);
        found.and_then(|attribute| text(attribute.value.as_ref()?)).filter(|text| !text.is_empty())
    };
    let job = said(NAME).map(|name| match said(NAMESPACE) {
        Some(namespace) => Cow::Owned(format!("{namespace}/{name}")),
        None => name,
    });
    let both = [(JOB, job), (INSTANCE_TAG, said(INSTANCE))];
    both.into_iter().filter_map(|(key, value)| Some((Cow::Borrowed(key), value?))).collect()
}

/// Attributes as tags. Where two have one key here, their values stand behind one another, in the order of their keys in
/// OpenTelemetry; what has no value is no tag.
///
/// # Errors
/// If they are more than a series may have; says what would be right.
pub(crate) fn of<'a>(
    attributes: impl IntoIterator<Item = &'a KeyValue>,
    names: Names,
) -> Result<Vec<Tag<'a>>, String> {
    let mut attributes: Vec<&KeyValue> = attributes.into_iter().collect();
    attributes.sort_by(|one, other| one.key.cmp(&other.key));
    let mut tags: Vec<Tag<'a>> = Vec::with_capacity(attributes.len().min(MOST_TAGS));
    for attribute in attributes {
        let value = attribute.value.as_ref().and_then(text).filter(|text| !text.is_empty());
        let (key, Some(value)) = (names::attribute(names, &attribute.key), value) else { continue };
        if key.is_empty() {
            continue;
        }
        match tags.iter().position(|(own, _)| *own == key) {
            None if tags.len() == MOST_TAGS => {
                return Err(format!("more than {MOST_TAGS}, expected at most as many"));
            }
            None => tags.push((key, value)),
            // More than a tag may have would be cut.
            Some(at) if tags[at].1.len() > LONGEST_TAG => {}
            Some(at) => tags[at].1 = Cow::Owned(format!("{};{value}", tags[at].1)),
        }
    }
    Ok(tags)
}

/// A value as text, what is a list or a map as JSON; nothing if there is none.
fn text(value: &AnyValue) -> Option<Cow<'_, str>> {
    Some(clean(match value.value.as_ref()? {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Value::Int(number) => Cow::Owned(number.to_string()),
        Value::Double(number) => Cow::Owned(number.to_string()),
        Value::Bytes(bytes) => Cow::Owned(BASE64_STANDARD.encode(bytes)),
        Value::Array(_) | Value::Kvlist(_) => Cow::Owned(json(value).to_string()),
    }))
}

fn json(value: &AnyValue) -> Json {
    match &value.value {
        None => Json::Null,
        Some(Value::String(text)) => json!(text),
        Some(Value::Bool(value)) => json!(value),
        Some(Value::Int(number)) => json!(number),
        Some(Value::Double(number)) if number.is_finite() => json!(number),
        Some(Value::Double(number)) => json!(number.to_string()),
        Some(Value::Bytes(bytes)) => json!(BASE64_STANDARD.encode(bytes)),
        Some(Value::Array(array)) => array.values.iter().map(json).collect(),
        Some(Value::Kvlist(list)) => {
            let pair = |pair: &KeyValue| (pair.key.clone(), pair.value.as_ref().map_or(Json::Null, json));
            Json::Object(list.values.iter().map(pair).collect::<Map<_, _>>())
        }
    }
}

/// Without control characters, which no tag has.
fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => Cow::Owned(text.replace(char::is_control, "_")),
        false => text,
    }
}

/// Its first bytes, up to a whole character.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
