//! `cargo xtask bench alerts`: how many evaluations a second, how many notifications, and how soon
//!
//! First: monitors over series, all due at the same time, in the real store (`alerts_bench` of `host/alerts`, which says
//! more); beside them `vmalert` and `victoria-metrics` with the same rules on the same data, as fast as they go. Then: many
//! series breach at once, and each is told to a webhook by itself; beside it Alertmanager is given as many alerts. Last:
//! one series breaches, and what is measured is how long it takes until the request is there.
//!
//! Beside each rate stands the processor time of all processes that answer. What Bellwether tells is durable before it is
//! sent; what the others know of an alert is in memory.

mod evaluations;
mod notifications;

use std::path::PathBuf;

use anyhow::{Context, Result};
use bellwether_tests::load::sync_time;

const USAGE: &str =
    "usage: bench_alerts [--monitors N] [--series N] [--minutes N] [--notifications N] [--trials N]

--monitors N       how many monitors, and as many rules; 10000 by default, 0 leaves evaluations out
--series N         series of each; 10 by default
--minutes N        how often all of them are evaluated; 5 by default
--notifications N  how many series breach at once; 2000 by default, 0 leaves notifications out
--trials N         how often one breaches alone; 20 by default";

/// What is measured.
struct Settings {
    monitors: usize,
    series: usize,
    minutes: u32,
    notifications: usize,
    trials: usize,
}

fn main() -> Result<()> {
    let settings = settings(std::env::args().skip(1))?;
    let folder = tempfile::tempdir()?;
    println!("disk: {}", sync_time(folder.path())?);
    // So that neither begins with what the other's programs left behind.
    let apart = |name| -> Result<PathBuf> {
        let path = folder.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    if settings.monitors > 0 {
        evaluations::measure(&apart("evaluations")?, &settings)?;
    }
    if settings.notifications > 0 {
        notifications::measure(&apart("notifications")?, &settings)?;
    }
    Ok(())
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings> {
    let mut settings =
        Settings { monitors: 10_000, series: 10, minutes: 5, notifications: 2_000, trials: 20 };
    while let Some(argument) = arguments.next() {
        let value = arguments.next().context(USAGE)?;
        let number = || value.parse::<usize>().with_context(|| format!("{argument} {value}\n{USAGE}"));
        match argument.as_str() {
            "--monitors" => settings.monitors = number()?,
            "--series" => settings.series = number()?.max(1),
            "--minutes" => settings.minutes = u32::try_from(number()?.max(1))?,
            "--notifications" => settings.notifications = number()?,
            "--trials" => settings.trials = number()?.max(1),
            _ => anyhow::bail!(USAGE),
        }
    }
    Ok(settings)
}

/// Says whether a goal was met.
fn met(is: bool) -> &'static str {
    if is { "met" } else { "missed" }
}
