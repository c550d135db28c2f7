//! A record: what an event or a log says.

use std::fmt;
use std::str::FromStr;

use bellwether_kernel::{FieldError, RecordId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::{AHEAD, TAG, TAGS, TITLE, WORD};
use crate::query::tags;
use crate::{Limits, RecordError};

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKind {
    /// Something happened that people may want to know of: a deployment, an alert.
    #[serde(rename = "events")]
    Event,
    /// A line that a program wrote.
    #[serde(rename = "logs")]
    Log,
}

impl RecordKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Event, Self::Log];

    /// "event" or "log".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Log => "log",
        }
    }

    /// "events" or "logs".
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Event => "events",
            Self::Log => "logs",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an event or a log says. A text that is empty is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// When it happened.
    pub time: Timestamp,
    /// An event's title, at most 1,000 bytes.
    pub title: String,
    /// An event's text, or what a log says.
    pub message: String,
    /// How bad it is: a log's `error`, an event's alert type. This word and the next five have at most 200 bytes each.
    pub status: String,
    /// An event's `normal` or `low`.
    pub priority: String,
    /// The service it is of.
    pub service: String,
    /// What it came from: the technology, the integration.
    pub source: String,
    /// Where it happened.
    pub host: String,
    /// What events have in common that belong together.
    pub aggregation_key: String,
    /// `key:value`, or a word: at most 200 of 400 bytes each, in the order they came.
    pub tags: Vec<String>,
    /// Whatever else is known: a JSON object, as its text.
    pub attributes: String,
}

/// An event or a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counted from 1 within its organisation, events and logs together, in the order they came. Below 2^53.
    pub id: RecordId,
    /// What it says.
    pub content: Content,
}

impl Content {
    /// What it says in texts, but for its tags; in an order that stays.
    #[must_use]
    pub fn texts(&self) -> [&str; 9] {
        let Self {
            time: _,
            title,
            message,
            status,
            priority,
            service,
            source,
            host,
            aggregation_key,
            tags: _,
            attributes,
        } = self;
        [title, message, status, priority, service, source, host, aggregation_key, attributes]
    }

    /// The values it has for a key: of its tags, and of its service, source or host where that is the key, since what some
    /// send as a field others send as a tag.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let word = match key {
            "service" => &self.service,
            "source" => &self.source,
            "host" => &self.host,
            _ => "",
        };
        Some(word).filter(|word| !word.is_empty()).into_iter().chain(tags(&self.tags, key))
    }

    /// Bytes of all its texts, and a few for each record.
    pub(crate) fn size(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 1).sum();
        self.texts().iter().map(|text| text.len()).sum::<usize>() + tags + 32
    }

    fn words(&self) -> [(&'static str, &str); 6] {
        [
            ("status", &self.status),
            ("priority", &self.priority),
            ("service", &self.service),
            ("source", &self.source),
            ("host", &self.host),
            ("aggregation_key", &self.aggregation_key),
        ]
    }

    /// Refuses what cannot be kept; names the field behind `records[at].`.
    pub(crate) fn check(
        &self,
        kind: RecordKind,
        at: usize,
        now: Timestamp,
        limits: &Limits,
    ) -> Result<(), RecordError> {
        let wrong = |field: &str, value: &dyn fmt::Display, expected: String| {
            Err(FieldError::new(format!("records[{at}].{field}"), value, expected).into())
        };
        let latest = now.saturating_add(AHEAD);
        if self.time.as_milliseconds() < 0 || self.time > latest {
            return wrong(
                "time",
                &self.time,
                format!("an instant from 1970 to {latest}, a day ahead of now"),
            );
        }
        if kind == RecordKind::Event && self.title.trim().is_empty() {
            return wrong("title", &self.title, "at least one character: an event has a title".to_owned());
        }
        if self.title.len() > TITLE {
            return wrong("title", &self.title, format!("at most {TITLE} bytes, not {}", self.title.len()));
        }
        for (name, word) in self.words() {
            if word.len() > WORD || word.contains(char::is_control) {
                return wrong(name, &word, format!("at most {WORD} bytes without control characters"));
            }
        }
        if self.tags.len() > TAGS {
            return wrong("tags", &self.tags.len(), format!("at most {TAGS} tags"));
        }
        for (number, tag) in self.tags.iter().enumerate() {
            if tag.is_empty() || tag.len() > TAG || tag.starts_with(':') || tag.contains(char::is_control) {
                let expected = format!("key:value or a word, 1 to {TAG} bytes without control characters");
                return wrong(&format!("tags[{number}]"), tag, expected);
            }
        }
        let size = self.size();
        if size > limits.record_bytes {
            let most = limits.record_bytes;
            return wrong("message", &self.message, format!("a record of at most {most} bytes, not {size}"));
        }
        if !self.attributes.is_empty() {
            let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&self.attributes);
            if let Err(error) = object {
                return wrong("attributes", &self.attributes, format!("a JSON object ({error})"));
            }
        }
        Ok(())
    }
}

impl FromStr for RecordKind {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let found = Self::ALL.into_iter().find(|kind| text == kind.plural());
        found.ok_or_else(|| FieldError::new("kind", text, "events or logs"))
    }
}
