//! No acknowledged record is lost and none is invented, whenever the host dies.

use std::collections::BTreeSet;

use bellwether_store::Crash;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

async fn found(house: &House) -> BTreeSet<(u64, String)> {
    let (records, _) = house.all(Search { limit: 50, ..search("*") }).await;
    let count = records.len();
    let set: BTreeSet<_> = records.into_iter().map(|record| (record.id.0, record.content.message)).collect();
    assert_eq!(set.len(), count, "none twice");
    set
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_invented_wherever_it_crashes() {
    let (mut lives, mut checked) = (0, 0);
    for seed in 0..60 {
        let mut random = SmallRng::seed_from_u64(seed);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::new(at(NOW)));
        let mut store = Arc::new(MemoryStore::new());
        let mut model: BTreeSet<(u64, String)> = BTreeSet::new();
        let mut used = 0;
        for life in 0..4 {
            let limits = Limits { chunks: 8, ..Limits::default() };
            let nth = random.random_range(1..60);
            let crash = if random.random() { Crash::Before(nth) } else { Crash::After(nth) };
            store = Arc::new(store.restart_with_crashes(crash));
            let house = House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await;
            // It may die while it starts.
            let Ok(house) = house else { continue };
            assert_eq!(found(&house).await, model, "seed {seed}, life {life}");
            let mut maybe = model.clone();
            for step in 0..40 {
                let done = match random.random_range(0..8) {
                    0 => house.records.pack().await.is_ok(),
                    1 => {
                        clock.advance(11 * 60 * 1000);
                        house.records.tend().await.is_ok()
                    }
                    _ => {
                        let logs: Vec<Content> = (0..random.random_range(1..6))
                            .map(|number| {
                                log(random.random_range(0..5) * 20 * HOUR, &format!("{life} {step} {number}"))
                            })
                            .collect();
                        let next = house.records.shared.state.read().next(OURS);
                        let under_way = (next..).zip(logs.iter().map(|log| log.message.clone()));
                        maybe.extend(under_way);
                        match house.append(logs).await {
                            Ok(first) => {
                                assert!(first.0 > used, "no id is used twice");
                                used = house.records.shared.state.read().next(OURS) - 1;
                                model.clone_from(&maybe);
                                true
                            }
                            Err(_) => false,
                        }
                    }
                };
                if !done {
                    break;
                }
            }
            // A process that dies takes its packing along; here it has to end first.
            while !house.records.shared.packing.lock().is_empty() {
                tokio::task::yield_now().await;
            }
            drop(house);
            lives += 1;
            store = Arc::new(store.restart());
            let house =
                House::on(Arc::clone(&store), Arc::clone(&folder), Arc::clone(&clock), limits).await.unwrap();
            let there = found(&house).await;
            assert!(there == model || there == maybe, "seed {seed}, life {life}, {crash:?}: {there:?}");
            let segments = house.records.totals(RecordKind::Log).segments;
            assert_eq!(house.objects.list().unwrap().len() as u64, segments, "no file is left over");
            checked += there.len();
            used = used.max(there.iter().map(|(id, _)| *id).max().unwrap_or(0));
            model = there;
        }
    }
    println!("{lives} lives, {checked} records checked, 0 lost");
    assert!(lives > 120 && checked > 5000, "{lives} {checked}");
}
