//! `bellwether run`: what playbooks did, and doing it again.

mod shown;
mod watch;

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SpanRelativeTo, Timestamp};
use reqwest::Method;
use serde_json::json;

pub(crate) use self::shown::{describe, ended_badly, tell};
use super::{Limit, query};
use crate::client::{Body, Client, Connection};
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
    #[command(after_help = "\
Examples:
  bellwether run list --playbook count-pushes --state failed
  bellwether run list --trigger cron --since 2h
  bellwether run list --since 2027-01-01 --until 2027-02-01T12:00:00Z")]
    List {
        /// Which.
        #[command(flatten)]
        filter: Filter,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one run: its trigger, its steps, their inputs, outputs, attempts and log
    #[command(after_help = "Example:\n  bellwether run show 0198c0de-0000-7000-8000-000000000000")]
    Show {
        /// The run's id
        run: String,
    },
    /// Follow a run until it ends: its steps as they come to something
    #[command(after_help = "Example:\n  bellwether run watch 0198c0de-0000-7000-8000-000000000000")]
    Watch {
        /// The run's id
        run: String,
    },
    /// List what the items of a step over a list came to
    #[command(after_help = "Example:\n  bellwether run items 0198c0de-0000-7000-8000-000000000000 notify")]
    Items {
        /// The run's id
        run: String,
        /// The step's id
        step: String,
        /// How much.
        #[command(flatten)]
        limit: Limit,
    },
    /// End a run before it is through; its on-failure steps are taken if it has begun
    #[command(after_help = "Example:\n  bellwether run cancel 0198c0de-0000-7000-8000-000000000000")]
    Cancel {
        /// The run's id
        run: String,
    },
    /// Do a run again that has ended: a new run of the same version with the same trigger
    #[command(after_help = "\
Examples:
  bellwether run replay 0198c0de-0000-7000-8000-000000000000                       # from its beginning
  bellwether run replay 0198c0de-0000-7000-8000-000000000000 --from notify         # steps before it are not taken again
  bellwether run replay 0198c0de-0000-7000-8000-000000000000 --from notify --item 3")]
    Replay {
        /// The run's id
        run: String,
        /// Begin at this step, with what those before it gave
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Begin at this item of the step's list, counted from 0
        #[arg(long, value_name = "NUMBER", requires = "from")]
        item: Option<u32>,
        /// Wait so many seconds for its end, at most 60
        #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=60))]
        wait: u32,
    },
}

/// Which runs are wanted: those for which everything that is given holds.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only of this playbook
    #[arg(long)]
    pub(crate) playbook: Option<String>,
    /// Only in this state
    #[arg(long)]
    pub(crate) state: Option<State>,
    /// Only started by this kind of trigger
    #[arg(long)]
    pub(crate) trigger: Option<Trigger>,
    /// Only accepted since then: a date, a time (RFC 3339) or a span before now, such as 2h
    #[arg(long, aliases = ["from", "start"], value_name = "TIME", value_parser = instant)]
    pub(crate) since: Option<Timestamp>,
    /// Only accepted before then, likewise
    #[arg(long, aliases = ["end", "to"], value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Timestamp>,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    /// Accepted, not yet begun
    Queued,
    /// At work, or waiting for its time
    Running,
    /// Every step succeeded or was skipped
    Succeeded,
    /// A step failed
    Failed,
    /// Somebody ended it, or a newer run took its place
    Cancelled,
    /// It took longer than it may
    #[value(name = "timed_out", alias = "timed-out")]
    TimedOut,
    /// Its playbook ran already, and its policy is to skip
    Skipped,
    /// The key it runs as lost the right to
    Blocked,
    /// A host of an earlier version stopped before it ended
    Interrupted,
}

/// What starts runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Trigger {
    /// A request to the playbook's own URL
    Webhook,
    /// The calendar
    Cron,
    /// The same interval again and again
    Every,
    /// A write to a metric
    Metric,
    /// A caller with a key
    Manual,
    /// A step of another playbook
    Playbook,
    /// What an incident did, or what somebody did about one
    Alert,
}

/// Works on runs.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (client, format) = (arguments.connection.client()?, arguments.connection.json.into());
    match arguments.command {
        RunCommand::List { filter, limit } => list(&client, filter, limit, format).await?,
        RunCommand::Show { run } => {
            let run = client.get(&["v1", "runs", &run], &[]).await?;
            output::value(format, &run, describe)?;
        }
        RunCommand::Watch { run } => watch::watch(&client, &run, format).await?,
        RunCommand::Items { run, step, limit } => {
            let path = ["v1", "runs", &run, "steps", &step, "items"];
            let items = client.list(&path, &[], limit.items()).await?;
            let columns = [
                ("ITEM", "/item"),
                ("STATE", "/state"),
                ("ATTEMPT", "/attempt"),
                ("ENDED", "/ended"),
                ("COPIED", "/copied"),
                ("OUTPUTS", "/outputs"),
                ("ERROR", "/error"),
            ];
            output::listing(format, &items, &columns)?;
        }
        RunCommand::Cancel { run } => {
            let path = ["v1", "runs", &run, "cancel"];
            let answer = client.write(Method::POST, &path, &[], Body::None).await?;
            output::value(format, &answer, |answer| match answer["state"].as_str() {
                Some("running") => {
                    format!("the run {run} is being cancelled; see it with `bellwether run show`\n")
                }
                _ => format!("the run {run} is {}\n", output::cell(answer.get("state"))),
            })?;
        }
        RunCommand::Replay { run, from, item, wait } => {
            let mut body = json!({});
            if let Some(step) = from {
                body["step"] = step.into();
            }
            if let Some(item) = item {
                body["item"] = item.into();
            }
            let query = if wait > 0 { vec![("wait", wait.to_string())] } else { Vec::new() };
            let path = ["v1", "runs", &run, "replay"];
            let answer = client.write(Method::POST, &path, &query, Body::Json(body)).await?;
            tell(&client, format, &answer).await?;
        }
    }
    Ok(())
}

/// Prints runs, newest first.
pub(crate) async fn list(
    client: &Client,
    filter: Filter,
    limit: Limit,
    format: output::Format,
) -> Result<(), Failure> {
    let query = query([
        ("playbook", filter.playbook),
        ("state", filter.state.as_ref().and_then(word)),
        ("trigger", filter.trigger.as_ref().and_then(word)),
        ("since", filter.since.map(|since| since.to_string())),
        ("until", filter.until.map(|until| until.to_string())),
    ]);
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

/// The word the command line and the API share for a choice.
pub(super) fn word(choice: &impl ValueEnum) -> Option<String> {
    Some(choice.to_possible_value()?.get_name().to_owned())
}

/// Reads `2027-01-01`, `2027-01-01T12:00:00Z` or, as a span before now, `2h`.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    if let Some(instant) = bellwether_kernel::Timestamp::parse(text) {
        return Ok(instant.to_jiff());
    }
    let before_now = || {
        let span: jiff::Span = text.parse().ok()?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Timestamp::now().checked_sub(duration).ok().filter(|_| !duration.is_negative())
    };
    before_now().ok_or_else(|| {
        "use a date (2027-01-01), a time (2027-01-01T12:00:00Z) or a span before now (2h, 7d)".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_an_instant_or_a_span_before_now() {
        assert_eq!(instant("2027-01-01").expect("a date").to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(instant("2027-01-01T12:00:00+02:00").expect("a time").to_string(), "2027-01-01T10:00:00Z");
        let hours = |hours| Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        let read = instant("2h").expect("a span");
        assert!(hours(3) < read && read < hours(1), "{read}");
        for wrong in ["", "yesterday", "-2h", "2"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn states_are_written_as_the_api_writes_them() {
        let states: Vec<String> = State::value_variants().iter().filter_map(word).collect();
        for state in states {
            let read: Result<bellwether_playbooks::RunState, _> = serde_json::from_value(json!(state));
            assert!(read.is_ok(), "{state}");
        }
        for trigger in Trigger::value_variants().iter().filter_map(word) {
            let read: Result<bellwether_playbooks::TriggerKind, _> = serde_json::from_value(json!(trigger));
            assert!(read.is_ok(), "{trigger}");
        }
    }
}
