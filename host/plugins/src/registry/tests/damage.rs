//! What of one plugin does not read keeps no other from being served.

use bellwether_playbooks::Apps;
use bellwether_store::{Batch, Key, MemoryStore, Space, Store};

use super::*;

async fn put(store: &MemoryStore, row: Key, value: impl Into<Bytes>) {
    let mut batch = Batch::new();
    batch.put(row, value);
    store.commit(batch).await.unwrap();
}

#[tokio::test]
async fn a_plugin_of_which_a_row_does_not_read_says_so_and_is_not_called_and_the_others_are() {
    for space in [Space::Plugin, Space::PluginVersion, Space::PluginSettings, Space::Chunk] {
        let store = Arc::new(MemoryStore::new());
        let house = House::on(Arc::clone(&store)).await;
        let plugins = with_versions(&house, &[1, 2]).await;
        let other = named_app("other", "1.0.0", "", "", "(global.get $ok)");
        install(&plugins, other).await.unwrap();
        let version = Owner::Host.version_row("probe", "2.0.0");
        let row = match space {
            Space::Plugin => Owner::Host.row("probe"),
            Space::PluginVersion => version,
            Space::Chunk => {
                let rows =
                    store.scan(Key::new(space).prefix(), bellwether_store::Direction::Forward, 1).await;
                rows.unwrap().remove(0).0
            }
            space => Key::new(space).text("probe").number(5),
        };
        put(&store, row.clone(), "?").await;

        let store = Arc::new(store.restart());
        let house = house.again(Arc::clone(&store)).await;
        let plugins = house.plugins().await;
        let listed = plugins.list(Owner::Host, &PageRequest::first(9)).unwrap().items;
        assert_eq!(listed.len(), 2, "{space:?}");
        assert!(run(&*plugins.app(OURS, "other").unwrap()).await.result.is_ok(), "{space:?}");
        assert_eq!(store.unread().count(), 1, "{space:?}");
        if space == Space::PluginSettings || space == Space::Chunk {
            assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 2, "{space:?}");
            continue;
        }
        let problem = listed.iter().find(|plugin| plugin.name == "probe").unwrap().problem.clone();
        assert!(problem.as_ref().unwrap().contains("does not read"), "{space:?}: {problem:?}");
        assert!(plugins.app(OURS, "probe").is_none(), "{space:?}");
        assert_eq!(plugins.lost_components().await.unwrap(), [], "{space:?}");
        let fewer = crate::LimitOverrides { memory_bytes: Some(4 << 20), ..Default::default() };
        let limited = plugins.set_limits(Owner::Host, "key", "probe", fewer).await;
        assert!(limited.is_err(), "{space:?}: nobody knows what would be written");
        assert_eq!(store.get(&row).await.unwrap().as_deref(), Some(&b"?"[..]), "{space:?}: it stays");
        // Another version is the way out.
        install(&plugins, probe(3)).await.unwrap();
        assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 3, "{space:?}");
        let again = house.again(Arc::new(store.restart())).await.plugins().await;
        assert_eq!(answered(&*again.app(OURS, "probe").unwrap()).await, 3, "{space:?}");
    }
}

#[tokio::test]
async fn a_plugin_whose_current_version_is_missing_says_so_and_the_others_are_served() {
    let store = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&store)).await;
    with_versions(&house, &[1]).await;
    let mut batch = Batch::new();
    batch.delete(Owner::Host.version_row("probe", "1.0.0"));
    store.commit(batch).await.unwrap();
    let plugins = house.again(Arc::new(store.restart())).await.plugins().await;
    let problem = plugins.get(Owner::Host, "probe").unwrap().problem.clone().unwrap();
    assert!(problem.contains("version 1.0.0 of the plugin probe is missing"), "{problem}");
}
