//! `bellwether backup`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::client::Connection;
use crate::failure::Failure;
use crate::output;

/// `bellwether backup`.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  bellwether backup bellwether-2026-01-31.backup

Needs an operator's key; the host goes on working meanwhile. The host key is not in the backup: keep a copy of \
DATA/host.key (or of BELLWETHER_HOST_KEY) apart from it.")]
pub(crate) struct Arguments {
    /// Which host.
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Where to write it, for this user alone; appears only when it is whole
    file: PathBuf,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
}

/// Copies what the host stores into a file.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let file = &arguments.file;
    if file.exists() && !arguments.force {
        return Err(Failure::Usage(format!(
            "{} is there already; choose another name or pass --force",
            file.display()
        )));
    }
    let mut unfinished = file.clone().into_os_string();
    unfinished.push(".partial");
    let unfinished = PathBuf::from(unfinished);
    let (written, left_out) = match receive(&arguments.connection, &unfinished).await {
        Ok(written) => written,
        Err(failure) => {
            let _ = std::fs::remove_file(&unfinished);
            return Err(failure);
        }
    };
    std::fs::rename(&unfinished, file)
        .with_context(|| format!("{} could not be put in place", file.display()))?;
    if let Some(folder) = file.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("{} could not be synced", folder.display()))?;
    }
    let summary = json!({ "file": file, "bytes": written, "left_out": left_out });
    output::value(arguments.connection.json.into(), &summary, |_| {
        format!(
            "{} holds the backup, {written} bytes\n{}\
             The host key is not in it: keep a copy of DATA/host.key (or of BELLWETHER_HOST_KEY) apart from it.\n",
            file.display(),
            not_in_it(&left_out)
        )
    })?;
    Ok(())
}

/// A line for each thing a backup does not hold.
pub(super) fn not_in_it(left_out: &[String]) -> String {
    left_out.iter().map(|why| format!("Not in it: {why}\n")).collect()
}

/// Writes the stream to `path`, a file of this user alone, synced; gives its length in bytes, and what is not in it.
async fn receive(connection: &Connection, path: &Path) -> Result<(u64, Vec<String>), Failure> {
    let mut response = connection.client()?.download(&["v1", "host", "backup"]).await?;
    let left_out = response.headers().get_all("bellwether-left-out").iter();
    let left_out = left_out.map(|why| String::from_utf8_lossy(why.as_bytes()).into_owned()).collect();
    let context = || format!("{} does not write", path.display());
    let mut options = tokio::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).await.with_context(context)?;
    let mut written = 0;
    while let Some(chunk) =
        response.chunk().await.context("the host stopped sending: nothing was kept, try again")?
    {
        file.write_all(&chunk).await.with_context(context)?;
        written += chunk.len() as u64;
    }
    file.sync_all().await.with_context(context)?;
    Ok((written, left_out))
}
