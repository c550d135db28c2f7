//! `cargo xtask bench engine`: what a call of a plugin costs, beside native code, Extism, wasmtime alone and a process
//!
//! Everything is measured in one run and in turn, several rounds; medians, with the least and the most of the rounds.

mod bare;
mod bindings;
mod calls;
mod extism;
mod house;
mod idle;
mod neighbours;
mod pure;
mod table;
mod throughput;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use calls::Calls;
use house::House;
use idle::Idle;
use neighbours::Neighbour;
use table::{BARE, BELLWETHER, EXTISM, Goal};
use throughput::Throughput;

/// The host's, so that a call costs here what it costs there.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "usage: bench_engine [--rounds N] [--seconds N] [--write FILE]

--rounds N     how many there are of each; 7 by default
--seconds N    how long a measurement under load takes; 3 by default
--write FILE   puts the tables between the two marks in this file, besides printing them";

/// Between these lines of the page stands what this program writes.
const MARKS: [&str; 2] = ["<!-- bench engine: begin -->", "<!-- bench engine: end -->"];

/// What is measured.
pub(crate) struct Settings {
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    write: Option<PathBuf>,
}

fn main() -> Result<()> {
    let settings = settings(std::env::args().skip(1))?;
    let folder = tempfile::tempdir()?;
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let calls = one.block_on(async {
        let house = House::open(&folder.path().join("calls")).await?;
        calls::measure(&house, &settings).await
    })?;
    drop(one);
    println!("calls are measured");
    let all = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let throughput = all.block_on(async {
        let house = Arc::new(House::open(&folder.path().join("throughput")).await?);
        throughput::measure(house, &settings).await
    })?;
    drop(all);
    println!("throughput is measured");
    let idle = idle::measure(folder.path(), &settings)?;
    println!("idle plugins are measured");
    let neighbours = neighbours::measure(folder.path(), &settings)?;
    let text = report(&settings, calls, &throughput, &idle, &neighbours)?;
    println!("\n{text}");
    settings.write.as_deref().map_or(Ok(()), |page| write(page, &text))
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings> {
    let mut settings = Settings { rounds: 7, seconds: 3, write: None };
    while let Some(argument) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        let number = || value.parse::<u32>().with_context(|| format!("{argument} {value}\n{USAGE}"));
        match argument.as_str() {
            "--rounds" => settings.rounds = number()?.max(1),
            "--seconds" => settings.seconds = number()?.max(1),
            "--write" => settings.write = Some(value.into()),
            _ => anyhow::bail!(USAGE),
        }
    }
    Ok(settings)
}

/// The tables, and which goals are met.
fn report(
    settings: &Settings,
    calls: Calls,
    throughput: &Throughput,
    idle: &Idle,
    neighbours: &[Neighbour],
) -> Result<String> {
    let mut goals = vec![
        Goal::below("a call on a fresh instance: < 5 µs", &calls.fresh.columns[BELLWETHER], 5e3),
        Goal::ratio(
            "… of bare wasmtime's: < 1.2 times",
            calls.fresh.times(BARE).map(|times| 1.0 / times),
            |ratio| ratio < 1.2,
        ),
        Goal::ratio("… Extism's of it: ≥ 5 times", calls.fresh.times(EXTISM), |ratio| ratio >= 5.0),
        Goal::below("a call on a warm instance: < 1 µs", &calls.warm.columns[BELLWETHER], 1e3),
        Goal::ratio(
            "… of bare wasmtime's: < 1.5 times",
            calls.warm.times(BARE).map(|times| 1.0 / times),
            |ratio| ratio < 1.5,
        ),
        Goal::ratio("… Extism's of it: ≥ 3 times", calls.warm.times(EXTISM), |ratio| ratio >= 3.0),
        Goal::below("a host call: < 300 ns", &calls.host_call.columns[BELLWETHER], 300.0),
        Goal::ratio("a detector's work: < 2 times native", calls.pure.detector_of_native(), |ratio| {
            ratio < 2.0
        }),
        Goal::ratio("a formatter's: < 2 times native", calls.pure.formatter_of_native(), |ratio| ratio < 2.0),
        Goal::below("a load from the cache: < 3 ms", &calls.cached.columns[BELLWETHER], 3e6),
    ];
    let start = idle.start.as_secs_f64();
    goals.push(Goal {
        what: format!("a start with {} plugins installed: < 1 s", idle::PLUGINS),
        figure: format!("{:.0} ms, {:.0} ms without", start * 1e3, idle.start_without.as_secs_f64() * 1e3),
        met: Some(start < 1.0),
    });
    let memory = idle.memory / f64::from(1 << 20);
    goals.push(Goal {
        what: "memory of an idle plugin: < 1 MiB".to_owned(),
        figure: format!("{memory:.2} MiB"),
        met: Some(memory < 1.0),
    });
    let worst = neighbours.iter().map(|one| one.attacked / one.quiet).fold(0.0, f64::max);
    goals.push(Goal::ratio(
        "a neighbour's p99 under any attack: < 2 times its quiet value",
        Some(worst),
        |ratio| ratio < 2.0,
    ));

    let mut text = format!("{}; {} rounds of each.\n\n", machine()?, settings.rounds);
    text.push_str(&table::table(&calls.into_rows()));
    text.push_str("\n| callers | calls a second |\n|---|---|\n");
    for (callers, rate) in &throughput.rates {
        let _ = writeln!(text, "| {callers} | {rate:.0} |");
    }
    let _ = writeln!(
        text,
        "\nAt half of the best rate the p99.9 from when a call was due is {}.\n",
        throughput.late
    );
    text.push_str("| what another plugin does | quiet p99 µs | p99 µs under it | times | its calls |\n|---|---|---|---|---|\n");
    for Neighbour { what, quiet, attacked, attacks } in neighbours {
        let times = attacked / quiet;
        let _ = writeln!(text, "| {what} | {quiet:.0} | {attacked:.0} | {times:.1} | {attacks} |");
    }
    text.push('\n');
    text.push_str(&table::goals(&goals));
    Ok(text)
}

/// What was measured on.
fn machine() -> Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unnamed processor", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores of {model}, Linux {}", kernel.trim()))
}

/// Puts `text` between the marks of a page.
fn write(page: &std::path::Path, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(page)?;
    let [begin, end] = MARKS;
    let (before, rest) =
        old.split_once(begin).with_context(|| format!("{} has no {begin}", page.display()))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("{} has no {end}", page.display()))?;
    ensure!(!text.contains(begin), "the tables hold no marks");
    std::fs::write(page, format!("{before}{begin}\n{text}{end}{after}"))?;
    Ok(())
}
