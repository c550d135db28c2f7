//! Answers and descriptions that make no sense, in any role.

use std::time::Duration;

use bellwether_access::Role;
use bellwether_alerts::{Forecast, Past, Points, RoleError, Roles, Settings};
use bellwether_engine::{BreakerPhase, ErrorCase};
use bellwether_kernel::Timestamp;
use bellwether_playbooks::{Apps, LogLevel};
use http::HeaderMap;

use super::{ORGANISATION, install, run};
use crate::testing::{House, app, detector, dialect, forecaster, principal};
use crate::{DialectRequest, Owner, Plugins, RouteMatch};

/// What is seen of `plugin`, of whose calls `refused` had an answer that makes no sense.
fn assert_refused(plugins: &Plugins, owner: Owner, plugin: &str, refused: u32, call: &str, reason: &str) {
    let stats = plugins.stats(owner, plugin).unwrap().remove(0).stats;
    let calls = &stats.roles[0].calls;
    let count = u64::from(refused);
    // The other call was its description.
    assert_eq!(
        (calls.calls, calls.errors_of(ErrorCase::BadAnswer), calls.faults()),
        (count + 1, count, count)
    );
    assert_eq!(stats.breaker.phase, BreakerPhase::Closed, "nonsense is no reason to leave it alone");
    let whose = (owner != Owner::Host).then_some(ORGANISATION);
    let logs = plugins.logs(owner, plugin, whose).unwrap();
    let last = &logs.last().unwrap().logged;
    assert_eq!((logs.len(), last.call, last.line.level), (refused as usize, call, LogLevel::Error));
    assert_eq!(last.line.message, format!("the answer makes no sense: {reason}"));
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_counted_and_the_plugin_s_owner_finds_the_reason() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let often = bellwether_engine::limits::BREAKER_FAILURES + 1;

    let body = "(i32.store16 (i32.const 1400) (i32.const 99)) (global.get $ok)";
    install(&plugins, dialect("", body), &[]).await.unwrap();
    let speaker = plugins.dialect("speaker").unwrap();
    let RouteMatch::Found(matched) = speaker.route("POST", "/write") else { panic!() };
    let headers = &HeaderMap::new();
    let request = DialectRequest { matched: &matched, method: "POST", query: "", headers, body: b"" };
    for _ in 0..often {
        let error = speaker.handle(Some(Ok(principal(1, Role::Write))), request).await.unwrap_err();
        assert_eq!(error.told(), "plugin speaker 0.9.0: dialect.handle: the answer makes no sense");
    }
    let reason = "it answered the status 99, expected 200 to 599";
    assert_refused(&plugins, Owner::Host, "speaker", often, "dialect.handle", reason);
    let seen_by_its_caller = plugins.logs(Owner::Host, "speaker", Some(ORGANISATION)).unwrap();
    assert_eq!(seen_by_its_caller, [], "the reason is for the plugin's owner");

    let owner = Owner::Organisation(ORGANISATION);
    let own = async |bytes| plugins.install(owner, "key", bytes, Vec::new(), false).await.unwrap();
    own(forecaster("", "(f64.store (i32.const 1304) (f64.const nan))")).await;
    let past = Past {
        start: Timestamp::MIN,
        step: Duration::from_secs(60),
        values: vec![1.0],
        horizon: 1,
        level: 0.9,
    };
    let oracle = plugins.forecaster(ORGANISATION, "oracle").unwrap();
    oracle.predict(&Settings::default(), &past).await.unwrap_err();
    let reason = "expected of point 0 is NaN, expected a finite number";
    assert_refused(&plugins, owner, "oracle", 1, "forecaster.predict", reason);

    own(detector("1.0.0", 0, "(f64.store (i32.const 1400) (f64.const 2))")).await;
    let points = Points { times: vec![Timestamp::MIN], step: None, values: vec![vec![1.0]], learn: true };
    let judge = plugins.detector(ORGANISATION, "judge").unwrap();
    judge.detect(&Settings::default(), &[], &points).await.unwrap_err();
    let reason = "series 0: the score of point 0 is 2, expected 0 to 1";
    assert_refused(&plugins, owner, "judge", 1, "detector.detect", reason);

    own(app("", "", "(i32.store (i32.const 1252) (i32.const 5)) (global.get $ok)")).await;
    assert!(run(&*plugins.app(ORGANISATION, "probe").unwrap()).await.result.is_err());
    let reason = "it gave the output \"answe\", which it did not declare";
    assert_refused(&plugins, owner, "probe", 1, "app.run", reason);
}

async fn predict(body: &str) -> Result<Forecast, RoleError> {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, forecaster("", body), &[]).await.unwrap();
    let oracle = plugins.forecaster(ORGANISATION, "oracle").unwrap();
    assert_eq!((oracle.version(), oracle.description().history.best), ("1.0.0", 2));
    let past = Past {
        start: Timestamp::MIN,
        step: Duration::from_secs(60),
        values: vec![1.0, f64::NAN],
        horizon: 1,
        level: 0.95,
    };
    oracle.predict(&Settings::default(), &past).await
}

#[tokio::test]
async fn a_pure_role_gives_an_answer_that_is_one_or_an_error_that_names_plugin_version_and_call() {
    let forecast = predict("(f64.store (i32.const 1320) (f64.const 2))").await.unwrap();
    assert_eq!(forecast, Forecast { expected: vec![0.0], lower: vec![0.0], upper: vec![2.0] });
    let error = "(i32.store8 (i32.const 1200) (i32.const 1))";
    for (body, expected) in [
        (
            "(f64.store (i32.const 1304) (f64.const nan))".to_owned(),
            "expected of point 0 is NaN, expected a finite",
        ),
        (
            "(f64.store (i32.const 1312) (f64.const 5))".to_owned(),
            "lower 5, expected 0 and upper 0 are not in this order",
        ),
        ("(i32.store (i32.const 1208) (i32.const 0))".to_owned(), "0 entries of expected, expected 1"),
        (
            format!(
                "{error} (i32.store8 (i32.const 1204) (i32.const 2)) (i32.store (i32.const 1208) (i32.const 1010)) (i32.store (i32.const 1212) (i32.const 1))"
            ),
            "trapped",
        ),
        ("(unreachable)".to_owned(), "trapped"),
        ("(loop (br 0))".to_owned(), "ran out of its 2 s"),
    ] {
        let error = predict(&body).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("plugin oracle 1.0.0: forecaster.predict: "), "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let short = format!(
        "{error} (i32.store8 (i32.const 1204) (i32.const 1)) (i32.store (i32.const 1208) (i32.const 7))"
    );
    assert_eq!(predict(&short).await, Err(RoleError::TooShort { points: 2, least: 7 }));
}

#[tokio::test]
async fn a_role_whose_description_makes_no_sense_is_refused() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let unsure = forecaster("(i32.store (i32.const 1116) (i32.const 9))", "");
    let error = install(&plugins, unsure, &[]).await.unwrap_err().to_string();
    assert!(error.contains("forecaster.describe: history.best is \"2\", expected not below"), "{error}");
    assert!(plugins.forecaster(ORGANISATION, "oracle").is_none());
}
