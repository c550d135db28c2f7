//! The formatter for Mattermost's incoming webhooks: each opening, update and closing is a post of its own.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, HttpAnswer, Notification, Purpose, Request, Severity, Step, check_url,
    formatter,
};
use bellwether_sdk::formatting::{Markdown, Markup, Room, Story, check_text, colour, quiet};
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::{Secret, SettingError, Settings};

/// Where posts go.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Mattermost {
    /// The URL of the incoming webhook, https://…/hooks/… Who has it can post, so it is a secret.
    pub url: Secret,
    /// Another channel than the webhook's, by its name in URLs, or @ and a user's name.
    pub channel: Option<String>,
    /// Another name than the webhook's, where the server lets it.
    pub username: Option<String>,
    /// Another picture than the webhook's, where the server lets it.
    pub icon_url: Option<String>,
    /// Whether posts about high and critical incidents are marked as important and urgent.
    #[setting(default = true)]
    pub priority: bool,
}

fn check(settings: &Mattermost) -> Result<(), SettingError> {
    for (name, text) in [("channel", &settings.channel), ("username", &settings.username)] {
        text.as_ref().map_or(Ok(()), |text| check_text(name, text, 64))?;
    }
    settings.icon_url.as_ref().map_or(Ok(()), |url| check_url("icon_url", url))
}

/// Characters of an attachment's text: with fields and links it stays below the 16,383 of a post.
const TEXT: usize = 8_000;

/// Characters of a field.
const FIELD: usize = 300;

/// Errors that say that the webhook is no more, or that the server takes none.
const GONE: [&str; 2] = ["incoming_webhook.disabled", "incoming_webhook.invalid"];

/// Posts incidents to a Mattermost channel by an incoming webhook.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: Mattermost) -> Result<Step, FormatterError> {
    match exchange.http() {
        Some(answer) => end(answer),
        None => {
            let body = post(&exchange.notification, &settings);
            Ok(Step::send(Request::post(&settings.url).json(&body)))
        }
    }
}

fn end(answer: &HttpAnswer) -> Result<Step, FormatterError> {
    let text = answer.text();
    // A server that has webhooks switched off answers 501.
    if !answer.is_success() && GONE.iter().any(|error| text.contains(error)) {
        return Ok(Step::gone(answer.reason()));
    }
    answer.success_in_text("ok", |text| text == "ok")?;
    Ok(Step::done())
}

fn post(notification: &Notification, settings: &Mattermost) -> Json {
    let story = Story::of(notification);
    let cut = |text: &str, most| Room::characters(most).cut_as(text, |text| Markdown.text(text));
    let rest = Story { facts: Vec::new(), ..story.clone() };
    let body = rest.body(&Markdown, Room::characters(TEXT), true);
    let fields: Vec<Json> = story
        .facts
        .iter()
        .map(|fact| json!({"short": true, "title": fact.name, "value": cut(&fact.value, FIELD)}))
        .collect();
    let mut attachment = json!({
        "fallback": quiet(&Room::characters(500).cut(&story.headline)),
        "color": colour(notification),
        // Two spaces break a line.
        "text": body.replace('\n', "  \n"),
        "fields": fields,
    });
    if let Some(page) = story.links.iter().find(|link| link.purpose == Purpose::Incident) {
        attachment["title"] = quiet(&page.label).into();
        attachment["title_link"] = page.url.as_str().into();
    }
    let mut post =
        json!({"text": format!("**{}**", cut(&story.headline, 1000)), "attachments": [attachment]});
    for (name, text) in
        [("channel", &settings.channel), ("username", &settings.username), ("icon_url", &settings.icon_url)]
    {
        if let Some(text) = text {
            post[name] = text.as_str().into();
        }
    }
    let priority = match (notification.event, notification.incident.severity) {
        (Event::Opened, Severity::Critical) => Some("urgent"),
        (Event::Opened, Severity::High) => Some("important"),
        _ => None,
    };
    if let Some(priority) = priority.filter(|_| settings.priority) {
        post["priority"] = json!({"priority": priority});
    }
    post
}

#[cfg(test)]
mod tests;
