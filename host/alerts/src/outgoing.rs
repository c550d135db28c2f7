//! What a formatter has the host send: texts of parts that name secrets and never hold one, and how it is signed.

use serde::{Serialize, Serializer};

/// How a secret is written where it is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretEncoding {
    /// As it is.
    Plain,
    /// In base64, with padding.
    Base64,
    /// Percent-encoded, everything but unreserved characters.
    Percent,
    /// As a JSON string, quotes included.
    Json,
}

/// How an instant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeFormat {
    /// Whole seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMilliseconds,
    /// `2024-04-09T14:44:00Z`.
    Rfc3339,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Exactly this text.
    Text(String),
    /// The channel's secret of this name, written so.
    Secret(String, SecretEncoding),
    /// When the attempt is made; the same instant throughout one request.
    Now(TimeFormat),
}

/// A text as a person reads it: secrets and times are named in `‹…›`.
#[must_use]
pub fn shown(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(part) => text.push_str(part),
            Part::Secret(name, SecretEncoding::Plain) => text.push_str(&format!("‹secret {name}›")),
            Part::Secret(name, encoding) => text.push_str(&format!("‹secret {name} as {}›", word(*encoding))),
            Part::Now(format) => text.push_str(&format!("‹now as {}›", word(*format))),
        }
    }
    text
}

/// An enum's case as JSON names it.
fn word(case: impl Serialize) -> String {
    match serde_json::to_value(case) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn as_shown<S: Serializer>(parts: &[Part], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(parts))
}

/// One header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Its name, as the formatter wrote it.
    pub name: String,
    /// Its value.
    #[serde(serialize_with = "as_shown")]
    pub value: Vec<Part>,
}

/// A user's name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Basic {
    /// The name.
    #[serde(serialize_with = "as_shown")]
    pub user: Vec<Part>,
    /// The password.
    #[serde(serialize_with = "as_shown")]
    pub password: Vec<Part>,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Base64, with padding.
    Base64,
    /// Hexadecimal, lower case.
    Hex,
}

/// How the text of a secret becomes the bytes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// Its UTF-8.
    Plain,
    /// Base64.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// The hash under an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hash {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// One part of what a signature is made over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessagePart {
    /// Exactly this text.
    Literal(String),
    /// The method.
    Method,
    /// Path and query as sent.
    RequestTarget,
    /// The value of this header of the request.
    Header(String),
    /// The body.
    Body,
}

/// An HMAC in a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hmac {
    /// The secret's name.
    pub secret: String,
    /// What is dropped from the front of the secret's text if it is there.
    pub secret_prefix: String,
    /// How the rest becomes the key.
    pub key_encoding: KeyEncoding,
    /// The hash.
    pub hash: Hash,
    /// What is signed, in order.
    pub message: Vec<MessagePart>,
    /// The header that takes the signature.
    pub header: String,
    /// What stands before the signature there.
    pub prefix: String,
    /// How the signature is written.
    pub encoding: Encoding,
}

/// AWS Signature Version 4.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sigv4 {
    /// The id of the access key.
    #[serde(serialize_with = "as_shown")]
    pub access_key: Vec<Part>,
    /// The name of the secret that is the secret key.
    pub secret_key: String,
    /// The name of the secret that is the session token.
    pub session_token: Option<String>,
    /// The region.
    pub region: String,
    /// The service.
    pub service: String,
}

/// What a token is asked for with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// The client's own credentials.
    ClientCredentials,
    /// The secret of this name.
    RefreshToken(String),
    /// A user's name, and the name of the secret that is the password.
    Password(#[serde(serialize_with = "as_shown")] Vec<Part>, String),
}

/// An OAuth 2 token, which the host obtains and keeps as long as it is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OAuth {
    /// Where tokens are had.
    #[serde(serialize_with = "as_shown")]
    pub token_url: Vec<Part>,
    /// What a token is asked for with.
    pub grant: Grant,
    /// The client's id.
    #[serde(serialize_with = "as_shown")]
    pub client_id: Vec<Part>,
    /// The name of the secret that is the client's.
    pub client_secret: Option<String>,
    /// Scopes, separated by spaces.
    pub scope: Option<String>,
    /// The audience.
    pub audience: Option<String>,
}

/// What the host does to a request, once secrets and times are filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signing {
    /// `Authorization: Basic`.
    Basic(Basic),
    /// An HMAC in a header.
    Hmac(Hmac),
    /// AWS Signature Version 4.
    Sigv4(Sigv4),
    /// `Authorization: Bearer`, of a token the host obtains.
    Oauth(OAuth),
}

/// An HTTP request to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpRequest {
    /// In upper case.
    pub method: String,
    /// Begins with `https://` or `http://` and a host.
    #[serde(serialize_with = "as_shown")]
    pub url: Vec<Part>,
    /// In order.
    pub headers: Vec<Header>,
    /// The body; empty for none.
    #[serde(serialize_with = "as_shown")]
    pub body: Vec<Part>,
    /// In the order they are applied.
    pub signing: Vec<Signing>,
}

/// An e-mail to send. Sender, `Message-ID`, `References` and `Auto-Submitted` are the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Email {
    /// At least one.
    pub to: Vec<String>,
    /// Copies.
    pub cc: Vec<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// One line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same in HTML.
    pub html: Option<String>,
}

/// What can be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outgoing {
    /// An HTTP request.
    Http(HttpRequest),
    /// An e-mail.
    Email(Email),
}

impl Outgoing {
    /// Every secret it names, each once, in order.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let Self::Http(request) = self else { return names };
        let texts = request.headers.iter().map(|header| &header.value).chain([&request.url, &request.body]);
        texts.for_each(|parts| names.extend(of_parts(parts)));
        for signing in &request.signing {
            match signing {
                Signing::Basic(basic) => {
                    names.extend(of_parts(&basic.user).chain(of_parts(&basic.password)));
                }
                Signing::Hmac(hmac) => names.push(&hmac.secret),
                Signing::Sigv4(sigv4) => {
                    names.extend(of_parts(&sigv4.access_key));
                    names.push(&sigv4.secret_key);
                    names.extend(sigv4.session_token.as_deref());
                }
                Signing::Oauth(oauth) => {
                    names.extend(of_parts(&oauth.token_url).chain(of_parts(&oauth.client_id)));
                    names.extend(oauth.client_secret.as_deref());
                    match &oauth.grant {
                        Grant::ClientCredentials => {}
                        Grant::RefreshToken(secret) => names.push(secret),
                        Grant::Password(user, secret) => {
                            names.extend(of_parts(user));
                            names.push(secret);
                        }
                    }
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn of_parts(parts: &[Part]) -> impl Iterator<Item = &str> {
    parts.iter().filter_map(|part| match part {
        Part::Secret(name, _) => Some(name.as_str()),
        Part::Text(_) | Part::Now(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_by_its_name_and_found_wherever_it_is() {
        let secret = |name: &str, encoding| Part::Secret(name.to_owned(), encoding);
        let url = vec![
            Part::Text("https://a.example/".to_owned()),
            secret("token", SecretEncoding::Percent),
            Part::Text("?t=".to_owned()),
            Part::Now(TimeFormat::UnixSeconds),
        ];
        assert_eq!(shown(&url), "https://a.example/‹secret token as percent›?t=‹now as unix-seconds›");
        let request = Outgoing::Http(HttpRequest {
            method: "POST".to_owned(),
            url,
            headers: vec![Header { name: "x".to_owned(), value: vec![secret("key", SecretEncoding::Plain)] }],
            body: Vec::new(),
            signing: vec![Signing::Sigv4(Sigv4 {
                access_key: vec![secret("key", SecretEncoding::Plain)],
                secret_key: "aws".to_owned(),
                session_token: None,
                region: "eu-central-1".to_owned(),
                service: "sns".to_owned(),
            })],
        });
        assert_eq!(request.secrets(), ["aws", "key", "token"]);
        let json = serde_json::to_value(&request).expect("plain data");
        assert_eq!(json["http"]["headers"][0]["value"], "‹secret key›");
        assert_eq!(json["http"]["signing"][0]["sigv4"]["access_key"], "‹secret key›");
    }
}
