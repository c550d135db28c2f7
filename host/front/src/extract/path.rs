//! The path's parameters, percent-decoded.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use bellwether_kernel::{FieldError, reading};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::services::Shared;

/// As axum's, with a problem for a rejection.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, services: &Shared) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, services).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(PathRejection::FailedToDeserializePathParams(rejection)) => {
                let names: Vec<String> = match RawPathParams::from_request_parts(parts, services).await {
                    Ok(named) => named.iter().map(|(name, _)| name.to_owned()).collect(),
                    Err(_) => Vec::new(),
                };
                Err(refused(rejection.kind(), &names))
            }
            Err(rejection) => Err(Problem::internal(rejection)),
        }
    }
}

/// What is wrong, with the parameter's name, of which axum knows only where it stands.
fn refused(kind: &ErrorKind, names: &[String]) -> Problem {
    let wrong = |name: Option<&String>, value: &str, expected: &str| {
        let name = name.map_or("path", String::as_str);
        FieldError::new(name, value, reading::in_words(expected)).into()
    };
    match kind {
        ErrorKind::ParseErrorAtIndex { index, value, expected_type } => {
            wrong(names.get(*index), value, expected_type)
        }
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => wrong(Some(key), value, expected_type),
        ErrorKind::ParseError { value, expected_type } => wrong(names.first(), value, expected_type),
        ErrorKind::DeserializeError { key, value, message } => wrong(Some(key), value, message),
        ErrorKind::InvalidUtf8InPathParam { key } => wrong(Some(key), "", "UTF-8, percent-encoded"),
        kind => Problem::invalid(format!("The path does not read: {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_named_with_what_it_should_be() {
        let kind = ErrorKind::ParseErrorAtIndex { index: 1, value: "x".to_owned(), expected_type: "u32" };
        let problem = refused(&kind, &["playbook".to_owned(), "version".to_owned()]);
        assert_eq!(problem.detail(), "version is \"x\", expected a whole number, not below 0");
    }
}
