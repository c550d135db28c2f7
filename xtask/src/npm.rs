//! Installs packages of npm into the target folder.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Installs what `package`, a `package.json`, lists into `folder`, again when that file changes.
///
/// # Errors
/// If Node.js is missing, or too old for a package, or the registry does not answer.
pub(crate) fn install(package: &Path, folder: &Path) -> Result<()> {
    let wanted = std::fs::read_to_string(package)?;
    let marker = folder.join("installed.json");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("package.json"), &wanted)?;
    println!("installing what {} lists into {}", package.display(), folder.display());
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--engine-strict"]);
    let output = npm.current_dir(folder).output().context("npm, which comes with Node.js, does not start")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let errors = said.lines().filter_map(|line| line.strip_prefix("npm error "));
        let first: Vec<&str> = errors.filter(|line| !line.starts_with("code ")).take(2).collect();
        bail!("npm: {}: {}", output.status, first.join(" "));
    }
    std::fs::write(marker, wanted)?;
    Ok(())
}
