//! `bellwether playbook`.

mod ask;
mod shown;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use self::shown::{describe_dry_run, describe_stored};
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
    #[command(after_help = "\
Examples:
  bellwether playbook show count-pushes
  bellwether playbook show count-pushes --version 3            # one of `bellwether playbook versions`")]
    Show {
        /// Its name or id
        playbook: String,
        /// Not the version that runs but this one
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
    },
    /// Check a document against the host's apps without storing it
    #[command(after_help = "Example:\n  bellwether playbook validate examples/playbooks/count-pushes.toml")]
    Validate {
        /// TOML, or JSON if the name ends in .json
        file: PathBuf,
    },
    /// Print what a run of a document would do: everything is checked, no app is called, nothing is stored
    #[command(after_help = "\
Examples:
  bellwether playbook dry-run count-pushes.toml --trigger @request.json
  bellwether playbook dry-run greet.toml --trigger '{\"inputs\": {\"name\": \"Ada\"}}'")]
    DryRun {
        /// TOML, or JSON if the name ends in .json
        file: PathBuf,
        /// What its templates read as `trigger`: JSON, or @FILE
        #[arg(long, value_name = "JSON")]
        trigger: Option<String>,
    },
    /// Store a playbook and publish it; prints its webhook's URL
    #[command(after_help = "\
Examples:
  bellwether playbook store examples/playbooks/count-pushes.toml
  bellwether playbook store count-pushes.toml --replace        # the next version of the one of that name
  bellwether playbook store count-pushes.toml --replace --if-version 3   # not if somebody changed it meanwhile
  bellwether playbook store count-pushes.toml --draft          # what runs goes on as it is; publish it later")]
    Store {
        /// TOML, or JSON if the name ends in .json
        file: PathBuf,
        /// Store it as the next version if there is one of that name
        #[arg(long)]
        replace: bool,
        /// Only if its newest version is this one
        #[arg(long, value_name = "NUMBER", requires = "replace")]
        if_version: Option<u32>,
        /// Do not publish it: the next version, or a first one that does not run
        #[arg(long)]
        draft: bool,
    },
    /// List the versions of a playbook, newest first
    #[command(after_help = "Example:\n  bellwether playbook versions count-pushes")]
    Versions {
        /// Its name or id
        playbook: String,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Publish a version: from here on it runs, on behalf of the key in use
    #[command(after_help = "\
Examples:
  bellwether playbook publish count-pushes                     # the newest version
  bellwether playbook publish count-pushes --version 3
  bellwether playbook publish count-pushes --again             # the version that runs: from here on on behalf of the key in use")]
    Publish {
        /// Its name or id
        playbook: String,
        /// Not the newest version but this one
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
        /// Not the newest version but the one that runs: only the key it runs as changes
        #[arg(long, conflicts_with = "version")]
        again: bool,
    },
    /// Publish again the version that ran before, or another; runs at work end as they began
    #[command(after_help = "\
Examples:
  bellwether playbook roll-back count-pushes
  bellwether playbook roll-back count-pushes --version 1")]
    #[command(alias = "rollback")]
    RollBack {
        /// Its name or id
        playbook: String,
        /// Not the one before but this one
        #[arg(long, value_name = "NUMBER")]
        version: Option<u32>,
    },
    /// Let a playbook start again that was disabled because its runs failed
    #[command(after_help = "Example:\n  bellwether playbook enable count-pushes")]
    Enable {
        /// Its name or id
        playbook: String,
    },
    /// Delete a playbook; its runs at work are cancelled, those that ended stay
    #[command(after_help = "\
Example:
  bellwether playbook delete count-pushes

What is a step of a published playbook, or what an action of a monitor starts, is not deleted; --force does it all the same.")]
    Delete {
        /// Its name or id
        playbook: String,
        /// Although published playbooks have it as a step
        #[arg(long)]
        force: bool,
    },
    /// Start a playbook by hand and print the run; on a terminal it asks for the inputs
    #[command(after_help = "\
Examples:
  bellwether playbook run nightly
  bellwether playbook run greet                                  # asks for what it is started with
  bellwether playbook run greet --inputs '{\"name\": \"Ada\"}' --wait 30
  bellwether playbook run greet --inputs @inputs.json --wait 0   # do not wait")]
    Run {
        /// Its name or id
        playbook: String,
        /// What it is started with: JSON, or @FILE; nothing is asked for then
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
    ("newest version", "/latest"),
    ("state", "/status/state"),
    ("since", "/status/since"),
    ("problem", "/problem"),
    ("description", "/description"),
    ("trigger", "/trigger/type"),
    ("next due", "/next_due"),
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
                ("STATE", "/status/state"),
                ("TRIGGER", "/trigger/type"),
                ("NEXT DUE", "/next_due"),
                ("UPDATED", "/updated"),
                ("PROBLEM", "/problem"),
            ];
            output::listing(format, &playbooks, &columns)?;
        }
        PlaybookCommand::Show { playbook, version: Some(version) } => {
            let path = ["v1", "playbooks", &playbook, "versions", &version.to_string()];
            let version = client.get(&path, &[]).await?;
            output::value(format, &version, |version| {
                format!("{}\n", version["source"].as_str().unwrap_or_default().trim_end())
            })?;
        }
        PlaybookCommand::Show { playbook, version: None } => {
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
        PlaybookCommand::DryRun { file, trigger } => {
            let (source, is_json) = source(&file)?;
            let mut body = json!({ "source": source, "format": if is_json { "json" } else { "toml" } });
            if let Some(trigger) = trigger {
                body["trigger"] = read_json("--trigger", &trigger)?;
            }
            let path = ["v1", "playbooks", "dry-run"];
            let answer = client.write(Method::POST, &path, &[], Body::Json(body)).await?;
            output::value(format, &answer, describe_dry_run)?;
            let mut steps = answer["steps"].as_array().into_iter().flatten();
            if steps.any(|step| !step["problem"].is_null()) {
                return Err(Failure::Failed(anyhow::anyhow!("a step of it would fail as it is tried here")));
            }
        }
        PlaybookCommand::Store { file, replace, if_version, draft } => {
            let body = document(&file)?;
            let query = super::query([
                ("publish", draft.then(|| "false".to_owned())),
                ("version", if_version.map(|version| version.to_string())),
            ]);
            let answer = if replace {
                let checked =
                    client.write(Method::POST, &["v1", "playbooks", "validate"], &[], body.clone()).await?;
                let name = checked["name"].as_str().unwrap_or_default().to_owned();
                client.write(Method::PUT, &["v1", "playbooks", &name], &query, body).await?
            } else {
                client.write(Method::POST, &["v1", "playbooks"], &query, body).await?
            };
            output::value(format, &answer, |playbook| {
                describe_stored(&with_whole_url(&client, playbook), FIELDS)
            })?;
        }
        PlaybookCommand::Versions { playbook, limit } => {
            let versions =
                client.list(&["v1", "playbooks", &playbook, "versions"], &[], limit.items()).await?;
            let columns = [
                ("VERSION", "/version"),
                ("RUNS", "/current"),
                ("PUBLISHED", "/published"),
                ("CREATED", "/created"),
                ("CREATED BY", "/created_by"),
            ];
            output::listing(format, &versions, &columns)?;
        }
        PlaybookCommand::Publish { playbook, version, again } => {
            let body = match version {
                _ if again => json!({}),
                Some(version) => json!({ "version": version }),
                None => {
                    let latest = client.get(&["v1", "playbooks", &playbook], &[]).await?["latest"].take();
                    json!({ "version": latest })
                }
            };
            change(&client, format, &playbook, "publish", body).await?;
        }
        PlaybookCommand::RollBack { playbook, version } => {
            let body = version.map_or_else(|| json!({}), |version| json!({ "version": version }));
            change(&client, format, &playbook, "roll-back", body).await?;
        }
        PlaybookCommand::Enable { playbook } => {
            change(&client, format, &playbook, "enable", json!({})).await?;
        }
        PlaybookCommand::Delete { playbook, force } => {
            let query = super::query([("force", force.then(|| "true".to_owned()))]);
            let path = ["v1", "playbooks", &playbook];
            let answer = client.write(Method::DELETE, &path, &query, Body::None).await?;
            output::value(format, &answer, |_| format!("{playbook} is deleted\n"))?;
        }
        PlaybookCommand::Runs { playbook, state, limit } => {
            let filter = run::Filter { playbook: Some(playbook), state, ..run::Filter::default() };
            run::list(&client, filter, limit, format).await?;
        }
        PlaybookCommand::Run { playbook, inputs, wait } => {
            let mut body = json!({});
            if let Some(inputs) = inputs {
                body["inputs"] = read_inputs(&inputs)?;
            } else if format == output::Format::Text && std::io::stdin().is_terminal() {
                let playbook = client.get(&["v1", "playbooks", &playbook], &[]).await?;
                let declared = playbook["inputs"].as_array().map_or(&[][..], Vec::as_slice);
                body["inputs"] = ask::on_terminal(declared)?.into();
            }
            let path = ["v1", "playbooks", playbook.as_str(), "runs"];
            let query = if wait > 0 { vec![("wait", wait.to_string())] } else { Vec::new() };
            let answer = client.write(Method::POST, &path, &query, Body::Json(body)).await?;
            run::tell(&client, format, &answer).await?;
        }
    }
    Ok(())
}

/// Changes which version runs, or whether it does, and prints what came of it.
async fn change(
    client: &Client,
    format: output::Format,
    playbook: &str,
    how: &str,
    body: Value,
) -> Result<(), Failure> {
    let path = ["v1", "playbooks", playbook, how];
    let answer = client.write(Method::POST, &path, &[], Body::Json(body)).await?;
    Ok(output::value(format, &answer, |playbook| describe_stored(&with_whole_url(client, playbook), FIELDS))?)
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
    let bytes = read(file)?;
    Ok(Body::Bytes(if is_json(file) { "application/json" } else { "application/toml" }, bytes))
}

/// A playbook's document as text, and whether it is JSON.
fn source(file: &Path) -> Result<(String, bool), Failure> {
    let text = String::from_utf8(read(file)?).map_err(|error| {
        Failure::Usage(format!("{} is not UTF-8: {}", file.display(), error.utf8_error()))
    })?;
    Ok((text, is_json(file)))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Usage(format!("{} does not read: {error}", file.display())))
}

fn is_json(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// What a run is started with: JSON given on the command line, or in the file behind an `@`.
pub(crate) fn read_inputs(text: &str) -> Result<Value, Failure> {
    read_json("--inputs", text)
}

/// JSON as it is given on the command line.
pub(crate) fn read_json(flag: &str, text: &str) -> Result<Value, Failure> {
    let read = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::Usage(format!("{file} does not read: {error}")))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&read).map_err(|error| {
        Failure::Usage(format!("{flag} is not JSON: {error}; give JSON, or @ and a file that holds it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_told_by_the_flag_it_was_given_with() {
        for (flag, text, expected) in [
            ("--inputs", "{", "--inputs is not JSON"),
            ("--trigger", "name=Ada", "--trigger is not JSON"),
            ("--trigger", "@no/such/file.json", "no/such/file.json does not read"),
        ] {
            let Err(Failure::Usage(message)) = read_json(flag, text) else { panic!("{text} was read") };
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(read_inputs("[1, 2]").ok(), Some(json!([1, 2])));
    }
}
