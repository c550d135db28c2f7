//! What every store must do. A backend's tests run [`all`] over it.
//!
//! Every check takes an open store and works on rows of its own, so that one store may go through all of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bellwether_kernel::{Randomness, SeededRandomness};
use bytes::Bytes;

use crate::{
    Batch, Direction, Key, MAX_BATCH, MAX_KEY, MAX_VALUE, MergeError, Merged, Precondition, Row, SharedStore,
    Space, StoreError,
};

/// Runs every check.
///
/// # Panics
/// If the store does not keep one of the promises.
pub async fn all(store: SharedStore) {
    a_batch_is_all_or_nothing(&store).await;
    preconditions_see_the_batches_before(&store).await;
    one_of_many_creators_wins(&store).await;
    concurrent_merges_lose_nothing(&store).await;
    a_merge_sees_its_own_batch(&store).await;
    a_derived_row_holds_what_the_merges_made(&store).await;
    scans_go_both_ways_in_pages(&store).await;
    sizes_are_limited(&store).await;
    random_batches_agree_with_a_model(&store, 1..=40).await;
}

/// A key that only the check `name` uses.
fn key(name: &str, number: u64) -> Key {
    Key::new(Space::Counter).text(name).number(number)
}

/// Adds two numbers of eight bytes.
fn add(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes);
    let (Ok(sum), Ok(more)) = (existing.map_or(Ok(0), number), number(operand)) else {
        return Err(MergeError("not a number".to_owned()));
    };
    Ok((sum + more).to_be_bytes().to_vec())
}

async fn get(store: &SharedStore, key: &Key) -> Option<Bytes> {
    store.get(key).await.expect("a get is answered")
}

async fn put(store: &SharedStore, key: Key, value: impl Into<Bytes>) {
    let mut batch = Batch::new();
    batch.put(key, value);
    store.commit(batch).await.expect("a put is taken");
}

/// A row under the number that the first merge counted up to, with what the second left and found.
fn counted(key: Key, merged: &[Merged], operand: &[u8]) -> Result<Row, MergeError> {
    let [number, sum] = merged else { return Err(MergeError("two merges come first".to_owned())) };
    let number = number.after[..].try_into().map(u64::from_be_bytes);
    let number = number.map_err(|_| MergeError("not a number".to_owned()))?;
    let before = sum.before.as_deref().unwrap_or(&[0; 8]);
    Ok((key.number(number), [before, &sum.after[..], operand].concat().into()))
}

/// Rows that batches derive at the same time are numbered without a gap, in the order the merges happened.
pub async fn a_derived_row_holds_what_the_merges_made(store: &SharedStore) {
    let (counter, sum, log) = (key("derived", 1), key("derived", 2), key("derived log", 0));
    let writers: Vec<_> = (1..=100_u64)
        .map(|more| {
            let (store, counter, sum, log) = (store.clone(), counter.clone(), sum.clone(), log.clone());
            tokio::spawn(async move {
                let mut batch = Batch::new();
                batch.merge(counter, 1_u64.to_be_bytes().to_vec(), add);
                batch.merge(sum, more.to_be_bytes().to_vec(), add);
                batch.derive(log, more.to_be_bytes().to_vec(), counted);
                store.commit(batch).await.expect("the batch is taken")
            })
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.await.expect("a writer ends").merged.len(), 2, "a derived row is no merge");
    }
    let rows = store.scan(log.prefix(), Direction::Forward, 1000).await.expect("a scan is answered");
    assert_eq!(rows.len(), 100);
    let mut sum = 0;
    for (number, (key, value)) in (1..).zip(&rows) {
        assert_eq!(*key, log.clone().number(number));
        let field = |at: usize| u64::from_be_bytes(value[at * 8..][..8].try_into().expect("eight bytes"));
        assert_eq!((field(0), field(1)), (sum, sum + field(2)));
        sum = field(1);
    }
    assert_eq!(sum, 5050);
}

/// A refused batch changes nothing, a committed one everything, in the order of its changes.
pub async fn a_batch_is_all_or_nothing(store: &SharedStore) {
    let key = |number| key("atomic", number);
    put(store, key(1), "old").await;
    let mut refused = Batch::new();
    refused.put(key(1), "new").delete(key(1)).put(key(2), "new");
    refused.merge(key(3), "not a number", add);
    assert!(matches!(store.commit(refused.clone()).await, Err(StoreError::Merge(_))));
    let mut unmet = Batch::new();
    unmet.put(key(1), "new").put(key(2), "new").require(key(1), Precondition::ValueIs("other".into()));
    assert!(matches!(store.commit(unmet).await, Err(StoreError::Conflict(at)) if at == key(1)));
    assert_eq!(get(store, &key(1)).await, Some("old".into()));
    assert_eq!(get(store, &key(2)).await, None);

    let mut batch = Batch::new();
    batch
        .delete(key(1))
        .put(key(1), "again")
        .put(key(2), "new")
        .put(key(4), "x")
        .delete(key(4))
        .delete(key(9));
    store.commit(batch).await.expect("the batch is taken");
    assert_eq!(get(store, &key(1)).await, Some("again".into()));
    assert_eq!(get(store, &key(2)).await, Some("new".into()));
    assert_eq!(get(store, &key(4)).await, None);
}

/// Batches that arrive together are judged one after the other.
pub async fn preconditions_see_the_batches_before(store: &SharedStore) {
    // A chain: each batch requires what the one before wrote. Whatever shares a sync, none may overtake another.
    let chain = key("chain", 0);
    put(store, chain.clone(), "0").await;
    let mut committed = 0_u64;
    for round in 0..20_u64 {
        let attempts: Vec<_> = (0..16)
            .map(|_| {
                let (store, chain) = (store.clone(), chain.clone());
                tokio::spawn(async move {
                    let mut batch = Batch::new();
                    batch.require(chain.clone(), Precondition::ValueIs(round.to_string().into()));
                    batch.put(chain, (round + 1).to_string());
                    store.commit(batch).await
                })
            })
            .collect();
        for attempt in attempts {
            match attempt.await.expect("an attempt ends") {
                Ok(_) => committed += 1,
                Err(StoreError::Conflict(at)) => assert_eq!(at, chain),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(committed, 20);
    assert_eq!(get(store, &chain).await, Some("20".into()));
}

/// `Absent` lets exactly one of many in, and none once the row is there.
pub async fn one_of_many_creators_wins(store: &SharedStore) {
    for number in 0..10 {
        let creators: Vec<_> = (0..32_u64)
            .map(|creator| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut batch = Batch::new();
                    batch.require(key("create", number), Precondition::Absent);
                    batch.put(key("create", number), creator.to_string());
                    store.commit(batch).await.is_ok().then_some(creator)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for creator in creators {
            winners.extend(creator.await.expect("a creator ends"));
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(get(store, &key("create", number)).await, Some(winners[0].to_string().into()));
    }
}

/// Every addition of every committer is in the sum, and the sums they are told are all different.
pub async fn concurrent_merges_lose_nothing(store: &SharedStore) {
    const COMMITTERS: u64 = 64;
    const EACH: u64 = 50;
    let tasks: Vec<_> = (0..COMMITTERS)
        .map(|committer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut told = Vec::new();
                for number in 0..EACH {
                    let mut batch = Batch::new();
                    batch.merge(key("sum", 0), Bytes::copy_from_slice(&1_u64.to_be_bytes()), add);
                    batch.merge(
                        key("sum", 1 + (committer + number) % 7),
                        Bytes::copy_from_slice(&2_u64.to_be_bytes()),
                        add,
                    );
                    let committed = store.commit(batch).await.expect("a merge is taken");
                    assert_eq!(committed.merged.len(), 2);
                    told.push(committed.merged[0].clone());
                }
                told
            })
        })
        .collect();
    let mut told = Vec::new();
    for task in tasks {
        told.extend(task.await.expect("a committer ends"));
    }
    told.sort();
    let expected: Vec<_> =
        (1..=COMMITTERS * EACH).map(|sum| Bytes::copy_from_slice(&sum.to_be_bytes())).collect();
    assert_eq!(told, expected);
    let mut sum = 0;
    for number in 1..=7 {
        let value = get(store, &key("sum", number)).await.expect("the sum is there");
        sum += u64::from_be_bytes(value[..].try_into().expect("a sum is a number"));
    }
    assert_eq!(sum, 2 * COMMITTERS * EACH);
}

/// Merges come after the changes before them in the batch.
pub async fn a_merge_sees_its_own_batch(store: &SharedStore) {
    let key = key("own", 0);
    let one = || Bytes::copy_from_slice(&1_u64.to_be_bytes());
    let mut batch = Batch::new();
    batch.merge(key.clone(), one(), add).merge(key.clone(), one(), add);
    batch.delete(key.clone()).merge(key.clone(), one(), add);
    let merged = store.commit(batch).await.expect("the batch is taken").merged;
    let sums: Vec<_> = [1_u64, 2, 1].iter().map(|sum| Bytes::copy_from_slice(&sum.to_be_bytes())).collect();
    assert_eq!(merged, sums);
}

/// Pages of any size, forward and backward, put together give the range, each row once.
pub async fn scans_go_both_ways_in_pages(store: &SharedStore) {
    const ROWS: u64 = 700;
    let mut batch = Batch::new();
    for number in 0..ROWS {
        batch.put(key("scan", number), number.to_string());
    }
    store.commit(batch).await.expect("the rows are taken");
    let all: Vec<Row> = (0..ROWS).map(|number| (key("scan", number), number.to_string().into())).collect();
    let prefix = Key::new(Space::Counter).text("scan").prefix();
    for limit in [1, 255, 256, 257, 512, 699, 700, 701, usize::MAX] {
        let (mut range, mut rows) = (prefix.clone(), Vec::new());
        loop {
            let page =
                store.scan(range.clone(), Direction::Forward, limit).await.expect("a scan is answered");
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            range.start = last.successor();
            rows.extend(page);
        }
        assert_eq!(rows, all, "forward, {limit}");
        let (mut range, mut rows) = (prefix.clone(), Vec::new());
        loop {
            let page =
                store.scan(range.clone(), Direction::Backward, limit).await.expect("a scan is answered");
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            range.end = last.clone();
            rows.extend(page);
        }
        rows.reverse();
        assert_eq!(rows, all, "backward, {limit}");
    }
    let none = store.scan(prefix.clone(), Direction::Forward, 0).await.expect("a scan is answered");
    assert_eq!(none, []);
    let reversed = prefix.end.clone()..prefix.start.clone();
    for direction in [Direction::Forward, Direction::Backward] {
        assert_eq!(store.scan(reversed.clone(), direction, 9).await.expect("a scan is answered"), []);
    }
}

/// The largest key, value and batch are taken and read back, anything larger is refused whole.
pub async fn sizes_are_limited(store: &SharedStore) {
    let longest = |more: usize| {
        let start = key("size", 0);
        let rest = vec![7; MAX_KEY + more - start.as_bytes().len()];
        start.fixed(&rest)
    };
    let largest = vec![9; MAX_VALUE];
    put(store, longest(0), largest.clone()).await;
    assert_eq!(get(store, &longest(0)).await.as_deref(), Some(&largest[..]));

    let mut cases = Vec::new();
    let mut batch = Batch::new();
    batch.put(key("size", 1), "fits").put(longest(1), "x");
    cases.push((batch, "a key", MAX_KEY));
    let mut batch = Batch::new();
    batch.put(key("size", 1), "fits").require(longest(1), Precondition::Absent);
    cases.push((batch, "a key", MAX_KEY));
    let mut batch = Batch::new();
    batch.put(key("size", 1), "fits").put(key("size", 2), vec![9; MAX_VALUE + 1]);
    cases.push((batch, "a value", MAX_VALUE));
    let mut batch = Batch::new();
    batch.put(key("size", 1), "fits").merge(key("size", 2), "", |_, _| Ok(vec![9; MAX_VALUE + 1]));
    cases.push((batch, "a value", MAX_VALUE));
    let mut batch = Batch::new();
    for number in 0..=(MAX_BATCH / MAX_VALUE) as u64 {
        batch.put(key("size", number), largest.clone());
    }
    cases.push((batch, "a batch", MAX_BATCH));
    for (batch, expected, limit_expected) in cases {
        match store.commit(batch).await {
            Err(StoreError::TooLarge { what, size, limit }) => {
                assert_eq!((what, limit), (expected, limit_expected));
                assert!(size > limit);
            }
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!(get(store, &key("size", 1)).await, None, "{expected}");
    }
}

/// What the documentation says of batches, written a second time and as plainly as possible.
type Model = BTreeMap<Key, Bytes>;

/// Random batches leave what they leave in a plain map, and are refused when they would be there. Each of `seeds` is a
/// sequence of its own; a failure names it.
pub async fn random_batches_agree_with_a_model(store: &SharedStore, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let randomness = SeededRandomness::new(seed);
        let dice = |sides: u64| {
            let mut bytes = [0; 8];
            randomness.fill(&mut bytes);
            u64::from_be_bytes(bytes) % sides
        };
        let mut model = Model::new();
        for _ in 0..40 {
            let mut batch = Batch::new();
            let mut after = Some(model.clone());
            // Preconditions all look at the state before, so they go into the model first.
            for _ in 0..dice(3) {
                let key = key("model", seed << 8 | dice(8));
                let held = model.get(&key);
                let (precondition, holds) = match dice(4) {
                    0 => (Precondition::Absent, held.is_none()),
                    1 => (Precondition::ValueIs("other".into()), false),
                    _ => match held {
                        Some(value) => (Precondition::ValueIs(value.clone()), true),
                        None => (Precondition::Absent, true),
                    },
                };
                if !holds {
                    after = None;
                }
                batch.require(key, precondition);
            }
            for _ in 0..dice(6) {
                let key = key("model", seed << 8 | dice(8));
                match dice(4) {
                    0 => {
                        batch.delete(key.clone());
                        after.as_mut().map(|rows| rows.remove(&key));
                    }
                    1 => {
                        let value = Bytes::from(vec![b'v'; dice(40) as usize]);
                        batch.put(key.clone(), value.clone());
                        after.as_mut().map(|rows| rows.insert(key, value));
                    }
                    _ => {
                        let operand = Bytes::from(dice(1000).to_string());
                        batch.merge(key.clone(), operand.clone(), append_up_to_100);
                        after = after.and_then(|mut rows| {
                            let merged =
                                append_up_to_100(rows.get(&key).map(|held| &held[..]), &operand).ok()?;
                            rows.insert(key, merged.into());
                            Some(rows)
                        });
                    }
                }
            }
            let committed = store.commit(batch.clone()).await;
            assert_eq!(committed.is_ok(), after.is_some(), "seed {seed}: {batch:?} gave {committed:?}");
            model = after.unwrap_or(model);
            let range = key("model", seed << 8)..key("model", (seed + 1) << 8);
            let rows = store.scan(range, Direction::Forward, 100).await.expect("a scan is answered");
            assert_eq!(rows, model.clone().into_iter().collect::<Vec<_>>(), "seed {seed} after {batch:?}");
        }
    }
}

/// A merge that is sometimes refused.
fn append_up_to_100(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    let value = [existing.unwrap_or_default(), operand].concat();
    if value.len() > 100 { Err(MergeError("longer than 100".to_owned())) } else { Ok(value) }
}

/// What was committed is there after the store was dropped and opened again, and nothing else.
///
/// # Panics
/// If it is not.
pub async fn a_reopened_store_holds_what_was_committed<F: Future<Output = SharedStore>>(
    reopen: impl Fn() -> F,
) {
    let prefix = Key::new(Space::Counter).text("reopen").prefix();
    let mut expected = BTreeMap::new();
    for round in 0..5_u64 {
        let store = reopen().await;
        let rows =
            store.scan(prefix.clone(), Direction::Forward, usize::MAX).await.expect("a scan is answered");
        assert_eq!(rows, expected.clone().into_iter().collect::<Vec<_>>(), "round {round}");
        for number in 0..200 {
            let mut batch = Batch::new();
            let (written, removed) = (key("reopen", number * 3 + round), key("reopen", number));
            let value = Bytes::from(vec![round as u8; (number * 37 % 2000) as usize]);
            batch.put(written.clone(), value.clone()).delete(removed.clone());
            store.commit(batch).await.expect("a put is taken");
            expected.insert(written, value);
            expected.remove(&removed);
        }
        assert_eq!(Arc::strong_count(&store), 1, "the store is closed before it is opened again");
    }
}
