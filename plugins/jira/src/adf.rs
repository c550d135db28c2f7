//! A story as a document of Atlassian's (ADF, version 1): a structure, so nothing in it needs an escape.

use bellwether_sdk::formatter::Link;
use bellwether_sdk::formatting::{Fact, Room, Story};
use bellwether_sdk::serde_json::{Value as Json, json};

/// UTF-16 units of a description. Sites differ in whether they count the text or the document; the document is more.
const DESCRIPTION: usize = 32_767;

/// Units of the texts, to begin with and where the structure makes the document too large.
const TEXTS: [usize; 3] = [20_000, 10_000, 4_000];

/// Units of the texts that fit, whatever structure they need.
const LEAST: usize = 1_000;

/// Units of the structure around an item of a list.
const ITEM: usize = 120;

/// Links in the document.
const LINKS: usize = 20;

/// The description of an issue.
pub(crate) fn document(story: &Story) -> Json {
    let fits = |document: &Json| Room::utf16(DESCRIPTION).holds(&document.to_string());
    TEXTS.into_iter().map(|room| within(story, room)).find(fits).unwrap_or_else(|| within(story, LEAST))
}

fn within(story: &Story, room: usize) -> Json {
    let mut content = Vec::new();
    if !story.description.is_empty() {
        content.push(paragraph(&lines(&Room::utf16(room / 4).cut(&story.description))));
    }
    let value = Room::utf16(room / 40);
    let facts = story.facts.iter().map(|Fact { name, value: text }| {
        vec![marked(&format!("{name}: "), &json!({"type": "strong"})), text_node(&value.cut(text))]
    });
    content.extend(list(facts.collect()));
    let (sections, missing) = story.sections_within(Room::utf16(room / 2), ITEM);
    for section in sections {
        content.push(paragraph(&[marked(&section.title, &json!({"type": "strong"}))]));
        if !section.description.is_empty() {
            content.push(paragraph(&lines(&section.description)));
        }
        content.extend(list(section.lines.iter().map(|line| vec![text_node(line)]).collect()));
    }
    if missing > 0 {
        content.push(paragraph(&[text_node(&format!("… and {missing} more series"))]));
    }
    let few = LINKS.min(room / 300);
    content.extend(list(story.links.iter().take(few).map(|link| vec![page(link)]).collect()));
    json!({"version": 1, "type": "doc", "content": content})
}

fn page(link: &Link) -> Json {
    marked(&link.label, &json!({"type": "link", "attrs": {"href": link.url}}))
}

/// A list, if there is anything to list.
fn list(items: Vec<Vec<Json>>) -> Option<Json> {
    let items: Vec<Json> =
        items.into_iter().map(|item| json!({"type": "listItem", "content": [paragraph(&item)]})).collect();
    (!items.is_empty()).then(|| json!({"type": "bulletList", "content": items}))
}

fn paragraph(content: &[Json]) -> Json {
    json!({"type": "paragraph", "content": content})
}

/// Texts with breaks between them: a text is never empty.
fn lines(text: &str) -> Vec<Json> {
    let mut nodes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            nodes.push(json!({"type": "hardBreak"}));
        }
        if !line.is_empty() {
            nodes.push(text_node(line));
        }
    }
    nodes
}

fn text_node(text: &str) -> Json {
    json!({"type": "text", "text": text})
}

fn marked(text: &str, mark: &Json) -> Json {
    json!({"type": "text", "text": text, "marks": [mark]})
}
