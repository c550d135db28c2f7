//! Where a request carries its caller's proof, as data: a dialect declares it, this crate verifies it on the raw
//! request.

use std::fmt;

use bellwether_kernel::Timestamp;

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 4648 with padding.
    Base64,
    /// Lower case.
    Hex,
}

/// One part of the text a signature is made over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessagePart {
    /// Exactly this.
    Literal(String),
    /// Path and query, byte for byte as the client sent them.
    RequestTarget,
    /// The method in upper case.
    Method,
    /// The value of this header, empty if it is absent. A request that has it twice is refused.
    Header(String),
    /// The body.
    Body,
}

/// HMAC-SHA256 with a key's signing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The word before `id:signature` in `Authorization`.
    pub prefix: String,
    /// What is signed.
    pub message: Vec<MessagePart>,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The header with the Unix time in seconds.
    pub timestamp_header: String,
    /// How far that time may be from the host's clock, in seconds, either way, inclusive. The host's time is cut to
    /// whole seconds first, as the client's is.
    pub tolerance: u32,
}

/// Where and how a caller proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `Authorization: <word> <token>`.
    Authorization(String),
    /// A token in this header.
    HeaderKey(String),
    /// A token in this query parameter, percent-decoded.
    QueryKey(String),
    /// `Authorization: <prefix> <key id>:<signature>`.
    Signed(Signature),
    /// `Authorization: Basic` (RFC 7617), the password a token; the user is not looked at.
    Basic,
}

/// A request as its client sent it.
#[derive(Clone, Copy)]
pub struct RawRequest<'a> {
    /// The method.
    pub method: &'a http::Method,
    /// Path and query as on the client's wire.
    pub target: &'a str,
    /// The headers.
    pub headers: &'a http::HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
    /// When it came.
    pub received: Timestamp,
}

/// Shows the path and what headers there are, but no query, no header's value and no body: any may be a credential.
impl fmt::Debug for RawRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split_once('?').map_or(self.target, |(path, _)| path);
        f.debug_struct("RawRequest")
            .field("method", self.method)
            .field("path", &path)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .field("received", &self.received)
            .finish()
    }
}
