//! What goes wrong, as OTLP over HTTP tells it: a `google.rpc.Status` in the encoding of the request. Of the statuses,
//! exporters send again after 429, 502, 503 and 504 alone.

use std::fmt;

use bellwether_sdk::SettingError;
use bellwether_sdk::dialect::{AuthFailure, Authentication, Request, Response};
use bellwether_sdk::series::{FieldError, SeriesError};
use serde_json::json;

use crate::body::Encoding;
use crate::messages::Status;

/// A failure, its code of `google.rpc.Code`, and the status it is answered with.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u16,
    code: i32,
    message: String,
    header: Option<(&'static str, &'static str)>,
}

impl Failure {
    const INVALID_ARGUMENT: i32 = 3;
    const NOT_FOUND: i32 = 5;
    const PERMISSION_DENIED: i32 = 7;
    const RESOURCE_EXHAUSTED: i32 = 8;
    const UNIMPLEMENTED: i32 = 12;
    const INTERNAL: i32 = 13;
    const UNAVAILABLE: i32 = 14;
    const UNAUTHENTICATED: i32 = 16;

    fn new(status: u16, code: i32, message: impl fmt::Display) -> Self {
        Self { status, code, message: message.to_string(), header: None }
    }

    fn header(self, name: &'static str, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// The request is wrong in itself: to send it again makes it no better.
    pub(crate) fn bad(message: impl fmt::Display) -> Self {
        Self::new(400, Self::INVALID_ARGUMENT, message)
    }

    /// A body is not the message it has to be; says where it is not.
    pub(crate) fn message(reason: impl fmt::Display) -> Self {
        Self::bad(format_args!("the body is no ExportMetricsServiceRequest: {reason}"))
    }

    /// A body is of a kind that is not taken.
    pub(crate) fn unsupported(message: impl fmt::Display) -> Self {
        Self::new(415, Self::INVALID_ARGUMENT, message)
    }

    /// A body is larger than is taken.
    pub(crate) fn too_large(message: impl fmt::Display) -> Self {
        Self::new(413, Self::INVALID_ARGUMENT, message)
    }

    fn later(message: impl fmt::Display) -> Self {
        Self::new(503, Self::UNAVAILABLE, message).header("retry-after", "1")
    }

    /// The caller is not known, or not heard.
    pub(crate) fn refusal(failure: &AuthFailure) -> Self {
        match failure {
            AuthFailure::Other(reason) => Self::new(403, Self::PERMISSION_DENIED, reason),
            _ => {
                let (name, value) = Authentication::BASIC_CHALLENGE;
                Self::new(401, Self::UNAUTHENTICATED, failure).header(name, value)
            }
        }
    }

    /// The path has no such method.
    pub(crate) fn method(request: &Request<'_>, allowed: &'static str) -> Self {
        let message = format_args!("method not allowed: {} is not {allowed}", request.method());
        Self::new(405, Self::UNIMPLEMENTED, message).header("allow", allowed)
    }

    /// There is no such path.
    pub(crate) fn path(request: &Request<'_>) -> Self {
        let path = request.parameter("rest");
        Self::new(
            404,
            Self::NOT_FOUND,
            format_args!("there is nothing at /{path}: metrics go to /v1/metrics"),
        )
    }

    /// In the encoding of the request; in JSON where that is none of the two.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Response {
        let Self { status, code, message, header } = self;
        let json = json!({ "code": code, "message": message });
        let message = Status { code: *code, message: message.clone() };
        let answer = Encoding::of(request).unwrap_or(Encoding::Json).answer(*status, &message, &json);
        header.iter().fold(answer, |answer, (name, value)| answer.header(name, value))
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
            SeriesError::UnknownMetric(_) => Self::new(404, Self::NOT_FOUND, error),
            SeriesError::Invalid(FieldError { field, value, expected }) => {
                Self::bad(format_args!("{field} is {value:?}, expected {expected}"))
            }
            SeriesError::Syntax(_) => Self::bad(error),
            SeriesError::Forbidden(reason) => Self::new(403, Self::PERMISSION_DENIED, reason),
            // What may not come in one request is the request's size. Else there are too many in all, until somebody makes
            // room: what is 429 exporters would send again meanwhile, and lose what comes behind it.
            error if error.is_of_one_write() => Self::too_large(error),
            SeriesError::Limit(reason) => Self::new(413, Self::RESOURCE_EXHAUSTED, reason),
            SeriesError::Unavailable(reason) => Self::later(reason),
            SeriesError::Other(reason) => Self::new(500, Self::INTERNAL, reason),
        }
    }
}

/// Settings are checked when they are set, maybe by an older version.
impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::new(500, Self::INTERNAL, format_args!("the setting {error}"))
    }
}
