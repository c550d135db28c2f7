//! `GET /api/v1/query`: lines out of series, in the shape clients' models have.

use std::collections::BTreeMap;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, State};
use bellwether_sdk::series::{Line, Question, SeriesError};
use serde::Serialize;

use crate::answer;
use crate::failure::Failure;
use crate::metadata::interval;
use crate::parameters::{required, seconds};
use crate::unit::{self, Unit};

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    res_type: &'static str,
    resp_version: u8,
    query: &'a str,
    from_date: i64,
    to_date: i64,
    series: Vec<Shown>,
    values: [f64; 0],
    times: [f64; 0],
    message: &'static str,
    group_by: Vec<&'a str>,
}

#[derive(Serialize)]
struct Shown {
    unit: Option<[Option<Unit>; 2]>,
    query_index: usize,
    aggr: Option<String>,
    metric: String,
    tag_set: Vec<String>,
    expression: String,
    scope: String,
    interval: u64,
    length: usize,
    start: i64,
    end: i64,
    pointlist: Vec<(i64, f64)>,
    display_name: String,
}

/// `GET /api/v1/query?from=1712620800&to=1712624400&query=avg:system.cpu.user{*}`, several with commas between.
pub(crate) fn answer(host: &(impl SeriesRead + State), request: &Request<'_>) -> Result<Response, Failure> {
    let (start, end) = (seconds(request, "from")?, seconds(request, "to")?);
    let text = required(request, "query")?;
    if end < start {
        return Err(Failure::parameter("to", "it is before from"));
    }
    let (mut series, mut group_by) = (Vec::new(), Vec::new());
    let mut units = Units::default();
    for (query_index, part) in parts(text).into_iter().enumerate() {
        let selection = Selection::read(part);
        let question = Question::new(with_intervals(host, part)?, start, end);
        let lines = host.ask(&question).map_err(|error| Failure::of_query(error, "query"))?;
        for line in lines {
            let unit = units.of(host, &line)?;
            series.push(shown(query_index, part, selection.as_ref(), line, unit));
        }
        for key in selection.iter().flat_map(|selection| &selection.by) {
            if !group_by.contains(key) {
                group_by.push(key);
            }
        }
    }
    let (from_date, to_date) = (start.milliseconds(), end.milliseconds());
    let answer = Answer {
        status: "ok",
        res_type: "time_series",
        resp_version: 1,
        query: text,
        from_date,
        to_date,
        series,
        values: [],
        times: [],
        message: "",
        group_by,
    };
    answer::json(&answer, answer::OF_QUERIES)
}

fn shown(
    query_index: usize,
    query: &str,
    selection: Option<&Selection<'_>>,
    line: Line,
    unit: Option<[Option<Unit>; 2]>,
) -> Shown {
    let tag_set = tags(&line);
    let filter = selection.map(|selection| selection.filter).filter(|filter| *filter != "*");
    let asked = |tag: &str| filter.is_some_and(|filter| filter.split(',').any(|part| part.trim() == tag));
    let grouped = tag_set.iter().map(String::as_str).filter(|tag| !asked(tag));
    let scope: Vec<&str> = filter.into_iter().chain(grouped).collect();
    let scope = if scope.is_empty() { "*".to_owned() } else { scope.join(",") };
    let expression = match selection {
        Some(Selection { aggregate, metric, functions, .. }) => {
            format!("{aggregate}:{metric}{{{scope}}}{functions}")
        }
        None => query.to_owned(),
    };
    let metric = line.metric.unwrap_or_else(|| query.to_owned());
    let time = |point: Option<&(Timestamp, f64)>| point.map_or(0, |(time, _)| time.milliseconds());
    Shown {
        unit,
        query_index,
        aggr: selection.map(|selection| selection.aggregate.to_owned()),
        display_name: metric.clone(),
        metric,
        tag_set,
        expression,
        scope,
        interval: (line.step / 1000).max(1),
        length: line.points.len(),
        start: time(line.points.first()),
        end: time(line.points.last()).saturating_add_unsigned(line.step.saturating_sub(1)),
        pointlist: line.points.iter().map(|(time, value)| (time.milliseconds(), *value)).collect(),
    }
}

/// A line's tags as Datadog writes them; those of series without the tag have `N/A`.
pub(crate) fn tags(line: &Line) -> Vec<String> {
    let tag = |(key, value): &(String, String)| match value.as_str() {
        "" => format!("{key}:N/A"),
        value => format!("{key}:{value}"),
    };
    line.tags.iter().map(tag).collect()
}

/// The units of the metrics met so far.
#[derive(Default)]
pub(crate) struct Units(BTreeMap<String, Option<[Option<Unit>; 2]>>);

impl Units {
    /// The unit of a line that is of one metric.
    pub(crate) fn of(
        &mut self,
        host: &impl SeriesRead,
        line: &Line,
    ) -> Result<Option<[Option<Unit>; 2]>, Failure> {
        let Some(metric) = line.metric.as_deref() else { return Ok(None) };
        if let Some(known) = self.0.get(metric) {
            return Ok(known.clone());
        }
        let found = match host.tagged_metric(metric) {
            Ok(found) => unit::of(&found.metadata),
            Err(SeriesError::UnknownMetric(_)) => None,
            Err(error) => return Err(error.into()),
        };
        self.0.insert(metric.to_owned(), found.clone());
        Ok(found)
    }
}

/// The queries of a text: its parts between commas that are in no parentheses, braces or quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth, mut quotes) = (Vec::new(), 0, 0_usize, Quotes::default());
    for (at, next) in text.char_indices() {
        match next {
            _ if quotes.hold(next) => {}
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// What turns counts and rates into each other.
const TURNS: [&str; 2] = [".as_rate()", ".as_count()"];

/// Seconds between samples that the host can be told of: a year.
const LONGEST: u64 = 366 * 86_400;

/// A query that says the interval of the counts and rates it turns, where one is known, for steps that are shorter.
pub(crate) fn with_intervals(host: &impl State, query: &str) -> Result<String, Failure> {
    let (mut asked, mut from, mut metric, mut quotes) = (String::new(), 0, "", Quotes::default());
    for (at, next) in query.char_indices() {
        match next {
            _ if quotes.hold(next) => {}
            '{' => metric = metric_before(&query[..at]).unwrap_or(metric),
            '.' if !metric.is_empty() => {
                let turn = TURNS.into_iter().find(|turn| query[at..].starts_with(turn));
                let Some(end) = turn.map(|turn| at + turn.len() - 1) else { continue };
                if let Some(seconds) =
                    interval(host, metric)?.filter(|seconds| (1..=LONGEST).contains(seconds))
                {
                    asked.extend([&query[from..end], &seconds.to_string()]);
                    from = end;
                }
            }
            _ => {}
        }
    }
    asked.push_str(&query[from..]);
    Ok(asked)
}

/// The metric whose braces open behind `text`; `None` if the braces are of the tags it is grouped by.
fn metric_before(text: &str) -> Option<&str> {
    let of_word = |next: char| next.is_alphanumeric() || matches!(next, '_' | '.' | '-' | '/' | ':');
    let word = text.trim_end().rsplit(|next| !of_word(next)).next().filter(|word| *word != "by")?;
    Some(word.split_once(':').map_or(word, |(_, metric)| metric))
}

/// A query of one metric, taken apart to be shown.
#[derive(Debug, PartialEq)]
struct Selection<'a> {
    aggregate: &'a str,
    metric: &'a str,
    filter: &'a str,
    by: Vec<&'a str>,
    /// What is behind it: `.rollup(max, 60)`.
    functions: &'a str,
}

impl<'a> Selection<'a> {
    /// `None` for what is more than one selection, such as a sum of two.
    fn read(text: &'a str) -> Option<Self> {
        let (aggregate, rest) = text.split_once(':')?;
        let (metric, rest) = rest.split_once('{')?;
        let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !text.is_empty();
        if !word(aggregate) || metric.contains(['(', ')', ' ', '+', '*', ':']) {
            return None;
        }
        let (filter, rest) = braced(rest)?;
        let rest = rest.trim_start();
        let (by, functions) = match rest.strip_prefix("by") {
            Some(rest) => {
                let (keys, rest) = braced(rest.trim_start().strip_prefix('{')?)?;
                let keys = keys.split(',').map(|key| key.trim().trim_matches('"'));
                (keys.filter(|key| !key.is_empty()).collect(), rest)
            }
            None => (Vec::new(), rest),
        };
        let mut depth = 0_usize;
        for next in functions.chars() {
            match next {
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1)?,
                '.' | '_' | 'a'..='z' | '0'..='9' => {}
                _ if depth > 0 => {}
                _ => return None,
            }
        }
        Some(Self { aggregate, metric, filter: filter.trim(), by, functions })
    }
}

/// What stands before the brace that closes, and what behind it.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut quotes = Quotes::default();
    let end = text.find(|next| !quotes.hold(next) && next == '}')?;
    Some((&text[..end], &text[end + 1..]))
}

/// Where quotes are open; a backslash in them takes the next character as it is.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Whether the next character stands in quotes, or is one.
    fn hold(&mut self, next: char) -> bool {
        let held = self.open || next == '"';
        match next {
            _ if std::mem::take(&mut self.escaped) => {}
            '"' => self.open = !self.open,
            '\\' => self.escaped = self.open,
            _ => {}
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_part_queries_and_nothing_else() {
        assert_eq!(parts("avg:a{*}"), ["avg:a{*}"]);
        assert_eq!(
            parts("avg:a{b:c,d:e} by {x,y}, top(sum:b{*}, 5)"),
            ["avg:a{b:c,d:e} by {x,y}", "top(sum:b{*}, 5)"]
        );
        assert_eq!(parts(r#"avg:a{h:~"x},{1,2}"},avg:b{*}"#), [r#"avg:a{h:~"x},{1,2}"}"#, "avg:b{*}"]);
        assert_eq!(parts(r#"avg:a{h:"\"},\\"},avg:b{*}"#), [r#"avg:a{h:"\"},\\"}"#, "avg:b{*}"]);
    }

    #[test]
    fn a_query_of_one_metric_is_taken_apart_and_no_other() {
        let read = Selection::read("avg:a.b{c:d,!e} by {x, y}.rollup(max, 60)").unwrap();
        assert_eq!((read.aggregate, read.metric, read.filter), ("avg", "a.b", "c:d,!e"));
        assert_eq!((read.by, read.functions), (vec!["x", "y"], ".rollup(max, 60)"));
        let read = Selection::read(r#"avg:a{c:"} \"d"} by {"x y"}"#).unwrap();
        assert_eq!((read.filter, read.by), (r#"c:"} \"d""#, vec!["x y"]));
        for other in [
            "avg:a{*} + avg:b{*}",
            "top(avg:a{*}, 5)",
            "100 * avg:a{*}",
            "7",
            "avg:a{*}.rollup(max))",
            "avg:a{",
        ] {
            assert_eq!(Selection::read(other), None, "{other}");
        }
    }
}
