//! A store that passes every call on to one in memory, and what a test does about some of them.

use std::ops::Range;

use async_trait::async_trait;
use bellwether_store::{Batch, Committed, Health, StoreError, Unread};
use bytes::Bytes;

use super::*;

/// What is asked of a store.
pub(super) enum Asked<'a> {
    Get(&'a Key),
    Scan(&'a Range<Key>),
    Commit,
}

/// What is done about calls on their way.
#[async_trait]
pub(super) trait Way: Send + Sync + 'static {
    async fn before(&self, _: &Asked<'_>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn after(&self, _: &Asked<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

pub(super) struct Passing<W> {
    store: Arc<MemoryStore>,
    pub(super) way: W,
}

impl<W: Way> Passing<W> {
    pub(super) fn new(store: &Arc<MemoryStore>, way: W) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), way })
    }

    async fn pass<T>(
        &self,
        asked: Asked<'_>,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.way.before(&asked).await?;
        let answer = answer.await;
        self.way.after(&asked).await?;
        answer
    }
}

#[async_trait]
impl<W: Way> Store for Passing<W> {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.pass(Asked::Get(key), self.store.get(key)).await
    }

    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let asked = range.clone();
        self.pass(Asked::Scan(&asked), self.store.scan(range, direction, limit)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.pass(Asked::Commit, self.store.commit(batch)).await
    }

    fn health(&self) -> Health {
        self.store.health()
    }

    fn unread(&self) -> &Unread {
        self.store.unread()
    }
}
