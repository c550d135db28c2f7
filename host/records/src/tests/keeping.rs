//! Packing, merging, retention, freeing.

use super::*;
use crate::Retention;

#[tokio::test]
async fn chunks_become_segments_and_small_segments_large_ones() {
    let house = House::new().await;
    for round in 0..16 {
        house.append(vec![log(round * 1000, "again and again the same")]).await.unwrap();
        house.clock.advance(11 * 60 * 1000);
        house.records.tend().await.unwrap();
    }
    let totals = house.records.totals(RecordKind::Log);
    assert_eq!((totals.records, totals.chunks), (16, 0));
    assert!(totals.segments < 8, "{totals:?}");
    assert_eq!(house.objects.list().unwrap().len() as u64, totals.segments);
    assert_eq!(house.found(search("again")).await.records.len(), 16);
}

#[tokio::test]
async fn chunks_are_packed_while_appends_go_on() {
    let house = House::limited(Limits { chunks: 4, ..Limits::default() }).await;
    for round in 0..100 {
        house.append(vec![log(round, "x")]).await.unwrap();
    }
    while house.records.totals(RecordKind::Log).chunks > 16 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(house.found(search("x")).await.records.len(), 100);
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_is_not_seen_and_its_space_is_freed() {
    let house = House::limited(Limits { keep_logs_days: 30, ..Limits::default() }).await;
    let noise = |day: i64| {
        let text: String = (0..2000_i64).map(|at| char::from(b'a' + (at * at * day % 26) as u8)).collect();
        log(day * DAY + HOUR, &text)
    };
    house.append((0..29).map(noise).collect()).await.unwrap();
    house.records.pack().await.unwrap();
    let event = Content { title: "kept".to_owned(), ..log(20 * DAY, "") };
    house.records.append(OURS, RecordKind::Event, vec![event], Batch::new()).await.unwrap();
    let before = house.bytes();
    assert_eq!(house.found(search("*")).await.records.len(), 29);

    let keep = Retention { logs_days: Some(5), events_days: None };
    house.records.set_retention(OURS, keep, Batch::new()).await.unwrap();
    assert_eq!(house.found(search("*")).await.records.len(), 5, "at once");
    assert!(house.records.get(OURS, RecordKind::Log, RecordId(29)).await.is_err());
    house.records.tend().await.unwrap();
    assert_eq!(house.records.totals(RecordKind::Log).records, 5);
    assert!(house.bytes() < before / 3, "{} of {before}", house.bytes());
    let house = house.restarted().await;
    assert_eq!(house.records.retention(OURS), keep);
    assert_eq!(house.records.totals(RecordKind::Event).records, 1);

    house.clock.advance(60 * DAY);
    house.append(vec![log(0, "of before what is kept")]).await.unwrap();
    house.records.tend().await.unwrap();
    assert_eq!(house.records.totals(RecordKind::Log).records, 0);
    // An id is not used twice, though nothing of before is left.
    assert_eq!(house.restarted().await.append(vec![log(0, "x")]).await.unwrap(), RecordId(32));
    for (wrong, field) in [
        (Retention { logs_days: Some(31), events_days: None }, "logs_days"),
        (Retention { logs_days: None, events_days: Some(0) }, "events_days"),
    ] {
        let error = house.records.set_retention(OURS, wrong, Batch::new()).await;
        assert!(matches!(error, Err(RecordError::Invalid(error)) if error.field == field));
    }
}

#[tokio::test]
async fn a_segment_of_many_days_is_written_anew_without_what_is_over() {
    let house = House::new().await;
    house
        .append((0..100).map(|day| log(day * DAY + HOUR, &format!("{day}{}", "x".repeat(3000)))).collect())
        .await
        .unwrap();
    house.records.pack().await.unwrap();
    assert_eq!(house.records.totals(RecordKind::Log).segments, 1, "too many days for one each");
    let keep = Retention { logs_days: Some(10), events_days: None };
    house.records.set_retention(OURS, keep, Batch::new()).await.unwrap();
    house.records.tend().await.unwrap();
    assert_eq!(house.records.totals(RecordKind::Log).records, 10);
    assert_eq!(house.found(search("*")).await.records.len(), 10);
}

#[tokio::test]
async fn searches_and_packing_go_on_beside_each_other() {
    let house = House::limited(Limits { chunks: 3, ..Limits::default() }).await;
    house.append((0..50).map(|ago| log(ago, "old")).collect()).await.unwrap();
    let keep = async {
        for round in 0..60 {
            house.append(vec![log(round, "new")]).await.unwrap();
            house.records.pack().await.unwrap();
            house.records.tend().await.unwrap();
        }
    };
    let look = async {
        for _ in 0..200 {
            assert_eq!(house.found(search("old")).await.records.len(), 50);
            house.records.get(OURS, RecordKind::Log, RecordId(7)).await.unwrap();
        }
    };
    tokio::join!(keep, look);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_hides_records_and_frees_none() {
    let house = House::limited(Limits { keep_logs_days: 30, ..Limits::default() }).await;
    house.append(vec![log(0, "kept"), log(HOUR, "kept")]).await.unwrap();
    house.clock.advance(365 * DAY);
    house.clock.distrust(true);
    assert!(house.found(search("*")).await.records.is_empty());
    house.records.tend().await.unwrap();
    house.records.pack().await.unwrap();
    house.clock.advance(-365 * DAY);
    house.records.tend().await.unwrap();
    assert_eq!(house.found(search("kept")).await.records.len(), 2);
}

#[tokio::test]
async fn a_full_disk_is_made_room_on_by_what_is_no_longer_kept() {
    let house = House::limited(Limits { keep_logs_days: 30, ..Limits::default() }).await;
    house.append(vec![log(0, "old")]).await.unwrap();
    house.records.pack().await.unwrap();
    let event = Content { title: "kept".to_owned(), ..log(0, "") };
    house.records.append(OURS, RecordKind::Event, vec![event], Batch::new()).await.unwrap();
    house.clock.advance(60 * DAY);
    house.store.set_disk_full(true);
    let full = house.records.tend().await;
    assert!(
        matches!(full, Err(RecordError::Store(StoreError::DiskFull { .. }))),
        "events are not packed: {full:?}"
    );
    assert_eq!(house.records.totals(RecordKind::Log).records, 0);
    assert!(house.objects.list().unwrap().is_empty());
    house.store.set_disk_full(false);
    house.records.tend().await.unwrap();
    assert_eq!(house.records.totals(RecordKind::Event).records, 1);
}

#[tokio::test]
async fn on_a_full_disk_records_can_be_kept_for_less_time_but_not_for_more() {
    let house = House::limited(Limits { keep_logs_days: 30, ..Limits::default() }).await;
    house.store.set_disk_full(true);
    let keep = async |logs_days, events_days| {
        // As who changes it is noted with it.
        let mut told = Batch::new();
        told.put(bellwether_store::Key::new(bellwether_store::Space::Audit), "told");
        house.records.set_retention(OURS, Retention { logs_days, events_days }, told).await
    };
    keep(Some(3), None).await.unwrap();
    keep(Some(2), Some(5)).await.unwrap();
    for (logs_days, events_days) in [(Some(3), Some(5)), (Some(1), None), (None, Some(1))] {
        let refused = keep(logs_days, events_days).await;
        assert!(matches!(refused, Err(RecordError::Store(StoreError::DiskFull { .. }))), "{refused:?}");
    }
    keep(Some(2), Some(5)).await.unwrap();
}
