use bellwether_sdk::formatter::Answer;
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"access_token": "set", "chat_id": -70})
}

fn made(id: &str) -> Answer {
    answer(
        200,
        &json!({"message": {"recipient": {"chat_id": -70}, "body": {"mid": id, "seq": 1}}}).to_string(),
    )
}

fn told(exchange: &mut Exchange, event: Event, answers: &[Answer]) -> Vec<Step> {
    exchange.notification = notification(event);
    rehearse_with(next, &settings(), exchange, answers).expect("steps")
}

fn addressed(step: &Step) -> String {
    let url = sent(step).url().to_string();
    format!(
        "{} {}",
        sent(step).method(),
        url.strip_prefix("https://botapi.tamtam.chat/").expect("TamTam's API")
    )
}

const POST: &str = "POST messages?chat_id=-70&access_token=‹secret access_token as percent›";
const PUT: &str = "PUT messages?message_id=mid.1%2F2&access_token=‹secret access_token as percent›";

#[test]
fn a_message_is_sent_once_and_edited_to_its_end() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let steps = told(&mut exchange, Event::Opened, &[made("mid.1/2")]);
    assert_eq!(addressed(&steps[0]), POST);
    let body = sent_json(&steps[0]);
    assert_eq!((&body["format"], &body["notify"]), (&json!("html"), &json!(true)));
    assert_eq!(
        body["attachments"][0]["payload"]["buttons"][1][0],
        json!({"type": "link", "text": "Roll back", "url": "https://bellwether.example/actions/action-1"})
    );
    let edited = || answer(200, r#"{"success": true}"#);
    let steps = told(&mut exchange, Event::Updated, &[edited()]);
    assert_eq!((addressed(&steps[0]).as_str(), &steps[1]), (PUT, &Step::done()));
    let steps = told(&mut exchange, Event::Closed, &[edited()]);
    assert_eq!(addressed(&steps[0]), PUT);
    assert_eq!(addressed(&told(&mut exchange, Event::Opened, &[])[0]), POST);
}

#[test]
fn a_message_that_cannot_be_edited_is_sent_anew() {
    for lost in
        [answer(404, r#"{"code": "not.found"}"#), answer(200, r#"{"success": false, "message": "too old"}"#)]
    {
        let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
        told(&mut exchange, Event::Opened, &[made("mid.1/2")]);
        let steps = told(&mut exchange, Event::Updated, &[lost, made("mid.3")]);
        assert_eq!([addressed(&steps[0]), addressed(&steps[1])], [PUT, POST]);
    }
}

#[test]
fn what_tamtam_answers_means_what_its_code_says() {
    let end = |status, body: &str| {
        told(
            &mut Exchange::new(notification(Event::Opened), Vec::new()),
            Event::Opened,
            &[answer(status, body)],
        )
        .pop()
        .expect("an end")
    };
    assert!(matches!(end(429, r#"{"code": "too.many.requests"}"#), Step::Retry { .. }));
    assert!(matches!(end(503, ""), Step::Retry { .. }));
    assert!(matches!(end(403, r#"{"code": "chat.denied", "message": "chat.denied"}"#), Step::Gone(_)));
    assert!(matches!(end(404, r#"{"code": "chat.not.found"}"#), Step::Gone(_)));
    assert!(matches!(end(401, r#"{"code": "verify.token"}"#), Step::Fail(_)));
    assert!(matches!(end(200, "{}"), Step::Fail(_)));
    assert_eq!(
        end(200, "<html>\n Sign in"),
        Step::retry("the channel answered 200: <html> Sign in, where JSON was expected")
    );
    assert!(matches!(end(200, r#"{"success": false}"#), Step::Fail(_)));
}

#[test]
fn a_message_stays_within_tamtams_limits_and_its_markup_is_whole_whatever_is_told() {
    for (name, told) in extremes() {
        let steps = rehearse(next, &settings(), told, &[]).expect(name);
        let body = sent_json(&steps[0]);
        let text = body["text"].as_str().expect("a text");
        assert!((1..=4000).contains(&text.encode_utf16().count()), "{name}");
        assert_eq!(text.matches('<').count(), text.matches("<b>").count() * 2, "{name}: {text}");
    }
}

#[test]
fn a_wrong_setting_is_named() {
    let mut given = settings();
    given["api_url"] = "tamtam.chat".into();
    let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err("a URL");
    assert!(error.to_string().starts_with("api_url"), "{error}");
}
