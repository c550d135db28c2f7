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
    let place = Place::of(&loaded.settings.data);
    let is_there = place.key().map_err(|error| Failure::Usage(format!("{error:#}")))?.is_some();
    let host_key = HostKeyShown { place, is_there };
    if let Some(told) = loaded.passed_over_told() {
        output::note!("{told}");
    }
    if arguments.json {
        let entries = loaded.effective.into_iter();
        let entries: Map<String, Value> = entries
            .map(|(path, value, source)| (path, json!({ "value": value, "source": source.to_string() })))
            .chain([host_key.json()])
            .collect();
        return Ok(output::print(&format!("{:#}\n", Value::Object(entries)))?);
    }
    Ok(output::print(&tell(&loaded, &host_key))?)
}

/// The settings as lines of the settings file, each with its source behind it.
fn tell(loaded: &Loaded, host_key: &HostKeyShown) -> String {
    let rows = loaded.effective.iter().map(|(path, value, source)| {
        let value = if value.is_null() { "not set".to_owned() } else { value.to_string() };
        vec![path.clone(), format!("= {value}"), format!("# {source}")]
    });
    output::aligned(&rows.chain([host_key.row()]).collect::<Vec<_>>())
}

/// What is told of the host key: where it comes from, and nothing of itself.
struct HostKeyShown {
    place: Place,
    is_there: bool,
}

impl HostKeyShown {
    fn row(&self) -> Vec<String> {
        let value = if self.is_there { "hidden" } else { "none yet: the first start makes one" };
        vec!["(host key)".to_owned(), format!("= {value}"), format!("# {}", self.place)]
    }

    fn json(&self) -> (String, Value) {
        let shown = json!({ "is_there": self.is_there, "source": self.place.to_string() });
        ("(host key)".to_owned(), shown)
    }
}
