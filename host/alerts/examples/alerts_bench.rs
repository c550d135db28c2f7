//! What evaluating monitors costs: `cargo xtask bench alerts`, or
//! `cargo run --release --package bellwether-alerts --example alerts_bench -- [monitors] [series of each] [minutes] [at once] [folder]`.
//!
//! Monitors over series in the real store, on a clock that jumps from minute to minute: each minute every series gets a
//! sample, then every monitor is due at once, and what is measured is how long the host takes until the last is
//! evaluated and durable. Twice: monitors that group by a tag, so that each of their series has a level of its own, and
//! monitors of one line each. One in a hundred opens an incident or closes one each minute. Prints evaluations a second,
//! the lag of the last, processor time an evaluation, and what telling of writes adds to them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bellwether_access::{Access, HostKey, Principal, Role};
use bellwether_alerts::{
    Alerts, Detector, Figures, Forecaster, Formatter, Limits, NoEvents, NoTellings, Parts, Roles,
};
use bellwether_kernel::{HostId, KeyId, ManualClock, OrganisationId, SystemRandomness, Timestamp};
use bellwether_series::{Expression, Line, Listener, Samples, Series, SeriesError, SeriesSamples, TimeRange};
use bellwether_store::{Batch, Objects, SharedStore, SledSettings, SledStore};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

const OURS: OrganisationId = OrganisationId(1);
/// A whole minute.
const START: i64 = 1_750_000_020_000;
const MINUTE: i64 = 60_000;
/// Minutes of a monitor's window.
const WINDOW: i64 = 5;
/// Series a write has.
const WIDTH: usize = 1_000;
/// How long a minute's evaluations may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Answers queries and counts what they take, waiting included.
struct Timed(Arc<Series>, AtomicU64);

#[async_trait]
impl Figures for Timed {
    async fn query(
        &self,
        organisation: OrganisationId,
        expression: &Expression,
        range: TimeRange,
    ) -> Result<Vec<Line>, SeriesError> {
        let began = Instant::now();
        let lines = Figures::query(&*self.0, organisation, expression, range).await;
        self.1.fetch_add(began.elapsed().as_micros() as u64, Ordering::Relaxed);
        lines
    }

    fn tell(&self, listener: &Arc<dyn Listener>) {
        self.0.tell(listener);
    }
}

struct Nobody;

impl Roles for Nobody {
    fn detector(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Detector>> {
        None
    }

    fn forecaster(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Forecaster>> {
        None
    }

    fn formatter(&self, _: OrganisationId, _: &str) -> Option<Arc<dyn Formatter>> {
        None
    }
}

struct Load {
    monitors: usize,
    of_each: usize,
    minutes: i64,
    at_once: usize,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let load = Load {
        monitors: number(0, 10_000)?,
        of_each: number(1, 10)?,
        minutes: i64::try_from(number(2, 5)?)?,
        at_once: number(3, Limits::default().at_once)?,
    };
    let temporary = tempfile::tempdir()?;
    let folder = arguments.get(4).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    println!(
        "{} monitors over {} series, {} at once",
        load.monitors,
        load.monitors * load.of_each,
        load.at_once
    );
    for (name, by) in [("by group", " by {core}"), ("of one line", "")] {
        measure(&folder.join(name.replace(' ', "-")), &load, name, by).await?;
    }
    Ok(())
}

async fn measure(folder: &Path, load: &Load, name: &str, by: &str) -> Outcome<()> {
    println!("\nmonitors {name}");
    let clock = Arc::new(ManualClock::new(instant(0)?));
    let store: SharedStore = Arc::new(SledStore::open(&folder.join("store"), SledSettings::default())?);
    let key = HostKey::from_hex(&"5a".repeat(32))?;
    let access = Access::open(Arc::clone(&store), clock.clone(), Arc::new(SystemRandomness), key).await?;
    let series = bellwether_series::Parts {
        store: Arc::clone(&store),
        objects: Objects::open(&folder.join("objects"))?,
        clock: clock.clone(),
        host: HostId(1),
        limits: bellwether_series::Limits::default(),
    };
    let series = Arc::new(Series::open(series).await?);
    let unwatched = write_all(&series, load, -WINDOW, WINDOW).await?;
    let figures = Arc::new(Timed(Arc::clone(&series), AtomicU64::new(0)));
    let alerts = Alerts::open(Parts {
        store: Arc::clone(&store),
        access: Arc::new(access),
        figures: figures.clone(),
        events: Arc::new(NoEvents),
        roles: Arc::new(Nobody),
        tellings: Arc::new(NoTellings),
        clock: clock.clone(),
        limits: Limits { at_once: load.at_once, ..Limits::default() },
        outward: Default::default(),
    });
    let principal = Principal {
        organisation: OURS,
        organisation_name: "bench".to_owned(),
        time_zone: "UTC".to_owned(),
        key: KeyId::random(&SystemRandomness),
        key_name: "bench".to_owned(),
        role: Role::Admin,
    };
    let began = Instant::now();
    for number in 0..load.monitors {
        let monitor = json!({
            "name": format!("m{number}"), "kind": "threshold", "query": format!("avg:load{{host:h{number}}}{by}"),
            "window": format!("{WINDOW}m"), "reduce": "last", "new_group_delay": "0s", "channels": ["ops"],
            "thresholds": {"comparator": ">", "critical": 90},
        });
        alerts.create_monitor(&principal, &monitor).await?;
    }
    println!("  {:>10.0} µs to create one", began.elapsed().as_secs_f64() * 1e6 / load.monitors as f64);
    // So that what is due now is behind.
    clock.advance(1);
    wait(&alerts).await?;

    let (mut took, mut worked, mut latest, mut watched) = (0.0, 0.0, 0.0_f64, 0.0);
    figures.1.store(0, Ordering::Relaxed);
    for minute in 0..load.minutes {
        clock.set(instant(minute * MINUTE + MINUTE / 2)?);
        watched += write_all(&series, load, minute, 1).await?;
        clock.set(instant((minute + 1) * MINUTE + 1)?);
        let (began, before) = (Instant::now(), processor());
        // A change of any monitor is looked at at once; a clock that jumps is not seen.
        alerts.pause_monitor(&principal, "m0", minute % 2 == 0).await?;
        wait(&alerts).await?;
        took += began.elapsed().as_secs_f64();
        latest = latest.max(began.elapsed().as_secs_f64());
        worked += processor() - before;
    }
    let evaluations = load.monitors as f64 * load.minutes as f64;
    let samples = (load.monitors * load.of_each) as f64;
    println!("  {:>10.0} evaluations/s", evaluations / took);
    println!("  {latest:>10.2} s after a minute, the last of them is durable");
    println!("  {:>10.1} µs of processor an evaluation", worked * 1e6 / evaluations);
    println!(
        "  {:>10.1} µs a query, waiting included",
        figures.1.load(Ordering::Relaxed) as f64 / evaluations
    );
    println!(
        "  {:>10.2} µs of processor to write a sample nobody looks at",
        unwatched * 1e6 / samples / WINDOW as f64
    );
    println!(
        "  {:>10.2} µs to write one that wakes a monitor",
        watched * 1e6 / samples / load.minutes as f64
    );
    alerts.stop(Duration::from_secs(5)).await;
    Ok(())
}

/// So many milliseconds after the start.
fn instant(after: i64) -> Outcome<Timestamp> {
    Ok(Timestamp::from_milliseconds(START + after).ok_or("an instant of the years 1 to 9999")?)
}

/// Until no monitor is behind its time.
async fn wait(alerts: &Alerts) -> Outcome<()> {
    let began = Instant::now();
    while alerts.pace().await?.behind > 0 {
        if began.elapsed() > PATIENCE {
            return Err("the monitors are not evaluated".into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Writes a sample of every series for each minute from `first` on; how long a processor took, in seconds.
async fn write_all(series: &Series, load: &Load, first: i64, minutes: i64) -> Outcome<f64> {
    let before = processor();
    let numbers: Vec<(usize, usize)> =
        (0..load.monitors).flat_map(|host| (0..load.of_each).map(move |core| (host, core))).collect();
    for minute in first..first + minutes {
        for chunk in numbers.chunks(WIDTH) {
            let one = |(host, core): &(usize, usize)| {
                let high = *host as i64 % 100 == minute.rem_euclid(100)
                    || *host as i64 % 100 == minute.rem_euclid(100) + 1;
                let mut samples = Samples::default();
                samples.push(START + minute * MINUTE + 10_000, if high { 95.0 } else { 40.0 + *core as f64 });
                let tags = vec![format!("host:h{host}"), format!("core:c{core}"), "env:prod".to_owned()];
                SeriesSamples { metric: "load".to_owned(), tags, samples }
            };
            let write: Vec<SeriesSamples> = chunk.iter().map(one).collect();
            series.write(OURS, &write, Batch::new()).await?;
        }
    }
    Ok(processor() - before)
}

/// How long this process has been on a processor, in seconds.
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().collect()).unwrap_or_default();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
