//! `bellwether config`.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output;
use crate::settings::{Flags, HOST_KEY_VARIABLE, Loaded};

/// `bellwether config`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bellwether config --config bellwether.toml
  BELLWETHER_STORE__CACHE_BYTES=67108864 bellwether config --json

Takes what `bellwether serve` takes and prints each setting with where it comes from; secrets are not shown.")]
pub(crate) struct Arguments {
    /// Where settings come from.
    #[command(flatten)]
    settings: Flags,
    /// Print JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the settings a host would run with.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = arguments.settings.load()?;
    let host_key = std::env::var_os(HOST_KEY_VARIABLE).is_some();
    if arguments.json {
        let entries = loaded.effective.into_iter();
        let entries: Map<String, Value> = entries
            .map(|(path, value, source)| (path, json!({ "value": value, "source": source.to_string() })))
            .collect();
        return Ok(output::print(&format!("{:#}\n", Value::Object(entries)))?);
    }
    Ok(output::print(&tell(&loaded, host_key))?)
}

/// The settings as lines of the settings file, each with its source behind it.
fn tell(loaded: &Loaded, host_key_from_environment: bool) -> String {
    let rows = loaded.effective.iter().map(|(path, value, source)| {
        let value = if value.is_null() { "not set".to_owned() } else { value.to_string() };
        vec![path.clone(), format!("= {value}"), format!("# {source}")]
    });
    let host_key = match host_key_from_environment {
        true => format!("# environment {HOST_KEY_VARIABLE}"),
        false => format!("# {}", loaded.settings.data.join("host.key").display()),
    };
    let secret = vec!["(host key)".to_owned(), "= hidden".to_owned(), host_key];
    output::aligned(&rows.chain([secret]).collect::<Vec<_>>())
}
