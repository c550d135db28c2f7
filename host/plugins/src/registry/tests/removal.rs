//! What a plugin that is removed leaves.

use std::pin::pin;
use std::sync::Arc;

use bellwether_access::Role;
use bellwether_engine::Instances;
use bellwether_store::{Batch, Direction, Key, MemoryStore, Space, Store};
use futures::poll;
use serde_json::json;

use super::{OURS, install, probe, with_versions};
use crate::host::state_rows;
use crate::testing::{House, configurable_dialect, principal};
use crate::{Change, LimitOverrides, Owner, Plugins};

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
async fn what_a_removed_plugin_kept_holds_up_nobody_but_who_installs_one_of_its_name() {
    let store = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&store)).await;
    house.services.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let plugins = with_versions(&house, &[1]).await;
    // More than two commits take.
    let mut batch = Batch::new();
    for number in 0..1_200 {
        batch.put(state_rows(OURS, "probe").text(&number.to_string()), Vec::new());
    }
    store.commit(batch).await.unwrap();
    let kept = async || {
        let rows = store.scan(state_rows(OURS, "probe").prefix(), Direction::Forward, 5_000).await;
        rows.unwrap().len()
    };
    store.take_only(Some(1));
    plugins.remove(Owner::Host, "key", "probe").await.unwrap();
    store.take_only(None);
    assert_eq!(kept().await, 1_200);

    let held = plugins.changes.lock().await;
    let mut clearing = pin!(plugins.clear_left());
    assert!(poll!(clearing.as_mut()).is_pending());
    drop(held);
    let others = async {
        let mut turns = 0;
        while kept().await > 0 {
            drop(plugins.changes.lock().await);
            turns += 1;
        }
        turns
    };
    let (turns, cleared, installed) = tokio::join!(others, clearing, async {
        let installed = install(&plugins, probe(1)).await;
        (installed, kept().await)
    });
    cleared.unwrap();
    assert!(turns > 1, "others have their turns between any two commits, not {turns}");
    assert!(matches!(installed, (Ok(_), 0)), "{installed:?}");
}

/// Sees that the version is compiled for a change while somebody else's holds the turn.
async fn compiles_meanwhile<R>(
    house: &House,
    plugins: &Plugins,
    change: impl Future<Output = Result<R, crate::PluginError>>,
) {
    let digest = plugins.get(Owner::Host, "probe").unwrap().digest;
    let held = plugins.changes.lock().await;
    house.services.engine.forget(digest.as_bytes());
    let mut change = pin!(change);
    while !house.compiled().contains(&digest.to_string()) {
        assert!(poll!(change.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    drop(held);
    change.await.unwrap();
}

#[tokio::test]
async fn a_version_is_compiled_for_a_change_without_holding_up_the_changes_of_others() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let host = Owner::Host;
    let limits = LimitOverrides { log_lines: Some(5), ..LimitOverrides::default() };
    compiles_meanwhile(&house, &plugins, plugins.set_limits(host, "key", "probe", limits)).await;
    compiles_meanwhile(&house, &plugins, plugins.set_grants(host, "key", "probe", Vec::new())).await;
    let change = Change { enabled: None, instances: Some(Instances::Warm) };
    compiles_meanwhile(&house, &plugins, plugins.change(host, "key", "probe", change)).await;
    assert_eq!(plugins.limits(host, "probe").unwrap().set, limits);
    plugins.set_enabled(host, "key", "probe", false).await.unwrap();
    compiles_meanwhile(&house, &plugins, plugins.set_enabled(host, "key", "probe", true)).await;
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
