//! What a plugin that is removed leaves.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bellwether_access::Role;
use bellwether_store::{
    Batch, Committed, Direction, Health, Key, MemoryStore, Row, Space, Store, StoreError,
};
use bytes::Bytes;
use serde_json::json;

use crate::testing::{House, configurable_dialect, principal};
use crate::{Owner, Plugins, Services};

/// A store that takes so many commits more.
struct Ending {
    store: Arc<MemoryStore>,
    left: AtomicUsize,
}

#[async_trait]
impl Store for Ending {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.store.get(key).await
    }

    async fn scan(
        &self,
        range: Range<Key>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.scan(range, direction, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map_err(|_| StoreError::Failed("it takes no more".to_owned()))?;
        self.store.commit(batch).await
    }

    fn health(&self) -> Health {
        self.store.health()
    }
}

#[tokio::test]
async fn a_plugin_that_is_gone_is_told_as_removed_and_what_it_left_is_forgotten_before_long() {
    let memory = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&memory)).await;
    let store = Arc::new(Ending { store: Arc::clone(&memory), left: AtomicUsize::new(usize::MAX) });
    let services = Services { store: store.clone(), ..house.services.clone() };
    let plugins = Plugins::open(services, house.limits).await.unwrap();
    plugins.install(Owner::Host, "host", configurable_dialect(), Vec::new(), false).await.unwrap();
    let given = json!({"word": "moin"}).as_object().cloned().unwrap();
    plugins.set_settings(&principal(5, Role::Admin), "greeter", given).await.unwrap();
    let kept = async || {
        let rows = memory.scan(Key::new(Space::PluginSettings).prefix(), Direction::Forward, 10).await;
        rows.unwrap().len()
    };
    store.left.store(1, Ordering::SeqCst);
    plugins.remove_all(Owner::Host, "key", "greeter", true).await.unwrap();
    assert!(plugins.get(Owner::Host, "greeter").is_none());
    assert_eq!(kept().await, 1);
    assert!(plugins.clear_left().await.is_err());
    store.left.store(usize::MAX, Ordering::SeqCst);
    plugins.clear_left().await.unwrap();
    assert_eq!(kept().await, 0);
}
