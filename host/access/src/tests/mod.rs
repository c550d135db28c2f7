//! What the crate promises as a whole, on a store in memory.

mod audit;
mod authentication;
mod damage;
mod deletion;
mod idempotency;
mod keys;
mod organisations;
mod secrets;
mod session;
mod suspension;

use std::sync::Arc;

use bellwether_kernel::{ManualClock, SeededRandomness, Timestamp};
use bellwether_store::{Crash, MemoryStore};

use crate::{Access, AccessError, HostKey, NewKey, Role};

/// 2023-11-14T22:13:20Z.
pub(crate) const START: i64 = 1_700_000_000;

/// Access on a store in memory, and what it runs on.
struct Fixture {
    access: Access,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(MemoryStore::new(), 1).await
    }

    async fn with_crash(crash: Crash) -> Result<Self, AccessError> {
        Self::open(Arc::new(MemoryStore::with_crashes(crash)), Arc::new(clock()), 1).await
    }

    async fn on(store: MemoryStore, seed: u64) -> Self {
        Self::open(Arc::new(store), Arc::new(clock()), seed).await.unwrap()
    }

    async fn open(store: Arc<MemoryStore>, clock: Arc<ManualClock>, seed: u64) -> Result<Self, AccessError> {
        let randomness = Arc::new(SeededRandomness::new(seed));
        let access = Access::open(store.clone(), clock.clone(), randomness, host_key()).await?;
        Ok(Self { access, store, clock })
    }

    /// What a new process finds, with its clock where this one stands.
    async fn restart(&self) -> Self {
        Self::open(Arc::new(self.store.restart()), Arc::clone(&self.clock), 2).await.unwrap()
    }

    /// Another process on the same store at the same time.
    async fn beside(&self, seed: u64) -> Self {
        Self::open(Arc::clone(&self.store), Arc::clone(&self.clock), seed).await.unwrap()
    }
}

fn host_key() -> HostKey {
    HostKey::from_hex(&"5a".repeat(32)).unwrap()
}

fn clock() -> ManualClock {
    ManualClock::new(seconds(START))
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(seconds * 1000).unwrap()
}

fn key(name: &str, role: Role) -> NewKey {
    NewKey { name: name.into(), role, expires: None, signing: false }
}
