//! `bellwether run`: what playbooks did.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{Limit, query};
use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether run`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    /// List runs, newest first
    #[command(after_help = "Example:\n  bellwether run list --playbook count-pushes --state failed")]
    List {
        /// Only of this playbook
        #[arg(long)]
        playbook: Option<String>,
        /// Only in this state
        #[arg(long)]
        state: Option<State>,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one run: its trigger, its steps, their inputs, outputs and log
    #[command(after_help = "Example:\n  bellwether run show 0198c0de-0000-7000-8000-000000000000")]
    Show {
        /// The run's id
        run: String,
    },
}

/// How a run stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    /// Accepted, not yet begun
    Queued,
    /// At work
    Running,
    /// Every step succeeded
    Succeeded,
    /// A step failed
    Failed,
    /// The host stopped before it ended
    Interrupted,
}

/// Reads runs.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        RunCommand::List { playbook, state, limit } => list(&client, playbook, state, limit, format).await,
        RunCommand::Show { run } => {
            let run = client.get(&["v1", "runs", &run], &[]).await?;
            Ok(output::value(format, &run, describe)?)
        }
    }
}

/// Prints runs, newest first.
pub(crate) async fn list(
    client: &Client,
    playbook: Option<String>,
    state: Option<State>,
    limit: Limit,
    format: output::Format,
) -> Result<(), Failure> {
    let state = state.and_then(|state| Some(state.to_possible_value()?.get_name().to_owned()));
    let query = query([("playbook", playbook), ("state", state)]);
    let runs = client.list(&["v1", "runs"], &query, limit.items()).await?;
    let columns = [
        ("ID", "/id"),
        ("PLAYBOOK", "/playbook_name"),
        ("VERSION", "/playbook_version"),
        ("STATE", "/state"),
        ("TRIGGER", "/triggered_by/type"),
        ("CREATED", "/created"),
        ("ENDED", "/ended"),
        ("ERROR", "/error"),
    ];
    Ok(output::listing(format, &runs, &columns)?)
}

/// A run from top to bottom.
pub(crate) fn describe(run: &Value) -> String {
    let fields = [
        ("id", "/id"),
        ("playbook", "/playbook_name"),
        ("version", "/playbook_version"),
        ("state", "/state"),
        ("trigger", "/triggered_by/type"),
        ("created", "/created"),
        ("started", "/started"),
        ("ended", "/ended"),
        ("error", "/error"),
    ];
    let mut text = output::record(run, &fields);
    for step in run["steps"].as_array().into_iter().flatten() {
        let named = |pointer| output::cell(step.pointer(pointer));
        text.push_str(&format!(
            "\nstep {}: {} ({} {})\n",
            named("/step"),
            named("/state"),
            named("/app"),
            named("/app_version")
        ));
        for part in ["inputs", "outputs"] {
            for (name, value) in step[part].as_object().into_iter().flatten() {
                text.push_str(&format!(
                    "  {} {name} = {}\n",
                    part.trim_end_matches('s'),
                    output::cell(Some(value))
                ));
            }
        }
        for line in step["log"].as_array().into_iter().flatten() {
            let part = |name: &str| output::cell(line.get(name));
            text.push_str(&format!("  log {} {} {}\n", part("time"), part("level"), part("message")));
        }
        if let Some(error) = step.get("error").filter(|error| !error.is_null()) {
            text.push_str(&format!("  error {}\n", output::cell(Some(error))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_told_step_by_step() {
        let run = json!({
            "id": "r", "state": "failed", "playbook_name": "count", "error": "step add failed",
            "steps": [{"step": "add", "app": "metric", "app_version": "1.0.0", "state": "failed", "inputs": {"value": 1}, "outputs": {},
                       "error": "no such metric", "log": [{"time": "t", "level": "warn", "message": "hm"}]}],
        });
        let text = describe(&run);
        for line in [
            "step add: failed (metric 1.0.0)",
            "  input value = 1",
            "  log t warn hm",
            "  error no such metric",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
