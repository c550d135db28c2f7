use bellwether_sdk::formatter::Answer;
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, rehearse_with, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"token": "set", "chat_id": "-42", "message_thread_id": 7})
}

fn sent_as(id: i64) -> Answer {
    answer(200, &format!(r#"{{"ok": true, "result": {{"message_id": {id}, "chat": {{"id": -42}}}}}}"#))
}

fn refused(status: u16, description: &str, parameters: &Json) -> Answer {
    let body =
        json!({"ok": false, "error_code": status, "description": description, "parameters": parameters});
    answer(status, &body.to_string())
}

fn told(exchange: &mut Exchange, event: Event, answers: &[Answer]) -> Vec<Step> {
    exchange.notification = notification(event);
    rehearse_with(next, &settings(), exchange, answers).expect("steps")
}

fn method(step: &Step) -> String {
    sent(step).url().to_string().rsplit('/').next().unwrap_or_default().to_owned()
}

#[test]
fn a_message_is_sent_once_and_edited_to_its_end() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let steps = told(&mut exchange, Event::Opened, &[sent_as(5)]);
    let url = sent(&steps[0]).url().to_string();
    assert_eq!(url, "https://api.telegram.org/bot‹secret token›/sendMessage");
    let body = sent_json(&steps[0]);
    assert_eq!((&body["chat_id"], &body["message_thread_id"]), (&json!("-42"), &json!(7)));
    assert_eq!(
        body["reply_markup"]["inline_keyboard"][1][0],
        json!({"text": "Roll back", "url": "https://bellwether.example/actions/action-1"})
    );
    let steps = told(&mut exchange, Event::Updated, &[sent_as(5)]);
    assert_eq!(
        (method(&steps[0]).as_str(), &sent_json(&steps[0])["message_id"]),
        ("editMessageText", &json!(5))
    );
    let steps = told(
        &mut exchange,
        Event::Updated,
        &[refused(400, "Bad Request: message is not modified", &json!({}))],
    );
    assert_eq!(steps[1], Step::done());
    let steps = told(&mut exchange, Event::Closed, &[sent_as(5)]);
    assert!(sent_json(&steps[0])["text"].as_str().is_some_and(|text| text.starts_with("<b>[Closed]")));
    assert_eq!(method(&told(&mut exchange, Event::Opened, &[])[0]), "sendMessage");
}

#[test]
fn a_page_telegram_makes_no_button_of_stands_in_the_text() {
    let mut told = notification(Event::Opened);
    let url = |host: &str| format!("http://{host}/incidents/1?a=1&b=2");
    let hosts = ["bellwether.example", "localhost:8780", "[fd00::1]:8780", "bellwether:8780", "10.0.0.5"];
    let mut incident = told.incident.links[0].clone();
    told.incident.links = hosts
        .iter()
        .map(|host| {
            (incident.label, incident.url) = (format!("At {host}"), url(host));
            incident.clone()
        })
        .collect();
    told.incident.alerts.clear();
    let steps = rehearse(next, &settings(), told, &[]).expect("steps");
    let body = sent_json(&steps[0]);
    let buttons = body["reply_markup"]["inline_keyboard"].as_array().expect("buttons");
    let buttons: Vec<&str> = buttons.iter().filter_map(|row| row[0]["url"].as_str()).collect();
    assert_eq!(buttons, [url("bellwether.example"), url("[fd00::1]:8780"), url("10.0.0.5")]);
    let text = body["text"].as_str().expect("a text");
    let written = "At localhost:8780: http://localhost:8780/incidents/1?a=1&amp;b=2\n\
        At bellwether:8780: http://bellwether:8780/incidents/1?a=1&amp;b=2";
    assert!(text.ends_with(written), "{text}");
}

#[test]
fn a_message_that_cannot_be_edited_is_sent_anew() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    told(&mut exchange, Event::Opened, &[sent_as(5)]);
    let lost = refused(400, "Bad Request: message to edit not found", &json!({}));
    let steps = told(&mut exchange, Event::Updated, &[lost, sent_as(6)]);
    assert_eq!([method(&steps[0]), method(&steps[1])], ["editMessageText", "sendMessage"]);
    assert_eq!(sent_json(&told(&mut exchange, Event::Updated, &[])[0])["message_id"], 6);
}

#[test]
fn a_chat_that_moved_is_followed_and_remembered() {
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    let moved = || {
        let parameters = json!({"migrate_to_chat_id": -1009});
        refused(400, "Bad Request: group chat was upgraded to a supergroup chat", &parameters)
    };
    let steps = told(&mut exchange, Event::Opened, &[moved(), sent_as(1)]);
    assert_eq!(sent_json(&steps[1])["chat_id"], -1009);
    assert_eq!(sent_json(&told(&mut exchange, Event::Updated, &[])[0])["chat_id"], -1009);
    // A server that always says so is not followed for ever.
    let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
    assert!(matches!(told(&mut exchange, Event::Opened, &[moved(), moved()])[2], Step::Fail(_)));
}

#[test]
fn what_telegram_answers_means_what_telegram_says() {
    let end = |given: Answer| {
        told(&mut Exchange::new(notification(Event::Opened), Vec::new()), Event::Opened, &[given])
            .pop()
            .expect("an end")
    };
    let Step::Retry { after, .. } = end(refused(429, "Too Many Requests", &json!({"retry_after": 35})))
    else {
        panic!()
    };
    assert_eq!(after, Some(Duration::from_secs(35)));
    assert!(matches!(end(answer(429, "")), Step::Retry { after: None, .. }));
    assert!(matches!(
        end(refused(403, "Forbidden: bot was kicked from the group chat", &json!({}))),
        Step::Gone(_)
    ));
    assert!(matches!(end(refused(400, "Bad Request: chat not found", &json!({}))), Step::Fail(_)));
    assert!(matches!(end(refused(401, "Unauthorized", &json!({}))), Step::Fail(_)));
    assert!(matches!(end(answer(502, "<html>")), Step::Retry { .. }));
    assert!(matches!(end(answer(200, "{}")), Step::Fail(_)));
    assert_eq!(
        end(answer(200, "<html>\n Sign in")),
        Step::retry("the channel answered 200: <html> Sign in, where JSON was expected")
    );
}

#[test]
fn a_message_stays_within_telegrams_limits_and_its_markup_is_whole_whatever_is_told() {
    for (name, told) in extremes() {
        let steps = rehearse(next, &settings(), told, &[]).expect(name);
        let body = sent_json(&steps[0]);
        let text = body["text"].as_str().expect("a text");
        let size = text.encode_utf16().count();
        assert!((1..=4096).contains(&size), "{name}: {size}");
        assert!(name != "huge" || size > 3000, "there is room for more than {size}");
        assert_eq!(text.matches("<b>").count(), text.matches("</b>").count(), "{name}: {text}");
        assert_eq!(text.matches('<').count(), text.matches("<b>").count() * 2, "{name}: {text}");
        let keyboard = body["reply_markup"]["inline_keyboard"].as_array().map_or(0, Vec::len);
        assert!(keyboard <= 12, "{name}");
    }
}

#[test]
fn a_wrong_setting_is_named() {
    for (name, value) in [("chat_id", ""), ("api_url", "telegram.org")] {
        let mut given = settings();
        given[name] = value.into();
        let error = rehearse(next, &given, notification(Event::Opened), &[]).expect_err(name);
        assert!(error.to_string().starts_with(name), "{error}");
    }
}

#[test]
fn nobody_is_called_by_what_an_incident_says() {
    let mut told = notification(Event::Opened);
    told.incident.title = "@ada broke it".to_owned();
    told.incident.description = "<b>ask</b> @ada".to_owned();
    let steps = rehearse(next, &settings(), told, &[]).expect("the settings are right");
    let text = sent_json(&steps[0])["text"].to_string();
    assert!(text.contains("@\u{200b}ada broke it") && text.contains("&lt;b&gt;ask&lt;/b&gt;"), "{text}");
    assert!(!text.contains("@ada"), "{text}");
}
