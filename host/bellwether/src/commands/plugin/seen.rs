//! `bellwether plugin stats`, `logs` and `traps`: what is seen of a plugin's calls.

use bellwether_kernel::counted;
use clap::Subcommand;
use serde_json::{Value, json};

use super::top::{duration, size};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;

/// What is seen of a plugin's calls.
#[derive(Debug, Subcommand)]
pub(super) enum SeenCommand {
    /// Show what a plugin's calls came to, by version and role
    #[command(after_help = "Example:\n  bellwether plugin stats metric")]
    Stats {
        /// Its name
        plugin: String,
    },
    /// Print what a plugin logged last, as far as it concerns the key
    #[command(after_help = "\
Example:
  bellwether plugin logs metric --limit 20

A key of an organisation sees the lines of the organisation's calls, the operator's those of calls without a \
caller. Who owns the plugin sees too why answers of its made no sense.")]
    Logs {
        /// Its name
        plugin: String,
        /// Print at most so many, the last ones
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
    /// Print where a plugin trapped last, innermost function first
    #[command(after_help = "Example:\n  bellwether plugin traps metric")]
    Traps {
        /// Its name
        plugin: String,
        /// Print at most so many, the last ones
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
}

/// Shows it.
pub(super) async fn run(
    command: SeenCommand,
    client: &Client,
    format: output::Format,
) -> Result<(), Failure> {
    let (plugin, what, limit, text): (_, _, _, fn(&Value) -> String) = match command {
        SeenCommand::Stats { plugin } => (plugin, "stats", None, stats),
        SeenCommand::Logs { plugin, limit } => (plugin, "logs", Some(limit), logs),
        SeenCommand::Traps { plugin, limit } => (plugin, "traps", Some(limit), traps),
    };
    let query: Vec<_> = limit.map(|limit| ("limit", limit.to_string())).into_iter().collect();
    let answer = client.get(&["v1", "plugins", &plugin, what], &query).await?;
    Ok(output::value(format, &answer, text)?)
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn stats(plugin: &Value) -> String {
    let mut text = String::new();
    for version in list(plugin, "versions") {
        let cell = |pointer: &str| output::cell(version.pointer(pointer));
        text.push_str(&format!(
            "{} {} ({}), breaker {}\n",
            output::cell(plugin.get("name")),
            cell("/version"),
            cell("/state"),
            cell("/breaker/phase"),
        ));
        let Some(roles) = version["roles"].as_array() else {
            text.push_str("its calls are not this key's alone: only the operator sees them\n\n");
            continue;
        };
        let rows: Vec<Value> = roles.iter().map(row).collect();
        let columns = [
            ("ROLE", "/role"),
            ("CALLS", "/calls"),
            ("ERRORS", "/errors"),
            ("PROCESSOR", "/processor"),
            ("MEMORY", "/memory"),
            ("P50", "/p50"),
            ("P99", "/p99"),
            ("QUEUE P99", "/queue"),
            ("HOST CALLS", "/host_calls"),
        ];
        text.push_str(&output::table(&rows, &columns));
        let number = |name: &str| version["egress"][name].as_u64().unwrap_or_default();
        text.push_str(&format!(
            "egress: {}, {} failed, {} out, {} in\n\n",
            counted(number("requests"), "request"),
            number("failed"),
            size(number("sent_bytes")),
            size(number("received_bytes")),
        ));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A role's numbers, as people read them.
fn row(role: &Value) -> Value {
    let number = |pointer: &str| role.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let error =
        |error: &Value| format!("{} {}", output::cell(error.get("count")), output::cell(error.get("kind")));
    let errors: Vec<String> = list(role, "errors").map(error).collect();
    json!({
        "role": role["role"],
        "calls": role["calls"],
        "errors": errors,
        "processor": duration(number("/processor_microseconds")),
        "memory": size(number("/peak_memory_bytes")),
        "p50": duration(number("/latency/p50_microseconds")),
        "p99": duration(number("/latency/p99_microseconds")),
        "queue": duration(number("/queue/p99_microseconds")),
        "host_calls": role["host_calls"],
    })
}

fn logs(log: &Value) -> String {
    let line = |line: &Value| {
        let cell = |name: &str| output::cell(line.get(name));
        format!(
            "{} {} {} {} {}\n",
            cell("time"),
            cell("version"),
            cell("call"),
            cell("level"),
            cell("message")
        )
    };
    list(log, "items").map(line).collect()
}

fn traps(traps: &Value) -> String {
    let trap = |trap: &Value| {
        let cell = |name: &str| output::cell(trap.get(name));
        let at = list(trap, "backtrace").map(|function| format!("  in {}\n", output::cell(Some(function))));
        let at: String = at.collect();
        format!("{} {} {}: {}\n{at}", cell("time"), cell("version"), cell("role"), cell("message"))
    };
    list(traps, "items").map(trap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_shows_the_functions_it_was_in() {
        let shown = traps(
            &json!({"items": [{"time": "t", "version": "1.0.0", "role": "app", "message": "unreachable",
            "backtrace": ["divide", "run"]}]}),
        );
        assert_eq!(shown, "t 1.0.0 app: unreachable\n  in divide\n  in run\n");
    }

    #[test]
    fn statistics_show_errors_by_kind_and_what_is_not_the_key_s_to_see() {
        let version = json!({"version": "1.0.0", "state": "current", "breaker": {"phase": "closed"}, "roles": [
            {"role": "app", "calls": 12, "errors": [{"kind": "trap", "count": 2}], "processor_microseconds": 1500,
             "peak_memory_bytes": 65536, "host_calls": 3, "latency": {"p99_microseconds": 250}}], "egress": {"requests": 1}});
        let hidden = json!({"version": "2.0.0", "state": "canary", "breaker": {"phase": "open"}});
        let shown = stats(&json!({"name": "probe", "versions": [version, hidden]}));
        assert!(shown.contains("probe 1.0.0 (current), breaker closed\n"), "{shown}");
        assert!(shown.contains("app   12     2 trap  1.5 ms     64 KiB"), "{shown}");
        assert!(shown.ends_with("only the operator sees them\n"), "{shown}");
    }
}
