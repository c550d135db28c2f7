//! Series of which nothing is left: they go, and what comes at the same moment stays.

use bellwether_store::Crash;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::{Metadata, MetricKind, RollUp, TagPattern};

const STEADY: std::time::Duration = std::time::Duration::ZERO;

/// Numbers and tags of a metric's series; none if it is not known.
async fn listed(house: &House, metric: &str) -> BTreeMap<u32, String> {
    let part = house.series.series(OURS, metric, Filter::All, None, 1000).await;
    let items = part.map_or_else(|_| Vec::new(), |part| part.items);
    items.into_iter().map(|(number, tags)| (number, tags.join(","))).collect()
}

async fn keep(house: &House, metric: &str, days: u32, roll_ups: Vec<RollUp>) {
    let known = Metadata { keep_days: Some(days), roll_ups, ..Metadata::default() };
    house.series.describe(OURS, metric, known, Batch::new()).await.unwrap();
}

#[tokio::test]
async fn series_whose_last_sample_is_past_its_retention_are_neither_listed_nor_counted() {
    let limits = Limits { series: 6, keep_days: 30, steady: STEADY, ..Limits::default() };
    let mut house = House::limited(limits).await;
    keep(&house, "short", 10, Vec::new()).await;
    keep(&house, "rolled", 20, vec![RollUp { after_days: 1, step_seconds: 60 }]).await;
    let write = async |house: &House, metric: &str, pod: &str| {
        house.write(&[entry(metric, &["env:prod", pod], &[(house.now(), 1.0)])]).await
    };
    for metric in ["short", "rolled", "unsaid"] {
        write(&house, metric, "pod:1").await.unwrap();
        write(&house, metric, "pod:2").await.unwrap();
    }
    assert!(write(&house, "short", "pod:3").await.is_err());
    house.series.tend().await.unwrap();
    house.clock.advance(9 * DAY);
    // One goes on, and one has its last sample in memory.
    write(&house, "short", "pod:1").await.unwrap();
    house.series.pack().await.unwrap();
    write(&house, "unsaid", "pod:1").await.unwrap();
    let counts = async |house: &House| {
        let mut counts = [0; 3];
        for (count, metric) in counts.iter_mut().zip(["short", "rolled", "unsaid"]) {
            *count = listed(house, metric).await.len();
        }
        counts
    };
    for (days, left) in [(0, [2, 2, 2]), (2, [1, 2, 2]), (8, [1, 2, 2]), (2, [0, 0, 2]), (10, [0, 0, 1])] {
        house.clock.advance(days * DAY);
        house.series.tend().await.unwrap();
        assert_eq!(counts(&house).await, left, "after {days} more days");
        let series = left.iter().sum::<usize>() as u64;
        assert_eq!(house.series.totals().series, series);
        assert_eq!(house.series.series_by_organisation(), [(OURS, series)]);
        house = house.restarted().await;
        assert_eq!(counts(&house).await, left);
    }
    assert_eq!(house.series.tag_values(OURS, "unsaid", "pod", None, 9).await.unwrap().items.len(), 1);
    house.clock.advance(10 * DAY);
    house.series.tend().await.unwrap();
    assert!(house.series.metric(OURS, "unsaid").is_err(), "nothing was said of it");
    assert_eq!(house.series.metric(OURS, "short").unwrap().series, 0, "its retention is still known");
    for pod in 0..6 {
        write(&house, "short", &format!("pod:{pod}")).await.unwrap();
    }
    assert!(listed(&house, "short").await.keys().all(|number| *number > 6), "no number is used again");
}

async fn count(house: &House, metric: &str) -> Result<(), SeriesError> {
    let counted = Metadata { kind: MetricKind::Count, ..Metadata::default() };
    house.series.describe(OURS, metric, counted, Batch::new()).await
}

/// The kind of a metric that is known, and how many series it has.
fn known(house: &House, metric: &str) -> Option<(MetricKind, u64)> {
    house.series.metric(OURS, metric).ok().map(|known| (known.metadata.kind, known.series))
}

#[tokio::test]
async fn metrics_that_were_told_of_and_went_leave_room_for_others() {
    let limits = Limits { metrics: 4, keep_days: 10, steady: STEADY, ..Limits::default() };
    let mut house = House::limited(limits).await;
    for round in 0..5 {
        let names: Vec<String> = (0..4).map(|n| format!("m{round}.{n}")).collect();
        for metric in &names {
            count(&house, metric).await.unwrap();
            house.write(&[entry(metric, &[], &[(house.now(), 1.0)])]).await.unwrap();
        }
        let refused = house.write(&[entry("more", &[], &[(house.now(), 1.0)])]).await.unwrap_err();
        assert_eq!(refused.to_string(), "at most 4 metrics with samples of one organisation");
        house.clock.advance(12 * DAY);
        house.series.pack().await.unwrap();
        house.series.tend().await.unwrap();
        for restart in [false, true] {
            if restart {
                house = house.restarted().await;
            }
            assert!(names.iter().all(|metric| known(&house, metric).is_none()));
        }
    }
}

#[tokio::test]
async fn what_is_said_of_metrics_without_samples_is_bounded_and_keeps_no_other_out_for_good() {
    let limits = Limits { metrics: 4, steady: STEADY, ..Limits::default() };
    let mut house = House::limited(limits).await;
    keep(&house, "kept", 10, Vec::new()).await;
    for (metric, unknown) in [("a", true), ("b", true), ("c", true), ("a", false)] {
        assert_eq!(known(&house, metric).is_none(), unknown);
        count(&house, metric).await.unwrap();
    }
    let refused = count(&house, "d").await.unwrap_err().to_string();
    assert!(refused.starts_with("at most 4 metrics without samples"), "{refused}");
    for metric in ["a", "d"] {
        house.write(&[entry(metric, &[], &[(house.now(), 1.0)])]).await.unwrap();
    }
    count(&house, "d").await.unwrap();
    house.series.tend().await.unwrap();
    for restart in [false, true] {
        if restart {
            house = house.restarted().await;
        }
        let all = ["a", "b", "c", "d", "kept"].map(|metric| known(&house, metric));
        let (there, kept) = (Some((MetricKind::Count, 1)), Some((MetricKind::Gauge, 0)));
        assert_eq!(all, [there, None, None, there, kept], "three of four are more than half");
    }
    // As many as half of what may be stay: somebody may have said it before the first sample.
    count(&house, "b").await.unwrap();
    house.clock.advance(DAY);
    house.series.tend().await.unwrap();
    assert_eq!(known(&house, "b"), Some((MetricKind::Count, 0)));
}

#[tokio::test]
async fn a_metric_that_is_deleted_whole_is_known_only_if_it_says_how_samples_are_kept() {
    let mut house = House::new().await;
    let write = async |house: &House, metric: &str| {
        let sample = [(house.now(), 1.0)];
        house.write(&[entry(metric, &["a:1"], &sample), entry(metric, &["a:2"], &sample)]).await.unwrap();
    };
    let delete = async |house: &House, metric: &str, filter: Filter| {
        house.series.delete(OURS, metric, filter, Batch::new()).await.unwrap()
    };
    for metric in ["m", "never"] {
        count(&house, metric).await.unwrap();
    }
    keep(&house, "kept", 10, Vec::new()).await;
    write(&house, "m").await;
    write(&house, "kept").await;
    for (value, left) in [("1", 1), ("2", 0)] {
        let one = Filter::Tag("a".to_owned(), TagPattern::Exact(value.to_owned()));
        assert_eq!(delete(&house, "m", one).await, 1);
        assert_eq!(known(&house, "m"), Some((MetricKind::Count, left)));
    }
    write(&house, "m").await;
    assert_eq!(known(&house, "m"), Some((MetricKind::Count, 2)));
    for (metric, deleted) in [("m", 2), ("kept", 2), ("never", 0)] {
        assert_eq!(delete(&house, metric, Filter::All).await, deleted);
    }
    for restart in [false, true] {
        if restart {
            house = house.restarted().await;
        }
        let all = ["m", "never", "kept"].map(|metric| known(&house, metric));
        assert_eq!(all, [None, None, Some((MetricKind::Gauge, 0))]);
    }
    write(&house, "m").await;
    assert_eq!(known(&house, "m"), Some((MetricKind::Gauge, 2)), "it begins anew");
}

#[tokio::test]
async fn series_stay_where_nothing_says_that_their_samples_go_or_the_clock_is_not_steady() {
    for limits in
        [Limits { steady: STEADY, ..Limits::default() }, Limits { keep_days: 1, ..Limits::default() }]
    {
        let house = House::limited(limits).await;
        house.write(&[entry("m", &[], &[(house.now(), 1.0)])]).await.unwrap();
        for _ in 0..3 {
            house.clock.advance(400 * DAY);
            house.series.tend().await.unwrap();
            assert_eq!(listed(&house, "m").await.len(), 1);
        }
    }
}

#[tokio::test]
async fn no_series_goes_while_a_segment_is_lost_that_may_have_samples_of_it() {
    let house = House::new().await;
    keep(&house, "short", 10, Vec::new()).await;
    let now = house.now();
    house.write(&[entry("m", &[], &[(now, 1.0)]), entry("short", &[], &[(now, 1.0)])]).await.unwrap();
    house.series.pack().await.unwrap();
    let path = house.objects.path(&house.objects.list().unwrap()[0]);
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    let lost = house.restarted().await;
    lost.clock.advance(20 * DAY);
    lost.series.tend().await.unwrap();
    assert_eq!((listed(&lost, "m").await.len(), listed(&lost, "short").await.len()), (1, 1));
    std::fs::rename(path.with_extension("away"), &path).unwrap();
    let back = lost.restarted().await;
    back.series.tend().await.unwrap();
    assert_eq!((back.one("m").await.len(), listed(&back, "short").await.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_write_to_a_series_that_goes_at_the_same_moment_is_not_lost() {
    let mut gone = 0;
    for early in [false, true] {
        let limits = Limits { keep_days: 2, steady: STEADY, ..Limits::default() };
        let mut house = House::limited(limits).await;
        let mut random = SmallRng::seed_from_u64(7);
        // About as long as the series takes to go, however busy the machine is.
        let mut about: u32 = 200;
        for _ in 0..60 {
            house = House { series: house.series.acknowledge_before_sync(early), ..house };
            house.store.answer_late();
            house.write(&[entry("m", &["a:1"], &[(house.now(), 1.0)])]).await.unwrap();
            house.series.flush().await;
            house.series.pack().await.unwrap();
            house.clock.advance(4 * DAY);
            let before = listed(&house, "m").await;
            let now = house.now();
            let turns = random.random_range(0..=about);
            let write = async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                for number in 0..3_i64 {
                    let sample = (now + number, 1.0);
                    house.write(&[entry("m", &["a:1"], &[sample])]).await.unwrap();
                }
            };
            let (tended, ()) = tokio::join!(house.series.tend(), write);
            tended.unwrap();
            house.series.flush().await;
            let went = listed(&house, "m").await != before;
            about = if went { about / 2 } else { (about * 2 + 1).min(1 << 20) };
            gone += usize::from(went);
            for restart in [false, true] {
                if restart {
                    house = house.restarted().await;
                }
                assert_eq!(
                    (house.one("m").await.len(), listed(&house, "m").await.len()),
                    (3, 1),
                    "after {turns} turns"
                );
            }
        }
    }
    assert!((1..120).contains(&gone), "it went before the write {gone} times of 120");
}

#[tokio::test]
async fn series_go_and_their_numbers_are_not_used_again_wherever_it_crashes() {
    let (mut gone, mut crashes) = (0, 0);
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::new(at("2026-03-01")));
        let limits =
            Limits { series: 20, keep_days: 10, head_samples: 30, steady: STEADY, ..Limits::default() };
        let mut store = Arc::new(MemoryStore::new());
        let (mut numbers, mut acknowledged) = (BTreeMap::new(), BTreeMap::<String, Vec<i64>>::new());
        let mut pod = 0;
        for _ in 0..4 {
            let nth = random.random_range(1..60);
            let crash = if random.random() { Crash::Before(nth) } else { Crash::After(nth) };
            store = Arc::new(store.restart_with_crashes(crash));
            let house = House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await;
            let mut maybe = None;
            if let Ok(house) = house {
                while maybe.is_none() {
                    clock.advance(random.random_range(0..DAY));
                    let done = if random.random_range(0..3) == 0 {
                        house.series.tend().await.is_ok()
                    } else {
                        pod += random.random_range(0..3);
                        let (tag, now) = (format!("pod:{}", pod - random.random_range(0..3)), house.now());
                        let done = house.write(&[entry("m", &[&tag], &[(now, 1.0)])]).await.is_ok();
                        if done {
                            acknowledged.entry(tag).or_default().push(now);
                        } else {
                            maybe = Some((tag, now));
                        }
                        done
                    };
                    if !done {
                        maybe.get_or_insert_default();
                    }
                }
                drop((house.series.shared.packing.lock().await, house.series.shared.merging.lock().await));
                crashes += 1;
            }
            store = Arc::new(store.restart());
            let house =
                House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await.unwrap();
            house.series.pack().await.unwrap();
            house.series.tend().await.unwrap();
            let kept = house.now() - 10 * DAY;
            let mut found = house.all("m").await;
            for (number, tag) in listed(&house, "m").await {
                let before = numbers.entry(number).or_insert_with(|| tag.clone());
                assert_eq!(*before, tag, "seed {seed}, {crash:?}: {number} is another's");
                let samples = found.remove(&vec![tag.clone()]);
                assert!(samples.is_some(), "seed {seed}, {crash:?}: nothing is left of {tag}");
                let times: Vec<i64> = samples.into_iter().flatten().map(|(time, _)| time).collect();
                let known = acknowledged.entry(tag.clone()).or_default();
                known.retain(|time| *time >= kept);
                if let Some((_, now)) =
                    maybe.as_ref().filter(|(maybe, now)| *maybe == tag && times.contains(now))
                {
                    known.push(*now);
                }
                assert_eq!(times, *known, "seed {seed}, {crash:?}: {tag}");
            }
            assert_eq!(found.len(), 0, "seed {seed}, {crash:?}: samples of no series");
            let here = listed(&house, "m").await;
            for (tag, times) in &acknowledged {
                let lives = times.iter().any(|time| *time >= kept);
                assert!(!lives || here.values().any(|there| there == tag), "seed {seed}, {crash:?}: {tag}");
            }
            gone += numbers.keys().filter(|number| !here.contains_key(number)).count();
            store = Arc::clone(&house.store);
        }
    }
    println!("{crashes} lives, {gone} series gone");
    assert!(crashes > 100 && gone > 300);
}
