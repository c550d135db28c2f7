//! What a plugin that is removed leaves.

use std::sync::Arc;

use bellwether_access::Role;
use bellwether_store::{Direction, Key, MemoryStore, Space, Store};
use serde_json::json;

use crate::Owner;
use crate::testing::{House, configurable_dialect, principal};

#[tokio::test]
async fn a_plugin_that_is_gone_is_told_as_removed_and_what_it_left_is_forgotten_before_long() {
    let store = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&store)).await;
    let plugins = house.plugins().await;
    plugins.install(Owner::Host, "host", configurable_dialect(), Vec::new(), false).await.unwrap();
    let given = json!({"word": "moin"}).as_object().cloned().unwrap();
    plugins.set_settings(&principal(5, Role::Admin), "greeter", given).await.unwrap();
    let kept = async || {
        let rows = store.scan(Key::new(Space::PluginSettings).prefix(), Direction::Forward, 10).await;
        rows.unwrap().len()
    };
    store.take_only(Some(1));
    plugins.remove_all(Owner::Host, "key", "greeter", true).await.unwrap();
    assert!(plugins.get(Owner::Host, "greeter").is_none());
    assert_eq!(kept().await, 1);
    assert!(plugins.clear_left().await.is_err());
    store.take_only(None);
    plugins.clear_left().await.unwrap();
    assert_eq!(kept().await, 0);
}

#[tokio::test]
async fn an_install_that_a_full_disk_refuses_leaves_no_component_behind() {
    let store = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&store)).await;
    let plugins = house.plugins().await;
    let install =
        async || plugins.install(Owner::Host, "host", configurable_dialect(), Vec::new(), false).await;
    store.set_disk_full(true);
    assert!(install().await.is_err());
    assert_eq!(house.services.objects.list().unwrap(), []);
    store.set_disk_full(false);
    let installed = install().await.unwrap();
    assert_eq!(house.services.objects.list().unwrap(), [installed.digest]);
}
