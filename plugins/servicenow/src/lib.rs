//! The formatter for ServiceNow: an incident is one record of the Table API, found again by its `correlation_id`, edited
//! as the incident changes, and resolved at its end.
//!
//! A creation that comes twice makes two records, so the record is looked up before it is made. One that is resolved is
//! reopened if the incident goes on; one that is closed cannot be, and another is made. A test makes a record and
//! resolves it.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, Grant, HttpAnswer, Notification, Oauth, Request, Severity, Signing,
    Step, Text, check_url, formatter,
};
use bellwether_sdk::formatting::{Plain, Room, Story, check_text, line_key};
use bellwether_sdk::serde_json::{Value as Json, json, to_vec};
use bellwether_sdk::{Secret, SettingError, Settings};
use serde::{Deserialize, Serialize};

/// Which instance takes the records, and as whom.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct ServiceNow {
    /// The instance, such as `https://example.service-now.com`.
    pub url: String,
    /// A user's name, with the password: for basic authentication.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A key of the instance's REST API key authentication.
    pub api_key: Option<Secret>,
    /// The id of an OAuth client, with its secret: for client credentials.
    pub client_id: Option<String>,
    /// The client's secret.
    pub client_secret: Option<Secret>,
    /// The table the records are in.
    #[setting(default = "incident")]
    pub table: String,
    /// The group the records are assigned to, by name or sys_id.
    pub assignment_group: Option<String>,
    /// How a resolved record says it was closed.
    #[setting(default = "Solution provided")]
    pub close_code: String,
}

fn check(settings: &ServiceNow) -> Result<(), SettingError> {
    check_url("url", &settings.url)?;
    let ways = [
        settings.user.is_some() && settings.password.is_some(),
        settings.api_key.is_some(),
        settings.client_id.is_some() && settings.client_secret.is_some(),
    ];
    let begun = settings.user.is_some() != settings.password.is_some()
        || settings.client_id.is_some() != settings.client_secret.is_some();
    if ways.iter().filter(|way| **way).count() != 1 || begun {
        let expected = "one of: user and password, api_key, client_id and client_secret";
        return Err(SettingError::new("user", settings.user.as_deref().unwrap_or_default(), expected));
    }
    for (name, text) in [
        ("user", &settings.user),
        ("client_id", &settings.client_id),
        ("assignment_group", &settings.assignment_group),
    ] {
        text.as_ref().map_or(Ok(()), |text| check_text(name, text, 100))?;
    }
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if settings.table.is_empty() || settings.table.len() > 80 || !settings.table.bytes().all(word) {
        return Err(SettingError::new("table", &settings.table, "a table's name, such as incident"));
    }
    check_text("close_code", &settings.close_code, 100)
}

/// UTF-16 units of a short description (ServiceNow: dictionary of the table `task`).
const SHORT: usize = 160;

/// Units of a description.
const DESCRIPTION: usize = 4000;

/// Characters of a correlation id.
const CORRELATION: usize = 100;

/// What was sent last.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    #[default]
    Find,
    Create,
    Update,
    Resolve,
}

/// What is kept.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Memory {
    stage: Stage,
    /// The record's `sys_id`.
    record: Option<String>,
}

/// Opens an incident of ServiceNow for each incident, keeps it up to date, and resolves it.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: ServiceNow) -> Result<Step, FormatterError> {
    let table = Table { settings: &settings, notification: &exchange.notification };
    let memory: Memory = exchange.remembered().unwrap_or_default();
    match exchange.http() {
        // Looked up each time: people resolve and close records too.
        None => Ok(table.send(Stage::Find, memory.record, None)),
        Some(answer) => table.follow(memory, answer),
    }
}

/// A record's state (ServiceNow: dictionary of the table `incident`).
mod state {
    pub(super) const IN_PROGRESS: &str = "2";
    pub(super) const RESOLVED: &str = "6";
    pub(super) const CLOSED: &str = "7";
    pub(super) const CANCELLED: &str = "8";
}

struct Table<'a> {
    settings: &'a ServiceNow,
    notification: &'a Notification,
}

impl Table<'_> {
    /// What follows an answer.
    fn follow(&self, memory: Memory, answer: &HttpAnswer) -> Result<Step, FormatterError> {
        let event = self.notification.event;
        // A record that is gone between its being found and its change: the exchange begins again.
        if answer.status == 404 && matches!(memory.stage, Stage::Update | Stage::Resolve) {
            return Ok(answer.retry());
        }
        answer.success()?;
        let answered: Json = answer.json()?;
        let result = &answered["result"];
        let id = |record: &Json| record["sys_id"].as_str().filter(|id| is_id(id)).map(str::to_owned);
        Ok(match memory.stage {
            Stage::Find => {
                let found = &result[0];
                let state = found["state"].as_str().unwrap_or_default();
                let over = [state::CLOSED, state::CANCELLED].contains(&state);
                match (id(found), event) {
                    (Some(_), Event::Closed) if over || state == state::RESOLVED => {
                        Step::done().remember(Vec::new())
                    }
                    (None, Event::Closed) => Step::done().remember(Vec::new()),
                    (Some(record), Event::Closed) => self.send(Stage::Resolve, Some(record), None),
                    (Some(record), _) if !over => {
                        let reopened = (state == state::RESOLVED).then_some(state::IN_PROGRESS);
                        self.send(Stage::Update, Some(record), reopened)
                    }
                    _ => self.send(Stage::Create, None, None),
                }
            }
            Stage::Create | Stage::Update => {
                let Some(record) = id(result).or(memory.record) else {
                    return Ok(Step::fail(format!(
                        "{}, where the record's sys_id was expected",
                        answer.reason()
                    )));
                };
                match event {
                    Event::Test => self.send(Stage::Resolve, Some(record), None),
                    _ => Step::done().remember(kept(memory.stage, Some(record))),
                }
            }
            Stage::Resolve => Step::done().remember(kept(Stage::Resolve, memory.record)),
        })
    }

    fn send(&self, stage: Stage, record: Option<String>, reopened: Option<&str>) -> Step {
        let records = Text::from(self.settings.url.trim_end_matches('/'))
            .text("/api/now/table/")
            .text(&self.settings.table);
        let of_record = || records.clone().text("/").percent(record.as_deref().unwrap_or_default());
        let request = match stage {
            Stage::Find => {
                let query = match &record {
                    // The one that was made for this channel: there may be older ones.
                    Some(record) => format!("sys_id={record}"),
                    None => format!("correlation_id={}^ORDERBYDESCsys_created_on", self.correlation()),
                };
                let fields = "&sysparm_fields=sys_id,state&sysparm_limit=1";
                Request::get(records.text("?sysparm_query=").percent(query).text(fields))
            }
            Stage::Create => {
                let mut fields = self.fields();
                fields["correlation_id"] = self.correlation().into();
                fields["correlation_display"] = "Bellwether".into();
                if let Some(group) = &self.settings.assignment_group {
                    fields["assignment_group"] = group.as_str().into();
                }
                Request::post(records.text("?sysparm_fields=sys_id,state")).json(&fields)
            }
            Stage::Update => {
                let mut fields = self.fields();
                if let Some(state) = reopened {
                    fields["state"] = state.into();
                }
                Request::patch(of_record().text("?sysparm_fields=sys_id,state")).json(&fields)
            }
            Stage::Resolve => {
                let mut fields = self.fields();
                fields["state"] = state::RESOLVED.into();
                fields["close_code"] = self.settings.close_code.as_str().into();
                let story = Story::of(self.notification);
                fields["close_notes"] = Room::utf16(DESCRIPTION).cut(&story.headline).into();
                Request::patch(of_record().text("?sysparm_fields=sys_id,state")).json(&fields)
            }
        };
        Step::send(self.signed(request.header("accept", "application/json"))).remember(kept(stage, record))
    }

    fn signed(&self, request: Request) -> Request {
        let settings = self.settings;
        match (&settings.user, &settings.password, &settings.api_key, &settings.client_id) {
            (Some(user), Some(password), ..) => request.basic(user, password),
            (_, _, Some(key), _) => request.header("x-sn-apikey", key),
            (.., client) => request.signed(Signing::Oauth(Oauth {
                token_url: Text::from(settings.url.trim_end_matches('/'))
                    .text("/oauth_token.do")
                    .parts()
                    .to_vec(),
                grant: Grant::ClientCredentials,
                client_id: Text::from(client.as_deref().unwrap_or_default()).parts().to_vec(),
                client_secret: settings.client_secret.as_ref().map(|secret| secret.name().to_owned()),
                scope: None,
                audience: None,
            })),
        }
    }

    /// What a record of this incident is found by; another channel into the table makes another.
    fn correlation(&self) -> String {
        line_key(self.notification, CORRELATION)
    }

    /// What an incident's changes change.
    fn fields(&self) -> Json {
        let story = Story::of(self.notification);
        let (urgency, impact) = match self.notification.incident.severity {
            Severity::Critical => ("1", "1"),
            Severity::High => ("1", "2"),
            Severity::Medium => ("2", "2"),
            Severity::Low => ("2", "3"),
            Severity::Info => ("3", "3"),
        };
        json!({
            "short_description": Room::utf16(SHORT).cut(&story.headline),
            "description": story.body(&Plain, Room::utf16(DESCRIPTION), true),
            "urgency": urgency,
            "impact": impact,
        })
    }
}

/// Whether it looks like a `sys_id`: it goes into a path and a query.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn kept(stage: Stage, record: Option<String>) -> Vec<u8> {
    to_vec(&Memory { stage, record }).expect("a memory is plain data")
}

#[cfg(test)]
mod tests;
