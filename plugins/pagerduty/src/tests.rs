use bellwether_sdk::formatter::Answer;
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"routing_key": "set"})
}

fn accepted() -> Answer {
    answer(202, r#"{"status": "success", "message": "Event processed", "dedup_key": "incident-1.channel-1"}"#)
}

#[test]
fn an_incident_is_triggered_acknowledged_and_resolved_under_one_key() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let told = |exchange: &mut Exchange, event, acknowledged: bool, answers: &[Answer]| {
        exchange.notification = notification(event);
        exchange.notification.incident.acknowledged_by = acknowledged.then(|| "jill".to_owned());
        let steps = rehearse_with(next, &settings(), exchange, answers).expect("steps");
        assert_eq!(sent(&steps[0]).url().to_string(), "https://events.pagerduty.com/v2/enqueue");
        let bodies = steps.iter().filter(|step| matches!(step, Step::Send { .. })).map(sent_json);
        let actions = bodies.map(|body| {
            assert_eq!(
                (&body["dedup_key"], &body["routing_key"]),
                (&json!("incident-1.channel-1"), &json!("routing_key"))
            );
            body["event_action"].as_str().expect("a text").to_owned()
        });
        (actions.collect::<Vec<_>>(), steps.last().cloned())
    };
    let done = Some(Step::done());
    assert_eq!(told(&mut exchange, Event::Opened, false, &[accepted()]), (vec!["trigger".to_owned()], done));
    let (actions, end) = told(&mut exchange, Event::Updated, true, &[accepted(), accepted()]);
    assert_eq!(actions.join(" "), "trigger acknowledge");
    assert!(matches!(end, Some(Step::Done { memory: Some(_) })), "{end:?}");
    // It is acknowledged once: what its people do with it afterwards is theirs.
    let (actions, _) = told(&mut exchange, Event::Updated, true, &[accepted()]);
    assert_eq!(actions, ["trigger"]);
    let (actions, end) = told(&mut exchange, Event::Closed, true, &[accepted()]);
    assert_eq!((actions.join(" "), end), ("resolve".to_owned(), Some(Step::done().remember(Vec::new()))));
}

#[test]
fn two_channels_make_two_alerts_each_under_one_key() {
    let key = |channel: &str, event| {
        let mut exchange = Exchange::new(notification(event), Vec::new());
        exchange.notification.idempotency_key = format!("incident-1.{channel}.7");
        let steps = rehearse_with(next, &settings(), &mut exchange, &[]).expect("steps");
        sent_json(&steps[0])["dedup_key"].as_str().expect("a text").to_owned()
    };
    for event in [Event::Opened, Event::Updated, Event::Closed] {
        assert_eq!(key("day", event), "incident-1.day");
        assert_eq!(key("night", event), "incident-1.night");
    }
}

#[test]
fn a_test_leaves_nothing_behind() {
    let steps =
        rehearse(next, &settings(), notification(Event::Test), &[accepted(), accepted()]).expect("steps");
    assert_eq!(sent_json(&steps[0])["event_action"], "trigger");
    assert_eq!(sent_json(&steps[1])["event_action"], "resolve");
    assert!(matches!(steps[2], Step::Done { .. }));
}

#[test]
fn an_event_stays_within_pagerdutys_limits_whatever_is_told() {
    for (name, mut told) in extremes() {
        told.idempotency_key = format!("{}.1", "x".repeat(62));
        let step = &rehearse(next, &settings(), told, &[]).expect(name)[0];
        let body = sent_json(step);
        assert!(sent(step).body().to_string().len() <= 512_000, "{name}");
        let length = |text: &Json| text.as_str().expect("a text").chars().count();
        assert!((1..=255).contains(&length(&body["dedup_key"])), "{name}");
        if body["event_action"] == "trigger" {
            assert!((1..=1024).contains(&length(&body["payload"]["summary"])), "{name}");
            assert!(length(&body["payload"]["source"]) > 0, "{name}");
        }
    }
}

#[test]
fn what_pagerduty_answers_is_tried_again_or_told() {
    let end = |status, body: &str| {
        rehearse(next, &settings(), notification(Event::Opened), &[answer(status, body)])
            .expect("steps")
            .pop()
    };
    assert_eq!(end(429, ""), Some(Step::retry("the channel answered 429")));
    assert_eq!(end(502, ""), Some(Step::retry("the channel answered 502")));
    assert_eq!(
        end(200, "<html>\n Sign in"),
        Some(Step::retry("the channel answered 200: <html> Sign in, where JSON was expected"))
    );
    let invalid = r#"{"status":"invalid event","errors":["'routing_key' is invalid"]}"#;
    assert_eq!(end(400, invalid), Some(Step::fail(format!("the channel answered 400: {invalid}"))));
}

#[test]
fn every_severity_is_one_of_pagerdutys() {
    for (ours, theirs) in [
        (Severity::Info, "info"),
        (Severity::Low, "warning"),
        (Severity::Medium, "warning"),
        (Severity::High, "error"),
        (Severity::Critical, "critical"),
    ] {
        let mut told = notification(Event::Opened);
        told.incident.severity = ours;
        let steps = rehearse(next, &settings(), told, &[]).expect("steps");
        assert_eq!(sent_json(&steps[0])["payload"]["severity"], theirs);
    }
}

#[test]
fn a_wrong_setting_is_named() {
    for (name, value) in [("source", "a\nb"), ("api_url", "events.pagerduty.com")] {
        let mut given = settings();
        given[name] = value.into();
        let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err(value);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
