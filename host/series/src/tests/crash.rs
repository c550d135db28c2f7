//! No acknowledged sample is lost and none is invented, whenever the host dies.

use bellwether_store::Crash;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;

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

/// Writes, packs, merges and deletes by chance until the host dies or enough was done; gives what was acknowledged,
/// and that with what was under way.
async fn work(house: &House, random: &mut SmallRng, model: &mut Model) -> Model {
    for _ in 0..40 {
        let mut after = model.clone();
        let done = match random.random_range(0..10) {
            0 => house.series.pack().await.is_ok(),
            1 => {
                house.clock.advance(11 * 60 * 1000);
                house.series.tend().await.is_ok()
            }
            2 if !model.is_empty() => {
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
