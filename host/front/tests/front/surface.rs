//! What callers rely on: round trips, paging, repetition, limits, the document, health.

use crate::support::{Host, playbook};
use axum::body::Body;
use std::num::NonZeroU32;

use bellwether_front::{FrontSettings, MetricsAccess, RateLimit};
use http::{Method, Request};
use serde_json::{Value, json};

fn metric(name: &str) -> Value {
    json!({"name": name, "data_type": "sum", "interval": "hourly"})
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let host = Host::new().await;
    assert_eq!(host.ask("POST", "/v1/metrics", &host.write, metric("logins a/b")).await.status, 201);
    assert_eq!(host.ask("POST", "/v1/metrics", &host.write, metric("logins a/b")).await.status, 200);
    let other = json!({"name": "logins a/b", "data_type": "count", "interval": "hourly"});
    host.ask("POST", "/v1/metrics", &host.write, other).await.problem(409, "conflict");
    let samples = json!({"return_values": true, "samples": [
        {"metric": "logins a/b", "value": 3},
        {"metric": 1, "value": 4.5, "time": "2024-04-01T11:30:00+00:00"},
        {"metric": 1, "value": 1, "time": "2024-04-01T12:59:59Z"},
    ]});
    let written = host.ask("POST", "/v1/samples", &host.write, samples).await;
    assert_eq!(written.status, 200, "{}", written.text());
    assert_eq!(written.json()["written"], 3);
    assert_eq!(written.json()["values"][1], json!({"interval_start": "2024-04-01T11:00:00Z", "value": 4.5}));
    let values =
        host.get("/v1/metrics/logins%20a%2Fb/values?start=2024-04-01T11:00:00Z", &host.read).await.json();
    assert_eq!(values["metric"]["name"], "logins a/b");
    assert_eq!(
        values["series"][0]["values"],
        json!([
            {"start": "2024-04-01T11:00:00Z", "value": 4.5, "count": 1},
            {"start": "2024-04-01T12:00:00Z", "value": 4.0, "count": 2},
        ])
    );
    let now = host.get("/v1/metrics/1/values?aggregates=true", &host.read).await.json();
    assert_eq!(now["series"][0]["values"].as_array().unwrap().len(), 1, "{now}");
    assert_eq!(now["series"][0]["values"][0]["aggregates"]["maximum"], 3.0, "{now}");
    assert_eq!(
        host.ask("DELETE", "/v1/metrics/1", &host.write, Value::Null).await.json()["name"],
        "logins a/b"
    );
    host.get("/v1/metrics/1", &host.read).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_day_alone_is_that_day_in_the_metrics_own_time_zone() {
    let host = Host::new().await;
    let zone = json!({"time_zone": "America/New_York"});
    assert_eq!(host.ask("PATCH", "/v1/organisation", &host.admin, zone).await.status, 200);
    let daily = json!({"name": "visits", "data_type": "last", "interval": "daily"});
    host.ask("POST", "/v1/metrics", &host.write, daily).await;
    let samples = json!({"samples": [
        {"metric": "visits", "value": 1, "time": "2026-01-01"},
        {"metric": "visits", "value": 3, "time": "2026-01-03T23:30:00"},
    ]});
    assert_eq!(host.ask("POST", "/v1/samples", &host.write, samples).await.status, 200);
    let values = async |range: &str| {
        let path = format!("/v1/metrics/visits/values?fill=previous&{range}");
        let mut answer = host.get(&path, &host.read).await.json();
        let values = answer["series"][0]["values"].take();
        let pair = |value: &Value| (value["start"].as_str().unwrap().to_owned(), value["value"].as_f64());
        values.as_array().unwrap().iter().map(pair).collect::<Vec<_>>()
    };
    let day = |day: u8| format!("2026-01-0{day}T05:00:00Z");
    let expected = [(day(1), Some(1.0)), (day(2), Some(1.0)), (day(3), Some(3.0))];
    assert_eq!(values("start=2026-01-01&end=2026-01-03").await, expected);
    assert_eq!(
        values("start=2026-01-02T12:00:00&end=2026-01-03").await,
        expected[1..],
        "from ahead of the range"
    );
    assert_eq!(values("start=2026-01-02&end=2026-01-02").await, expected[1..2]);
    let backward = "/v1/metrics/visits/values?start=2026-01-02&end=2026-01-01";
    let problem = host.get(backward, &host.read).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "end", "{problem}");
    let never =
        host.get("/v1/metrics/visits/values?start=2026-01-01&end=9999-12-31", &host.read).await.json();
    assert_eq!(never["series"][0]["values"].as_array().unwrap().len(), 2, "{never}");
}

#[tokio::test]
async fn a_number_is_a_metrics_id_and_in_quotes_its_name() {
    let host = Host::new().await;
    for name in ["2", "first"] {
        host.ask("POST", "/v1/metrics", &host.write, metric(name)).await;
    }
    assert_eq!(host.get("/v1/metrics/2", &host.read).await.json()["name"], "first");
    host.ask("DELETE", "/v1/metrics/2", &host.write, Value::Null).await;
    for again in ["GET", "DELETE"] {
        host.ask(again, "/v1/metrics/2", &host.write, Value::Null).await.problem(404, "not-found");
    }
    assert_eq!(host.get("/v1/metrics/%222%22", &host.read).await.json()["name"], "2");
}

#[tokio::test]
async fn keys_are_listed_and_chosen() {
    let host = Host::new().await;
    let keyed = json!({"name": "pushes", "data_type": "count", "interval": "daily", "keyed": true});
    host.ask("POST", "/v1/metrics", &host.write, keyed).await;
    let samples: Vec<_> = ["a", "b", "bc"].map(|key| json!({"metric": "pushes", "key": key})).into();
    host.ask("POST", "/v1/samples", &host.write, json!({"samples": samples})).await;
    let valued = json!({"samples": [{"metric": "pushes", "key": "a", "value": 5}]});
    let refused = host.ask("POST", "/v1/samples", &host.write, valued).await.problem(400, "invalid");
    assert_eq!(refused["errors"][0]["field"], "samples[0].value", "a count would drop it");
    assert_eq!(
        host.get("/v1/metrics/pushes/keys?contains=b", &host.read).await.json()["items"],
        json!(["b", "bc"])
    );
    let values = host.get("/v1/metrics/pushes/values?key=a&key=bc", &host.read).await.json();
    let keys: Vec<_> = values["series"].as_array().unwrap().iter().map(|series| &series["key"]).collect();
    assert_eq!(keys, ["a", "bc"]);
}

#[tokio::test]
async fn the_pages_of_a_list_hold_everything_once() {
    let host = Host::new().await;
    for number in 0..7 {
        host.ask("POST", "/v1/metrics", &host.write, metric(&format!("m{number}"))).await;
        host.ask("POST", "/v1/keys", &host.admin, json!({"name": format!("k{number}"), "role": "read"}))
            .await;
        let document = playbook(&format!("p{number}"), "manual", "x");
        assert_eq!(host.ask("POST", "/v1/playbooks", &host.admin, document).await.status, 201);
        host.ask("POST", &format!("/v1/playbooks/p{number}/runs?wait"), &host.admin, Value::Null).await;
    }
    for (list, key, items) in [
        ("/v1/metrics", &host.read, 7),
        ("/v1/playbooks", &host.read, 7),
        ("/v1/runs", &host.read, 7),
        ("/v1/keys", &host.admin, 10),
        ("/v1/organisations", &host.operator, 2),
        ("/v1/audit", &host.admin, 10),
    ] {
        let whole = host.get(list, key).await.json();
        let whole = whole["items"].as_array().unwrap().clone();
        assert!(whole.len() >= items, "{list}: {}", whole.len());
        let mut gathered = Vec::new();
        let mut path = format!("{list}?limit=3");
        loop {
            let page = host.get(&path, key).await.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 3, "{list}");
            gathered.extend(items.clone());
            match page["next"].as_str() {
                Some(next) => path = format!("{list}?limit=3&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(gathered, whole, "{list}");
    }
}

#[tokio::test]
async fn samples_sent_again_are_answered_with_the_values_of_the_first_time() {
    let host = Host::new().await;
    host.ask("POST", "/v1/metrics", &host.write, metric("m")).await;
    let sample = json!({"metric": "m", "value": 5});
    let body = json!({"samples": [sample, sample], "return_values": true});
    let send = async |name| host.once(name, Method::POST, "/v1/samples", &host.write, &body).await;
    let first = send("a").await;
    assert_eq!(first.json()["values"][1]["value"], 10.0, "{}", first.text());
    send("b").await;
    let again = send("a").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.body, first.body, "{}", again.text());
}

#[tokio::test]
async fn samples_sent_again_under_one_idempotency_key_are_written_once() {
    let host = Host::new().await;
    host.ask("POST", "/v1/metrics", &host.write, metric("m")).await;
    let body = json!({"samples": [{"metric": "m", "value": 5}]});
    let send = |name: &'static str, body: Value| {
        let host = &host;
        async move { host.once(name, Method::POST, "/v1/samples", &host.write, &body).await }
    };
    let first = send("\"a\"", body.clone()).await;
    let again = send("a", body.clone()).await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(again.header("content-type"), "application/json");
    let (one, two) = tokio::join!(send("b", body.clone()), send("b", body.clone()));
    assert_eq!((one.status.as_u16(), two.status.as_u16()), (200, 200), "{} {}", one.text(), two.text());
    send("a", json!({"samples": [{"metric": "m", "value": 6}]})).await.problem(422, "idempotency-mismatch");
    send("", body.clone()).await.problem(400, "invalid");
    // The same value from another key is another request.
    let other = host.once("a", Method::POST, "/v1/samples", &host.admin, &body).await;
    assert_eq!(other.header("idempotency-replayed"), "");
    let values = host.get("/v1/metrics/m/values", &host.read).await.json();
    assert_eq!(values["series"][0]["values"][0]["value"], 15.0, "{values}");
}

#[tokio::test]
async fn a_write_sent_again_under_one_idempotency_key_is_done_once() {
    let host = Host::new().await;
    let key = json!({"name": "new", "role": "read"});
    let first = host.once("a", Method::POST, "/v1/keys", &host.admin, &key).await;
    let again = host.once("a", Method::POST, "/v1/keys", &host.admin, &key).await;
    assert_eq!(first.status, 201, "{}", first.text());
    assert_eq!((first.status, first.json()), (again.status, again.json()));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let token = first.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(host.get("/v1/metrics", &token).await.status, 200);
    let keys = host.get("/v1/keys", &host.admin).await.json();
    assert_eq!(keys["items"].as_array().unwrap().iter().filter(|key| key["name"] == "new").count(), 1);
    // The token lies nowhere in the store in clear.
    let secret = token.rsplit('_').next().unwrap().as_bytes().to_vec();
    for space in 0..=u8::MAX - 1 {
        use bellwether_store::{Direction, Key, Store};
        let range = Key::from_bytes(vec![space])..Key::from_bytes(vec![space + 1]);
        for (_, value) in host.store.scan(range, Direction::Forward, 10_000).await.unwrap() {
            assert!(!value.windows(secret.len()).any(|window| window == secret), "space {space}");
        }
    }
    let other = host.once("a", Method::POST, "/v1/metrics", &host.admin, &metric("m")).await;
    other.problem(422, "idempotency-mismatch");
}

#[tokio::test]
async fn a_write_that_failed_may_be_sent_again_with_its_idempotency_key() {
    let host = Host::new().await;
    let run = || host.once("a", Method::POST, "/v1/playbooks/late/runs", &host.admin, &Value::Null);
    run().await.problem(400, "invalid");
    let start = json!({"inputs": {}});
    let run = || host.once("b", Method::POST, "/v1/playbooks/late/runs", &host.admin, &start);
    run().await.problem(404, "not-found");
    host.ask("POST", "/v1/playbooks", &host.admin, playbook("late", "manual", "x")).await;
    let started = run().await;
    assert_eq!(started.status, 202, "{}", started.text());
    assert_eq!(run().await.json()["run_id"], started.json()["run_id"]);
}

#[tokio::test]
async fn a_playbook_is_stored_replaced_run_and_deleted() {
    let host = Host::new().await;
    let toml = "name = \"hello\"\n[trigger]\ntype = \"manual\"\n[[steps]]\nid = \"say\"\napp = \"echo\"\n\
                inputs = { text = \"{{ trigger.inputs.who }}\" }\n";
    let send = |method: Method, path: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", host.admin))
            .header("content-type", "application/toml; charset=utf-8")
            .body(Body::from(toml));
        host.send(request.unwrap())
    };
    assert_eq!(send(Method::POST, "/v1/playbooks/validate").await.json()["name"], "hello");
    let stored = send(Method::POST, "/v1/playbooks").await;
    assert_eq!(
        (stored.status.as_u16(), stored.json()["version"].as_u64()),
        (201, Some(1)),
        "{}",
        stored.text()
    );
    assert_eq!(stored.json()["source"], toml);
    send(Method::POST, "/v1/playbooks").await.problem(409, "conflict");
    let replaced = send(Method::PUT, "/v1/playbooks/hello").await;
    assert_eq!((replaced.status.as_u16(), replaced.json()["version"].as_u64()), (200, Some(2)));
    assert_eq!(
        send(Method::PUT, "/v1/playbooks/goodbye").await.problem(400, "invalid")["errors"][0]["field"],
        "name"
    );
    let inputs = json!({"inputs": {"who": "you"}});
    let run = host.ask("POST", "/v1/playbooks/hello/runs?wait", &host.write, inputs).await;
    assert_eq!(run.status, 200, "{}", run.text());
    let run = run.json();
    assert_eq!((&run["state"], &run["playbook_version"]), (&json!("succeeded"), &json!(2)), "{run}");
    assert_eq!(run["steps"][0]["outputs"]["text"], "you", "{run}");
    assert_eq!(run["triggered_by"]["type"], "manual", "{run}");
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(host.get(&path, &host.read).await.json(), run);
    assert_eq!(host.ask("DELETE", "/v1/playbooks/hello", &host.admin, Value::Null).await.status, 200);
    assert_eq!(host.get(&path, &host.read).await.status, 200);
    host.get("/v1/playbooks/hello", &host.read).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_webhook_starts_its_playbook_and_answers_at_once_or_with_the_run() {
    let settings =
        FrontSettings { public_url: Some("https://bell.example.com".into()), ..FrontSettings::default() };
    let host = Host::with(settings).await;
    let document = playbook("hooked", "webhook", "{{ trigger.body.who }}");
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, document).await.json();
    let url = stored["webhook_url"].as_str().unwrap();
    let path = url.strip_prefix("https://bell.example.com").unwrap();
    let accepted = host.ask("POST", path, "", json!({"who": "you"})).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    assert_eq!(accepted.header("location"), accepted.json()["url"].as_str().unwrap());
    let run = host.ask("POST", &format!("{path}?wait=60&more=1"), "", json!({"who": "me"})).await;
    assert_eq!(run.status, 200, "{}", run.text());
    assert_eq!(run.json()["steps"][0]["outputs"]["text"], "me", "{}", run.text());
    let query = &run.json()["trigger"]["query"];
    assert!(query.get("wait").is_none() && query.get("more").is_some(), "{}", run.text());
    host.ask("POST", &format!("{path}?wait=61"), "", json!({})).await.problem(400, "invalid");
    let large = "x".repeat((1 << 20) + 1);
    host.ask("POST", path, "", json!(large)).await.problem(413, "too-large");
}

#[tokio::test]
async fn only_get_post_and_put_start_a_playbook_by_its_webhook() {
    let host = Host::new().await;
    let document = playbook("hooked", "webhook", "{{ trigger.method }}");
    let stored = host.ask("POST", "/v1/playbooks", &host.admin, document).await.json();
    let path = stored["webhook_url"].as_str().unwrap();
    for method in ["HEAD", "DELETE", "PATCH", "OPTIONS"] {
        let refused = host.ask(method, path, "", Value::Null).await;
        assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "GET, POST, PUT"), "{method}");
    }
    assert_eq!(host.get("/v1/runs", &host.read).await.json()["items"], json!([]));
    for method in ["GET", "POST", "PUT"] {
        assert_eq!(host.ask(method, path, "", Value::Null).await.status, 202, "{method}");
    }
}

#[tokio::test]
async fn a_key_out_of_its_share_is_told_when_to_come_back() {
    let [per_second, burst] = [1, 3].map(|number| NonZeroU32::new(number).unwrap());
    let rate_limit = Some(RateLimit { per_second, burst });
    let settings = FrontSettings { rate_limit, ..FrontSettings::default() };
    let host = Host::with(settings).await;
    for _ in 0..3 {
        assert_eq!(host.get("/v1/metrics", &host.read).await.status, 200);
    }
    let refused = host.get("/v1/metrics", &host.read).await;
    refused.problem(429, "rate-limited");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(host.get("/v1/metrics", &host.write).await.status, 200);
}

#[tokio::test]
async fn a_request_too_many_is_refused_and_health_still_answers() {
    let settings = FrontSettings { concurrent_requests: 1, ..FrontSettings::default() };
    let host = Host::with(settings).await;
    // A body that never comes keeps its request at work.
    let slow = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let slow = Request::post("/v1/samples")
        .header("authorization", format!("Bearer {}", host.write))
        .header("content-type", "application/json")
        .body(slow)
        .unwrap();
    let mut at_work = std::pin::pin!(host.send(slow));
    assert!(futures::poll!(&mut at_work).is_pending());
    let refused = host.get("/v1/metrics", &host.read).await;
    refused.problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(host.get(path, "").await.status, 200, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_out_of_time_is_given_up() {
    let host = Host::new().await;
    let slow = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let slow = Request::post("/v1/metrics")
        .header("authorization", format!("Bearer {}", host.write))
        .header("content-type", "application/json")
        .body(slow)
        .unwrap();
    host.send(slow).await.problem(504, "deadline");
}

#[tokio::test(start_paused = true)]
async fn the_body_of_who_is_nobody_is_not_waited_for() {
    let host = Host::new().await;
    let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let began = tokio::time::Instant::now();
    host.send(Request::post("/hooks/no-such-token").body(body).unwrap()).await.problem(404, "not-found");
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn readiness_tells_why_not() {
    let host = Host::new().await;
    assert_eq!(host.get("/readyz", "").await.json(), json!({"ready": true, "reasons": [], "warnings": []}));
    host.store.set_disk_full(true);
    let full = host.get("/readyz", "").await;
    assert_eq!(full.status, 503);
    assert!(full.text().contains("disk"), "{}", full.text());
    assert!(host.get("/", "").await.text().contains("disk is nearly full"));
    host.store.set_disk_full(false);
    host.stopping.begin();
    let stopping = host.get("/readyz", "").await;
    assert_eq!(
        (stopping.status.as_u16(), stopping.json()["reasons"][0].as_str()),
        (503, Some("the host is stopping"))
    );
    assert_eq!(host.get("/healthz", "").await.status, 200);
    assert_eq!(host.get("/v1/metrics", &host.read).await.status, 200);
}

#[tokio::test]
async fn metrics_can_be_kept_for_the_operator() {
    let settings = FrontSettings { metrics_access: MetricsAccess::Operator, ..FrontSettings::default() };
    let host = Host::with(settings).await;
    for (key, status) in [("", 401), (host.admin.as_str(), 403), (host.operator.as_str(), 200)] {
        assert_eq!(host.get("/metrics", key).await.status, status);
    }
}

#[tokio::test]
async fn the_operator_sees_the_host_and_no_organisation_s_data() {
    let host = Host::new().await;
    let seen = host.get("/v1/host", &host.operator).await.json();
    assert_eq!(
        (&seen["ready"], &seen["version"]),
        (&json!(true), &json!(env!("CARGO_PKG_VERSION"))),
        "{seen}"
    );
    assert!(seen["store"]["commits"].as_u64().is_some_and(|commits| commits > 0), "{seen}");
    let made = json!({"name": "third", "time_zone": "Europe/Vienna"});
    assert_eq!(host.ask("POST", "/v1/organisations", &host.operator, made).await.status, 201);
    let first = json!({"name": "first", "role": "admin", "signing": true});
    let key = host.ask("POST", "/v1/organisations/third/keys", &host.operator, first).await;
    assert_eq!((key.status.as_u16(), key.header("cache-control")), (201, "no-store"), "{}", key.text());
    assert!(key.json()["signing"]["secret"].is_string(), "{}", key.text());
    let who = host.get("/v1/whoami", key.json()["token"].as_str().unwrap()).await.json();
    assert_eq!(who["organisation"]["time_zone"], "Europe/Vienna", "{who}");
    assert_eq!(who["role"], "admin", "{who}");
    host.get("/v1/organisations/none", &host.operator).await.problem(404, "not-found");
    host.ask("POST", "/v1/keys", &host.operator, json!({"name": "x", "role": "read"}))
        .await
        .problem(400, "invalid");
    host.get("/v1/host/backup", &host.operator).await.problem(409, "conflict");
}
