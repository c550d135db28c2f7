//! Which version is the current one, which are kept, and how they come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellwether_alerts::{RoleKind, Roles as _};
use bellwether_engine::Instances;
use bellwether_kernel::{PageRequest, Timestamp};
use bellwether_playbooks::Apps;
use bellwether_store::{Batch, Crash, MemoryStore, Store, Versioned};
use serde::Serialize;

use super::{OURS, actions, answered, current, install, probe, run, run_id, versions, with_versions};
use crate::host::{state_rows, state_size};
use crate::testing::{House, detector, named_app};
use crate::{Change, Grant, Owner, PluginError, VersionState};

#[tokio::test]
async fn a_newer_version_is_current_and_those_before_are_kept_and_loaded_when_they_are_called() {
    let house = House::new().await;
    with_versions(&house, &[1, 2]).await;
    let again = house.plugins().await;
    let (kept, now) = (VersionState::Kept, VersionState::Current);
    assert_eq!(versions(&again), [("2.0.0".into(), now, true), ("1.0.0".into(), kept, false)]);
    assert_eq!(answered(&*again.app(OURS, "probe").unwrap()).await, 2);
    let old = again.app_version(OURS, "probe", "1.0.0").unwrap();
    assert_eq!((old.version(), old.description().summary.as_str()), ("1.0.0", "a probe"));
    assert_eq!(answered(&*old).await, 1);
    assert_eq!(versions(&again)[1], ("1.0.0".into(), kept, true));
    assert_eq!(again.app_versions(OURS, "probe"), ["2.0.0", "1.0.0"]);
    assert!(again.app_version(OURS, "probe", "3.0.0").is_none());
    for _ in 0..crate::limits::VERSION_RESTS {
        again.rest();
    }
    assert!(versions(&again)[1].2, "it was called a short while ago");
    again.rest();
    assert_eq!(versions(&again), [("2.0.0".into(), now, true), ("1.0.0".into(), kept, false)]);
    assert_eq!(answered(&*old).await, 1, "who holds it has it loaded again");
}

#[tokio::test]
async fn the_same_component_again_changes_nothing_and_another_of_its_version_is_refused_unless_it_is_to_replace_it()
 {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1, 2]).await;
    let before = plugins.get(Owner::Host, "probe").unwrap();
    house.clock.advance(60_000);
    assert_eq!(install(&plugins, probe(2)).await.unwrap(), before);
    assert_eq!(actions(&house).await.len(), 2);
    // An older one again is the current one again, as it was installed.
    let older = install(&plugins, probe(1)).await.unwrap();
    assert_eq!((current(&plugins).as_str(), older.installed < before.installed), ("1.0.0", true));

    let other = named_app("probe", "2.0.0", "", "", "(global.get $ok)");
    let error = install(&plugins, other.clone()).await.unwrap_err();
    assert!(matches!(&error, PluginError::Exists { version, same_digest: false, .. } if version == "2.0.0"));
    assert!(error.to_string().contains("give this one another version"), "{error}");
    let old = plugins.app_version(OURS, "probe", "2.0.0").unwrap();
    plugins.install(Owner::Host, "key", other, Vec::new(), true).await.unwrap();
    assert_eq!(answered(&*old).await, 7, "who found it before calls what has taken its place");
    assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 7);
    assert_eq!(versions(&plugins).len(), 2);
    assert_eq!(house.services.objects.list().unwrap().len(), 2, "the component it replaced is gone");
}

#[tokio::test]
async fn the_same_component_with_other_grants_is_refused_unless_it_is_to_replace_them() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let imports = r#"(import "bellwether:host/metrics-write@0.1.0" "delete" (func (param i32 i64 i32 i32)))"#;
    let bytes = named_app("probe", "1.0.0", imports, "", "(global.get $ok)");
    let install = async |grant: &str, replace| {
        let grants: Vec<Grant> = vec![grant.parse().unwrap()];
        plugins.install(Owner::Host, "key", bytes.clone(), grants, replace).await
    };
    install("metrics-write=a", false).await.unwrap();
    let error = install("metrics-write=*", false).await.unwrap_err();
    assert!(matches!(&error, PluginError::Exists { same_digest: true, .. }), "{error}");
    let installed = install("metrics-write=*", true).await.unwrap();
    assert_eq!(installed.grants[0].to_string(), "metrics-write=*");
}

#[tokio::test]
async fn rolling_back_goes_to_what_was_installed_before_or_to_the_version_named() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1, 2, 3]).await;
    let back = async |version| plugins.roll_back(Owner::Host, "key", "probe", version).await;
    assert_eq!(back(None).await.unwrap().version, "2.0.0");
    assert_eq!(back(None).await.unwrap().version, "1.0.0");
    assert!(matches!(back(None).await, Err(PluginError::NothingBefore(_))));
    assert_eq!(back(Some("3.0.0")).await.unwrap().version, "3.0.0");
    assert!(matches!(back(Some("3.0.0")).await, Err(PluginError::Invalid(_))));
    let error = back(Some("9.0.0")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no version \"9.0.0\" of the plugin probe: there is 3.0.0, 2.0.0, 1.0.0"
    );
    back(Some("2.0.0")).await.unwrap();
    assert_eq!(current(&*house.plugins().await), "2.0.0", "it is so after a restart");
    assert_eq!(actions(&house).await[0], ("plugin.roll-back".to_owned(), "key".to_owned()));
}

#[tokio::test]
async fn it_is_kept_which_of_the_host_s_were_removed_until_they_are_installed_again() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let own = Owner::Organisation(OURS);
    plugins.install(own, "key", probe(1), Vec::new(), false).await.unwrap();
    plugins.remove(own, "key", "probe").await.unwrap();
    assert!(!plugins.was_removed("probe").await.unwrap(), "it is an organisation's that was removed");
    plugins.remove(Owner::Host, "key", "probe").await.unwrap();
    let again = house.plugins().await;
    assert!(again.was_removed("probe").await.unwrap());
    install(&again, probe(2)).await.unwrap();
    assert!(!again.was_removed("probe").await.unwrap());
}

#[tokio::test]
async fn a_plugin_finds_nothing_of_what_one_of_its_name_kept_whose_removal_was_cut_off() {
    let mut store = Arc::new(MemoryStore::new());
    let house = House::on(Arc::clone(&store)).await;
    let organisation = house.services.access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    for owner in [Owner::Host, Owner::Organisation(organisation)] {
        let state = owner.state_name("probe");
        let kept = [state_rows(organisation, &state).text("key"), state_size(organisation, &state)];
        let plugins = house.again(Arc::clone(&store)).await.plugins().await;
        plugins.install(owner, "key", probe(1), Vec::new(), false).await.unwrap();
        let mut batch = Batch::new();
        batch.put(kept[0].clone(), "value").put(kept[1].clone(), "8 bytes.");
        store.commit(batch).await.unwrap();
        // The host dies as the plugin is gone, and before what it kept is.
        store = Arc::new(store.restart_with_crashes(Crash::After(1)));
        let plugins = house.again(Arc::clone(&store)).await.plugins().await;
        plugins.remove(owner, "key", "probe").await.unwrap_err();
        store = Arc::new(store.restart());
        let plugins = house.again(Arc::clone(&store)).await.plugins().await;
        assert!(plugins.get(owner, "probe").is_none());
        assert!(store.get(&kept[0]).await.unwrap().is_some());
        plugins.install(owner, "key", probe(1), Vec::new(), false).await.unwrap();
        for key in &kept {
            assert_eq!(store.get(key).await.unwrap(), None, "{key:?}");
        }
    }
}

#[tokio::test]
async fn a_version_that_does_not_load_is_not_rolled_back_to() {
    let house = House::new().await;
    let first = install(&*house.plugins().await, probe(1)).await.unwrap();
    install(&*house.plugins().await, probe(2)).await.unwrap();
    house.services.objects.remove(&first.digest).unwrap();
    house.services.engine.forget(first.digest.as_bytes());
    let plugins = house.plugins().await;
    let error = plugins.roll_back(Owner::Host, "key", "probe", Some("1.0.0")).await.unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
    assert_eq!(current(&plugins), "2.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_s_call_fails_or_waits_while_versions_come_and_go() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let done = Arc::new(AtomicBool::new(false));
    let callers = (0..4_u128).map(|caller| {
        let (plugins, done) = (Arc::clone(&plugins), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut calls, mut seen) = (0, BTreeSet::new());
            while !done.load(Ordering::Relaxed) {
                let app = plugins.app_for(OURS, "probe", run_id(caller << 64 | calls), &|_| true).unwrap();
                let answer = answered(&*app).await;
                assert_eq!(format!("{answer}.0.0"), app.version(), "one version answers");
                seen.insert(answer);
                calls += 1;
            }
            (calls, seen)
        })
    });
    let callers: Vec<_> = callers.collect();
    for number in (2..20).step_by(3) {
        install(&plugins, probe(number)).await.unwrap();
        plugins.install_canary(Owner::Host, "key", probe(number + 1), Vec::new(), false, 50).await.unwrap();
        plugins.promote(Owner::Host, "key", "probe").await.unwrap();
        plugins.roll_back(Owner::Host, "key", "probe", None).await.unwrap();
        let kept = versions(&plugins);
        let unused = kept.iter().find(|(_, state, _)| *state == VersionState::Kept).unwrap();
        plugins.remove_version(Owner::Host, "key", "probe", &unused.0, false).await.unwrap();
        house.clock.advance(1_000);
    }
    done.store(true, Ordering::Relaxed);
    let (mut calls, mut seen) = (0, BTreeSet::new());
    for caller in callers {
        let (some, of) = caller.await.unwrap();
        calls += some;
        seen.extend(of);
    }
    assert!(calls > 100 && seen.len() > 3, "{calls} calls of {seen:?}");
}

#[tokio::test]
async fn an_app_that_is_not_called_is_told_from_one_that_is_not_there() {
    let house = House::new().await;
    let installed = install(&*house.plugins().await, probe(1)).await.unwrap();
    house.services.objects.remove(&installed.digest).unwrap();
    house.services.engine.forget(installed.digest.as_bytes());
    let plugins = house.plugins().await;
    assert!(plugins.app(OURS, "probe").is_none());
    for version in [None, Some("1.0.0")] {
        let why = plugins.why_not(OURS, "probe", version).unwrap();
        assert!(why.starts_with("it does not load: ") && why.contains("is missing"), "{why}");
    }
    assert_eq!(plugins.why_not(OURS, "probe", Some("2.0.0")), None);
    assert_eq!(plugins.why_not(OURS, "another", None), None);
    assert!(!plugins.dialect_is_out("probe"), "it is no dialect");
    plugins.set_enabled(Owner::Host, "key", "probe", false).await.unwrap();
    assert_eq!(plugins.why_not(OURS, "probe", None).as_deref(), Some("it is switched off"));
}

#[tokio::test]
async fn a_detector_that_is_not_called_is_told_from_one_that_is_not_there() {
    let house = House::new().await;
    let installed = install(&*house.plugins().await, detector("1.0.0", 0, "")).await.unwrap();
    house.services.objects.remove(&installed.digest).unwrap();
    house.services.engine.forget(installed.digest.as_bytes());
    let plugins = house.plugins().await;
    install(&plugins, probe(1)).await.unwrap();
    assert!(plugins.detector(OURS, "judge").is_none());
    let told = |name, role| plugins.not_called(OURS, name, role).to_string();
    let why = told("judge", RoleKind::Detector);
    let named = "the plugin \"judge\" is not called as a detector: it does not load: ";
    assert!(why.starts_with(named) && why.contains("is missing"), "{why}");
    plugins.set_enabled(Owner::Host, "key", "judge", false).await.unwrap();
    for (name, role, why) in [
        ("judge", RoleKind::Detector, "the plugin \"judge\" is not called as a detector: it is switched off"),
        ("judge", RoleKind::Formatter, "the plugin \"judge\" is not called as a formatter: it is a detector"),
        ("probe", RoleKind::Forecaster, "the plugin \"probe\" is not called as a forecaster: it is an app"),
        ("another", RoleKind::Detector, "there is no detector \"another\""),
    ] {
        assert_eq!(told(name, role), why);
    }
}

#[tokio::test]
async fn what_its_calls_came_to_is_told_by_version() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let traps = named_app("probe", "2.0.0", "", "", "(unreachable)");
    plugins.install_canary(Owner::Host, "key", traps, Vec::new(), false, 0).await.unwrap();
    answered(&*plugins.app(OURS, "probe").unwrap()).await;
    assert!(run(&*plugins.app_version(OURS, "probe", "2.0.0").unwrap()).await.result.is_err());
    let stats = plugins.stats(Owner::Host, "probe").unwrap();
    let told: Vec<_> = stats
        .iter()
        .map(|stats| (stats.stats.version.as_str(), stats.state, stats.stats.roles[0].calls.faults()))
        .collect();
    assert_eq!(told, [("1.0.0", VersionState::Current, 0), ("2.0.0", VersionState::Canary, 1)]);
    let traps = plugins.traps(Owner::Host, "probe").unwrap();
    assert_eq!((traps.len(), traps[0].version.as_str()), (1, "2.0.0"));
    assert!(plugins.logs(Owner::Host, "probe", Some(OURS)).unwrap().is_empty());
}

#[tokio::test]
async fn a_plugin_that_a_host_of_an_earlier_version_installed_is_there_with_its_one_version() {
    /// As that host wrote it.
    #[derive(Serialize, serde::Deserialize)]
    struct First {
        version: String,
        description: Option<String>,
        contract: String,
        roles: Vec<crate::PluginRole>,
        grants: Vec<String>,
        digest: bellwether_store::Digest,
        size: u64,
        installed: Timestamp,
        actor: String,
        enabled: bool,
    }
    impl Versioned for First {
        const NAME: &'static str = "plugin";
    }
    let house = House::new().await;
    let bytes = probe(1);
    let digest = house.services.objects.put(&bytes).unwrap();
    let row = First {
        version: "1.0.0".into(),
        description: Some("old".into()),
        contract: crate::CONTRACT.into(),
        roles: vec![crate::PluginRole::App],
        grants: Vec::new(),
        digest,
        size: bytes.len() as u64,
        installed: house.services.clock.now(),
        actor: "host".into(),
        enabled: true,
    };
    let mut batch = Batch::new();
    batch.put(Owner::Host.row("probe"), bellwether_store::encode(&row));
    house.services.store.commit(batch).await.unwrap();
    let plugins = house.plugins().await;
    assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 1);
    assert_eq!(plugins.get(Owner::Host, "probe").unwrap().description.as_deref(), Some("old"));
    house.clock.advance(1_000);
    install(&plugins, probe(2)).await.unwrap();
    let again = house.plugins().await;
    assert_eq!(again.app_versions(OURS, "probe"), ["2.0.0", "1.0.0"]);
    assert_eq!(answered(&*again.app_version(OURS, "probe", "1.0.0").unwrap()).await, 1);
}

#[tokio::test]
async fn versions_are_listed_newest_first_a_page_at_a_time() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1, 2, 3]).await;
    let page = |cursor| plugins.versions(Owner::Host, "probe", &PageRequest { limit: 2, cursor }).unwrap();
    let names = |page: &bellwether_kernel::Page<crate::KeptVersion>| {
        page.items.iter().map(|kept| kept.installed.version.clone()).collect::<Vec<_>>()
    };
    let first = page(None);
    assert_eq!(names(&first), ["3.0.0", "2.0.0"]);
    let second = page(first.next);
    assert_eq!((names(&second), second.next), (vec!["1.0.0".to_owned()], None));
}

#[tokio::test]
async fn a_version_installed_while_the_plugin_is_off_is_shown_so_and_not_kept_loaded() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.set_enabled(Owner::Host, "key", "probe", false).await.unwrap();
    for _ in 0..2 {
        let installed = install(&plugins, probe(2)).await.unwrap();
        assert!(!installed.enabled && installed.app.is_none(), "{installed:?}");
        assert_eq!((current(&plugins).as_str(), plugins.app(OURS, "probe").is_none()), ("2.0.0", true));
        assert!(versions(&plugins).iter().all(|(_, _, loaded)| !loaded), "{:?}", versions(&plugins));
    }
    plugins.set_enabled(Owner::Host, "key", "probe", true).await.unwrap();
    assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 2);
}

#[tokio::test]
async fn how_a_plugin_is_called_changes_in_one_commit() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    for (enabled, instances, action) in [
        (Some(false), Some(Instances::Warm), Some("plugin.disable")),
        (None, None, None),
        (Some(true), Some(Instances::Fresh), Some("plugin.enable")),
        (None, Some(Instances::Warm), Some("plugin.instances")),
    ] {
        let told = actions(&house).await.len();
        let before = plugins.get(Owner::Host, "probe").unwrap();
        let changed =
            plugins.change(Owner::Host, "key", "probe", Change { enabled, instances }).await.unwrap();
        assert_eq!(changed.enabled, enabled.unwrap_or(before.enabled));
        assert_eq!(changed.instances, instances.unwrap_or(before.instances));
        assert_eq!(changed.enabled, plugins.app(OURS, "probe").is_some());
        let new: Vec<_> = actions(&house).await.into_iter().map(|(action, _)| action).collect();
        assert_eq!(new.len() - told, action.iter().len());
        assert!(action.is_none_or(|action| new[0] == action), "{new:?}");
    }
    let again = house.plugins().await;
    assert_eq!(again.get(Owner::Host, "probe").unwrap().instances, Instances::Warm);
    assert_eq!(answered(&*again.app(OURS, "probe").unwrap()).await, 1);
}
