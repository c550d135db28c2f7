//! Runs the benchmarks; what each measures is written beside it in `tests/src/bin`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::debian;
use crate::test::{ALERTMANAGER, python};
use crate::{host, languages, npm, plugins, run, workspace};

/// Requests per second and latency of the HTTP front, start-up time and idle memory.
pub(crate) fn http(arguments: &[String]) -> Result<()> {
    let binary = prepare()?;
    wrk()?;
    run(&mut bench("bench_http", &binary, arguments))
}

/// Tagged series through the real store.
pub(crate) fn series(arguments: &[String]) -> Result<()> {
    host::build_with_tests()?;
    run(example("series_bench").args(arguments))?;
    run(&mut example("many_series"))
}

/// Samples a second through the Datadog plugin, beside VictoriaMetrics where it installs.
pub(crate) fn ingest(arguments: &[String]) -> Result<()> {
    let binary = prepare()?;
    wrk()?;
    let path = debian::path_with(&["victoria-metrics"])?;
    run(bench("bench_ingest", &binary, arguments).env("PATH", path))
}

/// A dashboard's questions, beside VictoriaMetrics and Prometheus where they install.
pub(crate) fn query(arguments: &[String]) -> Result<()> {
    let binary = prepare()?;
    let path = debian::path_with(&["victoria-metrics", "prometheus"])?;
    run(bench("bench_query", &binary, arguments).env("PATH", path))
}

/// The default detector on the Numenta benchmark.
pub(crate) fn detectors(arguments: &[String]) -> Result<()> {
    let mut bench = host::cargo();
    bench.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        "bellwether-plugin-rarity",
        "--example",
        "nab",
        "--",
    ]);
    run(bench.args(arguments))
}

/// Runs per second and latency of playbooks, beside other engines where they install; the cost of schedules.
pub(crate) fn playbooks(arguments: &[String]) -> Result<()> {
    let binary = prepare()?;
    wrk()?;
    let mut bench = bench("bench_playbooks", &binary, arguments);
    let folder = host::target().join("bench/node-red");
    match npm::install(&workspace().join("tests/bench/node-red/package.json"), &folder) {
        Ok(()) => {
            bench.env("NODE_RED_HOME", folder);
        }
        Err(error) => println!("SKIPPED: Node-RED did not install: {error:#}"),
    }
    run(&mut bench)
}

/// Evaluations and notifications per second beside other people's, where they install.
pub(crate) fn alerts(arguments: &[String]) -> Result<()> {
    let binary = prepare()?;
    debian::offer(ALERTMANAGER, ALERTMANAGER);
    let path = debian::path_with(&["victoria-metrics"])?;
    run(bench("bench_alerts", &binary, arguments).env("PATH", path))
}

/// What components of other languages cost, beside one of Rust's.
pub(crate) fn languages(calls: u32) -> Result<()> {
    let binary = host::build_with_tests()?;
    languages::build(&binary, &python()?)?;
    let built = languages::components();
    let rust = (plugins::components().join("http.wasm"), r#"{"url": "{url}"}"#);
    for (component, inputs) in built.into_iter().chain([rust]).filter(|(component, _)| component.is_file()) {
        run(example("language_cost").arg(component).arg(inputs).arg(calls.to_string()))?;
    }
    Ok(())
}

/// What a call of a plugin costs, beside native code, Extism, wasmtime alone and a process, and what hostile ones cost
/// their neighbours.
pub(crate) fn engine(arguments: &[String]) -> Result<()> {
    let binary = host::build_with_tests()?;
    plugins::build_bench_guest()?;
    let mut bench = bench("bench_engine", &binary, arguments);
    match build_extism() {
        Ok((program, plugin)) => {
            bench.env("BENCH_EXTISM", program).env("BENCH_EXTISM_PLUGIN", plugin);
        }
        Err(error) => println!("SKIPPED: Extism did not build: {error:#}"),
    }
    run(&mut bench)
}

/// Builds the program that calls Extism, and its plugin, from a workspace of their own. Gives both.
fn build_extism() -> Result<(PathBuf, PathBuf)> {
    let folder = workspace().join("tests/bench/engine");
    let target = host::target().join("bench/extism");
    let build = ["--locked", "--target-dir"];
    let mut cargo = host::cargo();
    cargo.current_dir(&folder).args(["build", "--release", "--package", "bench-extism"]);
    run(cargo.args(build).arg(&target))?;
    let mut cargo = plugins::toolchain()?.cargo_build(&folder);
    cargo.args(["--profile", plugins::PROFILE, "--package", "bench-extism-plugin"]);
    run(cargo.args(build).arg(&target))?;
    let module =
        target.join(bellwether_build::TARGET).join(plugins::PROFILE).join("bench_extism_plugin.wasm");
    Ok((target.join("release/bench-extism"), module))
}

/// Builds the benchmarks, and the host as it is handed out; gives the host's path.
fn prepare() -> Result<PathBuf> {
    host::build_with_tests()?;
    host::dist()
}

/// Gets the load generator.
fn wrk() -> Result<()> {
    match Command::new("wrk").arg("-v").output() {
        Ok(_) => Ok(()),
        Err(_) => debian::install(&["wrk"]),
    }
}

/// A benchmark's program. It was built together with the tests, so that all of them share what they depend on.
fn bench(name: &str, binary: &Path, arguments: &[String]) -> Command {
    let mut bench = Command::new(host::target().join("release").join(name));
    bench.args(arguments).env("BELLWETHER_BINARY", binary).current_dir(workspace());
    bench
}

fn example(name: &str) -> Command {
    let mut example = Command::new(host::target().join("release/examples").join(name));
    example.current_dir(workspace());
    example
}
