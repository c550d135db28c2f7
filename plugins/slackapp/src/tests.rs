use bellwether_sdk::formatter::Answer;
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"token": "set", "channel": "#operations"})
}

fn posted(ts: &str) -> Answer {
    answer(200, &json!({"ok": true, "channel": "C1", "ts": ts, "message": {}}).to_string())
}

fn refused(error: &str) -> Answer {
    answer(200, &json!({"ok": false, "error": error}).to_string())
}

fn told(exchange: &mut Exchange, event: Event, answers: &[Answer]) -> Vec<Step> {
    exchange.notification = notification(event);
    rehearse_with(next, &settings(), exchange, answers).expect("steps")
}

fn addressed(step: &Step) -> (String, Json, Json) {
    let (url, body) = (sent(step).url().to_string(), sent_json(step));
    let method = url.strip_prefix("https://slack.com/api/").expect("Slack's API").to_owned();
    (method, body["channel"].clone(), body["ts"].clone())
}

#[test]
fn a_message_is_posted_once_and_updated_to_its_end() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let steps = told(&mut exchange, Event::Opened, &[posted("1.5")]);
    assert_eq!(addressed(&steps[0]), ("chat.postMessage".to_owned(), json!("#operations"), Json::Null));
    let bearer = sent(&steps[0]).header_value("authorization").map(ToString::to_string);
    assert_eq!(bearer.as_deref(), Some("Bearer ‹secret token›"));
    for event in [Event::Updated, Event::Closed] {
        let steps = told(&mut exchange, event, &[posted("1.5")]);
        assert_eq!(addressed(&steps[0]), ("chat.update".to_owned(), json!("C1"), json!("1.5")));
    }
    assert_eq!(addressed(&told(&mut exchange, Event::Opened, &[])[0]).0, "chat.postMessage");
}

#[test]
fn a_message_that_cannot_be_updated_is_posted_anew() {
    for error in LOST {
        let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
        told(&mut exchange, Event::Opened, &[posted("1.5")]);
        let steps = told(&mut exchange, Event::Updated, &[refused(error), posted("2.5")]);
        assert_eq!(addressed(&steps[1]).0, "chat.postMessage");
        assert_eq!(addressed(&told(&mut exchange, Event::Updated, &[])[0]).2, "2.5");
    }
}

#[test]
fn a_success_that_is_not_ok_is_a_failure() {
    let end = |given: Answer| {
        told(&mut Exchange::new(notification(Event::Opened), Vec::new()), Event::Opened, &[given])
            .pop()
            .expect("an end")
    };
    let reason = r#"the channel answered 200: {"ok":false,"error":"not_in_channel"}"#;
    assert_eq!(end(refused("not_in_channel")), Step::fail(reason));
    assert!(matches!(end(refused("channel_not_found")), Step::Fail(_)));
    PASSING.iter().for_each(|error| assert!(matches!(end(refused(error)), Step::Retry { .. }), "{error}"));
    GONE.iter().for_each(|error| assert!(matches!(end(refused(error)), Step::Gone(_)), "{error}"));
    assert_eq!(
        end(answer(200, "<html>\n Sign in")),
        Step::retry("the channel answered 200: <html> Sign in, where JSON was expected")
    );
    assert!(matches!(end(answer(503, "")), Step::Retry { .. }));
    let Answer::Http(mut busy) = answer(429, r#"{"ok":false,"error":"ratelimited"}"#) else { unreachable!() };
    busy.retry_after = Some(30_000);
    let Step::Retry { after, .. } = end(Answer::Http(busy)) else { panic!() };
    assert_eq!(after, Some(std::time::Duration::from_secs(30)));
}

#[test]
fn a_message_stays_within_slacks_limits_whatever_is_told() {
    for (name, told) in extremes() {
        let steps = rehearse(next, &settings(), told, &[]).expect(name);
        let body = sent_json(&steps[0]);
        let length = body["text"].as_str().expect("a text").chars().count();
        assert!((1..=4000).contains(&length), "{name}");
        assert!(!body["text"].as_str().is_some_and(|text| text.contains("<!channel>")), "{name}");
    }
}

#[test]
fn a_wrong_setting_is_named() {
    for (name, value) in [("channel", "a\nb"), ("api_url", "slack.com")] {
        let mut given = settings();
        given[name] = value.into();
        let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
