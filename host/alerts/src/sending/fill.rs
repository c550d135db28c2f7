//! Puts secrets and times where a request names them, each secret only if the request goes where it may.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bellwether_access::{Destination, Secret};
use bellwether_kernel::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::{FilledRequest, Mask, sign};
use crate::{HttpRequest, OAuth, Outgoing, Part, SecretEncoding, Signing, TimeFormat};

/// Everything but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn percent(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The secrets of a channel's settings: by the setting's name, under which name it is kept, and what it is.
#[derive(Default)]
pub(crate) struct Secrets(pub(crate) BTreeMap<String, (String, Option<Secret>)>);

/// Why a secret is not filled in. Says nothing of its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Withheld<'a> {
    /// The channel has no such secret setting.
    Unnamed(String),
    /// There is no secret of this name any more.
    Gone(&'a str),
    /// It may not go to `origin`, but to `hosts`.
    Elsewhere { kept: &'a str, origin: String, hosts: &'a [String] },
}

impl fmt::Display for Withheld<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unnamed(setting) => write!(f, "the channel has no secret setting {setting:?}"),
            Self::Gone(kept) => write!(f, "there is no secret {kept:?} any more"),
            Self::Elsewhere { kept, origin, hosts: [] } => write!(
                f,
                "the secret {kept:?} may be sent nowhere; put it again with the host {origin} to send it there"
            ),
            Self::Elsewhere { kept, origin, hosts } => {
                write!(f, "the secret {kept:?} may not be sent to {origin}, only to {}", hosts.join(", "))
            }
        }
    }
}

impl Secrets {
    /// The value of a secret, for a request to `url`.
    ///
    /// # Errors
    /// If it is not there, or is not bound to that host. Says nothing of its value.
    pub(crate) fn value(&self, setting: &str, url: &Url) -> Result<&str, String> {
        let secret = self.for_url(setting, url).map_err(|withheld| withheld.to_string())?;
        Ok(secret.value.expose())
    }

    /// A secret, if it may be sent to `url`.
    pub(super) fn for_url(&self, setting: &str, url: &Url) -> Result<&Secret, Withheld<'_>> {
        let (kept, secret) = self.of(setting)?;
        let mut bound = secret.hosts.iter().filter_map(|host| host.parse::<Destination>().ok());
        if bound.any(|destination| destination.leads_to(url)) {
            return Ok(secret);
        }
        let origin = url.origin().ascii_serialization();
        Err(Withheld::Elsewhere { kept, origin, hosts: &secret.hosts })
    }

    fn of(&self, setting: &str) -> Result<(&str, &Secret), Withheld<'_>> {
        match self.0.get(setting) {
            Some((kept, Some(secret))) => Ok((kept, secret)),
            Some((kept, None)) => Err(Withheld::Gone(kept)),
            None => Err(Withheld::Unnamed(setting.to_owned())),
        }
    }

    /// What looks for them in texts.
    pub(crate) fn mask(&self) -> Mask {
        let mut mask = Mask::default();
        for (setting, (_, secret)) in &self.0 {
            if let Some(secret) = secret {
                mask.learn(setting, secret.value.expose());
            }
        }
        mask
    }
}

/// A request that is to be sent, and the token it is still to be given.
pub(crate) struct Filled {
    pub(crate) request: FilledRequest,
    pub(crate) oauth: Option<OAuth>,
}

/// A text with everything in it, for a request to `url`.
pub(super) fn text(parts: &[Part], secrets: &Secrets, url: &Url, now: Timestamp) -> Result<String, String> {
    put_together(parts, now, |name| secrets.value(name, url))
}

fn put_together<'a>(
    parts: &[Part],
    now: Timestamp,
    secret: impl Fn(&str) -> Result<&'a str, String>,
) -> Result<String, String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(part) => text.push_str(part),
            Part::Secret(name, encoding) => {
                let value = secret(name)?;
                match encoding {
                    SecretEncoding::Plain => text.push_str(value),
                    SecretEncoding::Base64 => STANDARD.encode_string(value, &mut text),
                    SecretEncoding::Percent => text.push_str(&percent(value)),
                    SecretEncoding::Json => text.push_str(&serde_json::Value::from(value).to_string()),
                }
            }
            Part::Now(TimeFormat::UnixSeconds) => {
                text.push_str(&now.as_milliseconds().div_euclid(1_000).to_string());
            }
            Part::Now(TimeFormat::UnixMilliseconds) => text.push_str(&now.as_milliseconds().to_string()),
            Part::Now(TimeFormat::Rfc3339) => {
                let whole = now.saturating_add(-now.as_milliseconds().rem_euclid(1_000));
                text.push_str(&whole.to_string());
            }
        }
    }
    Ok(text)
}

/// Where parts lead, if their secrets may go there.
pub(super) fn address(parts: &[Part], secrets: &Secrets, now: Timestamp) -> Result<Url, String> {
    let url = where_to(parts, secrets, now)?;
    for part in parts {
        if let Part::Secret(name, _) = part {
            secrets.value(name, &url)?;
        }
    }
    Ok(url)
}

/// Where parts lead: read before it is known whether their secrets may go there.
pub(super) fn where_to(parts: &[Part], secrets: &Secrets, now: Timestamp) -> Result<Url, String> {
    let secret = |name: &str| secrets.of(name).map(|(_, secret)| secret.value.expose());
    let whole = put_together(parts, now, |name| secret(name).map_err(|withheld| withheld.to_string()))?;
    let url = Url::parse(whole.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("the URL, its secrets filled in, does not read as one with https:// and a host")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL, its secrets filled in, holds a name or a password before its host".to_owned());
    }
    Ok(url)
}

/// Fills a request in and signs it, all but a token.
///
/// # Errors
/// If a secret is not there or may not go where the request goes. Says nothing of a secret's value.
pub(crate) fn fill(request: &HttpRequest, secrets: &Secrets, now: Timestamp) -> Result<Filled, String> {
    let url = address(&request.url, secrets, now)?;
    let headers = request.headers.iter().map(|header| {
        // A line break at the end of a secret is an editor's, and no header holds one.
        let value = text(&header.value, secrets, &url, now)?.trim().to_owned();
        Ok((header.name.clone(), value))
    });
    let mut filled = FilledRequest {
        method: request.method.clone(),
        url: url.to_string(),
        headers: headers.collect::<Result<_, String>>()?,
        body: text(&request.body, secrets, &url, now)?.into_bytes(),
    };
    let mut oauth = None;
    for signing in &request.signing {
        match signing {
            Signing::Basic(basic) => {
                let user = text(&basic.user, secrets, &url, now)?;
                let password = text(&basic.password, secrets, &url, now)?;
                let pair = STANDARD.encode(format!("{user}:{password}"));
                filled.headers.push(("authorization".to_owned(), format!("Basic {pair}")));
            }
            Signing::Hmac(hmac) => sign::hmac(hmac, secrets, &url, &mut filled)?,
            Signing::Sigv4(sigv4) => sign::sigv4(sigv4, secrets, &url, now, &mut filled)?,
            Signing::Oauth(given) => oauth = Some(given.clone()),
        }
    }
    Ok(Filled { request: filled, oauth })
}

/// What a request is once it was sent: its secrets named.
pub(crate) fn shown(outgoing: &Outgoing) -> serde_json::Value {
    serde_json::to_value(outgoing).unwrap_or_default()
}
