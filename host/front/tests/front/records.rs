//! Events and logs over HTTP: appended, searched page by page, shown, kept; and what is wrong is named.

use serde_json::{Value, json};

use crate::support::Host;

fn found(answer: &Value) -> Vec<&str> {
    answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["message"].as_str().unwrap_or_default())
        .collect()
}

/// The path of a search, its query encoded.
fn path(kind: &str, query: &str, rest: &str) -> String {
    let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    format!("/v1/{kind}?query={query}{rest}")
}

async fn written() -> Host {
    let host = Host::new().await;
    let body = json!({"logs": [
        {"time": "2024-04-01T12:00:00Z", "message": "one", "service": "shop", "status": "error",
         "attributes": {"http": {"status_code": 504}, "ratio": 0.1}},
        {"time": "2024-04-01T12:00:02Z", "message": "three", "service": "shop", "tags": ["env:prod"]},
        {"time": "2024-04-01T12:00:01Z", "message": "two", "service": "api", "host": "web-1"},
    ]});
    let answer = host.ask("POST", "/v1/logs", &host.write, body).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"appended": 3, "first_id": 1})));
    host
}

#[tokio::test]
async fn logs_are_searched_in_pages_and_shown_as_appended() {
    let host = written().await;
    let page = host.get(&path("logs", "", "&limit=2"), &host.read).await.json();
    assert_eq!((found(&page), &page["stopped_early"]), (vec!["three", "two"], &json!(false)));
    let next = format!("&limit=2&cursor={}", page["next"].as_str().unwrap());
    let page = host.get(&path("logs", "", &next), &host.read).await.json();
    assert_eq!((found(&page), page.get("next")), (vec!["one"], None));
    let oldest = host.get("/v1/logs?order=oldest", &host.read).await.json();
    assert_eq!(found(&oldest), ["one", "two", "three"]);
    let some = host.get(&path("logs", "service:shop @http.status_code:>=500", ""), &host.read).await.json();
    assert_eq!(found(&some), ["one"]);
    let range =
        host.get("/v1/logs?start=2024-04-01T12:00:01Z&end=2024-04-01T12:00:01Z", &host.read).await.json();
    assert_eq!(found(&range), ["two"]);
    let shown = host.get("/v1/logs/1", &host.read).await.json();
    let expected = json!({"id": 1, "time": "2024-04-01T12:00:00Z", "message": "one", "status": "error",
        "service": "shop", "attributes": {"http": {"status_code": 504}, "ratio": 0.1}});
    assert_eq!(shown, expected);
    host.get("/v1/events/1", &host.read).await.problem(404, "not-found");
    host.get("/v1/logs/9", &host.read).await.problem(404, "not-found");
    host.get("/v1/logs/x", &host.read).await.problem(400, "invalid");
    let theirs = host.get("/v1/logs", &host.stranger).await.json();
    assert_eq!(theirs["items"], json!([]), "another organisation sees nothing");
    host.get("/v1/logs/1", &host.stranger).await.problem(404, "not-found");
}

#[tokio::test]
async fn what_is_wrong_with_a_record_or_a_search_is_named_and_nothing_is_kept() {
    let host = Host::new().await;
    let wrong = json!({"events": [{"title": "good"}, {"title": "", "message": "no title"}]});
    let problem = host.ask("POST", "/v1/events", &host.write, wrong).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "events[1].title", "{problem}");
    let wrong = json!({"logs": [{"message": "x", "tags": [":b"]}]});
    let problem = host.ask("POST", "/v1/logs", &host.write, wrong).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "logs[0].tags[0]", "{problem}");
    let wrong = json!({"logs": [{"text": "x"}]});
    host.ask("POST", "/v1/logs", &host.write, wrong).await.problem(400, "invalid");
    let problem = host.get(&path("logs", "service:(a", ""), &host.read).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "query", "{problem}");
    assert_eq!(problem["errors"][0]["value"], "service:(a", "{problem}");
    let expected = problem["errors"][0]["expected"].as_str().unwrap();
    assert!(expected.starts_with("at line 1, column 11: "), "{problem}");
    for query in ["limit=0", "cursor=x", "order=first", "start=2024-04-02&end=2024-04-01"] {
        host.get(&format!("/v1/events?{query}"), &host.read).await.problem(400, "invalid");
    }
    assert_eq!(host.get("/v1/events", &host.read).await.json()["items"], json!([]));
}

#[tokio::test]
async fn an_organisation_says_for_how_long_it_keeps_its_own() {
    let host = written().await;
    let own = json!({"events_days": null, "logs_days": 7});
    let answer = host.ask("PUT", "/v1/retention", &host.admin, own.clone()).await;
    assert_eq!(answer.json(), own);
    assert_eq!(host.get("/v1/retention", &host.read).await.json(), own);
    let audit = host.get("/v1/audit?limit=1", &host.admin).await.json();
    assert_eq!(audit["items"][0]["action"], "retention.set", "{audit}");
    host.clock.advance(8 * 24 * 60 * 60 * 1000);
    assert_eq!(host.get("/v1/logs", &host.read).await.json()["items"], json!([]));
    let wrong = json!({"events_days": 0, "logs_days": null});
    let problem = host.ask("PUT", "/v1/retention", &host.admin, wrong).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "events_days", "{problem}");
}
