use std::collections::BTreeMap;

use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, sent};

use super::*;

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:alerts";

fn settings(topic: &str) -> Json {
    json!({"topic_arn": topic, "access_key_id": "AKIA", "secret_access_key": "set"})
}

fn form(settings: &Json, told: Notification) -> BTreeMap<String, String> {
    let steps = rehearse(next, settings, told, &[]).expect("steps");
    let body = sent(&steps[0]).body().to_string();
    body.split('&')
        .map(|field| {
            let (name, value) = field.split_once('=').expect("a field");
            (name.to_owned(), decoded(value))
        })
        .collect()
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            let digits = String::from_utf8(digits).expect("digits");
            bytes.push(u8::from_str_radix(&digits, 16).expect("hexadecimal"));
        } else {
            bytes.push(if byte == b'+' { b' ' } else { byte });
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_notification_is_published_signed_and_with_attributes() {
    let steps = rehearse(next, &settings(TOPIC), notification(Event::Updated), &[]).expect("steps");
    let request = sent(&steps[0]);
    assert_eq!(request.url().to_string(), "https://sns.eu-central-1.amazonaws.com/");
    let [Signing::Sigv4(signing)] = request.signing() else { panic!("it is signed once") };
    assert_eq!((signing.region.as_str(), signing.service.as_str()), ("eu-central-1", "sns"));
    assert_eq!((signing.secret_key.as_str(), &signing.session_token), ("secret_access_key", &None));
    let form = form(&settings(TOPIC), notification(Event::Updated));
    assert_eq!(form["Action"], "Publish");
    assert_eq!(form["TopicArn"], TOPIC);
    assert_eq!(form["Subject"], "[High, update] Checkout fails more often than usual");
    assert!(form["Message"].contains("https://bellwether.example/actions/action-1"));
    let attribute = |index: usize| {
        let entry = format!("MessageAttributes.entry.{index}");
        let part = |part: &str| form[&format!("{entry}.{part}")].as_str();
        (part("Name"), part("Value.DataType"), part("Value.StringValue"))
    };
    assert_eq!(attribute(1), ("event", "String", "updated"));
    assert_eq!(attribute(2), ("severity", "String", "high"));
    assert_eq!(attribute(3), ("incident", "String", "incident-1"));
    assert_eq!(attribute(4), ("sequence", "Number", "2"));
    assert!(!form.contains_key("MessageGroupId"));
}

#[test]
fn on_a_fifo_topic_repetitions_are_dropped_and_updates_are_none() {
    let given = settings(&format!("{TOPIC}.fifo"));
    let [opened, updated] = [Event::Opened, Event::Updated].map(|event| form(&given, notification(event)));
    assert_eq!(opened["MessageGroupId"], updated["MessageGroupId"]);
    assert_ne!(opened["MessageDeduplicationId"], updated["MessageDeduplicationId"]);
    assert_eq!(opened["MessageDeduplicationId"], "incident-1.channel-1.1");
}

#[test]
fn a_publication_stays_within_snss_limits_whatever_is_told() {
    for (name, mut told) in extremes() {
        told.incident.id = "é".repeat(200);
        let form = form(&settings(&format!("{TOPIC}.fifo")), told);
        let subject = &form["Subject"];
        assert!(subject.is_ascii() && (1..=100).contains(&subject.len()), "{name}: {subject}");
        assert!(!subject.starts_with(' ') && !subject.chars().any(char::is_control), "{name}: {subject}");
        assert!(form["Message"].len() <= 252_000 && form["MessageGroupId"].len() <= 128, "{name}");
    }
    let long = subject(&"a".repeat(101));
    assert_eq!((long.len(), subject(&"a".repeat(100)).len()), (100, 100));
    assert!(long.ends_with("a..."));
}

#[test]
fn what_sns_answers_means_what_its_code_says() {
    let end = |status, body: &str| {
        rehearse(next, &settings(TOPIC), notification(Event::Opened), &[answer(status, body)])
            .expect("steps")
            .pop()
            .expect("an end")
    };
    let error = |code: &str| {
        format!(
            "<ErrorResponse>\n<Error>\n<Type>Sender</Type>\n<Code>{code}</Code>\n<Message>No.</Message>\n</Error></ErrorResponse>"
        )
    };
    let published =
        "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";
    assert_eq!(end(200, published), Step::done());
    let page = "the channel answered 200: <html> Sign in, where a MessageId was expected";
    assert_eq!(end(200, "<html>\nSign in"), Step::retry(page));
    assert_eq!(end(400, &error("Throttling")), Step::retry("the channel answered 400: Throttling: No."));
    assert_eq!(end(404, &error("NotFound")), Step::gone("the channel answered 404: NotFound: No."));
    let forbidden = error("SignatureDoesNotMatch");
    assert_eq!(end(403, &forbidden), Step::fail("the channel answered 403: SignatureDoesNotMatch: No."));
    assert!(matches!(end(500, &error("InternalError")), Step::Retry { .. }));
    assert!(matches!(end(503, ""), Step::Retry { .. }));
    assert!(matches!(end(200, "<html>"), Step::Retry { .. }));
}

#[test]
fn where_sns_is_follows_from_the_topic_and_a_wrong_setting_is_named() {
    let url = |given: &Json| {
        sent(&rehearse(next, given, notification(Event::Opened), &[]).expect("steps")[0]).url().to_string()
    };
    let china = settings("arn:aws-cn:sns:cn-north-1:123456789012:alerts");
    assert_eq!(url(&china), "https://sns.cn-north-1.amazonaws.com.cn/");
    let mut local = settings(TOPIC);
    local["endpoint"] = "http://127.0.0.1:5000".into();
    assert_eq!(url(&local), "http://127.0.0.1:5000/");
    for topic in [
        "",
        "alerts",
        "arn:aws:sqs:eu-central-1:1:alerts",
        "arn:aws:sns::1:alerts",
        "arn:aws:sns:EU:1:a",
        "arn:aws:sns:eu-central-1:x:a b",
    ] {
        let error = rehearse(next, &settings(topic), notification(Event::Opened), &[]).expect_err(topic);
        assert!(error.to_string().starts_with("topic_arn"), "{error}");
    }
}
