//! The formatter for Microsoft Teams: each opening, update and closing is an Adaptive Card, posted to the URL of a
//! workflow "Post to a channel when a webhook request is received".
//!
//! The older connectors answer 200 whatever happens and say an error in the body, so the body is read.

mod card;

use bellwether_sdk::formatter::{Exchange, FormatterError, HttpAnswer, Request, Step, formatter};
use bellwether_sdk::{Secret, Settings};

/// Where cards go.
#[derive(Debug, Settings)]
pub struct MsTeams {
    /// The URL of the workflow or connector. Who has it can post, so it is a secret.
    pub url: Secret,
}

/// What a workflow answers that is deleted or switched off.
const GONE: [&str; 3] = ["WorkflowNotFound", "WorkflowTriggerIsNotEnabled", "WorkflowDisabled"];

/// What stands before the status in the text of a connector that answers 200.
const STATUS: &str = "HTTP error ";

/// Posts incidents to Microsoft Teams as Adaptive Cards.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, teams: MsTeams) -> Result<Step, FormatterError> {
    if let Some(answer) = exchange.http() {
        return end(answer);
    }
    Ok(Step::send(Request::post(&teams.url).json(&card::message(&exchange.notification))))
}

fn end(answer: &HttpAnswer) -> Result<Step, FormatterError> {
    let text = answer.text();
    let text = text.trim();
    if GONE.iter().any(|code| text.contains(code)) {
        return Ok(Step::gone(answer.reason()));
    }
    answer.success()?;
    // A workflow's answer is empty or JSON, a connector's is 1.
    if text.is_empty() || text == "1" || text.starts_with('{') {
        return Ok(Step::done());
    }
    let status = text.split_once(STATUS).and_then(|(_, rest)| rest.get(..3)?.parse().ok());
    match status {
        Some(status) => {
            HttpAnswer { status, ..answer.clone() }.success()?;
            Ok(Step::done())
        }
        None => {
            Ok(Step::fail(format!("{}, where no body, 1 or a JSON object was expected", answer.reason())))
        }
    }
}

#[cfg(test)]
mod tests;
