//! `bellwether config`.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::host_key::Place;
use crate::output;
use crate::serve::Files;
use crate::settings::{Flags, Loaded};

/// `bellwether config`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  bellwether config --config bellwether.toml
  BELLWETHER_STORE__CACHE_BYTES=67108864 bellwether config --json

Takes what `bellwether serve` takes and prints each setting with where it comes from; secrets are not shown. \
Settings and files they name that `serve` would not start with are refused, with what would be right, and so is a host \
key that is missing or is none. Whether it is the store's own shows when the store is opened.")]
pub(crate) struct Arguments {
    /// Where settings come from.
    #[command(flatten)]
    settings: Flags,
    /// Print JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the settings a host would run with, once they, the files they name and the host key are found to be right.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = arguments.settings.load()?;
    Files::read(&loaded.settings).map_err(|wrong| loaded.refused(&wrong))?;
    let host_key = Place::of(&loaded.settings.data);
    host_key.key().map_err(|error| Failure::Usage(format!("{error:#}")))?;
    if arguments.json {
        let entries = loaded.effective.into_iter();
        let entries: Map<String, Value> = entries
            .map(|(path, value, source)| (path, json!({ "value": value, "source": source.to_string() })))
            .collect();
        return Ok(output::print(&format!("{:#}\n", Value::Object(entries)))?);
    }
    Ok(output::print(&tell(&loaded, &host_key))?)
}

/// The settings as lines of the settings file, each with its source behind it.
fn tell(loaded: &Loaded, host_key: &Place) -> String {
    let rows = loaded.effective.iter().map(|(path, value, source)| {
        let value = if value.is_null() { "not set".to_owned() } else { value.to_string() };
        vec![path.clone(), format!("= {value}"), format!("# {source}")]
    });
    let secret = vec!["(host key)".to_owned(), "= hidden".to_owned(), format!("# {host_key}")];
    output::aligned(&rows.chain([secret]).collect::<Vec<_>>())
}
