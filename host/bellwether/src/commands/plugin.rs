//! `bellwether plugin`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_plugins::{Grant, InvalidGrant};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::Limit;
use crate::client::{Body, Connection};
use crate::failure::Failure;
use crate::output;

/// `bellwether plugin`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// List installed plugins: the host's, and those of the key's organisation
    #[command(after_help = "Example:\n  bellwether plugin list")]
    List(Limit),
    /// Show one installed plugin
    #[command(after_help = "Example:\n  bellwether plugin show metric")]
    Show {
        /// Its name
        plugin: String,
    },
    /// Print a component's roles and the privileges it asks for, read off the file; needs no host
    #[command(after_help = "Example:\n  bellwether plugin inspect my_plugin.wasm")]
    Inspect {
        /// A component
        file: PathBuf,
    },
    /// Install a plugin, granting what it asks for, each with a scope
    #[command(after_help = "\
Examples:
  bellwether plugin install my_plugin.wasm --grant log --grant 'metrics-write=logins*'
  bellwether plugin install my_plugin.wasm --grant log --replace    # a newer version

An operator's key installs for every organisation, an admin's for its own.")]
    Install {
        /// A component
        file: PathBuf,
        /// A privilege, with a scope behind `=` where it has one; may be repeated
        #[arg(long, value_name = "PRIVILEGE[=SCOPE]")]
        grant: Vec<String>,
        /// Replace the plugin of that name
        #[arg(long)]
        replace: bool,
    },
    /// Remove an installed plugin
    #[command(after_help = "Example:\n  bellwether plugin remove my-plugin")]
    Remove {
        /// Its name
        plugin: String,
    },
    /// Show a plugin's grants, or put others in their place
    #[command(after_help = "\
Examples:
  bellwether plugin grants metric
  bellwether plugin grants metric --grant log --grant 'metrics-read=*' --grant 'metrics-write=logins*'")]
    Grants {
        /// Its name
        plugin: String,
        /// A privilege, with a scope behind `=` where it has one; may be repeated, replaces all there are
        #[arg(long, value_name = "PRIVILEGE[=SCOPE]")]
        grant: Vec<String>,
    },
}

const FIELDS: &[output::Column] = &[
    ("name", "/name"),
    ("version", "/version"),
    ("description", "/description"),
    ("owner", "/owner"),
    ("roles", "/roles"),
    ("digest", "/digest"),
    ("installed", "/installed"),
];

/// Works on plugins.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let format = arguments.connection.json.into();
    if let PluginCommand::Inspect { file } = &arguments.command {
        return inspect(file, format);
    }
    let client = arguments.connection.client()?;
    match arguments.command {
        PluginCommand::Inspect { .. } => {}
        PluginCommand::List(limit) => {
            let plugins = client.list(&["v1", "plugins"], &[], limit.items()).await?;
            let columns = [
                ("NAME", "/name"),
                ("VERSION", "/version"),
                ("OWNER", "/owner"),
                ("ROLES", "/roles"),
                ("DESCRIPTION", "/description"),
            ];
            output::listing(format, &plugins, &columns)?;
        }
        PluginCommand::Show { plugin } => {
            let plugin = client.get(&["v1", "plugins", &plugin], &[]).await?;
            output::value(format, &plugin, describe)?;
        }
        PluginCommand::Install { file, grant, replace } => {
            let body = Body::Bytes("application/wasm", read(&file)?);
            let mut query: Vec<_> =
                read_grants(&grant)?.iter().map(|grant| ("grant", grant.to_string())).collect();
            query.extend(replace.then(|| ("replace", "true".to_owned())));
            let answer = client.write(Method::POST, &["v1", "plugins"], &query, body).await?;
            output::value(format, &answer, describe)?;
        }
        PluginCommand::Remove { plugin } => {
            let answer = client.write(Method::DELETE, &["v1", "plugins", &plugin], &[], Body::None).await?;
            output::value(format, &answer, |_| format!("{plugin} is removed\n"))?;
        }
        PluginCommand::Grants { plugin, grant } if grant.is_empty() => {
            let plugin = client.get(&["v1", "plugins", &plugin], &[]).await?;
            output::value(format, &plugin["grants"], grants)?;
        }
        PluginCommand::Grants { plugin, grant } => {
            let body = Body::Json(json!({ "grants": read_grants(&grant)? }));
            let answer = client.write(Method::PUT, &["v1", "plugins", &plugin, "grants"], &[], body).await?;
            output::value(format, &answer, describe)?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Usage(format!("{} does not read: {error}", file.display())))
}

/// Reads the file alone: what it asks for is in it.
fn inspect(file: &Path, format: output::Format) -> Result<(), Failure> {
    let inspection = bellwether_plugins::inspect(&read(file)?)
        .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
    let value = serde_json::to_value(&inspection).context("an inspection is JSON")?;
    Ok(output::value(format, &value, describe_inspection)?)
}

fn describe_inspection(inspection: &Value) -> String {
    let fields = [
        ("name", "/name"),
        ("version", "/version"),
        ("description", "/description"),
        ("contract", "/contract"),
        ("roles", "/roles"),
        ("digest", "/digest"),
        ("bytes", "/size"),
    ];
    let mut text = output::record(inspection, &fields);
    text.push_str("\nIt asks for:\n");
    let requests = inspection["requests"].as_array().map_or(&[][..], Vec::as_slice);
    if requests.is_empty() {
        text.push_str("nothing\n");
    } else {
        text.push_str(&output::table(
            requests,
            &[("PRIVILEGE", "/privilege"), ("TO", "/purpose"), ("GRANT IT WITH", "/example")],
        ));
    }
    for problem in inspection["problems"].as_array().into_iter().flatten() {
        text.push_str(&format!("\nIt cannot be installed: {}\n", output::cell(Some(problem))));
    }
    text
}

fn describe(plugin: &Value) -> String {
    let mut text = output::record(plugin, FIELDS);
    text.push_str(&format!("\nIts grants:\n{}", grants(&plugin["grants"])));
    for route in plugin.pointer("/dialect/routes").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!("route {}\n", output::cell(Some(route))));
    }
    text
}

/// Grants as they are written on the command line, one a line.
fn grants(grants: &Value) -> String {
    let lines: String =
        grants.as_array().into_iter().flatten().map(|grant| format!("{}\n", grant_text(grant))).collect();
    if lines.is_empty() { "none\n".to_owned() } else { lines }
}

fn grant_text(grant: &Value) -> String {
    serde_json::from_value::<Grant>(grant.clone())
        .map_or_else(|_| output::cell(Some(grant)), |grant| grant.to_string())
}

/// Grants as the API takes them; a wrong one is refused before it is sent.
fn read_grants(texts: &[String]) -> Result<Vec<Grant>, Failure> {
    texts
        .iter()
        .map(|text| text.parse().map_err(|error: InvalidGrant| Failure::Usage(error.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_shown_as_they_are_written() {
        let shown = grants(
            &json!([{"interface": "log"}, {"interface": "metrics-write", "metrics": ["web.*", "api.*"]}]),
        );
        assert_eq!(shown, "log\nmetrics-write=web.*,api.*\n");
        assert_eq!(grants(&json!([])), "none\n");
    }

    #[test]
    fn a_wrong_grant_is_a_usage_error_that_says_what_would_be_right() {
        let Err(Failure::Usage(message)) = read_grants(&["metrics".to_owned()]) else {
            panic!("it is no grant")
        };
        assert!(message.contains("metrics-write"), "{message}");
    }
}
