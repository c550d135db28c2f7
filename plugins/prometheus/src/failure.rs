//! What goes wrong, in Prometheus' format: `{"status":"error","errorType":"…","error":"…"}`.

use std::fmt;

use bellwether_sdk::dialect::{AuthFailure, Authentication, IntoResponse, Request, Response};
use bellwether_sdk::host::StateError;
use bellwether_sdk::series::{FieldError, SeriesError};
use serde_json::json;

use crate::promql;

/// A failure, its kind in Prometheus' words, and the status it is answered with.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u16,
    kind: &'static str,
    message: String,
    headers: Vec<(&'static str, String)>,
}

impl Failure {
    fn new(status: u16, kind: &'static str, message: impl fmt::Display) -> Self {
        Self { status, kind, message: message.to_string(), headers: Vec::new() }
    }

    /// The request is wrong in itself: to send it again makes it no better.
    pub(crate) fn bad(message: impl fmt::Display) -> Self {
        Self::new(400, "bad_data", message)
    }

    /// A parameter is missing or wrong.
    pub(crate) fn parameter(name: &str, reason: impl fmt::Display) -> Self {
        Self::bad(format_args!("invalid parameter {name:?}: {reason}"))
    }

    /// A body is of a kind that is not taken.
    pub(crate) fn unsupported(message: impl fmt::Display) -> Self {
        Self::new(415, "bad_data", message)
    }

    /// A body is larger than is taken.
    pub(crate) fn too_large(message: impl fmt::Display) -> Self {
        Self::new(413, "bad_data", message)
    }

    /// A query cannot be answered over what there is.
    pub(crate) fn execution(message: impl fmt::Display) -> Self {
        Self::new(422, "execution", message)
    }

    fn later(message: impl fmt::Display) -> Self {
        Self::new(503, "unavailable", message).header("retry-after", "1")
    }

    /// The caller is not known, or not heard.
    pub(crate) fn refusal(failure: &AuthFailure) -> Self {
        match failure {
            AuthFailure::Other(reason) => Self::new(403, "forbidden", reason),
            _ => {
                let (name, value) = Authentication::BASIC_CHALLENGE;
                Self::new(401, "unauthorized", failure).header(name, value)
            }
        }
    }

    /// The path has no such method.
    pub(crate) fn method(request: &Request<'_>, allowed: &'static str) -> Self {
        let message = format_args!("method not allowed: {} is none of {allowed}", request.method());
        Self::new(405, "bad_data", message).header("allow", allowed)
    }

    /// There is no such path.
    pub(crate) fn path(request: &Request<'_>) -> Self {
        Self::new(404, "not_found", format_args!("there is nothing at /{}", request.parameter("rest")))
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

impl From<SeriesError> for Failure {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::UnknownMetric(metric) => {
                Self::new(404, "not_found", format_args!("there is no metric {metric:?}"))
            }
            SeriesError::Invalid(FieldError { field, value, expected }) => {
                Self::bad(format_args!("{field} is {value:?}, expected {expected}"))
            }
            SeriesError::Syntax(_) => Self::bad(error),
            SeriesError::Forbidden(reason) => Self::new(403, "forbidden", reason),
            // Until somebody makes room it stays so. Of what is 400 everybody drops the samples; what is 413 or 429 some
            // would send for ever.
            SeriesError::Limit(reason) => Self::bad(reason),
            SeriesError::Unavailable(reason) => Self::later(reason),
            SeriesError::Other(reason) => Self::new(500, "internal", reason),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::TooLarge(reason) | StateError::Quota(reason) => Self::bad(reason),
            StateError::Unavailable(reason) => Self::later(reason),
            other => Self::new(500, "internal", other),
        }
    }
}

impl From<promql::Error> for Failure {
    fn from(error: promql::Error) -> Self {
        match error {
            promql::Error::Bad(reason) => Self::parameter("query", reason),
            promql::Error::Execution(reason)
            | promql::Error::TooMany(reason)
            | promql::Error::Source(SeriesError::Limit(reason)) => Self::execution(reason),
            promql::Error::Source(SeriesError::Invalid(FieldError { value, expected, .. })) => {
                Self::parameter("query", format_args!("{value:?} is not {expected}"))
            }
            promql::Error::Source(error) => error.into(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.message });
        let response = Response::json(self.status, &body);
        self.headers.iter().fold(response, |response, (name, value)| response.header(name, value))
    }
}
