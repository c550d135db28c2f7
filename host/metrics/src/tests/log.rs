//! What the log of watched writes promises.

use bellwether_store::{Crash, SledSettings, SledStore};

use super::*;
use crate::{LogState, Logged, NamePattern, Record, SampleColumns};

fn patterns(texts: &[&str]) -> Vec<NamePattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn log(house: &House) -> Vec<Logged> {
    house.metrics.log_after(0, usize::MAX).await.unwrap()
}

#[tokio::test]
async fn a_watched_write_is_logged_with_what_its_interval_held_before_and_after() {
    let house = House::new().await;
    house.define("web.logins", DataType::Sum, Interval::Daily, true).await;
    house.define("web.load", DataType::Max, Interval::Hourly, false).await;
    house.define("db.load", DataType::Max, Interval::Hourly, false).await;
    house.metrics.watch(OURS, patterns(&["web.*"]));
    house.add("web.logins", Some("eu"), 2.0).await;
    house.add("db.load", None, 9.0).await;
    house.add("web.load", None, 0.5).await;
    house
        .write(&[
            sample("web.logins", Some("eu"), 1.0),
            sample("web.logins", Some("us"), 4.0),
            sample("web.logins", Some("eu"), 3.0),
        ])
        .await
        .unwrap();
    house.add("web.load", None, 0.25).await;
    let found: Vec<_> = log(&house).await;
    let shown: Vec<_> = found
        .iter()
        .map(|entry| (entry.sequence, entry.name.as_str(), entry.key.as_deref(), entry.before, entry.after))
        .collect();
    assert_eq!(
        shown,
        [
            (1, "web.logins", Some("eu"), None, 2.0),
            (2, "web.load", None, None, 0.5),
            // One for each interval a write touches, not for each sample.
            (3, "web.logins", Some("eu"), Some(2.0), 6.0),
            (4, "web.logins", Some("us"), None, 4.0),
            (5, "web.load", None, Some(0.5), 0.5),
        ]
    );
    let metric = house.metrics.get(OURS, &by_name("web.load")).await.unwrap();
    assert_eq!((found[1].metric, found[1].organisation), (metric.id, OURS));
    assert_eq!(
        (found[1].interval_start, found[1].time),
        (at("2024-04-09T14:00:00Z"), at("2024-04-09T14:44:00Z"))
    );
    assert_eq!(house.metrics.log_state(), LogState { oldest: 1, latest: 5, dropped: 0 });
}

#[tokio::test]
async fn what_nobody_watches_is_not_logged() {
    let house = House::new().await;
    house.define("logins", DataType::Sum, Interval::Daily, false).await;
    house.add("logins", None, 1.0).await;
    house.metrics.watch(OrganisationId(2), patterns(&["*"]));
    house.add("logins", None, 1.0).await;
    house.metrics.watch(OURS, patterns(&["login", "other.*"]));
    house.add("logins", None, 1.0).await;
    assert_eq!(rows(&*house.store, Space::MetricLog).await, []);
    assert_eq!(house.store.get(&crate::layout::last_logged(HostId(1))).await.unwrap(), None);
    house.metrics.watch(OURS, patterns(&["login", "*s"]));
    house.add("logins", None, 1.0).await;
    house.metrics.watch(OURS, Vec::new());
    house.add("logins", None, 1.0).await;
    assert_eq!(log(&house).await.len(), 1);
}

#[tokio::test]
async fn a_refused_write_leaves_neither_an_entry_nor_a_gap() {
    let house = House::limited(Limits { keys: 1, ..Limits::default() }).await;
    house.define("sum", DataType::Sum, Interval::Daily, true).await;
    house.metrics.watch(OURS, patterns(&["*"]));
    house.add("sum", Some("a"), f64::MAX).await;
    assert!(house.write(&[sample("sum", Some("a"), f64::MAX)]).await.is_err());
    assert!(house.write(&[sample("sum", Some("a"), 1.0), sample("sum", Some("b"), 1.0)]).await.is_err());
    house.add("sum", Some("a"), -1.0).await;
    let found: Vec<_> = log(&house).await.into_iter().map(|entry| entry.sequence).collect();
    assert_eq!(found, [1, 2]);
}

#[tokio::test]
async fn a_crash_never_parts_a_watched_write_from_its_entry() {
    // The commits before are the host's row and the metric's definition.
    for commit in 3..=6 {
        for crash in [Crash::Before(commit), Crash::After(commit)] {
            let house = House::on(MemoryStore::with_crashes(crash)).await;
            house.define("sum", DataType::Sum, Interval::Daily, false).await;
            house.metrics.watch(OURS, patterns(&["*"]));
            let mut acknowledged = 0;
            while house.write(&[sample("sum", None, 1.0)]).await.is_ok() {
                acknowledged += 1;
            }
            let restarted = House::on(house.store.restart()).await;
            let entries = log(&restarted).await;
            let held = restarted
                .values("sum")
                .await
                .first()
                .and_then(|(_, values)| values.first().copied())
                .unwrap_or(0.0);
            assert_eq!(entries.len() as f64, held, "{crash:?}");
            assert!(entries.len() >= acknowledged && entries.len() <= acknowledged + 1, "{crash:?}");
            assert_eq!(restarted.metrics.log_state().latest, entries.len() as u64);

            restarted.metrics.watch(OURS, patterns(&["*"]));
            restarted.add("sum", None, 1.0).await;
            let last = log(&restarted).await.pop().unwrap();
            assert_eq!((last.sequence as f64, last.after), (held + 1.0, held + 1.0), "the numbers go on");
        }
    }
}

#[tokio::test]
async fn the_log_of_the_embedded_store_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let store: SharedStore = Arc::new(SledStore::open(folder.path(), SledSettings::default()).unwrap());
        let clock = Arc::new(ManualClock::new(at("2024-04-09")));
        let metrics = Metrics::open(store, clock, HostId(1), Limits::default()).await.unwrap();
        let defined = definition("sum", DataType::Sum, Interval::Daily, false);
        metrics.define(OURS, "UTC", defined).await.unwrap();
        metrics.watch(OURS, patterns(&["*"]));
        metrics.write(OURS, &[sample("sum", None, 1.0)], Batch::new()).await.unwrap();
        let afters: Vec<_> =
            metrics.log_after(0, 10).await.unwrap().iter().map(|entry| entry.after).collect();
        assert_eq!(afters, (0..=round).map(|round| f64::from(round) + 1.0).collect::<Vec<_>>());
    }
}

/// Readers go on from a cursor they keep, stop anywhere, and begin again; writers never stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_sees_every_entry_once_and_in_order_however_many_write() {
    const WRITERS: u32 = 16;
    const WRITES: u32 = 50;
    let house = House::new().await;
    house.define("a", DataType::Sum, Interval::Daily, false).await;
    house.define("b", DataType::Count, Interval::Daily, true).await;
    house.metrics.watch(OURS, patterns(&["*"]));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let metrics = Arc::clone(&house.metrics);
        writers.spawn(async move {
            for step in 0..WRITES {
                let key = format!("key {}", (writer + step) % 5);
                let samples = [sample("a", None, 1.0), sample("b", Some(&key), 1.0)];
                metrics.write(OURS, &samples, Batch::new()).await.unwrap();
            }
        });
    }
    let metrics = Arc::clone(&house.metrics);
    let reader = tokio::spawn(async move {
        let mut changes = metrics.log_changes();
        let (mut cursor, mut seen) = (0, Vec::new());
        while seen.len() < (2 * WRITERS * WRITES) as usize {
            // A page of an uneven size, and some of it is read again, as after a crash before the cursor is kept.
            let page = metrics.log_after(cursor, 1 + seen.len() % 7).await.unwrap();
            let kept = page.len() - page.len() / 3;
            for entry in page.into_iter().take(kept) {
                cursor = entry.sequence;
                seen.push(entry);
            }
            if kept == 0 {
                changes.changed().await.unwrap();
            }
            if seen.len() % 100 == 0 {
                metrics.trim_log(cursor).await.unwrap();
            }
        }
        seen
    });
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let seen = reader.await.unwrap();
    let numbers: Vec<u64> = seen.iter().map(|entry| entry.sequence).collect();
    assert_eq!(numbers, (1..=u64::from(2 * WRITERS * WRITES)).collect::<Vec<_>>());
    // In the order in which the values came about: each found what the one before it left.
    let mut held = std::collections::HashMap::new();
    for entry in seen {
        assert_eq!(entry.before, held.insert((entry.metric, entry.key), entry.after));
    }
    assert_eq!(house.metrics.log_state().dropped, 0);
}

#[tokio::test]
async fn a_log_nobody_trims_drops_its_oldest_entries_and_counts_them() {
    let house = House::limited(Limits { logged: 10, ..Limits::default() }).await;
    house.define("sum", DataType::Sum, Interval::Daily, false).await;
    house.metrics.watch(OURS, patterns(&["*"]));
    for _ in 0..25 {
        house.add("sum", None, 1.0).await;
    }
    let found: Vec<_> = log(&house).await.iter().map(|entry| entry.sequence).collect();
    assert_eq!(found, (16..=25).collect::<Vec<_>>());
    assert_eq!(house.metrics.log_state(), LogState { oldest: 16, latest: 25, dropped: 15 });
    assert_eq!(rows(&*house.store, Space::MetricLog).await.len(), 10);

    house.metrics.trim_log(20).await.unwrap();
    house.metrics.trim_log(3).await.unwrap();
    assert_eq!(house.metrics.log_after(18, 2).await.unwrap()[0].sequence, 21);
    assert_eq!(house.metrics.log_state(), LogState { oldest: 21, latest: 25, dropped: 15 });
    house.metrics.trim_log(u64::MAX).await.unwrap();
    assert_eq!(rows(&*house.store, Space::MetricLog).await, []);
    house.add("sum", None, 1.0).await;
    assert_eq!(log(&house).await[0].sequence, 26);

    // What was there before counts after a restart too.
    let again =
        House::with(Arc::new(house.store.restart()), HostId(1), Limits { logged: 10, ..Limits::default() })
            .await;
    assert_eq!(again.metrics.log_state(), LogState { oldest: 26, latest: 26, dropped: 0 });
}

#[tokio::test]
async fn each_host_has_a_log_of_its_own() {
    let one = House::new().await;
    one.define("sum", DataType::Sum, Interval::Daily, false).await;
    let two = House::with(Arc::clone(&one.store), HostId(2), Limits::default()).await;
    for (house, value) in [(&one, 1.0), (&two, 2.0), (&one, 3.0)] {
        house.metrics.watch(OURS, patterns(&["*"]));
        house.add("sum", None, value).await;
    }
    let afters = async |house: &House| log(house).await.iter().map(|entry| entry.after).collect::<Vec<_>>();
    assert_eq!((afters(&one).await, afters(&two).await), (vec![1.0, 4.0], vec![2.0]));
}

fn columns(metric: &str, key: Option<&str>, values: &[f64]) -> SampleColumns {
    let metric = by_name(metric);
    SampleColumns {
        metric,
        key: key.map(str::to_owned),
        times: Vec::new(),
        values: values.to_vec(),
        weights: Vec::new(),
    }
}

fn record(number: u64, fingerprint: u8) -> Record {
    Record { key: Key::new(Space::RunEffect).number(number), fingerprint: [fingerprint; 32] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_recorded_write_happens_once_however_many_ask() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Daily, true).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32 {
        let metrics = Arc::clone(&house.metrics);
        tasks.spawn(async move {
            let samples = [columns("sum", Some("a"), &[1.0, 2.0]), columns("sum", Some("b"), &[5.0])];
            metrics.write_once(OURS, &samples, &record(task % 4, 1)).await.unwrap()
        });
    }
    let all = tasks.join_all().await;
    assert_eq!(all.iter().filter(|write| write.repeats.is_none()).count(), 4);
    assert!(all.iter().all(|write| matches!(write.repeats, None | Some(true)) && write.written.len() == 2));
    assert_eq!(house.values("sum").await, [(Some("a".into()), vec![12.0]), (Some("b".into()), vec![20.0])]);
    let mut firsts: Vec<f64> = all.iter().map(|write| write.written[0].value).collect();
    firsts.sort_by(f64::total_cmp);
    firsts.dedup();
    assert_eq!(firsts, [3.0, 6.0, 9.0, 12.0], "a repeat is answered what the first was");

    let other =
        house.metrics.write_once(OURS, &[columns("sum", Some("a"), &[100.0])], &record(0, 2)).await.unwrap();
    assert_eq!((other.repeats, other.written.len()), (Some(false), 2));
    assert_eq!(house.values("sum").await[0].1, [12.0]);
}

#[tokio::test]
async fn a_refused_write_is_not_recorded_and_a_long_answer_is_whole() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Daily, true).await;
    let wrong = [columns("sum", None, &[1.0])];
    assert!(house.metrics.write_once(OURS, &wrong, &record(1, 1)).await.is_err());
    assert_eq!(rows(&*house.store, Space::RunEffect).await, []);

    let samples: Vec<_> =
        (0..2500).map(|key| columns("sum", Some(&key.to_string()), &[f64::from(key)])).collect();
    let first = house.metrics.write_once(OURS, &samples, &record(1, 1)).await.unwrap();
    let again = house.metrics.write_once(OURS, &samples, &record(1, 1)).await.unwrap();
    assert_eq!((first.repeats, again.repeats), (None, Some(true)));
    assert_eq!(first.written, again.written);
    assert_eq!(first.written[2499].value, 2499.0);
}

#[tokio::test]
async fn a_repeat_is_answered_although_its_metric_is_gone_or_another() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Daily, false).await;
    let samples = [columns("sum", None, &[5.0])];
    let first = house.metrics.write_once(OURS, &samples, &record(1, 1)).await.unwrap();
    house.metrics.delete(OURS, &by_name("sum")).await.unwrap();
    let again = house.metrics.write_once(OURS, &samples, &record(1, 1)).await.unwrap();
    assert_eq!((again.repeats, &again.written), (Some(true), &first.written));
    assert!(house.metrics.write_once(OURS, &samples, &record(2, 1)).await.is_err());

    house.define("sum", DataType::Sum, Interval::Daily, true).await;
    let again = house.metrics.write_once(OURS, &samples, &record(1, 1)).await.unwrap();
    assert_eq!((again.repeats, &again.written), (Some(true), &first.written));
}

#[tokio::test]
async fn the_answers_of_a_recorded_write_are_read_again_as_they_were() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Daily, false).await;
    let samples = [sample("sum", None, 2.0), sample("sum", None, 3.0)];
    let beside = Key::new(Space::Idempotency).number(7);
    let mut join = Batch::new();
    join.put(beside.clone(), "answered");
    let record = record(1, 1);
    let written = house.metrics.write_recorded(OURS, &samples, join, &record).await.unwrap();
    assert_eq!(written.iter().map(|written| written.value).collect::<Vec<_>>(), [5.0, 5.0]);
    house.add("sum", None, 10.0).await;
    let read = house.metrics.recorded(&record).await.unwrap().unwrap();
    assert_eq!((read.written, read.repeats), (written, Some(true)));
    assert!(house.store.get(&beside).await.unwrap().is_some(), "what it was joined with is there");
}

#[tokio::test]
async fn an_entry_that_does_not_read_is_passed_over_and_those_behind_it_are_not() {
    let house = House::new().await;
    house.define("m", DataType::Sum, Interval::Daily, false).await;
    house.metrics.watch(OURS, patterns(&["m"]));
    for _ in 0..6 {
        house.add("m", None, 1.0).await;
    }
    for number in [1, 2, 4] {
        house.damage(crate::layout::log(HostId(1)).number(number)).await;
    }
    house.damage(crate::layout::log(HostId(1)).fixed(&[0xff; 3])).await;
    for limit in [1, 2, 10] {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        while let Some(last) = house.metrics.log_after(cursor, limit).await.unwrap().pop() {
            cursor = last.sequence;
            seen.push(cursor);
        }
        assert_eq!(seen.last(), Some(&6), "{limit} at once: {seen:?}");
    }
    let numbers: Vec<_> = log(&house).await.iter().map(|entry| entry.sequence).collect();
    assert_eq!(numbers, [3, 5, 6]);
    let again = House::with(Arc::new(house.store.restart()), HostId(1), Limits::default()).await;
    assert_eq!(log(&again).await.len(), 3);
}

#[tokio::test]
async fn where_the_count_of_entries_does_not_read_no_number_is_given_again() {
    let house = House::new().await;
    house.define("m", DataType::Sum, Interval::Daily, false).await;
    house.metrics.watch(OURS, patterns(&["m"]));
    for _ in 0..3 {
        house.add("m", None, 1.0).await;
    }
    house.metrics.trim_log(2).await.unwrap();
    house.damage(crate::layout::last_logged(HostId(1))).await;
    let house = House::with(Arc::new(house.store.restart()), HostId(1), Limits::default()).await;
    house.metrics.watch(OURS, patterns(&["m"]));
    assert_eq!(log(&house).await.len(), 1, "what there was is read first");
    house.add("m", None, 1.0).await;
    let next = house.metrics.log_after(3, 10).await.unwrap();
    assert_eq!((next.len(), next[0].before), (1, Some(3.0)));
    assert!(next[0].sequence > 1_000_000_000_000, "{}", next[0].sequence);
}
