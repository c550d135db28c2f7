//! `bellwether backup`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bellwether_store::{Inspected, StoreError};
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
    let told = response.headers().get_all("bellwether-left-out").iter();
    let told: Vec<_> = told.map(|why| String::from_utf8_lossy(why.as_bytes()).into_owned()).collect();
    let context = || format!("{} does not write", path.display());
    let mut options = tokio::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).await.with_context(context)?;
    let mut written = 0;
    let broken_off = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                file.write_all(&chunk).await.with_context(context)?;
                written += chunk.len() as u64;
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    file.sync_all().await.with_context(context)?;
    let received = path.to_owned();
    let inspected = tokio::task::spawn_blocking(move || {
        std::fs::File::open(received).map(|file| bellwether_store::inspect(std::io::BufReader::new(file)))
    });
    let inspected =
        inspected.await.context("reading the backup")?.with_context(|| path.display().to_string())?;
    let left_out = judge(inspected, broken_off.map(anyhow::Error::from), told)?;
    Ok((written, left_out))
}

/// What is not in a backup that was received, if it is one: as it says itself, or as the host `told`.
fn judge(
    inspected: Result<Inspected, StoreError>,
    broken_off: Option<anyhow::Error>,
    told: Vec<String>,
) -> anyhow::Result<Vec<String>> {
    match (inspected, broken_off) {
        (Ok(Inspected { failed: Some(why), .. }), _) => {
            anyhow::bail!("the host could not make the backup: {why}\nnothing was kept")
        }
        (_, Some(error)) => Err(error.context("the host stopped sending: nothing was kept, try again")),
        (Ok(Inspected { left_out, failed: None }), None) => {
            Ok(left_out.into_iter().map(|left_out| left_out.why).collect())
        }
        // A newer host made it, and a newer one restores it.
        (Err(StoreError::Newer { .. }), None) => Ok(told),
        (Err(error), None) => Err(anyhow::Error::from(error)
            .context("what the host sent is not a whole backup: nothing was kept, try again")),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use bellwether_store::{Digest, LeftOut};

    use super::*;

    #[test]
    fn why_the_host_could_not_make_a_backup_is_told_and_not_that_it_broke_off() {
        let failed = Inspected { left_out: Vec::new(), failed: Some("the disk is gone".to_owned()) };
        let error = judge(Ok(failed), Some(anyhow!("unexpected EOF")), Vec::new()).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("the host could not make the backup: the disk is gone"),
            "{error:#}"
        );
        let cut = || Err(StoreError::Backup("it ends too soon; it was cut short".to_owned()));
        let error = judge(cut(), Some(anyhow!("unexpected EOF")), Vec::new()).unwrap_err();
        assert!(format!("{error:#}").starts_with("the host stopped sending"), "{error:#}");
        let error = judge(cut(), None, Vec::new()).unwrap_err();
        assert!(format!("{error:#}").contains("not a whole backup"), "{error:#}");
    }

    #[test]
    fn what_is_not_in_a_backup_is_what_it_says_itself() {
        let lost = LeftOut { digest: Digest::of(b""), why: "the logs of May".to_owned() };
        let whole = Inspected { left_out: vec![lost], failed: None };
        assert_eq!(judge(Ok(whole), None, Vec::new()).unwrap(), ["the logs of May"]);
        let newer = Err(StoreError::Newer { found: 9, supported: 2 });
        assert_eq!(judge(newer, None, vec!["told".to_owned()]).unwrap(), ["told"]);
    }
}
