//! What a dialect is given, and what is taken of its answers.

use bellwether_access::{AuthFailure, Role};
use bellwether_kernel::ErrorKind;
use http::{HeaderMap, HeaderValue};

use super::{ANSWERS, ORGANISATION, install};
use crate::testing::{House, dialect, principal};
use crate::{DialectRequest, DialectResponse, Owner, PluginError, RouteMatch};

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
        (Some(Err(AuthFailure::Suspended)), 416),
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
