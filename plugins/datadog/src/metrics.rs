//! Which metrics there are: search, active ones, lists, and their tags.

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, SeriesRead};
use bellwether_sdk::series::{MetricKind, Question, SeriesError, TaggedMetric};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::parameters::{count, flag, from_seconds, required, seconds};

/// What the host gives at once.
const PAGE: u32 = 1000;

/// Metrics a list without pages holds at most, and a page.
const MOST: u32 = 10_000;

/// How far ahead of the host's clock samples are looked for: what clients' clocks are off, and an hour.
const AHEAD: i64 = 4_200_000;

/// Calls `each` with every metric whose name contains `part`, in order, after `after`, until it says no more.
fn every(
    host: &impl SeriesRead,
    part: Option<&str>,
    after: Option<&str>,
    mut each: impl FnMut(TaggedMetric) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut after = after.map(str::to_owned);
    loop {
        let page = host.tagged_metrics(part, after.as_deref(), PAGE)?;
        let last = page.len() < PAGE as usize;
        after = page.last().map(|metric| metric.name.clone());
        for metric in page {
            if !each(metric)? {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// `GET /api/v1/search?q=metrics:part`
pub(crate) fn search(host: &impl SeriesRead, request: &Request<'_>) -> Result<Response, Failure> {
    let query = required(request, "q")?;
    let (facet, part) = match query.split_once(':') {
        Some((facet @ ("metrics" | "hosts"), part)) => (Some(facet), part.trim()),
        Some((facet, _)) => {
            return Err(Failure::parameter(
                "q",
                format_args!("its facet is {facet:?}, expected metrics or hosts"),
            ));
        }
        None => (None, query.trim()),
    };
    let mut results = Map::new();
    if facet != Some("hosts") {
        let mut names = Vec::new();
        every(host, Some(part), None, |metric| {
            names.push(Value::from(metric.name));
            Ok(true)
        })?;
        results.insert("metrics".to_owned(), names.into());
    }
    if facet != Some("metrics") {
        results.insert("hosts".to_owned(), hosts(host, part)?.into());
    }
    Ok(Response::json(200, &json!({ "results": results })))
}

/// The values of the tag `host` that contain `part`, in order.
fn hosts(host: &impl SeriesRead, part: &str) -> Result<Vec<String>, Failure> {
    let part = part.to_lowercase();
    let mut found = std::collections::BTreeSet::new();
    every(host, None, None, |metric| {
        values(host, &metric.name, "host", |value| {
            if value.to_lowercase().contains(&part) {
                found.insert(value);
            }
            Ok(true)
        })?;
        Ok(true)
    })?;
    Ok(found.into_iter().collect())
}

/// Calls `each` with every value of a metric's tag until it says no more.
fn values(
    host: &impl SeriesRead,
    metric: &str,
    key: &str,
    mut each: impl FnMut(String) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut after: Option<String> = None;
    loop {
        let page = host.tag_values(metric, key, after.as_deref(), PAGE)?;
        let last = page.len() < PAGE as usize;
        after = page.last().map(|value| value.text.clone());
        for value in page {
            if !each(value.text)? {
                return Ok(false);
            }
        }
        if last {
            return Ok(true);
        }
    }
}

/// `GET /api/v1/metrics?from=1623456789[&host=web-1][&tag_filter=env:prod]`
pub(crate) fn active<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let from = seconds(request, "from")?;
    let mut filters = Vec::new();
    if let Some(name) = request.query("host").filter(|name| !name.is_empty()) {
        filters.push(format!("host:{name}"));
    }
    if let Some(filter) = request.query("tag_filter").filter(|filter| !filter.trim().is_empty()) {
        filters.push(format!("({filter})"));
    }
    let filter = if filters.is_empty() { "*".to_owned() } else { filters.join(" AND ") };
    let parameter = if request.query("tag_filter").is_some() { "tag_filter" } else { "host" };
    let mut names = Vec::new();
    every(host, None, None, |metric| {
        if has_samples(host, &metric.name, &filter, from, parameter)? {
            names.push(metric.name);
        }
        Ok(true)
    })?;
    #[derive(Serialize)]
    struct Active<'a> {
        metrics: Vec<String>,
        from: &'a str,
    }
    // As it was asked, and a text: so clients' models have it.
    Ok(Response::json(200, &Active { metrics: names, from: request.query("from").unwrap_or_default() }))
}

/// Whether a series of a metric that `filter` means has a sample since `from`.
fn has_samples<H: SeriesRead + Clock>(
    host: &H,
    metric: &str,
    filter: &str,
    from: Timestamp,
    parameter: &str,
) -> Result<bool, Failure> {
    let end = Timestamp::from_milliseconds(host.now().milliseconds().saturating_add(AHEAD));
    if end < from {
        return Ok(false);
    }
    // One step over all of it is answered by the summaries of blocks.
    let step = end.milliseconds().abs_diff(from.milliseconds()).max(1);
    let question = Question::new(format!("count:{metric}{{{filter}}}"), from, end).step(step);
    match host.ask(&question) {
        Ok(lines) => Ok(lines.iter().any(|line| !line.points.is_empty())),
        // The name may be none the language can say: then its samples tell, or it is the filter that does not read.
        Err(SeriesError::Syntax(_)) => {
            let series = host.samples(metric, filter, from, end);
            let series = series.map_err(|error| Failure::of_query(error, parameter))?;
            Ok(series.iter().any(|series| !series.samples.is_empty()))
        }
        Err(error) => Err(error.into()),
    }
}

/// `GET /api/v2/metrics[?page[size]=100&page[cursor]=…&filter[tags]=env:prod&window[seconds]=3600]`
pub(crate) fn list<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let size = count(request, "page[size]", 1, MOST)?;
    let cursor = request.query("page[cursor]").filter(|cursor| !cursor.is_empty());
    let window = count(request, "window[seconds]", 1, 2_592_000)?.unwrap_or(3600);
    let since = host.now().milliseconds() as f64 / 1000.0 - f64::from(window);
    let since = from_seconds(since).unwrap_or(Timestamp::MIN);
    let tags = request.query("filter[tags]").filter(|filter| !filter.is_empty());
    let distributions = match request.query("filter[metric_type]") {
        None => None,
        Some("distribution") => Some(true),
        Some("non_distribution") => Some(false),
        Some(other) => {
            let expected = "expected distribution or non_distribution";
            return Err(Failure::parameter(
                "filter[metric_type]",
                format_args!("it is {other:?}, {expected}"),
            ));
        }
    };
    let limit = size.unwrap_or(MOST) as usize;
    let mut names = Vec::new();
    // No metric has a configuration of its tags here: every tag can be asked for.
    if flag(request, "filter[configured]")? != Some(true) {
        every(host, None, cursor, |metric| {
            let kind = metric.metadata.kind == MetricKind::Distribution;
            if distributions.is_none_or(|wanted| wanted == kind)
                && tags
                    .map_or(Ok(true), |tags| has_samples(host, &metric.name, tags, since, "filter[tags]"))?
            {
                names.push(metric.name);
            }
            Ok(names.len() <= limit)
        })?;
    }
    let more = names.len() > limit;
    names.truncate(limit);
    let data: Vec<Value> = names.iter().map(|name| json!({ "type": "metrics", "id": name })).collect();
    let mut answer = json!({ "data": data });
    if size.is_some() || cursor.is_some() {
        let next = names.last().filter(|_| more);
        answer["meta"] = json!({
            "pagination": { "type": "cursor_limit", "limit": limit, "cursor": cursor, "next_cursor": next }
        });
    }
    Ok(Response::json(200, &answer))
}

/// `GET /api/v2/metrics/{metric}/all-tags[?page[limit]=1000&filter[match]=part&filter[include_tag_values]=false]`
pub(crate) fn tags(host: &impl SeriesRead, request: &Request<'_>) -> Result<Response, Failure> {
    let metric = request.parameter("metric");
    let limit = count(request, "page[limit]", 1, 1_000_000)?.unwrap_or(1_000_000) as usize;
    let with_values = flag(request, "filter[include_tag_values]")?.unwrap_or(true);
    let part = request.query("filter[match]").unwrap_or_default();
    let mut tags: Vec<String> = Vec::new();
    let mut add = |tag: String| {
        if tag.contains(part) {
            tags.push(tag);
        }
        Ok(tags.len() < limit)
    };
    for key in host.tag_keys(metric)? {
        let more = if with_values {
            let tag = |value: String| {
                if value.is_empty() { key.text.clone() } else { format!("{}:{value}", key.text) }
            };
            values(host, metric, &key.text, |value| add(tag(value)))?
        } else {
            add(key.text)?
        };
        if !more {
            break;
        }
    }
    let data = json!({ "type": "metrics", "id": metric, "attributes": { "tags": tags } });
    Ok(Response::json(200, &json!({ "data": data })))
}
