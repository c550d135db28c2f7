//! Versions that are tried on a share of the calls.

use std::collections::BTreeSet;
use std::time::Duration;

use bellwether_access::Role;
use bellwether_alerts::{Past, Points, Regular, Roles as _, Settings};
use bellwether_kernel::Timestamp;
use bellwether_playbooks::{AppDescription, Apps as _};
use serde_json::json;

use super::{OURS, actions, answered, current, failing, install, probe, run, run_id, with_versions};
use crate::testing::{
    House, configurable_dialect, detector, dialect, named, named_app, principal, versioned_forecaster,
};
use crate::{CanaryOutcome, Owner, PluginError, Plugins};

#[tokio::test]
async fn a_share_of_the_runs_gets_the_canary_and_each_run_one_version() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", probe(2), Vec::new(), false, 30).await.unwrap();
    assert_eq!(current(&plugins), "1.0.0");
    let version =
        |plugins: &Plugins, run| plugins.app_for(OURS, "probe", run, &|_| true).unwrap().version().to_owned();
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

#[tokio::test]
async fn rolling_back_goes_to_no_canary_that_was_taken_back() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", probe(2), Vec::new(), false, 30).await.unwrap();
    plugins.abort(Owner::Host, "key", "probe").await.unwrap();
    plugins.install_canary(Owner::Host, "key", probe(3), Vec::new(), false, 30).await.unwrap();
    plugins.promote(Owner::Host, "key", "probe").await.unwrap();
    let plugins = house.plugins().await;
    let back = async |version| plugins.roll_back(Owner::Host, "key", "probe", version).await;
    assert_eq!(back(None).await.unwrap().version, "1.0.0");
    assert!(matches!(back(None).await, Err(PluginError::NothingBefore(_))));
    assert_eq!(back(Some("2.0.0")).await.unwrap().version, "2.0.0", "who names it gets it");
    assert_eq!(back(None).await.unwrap().version, "1.0.0");
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

/// Which version of `oracle` whoever is called `0..count` got, and whether it answered.
async fn predicted(plugins: &Plugins, count: u64) -> Vec<(String, bool)> {
    let (settings, mut all) = (serde_json::Map::new(), Vec::new());
    let (start, step) = (Timestamp::MIN, Duration::from_secs(60));
    let past = Past { start, step, values: vec![1.0], horizon: 1, level: 0.9 };
    for asker in 0..count {
        let regular = Regular { name: &asker.to_be_bytes(), settings: &settings };
        let oracle = plugins.forecaster_for(OURS, "oracle", &regular).unwrap();
        let forecast = oracle.predict(&Settings::default(), &past).await;
        all.push((oracle.version().to_owned(), forecast.is_ok()));
    }
    all
}

#[tokio::test]
async fn a_share_of_those_who_ask_a_forecaster_gets_its_canary_until_it_fails() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, versioned_forecaster("1.0.0", "", "")).await.unwrap();
    let canary = |version, predict| {
        let bytes = versioned_forecaster(version, "", predict);
        plugins.install_canary(Owner::Host, "key", bytes, Vec::new(), false, 30)
    };
    let too_short = "(i32.store8 (i32.const 1200) (i32.const 1)) (i32.store8 (i32.const 1204) (i32.const 1))";
    canary("2.0.0", too_short).await.unwrap();
    let first = predicted(&plugins, 200).await;
    let tried = first.iter().filter(|(version, _)| version == "2.0.0").count();
    assert!((35..85).contains(&tried), "{tried}");
    assert!(first.iter().all(|(version, answered)| *answered == (version == "1.0.0")));
    assert_eq!(predicted(&plugins, 200).await, first, "who asks for too much is no reason to end it");
    plugins.abort(Owner::Host, "key", "oracle").await.unwrap();

    canary("3.0.0", "unreachable").await.unwrap();
    predicted(&plugins, 200).await;
    let end = ended(&plugins, "oracle").await;
    assert_eq!((end.how, end.version.as_str()), (CanaryOutcome::RolledBack, "3.0.0"));
    assert!(predicted(&plugins, 50).await.iter().all(|got| *got == ("1.0.0".to_owned(), true)));
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
        let app = plugins.app_for(OURS, "probe", run_id(number), &|_| true).unwrap();
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
    assert!((0..200).all(
        |number| plugins.app_for(OURS, "probe", run_id(number), &|_| true).unwrap().version() == "1.0.0"
    ));
    assert_eq!(actions(&house).await[0], ("plugin.canary-roll-back".to_owned(), "host".to_owned()));
    let again = house.plugins().await;
    assert!(matches!(again.canary(Owner::Host, "probe"), (None, Some(_))), "it is so after a restart");
}

#[tokio::test]
async fn a_canary_that_steps_do_not_fit_is_rolled_back_and_their_runs_get_the_current_version() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    // Its description is another: a longer summary.
    let other = "(i32.store (i32.const 1104) (i32.const 6))";
    let changed = named_app("probe", "2.0.0", "", other, "(global.get $ok)");
    plugins.install_canary(Owner::Host, "key", changed, Vec::new(), false, 50).await.unwrap();
    let fits = |description: &AppDescription| description.summary == "a probe";
    for number in 0..200 {
        let app = plugins.app_for(OURS, "probe", run_id(number), &fits).unwrap();
        assert_eq!(answered(&*app).await, 1);
    }
    let end = ended(&plugins, "probe").await;
    let reason = end.reason.unwrap();
    assert!(reason.starts_with("20 of 20 calls failed, against 0 of "), "{reason}");
}

#[tokio::test]
async fn steps_that_fit_neither_version_are_no_reason_to_take_a_canary_back() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", probe(2), Vec::new(), false, 50).await.unwrap();
    for number in 0..200 {
        let app = plugins.app_for(OURS, "probe", run_id(number), &|_| false).unwrap();
        app.was_not_called();
    }
    let canary = plugins.canary(Owner::Host, "probe").0.unwrap();
    assert_eq!(
        (canary.canary.calls + canary.current.calls, canary.canary.calls),
        (200, canary.canary.failed)
    );
    assert!(canary.canary.calls > 50 && canary.current.calls == canary.current.failed);
}

#[tokio::test]
async fn a_verdict_on_a_trial_that_is_over_ends_no_later_one_of_the_same_version() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", probe(2), Vec::new(), false, 50).await.unwrap();
    let trial = || plugins.find(Owner::Host, "probe").unwrap().trial.as_ref().unwrap().id;
    let set = async |share| plugins.set_canary(Owner::Host, "key", "probe", "2.0.0", share).await.unwrap();
    let first = trial();
    set(60).await;
    assert_eq!(trial(), first, "another share is the same trial");
    plugins.abort(Owner::Host, "key", "probe").await.unwrap();
    set(50).await;
    let end = async |trial| {
        let how = CanaryOutcome::RolledBack;
        plugins.end_canary(Owner::Host, "host", "probe", Some(trial), how, None).await
    };
    assert!(matches!(end(first).await, Err(PluginError::NoCanary(_))));
    assert!(plugins.canary(Owner::Host, "probe").0.is_some());
    end(trial()).await.unwrap();
}

#[tokio::test]
async fn calls_of_a_plugin_that_is_switched_off_tell_nothing_of_its_canary() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", probe(2), Vec::new(), false, 100).await.unwrap();
    let app = plugins.app_for(OURS, "probe", run_id(1), &|_| true).unwrap();
    plugins.set_enabled(Owner::Host, "key", "probe", false).await.unwrap();
    for _ in 0..30 {
        assert!(run(&*app).await.result.is_err());
    }
    plugins.set_enabled(Owner::Host, "key", "probe", true).await.unwrap();
    assert_eq!(answered(&*app).await, 2);
    let canary = plugins.canary(Owner::Host, "probe").0.unwrap().canary;
    assert_eq!((canary.calls, canary.failed), (1, 0));
}

#[tokio::test]
async fn settings_that_no_version_of_a_dialect_takes_are_no_reason_to_take_its_canary_back() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, configurable_dialect()).await.unwrap();
    let next = named(configurable_dialect().to_vec(), "greeter", "99.0.0");
    plugins.install_canary(Owner::Host, "key", next, Vec::new(), false, 100).await.unwrap();
    plugins.shared.settings.keep(OURS, "greeter", json!({"worm": "x"}).as_object().cloned());
    let headers = http::HeaderMap::new();
    for _ in 0..30 {
        let picked = plugins.dialect_versions("greeter").unwrap().pick(Some(OURS), b"x");
        assert_eq!(picked.version(), "99.0.0");
        let crate::RouteMatch::Found(matched) = picked.route("GET", "/word") else { panic!() };
        let request = crate::DialectRequest {
            matched: &matched,
            method: "GET",
            query: "",
            headers: &headers,
            body: b"",
        };
        let answer = picked.handle(Some(Ok(principal(OURS.0, Role::Read))), request).await;
        assert!(matches!(answer, Err(PluginError::Settings { .. })), "{answer:?}");
    }
    assert_eq!(plugins.canary(Owner::Host, "greeter").0.unwrap().canary.calls, 0);
}

#[tokio::test]
async fn calls_that_are_not_made_count_as_failures_of_their_version() {
    let house = House::new().await;
    let plugins = with_versions(&house, &[1]).await;
    plugins.install_canary(Owner::Host, "key", probe(2), Vec::new(), false, 50).await.unwrap();
    for number in 0..200 {
        let app = plugins.app_for(OURS, "probe", run_id(number), &|_| true).unwrap();
        if app.version() == "2.0.0" {
            app.was_not_called();
        } else {
            assert_eq!(answered(&*app).await, 1);
        }
    }
    assert_eq!(ended(&plugins, "probe").await.how, CanaryOutcome::RolledBack);
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
