//! Backups taken under load come back as the store was, and damaged ones do not come back at all.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::migrate;
use crate::restore::{Inspected, RESTORING, Restored, inspect};
use crate::{Batch, Loose, SledSettings, Space, Store};

/// Whatever rows it has.
fn restore(reader: impl io::Read, into: &Path) -> Result<Restored, StoreError> {
    crate::restore(reader, into, |_| Ok(()))
}

async fn take(store: &SledStore, objects: &Objects) -> Result<Vec<u8>, StoreError> {
    let mut parts = backup(store, objects, Vec::new(), |_, _| None);
    let mut whole = Vec::new();
    while let Some(part) = parts.recv().await {
        whole.extend_from_slice(&part?);
    }
    Ok(whole)
}

fn row(pair: u64, side: u64) -> Key {
    Key::new(Space::Counter).number(side).number(pair)
}

/// Both rows of a pair always hold the same number, and so does their sum with its like.
fn write_pair(pair: u64, number: u64) -> Batch {
    let mut batch = Batch::new();
    // Far apart, so that a page of the scan holds only one of them.
    batch.put(row(pair, 0), number.to_string()).put(row(pair, u64::MAX), number.to_string());
    if number.is_multiple_of(3) {
        batch.delete(row(pair, 7));
    } else {
        batch.put(row(pair, 7), vec![7; 300]);
    }
    batch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_taken_while_writing_holds_no_batch_by_half_and_every_one_of_before() {
    const PAIRS: u64 = 3000;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(&folder.path().join("store"), SledSettings::default()).unwrap());
    let objects = Objects::open(&folder.path().join("components")).unwrap();
    let digest = objects.put(&vec![5; 3 * FRAME + 1]).unwrap();
    objects.put(b"").unwrap();
    for pair in 0..PAIRS {
        if pair % 100 == 0 {
            let mut batch = Batch::new();
            for pair in pair..pair + 100 {
                batch.append(write_pair(pair, 1));
            }
            store.commit(batch).await.unwrap();
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (store, stop) = (store.clone(), stop.clone());
            tokio::spawn(async move {
                let mut number = 2;
                while !stop.load(Ordering::SeqCst) {
                    store.commit(write_pair((number * 8 + writer) % PAIRS, number)).await.unwrap();
                    number += 1;
                }
                number
            })
        })
        .collect();
    for round in 0..5 {
        // What is acknowledged before the backup begins is in it.
        let marker = Key::new(Space::Meta).text("marker");
        let mut batch = Batch::new();
        batch.put(marker.clone(), round.to_string());
        store.commit(batch).await.unwrap();
        let whole = take(&store, &objects).await.unwrap();
        let into = folder.path().join(format!("restored-{round}"));
        let restored = restore(&whole[..], &into).unwrap();
        assert_eq!(restored.objects, 2);
        let copy = SledStore::open(&into.join("store"), SledSettings::default()).unwrap();
        assert_eq!(copy.get(&marker).await.unwrap(), Some(round.to_string().into()));
        for pair in 0..PAIRS {
            let left = copy.get(&row(pair, 0)).await.unwrap().unwrap();
            assert_eq!(copy.get(&row(pair, u64::MAX)).await.unwrap().as_ref(), Some(&left), "pair {pair}");
            let number: u64 = std::str::from_utf8(&left).unwrap().parse().unwrap();
            assert_eq!(
                copy.get(&row(pair, 7)).await.unwrap().is_some(),
                !number.is_multiple_of(3),
                "pair {pair}"
            );
        }
        let copied = Objects::open(&into.join("components")).unwrap();
        assert_eq!(copied.get(&digest).unwrap().map(|bytes| bytes.len()), Some(3 * FRAME + 1));
    }
    stop.store(true, Ordering::SeqCst);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    assert!(written > 16, "nothing was written meanwhile");
}

async fn small_backup(folder: &Path) -> Vec<u8> {
    let store = SledStore::open(&folder.join("store"), SledSettings::default()).unwrap();
    let objects = Objects::open(&folder.join("components")).unwrap();
    objects.put(b"an object").unwrap();
    store.commit(write_pair(1, 1)).await.unwrap();
    take(&store, &objects).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cut_short_or_damaged_anywhere_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small_backup(folder.path()).await;
    let into = folder.path().join("restored");
    let refused = |bytes: &[u8], what: &str| {
        let error = restore(bytes, &into).expect_err(what);
        assert!(matches!(error, StoreError::Backup(_) | StoreError::Newer { .. }), "{what}: {error}");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "{what}");
        assert!(inspect(bytes).is_err(), "{what}");
    };
    for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        refused(&whole[..length], &format!("cut at {length}"));
    }
    for at in (0..whole.len()).step_by(5) {
        // zstd's own frame header has bits that mean nothing to what is read.
        if (MAGIC.len() + 1..MAGIC.len() + 7).contains(&at) {
            continue;
        }
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        refused(&damaged, &format!("damaged at {at}"));
    }
    let mut longer = whole.clone();
    longer.extend_from_slice(b"more");
    refused(&longer, "something behind the end");
    assert_eq!(restore(&whole[..], &into).unwrap().objects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_lost_is_left_out_and_the_backup_finishes_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(&folder.path().join("store"), SledSettings::default()).unwrap();
    let objects = Objects::open(&folder.path().join("components")).unwrap();
    let [whole, known, unknown, missing] =
        [b"whole", b"known", b"other", b"never"].map(|bytes| Digest::of(bytes));
    for bytes in [b"whole", b"known", b"other"] {
        objects.put(bytes).unwrap();
    }
    let fine = take(&store, &objects).await.unwrap();
    assert_eq!(inspect(&fine[..]).unwrap(), Inspected { left_out: Vec::new(), failed: None });
    for damaged in [known, unknown] {
        fs::write(objects.path(&damaged), b"otherwise").unwrap();
    }
    let gone = LeftOut { digest: missing, why: "the samples of May are missing".to_owned() };
    let back = LeftOut { digest: whole, why: "missing, before it was put back".to_owned() };
    let mut parts = backup(&store, &objects, vec![gone.clone(), back], move |digest, how| {
        let why = format!("the logs of May: {how}");
        (*digest == known).then_some(LeftOut { digest: *digest, why })
    });
    let mut received = Vec::new();
    while let Some(part) = parts.recv().await {
        received.extend_from_slice(&part.unwrap());
    }
    let Inspected { mut left_out, failed } = inspect(&received[..]).unwrap();
    let restored = restore(&received[..], &folder.path().join("restored")).unwrap();
    assert_eq!((restored.objects, &restored.left_out, failed), (1, &left_out, None));
    assert_eq!(left_out.pop(), Some(gone));
    assert_eq!(left_out.len(), 2);
    for LeftOut { digest, why } in left_out {
        let path = objects.path(&digest);
        assert!(why.contains(&format!("{} has the digest", path.display())), "{why}");
        assert_eq!(why.starts_with("the logs of May: "), digest == known, "{why}");
    }
    let copied = Objects::open(&folder.path().join("restored/components")).unwrap();
    assert_eq!(copied.list().unwrap(), [whole]);
}

#[test]
fn what_is_no_backup_is_told_from_one_that_was_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, told) in [
        (&b""[..], "no backup"),
        (b"notes", "no backup"),
        (b"a text that is longer than what a backup begins with", "no backup"),
        (b"bell", "cut short"),
        (MAGIC, "cut short"),
    ] {
        let error = restore(bytes, folder.path()).unwrap_err().to_string();
        assert!(error.contains(told), "{bytes:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_made_is_its_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let whole = small_backup(folder.path()).await;
    let into = folder.path().join("restored");
    restore(&whole[..], &into).unwrap();
    assert_eq!(fs::metadata(&into).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_empty_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small_backup(folder.path()).await;
    let into = folder.path().join("mine");
    fs::create_dir(&into).unwrap();
    fs::write(into.join("file"), b"x").unwrap();
    assert!(matches!(restore(&whole[..], &into), Err(StoreError::Backup(_))));
    assert_eq!(fs::read_dir(&into).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_a_host_key_alone_is_restored_to_and_one_with_a_store_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small_backup(folder.path()).await;
    let into = folder.path().join("restored");
    fs::create_dir_all(into.join("lost+found")).unwrap();
    fs::write(into.join("host.key"), "kept").unwrap();
    restore(&whole[..], &into).unwrap();
    assert_eq!(fs::read(into.join("host.key")).unwrap(), b"kept");
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&into), ["components", "host.key", "lost+found", "store"]);
    let error = restore(&whole[..], &into).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(names(&into), ["components", "host.key", "lost+found", "store"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_off_is_begun_again_and_one_under_way_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small_backup(folder.path()).await;
    let into = folder.path().join("restored");
    // Killed while it read, and while it put into place.
    for left in ["restoring/store/db", "components/other"] {
        let left = into.join(left);
        fs::create_dir_all(into.join(RESTORING)).unwrap();
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::write(left, "half").unwrap();
        assert_eq!(restore(&whole[..], &into).unwrap().objects, 1);
        assert!(!into.join(RESTORING).exists() && !into.join("components/other").exists());
        fs::remove_dir_all(&into).unwrap();
    }
    fs::create_dir_all(into.join(RESTORING)).unwrap();
    let under_way = crate::lock::FolderLock::take(&into.join(RESTORING)).unwrap();
    assert!(matches!(restore(&whole[..], &into), Err(StoreError::InUse { .. })));
    assert!(into.join(RESTORING).exists());
    drop(under_way);
    // Without what a restore leaves, they are somebody's.
    fs::remove_dir_all(into.join(RESTORING)).unwrap();
    fs::create_dir(into.join("components")).unwrap();
    assert!(matches!(restore(&whole[..], &into), Err(StoreError::Backup(_))));
    assert!(into.join("components").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_nothing_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let whole = small_backup(folder.path()).await;
    let into = folder.path().join("restored");
    let refused = crate::restore(&whole[..], &into, |read| {
        assert_eq!(read(&row(1, 0)).unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(read(&row(2, 0)).unwrap(), None);
        Err(StoreError::Backup("another host's".to_owned()))
    });
    assert!(matches!(refused, Err(StoreError::Backup(why)) if why == "another host's"));
    assert_eq!(fs::read_dir(&into).unwrap().count(), 0);
}

/// Does not compress, so the parts fill up.
fn noise(number: u64) -> Vec<u8> {
    let mut value = Vec::new();
    for block in 0..crate::MAX_VALUE as u64 / 32 {
        value.extend_from_slice(Digest::of(&number.wrapping_add(block << 32).to_le_bytes()).as_bytes());
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_stops_taking_parts_and_does_not_close_ends_the_backup_and_gives_the_objects_free() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(&folder.path().join("store"), SledSettings::default()).unwrap();
    let objects = Objects::open(&folder.path().join("components")).unwrap();
    let digest = objects.put(&(0..128).flat_map(noise).collect::<Vec<_>>()).unwrap();
    let mut parts = backup_with(&store, &objects, Vec::new(), |_, _| None, Duration::ZERO);
    // All the places for parts are taken, and then that of the error.
    while parts.len() <= PARTS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(objects.remove(&digest).unwrap(), "nothing holds it any more");
    let mut received = Vec::new();
    let error = loop {
        match parts.recv().await.unwrap() {
            Ok(part) => received.extend_from_slice(&part),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("nobody took a part"), "{error}");
    assert!(restore(&received[..], &folder.path().join("restored")).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restored_backup_holds_no_object_that_nothing_refers_to_once_it_was_opened() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(&folder.path().join("store"), SledSettings::default()).unwrap());
    let objects = Objects::open(&folder.path().join("components")).unwrap();
    let loose = |store: &Arc<SledStore>, objects: &Objects| {
        let all = Key::new(Space::RecordLoose).number(1);
        Loose::new(Arc::clone(store) as _, objects.clone(), all)
    };
    let names = |digest: &Digest| Key::new(Space::Counter).fixed(digest.as_bytes());
    let stop = Arc::new(AtomicBool::new(false));
    let owners: Vec<_> = (0..4_u64)
        .map(|owner| {
            let (loose, stop) = (loose(&store, &objects), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut before = None;
                for number in 0_u64.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let bytes = [owner, number].map(u64::to_le_bytes).concat();
                    let digest = Digest::of(&bytes);
                    loose.put(vec![(digest, bytes)]).await.unwrap();
                    let old = Vec::from_iter(before.replace(digest));
                    let mut batch = Batch::new();
                    batch.put(names(&digest), "");
                    for old in &old {
                        batch.delete(names(old));
                    }
                    loose.swap(batch, vec![digest], &old).await.unwrap();
                    loose.remove(old).await.unwrap();
                }
            })
        })
        .collect();
    for round in 0..20 {
        let whole = take(&store, &objects).await.unwrap();
        let into = folder.path().join(format!("restored-{round}"));
        restore(&whole[..], &into).unwrap();
        let copy = Arc::new(SledStore::open(&into.join("store"), SledSettings::default()).unwrap());
        let copied = Objects::open(&into.join("components")).unwrap();
        let rows = copy.scan(Key::new(Space::Counter).prefix(), Direction::Forward, 99).await.unwrap();
        let named = rows.iter().map(|(key, _)| key.fields().fixed(32).unwrap().try_into().unwrap());
        let named: Vec<Digest> = named.map(Digest::from_bytes).collect();
        loose(&copy, &copied).clear(|digest| named.contains(digest)).await.unwrap();
        assert_eq!(copied.list().unwrap(), named, "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    for owner in owners {
        owner.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_too_slow_fails_the_backup_and_not_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(&folder.path().join("store"), SledSettings::default()).unwrap();
    let objects = Objects::open(&folder.path().join("components")).unwrap();
    let fill = async |from: u64, bytes: usize| {
        let mut number = from;
        let mut written = 0;
        while written < bytes {
            let mut batch = Batch::new();
            for _ in 0..64 {
                batch.put(row(number, 1), noise(number));
                number += 1;
            }
            written += 64 * crate::MAX_VALUE;
            store.commit(batch).await.unwrap();
        }
    };
    fill(0, 4 * PART * PARTS).await;
    let mut parts = backup(&store, &objects, Vec::new(), |_, _| None);
    // The tee is there as soon as the first part is.
    let first = parts.recv().await.unwrap();
    assert!(first.is_ok());
    fill(1_000_000, BACKLOG + 4 * 1024 * 1024).await;
    let (mut last, mut received) = (first, Vec::new());
    loop {
        received.extend_from_slice(last.as_ref().unwrap());
        last = parts.recv().await.unwrap();
        if last.is_err() {
            break;
        }
    }
    assert!(matches!(last, Err(StoreError::Unavailable(why)) if why.contains("slow")), "{last:?}");
    // What was received says why it is no backup, to whoever is told no more than that it broke off.
    let failed = inspect(&received[..]).unwrap().failed.unwrap();
    assert!(failed.contains("slow"), "{failed}");
    let refused = restore(&received[..], &folder.path().join("restored")).unwrap_err().to_string();
    assert!(refused.contains(&failed), "{refused}");
    store.commit(write_pair(1, 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_newer_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(&folder.path().join("store"), SledSettings::default()).unwrap();
    let objects = Objects::open(&folder.path().join("components")).unwrap();
    let mut batch = Batch::new();
    batch.put(migrate::version_key(), migrate::encode_version(migrate::VERSION + 1));
    store.commit(batch).await.unwrap();
    let whole = take(&store, &objects).await.unwrap();
    let error = restore(&whole[..], &folder.path().join("restored")).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
}
