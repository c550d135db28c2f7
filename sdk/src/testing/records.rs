//! Events and logs in memory. What is appended is found again; what a query matches is what the test says, since the
//! language is the host's.

use crate::Timestamp;
use crate::records::{Content, FieldError, Found, Order, Record, RecordError, RecordKind, Search};

/// The host's own bounds of an append.
const BATCH: usize = 10_000;
const AHEAD: i64 = 24 * 60 * 60 * 1000;

/// Whether a query matches what a record says.
type Matches = fn(&Content) -> bool;

#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order they came.
    records: Vec<(RecordKind, Record)>,
    /// What queries match.
    answers: Vec<(String, Matches)>,
}

fn wrong<T>(field: String, value: &dyn std::fmt::Display, expected: &str) -> Result<T, RecordError> {
    let (value, expected) = (value.to_string(), expected.to_owned());
    Err(RecordError::Invalid(FieldError { field, value, expected }))
}

impl Records {
    pub(super) fn answer(&mut self, query: &str, matches: Matches) {
        self.answers.insert(0, (query.to_owned(), matches));
    }

    pub(super) fn append(
        &mut self,
        kind: RecordKind,
        contents: Vec<Content>,
        now: Timestamp,
    ) -> Result<u64, RecordError> {
        if contents.is_empty() {
            return wrong("records".to_owned(), &"none", "at least one");
        }
        if contents.len() > BATCH {
            return Err(RecordError::Limit(format!("at most {BATCH} records of one append")));
        }
        for (at, content) in contents.iter().enumerate() {
            let field = |name: &str| format!("records[{at}].{name}");
            let ahead = content.time.milliseconds() - now.milliseconds();
            if content.time.milliseconds() < 0 || ahead > AHEAD {
                return wrong(field("time"), &content.time, "an instant from 1970 to a day ahead of now");
            }
            if kind == RecordKind::Event && content.title.trim().is_empty() {
                return wrong(field("title"), &content.title, "at least one character: an event has a title");
            }
            if content.title.len() > 1000 {
                return wrong(field("title"), &content.title, "at most 1000 bytes");
            }
            for (name, word) in [
                ("status", &content.status),
                ("priority", &content.priority),
                ("service", &content.service),
                ("source", &content.source),
                ("host", &content.host),
                ("aggregation_key", &content.aggregation_key),
            ] {
                if word.len() > 200 || word.contains(char::is_control) {
                    return wrong(field(name), word, "at most 200 bytes without control characters");
                }
            }
            if content.tags.len() > 200 {
                return wrong(field("tags"), &content.tags.len(), "at most 200 tags");
            }
            for (number, tag) in content.tags.iter().enumerate() {
                if tag.is_empty() || tag.len() > 400 || tag.starts_with(':') || tag.contains(char::is_control)
                {
                    let expected = "key:value or a word, 1 to 400 bytes without control characters";
                    return wrong(field(&format!("tags[{number}]")), tag, expected);
                }
            }
            let object =
                |text| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
            if !content.attributes.is_empty() && !object(&content.attributes) {
                return wrong(field("attributes"), &content.attributes, "a JSON object");
            }
        }
        let first = self.records.len() as u64 + 1;
        let records = (first..).zip(contents).map(|(id, content)| (kind, Record { id, content }));
        self.records.extend(records);
        Ok(first)
    }

    pub(super) fn search(&self, search: &Search) -> Result<Found, RecordError> {
        if !(1..=1000).contains(&search.limit) {
            return wrong("limit".to_owned(), &search.limit, "1 to 1000");
        }
        if search.end < search.start {
            return wrong("end".to_owned(), &search.end, "an instant not before start");
        }
        let told = self.answers.iter().find(|(query, _)| *query == search.query);
        let matches = match (told, search.query.trim()) {
            (Some((_, matches)), _) => *matches,
            (None, "" | "*") => |_: &Content| true,
            (None, query) => {
                return Err(RecordError::Other(format!(
                    "the test does not say what {query:?} matches; do with answer_search"
                )));
            }
        };
        let skipped = match &search.cursor {
            None => 0,
            Some(cursor) => match cursor.parse::<usize>() {
                Ok(number) => number,
                Err(_) => return wrong("cursor".to_owned(), cursor, "`next` of the page before, unchanged"),
            },
        };
        let within = |record: &Record| (search.start..=search.end).contains(&record.content.time);
        let mut records: Vec<Record> = self
            .records
            .iter()
            .filter(|(kind, record)| *kind == search.kind && within(record) && matches(&record.content))
            .map(|(_, record)| record.clone())
            .collect();
        records.sort_by_key(|record| (record.content.time, record.id));
        if search.order == Order::Newest {
            records.reverse();
        }
        let end = skipped + search.limit as usize;
        let next = (records.len() > end).then(|| end.to_string());
        let records = records.into_iter().skip(skipped).take(search.limit as usize).collect();
        Ok(Found { records, next, stopped_early: false })
    }

    pub(super) fn get(&self, kind: RecordKind, id: u64) -> Result<Record, RecordError> {
        let found = self.records.iter().find(|(own, record)| *own == kind && record.id == id);
        found.map(|(_, record)| record.clone()).ok_or(RecordError::Unknown(id))
    }
}
