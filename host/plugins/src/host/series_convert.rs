//! Tagged series' words in the contract's types and back, for both series interfaces.

use bellwether_access::Role;
use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_metrics::NamePattern;
use bellwether_series::{Filter, Metadata, MetricKind, RollUp, SeriesError, parse_filter};

use super::convert::{self, covers, field_error, store_refused, time};
use super::{Call, contract};
use contract::series_types as wit;

impl wit::Host for Call {}

impl Call {
    /// The caller's organisation, if the caller may do what needs `role`.
    pub(super) async fn series_caller(&mut self, role: Role) -> Result<OrganisationId, wit::SeriesError> {
        let caller = self.reach(role).await;
        caller.map(|caller| caller.organisation).map_err(wit::SeriesError::Forbidden)
    }
}

/// Refuses a metric that no pattern matches.
pub(super) fn granted(patterns: &[NamePattern], metric: &str) -> Result<(), wit::SeriesError> {
    if covers(patterns, metric) { Ok(()) } else { Err(not_granted(metric)) }
}

fn not_granted(metric: &str) -> wit::SeriesError {
    wit::SeriesError::Forbidden(format!("the plugin's grant does not cover the metric {metric:?}"))
}

pub(super) fn series_error(error: SeriesError) -> wit::SeriesError {
    let text = error.to_string();
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    match error {
        SeriesError::UnknownMetric(name) => wit::SeriesError::UnknownMetric(name),
        SeriesError::Invalid(field) => wit::SeriesError::Invalid(field_error(field)),
        SeriesError::Syntax { line, column, message } => {
            wit::SeriesError::Syntax(wit::SyntaxError { line: number(line), column: number(column), message })
        }
        SeriesError::Forbidden(metric) => not_granted(&metric),
        SeriesError::Limit { .. } => wit::SeriesError::Limit(text),
        SeriesError::Store(error) => wit::SeriesError::Unavailable(store_refused(&error)),
        _ => wit::SeriesError::Other(text),
    }
}

/// An instant of the contract; `field` names the argument it came in.
pub(super) fn instant(milliseconds: i64, field: &str) -> Result<Timestamp, wit::SeriesError> {
    time(milliseconds, || field.to_owned()).map_err(invalid)
}

pub(super) fn filter(text: &str) -> Result<Filter, wit::SeriesError> {
    parse_filter(text).map_err(series_error)
}

/// How many items a page may have.
pub(super) fn page(limit: u32) -> Result<usize, wit::SeriesError> {
    convert::limit(limit, crate::limits::PAGE).map_err(invalid)
}

pub(super) fn invalid(error: FieldError) -> wit::SeriesError {
    wit::SeriesError::Invalid(field_error(error))
}

pub(super) fn metadata(metadata: &Metadata) -> wit::Metadata {
    // Roll-ups are the operator's: the contract's record cannot grow, and plugins need not know.
    let Metadata { kind, unit, per_unit, description, short_name, integration, keep_days, roll_ups: _ } =
        metadata.clone();
    let kind = match kind {
        MetricKind::Gauge => wit::MetricKind::Gauge,
        MetricKind::Count => wit::MetricKind::Count,
        MetricKind::Rate => wit::MetricKind::Rate,
        MetricKind::Distribution => wit::MetricKind::Distribution,
    };
    wit::Metadata { kind, unit, per_unit, description, short_name, integration, keep_days }
}

/// What a plugin says of a metric; roll-ups stay as they are.
pub(super) fn known(metadata: wit::Metadata, roll_ups: Vec<RollUp>) -> Metadata {
    let wit::Metadata { kind, unit, per_unit, description, short_name, integration, keep_days } = metadata;
    let kind = match kind {
        wit::MetricKind::Gauge => MetricKind::Gauge,
        wit::MetricKind::Count => MetricKind::Count,
        wit::MetricKind::Rate => MetricKind::Rate,
        wit::MetricKind::Distribution => MetricKind::Distribution,
    };
    Metadata { kind, unit, per_unit, description, short_name, integration, keep_days, roll_ups }
}
