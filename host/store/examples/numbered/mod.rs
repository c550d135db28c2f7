//! Numbered writes that prove themselves: after a crash one can tell from the store alone, and the numbers that were
//! acknowledged, whether anything is missing, torn or out of order.
//!
//! Every writer `w` counts its batches from 0. Batch `n` puts a payload that only `(w, n)` has into slot `n % SLOTS`,
//! sets the writer's last number to `n`, adds 1 to a total all writers share and, now and then, deletes the oldest
//! slot. So what a store must hold follows from the last numbers in it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bellwether_store::{Batch, Key, MAX_VALUE, MergeError, SledSettings, SledStore, Space, Store};

/// Slots a writer goes round in: few, so that the log's segments are soon used again.
const SLOTS: u64 = 48;
/// Every so many batches the slot before the oldest is deleted.
const DELETES: u64 = 5;

/// Opens the store as a host does, but with a journal of the size `BELLWETHER_JOURNAL_BYTES` says, if it is set: a
/// small one has a checkpoint under way most of the time.
pub(crate) fn open(folder: &Path) -> SledStore {
    let mut settings = SledSettings::default();
    if let Ok(bytes) = std::env::var("BELLWETHER_JOURNAL_BYTES") {
        settings.journal_bytes = bytes.parse().expect("BELLWETHER_JOURNAL_BYTES is a number");
    }
    SledStore::open(folder, settings).unwrap_or_else(|error| panic!("{error}"))
}

fn slot(writer: u64, slot: u64) -> Key {
    Key::new(Space::Counter).number(1).number(writer).number(slot)
}

fn last(writer: u64) -> Key {
    Key::new(Space::Counter).number(2).number(writer)
}

fn total() -> Key {
    Key::new(Space::Counter).number(3)
}

/// Bytes that only batch `number` of `writer` puts; every 16th batch is of the largest size there is.
fn payload(writer: u64, number: u64) -> Vec<u8> {
    let length = match number % 16 {
        0 => MAX_VALUE,
        rest => (rest * 97) as usize,
    };
    let mut state = writer << 40 ^ number ^ 0x9e37_79b9_7f4a_7c15;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("a number has eight bytes"))
}

fn add(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    Ok((existing.map_or(0, number) + number(operand)).to_be_bytes().to_vec())
}

/// The slot that batch `n` deletes, if it deletes one.
fn deleted_by(n: u64) -> Option<u64> {
    (n.is_multiple_of(DELETES) && n >= SLOTS / 2).then(|| (n - SLOTS / 2) % SLOTS)
}

/// Writes until the process ends, from `writers` tasks, and prints `<writer> <number>` for every acknowledgement.
pub(crate) async fn write(folder: &Path, writers: u64) {
    let store = Arc::new(open(folder));
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let before = store.get(&last(writer)).await.expect("the last number reads");
                for n in before.map_or(0, |bytes| number(&bytes) + 1).. {
                    let mut batch = Batch::new();
                    batch.put(slot(writer, n % SLOTS), payload(writer, n));
                    batch.put(last(writer), n.to_be_bytes().to_vec());
                    batch.merge(total(), 1_u64.to_be_bytes().to_vec(), add);
                    if let Some(deleted) = deleted_by(n) {
                        batch.delete(slot(writer, deleted));
                    }
                    store.commit(batch).await.unwrap_or_else(|error| panic!("{error}"));
                    // One write, past every buffer of this process: it is there when the next instruction is not.
                    let line = format!("{writer} {n}\n");
                    std::io::stdout().write_all(line.as_bytes()).expect("acknowledgements can be printed");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer never ends");
    }
}

/// The highest number of each writer in printed acknowledgements. A last line that was cut off says nothing.
pub(crate) fn acknowledged(printed: &str) -> BTreeMap<u64, u64> {
    let mut highest: BTreeMap<u64, u64> = BTreeMap::new();
    for line in printed.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (writer, n) = line.split_once(' ').expect("an acknowledgement is two numbers");
        let (writer, n) = (writer.parse().expect("a writer"), n.parse().expect("a number"));
        let held = highest.entry(writer).or_insert(n);
        *held = n.max(*held);
    }
    highest
}

/// What is wrong with the store in `folder` after `acknowledged` came out of it: empty if nothing is.
pub(crate) async fn check(folder: &Path, writers: u64, acknowledged: &BTreeMap<u64, u64>) -> Vec<String> {
    let store = open(folder);
    let mut wrong = Vec::new();
    let mut batches = 0;
    for writer in 0..writers {
        let held = store.get(&last(writer)).await.expect("the last number reads").map(|bytes| number(&bytes));
        if let Some(promised) = acknowledged.get(&writer)
            && held < Some(*promised)
        {
            wrong.push(format!("writer {writer}: {promised} was acknowledged, the store ends at {held:?}"));
        }
        let Some(held) = held else { continue };
        batches += held + 1;
        let mut expected = BTreeMap::new();
        for n in held.saturating_sub(2 * SLOTS)..=held {
            expected.insert(n % SLOTS, n);
            if let Some(deleted) = deleted_by(n) {
                expected.remove(&deleted);
            }
        }
        for at in 0..SLOTS {
            let value = store.get(&slot(writer, at)).await.expect("a slot reads");
            let promised = expected.get(&at).map(|n| payload(writer, *n));
            if value.as_deref() != promised.as_deref() {
                let there = value.map(|value| value.len());
                wrong.push(format!(
                    "writer {writer} at {held}, slot {at}: batch {:?} expected, {there:?} bytes of another are there",
                    expected.get(&at)
                ));
            }
        }
    }
    let sum = store.get(&total()).await.expect("the total reads").map_or(0, |bytes| number(&bytes));
    if sum != batches {
        wrong.push(format!("{batches} batches are there and the total says {sum}"));
    }
    wrong
}
