//! The formatter for Telegram: an incident is one message of a bot, which is edited as the incident changes. Where it
//! cannot be edited any more, another is sent.
//!
//! A group that became a supergroup has another id: the answer names it, and it is kept.

use std::time::Duration;

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, HttpAnswer, Notification, Request, Step, Text, check_url, formatter,
};
use bellwether_sdk::formatting::{Html, Markup, Room, Story, WrittenOut, check_text};
use bellwether_sdk::serde_json::{Value as Json, json, to_vec};
use bellwether_sdk::{Secret, SettingError, Settings};
use serde::{Deserialize, Serialize};

/// Which bot writes to which chat.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Telegram {
    /// The bot's token, as BotFather gave it.
    pub token: Secret,
    /// The chat's id, such as -1001234567890, or a public channel's name, such as @operations.
    pub chat_id: String,
    /// The topic in a group that has topics.
    pub message_thread_id: Option<i64>,
    /// Whether messages come without a sound.
    #[setting(default = false)]
    pub silent: bool,
    /// Where the Bot API is: Telegram's, or a server of your own.
    #[setting(default = "https://api.telegram.org")]
    pub api_url: String,
}

fn check(settings: &Telegram) -> Result<(), SettingError> {
    check_text("chat_id", &settings.chat_id, 100)?;
    check_url("api_url", &settings.api_url)
}

/// UTF-16 units of a message. Telegram counts after markup is read; counted before, it is less.
const MESSAGE: usize = 4096;

/// Buttons below a message: Telegram takes 100.
const BUTTONS: usize = 12;

/// Characters of a button's text.
const BUTTON: usize = 64;

/// What is kept.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Memory {
    /// Where the chat went.
    chat: Option<i64>,
    /// The message that is edited.
    message: Option<i64>,
}

impl Memory {
    fn kept(&self) -> Vec<u8> {
        to_vec(self).expect("a memory is plain data")
    }
}

/// An answer of the Bot API.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answered {
    ok: bool,
    description: String,
    parameters: Parameters,
    result: Json,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    /// Seconds.
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// Sends incidents to a Telegram chat, and keeps each message up to date.
#[formatter]
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the settings over")]
pub fn next(exchange: &Exchange, settings: Telegram) -> Result<Step, FormatterError> {
    let mut memory: Memory = exchange.remembered().unwrap_or_default();
    let notification = &exchange.notification;
    let Some(answer) = exchange.http() else {
        return Ok(send(&memory, notification, &settings));
    };
    let answered: Answered = answer.json_if_any()?;
    if answer.is_success() && answered.ok {
        memory.message = answered.result["message_id"].as_i64().or(memory.message);
        // What comes again after its end is a message of its own.
        if matches!(notification.event, Event::Closed | Event::Test) {
            memory.message = None;
        }
        return Ok(Step::done().remember(memory.kept()));
    }
    if let Some(chat) = answered.parameters.migrate_to_chat_id.filter(|chat| Some(*chat) != memory.chat) {
        memory = Memory { chat: Some(chat), message: None };
        return Ok(send(&memory, notification, &settings));
    }
    let description = answered.description.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| description.contains(text));
    if memory.message.is_some() {
        if says(&["message is not modified"]) {
            return Ok(Step::done());
        }
        if says(&["message to edit not found", "message can't be edited", "message_id_invalid"]) {
            memory.message = None;
            return Ok(send(&memory, notification, &settings));
        }
    }
    end(answer, &answered, says)
}

fn end(
    answer: &HttpAnswer,
    answered: &Answered,
    says: impl Fn(&[&str]) -> bool,
) -> Result<Step, FormatterError> {
    if answer.status == 429 {
        return Ok(match answered.parameters.retry_after {
            Some(seconds) => answer.retry().after(Duration::from_secs(seconds)),
            None => answer.retry(),
        });
    }
    if says(&["bot was blocked", "bot was kicked", "user is deactivated", "group chat was deleted"]) {
        return Ok(Step::gone(answer.reason()));
    }
    answer.success()?;
    Ok(Step::fail(format!("{}, where ok was expected", answer.reason())))
}

fn send(memory: &Memory, notification: &Notification, settings: &Telegram) -> Step {
    let mut story = Story::of(notification);
    let links = story.take_buttons(BUTTONS);
    let headline = Room::utf16(MESSAGE / 4).cut_as(&story.headline, |text| WrittenOut(Html).strong(text));
    let room = Room::utf16(MESSAGE);
    let rest = room.beside(room.taken(&headline) + 2);
    let text = format!("{headline}\n\n{}", story.body(&WrittenOut(Html), rest, true));
    let chat = memory.chat.map_or_else(|| Json::from(settings.chat_id.trim()), Json::from);
    let mut body = json!({
        "chat_id": chat,
        "text": text.trim_end(),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": true},
    });
    let button = |text: &str| Room::characters(BUTTON).cut(text);
    let keyboard: Vec<Json> =
        links.iter().map(|link| json!([{"text": button(&link.label), "url": link.url}])).collect();
    if !keyboard.is_empty() {
        body["reply_markup"] = json!({"inline_keyboard": keyboard});
    }
    let method = match memory.message {
        Some(message) => {
            body["message_id"] = message.into();
            "editMessageText"
        }
        None => {
            if let Some(thread) = settings.message_thread_id {
                body["message_thread_id"] = thread.into();
            }
            if settings.silent {
                body["disable_notification"] = true.into();
            }
            "sendMessage"
        }
    };
    let url = Text::from(settings.api_url.trim_end_matches('/'))
        .text("/bot")
        .secret(&settings.token)
        .text(format!("/{method}"));
    Step::send(Request::post(url).json(&body)).remember(memory.kept())
}

#[cfg(test)]
mod tests;
