//! What a call comes to, and what is seen of it.

use std::time::Duration;

use bellwether_playbooks::{AppCall, AppError, AppReport, Apps, LogLevel, Retry, Value};

use super::{ANSWERS, LOGS, LOOPS, ORGANISATION, install, run};
use crate::testing::{House, app, app_call};
use crate::{Owner, PluginRole, Plugins};

/// What the app made of `run` comes to.
async fn outcome(imports: &str, run_body: &str, granted: &[&str]) -> AppReport {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app(imports, "", run_body), granted).await.unwrap();
    run(&*plugins.app(ORGANISATION, "probe").unwrap()).await
}

#[tokio::test]
async fn an_app_is_described_and_run() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let installed = install(&plugins, app("", "", ANSWERS), &[]).await.unwrap();
    assert_eq!((installed.name.as_str(), installed.version.as_str()), ("probe", "1.2.3"));
    assert_eq!(installed.roles, [PluginRole::App]);
    let app = plugins.app(ORGANISATION, "probe").unwrap();
    assert_eq!(app.version(), "1.2.3");
    assert_eq!(app.description().summary, "a probe");
    assert_eq!(app.description().outputs[0].name, "answer");
    let report = run(&*app).await;
    assert_eq!(report.result, Ok(vec![("answer".to_owned(), Value::Integer(7))]));
    assert!(plugins.app(ORGANISATION, "another").is_none());
}

#[tokio::test]
async fn a_failure_keeps_its_retry_and_is_one_line() {
    let report = outcome("", "(global.get $failed)", &[]).await;
    assert_eq!(report.result, Err(AppError { message: "no luck".to_owned(), retry: Retry::After(1500) }));
}

#[tokio::test]
async fn every_fault_names_the_plugin_its_version_and_the_call() {
    let bad_text = "(i32.store (i32.const 1200) (i32.const 1)) (i32.store (i32.const 1208) (i32.const 40)) (i32.store8 (i32.const 40) (i32.const 0xff)) (i32.store (i32.const 1212) (i32.const 1)) (global.get $ok)";
    for (body, fault, retry) in [
        (LOOPS, "plugin probe 1.2.3: app.run: ran out of its 2 s of processor time", Retry::Yes),
        (
            "(unreachable)",
            "plugin probe 1.2.3: app.run: trapped: wasm `unreachable` instruction executed",
            Retry::No,
        ),
        (
            "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)",
            "plugin probe 1.2.3: app.run: ran out of its 8 MiB of memory",
            Retry::No,
        ),
        (bad_text, "plugin probe 1.2.3: app.run: trapped: ", Retry::No),
        // The output is called "answe".
        (
            "(i32.store (i32.const 1252) (i32.const 5)) (global.get $ok)",
            "plugin probe 1.2.3: app.run: it gave the output \"answe\", which it did not declare",
            Retry::No,
        ),
        // It is text where an integer was declared.
        (
            "(i64.store (i32.const 1264) (i64.const 0)) (i32.store (i32.const 1256) (i32.const 1)) (global.get $ok)",
            "plugin probe 1.2.3: app.run: its output \"answer\" is not of the type it declared",
            Retry::No,
        ),
    ] {
        let error = outcome("", body, &[]).await.result.unwrap_err();
        assert!(error.message.starts_with(fault), "{}", error.message);
        assert_eq!(error.retry, retry, "{fault}");
    }
}

#[tokio::test]
async fn what_became_of_a_plugin_s_calls_is_seen_with_its_last_logs_and_traps() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let body = "(call $log (i32.const 1) (i32.const 1000) (i32.const 7)) (unreachable)";
    install(&plugins, app(LOGS, "", body), &["log"]).await.unwrap();
    let app = plugins.app(ORGANISATION, "probe").unwrap();
    assert!(run(&*app).await.result.is_err());
    let stats = plugins.stats(Owner::Host, "probe").unwrap().remove(0).stats;
    let role = &stats.roles[0];
    // The other call was its description.
    assert_eq!((role.role, role.calls.calls, role.calls.faults()), (PluginRole::App, 2, 1));
    assert_eq!((role.calls.host_calls, role.calls.host_bytes), (1, 7));
    assert_eq!(stats.limits.memory_bytes, Some(8 << 20));
    let logs = plugins.logs(Owner::Host, "probe", Some(ORGANISATION)).unwrap();
    assert_eq!((logs[0].logged.line.message.as_str(), logs[0].logged.call), ("a probe", "app.run"));
    assert!(
        plugins.logs(Owner::Host, "probe", None).unwrap().is_empty(),
        "the operator sees no organisation's"
    );
    let traps = plugins.traps(Owner::Host, "probe").unwrap();
    assert_eq!(traps.len(), 1);
    assert!(traps[0].trap.message.contains("unreachable"), "{traps:?}");
    assert!(plugins.stats(Owner::Host, "another").is_err());
}

#[tokio::test]
async fn a_trap_is_told_in_the_words_of_the_plugin_s_author() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let functions = "(func $_RNvCsfLfy6EI15iL_7___rustc12___rust_abort (unreachable))
        (func $_ZN5probe6answer17h753adfa004a413bcE (call $_RNvCsfLfy6EI15iL_7___rustc12___rust_abort))";
    let body = "(call $_ZN5probe6answer17h753adfa004a413bcE) (global.get $ok)";
    install(&plugins, app(functions, "", body), &[]).await.unwrap();
    assert!(run(&*plugins.app(ORGANISATION, "probe").unwrap()).await.result.is_err());
    let traps = plugins.traps(Owner::Host, "probe").unwrap();
    assert_eq!(traps[0].trap.backtrace[0], "probe::answer", "{traps:?}");
}

#[tokio::test]
async fn a_plugin_that_traps_again_and_again_is_left_alone() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app("", "", "(unreachable)"), &[]).await.unwrap();
    let app = plugins.app(ORGANISATION, "probe").unwrap();
    for _ in 0..bellwether_engine::limits::BREAKER_FAILURES {
        assert_eq!(run(&*app).await.result.unwrap_err().retry, Retry::No);
    }
    let error = run(&*app).await.result.unwrap_err();
    assert!(error.message.contains("failed 5 times in a row and is not called for"), "{}", error.message);
    assert!(matches!(error.retry, Retry::After(1..=1000)), "{error:?}");
}

#[tokio::test]
async fn a_call_has_no_longer_than_its_step() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, app("", "", LOOPS), &[]).await.unwrap();
    let app = plugins.app(ORGANISATION, "probe").unwrap();
    let call = AppCall { time_limit: Duration::from_millis(40), ..app_call() };
    let error = app.run(call).await.result.unwrap_err();
    assert_eq!(error.message, "plugin probe 1.2.3: app.run: ran out of its 40 ms");
}

#[tokio::test]
async fn a_step_may_give_a_call_longer_than_the_host_does_and_a_limit_of_the_plugin_s_own_still_holds() {
    let house = House::new().await;
    let mut limits = house.limits;
    limits.call.wall = Duration::from_millis(20);
    let plugins = Plugins::open(house.services.clone(), limits).await.unwrap();
    install(&plugins, app("", "", LOOPS), &[]).await.unwrap();
    let ended = async || {
        let call = AppCall { time_limit: Duration::from_millis(80), ..app_call() };
        let app = plugins.app(ORGANISATION, "probe").unwrap();
        app.run(call).await.result.unwrap_err().message
    };
    assert_eq!(ended().await, "plugin probe 1.2.3: app.run: ran out of its 80 ms");
    let own = crate::LimitOverrides { call_milliseconds: Some(10), ..crate::LimitOverrides::default() };
    plugins.set_limits(Owner::Host, "key", "probe", own).await.unwrap();
    assert_eq!(
        ended().await,
        "plugin probe 1.2.3: app.run: ran out of its 10 ms, the limit call_milliseconds of this plugin; its step has 80ms"
    );
}

#[tokio::test]
async fn what_an_app_logs_comes_with_its_report_even_when_it_fails() {
    let body = "(call $log (i32.const 2) (i32.const 1000) (i32.const 7)) (unreachable)";
    let report = outcome(LOGS, body, &["log"]).await;
    assert!(report.result.is_err());
    assert_eq!(report.log.len(), 1);
    assert_eq!((report.log[0].message.as_str(), report.log[0].level), ("a probe", LogLevel::Warn));
}

#[tokio::test]
async fn a_million_log_lines_cost_no_more_than_the_log_holds() {
    let body = "(local $n i32) (loop (call $log (i32.const 1) (i32.const 1000) (i32.const 7))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 1000000)))) (global.get $ok)";
    let house = House::new().await;
    let mut limits = house.limits;
    limits.call.wall = Duration::from_secs(120);
    limits.call.processor = Duration::from_secs(120);
    let plugins = Plugins::open(house.services.clone(), limits).await.unwrap();
    install(&plugins, app(LOGS, "", body), &["log"]).await.unwrap();
    let report = run(&*plugins.app(ORGANISATION, "probe").unwrap()).await;
    let error = report.result.unwrap_err().message;
    assert!(error.ends_with("called the host more than the 100000 times it may"), "{error}");
    assert_eq!(report.log.len(), crate::limits::LOG_LINES + 1);
}
