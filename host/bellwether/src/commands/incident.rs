//! `bellwether incident`.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::Limit;
use super::mute::{instant as time, lasting, span};
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
  bellwether incident list --state open --acknowledged=false
  bellwether incident list --monitor checkout-errors --since 1d --severity high")]
    List(Filter),
    /// Show an incident, the breaches it is made of, the events that belong to it, and what happened to it
    #[command(after_help = "Example:\n  bellwether incident show 01958f0c-0000-7000-8000-000000000000")]
    #[command(alias = "get")]
    Show {
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
    /// Look at its series no more until a time: an entry of the calendar, to be deleted to wake them
    #[command(after_help = "\
Examples:
  bellwether incident snooze 01958f0c-0000-7000-8000-000000000000 --for 2h
  bellwether incident snooze 01958f0c-0000-7000-8000-000000000000 --series host:web-1 --until 2026-03-02T08:00:00Z")]
    Snooze {
        /// Its id
        incident: String,
        /// So long
        #[arg(long = "for", value_name = "SPAN", value_parser = span, required_unless_present = "until")]
        lasting: Option<Box<jiff::Span>>,
        /// Or until this instant
        #[arg(long, aliases = ["end", "to"], value_name = "TIME", value_parser = time, conflicts_with = "lasting")]
        until: Option<Timestamp>,
        /// This series of those that breach alone, as its breaches name it
        #[arg(long)]
        series: Option<String>,
    },
    /// Say what you think of an incident, also after it is over; each key thinks one thing
    #[command(after_help = "\
Examples:
  bellwether incident judge 01958f0c-0000-7000-8000-000000000000 good-catch
  bellwether incident judge 01958f0c-0000-7000-8000-000000000000 not-an-anomaly 'It is Monday.'
  bellwether incident judge 01958f0c-0000-7000-8000-000000000000 --withdraw")]
    Judge {
        /// Its id
        incident: String,
        /// What
        #[arg(value_parser = OPINIONS, required_unless_present = "withdraw")]
        opinion: Option<String>,
        /// More of it
        #[arg(default_value = "", hide_default_value = true)]
        text: String,
        /// Take back what the key thought
        #[arg(long, conflicts_with = "opinion")]
        withdraw: bool,
    },
    /// List what people thought of incidents, of those first that opened last
    #[command(
        after_help = "Example:\n  bellwether incident feedback --monitor checkout-errors --opinion not-an-anomaly"
    )]
    Feedback {
        /// Only on this incident
        #[arg(long)]
        incident: Option<String>,
        /// Only on incidents of this monitor, by name or id
        #[arg(long)]
        monitor: Option<String>,
        /// Only this one
        #[arg(long, value_parser = OPINIONS)]
        opinion: Option<String>,
        /// Only since this instant, or so long ago
        #[arg(long, aliases = ["from", "start"], value_name = "TIME", value_parser = instant)]
        since: Option<Timestamp>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Close an incident; what breaches still at the next evaluation opens another
    #[command(after_help = "Example:\n  bellwether incident resolve 01958f0c-0000-7000-8000-000000000000")]
    Resolve {
        /// Its id
        incident: String,
    },
    /// List what may be done about an incident, and how often its links were followed
    #[command(after_help = "Example:\n  bellwether incident actions 01958f0c-0000-7000-8000-000000000000")]
    Actions {
        /// Its id
        incident: String,
    },
    /// Do something about an incident: start the playbook, or call the app, that its monitor names
    #[command(
        after_help = "Example:\n  bellwether incident act 01958f0c-0000-7000-8000-000000000000 restart --wait 30"
    )]
    Act {
        /// Its id
        incident: String,
        /// Which action
        action: String,
        /// Wait so many seconds for its end, at most 60
        #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=60))]
        wait: u32,
    },
}

/// What somebody can think.
const OPINIONS: [&str; 5] =
    ["good-catch", "not-interesting", "no-business-impact", "incorrect-data", "not-an-anomaly"];

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
    /// Only those somebody acknowledged; with `=false` those nobody did
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    acknowledged: Option<bool>,
    /// Only those this one looks after
    #[arg(long)]
    assignee: Option<String>,
    /// Only opened since this instant, or so long ago
    #[arg(long, aliases = ["from", "start"], value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    /// Only opened before this instant, or so long ago
    #[arg(long, aliases = ["end", "to"], value_name = "TIME", value_parser = instant)]
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
    ("worst", "/worst"),
    ("level", "/level"),
    ("monitor", "/monitor_name"),
    ("started", "/started"),
    ("opened", "/opened"),
    ("closed", "/closed"),
    ("because", "/close_reason"),
    ("channels", "/channels"),
    ("acknowledged by", "/acknowledged_by"),
    ("assignee", "/assignee"),
    ("open series", "/open_series"),
    ("told as one with", "/merged"),
];

const FEEDBACK: &[output::Column] = &[
    ("incident", "/incident"),
    ("monitor", "/monitor_name"),
    ("opinion", "/opinion"),
    ("text", "/text"),
    ("score", "/score"),
    ("by", "/by"),
    ("updated", "/updated"),
];

const ACT: &[output::Column] =
    &[("action", "/action"), ("state", "/state"), ("run", "/run"), ("text", "/text"), ("note", "/note")];

/// What may be done about an incident.
fn offers(offered: &Value) -> String {
    let items = |name: &str| offered[name].as_array().map_or(&[][..], Vec::as_slice);
    let actions = [
        ("ACTION", "/name"),
        ("LABEL", "/label"),
        ("PLAYBOOK", "/playbook"),
        ("APP", "/app"),
        ("BY LINK", "/by_link"),
        ("CLICKS", "/clicks"),
        ("RUNNING", "/running"),
    ];
    let links = [("LINK", "/name"), ("LABEL", "/label"), ("URL", "/url"), ("CLICKS", "/clicks")];
    format!("{}\n{}", output::table(items("actions"), &actions), output::table(items("links"), &links))
}

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
                ("acknowledged", filter.acknowledged.map(|known| known.to_string())),
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
        IncidentCommand::Show { incident } => {
            let mut whole = client.get(&["v1", "incidents", &incident], &[]).await?;
            let trace = client.list(&["v1", "incidents", &incident, "trace"], &[], 1_000).await?;
            let events = client.get(&["v1", "incidents", &incident, "events"], &[]).await?;
            whole["trace"] = trace.items.into();
            whole["events"] = events;
            output::value(format, &whole, describe)?;
            return Ok(());
        }
        IncidentCommand::Snooze { incident, lasting, until, series } => {
            let until = until.map_or_else(|| self::lasting(None, lasting), |until| Ok(Some(until)))?;
            let body = Body::Json(json!({ "until": until, "series": series }));
            let path = ["v1", "incidents", &incident, "snooze"];
            let answer = client.write(Method::POST, &path, &[], body).await?;
            output::value(format, &answer, |entry| output::record(entry, super::calendar::FIELDS))?;
            return Ok(());
        }
        IncidentCommand::Judge { incident, opinion, text, .. } => {
            let path = ["v1", "incidents", &incident, "feedback"];
            let (method, body) = match opinion {
                Some(opinion) => (Method::PUT, Body::Json(json!({ "opinion": opinion, "text": text }))),
                None => (Method::DELETE, Body::None),
            };
            let is_withdrawn = method == Method::DELETE;
            let answer = client.write(method, &path, &[], body).await?;
            output::value(format, &answer, |feedback| match is_withdrawn {
                true => "it is taken back\n".to_owned(),
                false => output::record(feedback, FEEDBACK),
            })?;
            return Ok(());
        }
        IncidentCommand::Feedback { incident, monitor, opinion, since, limit } => {
            let since = since.map(|since| since.to_string());
            let query = super::query([
                ("incident", incident),
                ("monitor", monitor),
                ("opinion", opinion),
                ("since", since),
            ]);
            let found = client.list(&["v1", "feedback"], &query, limit.items()).await?;
            let columns = [
                ("INCIDENT", "/incident"),
                ("MONITOR", "/monitor_name"),
                ("OPINION", "/opinion"),
                ("BY", "/by"),
                ("UPDATED", "/updated"),
                ("SCORE", "/score"),
                ("TEXT", "/text"),
            ];
            output::listing(format, &found, &columns)?;
            return Ok(());
        }
        IncidentCommand::Actions { incident } => {
            let offered = client.get(&["v1", "incidents", &incident, "actions"], &[]).await?;
            output::value(format, &offered, offers)?;
            return Ok(());
        }
        IncidentCommand::Act { incident, action, wait } => {
            let path = ["v1", "incidents", &incident, "actions", &action];
            let query = if wait > 0 { vec![("wait", wait.to_string())] } else { Vec::new() };
            let act = client.write(Method::POST, &path, &query, Body::None).await?;
            output::value(format, &act, |act| output::record(act, ACT))?;
            return match act["state"].as_str() {
                Some("failed") => Err(Failure::Failed(anyhow::anyhow!("the action {action} failed"))),
                _ => Ok(()),
            };
        }
        IncidentCommand::Ack { incident } => (incident, "acknowledge", Body::None),
        IncidentCommand::Resolve { incident } => (incident, "resolve", Body::None),
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

/// An incident, its breaches, its events, and what happened to it.
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
    let events = [
        ("EVENT", "/title"),
        ("STARTED", "/started"),
        ("ENDED", "/ended"),
        ("SOURCE", "/source"),
        ("CATEGORY", "/category"),
        ("TAGS", "/tags"),
    ];
    let items = |path: &str| incident.pointer(path).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let reached = [("CHANNEL", "/channel"), ("STATE", "/state"), ("AT", "/at")];
    let mut text = output::record(incident, FIELDS);
    text.push('\n');
    if !items("/reached").is_empty() {
        text.push_str(&output::table(items("/reached"), &reached));
        text.push('\n');
    }
    text.push_str(&output::table(items("/intervals"), &columns));
    text.push('\n');
    if !items("/events/items").is_empty() {
        text.push_str(&output::table(items("/events/items"), &events));
        if incident.pointer("/events/complete") == Some(&Value::Bool(false)) {
            text.push_str("there may be more, farther from its first breach\n");
        }
        text.push('\n');
    }
    for note in items("/trace") {
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
    fn an_incident_is_shown_with_its_breaches_its_events_and_what_happened() {
        let incident = json!({
            "id": "i", "title": "Load: host:a", "state": "open",
            "reached": [{"channel": "pager", "state": "not-told", "at": null}],
            "intervals": [{"series": "host:a", "level": "alert", "upper": {"peak": 99.0}}],
            "trace": [
                {"time": "2026-03-01T06:00:00Z", "what": "opened", "text": "host:a opened"},
                {"time": "2026-03-01T06:01:00Z", "what": "acknowledged", "by": "ada", "text": ""},
            ],
            "events": {"complete": false, "items": [{"title": "Deployed 1.4", "tags": ["host:a", "env:prod"]}]},
        });
        let text = describe(&incident);
        for expected in [
            "title:  Load: host:a\n",
            "pager    not-told",
            "2026-03-01T06:00:00Z opened: host:a opened\n",
            "2026-03-01T06:01:00Z acknowledged by ada\n",
            "Deployed 1.4",
            "there may be more",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
