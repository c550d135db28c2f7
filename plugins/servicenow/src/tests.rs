use bellwether_sdk::formatter::Answer;
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"url": "https://example.service-now.com", "user": "bot", "password": "set"})
}

fn found(records: &[(&str, &str)]) -> Answer {
    let records: Vec<Json> =
        records.iter().map(|(id, state)| json!({"sys_id": id, "state": state})).collect();
    answer(200, &json!({"result": records}).to_string())
}

fn made(id: &str) -> Answer {
    answer(201, &json!({"result": {"sys_id": id, "state": "1"}}).to_string())
}

fn told(exchange: &mut Exchange, event: Event, answers: &[Answer]) -> (Vec<String>, Vec<Step>) {
    exchange.notification = notification(event);
    let steps = rehearse_with(next, &settings(), exchange, answers).expect("steps");
    let requests = steps.iter().filter(|step| matches!(step, Step::Send { .. })).map(|step| {
        let request = sent(step);
        let url = request.url().to_string();
        let path =
            url.strip_prefix("https://example.service-now.com/api/now/table/").expect("the instance's API");
        format!("{} {path}", request.method())
    });
    (requests.collect(), steps)
}

const BY_CORRELATION: &str = "GET incident?sysparm_query=correlation_id%3Dincident-1.channel-1%5EORDERBYDESCsys_created_on&sysparm_fields=sys_id,state&sysparm_limit=1";
const BY_ID: &str = "GET incident?sysparm_query=sys_id%3Da1&sysparm_fields=sys_id,state&sysparm_limit=1";
const CREATE: &str = "POST incident?sysparm_fields=sys_id,state";
const CHANGE: &str = "PATCH incident/a1?sysparm_fields=sys_id,state";

#[test]
fn a_record_is_looked_up_made_edited_and_resolved() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let (requests, steps) = told(&mut exchange, Event::Opened, &[found(&[]), made("a1")]);
    assert_eq!(requests, [BY_CORRELATION, CREATE]);
    let fields = sent_json(&steps[1]);
    assert_eq!(fields["correlation_id"], "incident-1.channel-1");
    assert_eq!((&fields["urgency"], &fields["impact"]), (&json!("1"), &json!("2")));
    assert_eq!(fields["short_description"], "[High] Checkout fails more often than usual");

    let (requests, steps) = told(&mut exchange, Event::Updated, &[found(&[("a1", "2")]), made("a1")]);
    assert_eq!(requests, [BY_ID, CHANGE]);
    assert_eq!(sent_json(&steps[1]).get("state"), None, "what is open stays where its people put it");

    let (requests, steps) = told(&mut exchange, Event::Closed, &[found(&[("a1", "2")]), made("a1")]);
    assert_eq!(requests, [BY_ID, CHANGE]);
    let fields = sent_json(&steps[1]);
    assert_eq!((&fields["state"], &fields["close_code"]), (&json!("6"), &json!("Solution provided")));
    assert_eq!(fields["close_notes"], "[Closed] Checkout fails more often than usual");

    // It goes on: the record is reopened; where it is closed for good, another is made.
    let (_, steps) = told(&mut exchange, Event::Updated, &[found(&[("a1", "6")]), made("a1")]);
    assert_eq!(sent_json(&steps[1])["state"], "2");
    let (requests, _) = told(&mut exchange, Event::Updated, &[found(&[("a1", "7")]), made("b2")]);
    assert_eq!(requests, [BY_ID, CREATE]);
}

#[test]
fn what_was_made_before_a_crash_is_found_and_not_made_twice() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let (requests, _) = told(&mut exchange, Event::Opened, &[found(&[("a1", "1")]), made("a1")]);
    assert_eq!(requests, [BY_CORRELATION, CHANGE]);
}

#[test]
fn what_is_over_already_is_not_closed_again() {
    for records in [&[][..], &[("a1", "6")], &[("a1", "7")], &[("a1", "8")]] {
        let mut exchange = Exchange::new(notification(Event::Closed), Vec::new());
        let (requests, steps) = told(&mut exchange, Event::Closed, &[found(records)]);
        assert_eq!((requests.len(), &steps[1]), (1, &Step::done().remember(Vec::new())));
    }
    let mut exchange = Exchange::new(notification(Event::Test), Vec::new());
    let (requests, _) = told(&mut exchange, Event::Test, &[found(&[]), made("a1"), made("a1")]);
    assert_eq!(requests, [BY_CORRELATION, CREATE, CHANGE], "a test ends what it made");
}

#[test]
fn a_record_stays_within_servicenows_limits_whatever_is_told() {
    for (name, mut told) in extremes() {
        told.event = Event::Opened;
        told.incident.id = "a^b=c".repeat(50);
        let steps = rehearse(next, &settings(), told, &[found(&[])]).expect(name);
        assert!(!sent(&steps[0]).url().to_string().contains('^'), "{name}");
        let fields = sent_json(&steps[1]);
        let length = |field: &str| fields[field].as_str().expect("a text").encode_utf16().count();
        assert!((1..=160).contains(&length("short_description")) && length("description") <= 4000, "{name}");
        assert!(length("correlation_id") <= 100, "{name}");
    }
}

#[test]
fn what_servicenow_answers_is_tried_again_or_told() {
    let end = |answers: &[Answer]| {
        rehearse(next, &settings(), notification(Event::Opened), answers)
            .expect("steps")
            .pop()
            .expect("an end")
    };
    assert!(matches!(end(&[answer(429, "")]), Step::Retry { .. }));
    assert!(matches!(end(&[answer(503, "")]), Step::Retry { .. }));
    assert!(matches!(end(&[answer(401, "{}")]), Step::Fail(_)));
    assert_eq!(
        end(&[answer(200, "<html>hibernating</html>")]),
        Step::retry("the channel answered 200: <html>hibernating</html>, where JSON was expected")
    );
    assert!(matches!(end(&[found(&[("a1", "1")]), answer(404, "{}")]), Step::Retry { .. }));
    assert!(matches!(end(&[found(&[("../x", "1")]), answer(201, "{}")]), Step::Fail(_)));
}

#[test]
fn there_are_three_ways_to_sign_in_and_one_is_taken() {
    let request = |given: Json| {
        let mut settings = json!({"url": "https://example.service-now.com"});
        given.as_object().expect("settings").iter().for_each(|(name, value)| settings[name] = value.clone());
        let steps = rehearse(next, &settings, notification(Event::Opened), &[]);
        steps.map(|steps| sent(&steps[0]).clone()).map_err(|error| error.to_string())
    };
    let basic = request(json!({"user": "bot", "password": "set"})).expect("basic");
    assert!(matches!(basic.signing(), [Signing::Basic(_)]));
    let key = request(json!({"api_key": "set"})).expect("a key");
    assert_eq!(key.header_value("x-sn-apikey").map(ToString::to_string).as_deref(), Some("‹secret api_key›"));
    let oauth = request(json!({"client_id": "id", "client_secret": "set"})).expect("oauth");
    assert!(matches!(oauth.signing(), [Signing::Oauth(_)]));
    for wrong in [
        json!({}),
        json!({"user": "bot"}),
        json!({"api_key": "set", "client_id": "id"}),
        json!({"user": "bot", "password": "set", "api_key": "set"}),
    ] {
        assert!(request(wrong).expect_err("one way").starts_with("user is"));
    }
    let table = json!({"api_key": "set", "table": "incident/../x"});
    assert!(request(table).expect_err("a table").starts_with("table is"));
}
