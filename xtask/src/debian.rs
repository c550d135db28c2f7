//! Debian packages: installed where we need them, unpacked where they run beside ours.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{host, run};

/// Installs Debian packages where that is possible: as root, with apt-get.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let installed = apt(&["update"]).and_then(|()| {
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(packages);
        apt(&arguments)
    });
    if let Err(error) = installed {
        bail!(
            "{} needed and could not be installed ({error}); install by hand and try again",
            packages.join(", ")
        );
    }
    Ok(())
}

/// Installs a package for a program that runs only where its files belong, unless it is there. If it cannot be had that is
/// told: what runs it says that it skips it.
pub(crate) fn offer(program: &str, package: &str) {
    if Command::new(program).arg("--help").output().is_err()
        && let Err(error) = install(&[package])
    {
        println!("SKIPPED: {package}: {error:#}");
    }
}

/// `PATH` with the programs of these packages before all others. A package that cannot be had is told and left out: what
/// runs its programs says that it skips them.
pub(crate) fn path_with(packages: &[&str]) -> Result<OsString> {
    let mut folders = Vec::new();
    for package in packages {
        match unpack(package) {
            Ok(folder) => folders.push(folder.join("usr/bin")),
            Err(error) => println!("SKIPPED: {package}: {error:#}"),
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}

/// A folder with what is in a package, fetched once and installed nowhere: no service begins.
fn unpack(package: &str) -> Result<PathBuf> {
    let folder = host::target().join("debian").join(package);
    if folder.is_dir() {
        return Ok(folder);
    }
    let draft = folder.with_extension("part");
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    std::fs::create_dir_all(&draft)?;
    let fetch = || run(Command::new("apt-get").args(["-qq", "download", package]).current_dir(&draft));
    // Without lists of packages none can be named.
    if fetch().is_err() {
        run(Command::new("apt-get").args(["-qq", "update"]))?;
        fetch()?;
    }
    let mut files = std::fs::read_dir(&draft)?.map(|entry| entry.map(|entry| entry.path()));
    let file = files.next().context("a package was fetched")??;
    run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&draft))?;
    std::fs::remove_file(file)?;
    std::fs::rename(&draft, &folder)?;
    Ok(folder)
}
