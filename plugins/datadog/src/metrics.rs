//! Which metrics there are: search, active ones, lists, and their tags.

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, SeriesRead};
use bellwether_sdk::series::{Counted, Line, MetricKind, Question, SeriesError, TaggedMetric};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::parameters::{count, flag, quoted, required, seconds, window};

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
    let lines = counted(host, metric, filter, "", from, parameter)?;
    Ok(lines.iter().any(|line| !line.points.is_empty()))
}

/// How many series of a metric that `filter` means have a sample since `from`, by the tags that `by` says.
fn counted<H: SeriesRead + Clock>(
    host: &H,
    metric: &str,
    filter: &str,
    by: &str,
    from: Timestamp,
    parameter: &str,
) -> Result<Vec<Line>, Failure> {
    let end = Timestamp::from_milliseconds(host.now().milliseconds().saturating_add(AHEAD));
    if end < from {
        return Ok(Vec::new());
    }
    // One step over all of it is answered by the summaries of blocks.
    let step = end.milliseconds().abs_diff(from.milliseconds()).max(1);
    let query = format!("count:{}{{{filter}}}{by}", quoted(metric));
    host.ask(&Question::new(query, from, end).step(step)).map_err(|error| match error {
        // By itself it is told where the filter does not read.
        SeriesError::Syntax(_) => {
            let alone = host.samples(metric, filter, from, from).err().unwrap_or(error);
            Failure::of_query(alone, parameter)
        }
        other => other.into(),
    })
}

/// Metrics that are looked at for one page, each by a query of its own: a call has five seconds. A page that is not full
/// for that says where to go on; one with nothing on it would be the last to clients, so it looks further.
const LOOKED_AT: usize = 5000;

/// Milliseconds after which a page that has nothing on it is given up: what is left of the call's five seconds is for the
/// query that is under way.
const PATIENCE: i64 = 4000;

/// Seconds that a list of metrics looks back, if it does not say how far: Datadog's number.
const USUAL_WINDOW: u32 = 3600;

/// The most it can look back, 30 days: Datadog's number.
const LONGEST_WINDOW: u32 = 2_592_000;

/// The same of a list of tags.
const USUAL_WINDOW_OF_TAGS: u32 = 14_400;

/// What nothing here knows, so that it would be a wrong answer to go on without.
const UNKNOWN: [&str; 4] = ["filter[queried]", "filter[related_assets]", "include", "sort"];

/// Whether a metric of this kind is in a list: `None` if none can be.
fn wanted(request: &Request<'_>) -> Result<Option<Option<bool>>, Failure> {
    for name in UNKNOWN {
        if request.query(name).is_some_and(|text| !text.is_empty()) {
            return Err(Failure::parameter(name, "it is not supported here, expected none"));
        }
    }
    let of_type = match request.query("filter[metric_type]") {
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
    // Every tag of every metric can be asked for, and every distribution for its percentiles: nothing is configured.
    let configured = flag(request, "filter[configured]")? == Some(true)
        || flag(request, "filter[is_configurable]")? == Some(true)
        || request.query("filter[tags_configured]").is_some_and(|keys| !keys.is_empty());
    let percentiles = flag(request, "filter[include_percentiles]")?;
    if configured || percentiles == Some(false) || (percentiles, of_type) == (Some(true), Some(false)) {
        return Ok(None);
    }
    Ok(Some(percentiles.or(of_type)))
}

/// Whether a page that was looked at enough for is left as it is, after so many milliseconds.
///
/// # Errors
/// If there is nothing on it, and no time to look on.
fn is_left(found: usize, looked_at: usize, milliseconds: i64) -> Result<bool, Failure> {
    if found == 0 && milliseconds > PATIENCE {
        return Err(Failure::later(format_args!(
            "none of {looked_at} metrics reported within the window: time is up before the first that did"
        )));
    }
    Ok(found > 0)
}

/// `GET /api/v2/metrics[?page[size]=100&page[cursor]=…&filter[tags]=env:prod&window[seconds]=3600]`
pub(crate) fn list<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let size = count(request, "page[size]", 1, MOST)?;
    let cursor = request.query("page[cursor]").filter(|cursor| !cursor.is_empty());
    let since = window(host, request, USUAL_WINDOW, LONGEST_WINDOW)?;
    let filter = request.query("filter[tags]").filter(|filter| !filter.is_empty()).unwrap_or("*");
    let limit = size.unwrap_or(MOST) as usize;
    let paged = size.is_some() || cursor.is_some();
    let (mut names, mut looked_at) = (Vec::new(), 0_usize);
    let began = host.now().milliseconds();
    let (mut last, mut next) = (None, None);
    if let Some(distributions) = wanted(request)? {
        every(host, None, cursor, |metric| {
            if paged
                && looked_at >= LOOKED_AT
                && is_left(names.len(), looked_at, host.now().milliseconds() - began)?
            {
                next = last.take();
                return Ok(false);
            }
            looked_at += 1;
            let kind = metric.metadata.kind == MetricKind::Distribution;
            if distributions.is_none_or(|wanted| wanted == kind)
                && has_samples(host, &metric.name, filter, since, "filter[tags]")?
            {
                if names.len() == limit {
                    next = names.last().cloned();
                    return Ok(false);
                }
                names.push(metric.name.clone());
            }
            last = Some(metric.name);
            Ok(true)
        })?;
    }
    let data: Vec<Value> = names.iter().map(|name| json!({ "type": "metrics", "id": name })).collect();
    let mut answer = json!({ "data": data });
    if paged {
        answer["meta"] = json!({
            "pagination": { "type": "cursor_limit", "limit": limit, "cursor": cursor, "next_cursor": next }
        });
    }
    Ok(Response::json(200, &answer))
}

/// `GET /api/v2/metrics/{metric}/all-tags[?window[seconds]=14400&filter[tags]=env:prod&filter[match]=part&page[limit]=10]`
pub(crate) fn tags<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let metric = request.parameter("metric");
    let limit = count(request, "page[limit]", 1, 1_000_000)?.unwrap_or(1_000_000) as usize;
    let with_values = flag(request, "filter[include_tag_values]")?.unwrap_or(true);
    let part = request.query("filter[match]").unwrap_or_default();
    let since = window(host, request, USUAL_WINDOW_OF_TAGS, u32::MAX)?;
    let filter = request.query("filter[tags]").filter(|filter| !filter.trim().is_empty());
    // Who asks for neither is told of every tag there is: those are known without a look at samples.
    let narrowed = filter.is_some() || request.query("window[seconds]").is_some();
    let filter = filter.map(|filter| format!("({filter}) AND ")).unwrap_or_default();
    let mut tags: Vec<String> = Vec::new();
    for Counted { text: key, .. } in host.tag_keys(metric)? {
        let mut add = |value: Option<&str>| {
            let tag = match value {
                None | Some("") => key.clone(),
                Some(value) => format!("{key}:{value}"),
            };
            if tag.contains(part) {
                tags.push(tag);
            }
            tags.len() < limit
        };
        let more = if narrowed {
            // Series without the key would make a line as well.
            let (filter, by) = (format!("{filter}{}:*", quoted(&key)), format!(" by {{{}}}", quoted(&key)));
            let lines = counted(host, metric, &filter, &by, since, "filter[tags]")?;
            let present = lines.iter().filter(|line| !line.points.is_empty());
            let mut values: Vec<&str> =
                present.flat_map(|line| &line.tags).map(|(_, value)| &**value).collect();
            values.sort_unstable();
            if with_values {
                values.iter().all(|value| add(Some(value)))
            } else {
                values.is_empty() || add(None)
            }
        } else if with_values {
            values(host, metric, &key, |value| Ok(add(Some(&value))))?
        } else {
            add(None)
        };
        if !more {
            break;
        }
    }
    let data = json!({ "type": "metrics", "id": metric, "attributes": { "tags": tags } });
    Ok(Response::json(200, &json!({ "data": data })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_with_nothing_on_it_is_looked_on_for_until_time_is_short_and_is_no_end_then() {
        assert!(is_left(1, LOOKED_AT, 0).unwrap() && is_left(1, LOOKED_AT, PATIENCE + 1).unwrap());
        assert!(!is_left(0, LOOKED_AT, PATIENCE).unwrap());
        let failure = is_left(0, LOOKED_AT, PATIENCE + 1).unwrap_err();
        assert_eq!(failure.detailed().status, 503);
    }
}
