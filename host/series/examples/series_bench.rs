//! What tagged series cost: `cargo xtask bench series`, or
//! `cargo run --release --package bellwether-series --example series_bench -- [samples] [series] [folder]`.
//!
//! Samples of two-decimal gauges, ten seconds apart, go through the real store as the host keeps them: log, memory,
//! segments. Then the same bytes as rows of the store: a row of each series' block at each packing, four of which are
//! merged into one again and again. Prints rate, processor time, bytes on the disk, memory, restart and what deleting
//! frees, of both.

#[path = "measure/mod.rs"]
mod measure;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_kernel::{HostId, OrganisationId, SystemClock, Timestamp};
use bellwether_series::{
    Filter, Limits, Parts, Samples, Series, SeriesSamples, TagPattern, TimeRange, parse_datadog,
};
use bellwether_store::{Batch, Key, Objects, SharedStore, SledSettings, SledStore, Space, Store as _};
use measure::{bytes, memory};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

type Outcome<T> = Result<T, Box<dyn Error>>;

const OURS: OrganisationId = OrganisationId(1);
const START: i64 = 1_750_000_000_000;
/// Of every series a write has this many points, of this many series.
const POINTS: usize = 10;
const WIDTH: usize = 1000;
/// Writes under way at once.
const WRITERS: usize = 8;
const MEGABYTE: f64 = 1024.0 * 1024.0;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let samples: usize = arguments.next().map_or(Ok(20_000_000), |text| text.parse())?;
    let series: usize = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    println!("{samples} samples of {series} series");
    segments(&folder.join("segments"), samples, series).await?;
    rows(&folder.join("rows"), samples, series).await
}

/// Walks of two decimals.
struct Walks(Vec<f64>, SmallRng);

impl Walks {
    fn next(&mut self, series: usize) -> f64 {
        let step = f64::from(self.1.random_range(-20..=20_i32));
        self.0[series] = ((self.0[series] * 100.0 + step).round() / 100.0).clamp(0.0, 100.0);
        self.0[series]
    }
}

/// The writes of `round`: all series, [`WIDTH`] a write.
fn writes(walks: &mut Walks, series: usize, round: usize) -> Vec<Vec<SeriesSamples>> {
    let one = |number: usize, walks: &mut Walks| {
        let mut samples = Samples::default();
        for point in round * POINTS..(round + 1) * POINTS {
            samples.push(START + point as i64 * 10_000, walks.next(number));
        }
        let tags = vec![
            format!("host:h{}", number / 10),
            format!("core:{}", number % 10),
            format!("rack:r{}", number / 1000),
            "env:prod".to_owned(),
        ];
        SeriesSamples {
            metric: if number.is_multiple_of(2) { "cpu.user" } else { "cpu.system" }.to_owned(),
            tags,
            samples,
        }
    };
    let numbers: Vec<usize> = (0..series).collect();
    numbers.chunks(WIDTH).map(|chunk| chunk.iter().map(|number| one(*number, walks)).collect()).collect()
}

async fn opened(folder: &Path) -> Outcome<(Arc<SledStore>, Objects, Series)> {
    let store = Arc::new(SledStore::open(&folder.join("store"), SledSettings::default())?);
    let objects = Objects::open(&folder.join("objects"))?;
    let parts = Parts {
        store: Arc::clone(&store) as SharedStore,
        objects: objects.clone(),
        clock: Arc::new(SystemClock),
        host: HostId(1),
        limits: Limits::default(),
    };
    let series = Series::open(parts).await?;
    Ok((store, objects, series))
}

async fn segments(folder: &Path, samples: usize, count: usize) -> Outcome<()> {
    println!("\nin segments");
    let (store, _, series) = opened(folder).await?;
    let series = Arc::new(series);
    let idle = memory();
    let mut walks = Walks(vec![50.0; count], SmallRng::seed_from_u64(1));
    let (mut written, mut took, mut worked, mut latencies) = (0, Duration::ZERO, 0.0, Vec::new());
    for round in 0..samples.div_ceil(count * POINTS) {
        let writes = writes(&mut walks, count, round);
        let (began, before) = (Instant::now(), processor());
        let mut running = tokio::task::JoinSet::new();
        for write in writes {
            while running.len() >= WRITERS {
                latencies.extend(running.join_next().await.transpose()?);
            }
            written += write.iter().map(|entry| entry.samples.len()).sum::<usize>();
            let series = Arc::clone(&series);
            running.spawn(async move {
                let began = Instant::now();
                series.write(OURS, &write, Batch::new()).await.expect("it is written");
                began.elapsed()
            });
        }
        while let Some(latency) = running.join_next().await {
            latencies.push(latency?);
        }
        took += began.elapsed();
        worked += processor() - before;
    }
    latencies.sort_unstable();
    let each = |seconds: f64| seconds * 1e9 / written as f64;
    println!("  {:>10.2} M samples/s, durable", written as f64 / took.as_secs_f64() / 1e6);
    println!("  {:>10.0} ns of processor a sample, packing included", each(worked));
    println!("  {:>10.1} ms for a write of {} at the 99th percentile", at(&latencies, 99), WIDTH * POINTS);
    println!("  {:>10.1} MB more memory, {:?}", (memory() - idle) / MEGABYTE, series.totals());
    let (before, began) = (processor(), Instant::now());
    series.pack().await?;
    series.tend().await?;
    println!(
        "  {:>10.0} ns of processor a sample more to merge, in {:.1} s",
        each(processor() - before),
        began.elapsed().as_secs_f64()
    );
    println!("  {:>10.3} bytes a sample in segments", bytes(&folder.join("objects")) / written as f64);
    println!("  {:>10.3} bytes a sample in the store", bytes(&folder.join("store")) / written as f64);
    questions(&series, written / count).await?;
    find(&series).await?;
    let series = Arc::into_inner(series).ok_or("nobody else holds it")?;
    series.delete(OURS, "cpu.system", Filter::All, Batch::new()).await?;
    let (full, began) = (bytes(&folder.join("objects")), Instant::now());
    series.tend().await?;
    let freed = full - bytes(&folder.join("objects"));
    println!(
        "  {:>10.1} % freed by deleting half, in {:.1} s",
        100.0 * freed / full,
        began.elapsed().as_secs_f64()
    );
    drop(series);
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.close();
    drop(store);
    let began = Instant::now();
    let (store, _, series) = opened(folder).await?;
    let (took, size) = (began.elapsed().as_secs_f64(), bytes(folder) / 1e9);
    println!("  {took:>10.2} s to start again, {:.2} s by the gigabyte, {:?}", took / size, series.totals());
    drop(series);
    store.close();
    Ok(())
}

/// Queries of a dashboard.
async fn questions(series: &Series, points: usize) -> Outcome<()> {
    let end = START + points as i64 * 10_000;
    for (query, hours) in [
        ("avg:cpu.user{host:h1}", 1),
        ("avg:cpu.user{rack:r0} by {host}", 1),
        ("max:cpu.user{*}", 1),
        ("avg:cpu.user{host:h1}", 24),
        ("max:cpu.user{rack:r0} by {host}", 24),
        ("avg:cpu.user{*} by {rack}.rollup(max, 3600)", 24),
    ] {
        let expression = parse_datadog(query)?;
        let time = |time: i64| Timestamp::from_milliseconds(time).ok_or("a time");
        let range = TimeRange { start: time(end - hours * 3_600_000)?, end: time(end)?, step: None };
        let mut took = Vec::new();
        let mut lines = 0;
        for _ in 0..5 {
            let began = Instant::now();
            lines = series.query(OURS, &expression, range, &|_| true).await?.len();
            took.push(began.elapsed());
        }
        took.sort_unstable();
        println!("  {:>10.2} ms for {query} over {hours} h, {lines} lines", at(&took, 50));
    }
    Ok(())
}

/// Finding a hundred of all series.
async fn find(series: &Series) -> Outcome<()> {
    for (what, pattern) in [
        ("exact", TagPattern::Exact("h1".to_owned())),
        ("wildcard", TagPattern::wildcard("h1*")),
        ("regular expression", TagPattern::regex("h1.?")?),
    ] {
        let began = Instant::now();
        let filter = Filter::Tag("host".to_owned(), pattern);
        let found = series.series(OURS, "cpu.user", filter, None, 1000).await?;
        println!("  {:>10.3} ms to find {} series, {what}", at(&[began.elapsed()], 50), found.items.len());
    }
    Ok(())
}

/// The same through rows of the store alone: blocks of a byte a sample, as large as a packing makes them, and merged.
async fn rows(folder: &Path, samples: usize, count: usize) -> Outcome<()> {
    println!("\nin rows of the store, blocks of a byte a sample");
    let store = SledStore::open(&folder.join("store"), SledSettings::default())?;
    let mut random = SmallRng::seed_from_u64(1);
    let per_round = Limits::default().head_samples / count;
    let key =
        |series: usize, start: usize| Key::new(Space::Bucket).number(series as u64).number(start as u64);
    let (mut log, began, before) = (0_u64, Instant::now(), processor());
    let rounds = samples / (per_round * count);
    for round in 1..=rounds {
        // The log: ten bytes a sample, in rows of 28 KiB.
        let first = log;
        while (log - first) * 28 * 1024 < (per_round * count * 10) as u64 {
            let mut batch = Batch::new();
            for _ in 0..4 {
                let mut row = vec![0; 28 * 1024];
                random.fill(&mut row[..]);
                batch.put(Key::new(Space::MetricLog).number(log), row);
                log += 1;
            }
            store.commit(batch).await?;
        }
        // Rounds of four, of sixteen … become one.
        let mut merged = 1;
        while round % (merged * 4) == 0 && merged * per_round < 8 * 1024 {
            merged *= 4;
        }
        for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
            let mut batch = Batch::new();
            for series in chunk {
                let mut step = 1;
                while step < merged {
                    for before in 1..4 {
                        batch.delete(key(*series, round - before * step));
                    }
                    step *= 4;
                }
                let mut block = vec![0; (merged * per_round).min(16 * 1024)];
                random.fill(&mut block[..]);
                batch.put(key(*series, round), block);
            }
            store.commit(batch).await?;
        }
        let mut batch = Batch::new();
        for row in first..log {
            batch.delete(Key::new(Space::MetricLog).number(row));
        }
        store.commit(batch).await?;
    }
    let written = rounds * per_round * count;
    println!("  {:>10.2} M samples/s", written as f64 / began.elapsed().as_secs_f64() / 1e6);
    println!("  {:>10.0} ns of processor a sample", (processor() - before) * 1e9 / written as f64);
    println!(
        "  {:>10.3} bytes a sample on the disk, {:.1} MB of memory",
        bytes(folder) / written as f64,
        memory() / MEGABYTE
    );
    let full = bytes(folder);
    for series in (0..count).step_by(2) {
        let mut batch = Batch::new();
        for round in 1..=rounds {
            batch.delete(key(series, round));
        }
        store.commit(batch).await?;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    println!("  {:>10.1} % freed by deleting half, ten seconds later", 100.0 * (1.0 - bytes(folder) / full));
    store.close();
    drop(store);
    let began = Instant::now();
    let store = SledStore::open(&folder.join("store"), SledSettings::default())?;
    println!("  {:>10.2} s to start again", began.elapsed().as_secs_f64());
    store.close();
    Ok(())
}

/// Milliseconds at a percentile of what is sorted.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .map_or(0.0, Duration::as_secs_f64)
        * 1e3
}

/// Seconds of processor this process has used.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
