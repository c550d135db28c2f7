use bellwether_sdk::formatter::Answer;
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"api_key": "set", "teams": ["payments"], "tags": ["bellwether"]})
}

fn taken() -> Answer {
    answer(202, r#"{"result": "Request will be processed", "requestId": "r"}"#)
}

fn told(exchange: &mut Exchange, event: Event, answers: &[Answer]) -> (Vec<String>, Step) {
    exchange.notification.event = event;
    let mut steps = rehearse_with(next, &settings(), exchange, answers).expect("steps");
    let end = steps.pop().expect("an end");
    let requests = steps.iter().map(|step| {
        let request = sent(step);
        let key = request.header_value("authorization").expect("a header").to_string();
        assert_eq!(key, "GenieKey ‹secret api_key›");
        format!("{} {}", request.method(), request.url())
    });
    (requests.collect(), end)
}

#[test]
fn two_channels_make_two_alerts_each_under_one_alias() {
    let url = |channel: &str, memory: &[u8]| {
        let mut exchange = Exchange::new(notification(Event::Closed), memory.to_vec());
        exchange.notification.idempotency_key = format!("incident-1.{channel}.7");
        let steps = rehearse_with(next, &settings(), &mut exchange, &[]).expect("steps");
        sent(&steps[0]).url().to_string()
    };
    assert!(url("day", b"").contains("/incident-1.day/close"));
    assert!(url("night", b"").contains("/incident-1.night/close"));
    assert!(url("day", br#""create""#).contains("/incident-1.day/close"));
}

#[test]
fn an_alert_is_created_updated_acknowledged_and_closed_by_its_alias() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let of_alert = |method: &str, part: &str| {
        format!(
            "{method} https://api.opsgenie.com/v2/alerts/incident-1.channel-1/{part}?identifierType=alias"
        )
    };
    let (requests, end) = told(&mut exchange, Event::Opened, &[taken()]);
    assert_eq!(requests, ["POST https://api.opsgenie.com/v2/alerts"]);
    assert!(matches!(end, Step::Done { .. }));
    exchange.notification.incident.acknowledged_by = Some("jill".to_owned());
    let answers = [taken(), taken(), taken(), taken(), taken()];
    let (requests, _) = told(&mut exchange, Event::Updated, &answers);
    let parts = [("PUT", "message"), ("PUT", "description"), ("PUT", "priority"), ("POST", "acknowledge")];
    assert_eq!(requests[1..], parts.map(|(method, part)| of_alert(method, part)));
    let (requests, _) = told(&mut exchange, Event::Closed, &[taken()]);
    assert_eq!(requests, [of_alert("POST", "close")]);
    let (requests, _) = told(&mut exchange, Event::Opened, &[taken(), taken()]);
    assert_eq!(requests[0], "POST https://api.opsgenie.com/v2/alerts", "what comes again is a new alert");
}

#[test]
fn an_update_reaches_its_incident_though_the_alert_was_closed_or_deleted_meanwhile() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    exchange.notification.incident.acknowledged_by = Some("jill".to_owned());
    told(&mut exchange, Event::Opened, &[taken(), taken()]);
    // Every request is taken with 202, whether the alert is there or not: what is gone is made anew, as acknowledged as
    // the incident is, before it is changed.
    let answers = [taken(), taken(), taken(), taken(), taken()];
    let (requests, end) = told(&mut exchange, Event::Updated, &answers);
    assert_eq!(requests[0], "POST https://api.opsgenie.com/v2/alerts");
    assert!(requests[1].contains("/message?") && requests[4].contains("/acknowledge?"), "{requests:?}");
    assert!(matches!(end, Step::Done { .. }));
    // What was opened while Opsgenie was away may have been made all the same, and stand as it was then.
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    told(&mut exchange, Event::Opened, &[answer(503, "")]);
    let (requests, _) = told(&mut exchange, Event::Updated, &[taken(), taken()]);
    assert!(requests[1].contains("/message?"), "{requests:?}");
}

#[test]
fn an_alert_that_is_not_there_yet_is_changed_later_and_one_that_is_gone_is_not_closed() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    told(&mut exchange, Event::Opened, &[taken()]);
    let (_, end) = told(&mut exchange, Event::Updated, &[taken(), answer(404, "{}")]);
    assert_eq!(end, Step::retry("the channel answered 404: {}"));
    let (requests, end) = told(&mut exchange, Event::Closed, &[answer(404, "{}")]);
    assert_eq!((requests.len(), end), (1, Step::done().remember(Vec::new())));
}

#[test]
fn an_alert_stays_within_opsgenies_limits_whatever_is_told() {
    let length = |text: &Json| text.as_str().expect("a text").encode_utf16().count();
    for (name, mut told) in extremes() {
        if told.event == Event::Closed {
            continue;
        }
        let label = ("team".to_owned(), "a,b".repeat(50));
        told.incident.alerts.iter_mut().for_each(|alert| alert.labels = vec![label.clone(); 30]);
        let steps = rehearse(next, &settings(), told, &[]).expect(name);
        let body = sent_json(&steps[0]);
        assert!((1..=130).contains(&length(&body["message"])), "{name}");
        assert!(length(&body["description"]) <= 15_000, "{name}");
        let tags = body["tags"].as_array().expect("tags");
        assert!(tags.len() <= 20 && tags.iter().all(|tag| length(tag) <= 50), "{name}: {tags:?}");
        assert!(tags.iter().all(|tag| !tag.to_string().contains(',')), "{name}: {tags:?}");
        let details = body["details"].as_object().expect("details");
        let size: usize = details.iter().map(|(key, value)| key.len() + length(value)).sum();
        assert!(size <= 8_000, "{name}");
    }
}

#[test]
fn what_opsgenie_answers_is_tried_again_or_told_and_every_severity_has_a_priority() {
    let end = |status| {
        rehearse(next, &settings(), notification(Event::Opened), &[answer(status, "")]).expect("steps").pop()
    };
    assert_eq!(end(429), Some(Step::retry("the channel answered 429")));
    assert_eq!(end(503), Some(Step::retry("the channel answered 503")));
    assert_eq!(end(401), Some(Step::fail("the channel answered 401")));
    assert_eq!(end(422), Some(Step::fail("the channel answered 422")));
    let page = answer(200, "<html>\n Sign in");
    let steps = rehearse(next, &settings(), notification(Event::Opened), &[page]).expect("steps");
    assert_eq!(steps[1], Step::retry("the channel answered 200: <html> Sign in, where JSON was expected"));
    let all = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];
    assert_eq!(all.map(priority), ["P1", "P2", "P3", "P4", "P5"]);
    let steps = rehearse(next, &settings(), notification(Event::Test), &[taken(), taken()]).expect("steps");
    assert!(sent(&steps[1]).url().to_string().contains("/close?"));
}

#[test]
fn a_wrong_setting_is_named() {
    for (name, value) in
        [("tags", json!(vec!["a"; 21])), ("teams", json!([""])), ("api_url", json!("api.opsgenie.com"))]
    {
        let mut given = settings();
        given[name] = value;
        let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
