use std::time::Duration;

use bellwether_sdk::formatter::{Answer, Event, Notification, Outgoing, Signing};
use bellwether_sdk::serde_json::{Value as Json, from_str, json, to_string, to_value};
use bellwether_sdk::testing::{answer, notification, rehearse};

use super::*;

const URL: &str = "https://alerts.example/incidents";

fn steps(settings: &Json, told: Notification, answers: &[Answer]) -> Vec<Step> {
    rehearse(next, settings, told, answers).expect("the settings are right")
}

/// The request an exchange begins with.
fn request(settings: &Json, event: Event) -> Request {
    match steps(settings, notification(event), &[]).remove(0) {
        Step::Send { outgoing: Outgoing::Http(request), .. } => request,
        other => panic!("it sends a request and not {other:?}"),
    }
}

#[test]
fn every_event_of_an_incident_is_one_request_that_names_the_incident() {
    for (event, name, state) in [
        (Event::Opened, "incident.opened", "open"),
        (Event::Updated, "incident.updated", "open"),
        (Event::Closed, "incident.closed", "closed"),
        (Event::Test, "test", "open"),
    ] {
        let request = request(&json!({ "url": URL }), event);
        assert_eq!((request.method(), request.url().to_string().as_str()), ("POST", URL));
        let body: Json = from_str(&request.body().to_string()).expect("JSON");
        assert_eq!(body["type"], name);
        let incident = &body["data"]["incident"];
        assert_eq!((&incident["id"], &incident["state"]), (&json!("incident-1"), &json!(state)));
        assert_eq!(incident["started"], "2024-04-09T14:44:00Z");
        let series = &incident["alerts"][0]["series"][0];
        assert_eq!(series["tags"], json!({"country": "de"}));
        assert_eq!(series["upper"]["delta_percentage"], 300.0);
        assert_eq!(steps(&json!({ "url": URL }), notification(event), &[answer(204, "")])[1], Step::done());
    }
}

#[test]
fn a_secret_signs_the_body_with_the_time_of_sending_and_is_never_in_it() {
    let settings = json!({ "url": URL, "method": "PUT", "signing_secret": "whsec_AAAA", "authorization": "Bearer 1234" });
    let request = request(&settings, Event::Opened);
    assert_eq!(request.method(), "PUT");
    let header = |name: &str| request.header_value(name).map(ToString::to_string);
    assert_eq!(header("webhook-id").as_deref(), Some("incident-1.channel-1.1"));
    assert_eq!(header("webhook-timestamp").as_deref(), Some("‹now as unix-seconds›"));
    assert_eq!(header("authorization").as_deref(), Some("‹secret authorization›"));
    let [Signing::Hmac(hmac)] = request.signing() else { panic!("it is signed once") };
    assert_eq!((hmac.secret.as_str(), hmac.header.as_str()), ("signing_secret", "webhook-signature"));
    let shown = format!("{request:?}");
    assert!(!shown.contains("AAAA") && !shown.contains("1234"), "{shown}");
}

#[test]
fn what_an_answer_means_is_what_webhooks_agree_on() {
    let end = |status: u16, retry_after: Option<u64>| {
        let Answer::Http(mut given) = answer(status, "no\nluck") else { unreachable!() };
        given.retry_after = retry_after;
        steps(&json!({ "url": URL }), notification(Event::Opened), &[Answer::Http(given)])
            .pop()
            .expect("an end")
    };
    assert_eq!(end(200, None), Step::done());
    assert_eq!(end(503, None), Step::retry("the channel answered 503: no"));
    let busy = Step::retry("the channel answered 429: no").after(Duration::from_secs(7));
    assert_eq!(end(429, Some(7_000)), busy);
    assert_eq!(end(410, None), Step::gone("the channel answered 410: no"));
    assert_eq!(end(404, None), Step::fail("the channel answered 404: no"));
}

#[test]
fn a_url_that_is_none_is_named() {
    for url in ["", "alerts.example", "ftp://alerts.example", "https://", "https:///x"] {
        let error = rehearse(next, &json!({ "url": url }), notification(Event::Opened), &[]).expect_err(url);
        assert!(error.to_string().contains("https://alerts.example/incidents"), "{error}");
    }
}

#[test]
fn nested_details_stay_nested() {
    let mut told = notification(Event::Opened);
    told.incident.alerts[0].series[0].details = vec![bellwether_sdk::NamedValue {
        name: "owner".to_owned(),
        value: bellwether_sdk::Value::Json(r#"{"team":["a"]}"#.to_owned()),
    }];
    let body = to_value(body::of(&told)).expect("a body is plain data");
    let details = &body["data"]["incident"]["alerts"][0]["series"][0]["details"];
    assert_eq!(details, &json!({"owner": {"team": ["a"]}}));
}

#[test]
fn a_name_that_is_there_twice_is_written_once_with_its_last_value() {
    let mut told = notification(Event::Opened);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let series = &mut told.incident.alerts[0].series[0];
    series.tags = vec![pair("env", "a"), pair("host", "h"), pair("env", "b")];
    series.details = ["a", "b"]
        .map(|text| bellwether_sdk::NamedValue {
            name: "owner".to_owned(),
            value: bellwether_sdk::Value::Text(text.to_owned()),
        })
        .into();
    let text = to_string(&body::of(&told)).expect("a body is plain data");
    assert!(text.contains(r#""tags":{"host":"h","env":"b"}"#), "{text}");
    assert!(text.contains(r#""details":{"owner":"b"}"#), "{text}");
}
