//! The words of the two privileges over events and logs.

use std::fmt;

use crate::Timestamp;
pub use crate::bindings::imports::bellwether::host::records_read::Order;
pub use crate::bindings::imports::bellwether::host::records_types::{RecordKind, SyntaxError};
use crate::bindings::imports::bellwether::host::{records_read, records_types};
pub use crate::metrics::FieldError;

/// What an event or a log says. A text that is empty is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// When it happened: from 1970 to a day ahead of the host's clock.
    pub time: Timestamp,
    /// An event's title, which it must have; at most 1,000 bytes.
    pub title: String,
    /// An event's text, or what a log says.
    pub message: String,
    /// How bad it is: a log's `error`, an event's alert type. This one and the next five have at most 200 bytes each.
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
    /// `key:value`, or a word: at most 200, of at most 400 bytes each.
    pub tags: Vec<String>,
    /// Whatever else is known: a JSON object, as its text.
    pub attributes: String,
}

/// An event or a log that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counted from 1 within its organisation, events and logs together, in the order they came. Below 2^53.
    pub id: u64,
    /// What it says.
    pub content: Content,
}

/// What is looked for.
///
/// ```
/// use bellwether_sdk::Timestamp;
/// use bellwether_sdk::records::{Order, RecordKind, Search};
///
/// let search = Search {
///     query: "service:web status:error".into(),
///     order: Order::Oldest,
///     limit: 10,
///     ..Search::all(RecordKind::Log, Timestamp::from_seconds(1_712_620_800), Timestamp::from_seconds(1_712_624_400))
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Events or logs.
    pub kind: RecordKind,
    /// In Datadog's log search syntax; empty for every record.
    pub query: String,
    /// From when on.
    pub start: Timestamp,
    /// Until when, included.
    pub end: Timestamp,
    /// Which come first.
    pub order: Order,
    /// At most so many, 1 to 1,000; fewer where they are large.
    pub limit: u32,
    /// `next` of the page before, with the same search.
    pub cursor: Option<String>,
}

impl Search {
    /// The newest hundred of every record from `start` to `end`.
    #[must_use]
    pub fn all(kind: RecordKind, start: Timestamp, end: Timestamp) -> Self {
        Self { kind, query: String::new(), start, end, order: Order::Newest, limit: 100, cursor: None }
    }
}

/// A page of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order asked for.
    pub records: Vec<Record>,
    /// Leads to the next page; absent on the last one.
    pub next: Option<String>,
    /// Whether so much was looked at that the search stopped with room on the page: go on at `next`.
    pub stopped_early: bool,
}

/// Why a call on records did not happen. Nothing of the call took effect.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordError {
    /// There is no such record, or it is no longer kept.
    Unknown(u64),
    /// An argument is wrong.
    Invalid(FieldError),
    /// A search does not read.
    Syntax(SyntaxError),
    /// The caller or the plugin's grant does not allow it; says which.
    Forbidden(String),
    /// More than is taken, or looked at, at once; says of what.
    Limit(String),
    /// The host cannot do it now; a later try may succeed.
    Unavailable(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "there is no record {id}"),
            Self::Invalid(error) => error.fmt(f),
            Self::Syntax(SyntaxError { line, column, message }) => {
                write!(f, "line {line}, column {column}: {message}")
            }
            Self::Forbidden(message)
            | Self::Limit(message)
            | Self::Unavailable(message)
            | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<records_types::RecordError> for RecordError {
    fn from(error: records_types::RecordError) -> Self {
        use records_types::RecordError as Raw;
        match error {
            Raw::Unknown(id) => Self::Unknown(id),
            Raw::Invalid(error) => Self::Invalid(error),
            Raw::Syntax(error) => Self::Syntax(error),
            Raw::Forbidden(message) => Self::Forbidden(message),
            Raw::Limit(message) => Self::Limit(message),
            Raw::Unavailable(message) => Self::Unavailable(message),
            Raw::Other(message) => Self::Other(message),
        }
    }
}

impl From<Content> for records_types::Content {
    fn from(content: Content) -> Self {
        let Content {
            time,
            title,
            message,
            status,
            priority,
            service,
            source,
            host,
            aggregation_key,
            tags,
            attributes,
        } = content;
        let time = time.milliseconds();
        Self {
            time,
            title,
            message,
            status,
            priority,
            service,
            source,
            host,
            aggregation_key,
            tags,
            attributes,
        }
    }
}

impl From<records_types::Stored> for Record {
    fn from(stored: records_types::Stored) -> Self {
        let records_types::Content {
            time,
            title,
            message,
            status,
            priority,
            service,
            source,
            host,
            aggregation_key,
            tags,
            attributes,
        } = stored.content;
        let time = Timestamp::from_milliseconds(time);
        let content = Content {
            time,
            title,
            message,
            status,
            priority,
            service,
            source,
            host,
            aggregation_key,
            tags,
            attributes,
        };
        Self { id: stored.id, content }
    }
}

impl From<&Search> for records_read::Search {
    fn from(search: &Search) -> Self {
        let Search { kind, query, start, end, order, limit, cursor } = search.clone();
        Self { kind, query, start: start.milliseconds(), end: end.milliseconds(), order, limit, cursor }
    }
}

impl From<records_read::Found> for Found {
    fn from(found: records_read::Found) -> Self {
        let records_read::Found { records, next, stopped_early } = found;
        Self { records: records.into_iter().map(Into::into).collect(), next, stopped_early }
    }
}
