//! The formatter for PagerDuty's Events API v2: an incident is one alert there, triggered, acknowledged and resolved
//! under one deduplication key, so that an event that comes twice changes nothing. The key names the channel too: two
//! channels into one service make two alerts.
//!
//! A test triggers an alert and resolves it.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, Notification, Purpose, Request, Severity, Step, check_url, formatter,
};
use bellwether_sdk::formatting::{Room, Story, check_text, line_key, one_line};
use bellwether_sdk::serde_json::{Map, Value as Json, json, to_vec};
use bellwether_sdk::{Secret, SettingError, Settings, Timestamp};
use serde::{Deserialize, Serialize};

/// Which service takes the alerts.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct PagerDuty {
    /// The integration key of the service's integration "Events API v2".
    pub routing_key: Secret,
    /// What has the trouble, as PagerDuty shows it; by default the organisation's name.
    pub source: Option<String>,
    /// Where events go; `https://events.eu.pagerduty.com` for accounts in Europe.
    #[setting(default = "https://events.pagerduty.com")]
    pub api_url: String,
}

fn check(settings: &PagerDuty) -> Result<(), SettingError> {
    if let Some(source) = &settings.source {
        check_text("source", source, 255)?;
    }
    check_url("api_url", &settings.api_url)
}

/// Characters of a deduplication key.
const KEY: usize = 255;

/// Characters of a summary.
const SUMMARY: usize = 1024;

/// Characters of one value of the details: an event has at most 512 KB.
const DETAIL: usize = 8_000;

/// Details of alerts.
const ALERTS: usize = 10;

/// Links and images of an event.
const LINKS: usize = 20;

/// What was sent last, and whether the alert was acknowledged.
#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default)]
struct Memory {
    last: Action,
    acknowledged: bool,
}

impl Memory {
    fn kept(self) -> Vec<u8> {
        to_vec(&self).expect("a memory is plain data")
    }
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    Trigger,
    Acknowledge,
    Resolve,
}

/// Triggers, acknowledges and resolves alerts of PagerDuty.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: PagerDuty) -> Result<Step, FormatterError> {
    let notification = &exchange.notification;
    let memory: Memory = exchange.remembered().unwrap_or_default();
    let Some(answer) = exchange.http() else {
        let first = match notification.event {
            Event::Closed => Action::Resolve,
            Event::Opened | Event::Updated | Event::Test => Action::Trigger,
        };
        return Ok(send(Memory { last: first, ..memory }, notification, &settings));
    };
    answer.success_in_json()?;
    let acknowledged = notification.incident.acknowledged_by.is_some();
    Ok(match memory.last {
        Action::Trigger if notification.event == Event::Test => {
            send(Memory { last: Action::Resolve, ..memory }, notification, &settings)
        }
        Action::Trigger if acknowledged && !memory.acknowledged => {
            send(Memory { last: Action::Acknowledge, ..memory }, notification, &settings)
        }
        Action::Trigger => Step::done(),
        Action::Acknowledge => Step::done().remember(Memory { acknowledged: true, ..memory }.kept()),
        // A recurrence under the same key is a new alert.
        Action::Resolve => Step::done().remember(Vec::new()),
    })
}

fn send(memory: Memory, notification: &Notification, settings: &PagerDuty) -> Step {
    let body = body(memory, notification, settings);
    let url = format!("{}/v2/enqueue", settings.api_url.trim_end_matches('/'));
    let request = Request::post(url).json_with(&body, &[("routing_key", &settings.routing_key)]);
    Step::send(request).remember(memory.kept())
}

fn body(memory: Memory, notification: &Notification, settings: &PagerDuty) -> Json {
    let incident = &notification.incident;
    let mut body = json!({"event_action": memory.last, "dedup_key": line_key(notification, KEY)});
    if memory.last != Action::Trigger {
        return body;
    }
    let story = Story::of(notification);
    let mut details = Map::new();
    if !story.description.is_empty() {
        details.insert("description".to_owned(), story.description.as_str().into());
    }
    details.extend(story.facts.iter().map(|fact| (fact.name.to_owned(), fact.value.as_str().into())));
    for section in story.sections.iter().take(ALERTS) {
        let mut text = section.lines.join("\n");
        if section.left_out > 0 {
            text.push_str(&format!("\n… and {} more series", section.left_out));
        }
        let mut name = section.title.clone();
        while details.contains_key(&name) {
            name.push('\'');
        }
        details.insert(name, Room::characters(DETAIL).cut(&text).into());
    }
    if story.sections.len() > ALERTS {
        details.insert("more alerts".to_owned(), (story.sections.len() - ALERTS).into());
    }
    let source = settings.source.clone().or_else(|| {
        let organisation = Room::characters(255).cut(&one_line(&notification.organisation));
        Some(organisation).filter(|organisation| !organisation.is_empty())
    });
    body["client"] = "Bellwether".into();
    if let Some(page) = story.links.iter().find(|link| link.purpose == Purpose::Incident) {
        body["client_url"] = page.url.as_str().into();
    }
    body["payload"] = json!({
        "summary": Room::characters(SUMMARY).cut(&story.headline),
        "source": source.as_deref().unwrap_or("Bellwether"),
        "severity": severity(incident.severity),
        "timestamp": Timestamp::from_milliseconds(incident.started).to_string(),
        "custom_details": details,
    });
    body["links"] =
        story.links.iter().take(LINKS).map(|link| json!({"href": link.url, "text": link.label})).collect();
    let secure = story.images.iter().filter(|image| image.url.starts_with("https://"));
    body["images"] = secure.take(LINKS).map(|image| json!({"src": image.url, "alt": image.label})).collect();
    body
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium | Severity::Low => "warning",
        Severity::Info => "info",
    }
}

#[cfg(test)]
mod tests;
