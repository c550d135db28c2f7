//! `bellwether series`.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::record::Days;
use super::{Limit, query};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output::{self, Column};

/// `bellwether series`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: SeriesCommand,
}

#[derive(Debug, Subcommand)]
enum SeriesCommand {
    /// Write a sample
    #[command(after_help = "\
Examples:
  bellwether series write system.cpu.user 41.5 --tag host:web-1 --tag env:prod
  bellwether series write queue.length 7 --time 2026-01-31T12:00:00Z")]
    Write {
        /// The metric's name
        metric: String,
        /// A number
        #[arg(allow_negative_numbers = true, value_parser = super::number)]
        value: f64,
        /// key:value, or a word; may be repeated
        #[arg(long)]
        tag: Vec<String>,
        /// When it was taken (RFC 3339); now, if not said
        #[arg(long)]
        time: Option<String>,
    },
    /// Ask a question; of the last hour, if no time is said
    #[command(after_help = "\
Examples:
  bellwether series query 'avg:system.cpu.user{env:prod,!host:a*} by {host}.rollup(max, 60)'
  bellwether series query 'top(sum:requests{*} by {path}.as_rate(), 5)' --start 2026-01-01 --end 2026-01-02 --step 3600")]
    Query {
        /// In Datadog's language
        #[arg(allow_hyphen_values = true)]
        query: String,
        /// Samples from here on (RFC 3339)
        #[arg(long, aliases = ["from", "since"])]
        start: Option<String>,
        /// Samples up to here (RFC 3339)
        #[arg(long, aliases = ["to", "until"])]
        end: Option<String>,
        /// Seconds of a step
        #[arg(long, value_parser = super::number)]
        step: Option<f64>,
    },
    /// List the series of a metric
    #[command(after_help = "Example:\n  bellwether series list system.cpu.user --filter 'env:prod,!host:a*'")]
    List {
        /// The metric's name
        metric: String,
        /// Only those with such tags
        #[arg(long)]
        filter: Option<String>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// List metrics that have series
    #[command(after_help = "Example:\n  bellwether series metrics --contains cpu")]
    Metrics {
        /// Only names that contain this, letter case ignored
        #[arg(long)]
        contains: Option<String>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show what is known of a metric
    #[command(after_help = "Example:\n  bellwether series show system.cpu.user")]
    Show {
        /// Its name
        metric: String,
    },
    /// Set what is known of a metric; what is left out stays as it is
    #[command(after_help = "\
Examples:
  bellwether series describe requests --kind count --unit request --keep-days 400
  bellwether series describe requests --roll-up 15:300 --roll-up 90:3600")]
    Describe {
        /// Its name
        metric: String,
        /// What is known.
        #[command(flatten)]
        known: Known,
    },
    /// List the keys of a metric's tags, or the values of one
    #[command(after_help = "\
Examples:
  bellwether series tags system.cpu.user
  bellwether series tags system.cpu.user host")]
    Tags {
        /// The metric's name
        metric: String,
        /// A key, for its values
        key: Option<String>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Delete series with all their samples
    #[command(after_help = "Example:\n  bellwether series delete system.cpu.user --filter host:web-1")]
    Delete {
        /// The metric's name
        metric: String,
        /// Only those with such tags; without it, all
        #[arg(long)]
        filter: Option<String>,
    },
}

#[derive(Args, Debug)]
struct Known {
    /// How its values came about
    #[arg(long)]
    kind: Option<Kind>,
    /// What it is measured in
    #[arg(long)]
    unit: Option<String>,
    /// By what that is divided
    #[arg(long)]
    per_unit: Option<String>,
    /// For people
    #[arg(long)]
    description: Option<String>,
    /// For narrow places
    #[arg(long)]
    short_name: Option<String>,
    /// What sends it
    #[arg(long)]
    integration: Option<String>,
    /// Days its samples are kept, or `host` for as long as the host keeps them
    #[arg(long)]
    keep_days: Option<Days>,
    /// Days after which samples are kept as roll-ups, and seconds of their steps; may be repeated
    #[arg(long, value_name = "DAYS:SECONDS", value_parser = roll_up)]
    roll_up: Vec<(u32, u32)>,
    /// Keep samples as they are from now on
    #[arg(long, conflicts_with = "roll_up")]
    no_roll_ups: bool,
}

/// Reads `15:300`.
fn roll_up(text: &str) -> Result<(u32, u32), String> {
    let parts =
        text.split_once(':').and_then(|(days, seconds)| Some((days.parse().ok()?, seconds.parse().ok()?)));
    parts.ok_or_else(|| "expected days and seconds, such as 15:300".to_owned())
}

/// How a metric's values came about.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// A measurement at a moment
    Gauge,
    /// How many happened since the sample before
    Count,
    /// How many happen a second
    Rate,
    /// Measurements of many things, to be looked at together
    Distribution,
}

const FIELDS: &[Column] = &[
    ("name", "/name"),
    ("series", "/series"),
    ("kind", "/kind"),
    ("unit", "/unit"),
    ("per unit", "/per_unit"),
    ("description", "/description"),
    ("short name", "/short_name"),
    ("integration", "/integration"),
    ("keep days", "/keep_days"),
    ("roll-ups", "/roll_ups"),
];

const POINTS: &[Column] = &[("TAGS", "/tags"), ("TIME", "/time"), ("VALUE", "/value")];

/// Works on tagged series.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    const METRICS: [&str; 3] = ["v1", "series", "metrics"];
    match arguments.command {
        SeriesCommand::Write { metric, value, tag, time } => {
            let time = time.unwrap_or_else(|| jiff::Timestamp::now().to_string());
            let series = json!({ "metric": metric, "tags": tag, "points": [[time, value]] });
            let body = Body::Json(json!({ "series": [series] }));
            let answer = client.write(Method::POST, &["v1", "series"], &[], body).await?;
            output::value(format, &answer, |_| format!("written to {metric}\n"))?;
        }
        SeriesCommand::Query { query, start, end, step } => {
            let mut question = json!({ "query": query });
            for (name, value) in [
                ("start", start.map(Value::from)),
                ("end", end.map(Value::from)),
                ("step", step.map(|seconds| Value::from((seconds * 1000.0).round() as i64))),
            ] {
                if let Some(value) = value {
                    question[name] = value;
                }
            }
            let answer = client.write(Method::POST, &["v1", "query"], &[], Body::Json(question)).await?;
            output::value(format, &answer, |answer| output::table(&points(answer), POINTS))?;
        }
        SeriesCommand::List { metric, filter, limit } => {
            let query = query([("metric", Some(metric)), ("filter", filter)]);
            let mut series = client.list(&["v1", "series"], &query, limit.items()).await?;
            if !arguments.connection.json {
                series.items.iter_mut().for_each(|series| series["tags"] = joined(&series["tags"]).into());
            }
            output::listing(format, &series, &[("TAGS", "/tags")])?;
        }
        SeriesCommand::Metrics { contains, limit } => {
            let query = query([("name_contains", contains)]);
            let metrics = client.list(&METRICS, &query, limit.items()).await?;
            let columns = [("NAME", "/name"), ("SERIES", "/series"), ("KIND", "/kind"), ("UNIT", "/unit")];
            output::listing(format, &metrics, &columns)?;
        }
        SeriesCommand::Show { metric } => {
            let metric = client.get(&[&METRICS[..], &[metric.as_str()]].concat(), &[]).await?;
            output::value(format, &metric, shown)?;
        }
        SeriesCommand::Describe { metric, known } => {
            let path = [&METRICS[..], &[metric.as_str()]].concat();
            let before = match client.get(&path, &[]).await {
                Err(Failure::Refused(problem)) if problem.status == 404 => json!({}),
                other => other?,
            };
            let body = Body::Json(known.over(before));
            let answer = client.write(Method::PUT, &path, &[], body).await?;
            output::value(format, &answer, shown)?;
        }
        SeriesCommand::Tags { metric, key: None, limit } => {
            let path = [&METRICS[..], &[metric.as_str(), "tags"]].concat();
            let keys = client.list(&path, &[], limit.items()).await?;
            let columns = [("KEY", "/key"), ("VALUES", "/values"), ("SERIES", "/series")];
            output::listing(format, &keys, &columns)?;
        }
        SeriesCommand::Tags { metric, key: Some(key), limit } => {
            let path = [&METRICS[..], &[metric.as_str(), "tags", key.as_str()]].concat();
            let values = client.list(&path, &[], limit.items()).await?;
            output::listing(format, &values, &[("VALUE", "/value"), ("SERIES", "/series")])?;
        }
        SeriesCommand::Delete { metric, filter } => {
            let path = [&METRICS[..], &[metric.as_str()]].concat();
            let query = query([("filter", filter)]);
            let answer = client.write(Method::DELETE, &path, &query, Body::None).await?;
            output::value(format, &answer, |answer| format!("{} series deleted\n", answer["deleted"]))?;
        }
    }
    Ok(())
}

impl Known {
    /// What was known before, with this in its place where it says something.
    fn over(self, before: Value) -> Value {
        let mut metadata = before;
        if let Some(fields) = metadata.as_object_mut() {
            fields.remove("name");
            fields.remove("series");
        }
        let kind = self.kind.and_then(|kind| kind.to_possible_value()).map(|kind| kind.get_name().to_owned());
        for (name, value) in [
            ("kind", kind),
            ("unit", self.unit),
            ("per_unit", self.per_unit),
            ("description", self.description),
            ("short_name", self.short_name),
            ("integration", self.integration),
        ] {
            if let Some(value) = value {
                metadata[name] = value.into();
            }
        }
        if let Some(days) = self.keep_days {
            metadata["keep_days"] = days.into();
        }
        if self.no_roll_ups || !self.roll_up.is_empty() {
            let roll_up =
                |(days, seconds): (u32, u32)| json!({ "after_days": days, "step_seconds": seconds });
            metadata["roll_ups"] = self.roll_up.into_iter().map(roll_up).collect();
        }
        metadata
    }
}

/// What is known of a metric, for people.
fn shown(metric: &Value) -> String {
    let roll_ups = metric["roll_ups"].as_array().into_iter().flatten();
    let roll_ups: Vec<String> = roll_ups
        .map(|step| format!("after {} days every {} s", step["after_days"], step["step_seconds"]))
        .collect();
    let mut metric = metric.clone();
    if !roll_ups.is_empty() {
        metric["roll_ups"] = roll_ups.join(", ").into();
    }
    output::record(&metric, FIELDS)
}

/// The points of an answer, one a row.
fn points(answer: &Value) -> Vec<Value> {
    let mut rows = Vec::new();
    for line in answer["lines"].as_array().into_iter().flatten() {
        let tags = line["tags"].as_object().into_iter().flatten();
        let tags: Vec<String> =
            tags.map(|(key, value)| format!("{key}:{}", value.as_str().unwrap_or_default())).collect();
        for point in line["points"].as_array().into_iter().flatten() {
            let time = point[0].as_i64().and_then(|time| jiff::Timestamp::from_millisecond(time).ok());
            let time = time.map(|time| time.to_string());
            rows.push(json!({ "tags": tags.join(" "), "time": time, "value": point[1] }));
        }
    }
    rows
}

fn joined(tags: &Value) -> String {
    let tags: Vec<&str> = tags.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if tags.is_empty() { "*".to_owned() } else { tags.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_table_of_its_points() {
        let answer = json!({ "lines": [
            { "tags": { "host": "a", "env": "prod" }, "points": [[0, 1.5], [60000, 2.0]] },
            { "tags": {}, "points": [[0, 3.0]] },
        ]});
        let table = output::table(&points(&answer), POINTS);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["host:a", "env:prod", "1970-01-01T00:00:00Z", "1.5"]);
        assert_eq!(lines[2][2..], ["1970-01-01T00:01:00Z", "2.0"]);
        assert_eq!(lines[3], ["1970-01-01T00:00:00Z", "3.0"]);
    }

    #[test]
    fn roll_ups_are_shown_in_words() {
        let steps =
            json!([{ "after_days": 15, "step_seconds": 300 }, { "after_days": 90, "step_seconds": 3600 }]);
        let text = shown(&json!({ "name": "m", "series": 1, "kind": "gauge", "roll_ups": steps }));
        assert!(text.contains("after 15 days every 300 s, after 90 days every 3600 s\n"), "{text}");
        assert!(!shown(&json!({ "name": "m", "series": 1, "kind": "gauge" })).contains("roll-ups"));
    }

    #[test]
    fn what_is_no_number_is_no_value() {
        for text in ["NaN", "inf", "1e400", "x", ""] {
            assert!(super::super::number(text).is_err(), "{text}");
        }
        assert_eq!(super::super::number("-1.5e3"), Ok(-1500.0));
    }

    #[test]
    fn what_is_not_said_of_a_metric_stays() {
        let known = |keep_days, roll_up: &[(u32, u32)], no_roll_ups| Known {
            kind: Some(Kind::Count),
            unit: None,
            per_unit: None,
            description: None,
            short_name: None,
            integration: None,
            keep_days,
            roll_up: roll_up.to_vec(),
            no_roll_ups,
        };
        let before = json!({ "name": "m", "series": 3, "kind": "gauge", "unit": "byte" });
        let days = known(Some(Days::Number(9)), &[], false).over(before.clone());
        assert_eq!(days, json!({ "kind": "count", "unit": "byte", "keep_days": 9 }));
        assert_eq!(known(Some(Days::AsTheHost), &[], false).over(days)["keep_days"], Value::Null);
        let rolled = known(None, &[roll_up("15:300").unwrap()], false).over(before);
        let expected = json!([{ "after_days": 15, "step_seconds": 300 }]);
        assert_eq!(rolled, json!({ "kind": "count", "unit": "byte", "roll_ups": expected }));
        assert_eq!(known(None, &[], false).over(rolled.clone())["roll_ups"], expected);
        assert_eq!(known(None, &[], true).over(rolled)["roll_ups"], json!([]));
        assert!(roll_up("15").is_err() && roll_up("x:300").is_err());
    }
}
