//! Segments whose files are missing or damaged.

use std::fs;
use std::path::{Path, PathBuf};

use bellwether_store::{Direction, Key, Space, Store as _, StoreError};

use super::*;
use crate::{Metadata, RollUp};

/// What happens to a file.
type Loss = fn(&Path);

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn cut_short(path: &Path) {
    fs::write(path, "short").unwrap();
}

/// Changes the only block, behind what a segment begins with and its number.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[17..30].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(path, bytes).unwrap();
}

const LOSSES: [Loss; 3] = [remove, cut_short, damage];

fn samples(start: i64) -> Vec<(i64, f64)> {
    (0..100).map(|n| (start + n * 1000, (n * n % 17) as f64)).collect()
}

/// A house with a segment of today's samples, and the file of one of samples of 60 days ago.
async fn house() -> (House, PathBuf) {
    let house = House::new().await;
    house.write(&[entry("m", &[], &samples(house.now() - 60 * DAY))]).await.unwrap();
    house.series.pack().await.unwrap();
    let path = house.objects.path(&house.objects.list().unwrap()[0]);
    house.write(&[entry("m", &[], &samples(house.now() - DAY))]).await.unwrap();
    house.series.pack().await.unwrap();
    (house, path)
}

#[tokio::test]
async fn a_host_starts_without_a_lost_segment_and_tells_its_file_and_its_time() {
    let (house, path) = house().await;
    assert_eq!(house.series.lost(), []);
    let kept = fs::read(&path).unwrap();
    for lose in [remove as Loss, cut_short] {
        lose(&path);
        let house = house.restarted().await;
        let lost = house.series.lost();
        assert_eq!(lost.len(), 1, "{lost:?}");
        let why = &lost[0].why;
        assert!(why.starts_with("samples from 2025-12-31T12:00:00Z to 2025-12-31T12:01:39Z: "), "{why}");
        assert!(why.contains(path.to_str().unwrap()) && why.contains("restore a backup"), "{why}");
        assert_eq!(house.series.look_for_segments().await.unwrap(), lost);
        fs::write(&path, &kept).unwrap();
    }
    let house = house.restarted().await;
    assert_eq!(house.series.lost(), [], "it was put back");
    assert_eq!(house.one("m").await.len(), 200);
}

#[tokio::test]
async fn a_backup_waits_for_no_merge_and_takes_nothing_for_lost_that_gave_way_to_others() {
    let house = House::new().await;
    for round in 0..4 {
        house.write(&[entry("m", &[], &samples(house.now() - DAY + round * 200_000))]).await.unwrap();
        house.series.pack().await.unwrap();
    }
    let shared = &house.series.shared;
    let segments = Arc::clone(&shared.state.read().segments);
    let merging = shared.merging.lock().await;
    let looking = tokio::time::timeout(std::time::Duration::from_secs(10), house.series.look_for_segments());
    assert_eq!(looking.await.expect("it waits for nobody").unwrap(), []);
    drop(merging);
    shared.merge_all().await.unwrap();
    assert!(segments.iter().all(|placed| !house.objects.path(&placed.row.digest).exists()));
    segments.iter().for_each(|placed| placed.look());
    assert_eq!(house.series.lost(), []);
}

#[tokio::test]
async fn a_query_that_needs_a_lost_segment_says_so_and_others_are_answered() {
    for lose in LOSSES {
        let (house, path) = house().await;
        lose(&path);
        let house = house.restarted().await;
        let raw = async |start| house.series.raw(OURS, "m", &Filter::All, (start, Timestamp::MAX)).await;
        let error = raw(Timestamp::MIN).await.unwrap_err();
        assert!(matches!(error, SeriesError::Store(StoreError::Lost(_))), "{error:?}");
        let told = error.to_string();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            told.contains(&format!("components/{name}")) && told.contains("from 2025-12-31T12:00:00Z"),
            "{told}"
        );
        assert_eq!(raw(at("2026-02-01")).await.unwrap()[0].samples.len(), 100);
        assert_eq!(house.series.lost().len(), 1, "as soon as it was found");
    }
}

#[tokio::test]
async fn upkeep_goes_on_around_a_lost_segment_and_frees_it_when_its_time_is_over() {
    for lose in LOSSES {
        let house = House::new().await;
        let keep = Metadata { keep_days: Some(30), ..Metadata::default() };
        house.series.describe(OURS, "m", keep, Batch::new()).await.unwrap();
        for round in 0..16 {
            house.write(&[entry("m", &[], &samples(house.now() - DAY + round * 200_000))]).await.unwrap();
            house.series.pack().await.unwrap();
        }
        lose(&house.objects.path(&house.objects.list().unwrap()[0]));
        let house = house.restarted().await;
        house.series.tend().await.unwrap();
        assert_eq!(house.series.lost().len(), 1);
        let segments = house.series.totals().segments;
        assert!(segments < 16, "the others are merged: {segments}");
        house.clock.advance(60 * DAY);
        // Of the host's own retention too.
        let limits = Limits { keep_days: 30, ..*house.series.limits() };
        let store = Arc::new(house.store.restart());
        let house =
            House::on(store, Arc::clone(&house.folder), Arc::clone(&house.clock), limits).await.unwrap();
        house.series.tend().await.unwrap();
        assert_eq!(house.series.totals().segments, 0);
        assert_eq!(house.series.lost(), [], "nothing refers to it any more");
    }
}

#[tokio::test]
async fn a_week_with_a_damaged_block_is_not_rolled_up_and_nothing_is_left_of_the_attempts() {
    let house = House::new().await;
    let roll_ups = vec![RollUp { after_days: 1, step_seconds: 300 }];
    let rolled = Metadata { roll_ups, ..Metadata::default() };
    house.series.describe(OURS, "m", rolled, Batch::new()).await.unwrap();
    let start = house.now() - 60 * DAY;
    for tag in ["a:1", "a:2", "a:3"] {
        house.write(&[entry("m", &[tag], &samples(start))]).await.unwrap();
    }
    house.series.pack().await.unwrap();
    let last = house.series.shared.state.read().segments[0].all().unwrap().pop().unwrap();
    let before = house.objects.list().unwrap();
    let path = house.objects.path(&before[0]);
    let mut bytes = fs::read(&path).unwrap();
    let block = last.offset as usize..last.offset as usize + last.length as usize;
    bytes[block].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(path, bytes).unwrap();
    // Each series would be a segment of its own: two are made until the third one's block is read.
    let made = || house.series.shared.next_segment.load(std::sync::atomic::Ordering::Relaxed);
    let mut numbers = Vec::new();
    for _ in 0..3 {
        house.series.shared.roll_up(1).await.unwrap();
        assert_eq!(house.objects.list().unwrap(), before);
        numbers.push(made());
        house.clock.advance(DAY);
    }
    assert_eq!(numbers, [4; 3], "it is known, and not tried again");
    assert_eq!(house.series.lost().len(), 1);
}

#[tokio::test]
async fn few_files_are_open_however_many_segments_there_are_and_each_is_read() {
    let house = House::new().await;
    let weeks: Vec<_> = (0..600).map(|week| (week * 7 * DAY, week as f64)).collect();
    for part in weeks.chunks(200) {
        house.write(&[entry("m", &[], part)]).await.unwrap();
        house.series.pack().await.unwrap();
    }
    let house = house.restarted().await;
    assert_eq!(house.series.totals().segments, 600);
    for _ in 0..2 {
        assert_eq!(house.one("m").await, weeks);
        assert!(house.series.shared.cache.open_files() <= crate::limits::OPEN_FILES);
    }
    assert_eq!(house.series.lost(), []);
}

#[tokio::test]
async fn a_reader_whose_segments_were_merged_before_it_opened_them_looks_again() {
    let house = House::new().await;
    let start = house.now() - DAY;
    for round in 0..8 {
        house.write(&[entry("m", &[], &samples(start + round * 200_000))]).await.unwrap();
        house.series.pack().await.unwrap();
    }
    let house = house.restarted().await;
    let before = Arc::clone(&house.series.shared.state.read().segments);
    // They give way once a reader knows of them.
    house.series.shared.merge_all().await.unwrap();
    let mut reads = 0;
    let read = crate::loss::as_they_move(|| {
        reads += 1;
        let segments = if reads == 1 { &before } else { &house.series.shared.state.read().segments };
        let mut blocks = 0;
        for placed in segments.iter() {
            blocks += placed.all()?.len();
        }
        Ok(blocks)
    });
    assert!(read.unwrap() > 0);
    assert_eq!((reads, house.series.lost()), (2, Vec::new()));
    // One that is read although it gave way is open as long as somebody reads it.
    let shared = &house.series.shared;
    let opened = shared.cache.file(before[0].number, || Ok(tempfile::tempfile().unwrap())).unwrap();
    drop((opened, before));
    assert_eq!(shared.cache.open_files(), shared.state.read().segments.len());
}

#[tokio::test]
async fn a_series_of_more_samples_than_a_query_may_read_is_refused_before_it_is_unpacked() {
    let house = House::limited(Limits { query_samples: 1000, ..Limits::default() }).await;
    let samples: Vec<_> = (0..5000).map(|n| (n * 1000, (n * n % 17) as f64)).collect();
    house.write(&[entry("m", &[], &samples)]).await.unwrap();
    house.series.pack().await.unwrap();
    // What is unpacked would be found to be damaged.
    damage(&house.objects.path(&house.objects.list().unwrap()[0]));
    let range = (Timestamp::MIN, Timestamp::MAX);
    let refused = house.series.raw(OURS, "m", &Filter::All, range).await.unwrap_err();
    assert!(matches!(refused, SeriesError::Limit { limit: 1000, .. }), "{refused}");
    assert_eq!(house.series.lost(), []);
}

#[tokio::test]
async fn a_row_that_does_not_read_keeps_nothing_else_from_being_found_and_no_number_is_used_again() {
    for space in [
        Space::TaggedSeries,
        Space::SeriesMetadata,
        Space::SeriesSegment,
        Space::SeriesLog,
        Space::SeriesPacked,
        Space::Counter,
        Space::SeriesLoose,
    ] {
        let house = House::new().await;
        let now = house.now();
        house.write(&[entry("m", &["s:a"], &[(now - 3, 1.0)])]).await.unwrap();
        house.write(&[entry("m", &["s:b"], &[(now - 2, 2.0)])]).await.unwrap();
        house.series.pack().await.unwrap();
        house.write(&[entry("m", &["s:c"], &[(now - 1, 3.0)])]).await.unwrap();
        let strange = Key::new(space).number(1).fixed(b"?");
        let rows = house.store.scan(Key::new(space).prefix(), Direction::Forward, usize::MAX).await.unwrap();
        let row = match space {
            Space::Counter => crate::layout::next_series(),
            Space::SeriesMetadata => crate::layout::metadata(OURS, "m"),
            Space::SeriesLoose => strange,
            // The last: of the series, the one whose number would be given next.
            _ => rows.into_iter().next_back().unwrap().0,
        };
        let mut batch = Batch::new();
        batch.put(row.clone(), "?");
        house.store.commit(batch).await.unwrap();

        let house = house.restarted().await;
        house.write(&[entry("m", &["s:d"], &[(now, 4.0)])]).await.unwrap();
        let mut expected: BTreeMap<_, _> =
            [("s:a", 3, 1.0), ("s:b", 2, 2.0), ("s:c", 1, 3.0), ("s:d", 0, 4.0)]
                .map(|(tag, ago, value)| (vec![tag.to_owned()], vec![(now - ago, value)]))
                .into();
        expected.retain(|tags, _| match space {
            Space::TaggedSeries | Space::SeriesLog => tags[0] != "s:c",
            Space::SeriesSegment => *tags[0] > *"s:b",
            _ => true,
        });
        let found = |all: BTreeMap<Vec<String>, Vec<(i64, f64)>>| {
            all.into_iter().filter(|(_, samples)| !samples.is_empty()).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(found(house.all("m").await), expected, "{space:?}");
        house.series.pack().await.unwrap();
        house.series.tend().await.unwrap();
        assert_eq!(found(house.all("m").await), expected, "{space:?}");
        assert_eq!(house.store.unread().count(), 1, "{space:?}");
        if space == Space::SeriesSegment || space == Space::TaggedSeries {
            let kept = house.store.get(&row).await.unwrap();
            assert_eq!(kept.as_deref(), Some(&b"?"[..]), "{space:?}: what does not read stays");
        }
    }
}
