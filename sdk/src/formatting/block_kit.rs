//! A story as a message of Slack's Block Kit.

use serde_json::{Value as Json, json};

use super::{Markup, Mrkdwn, Room, Story, colour};
use crate::formatter::Notification;

/// Characters of a header block (Slack: Block Kit reference).
const HEADER: usize = 150;

/// Characters of a section's text.
const SECTION: usize = 3000;

/// Fields of a section.
const FIELDS: usize = 10;

/// Characters of a field.
const FIELD: usize = 2000;

/// Sections of alerts: with header, description, figures and pages they stay below the 50 blocks of a message.
const ALERTS: usize = 40;

/// Links in the section of pages.
const LINKS: usize = 20;

/// A message: `text` for notifications, `blocks` with the headline, and an attachment in the severity's colour with the
/// rest. For incoming webhooks as it is; for `chat.postMessage` and `chat.update` with a channel beside it.
#[must_use]
pub fn block_kit(notification: &Notification) -> Json {
    let story = Story::of(notification);
    let mut blocks = Vec::new();
    let section = |text: String| {
        // Verbatim: no name in it becomes a mention or a link.
        json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
    };
    if !story.description.is_empty() {
        blocks.push(section(Room::characters(SECTION).cut_as(&story.description, |text| Mrkdwn.text(text))));
    }
    let field = |name: &str, value: &str| {
        let write = |value: &str| format!("*{name}*\n{}", Mrkdwn.text(value));
        json!({"type": "mrkdwn", "text": Room::characters(FIELD).cut_as(value, write), "verbatim": true})
    };
    let fields: Vec<Json> =
        story.facts.iter().take(FIELDS).map(|fact| field(fact.name, &fact.value)).collect();
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    for alert in story.sections.iter().take(ALERTS) {
        let alone = Story {
            headline: String::new(),
            description: String::new(),
            facts: Vec::new(),
            sections: vec![alert.clone()],
            links: Vec::new(),
            images: Vec::new(),
        };
        let text = alone.body(&Mrkdwn, Room::characters(SECTION), false);
        blocks.push(section(text.trim().to_owned()));
    }
    if story.sections.len() > ALERTS {
        blocks.push(section(format!("… and {} more alerts", story.sections.len() - ALERTS)));
    }
    let mut pages = String::new();
    for link in story.links.iter().take(LINKS) {
        let gap = if pages.is_empty() { "" } else { "  ·  " };
        let page = format!("{gap}{}", Mrkdwn.link(&link.label, &link.url));
        if Room::characters(SECTION).holds(&format!("{pages}{page}")) {
            pages.push_str(&page);
        }
    }
    if !pages.is_empty() {
        blocks.push(section(pages));
    }
    let header = Room::characters(HEADER).cut(&story.headline);
    let text = Room::characters(SECTION).cut_as(&story.headline, |text| Mrkdwn.text(text));
    json!({
        "text": text,
        "blocks": [{"type": "header", "text": {"type": "plain_text", "text": header, "emoji": false}}],
        "attachments": [{"color": colour(notification), "fallback": text, "blocks": blocks}],
    })
}
