//! Events that belong to an incident: what happened from some time before its first breach to its end, and says that it
//! is about the same. Nothing later can have caused it or ended it.
//!
//! While an incident goes on they are looked up. Its end keeps what it finds, in its own commit: from then on they stay
//! as they are, whatever becomes of the events.

mod find;
mod source;

use bellwether_kernel::{RecordId, Timestamp};
use bellwether_records::Content;
use bellwether_store::Versioned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::monitor::CATEGORY;
use crate::{EntryId, UserEvent, limits};

pub use source::EventSource;

/// Where an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventOrigin {
    /// Among the events.
    Event(RecordId),
    /// In the calendar.
    Calendar(EntryId),
}

/// An event that belongs to an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrelatedEvent {
    /// Where it is kept, if it still is.
    pub origin: EventOrigin,
    /// One line, at most [`limits::TITLE`] characters.
    pub title: String,
    /// More of it, at most [`limits::EVENT_TEXT`] characters.
    pub description: String,
    /// What it came from.
    pub source: String,
    /// What sort of thing: of its tag or attribute of that name.
    pub category: String,
    /// How bad it is.
    pub status: String,
    /// Its service and host, and its tags; at most [`limits::EVENT_TAGS`].
    pub tags: Vec<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it was over, of one that lasted.
    pub ended: Option<Timestamp>,
    /// How long after the incident's first breach it began, in milliseconds; negative of one that was before.
    pub after: i64,
}

/// The events that belong to an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrelatedEvents {
    /// Those nearest to its first breach first, at most [`limits::EVENTS`].
    pub events: Vec<CorrelatedEvent>,
    /// Whether these are known to be all.
    pub complete: bool,
    /// Whether they stay as they are: the incident's end kept them.
    pub kept: bool,
}

impl Versioned for CorrelatedEvents {
    const NAME: &'static str = "events of an incident";
}

impl CorrelatedEvent {
    /// What is shown of `content`, which began at its time and was over at `ended`.
    fn of(origin: EventOrigin, content: Content, ended: Option<Timestamp>, breach: Timestamp) -> Self {
        let category = content.values(CATEGORY).next().map(str::to_owned).or_else(|| {
            let attributes: Map<String, Json> = serde_json::from_str(&content.attributes).ok()?;
            attributes.get(CATEGORY)?.as_str().map(str::to_owned)
        });
        let fields = [("service", &content.service), ("host", &content.host)].into_iter();
        let fields =
            fields.filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key}:{value}"));
        let mut tags: Vec<String> = fields.collect();
        tags.extend(content.tags);
        tags.truncate(limits::EVENT_TAGS);
        Self {
            origin,
            title: first(&content.title, limits::TITLE),
            description: first(&content.message, limits::EVENT_TEXT),
            source: content.source,
            category: category.map(|category| first(&category, limits::NAME)).unwrap_or_default(),
            status: content.status,
            tags,
            started: content.time,
            ended,
            after: content.time.milliseconds_since(breach),
        }
    }

    /// How far it is from the incident's first breach, in milliseconds; none, if it lasted then.
    fn distance(&self) -> i64 {
        let lasted = match self.ended {
            Some(ended) => ended.milliseconds_since(self.started),
            None => 0,
        };
        match self.after {
            after if after >= 0 => after,
            after => (-after - lasted).max(0),
        }
    }

    /// As channels are told.
    pub(crate) fn as_told(&self) -> UserEvent {
        UserEvent {
            title: self.title.clone(),
            description: self.description.clone(),
            source: self.source.clone(),
            category: self.category.clone(),
            started: self.started,
            ended: self.ended,
        }
    }
}

/// At most so many characters, the last of them `…` where there are more.
fn first(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
    }
}
