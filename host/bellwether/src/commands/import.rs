//! `bellwether import csv`.

use std::path::PathBuf;

use anyhow::Context as _;
use bellwether_kernel::{Randomness, SystemRandomness, counted};
use clap::{Args, Subcommand};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::Value;

use super::metric::{DataType, Interval, definition_request};
use crate::client::{Body, Client, Connection};
use crate::failure::Failure;
use crate::import::load::{self, BadLines};
use crate::import::progress::{Identity, Lock, Progress};
use crate::import::report::{Report, Summary};
use crate::import::source::{Columns, METRIC, Source, TAG, TagColumn, expectation, fingerprint, is_within};
use crate::import::time::{TimeFormat, TimeReader};
use crate::output::{self, Format};

/// A host repeats its answer to an `Idempotency-Key` for 24 hours; an hour less leaves room for clocks that differ.
const HOST_REMEMBERS: SignedDuration = SignedDuration::from_hours(23);

/// `bellwether import`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: ImportCommand,
}

#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Load a CSV file: each row is a sample
    #[command(after_help = "\
Examples:
  bellwether import csv cpu.csv --metric cpu --time timestamp --value value \\
      --create --data-type average --interval hourly
  bellwether import csv sales.csv --metric sales --time when --value amount --key shop \\
      --time-format '%d/%m/%Y %H:%M' --time-zone Europe/Berlin --delimiter ';' --bad-lines skip
  bellwether import csv load.csv --series --metric system.load.1 --time timestamp --value value \\
      --tag-column host --tag-column env=environment --tag source:archive

An import that was interrupted goes on where it stopped when the same command is given again; nothing is added \
twice. How far it came is kept in FILE.bellwether-import.json, for one import at a time.")]
    Csv(Box<Csv>),
}

#[derive(Args, Debug)]
struct Csv {
    /// The file; its first line names the columns
    file: PathBuf,
    /// The metric's name
    #[arg(long, required_unless_present = "metric_column")]
    metric: Option<String>,
    /// Samples of tagged series instead of an interval metric's
    #[arg(long, requires = "value", conflicts_with_all = ["key", "weight", "create"])]
    series: bool,
    /// With --series: the column with the metric's name
    #[arg(long, value_name = "COLUMN", requires = "series", conflicts_with = "metric")]
    metric_column: Option<String>,
    /// With --series: a column that is a tag, KEY=COLUMN where its key is another; an empty field is no tag; may be
    /// repeated
    #[arg(long, value_name = "COLUMN", requires = "series", value_parser = tag_column)]
    tag_column: Vec<TagColumn>,
    /// With --series: a tag of every row, key:value or a word; may be repeated
    #[arg(long, requires = "series", value_parser = tag)]
    tag: Vec<String>,
    /// The column that says when
    #[arg(long, value_name = "COLUMN")]
    time: String,
    /// The column with the number; a metric of type count goes without: each row is 1
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
    /// The column with the series' key, for a keyed metric
    #[arg(long, value_name = "COLUMN")]
    key: Option<String>,
    /// The column that says how much a sample counts in an average
    #[arg(long, value_name = "COLUMN")]
    weight: Option<String>,
    /// auto, rfc3339, seconds, milliseconds or a pattern of strftime. auto reads RFC 3339, YYYY-MM-DD HH:MM:SS, and
    /// seconds or milliseconds since 1970
    #[arg(long, default_value = "auto", value_name = "FORMAT")]
    time_format: String,
    /// The zone of times that name none, an IANA name. A time its clocks skip is a bad line, one they show twice the first
    /// of the two
    #[arg(long, default_value = "UTC", value_name = "ZONE")]
    time_zone: String,
    /// What separates fields; \t is a tab
    #[arg(long, default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// Create the metric if it is not there
    #[arg(long, requires_all = ["data_type", "interval"])]
    create: bool,
    /// With --create: how the samples of one interval become its value
    #[arg(long, requires = "create")]
    data_type: Option<DataType>,
    /// With --create: how long one value gathers samples
    #[arg(long, requires = "create")]
    interval: Option<Interval>,
    /// What a bad line does
    #[arg(long, value_enum, default_value_t = BadLines::Fail)]
    bad_lines: BadLines,
    /// Samples of one request; fewer where the host finds one too large
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// Begin at the first line, whatever was imported before: adds those rows once more
    #[arg(long)]
    restart: bool,
    /// Go on with an import so old that the host no longer knows whether it has the next batch already
    #[arg(long)]
    resume_anyway: bool,
    /// Where to keep how far the import came
    #[arg(long, value_name = "FILE")]
    progress_file: Option<PathBuf>,
}

/// Imports a file.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let ImportCommand::Csv(csv) = arguments.command;
    let format = Format::from(arguments.connection.json);
    let mut source = Source::open(&csv.file, csv.delimiter, &csv.columns(), csv.times()?)?;
    let kept = csv.progress_file.clone().unwrap_or_else(|| Progress::beside(&csv.file));
    // Held to the end: two that write one progress would send each other's rows again.
    let _lock = Lock::take(&kept)?;
    let mut report = Report::new(format, source.length());
    let client = arguments.connection.patient_client()?;
    let organisation = organisation(&client).await?;
    let mut unchecked = csv.bad_lines == BadLines::Fail;
    let metric_made = match &csv.metric {
        Some(name) if !csv.series => {
            // A file that is refused leaves no metric behind.
            if csv.create && unchecked && !is_there(&client, name).await? {
                load::check(&mut source, &mut report)?;
                unchecked = false;
            }
            let metric = metric(&client, &csv, name).await?;
            format!("{} {}", metric["id"], metric["created"].as_str().unwrap_or_default())
        }
        _ => {
            let own = client.get(&["v1", "organisation"], &[]).await?;
            own["created"].as_str().unwrap_or_default().to_owned()
        }
    };
    let identity = Identity {
        file: fingerprint(&csv.file).with_context(|| format!("{} does not read", csv.file.display()))?,
        organisation,
        series: csv.series,
        metric: csv.metric.clone().unwrap_or_default(),
        metric_made,
        tags: csv.tag.clone(),
        columns: csv.columns(),
        time_format: csv.time_format.clone(),
        time_zone: csv.time_zone.clone(),
        delimiter: csv.delimiter.into(),
        batch: csv.batch.into(),
        attempt: random_word(),
    };
    let before = if csv.restart { None } else { Progress::load(&kept)? };
    let mut progress =
        match before.map(|before| to_go_on_with(before, &identity, &csv)).transpose()?.flatten() {
            Some(before) => before,
            None => {
                if unchecked {
                    load::check(&mut source, &mut report)?;
                }
                // The batches' keys hang on what is kept here, so it is there before the first is sent.
                let beginning = Progress::beginning(identity, source.place());
                beginning.save(&kept).with_context(|| {
                    format!("{} does not write; name another place with --progress-file", kept.display())
                })?;
                beginning
            }
        };
    let (resumed_after, already_imported) = (progress.read, progress.finished);
    load::load(&client, &mut source, &mut progress, &kept, csv.bad_lines, &mut report).await?;
    let summary = Summary {
        file: csv.file.display().to_string(),
        metric: csv.metric,
        metric_column: csv.metric_column,
        read: progress.read,
        written: progress.written,
        skipped: progress.skipped,
        resumed_after,
        already_imported,
        bad_lines: report.end(),
    };
    let value = serde_json::to_value(&summary).context("a summary is JSON")?;
    Ok(output::value(format, &value, |_| tell(&summary))?)
}

impl Csv {
    fn columns(&self) -> Columns {
        Columns {
            time: self.time.clone(),
            value: self.value.clone(),
            key: self.key.clone(),
            weight: self.weight.clone(),
            metric: self.metric_column.clone(),
            tags: self.tag_column.clone(),
        }
    }

    fn times(&self) -> Result<TimeReader, Failure> {
        let zone = TimeZone::get(&self.time_zone).map_err(|_| {
            Failure::Usage(format!(
                "--time-zone is {:?}, expected an IANA time zone such as Europe/Berlin",
                self.time_zone
            ))
        })?;
        let format = self.time_format.parse::<TimeFormat>().map_err(|expected| {
            Failure::Usage(format!("--time-format is {:?}, expected {expected}", self.time_format))
        })?;
        Ok(TimeReader::new(format, zone))
    }
}

/// The organisation the key belongs to.
async fn organisation(client: &Client) -> Result<String, Failure> {
    let caller = client.get(&["v1", "whoami"], &[]).await?;
    caller.pointer("/organisation/name").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
        Failure::Usage(
            "the key is the operator's, whose host keeps no metrics for it; use one of an organisation"
                .to_owned(),
        )
    })
}

/// Whether there is a metric of this name.
async fn is_there(client: &Client, name: &str) -> Result<bool, Failure> {
    // Digits alone would be an id.
    let quoted = format!("\"{name}\"");
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    match client.get(&["v1", "metrics", if digits { &quoted } else { name }], &[]).await {
        Err(Failure::Refused(problem)) if problem.status == 404 => Ok(false),
        other => other.map(|_| true),
    }
}

/// The metric, made if asked; refuses columns that do not go with it before anything is sent.
async fn metric(client: &Client, csv: &Csv, name: &str) -> Result<Value, Failure> {
    let metric = match (csv.create, csv.data_type, csv.interval) {
        (true, Some(data_type), Some(interval)) => {
            let body = definition_request(name, data_type, interval, csv.key.is_some(), None);
            client.write(Method::POST, &["v1", "metrics"], &[], Body::Json(body)).await?
        }
        _ => match client.get(&["v1", "metrics", name], &[]).await {
            Err(Failure::Refused(problem)) if problem.status == 404 => {
                return Err(Failure::Usage(format!(
                    "there is no metric {name:?}; make it with --create --data-type … --interval …, or load tagged series \
                     with --series"
                )));
            }
            other => other?,
        },
    };
    let usage = |message: &str| Err(Failure::Usage(format!("the metric {name:?} {message}")));
    if metric["name"].as_str() != Some(name) {
        return usage("is the id of one: give its name");
    }
    match (metric["keyed"].as_bool().unwrap_or(false), &csv.key) {
        (true, None) => return usage("is keyed: name the column of the keys with --key"),
        (false, Some(_)) => return usage("is not keyed: leave --key out"),
        _ => {}
    }
    match (&csv.value, metric["data_type"] == "count") {
        (None, false) => return usage("is not of type count: name the column of the values with --value"),
        (Some(_), true) => {
            return usage(
                "is of type count, in which every row is 1 whatever its value: leave --value out, or import into one of type sum",
            );
        }
        _ => {}
    }
    Ok(metric)
}

/// The progress to go on with, `None` to begin at the first line. An import that would add rows a second time is
/// refused unless asked for.
fn to_go_on_with(before: Progress, now: &Identity, csv: &Csv) -> Result<Option<Progress>, Failure> {
    let refused = |message: String| Err(Failure::Usage(message));
    let file = csv.file.display();
    match before.identity.difference(now) {
        Some(Identity::CONTENT) => refused(format!(
            "{file} has changed since its import on {}: going on would miss rows or add some twice. Import the new rows \
             as a file of their own, or all of them once more with --restart",
            before.saved
        )),
        Some(Identity::BATCH) if before.finished => Ok(Some(before)),
        Some(_) if before.finished => Ok(None),
        Some(what) => refused(format!(
            "an import of {file} was interrupted at line {}, and {what} was another then; give the same options to go \
             on, or --restart to begin anew",
            before.place.line
        )),
        None if before.finished => Ok(Some(before)),
        // A sample of a series that is written twice is there once.
        None if jiff::Timestamp::now().duration_since(before.saved) > HOST_REMEMBERS
            && !csv.resume_anyway
            && !csv.series =>
        {
            refused(format!(
                "the import of {file} was interrupted on {} at line {}, so long ago that the host may not know whether \
                 it has the {} lines after it; if they are not there, go on with --resume-anyway",
                before.saved, before.place.line, before.identity.batch
            ))
        }
        None => Ok(Some(before)),
    }
}

fn tell(summary: &Summary) -> String {
    let Summary { file, read, written, skipped, resumed_after, already_imported, .. } = summary;
    let metric = match (&summary.metric, &summary.metric_column) {
        (None, Some(column)) => format!("the metrics that the column {column:?} names"),
        (metric, _) => metric.clone().unwrap_or_default(),
    };
    let written = counted(*written, "sample");
    if *already_imported {
        return format!(
            "{file} was imported before: {written} in {metric}. Nothing was added; --restart adds them once more\n"
        );
    }
    let resumed = match resumed_after {
        0 => String::new(),
        rows => format!(" (went on after {rows})"),
    };
    let read = counted(*read, "row");
    format!("{file}: {read} read{resumed}, {written} written to {metric}, {skipped} left out\n")
}

/// 128 random bits as text.
fn random_word() -> String {
    let mut bytes = [0; 16];
    SystemRandomness.fill(&mut bytes);
    data_encoding::HEXLOWER.encode(&bytes)
}

/// A column that is a tag: `host`, or `env=environment`.
fn tag_column(text: &str) -> Result<TagColumn, String> {
    let (key, column) = text.split_once('=').unwrap_or((text, text));
    if column.is_empty() || key.contains([':', ',']) || !is_within(key, METRIC) {
        return Err("use a column's name, or KEY=COLUMN".to_owned());
    }
    Ok(TagColumn { key: key.to_owned(), column: column.to_owned() })
}

/// A tag as hosts take it.
fn tag(text: &str) -> Result<String, String> {
    if text.starts_with(':') || !is_within(text, TAG) {
        return Err(format!("use key:value or a word: {}", expectation(TAG)));
    }
    Ok(text.to_owned())
}

/// One ASCII character, or `\t`.
fn delimiter(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("\\t", _) => Ok(b'\t'),
        (_, [byte]) if byte.is_ascii() && *byte != b'\n' && *byte != b'"' => Ok(*byte),
        _ => Err("use one ASCII character, or \\t".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_the_metric_and_of_several_the_column_that_says_which() {
        for (metric, column, told) in [
            (Some("load"), None, "3 samples written to load, 1 left out"),
            (
                None,
                Some("name"),
                "3 samples written to the metrics that the column \"name\" names, 1 left out",
            ),
        ] {
            let summary = Summary {
                file: "a.csv".to_owned(),
                metric: metric.map(str::to_owned),
                metric_column: column.map(str::to_owned),
                read: 4,
                written: 3,
                skipped: 1,
                resumed_after: 0,
                already_imported: false,
                bad_lines: Vec::new(),
            };
            assert_eq!(tell(&summary), format!("a.csv: 4 rows read, {told}\n"));
            let again = tell(&Summary { already_imported: true, ..summary });
            let into = metric.unwrap_or("the metrics that the column \"name\" names");
            assert!(again.contains(&format!("3 samples in {into}. Nothing was added")), "{again}");
        }
    }
}
