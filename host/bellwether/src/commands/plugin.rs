//! `bellwether plugin`.

mod seen;
mod shown;
mod top;
mod tried;
mod versions;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_build::Identity;
use bellwether_plugins::{Grant, InvalidGrant, PluginRole, Privilege};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use self::shown::{
    describe, describe_built, describe_inspection, describe_manifest, describe_settings, grants,
};
use super::{Limit, warn};
use crate::author::build::{Component, build};
use crate::author::sandbox::Sandbox;
use crate::author::trial::read_input;
use crate::author::{contract, dev, new, trial};
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
    /// Start a project of a plugin: sources, tests, and everything it is built from but Rust; needs no host
    #[command(after_help = "\
Examples:
  bellwether plugin new count-visits --role app         # then: cd count-visits && cargo test
  bellwether plugin new visits --role dialect --path ~/plugins/visits")]
    New {
        /// The plugin's name: a-z, 0-9 and -, a letter first
        name: String,
        /// What it is to be: app, dialect, formatter, detector or forecaster
        #[arg(long, value_parser = new::role)]
        role: PluginRole,
        /// The project's folder; one of the plugin's name if absent
        #[arg(long, value_name = "FOLDER")]
        path: Option<PathBuf>,
    },
    /// Put this binary's SDK into a project, in the place of an older one's; needs no host
    #[command(after_help = "Example:\n  bellwether plugin vendor --path ~/plugins/visits")]
    Vendor {
        /// Where the project is.
        #[command(flatten)]
        project: Project,
    },
    /// Build a project's component and print what it asks for; needs no host
    #[command(after_help = "\
Examples:
  bellwether plugin build
  bellwether plugin build --path ~/plugins/visits --output ~/components")]
    Build {
        /// Where the project is.
        #[command(flatten)]
        project: Project,
        /// The folder the component is put into; the project's target if absent
        #[arg(long, value_name = "FOLDER")]
        output: Option<PathBuf>,
    },
    /// Write the contract as WIT files, and a world to begin with, for a plugin in any language; needs no host
    #[command(after_help = "\
Examples:
  bellwether plugin contract --role app --privilege log --privilege http-client
  bellwether plugin contract --role app --output ~/plugins/weather/wit

A world.wit that is there already is left as it is.")]
    Contract {
        /// The folder
        #[arg(long, value_name = "FOLDER", default_value = "wit")]
        output: PathBuf,
        /// What it is to be: app, dialect, formatter, detector or forecaster, or configurable-dialect for a dialect with
        /// settings or credentials that belong together; may be repeated
        #[arg(long, value_parser = contract::export, default_value = "app")]
        role: Vec<contract::Export>,
        /// What it asks for, as log or metrics-read; may be repeated, not with formatter, detector or forecaster
        #[arg(long, value_parser = contract::privilege)]
        privilege: Vec<Privilege>,
    },
    /// Put a name, a version and a description into a component another tool has made; needs no host
    #[command(
        after_help = "Example:\n  bellwether plugin name weather.wasm weather 0.1.0 --description 'Tells the weather.'"
    )]
    Name {
        /// The component; it is changed in place
        file: PathBuf,
        /// The plugin's name: a-z, 0-9 and -, a letter first
        name: String,
        /// Its version, a semantic one as in 1.4.2
        version: String,
        /// One line; what it has stays, if not said
        #[arg(long)]
        description: Option<String>,
    },
    /// Run a component of any language in the real engine: its cases, and a battery of what hosts rely on; needs no host
    #[command(after_help = "\
Examples:
  bellwether plugin test                                   # builds, then runs cases.toml and the battery
  bellwether plugin test my_plugin.wasm --setting url=https://alerts.example/hook
  bellwether plugin test --input page=/start --input times=2
  bellwether plugin test my_plugin.wasm --inputs inputs.toml --grant http-client=https://api.example.com")]
    Test {
        /// A component; the project's own, built first, if absent
        file: Option<PathBuf>,
        /// Where the project is.
        #[command(flatten)]
        project: Project,
        /// Inputs to run an app with once: TOML, or JSON if the name ends in .json
        #[arg(long, value_name = "FILE", conflicts_with = "cases")]
        inputs: Option<PathBuf>,
        /// One input, JSON or text; may be repeated
        #[arg(long, value_name = "NAME=VALUE", conflicts_with = "cases")]
        input: Vec<String>,
        /// What to run instead of the project's cases.toml
        #[arg(long, value_name = "FILE")]
        cases: Option<PathBuf>,
        /// What the battery sets a role to, or gives an app, where nothing made up will do; may be repeated
        #[arg(long, value_name = "NAME=VALUE", conflicts_with_all = ["input", "inputs"])]
        setting: Vec<String>,
        /// A privilege with its scope; all metrics of the host in memory are granted as it is
        #[arg(long, value_name = "PRIVILEGE[=SCOPE]")]
        grant: Vec<String>,
    },
    /// Build and install on every save, and show what the plugin logs on the host
    #[command(after_help = "\
Example:
  bellwether plugin dev --grant 'metrics-write=visits' --run count-visits-trial --inputs '{\"page\": \"/start\"}'

Lines are those of the runs the key sees; a dialect's are in the host's own log.")]
    Dev {
        /// Where the project is.
        #[command(flatten)]
        project: Project,
        /// A privilege, with a scope behind `=` where it has one; what the plugin has on the host already, it keeps
        #[arg(long, value_name = "PRIVILEGE[=SCOPE]")]
        grant: Vec<String>,
        /// A playbook to run after every install
        #[arg(long, value_name = "PLAYBOOK")]
        run: Option<String>,
        /// What it is started with: JSON, or @FILE
        #[arg(long, value_name = "JSON", requires = "run")]
        inputs: Option<String>,
        /// Build, install and run once, and end
        #[arg(long)]
        once: bool,
    },
    /// Print what a plugin takes and gives as JSON Schema, of an installed one or of a file
    #[command(after_help = "\
Examples:
  bellwether plugin manifest metric
  bellwether plugin manifest my_plugin.wasm --json | jq .app.inputs")]
    Manifest {
        /// The name of an installed plugin, or a component
        plugin: String,
    },
    /// Install a plugin, granting what it asks for, each with a scope
    #[command(after_help = "\
Examples:
  bellwether plugin install my_plugin.wasm --grant log --grant 'metrics-write=logins*'
  bellwether plugin install my_plugin.wasm --grant log                # a newer version is current at once
  bellwether plugin install my_plugin.wasm --grant log --canary 10    # or tried on every tenth call first
  bellwether plugin install --bundled metric                          # one that came with the host's binary

An operator's key installs for every organisation, an admin's for its own. The versions before are kept; calls in \
flight finish on what they began with. A bundled plugin, which only an operator installs, is granted what it had, \
or what a new host grants it, where nothing else is said.")]
    Install {
        /// A component
        #[arg(required_unless_present = "bundled")]
        file: Option<PathBuf>,
        /// The plugin of this name that came with the host's binary, after it was removed or its file was lost
        #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "canary"])]
        bundled: Option<String>,
        /// A privilege, with a scope behind `=` where it has one; may be repeated
        #[arg(long, value_name = "PRIVILEGE[=SCOPE]")]
        grant: Vec<String>,
        /// Take the place of another component of the same version
        #[arg(long)]
        replace: bool,
        /// Send only so many hundredths of the calls to it, and leave the current version the others
        #[arg(long, value_name = "SHARE", value_parser = clap::value_parser!(u8).range(0..=100))]
        canary: Option<u8>,
    },
    /// Have an installed detector score points, or a metric's values; nothing is kept
    #[command(after_help = "\
Examples:
  bellwether plugin detect threshold --points '1 2 1 2 1 2 - 90'
  bellwether plugin detect threshold --metric logins --from 2024-04-01 --setting deviations=5")]
    Detect(tried::Detect),
    /// Have an installed forecaster predict the points that follow; nothing is kept
    #[command(after_help = "\
Example:
  bellwether plugin forecast seasonal-naive --metric logins --from 2024-04-01 --horizon 7")]
    Forecast(tried::Forecast),
    /// Show what an installed formatter would send, its secrets named and not shown; nothing is sent
    #[command(after_help = "\
Examples:
  bellwether plugin format webhook --setting url=https://alerts.example/hook
  bellwether plugin format webhook --setting url=https://alerts.example/hook --event closed --answer 503")]
    Format(tried::Notify),
    /// Remove an installed plugin and the state it kept, or one version of it
    #[command(after_help = "\
Examples:
  bellwether plugin remove my-plugin
  bellwether plugin remove my-plugin --version 1.4.2

What a published playbook, an open run, a channel or a monitor calls is not removed, nor a dialect that \
organisations have settings of; --force does it all the same. A dialect that is not there answers 404, at which \
senders may drop what they hold: 'plugin disable' has them wait. One that came with the binary stays removed until \
it is installed again (plugin install --bundled).")]
    Remove {
        /// Its name
        plugin: String,
        /// Only this version
        #[arg(long)]
        version: Option<String>,
        /// Although somebody keeps to it
        #[arg(long)]
        force: bool,
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
    /// Show how a dialect is set for the key's organisation, or set it
    #[command(after_help = "\
Examples:
  bellwether plugin settings chainpatrol
  bellwether plugin settings chainpatrol --setting brands_metrics=true --setting threats_metric=soc.threats
  bellwether plugin settings chainpatrol --reset                      # back to every default")]
    Settings {
        /// The dialect's name
        plugin: String,
        /// One setting, JSON or text; may be repeated, replaces all there are
        #[arg(long, value_name = "NAME=VALUE", conflicts_with = "reset")]
        setting: Vec<String>,
        /// Leave every setting its default
        #[arg(long)]
        reset: bool,
    },
    /// What a plugin's versions are, how they do, and which of them is called
    #[command(flatten)]
    Versions(versions::VersionCommand),
    /// What is seen of a plugin's calls
    #[command(flatten)]
    Seen(seen::SeenCommand),
    /// Watch plugins at work in a terminal: s sorts by the next column, q ends
    #[command(after_help = "\
Examples:
  bellwether plugin top
  bellwether plugin top --sort p99 --once")]
    Top(top::Arguments),
}

/// A project of a plugin.
#[derive(Args, Clone, Debug)]
struct Project {
    /// The project's folder
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    path: PathBuf,
}

/// Works on plugins.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let format = arguments.connection.json.into();
    // What needs no host comes first: an author may have none.
    let command = match arguments.command {
        PluginCommand::Inspect { file } => return inspect(&file, format),
        PluginCommand::New { name, role, path } => return begin(&name, role, path, format),
        PluginCommand::Vendor { project } => return new::vendor(&project.path),
        PluginCommand::Build { project, output } => {
            let built = build(&project.path, output.as_deref())?.shown()?;
            output::value(format, &built, describe_built)?;
            if built["problems"].as_array().is_some_and(|problems| !problems.is_empty()) {
                let why = "it was built, but no host would install it: mend what is said above";
                return Err(Failure::Failed(anyhow::anyhow!(why)));
            }
            return Ok(());
        }
        PluginCommand::Contract { output: folder, role, privilege } => {
            let contract::Written { world, kept } = contract::write(&folder, &role, &privilege)?;
            let (folder, world) = (folder.display(), world.display().to_string());
            let told = if kept { ", which was there and is left as it is" } else { "" };
            return Ok(output::value(format, &json!({"world": world, "kept": kept}), |_| {
                format!("The contract is in {folder}, the plugin's world in {world}{told}\n")
            })?);
        }
        PluginCommand::Name { file, name, version, description } => {
            let had = Component::read(&file)?.inspection.description;
            let description = description.or(had).unwrap_or_default();
            contract::name(&file, &Identity { name, version, description, licence: None })?;
            return inspect(&file, format);
        }
        PluginCommand::Test { file, project, inputs, input, cases, setting, grant } => {
            let (folder, grants) = (project.path, read_grants(&grant)?);
            lines_of_plugins();
            return trial::run(&trial::Trial { file, folder, inputs, input, cases, setting, grants }, format)
                .await;
        }
        PluginCommand::Manifest { plugin } if Path::new(&plugin).is_file() => {
            let sandbox = Sandbox::describing(&Component::read(Path::new(&plugin))?).await?;
            let manifest =
                serde_json::to_value(sandbox.installed().manifest()).context("a manifest is JSON")?;
            return Ok(output::value(format, &manifest, describe_manifest)?);
        }
        command => command,
    };
    let client = arguments.connection.client()?;
    match command {
        PluginCommand::Inspect { .. }
        | PluginCommand::New { .. }
        | PluginCommand::Vendor { .. }
        | PluginCommand::Build { .. }
        | PluginCommand::Contract { .. }
        | PluginCommand::Name { .. }
        | PluginCommand::Test { .. } => {}
        PluginCommand::Manifest { plugin } => {
            let manifest = client.get(&["v1", "plugins", &plugin, "manifest"], &[]).await?;
            output::value(format, &manifest, describe_manifest)?;
        }
        PluginCommand::Dev { project, grant, run, inputs, once } => {
            let inputs = inputs.as_deref().map_or(Ok(json!({})), super::playbook::read_inputs)?;
            let (folder, grants) = (project.path, read_grants(&grant)?);
            dev::run(&dev::Loop { folder, grants, playbook: run, inputs, once }, &client).await?;
        }
        PluginCommand::List(limit) => {
            let plugins = client.list(&["v1", "plugins"], &[], limit.items()).await?;
            let columns = [
                ("NAME", "/name"),
                ("VERSION", "/version"),
                ("OWNER", "/owner"),
                ("ENABLED", "/enabled"),
                ("ROLES", "/roles"),
                ("PROBLEM", "/problem"),
                ("DESCRIPTION", "/description"),
            ];
            output::listing(format, &plugins, &columns)?;
        }
        PluginCommand::Show { plugin } => {
            let plugin = client.get(&["v1", "plugins", &plugin], &[]).await?;
            output::value(format, &plugin, describe)?;
        }
        PluginCommand::Versions(command) => versions::run(command, &client, format).await?,
        PluginCommand::Seen(command) => seen::run(command, &client, format).await?,
        PluginCommand::Top(arguments) => top::run(arguments, &client, format).await?,
        PluginCommand::Install { file, bundled, grant, replace, canary } => {
            let body = match (file, bundled) {
                // What is no component is refused here, as by every command that is given one.
                (Some(file), _) => Body::Bytes("application/wasm", Component::read(&file)?.bytes),
                (None, bundled) => Body::Json(json!({ "bundled": bundled })),
            };
            let mut query: Vec<_> =
                read_grants(&grant)?.iter().map(|grant| ("grant", grant.to_string())).collect();
            query.extend(replace.then(|| ("replace", "true".to_owned())));
            query.extend(canary.map(|share| ("canary", share.to_string())));
            let answer = client.write(Method::POST, &["v1", "plugins"], &query, body).await?;
            output::value(format, &answer, describe)?;
            warn(&answer);
        }
        PluginCommand::Detect(arguments) => tried::detect(&arguments, &client, format).await?,
        PluginCommand::Forecast(arguments) => tried::forecast(&arguments, &client, format).await?,
        PluginCommand::Format(arguments) => tried::show(&arguments, &client, format).await?,
        PluginCommand::Remove { plugin, version, force } => {
            let mut path = vec!["v1", "plugins", &plugin];
            path.extend(version.iter().flat_map(|version| ["versions", version]));
            let query = super::query([("force", force.then(|| "true".to_owned()))]);
            let answer = client.write(Method::DELETE, &path, &query, Body::None).await?;
            let version = version.as_deref().map_or_else(String::new, |version| format!(" {version}"));
            output::value(format, &answer, |_| format!("{plugin}{version} is removed\n"))?;
            warn(&answer);
        }
        PluginCommand::Settings { plugin, setting, reset } => {
            let path = ["v1", "plugins", &plugin, "settings"];
            let answer = if setting.is_empty() && !reset {
                client.get(&path, &[]).await?
            } else {
                let settings: serde_json::Map<_, _> =
                    setting.iter().map(|text| read_input("--setting", text)).collect::<Result<_, _>>()?;
                client.write(Method::PUT, &path, &[], Body::Json(json!({ "settings": settings }))).await?
            };
            output::value(format, &answer, describe_settings)?;
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

/// Reads the file alone: what it asks for is in it.
fn inspect(file: &Path, format: output::Format) -> Result<(), Failure> {
    let value = serde_json::to_value(Component::read(file)?.inspection).context("an inspection is JSON")?;
    Ok(output::value(format, &value, describe_inspection)?)
}

/// Starts a project and says what to do next.
fn begin(name: &str, role: PluginRole, path: Option<PathBuf>, format: output::Format) -> Result<(), Failure> {
    let folder = new::create(name, role, path)?.display().to_string();
    Ok(output::value(format, &json!({"name": name, "role": role, "folder": folder}), |_| {
        format!(
            "{folder} is made. Next:\n  cd {folder}\n  cargo test\n  bellwether plugin build\n  bellwether plugin test\nREADME.md there says how to install it.\n"
        )
    })?)
}

/// Shows on the error stream what a component logs where no run keeps it, and why a call came to nothing.
fn lines_of_plugins() {
    let shown =
        tracing_subscriber::EnvFilter::new("bellwether_plugins=debug,bellwether_plugins::registry=warn");
    let lines = tracing_subscriber::fmt().with_env_filter(shown).with_target(false).without_time();
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    // Somebody else's subscriber shows them as well.
    let _ = lines.with_writer(std::io::stderr).try_init();
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
    use clap::Parser as _;

    use super::*;
    use crate::commands::{Command, CommandLine};

    #[tokio::test]
    async fn a_file_that_is_no_component_is_wrong_usage_whichever_command_is_given_it() {
        // As `main` does; another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broken.wasm");
        std::fs::write(&file, b"\0asm\x0d\0\x01\0broken").unwrap();
        let file = file.to_str().unwrap();
        for words in [
            &["inspect", file][..],
            &["manifest", file],
            &["test", file],
            &["name", file, "a", "1.0.0"],
            // Nobody listens there: what is refused needs no host.
            &["install", file, "--url", "http://127.0.0.1:1"],
        ] {
            let line = CommandLine::try_parse_from([&["bellwether", "plugin"], words].concat()).unwrap();
            let Command::Plugin(arguments) = line.command else { panic!("{words:?}") };
            let failure = run(arguments).await.unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{words:?}: {failure:?}");
            assert!(
                failure.for_people().contains("broken.wasm: the file is not a plugin: it is malformed"),
                "{words:?}: {failure:?}"
            );
        }
    }

    #[test]
    fn a_wrong_grant_is_a_usage_error_that_says_what_would_be_right() {
        let Err(Failure::Usage(message)) = read_grants(&["metrics".to_owned()]) else {
            panic!("it is no grant")
        };
        assert!(message.contains("metrics-write"), "{message}");
    }
}
