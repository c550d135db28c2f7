//! Runs the benchmarks; what each measures is written beside it in `tests/src/bin`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{host, run, test::install_debian, workspace};

/// Requests per second and latency of the HTTP front, start-up time and idle memory.
pub(crate) fn http(arguments: &[String]) -> Result<()> {
    let binary = prepare()?;
    run(&mut bench("bench_http", &binary, arguments))
}

/// Runs per second and latency of playbooks, beside other engines where they install; the cost of schedules.
pub(crate) fn playbooks(arguments: &[String]) -> Result<()> {
    let binary = prepare()?;
    let mut bench = bench("bench_playbooks", &binary, arguments);
    match install_npm("node-red") {
        Ok(folder) => {
            bench.env("NODE_RED_HOME", folder);
        }
        Err(error) => println!("SKIPPED: Node-RED did not install: {error:#}"),
    }
    run(&mut bench)
}

/// Builds the host and gets the load generator; gives the host's path.
fn prepare() -> Result<PathBuf> {
    let binary = host::build()?;
    if Command::new("wrk").arg("-v").output().is_err() {
        install_debian(&["wrk"])?;
    }
    Ok(binary)
}

fn bench(name: &str, binary: &Path, arguments: &[String]) -> Command {
    let mut bench = host::cargo();
    bench.args(["run", "--release", "--quiet", "--package", "bellwether-tests", "--bin", name, "--"]);
    bench.args(arguments).env("BELLWETHER_BINARY", binary);
    bench
}

/// Installs what `tests/bench/<name>/package.json` lists into the target folder, again when that file changes. Gives
/// the folder.
fn install_npm(name: &str) -> Result<PathBuf> {
    let wanted = std::fs::read_to_string(workspace().join("tests/bench").join(name).join("package.json"))?;
    let folder = host::target().join("bench").join(name);
    let marker = folder.join("installed.json");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("package.json"), &wanted)?;
    println!("installing {name} into {}", folder.display());
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--engine-strict"]);
    let output =
        npm.current_dir(&folder).output().context("npm, which comes with Node.js, does not start")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let errors = said.lines().filter_map(|line| line.strip_prefix("npm error "));
        let first: Vec<&str> = errors.filter(|line| !line.starts_with("code ")).take(2).collect();
        bail!("npm: {}: {}", output.status, first.join(" "));
    }
    std::fs::write(marker, wanted)?;
    Ok(folder)
}
