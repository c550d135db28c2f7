//! A store in memory, with crashes on demand: what simulations and the tests of every other crate run on.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::group::{self, Group};
use crate::{Batch, Committed, Direction, Health, Key, Refusal, Row, Store, StoreError, Unread};

/// When a [`MemoryStore`] dies. Commits that change nothing and commits that are refused are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crash {
    /// It does not.
    #[default]
    Never,
    /// Just before the `n`-th commit, counted from 1, becomes durable: it is lost.
    Before(u64),
    /// Just after the `n`-th commit, counted from 1, became durable: it is there after the restart, and its caller
    /// never learns so.
    After(u64),
}

/// A store in memory with the semantics of the durable ones. "Durable" here is what [`MemoryStore::restart`] keeps.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    unread: Unread,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Key, Bytes>,
    commits: u64,
    crash: Crash,
    crashed: bool,
    full: bool,
    /// How many commits are taken until the disk is full.
    fills: Option<usize>,
    /// How many commits are taken from now on, if not all.
    takes: Option<usize>,
    answers_late: bool,
    exclusive: bool,
}

const CRASHED: StoreError = StoreError::Unavailable("it crashed");

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that dies as `crash` says: that commit and every call after it fail with
    /// [`StoreError::Unavailable`].
    #[must_use]
    pub fn with_crashes(crash: Crash) -> Self {
        Self { state: Mutex::new(State { crash, ..State::default() }), unread: Unread::default() }
    }

    /// Dies now.
    pub fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// Every row there is, in order.
    ///
    /// # Errors
    /// As [`Store::scan`].
    pub async fn rows(&self) -> Result<Vec<Row>, StoreError> {
        let all = Key::from_bytes(Vec::new())..Key::from_bytes(vec![u8::MAX; 2]);
        self.scan(all, Direction::Forward, usize::MAX).await
    }

    /// A new store with exactly what was durable, as a restarted process would find it. This one is dead from here
    /// on, so that whatever still holds it cannot write behind the new one's back.
    #[must_use]
    pub fn restart(&self) -> Self {
        self.restart_with_crashes(Crash::Never)
    }

    /// As [`Self::restart`], and the new store dies as `crash` says, its commits counted afresh.
    #[must_use]
    pub fn restart_with_crashes(&self, crash: Crash) -> Self {
        let mut state = self.state.lock();
        state.crashed = true;
        let rows = state.rows.clone();
        Self { state: Mutex::new(State { rows, crash, ..State::default() }), unread: Unread::default() }
    }

    /// Behaves as if the disk were full, or no longer so: all but deletes and what frees space is refused.
    pub fn set_disk_full(&self, full: bool) {
        let mut state = self.state.lock();
        (state.full, state.fills) = (full, None);
    }

    /// Takes so many commits more, and then behaves as if the disk were full.
    pub fn fill_after(&self, commits: usize) {
        self.state.lock().fills = Some(commits);
    }

    /// From now on gives way between making a commit durable and answering it, as the durable stores do: who stops
    /// waiting there does not know what it did.
    pub fn answer_late(&self) {
        self.state.lock().answers_late = true;
    }

    /// Behaves as a store that one host at a time has open, or no longer so.
    pub fn set_exclusive(&self, exclusive: bool) {
        self.state.lock().exclusive = exclusive;
    }

    /// Takes so many commits more and fails those after them; all again with `None`.
    pub fn take_only(&self, commits: Option<usize>) {
        self.state.lock().takes = commits;
    }

    fn commit_now(&self, batch: Batch) -> Result<Committed, StoreError> {
        let mut state = self.state.lock();
        if state.crashed {
            return Err(CRASHED);
        }
        if let Some(takes) = &mut state.takes {
            *takes = takes.checked_sub(1).ok_or_else(|| StoreError::Failed("it takes no more".to_owned()))?;
        }
        if let Some(fills) = state.fills {
            state.fills = fills.checked_sub(1);
            state.full = fills == 0;
        }
        if state.full && !group::frees_space(&batch) {
            return Err(StoreError::DiskFull { free: 0, needed: 1 });
        }
        let counts = !batch.is_empty();
        let mut group = Group::default();
        let committed = group.add(batch, |key| Ok(state.rows.get(key).cloned()))?;
        if !counts {
            return Ok(committed);
        }
        let number = state.commits + 1;
        if state.crash == Crash::Before(number) {
            state.crashed = true;
            return Err(CRASHED);
        }
        for (key, row) in group.into_rows() {
            match row {
                Some(value) => state.rows.insert(key, value),
                None => state.rows.remove(&key),
            };
        }
        state.commits = number;
        if state.crash == Crash::After(number) {
            state.crashed = true;
            return Err(CRASHED);
        }
        Ok(committed)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let state = self.state.lock();
        if state.crashed { Err(CRASHED) } else { Ok(state.rows.get(key).cloned()) }
    }

    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let state = self.state.lock();
        if state.crashed {
            return Err(CRASHED);
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let own = |(key, value): (&Key, &Bytes)| (key.clone(), value.clone());
        let rows = state.rows.range(range);
        Ok(match direction {
            Direction::Forward => rows.take(limit).map(own).collect(),
            Direction::Backward => rows.rev().take(limit).map(own).collect(),
        })
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        group::check_sizes(&batch)?;
        // A durable commit gives way to other tasks; so does this one, or tests on it would miss interleavings.
        tokio::task::yield_now().await;
        let committed = self.commit_now(batch)?;
        let late = self.state.lock().answers_late;
        if late {
            tokio::task::yield_now().await;
        }
        Ok(committed)
    }

    fn health(&self) -> Health {
        let state = self.state.lock();
        let refusing = match (state.crashed, state.full) {
            (true, _) => Some(Refusal::Closed),
            (false, true) => Some(Refusal::DiskFull),
            (false, false) => None,
        };
        Health { refusing, syncs: state.commits, commits: state.commits, ..Health::default() }
    }

    fn unread(&self) -> &Unread {
        &self.unread
    }

    fn is_exclusive(&self) -> bool {
        self.state.lock().exclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Space;

    fn put(number: u64) -> (Key, Batch) {
        let key = Key::new(Space::Meta).number(number);
        let mut batch = Batch::new();
        batch.put(key.clone(), "x");
        (key, batch)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_a_store() {
        crate::conformance::all(std::sync::Arc::new(MemoryStore::new())).await;
    }

    #[tokio::test]
    async fn a_crash_before_a_commit_loses_it_and_one_after_keeps_it() {
        for (crash, kept) in [(Crash::Before(2), false), (Crash::After(2), true)] {
            let store = MemoryStore::with_crashes(crash);
            let ((one, first), (two, second), (three, third)) = (put(1), put(2), put(3));
            store.commit(first).await.unwrap();
            for batch in [second, third] {
                assert!(matches!(store.commit(batch).await, Err(StoreError::Unavailable(_))), "{crash:?}");
            }
            assert!(matches!(store.get(&one).await, Err(StoreError::Unavailable(_))));
            assert_eq!(store.health().refusing, Some(Refusal::Closed));

            let restarted = store.restart();
            assert!(restarted.get(&one).await.unwrap().is_some());
            assert_eq!(restarted.get(&two).await.unwrap().is_some(), kept, "{crash:?}");
            assert_eq!(restarted.get(&three).await.unwrap(), None);
            restarted.commit(put(4).1).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_restarted_store_cannot_be_written_through_the_dead_one() {
        let store = MemoryStore::new();
        let restarted = store.restart();
        let (key, batch) = put(1);
        assert!(store.commit(batch).await.is_err());
        assert_eq!(restarted.get(&key).await.unwrap(), None);
    }
}
