//! What goes wrong, in Datadog's format: `{"errors":["…"]}`.

use std::fmt;

use bellwether_sdk::dialect::{AuthFailure, IntoResponse, Request, Response};
use bellwether_sdk::host::StateError;
use bellwether_sdk::series::{FieldError, SeriesError, SyntaxError};
use serde::Serialize;
use serde_json::json;

use crate::{DISTRIBUTIONS, SERIES_V1, SERIES_V2, VALIDATE, records};

/// A failure and the status it is answered with.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u16,
    message: String,
    header: Option<(&'static str, &'static str)>,
}

impl Failure {
    pub(crate) fn new(status: u16, message: impl fmt::Display) -> Self {
        Self { status, message: message.to_string(), header: None }
    }

    /// The request is wrong in itself.
    pub(crate) fn bad(message: impl fmt::Display) -> Self {
        Self::new(400, message)
    }

    /// A body is not what the endpoint takes.
    pub(crate) fn format(reason: impl fmt::Display) -> Self {
        Self::bad(format_args!("Payload is not in the expected format: {reason}"))
    }

    /// A body is larger than is taken.
    pub(crate) fn too_large(reason: impl fmt::Display) -> Self {
        Self::new(413, format_args!("Payload too big: {reason}"))
    }

    /// A parameter is missing or wrong. Clients look for these words.
    pub(crate) fn parameter(name: &str, reason: impl fmt::Display) -> Self {
        Self::bad(format_args!("The value provided for parameter '{name}' is invalid: {reason}"))
    }

    /// The caller is not known, or not heard. Datadog tells a read without both keys from one whose keys are not good; to a
    /// submission it says the same.
    pub(crate) fn refusal(failure: &AuthFailure, request: &Request<'_>) -> Response {
        let submits = [VALIDATE, SERIES_V1, SERIES_V2, DISTRIBUTIONS].contains(&request.route());
        let refusal = match failure {
            AuthFailure::Other(reason) => Self::new(403, reason),
            AuthFailure::Missing if !submits => Self::new(401, "Unauthorized"),
            _ => Self::new(403, "Forbidden"),
        };
        if records::takes_logs(request) { refusal.detailed() } else { refusal.into_response() }
    }

    pub(crate) fn later(reason: impl fmt::Display) -> Self {
        Self { header: Some(("retry-after", "1")), ..Self::new(503, reason) }
    }

    /// The path has no such method.
    pub(crate) fn method(request: &Request<'_>, allowed: &'static str) -> Self {
        let message = format!("Method not allowed: {} is none of {allowed}", request.method());
        Self { header: Some(("allow", allowed)), ..Self::new(405, message) }
    }

    /// There is no such path. It is not told again: old clients have their key in it.
    pub(crate) fn path() -> Self {
        Self::new(404, "Not found: there is nothing at this path")
    }

    /// There is no such metric.
    pub(crate) fn unknown(metric: &str) -> Self {
        Self::new(404, format_args!("Metric not found: {metric}"))
    }

    /// In the format of the intake of logs: `{"errors":[{"status":"400","title":"…","detail":"…"}]}`.
    pub(crate) fn detailed(&self) -> Response {
        let title = match self.status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            405 => "Method Not Allowed",
            413 => "Request Entity Too Large",
            415 => "Unsupported Media Type",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        let error = json!({ "status": self.status.to_string(), "title": title, "detail": self.message });
        self.around(&json!({ "errors": [error] }))
    }

    fn around(&self, body: &impl Serialize) -> Response {
        let response = Response::json(self.status, body);
        match self.header {
            Some((name, value)) => response.header(name, value),
            None => response,
        }
    }

    /// What the host says of a query, or of a filter, that came in `parameter`.
    pub(crate) fn of_query(error: SeriesError, parameter: &str) -> Self {
        match error {
            SeriesError::Syntax(SyntaxError { line, column, message }) => {
                Self::parameter(parameter, format_args!("{message} (line {line}, column {column})"))
            }
            other => other.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<SeriesError> for Failure {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::UnknownMetric(metric) => Self::unknown(&metric),
            SeriesError::Invalid(FieldError { field, value, expected }) => {
                Self::bad(format_args!("{field} is {value:?}, expected {expected}"))
            }
            SeriesError::Syntax(_) => Self::bad(error),
            SeriesError::Forbidden(reason) => Self::new(403, format_args!("Forbidden: {reason}")),
            // What may not come in one request is the request's size; else there are too many in all.
            error if error.is_of_one_write() => Self::too_large(error),
            // Until somebody makes room it stays so. Agents drop what is 413 and would send what is 429 for ever.
            SeriesError::Limit(reason) => Self::new(413, reason),
            SeriesError::Unavailable(reason) => Self::later(reason),
            SeriesError::Other(reason) => Self::new(500, reason),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::TooLarge(reason) => Self::bad(reason),
            StateError::Quota(reason) => Self::new(413, reason),
            StateError::Unavailable(reason) => Self::later(reason),
            other => Self::new(500, other),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            errors: [&'a str; 1],
        }
        self.around(&Body { errors: [&self.message] })
    }
}
