//! Posts incidents to a chat, and keeps one message for each incident up to date: a formatter.
//!
//! It imports nothing: what it wants sent, it describes, and the host sends it. A secret is named where it goes and never
//! held.

use bellwether_sdk::formatter::{
    Event, Exchange, FormatterError, Purpose, Request, Step, Text, check_url, formatter,
};
use bellwether_sdk::serde_json::{Value, json};
use bellwether_sdk::{Secret, SettingError, Settings};

/// What a channel is set to. A field's comment is the help its user reads.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Chat {
    /// Where the chat's API is.
    #[setting(default = "https://chat.example/api")]
    pub url: String,
    /// The room incidents are posted to.
    pub room: String,
    /// The token of the bot that posts.
    pub token: Secret,
}

/// What the types do not say.
fn check(chat: &Chat) -> Result<(), SettingError> {
    if !(1..=100).contains(&chat.room.chars().count()) {
        return Err(SettingError::new("room", &chat.room, "1 to 100 characters"));
    }
    check_url("url", &chat.url)
}

/// Posts incidents to a chat.
#[formatter]
pub fn next(exchange: &Exchange, chat: Chat) -> Result<Step, FormatterError> {
    // The answer to the request below: where a message was made, its id is what to change next time.
    if let Some(answer) = exchange.http() {
        let answer: Value = answer.success()?.json().unwrap_or_default();
        return Ok(match answer["id"].as_str() {
            Some(id) => Step::done().remember(id),
            None => Step::done(),
        });
    }
    let body = json!({ "text": text(exchange) });
    let rooms = Text::from(chat.url).text("/rooms/").percent(&chat.room);
    let request = match std::str::from_utf8(&exchange.memory) {
        Ok(id) if !id.is_empty() => Request::put(rooms.text("/messages/").percent(id)),
        _ => Request::post(rooms.text("/messages")),
    };
    Ok(Step::send(request.bearer(&chat.token).json(&body)))
}

/// What a human reads.
fn text(exchange: &Exchange) -> String {
    let incident = &exchange.notification.incident;
    let sign = match exchange.notification.event {
        Event::Opened | Event::Updated => "🔴",
        Event::Closed => "🟢",
        Event::Test => "🔔",
    };
    let link = incident.link(Purpose::Incident).unwrap_or_default();
    format!(
        "{sign} {}\n{}\n{link}",
        incident.title, incident.description
    )
}

#[cfg(test)]
mod tests {
    use bellwether_sdk::formatter::Outgoing;
    use bellwether_sdk::testing::{answer, notification, rehearse_with};

    use super::*;

    #[test]
    fn an_incident_has_one_message_from_its_opening_to_its_end() {
        let settings = json!({ "room": "on call", "token": "any" });
        let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
        let made = [answer(201, r#"{"id": "m7"}"#)];
        let steps = rehearse_with(next, &settings, &mut exchange, &made).expect("it is delivered");
        assert_eq!(steps[1], Step::done().remember("m7"));

        exchange.notification = notification(Event::Closed);
        let steps = rehearse_with(next, &settings, &mut exchange, &[answer(200, "{}")]);
        let steps = steps.expect("it is delivered");
        let Step::Send {
            outgoing: Outgoing::Http(request),
            ..
        } = &steps[0]
        else {
            panic!("{steps:?}")
        };
        assert_eq!(request.method(), "PUT");
        assert_eq!(
            request.url().to_string(),
            "https://chat.example/api/rooms/on%20call/messages/m7"
        );
        assert_eq!(
            request.header_value("authorization").unwrap().to_string(),
            "Bearer ‹secret token›"
        );
    }

    #[test]
    fn a_busy_chat_is_tried_again_and_a_missing_room_is_not() {
        let settings = json!({ "room": "on call", "token": "any" });
        let end = |status| {
            let mut exchange = Exchange::new(notification(Event::Opened), Vec::new());
            let answers = [answer(status, "")];
            let steps = rehearse_with(next, &settings, &mut exchange, &answers).unwrap();
            steps[1].clone()
        };
        assert_eq!(end(503), Step::retry("the channel answered 503"));
        assert_eq!(end(404), Step::fail("the channel answered 404"));
    }
}
