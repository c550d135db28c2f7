//! Requests to the outside.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::bellwether::host::http_client as raw;
pub use raw::Header;

/// A request.
///
/// ```
/// use std::time::Duration;
/// use bellwether_sdk::http::Request;
///
/// let request = Request::post("https://tickets.example/api/tickets")
///     .header("accept", "application/json")
///     .json(&serde_json::json!({ "title": "Disk full" }))
///     .timeout(Duration::from_secs(5));
/// assert_eq!(request.body, br#"{"title":"Disk full"}"#);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// In the order they are sent.
    pub headers: Vec<Header>,
    /// Empty for none.
    pub body: Vec<u8>,
    /// How long the whole exchange may take; the host's own limit holds all the same.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// A `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With this as a JSON body, and the header that says so.
    ///
    /// # Panics
    /// If `body` cannot be written as JSON: a map whose keys are not texts.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("a body is writable as JSON");
        self.header("content-type", "application/json").body(body)
    }

    /// Given up after so long.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }
}

/// An answer of any status.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// In the order they came.
    pub headers: Vec<Header>,
    /// At most 4 MiB.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the first header of that name, letter case ignored.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| &*header.value)
    }

    /// Whether the status is one of success, 200 to 299.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// If it is not JSON, or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// The URL, method or a header is not one.
    Invalid(String),
    /// The grant or the host's policy does not allow this destination.
    Forbidden(String),
    /// It took too long.
    Timeout,
    /// No connection, or it broke.
    Connection(String),
    /// The request or the answer is larger than allowed.
    TooLarge(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the request took too long"),
            Self::Invalid(message)
            | Self::Forbidden(message)
            | Self::Connection(message)
            | Self::TooLarge(message)
            | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for HttpError {}

impl From<raw::HttpError> for HttpError {
    fn from(error: raw::HttpError) -> Self {
        match error {
            raw::HttpError::Invalid(message) => Self::Invalid(message),
            raw::HttpError::Forbidden(message) => Self::Forbidden(message),
            raw::HttpError::Timeout => Self::Timeout,
            raw::HttpError::Connection(message) => Self::Connection(message),
            raw::HttpError::TooLarge(message) => Self::TooLarge(message),
            raw::HttpError::Other(message) => Self::Other(message),
        }
    }
}

impl From<Request> for raw::Request {
    fn from(request: Request) -> Self {
        let Request { method, url, headers, body, timeout } = request;
        let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        Self { method, url, headers, body, timeout }
    }
}

impl From<raw::Response> for Response {
    fn from(response: raw::Response) -> Self {
        let raw::Response { status, headers, body } = response;
        Self { status, headers, body }
    }
}
