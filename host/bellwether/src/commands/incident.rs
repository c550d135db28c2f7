//! `bellwether incident`.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::Limit;
use super::run::instant;
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output::{self, cell};

/// `bellwether incident`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: IncidentCommand,
}

#[derive(Debug, Subcommand)]
enum IncidentCommand {
    /// List incidents, those that opened last first
    #[command(after_help = "\
Examples:
  bellwether incident list --state open
  bellwether incident list --monitor checkout-errors --since 1d --severity high")]
    List(Filter),
    /// Show an incident, the breaches it is made of, and what happened to it
    #[command(after_help = "Example:\n  bellwether incident get 01958f0c-0000-7000-8000-000000000000")]
    Get {
        /// Its id
        incident: String,
    },
    /// Say that an incident is known: it is not told again until it becomes worse
    #[command(after_help = "Example:\n  bellwether incident ack 01958f0c-0000-7000-8000-000000000000")]
    Ack {
        /// Its id
        incident: String,
    },
    /// Say who looks after an incident; nobody, without a name
    #[command(
        after_help = "Example:\n  bellwether incident assign 01958f0c-0000-7000-8000-000000000000 grace"
    )]
    Assign {
        /// Its id
        incident: String,
        /// Who
        assignee: Option<String>,
    },
    /// Say something about an incident
    #[command(
        after_help = "Example:\n  bellwether incident comment 01958f0c-0000-7000-8000-000000000000 'A disk is full.'"
    )]
    Comment {
        /// Its id
        incident: String,
        /// What
        text: String,
    },
}

/// Which incidents.
#[derive(Args, Debug)]
struct Filter {
    /// Only in this state
    #[arg(long, value_parser = ["open", "closed"])]
    state: Option<String>,
    /// Only of this monitor, by name or id
    #[arg(long)]
    monitor: Option<String>,
    /// Only so severe ones, or worse
    #[arg(long, value_parser = ["info", "low", "medium", "high", "critical"])]
    severity: Option<String>,
    /// Only with this label, as in team:web; may be repeated
    #[arg(long, value_name = "NAME:VALUE")]
    label: Vec<String>,
    /// Only those this one looks after
    #[arg(long)]
    assignee: Option<String>,
    /// Only opened since this instant, or so long ago
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// Only opened before this instant, or so long ago
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// How much.
    #[command(flatten)]
    limit: Limit,
}

const FIELDS: &[output::Column] = &[
    ("id", "/id"),
    ("title", "/title"),
    ("message", "/message"),
    ("state", "/state"),
    ("severity", "/severity"),
    ("level", "/level"),
    ("monitor", "/monitor_name"),
    ("started", "/started"),
    ("opened", "/opened"),
    ("closed", "/closed"),
    ("because", "/close_reason"),
    ("channels", "/channels"),
    ("told", "/told"),
    ("acknowledged by", "/acknowledged_by"),
    ("assignee", "/assignee"),
    ("open series", "/open_series"),
];

/// Works on incidents.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    let (incident, how, body) = match arguments.command {
        IncidentCommand::List(filter) => {
            let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
            let mut query = super::query([
                ("state", filter.state),
                ("monitor", filter.monitor),
                ("severity", filter.severity),
                ("assignee", filter.assignee),
                ("since", time(filter.since)),
                ("until", time(filter.until)),
            ]);
            query.extend(filter.label.into_iter().map(|label| ("label", label)));
            let incidents = client.list(&["v1", "incidents"], &query, filter.limit.items()).await?;
            let columns = [
                ("ID", "/id"),
                ("STATE", "/state"),
                ("SEVERITY", "/severity"),
                ("OPENED", "/opened"),
                ("CLOSED", "/closed"),
                ("TITLE", "/title"),
                ("ASSIGNEE", "/assignee"),
            ];
            output::listing(format, &incidents, &columns)?;
            return Ok(());
        }
        IncidentCommand::Get { incident } => {
            let mut whole = client.get(&["v1", "incidents", &incident], &[]).await?;
            let trace = client.list(&["v1", "incidents", &incident, "trace"], &[], 1_000).await?;
            whole["trace"] = trace.items.into();
            output::value(format, &whole, describe)?;
            return Ok(());
        }
        IncidentCommand::Ack { incident } => (incident, "acknowledge", Body::None),
        IncidentCommand::Assign { incident, assignee } => {
            (incident, "assign", Body::Json(json!({ "assignee": assignee })))
        }
        IncidentCommand::Comment { incident, text } => {
            (incident, "comments", Body::Json(json!({ "text": text })))
        }
    };
    let answer = client.write(Method::POST, &["v1", "incidents", &incident, how], &[], body).await?;
    output::value(format, &answer, |incident| output::record(incident, FIELDS))?;
    Ok(())
}

/// An incident, its breaches, and what happened to it.
fn describe(incident: &Value) -> String {
    let columns = [
        ("SERIES", "/series"),
        ("LEVEL", "/level"),
        ("STARTED", "/started"),
        ("ENDED", "/ended"),
        ("VALUE", "/value"),
        ("PEAK ABOVE", "/upper/peak"),
        ("PEAK BELOW", "/lower/peak"),
        ("SCORE", "/score"),
    ];
    let items = |name: &str| incident[name].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = output::record(incident, FIELDS);
    text.push('\n');
    text.push_str(&output::table(items("intervals"), &columns));
    text.push('\n');
    for note in items("trace") {
        let part = |name: &str| note.get(name).filter(|part| !part.is_null()).map(|part| cell(Some(part)));
        let by = part("by").map(|by| format!(" by {by}")).unwrap_or_default();
        let said = part("text").filter(|said| !said.is_empty()).map(|said| format!(": {said}"));
        let (time, what) = (cell(note.get("time")), cell(note.get("what")));
        text.push_str(&format!("{time} {what}{by}{}\n", said.unwrap_or_default()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_shown_with_its_breaches_and_what_happened() {
        let incident = json!({
            "id": "i", "title": "Load: host:a", "state": "open",
            "intervals": [{"series": "host:a", "level": "alert", "upper": {"peak": 99.0}}],
            "trace": [
                {"time": "2026-03-01T06:00:00Z", "what": "opened", "text": "host:a opened"},
                {"time": "2026-03-01T06:01:00Z", "what": "acknowledged", "by": "ada", "text": ""},
            ],
        });
        let text = describe(&incident);
        for expected in [
            "title:  Load: host:a\n",
            "2026-03-01T06:00:00Z opened: host:a opened\n",
            "2026-03-01T06:01:00Z acknowledged by ada\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
