//! `cargo xtask bench playbooks`: how many runs a second, how late, and what a hundred thousand schedules cost
//!
//! First: a webhook starts two steps, which store metrics; the answer is awaited. Beside it Node-RED does the same on
//! the same machine, in turn, several rounds; medians. Load: `wrk` with one thread. Then: many playbooks on schedules
//! spread evenly over the hour, and a host that does nothing else.

mod node_red;
mod schedules;
mod webhooks;

use anyhow::{Context, Result};
use bellwether_tests::load::sync_time;

const USAGE: &str =
    "usage: bench_playbooks [--seconds N] [--rounds N] [--connections N,N,…] [--schedules N] [--watch N]

--seconds N      how long one measurement of the webhooks takes; 4 by default
--rounds N       how many there are of each; 3 by default, 0 leaves the webhooks out
--connections N  with how many requests on their way at once; 8,32,64 by default
--schedules N    how many playbooks have a schedule; 100000 by default, 0 leaves them out
--watch N        how many seconds the host is watched with them, at most 3600; 60 by default";

/// What is measured.
struct Settings {
    seconds: u32,
    rounds: u32,
    connections: Vec<u32>,
    schedules: u32,
    watch: u32,
}

fn main() -> Result<()> {
    let settings = settings(std::env::args().skip(1))?;
    let folder = tempfile::tempdir()?;
    println!("disk: {}", sync_time(folder.path())?);
    if settings.rounds > 0 {
        webhooks::measure(folder.path(), &settings)?;
    }
    if settings.schedules > 0 {
        schedules::measure(folder.path(), &settings)?;
    }
    Ok(())
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings> {
    let mut settings =
        Settings { seconds: 4, rounds: 3, connections: vec![8, 32, 64], schedules: 100_000, watch: 60 };
    while let Some(argument) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        let number = || value.parse::<u32>().with_context(|| format!("{argument} {value}\n{USAGE}"));
        match argument.as_str() {
            "--seconds" => settings.seconds = number()?.max(1),
            "--rounds" => settings.rounds = number()?,
            "--connections" => {
                settings.connections = value.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--schedules" => settings.schedules = number()?,
            "--watch" => settings.watch = number()?.clamp(1, schedules::HOUR),
            _ => anyhow::bail!(USAGE),
        }
    }
    Ok(settings)
}

/// Says whether a goal was met.
fn met(is: bool) -> &'static str {
    if is { "met" } else { "missed" }
}
