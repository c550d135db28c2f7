//! How the domain crates' errors become problems: one table, by what a caller can do about each.

use std::fmt;
use std::time::Duration;

use bellwether_access::{AccessError, AuthFailure};
use bellwether_alerts::{AlertError, Faults, InvalidNotification, RoleError};
use bellwether_kernel::{ErrorKind, FieldError};
use bellwether_metrics::MetricError;
use bellwether_playbooks::PlaybookError;
use bellwether_plugins::PluginError;
use bellwether_records::RecordError;
use bellwether_series::SeriesError;
use bellwether_store::StoreError;

use crate::problem::{Problem, ProblemKind};

/// After how many seconds a host that cannot do it now is asked again.
const RETRY_AFTER: u64 = 5;

/// A problem of this kind that says what the error says, unless it is a fault of the host.
pub(crate) fn problem(kind: ErrorKind, error: &dyn fmt::Display) -> Problem {
    match kind {
        ErrorKind::Internal => Problem::internal(error),
        ErrorKind::Unavailable | ErrorKind::RateLimited => {
            Problem::new(kind.into(), error.to_string()).retry_after(RETRY_AFTER)
        }
        _ => Problem::new(kind.into(), error.to_string()),
    }
}

/// Whole seconds, at least so long.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            // The key it names is the store's own, of no use to a caller.
            StoreError::Conflict(_) => {
                Self::new(ProblemKind::Conflict, "Somebody else changed it at the same moment; try again")
                    .cause(error)
            }
            StoreError::DiskFull { .. } => Self::unavailable(
                "The host's disk is nearly full: it takes no writes until there is more room",
                60,
            )
            .cause(error),
            // It says from when to when, so that who asks for another time gets it.
            StoreError::Lost(what) => Self::new(ProblemKind::Internal, what),
            _ => problem(error.kind(), &error),
        }
    }
}

impl From<MetricError> for Problem {
    fn from(error: MetricError) -> Self {
        match error {
            // A definition is the whole body here, so its fields are named without it.
            MetricError::Invalid(mut field) => {
                if let Some(name) = field.field.strip_prefix("definition.") {
                    field.field = name.to_owned();
                }
                field.into()
            }
            MetricError::Store(error) => error.into(),
            _ => problem(error.kind(), &error),
        }
    }
}

/// A query of series that does not read.
pub(crate) fn series_query(query: &str, error: SeriesError) -> Problem {
    match error {
        SeriesError::Syntax { line, column, ref message } => unread(query, (line, column), message, &error),
        error => error.into(),
    }
}

/// A search of records that does not read.
pub(crate) fn search(query: &str, error: RecordError) -> Problem {
    match error {
        RecordError::Syntax { line, column, ref message } => unread(query, (line, column), message, &error),
        error => error.into(),
    }
}

/// The parameter `query` does not read at a line and column.
fn unread(query: &str, (line, column): (usize, usize), message: &str, error: &dyn fmt::Display) -> Problem {
    let expected = message.strip_prefix("expected ").unwrap_or(message);
    let field = FieldError::new("query", query, format!("at line {line}, column {column}: {expected}"));
    Problem::invalid(format!("the query does not read: {error}")).field(field)
}

impl From<SeriesError> for Problem {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::Invalid(field) => field.into(),
            SeriesError::Store(error) => error.into(),
            _ => problem(error.kind(), &error),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Invalid(field) => field.into(),
            RecordError::Store(error) => error.into(),
            _ => problem(error.kind(), &error),
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Invalid(field) => field.into(),
            AccessError::Store(error) => error.into(),
            AccessError::Suspended => Self::new(ProblemKind::Suspended, error.to_string()),
            _ => problem(error.kind(), &error),
        }
    }
}

impl From<PlaybookError> for Problem {
    fn from(error: PlaybookError) -> Self {
        match error {
            PlaybookError::Invalid(field) => field.into(),
            PlaybookError::Access(error) => error.into(),
            PlaybookError::Store(error) => error.into(),
            PlaybookError::Syntax { line, column, ref field, ref message } => {
                let field = field.clone().unwrap_or_else(|| format!("line {line}, column {column}"));
                let place = FieldError::new(field, "", message);
                Self::invalid(error.to_string()).field(place)
            }
            PlaybookError::Document { line, column, ref error } => {
                Self::invalid(format!("line {line}, column {column}: {error}")).field(error.clone())
            }
            PlaybookError::Busy { retry_after, .. } => Self::new(ProblemKind::RateLimited, error.to_string())
                .retry_after(retry_after.as_secs().max(1)),
            _ => problem(error.kind(), &error),
        }
    }
}

impl From<PluginError> for Problem {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Invalid(field) => field.into(),
            PluginError::Access(error) => error.into(),
            PluginError::Store(error) => error.into(),
            _ => match error.retry_after() {
                Some(after) => problem(error.kind(), &error).retry_after(seconds(after)),
                None => problem(error.kind(), &error),
            },
        }
    }
}

impl From<RoleError> for Problem {
    fn from(error: RoleError) -> Self {
        match error {
            RoleError::Invalid(field) => field.into(),
            _ => problem(error.kind(), &error),
        }
    }
}

impl From<AlertError> for Problem {
    fn from(error: AlertError) -> Self {
        match error {
            AlertError::Invalid(field) => field.into(),
            AlertError::Document(faults) => {
                let problem = Self::invalid(faults.to_string());
                let Faults(fields) = faults;
                fields.into_iter().fold(problem, Self::field)
            }
            AlertError::Series(error) => error.into(),
            AlertError::Records(error) => error.into(),
            AlertError::Access(error) => error.into(),
            AlertError::Role(error) => error.into(),
            AlertError::Store(error) => error.into(),
            _ => problem(error.kind(), &error),
        }
    }
}

impl From<InvalidNotification> for Problem {
    fn from(error: InvalidNotification) -> Self {
        problem(ErrorKind::Invalid, &error)
    }
}

impl From<AuthFailure> for Problem {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Suspended => AccessError::Suspended.into(),
            AuthFailure::Missing => Self::new(
                ProblemKind::Unauthenticated,
                "The request carries no key: send `Authorization: Bearer <token>`",
            )
            .challenge("Bearer"),
            _ => Self::new(ProblemKind::Unauthenticated, failure.to_string())
                .challenge("Bearer error=\"invalid_token\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_a_document_is_answered_with_its_place_and_its_field() {
        let field = FieldError::new("steps[1].app", "reprot", "an app that is installed, such as report");
        let document = PlaybookError::Document { line: 7, column: 3, error: field.clone() };
        let syntax =
            PlaybookError::Syntax { line: 7, column: 3, field: None, message: "expected a quote".to_owned() };
        let place = FieldError::new("line 7, column 3", "", "expected a quote");
        let (timeout, message) = ("steps[1].timeout".to_owned(), "\"soon\" is no span of time".to_owned());
        let unread = FieldError::new(&timeout, "", &message);
        let value = PlaybookError::Syntax { line: 7, column: 3, field: Some(timeout), message };
        for (error, named) in [(document, field), (syntax, place), (value, unread)] {
            let problem = Problem::from(error);
            let body: serde_json::Value = serde_json::from_slice(&problem.body("r1")).unwrap();
            assert_eq!(body["type"], ProblemKind::Invalid.uri());
            assert!(body["detail"].as_str().unwrap().starts_with("line 7, column 3: "), "{body}");
            assert_eq!(body["errors"], serde_json::json!([named]));
        }
    }
}
