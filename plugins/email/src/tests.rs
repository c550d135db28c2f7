use bellwether_sdk::formatter::{Answer, Event, Outgoing, Refusal};
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::testing::{extremes, notification, rehearse};

use super::*;

fn sent(settings: &Json, told: Notification) -> Email {
    match rehearse(next, settings, told, &[]).expect("the settings are right").remove(0) {
        Step::Send { outgoing: Outgoing::Email(email), .. } => email,
        other => panic!("it sends an e-mail and not {other:?}"),
    }
}

#[test]
fn an_email_says_the_same_in_text_and_html() {
    let settings = json!({"to": ["a@example.com", "b@example.com"], "cc": ["c@example.com"], "reply_to": "d@example.com"});
    let email = sent(&settings, notification(Event::Opened));
    let parts = email.parts();
    assert_eq!(
        (&parts.to[..], &parts.cc[..]),
        (&["a@example.com", "b@example.com"].map(str::to_owned)[..], &["c@example.com".to_owned()][..])
    );
    assert_eq!(parts.reply_to.as_deref(), Some("d@example.com"));
    assert_eq!(parts.subject, "[High] Checkout fails more often than usual");
    let html = parts.html.as_deref().expect("HTML");
    for part in [
        "64 errors a minute where 16 are usual.",
        "2024-04-09 14:44:00 UTC",
        "checkout.errors{country:de}: peak 64 errors, expected 16, +300 %",
        "https://bellwether.example/actions/action-1",
    ] {
        assert!(parts.text.contains(part) && html.contains(part), "{part}: {parts:?}");
    }
}

#[test]
fn what_an_incident_says_is_no_markup_and_no_header() {
    for (name, told) in extremes() {
        let email = sent(&json!({"to": ["a@example.com"]}), told);
        let parts = email.parts();
        let html = parts.html.as_deref().expect("HTML");
        assert!(!html.contains("<script>") && !html.contains("<b>ré"), "{name}: {html}");
        assert!(
            parts.subject.chars().count() <= SUBJECT && !parts.subject.chars().any(char::is_control),
            "{name}"
        );
        assert!(
            !parts.subject.is_empty() && parts.text.len() <= TEXT + 2_000 && html.len() <= 130_000,
            "{name}"
        );
    }
}

#[test]
fn an_email_nobody_takes_fails_and_one_that_somebody_takes_is_delivered() {
    let refused =
        |address: &str| Refusal { address: address.to_owned(), code: 550, reply: "no such user".to_owned() };
    let end = |refused: Vec<Refusal>| {
        let answer = Answer::Email(EmailAnswer { message_id: "<1@host>".to_owned(), refused });
        let settings = json!({"to": ["a@example.com"], "cc": ["b@example.com"]});
        rehearse(next, &settings, notification(Event::Closed), &[answer]).expect("steps").pop()
    };
    assert_eq!(end(vec![]), Some(Step::done()));
    assert_eq!(end(vec![refused("a@example.com")]), Some(Step::done()));
    let Some(Step::Fail(reason)) = end(vec![refused("a@example.com"), refused("b@example.com")]) else {
        panic!()
    };
    assert_eq!(reason, "the mail server takes none of 2 addresses: a@example.com: 550 no such user");
}

#[test]
fn an_address_that_is_none_is_named() {
    let many: Vec<String> = (0..101).map(|index| format!("{index}@example.com")).collect();
    for (settings, named) in [
        (json!({"to": []}), "to is"),
        (json!({"to": ["a"]}), "to is \"a\""),
        (json!({"to": ["A <a@example.com>"]}), "to is"),
        (json!({"to": ["a@example.com"], "cc": ["b@"]}), "cc is \"b@\""),
        (json!({"to": ["a@example.com"], "reply_to": "\r\n@x"}), "reply_to is"),
        (json!({"to": many}), "to is \"101 addresses\""),
    ] {
        let error = rehearse(next, &settings, notification(Event::Opened), &[]).expect_err(named).to_string();
        assert!(error.starts_with(named), "{error}");
    }
}
