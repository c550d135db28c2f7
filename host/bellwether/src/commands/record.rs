//! `bellwether event` and `bellwether log`.

use std::io::{self, BufRead as _};
use std::time::Duration;

use bellwether_kernel::counted;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::{Limit, query};
use crate::client::{Body, Client, Connection};
use crate::failure::Failure;
use crate::output::{self, Column, Format};

/// `bellwether event`.
#[derive(Args, Debug)]
pub(crate) struct EventArguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: EventCommand,
}

/// `bellwether log`.
#[derive(Args, Debug)]
pub(crate) struct LogArguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum EventCommand {
    /// Tell of something that happened
    #[command(after_help = "\
Examples:
  bellwether event send 'Deployed shop 1.4.2' --service shop --tag env:prod
  bellwether event send 'Backup failed' --message 'no space left' --status error --host db-1")]
    Send {
        /// Its title
        title: String,
        /// Its text
        #[arg(long, default_value = "")]
        message: String,
        /// How much it matters
        #[arg(long, value_parser = ["normal", "low"])]
        priority: Option<String>,
        /// What events have in common that belong together
        #[arg(long)]
        aggregation_key: Option<String>,
        /// What else is known.
        #[command(flatten)]
        known: Known,
    },
    /// Search events, the newest first
    #[command(after_help = "\
Examples:
  bellwether event search 'service:shop status:error'
  bellwether event search --start 2026-01-01 --end 2026-01-02 --oldest")]
    Search(Asked),
    /// Show an event
    #[command(after_help = "Example:\n  bellwether event show 17")]
    Show {
        /// Its id
        id: u64,
    },
    /// Show, or set, for how many days events are kept
    #[command(after_help = "\
Examples:
  bellwether event retention
  bellwether event retention 90
  bellwether event retention host")]
    Retention {
        /// Days, or `host` for as long as the host keeps them
        days: Option<Days>,
    },
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Send a log, or the standard input's lines
    #[command(after_help = "\
Examples:
  bellwether log send 'GET /cart took 31 s' --status error --service shop --attribute http.status_code=504
  journalctl --unit shop --follow | bellwether log send - --service shop")]
    Send {
        /// What it says; - for each line of the standard input
        message: String,
        /// What else is known.
        #[command(flatten)]
        known: Known,
    },
    /// Search logs, the newest first
    #[command(after_help = "\
Examples:
  bellwether log search 'service:shop status:error \"timed out\" -env:dev @http.status_code:[500 TO 599]'
  bellwether log search --start 2026-01-01T12:00:00Z --oldest --limit 20")]
    Search(Asked),
    /// Show a log
    #[command(after_help = "Example:\n  bellwether log show 17")]
    Show {
        /// Its id
        id: u64,
    },
    /// Show, or set, for how many days logs are kept
    #[command(after_help = "\
Examples:
  bellwether log retention
  bellwether log retention 7
  bellwether log retention host")]
    Retention {
        /// Days, or `host` for as long as the host keeps them
        days: Option<Days>,
    },
}

/// What events and logs have besides what they say.
#[derive(Args, Debug, Default)]
struct Known {
    /// How bad it is: error, warning, info, …
    #[arg(long)]
    status: Option<String>,
    /// The service it is of
    #[arg(long)]
    service: Option<String>,
    /// What it came from
    #[arg(long)]
    source: Option<String>,
    /// Where it happened
    #[arg(long)]
    host: Option<String>,
    /// key:value, or a word; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// name=value, the value JSON or a text; may be repeated
    #[arg(long, value_parser = attribute)]
    attribute: Vec<(String, Value)>,
    /// When it happened (RFC 3339); now, if not said
    #[arg(long)]
    time: Option<String>,
}

/// What is looked for.
#[derive(Args, Debug)]
struct Asked {
    /// In Datadog's log search syntax; everything, if not said
    #[arg(allow_hyphen_values = true)]
    query: Option<String>,
    /// From when on (RFC 3339)
    #[arg(long, aliases = ["from", "since"])]
    start: Option<String>,
    /// Until when (RFC 3339)
    #[arg(long, aliases = ["to", "until"])]
    end: Option<String>,
    /// The oldest first
    #[arg(long)]
    oldest: bool,
    /// How much.
    #[command(flatten)]
    limit: Limit,
}

/// For how long something is kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Days {
    Number(u32),
    AsTheHost,
}

impl From<Days> for Value {
    fn from(days: Days) -> Self {
        match days {
            Days::Number(days) => days.into(),
            Days::AsTheHost => Self::Null,
        }
    }
}

impl std::str::FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "host" => Ok(Self::AsTheHost),
            _ => text.parse().map(Self::Number).map_err(|_| "expected a number of days, or host".to_owned()),
        }
    }
}

fn attribute(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}

impl Known {
    /// A record that says `message`.
    fn record(&self, message: &str) -> Value {
        let mut record = json!({ "message": message, "tags": self.tag });
        for (name, text) in [
            ("status", &self.status),
            ("service", &self.service),
            ("source", &self.source),
            ("host", &self.host),
            ("time", &self.time),
        ] {
            if let Some(text) = text {
                record[name] = text.as_str().into();
            }
        }
        let attributes: Map<String, Value> = self.attribute.iter().cloned().collect();
        record["attributes"] = attributes.into();
        record
    }
}

/// Lines of the standard input that are sent at once.
const LINES: usize = 1000;

/// Bytes of what they become: half of what a host takes at once unless it is set otherwise.
const BYTES: usize = 512 * 1024;

/// How long a line waits for others to be sent with.
const PATIENCE: Duration = Duration::from_secs(1);

const EVENTS: &[Column] =
    &[("ID", "/id"), ("TIME", "/time"), ("STATUS", "/status"), ("SERVICE", "/service"), ("TITLE", "/title")];

const LOGS: &[Column] = &[
    ("ID", "/id"),
    ("TIME", "/time"),
    ("STATUS", "/status"),
    ("SERVICE", "/service"),
    ("HOST", "/host"),
    ("MESSAGE", "/message"),
];

const FIELDS: &[Column] = &[
    ("id", "/id"),
    ("time", "/time"),
    ("title", "/title"),
    ("status", "/status"),
    ("priority", "/priority"),
    ("service", "/service"),
    ("source", "/source"),
    ("host", "/host"),
    ("aggregation key", "/aggregation_key"),
    ("tags", "/tags"),
    ("attributes", "/attributes"),
    ("message", "/message"),
];

/// Works on events.
pub(crate) async fn run_event(arguments: EventArguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        EventCommand::Send { title, message, priority, aggregation_key, known } => {
            let mut event = known.record(&message);
            event["title"] = title.into();
            for (name, text) in [("priority", priority), ("aggregation_key", aggregation_key)] {
                if let Some(text) = text {
                    event[name] = text.into();
                }
            }
            let body = Body::Json(json!({ "events": [event] }));
            let answer = client.write(Method::POST, &["v1", "events"], &[], body).await?;
            output::value(format, &answer, |answer| format!("event {} is sent\n", answer["first_id"]))?;
            Ok(())
        }
        EventCommand::Search(asked) => search(&client, format, "events", asked, EVENTS).await,
        EventCommand::Show { id } => show(&client, format, "events", id).await,
        EventCommand::Retention { days } => retention(&client, format, "events_days", days).await,
    }
}

/// Works on logs.
pub(crate) async fn run_log(arguments: LogArguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        LogCommand::Send { message, known } if message == "-" => send_lines(&client, format, &known).await,
        LogCommand::Send { message, known } => {
            let answer = send(&client, vec![known.record(&message)]).await?;
            output::value(format, &answer, |answer| format!("log {} is sent\n", answer["first_id"]))?;
            Ok(())
        }
        LogCommand::Search(asked) => search(&client, format, "logs", asked, LOGS).await,
        LogCommand::Show { id } => show(&client, format, "logs", id).await,
        LogCommand::Retention { days } => retention(&client, format, "logs_days", days).await,
    }
}

async fn send(client: &Client, logs: Vec<Value>) -> Result<Value, Failure> {
    let body = Body::Json(json!({ "logs": logs }));
    client.write(Method::POST, &["v1", "logs"], &[], body).await
}

/// Sends each line of the standard input that is not empty, many at once, and none later than [`PATIENCE`] after it came:
/// who writes them may have long pauses.
async fn send_lines(client: &Client, format: Format, known: &Known) -> Result<(), Failure> {
    let mut lines = lines();
    let mut outbox = Outbox { client, waiting: Vec::new(), bytes: 0, due: None, sent: 0 };
    for number in 1_u64.. {
        let line = loop {
            let Some(due) = outbox.due else { break lines.recv().await };
            match timeout_at(due, lines.recv()).await {
                Ok(line) => break line,
                Err(_) => outbox.flush().await?,
            }
        };
        let Some(line) = line else { break };
        let line =
            line.map_err(|error| Failure::Usage(format!("the standard input does not read: {error}")))?;
        // What is no UTF-8 in a log is no reason to lose the rest of it.
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        let (record, taken) = fitting(known, line);
        if taken < line.len() {
            crate::output::note!("line {number} has {} bytes, of which {taken} are sent", line.len());
        }
        outbox.put(record).await?;
    }
    outbox.flush().await?;
    let sent = outbox.sent;
    output::value(format, &json!({ "appended": sent }), |_| format!("{} sent\n", counted(sent, "log")))?;
    Ok(())
}

/// The lines of the standard input, read by a thread that may wait for them.
fn lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A line as a record that is taken in one request, and how many of its bytes are in it: all, or as many as fit.
fn fitting(known: &Known, line: &str) -> (Value, usize) {
    // Every byte takes at least one in JSON.
    let mut taken = line.floor_char_boundary(line.len().min(BYTES));
    loop {
        let record = known.record(&line[..taken]);
        let over = record.to_string().len().saturating_sub(BYTES);
        if taken == 0 || over == 0 {
            return (record, taken);
        }
        // No byte takes more than six in JSON, so what is left out is too little at first, and less each time.
        taken = line.floor_char_boundary(taken.saturating_sub(over.div_ceil(6)));
    }
}

/// Logs that wait for others to be sent with.
struct Outbox<'a> {
    client: &'a Client,
    waiting: Vec<Value>,
    /// What they are in JSON.
    bytes: usize,
    /// When the first of them has waited long enough.
    due: Option<Instant>,
    sent: u64,
}

impl Outbox<'_> {
    async fn put(&mut self, record: Value) -> Result<(), Failure> {
        let size = record.to_string().len();
        if self.waiting.len() == LINES || self.bytes + size > BYTES {
            self.flush().await?;
        }
        self.due.get_or_insert_with(|| Instant::now() + PATIENCE);
        self.bytes += size;
        self.waiting.push(record);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        self.due = None;
        self.bytes = 0;
        if !self.waiting.is_empty() {
            self.sent += self.waiting.len() as u64;
            send(self.client, std::mem::take(&mut self.waiting)).await?;
        }
        Ok(())
    }
}

async fn search(
    client: &Client,
    format: Format,
    kind: &str,
    asked: Asked,
    columns: &[Column],
) -> Result<(), Failure> {
    let order = asked.oldest.then(|| "oldest".to_owned());
    let query = query([("query", asked.query), ("start", asked.start), ("end", asked.end), ("order", order)]);
    let found = client.list(&["v1", kind], &query, asked.limit.items()).await?;
    output::listing(format, &found, columns)?;
    Ok(())
}

async fn show(client: &Client, format: Format, kind: &str, id: u64) -> Result<(), Failure> {
    let record = client.get(&["v1", kind, &id.to_string()], &[]).await?;
    output::value(format, &record, |record| output::record(record, FIELDS))?;
    Ok(())
}

async fn retention(client: &Client, format: Format, field: &str, days: Option<Days>) -> Result<(), Failure> {
    let mut retention = client.get(&["v1", "retention"], &[]).await?;
    if let Some(days) = days {
        retention[field] = days.into();
        retention = client.write(Method::PUT, &["v1", "retention"], &[], Body::Json(retention)).await?;
    }
    output::value(format, &retention, |retention| match retention[field].as_u64() {
        Some(days) => format!("{}\n", counted(days, "day")),
        None => "as long as the host keeps them\n".to_owned(),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let known = Known::default();
        assert_eq!(fitting(&known, "short").1, 5);
        // A control character is six bytes in JSON.
        for line in ["é".repeat(BYTES), "\u{1}".repeat(BYTES)] {
            let (record, taken) = fitting(&known, &line);
            assert_eq!(record["message"], line[..taken]);
            assert!((BYTES / 8..line.len()).contains(&taken), "{taken}");
            assert!(record.to_string().len() <= BYTES);
        }
        let wordy = Known { source: Some("x".repeat(BYTES)), ..Known::default() };
        assert_eq!(fitting(&wordy, "short").1, 0, "nothing fits beside that");
    }

    #[test]
    fn an_attribute_is_json_where_it_reads_as_such() {
        for (text, name, value) in [
            ("http.status_code=504", "http.status_code", json!(504)),
            ("user=ada", "user", json!("ada")),
            ("path=/a=b", "path", json!("/a=b")),
            (r#"call={"name":"db"}"#, "call", json!({ "name": "db" })),
        ] {
            assert_eq!(attribute(text), Ok((name.to_owned(), value)), "{text}");
        }
        assert!(attribute("nothing").is_err());
    }
}
