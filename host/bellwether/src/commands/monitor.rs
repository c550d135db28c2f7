//! `bellwether monitor`.

use std::path::{Path, PathBuf};

use bellwether_kernel::counted;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::Limit;
use super::run::instant;
use crate::client::{Body, Client, Connection};
use crate::failure::Failure;
use crate::output::{self, cell};

/// `bellwether monitor`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: MonitorCommand,
}

#[derive(Debug, Subcommand)]
enum MonitorCommand {
    /// List monitors
    #[command(after_help = "Example:\n  bellwether monitor list")]
    List(Limit),
    /// Show one monitor and its document
    #[command(after_help = "Example:\n  bellwether monitor show checkout-errors")]
    #[command(alias = "get")]
    Show {
        /// Its name or id
        monitor: String,
    },
    /// Store a monitor from its document, or the next version of the one of that name
    #[command(after_help = "\
Examples:
  bellwether monitor put checkout-errors.json
  bellwether monitor put checkout-errors.json --if-version 3   # not if somebody changed it meanwhile")]
    Put {
        /// The document, JSON
        file: PathBuf,
        /// Only if the stored monitor is at this version
        #[arg(long, value_name = "NUMBER")]
        if_version: Option<u32>,
    },
    /// Delete a monitor; its incidents close and stay
    #[command(after_help = "Example:\n  bellwether monitor delete checkout-errors")]
    Delete {
        /// Its name or id
        monitor: String,
    },
    /// Evaluate a monitor no more until it is resumed
    #[command(after_help = "Example:\n  bellwether monitor pause checkout-errors")]
    Pause {
        /// Its name or id
        monitor: String,
    },
    /// Go on with a paused monitor
    #[command(after_help = "Example:\n  bellwether monitor resume checkout-errors")]
    Resume {
        /// Its name or id
        monitor: String,
    },
    /// Run a document over stored history: where would it have fired?
    #[command(after_help = "\
Examples:
  bellwether monitor test checkout-errors.json                 # the last day
  bellwether monitor test checkout-errors.json --from 2026-03-01T06:00:00Z --to 2026-03-01T18:00:00Z")]
    Test {
        /// The document, JSON
        file: PathBuf,
        /// From this instant on, or so long ago; by default a day, or less where it is evaluated more than 2000 times a day
        #[arg(long, aliases = ["start", "since"], value_name = "TIME", value_parser = instant)]
        from: Option<Timestamp>,
        /// Up to this instant, or so long ago; up to now if it is not given
        #[arg(long, aliases = ["end", "until"], value_name = "TIME", value_parser = instant)]
        to: Option<Timestamp>,
    },
    /// Show how the series of a monitor stand
    #[command(after_help = "Example:\n  bellwether monitor series checkout-errors")]
    Series {
        /// Its name or id
        monitor: String,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show why a monitor did, or did not, what it did, newest first
    #[command(after_help = "Example:\n  bellwether monitor trace checkout-errors --limit 20")]
    Trace {
        /// Its name or id
        monitor: String,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// List the versions of a monitor, newest first
    #[command(after_help = "Example:\n  bellwether monitor versions checkout-errors")]
    Versions {
        /// Its name or id
        monitor: String,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
}

const FIELDS: &[output::Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("version", "/version"),
    ("kind", "/document/kind"),
    ("query", "/document/query"),
    ("paused", "/document/paused"),
    ("next due", "/next_due"),
    ("evaluated", "/evaluated"),
    ("series", "/series"),
    ("problem", "/problem"),
    ("created", "/created"),
    ("updated", "/updated"),
    ("updated by", "/updated_by"),
    ("good catches", "/feedback/good_catch"),
    ("not interesting", "/feedback/not_interesting"),
    ("of these no anomalies", "/feedback/not_an_anomaly"),
];

/// Works on monitors.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        MonitorCommand::List(limit) => {
            let monitors = client.list(&["v1", "monitors"], &[], limit.items()).await?;
            let columns = [
                ("ID", "/id"),
                ("NAME", "/name"),
                ("VERSION", "/version"),
                ("KIND", "/document/kind"),
                ("PAUSED", "/document/paused"),
                ("EVALUATED", "/evaluated"),
                ("PROBLEM", "/problem"),
            ];
            output::listing(format, &monitors, &columns)?;
        }
        MonitorCommand::Show { monitor } => {
            let monitor = client.get(&["v1", "monitors", &monitor], &[]).await?;
            output::value(format, &monitor, |monitor| {
                format!("{}\n{:#}\n", output::record(monitor, FIELDS), monitor["document"])
            })?;
        }
        MonitorCommand::Put { file, if_version } => {
            let document = document(&file)?;
            let name = document["name"].as_str().unwrap_or_default().to_owned();
            // Whether there is one of that name decides between a new monitor and the next version.
            let known = match name.is_empty() {
                true => false,
                false => match client.get(&["v1", "monitors", &name], &[]).await {
                    Ok(_) => true,
                    Err(failure) if failure.is_not_found() => false,
                    Err(failure) => return Err(failure),
                },
            };
            let body = Body::Json(document);
            let answer = if known || if_version.is_some() {
                let query = super::query([("version", if_version.map(|version| version.to_string()))]);
                client.write(Method::PUT, &["v1", "monitors", &name], &query, body).await?
            } else {
                client.write(Method::POST, &["v1", "monitors"], &[], body).await?
            };
            output::value(format, &answer, |monitor| output::record(monitor, FIELDS))?;
            super::warn(&answer);
        }
        MonitorCommand::Delete { monitor } => {
            let answer = client.write(Method::DELETE, &["v1", "monitors", &monitor], &[], Body::None).await?;
            output::value(format, &answer, |_| format!("{} is deleted\n", cell(Some(&monitor.into()))))?;
        }
        MonitorCommand::Pause { monitor } => {
            let path = ["v1", "monitors", &monitor, "pause"];
            let answer = client.write(Method::POST, &path, &[], Body::None).await?;
            output::value(format, &answer, |monitor| output::record(monitor, FIELDS))?;
        }
        MonitorCommand::Resume { monitor } => {
            let path = ["v1", "monitors", &monitor, "resume"];
            let answer = client.write(Method::POST, &path, &[], Body::None).await?;
            output::value(format, &answer, |monitor| output::record(monitor, FIELDS))?;
        }
        MonitorCommand::Test { file, from, to } => {
            let body = json!({ "document": document(&file)?, "from": from, "to": to });
            let answer = client.write(Method::POST, &["v1", "monitor-tests"], &[], Body::Json(body)).await?;
            output::value(format, &answer, describe_test)?;
        }
        MonitorCommand::Series { monitor, limit } => {
            let series = client.list(&["v1", "monitors", &monitor, "series"], &[], limit.items()).await?;
            let columns = [
                ("SERIES", "/series"),
                ("LEVEL", "/level"),
                ("MISSING", "/missing"),
                ("VALUE", "/value"),
                ("LAST POINT", "/last_point"),
                ("PENDING", "/pending"),
                ("OPEN SINCE", "/breach/started"),
                ("NOT LOOKED AT", "/quiet"),
            ];
            output::listing(format, &series, &columns)?;
        }
        MonitorCommand::Trace { monitor, limit } => {
            let decisions = client.list(&["v1", "monitors", &monitor, "trace"], &[], limit.items()).await?;
            match format {
                output::Format::Json => output::listing(format, &decisions, &[])?,
                output::Format::Text => output::print(&describe_decisions(&decisions.items))?,
            }
        }
        MonitorCommand::Versions { monitor, limit } => {
            let versions = client.list(&["v1", "monitors", &monitor, "versions"], &[], limit.items()).await?;
            let columns = [("VERSION", "/version"), ("CREATED", "/created"), ("CREATED BY", "/created_by")];
            output::listing(format, &versions, &columns)?;
        }
    }
    Ok(())
}

/// Says which of these monitors are not there: what is about them alone is about nothing.
pub(super) async fn warn_of_monitors(client: &Client, names: &[String]) {
    for name in names {
        if client.get(&["v1", "monitors", name], &[]).await.is_err_and(|failure| failure.is_not_found()) {
            crate::output::note!("warning: there is no monitor {name:?}");
        }
    }
}

fn document(file: &Path) -> Result<Value, Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::Usage(format!("{} does not read: {error}; give a monitor's document, JSON", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

/// Where a monitor would have fired.
fn describe_test(tested: &Value) -> String {
    let incidents = tested["incidents"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = format!(
        "{} of {} series: it would have fired {}\n",
        counted(tested["evaluations"].as_u64().unwrap_or_default(), "evaluation"),
        cell(tested.get("series")),
        counted(incidents.len(), "time")
    );
    if !incidents.is_empty() {
        let columns = [
            ("OPENED", "/opened"),
            ("CLOSED", "/closed"),
            ("SEVERITY", "/severity"),
            ("TITLE", "/title"),
            ("BECAUSE", "/close_reason"),
        ];
        text.push('\n');
        text.push_str(&output::table(incidents, &columns));
    }
    if tested["more"] == true {
        text.push_str("\nthere was more; try less time\n");
    }
    text
}

/// What evaluations decided: a line for each, and one for each of its reasons.
fn describe_decisions(decisions: &[Value]) -> String {
    let mut text = String::new();
    for decision in decisions {
        text.push_str(&format!("{} ({} series)\n", cell(decision.get("time")), cell(decision.get("series"))));
        if let Some(problem) = decision.get("problem").filter(|problem| !problem.is_null()) {
            text.push_str(&format!("  failed: {}\n", cell(Some(problem))));
        }
        for line in decision["lines"].as_array().into_iter().flatten() {
            let part = |name: &str| cell(line.get(name));
            text.push_str(&format!("  {} {}: {}\n", part("subject"), part("what"), part("why")));
        }
        if let Some(more) = decision["more"].as_u64().filter(|more| *more > 0) {
            text.push_str(&format!("  and {more} more\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_says_how_often_it_would_have_fired() {
        let tested = json!({"evaluations": 60, "series": 2, "more": false, "incidents": [
            {"opened": "2026-03-01T06:00:00Z", "closed": null, "severity": "high", "title": "Load: host:a"}]});
        let text = describe_test(&tested);
        assert!(text.starts_with("60 evaluations of 2 series: it would have fired 1 time\n"), "{text}");
        assert!(text.contains("2026-03-01T06:00:00Z") && text.contains("Load: host:a"), "{text}");
    }

    #[test]
    fn a_trace_gives_each_reason_a_line() {
        let decisions = [json!({"time": "2026-03-01T06:00:00Z", "series": 2, "more": 3, "lines": [
            {"subject": "host:a", "what": "held", "why": "it breaches for 60 s, 180 s are needed"}]})];
        let expected = "2026-03-01T06:00:00Z (2 series)\n  host:a held: it breaches for 60 s, 180 s are needed\n  and 3 more\n";
        assert_eq!(describe_decisions(&decisions), expected);
    }
}
