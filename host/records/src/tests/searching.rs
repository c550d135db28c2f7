//! Pages, orders, ranges, budgets: a search is what a naive look through everything finds.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::Record;

#[tokio::test]
async fn pages_follow_each_other_whatever_is_appended_meanwhile() {
    let house = House::new().await;
    house.append((0..10).map(|ago| log(ago * 1000, &ago.to_string())).collect()).await.unwrap();
    let first = house.found(Search { limit: 4, ..search("*") }).await;
    assert_eq!(messages(&first), ["0", "1", "2", "3"]);
    house.append(vec![log(0, "new"), log(3500, "late")]).await.unwrap();
    house.records.pack().await.unwrap();
    let second = house.found(Search { limit: 4, cursor: first.next, ..search("*") }).await;
    assert_eq!(messages(&second), ["late", "4", "5", "6"]);
    let oldest = house.found(Search { limit: 2, order: Order::Oldest, ..search("*") }).await;
    assert_eq!(messages(&oldest), ["9", "8"]);
    let next = Search { limit: 100, order: Order::Oldest, cursor: oldest.next, ..search("*") };
    assert_eq!(messages(&house.found(next.clone()).await)[..3], ["7", "6", "5"]);
    for wrong in [
        Search { order: Order::Newest, ..next },
        Search { limit: 0, ..search("*") },
        Search { limit: 1001, ..search("*") },
        Search { start: at("2026-03-02"), end: at("2026-03-01"), ..search("*") },
    ] {
        assert!(matches!(house.records.search(OURS, wrong).await, Err(RecordError::Invalid(_))));
    }
}

#[tokio::test]
async fn a_search_that_stops_early_says_so_and_goes_on_where_it_stopped() {
    let house = House::limited(Limits { search_records: 50, ..Limits::default() }).await;
    for batch in 0..20 {
        let logs = (0..10).map(|number| log(batch * 60_000 + number * 1000, &format!("{batch}-{number}")));
        house.append(logs.collect()).await.unwrap();
    }
    let found = house.found(search("\"19-9\"")).await;
    assert!(found.stopped_early && found.records.is_empty() && found.next.is_some());
    let (all, pages) = house.all(search("\"19-9\"")).await;
    assert_eq!((all.len(), pages), (1, 4));
    // What a page is full of before the budget is spent needs no excuse.
    assert!(!house.found(Search { limit: 5, ..search("*") }).await.stopped_early);
}

#[tokio::test]
async fn more_records_of_one_moment_than_a_search_may_look_at_are_an_error_that_says_so() {
    let house = House::limited(Limits { search_records: 10, ..Limits::default() }).await;
    for _ in 0..10 {
        house.append(vec![log(0, "same"); 10]).await.unwrap();
    }
    let first = house.found(search("absent")).await;
    assert!(first.stopped_early);
    let error =
        house.records.search(OURS, Search { cursor: first.next, ..search("absent") }).await.unwrap_err();
    assert!(error.to_string().contains("one moment"), "{error}");
}

#[tokio::test]
async fn a_page_has_no_more_bytes_than_its_reader_can_hold() {
    let house = House::new().await;
    for _ in 0..3 {
        house.append((0..7).map(|ago| log(ago, &"x".repeat(1_000_000))).collect()).await.unwrap();
    }
    let (all, pages) = house.all(search("*")).await;
    assert_eq!((all.len(), pages), (21, 6));
}

/// What a search finds, found the naive way.
fn naive(records: &[Record], search: &Search) -> Vec<Record> {
    let within = |record: &&Record| (search.start..=search.end).contains(&record.content.time);
    let mut found: Vec<Record> =
        records.iter().filter(within).filter(|record| search.query.matches(record)).cloned().collect();
    found.sort_by_key(|record| (record.content.time, record.id));
    if search.order == Order::Newest {
        found.reverse();
    }
    found
}

#[tokio::test]
async fn a_search_finds_what_a_naive_look_through_everything_finds() {
    let mut compared = 0;
    for seed in 0..30 {
        let mut random = SmallRng::seed_from_u64(seed);
        let limits =
            Limits { search_records: random.random_range(200..2000), chunks: 20, ..Limits::default() };
        let mut house = House::limited(limits).await;
        let mut model: Vec<Record> = Vec::new();
        for _ in 0..random.random_range(1..60) {
            match random.random_range(0..12) {
                0 => house.records.pack().await.unwrap(),
                1 => house.records.tend().await.unwrap(),
                2 => {
                    drop(house.records.shared.upkeep.lock().await);
                    house = house.restarted().await;
                }
                _ => {
                    // Mostly in order, sometimes late by days; often of one time.
                    let late = if random.random_bool(0.2) { 3 * DAY } else { 1000 };
                    let logs: Vec<Content> = (0..random.random_range(1..20))
                        .map(|_| Content {
                            service: ["web", "api"][random.random_range(0..2)].to_owned(),
                            tags: vec![format!("n:{}", random.random_range(0..4))],
                            ..log(
                                random.random_range(0..late),
                                ["red fox", "blue fox"][random.random_range(0..2)],
                            )
                        })
                        .collect();
                    let first = house.append(logs.clone()).await.unwrap();
                    let ids = (first.0..).map(RecordId);
                    model.extend(ids.zip(logs).map(|(id, content)| Record { id, content }));
                }
            }
        }
        for query in ["*", "red", "service:web -n:1", "n:(0 OR 3) blue", "absent"] {
            let (from, to) = (random.random_range(0..4 * DAY), random.random_range(0..2000));
            let asked = Search {
                start: at(NOW).saturating_add(-from.max(to)),
                end: at(NOW).saturating_add(-to),
                order: if random.random() { Order::Newest } else { Order::Oldest },
                limit: random.random_range(1..40),
                ..search(query)
            };
            let expected = naive(&model, &asked);
            let (found, _) = house.all(asked).await;
            assert_eq!(found, expected, "seed {seed}, {query}");
            compared += expected.len();
        }
        let by_id: BTreeMap<u64, &Record> = model.iter().map(|record| (record.id.0, record)).collect();
        for (id, record) in by_id.into_iter().step_by(7) {
            let got = house.records.get(OURS, RecordKind::Log, RecordId(id)).await.unwrap();
            assert_eq!(got, *record, "seed {seed}");
        }
    }
    assert!(compared > 2000, "{compared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_ends_when_nobody_waits_for_it_and_leaves_its_turn() {
    let house = House::new().await;
    let line = format!("{} end", "word ".repeat(150_000));
    for _ in 0..4 {
        house.append((0..7).map(|ago| log(ago, &line)).collect()).await.unwrap();
    }
    // Many conditions, of which none holds: half a minute of work.
    let asked = search(&["*a?c*d"; 200].join(" OR "));
    for _ in 0..6 {
        let given_up =
            tokio::time::timeout(Duration::from_millis(20), house.records.search(OURS, asked.clone()));
        assert!(given_up.await.is_err());
    }
    let next = tokio::time::timeout(Duration::from_secs(25), house.found(search("absent"))).await;
    assert_eq!(next.unwrap().records, []);
}

#[tokio::test]
async fn long_records_count_as_several_of_what_a_search_looks_at() {
    let house = House::limited(Limits { search_records: 100, ..Limits::default() }).await;
    for ago in (0..10).map(|number| number * 1000) {
        house.append(vec![log(ago, &"x".repeat(50_000)), log(ago + 1, "y")]).await.unwrap();
    }
    house.append(vec![log(HOUR, "found")]).await.unwrap();
    let found = house.found(search("found")).await;
    assert!(found.stopped_early, "{found:?}");
    let (all, pages) = house.all(search("found")).await;
    assert_eq!((all.len(), pages > 1), (1, true));
}

#[tokio::test]
async fn a_record_is_looked_for_among_no_more_than_a_search_may_look_at() {
    let house = House::limited(Limits { search_records: 5, ..Limits::default() }).await;
    // Two segments, a day's each, of which one has the odd ids and one the even.
    for _ in 0..10 {
        house.append(vec![log(DAY, "odd"), log(0, "even")]).await.unwrap();
    }
    house.records.pack().await.unwrap();
    let get = async |house: &House, id| house.records.get(OURS, RecordKind::Log, RecordId(id)).await;
    let mut refused = 0;
    for id in 1..=20 {
        match get(&house, id).await {
            Ok(record) => assert_eq!(record.id, RecordId(id)),
            Err(error) => {
                assert!(matches!(error, RecordError::Limit { limit: 5, .. }), "{id}: {error}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 9, "those that are in the second, and may be in the first");
    let (folder, clock) = (Arc::clone(&house.folder), Arc::clone(&house.clock));
    let house = House::on(Arc::new(house.store.restart()), folder, clock, Limits::default()).await.unwrap();
    for id in 1..=20 {
        assert_eq!(get(&house, id).await.unwrap().id, RecordId(id));
    }
}

#[tokio::test]
async fn a_record_that_nobody_waits_for_is_not_looked_for_any_further() {
    let house = House::new().await;
    house.append(vec![log(0, "x")]).await.unwrap();
    house.records.pack().await.unwrap();
    // Whoever reads it finds that it is gone, and takes note.
    let digest = house.objects.list().unwrap()[0];
    std::fs::remove_file(house.objects.path(&digest)).unwrap();
    let shared = &house.records.shared;
    let own = Arc::strong_count(shared);
    let get = || Box::pin(house.records.get(OURS, RecordKind::Log, RecordId(1)));
    {
        // What looks for it comes no further than to the state while that is held.
        let _held = shared.state.write();
        let mut getting = get();
        assert!(getting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    while Arc::strong_count(shared) > own {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!shared.lost.has(&digest));
    get().await.unwrap_err();
    assert!(shared.lost.has(&digest));
}
