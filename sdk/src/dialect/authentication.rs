//! How callers prove who they are, declared as data: the host does the proving.

use std::fmt;

use super::Encoding;
use crate::Timestamp;
use crate::bindings::dialect::bellwether::plugin::dialect_types as raw;
use crate::bindings::dialect::exports::bellwether::plugin::configurable_dialect as contract;

/// Where and how a caller proves who it is.
///
/// All of it is constant, so that a route's list costs nothing:
///
/// ```
/// use bellwether_sdk::dialect::{Authentication, Encoding, MessagePart, Signature};
///
/// const AUTHENTICATION: &[Authentication] = &[
///     Authentication::Signed(Signature {
///         prefix: "TC",
///         message: &[MessagePart::RequestTarget, MessagePart::Literal(":"), MessagePart::Method],
///         encoding: Encoding::Base64,
///         timestamp_header: "Timestamp",
///         tolerance: 300,
///     }),
///     Authentication::Authorization("Bearer"),
/// ];
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `Authorization: <word> <token>`, the word given here.
    Authorization(&'static str),
    /// A token in this header.
    HeaderKey(&'static str),
    /// A token in this query parameter.
    QueryKey(&'static str),
    /// `Authorization: <prefix> <key id>:<signature>`.
    Signed(Signature),
    /// `Authorization: Basic`, as RFC 7617 has it: the password is a token, the user anything.
    Basic,
    /// Every one of these must hold, and all be of one organisation; the caller is the key of the first.
    All(&'static [Authentication]),
}

impl Authentication {
    /// A token as clients of many makers can be told to send it: `Authorization: Bearer <token>`, or as the password of HTTP
    /// basic authentication.
    pub const BEARER_OR_BASIC: &'static [Self] = &[Self::Authorization("Bearer"), Self::Basic];

    /// The header that tells who is refused of basic authentication: RFC 7617, 2. Its name and value.
    pub const BASIC_CHALLENGE: (&'static str, &'static str) =
        ("www-authenticate", r#"Basic realm="Bellwether", charset="UTF-8""#);
}

/// A signature with a key's secret: HMAC-SHA256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The word that begins the `Authorization` header's value, as `TC` in `TC id:signature`.
    pub prefix: &'static str,
    /// What is signed, in order.
    pub message: &'static [MessagePart],
    /// How the signature is written.
    pub encoding: Encoding,
    /// The header that holds the Unix time in seconds.
    pub timestamp_header: &'static str,
    /// How far from the host's clock that time may be, in seconds.
    pub tolerance: u32,
}

/// One part of the text a signature is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessagePart {
    /// Exactly this text.
    Literal(&'static str),
    /// Path and query, byte for byte as the client sent them.
    RequestTarget,
    /// The method in upper case.
    Method,
    /// The value of this header.
    Header(&'static str),
    /// The body.
    Body,
}

/// Why the caller is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// None of the declared places holds a credential.
    Missing,
    /// A credential is there but does not read; says what is wrong.
    Malformed(String),
    /// No key answers to it, or its secret is another.
    Unknown,
    /// The key's time is over, or it was revoked.
    Expired,
    /// The signed time is too far from the host's, which is given.
    OutOfTime(Timestamp),
    /// The signature is another than the one the host computed.
    SignatureMismatch,
    /// The caller is not heard for another reason, which is said: its organisation is suspended. Nothing it sends instead
    /// changes that, so a dialect words it as what is forbidden.
    Other(String),
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the request carries no credentials"),
            Self::Malformed(message) | Self::Other(message) => f.write_str(message),
            Self::Unknown => f.write_str("the credentials are not known"),
            Self::Expired => f.write_str("the credentials are no longer valid"),
            Self::OutOfTime(now) => write!(f, "the signed time is too far from the host's, {now}"),
            Self::SignatureMismatch => f.write_str("the signature does not match the request"),
        }
    }
}

impl std::error::Error for AuthFailure {}

impl From<raw::AuthFailure> for AuthFailure {
    fn from(failure: raw::AuthFailure) -> Self {
        match failure {
            raw::AuthFailure::Missing => Self::Missing,
            raw::AuthFailure::Malformed(message) => Self::Malformed(message),
            raw::AuthFailure::Unknown => Self::Unknown,
            raw::AuthFailure::Expired => Self::Expired,
            raw::AuthFailure::OutOfTime(now) => Self::OutOfTime(Timestamp::from_milliseconds(now)),
            raw::AuthFailure::SignatureMismatch => Self::SignatureMismatch,
            raw::AuthFailure::Other(message) => Self::Other(message),
        }
    }
}

impl From<AuthFailure> for raw::AuthFailure {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Missing => Self::Missing,
            AuthFailure::Malformed(message) => Self::Malformed(message),
            AuthFailure::Unknown => Self::Unknown,
            AuthFailure::Expired => Self::Expired,
            AuthFailure::OutOfTime(now) => Self::OutOfTime(now.milliseconds()),
            AuthFailure::SignatureMismatch => Self::SignatureMismatch,
            AuthFailure::Other(message) => Self::Other(message),
        }
    }
}

/// The credentials that must hold together.
impl From<Authentication> for Vec<contract::Authentication> {
    fn from(authentication: Authentication) -> Self {
        match authentication {
            Authentication::All(each) => each.iter().flat_map(|&each| Self::from(each)).collect(),
            Authentication::Authorization(word) => vec![contract::Authentication::Authorization(word.into())],
            Authentication::HeaderKey(name) => vec![contract::Authentication::HeaderKey(name.into())],
            Authentication::QueryKey(name) => vec![contract::Authentication::QueryKey(name.into())],
            Authentication::Signed(signature) => vec![contract::Authentication::Signed(signature.into())],
            Authentication::Basic => vec![contract::Authentication::Basic],
        }
    }
}

impl From<Signature> for raw::Signature {
    fn from(signature: Signature) -> Self {
        Self {
            prefix: signature.prefix.into(),
            message: signature.message.iter().map(|&part| part.into()).collect(),
            encoding: signature.encoding,
            timestamp_header: signature.timestamp_header.into(),
            tolerance: signature.tolerance,
        }
    }
}

impl From<MessagePart> for raw::MessagePart {
    fn from(part: MessagePart) -> Self {
        match part {
            MessagePart::Literal(text) => Self::Literal(text.into()),
            MessagePart::RequestTarget => Self::RequestTarget,
            MessagePart::Method => Self::Method,
            MessagePart::Header(name) => Self::Header(name.into()),
            MessagePart::Body => Self::Body,
        }
    }
}
