//! The formatter for Slack's incoming webhooks: each opening, update and closing is a message of its own.
//!
//! A webhook answers `ok` as plain text; an error's name stands in the body (Slack: Sending messages using incoming
//! webhooks).

use bellwether_sdk::formatter::{Exchange, FormatterError, HttpAnswer, Request, Step, formatter};
use bellwether_sdk::formatting::block_kit;
use bellwether_sdk::{Secret, Settings};

/// Where messages go.
#[derive(Debug, Settings)]
pub struct Slack {
    /// The URL of the incoming webhook: `https://hooks.slack.com/services/…`. Who has it can post, so it is a secret.
    pub url: Secret,
}

/// Errors that say that the webhook, its channel or its workspace is no more.
const GONE: [&str; 6] =
    ["no_service", "no_service_id", "no_team", "team_disabled", "channel_not_found", "channel_is_archived"];

/// Posts incidents to a Slack channel by an incoming webhook.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, slack: Slack) -> Result<Step, FormatterError> {
    if let Some(answer) = exchange.http() {
        return end(answer);
    }
    Ok(Step::send(Request::post(&slack.url).json(&block_kit(&exchange.notification))))
}

fn end(answer: &HttpAnswer) -> Result<Step, FormatterError> {
    let text = answer.text();
    let text = text.trim();
    if GONE.contains(&text) {
        return Ok(Step::gone(answer.reason()));
    }
    answer.success_in_text("ok", |text| text == "ok")?;
    Ok(Step::done())
}

#[cfg(test)]
mod tests;
