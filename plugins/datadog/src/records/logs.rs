//! Logs out: `logs/events` and its search, and the list of the first version.

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, RecordsRead};
use bellwether_sdk::records::{Order, Record, RecordKind, Search};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::page::{self, MOST, Moment, Page, attributes};
use super::{LOG_EVENTS, url_of};
use crate::answer;
use crate::failure::Failure;

/// `GET /api/v2/logs/events?filter[query]&filter[from]&filter[to]&sort&page[limit]&page[cursor]`
pub(super) fn list<H: RecordsRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    found(host, request, &page::of_query(host, request, RecordKind::Log)?)
}

/// `POST /api/v2/logs/events/search`
pub(super) fn search<H: RecordsRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    found(host, request, &page::of_body(host, request, RecordKind::Log)?)
}

fn found(host: &impl RecordsRead, request: &Request<'_>, search: &Search) -> Result<Response, Failure> {
    let page = page::gather(host, search, |log| {
        let mut content = content(log);
        content.insert("status".to_owned(), log.content.status.as_str().into());
        json!({ "id": log.id.to_string(), "type": "log", "attributes": content })
    })?;
    page::answer(&url_of(request, LOG_EVENTS), search, &page)
}

/// What a log says, as both versions write it.
fn content(log: &Record) -> Map<String, Value> {
    let content = &log.content;
    let mut shown = Map::new();
    shown.insert("timestamp".to_owned(), content.time.to_string().into());
    for (name, text) in
        [("host", &content.host), ("service", &content.service), ("message", &content.message)]
    {
        if !text.is_empty() {
            shown.insert(name.to_owned(), text.as_str().into());
        }
    }
    // Its source is a tag to those who read it, as Datadog has it.
    let source = (!content.source.is_empty()).then(|| format!("source:{}", content.source));
    let own = content.tags.iter().cloned();
    let tags: Vec<String> = own.chain(source.filter(|tag| !content.tags.contains(tag))).collect();
    shown.insert("tags".to_owned(), json!(tags));
    shown.insert("attributes".to_owned(), attributes(log).into());
    shown
}

/// The body of a list of the first version.
#[derive(Deserialize)]
struct ListV1 {
    #[serde(default)]
    query: String,
    time: Range,
    limit: Option<u32>,
    sort: Option<String>,
    #[serde(rename = "startAt")]
    start_at: Option<String>,
}

#[derive(Deserialize)]
struct Range {
    from: Moment,
    to: Moment,
}

/// `POST /api/v1/logs-queries/list`
pub(super) fn list_v1<H: RecordsRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let asked: ListV1 = request.json().map_err(Failure::format)?;
    let limit = asked.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        return Err(Failure::parameter("limit", format_args!("{limit} is no whole number from 1 to {MOST}")));
    }
    let order = match asked.sort.as_deref() {
        None | Some("desc") => Order::Newest,
        Some("asc") => Order::Oldest,
        Some(other) => {
            return Err(Failure::parameter("sort", format_args!("it is {other:?}, expected asc or desc")));
        }
    };
    let (start, end) = (asked.time.from.read(host, "time.from")?, asked.time.to.read(host, "time.to")?);
    if end < start {
        return Err(Failure::parameter("time.to", format_args!("{end} is before {start}")));
    }
    let cursor = asked.start_at.filter(|cursor| !cursor.is_empty());
    let search = Search { kind: RecordKind::Log, query: asked.query, start, end, order, limit, cursor };
    let page =
        page::gather(host, &search, |log| json!({ "id": log.id.to_string(), "content": content(log) }))?;
    listed(&page)
}

#[derive(Serialize)]
struct Listed<'a> {
    logs: &'a [Box<RawValue>],
    #[serde(rename = "nextLogId")]
    next: Option<&'a str>,
    status: &'static str,
}

fn listed(page: &Page) -> Result<Response, Failure> {
    let Page { items, next, .. } = page;
    answer::json(&Listed { logs: items, next: next.as_deref(), status: page.status() }, page::SMALLER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_the_first_version_says_whether_its_search_stopped_early() {
        for (stopped_early, next, status) in
            [(true, Some("7"), "timeout"), (false, Some("7"), "done"), (false, None, "done")]
        {
            let page = Page { stopped_early, next: next.map(str::to_owned), ..Page::default() };
            let answer: Value = serde_json::from_slice(&listed(&page).unwrap().body).unwrap();
            assert_eq!(answer, json!({ "logs": [], "nextLogId": next, "status": status }));
        }
    }
}
