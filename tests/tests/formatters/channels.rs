//! The channels: what each is set to, and what it answers when all is well.

use serde_json::{Value, json};

/// Every bundled formatter and its settings. A secret is given the name it is looked up by.
pub(crate) fn settings() -> Vec<(&'static str, Value)> {
    vec![
        (
            "email",
            json!({"to": ["on-call@example.com"], "cc": ["desk@example.com"], "reply_to": "no-reply@example.com"}),
        ),
        (
            "jira",
            json!({"url": "https://example.atlassian.net", "email": "bot@example.com", "api_token": "s", "project": "OPS"}),
        ),
        ("mattermost", json!({"url": "s"})),
        ("msteams", json!({"url": "s"})),
        ("opsgenie", json!({"api_key": "s", "teams": ["payments"], "tags": ["bellwether"]})),
        ("pagerduty", json!({"routing_key": "s"})),
        (
            "salesforce",
            json!({"url": "https://example.my.salesforce.com", "client_id": "id", "client_secret": "s"}),
        ),
        ("servicenow", json!({"url": "https://example.service-now.com", "user": "bot", "password": "s"})),
        ("slack", json!({"url": "s"})),
        ("slackapp", json!({"token": "s", "channel": "#operations"})),
        (
            "sns",
            json!({"topic_arn": "arn:aws:sns:us-east-1:123456789012:alerts.fifo", "access_key_id": "AKIA", "secret_access_key": "s"}),
        ),
        ("tamtam", json!({"access_token": "s", "chat_id": -70})),
        ("telegram", json!({"token": "s", "chat_id": "-42", "message_thread_id": 7})),
        ("webhook", json!({"url": "https://alerts.example/hook", "signing_secret": "s"})),
    ]
}

/// What a channel answers a request.
pub(crate) fn answer(channel: &str, outgoing: &Value) -> Value {
    if outgoing.get("email").is_some() {
        return json!({"email": {"message_id": "<1@bellwether.example>"}});
    }
    let request = &outgoing["http"];
    let method = request["method"].as_str().unwrap_or_default();
    let url = request["url"].as_str().unwrap_or_default();
    let (status, body) = match (channel, method) {
        ("slack" | "mattermost", _) => (200, json!("ok")),
        ("slackapp", _) => (200, json!({"ok": true, "channel": "C1", "ts": "1.5"})),
        ("jira", _) => jira(method, url),
        ("servicenow", "GET") if url.contains("correlation_id") => (200, json!({"result": []})),
        ("servicenow", "GET") => (200, json!({"result": [{"sys_id": "a1", "state": "2"}]})),
        ("servicenow", _) => (200, json!({"result": {"sys_id": "a1", "state": "1"}})),
        ("sns", _) => (200, json!("<PublishResponse><MessageId>1</MessageId></PublishResponse>")),
        ("telegram", _) => (200, json!({"ok": true, "result": {"message_id": 5}})),
        ("tamtam", "PUT") => (200, json!({"success": true})),
        ("tamtam", _) => (200, json!({"message": {"body": {"mid": "mid.1"}}})),
        ("salesforce", _) => (201, json!({"id": "500x", "success": true, "errors": []})),
        ("opsgenie" | "pagerduty" | "msteams", _) => (202, json!({})),
        _ => (204, json!("")),
    };
    let body = match body {
        Value::String(text) => text,
        body => body.to_string(),
    };
    json!({"http": {"status": status, "body": body}})
}

fn jira(method: &str, url: &str) -> (u16, Value) {
    let to = |category: &str| json!({"statusCategory": {"key": category}});
    match method {
        "GET" => (
            200,
            json!({
                "fields": {"status": to("new")},
                "transitions": [{"id": "31", "name": "Done", "to": to("done")}],
            }),
        ),
        "POST" if url.ends_with("/search/jql") => (200, json!({"issues": []})),
        "POST" if url.ends_with("/issue") => (201, json!({"id": "1", "key": "OPS-7"})),
        _ => (204, json!("")),
    }
}
