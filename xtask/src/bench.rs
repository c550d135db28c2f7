//! Runs the benchmarks; what each measures is written beside it in `tests/src/bin`.

use anyhow::Result;

use crate::{host, run, test::install_debian};

/// Requests per second and latency of the HTTP front, start-up time and idle memory.
pub(crate) fn http(arguments: &[String]) -> Result<()> {
    let binary = host::build()?;
    if std::process::Command::new("wrk").arg("-v").output().is_err() {
        install_debian(&["wrk"])?;
    }
    let mut bench = host::cargo();
    bench.args(["run", "--release", "--quiet", "--package", "bellwether-tests", "--bin", "bench_http", "--"]);
    run(bench.args(arguments).env("BELLWETHER_BINARY", binary))
}
