use bellwether_sdk::testing::{answer, extremes, notification, rehearse, sent, sent_json};

use super::*;

fn body(settings: &Json, told: Notification) -> Json {
    let steps = rehearse(next, settings, told, &[]).expect("the settings are right");
    assert_eq!(sent(&steps[0]).url().to_string(), "‹secret url›");
    sent_json(&steps[0])
}

#[test]
fn a_post_says_what_happened_and_leads_to_it() {
    let settings = json!({"url": "set", "channel": "operations", "username": "bellwether"});
    let post = body(&settings, notification(Event::Opened));
    assert_eq!(post["text"], r"**\[High\] Checkout fails more often than usual**");
    assert_eq!((&post["channel"], &post["username"]), (&json!("operations"), &json!("bellwether")));
    assert_eq!(post["priority"], json!({"priority": "important"}));
    let attachment = &post["attachments"][0];
    assert_eq!(attachment["title_link"], "https://bellwether.example/incidents/incident-1");
    assert_eq!(attachment["fields"][0], json!({"short": true, "title": "Severity", "value": "High"}));
    let text = attachment["text"].as_str().expect("a text");
    assert!(text.contains("[Roll back](https://bellwether.example/actions/action-1)"), "{text}");
    assert_eq!(body(&settings, notification(Event::Closed)).get("priority"), None);
    let quiet = json!({"url": "set", "priority": false});
    assert_eq!(body(&quiet, notification(Event::Opened)).get("priority"), None);
}

#[test]
fn a_post_stays_within_mattermosts_limits_and_calls_nobody_whatever_is_told() {
    for (name, told) in extremes() {
        let post = body(&json!({"url": "set"}), told);
        let size = post.to_string().chars().count();
        assert!(size <= 16_383, "{name}: {size}");
        assert!(!post.to_string().contains("@all"), "{name}: {post}");
        let marked = format!("{}{}", post["text"], post["attachments"][0]["text"]);
        assert!(!marked.contains("[x](https"), "{name}: {marked}");
    }
}

#[test]
fn what_mattermost_answers_means_what_its_error_says() {
    let end = |status, body: &str| {
        rehearse(next, &json!({"url": "set"}), notification(Event::Opened), &[answer(status, body)])
            .expect("steps")
            .pop()
            .expect("an end")
    };
    assert_eq!(end(200, "ok"), Step::done());
    assert!(matches!(end(200, "<html>"), Step::Retry { .. }));
    assert!(matches!(end(400, r#"{"id":"web.incoming_webhook.invalid.app_error"}"#), Step::Gone(_)));
    assert!(matches!(end(501, r#"{"id":"web.incoming_webhook.disabled.app_error"}"#), Step::Gone(_)));
    assert!(matches!(end(404, r#"{"id":"web.incoming_webhook.channel.app_error"}"#), Step::Fail(_)));
    assert!(matches!(end(429, "limit exceeded"), Step::Retry { .. }));
    assert!(matches!(end(500, ""), Step::Retry { .. }));
}

#[test]
fn a_wrong_setting_is_named() {
    for (name, value) in [("channel", ""), ("username", "a\nb"), ("icon_url", "icon.png")] {
        let mut given = json!({"url": "set"});
        given[name] = value.into();
        let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
