//! The command line: one tree, one file per command.

mod audit;
mod backup;
mod calendar;
mod channel;
mod completions;
mod config;
mod delivery;
mod host;
mod import;
mod incident;
mod key;
mod metric;
mod monitor;
mod mute;
mod organisation;
mod playbook;
mod plugin;
mod record;
mod restore;
mod route;
pub(crate) mod run;
mod secret;
mod series;
mod serve;
mod whoami;

use std::ffi::OsString;
use std::future::Future;

use clap::{Args, Parser, Subcommand};

use crate::failure::{EXIT_CODES, Failure};

/// A plugin host for metrics, alerts and playbooks.
#[derive(Debug, Parser)]
#[command(name = "bellwether", version, max_term_width = 120, after_help = EXIT_CODES)]
#[command(after_long_help = format!("{FIRST_STEPS}\n\n{EXIT_CODES}"))]
pub(crate) struct CommandLine {
    /// Print JSON for programs; errors too, on the error stream
    // Before a command as behind it, where the help of every command that prints something shows it.
    #[arg(long, global = true, hide = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  bellwether serve --data ./data            # prints its first keys once
  export BELLWETHER_KEY=bw_…                # one of them
  bellwether metric create logins --data-type sum --interval daily
  bellwether metric add logins 3
  bellwether metric values logins";

/// Reads a number that JSON has: `NaN` and what is infinite are none.
fn number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number such as 41.5".to_owned())
}

/// Everything `bellwether` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a host
    Serve(serve::Arguments),
    /// Show what settings a host would run with, and where each comes from
    Config(config::Arguments),
    /// Metrics: create, add samples, read values
    Metric(metric::Arguments),
    /// Tagged series: write samples, ask questions, see what there is
    Series(series::Arguments),
    /// Events: send, search, show
    Event(record::EventArguments),
    /// Logs: send, search, show
    Log(record::LogArguments),
    /// Load samples from a file
    Import(import::Arguments),
    /// Plugins: inspect, install, grant, roll back, watch
    Plugin(plugin::Arguments),
    /// Playbooks: store, publish, run
    Playbook(playbook::Arguments),
    /// Runs of playbooks: list, show, cancel, replay
    Run(run::Arguments),
    /// Monitors: store, test over stored history, pause, see why
    Monitor(monitor::Arguments),
    /// Incidents: list, show, acknowledge, assign, comment, snooze, judge
    Incident(incident::Arguments),
    /// Mutes and downtimes: who is not told of what, and until when
    Mute(mute::Arguments),
    /// The calendar: suppressions, office hours, snoozes
    Calendar(calendar::Arguments),
    /// Channels: where incidents are told; put, try, pause
    Channel(channel::Arguments),
    /// Routes: which channels incidents go to; rules and tables
    Route(route::Arguments),
    /// What channels were told: list, show, resend dead letters
    Delivery(delivery::Arguments),
    /// Secrets that playbooks and channels name: set, never shown
    Secret(secret::Arguments),
    /// Keys: who may ask this host, and for what
    Key(key::Arguments),
    /// Organisations, for the operator; your own, for everybody
    Organisation(organisation::Arguments),
    /// Who the key in use belongs to
    Whoami(whoami::Arguments),
    /// What was done to keys, grants, installs and settings, and data that was deleted
    Audit(audit::Arguments),
    /// How the host is doing
    Host(host::Arguments),
    /// Copy everything a running host stores into a file
    Backup(backup::Arguments),
    /// Make a data folder from a backup
    Restore(restore::Arguments),
    /// Print what a shell needs to complete this command line
    Completions(completions::Arguments),
}

impl Command {
    /// Does it.
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Serve(arguments) => serve::run(&arguments),
            Self::Config(arguments) => config::run(&arguments),
            Self::Metric(arguments) => on_one_thread(metric::run(arguments)),
            Self::Series(arguments) => on_one_thread(series::run(arguments)),
            Self::Event(arguments) => on_one_thread(record::run_event(arguments)),
            Self::Log(arguments) => on_one_thread(record::run_log(arguments)),
            Self::Import(arguments) => on_one_thread(import::run(arguments)),
            Self::Plugin(arguments) => on_one_thread(plugin::run(arguments)),
            Self::Playbook(arguments) => on_one_thread(playbook::run(arguments)),
            Self::Run(arguments) => on_one_thread(run::run(arguments)),
            Self::Monitor(arguments) => on_one_thread(monitor::run(arguments)),
            Self::Incident(arguments) => on_one_thread(incident::run(arguments)),
            Self::Mute(arguments) => on_one_thread(mute::run(arguments)),
            Self::Calendar(arguments) => on_one_thread(calendar::run(arguments)),
            Self::Channel(arguments) => on_one_thread(channel::run(arguments)),
            Self::Route(arguments) => on_one_thread(route::run(arguments)),
            Self::Delivery(arguments) => on_one_thread(delivery::run(arguments)),
            Self::Secret(arguments) => on_one_thread(secret::run(arguments)),
            Self::Key(arguments) => on_one_thread(key::run(arguments)),
            Self::Organisation(arguments) => on_one_thread(organisation::run(arguments)),
            Self::Whoami(arguments) => on_one_thread(whoami::run(arguments)),
            Self::Audit(arguments) => on_one_thread(audit::run(arguments)),
            Self::Host(arguments) => on_one_thread(host::run(arguments)),
            Self::Backup(arguments) => on_one_thread(backup::run(arguments)),
            Self::Restore(arguments) => restore::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments),
        }
    }
}

/// Whether a command line that does not read asks for JSON: there is nothing but its words to tell.
pub(crate) fn asks_for_json(arguments: impl IntoIterator<Item = OsString>) -> bool {
    // What stands behind `--` is no flag.
    arguments.into_iter().take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// A client needs no pool of threads.
fn on_one_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(error.into()))?.block_on(work)
}

/// How much of a list is wanted.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Print at most so many
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

impl Limit {
    /// As a number of items.
    pub(crate) fn items(self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

/// The pairs of a query that were given.
pub(crate) fn query<'a>(
    pairs: impl IntoIterator<Item = (&'a str, Option<String>)>,
) -> Vec<(&'a str, String)> {
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// What an answer warns of.
pub(crate) fn warnings(answer: &serde_json::Value) -> impl Iterator<Item = &str> {
    answer["warnings"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str)
}

/// Says that on the standard error.
pub(crate) fn warn(answer: &serde_json::Value) {
    for warning in warnings(answer) {
        crate::output::note!("warning: {}", crate::output::printable(warning));
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_query_may_begin_with_a_minus() {
        for line in [
            "log search -service:shop --limit 3",
            "event search --oldest -host:a",
            "series query -avg:m{*} --step 60",
        ] {
            let read = CommandLine::try_parse_from(["bellwether"].into_iter().chain(line.split(' ')));
            assert!(read.is_ok(), "{line}: {read:?}");
        }
    }

    #[test]
    fn json_is_asked_for_before_a_command_as_behind_it() {
        for line in ["--json metric list", "metric --json list", "metric list --json"] {
            let read = CommandLine::try_parse_from(["bellwether"].into_iter().chain(line.split(' ')));
            let CommandLine { json, command: Command::Metric(arguments) } = read.expect(line) else {
                panic!("{line}")
            };
            assert!(json && arguments.connection.json, "{line}");
        }
        let read = CommandLine::try_parse_from(["bellwether", "--json", "config"]);
        let Ok(CommandLine { json: true, command: Command::Config(arguments) }) = read else {
            panic!("{read:?}")
        };
        assert!(arguments.json);
    }

    #[test]
    fn wrong_usage_is_told_to_programs_as_every_other_failure() {
        for (line, told) in [
            ("metric list --limmit 3 --json", "unexpected argument '--limmit' found"),
            ("--json metric add logins many", "expected a number such as 41.5"),
            ("metric add logins many --json", "expected a number such as 41.5"),
            ("metric create x --data-type median --json", "sum, count, min"),
            ("metric show --json", "<METRIC>"),
            ("metric --json", "requires a subcommand"),
        ] {
            let words = || line.split(' ').map(OsString::from);
            assert!(asks_for_json(words()), "{line}");
            let wrong = CommandLine::try_parse_from(std::iter::once("bellwether".into()).chain(words()));
            let failure = Failure::from(&wrong.expect_err(line));
            let Failure::Usage(message) = &failure else { panic!("{line}: {failure:?}") };
            assert!(message.contains(told), "{line}: {message}");
            for noise in ["error:", "Usage:", "For more information", "\u{1b}"] {
                assert!(!message.contains(noise), "{line}: {message}");
            }
        }
        assert!(!asks_for_json(["log", "search", "--", "--json"].map(OsString::from)));
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            let leaf = command.get_subcommands().next().is_none();
            let help = command
                .get_after_help()
                .or_else(|| command.get_after_long_help())
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(!leaf || help.contains("bellwether"), "{path} shows no example");
            command.get_subcommands().for_each(|command| check(command, &path));
        }
        check(&CommandLine::command(), "");
    }
}
