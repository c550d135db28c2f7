//! The formatter for Opsgenie: an incident is one alert there, under an alias, which names the channel too. Requests are
//! taken with 202 and worked off later, in order, so nobody tells of an alert that is gone: an update begins with a
//! creation, which changes nothing under an alias that is open, and sets what changed by itself behind it.
//!
//! A test creates an alert and closes it.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, Notification, Request, Severity, Step, Text, check_url, formatter,
};
use bellwether_sdk::formatting::{Plain, Room, Story, check_text, line_key, one_line};
use bellwether_sdk::serde_json::{Map, Value as Json, json, to_vec};
use bellwether_sdk::{Secret, SettingError, Settings};
use serde::{Deserialize, Serialize};

/// Which Opsgenie takes the alerts.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Opsgenie {
    /// The key of an API integration that may create and update alerts.
    pub api_key: Secret,
    /// Teams, by name, that are to respond, beside what the integration says.
    pub teams: Option<Vec<String>>,
    /// Tags of every alert, up to 20.
    pub tags: Option<Vec<String>>,
    /// Where the API is; `https://api.eu.opsgenie.com` for accounts in Europe.
    #[setting(default = "https://api.opsgenie.com")]
    pub api_url: String,
}

fn check(settings: &Opsgenie) -> Result<(), SettingError> {
    for (name, texts, most, length) in
        [("teams", &settings.teams, 50, 100), ("tags", &settings.tags, TAGS, TAG)]
    {
        let texts = texts.as_deref().unwrap_or_default();
        if texts.len() > most {
            return Err(SettingError::new(name, texts.len(), format!("at most {most}")));
        }
        texts.iter().try_for_each(|text| check_text(name, text, length))?;
    }
    check_url("api_url", &settings.api_url)
}

/// Characters of a message (Opsgenie: Alert API).
const MESSAGE: usize = 130;

/// Characters of an alias.
const ALIAS: usize = 512;

/// Characters of a description.
const DESCRIPTION: usize = 15_000;

/// Tags of an alert.
const TAGS: usize = 20;

/// Characters of a tag.
const TAG: usize = 50;

/// Characters of one detail; all have at most 8,000 together, keys included.
const DETAIL: usize = 500;

/// What was sent last, which is what is kept.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    #[default]
    Create,
    Message,
    Description,
    Priority,
    Acknowledge,
    Close,
}

/// Creates, updates, acknowledges and closes alerts of Opsgenie.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: Opsgenie) -> Result<Step, FormatterError> {
    let notification = &exchange.notification;
    let Some(answer) = exchange.http() else {
        let first = match notification.event {
            Event::Closed => Stage::Close,
            Event::Opened | Event::Updated | Event::Test => Stage::Create,
        };
        return Ok(send(first, notification, &settings));
    };
    let stage: Stage = exchange.remembered().unwrap_or_default();
    match (answer.status, stage) {
        // Somebody deleted it: there is nothing to close.
        (404, Stage::Close) => return Ok(Step::done().remember(Vec::new())),
        // The creation before it was taken and is not worked off yet.
        (404, stage) if stage != Stage::Create => return Ok(answer.retry()),
        _ => {}
    }
    answer.success_in_json()?;
    // Told each time: an alert that was made anew is not acknowledged, and one that is stays so.
    let acknowledge = notification.incident.acknowledged_by.is_some();
    let following = match stage {
        Stage::Create if notification.event == Event::Test => Some(Stage::Close),
        Stage::Create if notification.event == Event::Updated => Some(Stage::Message),
        Stage::Message => Some(Stage::Description),
        Stage::Description => Some(Stage::Priority),
        Stage::Create | Stage::Priority if acknowledge => Some(Stage::Acknowledge),
        Stage::Create | Stage::Priority | Stage::Acknowledge => None,
        // A recurrence under the alias is a new alert.
        Stage::Close => return Ok(Step::done().remember(Vec::new())),
    };
    Ok(match following {
        Some(stage) => send(stage, notification, &settings),
        None => Step::done(),
    })
}

fn send(stage: Stage, notification: &Notification, settings: &Opsgenie) -> Step {
    let story = Story::of(notification);
    let alias = line_key(notification, ALIAS);
    let alerts = Text::from(settings.api_url.trim_end_matches('/')).text("/v2/alerts");
    let of_alert =
        |part: &str| alerts.clone().text("/").percent(&alias).text(format!("/{part}?identifierType=alias"));
    let message = Room::utf16(MESSAGE).cut(&story.headline);
    let description = story.body(&Plain, Room::utf16(DESCRIPTION), true);
    let priority = priority(notification.incident.severity);
    let note = json!({"source": "Bellwether", "note": message});
    let request = match stage {
        Stage::Create => Request::post(alerts).json(&json!({
            "message": message,
            "alias": alias,
            "description": description,
            "priority": priority,
            "source": "Bellwether",
            "tags": tags(notification, settings),
            "details": details(&story),
            "responders": responders(settings),
        })),
        Stage::Message => Request::put(of_alert("message")).json(&json!({"message": message})),
        Stage::Description => {
            Request::put(of_alert("description")).json(&json!({"description": description}))
        }
        Stage::Priority => Request::put(of_alert("priority")).json(&json!({"priority": priority})),
        Stage::Acknowledge => Request::post(of_alert("acknowledge")).json(&note),
        Stage::Close => Request::post(of_alert("close")).json(&note),
    };
    let key = Text::from("GenieKey ").secret(&settings.api_key);
    Step::send(request.header("authorization", key)).remember(to_vec(&stage).expect("a stage is plain data"))
}

/// The channel's tags, then the monitors' labels, as many as an alert has.
fn tags(notification: &Notification, settings: &Opsgenie) -> Vec<String> {
    let mut tags = settings.tags.clone().unwrap_or_default();
    for (name, value) in notification.incident.alerts.iter().flat_map(|alert| &alert.labels) {
        // A comma would be two tags.
        let tag = one_line(&format!("{name}:{value}")).replace(',', ";");
        let tag = Room::utf16(TAG).cut(&tag);
        if tags.len() < TAGS && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn details(story: &Story) -> Map<String, Json> {
    let room = Room::utf16(DETAIL);
    let mut details: Map<String, Json> =
        story.facts.iter().map(|fact| (fact.name.to_owned(), room.cut(&fact.value).into())).collect();
    if let Some(link) = story.links.first() {
        details.insert("Link".to_owned(), link.url.as_str().into());
    }
    details
}

fn responders(settings: &Opsgenie) -> Json {
    let teams = settings.teams.as_deref().unwrap_or_default();
    teams.iter().map(|team| json!({"name": team, "type": "team"})).collect()
}

fn priority(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "P1",
        Severity::High => "P2",
        Severity::Medium => "P3",
        Severity::Low => "P4",
        Severity::Info => "P5",
    }
}

#[cfg(test)]
mod tests;
