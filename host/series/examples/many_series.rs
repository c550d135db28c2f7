//! What many series cost: part of `cargo xtask bench series`, or
//! `cargo run --release --package bellwether-series --example many_series -- [series] [folder]`.
//!
//! A process writes a few samples of each of many series and is killed; another opens what is there, and packs it; a third
//! asks. Prints how long the opening took by the gigabyte, memory by the series, known and active, and how long finding a
//! thousand of them takes.

#[path = "measure/mod.rs"]
mod measure;

use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bellwether_kernel::{HostId, OrganisationId, SystemClock, Timestamp};
use bellwether_series::{
    Limits, Parts, Samples, Series, SeriesSamples, TimeRange, parse_datadog, parse_filter,
};
use bellwether_store::{Batch, Objects, SharedStore, SledSettings, SledStore};
use measure::{bytes, memory};

type Outcome<T> = Result<T, Box<dyn Error>>;

const OURS: OrganisationId = OrganisationId(1);
const START: i64 = 1_750_000_000_000;
/// Samples of each series that are written before the kill.
const POINTS: i64 = 8;
/// Series of one write.
const WIDTH: usize = 5000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    match first.as_deref() {
        Some("write") => write(&argument::<PathBuf>(&mut arguments)?, argument(&mut arguments)?).await,
        Some("open") => open(&argument::<PathBuf>(&mut arguments)?, argument(&mut arguments)?).await,
        Some("ask") => ask(&argument::<PathBuf>(&mut arguments)?, argument(&mut arguments)?).await,
        first => {
            let count: usize = first.map_or(Ok(1_000_000), str::parse)?;
            let temporary = tempfile::tempdir()?;
            let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
            println!("\n{count} series, {POINTS} samples each, killed and opened again");
            let mut writer = child("write", &folder, count).stdout(Stdio::piped()).spawn()?;
            let written = BufReader::new(writer.stdout.take().ok_or("a pipe")?).lines().next().transpose()?;
            writer.kill()?;
            writer.wait()?;
            println!("  {}", written.ok_or("the writer ended by itself")?);
            for task in ["open", "ask"] {
                if !child(task, &folder, count).status()?.success() {
                    return Err(format!("to {task} failed").into());
                }
            }
            Ok(())
        }
    }
}

fn argument<T: std::str::FromStr<Err: Error + 'static>>(
    arguments: &mut impl Iterator<Item = String>,
) -> Outcome<T> {
    Ok(arguments.next().ok_or("a folder and a number of series")?.parse()?)
}

fn child(task: &str, folder: &Path, count: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.arg(task).arg(folder).arg(count.to_string());
    command
}

async fn opened(folder: &Path, count: usize) -> Outcome<(Arc<SledStore>, Series)> {
    let store = Arc::new(SledStore::open(&folder.join("store"), SledSettings::default())?);
    let parts = Parts {
        store: Arc::clone(&store) as SharedStore,
        objects: Objects::open(&folder.join("objects"))?,
        clock: Arc::new(SystemClock),
        host: HostId(1),
        limits: Limits { series: count.max(1_000_000) as u64, ..Limits::default() },
    };
    Ok((store, Series::open(parts).await?))
}

/// A thousand series to a host.
fn write_of(numbers: std::ops::Range<usize>, point: i64) -> Vec<SeriesSamples> {
    let one = |number: usize| {
        let mut samples = Samples::default();
        samples.push(START + point * 10_000, (number % 1000) as f64 / 10.0);
        let tags = vec![
            format!("host:h{}", number / 1000),
            format!("disk:d{}", number % 1000),
            format!("rack:r{}", number / 20_000),
            "env:prod".to_owned(),
        ];
        SeriesSamples { metric: "disk.used".to_owned(), tags, samples }
    };
    numbers.map(one).collect()
}

async fn write_all(series: &Series, count: usize, point: i64) -> Outcome<()> {
    for start in (0..count).step_by(WIDTH) {
        series.write(OURS, &write_of(start..count.min(start + WIDTH), point), Batch::new()).await?;
    }
    Ok(())
}

async fn write(folder: &Path, count: usize) -> Outcome<()> {
    let (_store, series) = opened(folder, count).await?;
    let began = Instant::now();
    write_all(&series, count, 0).await?;
    let new = began.elapsed().as_secs_f64();
    for point in 1..POINTS {
        write_all(&series, count, point).await?;
    }
    println!("{:>10.0} new series/s, one sample each, durable; {:?}", count as f64 / new, series.totals());
    std::future::pending().await
}

async fn open(folder: &Path, count: usize) -> Outcome<()> {
    let size = bytes(folder) / 1e9;
    let began = Instant::now();
    let (store, series) = opened(folder, count).await?;
    let took = began.elapsed().as_secs_f64();
    let totals = series.totals();
    println!("  {took:>10.2} s to open {size:.2} GB: {:.2} s by the gigabyte, {totals:?}", took / size);
    series.pack().await?;
    drop(series);
    store.close();
    Ok(())
}

async fn ask(folder: &Path, count: usize) -> Outcome<()> {
    let idle = memory();
    let (store, series) = opened(folder, count).await?;
    println!("  {:>10.0} bytes of memory a series", per(memory() - idle, count));
    let before = memory();
    write_all(&series, count, POINTS).await?;
    println!("  {:>10.0} bytes more for each that is active again", per(memory() - before, count));
    for (what, filter) in [
        ("exact", "host:h7"),
        ("two tags", "rack:r1,disk:d77*"),
        ("wildcard", "host:h17*"),
        ("negation", "rack:r1,!host:h2*"),
        ("regular expression", "host:~\"h[1-3]7\""),
    ] {
        let filter = parse_filter(filter)?;
        let began = Instant::now();
        let found = series.series(OURS, "disk.used", filter, None, count).await?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        println!(
            "  {took:>10.3} ms to find {} of {} series, {what}",
            found.items.len(),
            series.totals().series
        );
    }
    let began = Instant::now();
    let keys = series.tag_keys(OURS, "disk.used").await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    println!("  {took:>10.3} ms to count the values of {} tags' keys", keys.len());
    let time = |point: i64| Timestamp::from_milliseconds(START + point * 10_000).ok_or("a time");
    let range = TimeRange { start: time(0)?, end: time(POINTS)?, step: None };
    let query = parse_datadog("avg:disk.used{host:h7} by {disk}")?;
    let began = Instant::now();
    let lines = series.query(OURS, &query, range, &|_| true).await?.len();
    println!("  {:>10.3} ms to query one host's {lines}", began.elapsed().as_secs_f64() * 1e3);
    drop(series);
    store.close();
    Ok(())
}

fn per(bytes: f64, count: usize) -> f64 {
    bytes / count as f64
}
