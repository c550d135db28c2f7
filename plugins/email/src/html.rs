//! An incident as a page of HTML, styled where it stands: mail clients know no style sheets.

use bellwether_sdk::formatter::{Notification, Purpose};
use bellwether_sdk::formatting::{Html, Markup, Room, Story, colour};

/// Bytes of the alerts' texts: mail clients cut pages at some 100 KB.
const SERIES: usize = 60_000;

/// Bytes of the tags around a line.
const LINE: usize = 10;

/// Pictures shown; they are fetched when the e-mail is read.
const IMAGES: usize = 5;

/// Links shown.
const LINKS: usize = 20;

pub(crate) fn page(notification: &Notification, story: &Story) -> String {
    let mut page = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\"></head>\n\
         <body style=\"margin:0;padding:16px;font-family:sans-serif;font-size:14px;color:#1f2328\">\n\
         <div style=\"border-left:6px solid {};padding:4px 0 4px 12px;font-size:18px\"><b>{}</b></div>\n",
        colour(notification),
        Html.text(&story.headline),
    );
    if !story.description.is_empty() {
        page.push_str(&format!("<p>{}</p>\n", lines(&story.description)));
    }
    page.push_str("<table style=\"border-collapse:collapse\">\n");
    for fact in &story.facts {
        page.push_str(&format!(
            "<tr><td style=\"padding:2px 16px 2px 0;color:#656d76\">{}</td><td>{}</td></tr>\n",
            fact.name,
            Html.text(&fact.value)
        ));
    }
    page.push_str("</table>\n");
    sections(&mut page, story);
    let mut buttons = String::new();
    for link in story.links.iter().take(LINKS) {
        let style = match link.purpose {
            Purpose::Incident => "background:#1f6feb;color:#ffffff",
            _ => "background:#eaeef2;color:#1f2328",
        };
        buttons.push_str(&format!(
            "<a href=\"{}\" style=\"{style};display:inline-block;margin:4px 8px 4px 0;padding:6px 12px;\
             border-radius:6px;text-decoration:none\">{}</a>\n",
            Html.text(&link.url),
            Html.text(&link.label)
        ));
    }
    page.push_str(&format!("<p>{buttons}</p>\n"));
    for image in story.images.iter().take(IMAGES) {
        page.push_str(&format!(
            "<p><img src=\"{}\" alt=\"{}\" style=\"max-width:100%\"></p>\n",
            Html.text(&image.url),
            Html.text(&image.label)
        ));
    }
    page.push_str("</body></html>\n");
    page
}

/// The alerts and their series, as many as there is room for; what is left out is counted.
fn sections(page: &mut String, story: &Story) {
    let (sections, missing) = story.sections_within(Room::bytes(SERIES), LINE);
    for section in sections {
        page.push_str(&format!("<h3 style=\"margin:16px 0 4px\">{}</h3>\n", Html.text(&section.title)));
        if !section.description.is_empty() {
            page.push_str(&format!("<p>{}</p>\n", lines(&section.description)));
        }
        page.push_str("<ul style=\"margin:4px 0;padding-left:20px\">\n");
        for line in &section.lines {
            page.push_str(&format!("<li>{}</li>\n", Html.text(line)));
        }
        page.push_str("</ul>\n");
    }
    if missing > 0 {
        page.push_str(&format!("<p>… and {missing} more series</p>\n"));
    }
}

fn lines(text: &str) -> String {
    Html.text(text).replace('\n', "<br>\n")
}
