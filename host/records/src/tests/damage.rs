//! Segments whose files are missing or damaged.

use std::fs;
use std::path::PathBuf;

use super::*;

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
