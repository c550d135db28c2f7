//! A message as it is written: text, the same in HTML where there is some, and the headers that are the host's.

use bellwether_alerts::{Letter, SendError};
use lettre::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};

/// Reads a recipient: an address, or a name and an address in `<>`.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse::<Mailbox>().map_err(|error| format!("it is no address: {error}"))
}

/// The message's bytes.
pub(super) fn write(from: &Mailbox, letter: &Letter) -> Result<Vec<u8>, SendError> {
    let email = &letter.email;
    let id = |id: &str| format!("<{id}>");
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    let mut message = Message::builder()
        .from(from.clone())
        .subject(&email.subject)
        .message_id(Some(id(&letter.message_id)))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .date_now();
    let references: Vec<String> = letter.references.iter().map(|one| id(one)).collect();
    if let Some(last) = references.last() {
        message = message.references(references.join(" ")).in_reply_to(last.clone());
    }
    for text in &email.to {
        if let Ok(mailbox) = mailbox(text) {
            message = message.to(mailbox);
        }
    }
    for text in &email.cc {
        if let Ok(mailbox) = mailbox(text) {
            message = message.cc(mailbox);
        }
    }
    let wrong = |what: &str, why: &dyn std::fmt::Display| {
        SendError::Refused(format!("the e-mail's {what} cannot be sent: {why}"))
    };
    if let Some(text) = &email.reply_to {
        message = message.reply_to(mailbox(text).map_err(|error| wrong("reply-to", &error))?);
    }
    let part = |kind: ContentType, text: &str| SinglePart::builder().header(kind).body(text.to_owned());
    let text = part(ContentType::TEXT_PLAIN, &email.text);
    let message = match &email.html {
        Some(html) => {
            let parts =
                MultiPart::alternative().singlepart(text).singlepart(part(ContentType::TEXT_HTML, html));
            message.multipart(parts)
        }
        None => message.singlepart(text),
    };
    Ok(message.map_err(|error| wrong("text", &error))?.formatted())
}
