//! `POST /api/v2/query/timeseries` and `/scalar`: queries by name, and formulas over them.
//!
//! A formula is asked of the host as one query, its names replaced by what they stand for: it is reckoned at every step,
//! and for a scalar reduced after that.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, State};
use bellwether_sdk::series::{Line, Question};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use crate::answer;
use crate::failure::Failure;
use crate::query::{Units, tags, with_intervals};

/// Queries and formulas of one request; each is a call of the host.
const MOST: usize = 100;

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    attributes: Asked,
}

#[derive(Deserialize)]
struct Asked {
    /// In milliseconds, as `to` and `interval`.
    from: i64,
    /// What is asked for ends before it.
    to: i64,
    interval: Option<u64>,
    queries: Vec<Query>,
    #[serde(default)]
    formulas: Vec<Formula>,
}

#[derive(Deserialize)]
struct Query {
    data_source: String,
    query: String,
    name: Option<String>,
    aggregator: Option<String>,
}

#[derive(Deserialize)]
struct Formula {
    formula: String,
    limit: Option<Limit>,
}

/// How many values of a scalar are shown; a timeseries shows all, as the vendor's model says of it.
#[derive(Deserialize)]
struct Limit {
    count: Option<usize>,
    #[serde(default)]
    order: Order,
}

/// Which values come first: the greatest or the least.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Desc,
    Asc,
}

/// What is asked of the host, and how its answer is shown.
struct Output<'a> {
    name: String,
    query: String,
    limit: Option<&'a Limit>,
    /// The query whose aggregator holds.
    first: usize,
}

fn read(request: &Request<'_>) -> Result<Asked, Failure> {
    let Body { data: Data { attributes: asked } } = request.json().map_err(Failure::format)?;
    if asked.queries.is_empty() || asked.queries.len() + asked.formulas.len() > MOST {
        let expected = format!("1 to {MOST} with the formulas");
        return Err(Failure::bad(format_args!("queries has {}, expected {expected}", asked.queries.len())));
    }
    if let Some(query) = asked.queries.iter().find(|query| query.data_source != "metrics") {
        return Err(Failure::bad(format_args!("data_source is {:?}, expected metrics", query.data_source)));
    }
    for (name, time) in [("from", asked.from), ("to", asked.to)] {
        let time = Timestamp::from_milliseconds(time);
        if !(Timestamp::MIN..=Timestamp::MAX).contains(&time) || asked.to < asked.from {
            return Err(Failure::parameter(name, "expected milliseconds since 1970, from before to"));
        }
    }
    Ok(asked)
}

impl Asked {
    /// The formulas, or every query where there is none.
    fn outputs(&self) -> Result<Vec<Output<'_>>, Failure> {
        let name = |at: usize, query: &Query| query.name.clone().unwrap_or_else(|| format!("query{at}"));
        let mut named = BTreeMap::new();
        for (at, query) in self.queries.iter().enumerate() {
            if let Some(before) = named.insert(name(at, query), at) {
                let name = name(at, query);
                return Err(Failure::bad(format_args!(
                    "queries[{at}].name is {name:?}, expected another than queries[{before}] has"
                )));
            }
        }
        if self.formulas.is_empty() {
            let outputs = self.queries.iter().enumerate();
            let output = |(at, query): (usize, &Query)| Output {
                name: name(at, query),
                query: query.query.clone(),
                limit: None,
                first: at,
            };
            return Ok(outputs.map(output).collect());
        }
        let outputs = self.formulas.iter().map(|formula| {
            let (query, first) = self.expand(&formula.formula, &named);
            let first = first.ok_or_else(|| {
                Failure::bad(format_args!(
                    "formula is {:?}, expected one that names a query",
                    formula.formula
                ))
            })?;
            Ok(Output { name: formula.formula.clone(), query, limit: formula.limit.as_ref(), first })
        });
        outputs.collect()
    }

    /// A formula with its names replaced by the queries they stand for, and the first of those.
    fn expand(&self, formula: &str, named: &BTreeMap<String, usize>) -> (String, Option<usize>) {
        let (mut expanded, mut first) = (String::new(), None);
        let mut rest = formula;
        let of_word = |next: char| next.is_alphanumeric() || next == '_';
        while let Some(next) = rest.chars().next() {
            let length = if of_word(next) {
                rest.find(|next| !of_word(next)).unwrap_or(rest.len())
            } else {
                next.len_utf8()
            };
            let (word, behind) = rest.split_at(length);
            match named.get(word) {
                Some(at) => {
                    first = first.or(Some(*at));
                    expanded.extend(["(", &self.queries[*at].query, ")"]);
                }
                None => expanded.push_str(word),
            }
            rest = behind;
        }
        // A name alone is its query, which tells its metric.
        match named.get(formula.trim()) {
            Some(at) => (self.queries[*at].query.clone(), Some(*at)),
            None => (expanded, first),
        }
    }

    /// The first and the last instant a sample may have, if there is any.
    fn range(&self) -> Option<(Timestamp, Timestamp)> {
        let instant = Timestamp::from_milliseconds;
        (self.from < self.to).then(|| (instant(self.from), instant(self.to - 1)))
    }

    /// The lines of an output.
    fn ask(&self, host: &(impl SeriesRead + State), output: &Output<'_>) -> Result<Vec<Line>, Failure> {
        let Some((first, last)) = self.range() else { return Ok(Vec::new()) };
        let mut question = Question::new(with_intervals(host, &output.query)?, first, last);
        question.step = self.interval;
        host.ask(&question).map_err(|error| Failure::of_query(error, "query"))
    }
}

#[derive(Serialize)]
struct Answer<T> {
    data: Answered<T>,
}

#[derive(Serialize)]
struct Answered<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    attributes: T,
}

fn answered(kind: &'static str, attributes: impl Serialize) -> Result<Response, Failure> {
    answer::json(&Answer { data: Answered { kind, attributes } }, answer::OF_QUERIES)
}

#[derive(Serialize)]
struct Timeseries<'a> {
    series: Vec<Value>,
    times: &'a BTreeSet<i64>,
    values: Vec<Values<'a>>,
}

/// A line's values, at every time at which any line has one. They are looked up as they are written: lines whose steps
/// begin at times of their own have many more places than values.
struct Values<'a> {
    times: &'a BTreeSet<i64>,
    points: &'a [(Timestamp, f64)],
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut points = self.points.iter().peekable();
        let value =
            |time: &i64| points.next_if(|(at, _)| at.milliseconds() == *time).map(|(_, value)| *value);
        serializer.collect_seq(self.times.iter().map(value))
    }
}

/// `POST /api/v2/query/timeseries`
pub(crate) fn timeseries(
    host: &(impl SeriesRead + State),
    request: &Request<'_>,
) -> Result<Response, Failure> {
    let asked = read(request)?;
    let mut units = Units::default();
    let (mut series, mut found) = (Vec::new(), Vec::new());
    for (query_index, output) in asked.outputs()?.iter().enumerate() {
        for line in asked.ask(host, output)? {
            let unit = units.of(host, &line)?;
            series.push(json!({ "group_tags": tags(&line), "query_index": query_index, "unit": unit }));
            found.push(line.points);
        }
    }
    let times = &found.iter().flatten().map(|(time, _)| time.milliseconds()).collect();
    let values = found.iter().map(|points| Values { times, points }).collect();
    answered("timeseries_response", Timeseries { series, times, values })
}

/// `POST /api/v2/query/scalar`
pub(crate) fn scalar(host: &(impl SeriesRead + State), request: &Request<'_>) -> Result<Response, Failure> {
    let asked = read(request)?;
    let mut units = Units::default();
    // Tags, and the row each group of them is shown in: in the order they come.
    let mut groups = BTreeMap::<Vec<(String, String)>, usize>::new();
    let (mut keys, mut columns) = (Vec::<String>::new(), Vec::new());
    for output in asked.outputs()? {
        let aggregator = asked.queries[output.first].aggregator.as_deref().unwrap_or("avg");
        let mut unit = None;
        let mut values = Vec::new();
        for line in asked.ask(host, &output)? {
            unit = units.of(host, &line)?.or(unit);
            values.extend(reduced(aggregator, &line)?.map(|value| (line.tags, value)));
        }
        if let Some(Limit { count, order }) = output.limit {
            values.sort_by(|(_, a), (_, b)| match order {
                Order::Desc => b.total_cmp(a),
                Order::Asc => a.total_cmp(b),
            });
            values.truncate(count.unwrap_or(usize::MAX));
        }
        let mut column = vec![None; groups.len()];
        for (tags, value) in values {
            for (key, _) in &tags {
                if !keys.contains(key) {
                    keys.push(key.clone());
                }
            }
            let row = *groups.entry(tags).or_insert(column.len());
            if row == column.len() {
                column.push(None);
            }
            column[row] = Some(value);
        }
        columns.push((output.name, column, unit));
    }
    let mut rows: Vec<_> = groups.iter().collect();
    rows.sort_unstable_by_key(|(_, row)| **row);
    let of_key = |key: &String| {
        let value = |(group, _): &(&Vec<(String, String)>, &usize)| {
            let value = group.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str());
            json!(value.into_iter().collect::<Vec<_>>())
        };
        json!({ "name": key, "type": "group", "values": rows.iter().map(value).collect::<Vec<_>>() })
    };
    let mut shown: Vec<Value> = keys.iter().map(of_key).collect();
    for (name, mut values, unit) in columns {
        values.resize(rows.len(), None);
        shown.push(json!({ "name": name, "type": "number", "meta": { "unit": unit }, "values": values }));
    }
    answered("scalar_response", json!({ "columns": shown }))
}

/// One value of a line's, if it has any.
fn reduced(aggregator: &str, line: &Line) -> Result<Option<f64>, Failure> {
    let values = || line.points.iter().map(|(_, value)| *value);
    if line.points.is_empty() {
        return Ok(None);
    }
    Ok(Some(match aggregator {
        "avg" | "mean" => values().sum::<f64>() / line.points.len() as f64,
        "sum" => values().sum(),
        "min" => values().fold(f64::INFINITY, f64::min),
        "max" => values().fold(f64::NEG_INFINITY, f64::max),
        "last" => values().next_back().unwrap_or_default(),
        "l2norm" => values().map(|value| value * value).sum::<f64>().sqrt(),
        "area" => values().sum::<f64>() * line.step as f64 / 1000.0,
        other => {
            let expected = "expected avg, sum, min, max, last, mean, l2norm or area";
            return Err(Failure::bad(format_args!("aggregator is {other:?}, {expected}")));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_share_no_instant() {
        let range = |from, to| {
            let asked = Asked { from, to, interval: None, queries: Vec::new(), formulas: Vec::new() };
            asked.range().map(|(first, last)| (first.milliseconds(), last.milliseconds()))
        };
        assert_eq!(range(0, 300_000), Some((0, 299_999)));
        assert_eq!(range(300_000, 600_000), Some((300_000, 599_999)));
        assert_eq!(range(7, 8), Some((7, 7)));
        assert_eq!(range(7, 7), None);
    }
}
