//! The formatter for TamTam: an incident is one message of a bot, which is edited as the incident changes. Where it
//! cannot be edited any more, another is sent.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, HttpAnswer, Notification, Request, SecretEncoding, Step, Text,
    check_url, formatter,
};
use bellwether_sdk::formatting::{Html, Markup, Room, Story, WrittenOut};
use bellwether_sdk::serde_json::{Value as Json, json};
use bellwether_sdk::{Secret, SettingError, Settings};
use serde::Deserialize;

/// Which bot writes to which chat.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct TamTam {
    /// The bot's token, as PrimeBot gave it.
    pub access_token: Secret,
    /// The chat's id.
    pub chat_id: i64,
    /// Whether messages come without a sound.
    #[setting(default = false)]
    pub silent: bool,
    /// Where the bot API is.
    #[setting(default = "https://botapi.tamtam.chat")]
    pub api_url: String,
}

fn check(settings: &TamTam) -> Result<(), SettingError> {
    check_url("api_url", &settings.api_url)
}

/// UTF-16 units of a message, markup included.
const MESSAGE: usize = 4000;

/// Buttons below a message: TamTam takes 30 rows.
const BUTTONS: usize = 12;

/// Characters of a button's text.
const BUTTON: usize = 64;

/// Errors that say that the bot is not in the chat any more.
const GONE: [&str; 2] = ["chat.denied", "chat.not.found"];

/// An answer of the API.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered {
    /// Of an edit.
    success: Option<bool>,
    /// An error's text, or the message that was sent.
    message: Json,
    /// An error's key.
    code: String,
}

/// Sends incidents to a TamTam chat, and keeps each message up to date.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: TamTam) -> Result<Step, FormatterError> {
    let message: Option<String> = exchange.remembered();
    let notification = &exchange.notification;
    let Some(answer) = exchange.http() else {
        return Ok(send(message.as_deref(), notification, &settings));
    };
    let answered: Answered = answer.json_if_any()?;
    let lost = answer.status == 404 || (answer.is_success() && answered.success == Some(false));
    if lost && message.is_some() {
        return Ok(send(None, notification, &settings).remember(Vec::new()));
    }
    end(answer, &answered)?;
    let sent = answered.message["body"]["mid"].as_str();
    Ok(match (sent, notification.event) {
        // What comes again after its end is a message of its own.
        (_, Event::Closed | Event::Test) => Step::done().remember(Vec::new()),
        (Some(id), _) => Step::done().remember(Json::from(id).to_string()),
        (None, _) if answered.success == Some(true) => Step::done(),
        (None, _) => Step::fail(format!("{}, where the message was expected", answer.reason())),
    })
}

fn end(answer: &HttpAnswer, answered: &Answered) -> Result<(), FormatterError> {
    if !answer.is_success() && GONE.contains(&answered.code.as_str()) {
        return Err(Step::gone(answer.reason()).into());
    }
    answer.success()?;
    match answered.success {
        Some(false) => Err(Step::fail(answer.reason()).into()),
        _ => Ok(()),
    }
}

fn send(message: Option<&str>, notification: &Notification, settings: &TamTam) -> Step {
    let mut story = Story::of(notification);
    let links = story.take_buttons(BUTTONS);
    let room = Room::utf16(MESSAGE);
    let headline = Room::utf16(MESSAGE / 4).cut_as(&story.headline, |text| WrittenOut(Html).strong(text));
    let rest = room.beside(room.taken(&headline) + 2);
    let text = format!("{headline}\n\n{}", story.body(&WrittenOut(Html), rest, true));
    let mut body = json!({"text": text.trim_end(), "format": "html", "notify": !settings.silent});
    let button = |text: &str| Room::characters(BUTTON).cut(text);
    let buttons: Vec<Json> = links
        .iter()
        .map(|link| json!([{"type": "link", "text": button(&link.label), "url": link.url}]))
        .collect();
    if !buttons.is_empty() {
        body["attachments"] = json!([{"type": "inline_keyboard", "payload": {"buttons": buttons}}]);
    }
    let url = Text::from(settings.api_url.trim_end_matches('/')).text("/messages?");
    let token =
        |url: Text| url.text("&access_token=").secret_as(&settings.access_token, SecretEncoding::Percent);
    let request = match message {
        Some(id) => Request::put(token(url.text("message_id=").percent(id))),
        None => Request::post(token(url.text(format!("chat_id={}", settings.chat_id)))),
    };
    Step::send(request.json(&body))
}

#[cfg(test)]
mod tests;
