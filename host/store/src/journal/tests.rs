//! What a journal gives back after a crash in any place.

use std::os::unix::fs::FileExt;

use super::*;
use crate::Space;

const FULL: u64 = 4096;

fn key(number: u64) -> Key {
    Key::new(Space::Counter).number(number)
}

/// The rows of record `number`, as large as any other's: one of its own, one that every record writes, and one of the
/// record before, which it removes.
fn rows(number: u64) -> Rows {
    let value = |length| Some(Bytes::from(vec![number as u8; length]));
    Rows::from([(key(number), value(700)), (key(u64::MAX), value(8)), (key(number - 1), None)])
}

/// What records `from..=through` leave.
fn left(from: u64, through: u64) -> Table {
    let mut table = Table::new();
    for number in from..=through {
        table.extend(rows(number));
    }
    table
}

fn open(folder: &Path, durable: u64) -> Result<(Journal, Replay), StoreError> {
    Journal::open(folder, FULL, durable, true)
}

/// Appends `count` records; every time a file is full, what went before counts as settled. The last that settled.
fn append(journal: &mut Journal, count: u64, mut durable: u64) -> u64 {
    for _ in 0..count {
        if journal.is_full() {
            durable = journal.last();
            journal.turn();
        }
        journal.append(&rows(journal.last() + 1)).unwrap();
    }
    durable
}

#[test]
fn what_was_appended_is_read_back_and_appended_to_across_many_turns() {
    let folder = tempfile::tempdir().unwrap();
    let (mut settled, mut last) = (0, 0);
    for count in [1, 0, 3, 5, 6, 7, 40, 1, 1, 13] {
        let (mut journal, replay) = open(folder.path(), settled).unwrap();
        assert_eq!(replay.last, last);
        assert_eq!(replay.rows, left(settled + 1, last), "records {settled} to {last}");
        // As an opening does: what was read back settles first.
        settled = append(&mut journal, count, replay.last);
        last += count;
        assert_eq!(journal.last(), last);
    }
}

#[test]
fn a_torn_record_ends_the_journal_and_the_next_takes_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    append(&mut journal, 3, 0);
    let path = folder.path().join(NAMES[0]);
    let (whole, end) = (std::fs::read(&path).unwrap(), journal.files[0].end as usize);
    let record = end / 3;
    // Every length a torn write may have left of the last record, over the zeros that were there.
    for kept in (0..record).step_by(7).chain([1, 4, 8, HEAD - 1, HEAD, record - 1]) {
        let torn = end - record + kept;
        let mut bytes = whole.clone();
        bytes[torn..].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let (mut journal, replay) = open(folder.path(), 0).unwrap();
        assert_eq!((replay.last, &replay.rows), (2, &left(1, 2)), "{kept} bytes of the last record");
        assert_eq!((replay.lost, set_aside(folder.path())), (0, Vec::new()), "a crash may tear the last");
        append(&mut journal, 1, 2);
        drop(journal);
        let (_, replay) = open(folder.path(), 2).unwrap();
        assert_eq!((replay.last, &replay.rows), (3, &left(3, 3)), "{kept} bytes of the last record");
        std::fs::write(folder.path().join(NAMES[1]), b"").unwrap();
    }
}

#[test]
fn a_damaged_record_with_whole_ones_behind_it_is_told_and_the_file_kept_as_it_was_found() {
    for (damaged, at) in [(1, 0), (1, 5), (2, HEAD + 3), (3, 700)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path(), 0).unwrap();
        // What sled has, in the other file, and five records in this one.
        let settled = append(&mut journal, 6, 0);
        journal.turn();
        let begun = journal.last();
        append(&mut journal, 5, settled);
        let path = journal.files[journal.current].path.clone();
        let record = journal.files[journal.current].end as usize / 5;
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[(damaged - 1) * record + at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();

        let (mut journal, replay) = open(folder.path(), begun).unwrap();
        let last = begun + damaged as u64 - 1;
        assert_eq!((replay.last, replay.lost), (last, begun + 5 - last), "record {damaged}, byte {at}");
        let [kept] = &set_aside(folder.path())[..] else { panic!("one file is kept") };
        assert_eq!(std::fs::read(kept).unwrap(), bytes);
        // And it goes on: what is lost is told once.
        append(&mut journal, 1, last);
        drop(journal);
        let (_, replay) = open(folder.path(), last).unwrap();
        assert_eq!((replay.last, replay.lost), (last + 1, 0));
    }
}

#[test]
fn records_of_a_former_turn_are_not_taken_for_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    // Records of one size: behind the new ones in a file the old ones are whole.
    let settled = append(&mut journal, 15, 0);
    let last = journal.last();
    let current = &journal.files[journal.current];
    let behind = &std::fs::read(&current.path).unwrap()[current.end as usize..];
    let stale = whole_record(behind).map(|(number, _)| number);
    assert!(stale.is_some_and(|number| number < last), "there is an old record behind the new: {stale:?}");
    drop(journal);
    let (_, replay) = open(folder.path(), settled).unwrap();
    assert_eq!((replay.last, replay.rows), (last, left(settled + 1, last)));
    // sled may as well be behind by the other file's records.
    let (_, replay) = open(folder.path(), 6).unwrap();
    assert_eq!((replay.last, replay.rows), (last, left(7, last)));
}

#[test]
fn what_is_missing_between_sled_and_the_journal_or_within_it_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    append(&mut journal, 15, 0);
    let first = journal.files[1 - journal.current].first().unwrap().unwrap();
    drop(journal);
    let damage = |durable| {
        let error = open(folder.path(), durable).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(why) if why.contains("restore a backup")), "{error}");
    };
    open(folder.path(), first - 1).unwrap();
    // sled has lost rows that the journal has no more.
    damage(first - 2);
    // A byte in the middle of the older file.
    let file = OpenOptions::new().write(true).open(folder.path().join(NAMES[1])).unwrap();
    file.write_all_at(&[0xff], FULL / 2).unwrap();
    damage(first - 1);
    // Nothing reads at all.
    for name in NAMES {
        std::fs::write(folder.path().join(name), b"").unwrap();
    }
    damage(first);
    open(folder.path(), 0).unwrap();
    Journal::open(folder.path(), FULL, first, false).unwrap();
}

#[test]
fn a_group_larger_than_a_file_is_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    let large: Rows = (0..100).map(|number| (key(number), Some(Bytes::from(vec![1; 32 * 1024])))).collect();
    journal.append(&large).unwrap();
    assert!(journal.is_full());
    drop(journal);
    let (_, replay) = open(folder.path(), 0).unwrap();
    assert_eq!(replay.rows, large.into_iter().collect::<Table>());
}

#[cfg(target_os = "linux")]
#[test]
fn an_append_that_finds_no_room_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    journal.append(&rows(1)).unwrap();
    let large: Rows = (0..100).map(|number| (key(number), Some(Bytes::from(vec![1; 32 * 1024])))).collect();
    crate::sync::faults::fill_below(folder.path(), true);
    assert!(matches!(journal.append(&large), Err(AppendError::Full)));
    // What needs no more room goes on.
    journal.append(&rows(2)).unwrap();
    crate::sync::faults::fill_below(folder.path(), false);
    journal.append(&large).unwrap();
    drop(journal);
    let (_, replay) = open(folder.path(), 2).unwrap();
    assert_eq!((replay.last, replay.rows), (3, large.into_iter().collect()));
}
