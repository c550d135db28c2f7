//! What a handler answers.

use std::fmt;

use serde::Serialize;

pub use crate::bindings::dialect::bellwether::plugin::dialect_types::Response;
use crate::http::Header;

impl Response {
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
