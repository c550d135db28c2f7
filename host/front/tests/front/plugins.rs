//! A plugin's versions, canary, limits and statistics over the API, and who sees what of them.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::speaker;
use crate::support::{Answer, Host, playbook};

async fn install(host: &Host, component: Vec<u8>, query: &str) -> Answer {
    install_as(host, &host.operator, component, query).await
}

async fn install_as(host: &Host, key: &str, component: Vec<u8>, query: &str) -> Answer {
    host.clock.advance(1_000);
    host.post_component(&format!("/v1/plugins{query}"), key, component).await
}

/// A host whose dialect `speaker` has these versions, each of which answers with its own.
async fn with_versions(versions: &[&str]) -> Host {
    let host = Host::new().await;
    for version in versions {
        let installed = install(&host, speaker::version(version, 200, version), "").await;
        assert_eq!(installed.status, 201, "{}", installed.text());
    }
    host
}

async fn operate(host: &Host, method: &str, path: &str, body: Value) -> Answer {
    host.ask(method, &format!("/v1/plugins/speaker{path}"), &host.operator, body).await
}

/// What `GET /open` is answered to the holder of a key the dialect does not ask for.
async fn spoken(host: &Host) -> String {
    host.get("/speaker/open", "").await.text()
}

#[tokio::test]
async fn nothing_of_a_component_is_read_of_who_may_install_none() {
    let host = Host::new().await;
    for path in ["/v1/plugins", "/v1/plugins/inspect"] {
        for (key, status) in [(&host.read, 403), (&host.write, 403), (&"bw_none".to_owned(), 401)] {
            let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
            let request = Request::post(path)
                .header("authorization", format!("Bearer {key}"))
                .header("content-type", "application/wasm")
                .header("idempotency-key", "once");
            let answer = host.send(request.body(body).unwrap()).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn versions_are_listed_rolled_back_to_and_removed() {
    let host = with_versions(&["1.0.0", "1.1.0", "2.0.0"]).await;
    assert_eq!(spoken(&host).await, "2.0.0");
    let first = host.get("/v1/plugins/speaker/versions?limit=2", &host.read).await.json();
    let told = |page: &Value| -> Vec<(Value, Value)> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|version| (version["version"].clone(), version["state"].clone())).collect()
    };
    assert_eq!(told(&first), [(json!("2.0.0"), json!("current")), (json!("1.1.0"), json!("kept"))]);
    let next = first["next"].as_str().unwrap();
    let second = host.get(&format!("/v1/plugins/speaker/versions?cursor={next}"), &host.read).await.json();
    assert_eq!(told(&second), [(json!("1.0.0"), json!("kept"))]);

    assert_eq!(operate(&host, "POST", "/roll-back", Value::Null).await.json()["version"], "1.1.0");
    assert_eq!(spoken(&host).await, "1.1.0");
    let back = operate(&host, "POST", "/roll-back", json!({"version": "1.0.0"})).await;
    assert_eq!(back.json()["version"], "1.0.0", "{}", back.text());
    operate(&host, "POST", "/roll-back", Value::Null).await.problem(409, "conflict");
    operate(&host, "POST", "/roll-back", json!({"version": "9"})).await.problem(404, "not-found");
    operate(&host, "DELETE", "/versions/1.0.0", Value::Null).await.problem(409, "conflict");
    assert_eq!(operate(&host, "DELETE", "/versions/2.0.0", Value::Null).await.status, 200);
    operate(&host, "DELETE", "/versions/2.0.0?force=true", Value::Null).await.problem(404, "not-found");
    assert_eq!(spoken(&host).await, "1.0.0");

    let refused = install(&host, speaker::version("1.1.0", 200, "other"), "").await;
    assert!(refused.problem(409, "conflict")["detail"].as_str().unwrap().contains("other content"));
    let log = host.get("/v1/audit?limit=3", &host.operator).await.json();
    let actions: Vec<&Value> =
        log["items"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["plugin.remove-version", "plugin.roll-back", "plugin.roll-back"]);
}

#[tokio::test]
async fn an_organisation_changes_nothing_of_the_host_s_plugins() {
    let host = with_versions(&["1.0.0", "2.0.0"]).await;
    for (method, path, body) in [
        ("POST", "/roll-back", Value::Null),
        ("PUT", "/canary", json!({"version": "1.0.0", "share": 10})),
        ("DELETE", "/canary", Value::Null),
        ("POST", "/canary/promote", Value::Null),
        ("PUT", "/limits", json!({})),
        ("DELETE", "/versions/1.0.0", Value::Null),
    ] {
        let path = format!("/v1/plugins/speaker{path}");
        host.ask(method, &path, &host.admin, body).await.problem(403, "forbidden");
    }
    assert_eq!(spoken(&host).await, "2.0.0");
}

#[tokio::test]
async fn a_canary_answers_its_share_of_the_callers_each_always_with_the_same_version() {
    let host = with_versions(&["1.0.0"]).await;
    let beside = install(&host, speaker::version("2.0.0", 200, "2.0.0"), "?canary=40").await;
    assert_eq!(beside.json()["version"], "2.0.0", "{}", beside.text());
    let shown = operate(&host, "GET", "", Value::Null).await.json();
    assert_eq!((&shown["version"], &shown["canary"]["share"]), (&json!("1.0.0"), &json!(40)), "{shown}");
    // The caller is whoever the key in the query names, proven or not.
    let mut canaries = 0;
    for caller in 0..200 {
        let answers = [
            host.get(&format!("/speaker/key?api_key=caller-{caller}"), "").await,
            host.get(&format!("/speaker/key?api_key=caller-{caller}"), "").await,
        ];
        assert_eq!(answers[0].text(), answers[1].text());
        canaries += u32::from(answers[0].text().contains("2.0.0"));
    }
    assert!((50..110).contains(&canaries), "{canaries}");
    let theirs = host.get("/v1/plugins/speaker", &host.admin).await.json();
    assert_eq!(theirs["canary"]["share"], 40, "{theirs}");
    assert!(theirs["canary"].get("calls").is_none(), "how often others call it: {theirs}");
    operate(&host, "PUT", "/canary", json!({"version": "2.0.0", "share": 101})).await.problem(400, "invalid");
    operate(&host, "PUT", "/canary", json!({"version": "1.0.0", "share": 10})).await.problem(400, "invalid");
    let all = operate(&host, "PUT", "/canary", json!({"version": "2.0.0", "share": 100})).await;
    assert!(all.json()["calls"]["calls"].as_u64().unwrap() > 50, "{}", all.text());
    assert_eq!(spoken(&host).await, "2.0.0");
    let promoted = operate(&host, "POST", "/canary/promote", Value::Null).await.json();
    assert_eq!(
        (&promoted["version"], &promoted["last_canary"]["how"]),
        (&json!("2.0.0"), &json!("promoted"))
    );
    operate(&host, "DELETE", "/canary", Value::Null).await.problem(409, "conflict");
}

#[tokio::test]
async fn a_bad_canary_is_gone_after_its_first_calls() {
    let host = with_versions(&["1.0.0"]).await;
    install(&host, speaker::version("2.0.0", 500, "broken"), "?canary=100").await;
    for _ in 0..20 {
        assert_eq!(spoken(&host).await, "broken");
    }
    assert_eq!(spoken(&host).await, "1.0.0");
    let shown = loop {
        let shown = operate(&host, "GET", "", Value::Null).await.json();
        if shown["canary"].is_null() {
            break shown;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(shown["last_canary"]["how"], "rolled-back", "{shown}");
    assert!(shown["last_canary"]["reason"].as_str().unwrap().starts_with("20 of 20 calls failed"), "{shown}");
}

#[tokio::test]
async fn whoever_changes_a_version_is_warned_of_playbooks_that_do_not_fit_it_and_who_removes_it_of_those_it_breaks()
 {
    let host = Host::new().await;
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, playbook("greet", "manual", "hello")).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let ask = async |method, path: &str, key| {
        host.ask(method, &format!("/v1/plugins/echo{path}"), key, Value::Null).await
    };
    let does_not_fit = |answer: &Answer| {
        assert!(answer.status.is_success(), "{}", answer.text());
        let answer = answer.json();
        let [Value::String(warning)] = &answer["warnings"].as_array().unwrap()[..] else {
            panic!("{answer}")
        };
        assert!(warning.starts_with("the playbook greet does not fit it: steps[0].inputs"), "{warning}");
    };
    let fits = |answer: &Answer| {
        assert!(answer.status.is_success(), "{}", answer.text());
        assert!(answer.json().get("warnings").is_none(), "{}", answer.text());
    };
    let own = &host.admin;
    does_not_fit(&install_as(&host, own, speaker::echo("1.0.0", false), "").await);
    fits(&install_as(&host, own, speaker::echo("2.0.0", true), "").await);
    does_not_fit(&ask("POST", "/roll-back", own).await);
    fits(&install_as(&host, own, speaker::echo("3.0.0", true), "").await);
    does_not_fit(&install_as(&host, own, speaker::echo("4.0.0", false), "?canary=10").await);
    does_not_fit(&ask("POST", "/canary/promote", own).await);

    ask("DELETE", "", own).await.problem(409, "conflict");
    let removed = ask("DELETE", "?force=true", own).await.json();
    assert_eq!(
        removed["warnings"],
        json!(["this breaks the playbook greet, which called the current version"]),
        "{removed}"
    );
    // Of the host's the operator learns how many of whom.
    let installed = install(&host, speaker::echo("1.0.0", false), "").await.json();
    let told = json!(["it does not fit 1 playbook of the organisation own"]);
    assert_eq!(installed["warnings"], told, "{installed}");
    let removed = ask("DELETE", "?force=true", &host.operator).await.json();
    let told = json!(["this breaks 1 playbook of the organisation own, which called the current version"]);
    assert_eq!(removed["warnings"], told, "{removed}");
}

#[tokio::test]
async fn limits_are_read_and_set() {
    let host = with_versions(&["1.0.0"]).await;
    let set = operate(&host, "PUT", "/limits", json!({"memory_bytes": 1_048_576})).await;
    assert_eq!(set.json()["effective"]["memory_bytes"], 1_048_576, "{}", set.text());
    let read = host.get("/v1/plugins/speaker/limits", &host.read).await.json();
    assert_eq!(read, set.json());
    operate(&host, "PUT", "/limits", json!({"memory_bytes": 1})).await.problem(400, "invalid");
    let unknown = operate(&host, "PUT", "/limits", json!({"memory": 1})).await.problem(400, "invalid");
    assert!(unknown.to_string().contains("memory_bytes"), "{unknown}");
    assert_eq!(spoken(&host).await, "1.0.0");
}

#[tokio::test]
async fn how_a_plugin_does_is_the_operator_s_to_see_and_of_it_an_organisation_what_concerns_it() {
    let host = with_versions(&["1.0.0"]).await;
    for _ in 0..3 {
        spoken(&host).await;
    }
    host.get("/speaker/trap", "").await.problem(502, "plugin");
    let stats = operate(&host, "GET", "/stats", Value::Null).await.json();
    let version = &stats["versions"][0];
    assert_eq!((&version["version"], &version["state"]), (&json!("1.0.0"), &json!("current")), "{stats}");
    let role = &version["roles"][0];
    // `describe` is a call too.
    assert_eq!((&role["role"], &role["calls"]), (&json!("dialect"), &json!(5)), "{stats}");
    assert_eq!(role["errors"], json!([{"kind": "trap", "count": 1}]), "{stats}");
    let list = host.get("/v1/plugin-stats", &host.operator).await.json();
    assert_eq!(list["items"][0]["versions"][0]["roles"][0]["calls"], 5, "{list}");
    let traps = operate(&host, "GET", "/traps", Value::Null).await.json();
    assert!(traps["items"][0]["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{traps}");
    assert_eq!(
        (&traps["items"][0]["version"], &traps["items"][0]["role"]),
        (&json!("1.0.0"), &json!("dialect"))
    );
    assert_eq!(operate(&host, "GET", "/logs?limit=5", Value::Null).await.json(), json!({"items": []}));
    operate(&host, "GET", "/logs?limit=0", Value::Null).await.problem(400, "invalid");

    let theirs = host.get("/v1/plugins/speaker/stats", &host.admin).await.json();
    assert_eq!(theirs["versions"][0]["breaker"]["phase"], "closed", "{theirs}");
    assert!(theirs["versions"][0].get("roles").is_none() && theirs["versions"][0].get("egress").is_none());
    host.get("/v1/plugins/speaker/traps", &host.admin).await.problem(403, "forbidden");

    let page = host.get("/", "").await.text();
    for part in
        [">speaker</td>", ">1.0.0</td>", "<td data-column=\"Calls\">5</td>", "<span class=\"closed\">"]
    {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}
