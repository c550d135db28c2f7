//! A search as Datadog's clients say it: a filter, an order and a page, in a query string or a body.

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, RecordsRead};
use bellwether_sdk::records::{Order, Record, RecordKind, Search};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::answer;
use crate::failure::Failure;
use crate::parameters::count;

/// Records of a page, if it does not say how many.
const USUAL: u32 = 10;

/// Records of a page.
pub(super) const MOST: u32 = 1000;

/// Searches that one page is gathered with; each looks at as many records as the host lets it.
const SEARCHES: u32 = 10;

/// What makes a page smaller.
pub(super) const SMALLER: &str = "ask for a smaller page, or for less time";

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The body of a search: as the vendor's, or flat, as connectors write it.
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    filter: Filter,
    #[serde(default)]
    page: Paging,
    #[serde(default)]
    options: Options,
    sort: Option<String>,
    query: Option<String>,
    from: Option<Moment>,
    to: Option<Moment>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Filter {
    query: Option<String>,
    from: Option<Moment>,
    to: Option<Moment>,
}

#[derive(Debug, Default, Deserialize)]
struct Paging {
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    #[serde(default, rename = "timeOffset", alias = "time_offset")]
    time_offset: i64,
}

/// A moment as it is written: a text, or a number of milliseconds.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Moment {
    Number(i64),
    Text(String),
}

impl Moment {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// The instant it is, or what parameter is wrong.
    pub(super) fn read(&self, host: &impl Clock, name: &str) -> Result<Timestamp, Failure> {
        let text = self.text();
        instant(&text, host.now()).ok_or_else(|| not_a_time(name, &text))
    }
}

fn not_a_time(name: &str, text: &str) -> Failure {
    let expected = "expected now-15m, 2024-04-09T14:44:00Z or milliseconds since 1970";
    Failure::parameter(name, format_args!("{text:?} is no time, {expected}"))
}

/// The search of a query string.
pub(super) fn of_query(
    host: &impl Clock,
    request: &Request<'_>,
    kind: RecordKind,
) -> Result<Search, Failure> {
    let moment = |name| request.query(name).map(str::to_owned).filter(|text| !text.is_empty());
    build(
        host.now(),
        kind,
        request.query("filter[query]").unwrap_or_default(),
        (moment("filter[from]"), moment("filter[to]")),
        request.query("sort"),
        count(request, "page[limit]", 1, MOST)?,
        request.query("page[cursor]").map(str::to_owned),
    )
}

/// The search of a body.
pub(super) fn of_body(host: &impl Clock, request: &Request<'_>, kind: RecordKind) -> Result<Search, Failure> {
    let body = if request.body().is_empty() {
        Body::default()
    } else {
        request.json::<Body>().map_err(Failure::format)?
    };
    let limit = body.page.limit.or(body.limit);
    if let Some(limit) = limit.filter(|limit| !(1..=MOST).contains(limit)) {
        return Err(Failure::parameter(
            "page.limit",
            format_args!("{limit} is no whole number from 1 to {MOST}"),
        ));
    }
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.text()).filter(|text| !text.is_empty());
    let mut search = build(
        host.now(),
        kind,
        &body.filter.query.or(body.query).unwrap_or_default(),
        (moment(body.filter.from.or(body.from)), moment(body.filter.to.or(body.to))),
        body.sort.as_deref(),
        limit,
        body.page.cursor.or(body.cursor),
    )?;
    let offset = body.options.time_offset.saturating_mul(1000);
    search.start = moved(search.start, offset);
    search.end = moved(search.end, offset);
    Ok(search)
}

fn build(
    now: Timestamp,
    kind: RecordKind,
    query: &str,
    (from, to): (Option<String>, Option<String>),
    sort: Option<&str>,
    limit: Option<u32>,
    cursor: Option<String>,
) -> Result<Search, Failure> {
    let order = match sort {
        None | Some("" | "-timestamp" | "desc") => Order::Newest,
        Some("timestamp" | "asc") => Order::Oldest,
        Some(other) => {
            let expected = format_args!("{other:?} is neither timestamp nor -timestamp").to_string();
            return Err(Failure::parameter("sort", expected));
        }
    };
    let read = |text: Option<String>, name, otherwise| match text {
        Some(text) => instant(&text, now).ok_or_else(|| not_a_time(name, &text)),
        None => Ok(otherwise),
    };
    let end = read(to, "to", now)?;
    let start = read(from, "from", moved(now, -15 * MINUTE))?;
    if end < start {
        return Err(Failure::parameter("to", format_args!("{end} is before {start}")));
    }
    let cursor = cursor.filter(|cursor| !cursor.is_empty());
    Ok(Search { kind, query: query.to_owned(), start, end, order, limit: limit.unwrap_or(USUAL), cursor })
}

/// A moment: of the calendar, in milliseconds (or, if it is so small, seconds) since 1970, or `now-15m`.
pub(super) fn instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("now") {
        if rest.is_empty() {
            return Some(now);
        }
        let (sign, rest) = match (rest.strip_prefix('-'), rest.strip_prefix('+')) {
            (Some(rest), _) => (-1, rest),
            (_, Some(rest)) => (1, rest),
            _ => return None,
        };
        let digits = rest.find(|next: char| !next.is_ascii_digit())?;
        let unit = match &rest[digits..] {
            "s" => 1000,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => 7 * DAY,
            "mo" => 30 * DAY,
            _ => return None,
        };
        let number: i64 = rest[..digits].parse().ok()?;
        return Some(moved(now, number.checked_mul(unit)?.checked_mul(sign)?));
    }
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(number), _) => of_number(number),
        (_, Ok(number)) => of_fraction(number),
        _ => text.parse().ok(),
    }
}

/// Milliseconds since 1970; seconds, if they would be before 1973.
pub(super) fn of_number(number: i64) -> Option<Timestamp> {
    let seconds = number.unsigned_abs() < BEFORE_1973;
    known(if seconds { number.checked_mul(1000)? } else { number })
}

/// The same of a number with a fraction, to the millisecond.
pub(super) fn of_fraction(number: f64) -> Option<Timestamp> {
    let seconds = number.abs() < BEFORE_1973 as f64;
    let milliseconds = if seconds { number * 1000.0 } else { number };
    known(milliseconds.is_finite().then_some(milliseconds.round() as i64)?)
}

/// Milliseconds that lie before 1973: what is below them is seconds.
const BEFORE_1973: u64 = 100_000_000_000;

/// The instant of so many milliseconds, if the host knows it.
fn known(milliseconds: i64) -> Option<Timestamp> {
    let time = Timestamp::from_milliseconds(milliseconds);
    (Timestamp::MIN..=Timestamp::MAX).contains(&time).then_some(time)
}

/// An instant moved on, as far as there are instants the host knows.
pub(super) fn moved(time: Timestamp, milliseconds: i64) -> Timestamp {
    let latest = Timestamp::MAX.milliseconds() - DAY;
    let moved = time.milliseconds().saturating_add(milliseconds);
    Timestamp::from_milliseconds(moved.clamp(Timestamp::MIN.milliseconds(), latest))
}

/// A page, gathered from as many searches as it takes within bounds.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Its records, in JSON as they are shown: a page of them takes no more memory than its answer.
    pub(super) items: Vec<Box<RawValue>>,
    pub(super) next: Option<String>,
    /// Whether it has room left because the searches looked at so much.
    pub(super) stopped_early: bool,
}

impl Page {
    /// In Datadog's words, how the search went.
    pub(super) fn status(&self) -> &'static str {
        if self.stopped_early { "timeout" } else { "done" }
    }
}

/// The page that a search asks for, each of its records as `item` shows it. One that is too large is refused and not cut:
/// clients take a page that is not full for the last.
pub(super) fn gather(
    host: &impl RecordsRead,
    search: &Search,
    item: impl Fn(&Record) -> Value,
) -> Result<Page, Failure> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    let (next, stopped_early) = walk(host, search, |record| {
        let item = to_raw_value(&item(record)).expect("JSON is written as JSON");
        bytes += item.get().len();
        if bytes > Response::LARGEST {
            return Err(answer::too_large(SMALLER));
        }
        items.push(item);
        Ok(())
    })?;
    Ok(Page { items, next, stopped_early })
}

/// Where the page behind the one is that a search asks for, if there is any.
pub(super) fn skip(host: &impl RecordsRead, search: &Search) -> Result<Option<String>, Failure> {
    Ok(walk(host, search, |_| Ok(()))?.0)
}

/// Goes through the records of the page that a search asks for; a search that the host stopped goes on here for a while.
/// Gives where the next page is, and whether this one has room left all the same.
fn walk(
    host: &impl RecordsRead,
    search: &Search,
    mut each: impl FnMut(&Record) -> Result<(), Failure>,
) -> Result<(Option<String>, bool), Failure> {
    let mut search = search.clone();
    for _ in 0..SEARCHES {
        let found = host.search(&search)?;
        found.records.iter().try_for_each(&mut each)?;
        search.limit = search.limit.saturating_sub(found.records.len() as u32);
        search.cursor = found.next;
        if search.cursor.is_none() || search.limit == 0 {
            break;
        }
    }
    let stopped_early = search.cursor.is_some() && search.limit > 0;
    Ok((search.cursor, stopped_early))
}

#[derive(Serialize)]
struct Answer<'a> {
    data: &'a [Box<RawValue>],
    meta: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Value>,
}

/// The answer of a search: its page, and the way to the next, which is at `url`.
pub(super) fn answer(url: &str, search: &Search, page: &Page) -> Result<Response, Failure> {
    let mut meta = json!({ "elapsed": 0, "status": page.status() });
    if page.stopped_early {
        meta["warnings"] = json!([{
            "code": "stopped_early",
            "title": "The search stopped before the page was full",
            "detail": "It looked at as much as one search may; go on at the next page, or ask for a shorter range.",
        }]);
    }
    let links = page.next.as_ref().map(|next| {
        meta["page"] = json!({ "after": next });
        json!({ "next": link(url, search, next) })
    });
    answer::json(&Answer { data: &page.items, meta, links }, SMALLER)
}

/// Where the next page is.
fn link(url: &str, search: &Search, next: &str) -> String {
    let sort = if search.order == Order::Newest { "-timestamp" } else { "timestamp" };
    let mut link = url.to_owned();
    for (separator, name, value) in [
        ('?', "filter[query]", search.query.as_str()),
        ('&', "filter[from]", &search.start.to_string()),
        ('&', "filter[to]", &search.end.to_string()),
        ('&', "sort", sort),
        ('&', "page[limit]", &search.limit.to_string()),
        ('&', "page[cursor]", next),
    ] {
        link.push(separator);
        escape(name, &mut link);
        link.push('=');
        escape(value, &mut link);
    }
    link
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// What the records' attributes are, as an object.
pub(super) fn attributes(record: &Record) -> serde_json::Map<String, Value> {
    serde_json::from_str(&record.content.attributes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_every_way_clients_write_it() {
        let now = Timestamp::from_seconds(1_712_620_800);
        for (text, expected) in [
            ("now", Some(1_712_620_800_000)),
            ("now-15m", Some(1_712_620_800_000 - 900_000)),
            ("now+1h", Some(1_712_620_800_000 + 3_600_000)),
            ("now-2d", Some(1_712_620_800_000 - 172_800_000)),
            ("2024-04-09T00:00:00Z", Some(1_712_620_800_000)),
            ("2024-04-09T02:00:00+02:00", Some(1_712_620_800_000)),
            ("2024-04-09", Some(1_712_620_800_000)),
            ("1712620800000", Some(1_712_620_800_000)),
            ("1712620800", Some(1_712_620_800_000)),
            ("1712620800.25", Some(1_712_620_800_250)),
            ("1712620800000.6", Some(1_712_620_800_001)),
            ("inf", None),
            ("nan", None),
            ("now-15", None),
            ("now15m", None),
            ("now-m", None),
            ("yesterday", None),
            ("", None),
            ("9223372036854775807", None),
        ] {
            assert_eq!(instant(text, now).map(Timestamp::milliseconds), expected, "{text}");
        }
    }
}
