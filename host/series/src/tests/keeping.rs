//! Merging, retention, deleting, and the space they free.

use bellwether_store::{Direction, Store as _, StoreError, given_up};

use super::*;
use crate::{Metadata, MetricKind};

/// `count` samples of noise, which take about 8 bytes each, a second apart.
fn noise(start: i64, count: i64, seed: u64) -> Vec<(i64, f64)> {
    use rand::{RngExt, SeedableRng};
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
    (0..count).map(|n| (start + n * 1000, random.random::<f64>())).collect()
}

#[tokio::test]
async fn small_segments_become_large_ones_and_nothing_changes() {
    let house = House::new().await;
    let start = at("2026-02-27").as_milliseconds();
    for round in 0..40 {
        let tag = format!("n:{}", round % 3);
        house
            .write(&[entry("m", &[&tag], &noise(start + round * 700_000, 1000, round as u64))])
            .await
            .unwrap();
        house.series.pack().await.unwrap();
    }
    let (before, many) = (house.all("m").await, house.series.totals());
    house.series.tend().await.unwrap();
    let few = house.series.totals();
    assert!(few.segments < many.segments / 4, "{many:?} became {few:?}");
    assert_eq!(house.all("m").await, before);
    assert_eq!(house.restarted().await.all("m").await, before);
    assert_eq!(house.objects.list().unwrap().len() as u64, few.segments, "files of before are gone");
}

#[tokio::test]
async fn samples_beyond_their_metrics_retention_are_not_seen_and_their_space_is_free() {
    let house = House::new().await;
    let now = house.now();
    let keep = |days| Metadata { keep_days: Some(days), ..Metadata::default() };
    house.series.describe(OURS, "short", keep(10), Batch::new()).await.unwrap();
    for day in 1..=60 {
        let samples = noise(now - day * DAY, 500, day as u64);
        house.write(&[entry("short", &[], &samples), entry("long", &[], &samples)]).await.unwrap();
    }
    house.series.pack().await.unwrap();
    house.series.tend().await.unwrap();
    let oldest = house.one("short").await[0].0;
    assert!(oldest >= now - 10 * DAY, "what is older is not seen");
    assert_eq!(house.one("long").await.len(), 60 * 500);
    let packed = house.series.totals().packed_samples;
    assert!(packed <= 60 * 500 + 11 * 500 + 7 * 500, "{packed} samples are kept");
    house.clock.advance(30 * DAY);
    house.series.tend().await.unwrap();
    assert_eq!(house.all("short").await.len(), 0);
    assert!(house.series.totals().packed_samples <= 60 * 500);
    house.series.describe(OURS, "long", keep(1), Batch::new()).await.unwrap();
    house.clock.advance(DAY);
    house.series.tend().await.unwrap();
    assert_eq!((house.series.totals().segments, house.bytes()), (0, 0));
}

#[tokio::test]
async fn what_is_deleted_is_gone_at_once_stays_gone_and_its_space_is_free() {
    let house = House::new().await;
    let start = at("2026-02-27").as_milliseconds();
    for host in 0..10_u64 {
        let (host, noise) = (format!("host:{host}"), noise(start, 2000, host));
        house.write(&[entry("m", &[&host], &noise), entry("n", &[&host], &noise)]).await.unwrap();
    }
    house.series.pack().await.unwrap();
    house.write(&[entry("m", &["host:1"], &[(1, 1.0)])]).await.unwrap();
    let full = house.bytes();
    let some = Filter::Tag("host".to_owned(), crate::TagPattern::Exact("1".to_owned()));
    assert_eq!(house.series.delete(OURS, "m", some, Batch::new()).await.unwrap(), 1);
    assert_eq!(house.all("m").await.len(), 9);
    assert_eq!(house.series.delete(OURS, "m", Filter::All, Batch::new()).await.unwrap(), 9);
    assert!(house.series.metric(OURS, "m").is_err(), "nothing was said of it");
    house.series.tend().await.unwrap();
    assert!(house.bytes() < full * 6 / 10, "{} of {full} bytes are left", house.bytes());

    // A series of the same tags begins anew, also when nothing tells its old samples apart but the number.
    house.write(&[entry("m", &["host:1"], &[(7, 7.0)])]).await.unwrap();
    let again = house.restarted().await;
    for house in [house, again] {
        assert_eq!(house.all("m").await.into_values().collect::<Vec<_>>(), [vec![(7, 7.0)]]);
        assert_eq!(house.all("n").await.len(), 10);
    }
}

#[tokio::test]
async fn series_are_deleted_while_memory_holds_all_it_may_and_the_disk_is_full() {
    let house = House::limited(Limits { head_samples: 100, ..Limits::default() }).await;
    house.write(&[entry("m", &[], &noise(0, 1000, 1)), entry("n", &[], &[(1, 1.0)])]).await.unwrap();
    house.store.set_disk_full(true);
    assert_eq!(house.series.delete(OURS, "m", Filter::All, Batch::new()).await.unwrap(), 1);
    let refused = house.write(&[entry("n", &[], &[(2, 2.0)])]).await;
    assert!(matches!(refused, Err(SeriesError::Store(StoreError::DiskFull { .. }))), "{refused:?}");
    house.store.set_disk_full(false);
    house.write(&[entry("n", &[], &[(2, 2.0)])]).await.unwrap();
    assert_eq!(house.one("n").await, [(1, 1.0), (2, 2.0)]);
    assert!(house.all("m").await.is_empty());
}

#[tokio::test]
async fn what_is_deleted_leaves_memory_at_once_and_the_log_when_it_is_packed() {
    let house = House::new().await;
    for round in 0..3 {
        house
            .write(&[entry("m", &["a:1"], &[(round, 1.0)]), entry("n", &[], &[(round, 1.0)])])
            .await
            .unwrap();
        house.series.delete(OURS, "m", Filter::All, Batch::new()).await.unwrap();
        let totals = house.series.totals();
        assert_eq!((totals.active_series, totals.head_samples), (1, round as u64 + 1));
    }
    house.series.delete(OURS, "n", Filter::All, Batch::new()).await.unwrap();
    assert_eq!(house.series.totals().head_samples, 0);
    house.clock.advance(11 * 60 * 1000);
    house.series.tend().await.unwrap();
    let log = crate::layout::log(HostId(1)).prefix();
    let rows = house.store.scan(log, Direction::Forward, 9).await.unwrap();
    assert_eq!(rows.len(), 0);
}

#[tokio::test]
async fn a_number_is_never_used_again_so_a_new_series_has_no_old_samples() {
    let house = House::new().await;
    house.write(&[entry("m", &["a:1"], &[(1, 1.0)])]).await.unwrap();
    house.series.pack().await.unwrap();
    house.write(&[entry("m", &["a:1"], &[(2, 2.0)])]).await.unwrap();
    house.series.delete(OURS, "m", Filter::All, Batch::new()).await.unwrap();
    let house = house.restarted().await;
    house.write(&[entry("m", &["a:1"], &[(3, 3.0)])]).await.unwrap();
    assert_eq!(house.one("m").await, [(3, 3.0)]);
}

#[tokio::test]
async fn samples_scattered_over_all_of_time_are_few_files_and_keep_their_order() {
    let house = House::new().await;
    let week = 7 * DAY;
    let scattered: Vec<(i64, f64)> = (0..2000).map(|n| (n * week, n as f64)).collect();
    house.write(&[entry("m", &[], &scattered)]).await.unwrap();
    house.series.pack().await.unwrap();
    assert!(house.series.totals().segments <= 256);
    // The same times again and again, now one and now the other way: the last still holds after merges.
    let mut expected: BTreeMap<i64, f64> = scattered.into_iter().collect();
    for round in 0..6_i64 {
        let mut samples: Vec<(i64, f64)> =
            (0..50).map(|n| (n * 40 * week, (round * 1000 + n) as f64)).collect();
        if round % 2 == 0 {
            samples.extend((0..300).map(|n| (n * 5 * week + 1, n as f64)));
        }
        expected.extend(samples.iter().copied());
        house.write(&[entry("m", &[], &samples)]).await.unwrap();
        house.series.pack().await.unwrap();
        house.series.tend().await.unwrap();
    }
    assert_eq!(house.one("m").await, expected.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn weeks_are_merged_though_samples_of_hundreds_of_weeks_come_between_and_the_last_written_holds() {
    let house = House::new().await;
    let week = 7 * DAY;
    let this = house.now().div_euclid(week) * week;
    let early = this - 390 * week;
    let mut expected = BTreeMap::new();
    for round in 0..9_i64 {
        let value = round as f64;
        // More weeks than get a segment of their own.
        let mut samples: Vec<(i64, f64)> = (0..390).map(|n| (this - n * week, value)).collect();
        samples.extend((1..5).map(|n| (this + n, value)));
        // The early one does every other time; else it is scattered, and overwrites what was written last.
        let of_early = if round % 2 == 0 { 0..5 } else { 0..1 };
        samples.extend(of_early.map(|n| (early + round + n, value)));
        expected.extend(samples.iter().copied());
        house.write(&[entry("m", &[], &samples)]).await.unwrap();
        house.series.pack().await.unwrap();
    }
    let of = |start: i64| {
        let segments = Arc::clone(&house.series.shared.state.read().segments);
        segments.iter().filter(|placed| placed.row.partition == Some(start)).count()
    };
    assert_eq!((of(this), of(early)), (9, 5));
    house.series.shared.merge_all().await.unwrap();
    assert!(of(this) <= 3 && of(early) <= 2, "{} and {} are left", of(this), of(early));
    assert_eq!(house.one("m").await, expected.clone().into_iter().collect::<Vec<_>>());
    let house = house.restarted().await;
    assert_eq!(house.one("m").await, expected.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_known_of_a_metric_is_kept_and_checked() {
    let house = House::new().await;
    let metadata = Metadata {
        kind: MetricKind::Count,
        unit: Some("byte".to_owned()),
        per_unit: Some("second".to_owned()),
        description: Some("what was sent".to_owned()),
        short_name: Some("sent".to_owned()),
        integration: Some("web".to_owned()),
        keep_days: Some(400),
        roll_ups: vec![crate::RollUp { after_days: 15, step_seconds: 300 }],
    };
    house.series.describe(OURS, "m", metadata.clone(), Batch::new()).await.unwrap();
    let house = house.restarted().await;
    assert_eq!(*house.series.metric(OURS, "m").unwrap().metadata, metadata);
    for (wrong, field) in [
        (Metadata { keep_days: Some(0), ..Metadata::default() }, "keep_days"),
        (Metadata { unit: Some("x".repeat(101)), ..Metadata::default() }, "unit"),
    ] {
        let refused = house.series.describe(OURS, "m", wrong, Batch::new()).await.unwrap_err().to_string();
        assert!(refused.starts_with(field), "{refused}");
    }
}

#[tokio::test]
async fn what_is_known_of_a_metric_is_what_is_durable_when_its_change_is_given_up() {
    let metadata = Metadata { kind: MetricKind::Count, ..Metadata::default() };
    for polls in 1.. {
        let house = House::new().await;
        house.write(&[entry("m", &[], &[(1, 1.0)])]).await.unwrap();
        house.store.answer_late();
        let describe = house.series.describe(OURS, "m", metadata.clone(), Batch::new());
        let ended = given_up(describe, polls).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let known = house.series.metric(OURS, "m").unwrap();
        let durable = house.restarted().await.series.metric(OURS, "m").unwrap();
        assert_eq!(known, durable, "given up at the poll {polls}");
        if ended {
            break;
        }
    }
}

#[tokio::test]
async fn a_disk_that_fills_while_segments_are_made_keeps_none_of_them() {
    let full = |done| matches!(done, Err(SeriesError::Store(StoreError::DiskFull { .. })));
    let house = House::new().await;
    let week = 7 * DAY;
    // Segments are announced, put, and then their disk is full.
    for round in 0..4 {
        house.write(&[entry("m", &[], &[(round, 1.0), (week + round, 1.0)])]).await.unwrap();
        house.store.fill_after(1);
        assert!(full(house.series.pack().await));
        assert_eq!(house.objects.list().unwrap().len() as i64, 2 * round);
        house.store.set_disk_full(false);
        house.series.pack().await.unwrap();
    }
    house.store.fill_after(1);
    assert!(full(house.series.tend().await));
    assert_eq!(house.objects.list().unwrap().len(), 8, "what was to be merged");
    house.store.set_disk_full(false);
    house.series.tend().await.unwrap();
    assert_eq!(house.objects.list().unwrap().len(), 2);
    assert_eq!(house.restarted().await.one("m").await.len(), 8);
}

#[tokio::test]
async fn of_thousands_of_retentions_each_series_has_its_own_metrics() {
    let house =
        House::limited(Limits { keep_days: 5, steady: std::time::Duration::ZERO, ..Limits::default() }).await;
    {
        let index = house.series.shared.index(OURS);
        let mut index = index.write();
        for number in 1..=20_000 {
            let roll_ups = vec![crate::RollUp { after_days: number, step_seconds: 60 }];
            let known = Metadata { keep_days: Some(number), roll_ups, ..Metadata::default() };
            index.set_metadata(&format!("m{number}"), known);
            index.add(crate::SeriesNumber(number), &format!("m{number}"), &[], true);
        }
        index.add(crate::SeriesNumber(30_000), "unsaid", &[], true);
    }
    let begun = std::time::Instant::now();
    let (kept, now) = (house.series.shared.kept(), house.now());
    for number in 1..=20_000 {
        assert_eq!(kept.first(number), Some(now - i64::from(number) * DAY));
    }
    assert_eq!(kept.first(30_000), Some(now - 5 * DAY));
    // Going through all of them for each is 400 million comparisons.
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
}
