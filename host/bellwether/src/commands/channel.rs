//! `bellwether channel`: where incidents are told.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Limit, query};
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether channel`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: ChannelCommand,
}

#[derive(Debug, Subcommand)]
enum ChannelCommand {
    /// List channels
    #[command(after_help = "Example:\n  bellwether channel list")]
    List(Limit),
    /// Show a channel
    #[command(after_help = "\
Examples:
  bellwether channel show ops
  bellwether channel show ops --json > ops.json")]
    #[command(alias = "get")]
    Show {
        /// Its name
        channel: String,
    },
    /// Make a channel, or change the one of that name
    #[command(after_help = "\
Examples:
  bellwether channel put ops examples/channels/webhook.json
  bellwether channel put ops ops.json --if-version 3           # only if nobody changed it since")]
    Put {
        /// 1 to 32 characters of a-z, 0-9, _ and -
        channel: String,
        /// JSON: the formatter, its settings, hosts, rate and retry
        file: PathBuf,
        /// The version it must have; 0 for one that must not be there
        #[arg(long, alias = "version", value_name = "NUMBER")]
        if_version: Option<u32>,
    },
    /// Delete a channel; what waits for it becomes dead letters
    #[command(after_help = "\
Examples:
  bellwether channel delete ops
  bellwether channel delete ops --force

One that monitors or routes name is not deleted; --force does it all the same, and what they tell it becomes dead letters.")]
    Delete {
        /// Its name
        channel: String,
        /// Although monitors or routes name it
        #[arg(long)]
        force: bool,
    },
    /// Send a made-up notification now, and print what was sent and answered
    #[command(after_help = "Example:\n  bellwether channel test ops")]
    Test {
        /// Its name
        channel: String,
    },
    /// Hold a channel back: what is to be delivered waits
    #[command(after_help = "Example:\n  bellwether channel pause ops --reason maintenance")]
    Pause {
        /// Its name
        channel: String,
        /// Why, in a line
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a channel be told again that was paused, or that said it is no more
    #[command(after_help = "Example:\n  bellwether channel resume ops")]
    Resume {
        /// Its name
        channel: String,
    },
}

const FIELDS: &[output::Column] = &[
    ("name", "/name"),
    ("version", "/version"),
    ("state", "/state"),
    ("since", "/since"),
    ("reason", "/reason"),
    ("problem", "/problem"),
    ("description", "/description"),
    ("formatter", "/formatter"),
    ("settings", "/settings"),
    ("hosts", "/hosts"),
    ("rate", "/rate"),
    ("retry", "/retry"),
    ("created", "/created"),
    ("updated", "/updated"),
];

/// Works on channels.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    let shown = |channel: &Value| output::record(channel, FIELDS);
    match arguments.command {
        ChannelCommand::List(limit) => {
            let channels = client.list(&["v1", "channels"], &[], limit.items()).await?;
            let columns = [
                ("NAME", "/name"),
                ("FORMATTER", "/formatter"),
                ("STATE", "/state"),
                ("VERSION", "/version"),
                ("UPDATED", "/updated"),
                ("REASON", "/reason"),
                ("PROBLEM", "/problem"),
            ];
            output::listing(format, &channels, &columns)?;
        }
        ChannelCommand::Show { channel } => {
            let channel = client.get(&["v1", "channels", &channel], &[]).await?;
            output::value(format, &channel, shown)?;
        }
        ChannelCommand::Put { channel, file, if_version } => {
            let query = query([("version", if_version.map(|version| version.to_string()))]);
            let body = Body::Json(specification(&file)?);
            let channel = client.write(Method::PUT, &["v1", "channels", &channel], &query, body).await?;
            output::value(format, &channel, shown)?;
        }
        ChannelCommand::Delete { channel, force } => {
            let query = query([("force", force.then(|| "true".to_owned()))]);
            client.write(Method::DELETE, &["v1", "channels", &channel], &query, Body::None).await?;
            let answer = json!({ "name": channel, "deleted": true });
            output::value(format, &answer, |_| format!("the channel {channel} is deleted\n"))?;
        }
        ChannelCommand::Test { channel } => {
            let path = ["v1", "channels", &channel, "test"];
            let trial = client.write(Method::POST, &path, &[], Body::None).await?;
            output::value(format, &trial, described)?;
            if trial["outcome"] != "delivered" {
                let reason = trial["reason"].as_str().unwrap_or("it did not say why");
                return Err(Failure::Failed(anyhow::anyhow!("the channel did not take it: {reason}")));
            }
        }
        ChannelCommand::Pause { channel, reason } => {
            let path = ["v1", "channels", &channel, "pause"];
            let body = Body::Json(json!({ "reason": reason }));
            let channel = client.write(Method::POST, &path, &[], body).await?;
            output::value(format, &channel, shown)?;
        }
        ChannelCommand::Resume { channel } => {
            let path = ["v1", "channels", &channel, "resume"];
            let channel = client.write(Method::POST, &path, &[], Body::None).await?;
            output::value(format, &channel, shown)?;
        }
    }
    Ok(())
}

/// What a channel is set to, of a file. What a host adds to it when it shows one is left out, so that what was shown can
/// be put again.
fn specification(file: &Path) -> Result<Value, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("{name} does not read: {error}")))?;
    let mut read: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("{name} is not JSON: {error}")))?;
    if let Value::Object(fields) = &mut read {
        for shown in ["name", "version", "state", "since", "reason", "problem", "created", "updated"] {
            fields.remove(shown);
        }
    }
    Ok(read)
}

/// A trial as people read it.
fn described(trial: &Value) -> String {
    let head = [("formatter", "/formatter"), ("outcome", "/outcome"), ("reason", "/reason")];
    let exchanges = trial["exchanges"].as_array().map_or(&[][..], Vec::as_slice);
    format!("{}{}", output::record(trial, &head), exchanges.iter().map(exchange).collect::<String>())
}

/// A request and its answer as people read them.
pub(super) fn exchange(exchange: &Value) -> String {
    let request = serde_json::to_string_pretty(&exchange["request"]).unwrap_or_default();
    format!("\n{request}\n{}", answer(exchange))
}

/// What came back of a request.
pub(super) fn answer(exchange: &Value) -> String {
    let columns =
        [("status", "/status"), ("answer", "/answer"), ("error", "/error"), ("milliseconds", "/duration_ms")];
    output::record(exchange, &columns)
}
