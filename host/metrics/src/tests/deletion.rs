//! What is left of a deleted metric, and when; and what crashes leave behind.

use bellwether_store::Crash;

use super::*;

async fn fill(house: &House) {
    house.define("gone", DataType::Sum, Interval::Hourly, true).await;
    house.define("stays", DataType::Sum, Interval::Hourly, true).await;
    for hour in 0..5 {
        for name in ["gone", "stays"] {
            let samples = ["a", "b", "c"].map(|key| sample(name, Some(key), f64::from(hour)));
            house.write(&samples).await.unwrap();
        }
        house.clock.advance(3_600_000);
    }
}

/// How many rows there are in all spaces of data.
async fn data_rows(store: &dyn Store) -> usize {
    let mut count = 0;
    for space in [Space::Metric, Space::MetricName, Space::Series, Space::Bucket, Space::MetricDeletion] {
        count += rows(store, space).await.len();
    }
    count
}

/// Rows of one of the two metrics of [`fill`].
const ROWS: usize = 1 + 1 + 3 + 15;

#[tokio::test]
async fn a_reused_name_is_a_new_metric_without_the_old_data() {
    let house = House::new().await;
    fill(&house).await;
    let old = house.metrics.delete(OURS, &by_name("gone")).await.unwrap();
    let missing = house.metrics.delete(OURS, &by_name("gone")).await;
    assert!(matches!(missing, Err(MetricError::UnknownMetric(_))));
    assert!(matches!(
        house.write(&[sample("gone", Some("a"), 1.0)]).await,
        Err(MetricError::UnknownMetric(_))
    ));

    house.define("gone", DataType::Sum, Interval::Hourly, true).await;
    let new = house.metrics.get(OURS, &by_name("gone")).await.unwrap();
    assert!(new.id > old.id);
    assert_eq!(house.values("gone").await, []);
    assert_eq!(house.add("gone", Some("a"), 7.0).await, 7.0);
    // Freeing the old data leaves the new alone.
    while house.metrics.sweep(4).await.unwrap().more {}
    assert_eq!(house.values("gone").await, [(Some("a".to_owned()), vec![7.0])]);
    assert!(matches!(
        house.metrics.get(OURS, &MetricReference::Id(old.id)).await,
        Err(MetricError::UnknownMetric(_))
    ));
}

#[tokio::test]
async fn a_metric_is_deleted_on_a_full_disk_whatever_joins_it() {
    let house = House::new().await;
    fill(&house).await;
    house.store.set_disk_full(true);
    let told = |_: &crate::Metric| {
        let mut batch = Batch::new();
        batch.put(Key::new(Space::Meta).text("told"), "an entry of the audit log");
        batch
    };
    house.metrics.delete_with(OURS, &by_name("gone"), told).await.unwrap();
    while house.metrics.sweep(4).await.unwrap().more {}
    assert_eq!(data_rows(&*house.store).await, ROWS);
}

#[tokio::test]
async fn a_sweep_frees_no_more_than_it_may_and_in_the_end_everything() {
    let house = House::new().await;
    fill(&house).await;
    assert_eq!(data_rows(&*house.store).await, 2 * ROWS);
    assert_eq!(house.metrics.sweep(100).await.unwrap(), crate::Swept::default());
    house.metrics.delete(OURS, &by_name("gone")).await.unwrap();
    let mut swept = (0, 0);
    loop {
        let before = data_rows(&*house.store).await;
        let part = house.metrics.sweep(4).await.unwrap();
        assert_eq!(before - data_rows(&*house.store).await, part.rows as usize);
        assert!(part.rows <= 4, "{part:?}");
        swept = (swept.0 + part.rows, swept.1 + part.metrics);
        if !part.more {
            break;
        }
    }
    // Series, buckets and the mark of the deletion.
    assert_eq!(swept, (15 + 3 + 1, 1));
    assert_eq!(data_rows(&*house.store).await, ROWS);
    assert_eq!(house.values("stays").await.len(), 3);
    // All that is left of it is the count of ids, of its series' too, and of the other metric's keys.
    assert_eq!(rows(&*house.store, Space::Counter).await.len(), 3);
}

#[tokio::test]
async fn a_metric_is_deleted_wholly_or_not_at_all_wherever_a_crash_comes() {
    let house = House::new().await;
    fill(&house).await;
    let prepared = house.store.restart();
    let mut crashes = (0, 0);
    for number in 1.. {
        let mut done = 0;
        for crash in [Crash::Before(number), Crash::After(number)] {
            // Opening commits nothing here: the host is known.
            let house = House::on(copy(&prepared, crash).await).await;
            let deleted = house.metrics.delete(OURS, &by_name("gone")).await;
            let swept = async {
                while house.metrics.sweep(4).await?.more {}
                Ok::<_, MetricError>(())
            };
            done += usize::from(deleted.is_ok() && swept.await.is_ok());

            let restarted = House::on(house.store.restart()).await;
            if restarted.metrics.get(OURS, &by_name("gone")).await.is_ok() {
                assert!(deleted.is_err(), "a deletion that was acknowledged is undone by {crash:?}");
                assert_eq!(data_rows(&*restarted.store).await, 2 * ROWS, "{crash:?}");
                assert_eq!(restarted.values("gone").await.len(), 3);
                crashes.0 += 1;
            } else {
                while restarted.metrics.sweep(4).await.unwrap().more {}
                assert_eq!(data_rows(&*restarted.store).await, ROWS, "{crash:?}");
                crashes.1 += 1;
            }
            assert_eq!(restarted.values("stays").await.len(), 3);
        }
        if done == 2 {
            break;
        }
    }
    assert_eq!(crashes.0, 1, "only a crash before the first commit keeps the metric");
    assert!(crashes.1 > 10, "{crashes:?}");
}

/// A store with the same rows that dies as `crash` says.
async fn copy(store: &MemoryStore, crash: Crash) -> MemoryStore {
    let copied = MemoryStore::new();
    let everything = Key::from_bytes(vec![0])..Key::from_bytes(vec![0xff]);
    let mut batch = Batch::new();
    for (key, value) in store.scan(everything, Direction::Forward, usize::MAX).await.unwrap() {
        batch.put(key, value);
    }
    copied.commit(batch).await.unwrap();
    copied.restart_with_crashes(crash)
}

#[tokio::test]
async fn a_write_is_there_wholly_or_not_at_all_wherever_a_crash_comes() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Hourly, true).await;
    let prepared = house.store.restart();
    let samples = [sample("sum", Some("a"), 1.0), sample("sum", Some("b"), 2.0)];
    // The first commit numbers the series, the second is the write.
    for (crash, kept) in [
        (Crash::Before(1), false),
        (Crash::After(1), false),
        (Crash::Before(2), false),
        (Crash::After(2), true),
    ] {
        let house = House::on(copy(&prepared, crash).await).await;
        assert!(house.write(&samples).await.is_err(), "{crash:?}");
        let restarted = House::on(house.store.restart()).await;
        let expected = if kept { vec![1.0, 2.0] } else { vec![] };
        let found: Vec<f64> =
            restarted.values("sum").await.into_iter().flat_map(|(_, values)| values).collect();
        assert_eq!(found, expected, "{crash:?}");
        assert_eq!(restarted.add("sum", Some("a"), 1.0).await, if kept { 2.0 } else { 1.0 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_that_race_with_a_deletion_leave_nothing_behind() {
    for _ in 0..20 {
        let house = House::new().await;
        fill(&house).await;
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..20 {
            let metrics = Arc::clone(&house.metrics);
            tasks.spawn(async move {
                for step in 0.. {
                    let samples = [sample("gone", Some(&format!("{task} {}", step % 3)), 1.0)];
                    match metrics.write(OURS, &samples, Batch::new()).await {
                        Ok(_) => {}
                        Err(MetricError::UnknownMetric(_)) => return,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        tokio::task::yield_now().await;
        house.metrics.delete(OURS, &by_name("gone")).await.unwrap();
        while house.metrics.sweep(50).await.unwrap().more {}
        tasks.join_all().await;
        assert_eq!(data_rows(&*house.store).await, ROWS);
    }
}
