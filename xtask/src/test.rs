//! Installs what the tests need and runs them all.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::debian::{self, install};
use crate::{host, languages, npm, run, workspace};

/// Debian's name of Alertmanager, its program and its package.
pub(crate) const ALERTMANAGER: &str = "prometheus-alertmanager";

/// Builds the host, prepares Python, and runs every test of the workspace; `filter` goes to the test runner.
pub(crate) fn run_all(filter: &[String]) -> Result<()> {
    let binary = host::build_with_tests()?;
    let python = python()?;
    languages::build(&binary, &python)?;
    let validators = workspace().join("tests/javascript/package.json");
    if let Err(error) = npm::install(&validators, &workspace().join("target/validators")) {
        println!("SKIPPED: cards and documents are not held against their vendors' schemas: {error:#}");
    }
    debian::offer(ALERTMANAGER, ALERTMANAGER);
    let mut tests = host::cargo();
    tests
        .args(["test", "--release", "--workspace", "--no-fail-fast"])
        .args(filter)
        .env("BELLWETHER_BINARY", binary)
        .env("BELLWETHER_PYTHON", python)
        .env("TEST_LANGUAGES", languages::folder())
        .env("PATH", debian::path_with(&["prometheus"])?)
        .env("TEST_CODE_CACHE", host::target().join("tmp/code"));
    run(&mut tests)
}

/// A Python of our own with what `tests/requirements.txt` lists; made once, again when that file changes.
pub(crate) fn python() -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(workspace().join("tests/requirements.txt"))?;
    let home = host::target().join("python");
    let (python, marker) = (home.join("bin/python"), home.join("requirements.txt"));
    if python.is_file() && std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("preparing Python for the end-to-end tests in {}", home.display());
    if make_environment(&home).is_err() {
        // Debian ships Python without the part that makes environments.
        install(&["python3-venv"])?;
        make_environment(&home)?;
    }
    let requirements = workspace().join("tests/requirements.txt");
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))
        .context("the packages of tests/requirements.txt install with pip")?;
    std::fs::write(&marker, wanted)?;
    Ok(python)
}

fn make_environment(home: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(home))
}
