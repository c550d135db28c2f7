//! The embedded store against its promises.

use super::*;
use crate::migrate::Step;
use crate::{Precondition, Space, conformance};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &tempfile::TempDir) -> SledStore {
    SledStore::open(folder.path(), SledSettings::default()).unwrap()
}

fn key(number: u64) -> Key {
    Key::new(Space::Counter).number(number)
}

fn put(number: u64, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(key(number), value);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_store() {
    let folder = folder();
    conformance::all(Arc::new(open(&folder))).await;
    conformance::a_reopened_store_holds_what_was_committed(|| async { Arc::new(open(&folder)) as _ }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_a_store_whatever_the_size_of_a_group_and_of_the_journal() {
    for (group_batches, group_bytes, journal_bytes) in [(1, 1, 1), (3, 4096, 4096), (4096, 1 << 20, 20_000)] {
        let folder = folder();
        let settings = SledSettings { group_batches, group_bytes, journal_bytes, ..SledSettings::default() };
        let reopen = || SledStore::open(folder.path(), settings.clone()).unwrap();
        conformance::all(Arc::new(reopen())).await;
        if journal_bytes < 20_000 {
            continue;
        }
        conformance::a_reopened_store_holds_what_was_committed(|| async { Arc::new(reopen()) as _ }).await;
    }
}

/// A copy of the store, as a crash would leave it now.
fn crashed(folder: &tempfile::TempDir) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("blobs")).unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        if file.path().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sled_has_not_got_yet_is_read_back_from_the_journal() {
    let folder = folder();
    let store = open(&folder);
    store.commit(put(1, "first")).await.unwrap();
    store.commit(put(2, "second")).await.unwrap();
    let mut batch = Batch::new();
    batch.put(key(1), "changed").delete(key(2)).put(key(3), "third");
    store.commit(batch).await.unwrap();
    let copy = crashed(&folder);
    for _ in 0..2 {
        let store = open(&copy);
        assert_eq!(store.get(&key(1)).await.unwrap(), Some("changed".into()));
        assert_eq!(store.get(&key(2)).await.unwrap(), None);
        assert_eq!(store.get(&key(3)).await.unwrap(), Some("third".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_journal_is_gone_is_refused() {
    let folder = folder();
    let store = open(&folder);
    store.commit(put(1, "x")).await.unwrap();
    let crash = crashed(&folder);
    drop(store);
    for copy in [crash, crashed(&folder)] {
        let journal = copy.path().join("journal.1");
        let whole = std::fs::read(&journal).unwrap();
        std::fs::remove_file(&journal).unwrap();
        let error = SledStore::open(copy.path(), SledSettings::default()).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(why) if why.contains("journal.1")), "{error}");
        std::fs::write(&journal, whole).unwrap();
        assert_eq!(open(&copy).get(&key(1)).await.unwrap(), Some("x".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_was_cut_off_in_its_snapshot_leaves_the_store_as_it_was() {
    let folder = folder();
    let store = open(&folder);
    store.commit(put(1, "x")).await.unwrap();
    drop(store);
    let unfinished = folder.path().join("snap.FFFFFFFFFFFFFFF0.generating");
    for written in [0, 544] {
        std::fs::write(&unfinished, vec![1; written]).unwrap();
        assert_eq!(open(&folder).get(&key(1)).await.unwrap(), Some("x".into()));
        assert!(!unfinished.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_from_before_the_journal_gets_one_and_keeps_its_rows() {
    let folder = folder();
    let db = open_sled(folder.path(), 1 << 20).unwrap();
    let mut batch = put(1, "old");
    batch.put(migrate::version_key(), migrate::encode_version(1));
    commit_now(&db, batch).unwrap();
    openings::count(&db, folder.path()).unwrap();
    drop(db);
    let store = open(&folder);
    assert_eq!(store.get(&key(1)).await.unwrap(), Some("old".into()));
    store.commit(put(2, "new")).await.unwrap();
    drop(store);
    // A host that knows no journal must not open it any more.
    let error = version(&folder, &[migrate::MIGRATIONS[0]]).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 3, supported: 1 }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_journal_has_no_salt_opens_and_gets_one() {
    let folder = folder();
    let unsalted = &migrate::MIGRATIONS[..2];
    drop(version(&folder, unsalted).unwrap());
    let store = version(&folder, unsalted).unwrap();
    store.commit(put(1, "settled")).await.unwrap();
    drop(store);
    let store = version(&folder, unsalted).unwrap();
    store.commit(put(2, "in the journal")).await.unwrap();
    let crash = crashed(&folder);
    drop(store);
    for copy in [crash, crashed(&folder)] {
        journal::tests::take_salt_out(copy.path());
        for _ in 0..2 {
            let store = open(&copy);
            assert_eq!(store.get(&key(1)).await.unwrap(), Some("settled".into()));
            assert_eq!(store.get(&key(2)).await.unwrap(), Some("in the journal".into()));
            // A host that reads no salt must not open it any more.
            drop(store);
            let error = version(&copy, unsalted).unwrap_err();
            assert!(matches!(error, StoreError::Newer { found: 3, supported: 2 }), "{error}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_refuses_the_commit_and_takes_the_next_when_there_is() {
    let folder = folder();
    let store = open(&folder);
    store.commit(put(1, "x")).await.unwrap();
    crate::sync::faults::fill_below(folder.path(), true);
    let mut refused = None;
    for number in 0..100 {
        if let Err(error) = store.commit(put(number, vec![2; MAX_VALUE])).await {
            refused = Some((number, error));
            break;
        }
    }
    let (number, error) = refused.unwrap();
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert_eq!(store.get(&key(number)).await.unwrap(), None);
    crate::sync::faults::fill_below(folder.path(), false);
    store.commit(put(number, "room")).await.unwrap();
    drop(store);
    let store = open(&folder);
    assert_eq!(store.get(&key(number)).await.unwrap(), Some("room".into()));
    assert_eq!(store.get(&key(number + 1)).await.unwrap(), None);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn commits_that_come_one_by_one_take_a_sync_each_and_sled_none() {
    let folder = folder();
    let store = open(&folder);
    let log = || std::fs::read(folder.path().join("db")).unwrap();
    let before = log();
    for number in 0..20 {
        store.commit(put(number, "x")).await.unwrap();
        assert_eq!(store.health().syncs, number + 1);
    }
    assert_eq!(store.health().commits, 20);
    assert!(log() == before, "sled wrote on the path of a commit");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_closes_the_store_for_good() {
    let folder = folder();
    let store = open(&folder);
    store.commit(put(1, "durable")).await.unwrap();
    crate::sync::faults::break_below(folder.path());
    let error = store.commit(put(2, "unsure")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Failed(why) if why.contains("not known")), "{error}");
    for number in 3..6 {
        let error = store.commit(put(number, "never")).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    assert_eq!(store.health().refusing, Some(Refusal::Closed));
    assert_eq!(store.get(&key(1)).await.unwrap(), Some("durable".into()));
    assert_eq!(store.get(&key(3)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_durable_and_cannot_be_shown_is_not_told_as_one_that_was_not_written() {
    use std::os::unix::fs::FileExt as _;
    let folder = folder();
    let store = open(&folder);
    for begin in (0..2000).step_by(100) {
        let mut batch = Batch::new();
        for number in begin..begin + 100 {
            batch.put(key(number), vec![1; 1000]);
        }
        store.commit(batch).await.unwrap();
    }
    drop(store);
    let store = open(&folder);
    // What sled has not in memory does not read any more, for a while.
    let log = std::fs::OpenOptions::new().read(true).write(true).open(folder.path().join("db")).unwrap();
    let whole = std::fs::read(folder.path().join("db")).unwrap();
    log.write_all_at(&vec![0x55; whole.len()], 0).unwrap();
    let mut delete = Batch::new();
    delete.delete(key(1500));
    let error = store.commit(delete).await.unwrap_err();
    log.write_all_at(&whole, 0).unwrap();
    assert!(matches!(&error, StoreError::Failed(why) if why.contains("not known")), "{error}");
    assert_eq!(store.health().refusing, Some(Refusal::Closed));
    drop(store);
    assert_eq!(open(&folder).get(&key(1500)).await.unwrap(), None, "it was written");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_fails_closes_the_store_and_loses_nothing() {
    let folder = folder();
    let settings = SledSettings { journal_bytes: 4096, ..SledSettings::default() };
    // Once closed properly: the record of that is in one of the files.
    let store = SledStore::open(folder.path(), settings.clone()).unwrap();
    store.commit(put(1000, "x")).await.unwrap();
    drop(store);
    let store = SledStore::open(folder.path(), settings).unwrap();
    crate::sync::faults::break_below(&folder.path().join("db"));
    let mut acknowledged = 0;
    while store.commit(put(acknowledged, vec![1; 1000])).await.is_ok() {
        acknowledged += 1;
    }
    assert!(acknowledged > 4, "the journal's first file alone takes more than {acknowledged}");
    assert_eq!(store.health().refusing, Some(Refusal::Closed));
    let copy = crashed(&folder);
    for store in [store, open(&copy)] {
        for number in 0..acknowledged {
            assert!(store.get(&key(number)).await.unwrap().is_some(), "{number} of {acknowledged}");
        }
    }
}

#[test]
fn a_second_opening_is_refused_and_names_the_process_and_the_folder() {
    let folder = folder();
    let store = open(&folder);
    let error = SledStore::open(folder.path(), SledSettings::default()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, StoreError::InUse { .. }), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
    drop(store);
    open(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_its_log_is_not_taken_for_a_new_or_an_older_one() {
    let folder = folder();
    drop(open(&folder));
    // The log of the first opening, put back later: what a disk does that forgets synced writes.
    let stale = std::fs::read(folder.path().join("db")).unwrap();
    for number in 0..3 {
        let store = open(&folder);
        store.commit(put(number, "x")).await.unwrap();
    }
    let snapshots = || {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        files
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snap."))
            .collect::<Vec<_>>()
    };
    for log in [&stale[..], b""] {
        snapshots().iter().for_each(|snapshot| std::fs::remove_file(snapshot).unwrap());
        std::fs::write(folder.path().join("db"), log).unwrap();
        let error = SledStore::open(folder.path(), SledSettings::default()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
    }
}

fn version(folder: &tempfile::TempDir, migrations: &[Migration]) -> Result<SledStore, StoreError> {
    SledStore::open_with(folder.path(), SledSettings::default(), migrations)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_is_migrated_step_by_step_and_a_newer_one_refused() {
    const FIRST: Migration = migrate::MIGRATIONS[0];
    // Copies row 1 to row 2.
    const SECOND: Migration = |tree| {
        let value = view::read(tree, &key(1))?.unwrap_or_default();
        Ok(Step::Last(put(2, value)))
    };
    // Appends to row 2 in several batches, repeatably: it looks at what is there.
    const THIRD: Migration = |tree| {
        let mut value = view::read(tree, &key(2))?.unwrap_or_default().to_vec();
        let done = value.len() >= 6;
        value.push(b'+');
        Ok(if done { Step::Last(Batch::new()) } else { Step::More(put(2, value)) })
    };
    let folder = folder();
    let store = version(&folder, &[FIRST]).unwrap();
    store.commit(put(1, "one")).await.unwrap();
    drop(store);
    let store = version(&folder, &[FIRST, SECOND, THIRD]).unwrap();
    assert_eq!(store.get(&key(2)).await.unwrap(), Some("one+++".into()));
    store.commit(put(2, "changed")).await.unwrap();
    drop(store);
    // A step is not taken twice.
    let store = version(&folder, &[FIRST, SECOND, THIRD]).unwrap();
    assert_eq!(store.get(&key(2)).await.unwrap(), Some("changed".into()));
    drop(store);
    let error = version(&folder, &[FIRST, SECOND]).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 3, supported: 2 }), "{error}");
    version(&folder, &[FIRST, SECOND, THIRD]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_leaves_the_version_where_it_was() {
    const FAILING: Migration = |_| Err(StoreError::Damaged("row 1 does not read".to_owned()));
    let folder = folder();
    drop(open(&folder));
    assert!(version(&folder, &[migrate::MIGRATIONS, &[FAILING]].concat()).is_err());
    open(&folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_refused_and_does_not_take_the_process_down() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..2000 {
        if number % 100 == 0 {
            let mut batch = Batch::new();
            for number in number..number + 100 {
                batch.put(key(number), vec![1; 1000]);
            }
            store.commit(batch).await.unwrap();
        }
    }
    drop(store);
    // The settings sled keeps, its snapshot, and its log: whichever is damaged, opening is an error or what reads is
    // what some of the commits left, in order. (A log damaged since the last opening looks like one torn by a crash.)
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() || matches!(&name[..], "lock" | "openings") {
            continue;
        }
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        for byte in &mut damaged[middle..] {
            *byte ^= 0x55;
        }
        let copy = crashed(&folder);
        std::fs::write(copy.path().join(&name), damaged).unwrap();
        match SledStore::open(copy.path(), SledSettings::default()) {
            Err(error) => {
                assert!(matches!(error, StoreError::Damaged(_) | StoreError::Failed(_)), "{name}: {error}");
            }
            Ok(store) => {
                let rows = store.scan(Key::new(Space::Counter).prefix(), Direction::Forward, 3000).await;
                match rows {
                    Ok(rows) => {
                        assert_eq!(rows.len() % 100, 0, "{name}: half a batch");
                        let expected = (0..).map(key).zip(std::iter::repeat(Bytes::from(vec![1; 1000])));
                        assert!(rows.iter().cloned().eq(expected.take(rows.len())), "{name}");
                    }
                    Err(error) => assert!(matches!(error, StoreError::Damaged(_)), "{name}: {error}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_stop_before_the_disk_is_full_and_go_on_when_there_is_room() {
    let folder = folder();
    let free = Arc::new(AtomicU64::new(1000));
    let settings = SledSettings {
        watermark_bytes: 500,
        watermark_interval: Duration::ZERO,
        free_space: FreeSpace::new({
            let free = free.clone();
            move |_| Ok(free.load(Ordering::SeqCst))
        }),
        ..SledSettings::default()
    };
    let store = SledStore::open(folder.path(), settings).unwrap();
    store.commit(put(1, "x")).await.unwrap();
    assert_eq!(store.health().refusing, None);

    free.store(499, Ordering::SeqCst);
    assert_eq!(store.health().refusing, Some(Refusal::DiskFull));
    assert_eq!(store.health().free_bytes, Some(499));
    let mut mixed = Batch::new();
    mixed.delete(key(1)).put(key(2), "x");
    for batch in [put(2, "x"), mixed] {
        let error = store.commit(batch).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { free: 499, needed: 500 }), "{error}");
    }
    assert!(store.get(&key(1)).await.unwrap().is_some());
    let mut delete = Batch::new();
    delete.require(key(1), Precondition::ValueIs("x".into())).delete(key(1));
    store.commit(delete).await.unwrap();
    assert_eq!(store.get(&key(1)).await.unwrap(), None);
    let mut freeing = Batch::new();
    freeing.delete(key(3)).put(key(4), "gone").frees();
    store.commit(freeing.clone()).await.unwrap();
    let joined = store.commit(put(2, "x").append(freeing).clone()).await;
    assert!(matches!(joined, Err(StoreError::DiskFull { .. })), "what is joined to it is not freed by it");

    free.store(500, Ordering::SeqCst);
    assert_eq!(store.health().refusing, None);
    store.commit(put(2, "x")).await.unwrap();
    assert!(store.health().disk_bytes.unwrap() > 0);
}

#[test]
fn the_system_says_how_much_is_free() {
    let folder = folder();
    assert!(open(&folder).health().free_bytes.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_was_accepted() {
    let folder = folder();
    let store = Arc::new(open(&folder));
    let commits: Vec<_> = (0..500)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { (number, store.commit(put(number, "x")).await) })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close();
    let mut outcomes = Vec::new();
    for commit in commits {
        outcomes.push(commit.await.unwrap());
    }
    let error = store.commit(put(1000, "x")).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(store.health().refusing, Some(Refusal::Closed));
    drop(store);
    let store = open(&folder);
    for (number, outcome) in outcomes {
        let there = store.get(&key(number)).await.unwrap().is_some();
        match outcome {
            Ok(_) => assert!(there, "{number} was acknowledged"),
            Err(StoreError::Unavailable(_)) => assert!(!there, "{number} was refused"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_nobody_waits_for_any_more_gives_its_place_back() {
    let folder = folder();
    let settings = SledSettings { queue_bytes: 0, ..SledSettings::default() };
    let store = Arc::new(SledStore::open(folder.path(), settings).unwrap());
    let whole = store.shared.queue.available_permits();
    for round in 0..50_u64 {
        let commit = tokio::spawn({
            let store = store.clone();
            async move { store.commit(put(round, vec![1; MAX_VALUE])).await }
        });
        tokio::task::yield_now().await;
        commit.abort();
        let _ = commit.await;
    }
    store.commit(put(1000, "x")).await.unwrap();
    // A commit that is answered returns its share just after; the writer's end is the last of it.
    store.close();
    assert_eq!(store.shared.queue.available_permits(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_values_never_become_blob_files() {
    let folder = folder();
    let store = open(&folder);
    // Leaves full of the largest rows, rewritten, split by more rows in between, and merged by deletes: whatever
    // sled does with a leaf, it stays one message of the log.
    let long = |number: u64| key(number).fixed(&vec![1; MAX_KEY - 9]);
    for (round, step) in [(0, 2), (1, 2), (2, 1), (3, 1)] {
        for number in (0..200_u64).step_by(step) {
            let mut batch = Batch::new();
            batch.put(long(number), vec![round; MAX_VALUE]);
            store.commit(batch).await.unwrap();
        }
    }
    for number in 0..200_u64 {
        if number % 5 != 0 {
            let mut batch = Batch::new();
            batch.delete(long(number)).put(long(number / 5 * 5), vec![9; MAX_VALUE]);
            store.commit(batch).await.unwrap();
        }
    }
    let blobs = std::fs::read_dir(folder.path().join("blobs")).unwrap().count();
    assert_eq!(blobs, 0, "blob files are never synced");
    drop(store);
    let store = open(&folder);
    let rows = store.scan(Key::new(Space::Counter).prefix(), Direction::Forward, 300).await.unwrap();
    assert_eq!(rows.len(), 40);
    assert!(rows.iter().all(|(_, value)| value[..] == vec![9; MAX_VALUE][..]));
}
