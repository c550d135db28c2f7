//! Organisations that are deleted: their own plugins go, and what they set of the host's.

use std::collections::BTreeSet;
use std::sync::Arc;

use bellwether_access::Role;
use bellwether_kernel::OrganisationId;
use bellwether_store::{Crash, Direction, Erase, Key, MemoryStore, Row, Space, Store, erase};
use serde_json::json;

use super::{OURS, failing, probe};
use crate::testing::{House, configurable_dialect, named_app, principal};
use crate::{Owner, Plugins};

const THEIRS: OrganisationId = OrganisationId(2);

/// What belongs to plugins.
const SPACES: [Space; 6] = [
    Space::Plugin,
    Space::PluginVersion,
    Space::PluginSettings,
    Space::PluginState,
    Space::PluginStateSize,
    Space::Chunk,
];

async fn rows(store: &MemoryStore) -> Vec<Row> {
    let mut all = Vec::new();
    for space in SPACES.into_iter().chain([Space::PluginLoose]) {
        all.extend(store.scan(Key::new(space).prefix(), Direction::Forward, 999).await.unwrap());
    }
    all
}

/// A plugin of two versions of each organisation, one of which they share, and what they set of the host's.
async fn fill(plugins: &Plugins) {
    plugins.install(Owner::Host, "host", configurable_dialect(), Vec::new(), false).await.unwrap();
    for (id, own) in [(OURS, failing(2)), (THEIRS, probe(2))] {
        for component in [probe(1), own] {
            plugins.install(Owner::Organisation(id), "key", component, Vec::new(), false).await.unwrap();
        }
        let given = json!({"word": "moin"}).as_object().cloned().unwrap();
        plugins.set_settings(&principal(id.0, Role::Admin), "greeter", given).await.unwrap();
    }
    let only = named_app("only", "1.0.0", "", "", "(global.get $ok)");
    plugins.install(Owner::Organisation(THEIRS), "key", only, Vec::new(), false).await.unwrap();
}

async fn erased(plugins: &Plugins, store: &MemoryStore) {
    while plugins.erase(THEIRS).await.unwrap() + erase(store, THEIRS, &SPACES).await.unwrap() > 0 {}
}

#[tokio::test]
async fn of_an_organisation_that_is_erased_no_plugin_is_left_and_no_component_that_is_nobody_elses() {
    let store = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&store)).await;
    let plugins = house.plugins().await;
    fill(&plugins).await;
    let others: Vec<_> =
        rows(&store).await.into_iter().filter(|(key, _)| key.organisation() != Some(THEIRS.0)).collect();
    let expected: BTreeSet<_> = plugins
        .table()
        .installed()
        .iter()
        .filter(|installed| installed.owner != Owner::Organisation(THEIRS))
        .map(|installed| installed.digest.to_string())
        .collect();
    assert_eq!((house.services.objects.list().unwrap().len(), expected.len()), (5, 3));
    erased(&plugins, &store).await;

    assert_eq!(rows(&store).await, others);
    let there: BTreeSet<_> = house.services.objects.list().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(there, expected);
    assert!(house.compiled().is_subset(&expected), "its machine code goes too");
    assert!(plugins.get(Owner::Organisation(THEIRS), "probe").is_none());
    assert!(plugins.get(Owner::Organisation(OURS), "probe").is_some());
    let given = |id| plugins.settings(id, "greeter").unwrap().given.len();
    assert_eq!((given(OURS), given(THEIRS)), (1, 0));
    assert_eq!(plugins.erase(THEIRS).await.unwrap(), 0);
}

#[tokio::test]
async fn what_a_crash_cut_off_of_an_erasing_is_gone_on_with() {
    for commits in 1.. {
        let store = Arc::new(MemoryStore::new());
        let house = House::on(Arc::clone(&store)).await;
        fill(&*house.plugins().await).await;
        let crashing = Arc::new(store.restart_with_crashes(Crash::After(commits)));
        let done = match Plugins::open(house.again(Arc::clone(&crashing)).await.services, house.limits).await
        {
            Ok(plugins) => plugins.erase(THEIRS).await.is_ok(),
            Err(_) => false,
        };
        let store = Arc::new(crashing.restart());
        let after = house.again(Arc::clone(&store)).await;
        let plugins = after.plugins().await;
        erased(&plugins, &store).await;
        assert_eq!(after.services.objects.list().unwrap().len(), 3, "after {commits} commits");
        let left = rows(&store).await.into_iter().filter(|(key, _)| key.organisation() == Some(THEIRS.0));
        assert_eq!((left.count(), store.unread().count()), (0, 0));
        if done {
            assert!(commits > 3, "{commits}");
            return;
        }
    }
}
