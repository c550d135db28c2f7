//! The Adaptive Card of a notification, within what Teams takes.

use bellwether_sdk::formatter::{Event, Notification, Severity};
use bellwether_sdk::formatting::{Markdown, Markup, Room, Story};
use bellwether_sdk::serde_json::{Value as Json, json};

/// Bytes of a message: Teams takes about 28 KB.
const MESSAGE: usize = 28_000;

/// Bytes of the texts, to begin with and where escapes make the message too large.
const TEXTS: [usize; 3] = [16_000, 8_000, 3_000];

/// Bytes of the texts that fit, whatever escapes they need.
const LEAST: usize = 1_000;

/// Buttons of a card: what renderers show by default.
const ACTIONS: usize = 5;

/// The message that carries the card.
pub(crate) fn message(notification: &Notification) -> Json {
    let story = Story::of(notification);
    let of = |room| {
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": card(notification, &story, room),
            }],
        })
    };
    let fits = |message: &Json| message.to_string().len() <= MESSAGE;
    TEXTS.into_iter().map(of).find(fits).unwrap_or_else(|| of(LEAST))
}

fn card(notification: &Notification, story: &Story, room: usize) -> Json {
    let text = |text: String| json!({"type": "TextBlock", "text": text, "wrap": true});
    let mut headline = text(Room::characters(500).cut_as(&story.headline, |text| Markdown.text(text)));
    headline["size"] = "Large".into();
    headline["weight"] = "Bolder".into();
    headline["color"] = colour(notification).into();
    let mut body = vec![headline];
    if !story.description.is_empty() {
        let description = Room::bytes(room / 4).cut_as(&story.description, |text| Markdown.text(text));
        // One line break is none in Markdown.
        body.push(text(description.replace('\n', "\n\n")));
    }
    let facts = story.facts.iter().map(|fact| {
        let value = Room::bytes(room / 20).cut_as(&fact.value, |text| Markdown.text(text));
        json!({"title": fact.name, "value": value})
    });
    body.push(json!({"type": "FactSet", "facts": facts.collect::<Vec<_>>()}));
    let alerts = Story {
        headline: String::new(),
        description: String::new(),
        facts: Vec::new(),
        links: Vec::new(),
        images: Vec::new(),
        ..story.clone()
    };
    let alerts = alerts.body(&Markdown, Room::bytes(room / 2), false);
    // A block for each paragraph: lists are lists only by themselves.
    body.extend(alerts.split("\n\n").filter(|part| !part.is_empty()).map(|part| text(paragraphs(part))));
    let actions: Vec<Json> = story
        .links
        .iter()
        .take(ACTIONS)
        .map(|link| json!({"type": "Action.OpenUrl", "title": link.label, "url": link.url}))
        .collect();
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "msteams": {"width": "Full"},
        "fallbackText": Room::characters(500).cut(&story.headline),
        "body": body,
    });
    if !actions.is_empty() {
        card["actions"] = actions.into();
    }
    card
}

/// Lines that are no items of a list stand by themselves.
fn paragraphs(text: &str) -> String {
    let mut lines = String::new();
    for line in text.trim().lines() {
        if !lines.is_empty() {
            lines.push_str(if line.starts_with("- ") { "\n" } else { "\n\n" });
        }
        lines.push_str(line);
    }
    lines
}

fn colour(notification: &Notification) -> &'static str {
    match (notification.event, notification.incident.severity) {
        (Event::Closed, _) => "Good",
        (_, Severity::Critical | Severity::High) => "Attention",
        (_, Severity::Medium) => "Warning",
        (_, Severity::Low | Severity::Info) => "Accent",
    }
}
