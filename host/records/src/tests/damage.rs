//! Segments whose files are missing or damaged.

use std::fs;
use std::path::PathBuf;

use bellwether_store::{Direction, Key, Space, Store as _, delete_large, put_large};

use super::*;
use crate::{Retention, layout};

/// A house with a segment of today's log "new", and the file of one of the log "old", of ten days ago.
async fn house() -> (House, PathBuf) {
    let house = House::new().await;
    house.append(vec![log(10 * DAY, "old")]).await.unwrap();
    house.records.pack().await.unwrap();
    let digest = house.objects.list().unwrap()[0];
    house.append(vec![log(0, "new")]).await.unwrap();
    house.records.pack().await.unwrap();
    assert_eq!(house.objects.list().unwrap().len(), 2);
    let path = house.objects.path(&digest);
    (house, path)
}

async fn refused(house: &House, search: Search) -> String {
    let error = house.records.search(OURS, search).await.unwrap_err();
    assert!(matches!(error, RecordError::Store(StoreError::Lost(_))), "{error:?}");
    error.to_string()
}

fn damage(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    // Behind its beginning, whose it is and its number: in its only block.
    bytes[30..34].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_segment_that_is_missing_is_told_at_the_start_with_its_file_and_its_time() {
    let (house, path) = house().await;
    assert_eq!(house.records.lost(), []);
    let kept = fs::read(&path).unwrap();
    for lose in
        [|path: &PathBuf| fs::remove_file(path).unwrap(), |path: &PathBuf| fs::write(path, "short").unwrap()]
    {
        lose(&path);
        let house = house.restarted().await;
        let lost = house.records.lost();
        assert_eq!(lost.len(), 1, "{lost:?}");
        let why = &lost[0].why;
        let time = at(NOW).saturating_add(-10 * DAY);
        assert!(why.starts_with(&format!("the logs of organisation 1 from {time} to {time}: ")), "{why}");
        assert!(why.contains(path.to_str().unwrap()) && why.contains("restore a backup"), "{why}");
        assert_eq!(house.records.look_for_segments().await.unwrap(), lost);
        fs::write(&path, &kept).unwrap();
    }
    assert_eq!(house.restarted().await.records.lost(), [], "it was put back");
}

#[tokio::test]
async fn a_backup_waits_for_no_upkeep_and_takes_nothing_for_lost_that_gave_way_to_others() {
    let house = House::new().await;
    for round in 0..4 {
        house.append(vec![log(round, "x")]).await.unwrap();
        house.records.pack().await.unwrap();
    }
    let shared = &house.records.shared;
    let segments = shared.segments(|_| true);
    let upkeep = shared.upkeep.lock().await;
    let looking = tokio::time::timeout(Duration::from_secs(10), house.records.look_for_segments());
    assert_eq!(looking.await.expect("it waits for nobody").unwrap(), []);
    drop(upkeep);
    house.records.tend().await.unwrap();
    assert!(segments.iter().all(|placed| !house.objects.path(&placed.row.digest).exists()));
    segments.iter().for_each(|placed| shared.look(placed));
    assert_eq!(house.records.lost(), []);
}

#[tokio::test]
async fn a_search_that_needs_a_lost_segment_says_so_and_others_find_what_they_need() {
    for lose in [|path: &PathBuf| fs::remove_file(path).unwrap(), damage] {
        let (house, path) = house().await;
        lose(&path);
        // Whether or not it was looked for at a start.
        for house in [&house, &house.restarted().await] {
            let told = refused(house, search("*")).await;
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(
                told.contains(&format!("components/{name}")) && told.contains("from 2026-02-19T12:00:00Z"),
                "{told}"
            );
            let recent = Search { start: at(NOW).saturating_add(-DAY), ..search("*") };
            assert_eq!(messages(&house.found(recent).await), ["new"]);
            let got = house.records.get(OURS, RecordKind::Log, RecordId(1)).await.unwrap_err();
            assert!(got.to_string().contains(name), "{got}");
            assert_eq!(house.records.lost().len(), 1, "as soon as it was found");
        }
    }
}

#[tokio::test]
async fn upkeep_goes_on_around_a_lost_segment_and_frees_it_when_its_time_is_over() {
    for lose in [|path: &PathBuf| fs::remove_file(path).unwrap(), damage] {
        let house = House::limited(Limits { keep_logs_days: 30, ..Limits::default() }).await;
        for round in 0..8 {
            house.append(vec![log(round, "x")]).await.unwrap();
            house.records.pack().await.unwrap();
        }
        lose(&house.objects.path(&house.objects.list().unwrap()[0]));
        house.records.tend().await.unwrap();
        assert_eq!(house.records.lost().len(), 1);
        assert!(house.records.totals(RecordKind::Log).segments < 8, "the others are merged");
        house.clock.advance(60 * DAY);
        house.records.tend().await.unwrap();
        assert_eq!(house.records.totals(RecordKind::Log).segments, 0);
        assert_eq!(house.records.lost(), [], "nothing refers to it any more");
    }
}

/// The rows of a space.
async fn rows_of(house: &House, space: Space) -> Vec<Key> {
    let rows = house.store.scan(Key::new(space).prefix(), Direction::Forward, usize::MAX).await.unwrap();
    rows.into_iter().map(|(key, _)| key).collect()
}

/// The row of an organisation's only segment.
async fn segment_of(house: &House, organisation: OrganisationId) -> Key {
    for key in rows_of(house, Space::RecordSegment).await {
        let row = house.store.get(&key).await.unwrap().unwrap();
        let row: layout::SegmentRow = bellwether_store::decode(&row).unwrap();
        if row.organisation == organisation {
            return key;
        }
    }
    panic!("it has none")
}

#[tokio::test]
async fn a_row_that_does_not_read_keeps_nothing_else_from_being_found_and_no_id_is_used_again() {
    for space in
        [Space::RecordSegment, Space::RecordChunk, Space::RecordRetention, Space::RecordLoose, Space::Counter]
    {
        let house = House::new().await;
        let theirs = vec![log(0, "theirs")];
        house.records.append(THEIRS, RecordKind::Log, theirs, Batch::new()).await.unwrap();
        house.append(vec![log(0, "packed")]).await.unwrap();
        house.records.pack().await.unwrap();
        house.append((0..3).map(|_| log(0, "chunk")).collect()).await.unwrap();
        house.records.set_retention(OURS, Retention::default(), Batch::new()).await.unwrap();
        let ours = |key: &Key| key.organisation().is_none_or(|id| id == OURS.0);
        let row = match space {
            Space::RecordLoose => Key::new(space).number(1).fixed(b"?"),
            Space::RecordSegment => segment_of(&house, OURS).await,
            space => rows_of(&house, space).await.into_iter().find(ours).unwrap(),
        };
        let mut batch = Batch::new();
        batch.put(row.clone(), "?");
        house.store.commit(batch).await.unwrap();

        let house = house.restarted().await;
        let next = house.append(vec![log(0, "new")]).await.unwrap();
        assert!(next > RecordId(4), "{space:?}: {next:?}");
        house.records.tend().await.unwrap();
        house.records.pack().await.unwrap();
        let found = house.records.search(THEIRS, search("*")).await.unwrap();
        assert_eq!(messages(&found), ["theirs"], "{space:?}");
        let mut expected = vec!["new", "chunk", "chunk", "chunk", "packed"];
        expected.retain(|message| match space {
            Space::RecordChunk => *message != "chunk",
            Space::RecordSegment => *message != "packed",
            _ => true,
        });
        assert_eq!(messages(&house.found(search("*")).await), expected, "{space:?}");
        assert_eq!(house.store.unread().count(), 1, "{space:?}");
        let kept = house.store.get(&row).await.unwrap();
        if space != Space::Counter {
            assert_eq!(kept.as_deref(), Some(&b"?"[..]), "{space:?}: what does not read stays");
        }
    }
}

#[tokio::test]
async fn a_chunk_whose_content_is_lost_is_told_and_the_others_are_packed_without_it() {
    for missing in [true, false] {
        let house = House::limited(Limits { chunks: 1, keep_logs_days: 30, ..Limits::default() }).await;
        let lost = layout::chunk(HostId(1), OURS, RecordId(1));
        let mut batch = Batch::new();
        house.append(vec![log(10 * DAY, "old")]).await.unwrap();
        delete_large(&*house.store, &mut batch, &lost).await.unwrap();
        if !missing {
            put_large(&mut batch, &lost, b"?").unwrap();
        }
        house.store.commit(batch).await.unwrap();
        let mut house = house;
        for restarted in [false, true] {
            if restarted {
                house = house.restarted().await;
            }
            for _ in 0..20 {
                house.append(vec![log(0, "new")]).await.unwrap();
            }
            house.records.pack().await.unwrap();
            assert!(house.records.totals(RecordKind::Log).segments > 0);
            house.records.tend().await.unwrap();
            let told = refused(&house, search("*")).await;
            assert!(
                told.contains("from 2026-02-19T12:00:00Z") && told.contains("restores a backup"),
                "{told}"
            );
            let recent = Search { start: at(NOW).saturating_add(-DAY), ..search("*") };
            assert!(messages(&house.found(recent).await).len() >= 20);
            assert_eq!(house.store.unread().count(), 1);
        }
        let house = house.restarted().await;
        house.clock.advance(60 * DAY);
        house.records.tend().await.unwrap();
        assert_eq!(rows_of(&house, Space::RecordChunk).await, [], "it goes when its time is over");
    }
}
