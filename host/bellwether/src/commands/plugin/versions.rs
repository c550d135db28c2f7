//! `bellwether plugin versions`, `rollback`, `canary`, `enable`, `disable`, `limits` and `instances`: which version is
//! called, if any, on what, and what it may use.

use bellwether_plugins::Instances;
use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::super::{Limit, warn};
use super::shown::describe;
use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::output;

/// What is done about a plugin's versions.
#[derive(Debug, Subcommand)]
pub(super) enum VersionCommand {
    /// List the versions of a plugin that are kept, newest first
    #[command(after_help = "Example:\n  bellwether plugin versions metric")]
    Versions {
        /// Its name
        plugin: String,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Make an earlier version of a plugin the current one; calls in flight finish
    #[command(visible_alias = "roll-back")]
    #[command(after_help = "\
Examples:
  bellwether plugin rollback metric                 # to what was installed before
  bellwether plugin rollback metric --to 1.4.2")]
    Rollback {
        /// Its name
        plugin: String,
        /// The version to go back to
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
    },
    /// Show the version that is tried on a share of the calls, try one, promote it or abort it
    #[command(after_help = "\
Examples:
  bellwether plugin canary metric                          # how it does
  bellwether plugin canary metric 1.5.0 --share 10         # a tenth of the calls
  bellwether plugin canary metric --promote                # everybody
  bellwether plugin canary metric --abort                  # nobody

A caller is always answered by one version; a run keeps to the one it began with. A canary that fails more often \
than the current version is ended by the host itself.")]
    Canary {
        /// Its name
        plugin: String,
        /// A version that is installed
        #[arg(requires = "share")]
        version: Option<String>,
        /// Hundredths of the calls
        #[arg(long, requires = "version", value_parser = clap::value_parser!(u8).range(0..=100))]
        share: Option<u8>,
        /// Make it the current version
        #[arg(long, conflicts_with_all = ["version", "abort"])]
        promote: bool,
        /// Send nobody to it any more
        #[arg(long, conflicts_with = "version")]
        abort: bool,
    },
    /// Switch a plugin off: nobody calls it, and it keeps its versions, grants, limits and state
    #[command(after_help = "\
Example:
  bellwether plugin disable tamtam        # as long as it is not switched on again, whatever the binary brings")]
    Disable {
        /// Its name
        plugin: String,
    },
    /// Switch a plugin on again
    #[command(after_help = "Example:\n  bellwether plugin enable tamtam")]
    Enable {
        /// Its name
        plugin: String,
    },
    /// Show what a plugin's calls may use, or set limits of its own
    #[command(after_help = "\
Examples:
  bellwether plugin limits metric
  bellwether plugin limits metric --set memory_bytes=1048576 --set call_milliseconds=500
  bellwether plugin limits metric --unset memory_bytes")]
    Limits {
        /// Its name
        plugin: String,
        /// A limit and its value; may be repeated
        #[arg(long, value_name = "LIMIT=NUMBER")]
        set: Vec<String>,
        /// A limit that is to be the host's again; may be repeated
        #[arg(long, value_name = "LIMIT")]
        unset: Vec<String>,
    },
    /// Say whether a plugin's calls get an instance each, or follow each other on the same ones
    #[command(after_help = "\
Examples:
  bellwether plugin instances metric warm      # quicker; an organisation's calls share what the plugin keeps in memory
  bellwether plugin instances metric fresh     # nothing of a call is left for the next")]
    Instances {
        /// Its name
        plugin: String,
        /// Of what kind
        kind: Kind,
    },
}

/// On what calls run.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    /// An instance for each call.
    Fresh,
    /// Instances that are kept for an organisation's next calls.
    Warm,
}

impl From<Kind> for Instances {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Fresh => Self::Fresh,
            Kind::Warm => Self::Warm,
        }
    }
}

/// Does it.
pub(super) async fn run(
    command: VersionCommand,
    client: &Client,
    format: output::Format,
) -> Result<(), Failure> {
    match command {
        VersionCommand::Versions { plugin, limit } => {
            let versions = client.list(&["v1", "plugins", &plugin, "versions"], &[], limit.items()).await?;
            let columns = [
                ("VERSION", "/version"),
                ("STATE", "/state"),
                ("LOADED", "/loaded"),
                ("INSTALLED", "/installed"),
                ("BY", "/actor"),
                ("BYTES", "/size"),
                ("DIGEST", "/digest"),
            ];
            output::listing(format, &versions, &columns)?;
        }
        VersionCommand::Rollback { plugin, to } => {
            let body = Body::Json(json!({ "version": to }));
            let answer =
                client.write(Method::POST, &["v1", "plugins", &plugin, "roll-back"], &[], body).await?;
            output::value(format, &answer, describe)?;
            warn(&answer);
        }
        VersionCommand::Canary { plugin, promote: true, .. } => {
            let path = ["v1", "plugins", &plugin, "canary", "promote"];
            let answer = client.write(Method::POST, &path, &[], Body::None).await?;
            output::value(format, &answer, describe)?;
            warn(&answer);
        }
        VersionCommand::Canary { plugin, abort: true, .. } => {
            let path = ["v1", "plugins", &plugin, "canary"];
            let answer = client.write(Method::DELETE, &path, &[], Body::None).await?;
            output::value(format, &answer, describe)?;
        }
        VersionCommand::Canary { plugin, version: Some(version), share, .. } => {
            let body = Body::Json(json!({ "version": version, "share": share }));
            let answer = client.write(Method::PUT, &["v1", "plugins", &plugin, "canary"], &[], body).await?;
            output::value(format, &answer, canary)?;
        }
        VersionCommand::Canary { plugin, .. } => {
            let shown = client.get(&["v1", "plugins", &plugin], &[]).await?;
            let both = json!({ "canary": shown.get("canary"), "last_canary": shown.get("last_canary") });
            output::value(format, &both, canaries)?;
        }
        VersionCommand::Limits { plugin, set, unset } => {
            let path = ["v1", "plugins", plugin.as_str(), "limits"];
            let mut limits = client.get(&path, &[]).await?;
            if !set.is_empty() || !unset.is_empty() {
                let body = Body::Json(changed(&limits, &set, &unset)?);
                limits = client.write(Method::PUT, &path, &[], body).await?;
            }
            output::value(format, &limits, shown_limits)?;
        }
        VersionCommand::Disable { plugin } => switch(client, format, &plugin, false).await?,
        VersionCommand::Enable { plugin } => switch(client, format, &plugin, true).await?,
        VersionCommand::Instances { plugin, kind } => {
            let body = Body::Json(json!({ "instances": Instances::from(kind) }));
            let answer = client.write(Method::PATCH, &["v1", "plugins", &plugin], &[], body).await?;
            output::value(format, &answer, describe)?;
        }
    }
    Ok(())
}

/// Switches a plugin on or off.
async fn switch(client: &Client, format: output::Format, plugin: &str, enabled: bool) -> Result<(), Failure> {
    let body = Body::Json(json!({ "enabled": enabled }));
    let answer = client.write(Method::PATCH, &["v1", "plugins", plugin], &[], body).await?;
    Ok(output::value(format, &answer, describe)?)
}

/// The limits that are set, after a change of those the host tells of.
fn changed(present: &Value, set: &[String], unset: &[String]) -> Result<Value, Failure> {
    let mut limits: Map<String, Value> = present["set"].as_object().cloned().unwrap_or_default();
    let known = present["effective"].as_object();
    for name in unset {
        if let Some(known) = known.filter(|known| !known.contains_key(name)) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(Failure::Usage(format!(
                "--unset is {name:?}, expected a limit: one of {}",
                names.join(", ")
            )));
        }
        limits.remove(name);
    }
    for pair in set {
        let read = pair.split_once('=').and_then(|(name, number)| Some((name, number.parse::<u64>().ok()?)));
        let (name, number) = read.ok_or_else(|| {
            Failure::Usage(format!("--set {pair:?} is no limit and number such as memory_bytes=1048576"))
        })?;
        limits.insert(name.to_owned(), number.into());
    }
    Ok(Value::Object(limits))
}

/// Every limit that holds, and which of them are the plugin's own.
fn shown_limits(limits: &Value) -> String {
    let row = |(name, value): (&String, &Value)| {
        let from = if limits["set"].get(name).is_some() { "the plugin" } else { "the host" };
        json!({ "name": name, "value": value, "from": from })
    };
    let rows: Vec<Value> = limits["effective"].as_object().into_iter().flatten().map(row).collect();
    let table = output::table(&rows, &[("LIMIT", "/name"), ("VALUE", "/value"), ("SET BY", "/from")]);
    format!("version {}\n\n{table}", output::cell(limits.get("version")))
}

fn canary(canary: &Value) -> String {
    let fields = [
        ("version", "/version"),
        ("share, %", "/share"),
        ("since", "/since"),
        ("by", "/actor"),
        ("its calls, 5 min", "/calls/calls"),
        ("failed", "/calls/failed"),
        ("current's calls, 5 min", "/current_calls/calls"),
        ("failed", "/current_calls/failed"),
    ];
    output::record(canary, &fields)
}

fn canaries(both: &Value) -> String {
    let mut text = match &both["canary"] {
        Value::Null => "there is no canary\n".to_owned(),
        present => canary(present),
    };
    if !both["last_canary"].is_null() {
        let fields = [
            ("the last one", "/last_canary/version"),
            ("was", "/last_canary/how"),
            ("at", "/last_canary/at"),
            ("because", "/last_canary/reason"),
        ];
        text.push_str(&format!("\n{}", output::record(both, &fields)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_not_named_keeps_its_value() {
        let present = json!({"set": {"memory_bytes": 1, "log_lines": 2},
            "effective": {"memory_bytes": 1, "log_lines": 2, "host_calls": 1_000}});
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let after = changed(&present, &texts(&["host_calls=3"]), &texts(&["log_lines"])).unwrap();
        assert_eq!(after, json!({"memory_bytes": 1, "host_calls": 3}));
        for wrong in ["memory_bytes", "memory_bytes=much", "memory_bytes=-1"] {
            let refused = changed(&present, &texts(&[wrong]), &[]);
            assert!(matches!(refused, Err(Failure::Usage(message)) if message.contains(wrong)));
        }
        let refused = changed(&present, &[], &texts(&["memory"]));
        assert!(matches!(refused, Err(Failure::Usage(message)) if message.contains("memory_bytes")));
        assert_eq!(changed(&present, &[], &texts(&["host_calls"])).unwrap(), present["set"]);
    }

    #[test]
    fn limits_say_who_set_them() {
        let limits = json!({"version": "1.0.0", "set": {"log_lines": 5},
            "effective": {"log_lines": 5, "memory_bytes": 1024}});
        let shown = shown_limits(&limits);
        assert!(shown.contains("log_lines     5      the plugin\n"), "{shown}");
        assert!(shown.contains("memory_bytes  1024   the host\n"), "{shown}");
    }
}
