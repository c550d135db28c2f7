//! Many writers at once, and many hosts on one store.

use std::ops::Range;

use bellwether_store::{Committed, Health, StoreError, Unread};
use bytes::Bytes;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_one_interval_lose_nothing() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Daily, false).await;
    house.define("keyed", DataType::Count, Interval::Daily, true).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..50_u32 {
        let metrics = Arc::clone(&house.metrics);
        tasks.spawn(async move {
            let mut seen = Vec::new();
            for step in 0..40 {
                // All keys are made by all writers at once.
                let key = format!("key {}", step % 8);
                let samples = [sample("sum", None, f64::from(task) + 0.5), sample("keyed", Some(&key), 1.0)];
                seen.push(metrics.write(OURS, &samples, Batch::new()).await.unwrap()[0].value);
            }
            seen
        });
    }
    let mut seen = tasks.join_all().await.concat();
    let total = f64::from((0..50).map(|task| task * 40).sum::<u32>()) + 0.5 * 2000.0;
    assert_eq!(house.values("sum").await, [(None, vec![total])]);
    let keyed = (0..8).map(|key| (Some(format!("key {key}")), vec![250.0])).collect::<Vec<_>>();
    assert_eq!(house.values("keyed").await, keyed);
    assert_eq!(rows(&*house.store, Space::Series).await.len(), 8);
    // Each writer was told what the interval held after its own addition and no other's: all different.
    seen.sort_by(f64::total_cmp);
    seen.dedup();
    assert_eq!((seen.len(), seen.last()), (2000, Some(&total)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limit_on_keys_holds_against_writers_at_once() {
    let house = House::limited(Limits { keys: 10, ..Limits::default() }).await;
    house.define("keyed", DataType::Sum, Interval::Daily, true).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..40 {
        let metrics = Arc::clone(&house.metrics);
        let samples = [sample("keyed", Some(&format!("key {task}")), 1.0)];
        tasks.spawn(async move { metrics.write(OURS, &samples, Batch::new()).await.is_ok() });
    }
    let written = tasks.join_all().await.into_iter().filter(|written| *written).count();
    assert_eq!(written, 10);
    assert_eq!(house.values("keyed").await.len(), 10);
}

/// A store whose reads give way to other tasks too, so that what was read may be stale when it is acted on.
struct SlowReads(Arc<MemoryStore>);

#[async_trait::async_trait]
impl Store for SlowReads {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let value = self.0.get(key).await;
        tokio::task::yield_now().await;
        value
    }

    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.0.scan(range, direction, limit).await;
        tokio::task::yield_now().await;
        rows
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.0.commit(batch).await
    }

    fn health(&self) -> Health {
        self.0.health()
    }

    fn unread(&self) -> &Unread {
        self.0.unread()
    }
}

#[tokio::test]
async fn metrics_defined_at_once_get_ids_of_their_own() {
    let store = Arc::new(MemoryStore::new());
    let open = |host| {
        let clock = Arc::new(ManualClock::new(at("2024-04-09")));
        Metrics::open(Arc::new(SlowReads(Arc::clone(&store))), clock, HostId(host), Limits::default())
    };
    let hosts = [Arc::new(open(1).await.unwrap()), Arc::new(open(2).await.unwrap())];
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..40 {
        let metrics = Arc::clone(&hosts[task % 2]);
        // Each name is defined by four of them, on one host from the first to the last, on the other the other way.
        let number = if task % 2 == 0 { task / 4 } else { 9 - task / 4 };
        let definition = definition(&format!("metric {number}"), DataType::Sum, Interval::Daily, false);
        tasks.spawn(async move { metrics.define(OURS, "UTC", definition).await.unwrap() });
    }
    let mut defined = tasks.join_all().await;
    assert_eq!(defined.iter().filter(|defined| defined.created).count(), 10);
    defined.sort_by_key(|defined| defined.metric.id);
    defined.dedup_by_key(|defined| defined.metric.id);
    let ids: Vec<u64> = defined.iter().map(|defined| defined.metric.id.0).collect();
    assert_eq!(ids, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_read_merges_what_the_hosts_of_one_store_wrote() {
    let one = House::new().await;
    let two = House::with(Arc::clone(&one.store), HostId(2), Limits::default()).await;
    let three = House::with(Arc::clone(&one.store), HostId(3), Limits::default()).await;
    for (data_type, value) in [
        (DataType::Sum, 78.0),
        (DataType::Count, 6.0),
        (DataType::Min, 5.0),
        (DataType::Max, 25.0),
        // Of samples of one instant, the lowest host's first and the highest host's last decide.
        (DataType::First, 8.0),
        (DataType::Last, 15.0),
        (DataType::Average, 13.0),
    ] {
        let name = data_type.as_str();
        one.define(name, data_type, Interval::Daily, false).await;
        for (house, values) in [(&two, [20.0, 5.0]), (&one, [8.0, 25.0]), (&three, [5.0, 15.0])] {
            for value in values {
                house.add(name, None, value).await;
            }
        }
        for house in [&one, &two, &three] {
            assert_eq!(house.values(name).await, [(None, vec![value])], "{data_type}");
        }
    }
    let buckets = rows(&*one.store, Space::Bucket).await;
    assert_eq!(buckets.len(), 7 * 3, "one for each metric and host");
}

#[tokio::test]
async fn a_writer_is_told_the_other_hosts_parts_once_it_knows_of_them() {
    let one = House::new().await;
    one.define("sum", DataType::Sum, Interval::Daily, false).await;
    one.define("last", DataType::Last, Interval::Daily, false).await;
    one.add("sum", None, 1.0).await;
    one.add("last", None, 9.0).await;
    let two = House::with(Arc::clone(&one.store), HostId(2), Limits::default()).await;
    assert_eq!(two.add("sum", None, 2.0).await, 3.0);
    // Of the same instant, and of the higher host.
    assert_eq!(two.add("last", None, 4.0).await, 4.0);
    one.metrics.sweep(10).await.unwrap();
    assert_eq!(one.add("sum", None, 4.0).await, 7.0);
}
