use bellwether_sdk::formatter::Event;
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::testing::{answer, extremes, notification, rehearse, sent, sent_json};

use super::*;

fn settings() -> Json {
    json!({"url": "set"})
}

#[test]
fn a_card_says_what_happened_and_leads_to_it() {
    let steps = rehearse(next, &settings(), notification(Event::Opened), &[answer(202, "")]).expect("steps");
    assert_eq!((sent(&steps[0]).url().to_string().as_str(), &steps[1]), ("‹secret url›", &Step::done()));
    let body = sent_json(&steps[0]);
    assert_eq!(body["attachments"][0]["contentUrl"], Json::Null);
    let card = &body["attachments"][0]["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.5")));
    assert_eq!(card["body"][0]["text"], r"\[High\] Checkout fails more often than usual");
    assert_eq!(card["body"][0]["color"], "Attention");
    assert_eq!(card["body"][2]["facts"][0], json!({"title": "Severity", "value": "High"}));
    assert_eq!(
        card["actions"],
        json!([
            {"type": "Action.OpenUrl", "title": "Incident", "url": "https://bellwether.example/incidents/incident-1"},
            {"type": "Action.OpenUrl", "title": "Roll back", "url": "https://bellwether.example/actions/action-1"},
        ])
    );
}

#[test]
fn a_card_stays_within_what_teams_takes_whatever_is_told() {
    for (name, told) in extremes() {
        let steps = rehearse(next, &settings(), told, &[]).expect(name);
        let body = sent_json(&steps[0]);
        assert!(body.to_string().len() <= 28_000, "{name}: {}", body.to_string().len());
        let blocks = body["attachments"][0]["content"]["body"].as_array().expect("blocks");
        assert!(blocks.iter().all(|block| block["text"] != ""), "{name}: {body}");
        let body = &body["attachments"][0]["content"]["body"];
        assert!(!body.to_string().contains("[x](https://evil.example)"), "{name}: {body}");
    }
}

#[test]
fn an_error_in_the_text_of_a_success_is_an_error() {
    let end = |status, body: &str| {
        rehearse(next, &settings(), notification(Event::Opened), &[answer(status, body)])
            .expect("steps")
            .pop()
            .expect("an end")
    };
    for body in ["", "1", "{}"] {
        assert_eq!(end(200, body), Step::done());
    }
    let busy = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId tcid=0";
    assert!(matches!(end(200, busy), Step::Retry { .. }));
    assert!(matches!(end(200, &busy.replace("429", "413")), Step::Fail(_)));
    assert!(matches!(end(200, &busy.replace("429", "410")), Step::Gone(_)));
    assert_eq!(
        end(200, "Summary or Text is required."),
        Step::fail(
            "the channel answered 200: Summary or Text is required., where no body, 1 or a JSON object was expected"
        )
    );
    assert!(matches!(end(404, r#"{"error":{"code":"WorkflowNotFound"}}"#), Step::Gone(_)));
    assert!(matches!(end(400, r#"{"error":{"code":"WorkflowTriggerIsNotEnabled"}}"#), Step::Gone(_)));
    assert!(matches!(end(400, "Bad payload received by generic incoming webhook."), Step::Fail(_)));
    assert!(matches!(end(504, ""), Step::Retry { .. }));
}
