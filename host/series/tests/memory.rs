//! Series that come and go leave nothing in memory.

#![allow(clippy::unwrap_used, reason = "a test through and through")]
#![allow(unsafe_code, reason = "an allocator that counts is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use bellwether_kernel::{Clock as _, HostId, ManualClock, OrganisationId, Timestamp};
use bellwether_series::{Filter, Limits, Parts, Samples, Series, SeriesSamples};
use bellwether_store::{Batch, MemoryStore, Objects};

/// Counts what is held.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

// SAFETY: it is the system's allocator, which is given every call as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OURS: OrganisationId = OrganisationId(1);
const SERIES: usize = 20_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

async fn house(folder: &std::path::Path, clock: &Arc<ManualClock>) -> Series {
    let parts = Parts {
        store: Arc::new(MemoryStore::new()),
        objects: Objects::open(folder).unwrap(),
        clock: Arc::clone(clock) as _,
        host: HostId(1),
        limits: Limits { keep_days: 2, steady: Duration::ZERO, ..Limits::default() },
    };
    Series::open(parts).await.unwrap()
}

/// One sample of each of many series whose tags no others have, of a metric of its own.
async fn write(series: &Series, clock: &ManualClock, round: usize) -> String {
    let (metric, now) = (format!("m{round}"), clock.now().as_milliseconds());
    for part in 0..SERIES / 5000 {
        let entry = |number: usize| SeriesSamples {
            metric: metric.clone(),
            tags: vec!["env:prod".to_owned(), format!("pod:{round}-{part}-{number}")],
            samples: Samples { times: vec![now], values: vec![1.0] },
        };
        series.write(OURS, &(0..5000).map(entry).collect::<Vec<_>>(), Batch::new()).await.unwrap();
    }
    metric
}

#[tokio::test]
async fn rounds_of_series_that_go_leave_nothing_in_memory() {
    for by_age in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::parse("2026-03-01").unwrap()));
        let series = house(folder.path(), &clock).await;
        let before = HELD.load(Ordering::Relaxed);
        let held = || (HELD.load(Ordering::Relaxed) - before) / SERIES as isize;
        for round in 0..12 {
            let metric = write(&series, &clock, round).await;
            // What is written stays in the store's log until it is packed.
            let mut most = 60 + 20 * (round as isize + 1);
            if by_age {
                series.pack().await.unwrap();
                clock.advance(4 * DAY);
                series.tend().await.unwrap();
                most = 20;
            } else {
                series.delete(OURS, &metric, Filter::All, Batch::new()).await.unwrap();
            }
            assert_eq!(series.totals().series, 0);
            assert!(held() < most, "{} bytes a series after round {round}, by age: {by_age}", held());
        }
        series.pack().await.unwrap();
        assert!(held() < 20, "{} bytes a series when all is packed", held());
    }
}
