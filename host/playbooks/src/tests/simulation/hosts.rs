//! A host of the simulation, and its way to the store, which can be held up or cut.

use std::ops::Range;

use async_trait::async_trait;
use bellwether_store::{Batch, Committed, Health, StoreError};
use bytes::Bytes;
use tokio::sync::watch;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing goes through, and nothing fails.
    Stalled,
    /// Everything fails.
    Cut,
}

/// A host's way to the store.
struct Door {
    store: Arc<MemoryStore>,
    way: watch::Sender<Way>,
}

impl Door {
    async fn pass(&self) -> Result<(), StoreError> {
        let mut way = self.way.subscribe();
        let way = way.wait_for(|way| *way != Way::Stalled).await.map(|way| *way);
        if way.is_ok_and(|way| way == Way::Open) {
            Ok(())
        } else {
            Err(StoreError::Unavailable("the host is dead"))
        }
    }
}

#[async_trait]
impl Store for Door {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.pass().await?;
        self.store.get(key).await
    }

    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.pass().await?;
        self.store.scan(range, direction, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.pass().await?;
        let committed = self.store.commit(batch).await;
        // It may have been held up behind the commit, too.
        self.pass().await?;
        committed
    }

    fn health(&self) -> Health {
        self.store.health()
    }
}

/// One life of a host.
pub(super) struct Host {
    door: Arc<Door>,
    pub(super) writes: Arc<FakeWrites>,
    pub(super) playbooks: Arc<Playbooks>,
}

impl Host {
    pub(super) async fn open(
        world: &World,
        number: u64,
        writes: Arc<FakeWrites>,
    ) -> Result<Self, PlaybookError> {
        let door = Arc::new(Door { store: Arc::clone(&world.store), way: watch::Sender::new(Way::Open) });
        let access = open_access(door.clone(), &world.clock, &world.chance).await?;
        let parts = world.parts(door.clone(), &access, number, Some(&writes));
        Ok(Self { door, writes, playbooks: Playbooks::open(parts).await? })
    }

    /// Ends at once, as a process that is killed.
    pub(super) fn die(self) {
        self.door.way.send_replace(Way::Cut);
        self.playbooks.die();
    }

    /// Stands still for a while: what it asks the store for takes so long.
    pub(super) fn stall(&self, span: Duration) {
        if self.is_stalled() {
            return;
        }
        self.door.way.send_replace(Way::Stalled);
        let door = Arc::clone(&self.door);
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            door.way.send_if_modified(|way| {
                let was_stalled = *way == Way::Stalled;
                if was_stalled {
                    *way = Way::Open;
                }
                was_stalled
            });
        });
    }

    pub(super) fn is_stalled(&self) -> bool {
        *self.door.way.borrow() == Way::Stalled
    }

    /// What a caller gets who hangs up after a while, whatever went wrong.
    pub(super) async fn patiently<T>(
        &self,
        answer: impl Future<Output = Result<T, PlaybookError>>,
    ) -> Option<T> {
        tokio::time::timeout(Duration::from_secs(10), answer).await.ok()?.ok()
    }
}
