//! What a journal gives back after a crash in any place.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::record::{RECORDS, Salt};
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
    Journal::open(folder, FULL, durable, Held::Salted)
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
    let record = (end - RECORDS) / 3;
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
        let record = journal.files[journal.current].length() as usize / 5;
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[RECORDS + (damaged - 1) * record + at] ^= 1;
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
fn what_is_kept_of_one_damage_stays_beside_what_is_kept_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAMES[0]);
    for found in ["first", "second", "third"] {
        std::fs::write(&path, found).unwrap();
        Turn::open(path.clone(), false).unwrap().set_aside(0).unwrap();
    }
    let kept = || {
        let kept = set_aside(folder.path()).into_iter();
        kept.map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect::<Vec<_>>()
    };
    let expected =
        [("journal.0.damaged", "first"), ("journal.0.damaged.2", "second"), ("journal.0.damaged.3", "third")]
            .map(|(name, found)| (name.to_owned(), found.to_owned()));
    assert_eq!(kept(), expected);
    std::fs::remove_file(folder.path().join("journal.0.damaged")).unwrap();
    assert_eq!(kept(), expected[1..]);
}

#[test]
fn records_of_a_former_turn_are_not_taken_for_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    let settled = append(&mut journal, 10, 0);
    let former = journal.files[1 - journal.current].salt.unwrap();
    // Records of one size: behind the new ones in a file the old ones are whole.
    append(&mut journal, 5, settled);
    let last = journal.last();
    let current = &journal.files[journal.current];
    let behind = &std::fs::read(&current.path).unwrap()[current.end as usize..];
    let stale = former.record(behind).map(|(number, _)| number);
    assert!(stale.is_some_and(|number| number < last), "there is an old record behind the new: {stale:?}");
    let salt = current.salt.unwrap();
    assert!(salt != former && salt.record(behind).is_none(), "and it is none of this turn");
    let settled = journal.files[1 - journal.current].first().unwrap().unwrap() - 1;
    drop(journal);
    let (_, replay) = open(folder.path(), settled).unwrap();
    assert_eq!((replay.last, replay.rows), (last, left(settled + 1, last)));
}

/// A whole record of every number up to `through`, made with `salt`.
fn forged(salt: Salt, through: u64) -> Vec<u8> {
    let mut all = Vec::new();
    for number in 1..=through {
        let mut record = vec![0; HEAD];
        put_row(&mut record, &key(1000), Some(&Bytes::from_static(b"forged")));
        salt.seal(&mut record, number);
        all.extend(record);
    }
    all
}

#[test]
fn a_value_that_looks_like_records_is_never_taken_for_them_once_it_is_stale() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    // A turn is filled with what can be made by whoever knows the format, and the salts of turns that are over.
    let mut durable = append(&mut journal, 7, 0);
    let former = journal.files.iter().filter_map(|file| file.salt);
    let forged: Vec<u8> = [Salt::NONE].into_iter().chain(former).flat_map(|salt| forged(salt, 40)).collect();
    let value = Some(Bytes::from(forged));
    while !journal.is_full() {
        journal.append(&Rows::from([(key(2000), value.clone())])).unwrap();
    }
    durable = append(&mut journal, 7, durable);
    // In the next of that file, records of many sizes end anywhere in it.
    for length in 0..40 {
        let begun = journal.last();
        if journal.is_full() {
            break;
        }
        journal.append(&Rows::from([(key(begun + 1), Some(Bytes::from(vec![1; length])))])).unwrap();
        let (_, replay) = open(folder.path(), durable).unwrap();
        assert_eq!((replay.last, replay.lost), (begun + 1, 0), "after a value of {length} bytes");
        assert!(!replay.rows.contains_key(&key(1000)));
    }
    assert_eq!(set_aside(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_header_that_is_damaged_is_read_from_its_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    append(&mut journal, 3, 0);
    drop(journal);
    let path = folder.path().join(NAMES[0]);
    let whole = std::fs::read(&path).unwrap();
    for page in [0..RECORDS - 100, RECORDS - 24..RECORDS] {
        let mut bytes = whole.clone();
        bytes[page.clone()].fill(0x55);
        std::fs::write(&path, bytes).unwrap();
        let (_, replay) = open(folder.path(), 0).unwrap();
        assert_eq!((replay.last, replay.rows), (3, left(1, 3)), "bytes {page:?}");
    }
}

/// Makes the files in `folder` those of a host that drew no salt.
pub(crate) fn take_salt_out(folder: &Path) {
    for name in NAMES {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).unwrap();
        let Some(salt) = Salt::of_header(&bytes) else { continue };
        let mut unsalted = Vec::new();
        let put = |number, content: &[u8]| {
            let mut record = vec![0; HEAD];
            record.extend_from_slice(content);
            Salt::NONE.seal(&mut record, number);
            unsalted.extend(record);
            Ok(())
        };
        salt.read_records(&bytes, put).unwrap();
        unsalted.resize(bytes.len(), 0);
        std::fs::write(&path, unsalted).unwrap();
    }
}

#[test]
fn files_without_salt_are_read_where_there_may_be_any_and_get_it_as_they_take_turns() {
    for count in [1, 5, 7, 15] {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(folder.path(), 0).unwrap();
        let settled = append(&mut journal, count, 0);
        drop(journal);
        take_salt_out(folder.path());
        let unsalted = || Journal::open(folder.path(), FULL, settled, Held::Unsalted).unwrap();
        let (mut journal, replay) = unsalted();
        assert_eq!((replay.last, &replay.rows, replay.lost), (count, &left(settled + 1, count), 0));
        journal.append(&rows(count + 1)).unwrap();
        drop(journal);
        let (_, replay) = unsalted();
        assert_eq!((replay.last, replay.rows), (count + 1, left(settled + 1, count + 1)));
        // Once what they held has settled, they hold nothing.
        let (_, replay) = open(folder.path(), count).unwrap();
        assert_eq!((replay.last, replay.rows), (count + 1, left(count + 1, count + 1)));
    }
}

#[test]
fn what_is_missing_between_sled_and_the_journal_or_within_it_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(folder.path(), 0).unwrap();
    append(&mut journal, 15, 0);
    let older = &journal.files[1 - journal.current];
    let (first, older) = (older.first().unwrap().unwrap(), older.path.clone());
    drop(journal);
    let damage = |durable| {
        let error = open(folder.path(), durable).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(why) if why.contains("restore a backup")), "{error}");
    };
    open(folder.path(), first - 1).unwrap();
    // sled has lost rows that the journal has no more.
    damage(first - 2);
    // A byte in the middle of the older file.
    let file = OpenOptions::new().write(true).open(older).unwrap();
    file.write_all_at(&[0xff], RECORDS as u64 + FULL / 2).unwrap();
    damage(first - 1);
    // Nothing reads at all.
    for name in NAMES {
        std::fs::write(folder.path().join(name), b"").unwrap();
    }
    damage(first);
    open(folder.path(), 0).unwrap();
    Journal::open(folder.path(), FULL, first, Held::Nothing).unwrap();
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
