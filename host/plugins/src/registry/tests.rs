//! What is promised of a plugin's versions, on components made from text.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bellwether_access::{AuditFilter, AuditScope, Role};
use bellwether_alerts::{Points, Regular, Roles as _, Settings};
use bellwether_kernel::{OrganisationId, PageRequest, RunId, Timestamp};
use bellwether_playbooks::{App, AppCall, AppReport, Apps, Pin, PinnedBy, Pins, PlaybookError, Value};
use bellwether_store::{Batch, Versioned};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use crate::testing::{House, detector, dialect, named_app, principal};
use crate::{CanaryOutcome, Grant, Installed, LimitOverrides, Owner, PluginError, Plugins, VersionState};

const OURS: OrganisationId = OrganisationId(1);

/// The app `probe` of version `number.0.0`, which answers `number`.
fn probe(number: u8) -> Bytes {
    let answer = format!("(i64.store (i32.const 1264) (i64.const {number})) (global.get $ok)");
    named_app("probe", &format!("{number}.0.0"), "", "", &answer)
}

/// The same, and it fails.
fn failing(number: u8) -> Bytes {
    named_app("probe", &format!("{number}.0.0"), "", "", "(global.get $failed)")
}

async fn install(plugins: &Plugins, bytes: Bytes) -> Result<Arc<Installed>, PluginError> {
    plugins.install(Owner::Host, "key", bytes, Vec::new(), false).await
}

/// A host with these versions of `probe`, installed in this order.
async fn with_versions(house: &House, numbers: &[u8]) -> Arc<Plugins> {
    let plugins = house.plugins().await;
    for number in numbers {
        install(&plugins, probe(*number)).await.unwrap();
        house.clock.advance(1_000);
    }
    plugins
}

async fn run(app: &dyn App) -> AppReport {
    let call = AppCall {
        principal: principal(1, Role::Write),
        idempotency_key: "k".into(),
        attempt: 1,
        inputs: Vec::new(),
        time_limit: Duration::from_secs(60),
        effects: None,
    };
    app.run(call).await
}

/// Which version answered.
async fn answered(app: &dyn App) -> i64 {
    match &run(app).await.result.unwrap()[..] {
        [(name, Value::Integer(answer))] if name == "answer" => *answer,
        other => panic!("{other:?}"),
    }
}

fn current(plugins: &Plugins) -> String {
    plugins.get(Owner::Host, "probe").unwrap().version.clone()
}

fn versions(plugins: &Plugins) -> Vec<(String, VersionState, bool)> {
    let kept = plugins.versions(Owner::Host, "probe", &PageRequest::first(100)).unwrap().items;
    kept.into_iter().map(|kept| (kept.installed.version.clone(), kept.state, kept.loaded)).collect()
}

fn run_id(number: u128) -> RunId {
    format!("{number:032x}").parse().unwrap()
}

async fn actions(house: &House) -> Vec<(String, String)> {
    let filter = AuditFilter::default();
    let log =
        house.services.access.audit_log(AuditScope::Host, &filter, &PageRequest::first(100)).await.unwrap();
    log.items.into_iter().map(|entry| (entry.action, entry.actor)).collect()
}

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
    assert_eq!(answered(&*old).await, 2, "a call that began finishes on what it began with");
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

/// Keeps to what it is told.
#[derive(Default)]
struct Keeping(Mutex<Vec<Pin>>);

#[async_trait]
impl Pins for Keeping {
    async fn pins(&self, organisation: OrganisationId, app: &str) -> Result<Vec<Pin>, PlaybookError> {
        let ours = organisation == OURS && app == "probe";
        Ok(if ours { self.0.lock().clone() } else { Vec::new() })
    }
}

fn keep(plugins: &Plugins, version: &str) -> Arc<Keeping> {
    let keeping = Arc::new(Keeping::default());
    let pin = |by| Pin { version: Some(version.to_owned()), by };
    *keeping.0.lock() = vec![pin(PinnedBy::Playbook("nightly".into())), pin(PinnedBy::Run(run_id(7)))];
    let pins: std::sync::Weak<Keeping> = Arc::downgrade(&keeping);
    plugins.ask_for_pins(pins);
    keeping
}

#[tokio::test]
async fn the_newest_versions_are_kept_and_those_that_somebody_keeps_to() {
    let house = House::new().await;
    house.services.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let plugins = with_versions(&house, &[1]).await;
    let _keeping = keep(&plugins, "1.0.0");
    for number in 2..=6 {
        install(&plugins, probe(number)).await.unwrap();
        house.clock.advance(1_000);
    }
    let kept: Vec<String> = versions(&plugins).into_iter().map(|(version, ..)| version).collect();
    assert_eq!(kept, ["6.0.0", "5.0.0", "1.0.0"]);
    assert_eq!(house.services.objects.list().unwrap().len(), 3);
}

#[tokio::test]
async fn what_somebody_keeps_to_is_not_removed_unless_forced_and_the_names_are_told_to_its_owner() {
    let house = House::new().await;
    house.services.access.create_organisation("host", "acme", "UTC").await.unwrap();
    let plugins = with_versions(&house, &[1, 2]).await;
    let own = Owner::Organisation(OURS);
    let keeping = keep(&plugins, "1.0.0");
    let told = async |owner, version: Option<&str>| {
        let refused = match version {
            Some(version) => plugins.remove_version(owner, "key", "probe", version, false).await,
            None => plugins.remove(owner, "key", "probe").await,
        };
        refused.unwrap_err().to_string()
    };
    let hosts = "the plugin probe is kept to: 1.0.0 by 2 playbooks and runs of the organisation acme; \
         end or change that first, or force it";
    assert_eq!([told(Owner::Host, Some("1.0.0")).await, told(Owner::Host, None).await], [hosts, hosts]);
    assert!(told(Owner::Host, Some("2.0.0")).await.contains("the current one: roll back"));

    for number in 1..=2 {
        plugins.install(own, "key", probe(number), Vec::new(), false).await.unwrap();
    }
    let error = told(own, Some("1.0.0")).await;
    let run = run_id(7);
    assert!(error.contains(&format!("1.0.0 by the playbook nightly, 1.0.0 by the run {run}")), "{error}");
    // Who calls whichever is current would get the host's.
    let pins = std::mem::take(&mut *keeping.0.lock());
    keeping.0.lock().push(Pin { version: None, by: PinnedBy::Playbook("nightly".into()) });
    plugins.remove(own, "key", "probe").await.unwrap();
    let told_of_current = told(Owner::Host, None).await;
    assert!(told_of_current.contains("the current version by 1 playbooks and runs of"), "{told_of_current}");
    for number in 1..=2 {
        plugins.install(own, "key", probe(number), Vec::new(), false).await.unwrap();
    }
    // Who has a plugin of its own does not keep to the host's.
    plugins.remove(Owner::Host, "key", "probe").await.unwrap();
    assert!(told(own, None).await.contains("the current version by the playbook nightly"));
    plugins.remove_version(own, "key", "probe", "1.0.0", false).await.unwrap();
    *keeping.0.lock() = pins;
    plugins.install(own, "key", probe(1), Vec::new(), false).await.unwrap();
    plugins.install(own, "key", probe(2), Vec::new(), false).await.unwrap();
    plugins.remove_version(own, "key", "probe", "1.0.0", true).await.unwrap();
    assert!(plugins.app_version(OURS, "probe", "1.0.0").is_none());
    plugins.remove(own, "key", "probe").await.unwrap();
    assert!(house.services.objects.list().unwrap().is_empty());
}

#[tokio::test]
async fn a_share_of_the_runs_gets_the_canary_and_each_run_one_version() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", probe(2), Vec::new(), false, 30).await.unwrap();
    assert_eq!(current(&plugins), "1.0.0");
    let version = |plugins: &Plugins, run| plugins.app_for(OURS, "probe", run).unwrap().version().to_owned();
    let chosen: Vec<String> = (0..1_000).map(|number| version(&plugins, run_id(number))).collect();
    let canaries = chosen.iter().filter(|version| *version == "2.0.0").count();
    assert!((250..350).contains(&canaries), "{canaries}");
    let again = house.plugins().await;
    let after: Vec<String> = (0..1_000).map(|number| version(&again, run_id(number))).collect();
    assert_eq!(chosen, after, "another process chooses the same");
    assert_eq!(plugins.app(OURS, "probe").unwrap().version(), "1.0.0", "who is no run gets the current one");

    let error = install(&plugins, probe(3)).await.unwrap_err();
    assert!(matches!(error, PluginError::CanaryOn { version, .. } if version == "2.0.0"));
    let error = plugins.remove_version(Owner::Host, "key", "probe", "2.0.0", true).await.unwrap_err();
    assert!(error.to_string().contains("promote or abort it first"), "{error}");
    plugins.set_canary(Owner::Host, "key", "probe", "2.0.0", 100).await.unwrap();
    assert!((0..100).all(|number| version(&plugins, run_id(number)) == "2.0.0"));
    plugins.promote(Owner::Host, "key", "probe").await.unwrap();
    assert_eq!(current(&plugins), "2.0.0");
    let ended = plugins.canary(Owner::Host, "probe");
    assert!(
        matches!(ended, (None, Some(end)) if end.how == CanaryOutcome::Promoted && end.version == "2.0.0")
    );
    plugins.set_canary(Owner::Host, "key", "probe", "1.0.0", 50).await.unwrap();
    plugins.abort(Owner::Host, "key", "probe").await.unwrap();
    assert!((0..100).all(|number| version(&plugins, run_id(number)) == "2.0.0"));
    assert!(matches!(plugins.abort(Owner::Host, "key", "probe").await, Err(PluginError::NoCanary(_))));
    let told: Vec<String> = actions(&house).await.into_iter().map(|(action, _)| action).collect();
    let expected = [
        "plugin.abort",
        "plugin.canary",
        "plugin.promote",
        "plugin.canary",
        "plugin.install",
        "plugin.install",
    ];
    assert_eq!(told, expected);
}

/// Whether monitors `0..count` that set nothing got which version of `judge`, and a verdict.
async fn judged(plugins: &Plugins, count: u64) -> Vec<(String, bool)> {
    let (settings, mut all) = (serde_json::Map::new(), Vec::new());
    let points = Points { times: vec![Timestamp::MIN], step: None, values: vec![vec![1.0]], learn: true };
    for monitor in 0..count {
        let regular = Regular { name: &monitor.to_be_bytes(), settings: &settings };
        let judge = plugins.detector_for(OURS, "judge", &regular).unwrap();
        let verdict = judge.detect(&Settings::default(), &[], &points).await;
        all.push((judge.version().to_owned(), verdict.is_ok()));
    }
    all
}

#[tokio::test]
async fn a_share_of_the_monitors_gets_the_canary_of_their_detector_until_it_fails() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, detector("1.0.0", 0, "")).await.unwrap();
    let canary = |number, requires, detect| {
        let bytes = detector(number, requires, detect);
        plugins.install_canary(Owner::Host, "key", bytes, Vec::new(), false, 30)
    };
    canary("2.0.0", 0, "").await.unwrap();
    let first = judged(&plugins, 300).await;
    let tried = first.iter().filter(|(version, _)| version == "2.0.0").count();
    assert!((60..120).contains(&tried), "{tried}");
    assert!(first.iter().all(|(_, answered)| *answered));
    assert_eq!(judged(&plugins, 300).await, first, "each monitor keeps its version");
    let one_who_tries = plugins.detector(OURS, "judge").unwrap();
    assert_eq!(one_who_tries.version(), "1.0.0");
    plugins.promote(Owner::Host, "key", "judge").await.unwrap();

    let nonsense = "(f64.store (i32.const 1400) (f64.const 2))";
    for (version, requires, detect, answered) in
        [("3.0.0", 0, "unreachable", false), ("4.0.0", 1, "", true), ("5.0.0", 0, nonsense, false)]
    {
        canary(version, requires, detect).await.unwrap();
        let got = judged(&plugins, 300).await;
        assert_eq!(
            got.iter().all(|(_, answer)| *answer),
            answered,
            "one whose settings are refused has another"
        );
        let end = ended(&plugins, "judge").await;
        assert_eq!((end.how, end.version.as_str()), (CanaryOutcome::RolledBack, version));
        let reason = end.reason.unwrap();
        assert!(reason.starts_with("20 of 20 calls failed, against 0 of "), "{reason}");
        assert!(judged(&plugins, 50).await.iter().all(|got| *got == ("2.0.0".to_owned(), true)));
    }
}

#[tokio::test]
async fn a_canary_is_another_version_that_is_installed_on_at_most_all_calls() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let first = plugins.install_canary(Owner::Host, "key", probe(1), Vec::new(), false, 10).await;
    assert!(matches!(first, Err(PluginError::Invalid(_))), "there is nothing to try it beside");
    install(&plugins, probe(1)).await.unwrap();
    let set = async |version, share| plugins.set_canary(Owner::Host, "key", "probe", version, share).await;
    assert!(matches!(set("1.0.0", 10).await, Err(PluginError::Invalid(_))));
    assert!(matches!(set("2.0.0", 10).await, Err(PluginError::UnknownVersion { .. })));
    assert!(matches!(set("1.0.0", 101).await, Err(PluginError::Invalid(field)) if field.field == "share"));
    let again = plugins.install_canary(Owner::Host, "key", probe(1), Vec::new(), false, 10).await;
    assert!(matches!(again, Err(PluginError::Invalid(_))));
}

/// Waits until the canary is gone, as the host ends it on a task of its own.
async fn ended(plugins: &Plugins, name: &str) -> crate::CanaryEnd {
    loop {
        if let (None, Some(end)) = plugins.canary(Owner::Host, name) {
            return end;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_canary_that_fails_is_rolled_back_by_itself_and_runs_that_began_with_it_keep_it() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", failing(2), Vec::new(), false, 50).await.unwrap();
    let mut began = None;
    for number in 0..200 {
        let app = plugins.app_for(OURS, "probe", run_id(number)).unwrap();
        if app.version() == "2.0.0" {
            assert!(run(&*app).await.result.is_err());
            began = Some(app);
        } else {
            assert_eq!(answered(&*app).await, 1);
        }
    }
    let end = ended(&plugins, "probe").await;
    assert_eq!((end.how, end.version.as_str()), (CanaryOutcome::RolledBack, "2.0.0"));
    let reason = end.reason.unwrap();
    assert!(reason.starts_with("20 of 20 calls failed, against 0 of "), "{reason}");
    assert_eq!(began.unwrap().version(), "2.0.0");
    assert!(plugins.app_version(OURS, "probe", "2.0.0").is_some(), "it is kept");
    assert!(
        (0..200).all(|number| plugins.app_for(OURS, "probe", run_id(number)).unwrap().version() == "1.0.0")
    );
    assert_eq!(actions(&house).await[0], ("plugin.canary-roll-back".to_owned(), "host".to_owned()));
    let again = house.plugins().await;
    assert!(matches!(again.canary(Owner::Host, "probe"), (None, Some(_))), "it is so after a restart");
}

#[tokio::test]
async fn a_dialect_s_canary_answers_its_callers_and_is_rolled_back_when_it_answers_with_500() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, dialect("", "(global.get $ok)")).await.unwrap();
    let broken = "(i32.store16 (i32.const 1400) (i32.const 500)) (global.get $ok)";
    let next = crate::testing::versioned_dialect("0.10.0", broken);
    plugins.install_canary(Owner::Host, "key", next, Vec::new(), false, 50).await.unwrap();
    let headers = http::HeaderMap::new();
    let mut statuses = BTreeSet::new();
    for number in 0..100_u32 {
        let versions = plugins.dialect_versions("speaker").unwrap();
        let picked = versions.pick(None, &number.to_be_bytes());
        let crate::RouteMatch::Found(matched) = picked.route("GET", "/hello/x") else { panic!() };
        let request = crate::DialectRequest {
            matched: &matched,
            method: "GET",
            query: "",
            headers: &headers,
            body: b"",
        };
        let answer = picked.handle(None, request).await.unwrap();
        statuses.insert((picked.version().to_owned(), answer.status.as_u16()));
    }
    let expected = [("0.10.0".to_owned(), 500), ("0.9.0".to_owned(), 201)];
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(ended(&plugins, "speaker").await.how, CanaryOutcome::RolledBack);
    assert!(!plugins.dialect_versions("speaker").unwrap().has_canary());
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
                let app = plugins.app_for(OURS, "probe", run_id(caller << 64 | calls)).unwrap();
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
async fn limits_hold_for_the_current_version_and_those_after_it_and_an_organisation_only_tightens_them() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    let own = Owner::Organisation(OURS);
    plugins.install(own, "key", probe(1), Vec::new(), false).await.unwrap();
    let host = house.limits.shown();
    let tight = LimitOverrides { memory_bytes: Some(1 << 20), ..LimitOverrides::default() };
    let wide = LimitOverrides { memory_bytes: host.memory_bytes.map(|bytes| bytes * 2), ..tight };
    for owner in [own, Owner::Host] {
        let limits = plugins.set_limits(owner, "key", "probe", tight).await.unwrap();
        assert_eq!((limits.set, limits.effective.memory_bytes), (tight, tight.memory_bytes));
        assert_eq!(limits.effective.log_lines, host.log_lines);
    }
    let error = plugins.set_limits(own, "key", "probe", wide).await.unwrap_err();
    assert!(error.to_string().contains("what the host allows"), "{error}");
    plugins.set_limits(Owner::Host, "key", "probe", wide).await.unwrap();
    install(&plugins, probe(2)).await.unwrap();
    let again = house.plugins().await;
    assert_eq!(again.limits(Owner::Host, "probe").unwrap().set, wide);
    assert_eq!(again.limits(own, "probe").unwrap().set, tight);
    assert_eq!(answered(&*again.app(OURS, "probe").unwrap()).await, 1);
    let too_tight = LimitOverrides { memory_bytes: Some(0), ..tight };
    assert!(matches!(again.set_limits(own, "key", "probe", too_tight).await, Err(PluginError::Invalid(_))));
}

#[tokio::test]
async fn a_limit_it_does_not_load_with_is_refused_and_it_goes_on_with_what_it_had() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let grows = "(if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))";
    let answer = "(i64.store (i32.const 1264) (i64.const 1)) (global.get $ok)";
    install(&plugins, named_app("probe", "1.0.0", "", grows, answer)).await.unwrap();
    let tight = |bytes| LimitOverrides { memory_bytes: Some(bytes), ..LimitOverrides::default() };
    plugins.set_limits(Owner::Host, "key", "probe", tight(2 << 20)).await.unwrap();
    for enabled in [true, false] {
        plugins.set_enabled(Owner::Host, "key", "probe", enabled).await.unwrap();
        let error = plugins.set_limits(Owner::Host, "key", "probe", tight(128 << 10)).await.unwrap_err();
        let PluginError::Invalid(error) = error else { panic!("{error}") };
        assert_eq!((error.field.as_str(), error.value.as_str()), ("memory_bytes", "131072"));
        assert_eq!(
            error.expected,
            "enough for version 1.0.0 of probe to load, which did not (plugin probe 1.0.0: app.describe: ran out of \
             its 128 KiB of memory); nothing was changed"
        );
        assert_eq!(plugins.limits(Owner::Host, "probe").unwrap().set, tight(2 << 20));
    }
    plugins.set_limits(Owner::Host, "key", "probe", tight(3 << 20)).await.unwrap();
    assert!(!versions(&plugins)[0].2, "one that is switched off is loaded only to see whether it would");
    plugins.set_enabled(Owner::Host, "key", "probe", true).await.unwrap();
    assert_eq!(answered(&*plugins.app(OURS, "probe").unwrap()).await, 1);
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
    assert!(!plugins.dialect_is_broken("probe"), "it is no dialect");
    plugins.set_enabled(Owner::Host, "key", "probe", false).await.unwrap();
    assert_eq!(plugins.why_not(OURS, "probe", None).as_deref(), Some("it is switched off"));
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
