//! Logs in: JSON (one, a list, or one behind the other) or lines of text, as agents, libraries and `curl` send them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, RecordsWrite};
use bellwether_sdk::records::{Content, RecordKind};
use serde_json::{Map, Value, json};

use super::page::{instant, of_fraction, of_number};
use super::stream::tags;
use super::{LARGEST, accepted};
use crate::body;
use crate::failure::Failure;

/// Bytes of a message; what is longer is cut, as Datadog does.
const MESSAGE: usize = 1_000_000;

/// Bytes of a log, as the host counts them (`host/records`): all its texts, a byte more for each tag, and a few besides. It
/// refuses a larger one, and with it all that came beside it.
const LOG: usize = 1 << 20;
const BESIDES: usize = 32;

/// Bytes of logs that the host takes in one append, counted so. A payload may become more than it was: what its query says
/// of all its logs each has, and a message that is JSON is kept beside its fields.
const APPENDED: usize = 8 << 20;

/// Logs of a payload: what the host takes in one append.
const LOGS: usize = 10_000;

/// Tags of a log.
const TAGS: usize = 200;

/// The tag of a log that lost attributes so that it fits.
const TRUNCATED: &str = "truncated:attributes";

/// Bytes of a word: a host, a service.
const WORD: usize = 200;

/// How far ahead of now a log may be; the time of another is taken for wrong, and now for it.
const AHEAD: i64 = 2 * 60 * 60 * 1000;

/// Where a log says what it says, the first that is there.
const MESSAGES: &[&str] = &["message", "msg", "log"];
const TIMES: &[&str] = &["timestamp", "@timestamp", "date", "eventTime", "published_date"];
const STATUSES: &[&str] = &["status", "severity", "level"];
const HOSTS: &[&str] = &["hostname", "host"];
const SERVICES: &[&str] = &["service"];
const SOURCES: &[&str] = &["ddsource"];

/// `POST /api/v2/logs`, `POST /v1/input`
pub(super) fn take<H: RecordsWrite + Clock>(host: &H, request: &Request<'_>) -> Response {
    match keep(host, request) {
        Ok(()) => accepted(&json!({})),
        Err(failure) => failure.detailed(),
    }
}

/// All of a payload reads before any of it is kept; it is kept in as many appends as it takes.
fn keep<H: RecordsWrite + Clock>(host: &H, request: &Request<'_>) -> Result<(), Failure> {
    let logs = read(request)?;
    if logs.len() > LOGS {
        return Err(Failure::too_large(format_args!("at most {LOGS} logs are taken")));
    }
    let shared = Shared::of(host.now(), request);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for log in logs {
        let log = shared.log(log);
        let own = BESIDES + words(&log) + log.message.len() + log.attributes.len();
        if bytes + own > APPENDED {
            host.append(RecordKind::Log, std::mem::take(&mut batch))?;
            bytes = 0;
        }
        bytes += own;
        batch.push(log);
    }
    if !batch.is_empty() {
        host.append(RecordKind::Log, batch)?;
    }
    Ok(())
}

/// The logs of a payload. What agents send to see whether there is a way is none.
fn read(request: &Request<'_>) -> Result<Vec<Map<String, Value>>, Failure> {
    let body = body::unpacked(request, LARGEST)?;
    let said = request.header("content-type").unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(&*media_type, "text/plain" | "application/logplex-1") {
        let text = String::from_utf8_lossy(&body);
        return Ok(text.lines().filter(|line| !line.trim().is_empty()).map(message_alone).collect());
    }
    body::format(request)?;
    let mut logs = Vec::new();
    let mut add = |value: Value| -> Result<(), Failure> {
        logs.push(object(value)?);
        Ok(())
    };
    for value in serde_json::Deserializer::from_slice(&body).into_iter::<Value>() {
        match value.map_err(Failure::format)? {
            Value::Array(values) => values.into_iter().try_for_each(&mut add)?,
            value => add(value)?,
        }
    }
    logs.retain(|log| !log.is_empty());
    Ok(logs)
}

fn message_alone(message: &str) -> Map<String, Value> {
    Map::from_iter([("message".to_owned(), message.into())])
}

/// A log is an object; a text alone is its message.
fn object(value: Value) -> Result<Map<String, Value>, Failure> {
    match value {
        Value::Object(object) => Ok(object),
        Value::String(message) => Ok(message_alone(&message)),
        other => Err(Failure::format(format_args!("a log is {other}, expected an object"))),
    }
}

/// What a request says of all its logs.
struct Shared<'a> {
    now: Timestamp,
    source: &'a str,
    service: &'a str,
    host: &'a str,
    tags: Vec<String>,
}

impl<'a> Shared<'a> {
    fn of(now: Timestamp, request: &Request<'a>) -> Self {
        let said = |name| request.query(name);
        Self {
            now,
            source: said("ddsource").unwrap_or_default(),
            service: said("service").unwrap_or_default(),
            host: said("hostname").or_else(|| said("host")).unwrap_or_default(),
            tags: tags(said("ddtags").unwrap_or_default().split(',')),
        }
    }

    fn log(&self, mut log: Map<String, Value>) -> Content {
        let mut message = text(taken(&mut log, MESSAGES));
        // A message that is JSON itself is what a program logs: its fields are the log's where that has none.
        if message.trim_start().starts_with('{')
            && let Ok(inner) = serde_json::from_str::<Map<String, Value>>(&message)
        {
            for (name, value) in inner {
                log.entry(name).or_insert(value);
            }
            if let Some(own) = taken(&mut log, MESSAGES) {
                message = text(Some(own));
            }
        }
        let mut all = match log.remove("ddtags") {
            Some(Value::Array(values)) => tags(values.iter().filter_map(Value::as_str)),
            Some(Value::String(listed)) => tags(listed.split(',')),
            _ => Vec::new(),
        };
        all.extend(self.tags.iter().filter(|tag| !all.contains(tag)).cloned().collect::<Vec<_>>());
        all.truncate(TAGS);
        let mut own_or = |names: &[&str], otherwise: &str| {
            let own = word(text(taken(&mut log, names)));
            if own.is_empty() { word(otherwise.to_owned()) } else { own }
        };
        let (host, service) = (own_or(HOSTS, self.host), own_or(SERVICES, self.service));
        let source = own_or(SOURCES, self.source);
        let status = status(taken(&mut log, STATUSES).as_ref());
        let read = TIMES.iter().find_map(|name| Some((*name, self.time(log.get(*name)?)?)));
        let time = read.map_or(self.now, |(name, time)| {
            log.remove(name);
            time
        });
        let status = status.to_owned();
        fit(Content { time, message, status, service, source, host, tags: all, ..Content::default() }, log)
    }

    /// When a log says it was written, if that can be.
    fn time(&self, value: &Value) -> Option<Timestamp> {
        let time = match value {
            Value::Number(number) => match number.as_i64() {
                Some(number) => of_number(number),
                None => of_fraction(number.as_f64()?),
            },
            Value::String(text) if text.starts_with("now") => None,
            Value::String(text) => instant(text, self.now),
            _ => None,
        };
        time.filter(|time| (0..=self.now.milliseconds() + AHEAD).contains(&time.milliseconds()))
    }
}

/// Bytes of a log's words and tags.
fn words(log: &Content) -> usize {
    let words = [&log.status, &log.service, &log.source, &log.host];
    words.into_iter().chain(&log.tags).map(|text| text.len() + 1).sum()
}

/// A log with its attributes, within what the host takes of one: a message is cut, and the largest attributes are left
/// out, which a tag tells.
fn fit(mut log: Content, attributes: Map<String, Value>) -> Content {
    let words = words(&log);
    let room = LOG - BESIDES - words;
    cut(&mut log.message, MESSAGE.min(room));
    let room = room - log.message.len();
    log.attributes = if attributes.is_empty() { String::new() } else { written(&attributes) };
    if log.attributes.len() > room {
        // The tag takes the place of the last one, or room of its own.
        log.tags.truncate(TAGS - 1);
        log.tags.push(TRUNCATED.to_owned());
        log.attributes = smallest(attributes, room.saturating_sub(TRUNCATED.len() + 1));
        cut(&mut log.message, MESSAGE.min(LOG - BESIDES - words - TRUNCATED.len() - 1));
    }
    log
}

fn written(attributes: &Map<String, Value>) -> String {
    serde_json::to_string(attributes).expect("JSON is written as JSON")
}

/// As many of the attributes as there is room for, the smallest first.
fn smallest(mut attributes: Map<String, Value>, room: usize) -> String {
    // Quotes, colon and comma; a name with escapes is measured as it is written.
    let size = |(name, value): (&String, &Value)| {
        (Value::from(name.as_str()).to_string().len() + value.to_string().len() + 2, name.clone())
    };
    let mut sizes: Vec<(usize, String)> = attributes.iter().map(size).collect();
    sizes.sort_unstable();
    let mut taken = 2;
    let left_out = sizes.into_iter().filter_map(|(size, name)| {
        taken += size;
        (taken > room).then_some(name)
    });
    let left_out: BTreeSet<String> = left_out.collect();
    attributes.retain(|name, _| !left_out.contains(name));
    if attributes.is_empty() { String::new() } else { written(&attributes) }
}

/// The first of these that is there, taken out.
fn taken(log: &mut Map<String, Value>, names: &[&str]) -> Option<Value> {
    let name = names.iter().find(|name| log.get(**name).is_some_and(|value| !value.is_null()))?;
    log.remove(*name)
}

fn text(value: Option<Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    }
}

fn word(mut word: String) -> String {
    if word.contains(char::is_control) {
        word = word.replace(char::is_control, "_");
    }
    cut(&mut word, WORD);
    word
}

fn cut(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

/// How bad a log is, in Datadog's words: by the beginning of its own, or by syslog's number.
fn status(value: Option<&Value>) -> &'static str {
    const SYSLOG: [&str; 8] = ["emergency", "alert", "critical", "error", "warn", "notice", "info", "debug"];
    let word: Cow<'_, str> = match value {
        None => return "info",
        Some(Value::String(text)) => Cow::Owned(text.trim().to_ascii_lowercase()),
        Some(other) => Cow::Owned(other.to_string()),
    };
    if let Ok(number) = word.parse::<usize>() {
        return SYSLOG.get(number).copied().unwrap_or("info");
    }
    for (beginnings, status) in [
        (&["emerg", "f"][..], "emergency"),
        (&["a"], "alert"),
        (&["c"], "critical"),
        (&["e"], "error"),
        (&["w"], "warn"),
        (&["n"], "notice"),
        (&["d", "trace", "verbose"], "debug"),
        (&["o", "s"], "ok"),
    ] {
        if beginnings.iter().any(|beginning| word.starts_with(beginning)) {
            return status;
        }
    }
    "info"
}
