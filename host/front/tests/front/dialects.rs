//! A dialect is served as soon as it is installed, wherever the settings mount it, and its failures are told apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use axum::body::Body;
use axum::extract::ConnectInfo;
use base64::Engine;
use bellwether_front::{FrontSettings, RateLimit};
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt;

use crate::speaker;
use crate::support::{Answer, Host, read};

async fn install(host: &Host, key: &str, query: &str) -> Answer {
    host.post_component(&format!("/v1/plugins{query}"), key, speaker::component()).await
}

/// The speaker's own host name.
fn hosts(name: &str) -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([("speaker".to_owned(), vec![name.to_owned()])])
}

async fn with_speaker(settings: FrontSettings) -> Host {
    let host = Host::with(settings).await;
    let installed = install(&host, &host.operator, "").await;
    assert_eq!(installed.status, 201, "{}", installed.text());
    host
}

#[tokio::test]
async fn a_dialect_is_installed_by_the_operator_alone_and_seen_by_all() {
    let host = Host::new().await;
    host.get("/speaker/open", "").await.problem(404, "not-found");
    install(&host, &host.admin, "").await.problem(403, "forbidden");
    install(&host, &host.operator, "?grant=everything").await.problem(400, "invalid");
    install(&host, &host.operator, "?grant=log").await.problem(400, "invalid");
    assert_eq!(install(&host, &host.operator, "").await.status, 201);
    assert_eq!(install(&host, &host.operator, "").await.status, 201, "the same again");
    assert_eq!(install(&host, &host.operator, "?replace=true").await.status, 201);
    let answer = host.get("/speaker/open", "").await;
    // Whatever a dialect answers, no browser runs it in the name of the pages.
    assert_eq!((answer.text(), answer.header("content-security-policy")), ("open".to_owned(), "sandbox"));
    // Nor does it sign anybody in to them.
    assert_eq!(answer.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["theirs=1"]);
    for key in [&host.read, &host.stranger, &host.operator] {
        let seen = host.get("/v1/plugins", key).await.json();
        assert_eq!(seen["items"][0]["owner"], "host", "{seen}");
        assert_eq!(seen["items"][0]["dialect"]["routes"][0], "GET /open", "{seen}");
    }
    host.ask("DELETE", "/v1/plugins/speaker", &host.admin, Value::Null).await.problem(403, "forbidden");
    let mounted = host.get("/v1/host", &host.operator).await.json();
    assert_eq!(mounted["dialects"][0]["path"], "/speaker/", "{mounted}");
    let off = host.ask("PATCH", "/v1/plugins/speaker", &host.operator, json!({"enabled": false})).await;
    assert_eq!(off.json()["enabled"], false, "{}", off.text());
    // Who sends samples drops them at 404, and comes again at 503.
    host.get("/speaker/open", "").await.problem(503, "unavailable");
    assert_eq!(host.ask("DELETE", "/v1/plugins/speaker", &host.operator, Value::Null).await.status, 200);
    assert_eq!(host.get("/v1/plugins", &host.operator).await.json()["items"], json!([]));
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_content_type() {
    let host = Host::new().await;
    for (status, body) in [(204, ""), (200, "open")] {
        let component = speaker::version("1.0.0", status, body);
        let installed = host.post_component("/v1/plugins?replace=true", &host.operator, component).await;
        assert_eq!(installed.status, 201);
        let answer = host.get("/speaker/open", "").await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (u16::try_from(status).unwrap(), body));
        assert_eq!(answer.headers.contains_key("content-type"), !body.is_empty(), "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn a_dialect_words_the_refusal_of_who_is_nobody_without_waiting_for_a_body() {
    let host = with_speaker(FrontSettings::default()).await;
    let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let began = std::time::Instant::now();
    let answer = host.send(Request::post("/speaker/signed").body(body).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (401, "refused by 1.0.0".to_owned()));
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_component_is_inspected_without_being_installed() {
    let host = Host::new().await;
    let inspect = |body: Vec<u8>| host.post_component("/v1/plugins/inspect", &host.admin, body);
    let seen = inspect(speaker::component()).await.json();
    assert_eq!(
        (&seen["name"], &seen["version"], &seen["roles"]),
        (&json!("speaker"), &json!("1.0.0"), &json!(["dialect"]))
    );
    assert_eq!(seen["problems"], json!([]));
    inspect(b"hello".to_vec()).await.problem(400, "invalid");
}

#[tokio::test]
async fn what_a_dialect_did_not_answer_is_a_problem_that_tells_why() {
    let host = with_speaker(FrontSettings::default()).await;
    for (method, path, status, kind) in [
        ("GET", "/speaker/none", 404, "not-found"),
        ("GET", "/speaker", 404, "not-found"),
        ("PUT", "/speaker/open", 405, "method-not-allowed"),
        ("GET", "/speaker/trap", 502, "plugin"),
        ("GET", "/speaker/forever", 504, "deadline"),
    ] {
        let answer = host.ask(method, path, "", Value::Null).await;
        let problem = answer.problem(status, kind);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("speaker") && !detail.contains("unreachable"), "{path}: {detail}");
        let names_the_call = detail.starts_with("plugin speaker 1.0.0: dialect.handle: ");
        assert_eq!(names_the_call, status >= 500, "{path}: {detail}");
        if status == 405 {
            assert_eq!(answer.header("allow"), "GET");
        }
    }
    assert_eq!(host.get("/speaker/open", "").await.text(), "open", "it goes on after all that");
}

#[tokio::test]
async fn clients_of_a_dialect_that_does_not_load_are_told_to_come_again() {
    let host = with_speaker(FrontSettings::default()).await;
    std::fs::remove_dir_all(host.folder.path().join("components")).unwrap();
    for enabled in [false, true] {
        let switched =
            host.ask("PATCH", "/v1/plugins/speaker", &host.operator, json!({"enabled": enabled})).await;
        assert_eq!(switched.status, 200, "{}", switched.text());
    }
    let answer = host.get("/speaker/open", "").await;
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "60");
    host.get("/nobody/open", "").await.problem(404, "not-found");
}

#[tokio::test]
async fn a_body_over_the_limit_never_reaches_a_dialect() {
    let host =
        with_speaker(FrontSettings { dialect_body_limit_bytes: 100, ..FrontSettings::default() }).await;
    let body = json!("x".repeat(101));
    host.ask("POST", "/speaker/signed", "", body).await.problem(413, "too-large");
}

#[tokio::test]
async fn a_dialect_takes_larger_bodies_than_the_hosts_own_api() {
    let host = with_speaker(FrontSettings {
        body_limit_bytes: 100,
        dialect_body_limit_bytes: 200,
        ..FrontSettings::default()
    })
    .await;
    let body = || json!("x".repeat(150));
    let answer = host.ask("POST", "/speaker/signed", "", body()).await;
    assert_eq!(answer.status, 401, "the dialect words it: {}", answer.text());
    host.ask("POST", "/v1/metrics", &host.admin, body()).await.problem(413, "too-large");
}

#[tokio::test]
async fn a_dialect_answers_on_its_own_host_names_and_nothing_else_does_there() {
    let host = with_speaker(FrontSettings {
        dialect_hosts: hosts("speaker.example.com"),
        ..FrontSettings::default()
    })
    .await;
    for (name, path, answered) in [
        ("speaker.example.com", "/open", true),
        ("Speaker.Example.COM:8443", "/open", true),
        ("speaker.example.com", "/healthz", false),
        ("speaker.example.com", "/speaker/open", false),
        ("other.example.com", "/open", false),
        ("other.example.com", "/speaker/open", true),
        ("other.example.com", "/healthz", true),
    ] {
        let request = Request::get(path).header("host", name).body(Body::empty()).unwrap();
        let answer = host.send(request).await;
        assert_eq!(answer.status == 200, answered, "{name}{path}: {}", answer.text());
    }
    let alone = host.front.dialect_router("speaker");
    let request = Request::get("/open").body(Body::empty()).unwrap();
    assert_eq!(read(alone.oneshot(request).await.unwrap()).await.text(), "open");
    let absent = host.front.dialect_router("absent");
    let request = Request::get("/open").body(Body::empty()).unwrap();
    read(absent.oneshot(request).await.unwrap()).await.problem(503, "unavailable");
}

#[tokio::test]
async fn a_dialect_is_told_where_its_client_reaches_it() {
    let settings = |public_url: Option<&str>| FrontSettings {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        dialect_hosts: hosts("s.example.com"),
        public_url: public_url.map(str::to_owned),
        ..FrontSettings::default()
    };
    let bare = with_speaker(settings(None)).await;
    let public = with_speaker(settings(Some("https://b.example.com/bell/"))).await;
    let from_proxy = Some([10, 0, 0, 1]);
    for (host, peer, name, path, told) in [
        (&bare, None, "inner:80", "/speaker/headers", ["http", "inner:80", "/speaker"]),
        (&bare, from_proxy, "inner", "/speaker/headers", ["https", "a.example.com", "/speaker"]),
        (&bare, None, "s.example.com", "/headers", ["http", "s.example.com", ""]),
        (&public, None, "inner", "/speaker/headers", ["https", "b.example.com", "/bell/speaker"]),
        (&public, None, "s.example.com", "/headers", ["http", "s.example.com", ""]),
    ] {
        let request = Request::get(path)
            .header("host", name)
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", if peer.is_some() { "a.example.com" } else { "" })
            .header("x-forwarded-prefix", "/forged");
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 4000))));
        }
        let seen = host.send(request).await.text();
        let seen: Vec<&str> = seen.split('\0').filter(|text| !text.is_empty()).collect();
        for (name, value) in ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix"].iter().zip(told)
        {
            let at = seen.iter().position(|text| text == name).expect("the header");
            // The last of them may be nothing.
            assert_eq!(seen.get(at + 1).copied().unwrap_or_default(), value, "{name}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_signature_is_checked_on_the_target_its_client_sent() {
    let host = with_speaker(FrontSettings {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        dialect_hosts: hosts("s.example.com"),
        ..FrontSettings::default()
    })
    .await;
    let signing = json!({"name": "signer", "role": "write", "signing": true});
    let pair = host.ask("POST", "/v1/keys", &host.admin, signing).await.json()["signing"].clone();
    let (id, secret) = (pair["access_id"].as_str().unwrap(), pair["secret"].as_str().unwrap());
    let time = "1711972800";
    let mounted = "/speaker/signed?b=%2f&a=+";
    let behind = "/api/signed?b=%2f&a=+";
    for (signed, sent, original, peer, status) in [
        (mounted, mounted, None, None, 200),
        (mounted, "/speaker/signed?b=%2F&a=+", None, None, 401),
        (mounted, "/speaker/signed?a=+&b=%2f", None, None, 401),
        (behind, mounted, Some(behind), Some([10, 0, 0, 1]), 200),
        (behind, mounted, Some(behind), Some([11, 0, 0, 1]), 401),
        (behind, mounted, None, Some([10, 0, 0, 1]), 401),
    ] {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{signed}:POST:{time}").as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        let mut request = Request::post(sent)
            .header("authorization", format!("TC {id}:{signature}"))
            .header("timestamp", time);
        if let Some(original) = original {
            request = request.header("x-original-uri", original);
        }
        let mut request = request.body(Body::from("{}")).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 4000))));
        }
        let answer = host.send(request).await;
        assert_eq!(answer.status, status, "{signed} sent as {sent}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_dialect_s_caller_is_held_to_its_share_too() {
    let [per_second, burst] = [1, 2].map(|number| NonZeroU32::new(number).unwrap());
    let rate_limit = Some(RateLimit { per_second, burst });
    let host = with_speaker(FrontSettings { rate_limit, ..FrontSettings::default() }).await;
    let path = format!("/speaker/key?api_key={}", host.write);
    for _ in 0..2 {
        assert_eq!(host.get(&path, "").await.text(), "known");
    }
    host.get(&path, "").await.problem(429, "rate-limited");
    assert_eq!(host.get("/speaker/key?api_key=none", "").await.status, 401);
}
