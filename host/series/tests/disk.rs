//! A full disk and a torn last write: what was acknowledged is there, and nothing else; and it goes on.

#![allow(clippy::unwrap_used, reason = "a test through and through")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{HostId, OrganisationId, SystemClock, Timestamp};
use bellwether_series::{Filter, Limits, Parts, Samples, Series, SeriesError, SeriesSamples};
use bellwether_store::{Batch, LEAST_WATERMARK, Objects, SledSettings, SledStore, StoreError};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const OURS: OrganisationId = OrganisationId(1);
const START: i64 = 1_750_000_000_000;
const POINTS: i64 = 2000;

async fn open(folder: &Path, head_samples: usize) -> (Arc<SledStore>, Series) {
    let settings = SledSettings {
        watermark_bytes: LEAST_WATERMARK,
        watermark_interval: Duration::ZERO,
        ..SledSettings::default()
    };
    let store = Arc::new(SledStore::open(&folder.join("store"), settings).unwrap());
    let parts = Parts {
        store: Arc::clone(&store) as _,
        objects: Objects::open(&folder.join("objects")).unwrap(),
        clock: Arc::new(SystemClock),
        host: HostId(1),
        limits: Limits { head_samples, ..Limits::default() },
    };
    (store, Series::open(parts).await.unwrap())
}

async fn close(store: Arc<SledStore>, series: Series) {
    drop(series);
    // The writer of the series lets go of the store when it next looks.
    while Arc::strong_count(&store) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.close();
}

/// The write `number`: noise, which takes about eight bytes a sample, of a metric of its own.
fn write_of(number: i64) -> SeriesSamples {
    let mut random = SmallRng::seed_from_u64(number as u64);
    let mut samples = Samples::default();
    (0..POINTS).for_each(|point| samples.push(START + point * 1000, random.random()));
    SeriesSamples { metric: format!("m{number}"), tags: Vec::new(), samples }
}

async fn read(series: &Series, number: i64) -> Samples {
    let range = (Timestamp::MIN, Timestamp::MAX);
    let raw = series.raw(OURS, &format!("m{number}"), &Filter::All, range).await.unwrap();
    raw.into_iter().next().map(|series| series.samples).unwrap_or_default()
}

/// Writes from `number` on until the disk is full; gives the number that was refused.
async fn fill(series: &Series, mut number: i64) -> i64 {
    loop {
        match series.write(OURS, &[write_of(number)], Batch::new()).await {
            Ok(()) => number += 1,
            Err(SeriesError::Store(StoreError::DiskFull { .. })) => return number,
            Err(error) => panic!("write {number}: {error}"),
        }
    }
}

/// A small file system in memory, until this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where one may not be mounted; says so.
    fn mounted() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                println!(
                    "SKIPPED: a small disk takes root: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("SKIPPED: a small disk takes `mount`: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_deleting_makes_room() {
    let Some(disk) = SmallDisk::mounted() else { return };
    let (store, series) = open(disk.0.path(), 20_000).await;
    let full = fill(&series, 0).await;
    for number in 0..full {
        assert_eq!(read(&series, number).await, write_of(number).samples, "write {number} of {full}");
    }
    assert!(read(&series, full).await.is_empty(), "what was refused is not there");
    close(store, series).await;

    let (store, series) = open(disk.0.path(), 20_000).await;
    let full = fill(&series, full).await;
    for number in 0..full {
        assert_eq!(read(&series, number).await, write_of(number).samples, "write {number} of {full}");
    }
    // While it is full series can be deleted, and what they took is free.
    let kept = full * 3 / 4;
    for number in 0..kept {
        assert_eq!(series.delete(OURS, &format!("m{number}"), Filter::All, Batch::new()).await.unwrap(), 1);
    }
    // What is left of a segment may be written anew once others are gone.
    let mut tended = series.tend().await;
    for _ in 0..3 {
        if tended.is_err() {
            tended = series.tend().await;
        }
    }
    tended.unwrap();
    let more = fill(&series, full).await;
    assert!(more - full > kept / 4, "{kept} of {full} writes were deleted, and {} fit now", more - full);
    for number in kept..more {
        assert_eq!(read(&series, number).await, write_of(number).samples, "write {number} of {more}");
    }
    println!("full after {full} writes of {POINTS} samples, and again after {} more; 0 lost", more - full);
    close(store, series).await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Where two folders differ: the file, and the first and the last byte behind.
fn changed(before: &Path, after: &Path) -> (PathBuf, u64, u64) {
    let mut found = Vec::new();
    for entry in fs::read_dir(after.join("store")).unwrap() {
        let name = PathBuf::from("store").join(entry.unwrap().file_name());
        if !after.join(&name).is_file() {
            continue;
        }
        let (a, b) = (fs::read(before.join(&name)).unwrap_or_default(), fs::read(after.join(&name)).unwrap());
        let differs = |at: &usize| a.get(*at) != b.get(*at);
        if let Some(first) = (0..b.len()).find(differs) {
            let last = (0..b.len()).rev().find(differs).unwrap();
            found.push((name, first as u64, last as u64 + 1));
        }
    }
    assert_eq!(found.len(), 1, "a write changes one file: {found:?}");
    found.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_last_write_is_there_whole_or_not_at_all_and_all_before_is() {
    let folder = tempfile::tempdir().unwrap();
    let (live, before, after) =
        (folder.path().join("live"), folder.path().join("before"), folder.path().join("after"));
    let (store, series) = open(&live, 1_000_000).await;
    for number in 0..3 {
        series.write(OURS, &[write_of(number)], Batch::new()).await.unwrap();
    }
    series.pack().await.unwrap();
    series.write(OURS, &[write_of(3)], Batch::new()).await.unwrap();
    copy(&live, &before);
    series.write(OURS, &[write_of(4)], Batch::new()).await.unwrap();
    copy(&live, &after);
    close(store, series).await;

    let (file, first, last) = changed(&before, &after);
    let mut random = SmallRng::seed_from_u64(1);
    let (mut torn, mut whole) = (0, 0);
    for round in 0..24 {
        let here = folder.path().join("here");
        copy(&after, &here);
        let cut = match round {
            0 => first,
            1 => first + 1,
            2 => last - 1,
            3 => last,
            _ => random.random_range(first..last),
        };
        let journal = OpenOptions::new().write(true).open(here.join(&file)).unwrap();
        // What did not reach the disk is as it was before, or what happened to be there, or the file ends.
        match round % 3 {
            0 => journal.write_all_at(&vec![0; (last - cut) as usize], cut).unwrap(),
            1 => {
                let mut noise = vec![0; (last - cut) as usize];
                random.fill(&mut noise[..]);
                journal.write_all_at(&noise, cut).unwrap();
            }
            _ => journal.set_len(cut).unwrap(),
        }
        // So may a segment that no row names yet.
        fs::write(here.join("objects").join("0".repeat(64)), b"bwseries, and no further").unwrap();
        let (store, series) = open(&here, 1_000_000).await;
        for number in 0..4 {
            assert_eq!(
                read(&series, number).await,
                write_of(number).samples,
                "cut at {cut} of {first} to {last}"
            );
        }
        let fourth = read(&series, 4).await;
        if fourth.is_empty() {
            torn += 1;
        } else {
            whole += 1;
            assert_eq!(fourth, write_of(4).samples, "cut at {cut} of {first} to {last}");
        }
        // And it goes on.
        series.write(OURS, &[write_of(5)], Batch::new()).await.unwrap();
        series.pack().await.unwrap();
        assert_eq!(read(&series, 5).await, write_of(5).samples);
        close(store, series).await;
        fs::remove_dir_all(&here).unwrap();
    }
    println!(
        "torn in {} places: {torn} times gone, {whole} times whole, 0 acknowledged samples lost",
        torn + whole
    );
    assert!(torn >= 20 && whole >= 1);
}
