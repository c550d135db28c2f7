//! The path's parameters, percent-decoded.

use axum::extract::FromRequestParts;
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
            Err(rejection) => {
                Err(Problem::invalid(format!("The path does not read: {}", rejection.body_text())))
            }
        }
    }
}
