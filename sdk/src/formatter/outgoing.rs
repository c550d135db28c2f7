//! Requests and e-mails as a formatter describes them; the host sends them.

use serde::Serialize;

use super::Text;
use super::raw::{
    self, Basic, Encoding, Hash, Header, Hmac, HttpRequest, KeyEncoding, MessagePart, SecretEncoding,
    Signing, TimeFormat,
};
use crate::Secret;

/// An HTTP request to send.
///
/// ```
/// use bellwether_sdk::Secret;
/// use bellwether_sdk::formatter::Request;
/// use bellwether_sdk::serde_json::json;
///
/// let key = Secret::named("routing_key");
/// let request = Request::post("https://events.example/v2/enqueue")
///     .json_with(&json!({ "event_action": "trigger" }), &[("routing_key", &key)]);
/// assert_eq!(
///     request.body().to_string(),
///     r#"{"event_action":"trigger","routing_key":‹secret routing_key as json›}"#
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    method: String,
    url: Text,
    headers: Vec<(String, Text)>,
    body: Text,
    signing: Vec<Signing>,
}

impl Request {
    /// A request: `GET`, `POST`, `PUT`, `PATCH` or `DELETE`. The URL's host is text, or the whole URL is a secret.
    pub fn new(method: impl Into<String>, url: impl Into<Text>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Text::new(),
            signing: Vec::new(),
        }
    }

    /// A `GET`.
    pub fn get(url: impl Into<Text>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST`.
    pub fn post(url: impl Into<Text>) -> Self {
        Self::new("POST", url)
    }

    /// A `PUT`.
    pub fn put(url: impl Into<Text>) -> Self {
        Self::new("PUT", url)
    }

    /// A `PATCH`.
    pub fn patch(url: impl Into<Text>) -> Self {
        Self::new("PATCH", url)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Text>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn text(self, body: impl Into<Text>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With this as a JSON body, and the header that says so.
    ///
    /// # Panics
    /// If `body` cannot be written as JSON: a map whose keys are not texts.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("a body is writable as JSON");
        self.header("content-type", "application/json").text(body)
    }

    /// With this as a JSON body, and secrets as further fields of it.
    ///
    /// # Panics
    /// If `body` is not written as a JSON object.
    #[must_use]
    pub fn json_with(self, body: &impl Serialize, secrets: &[(&str, &Secret)]) -> Self {
        let mut body = serde_json::to_string(body).expect("a body is writable as JSON");
        assert!(body.starts_with('{') && body.ends_with('}'), "secrets are fields of an object");
        body.pop();
        let mut gap = if body.len() > 1 { "," } else { "" };
        let mut text = Text::from(body);
        for (name, secret) in secrets {
            let name = serde_json::to_string(name).expect("a text is writable as JSON");
            text = text.text(format!("{gap}{name}:")).secret_as(secret, SecretEncoding::Json);
            gap = ",";
        }
        self.header("content-type", "application/json").text(text.text("}"))
    }

    /// With a user's name and password, as `Authorization: Basic`.
    #[must_use]
    pub fn basic(self, user: impl Into<Text>, password: impl Into<Text>) -> Self {
        let (user, password) = (user.into().into_parts(), password.into().into_parts());
        self.signed(Signing::Basic(Basic { user, password }))
    }

    /// With a secret as `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.header("authorization", Text::from("Bearer ").secret(token))
    }

    /// Signed as Standard Webhooks has it: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, made
    /// with a secret such as `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`. `id` is the same for every attempt.
    #[must_use]
    pub fn standard_webhook(self, id: &str, secret: &Secret) -> Self {
        let part = |text: &str| MessagePart::Literal(text.to_owned());
        let header = |name: &str| MessagePart::Header(name.to_owned());
        self.header("webhook-id", id)
            .header("webhook-timestamp", Text::new().now(TimeFormat::UnixSeconds))
            .signed(Signing::Hmac(Hmac {
                secret: secret.name().to_owned(),
                secret_prefix: "whsec_".to_owned(),
                key_encoding: KeyEncoding::Base64,
                hash: Hash::Sha256,
                message: vec![
                    header("webhook-id"),
                    part("."),
                    header("webhook-timestamp"),
                    part("."),
                    MessagePart::Body,
                ],
                header: "webhook-signature".to_owned(),
                prefix: "v1,".to_owned(),
                encoding: Encoding::Base64,
            }))
    }

    /// With something the host does to it once secrets and times are filled in.
    #[must_use]
    pub fn signed(mut self, signing: Signing) -> Self {
        self.signing.push(signing);
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Text {
        &self.url
    }

    /// The value of the first header of that name, letter case ignored.
    #[must_use]
    pub fn header_value(&self, name: &str) -> Option<&Text> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Text {
        &self.body
    }

    /// What is done to it.
    #[must_use]
    pub fn signing(&self) -> &[Signing] {
        &self.signing
    }
}

/// An e-mail to send. Sender, `Message-ID`, the thread and `Auto-Submitted` are the host's.
#[derive(Clone, Debug, PartialEq)]
pub struct Email(pub(super) raw::Email);

impl Email {
    /// An e-mail of plain text.
    pub fn new<T: Into<String>>(
        to: impl IntoIterator<Item = T>,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self(raw::Email {
            to: to.into_iter().map(Into::into).collect(),
            cc: Vec::new(),
            reply_to: None,
            subject: subject.into(),
            text: text.into(),
            html: None,
        })
    }

    /// With the same in HTML.
    #[must_use]
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.0.html = Some(html.into());
        self
    }

    /// With copies.
    #[must_use]
    pub fn cc<T: Into<String>>(mut self, cc: impl IntoIterator<Item = T>) -> Self {
        self.0.cc.extend(cc.into_iter().map(Into::into));
        self
    }

    /// With where answers go.
    #[must_use]
    pub fn reply_to(mut self, address: impl Into<String>) -> Self {
        self.0.reply_to = Some(address.into());
        self
    }

    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> &raw::Email {
        &self.0
    }
}

/// What can be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// An HTTP request.
    Http(Request),
    /// An e-mail.
    Email(Email),
}

impl From<Request> for Outgoing {
    fn from(request: Request) -> Self {
        Self::Http(request)
    }
}

impl From<Email> for Outgoing {
    fn from(email: Email) -> Self {
        Self::Email(email)
    }
}

impl From<Outgoing> for raw::Outgoing {
    fn from(outgoing: Outgoing) -> Self {
        match outgoing {
            Outgoing::Email(email) => Self::Email(email.0),
            Outgoing::Http(request) => Self::Http(HttpRequest {
                method: request.method,
                url: request.url.into_parts(),
                headers: request
                    .headers
                    .into_iter()
                    .map(|(name, value)| Header { name, value: value.into_parts() })
                    .collect(),
                body: request.body.into_parts(),
                signing: request.signing,
            }),
        }
    }
}
