use std::time::Duration;

use bellwether_sdk::formatter::{Answer, Event};
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, sent, sent_json};

use super::*;

fn steps(answers: &[Answer]) -> Vec<Step> {
    rehearse(next, &json!({"url": "set"}), notification(Event::Opened), answers)
        .expect("the settings are right")
}

#[test]
fn a_message_says_what_happened_and_leads_to_it() {
    let steps = steps(&[answer(200, "ok")]);
    assert_eq!(steps[1], Step::done());
    assert_eq!(sent(&steps[0]).url().to_string(), "‹secret url›");
    let body = sent_json(&steps[0]);
    assert_eq!(body["blocks"][0]["text"]["text"], "[High] Checkout fails more often than usual");
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["color"], "#e8590c");
    assert_eq!(attachment["blocks"][1]["fields"][0]["text"], "*Severity*\nHigh");
    let text = attachment.to_string();
    for part in [
        "checkout.errors{country:de}: peak 64 errors, expected 16, +300 %",
        "<https://bellwether.example/incidents/incident-1|Incident>",
        "<https://bellwether.example/actions/action-1|Roll back>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_message_stays_within_slacks_limits_whatever_is_told() {
    for (name, told) in extremes() {
        let steps = rehearse(next, &json!({"url": "set"}), told, &[]).expect(name);
        let body = sent_json(&steps[0]);
        let lists = [&body["blocks"], &body["attachments"][0]["blocks"]];
        assert!(
            lists.iter().all(|blocks| blocks.as_array().is_some_and(|blocks| blocks.len() <= 50)),
            "{name}"
        );
        assert!(length(&body["text"]) <= 3000 && length(&body["blocks"][0]["text"]["text"]) <= 150, "{name}");
        for block in body["attachments"][0]["blocks"].as_array().expect("blocks") {
            assert_eq!(block["type"], "section", "{name}");
            if let Some(text) = block.get("text") {
                assert!((1..=3000).contains(&length(&text["text"])), "{name}: {block}");
            }
            let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
            assert!(
                fields.len() <= 10 && fields.iter().all(|field| length(&field["text"]) <= 2000),
                "{name}"
            );
        }
        let text = body["attachments"].to_string();
        assert!(!text.contains("<!channel>") && !text.contains("<script>"), "{name}: {text}");
    }
}

#[test]
fn what_users_write_is_no_markup() {
    let mut told = notification(Event::Opened);
    told.incident.description = "_one_ and\n> *two*".to_owned();
    told.incident.alerts[0].title = "*Checkout* fails".to_owned();
    told.incident.alerts[0].labels = vec![("team".to_owned(), "~a~".to_owned())];
    let steps = rehearse(next, &json!({"url": "set"}), told, &[]).expect("the settings are right");
    let body = sent_json(&steps[0]);
    let blocks = &body["attachments"][0]["blocks"];
    assert_eq!(blocks[0]["text"]["text"], "`_one_` and\n`&gt;` `*two*`");
    let fields = blocks[1]["fields"].to_string();
    assert!(fields.contains(r"*Labels*\n`team:~a~`"), "{fields}");
    let alert = blocks[2]["text"]["text"].as_str().expect("a text");
    assert!(alert.starts_with("`*Checkout*` *fails*\n"), "{alert}");
}

fn length(text: &Json) -> usize {
    text.as_str().expect("a text").chars().count()
}

#[test]
fn what_slack_answers_means_what_slack_says() {
    let end = |status, body| steps(&[answer(status, body)]).pop().expect("an end");
    assert_eq!(end(200, "ok"), Step::done());
    assert_eq!(end(200, "<html>"), Step::retry("the channel answered 200: <html>, where ok was expected"));
    assert_eq!(end(404, "no_service"), Step::gone("the channel answered 404: no_service"));
    assert_eq!(end(410, "channel_is_archived"), Step::gone("the channel answered 410: channel_is_archived"));
    assert_eq!(end(400, "invalid_blocks"), Step::fail("the channel answered 400: invalid_blocks"));
    assert_eq!(end(403, "action_prohibited"), Step::fail("the channel answered 403: action_prohibited"));
    assert_eq!(end(500, "rollup_error"), Step::retry("the channel answered 500: rollup_error"));
    let Answer::Http(mut busy) = answer(429, "rate_limited") else { unreachable!() };
    busy.retry_after = Some(30_000);
    let later = Step::retry("the channel answered 429: rate_limited").after(Duration::from_secs(30));
    assert_eq!(steps(&[Answer::Http(busy)])[1], later);
}
