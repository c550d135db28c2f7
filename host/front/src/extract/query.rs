//! A query string read into a type that names every parameter there is.

use axum::extract::FromRequestParts;
use bellwether_kernel::{FieldError, reading};
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::problem::Problem;
use crate::services::Shared;

/// The query, read strictly: an unknown or unreadable parameter is refused by name. `T` denies unknown fields.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Problem> {
        read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Whether those who keep to what is removed are heeded.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Force {
    /// Removes it although others keep to it, or name it; by default not.
    #[serde(default)]
    pub(crate) force: bool,
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let deserializer = serde_html_form::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let value = |field: &str| {
            pairs.into_iter().find(|(name, _)| name == field).map(|(_, value)| value.into_owned())
        };
        let given: Vec<_> = pairs.filter(|(name, _)| *name == path).map(|(_, value)| value).collect();
        let field = if given.len() > 1 {
            FieldError::new(&path, given.join(", "), "one value")
        } else {
            reading::field_error("query", &path, &error.into_inner().to_string(), value)
        };
        Problem::invalid(format!("the query parameter {field}")).field(field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        limit: Option<usize>,
        #[serde(default)]
        key: Vec<String>,
    }

    #[test]
    fn repeated_parameters_are_gathered() {
        let asked: Asked = read("key=a&limit=2&key=b%20c").unwrap();
        assert_eq!(asked, Asked { limit: Some(2), key: vec!["a".into(), "b c".into()] });
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value() {
        for (query, field, value) in [
            ("limit=many", "limit", "many"),
            ("limits=3", "limits", "3"),
            ("limit=2&limit=3", "limit", "2, 3"),
        ] {
            let problem = read::<Asked>(query).unwrap_err();
            let body: serde_json::Value = serde_json::from_slice(&problem.body("r")).unwrap();
            assert_eq!(
                (&body["errors"][0]["field"], &body["errors"][0]["value"]),
                (&field.into(), &value.into()),
                "{body}"
            );
        }
    }
}
