//! `cargo xtask`: everything one does with this repository, on a machine that has nothing but Rust.

mod bench;
mod debian;
mod host;
mod languages;
mod npm;
mod plugins;
mod test;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

/// Builds the plugins, runs, tests and benches.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Builds the first-party plugins into `target/components`, and those the tests and benchmarks call beside it,
    /// getting the WebAssembly target where it is missing.
    Plugins,
    /// Writes the lock file new plugin projects begin with, after a change of the workspace's own.
    Lock,
    /// Builds everything and runs the host.
    Serve {
        /// What `bellwether serve` takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the binary that is handed out, `target/dist/bellwether`: it takes a quarter of an hour, and a tenth less
    /// processor time for each request than the one `serve` runs.
    Dist,
    /// Installs what the tests need and runs them all.
    Test {
        /// What `cargo test` takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        filter: Vec<String>,
    },
    /// Measures.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    /// Requests per second and latency of the HTTP front, start-up time and idle memory.
    Http {
        /// What the benchmark takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Samples a second, cost and bytes on the disk through the Datadog plugin, beside VictoriaMetrics.
    Ingest {
        /// What the benchmark takes: a wrong one shows what there is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Ten questions of a dashboard, beside VictoriaMetrics and Prometheus on the same data.
    Query {
        /// What the benchmark takes: a wrong one shows what there is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The default detector on the Numenta benchmark: its score, what each of its parts is worth, its pace.
    Detectors {
        /// The folder of the benchmark's `data/` and `windows.json`, and one to write the scores to, named like the
        /// detector.
        arguments: Vec<String>,
    },
    /// Components of other languages: size, compilation, loading, calls, memory.
    Languages {
        /// Calls of each.
        #[arg(default_value = "200")]
        calls: u32,
    },
    /// What a call of a plugin costs, beside native code, Extism, wasmtime alone and a process, and what hostile ones
    /// cost their neighbours.
    Engine {
        /// What the benchmark takes: a wrong one shows what there is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Tagged series through the real store: rate, bytes a sample, memory, restart, queries, what deleting frees; what a
    /// million series take, and finding a thousand of them.
    Series {
        /// Samples, series and the folder to work in.
        arguments: Vec<String>,
    },
    /// Evaluations and notifications per second, and how soon a breach is told, beside vmalert and Alertmanager.
    Alerts {
        /// What the benchmark takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs per second and latency of playbooks, beside other engines where they install; the cost of schedules.
    Playbooks {
        /// What the benchmark takes: a wrong one shows what there is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Plugins => plugins::build_all(),
        Task::Lock => plugins::lock(),
        Task::Serve { arguments } => host::serve(&arguments),
        Task::Dist => host::dist().map(|binary| println!("{}", binary.display())),
        Task::Test { filter } => test::run_all(&filter),
        Task::Bench(Bench::Detectors { arguments }) => bench::detectors(&arguments),
        Task::Bench(Bench::Http { arguments }) => bench::http(&arguments),
        Task::Bench(Bench::Ingest { arguments }) => bench::ingest(&arguments),
        Task::Bench(Bench::Query { arguments }) => bench::query(&arguments),
        Task::Bench(Bench::Languages { calls }) => bench::languages(calls),
        Task::Bench(Bench::Engine { arguments }) => bench::engine(&arguments),
        Task::Bench(Bench::Series { arguments }) => bench::series(&arguments),
        Task::Bench(Bench::Playbooks { arguments }) => bench::playbooks(&arguments),
        Task::Bench(Bench::Alerts { arguments }) => bench::alerts(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Runs a command with its output shown, and fails if it does.
fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} {}: {status}", command.get_program().display(), arguments(command));
    }
    Ok(())
}

fn arguments(command: &Command) -> String {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    arguments.join(" ")
}
