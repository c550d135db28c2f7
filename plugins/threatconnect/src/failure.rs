//! What goes wrong, in ThreatConnect's format: `{"status":"Failure","message":"…"}`.

use std::fmt;

use bellwether_sdk::dialect::{AuthFailure, IntoResponse, Request, Response};
use bellwether_sdk::metrics::{FieldError, MetricError};
use serde::Serialize;

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

    /// A field is there and is not what it should be. `value` is as the client wrote it.
    pub(crate) fn field(name: &str, value: &str, expected: impl fmt::Display) -> Self {
        let value = match value.char_indices().nth(100) {
            Some((cut, _)) => format!("{}…", &value[..cut]),
            None => value.to_owned(),
        };
        Self::bad(format_args!("{name} is {value}, expected {expected}"))
    }

    /// The caller is not known, or not heard. The first two texts are ThreatConnect's own: clients look for them.
    pub(crate) fn refusal(failure: &AuthFailure) -> Self {
        let message = match failure {
            AuthFailure::OutOfTime(_) => "Timestamp out of acceptable time range".to_owned(),
            AuthFailure::SignatureMismatch => "Signature data did not match expected result".to_owned(),
            AuthFailure::Missing => {
                "Authorization is missing, expected TC <access id>:<signature> or TC-Token <token>".to_owned()
            }
            AuthFailure::Unknown => "Access denied: the access id or token is not known".to_owned(),
            AuthFailure::Expired => "Access denied: the access id or token has expired".to_owned(),
            AuthFailure::Malformed(what) => format!("Authorization is malformed: {what}"),
            AuthFailure::Other(what) => return Self::new(403, format_args!("Access denied: {what}")),
        };
        Self { header: Some(("www-authenticate", "TC")), ..Self::new(401, message) }
    }

    /// The path has no such method.
    pub(crate) fn method(request: &Request<'_>, allowed: &'static str) -> Self {
        let message = format!("{} is not supported here, expected one of {allowed}", request.method());
        Self { header: Some(("allow", allowed)), ..Self::new(405, message) }
    }

    /// There is no such path.
    pub(crate) fn path(request: &Request<'_>) -> Self {
        Self::new(
            404,
            format_args!("There is nothing at /{}; see /v2/customMetrics", request.parameter("rest")),
        )
    }

    /// There is no such metric.
    pub(crate) fn unknown(metric: &str) -> Self {
        Self::new(404, format_args!("There is no custom metric with the name or id {metric:?}"))
    }

    /// What the host says of a call about `metric`.
    pub(crate) fn of(error: MetricError, metric: &str) -> Self {
        match error {
            MetricError::UnknownMetric(_) => Self::unknown(metric),
            MetricError::Invalid(error) => Self::invalid(&error),
            MetricError::Conflict(message) => Self::new(409, message),
            MetricError::Forbidden(message) | MetricError::Limit(message) => Self::new(403, message),
            MetricError::Unavailable(message) => {
                Self { header: Some(("retry-after", "1")), ..Self::new(503, message) }
            }
            MetricError::Other(message) => Self::new(500, message),
        }
    }

    /// The host's word on an argument, in the names of ThreatConnect's fields.
    fn invalid(error: &FieldError) -> Self {
        let last = error.field.rsplit('.').next().unwrap_or_default();
        let name = match last.split('[').next().unwrap_or_default() {
            "key" => "name",
            "value" | "values" => "value",
            "time" | "times" => "date",
            "weight" | "weights" => "weight",
            "data-type" | "data_type" => "dataType",
            "keyed" => "keyedValues",
            "limit" => "resultLimit",
            "offset" => "resultStart",
            other => other,
        };
        if error.value.is_empty() {
            return Self::bad(format_args!("{name} is missing, expected {}", error.expected));
        }
        Self::field(name, &format!("{:?}", error.value), &error.expected)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            status: &'static str,
            message: &'a str,
        }
        let response = Response::json(self.status, &Body { status: "Failure", message: &self.message });
        match self.header {
            Some((name, value)) => response.header(name, value),
            None => response,
        }
    }
}
