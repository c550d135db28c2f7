//! `kill -9` in a loop while samples are written, packed, merged and beyond their retention: every acknowledged sample is
//! there afterwards, and none that was not sent.
//!
//! A writer `w` sends, as its write `n`, a few samples whose values follow from `w` and their times, so that the checker
//! needs nothing but how far each came.

#![allow(clippy::unwrap_used, reason = "a test through and through")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bellwether_kernel::{HostId, OrganisationId, SystemClock, Timestamp};
use bellwether_series::{Filter, Limits, Metadata, Parts, Samples, Series, SeriesSamples};
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

async fn open(folder: &Path) -> (Arc<SledStore>, Series) {
    let store = Arc::new(SledStore::open(&folder.join("store"), SledSettings::default()).unwrap());
    let parts = Parts {
        store: Arc::clone(&store) as _,
        objects: Objects::open(&folder.join("objects")).unwrap(),
        clock: Arc::new(SystemClock),
        host: HostId(1),
        // Little, so that much is packed and merged.
        limits: Limits { head_samples: 3000, ..Limits::default() },
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

/// Not a test: what the test starts, and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    // Ends the line that the test harness has begun.
    println!();
    let (_store, series) = open(Path::new(&folder)).await;
    let series = Arc::new(series);
    let old = Metadata { keep_days: Some(1), ..Metadata::default() };
    series.describe(OURS, "old", old, Batch::new()).await.unwrap();
    for writer in 0..WRITERS {
        let series = Arc::clone(&series);
        tokio::spawn(async move {
            // Where an earlier life came to: a write sent again changes nothing.
            let from = std::env::var(format!("WRITER_{writer}")).map_or(0, |text| text.parse().unwrap());
            for number in from.. {
                let old = SeriesSamples { metric: "old".to_owned(), ..write_of(writer, number) };
                series.write(OURS, &[write_of(writer, number), old], Batch::new()).await.unwrap();
                println!("{writer} {number}");
            }
        });
    }
    loop {
        series.tend().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn start(folder: &Path, acknowledged: &BTreeMap<u64, i64>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its own file"));
    for (writer, number) in acknowledged {
        command.env(format!("WRITER_{writer}"), (number + 1).to_string());
    }
    command
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts")
}

/// What is wrong with what is there.
async fn check(folder: &Path, acknowledged: &BTreeMap<u64, i64>) -> Vec<String> {
    let (store, series) = open(folder).await;
    let mut wrong = Vec::new();
    for writer in 0..WRITERS {
        let filter = bellwether_series::parse_filter(&format!("writer:{writer}")).unwrap();
        let raw = series.raw(OURS, "kept", &filter, (Timestamp::MIN, Timestamp::MAX)).await.unwrap();
        let samples = raw.into_iter().next().map(|series| series.samples).unwrap_or_default();
        let number = acknowledged.get(&writer).copied().unwrap_or(-1);
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
    drop(series);
    // The writer of the series lets go of the store when it next looks, and the next child must find the folder free.
    while Arc::strong_count(&store) > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    store.close();
    wrong
}

#[tokio::test]
async fn every_acknowledged_sample_survives_kill_9() {
    let kills = std::env::var("BELLWETHER_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, i64> = BTreeMap::new();
    let mut longest = 0.0_f64;
    for kill in 0..kills {
        let mut child = start(folder.path(), &acknowledged);
        // Killed after so many acknowledgements, not after a time: each kill hits a host that is at work.
        let wanted = 20 + kill * 137 % 1500;
        let (mut seen, mut killed) = (0, false);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            if let (Some(Ok(writer)), Some(Ok(number)), None) =
                (numbers.next(), numbers.next(), numbers.next())
            {
                acknowledged.insert(writer, number as i64);
                seen += 1;
            }
            if seen == wanted && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the writer ended by itself after {seen} writes");
        let began = Instant::now();
        let wrong = check(folder.path(), &acknowledged).await;
        longest = longest.max(began.elapsed().as_secs_f64());
        assert!(wrong.is_empty(), "after kill {kill}: {wrong:#?}");
    }
    let samples: i64 = acknowledged.values().map(|number| number * POINTS / 2 + POINTS).sum();
    println!(
        "{kills} kills, {samples} acknowledged samples, 0 lost; opened and checked in {longest:.2} s at most"
    );
}
