//! `bellwether restore`.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use bellwether_access::HostKey;
use bellwether_kernel::counted;
use bellwether_store::{Restored, StoreError};
use clap::Args;
use serde_json::json;

use super::backup::not_in_it;
use crate::failure::Failure;
use crate::host_key::Place;
use crate::output;
use crate::settings::Flags;

/// `bellwether restore`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  bellwether restore bellwether-2026-01-31.backup --data ./data
  cp host.key ./data/                       # from where it was kept; no host opens the store without it

Works without a host, on a folder that is not there or empty, but for a host key, which must be that of the backup, and \
for what a restore that was cut off left. A host on it goes on with what was at work when the backup was made: runs, evaluations \
and deliveries. Where the host it was taken from is at work too, begin with `bellwether serve --passive`, which only answers.")]
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
    let length = backup.metadata().map_or(0, |metadata| metadata.len());
    let read = Cell::new(0);
    let counting = Counted { backup, read: &read };
    let place = Place::of(&data);
    // A key that does not read is told before anything is restored; beside a store, the folder is what is wrong.
    let host_key = if data.join("store").exists() { None } else { place.key()? };
    let misfit = RefCell::new(None);
    let fits = |row: bellwether_store::ReadRow<'_>| -> Result<(), StoreError> {
        match &host_key {
            Some(host_key) if !opens(host_key, row)? => {
                let why = format!(
                    "the host key at {place} is not the one that the backup in {file} was made with\n\
                 hint: nothing was restored: put the backup's own host key there, or take the one that is there away"
                );
                *misfit.borrow_mut() = Some(why);
                Err(StoreError::Backup("it is of another host key".to_owned()))
            }
            _ => Ok(()),
        }
    };
    let restored = bellwether_store::restore(BufReader::new(counting), &data, fits);
    if let Some(why) = misfit.take() {
        return Err(Failure::Failed(anyhow::anyhow!("{why}")));
    }
    let restored = restored.map_err(|error| match error {
        // Before anything was read, it is the folder that is wrong.
        StoreError::Backup(_) if read.get() > 0 || length == 0 => Failure::Failed(anyhow::anyhow!(
            "{error}\n  in {file}, within the first {} of its {length} bytes\n\
             hint: nothing was restored: copy the file again from where it is kept, or take an earlier backup",
            read.get()
        )),
        error => Failure::Failed(error.into()),
    })?;
    let Restored { rows, objects, left_out } = restored;
    let left_out: Vec<_> = left_out.into_iter().map(|left_out| left_out.why).collect();
    let summary = json!({ "data": data, "rows": rows, "objects": objects, "left_out": left_out });
    Ok(output::value(arguments.json.into(), &summary, |_| {
        let next = match host_key {
            Some(_) => "Its host key is there. Now:".to_owned(),
            None => format!(
                "Now put the host key it was made with at {} (mode 0600), or in BELLWETHER_HOST_KEY: without it the host\n\
                 does not start. Then:",
                place.file().display()
            ),
        };
        format!(
            "{file} is restored to {}: {}, {}\n{}{next} bellwether serve --data {}\n",
            data.display(),
            counted(rows, "row"),
            counted(objects, "component"),
            not_in_it(&left_out),
            data.display()
        )
    })?)
}

/// Whether a store with these rows was made with this key; one that never had any is anybody's.
fn opens(host_key: &HostKey, read: bellwether_store::ReadRow<'_>) -> Result<bool, StoreError> {
    read(&HostKey::check_row())?.map_or(Ok(true), |row| host_key.opens(&row))
}

/// A backup, with how many bytes of it were read.
struct Counted<'a> {
    backup: File,
    read: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.backup.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}
