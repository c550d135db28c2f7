//! The role `formatter`: drives the exchange of one notification with one channel, a step at a time.

mod outgoing;
mod step;
mod text;

use serde::de::DeserializeOwned;

use crate::bindings::formatter::exports::bellwether::plugin::formatter as raw;
use crate::{NamedValue, SettingError, Settings};

/// Makes the component a formatter that takes its steps by this function:
/// `fn name(exchange: &Exchange, settings: Settings) -> Result<Step, FormatterError>`.
///
/// It is called at the beginning of an exchange, and again with the answer to each request it has sent, until it says
/// how the exchange ends. The first paragraph of its documentation is the summary; `#[formatter(summary = "…")]` gives
/// another. It imports nothing: there is no clock, no log and no chance.
///
/// ```
/// use bellwether_sdk::formatter::{Exchange, FormatterError, Request, Step, formatter};
/// use bellwether_sdk::serde_json::json;
/// use bellwether_sdk::testing::{notification, answer, rehearse};
/// use bellwether_sdk::{Secret, Settings};
///
/// #[derive(Settings)]
/// struct Chat {
///     /// The incoming webhook's URL.
///     url: Secret,
/// }
///
/// /// Posts a line to a chat.
/// #[formatter]
/// fn chat(exchange: &Exchange, chat: Chat) -> Result<Step, FormatterError> {
///     if let Some(answer) = exchange.http() {
///         answer.success()?;
///         return Ok(Step::done());
///     }
///     let line = json!({ "text": exchange.notification.incident.title });
///     Ok(Step::send(Request::post(&chat.url).json(&line)))
/// }
///
/// use bellwether_sdk::formatter::Event;
///
/// let steps = rehearse(chat, &json!({ "url": "set" }), notification(Event::Opened), &[answer(200, "ok")])?;
/// assert_eq!(steps[1], Step::done());
/// # Ok::<(), FormatterError>(())
/// ```
pub use bellwether_sdk_macros::formatter;
pub use outgoing::{Email, Outgoing, Request};
pub use raw::{
    AffectedSeries, Alert, Answer, Basic, Description, EmailAnswer, Encoding, Event, Excursion, Grant, Hash,
    Hmac, HttpAnswer, Incident, KeyEncoding, Kind, Link, MessagePart, Notification, Oauth, Part, Purpose,
    Refusal, SecretEncoding, Severity, Signing, Sigv4, TimeFormat, UserEvent,
};
pub use step::{FormatterError, Step};
pub use text::Text;

/// An exchange as far as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What is to be told.
    pub notification: Notification,
    /// What this formatter keeps for this channel and incident, empty at first.
    pub memory: Vec<u8>,
    /// The answer to the previous step, absent at the beginning.
    pub last: Option<Answer>,
}

impl Exchange {
    /// The beginning of one.
    #[must_use]
    pub const fn new(notification: Notification, memory: Vec<u8>) -> Self {
        Self { notification, memory, last: None }
    }

    /// The answer to the request that was sent.
    #[must_use]
    pub fn http(&self) -> Option<&HttpAnswer> {
        match &self.last {
            Some(Answer::Http(answer)) => Some(answer),
            _ => None,
        }
    }

    /// The answer to the e-mail that was sent.
    #[must_use]
    pub fn email(&self) -> Option<&EmailAnswer> {
        match &self.last {
            Some(Answer::Email(answer)) => Some(answer),
            _ => None,
        }
    }

    /// The memory read as JSON; nothing if there is none, or it reads as something else.
    #[must_use]
    pub fn remembered<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.memory).ok()
    }
}

impl Incident {
    /// The page of that purpose.
    #[must_use]
    pub fn link(&self, purpose: Purpose) -> Option<&str> {
        self.links.iter().find(|link| link.purpose == purpose).map(|link| link.url.as_str())
    }
}

/// Whether a setting is a URL the host can send to: `https://` or `http://`, a host, and no spaces, `#` or password.
///
/// ```
/// use bellwether_sdk::formatter::check_url;
///
/// assert!(check_url("url", "https://chat.example:8443/api?v=2").is_ok());
/// for wrong in ["", "chat.example", "ftp://chat.example", "https:///api", "https://a b", "https://me:pw@chat.example"] {
///     assert!(check_url("url", wrong).is_err(), "{wrong}");
/// }
/// ```
///
/// # Errors
/// If it is none: names the setting.
pub fn check_url(setting: &str, url: &str) -> Result<(), SettingError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let (name, port) = host.rsplit_once(':').filter(|_| !host.ends_with(']')).unwrap_or((host, "443"));
    let good = !name.is_empty()
        && port.parse::<u16>().is_ok()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && !b"<>\"{}|\\^`".contains(&byte));
    match good {
        true => Ok(()),
        false => Err(SettingError::new(setting, url, "a URL such as https://alerts.example/incidents")),
    }
}

/// What the macros write calls to; not for authors.
#[doc(hidden)]
pub mod expanded {
    use super::*;

    /// What a formatter takes, read off its function.
    pub fn describe<C: Settings>(
        _next: impl Fn(&Exchange, C) -> Result<Step, FormatterError>,
        summary: &str,
    ) -> Description {
        Description { summary: summary.to_owned(), settings: C::describe() }
    }

    /// The next step of a call.
    pub fn next<C: Settings>(
        next: impl Fn(&Exchange, C) -> Result<Step, FormatterError>,
        notification: Notification,
        settings: Vec<NamedValue>,
        memory: Vec<u8>,
        last: Option<Answer>,
    ) -> Result<raw::Step, raw::FormatterError> {
        let exchange = Exchange { notification, memory, last };
        let outcome = C::read(settings).map_err(Into::into).and_then(|settings| next(&exchange, settings));
        step::outcome(outcome, exchange.memory)
    }
}
