//! The formatter for e-mail: text, and the same in HTML. What an incident's e-mails have in common (sender, thread,
//! `Message-ID`) is the host's.

mod html;

use bellwether_sdk::formatter::{
    Email, EmailAnswer, Exchange, FormatterError, Notification, Step, formatter,
};
use bellwether_sdk::formatting::{Plain, Room, Story};
use bellwether_sdk::{SettingError, Settings};

/// Whom it is sent to.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Mail {
    /// The addresses it is sent to.
    pub to: Vec<String>,
    /// The addresses copies are sent to.
    pub cc: Option<Vec<String>>,
    /// The address answers go to.
    pub reply_to: Option<String>,
}

/// Addresses of one e-mail, copies included, as the host has it.
const RECIPIENTS: usize = 100;

/// Characters of a subject: more than mail clients show.
const SUBJECT: usize = 200;

/// Bytes of the text.
const TEXT: usize = 60_000;

fn check(mail: &Mail) -> Result<(), SettingError> {
    let copies = mail.cc.as_deref().unwrap_or_default();
    let count = mail.to.len() + copies.len();
    if mail.to.is_empty() || count > RECIPIENTS {
        let expected = format!("at least one address, and at most {RECIPIENTS} together with those of cc");
        return Err(SettingError::new("to", format!("{count} addresses"), expected));
    }
    for (setting, addresses) in [("to", &mail.to[..]), ("cc", copies), ("reply_to", mail.reply_to.as_slice())]
    {
        if let Some(wrong) = addresses.iter().find(|address| !is_address(address)) {
            return Err(SettingError::new(setting, wrong, "an address such as on-call@example.com"));
        }
    }
    Ok(())
}

/// Whether the host takes it as an address: no name before it, nothing that ends it early.
fn is_address(text: &str) -> bool {
    text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && text.chars().all(|character| !character.is_whitespace() && !character.is_control())
        && !text.contains(['<', '>', ',', ';'])
}

/// Sends incidents by e-mail.
#[formatter]
pub fn next(exchange: &Exchange, mail: Mail) -> Result<Step, FormatterError> {
    if let Some(answer) = exchange.email() {
        return Ok(end(answer, &mail));
    }
    Ok(Step::send(email(&exchange.notification, mail)))
}

fn email(notification: &Notification, mail: Mail) -> Email {
    let story = Story::of(notification);
    let text = format!("{}\n\n{}\n", story.headline, story.body(&Plain, Room::bytes(TEXT), true));
    let mut email = Email::new(mail.to, Room::characters(SUBJECT).cut(&story.headline), text)
        .html(html::page(notification, &story));
    if let Some(copies) = mail.cc {
        email = email.cc(copies);
    }
    match mail.reply_to {
        Some(address) => email.reply_to(address),
        None => email,
    }
}

/// It is delivered if the mail server took it for anybody.
fn end(answer: &EmailAnswer, mail: &Mail) -> Step {
    let count = mail.to.len() + mail.cc.as_ref().map_or(0, Vec::len);
    match answer.refused.first() {
        Some(first) if answer.refused.len() >= count => Step::fail(format!(
            "the mail server takes none of {count} addresses: {}: {} {}",
            first.address, first.code, first.reply
        )),
        _ => Step::done(),
    }
}

#[cfg(test)]
mod tests;
