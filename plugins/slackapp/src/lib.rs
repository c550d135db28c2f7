//! The formatter for a Slack app: an incident is one message, which is updated in place as the incident changes. Where
//! it cannot be updated any more, another is posted.
//!
//! Slack's methods answer 200 to nearly everything; whether it was a success is `ok`.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, HttpAnswer, Notification, Request, Step, check_url, formatter,
};
use bellwether_sdk::formatting::{block_kit, check_text};
use bellwether_sdk::serde_json::to_vec;
use bellwether_sdk::{Secret, SettingError, Settings};
use serde::{Deserialize, Serialize};

/// Which app posts to which channel.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct SlackApp {
    /// The app's bot token, xoxb-…, with the scope chat:write.
    pub token: Secret,
    /// The channel's id, such as C0123456789, or its name, such as #operations. The app is to be in it.
    pub channel: String,
    /// Where Slack's methods are.
    #[setting(default = "https://slack.com/api")]
    pub api_url: String,
}

fn check(settings: &SlackApp) -> Result<(), SettingError> {
    check_text("channel", &settings.channel, 100)?;
    check_url("api_url", &settings.api_url)
}

/// Errors that pass.
const PASSING: [&str; 6] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
];

/// Errors that say that the app or the channel is no more.
const GONE: [&str; 6] =
    ["account_inactive", "token_revoked", "token_expired", "is_archived", "team_not_found", "app_missing"];

/// Errors that say that the message cannot be updated.
const LOST: [&str; 5] =
    ["message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "channel_not_found"];

/// The message of the incident.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Posted {
    channel: String,
    ts: String,
}

/// An answer of a method.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answered {
    ok: bool,
    error: String,
    channel: Option<String>,
    ts: Option<String>,
}

/// Posts incidents to a Slack channel as an app, and keeps each message up to date.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: SlackApp) -> Result<Step, FormatterError> {
    let posted: Option<Posted> = exchange.remembered();
    let notification = &exchange.notification;
    let Some(answer) = exchange.http() else {
        return Ok(send(posted.as_ref(), notification, &settings));
    };
    let answered: Answered = answer.json_if_any()?;
    if !answered.ok {
        if posted.is_some() && LOST.contains(&answered.error.as_str()) {
            return Ok(send(None, notification, &settings).remember(Vec::new()));
        }
        return end(answer, &answered.error);
    }
    answer.success()?;
    Ok(match (answered.channel, answered.ts, notification.event) {
        // What comes again after its end is a message of its own.
        (.., Event::Closed | Event::Test) => Step::done().remember(Vec::new()),
        (Some(channel), Some(ts), _) => {
            Step::done().remember(to_vec(&Posted { channel, ts }).expect("a memory is plain data"))
        }
        _ => Step::done(),
    })
}

fn end(answer: &HttpAnswer, error: &str) -> Result<Step, FormatterError> {
    if PASSING.contains(&error) {
        return Ok(answer.retry());
    }
    if GONE.contains(&error) {
        return Ok(Step::gone(answer.reason()));
    }
    answer.success()?;
    Ok(Step::fail(answer.reason()))
}

fn send(posted: Option<&Posted>, notification: &Notification, settings: &SlackApp) -> Step {
    let mut body = block_kit(notification);
    let method = match posted {
        Some(Posted { channel, ts }) => {
            body["channel"] = channel.as_str().into();
            body["ts"] = ts.as_str().into();
            "chat.update"
        }
        None => {
            body["channel"] = settings.channel.trim().into();
            body["unfurl_links"] = false.into();
            "chat.postMessage"
        }
    };
    let url = format!("{}/{method}", settings.api_url.trim_end_matches('/'));
    // Slack warns where JSON does not say its characters.
    let request = Request::post(url).header("content-type", "application/json; charset=utf-8");
    Step::send(request.text(body.to_string()).bearer(&settings.token))
}

#[cfg(test)]
mod tests;
