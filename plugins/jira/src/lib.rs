//! The formatter for Jira Cloud: an incident is one issue, found again by a label that names it, edited as the incident
//! changes, moved to done at its end and back if it goes on.
//!
//! Jira has no key that keeps a creation from happening twice, so the issue is looked up before it is made. Its search is
//! behind what is made, so that after a creation nobody knows the outcome of it is asked several times before it is
//! believed. A test makes an issue and moves it to done.

mod adf;
mod issue;

use std::time::Duration;

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, HttpAnswer, Notification, Request, Step, Text, check_url, formatter,
};
use bellwether_sdk::formatting::{Room, Story, check_text, line_key};
use bellwether_sdk::serde_json::{Value as Json, json, to_vec};
use bellwether_sdk::{Secret, SettingError, Settings};
use serde::{Deserialize, Serialize};

use issue::Looked;

/// Which project of which site takes the issues.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Jira {
    /// The site, such as `https://example.atlassian.net`.
    pub url: String,
    /// The address of the account that makes the issues.
    pub email: String,
    /// An API token of that account.
    pub api_token: Secret,
    /// The project's key, such as OPS.
    pub project: String,
    /// The type of the issues.
    #[setting(default = "Task")]
    pub issue_type: String,
    /// Labels of every issue, without spaces.
    pub labels: Option<Vec<String>>,
    /// The transition that ends an issue, by name; by default whichever leads to a status that is done.
    pub close_transition: Option<String>,
    /// The transition that reopens an issue, by name; by default whichever leads from done to a status that is not.
    pub reopen_transition: Option<String>,
}

fn check(settings: &Jira) -> Result<(), SettingError> {
    check_url("url", &settings.url)?;
    check_text("email", &settings.email, 254)?;
    let key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if settings.project.is_empty() || settings.project.len() > 255 || !settings.project.bytes().all(key) {
        return Err(SettingError::new("project", &settings.project, "a project's key, such as OPS"));
    }
    check_text("issue_type", &settings.issue_type, 100)?;
    for label in settings.labels.iter().flatten() {
        check_text("labels", label, 255)?;
        if label.contains(char::is_whitespace) {
            return Err(SettingError::new("labels", label, "labels without spaces"));
        }
    }
    let names = [
        ("close_transition", &settings.close_transition),
        ("reopen_transition", &settings.reopen_transition),
    ];
    names
        .into_iter()
        .try_for_each(|(name, text)| text.as_ref().map_or(Ok(()), |text| check_text(name, text, 255)))
}

/// UTF-16 units of a summary, on one line.
const SUMMARY: usize = 255;

/// Searches after a creation whose outcome nobody knows before an empty one is believed: each counts before it is sent,
/// so that one whose answer is lost costs a wait, not all of them.
const SEARCHES: u8 = 3;

/// Between those searches: Jira's index is behind by seconds, by more under load.
const BEHIND: Duration = Duration::from_secs(60);

/// What was sent last.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    #[default]
    Search,
    Create,
    Update,
    Look,
    Transition,
}

/// What is kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Memory {
    stage: Stage,
    /// The issue, by key or id.
    issue: Option<String>,
    /// Searches since a creation whose outcome is not known; 0 if there was none.
    searches: u8,
}

impl Memory {
    /// The searches there are with one that begins now.
    fn following_searches(&self) -> u8 {
        match (self.stage, self.searches) {
            (Stage::Create, _) => 1,
            (_, 0) => 0,
            (_, searches) => searches.saturating_add(1),
        }
    }

    fn kept(&self) -> Vec<u8> {
        to_vec(self).expect("a memory is plain data")
    }
}

/// Opens an issue of Jira for each incident, keeps it up to date, and moves it to done.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: Jira) -> Result<Step, FormatterError> {
    let jira = Api { settings: &settings, notification: &exchange.notification };
    let memory: Memory = exchange.remembered().unwrap_or_default();
    match exchange.http() {
        None if memory.issue.is_some() => Ok(jira.send(Stage::Update, memory.issue)),
        None => {
            let memory = Memory { searches: memory.following_searches(), ..Memory::default() };
            Ok(jira.send(Stage::Search, None).remember(memory.kept()))
        }
        Some(answer) => jira.follow(memory, answer),
    }
}

struct Api<'a> {
    settings: &'a Jira,
    notification: &'a Notification,
}

impl Api<'_> {
    /// What follows an answer.
    fn follow(&self, memory: Memory, answer: &HttpAnswer) -> Result<Step, FormatterError> {
        let ends = matches!(self.notification.event, Event::Closed | Event::Test);
        if answer.status == 404 && matches!(memory.stage, Stage::Update | Stage::Look | Stage::Transition) {
            // Somebody deleted it: there is nothing to close, and what still lasts is told anew.
            return Ok(match self.notification.event {
                Event::Closed => Step::done().remember(Vec::new()),
                _ => self.send(Stage::Create, None),
            });
        }
        answer.success_in_json()?;
        Ok(match memory.stage {
            Stage::Search => {
                let found: Json = answer.json()?;
                match found["issues"][0]["key"].as_str().filter(|key| is_issue(key)) {
                    Some(key) => self.send(Stage::Update, Some(key.to_owned())),
                    None if (1..SEARCHES).contains(&memory.searches) => {
                        Step::retry("the issue may have been made, and is not found yet").after(BEHIND)
                    }
                    None if self.notification.event == Event::Closed => Step::done(),
                    None => self.send(Stage::Create, None),
                }
            }
            Stage::Create => {
                let made: Json = answer.json()?;
                let key = made["key"].as_str().filter(|key| is_issue(key));
                let key = key.ok_or_else(|| {
                    Step::fail(format!("{}, where the issue's key was expected", answer.reason()))
                })?;
                match ends {
                    true => self.send(Stage::Look, Some(key.to_owned())),
                    false => Step::done().remember(kept(Stage::Create, Some(key.to_owned()))),
                }
            }
            Stage::Update => self.send(Stage::Look, memory.issue),
            Stage::Look => {
                let looked: Looked = answer.json()?;
                let name =
                    if ends { &self.settings.close_transition } else { &self.settings.reopen_transition };
                if looked.is_done() == ends {
                    return Ok(Step::done().remember(kept(Stage::Look, memory.issue)));
                }
                let id = looked.transition(ends, name.as_deref()).map_err(Step::fail)?;
                self.transition(memory.issue.as_deref().unwrap_or_default(), &id)
            }
            Stage::Transition => Step::done().remember(kept(Stage::Transition, memory.issue)),
        })
    }

    fn send(&self, stage: Stage, issue: Option<String>) -> Step {
        let of_issue = self.of_issue(issue.as_deref().unwrap_or_default());
        let request = match stage {
            Stage::Search => {
                let (project, label) = (&self.settings.project, self.label());
                let jql = format!("project = \"{project}\" AND labels = \"{label}\" ORDER BY created DESC");
                let query = json!({"jql": jql, "fields": ["status"], "maxResults": 1});
                Request::post(self.api("search/jql")).json(&query)
            }
            Stage::Create => {
                let mut labels = vec![self.label()];
                labels.extend(self.settings.labels.iter().flatten().cloned());
                let mut fields = self.fields();
                fields["project"] = json!({"key": self.settings.project});
                fields["issuetype"] = json!({"name": self.settings.issue_type});
                fields["labels"] = labels.into();
                Request::post(self.api("issue")).json(&json!({"fields": fields}))
            }
            Stage::Update => Request::put(of_issue).json(&json!({"fields": self.fields()})),
            // Which transition there is to take is looked up first.
            Stage::Look | Stage::Transition => {
                Request::get(of_issue.text("?fields=status&expand=transitions"))
            }
        };
        self.signed(request).remember(kept(stage, issue))
    }

    fn transition(&self, issue: &str, id: &str) -> Step {
        let request = Request::post(self.of_issue(issue).text("/transitions"));
        let step = self.signed(request.json(&json!({"transition": {"id": id}})));
        step.remember(kept(Stage::Transition, Some(issue.to_owned())))
    }

    fn signed(&self, request: Request) -> Step {
        let request = request.header("accept", "application/json");
        Step::send(request.basic(&self.settings.email, &self.settings.api_token))
    }

    fn api(&self, path: &str) -> Text {
        Text::from(self.settings.url.trim_end_matches('/')).text("/rest/api/3/").text(path)
    }

    fn of_issue(&self, issue: &str) -> Text {
        self.api("issue/").percent(issue)
    }

    /// What an issue of this incident is found by; another channel into the project makes another.
    fn label(&self) -> String {
        format!("bellwether-{}", line_key(self.notification, 100))
    }

    /// What an incident's changes change.
    fn fields(&self) -> Json {
        let story = Story::of(self.notification);
        json!({"summary": Room::utf16(SUMMARY).cut(&story.headline), "description": adf::document(&story)})
    }
}

/// Whether it looks like an issue's key or id: it goes into a path.
fn is_issue(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 300
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn kept(stage: Stage, issue: Option<String>) -> Vec<u8> {
    Memory { stage, issue, searches: 0 }.kept()
}

#[cfg(test)]
mod tests;
