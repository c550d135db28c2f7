//! What a search asks for, and whether a record is it. `parse.rs` reads it from Datadog's log search syntax.

mod glob;
mod number;
mod parse;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;

use serde_json::{Map, Value};

use self::number::Number;
use crate::Record;
pub(crate) use glob::{Glob, Text};
pub use parse::parse;

/// What records match.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Every record.
    All,
    /// What matches all of these.
    And(Vec<Query>),
    /// What matches any of these.
    Or(Vec<Query>),
    /// What does not match.
    Not(Box<Query>),
    /// One condition.
    One(Condition),
}

/// One condition of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub(crate) field: Field,
    pub(crate) pattern: Pattern,
}

/// Where a condition looks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    /// In the message and the title, letter case ignored.
    Text,
    /// As that, and in every other text of the record.
    Anything,
    Title,
    Status,
    Priority,
    Service,
    Source,
    Host,
    AggregationKey,
    Id,
    /// A whole tag.
    Tags,
    /// The value of the tags of that key.
    Tag(String),
    /// The attribute of that path.
    Attribute(String),
}

/// What it looks for there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    /// Words, for the fields that are texts to read.
    Text(Text),
    /// The whole value.
    Is(Glob),
    /// A number between two, either of which may be absent; whether each is included.
    Within { least: Option<(Number, bool)>, most: Option<(Number, bool)> },
}

impl Query {
    /// Whether a record is what is asked for.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.matches_while(record, &|| true)
    }

    /// As [`Self::matches`]; what it says is of no account once `is_wanted` says no, which is asked before each condition: of a
    /// long record all of them may take seconds.
    pub(crate) fn matches_while(&self, record: &Record, is_wanted: &dyn Fn() -> bool) -> bool {
        self.holds(&Seen { record, is_wanted, text: OnceCell::new(), attributes: OnceCell::new() })
    }

    /// How many conditions it has.
    pub(crate) fn conditions(&self) -> u64 {
        match self {
            Self::All => 0,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::conditions).sum(),
            Self::Not(part) => part.conditions(),
            Self::One(_) => 1,
        }
    }

    fn holds(&self, seen: &Seen<'_>) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.holds(seen)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(seen)),
            Self::Not(part) => !part.holds(seen),
            Self::One(condition) => (seen.is_wanted)() && condition.holds(seen),
        }
    }
}

/// A record, and what of it was worked out already.
struct Seen<'a> {
    record: &'a Record,
    is_wanted: &'a dyn Fn() -> bool,
    /// Title and message in lower case.
    text: OnceCell<String>,
    attributes: OnceCell<Map<String, Value>>,
}

impl Seen<'_> {
    fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let content = &self.record.content;
            // A line's end is no letter, so that no phrase goes over it.
            format!("{}\n{}", content.title, content.message).to_lowercase()
        })
    }

    fn attributes(&self) -> &Map<String, Value> {
        self.attributes
            .get_or_init(|| serde_json::from_str(&self.record.content.attributes).unwrap_or_default())
    }
}

impl Condition {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let (content, pattern) = (&seen.record.content, &self.pattern);
        let word = |word: &str| !word.is_empty() && pattern.is(word);
        // What agents send as a field others send as a tag.
        let field =
            |value: &str, key: &str| word(value) || tags(&content.tags, key).any(|value| pattern.is(value));
        match &self.field {
            Field::Text => pattern.reads(seen.text()),
            Field::Anything => {
                let words = [
                    &content.status,
                    &content.priority,
                    &content.service,
                    &content.source,
                    &content.host,
                    &content.aggregation_key,
                ];
                let mut texts = words.into_iter().chain(&content.tags);
                pattern.reads(seen.text())
                    || texts.any(|text| pattern.reads(&text.to_lowercase()))
                    || seen
                        .attributes()
                        .values()
                        .any(|value| any_text(value, &mut |text| pattern.reads(&text.to_lowercase())))
            }
            Field::Title => pattern.reads(&content.title.to_lowercase()),
            Field::Status => pattern.is(&content.status.to_lowercase()),
            Field::Priority => word(&content.priority),
            Field::Service => field(&content.service, "service"),
            Field::Source => field(&content.source, "source"),
            Field::Host => field(&content.host, "host"),
            Field::AggregationKey => word(&content.aggregation_key),
            Field::Id => pattern.is(&seen.record.id.to_string()),
            Field::Tags => content.tags.iter().any(|tag| pattern.is(tag)),
            Field::Tag(key) => tags(&content.tags, key).any(|value| pattern.is(value)),
            Field::Attribute(path) => at_path(seen.attributes(), path, &mut |value| pattern.is_value(value)),
        }
    }
}

/// The values of the tags of a key; of a tag that is that word, an empty one.
pub(crate) fn tags<'a>(tags: &'a [String], key: &'a str) -> impl Iterator<Item = &'a str> {
    tags.iter().filter_map(move |tag| match tag.strip_prefix(key)? {
        "" => Some(""),
        rest => rest.strip_prefix(':'),
    })
}

impl Pattern {
    /// Whether a whole value is meant.
    fn is(&self, value: &str) -> bool {
        match self {
            Self::Is(glob) => glob.matches(value),
            Self::Text(text) => text.stands_in(&value.to_lowercase()),
            Self::Within { .. } => Number::read(value.trim()).is_some_and(|number| self.is_number(number)),
        }
    }

    /// Whether it stands in a text that is in lower case.
    fn reads(&self, text: &str) -> bool {
        match self {
            Self::Text(words) => words.stands_in(text),
            Self::Is(glob) => glob.matches(text),
            Self::Within { .. } => false,
        }
    }

    fn is_value(&self, value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::Bool(value) => self.is(if *value { "true" } else { "false" }),
            Value::String(text) => self.is(text),
            Value::Array(values) => values.iter().any(|value| self.is_value(value)),
            // There is something, and no one value of it.
            Value::Object(_) => matches!(self, Self::Is(glob) if glob.is_anything()),
            Value::Number(number) => {
                let text = number.to_string();
                match self {
                    Self::Is(glob) => {
                        let same =
                            |other| Number::read(other).is_some_and(|a| Some(a) == Number::read(&text));
                        glob.matches(&text) || glob.plain().is_some_and(same)
                    }
                    _ => self.is(&text),
                }
            }
        }
    }

    fn is_number(&self, number: Number) -> bool {
        let Self::Within { least, most } = self else { return false };
        let above = least.is_none_or(|(bound, with)| number > bound || with && number == bound);
        above && most.is_none_or(|(bound, with)| number < bound || with && number == bound)
    }
}

/// Whether `is` says so of the value at a path as `http.status_code`, whether its dots lead into objects or are part of
/// a name; of lists on the way, of any of their items.
fn at_path(object: &Map<String, Value>, path: &str, is: &mut dyn FnMut(&Value) -> bool) -> bool {
    if object.get(path).is_some_and(&mut *is) {
        return true;
    }
    let mut inner = |value: &Value, rest: &str| match value {
        Value::Object(object) => at_path(object, rest, is),
        Value::Array(values) => {
            values.iter().filter_map(Value::as_object).any(|object| at_path(object, rest, is))
        }
        _ => false,
    };
    path.match_indices('.')
        .any(|(dot, _)| object.get(&path[..dot]).is_some_and(|value| inner(value, &path[dot + 1..])))
}

/// Whether `is` says so of any text or number in a value.
fn any_text(value: &Value, is: &mut dyn FnMut(&str) -> bool) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => is(text),
        Value::Bool(_) | Value::Number(_) => is(&value.to_string()),
        Value::Array(values) => values.iter().any(|value| any_text(value, is)),
        Value::Object(object) => object.values().any(|value| any_text(value, is)),
    }
}
