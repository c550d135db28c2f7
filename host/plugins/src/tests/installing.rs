//! What is installed and what is refused, what it is granted, and who finds it.

use std::sync::Arc;

use bellwether_access::{AuditFilter, AuditScope};
use bellwether_kernel::{ErrorKind, OrganisationId, PageRequest};
use bellwether_playbooks::Apps;
use bellwether_store::{Crash, MemoryStore};
use bytes::Bytes;

use super::{ANSWERS, LOGS, ORGANISATION, grants, install, run};
use crate::testing::{House, app, component, named, named_app};
use crate::{Installed, Owner, PluginError, Privilege, inspect};

#[tokio::test]
async fn an_install_grants_exactly_what_is_asked_for() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let imports = r#"(import "bellwether:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))
        (import "bellwether:host/metrics-write@0.1.0" "delete" (func (param i32 i64 i32 i32)))"#;
    let bytes = app(imports, "", ANSWERS);
    let inspection = inspect(&bytes).unwrap();
    let requests: Vec<_> = inspection.requests.iter().map(|request| request.privilege).collect();
    assert_eq!(requests, [Privilege::Log, Privilege::MetricsWrite]);
    assert_eq!(inspection.problems, [""; 0]);

    let error = install(&plugins, bytes.clone(), &["log"]).await.unwrap_err();
    assert!(
        matches!(&error, PluginError::NotGranted { missing, .. } if *missing == [Privilege::MetricsWrite])
    );
    assert!(error.to_string().contains("--grant metrics-write=web.*"), "{error}");
    let error = install(&plugins, bytes.clone(), &["log", "metrics-write=*", "clock"]).await.unwrap_err();
    assert!(matches!(error, PluginError::NotRequested { surplus, .. } if surplus == [Privilege::Clock]));
    let error =
        install(&plugins, bytes.clone(), &["log", "metrics-write=a", "metrics-write=b"]).await.unwrap_err();
    assert!(matches!(error, PluginError::Grant(_)), "{error}");
    assert!(plugins.get(Owner::Host, "probe").is_none(), "what is refused leaves nothing behind");
    assert_eq!(house.services.objects.list().unwrap(), []);
    install(&plugins, bytes, &["metrics-write=web.*", "log"]).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_the_reason() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let collector = component(
        "collector-plugin",
        r#"(module (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
            (func (export "bellwether:plugin/collector@0.1.0#collect") (param i32 i32 i32 i32) (result i32) (unreachable)))"#,
        "puller",
        "1.0.0",
    );
    let of = |text: &str, name: &str| named(wat::parse_str(text).unwrap(), name, "1.0.0");
    let newer =
        of(r#"(component (import "bellwether:host/log@0.2.0" (instance (export "write" (func)))))"#, "newer");
    let foreign =
        of(r#"(component (import "wasi:keyvalue/store@0.2.0" (instance (export "f" (func)))))"#, "foreign");
    let impure = of(
        r#"(component (import "bellwether:host/log@0.1.0" (instance $log (export "write" (func))))
            (export "bellwether:plugin/detector@0.1.0" (instance $log)))"#,
        "impure",
    );
    let unknown = of(
        r#"(component (import "bellwether:host/shell@0.1.0" (instance (export "run" (func)))))"#,
        "unknown",
    );
    for (bytes, reason) in [
        (Bytes::from_static(b"#!/bin/sh"), "does not begin as a WebAssembly component"),
        (wat::parse_str("(module)").unwrap().into(), "core WebAssembly module"),
        (Bytes::from_static(b"\0asm\x0d\0\x01\0\xff\xff"), "malformed"),
        (newer, "made for version 0.2.0 of the contract, this host speaks 0.1.0"),
        (foreign, "imports wasi:keyvalue/store@0.2.0, which this host does not offer"),
        (unknown, "imports bellwether:host/shell@0.1.0, which this host does not offer"),
        (of("(component)", "idle"), "takes no role"),
        (wat::parse_str("(component)").unwrap().into(), "has no name"),
        (of("(component)", "Not A Name"), "its name is \"Not A Name\""),
        (collector, "a role this version of the host does not serve yet"),
        (
            impure,
            "it is a detector, whose answers may depend on nothing but what it is given, and asks for log",
        ),
    ] {
        let error = install(&plugins, bytes, &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
}

#[tokio::test]
async fn a_description_that_fails_or_makes_no_sense_is_refused() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    for (describe, reason) in [
        ("(loop (br 0))", "plugin probe 1.2.3: app.describe: ran out of its 300 ms"),
        ("(unreachable)", "plugin probe 1.2.3: app.describe: trapped"),
        // The output's name is empty.
        ("(i32.store (i32.const 1156) (i32.const 0))", "app.describe: outputs[0].name is \"\""),
        // Two inputs where the output is: memory behind it is read as the second, whose name is empty.
        (
            "(i32.store (i32.const 1108) (i32.const 4096)) (i32.store (i32.const 1112) (i32.const 1))",
            "app.describe: inputs[0].name is \"\"",
        ),
    ] {
        let error = install(&plugins, app("", describe, ANSWERS), &[]).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
    assert!(plugins.list(Owner::Host, &PageRequest::first(10)).unwrap().items.is_empty());
}

#[tokio::test]
async fn a_description_reaches_nothing_even_with_a_grant() {
    let imports =
        r#"(import "bellwether:host/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32 i32)))"#;
    let describe = "(call $set (i32.const 1000) (i32.const 1) (i32.const 1) (i32.const 1000) (i32.const 1) (i32.const 2000))
        (if (i32.eqz (i32.load8_u (i32.const 2000))) (then (unreachable)))";
    let house = House::new().await;
    let plugins = house.plugins().await;
    // It traps if the set took effect.
    install(&plugins, app(imports, describe, ANSWERS), &["state"]).await.unwrap();
}

#[tokio::test]
async fn a_new_version_takes_over_while_calls_finish_on_the_old_one() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let old = install(&plugins, app("", "", ANSWERS), &[]).await.unwrap();
    let before = plugins.app(ORGANISATION, "probe").unwrap();
    let next = named_app("probe", "2.0.0", "", "", "(global.get $failed)");
    install(&plugins, next, &[]).await.unwrap();
    assert!(run(&*before).await.result.is_ok());
    let after = plugins.app(ORGANISATION, "probe").unwrap();
    assert_eq!(after.version(), "2.0.0");
    assert!(run(&*after).await.result.is_err());
    let kept = house.services.objects.list().unwrap();
    assert!(kept.len() == 2 && kept.contains(&old.digest), "the old version is kept");
}

#[tokio::test]
async fn an_organisations_own_plugin_stands_before_the_hosts() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app("", "", ANSWERS), &[]).await.unwrap();
    let own = named_app("probe", "9.0.0", "", "", ANSWERS);
    let owner = Owner::Organisation(ORGANISATION);
    plugins.install(owner, "key", own, Vec::new(), false).await.unwrap();
    let version =
        |organisation| plugins.app(OrganisationId(organisation), "probe").map(|app| app.version().to_owned());
    assert_eq!(version(1).as_deref(), Some("9.0.0"));
    assert_eq!(version(2).as_deref(), Some("1.2.3"));
    // Switched off, it does not let the other one through.
    plugins.set_enabled(owner, "key", "probe", false).await.unwrap();
    assert_eq!(version(1), None);
    plugins.set_enabled(owner, "key", "probe", true).await.unwrap();
    assert_eq!(version(1).as_deref(), Some("9.0.0"));
    plugins.remove(owner, "key", "probe").await.unwrap();
    assert_eq!(version(1).as_deref(), Some("1.2.3"));
    assert!(matches!(plugins.remove(owner, "key", "probe").await, Err(PluginError::Unknown(_))));
}

#[tokio::test]
async fn what_is_installed_is_there_after_a_restart() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app(LOGS, "", ANSWERS), &["log"]).await.unwrap();
    plugins
        .install(
            Owner::Organisation(ORGANISATION),
            "key",
            named_app("mine", "1.0.0", "", "", ANSWERS),
            Vec::new(),
            false,
        )
        .await
        .unwrap();
    let before = plugins.get(Owner::Host, "probe").unwrap();
    let again = house.plugins().await;
    assert_eq!(again.get(Owner::Host, "probe").unwrap(), before);
    assert!(run(&*again.app(ORGANISATION, "mine").unwrap()).await.result.is_ok());
    assert!(again.app(OrganisationId(2), "mine").is_none());
}

#[tokio::test]
async fn a_plugin_that_does_not_load_is_shown_and_does_not_keep_the_host_from_starting() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let installed = install(&plugins, app("", "", ANSWERS), &[]).await.unwrap();
    house.services.objects.remove(&installed.digest).unwrap();
    house.services.engine.forget(installed.digest.as_bytes());
    let again = house.plugins().await;
    let broken = again.get(Owner::Host, "probe").unwrap();
    assert!(
        broken
            .problem
            .as_ref()
            .is_some_and(|problem| problem.contains(" is missing: install that version again")),
        "{broken:?}"
    );
    assert!(again.app(ORGANISATION, "probe").is_none());
    again.install(Owner::Host, "host", app("", "", ANSWERS), Vec::new(), true).await.unwrap();
    assert!(again.app(ORGANISATION, "probe").is_some());
}

#[tokio::test]
async fn installs_grants_and_removals_are_audited_with_what_they_tell_of() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app(LOGS, "", ANSWERS), &["log"]).await.unwrap();
    plugins.set_grants(Owner::Host, "host", "probe", grants(&["log"])).await.unwrap();
    let error = plugins.set_grants(Owner::Host, "host", "probe", Vec::new()).await.unwrap_err();
    assert!(matches!(error, PluginError::NotGranted { .. }));
    plugins.remove(Owner::Host, "host", "probe").await.unwrap();
    let log = house
        .services
        .access
        .audit_log(AuditScope::Host, &AuditFilter::default(), &PageRequest::first(10))
        .await
        .unwrap();
    let actions: Vec<_> =
        log.items.iter().map(|entry| (entry.action.as_str(), entry.target.as_str())).collect();
    assert_eq!(actions, [("plugin.remove", "probe"), ("plugin.grant", "probe"), ("plugin.install", "probe")]);
    assert!(log.items[2].details.contains(&("grants".to_owned(), "log".to_owned())));
}

#[tokio::test]
async fn plugins_are_listed_by_name_a_page_at_a_time() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    for name in ["c", "a", "b"] {
        install(&plugins, named_app(name, "1.0.0", "", "", ANSWERS), &[]).await.unwrap();
    }
    let names = |page: &bellwether_kernel::Page<Arc<Installed>>| {
        page.items.iter().map(|plugin| plugin.name.clone()).collect::<Vec<_>>()
    };
    let first = plugins.list(Owner::Host, &PageRequest::first(2)).unwrap();
    assert_eq!(names(&first), ["a", "b"]);
    let second = plugins.list(Owner::Host, &PageRequest { limit: 2, cursor: first.next }).unwrap();
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second.next, None);
    assert!(
        plugins.list(Owner::Organisation(ORGANISATION), &PageRequest::first(2)).unwrap().items.is_empty()
    );
}

#[tokio::test]
async fn what_is_refused_leaves_no_machine_code_behind_and_neither_does_what_a_crash_cut_off() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app("", "", ANSWERS), &[]).await.unwrap();
    let kept = house.compiled();
    assert_eq!(kept.len(), 1);
    let trapping = named_app("other", "1.0.0", "", "(unreachable)", ANSWERS);
    let same_version = app("", "", "(unreachable)");
    for (refused, reason) in [(trapping, "trapped"), (same_version, "is installed already")] {
        let error = install(&plugins, refused, &[]).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(house.compiled(), kept, "{reason}");
    }
    // What is refused for another reason than what it is stays, where another has it.
    let own = Owner::Organisation(ORGANISATION);
    plugins.install(own, "key", app("", "", ANSWERS), vec![], false).await.unwrap();
    plugins.remove(own, "key", "probe").await.unwrap();
    assert_eq!(house.compiled(), kept);

    let cut_off = named_app("cut-off", "1.0.0", "", "", ANSWERS);
    house.services.engine.compile(cut_off, house.limits.call.memory).await.unwrap();
    assert_eq!(house.compiled().len(), 2);
    house.plugins().await;
    assert_eq!(house.compiled(), kept);
}

#[tokio::test]
async fn a_crash_leaves_either_a_plugin_or_no_file_of_it() {
    let (first, second) = (app("", "", ANSWERS), named_app("probe", "2.0.0", "", "", ANSWERS));
    let files = |house: &House| house.services.objects.list().unwrap().len();
    for commit in 1..=6 {
        for crash in [Crash::Before(commit), Crash::After(commit)] {
            let store = Arc::new(MemoryStore::new());
            let house = House::on(Arc::clone(&store)).await;
            let store = Arc::new(store.restart_with_crashes(crash));
            let house = house.again(Arc::clone(&store)).await;
            let plugins = house.plugins().await;
            let _ = install(&plugins, first.clone(), &[]).await;
            let _ = install(&plugins, second.clone(), &[]).await;
            let _ = plugins.remove(Owner::Host, "key", "probe").await;

            let house = house.again(Arc::new(store.restart())).await;
            let plugins = house.plugins().await;
            let there = plugins.get(Owner::Host, "probe").map(|_| {
                let page = plugins.versions(Owner::Host, "probe", &PageRequest::first(10)).unwrap();
                page.items.len()
            });
            assert_eq!(files(&house), there.unwrap_or_default(), "{crash:?}");
            assert_eq!(plugins.lost_components().await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn an_organisation_installs_so_many_plugins_and_the_operator_any_number() {
    let mut house = House::new().await;
    house.limits.per_organisation = 1;
    let plugins = house.plugins().await;
    let named = |name: &str, version: &str| named_app(name, version, "", "", ANSWERS);
    let own = Owner::Organisation(ORGANISATION);
    for (owner, name, version, fits) in [
        (own, "first", "1.0.0", true),
        (own, "second", "1.0.0", false),
        (own, "first", "2.0.0", true),
        (Owner::Organisation(OrganisationId(2)), "first", "1.0.0", true),
        (Owner::Host, "first", "1.0.0", true),
        (Owner::Host, "second", "1.0.0", true),
    ] {
        match plugins.install(owner, "key", named(name, version), vec![], false).await {
            Ok(_) => assert!(fits, "{name} {version} of {owner:?}"),
            Err(error) => {
                assert!(!fits && error.kind() == ErrorKind::Conflict, "{error}");
                let told = "the plugin second would be one too many: an organisation has at most 1 of its own; remove one, \
                    or have the operator raise plugins.per_organisation";
                assert_eq!(error.to_string(), told);
            }
        }
    }
}
