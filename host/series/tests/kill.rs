//! `kill -9` in a loop while samples are written, packed, merged, rolled up and beyond their retention, while what is known
//! of their metrics changes, and every other time while the clock jumps: every acknowledged sample is there afterwards, and
//! none that was not sent.
//!
//! A writer `w` sends, as its write `n`, a few samples whose values follow from `w` and their times, so that the checker
//! needs nothing but how far each came. What is rolled up counts once more when it is sent again, so there each life of a
//! host has slots of time of its own.

#![allow(clippy::unwrap_used, reason = "a test through and through")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bellwether_kernel::{Clock, HostId, OrganisationId, SystemClock, Timestamp};
use bellwether_series::{
    Filter, Limits, Metadata, MetricKind, Parts, RollUp, Samples, Series, SeriesSamples, TimeRange,
    parse_datadog,
};
use bellwether_store::{Batch, Objects, SledSettings, SledStore};

/// Where the child finds its data. Without it this program is the test.
const FOLDER: &str = "BELLWETHER_KILL_FOLDER";
const WRITERS: u64 = 8;
/// Samples of one write.
const POINTS: i64 = 40;
/// How often the child is killed, by default.
const KILLS: u64 = 20;
const OURS: OrganisationId = OrganisationId(1);
/// Two samples are so far apart that a writer passes from one partition into the next every few writes.
const STEP: i64 = 3_600_000;
const START: i64 = 1_500_000_000_000;
/// The life of the host that is started, counted from 0.
const LIFE: &str = "BELLWETHER_KILL_LIFE";
/// Lives before slots of rolled-up time are used again; a write that was under way is long done by then.
const LIVES: i64 = 8;
/// A slot holds the samples of one write.
const SLOT: i64 = 10 * 60 * 1000;

/// Jumps by years, both ways, a few times a second.
struct JumpingClock;

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now();
        let years = (now.as_milliseconds() / 100 * 7919 % 81) - 40;
        now.saturating_add(years * 365 * 24 * 60 * 60 * 1000)
    }
}

async fn open(folder: &Path, jumps: bool) -> (Arc<SledStore>, Series) {
    let store = Arc::new(SledStore::open(&folder.join("store"), SledSettings::default()).unwrap());
    let parts = Parts {
        store: Arc::clone(&store) as _,
        objects: Objects::open(&folder.join("objects")).unwrap(),
        clock: if jumps { Arc::new(JumpingClock) } else { Arc::new(SystemClock) },
        host: HostId(1),
        // Little, so that much is packed and merged; a clock that jumps is not trusted, another at once.
        limits: Limits {
            head_samples: 3000,
            steady: if jumps { Limits::default().steady } else { Duration::ZERO },
            ..Limits::default()
        },
    };
    (store, Series::open(parts).await.unwrap())
}

fn value(writer: u64, time: i64) -> f64 {
    (writer * 1_000_003) as f64 + (time / STEP) as f64 / 100.0
}

fn write_of(writer: u64, number: i64) -> SeriesSamples {
    let mut samples = Samples::default();
    // Each write repeats half of the one before, so that duplicates meet in every place.
    for point in number * POINTS / 2..number * POINTS / 2 + POINTS {
        let time = START + point * STEP;
        samples.push(time, value(writer, time));
    }
    SeriesSamples { metric: "kept".to_owned(), tags: vec![format!("writer:{writer}")], samples }
}

/// What a write puts into a slot of its own and its life's.
fn rolled_of(writer: u64, number: i64, life: i64) -> SeriesSamples {
    let mut samples = Samples::default();
    for point in 0..POINTS {
        samples.push(slot(number, life) + point * SLOT / POINTS, (number + 1) as f64);
    }
    SeriesSamples { metric: "rolled".to_owned(), tags: vec![format!("writer:{writer}")], samples }
}

fn slot(number: i64, life: i64) -> i64 {
    START / SLOT * SLOT + (number * LIVES + life % LIVES) * SLOT
}

/// Not a test: what the test starts, and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    // Ends the line that the test harness has begun.
    println!();
    let life: i64 = std::env::var(LIFE).map_or(0, |text| text.parse().unwrap());
    let (_store, series) = open(Path::new(&folder), life % 2 == 1).await;
    let series = Arc::new(series);
    let old = Metadata { keep_days: Some(1), ..Metadata::default() };
    series.describe(OURS, "old", old, Batch::new()).await.unwrap();
    let rolled =
        Metadata { roll_ups: vec![RollUp { after_days: 1, step_seconds: 600 }], ..Metadata::default() };
    series.describe(OURS, "rolled", rolled, Batch::new()).await.unwrap();
    for writer in 0..WRITERS {
        let series = Arc::clone(&series);
        tokio::spawn(async move {
            // Where an earlier life came to: a write sent again changes nothing.
            let from = std::env::var(format!("WRITER_{writer}")).map_or(0, |text| text.parse().unwrap());
            for number in from.. {
                let old = SeriesSamples { metric: "old".to_owned(), ..write_of(writer, number) };
                let rolled = rolled_of(writer, number, life);
                series.write(OURS, &[write_of(writer, number), old, rolled], Batch::new()).await.unwrap();
                println!("{writer} {number}");
            }
        });
    }
    for round in 0_u32.. {
        series.tend().await.unwrap();
        let known = Metadata {
            kind: if round % 2 == 0 { MetricKind::Gauge } else { MetricKind::Distribution },
            keep_days: (round % 3 == 0).then_some(36_500),
            description: Some(format!("as it was in round {round}")),
            ..Metadata::default()
        };
        series.describe(OURS, "kept", known.clone(), Batch::new()).await.unwrap();
        let rolled =
            Metadata { roll_ups: vec![RollUp { after_days: 1 + round % 2, step_seconds: 600 }], ..known };
        series.describe(OURS, "rolled", rolled, Batch::new()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn start(folder: &Path, life: u64, acknowledged: &BTreeMap<u64, i64>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its own file"));
    for (writer, number) in acknowledged {
        command.env(format!("WRITER_{writer}"), (number + 1).to_string());
    }
    command
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts")
}

/// What was acknowledged: how far each writer came, and in which lives each of its numbers.
#[derive(Default)]
struct Acknowledged {
    last: BTreeMap<u64, i64>,
    slots: BTreeMap<u64, BTreeSet<i64>>,
    /// Slots of writes that were under way when their host was killed.
    maybe: BTreeMap<u64, BTreeSet<i64>>,
}

/// What is wrong with what is rolled up.
async fn check_rolled(series: &Series, acknowledged: &Acknowledged, wrong: &mut Vec<String>) {
    let range = TimeRange {
        start: Timestamp::from_milliseconds(START / SLOT * SLOT).unwrap(),
        end: SystemClock.now(),
        step: Some(SLOT),
    };
    for writer in 0..WRITERS {
        let mut found: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for over_time in ["count", "sum"] {
            let query = parse_datadog(&format!("sum:rolled{{writer:{writer}}}.rollup({over_time})")).unwrap();
            for line in series.query(OURS, &query, range, &|_| true).await.unwrap() {
                line.points.iter().for_each(|(time, value)| found.entry(*time).or_default().push(*value));
            }
        }
        let none = BTreeSet::new();
        let slots = acknowledged.slots.get(&writer).unwrap_or(&none);
        let maybe = acknowledged.maybe.get(&writer).unwrap_or(&none);
        if let Some(lost) = slots.iter().find(|slot| !found.contains_key(slot)) {
            wrong.push(format!("writer {writer} has nothing rolled up at {lost}"));
        }
        for (time, values) in found {
            let number = (time - slot(0, 0)) / SLOT / LIVES;
            let (count, sum) = (POINTS as f64, (POINTS * (number + 1)) as f64);
            if values != [count, sum] || !(slots.contains(&time) || maybe.contains(&time)) {
                wrong.push(format!(
                    "writer {writer} has {values:?} rolled up at {time}, expected [{count}, {sum}]"
                ));
                break;
            }
        }
    }
}

/// What is wrong with what is there, and how long the opening took.
async fn check(folder: &Path, acknowledged: &Acknowledged) -> (Vec<String>, Duration) {
    let began = Instant::now();
    let (store, series) = open(folder, false).await;
    let took = began.elapsed();
    let mut wrong = Vec::new();
    for writer in 0..WRITERS {
        let filter = bellwether_series::parse_filter(&format!("writer:{writer}")).unwrap();
        let raw = series.raw(OURS, "kept", &filter, (Timestamp::MIN, Timestamp::MAX)).await.unwrap();
        let samples = raw.into_iter().next().map(|series| series.samples).unwrap_or_default();
        let number = acknowledged.last.get(&writer).copied().unwrap_or(-1);
        let expected = if number < 0 { 0 } else { number * POINTS / 2 + POINTS };
        // The write under way may be there too.
        let most = expected.max(POINTS / 2) + POINTS / 2;
        if !(expected..=most).contains(&(samples.len() as i64)) {
            wrong.push(format!("writer {writer} has {} samples, expected {expected}", samples.len()));
        }
        for (at, (time, found)) in (0..).zip(samples.times.iter().zip(&samples.values)) {
            if *time != START + at * STEP || *found != value(writer, *time) {
                wrong.push(format!("writer {writer} has {found} at {time}"));
                break;
            }
        }
    }
    if !series.raw(OURS, "old", &Filter::All, (Timestamp::MIN, Timestamp::MAX)).await.unwrap().is_empty() {
        wrong.push("samples beyond their retention are seen".to_owned());
    }
    check_rolled(&series, acknowledged, &mut wrong).await;
    drop(series);
    // The writer of the series lets go of the store when it next looks, and the next child must find the folder free.
    while Arc::strong_count(&store) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.close();
    (wrong, took)
}

#[tokio::test]
async fn every_acknowledged_sample_survives_kill_9() {
    let kills = std::env::var("BELLWETHER_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    let mut longest = Duration::ZERO;
    for kill in 0..kills {
        let mut child = start(folder.path(), kill, &acknowledged.last);
        // Killed after so many acknowledgements, not after a time: each kill hits a host that is at work.
        let wanted = 20 + kill * 137 % 1500;
        let (mut seen, mut killed) = (0, false);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            if let (Some(Ok(writer)), Some(Ok(number)), None) =
                (numbers.next(), numbers.next(), numbers.next())
            {
                acknowledged.last.insert(writer, number as i64);
                let slots = acknowledged.slots.entry(writer).or_default();
                slots.insert(slot(number as i64, kill as i64));
                seen += 1;
            }
            if seen == wanted && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        for writer in 0..WRITERS {
            let next = acknowledged.last.get(&writer).map_or(0, |number| number + 1);
            acknowledged.maybe.entry(writer).or_default().insert(slot(next, kill as i64));
        }
        assert!(killed, "the writer ended by itself after {seen} writes");
        let (wrong, took) = check(folder.path(), &acknowledged).await;
        longest = longest.max(took);
        assert!(wrong.is_empty(), "after kill {kill}: {wrong:#?}");
    }
    let samples: i64 = acknowledged.last.values().map(|number| number * POINTS / 2 + POINTS).sum();
    let rolled: usize = acknowledged.slots.values().map(|slots| slots.len() * POINTS as usize).sum();
    println!(
        "{kills} kills, {samples} acknowledged samples and {rolled} rolled up, 0 lost; opened in {:.2} s at most",
        longest.as_secs_f64()
    );
}
