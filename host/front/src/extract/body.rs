//! Bodies: read within a limit, and read as JSON with errors that name line, column and field.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bellwether_kernel::reading::{self, JsonError};
use bellwether_kernel::value::check_text_nesting;
use bytes::Bytes;
use futures::poll;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::problem::{Problem, ProblemKind};
use crate::services::Shared;

/// A JSON body. `T` denies unknown fields.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, services: &Shared) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let limit = services.settings().body_limit_bytes;
        let (parts, body) = request.into_parts();
        let body = read_body(&parts.headers, body, limit).await?;
        read_json(&body).map(Self)
    }
}

/// Answers with JSON.
impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
            }
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

/// A JSON body, or none at all.
pub(crate) struct JsonOrNothing<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Shared> for JsonOrNothing<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, services: &Shared) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read_body(&parts.headers, body, services.settings().body_limit_bytes).await?;
        // Clients that say of every request that it is JSON say it of this too.
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        require_json(&parts.headers)?;
        read_json(&body).map(Self)
    }
}

/// The `Content-Type` without its parameters; empty if there is none.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Refuses a body that does not call itself JSON, or is compressed.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        let detail = format!("Content-Encoding is {encoding:?}, expected none: a body is taken as it is");
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    if is_json(content_type(headers)) {
        return Ok(());
    }
    let detail = "The body must be JSON: set `Content-Type: application/json`";
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
}

fn is_json(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    content_type == "application/json"
        || content_type.starts_with("application/") && content_type.ends_with("+json")
}

/// The whole body, of at most `limit` bytes.
pub(crate) async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            ProblemKind::TooLarge,
            format!("The body is larger than {limit} bytes, the most that is taken here"),
        )
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::invalid("The body broke off before its end").cause(error)),
    }
}

/// How long the body of somebody unknown is waited for: who takes his time with it holds the place of a request meanwhile.
const OF_THE_UNKNOWN: Duration = Duration::from_secs(2);

/// As [`read_body`], for what anybody may send: where the body is not there yet, and `is_known` says that nobody would be
/// answered but with a refusal, it is soon taken for empty.
pub(crate) async fn read_body_of(
    is_known: impl AsyncFnOnce() -> bool,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, Problem> {
    let mut reading = pin!(read_body(headers, body, limit));
    // Most bodies come with their heads.
    if let Poll::Ready(read) = poll!(reading.as_mut()) {
        return read;
    }
    if is_known().await {
        return reading.await;
    }
    timeout(OF_THE_UNKNOWN, reading).await.unwrap_or_else(|_| Ok(Bytes::new()))
}

/// Reads JSON.
pub(crate) fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    reading::from_json("body", body).map_err(|error| match error {
        JsonError::Empty => Problem::invalid("The body is empty, expected JSON"),
        JsonError::Syntax { .. } => Problem::invalid(format!("The body is not JSON: {error}")),
        JsonError::Field { ref field, .. } => {
            let field = field.clone();
            Problem::invalid(format!("The body does not read: {error}")).field(field)
        }
        JsonError::Value { .. } => match check_text_nesting("body", &String::from_utf8_lossy(body)) {
            Err(deep) => deep.into(),
            Ok(()) => Problem::invalid(format!("The body does not read: {error}")),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code)]
    struct Asked {
        samples: Vec<One>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code)]
    struct One {
        value: f64,
    }

    #[test]
    fn what_does_not_read_is_named_with_line_column_field_and_value() {
        for (body, place, field, value, expected) in [
            (
                "{\"samples\":\n [{\"value\":\"x\"}]}",
                "line 2, column 14",
                "samples[0].value",
                "x",
                "a number",
            ),
            (
                "{\"samples\":[{\"value\":1},{\"values\":1}]}",
                "line 1, column 33",
                "samples[1].values",
                "1",
                "another name: value",
            ),
            ("{}", "line 1, column 2", "samples", "", "to be there"),
        ] {
            let Err(problem) = read_json::<Asked>(body.as_bytes()) else { panic!("{body} was read") };
            assert!(problem.detail().contains(place), "{}", problem.detail());
            let answer: Value = serde_json::from_slice(&problem.body("r")).unwrap();
            let error = &answer["errors"][0];
            assert_eq!(
                (&error["field"], &error["value"], &error["expected"]),
                (&field.into(), &value.into(), &expected.into()),
                "{answer}"
            );
        }
    }

    #[test]
    fn a_value_of_another_type_where_a_name_is_wanted_is_json_that_does_not_read() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Role {
            Read,
            Write,
        }
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code)]
        struct Key {
            role: Role,
            more: Option<Vec<Role>>,
        }
        for (body, field, value) in [
            (r#"{"role": 5}"#, "role", "5"),
            (r#"{"role": null}"#, "role", "null"),
            (r#"{"role": [1]}"#, "role", "[1]"),
            (r#"{"role": "read", "more": ["write", true]}"#, "more[1]", "true"),
        ] {
            let Err(problem) = read_json::<Key>(body.as_bytes()) else { panic!("{body} was read") };
            let answer: Value = serde_json::from_slice(&problem.body("r")).unwrap();
            let error = &answer["errors"][0];
            assert_eq!(
                (&error["field"], &error["value"], &error["expected"]),
                (&field.into(), &value.into(), &"one of read, write".into()),
                "{answer}"
            );
            assert!(problem.detail().starts_with("The body does not read: line 1, "), "{}", problem.detail());
        }
    }

    #[test]
    fn a_number_no_double_holds_is_named() {
        let problem = read_json::<Asked>(br#"{"samples":[{"value":1e999}]}"#).unwrap_err();
        let expected = "The body does not read: line 1, column 26: samples[0].value: number out of range";
        assert_eq!(problem.detail(), expected);
    }

    #[test]
    fn a_body_too_deep_to_be_read_says_so() {
        let body = format!("{{\"samples\": {}{}}}", "[".repeat(200), "]".repeat(200));
        let problem = read_json::<Value>(body.as_bytes()).unwrap_err();
        assert!(problem.detail().contains("nested 201 levels deep"), "{}", problem.detail());
    }

    #[test]
    fn what_is_not_json_says_where() {
        let problem = read_json::<Asked>(b"{\"samples\": [}").unwrap_err();
        assert!(problem.detail().contains("line 1, column 14"), "{}", problem.detail());
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        let headers = HeaderMap::new();
        assert_eq!(read_body(&headers, Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(
            read_body(&headers, Body::from("123456"), 5).await.unwrap_err().kind(),
            ProblemKind::TooLarge
        );
        let announced = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static("6"))]);
        assert_eq!(read_body(&announced, Body::empty(), 5).await.unwrap_err().kind(), ProblemKind::TooLarge);
    }

    #[test]
    fn a_compressed_body_is_refused_for_that() {
        let headers = |encoding| {
            let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            HeaderMap::from_iter([json, (header::CONTENT_ENCODING, HeaderValue::from_static(encoding))])
        };
        let problem = require_json(&headers("gzip")).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::UnsupportedMediaType);
        assert!(problem.detail().contains("\"gzip\""), "{}", problem.detail());
        assert!(require_json(&headers("identity")).is_ok());
    }

    #[test]
    fn json_by_any_of_its_names_is_taken() {
        for (name, taken) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/merge-patch+json", true),
            ("text/json", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_json(name), taken, "{name}");
        }
    }
}
