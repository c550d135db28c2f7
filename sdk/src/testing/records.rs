//! Events and logs in memory. What is appended is found again; what a query matches is what the test says, since the
//! language is the host's.

use std::fmt::Display;
use std::time::Duration;

use super::wrong;
use crate::Timestamp;
use crate::records::{Content, Found, Order, Record, RecordError, RecordKind, Search};

/// The host's own numbers and words, of `host/records`: records of an append and bytes of their texts, bytes of one, and
/// how far it may be ahead.
const BATCH: usize = 10_000;
const BATCH_BYTES: usize = 8 << 20;
const RECORD_BYTES: usize = 1 << 20;
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a query matches what a record says.
type Matches = fn(&Content) -> bool;

#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order they came.
    records: Vec<(RecordKind, Record)>,
    /// What queries match.
    answers: Vec<(String, Matches)>,
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
        for (at, content) in contents.iter().enumerate() {
            wrong::instant(content.time, || format!("records[{at}].time")).map_err(RecordError::Invalid)?;
        }
        if contents.is_empty() {
            return Err(invalid("records", "none", "at least one"));
        }
        if contents.len() > BATCH {
            return Err(RecordError::Limit(format!("at most {BATCH} records of one append")));
        }
        for (at, content) in contents.iter().enumerate() {
            check(kind, at, content, now)?;
        }
        if contents.iter().map(size).sum::<usize>() > BATCH_BYTES {
            return Err(RecordError::Limit(format!("at most {BATCH_BYTES} bytes of records in one append")));
        }
        let first = self.records.len() as u64 + 1;
        let records = (first..).zip(contents).map(|(id, content)| (kind, Record { id, content }));
        self.records.extend(records);
        Ok(first)
    }

    pub(super) fn search(&self, search: &Search) -> Result<Found, RecordError> {
        for (field, at) in [("start", search.start), ("end", search.end)] {
            wrong::instant(at, || field.to_owned()).map_err(RecordError::Invalid)?;
        }
        let limit = wrong::limit(search.limit, 1000).map_err(RecordError::Invalid)?;
        wrong::range(search.start, search.end).map_err(RecordError::Invalid)?;
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
        let skipped = wrong::cursor(search.cursor.as_deref()).map_err(RecordError::Invalid)?;
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
        let end = skipped.saturating_add(limit);
        let next = (records.len() > end).then(|| end.to_string());
        let records = records.into_iter().skip(skipped).take(limit).collect();
        Ok(Found { records, next, stopped_early: false })
    }

    pub(super) fn get(&self, kind: RecordKind, id: u64) -> Result<Record, RecordError> {
        let found = self.records.iter().find(|(own, record)| *own == kind && record.id == id);
        found.map(|(_, record)| record.clone()).ok_or(RecordError::Unknown(id))
    }
}

/// Refuses what cannot be kept.
fn check(kind: RecordKind, at: usize, content: &Content, now: Timestamp) -> Result<(), RecordError> {
    let wrong = |field: &str, value: &dyn Display, expected: &str| {
        Err(invalid(format!("records[{at}].{field}"), value, expected))
    };
    let latest = now + AHEAD;
    if content.time.milliseconds() < 0 || content.time > latest {
        let expected = format!("an instant from 1970 to {latest}, a day ahead of now");
        return wrong("time", &content.time, &expected);
    }
    if kind == RecordKind::Event && content.title.trim().is_empty() {
        return wrong("title", &content.title, "at least one character: an event has a title");
    }
    if content.title.len() > 1000 {
        let expected = format!("at most 1000 bytes, not {}", content.title.len());
        return wrong("title", &content.title, &expected);
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
            return wrong(name, word, "at most 200 bytes without control characters");
        }
    }
    if content.tags.len() > 200 {
        return wrong("tags", &content.tags.len(), "at most 200 tags");
    }
    for (number, tag) in content.tags.iter().enumerate() {
        if tag.is_empty() || tag.len() > 400 || tag.starts_with(':') || tag.contains(char::is_control) {
            let expected = "key:value or a word, 1 to 400 bytes without control characters";
            return wrong(&format!("tags[{number}]"), tag, expected);
        }
    }
    let size = size(content);
    if size > RECORD_BYTES {
        let expected = format!("a record of at most {RECORD_BYTES} bytes, not {size}");
        return wrong("message", &content.message, &expected);
    }
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&content.attributes);
    match object {
        Err(error) if !content.attributes.is_empty() => {
            wrong("attributes", &content.attributes, &format!("a JSON object ({error})"))
        }
        _ => Ok(()),
    }
}

/// Bytes of all a record's texts, and a few for each record, as the host counts them.
fn size(content: &Content) -> usize {
    let texts = [
        &content.title,
        &content.message,
        &content.status,
        &content.priority,
        &content.service,
        &content.source,
        &content.host,
        &content.aggregation_key,
        &content.attributes,
    ];
    let tags: usize = content.tags.iter().map(|tag| tag.len() + 1).sum();
    texts.into_iter().map(String::len).sum::<usize>() + tags + 32
}

fn invalid(field: impl Into<String>, value: impl Display, expected: impl Into<String>) -> RecordError {
    RecordError::Invalid(wrong::field(field, value, expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{RecordsRead, RecordsWrite};
    use crate::testing::MemoryHost;

    #[test]
    fn a_record_that_no_host_keeps_is_refused_in_its_words() {
        let host = MemoryHost::new();
        let event =
            || Content { time: Timestamp::from_seconds(1), title: "Deployed".into(), ..Content::default() };
        for (content, told) in [
            (
                Content { time: Timestamp::MAX, ..event() },
                "time is \"9999-12-30T22:00:00Z\", expected an instant from 1970 to 2024-04-10T14:44:00Z, a day ahead of now",
            ),
            (
                Content { title: " ".into(), ..event() },
                "title is \" \", expected at least one character: an event has a title",
            ),
            (Content { title: "é".repeat(501), ..event() }, "…\", expected at most 1000 bytes, not 1002"),
            (
                Content { host: "a\nb".into(), ..event() },
                "host is \"a\\nb\", expected at most 200 bytes without control characters",
            ),
            (
                Content { message: "m".repeat(1 << 20), ..event() },
                "…\", expected a record of at most 1048576 bytes, not 1048616",
            ),
            (
                Content { attributes: "[]".into(), ..event() },
                "expected a JSON object (invalid type: sequence",
            ),
        ] {
            let refused = host.append(RecordKind::Event, vec![content]).expect_err(told).to_string();
            assert!(refused.starts_with("records[0].") && refused.contains(told), "{refused}");
        }
        let large = || Content { message: "m".repeat((1 << 20) - 100), ..event() };
        let refused = host.append(RecordKind::Log, (0..9).map(|_| large()).collect());
        let told = "at most 8388608 bytes of records in one append".to_owned();
        assert_eq!(refused, Err(RecordError::Limit(told)));
        let (start, end) = (Timestamp::from_seconds(1), Timestamp::from_seconds(0));
        for (search, told) in [
            (
                Search { limit: 0, ..Search::all(RecordKind::Log, end, start) },
                "limit is \"0\", expected 1 to 1000",
            ),
            (
                Search::all(RecordKind::Log, start, end),
                "end is \"1970-01-01T00:00:00Z\", expected an instant not before start, 1970-01-01T00:00:01Z",
            ),
            (
                Search { cursor: Some("next".into()), ..Search::all(RecordKind::Log, end, start) },
                "cursor is \"next\", expected `next` of the page before, unchanged",
            ),
        ] {
            assert_eq!(host.search(&search).expect_err(told).to_string(), told);
        }
    }
}
