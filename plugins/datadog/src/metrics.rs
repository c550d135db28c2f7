//! Which metrics there are: search, active ones, lists, and their tags.

use std::collections::BTreeSet;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, SeriesRead};
use bellwether_sdk::series::{Counted, Line, MetricKind, Question, SeriesError, TaggedMetric};
use serde::Serialize;
use serde_json::{Value, json};

use crate::METRICS;
use crate::answer::{self, Texts};
use crate::failure::Failure;
use crate::parameters::{count, flag, quoted, required, seconds, window};

/// What the host gives at once.
const PAGE: u32 = 1000;

/// Metrics a list without pages holds at most, and a page.
const MOST: u32 = 10_000;

/// How far ahead of the host's clock samples are looked for: what clients' clocks are off, and an hour.
const AHEAD: i64 = 4_200_000;

/// Milliseconds after which a walk that asks about each metric is given up: what is left of the call's five seconds is for
/// the question that is under way.
const PATIENCE: i64 = 4000;

/// Metrics that such a walk asks about: with a look at the clock for each, nearly as many calls of the host as a call may
/// make.
const ASKED: usize = 45_000;

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

/// The same with every metric there is, for who asks the host about each: gives whether that went to its end, or time was
/// up before.
fn each_asked<H: SeriesRead + Clock>(
    host: &H,
    after: Option<&str>,
    mut each: impl FnMut(TaggedMetric) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let began = host.now().milliseconds();
    let (mut asked, mut in_time) = (0, true);
    every(host, None, after, |metric| {
        in_time = asked < ASKED && host.now().milliseconds() - began <= PATIENCE;
        asked += 1;
        Ok(in_time && each(metric)?)
    })?;
    Ok(in_time)
}

/// Time was up before all metrics were asked about; says what to ask for in their place.
fn late(instead: impl std::fmt::Display) -> Failure {
    Failure::later(format_args!("there are more metrics than can be asked about in time: {instead}"))
}

/// `GET /api/v1/search?q=metrics:part`
pub(crate) fn search<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
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
    let mut results = Results::default();
    if facet != Some("hosts") {
        let mut names = Texts::new(LONGER);
        every(host, Some(part), None, |metric| {
            names.push(metric.name)?;
            Ok(true)
        })?;
        results.metrics = Some(names);
    }
    if facet != Some("metrics") {
        results.hosts = Some(hosts(host, part)?);
    }
    answer::json(&Answer { results }, LONGER)
}

/// What makes what a search finds less.
const LONGER: &str = "ask for a longer part of the name";

#[derive(Serialize)]
struct Answer {
    results: Results,
}

#[derive(Default, Serialize)]
struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Texts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<BTreeSet<String>>,
}

/// The values of the tag `host` that contain `part`, in order.
fn hosts<H: SeriesRead + Clock>(host: &H, part: &str) -> Result<BTreeSet<String>, Failure> {
    let part = part.to_lowercase();
    let mut found = BTreeSet::new();
    let whole = each_asked(host, None, |metric| {
        values(host, &metric.name, "host", |value| {
            if value.to_lowercase().contains(&part) {
                found.insert(value);
            }
            Ok(true)
        })
    })?;
    if !whole {
        return Err(late(format_args!(
            "ask for the hosts of one, {METRICS}/<metric>/all-tags?filter[match]=host:{part}"
        )));
    }
    Ok(found)
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
    const SMALLER: &str = "ask for those of one host or tag, or for a later from";
    let mut names = Texts::new(SMALLER);
    let range = since(host, from);
    let whole = each_asked(host, None, |metric| {
        if has_samples(host, &metric.name, &filter, range, parameter)? {
            names.push(metric.name)?;
        }
        Ok(true)
    })?;
    if !whole {
        return Err(late(format_args!("ask for pages of {METRICS}, with {PAGE_SIZE}=100 and filter[tags]")));
    }
    #[derive(Serialize)]
    struct Active<'a> {
        metrics: Texts,
        from: &'a str,
    }
    // As it was asked, and a text: so clients' models have it.
    let from = request.query("from").unwrap_or_default();
    answer::json(&Active { metrics: names, from }, SMALLER)
}

/// From an instant to the last that samples are looked for at.
fn since(host: &impl Clock, from: Timestamp) -> (Timestamp, Timestamp) {
    (from, Timestamp::from_milliseconds(host.now().milliseconds().saturating_add(AHEAD)))
}

/// Whether a series of a metric that `filter` means has a sample in a range.
fn has_samples(
    host: &impl SeriesRead,
    metric: &str,
    filter: &str,
    range: (Timestamp, Timestamp),
    parameter: &str,
) -> Result<bool, Failure> {
    let lines = counted(host, metric, filter, "", range, parameter)?;
    Ok(lines.iter().any(|line| !line.points.is_empty()))
}

/// How many series of a metric that `filter` means have a sample in a range, by the tags that `by` says.
fn counted(
    host: &impl SeriesRead,
    metric: &str,
    filter: &str,
    by: &str,
    (from, end): (Timestamp, Timestamp),
    parameter: &str,
) -> Result<Vec<Line>, Failure> {
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

/// Seconds that a list of metrics looks back, if it does not say how far: Datadog's number.
const USUAL_WINDOW: u32 = 3600;

/// The most it can look back, 30 days: Datadog's number.
const LONGEST_WINDOW: u32 = 2_592_000;

/// The same of a list of tags.
const USUAL_WINDOW_OF_TAGS: u32 = 14_400;

const PAGE_SIZE: &str = "page[size]";
const PAGE_CURSOR: &str = "page[cursor]";

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

/// What to ask for in the place of a list, or of a page, for which time was up when it had so many metrics, the last that
/// was asked about being `last`.
fn instead(paged: bool, found: usize, last: Option<&str>) -> String {
    match (paged, found, last) {
        (true, 0, Some(last)) => {
            format!("none up to {last} reported within the window, go on behind it with {PAGE_CURSOR}={last}")
        }
        (true, 1.., _) => format!("ask for a page of {PAGE_SIZE}={found}"),
        _ => format!("ask for pages, with {PAGE_SIZE}=100"),
    }
}

/// `GET /api/v2/metrics[?page[size]=100&page[cursor]=…&filter[tags]=env:prod&window[seconds]=3600]`
pub(crate) fn list<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let size = count(request, PAGE_SIZE, 1, MOST)?;
    let cursor = request.query(PAGE_CURSOR).filter(|cursor| !cursor.is_empty());
    let from = window(host, request, USUAL_WINDOW, LONGEST_WINDOW)?;
    let filter = request.query("filter[tags]").filter(|filter| !filter.is_empty()).unwrap_or("*");
    let limit = size.unwrap_or(MOST) as usize;
    let paged = size.is_some() || cursor.is_some();
    let (mut names, mut last, mut next) = (Vec::new(), None, None);
    if let Some(distributions) = wanted(request)? {
        let range = since(host, from);
        let whole = each_asked(host, cursor, |metric| {
            let kind = metric.metadata.kind == MetricKind::Distribution;
            if distributions.is_none_or(|wanted| wanted == kind)
                && has_samples(host, &metric.name, filter, range, "filter[tags]")?
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
        if !whole {
            // A page that is not full would be the last one to clients; behind a full one may be nothing.
            next = match names.len() {
                found if found == limit && paged => names.last().cloned(),
                found => return Err(late(instead(paged, found, last.as_deref()))),
            };
        }
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
    let from = window(host, request, USUAL_WINDOW_OF_TAGS, u32::MAX)?;
    let filter = request.query("filter[tags]").filter(|filter| !filter.trim().is_empty());
    // Who asks for neither is told of every tag there is: those are known without a look at samples.
    let narrowed = filter.is_some() || request.query("window[seconds]").is_some();
    let filter = filter.map(|filter| format!("({filter}) AND ")).unwrap_or_default();
    const SMALLER: &str = "ask for fewer with page[limit], or for those that contain filter[match]";
    let mut tags = Texts::new(SMALLER);
    let range = since(host, from);
    for Counted { text: key, .. } in host.tag_keys(metric)? {
        let mut add = |value: Option<&str>| -> Result<bool, Failure> {
            let tag = match value {
                None | Some("") => key.clone(),
                Some(value) => format!("{key}:{value}"),
            };
            if tag.contains(part) {
                tags.push(tag)?;
            }
            Ok(tags.len() < limit)
        };
        let more = if narrowed {
            // Series without the key would make a line as well.
            let (filter, by) = (format!("{filter}{}:*", quoted(&key)), format!(" by {{{}}}", quoted(&key)));
            let lines = counted(host, metric, &filter, &by, range, "filter[tags]")?;
            let present = lines.iter().filter(|line| !line.points.is_empty());
            let mut values: Vec<&str> =
                present.flat_map(|line| &line.tags).map(|(_, value)| &**value).collect();
            values.sort_unstable();
            if with_values {
                let mut more = true;
                for value in values {
                    more = more && add(Some(value))?;
                }
                more
            } else {
                values.is_empty() || add(None)?
            }
        } else if with_values {
            values(host, metric, &key, |value| add(Some(&value)))?
        } else {
            add(None)?
        };
        if !more {
            break;
        }
    }
    let attributes = Attributes { tags: &tags };
    answer::json(&Data { data: Tagged { kind: "metrics", id: metric, attributes } }, SMALLER)
}

/// The tags of a metric, as they are answered.
#[derive(Serialize)]
struct Data<'a> {
    data: Tagged<'a>,
}

#[derive(Serialize)]
struct Tagged<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    attributes: Attributes<'a>,
}

#[derive(Serialize)]
struct Attributes<'a> {
    tags: &'a Texts,
}
