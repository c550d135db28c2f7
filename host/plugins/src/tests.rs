//! What plugins may do, what they get, and what becomes of them, on components made from text.

use std::sync::Arc;
use std::time::Duration;

use bellwether_access::{AuditFilter, AuditScope, AuthFailure, Role};
use bellwether_alerts::{Forecast, Past, Points, RoleError, Roles, Settings};
use bellwether_engine::{BreakerPhase, ErrorCase};
use bellwether_kernel::{ErrorKind, OrganisationId, PageRequest, Timestamp};
use bellwether_playbooks::{App, AppCall, AppError, AppReport, Apps, LogLevel, Retry, Value};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::testing::{House, app, component, detector, dialect, forecaster, named, named_app, principal};
use crate::{
    DialectRequest, DialectResponse, Grant, Installed, Owner, PluginError, PluginRole, Plugins, Privilege,
    RouteMatch, inspect,
};

const ANSWERS: &str = "(global.get $ok)";
const LOOPS: &str = "(loop (br 0)) (unreachable)";
const LOGS: &str = r#"(import "bellwether:host/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
const ORGANISATION: OrganisationId = OrganisationId(1);

fn grants(texts: &[&str]) -> Vec<Grant> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn install(plugins: &Plugins, bytes: Bytes, granted: &[&str]) -> Result<Arc<Installed>, PluginError> {
    plugins.install(Owner::Host, "host", bytes, grants(granted), false).await
}

async fn run(app: &dyn App) -> AppReport {
    let principal = principal(1, Role::Write);
    let call = AppCall {
        principal,
        idempotency_key: "k".into(),
        attempt: 1,
        inputs: Vec::new(),
        time_limit: Duration::from_secs(60),
        effects: None,
    };
    app.run(call).await
}

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
        (LOOPS, "plugin probe 1.2.3: app.run: ran out of its 2 s", Retry::Yes),
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
    let principal = principal(1, Role::Write);
    let call = AppCall {
        principal,
        idempotency_key: "k".into(),
        attempt: 1,
        inputs: Vec::new(),
        time_limit: Duration::from_millis(40),
        effects: None,
    };
    let error = app.run(call).await.result.unwrap_err();
    assert_eq!(error.message, "plugin probe 1.2.3: app.run: ran out of its 40 ms");
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

/// Where the request's fields are in what `dialect.handle` is given: behind the caller's 56 bytes come route, method,
/// parameters, query, headers and body.
const FIRST_PARAMETER: &str = "(i32.store (i32.const 1412) (i32.load (i32.load offset=68 (local.get 0))))
    (i32.store (i32.const 1416) (i32.load offset=4 (i32.load offset=68 (local.get 0))))";

async fn handle(
    body: &str,
    method: &str,
    path: &str,
    query: &str,
    headers: &HeaderMap,
) -> Result<DialectResponse, PluginError> {
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, dialect("", body), &[]).await.unwrap();
    let dialect = plugins.dialect("speaker").unwrap();
    let RouteMatch::Found(matched) = dialect.route(method, path) else {
        panic!("no route for {method} {path}")
    };
    let caller = (!matched.authentication.is_empty()).then_some(Err(AuthFailure::Missing));
    dialect
        .handle(caller, DialectRequest { matched: &matched, method, query, headers, body: b"the body" })
        .await
}

#[tokio::test]
async fn a_dialect_answers_what_its_routes_match() {
    let body = format!("{FIRST_PARAMETER} (global.get $ok)");
    let response = handle(&body, "GET", "/hello/J%C3%BCrgen", "", &HeaderMap::new()).await.unwrap();
    assert_eq!((response.status.as_u16(), response.body.as_ref()), (201, "Jürgen".as_bytes()));
    assert_eq!(response.headers["x-a"], "b");
}

#[tokio::test]
async fn a_dialect_sees_the_body_and_no_credential() {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("authorization", "TC secret"), ("x-key", "secret"), ("cookie", "secret"), ("accept", "text/plain")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // The body is what was sent; of the headers only one is left, of the query's pairs only one.
    let body = "(i32.store (i32.const 1412) (i32.load offset=92 (local.get 0)))
        (i32.store (i32.const 1416) (i32.load offset=96 (local.get 0)))
        (if (i32.ne (i32.load offset=88 (local.get 0)) (i32.const 1)) (then (unreachable)))
        (if (i32.ne (i32.load offset=80 (local.get 0)) (i32.const 1)) (then (unreachable)))
        (global.get $ok)";
    for (method, path) in [("POST", "/write"), ("GET", "/hello/x")] {
        let response = handle(body, method, path, "a=b&key=secret", &headers).await.unwrap();
        assert_eq!(response.body.as_ref(), b"the body", "{method} {path}");
    }
}

#[tokio::test]
async fn who_calls_is_told_by_the_host() {
    // 0: no caller; 1 and 0: a principal; 1, 1 and the case: a failure. The answer's status is 300 plus them.
    let body = "(i32.store16 (i32.const 1400) (i32.add (i32.const 300) (i32.add
        (i32.mul (i32.const 100) (i32.load8_u (local.get 0)))
        (i32.add (i32.mul (i32.const 10) (i32.load8_u offset=8 (local.get 0))) (i32.load8_u offset=16 (local.get 0))))))
        (global.get $ok)";
    let house = House::new().await;
    let plugins = house.plugins().await;
    install(&plugins, dialect("", body), &[]).await.unwrap();
    let dialect = plugins.dialect("speaker").unwrap();
    let RouteMatch::Found(matched) = dialect.route("POST", "/write") else { panic!() };
    let request = DialectRequest {
        matched: &matched,
        method: "POST",
        query: "",
        headers: &HeaderMap::new(),
        body: b"",
    };
    for (caller, status) in [
        (None, 300),
        (Some(Err(AuthFailure::Missing)), 410),
        (Some(Err(AuthFailure::Expired)), 413),
        (Some(Err(AuthFailure::Unavailable("disk".into()))), 416),
    ] {
        assert_eq!(dialect.handle(caller, request).await.unwrap().status.as_u16(), status);
    }
    // A principal begins with its organisation's number, whose lowest byte lies where a failure's case would.
    let response = dialect.handle(Some(Ok(principal(5, Role::Read))), request).await.unwrap();
    assert_eq!(response.status.as_u16(), 405);
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_fault_of_the_plugin() {
    for (body, problem) in [
        ("(i32.store16 (i32.const 1400) (i32.const 99)) (global.get $ok)", "the status 99"),
        ("(i32.store16 (i32.const 1400) (i32.const 600)) (global.get $ok)", "the status 600"),
        ("(i32.store8 (i32.const 1050) (i32.const 32)) (global.get $ok)", "a header named \" -A\""),
        ("(i32.store8 (i32.const 1055) (i32.const 10)) (global.get $ok)", "control characters"),
    ] {
        let error = handle(body, "GET", "/hello/x", "", &HeaderMap::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Plugin);
        let text = error.to_string();
        assert!(
            text.starts_with("plugin speaker 0.9.0: dialect.handle: ") && text.contains(problem),
            "{text}"
        );
    }
    let error = handle("(unreachable)", "GET", "/hello/x", "", &HeaderMap::new()).await.unwrap_err();
    assert!(error.to_string().starts_with("plugin speaker 0.9.0: dialect.handle: trapped"), "{error}");
}

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

#[tokio::test]
async fn dialects_are_the_hosts_alone() {
    let house = House::new().await;
    let plugins = house.plugins().await;
    let owner = Owner::Organisation(ORGANISATION);
    let refused = async |grants: &[&str]| {
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        plugins.install(owner, "key", dialect("", ANSWERS), grants, false).await.unwrap_err()
    };
    let error = refused(&[]).await;
    assert!(matches!(error, PluginError::HostOnly { besides: None, .. }), "{error}");
    let error = refused(&["log"]).await;
    assert!(matches!(error, PluginError::HostOnly { .. }), "{error}");
    assert!(error.to_string().ends_with("does not ask for log: leave it out"), "all at once: {error}");
    let installed = install(&plugins, dialect("", ANSWERS), &[]).await.unwrap();
    assert_eq!(installed.dialect.as_ref().unwrap().routes, ["GET /hello/{name}", "POST /write"]);
    assert_eq!(plugins.dialects().len(), 1);
    plugins.remove(Owner::Host, "host", "speaker").await.unwrap();
    assert!(plugins.dialect("speaker").is_none());
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
