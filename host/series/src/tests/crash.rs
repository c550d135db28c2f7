//! No acknowledged sample is lost and none is invented, whenever the host dies.

use bellwether_store::Crash;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::{Aggregate, Expression, Metadata, MetricKind, RollUp, Selection, TimeRange};

type Model = BTreeMap<Vec<String>, BTreeMap<i64, u64>>;

/// What is there must be what was acknowledged, or that and the write under way when the host died.
fn assert_kept(found: &Model, acknowledged: &Model, maybe: &Model, when: &str) {
    assert!(
        found == acknowledged || found == maybe,
        "{when}:\n{found:?}\nis neither\n{acknowledged:?}\nnor\n{maybe:?}"
    );
}

async fn found(house: &House) -> Model {
    let bits =
        |samples: Vec<(i64, f64)>| samples.into_iter().map(|(time, value)| (time, value.to_bits())).collect();
    house.all("m").await.into_iter().map(|(tags, samples)| (tags, bits(samples))).collect()
}

/// Writes, packs, merges, deletes, changes what is known of the metric and sets the clock by chance until the host dies or enough was done; gives what was acknowledged,
/// and that with what was under way.
async fn work(house: &House, random: &mut SmallRng, model: &mut Model) -> Model {
    for _ in 0..40 {
        let mut after = model.clone();
        let done = match random.random_range(0..12) {
            0 => house.series.pack().await.is_ok(),
            1 => {
                house.clock.advance(11 * 60 * 1000);
                house.series.tend().await.is_ok()
            }
            2 => {
                let known = Metadata {
                    kind: if random.random() { MetricKind::Gauge } else { MetricKind::Count },
                    keep_days: random.random::<bool>().then_some(36_500),
                    ..Metadata::default()
                };
                house.series.describe(OURS, "m", known, Batch::new()).await.is_ok()
            }
            3 => {
                // To any year: what was written stays, and is seen again when the clock is right.
                let year = 365 * DAY;
                house.clock.set(at("2026-03-01").saturating_add(random.random_range(-900..900) * year));
                true
            }
            4 if !model.is_empty() => {
                let at = random.random_range(0..model.len());
                let tags = model.keys().nth(at).unwrap().clone();
                let (key, value) = crate::split_tag(&tags[0]);
                let filter = Filter::Tag(key.to_owned(), crate::TagPattern::Exact(value.to_owned()));
                after.remove(&tags);
                house.series.delete(OURS, "m", filter, Batch::new()).await.is_ok()
            }
            _ => {
                let mut series = Vec::new();
                for _ in 0..random.random_range(1..4) {
                    let tag = format!("n:{}", random.random_range(0..4));
                    let samples: Vec<(i64, f64)> = (0..random.random_range(1..30))
                        .map(|_| (random.random_range(0..20) * 40_000_000, random.random()))
                        .collect();
                    let kept = after.entry(vec![tag.clone()]).or_default();
                    kept.extend(samples.iter().map(|(time, value)| (*time, value.to_bits())));
                    series.push(entry("m", &[&tag], &samples));
                }
                house.write(&series).await.is_ok()
            }
        };
        if !done {
            return after;
        }
        *model = after;
    }
    model.clone()
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_invented_wherever_it_crashes() {
    let (mut crashes, mut samples) = (0, 0);
    for seed in 0..150 {
        let mut random = SmallRng::seed_from_u64(seed);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::new(at("2026-03-01")));
        let mut store = Arc::new(MemoryStore::new());
        let mut model = Model::new();
        for life in 0..4 {
            let limits = Limits { head_samples: 60, ..Limits::default() };
            let nth = random.random_range(1..60);
            let crash = if random.random() { Crash::Before(nth) } else { Crash::After(nth) };
            store = Arc::new(store.restart_with_crashes(crash));
            let house = House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await;
            // It may die while it starts.
            let Ok(house) = house else { continue };
            assert_eq!(found(&house).await, model, "seed {seed}, life {life}");
            let maybe = work(&house, &mut random, &mut model).await;
            clock.set(at("2026-03-01"));
            // A process that dies takes its packing along; here it has to end first.
            drop((house.series.shared.packing.lock().await, house.series.shared.merging.lock().await));
            drop(house);
            crashes += 1;
            store = Arc::new(store.restart());
            let house =
                House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await.unwrap();
            let there = found(&house).await;
            assert_kept(&there, &model, &maybe, &format!("seed {seed}, life {life}, {crash:?}"));
            let segments = house.series.totals().segments;
            assert_eq!(house.objects.list().unwrap().len() as u64, segments, "no file is left over");
            samples += there.values().map(BTreeMap::len).sum::<usize>();
            model = there;
        }
    }
    println!("{crashes} lives, {samples} samples checked, 0 lost");
    assert!(crashes > 300 && samples > 10_000);
}

/// Of each series, how many samples there are and their sum.
type Sums = BTreeMap<String, (u64, u64)>;

async fn sums(house: &House) -> Sums {
    let range = TimeRange { start: at("2025-01-01"), end: at("2035-01-01"), step: Some(70 * DAY) };
    let mut sums = Sums::new();
    for over_time in [Aggregate::Count, Aggregate::Sum] {
        let selection = Selection::new("m").grouped(Aggregate::Sum, ["n"]).rolled_up(over_time, None);
        let lines = house.series.query(OURS, &Expression::Select(selection), range, &|_| true).await.unwrap();
        for line in lines {
            let total = line.points.iter().map(|(_, value)| *value as u64).sum();
            let sum = sums.entry(line.tags[0].1.to_string()).or_default();
            if over_time == Aggregate::Count { sum.0 = total } else { sum.1 = total }
        }
    }
    sums
}

#[tokio::test]
async fn every_sample_is_in_its_roll_up_once_wherever_it_crashes() {
    let (mut crashes, mut samples, mut rolled) = (0, 0, 0);
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(1000 + seed);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::new(at("2026-03-01")));
        let limits = Limits { head_samples: 60, steady: std::time::Duration::ZERO, ..Limits::default() };
        let (mut store, mut model, mut next) = (Arc::new(MemoryStore::new()), Sums::new(), 0_u64);
        for life in 0..4 {
            let nth = random.random_range(1..60);
            let crash = if random.random() { Crash::Before(nth) } else { Crash::After(nth) };
            store = Arc::new(store.restart_with_crashes(crash));
            let house = House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await;
            let mut maybe = model.clone();
            if let Ok(house) = house {
                for _ in 0..60 {
                    maybe = model.clone();
                    let done = match random.random_range(0..8) {
                        0 => house.series.pack().await.is_ok(),
                        1 | 2 => {
                            house.clock.advance(random.random_range(0..12) * DAY);
                            house.series.tend().await.is_ok()
                        }
                        3 => {
                            let roll_ups = [(1, 60), (20, 3600)]
                                .map(|(after_days, step_seconds)| RollUp { after_days, step_seconds });
                            let roll_ups = roll_ups[..random.random_range(1..=2)].to_vec();
                            let kind =
                                if random.random() { MetricKind::Gauge } else { MetricKind::Distribution };
                            let known = Metadata { kind, roll_ups, ..Metadata::default() };
                            house.series.describe(OURS, "m", known, Batch::new()).await.is_ok()
                        }
                        _ => {
                            let tag = random.random_range(0..3).to_string();
                            let (sum, mut written) = (maybe.entry(tag.clone()).or_default(), Vec::new());
                            for _ in 0..random.random_range(1..30) {
                                // Each at a time of its own, up to three weeks old.
                                next += 1;
                                let time = house.now() - random.random_range(0..21 * 1440) * 60_000;
                                written.push((time / 60_000 * 60_000 + next as i64 % 60_000, next as f64));
                                *sum = (sum.0 + 1, sum.1 + next);
                            }
                            house.write(&[entry("m", &[&format!("n:{tag}")], &written)]).await.is_ok()
                        }
                    };
                    if !done {
                        break;
                    }
                    model.clone_from(&maybe);
                }
                drop((house.series.shared.packing.lock().await, house.series.shared.merging.lock().await));
                crashes += 1;
            }
            store = Arc::new(store.restart());
            let house =
                House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await.unwrap();
            let there = sums(&house).await;
            assert!(
                there == model || there == maybe,
                "seed {seed}, life {life}, {crash:?}: {there:?}, neither {model:?} nor {maybe:?}"
            );
            let totals = house.series.totals();
            assert_eq!(house.objects.list().unwrap().len() as u64, totals.segments, "no file is left over");
            let count: u64 = there.values().map(|sum| sum.0).sum();
            rolled += u64::from(totals.packed_samples + totals.head_samples < count);
            (model, samples) = (there, samples + count);
        }
    }
    println!("{crashes} lives, {samples} samples, 0 lost or counted twice; rolled up in {rolled}");
    assert!(crashes > 100 && samples > 3000 && rolled > 20);
}
