//! The records nearest to a moment are those a naive look through everything finds.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::{Near, Nearest, Record, Wanted};

fn all() -> Wanted {
    Arc::new(|_| true)
}

/// The nearest to [`NOW`] less `ago`.
fn near(ago: i64, limit: usize) -> Nearest {
    let to = at(NOW).saturating_add(-ago);
    let (start, end) = (Timestamp::MIN, Timestamp::MAX);
    Nearest { kind: RecordKind::Log, to, start, end, limit, budget: 1_000_000 }
}

fn said(found: &Near) -> Vec<&str> {
    found.records.iter().map(|record| record.content.message.as_str()).collect()
}

#[tokio::test]
async fn the_nearest_come_first_from_both_sides_and_others_of_their_kind_and_organisation_never() {
    let house = House::new().await;
    let none = house.records.nearest(OURS, near(0, 10), all()).await.unwrap();
    assert_eq!(none, Near { records: Vec::new(), complete: true });
    house.append([0, 10, 20, 30, 40].map(|ago| log(ago, &ago.to_string())).to_vec()).await.unwrap();
    house.records.append(THEIRS, RecordKind::Log, vec![log(21, "theirs")], Batch::new()).await.unwrap();
    let event = Content { title: "event".to_owned(), ..log(21, "") };
    house.records.append(OURS, RecordKind::Event, vec![event], Batch::new()).await.unwrap();
    for pass in 0..2 {
        let found = house.records.nearest(OURS, near(19, 3), all()).await.unwrap();
        assert_eq!((said(&found), found.complete), (vec!["20", "10", "30"], false), "{pass}");
        let found = house.records.nearest(OURS, near(19, 5), all()).await.unwrap();
        assert_eq!((said(&found), found.complete), (vec!["20", "10", "30", "0", "40"], true), "{pass}");
        let short = Nearest { start: near(30, 1).to, end: near(10, 1).to, ..near(100, 9) };
        assert_eq!(said(&house.records.nearest(OURS, short, all()).await.unwrap()), ["30", "20", "10"]);
        house.records.pack().await.unwrap();
    }
    for wrong in [near(0, 0), near(0, 1001), Nearest { end: at("2020-01-01"), start: at(NOW), ..near(0, 1) }]
    {
        assert!(matches!(house.records.nearest(OURS, wrong, all()).await, Err(RecordError::Invalid(_))));
    }
}

#[tokio::test]
async fn a_look_that_costs_too_much_gives_what_it_knows_and_says_that_it_is_not_all() {
    let house = House::new().await;
    for minute in 0..20 {
        let logs = (0..10).map(|number| log(minute * 60_000 + number, &format!("{minute}-{number}")));
        house.append(logs.collect()).await.unwrap();
    }
    let first: Wanted = Arc::new(|record| record.content.message.ends_with("-0"));
    let cheap = Nearest { budget: 30, ..near(10 * 60_000, 100) };
    let found = house.records.nearest(OURS, cheap, first).await.unwrap();
    let known = said(&found);
    assert!(!found.complete && known.first() == Some(&"10-0") && known.len() < 12, "{known:?}");
    // One moment that has more than may be looked at hides what is beside it, and nothing on the other side.
    for _ in 0..20 {
        house.append(vec![log(10 * 60_000 - 1, "same"); 10]).await.unwrap();
    }
    let absent: Wanted = Arc::new(|record| record.content.message == "10-0");
    let found = house.records.nearest(OURS, Nearest { budget: 10, ..cheap }, absent).await.unwrap();
    assert_eq!((said(&found), found.complete), (vec!["10-0"], false));
}

#[tokio::test]
async fn the_nearest_are_what_a_naive_look_through_everything_finds() {
    let mut compared = 0;
    for seed in 0..40 {
        let mut random = SmallRng::seed_from_u64(seed);
        let house = House::limited(Limits { chunks: 20, ..Limits::default() }).await;
        let mut model: Vec<Record> = Vec::new();
        for _ in 0..random.random_range(1..40) {
            if random.random_bool(0.2) {
                house.records.pack().await.unwrap();
                continue;
            }
            // Mostly in order, sometimes late by days; often of one time.
            let late = if random.random_bool(0.2) { 3 * DAY } else { 300 };
            let logs: Vec<Content> = (0..random.random_range(1..20))
                .map(|_| log(random.random_range(0..late), ["red", "blue"][random.random_range(0..2)]))
                .collect();
            let first = house.append(logs.clone()).await.unwrap();
            model.extend((first.0..).map(RecordId).zip(logs).map(|(id, content)| Record { id, content }));
        }
        for _ in 0..10 {
            let ago =
                if random.random() { random.random_range(0..400) } else { random.random_range(0..3 * DAY) };
            let mut asked = near(ago, random.random_range(1..60));
            if random.random() {
                asked.start = asked.to.saturating_add(-random.random_range(0..2 * DAY));
                asked.end = asked.to.saturating_add(random.random_range(0..DAY));
            }
            let (start, end, to) = (asked.start, asked.end, asked.to);
            let mut expected: Vec<Record> = model
                .iter()
                .filter(|record| record.content.message == "red")
                .filter(|record| (start..=end).contains(&record.content.time))
                .cloned()
                .collect();
            expected.sort_by_key(|record| {
                let (time, id) = (record.content.time, record.id.0 as i64);
                let passed = time.milliseconds_since(to);
                (passed.abs(), passed, if passed > 0 { id } else { -id })
            });
            let all = expected.len();
            expected.truncate(asked.limit);
            let red: Wanted = Arc::new(|record| record.content.message == "red");
            let found = house.records.nearest(OURS, asked, red).await.unwrap();
            assert_eq!(found.records, expected, "seed {seed}, {asked:?}");
            assert!(!found.complete || all <= asked.limit, "seed {seed}: it says that it is all");
            assert!(found.complete || all >= asked.limit, "seed {seed}: it says that it is not all");
            compared += expected.len();
        }
    }
    assert!(compared > 2000, "{compared}");
}
