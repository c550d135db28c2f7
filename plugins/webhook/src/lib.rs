//! The formatter for whoever takes incidents as JSON: each opening, update and closing is one request to a URL, signed as
//! Standard Webhooks has it where the channel has a signing secret.
//!
//! A receiver ties the requests of one incident together by `data.incident.id` (of Anodot's formats, `alertGroupId`), and
//! drops what it had already by the header `webhook-id`, which is the same for every attempt.

mod anodot;
mod body;

use bellwether_sdk::formatter::{Exchange, FormatterError, Request, Step, Text, check_url, formatter};
use bellwether_sdk::{Choice, Secret, SettingError, Settings};

/// How a request is made.
#[derive(Choice, Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// A new thing each time.
    #[choice("POST")]
    Post,
    /// The same thing each time.
    #[choice("PUT")]
    Put,
}

/// What a request's JSON looks like.
#[derive(Choice, Clone, Copy, Debug, PartialEq)]
pub enum Format {
    /// Bellwether's own: all there is.
    Bellwether,
    /// Anodot's, by the kind of the alert: anomaly, static or no data.
    Anodot,
    /// Anodot's, anomalies in its extended form.
    AnodotExtended,
}

/// Where requests go, and how they prove where they come from.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Webhook {
    /// Where requests go: https://, or http:// where the operator lets it.
    pub url: String,
    /// How requests are made.
    #[setting(default = Method::Post)]
    pub method: Method,
    /// What their JSON looks like: Bellwether's own, or that of Anodot's webhooks, for receivers that read it.
    #[setting(default = Format::Bellwether)]
    pub format: Format,
    /// What requests are signed with, as Standard Webhooks has it: whsec_ and 24 to 64 bytes in base64.
    pub signing_secret: Option<Secret>,
    /// The value of the header Authorization, such as Bearer and a token.
    pub authorization: Option<Secret>,
}

fn check(webhook: &Webhook) -> Result<(), SettingError> {
    check_url("url", &webhook.url)
}

/// Sends incidents as JSON to a URL, signed as Standard Webhooks has it.
#[formatter]
pub fn next(exchange: &Exchange, webhook: Webhook) -> Result<Step, FormatterError> {
    if let Some(answer) = exchange.http() {
        answer.success()?;
        return Ok(Step::done());
    }
    let notification = &exchange.notification;
    let request = Request::new(webhook.method.text(), webhook.url);
    let request = match webhook.format {
        Format::Bellwether => request.json(&body::of(notification)),
        Format::Anodot => request.json(&anodot::of(notification, false)),
        Format::AnodotExtended => request.json(&anodot::of(notification, true)),
    };
    let mut request = request.header("user-agent", "Bellwether");
    if let Some(authorization) = &webhook.authorization {
        request = request.header("authorization", Text::from(authorization));
    }
    request = match &webhook.signing_secret {
        Some(secret) => request.standard_webhook(&notification.idempotency_key, secret),
        None => request.header("webhook-id", &notification.idempotency_key),
    };
    Ok(Step::send(request))
}

#[cfg(test)]
mod tests;
