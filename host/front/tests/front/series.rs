//! Tagged series over HTTP: written, asked, listed, described, deleted; and what is wrong is named.

use crate::support::Host;
use http::Method;
use serde_json::{Value, json};

/// Two hosts, a sample a minute from noon on.
async fn written() -> Host {
    let host = Host::new().await;
    let points = |factor: f64| -> Vec<Value> {
        (0..30)
            .map(|minute| json!([format!("2024-04-01T12:{minute:02}:00Z"), f64::from(minute) * factor]))
            .collect()
    };
    let body = json!({"series": [
        {"metric": "cpu user", "tags": ["host:a", "env:prod"], "points": points(1.0)},
        {"metric": "cpu user", "tags": ["env:prod", "host:b"], "points": points(10.0)},
        {"metric": "up", "points": [[1_711_972_800_000_i64, 1]]},
    ]});
    let answer = host.ask("POST", "/v1/series", &host.write, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({"written": 61, "series": 3}));
    host
}

fn query(text: &str) -> String {
    let mut pairs = form_urlencoded::Serializer::new("/v1/query?".to_owned());
    pairs
        .append_pair("query", text)
        .append_pair("start", "1711972800000")
        .append_pair("end", "2024-04-01T12:29:59Z")
        .append_pair("step", "600000");
    pairs.finish().replacen("?&", "?", 1)
}

#[tokio::test]
async fn what_is_written_to_series_is_answered() {
    let host = written().await;
    let answer = host.get(&query("max:cpu user{*} by {host}"), &host.read).await;
    answer.problem(400, "invalid");
    let answer = host.get(&query("max:up{*}"), &host.read).await.json();
    assert_eq!(answer["lines"][0]["points"], json!([[1_711_972_800_000_i64, 1.0]]), "{answer}");
    let moved = json!({"series": [{"metric": "cpu", "tags": ["host:a"], "points": [["2024-04-01T12:01:00Z", 2.5]]},
        {"metric": "cpu", "tags": ["host:b"], "points": [["2024-04-01T12:01:00Z", 4.5], ["2024-04-01T12:11:00Z", 7]]}]});
    host.ask("POST", "/v1/series", &host.write, moved).await;
    let answer = host.get(&query("sum:cpu{host:*} by {host}.rollup(max)"), &host.read).await.json();
    assert_eq!(answer["lines"][1]["tags"], json!({"host": "b"}), "{answer}");
    assert_eq!(
        answer["lines"][1]["points"],
        json!([[1_711_972_800_000_i64, 4.5], [1_711_973_400_000_i64, 7.0]])
    );
    let question = json!({"query": "sum:cpu{!host:b} * 2", "start": 1_711_972_800_000_i64,
        "end": "2024-04-01T12:29:59Z", "step": 600_000});
    let answer = host.ask("POST", "/v1/query", &host.read, question).await.json();
    assert_eq!(answer["lines"][0]["points"], json!([[1_711_972_800_000_i64, 5.0]]), "{answer}");
    let theirs = host.get(&query("sum:cpu{*}"), &host.stranger).await.json();
    assert_eq!(theirs["lines"], json!([]), "another organisation sees nothing");
}

#[tokio::test]
async fn a_query_that_does_not_read_is_told_where() {
    let host = Host::new().await;
    let problem = host.get(&query("avg:cpu{*}.rollup(mean)"), &host.read).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "query", "{problem}");
    assert_eq!(problem["errors"][0]["value"], "avg:cpu{*}.rollup(mean)", "{problem}");
    let expected = problem["errors"][0]["expected"].as_str().unwrap();
    assert!(expected.starts_with("at line 1, column 19: one of avg, "), "{problem}");
    let problem = host.get("/v1/query?query=1&start=soon", &host.read).await.problem(400, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("milliseconds since 1970"), "{problem}");
    let problem = host.get("/v1/query?query=1&end=999999999999999", &host.read).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "end", "{problem}");
    let wrong = json!({"series": [{"metric": "cpu", "tags": ["a", ":b"], "points": [[1, 2]]}]});
    let problem = host.ask("POST", "/v1/series", &host.write, wrong).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "series[0].tags[1]", "{problem}");
    let wrong = json!({"series": [{"metric": "cpu", "points": [["soon", 2]]}]});
    let problem = host.ask("POST", "/v1/series", &host.write, wrong).await.problem(400, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("points"), "{problem}");
    let wrong = json!({"series": [{"metric": "cpu", "points": [[1, 2], [999_999_999_999_999_i64, 2]]}]});
    let problem = host.ask("POST", "/v1/series", &host.write, wrong).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "series[0].points[1][0]", "{problem}");
    assert_eq!(problem["errors"][0]["value"], "999999999999999", "{problem}");
    let seconds = json!({"series": [{"metric": "cpu", "points": [[1, 2], [1_795_869_900, 2]]}]});
    let problem = host.ask("POST", "/v1/series", &host.write, seconds).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "series[0].points[1][0]", "{problem}");
    let expected = "milliseconds since 1970: as seconds, 1795869900000 is meant";
    assert_eq!(problem["errors"][0]["expected"], expected, "{problem}");
    let good = json!({"series": [{"metric": "cpu", "points": [[1, 2]]}]});
    host.ask("POST", "/v1/series", &host.read, good).await.problem(403, "forbidden");
}

#[tokio::test]
async fn what_there_is_is_listed_in_pages() {
    let host = written().await;
    let metrics = host.get("/v1/series/metrics?limit=1", &host.read).await.json();
    assert_eq!(
        (&metrics["items"][0]["name"], &metrics["items"][0]["series"]),
        (&json!("cpu user"), &json!(2))
    );
    let next = format!("/v1/series/metrics?limit=1&cursor={}", metrics["next"].as_str().unwrap());
    let rest = host.get(&next, &host.read).await.json();
    assert_eq!((&rest["items"][0]["name"], &rest["next"]), (&json!("up"), &Value::Null));
    let found = host.get("/v1/series/metrics?name_contains=CPU", &host.read).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);

    let series = host.get("/v1/series?metric=cpu%20user&limit=1", &host.read).await.json();
    assert_eq!(series["items"][0]["tags"], json!(["env:prod", "host:a"]));
    let next = format!("/v1/series?metric=cpu%20user&cursor={}", series["next"].as_str().unwrap());
    assert_eq!(host.get(&next, &host.read).await.json()["items"], json!([{"tags": ["env:prod", "host:b"]}]));
    let some = host.get("/v1/series?metric=cpu%20user&filter=!host:a", &host.read).await.json();
    assert_eq!(some["items"].as_array().unwrap().len(), 1);

    let keys = host.get("/v1/series/metrics/cpu%20user/tags", &host.read).await.json();
    assert_eq!(keys["items"][1], json!({"key": "host", "values": 2, "series": 2}));
    let first = host.get("/v1/series/metrics/cpu%20user/tags?limit=1", &host.read).await.json();
    assert_eq!(first["items"], json!([{"key": "env", "values": 1, "series": 2}]));
    let next = format!("/v1/series/metrics/cpu%20user/tags?cursor={}", first["next"].as_str().unwrap());
    let rest = host.get(&next, &host.read).await.json();
    assert_eq!((&rest["items"][0]["key"], &rest["next"]), (&json!("host"), &Value::Null), "{rest}");
    host.get("/v1/series/metrics/up/tags?cursor=AAAA", &host.read).await.problem(400, "invalid");
    let values = host.get("/v1/series/metrics/cpu%20user/tags/host?limit=1", &host.read).await.json();
    assert_eq!(values["items"], json!([{"value": "a", "series": 1}]));
    let next = format!("/v1/series/metrics/cpu%20user/tags/host?cursor={}", values["next"].as_str().unwrap());
    assert_eq!(host.get(&next, &host.read).await.json()["items"], json!([{"value": "b", "series": 1}]));
    host.get("/v1/series/metrics/none/tags", &host.read).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_metric_is_described_and_its_series_deleted() {
    let host = written().await;
    let known = json!({"kind": "count", "unit": "byte", "keep_days": 9});
    let metric = host.ask("PUT", "/v1/series/metrics/up", &host.write, known).await.json();
    assert_eq!(metric, json!({"name": "up", "series": 1, "kind": "count", "unit": "byte", "keep_days": 9}));
    assert_eq!(host.get("/v1/series/metrics/up", &host.read).await.json(), metric);
    let rolled = json!({"roll_ups": [{"after_days": 15, "step_seconds": 300}, {"after_days": 90, "step_seconds": 3600}]});
    let metric = host.ask("PUT", "/v1/series/metrics/up", &host.write, rolled.clone()).await.json();
    assert_eq!((&metric["roll_ups"], &metric["keep_days"]), (&rolled["roll_ups"], &Value::Null));
    assert_eq!(metric["kind"], "count", "what is not said of its kind changes it not");
    let wrong = json!({"roll_ups": [{"after_days": 15, "step_seconds": 7}]});
    let problem = host.ask("PUT", "/v1/series/metrics/up", &host.write, wrong).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "roll_ups[0].step_seconds");
    let wrong = json!({"keep_days": 0});
    let problem = host.ask("PUT", "/v1/series/metrics/up", &host.write, wrong).await.problem(400, "invalid");
    assert_eq!(problem["errors"][0]["field"], "keep_days");
    let some = "/v1/series/metrics/cpu%20user?filter=host:a";
    host.ask("DELETE", some, &host.read, Value::Null).await.problem(403, "forbidden");
    assert_eq!(host.ask("DELETE", some, &host.write, Value::Null).await.json(), json!({"deleted": 1}));
    let audit = host.get("/v1/audit?limit=1", &host.admin).await.json();
    let entry = &audit["items"][0];
    assert_eq!(
        (&entry["action"], &entry["target"]),
        (&json!("series.delete"), &json!("cpu user")),
        "{audit}"
    );
    let left = host.get("/v1/series?metric=cpu%20user", &host.read).await.json();
    assert_eq!(left["items"], json!([{"tags": ["env:prod", "host:b"]}]));
}

#[tokio::test]
async fn a_repeated_write_is_answered_as_before_and_another_under_its_key_refused() {
    let host = Host::new().await;
    let body = json!({"series": [{"metric": "cpu", "points": [[1, 2], [2, 3]]}]});
    let send = |body: Value| {
        let host = &host;
        async move { host.once("one", Method::POST, "/v1/series", &host.write, &body).await }
    };
    let (first, again) = tokio::join!(send(body.clone()), send(body.clone()));
    for answer in [&first, &again] {
        assert_eq!(answer.json(), json!({"written": 2, "series": 1}));
    }
    assert_eq!(send(body).await.header("idempotency-replayed"), "true");
    let other = json!({"series": [{"metric": "cpu", "points": [[1, 5]]}]});
    send(other).await.problem(422, "idempotency-mismatch");
}
