//! Texts put together from parts, so that a formatter never holds a secret.

use std::fmt::{self, Write as _};

use super::raw::{Part, SecretEncoding, TimeFormat};
use crate::Secret;

/// A text of parts: text, secrets by their name, the time it is sent.
///
/// ```
/// use bellwether_sdk::Secret;
/// use bellwether_sdk::formatter::{SecretEncoding, Text};
///
/// let token = Secret::named("token");
/// let url = Text::from("https://api.example/bot").secret_as(&token, SecretEncoding::Percent).text("/send");
/// assert_eq!(url.to_string(), "https://api.example/bot‹secret token as percent›/send");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(Vec<Part>);

impl Text {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With text behind it.
    #[must_use]
    pub fn text(mut self, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        match self.0.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(Part::Text(text.to_owned())),
        }
        self
    }

    /// With text behind it that is percent-encoded, so that it is one segment of a path, or one value of a query.
    #[must_use]
    pub fn percent(self, text: impl AsRef<str>) -> Self {
        let mut encoded = String::new();
        for byte in text.as_ref().bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(byte.into());
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        self.text(encoded)
    }

    /// With a secret behind it, as it is.
    #[must_use]
    pub fn secret(self, secret: &Secret) -> Self {
        self.secret_as(secret, SecretEncoding::Plain)
    }

    /// With a secret behind it, written so.
    #[must_use]
    pub fn secret_as(mut self, secret: &Secret, encoding: SecretEncoding) -> Self {
        self.0.push(Part::Secret((secret.name().to_owned(), encoding)));
        self
    }

    /// With the time of sending behind it, written so.
    #[must_use]
    pub fn now(mut self, format: TimeFormat) -> Self {
        self.0.push(Part::Now(format));
        self
    }

    /// The parts, text beside text joined.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(super) fn into_parts(self) -> Vec<Part> {
        self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new().text(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::new() } else { Self(vec![Part::Text(text)]) }
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

/// As it is.
impl From<&Secret> for Text {
    fn from(secret: &Secret) -> Self {
        Self::new().secret(secret)
    }
}

/// As the host shows it: secrets and times are named in `‹…›`.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.0 {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Secret((name, encoding)) => match encoding {
                    SecretEncoding::Plain => write!(f, "‹secret {name}›")?,
                    SecretEncoding::Base64 => write!(f, "‹secret {name} as base64›")?,
                    SecretEncoding::Percent => write!(f, "‹secret {name} as percent›")?,
                    SecretEncoding::Json => write!(f, "‹secret {name} as json›")?,
                },
                Part::Now(format) => f.write_str(match format {
                    TimeFormat::UnixSeconds => "‹now as unix-seconds›",
                    TimeFormat::UnixMilliseconds => "‹now as unix-milliseconds›",
                    TimeFormat::Rfc3339 => "‹now as rfc3339›",
                })?,
            }
        }
        Ok(())
    }
}
