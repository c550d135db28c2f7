//! `bellwether restore`.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use bellwether_store::Restored;
use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output;
use crate::settings::Flags;

/// `bellwether restore`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  bellwether restore bellwether-2026-01-31.backup --data ./data
  cp host.key ./data/                       # from where it was kept; no host opens the store without it

Works without a host, on a folder that holds no store yet.")]
pub(crate) struct Arguments {
    /// The backup
    file: PathBuf,
    /// The folder everything will be kept in
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The settings file that says which folder
    #[arg(long, env = "BELLWETHER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Makes a data folder from a backup.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.file.display();
    let backup = File::open(&arguments.file)
        .map_err(|error| Failure::Usage(format!("{file} does not read: {error}")))?;
    let data = Flags::of_data(arguments.config.clone(), arguments.data.clone()).load()?.settings.data;
    let restored = bellwether_store::restore(BufReader::new(backup), &data)
        .map_err(|error| Failure::Failed(error.into()))?;
    let Restored { rows, objects } = restored;
    let summary = json!({ "data": data, "rows": rows, "objects": objects });
    Ok(output::value(arguments.json.into(), &summary, |_| {
        let key = data.join("host.key");
        format!(
            "{file} is restored to {}: {rows} rows, {objects} components\n\
             Now put the host key it was made with at {} (mode 0600), or in BELLWETHER_HOST_KEY: without it the host\n\
             does not start. Then: bellwether serve --data {}\n",
            data.display(),
            key.display(),
            data.display()
        )
    })?)
}
