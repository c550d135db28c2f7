//! What goes wrong, in ChainPatrol's format: `{"error":{"code":"BAD_REQUEST","message":"…"}}`.

use std::fmt;

use bellwether_sdk::SettingError;
use bellwether_sdk::dialect::{AuthFailure, IntoResponse, Request, Response};
use bellwether_sdk::series::SeriesError;
use serde::Serialize;

/// A failure, and the status and code it is answered with.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u16,
    code: &'static str,
    message: String,
    header: Option<(&'static str, &'static str)>,
}

impl Failure {
    fn new(status: u16, code: &'static str, message: impl fmt::Display) -> Self {
        Self { status, code, message: message.to_string(), header: None }
    }

    /// A parameter is wrong.
    pub(crate) fn bad(message: impl fmt::Display) -> Self {
        Self::new(400, "BAD_REQUEST", message)
    }

    /// No series is of such a brand.
    pub(crate) fn brand() -> Self {
        Self::new(404, "NOT_FOUND", "Brand not found")
    }

    /// The caller is not known, or not heard: ChainPatrol says the same whatever is wrong with a key.
    pub(crate) fn refusal(failure: &AuthFailure) -> Self {
        match failure {
            AuthFailure::Other(reason) => Self::new(403, "FORBIDDEN", reason),
            _ => Self::new(401, "UNAUTHORIZED", "API key with organization access required"),
        }
    }

    fn later(reason: impl fmt::Display) -> Self {
        Self { header: Some(("retry-after", "1")), ..Self::new(503, "SERVICE_UNAVAILABLE", reason) }
    }

    /// The path has no such method.
    pub(crate) fn method(request: &Request<'_>) -> Self {
        let message = format!("{} is not supported here, expected GET", request.method());
        Self { header: Some(("allow", "GET")), ..Self::new(405, "METHOD_NOT_SUPPORTED", message) }
    }

    /// There is no such path.
    pub(crate) fn path(request: &Request<'_>) -> Self {
        let message = format!("There is nothing at /api/v2/{}", request.parameter("rest"));
        Self::new(404, "NOT_FOUND", message)
    }
}

impl From<SeriesError> for Failure {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::Forbidden(reason) => Self::new(403, "FORBIDDEN", reason),
            SeriesError::Limit(reason) => Self::new(413, "PAYLOAD_TOO_LARGE", reason),
            SeriesError::Unavailable(reason) => Self::later(reason),
            other => Self::new(500, "INTERNAL_SERVER_ERROR", other),
        }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        let message = format!("The setting {error}");
        Self::new(500, "INTERNAL_SERVER_ERROR", message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error: Told<'a>,
        }
        #[derive(Serialize)]
        struct Told<'a> {
            code: &'static str,
            message: &'a str,
        }
        let body = Body { error: Told { code: self.code, message: &self.message } };
        let response = Response::json(self.status, &body);
        match self.header {
            Some((name, value)) => response.header(name, value),
            None => response,
        }
    }
}
