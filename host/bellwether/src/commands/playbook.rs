//! `bellwether playbook`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Limit, run};
use crate::client::{Body, Client, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether playbook`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: PlaybookCommand,
}

#[derive(Debug, Subcommand)]
enum PlaybookCommand {
    /// List playbooks
    #[command(after_help = "Example:\n  bellwether playbook list")]
    List(Limit),
    /// Show one playbook as it was written
    #[command(after_help = "Example:\n  bellwether playbook show count-pushes")]
    Show {
        /// Its name or id
        playbook: String,
    },
    /// Check a document against the host's apps without storing it
    #[command(after_help = "Example:\n  bellwether playbook validate examples/playbooks/count-pushes.toml")]
    Validate {
        /// TOML, or JSON if the name ends in .json
        file: PathBuf,
    },
    /// Store a playbook; prints its webhook's URL
    #[command(after_help = "\
Examples:
  bellwether playbook store examples/playbooks/count-pushes.toml
  bellwether playbook store count-pushes.toml --replace        # the next version of the one of that name")]
    Store {
        /// TOML, or JSON if the name ends in .json
        file: PathBuf,
        /// Store it as the next version if there is one of that name
        #[arg(long)]
        replace: bool,
    },
    /// Delete a playbook; its runs stay
    #[command(after_help = "Example:\n  bellwether playbook delete count-pushes")]
    Delete {
        /// Its name or id
        playbook: String,
    },
    /// Start a playbook with a manual trigger and print the run
    #[command(after_help = "\
Examples:
  bellwether playbook run nightly
  bellwether playbook run greet --inputs '{\"name\": \"Ada\"}' --wait 30
  bellwether playbook run greet --inputs @inputs.json --wait 0   # do not wait")]
    Run {
        /// Its name or id
        playbook: String,
        /// What it is started with: JSON, or @FILE
        #[arg(long, value_name = "JSON")]
        inputs: Option<String>,
        /// Wait so many seconds for its end, at most 60
        #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=60))]
        wait: u32,
    },
    /// List the runs of a playbook, newest first; `bellwether run` shows one
    #[command(after_help = "Example:\n  bellwether playbook runs count-pushes --state failed")]
    Runs {
        /// Its name or id
        playbook: String,
        /// Only in this state
        #[arg(long)]
        state: Option<run::State>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
}

const FIELDS: &[output::Column] = &[
    ("id", "/id"),
    ("name", "/name"),
    ("version", "/version"),
    ("description", "/description"),
    ("trigger", "/trigger/type"),
    ("webhook", "/webhook_url"),
    ("runs as", "/runs_as"),
    ("created", "/created"),
    ("updated", "/updated"),
];

/// Works on playbooks.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        PlaybookCommand::List(limit) => {
            let playbooks = client.list(&["v1", "playbooks"], &[], limit.items()).await?;
            let columns = [
                ("ID", "/id"),
                ("NAME", "/name"),
                ("VERSION", "/version"),
                ("TRIGGER", "/trigger/type"),
                ("UPDATED", "/updated"),
            ];
            output::listing(format, &playbooks, &columns)?;
        }
        PlaybookCommand::Show { playbook } => {
            let playbook = client.get(&["v1", "playbooks", &playbook], &[]).await?;
            output::value(format, &playbook, |playbook| {
                let playbook = &with_whole_url(&client, playbook);
                let source = playbook["source"].as_str().unwrap_or_default().trim_end();
                format!("{}\n{source}\n", output::record(playbook, FIELDS))
            })?;
        }
        PlaybookCommand::Validate { file } => {
            let answer =
                client.write(Method::POST, &["v1", "playbooks", "validate"], &[], document(&file)?).await?;
            output::value(format, &answer, |_| format!("{} is a good playbook\n", file.display()))?;
        }
        PlaybookCommand::Store { file, replace } => {
            let body = document(&file)?;
            let answer = if replace {
                let checked =
                    client.write(Method::POST, &["v1", "playbooks", "validate"], &[], body.clone()).await?;
                let name = checked["name"].as_str().unwrap_or_default().to_owned();
                client.write(Method::PUT, &["v1", "playbooks", &name], &[], body).await?
            } else {
                client.write(Method::POST, &["v1", "playbooks"], &[], body).await?
            };
            output::value(format, &answer, |playbook| {
                output::record(&with_whole_url(&client, playbook), FIELDS)
            })?;
        }
        PlaybookCommand::Delete { playbook } => {
            let answer =
                client.write(Method::DELETE, &["v1", "playbooks", &playbook], &[], Body::None).await?;
            output::value(format, &answer, |_| format!("{playbook} is deleted\n"))?;
        }
        PlaybookCommand::Runs { playbook, state, limit } => {
            run::list(&client, Some(playbook), state, limit, format).await?;
        }
        PlaybookCommand::Run { playbook, inputs, wait } => {
            let mut body = json!({});
            if let Some(inputs) = inputs {
                body["inputs"] = read_inputs(&inputs)?;
            }
            let path = ["v1", "playbooks", playbook.as_str(), "runs"];
            let query = if wait > 0 { vec![("wait", wait.to_string())] } else { Vec::new() };
            let answer = client.write(Method::POST, &path, &query, Body::Json(body)).await?;
            output::value(format, &answer, |answer| match answer.get("run_id") {
                Some(id) => {
                    format!("run {} has begun; see it with `bellwether run show`\n", output::cell(Some(id)))
                }
                None => run::describe(answer),
            })?;
            if matches!(answer["state"].as_str(), Some("failed" | "interrupted")) {
                return Err(Failure::Failed(anyhow::anyhow!(
                    "the run {}",
                    output::cell(answer.get("state"))
                )));
            }
        }
    }
    Ok(())
}

/// A host that was not told its public URL knows its webhooks by path alone.
fn with_whole_url(client: &Client, playbook: &Value) -> Value {
    let mut playbook = playbook.clone();
    let whole = playbook["webhook_url"].as_str().and_then(|url| client.base().join(url).ok());
    if let Some(url) = whole {
        playbook["webhook_url"] = url.to_string().into();
    }
    playbook
}

/// A playbook's document as the body of a request.
fn document(file: &Path) -> Result<Body, Failure> {
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::Usage(format!("{} does not read: {error}", file.display())))?;
    let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    Ok(Body::Bytes(if json { "application/json" } else { "application/toml" }, bytes))
}

/// JSON given on the command line, or in the file behind an `@`.
pub(crate) fn read_inputs(text: &str) -> Result<Value, Failure> {
    let read = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("{file} does not read: {error}")))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&read).map_err(|error| Failure::Usage(format!("--inputs is not JSON: {error}")))
}
