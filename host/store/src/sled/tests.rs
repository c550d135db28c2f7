//! The embedded store against its promises.

use super::*;
use crate::migrate::Step;
use crate::{Precondition, conformance};

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
async fn it_is_a_store_whatever_the_size_of_a_group() {
    for (group_batches, group_bytes) in [(1, 1), (3, 4096)] {
        let folder = folder();
        let settings = SledSettings { group_batches, group_bytes, ..SledSettings::default() };
        conformance::all(Arc::new(SledStore::open(folder.path(), settings).unwrap())).await;
    }
}
