//! The one error every handler answers with: RFC 9457 `application/problem+json`.
//!
//! A [`Problem`] becomes a response without a body that carries it; the envelope around every route writes the body,
//! since it alone knows the request's id.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bellwether_kernel::{ErrorKind, FieldError};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// The kinds of problem there are; each has a stable type URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    Invalid,
    Unauthenticated,
    Forbidden,
    Suspended,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    IdempotencyMismatch,
    IdempotencyInProgress,
    RateLimited,
    Internal,
    Plugin,
    Unavailable,
    Deadline,
}

impl ProblemKind {
    /// Every kind, for the pages that explain them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::Suspended,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyMismatch,
        Self::IdempotencyInProgress,
        Self::RateLimited,
        Self::Internal,
        Self::Plugin,
        Self::Unavailable,
        Self::Deadline,
    ];

    /// The status it is answered with.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Suspended => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::IdempotencyInProgress => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Plugin => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The URI that names it, relative to the host. Clients match on it: never change one.
    pub(crate) fn uri(self) -> &'static str {
        match self {
            Self::Invalid => "/problems/invalid",
            Self::Unauthenticated => "/problems/unauthenticated",
            Self::Forbidden => "/problems/forbidden",
            Self::Suspended => "/problems/suspended",
            Self::NotFound => "/problems/not-found",
            Self::MethodNotAllowed => "/problems/method-not-allowed",
            Self::Conflict => "/problems/conflict",
            Self::TooLarge => "/problems/too-large",
            Self::UnsupportedMediaType => "/problems/unsupported-media-type",
            Self::IdempotencyMismatch => "/problems/idempotency-mismatch",
            Self::IdempotencyInProgress => "/problems/idempotency-in-progress",
            Self::RateLimited => "/problems/rate-limited",
            Self::Internal => "/problems/internal",
            Self::Plugin => "/problems/plugin",
            Self::Unavailable => "/problems/unavailable",
            Self::Deadline => "/problems/deadline",
        }
    }

    /// What it is called, the same for every occurrence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Invalid => "The request is wrong",
            Self::Unauthenticated => "The caller is not known",
            Self::Forbidden => "The caller may not do this",
            Self::Suspended => "The organisation is suspended",
            Self::NotFound => "There is no such thing",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::Conflict => "It clashes with what is there",
            Self::TooLarge => "A limit is exceeded",
            Self::UnsupportedMediaType => "The body's type is not supported",
            Self::IdempotencyMismatch => "The idempotency key belongs to another request",
            Self::IdempotencyInProgress => "The same request is still at work",
            Self::RateLimited => "Too many requests",
            Self::Internal => "The host failed",
            Self::Plugin => "A plugin failed",
            Self::Unavailable => "The host cannot do this now",
            Self::Deadline => "It took too long",
        }
    }

    /// What a caller can do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Invalid => "Mend the fields named under `errors`; the same request will fail again.",
            Self::Unauthenticated => "Send `Authorization: Bearer <token>` with a key that has not expired.",
            Self::Forbidden => "Use a key with the role the answer names.",
            Self::Suspended => {
                "Ask the host's operator, who can resume the organisation; nothing of what it has is lost."
            }
            Self::NotFound => "Look at the name or id; what another organisation has cannot be seen.",
            Self::MethodNotAllowed => "Use one of the methods in the answer's `Allow` header.",
            Self::Conflict => "Read what is there and decide whether to change the name or the request.",
            Self::TooLarge => {
                "Send less at once or, where the limit is of all there is, make room; the answer names it."
            }
            Self::UnsupportedMediaType => "Set `Content-Type` to the type the answer names.",
            Self::IdempotencyMismatch => "Use a new `Idempotency-Key` for every new request.",
            Self::IdempotencyInProgress => {
                "Wait as long as `Retry-After` says and repeat the request unchanged."
            }
            Self::RateLimited => "Wait as long as `Retry-After` says, then repeat the request.",
            Self::Internal => "Tell the host's operator the `request_id`; the log has the cause under it.",
            Self::Plugin => {
                "Tell the host's operator the `request_id`; the log names the plugin, version and call."
            }
            Self::Unavailable => "Try again later; `/readyz` says how the host is.",
            Self::Deadline => {
                "Ask for less at once, or try again. A write may have happened: an `Idempotency-Key` makes repeating it safe."
            }
        }
    }
}

impl From<ErrorKind> for ProblemKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::Unauthenticated => Self::Unauthenticated,
            ErrorKind::Forbidden => Self::Forbidden,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::TooLarge => Self::TooLarge,
            ErrorKind::RateLimited => Self::RateLimited,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Deadline => Self::Deadline,
            ErrorKind::Plugin => Self::Plugin,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ProblemKind,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

impl Problem {
    /// A problem that says `detail` to the caller.
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// A request that is wrong.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemKind::Invalid, detail)
    }

    /// Something that is not there.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemKind::NotFound, detail)
    }

    /// A request that is not tried now.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: u64) -> Self {
        Self::new(ProblemKind::Unavailable, detail).retry_after(retry_after)
    }

    /// A fault of the host. The cause goes to the log alone.
    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        Self::new(
            ProblemKind::Internal,
            "The host failed at this. Its operator finds the cause in the log under this request's id.",
        )
        .cause(cause)
    }

    /// Adds what is wrong with a field.
    pub(crate) fn field(mut self, error: FieldError) -> Self {
        self.0.errors.push(error);
        self
    }

    /// Says after how many seconds it makes sense to try again.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds.max(1));
        self
    }

    /// Says which authentication would be right.
    pub(crate) fn challenge(self, challenge: &'static str) -> Self {
        self.header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// Adds a header to the answer.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Adds what the log shall say and the caller shall not see.
    pub(crate) fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// What it says to the caller.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What the log shall say: the cause, or the detail where there is none.
    pub(crate) fn log_line(&self) -> &str {
        self.0.cause.as_deref().unwrap_or(&self.0.detail)
    }

    /// The body as it is answered to the request of this id.
    pub(crate) fn body(&self, request_id: &str) -> Vec<u8> {
        let body = ProblemBody {
            r#type: self.0.kind.uri(),
            title: self.0.kind.title(),
            status: self.0.kind.status().as_u16(),
            detail: &self.0.detail,
            request_id,
            errors: &self.0.errors,
        };
        serde_json::to_vec(&body).expect("a problem is plain text and numbers")
    }

    /// Writes that body into the answer.
    pub(crate) fn write_into(&self, response: &mut Response, request_id: &HeaderValue) {
        let body = self.body(request_id.to_str().unwrap_or_default());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = Body::from(body);
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::invalid(error.to_string()).field(error)
    }
}

/// The problem travels in the response's extensions to the envelope, which writes the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.kind.status().into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        headers.extend(self.0.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// Why a request was not done (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it is the shape of ProblemBody for the document")]
pub(crate) struct ProblemSchema {
    /// Names the kind of problem; stable.
    #[schema(format = "uri-reference", example = "/problems/invalid")]
    r#type: String,
    /// What that kind is called.
    #[schema(example = "The request is wrong")]
    title: String,
    /// The response's status.
    #[schema(example = 400)]
    status: u16,
    /// What happened this time.
    #[schema(example = "limit is \"0\", expected a number from 1 to 1000")]
    detail: String,
    /// As the `x-request-id` header: quote it to the host's operator.
    request_id: String,
    /// What is wrong with which field, where that is known.
    #[schema(required = false)]
    errors: Vec<FieldErrorSchema>,
}

/// What is wrong with one field.
#[derive(ToSchema)]
#[schema(as = FieldError)]
#[expect(dead_code, reason = "it is the shape of the kernel's FieldError for the document")]
pub(crate) struct FieldErrorSchema {
    /// The field's path, or the query parameter's name.
    #[schema(example = "samples[3].key")]
    field: String,
    /// What it held, shortened to 100 characters.
    value: String,
    /// What would be right.
    expected: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_type_of_its_own_and_an_error_status() {
        let mut seen = std::collections::HashSet::new();
        for kind in ProblemKind::ALL {
            assert!(kind.status().is_client_error() || kind.status().is_server_error(), "{kind:?}");
            assert!(seen.insert(kind.uri()), "{kind:?} shares its type");
            assert!(!kind.title().is_empty() && !kind.advice().is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn the_cause_of_a_fault_is_logged_and_never_answered() {
        let problem = Problem::internal("leaf 7 of /var/lib/secret is damaged");
        assert!(!String::from_utf8(problem.body("r1")).unwrap().contains("leaf"));
        assert!(problem.log_line().contains("leaf 7"));
    }

    #[test]
    fn a_field_error_is_answered_with_field_value_and_expectation() {
        let problem = Problem::from(FieldError::new("limit", 0, "a number from 1 to 1000"));
        let body: serde_json::Value = serde_json::from_slice(&problem.body("r1")).unwrap();
        assert_eq!(body["status"], 400);
        assert_eq!(body["request_id"], "r1");
        assert_eq!(
            body["errors"][0],
            serde_json::json!({"field": "limit", "value": "0", "expected": "a number from 1 to 1000"})
        );
    }
}
