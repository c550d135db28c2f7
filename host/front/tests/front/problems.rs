//! What the front refuses, it refuses as a problem that says what would be right.

use crate::support::Host;
use axum::body::Body;
use bellwether_front::FrontSettings;
use http::Request;
use serde_json::{Value, json};

#[tokio::test]
async fn every_refusal_is_a_problem_with_the_request_s_id() {
    let host = Host::new().await;
    let (admin, none) = (host.admin.as_str(), "");
    for (method, path, key, body, status, kind) in [
        ("GET", "/nowhere", none, Value::Null, 404, "not-found"),
        ("GET", "/v1/nowhere", admin, Value::Null, 404, "not-found"),
        ("GET", "/v1/metrics/none", admin, Value::Null, 404, "not-found"),
        ("GET", "/v1/metrics/7", admin, Value::Null, 404, "not-found"),
        ("GET", "/v1/runs/none", admin, Value::Null, 404, "not-found"),
        ("GET", "/v1/keys/none", admin, Value::Null, 404, "not-found"),
        ("GET", "/v1/playbooks/none", admin, Value::Null, 404, "not-found"),
        ("GET", "/hooks/none", none, Value::Null, 404, "not-found"),
        ("GET", "/docs/none", none, Value::Null, 404, "not-found"),
        ("BREW", "/v1/metrics", admin, Value::Null, 405, "method-not-allowed"),
        ("DELETE", "/v1/samples", admin, Value::Null, 405, "method-not-allowed"),
        ("POST", "/", none, Value::Null, 405, "method-not-allowed"),
        ("POST", "/v1/metrics", admin, Value::Null, 415, "unsupported-media-type"),
        ("POST", "/v1/samples", admin, Value::Null, 415, "unsupported-media-type"),
        ("POST", "/v1/playbooks", admin, Value::Null, 415, "unsupported-media-type"),
        ("GET", "/v1/metrics", none, Value::Null, 401, "unauthenticated"),
        ("GET", "/v1/metrics", "nonsense", Value::Null, 401, "unauthenticated"),
        ("GET", "/v1/metrics", "bw_AAAAAAAAAAAAAAAA_x", Value::Null, 401, "unauthenticated"),
        ("GET", "/v1/host", admin, Value::Null, 403, "forbidden"),
        ("POST", "/v1/metrics", admin, json!({}), 400, "invalid"),
    ] {
        let answer = host.ask(method, path, key, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer.problem(status, kind);
        if status == 405 {
            assert!(!answer.header("allow").is_empty(), "{method} {path}");
        }
        if status == 401 {
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn unknown_and_unreadable_parameters_and_fields_are_refused_by_name() {
    let host = Host::new().await;
    let metric = |extra: Value| {
        let mut body = json!({"name": "a", "data_type": "sum", "interval": "daily"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    for (method, path, body, field, value) in [
        ("GET", "/v1/metrics?limits=3", Value::Null, "limits", "3"),
        ("GET", "/v1/metrics?limit=0", Value::Null, "limit", "0"),
        ("GET", "/v1/metrics?limit=1001", Value::Null, "limit", "1001"),
        ("GET", "/v1/metrics?limit=many", Value::Null, "limit", "many"),
        ("GET", "/v1/metrics?cursor=%C3%A4", Value::Null, "cursor", "ä"),
        ("GET", "/v1/runs?state=lost", Value::Null, "state", "lost"),
        ("GET", "/v1/runs?since=2024-04-02&until=2024-04-01", Value::Null, "until", "2024-04-01T00:00:00Z"),
        (
            "GET",
            "/v1/incidents?since=2024-04-02&until=2024-04-01",
            Value::Null,
            "until",
            "2024-04-01T00:00:00Z",
        ),
        (
            "GET",
            "/v1/deliveries?since=2024-04-02&until=2024-04-01",
            Value::Null,
            "until",
            "2024-04-01T00:00:00Z",
        ),
        (
            "GET",
            "/v1/feedback?since=2024-04-02&until=2024-04-01",
            Value::Null,
            "until",
            "2024-04-01T00:00:00Z",
        ),
        ("POST", "/v1/keys", json!({"name": 404, "role": "read"}), "name", "404"),
        ("GET", "/v1/metrics/a/values?start=yesterday", Value::Null, "start", "yesterday"),
        (
            "GET",
            "/v1/metrics/a/values?start=2024-04-02&end=2024-04-01",
            Value::Null,
            "end",
            "2024-04-01T00:00:00Z",
        ),
        ("POST", "/v1/metrics", metric(json!({"kyed": true})), "kyed", "true"),
        ("POST", "/v1/metrics", metric(json!({"interval": "fortnightly"})), "interval", "fortnightly"),
        ("POST", "/v1/metrics", metric(json!({"name": ""})), "name", ""),
        (
            "POST",
            "/v1/samples",
            json!({"samples": [{"metric": "a"}, {"metric": "a", "valeu": 1}]}),
            "samples[1].valeu",
            "1",
        ),
        (
            "POST",
            "/v1/samples",
            json!({"samples": [{"metric": "a", "time": "noon"}]}),
            "samples[0].time",
            "noon",
        ),
        (
            "POST",
            "/v1/samples",
            json!({"samples": [{"metric": "a", "time": "2024-06-01T00:00:00[Europe/Berlin]"}]}),
            "samples[0].time",
            "2024-06-01T00:00:00[Europe/Berlin]",
        ),
        (
            "POST",
            "/v1/samples",
            json!({"samples": [{"metric": "a"}, {"metric": "a", "time": "2024-06-01T00:00:00+00:00[Asia/Tokyo]"}]}),
            "samples[1].time",
            "2024-06-01T00:00:00+00:00[Asia/Tokyo]",
        ),
        ("POST", "/v1/keys", json!({"name": "k"}), "role", ""),
        ("POST", "/v1/keys", json!({"name": "k", "role": "king"}), "role", "king"),
        ("PATCH", "/v1/organisation", json!({"time_zone": "Middle/Earth"}), "time_zone", "Middle/Earth"),
    ] {
        if path.starts_with("/v1/metrics/a") {
            host.ask("POST", "/v1/metrics", &host.admin, metric(json!({}))).await;
        }
        let problem = host.ask(method, path, &host.admin, body).await.problem(400, "invalid");
        let error = &problem["errors"][0];
        assert_eq!(
            (error["field"].as_str(), error["value"].as_str()),
            (Some(field), Some(value)),
            "{path}: {problem}"
        );
        assert!(error["expected"].as_str().is_some_and(|expected| !expected.is_empty()), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_says_line_and_column() {
    let host = Host::new().await;
    let request = Request::post("/v1/samples")
        .header("authorization", format!("Bearer {}", host.admin))
        .header("content-type", "application/json")
        .body(Body::from("{\n  \"samples\": [,]\n}"));
    let problem = host.send(request.unwrap()).await.problem(400, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("line 2, column 15"), "{problem}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let host = Host::with(FrontSettings { body_limit_bytes: 100, ..FrontSettings::default() }).await;
    let body = json!({"name": "a".repeat(200)});
    for (method, path) in [("POST", "/v1/metrics"), ("POST", "/v1/samples"), ("PATCH", "/v1/organisation")] {
        host.ask(method, path, &host.admin, body.clone()).await.problem(413, "too-large");
    }
}

#[tokio::test]
async fn a_fault_of_the_store_is_not_told_to_callers() {
    let host = Host::new().await;
    host.store.crash();
    let body = json!({"name": "a", "data_type": "sum", "interval": "daily"});
    host.ask("POST", "/v1/metrics", &host.admin, body).await.problem(503, "unavailable");
}

#[tokio::test]
async fn a_problem_s_type_leads_to_its_explanation() {
    let host = Host::new().await;
    let problem = host.get("/nowhere", "").await.json();
    let explained = host.get(problem["type"].as_str().unwrap(), "").await;
    assert_eq!(explained.status, 200);
    assert!(explained.text().contains("404"), "{}", explained.text());
}

#[tokio::test]
async fn a_request_id_is_only_taken_over_from_a_trusted_proxy() {
    let settings =
        FrontSettings { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..FrontSettings::default() };
    let host = Host::with(settings).await;
    for (peer, taken) in [(Some([10, 0, 0, 1]), true), (Some([192, 168, 0, 1]), false), (None, false)] {
        let mut request =
            Request::get("/healthz").header("x-request-id", "from-outside").body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            let peer = std::net::SocketAddr::from((peer, 4000));
            request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        }
        let answer = host.send(request).await;
        assert_eq!(answer.header("x-request-id") == "from-outside", taken, "{peer:?}");
    }
}

#[tokio::test]
async fn of_several_proxies_the_first_host_and_scheme_are_the_client_s() {
    let settings =
        FrontSettings { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..FrontSettings::default() };
    let host = Host::with(settings).await;
    for (peer, url) in [([10, 0, 0, 1], "https://a.example.com/v1/"), ([11, 0, 0, 1], "http://inner/v1/")] {
        let request = Request::get("/")
            .header("host", "inner")
            .header("x-forwarded-host", "a.example.com, b.local")
            .header("x-forwarded-proto", "https, http");
        let mut request = request.body(Body::empty()).unwrap();
        let peer = std::net::SocketAddr::from((peer, 4000));
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        let page = host.send(request).await.text();
        assert!(page.contains(&format!("curl {url}")), "no {url} in {page}");
    }
}
