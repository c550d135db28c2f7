//! `bellwether metric`.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Limit, query};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output::{self, Column};

/// `bellwether metric`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: MetricCommand,
}

#[derive(Debug, Subcommand)]
enum MetricCommand {
    /// List metrics
    #[command(after_help = "Example:\n  bellwether metric list --contains login")]
    List {
        /// Only names that contain this, letter case ignored
        #[arg(long)]
        contains: Option<String>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one metric
    #[command(after_help = "Example:\n  bellwether metric show logins")]
    Show {
        /// Its name or id; a name of digits alone in quotes: '"2024"'
        metric: String,
    },
    /// Create a metric; one of the same definition that is there already is fine
    #[command(after_help = "\
Examples:
  bellwether metric create logins --data-type sum --interval daily
  bellwether metric create latency --data-type average --interval hourly --keyed --description 'ms by service'")]
    Create {
        /// 1 to 200 characters
        name: String,
        /// How the samples of one interval become its value
        #[arg(long)]
        data_type: DataType,
        /// How long one value gathers samples
        #[arg(long)]
        interval: Interval,
        /// For people
        #[arg(long)]
        description: Option<String>,
        /// Each sample names a key, each key is a series of its own
        #[arg(long)]
        keyed: bool,
    },
    /// Delete a metric with all its values
    #[command(after_help = "Example:\n  bellwether metric delete logins")]
    Delete {
        /// Its name or id; a name of digits alone in quotes: '"2024"'
        metric: String,
    },
    /// List the keys of a keyed metric
    #[command(after_help = "Example:\n  bellwether metric keys latency --contains api")]
    Keys {
        /// Its name or id; a name of digits alone in quotes: '"2024"'
        metric: String,
        /// Only keys that contain this
        #[arg(long)]
        contains: Option<String>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Add a sample
    #[command(after_help = "\
Examples:
  bellwether metric add logins 3
  bellwether metric add latency 12.5 --key api --weight 40 --time 2026-01-31T12:00:00Z
  bellwether metric add starts                                 # one more in a metric of type count")]
    Add {
        /// Its name or id; a name of digits alone in quotes: '"2024"'
        metric: String,
        /// A number; a metric of type count goes without: each of its samples is 1
        #[arg(allow_negative_numbers = true, value_parser = super::number)]
        value: Option<f64>,
        /// The series, for a keyed metric
        #[arg(long)]
        key: Option<String>,
        /// When it happened: RFC 3339, or a day or a time without an offset in the metric's time zone; now, if not said
        #[arg(long)]
        time: Option<String>,
        /// How much it counts in an average
        #[arg(long, value_parser = super::number)]
        weight: Option<f64>,
    },
    /// Read values; without a range, of the present interval
    #[command(after_help = "\
Examples:
  bellwether metric values logins
  bellwether metric values latency --start 2026-01-01 --end 2026-01-31 --key api --key web --fill previous")]
    Values {
        /// Its name or id; a name of digits alone in quotes: '"2024"'
        metric: String,
        /// The first interval is the one that contains this: RFC 3339, or a day or a time without an offset in the
        /// metric's time zone
        #[arg(long, aliases = ["from", "since"])]
        start: Option<String>,
        /// The last interval is the one that contains this, of a day its beginning
        #[arg(long, aliases = ["to", "until"])]
        end: Option<String>,
        /// Only these series; may be repeated
        #[arg(long)]
        key: Vec<String>,
        /// What an interval without samples answers
        #[arg(long)]
        fill: Option<Fill>,
    },
}

/// The body of the request that creates a metric.
pub(crate) fn definition_request(
    name: &str,
    data_type: DataType,
    interval: Interval,
    keyed: bool,
    description: Option<&str>,
) -> Value {
    let mut body =
        json!({ "name": name, "data_type": word(&data_type), "interval": word(&interval), "keyed": keyed });
    if let Some(description) = description {
        body["description"] = description.into();
    }
    body
}

/// How samples become a value.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DataType {
    /// The sum of the values
    Sum,
    /// How many samples there were, whatever their values
    Count,
    /// The smallest value
    Min,
    /// The largest value
    Max,
    /// The value of the earliest sample
    First,
    /// The value of the latest sample
    Last,
    /// The mean, weighted where samples carry weights
    Average,
}

/// How long one value gathers samples.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Interval {
    /// Begins on the hour
    Hourly,
    /// Begins at midnight
    Daily,
    /// Begins on Monday
    Weekly,
    /// Begins on the first of the month
    Monthly,
    /// Begins on the first of January
    Yearly,
}

/// What an interval without samples answers.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Fill {
    /// Nothing
    Gaps,
    /// 0 for sum and count
    Zero,
    /// The value before it, ahead of the range too
    Previous,
}

/// The word the command line and the API share for a choice.
fn word(choice: &impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("TYPE", "/data_type"),
    ("INTERVAL", "/interval"),
    ("KEYED", "/keyed"),
    ("TIME ZONE", "/time_zone"),
    ("CREATED", "/created"),
];
const FIELDS: &[Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("data type", "/data_type"),
    ("interval", "/interval"),
    ("keyed", "/keyed"),
    ("description", "/description"),
    ("time zone", "/time_zone"),
    ("created", "/created"),
];

/// Works on metrics.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        MetricCommand::List { contains, limit } => {
            let metrics =
                client.list(&["v1", "metrics"], &query([("name_contains", contains)]), limit.items()).await?;
            output::listing(format, &metrics, COLUMNS)?;
        }
        MetricCommand::Show { metric } => {
            let metric = client.get(&["v1", "metrics", &metric], &[]).await?;
            output::value(format, &metric, |metric| output::record(metric, FIELDS))?;
        }
        MetricCommand::Create { name, data_type, interval, description, keyed } => {
            let body =
                Body::Json(definition_request(&name, data_type, interval, keyed, description.as_deref()));
            let answer = client.write(Method::POST, &["v1", "metrics"], &[], body).await?;
            output::value(format, &answer, |metric| output::record(metric, FIELDS))?;
        }
        MetricCommand::Delete { metric } => {
            let answer = client.write(Method::DELETE, &["v1", "metrics", &metric], &[], Body::None).await?;
            output::value(format, &answer, |_| format!("{metric} is deleted\n"))?;
        }
        MetricCommand::Keys { metric, contains, limit } => {
            let path = ["v1", "metrics", metric.as_str(), "keys"];
            let keys = client.list(&path, &query([("contains", contains)]), limit.items()).await?;
            output::listing(format, &keys, &[("KEY", "")])?;
        }
        MetricCommand::Add { metric, value, key, time, weight } => {
            let sample = sample(&metric, value, key, time, weight);
            let body = Body::Json(json!({ "samples": [sample], "return_values": true }));
            let answer = client.write(Method::POST, &["v1", "samples"], &[], body).await?;
            output::value(format, &answer, |answer| {
                output::record(
                    &answer["values"][0],
                    &[("interval start", "/interval_start"), ("value", "/value")],
                )
            })?;
        }
        MetricCommand::Values { metric, start, end, key, fill } => {
            let mut query = query([("start", start), ("end", end), ("fill", fill.as_ref().map(word))]);
            query.extend(key.into_iter().map(|key| ("key", key)));
            let values = client.get(&["v1", "metrics", &metric, "values"], &query).await?;
            output::value(format, &values, table_of_values)?;
            let mut all = values["series"].as_array().into_iter().flatten();
            if all.all(|series| series["values"].as_array().is_none_or(Vec::is_empty)) {
                crate::output::note!(
                    "nothing was written in that time; ask for another with --start and --end"
                );
            }
        }
    }
    Ok(())
}

/// A metric as the body of a write names it. Digits are an id; in quotes, as in a path, they are a name.
fn reference(metric: &str) -> Value {
    let quoted = metric.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted.filter(|name| name.parse::<u64>().is_ok()) {
        Some(name) => Value::from(name),
        None => metric.parse::<u64>().map_or_else(|_| Value::from(metric), Value::from),
    }
}

/// One sample of a write.
fn sample(
    metric: &str,
    value: Option<f64>,
    key: Option<String>,
    time: Option<String>,
    weight: Option<f64>,
) -> Value {
    let mut sample = json!({ "metric": reference(metric) });
    let fields = [
        ("value", value.map(Value::from)),
        ("key", key.map(Value::from)),
        ("time", time.map(Value::from)),
        ("weight", weight.map(Value::from)),
    ];
    for (name, field) in fields {
        if let Some(field) = field {
            sample[name] = field;
        }
    }
    sample
}

/// Every value of every series, one per line.
fn table_of_values(answer: &Value) -> String {
    let keyed = answer.pointer("/metric/keyed").and_then(Value::as_bool).unwrap_or(false);
    let mut rows = vec![["START", "KEY", "VALUE", "COUNT"].map(str::to_owned).to_vec()];
    for series in answer["series"].as_array().into_iter().flatten() {
        for value in series["values"].as_array().into_iter().flatten() {
            rows.push(vec![
                output::cell(value.get("start")),
                output::cell(series.get("key")),
                output::cell(value.get("value")),
                output::cell(value.get("count")),
            ]);
        }
    }
    if !keyed {
        rows.iter_mut().for_each(|row| drop(row.remove(1)));
    }
    output::aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_a_line_each_with_the_key_where_there_are_keys() {
        let answer = json!({
            "metric": {"keyed": true},
            "series": [{"key": "a", "values": [{"start": "2026-01-01T00:00:00Z", "value": 3.5, "count": 2}]},
                       {"key": "b", "values": [{"start": "2026-01-01T00:00:00Z", "value": null, "count": 0}]}],
        });
        let text = "START                 KEY  VALUE  COUNT\n2026-01-01T00:00:00Z  a    3.5    2\n2026-01-01T00:00:00Z  b    -      0\n";
        assert_eq!(table_of_values(&answer), text);
        let plain = json!({"metric": {"keyed": false}, "series": [{"values": [{"start": "s", "value": 1, "count": 1}]}]});
        assert_eq!(table_of_values(&plain), "START  VALUE  COUNT\ns      1      1\n");
    }

    #[test]
    fn a_sample_says_only_what_was_given_and_a_number_is_an_id() {
        assert_eq!(sample("7", Some(1.5), None, None, None), json!({"metric": 7, "value": 1.5}));
        assert_eq!(sample("\"7\"", Some(1.5), None, None, None), json!({"metric": "7", "value": 1.5}));
        assert_eq!(
            sample("logins", None, Some("k".to_owned()), None, None),
            json!({"metric": "logins", "key": "k"})
        );
    }
}
