//! What a handler answers.

use std::{fmt, io};

use serde::Serialize;

pub use crate::bindings::dialect::bellwether::plugin::dialect_types::Response;
use crate::http::Header;

impl Response {
    /// Bytes of a body that the host takes of every call, a little below its limit of 8 MiB: a larger one it takes for a
    /// fault of the plugin, and answers in words of its own.
    pub const LARGEST: usize = 8_000_000;

    /// A status alone.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// With a body of this media type.
    pub fn new(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(status).header("content-type", media_type) }
    }

    /// With a JSON body.
    ///
    /// # Panics
    /// If `body` cannot be written as JSON: a map whose keys are not texts.
    pub fn json(status: u16, body: &(impl Serialize + ?Sized)) -> Self {
        let body = serde_json::to_vec(body).expect("an answer is writable as JSON");
        Self::new(status, "application/json", body)
    }

    /// With a JSON body of at most `most` bytes, for what may come to more than [`Self::LARGEST`]. What is beyond them is
    /// never written.
    ///
    /// ```
    /// use bellwether_sdk::dialect::{Response, TooLarge};
    ///
    /// let names = ["cpu", "memory"];
    /// let answer = Response::json_within(200, &names, Response::LARGEST)?;
    /// assert_eq!(answer.body, br#"["cpu","memory"]"#);
    /// assert_eq!(Response::json_within(200, &names, 15), Err(TooLarge));
    /// # Ok::<(), TooLarge>(())
    /// ```
    ///
    /// # Errors
    /// If there are more.
    ///
    /// # Panics
    /// As [`Self::json`].
    pub fn json_within(status: u16, body: &(impl Serialize + ?Sized), most: usize) -> Result<Self, TooLarge> {
        let mut bounded = Bounded { body: Vec::new(), most };
        match serde_json::to_writer(&mut bounded, body) {
            Ok(()) => Ok(Self::new(status, "application/json", bounded.body)),
            Err(error) if error.is_io() => Err(TooLarge),
            Err(error) => panic!("an answer is writable as JSON: {error}"),
        }
    }

    /// With a plain text.
    pub fn text(status: u16, body: impl fmt::Display) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body.to_string())
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(Header { name: name.to_owned(), value: value.to_owned() });
        self
    }
}

/// An answer has more bytes than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is larger than it may be")
    }
}

impl std::error::Error for TooLarge {}

/// A body that takes no more than so many bytes.
struct Bounded {
    body: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.body.len() {
            return Err(io::Error::other(TooLarge));
        }
        self.body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a handler may return: a [`Response`], an error type of the dialect's own that becomes one, or a `Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an answer",
    note = "return a Response, or implement IntoResponse for the dialect's own error"
)]
pub trait IntoResponse {
    /// The answer.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(answer) => answer.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_written_up_to_the_last_byte_it_may_have_and_not_a_byte_beyond() {
        let body = serde_json::json!({ "name": "größe \"x\"", "values": [1, 2.5, null], "none": {} });
        let whole = Response::json(200, &body);
        for most in 0..=whole.body.len() + 1 {
            let expected = if most < whole.body.len() { Err(TooLarge) } else { Ok(whole.clone()) };
            assert_eq!(Response::json_within(200, &body, most), expected, "{most}");
        }
    }
}
