//! Metrics' words in the contract's types and back, for both metric interfaces.

use bellwether_access::{Principal, Role};
use bellwether_kernel::{Cursor, FieldError, MetricId, OrganisationId, Seldom, Timestamp};
use bellwether_metrics::{DataType, Definition, Interval, Metric, MetricError, MetricReference, NamePattern};
use bellwether_store::StoreError;

use super::{Call, contract};
use contract::metrics_types as wit;

impl contract::types::Host for Call {}
impl wit::Host for Call {}

/// An instant of the contract; `field` names the argument it came in.
pub(super) fn time(milliseconds: i64, field: impl FnOnce() -> String) -> Result<Timestamp, FieldError> {
    Timestamp::from_milliseconds(milliseconds).ok_or_else(|| {
        let expected = format!("milliseconds since 1970 of an instant {}", Timestamp::bounds());
        FieldError::new(field(), milliseconds, expected)
    })
}

/// How many items are asked for, of which there are `most` at once.
pub(super) fn limit(limit: u32, most: u32) -> Result<usize, FieldError> {
    if (1..=most).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(FieldError::new("limit", limit, format!("1 to {most}")))
}

/// Where a page goes on.
pub(super) fn cursor(text: &str) -> Result<Cursor, FieldError> {
    text.parse().map_err(|_| FieldError::wrong_cursor(text))
}

impl Call {
    /// On whose behalf the call is, if they may do what needs `role` and their organisation is not being deleted.
    pub(super) fn caller(&self, role: Role) -> Result<&Principal, String> {
        let Some(principal) = &self.principal else {
            return Err("nobody is known to call, so no organisation's data can be reached".to_owned());
        };
        if self.services().access.is_deleted(principal.organisation) {
            return Err("the caller's organisation is being deleted".to_owned());
        }
        if principal.role < role {
            let needed = if role == Role::Admin { "admin" } else { "write" };
            return Err(format!("the caller's key does not have the role {needed}"));
        }
        Ok(principal)
    }

    /// As [`Self::caller`], before data is read or, with a role above that, changed: behind what was posted.
    pub(super) async fn reach(&mut self, role: Role) -> Result<&Principal, String> {
        self.caller(role)?;
        if role == Role::Read {
            self.settle().await?;
        } else {
            self.act().await?;
        }
        self.caller(role)
    }

    /// As [`Self::reach`], before a write that goes by [`Self::post`].
    pub(super) async fn reach_to_post(&mut self) -> Result<&Principal, String> {
        if self.may_post() { self.caller(Role::Write) } else { self.reach(Role::Write).await }
    }

    /// The caller's organisation, if the caller may do what needs `role`.
    pub(super) async fn metrics_caller(&mut self, role: Role) -> Result<OrganisationId, wit::MetricError> {
        let caller = self.reach(role).await;
        caller.map(|caller| caller.organisation).map_err(wit::MetricError::Forbidden)
    }

    /// The metric's reference in the host's type, if `patterns` let the plugin see it. A name tells by itself, an id
    /// needs a look at its metric, which is told apart from none only where the plugin may read it.
    pub(super) async fn reference(
        &self,
        organisation: OrganisationId,
        metric: wit::MetricReference,
        patterns: &[NamePattern],
    ) -> Result<MetricReference, wit::MetricError> {
        match metric {
            wit::MetricReference::Name(name) if covers(patterns, &name) => Ok(MetricReference::Name(name)),
            wit::MetricReference::Name(name) => Err(not_granted(&name)),
            wit::MetricReference::Id(id) => {
                let reference = MetricReference::Id(MetricId(id));
                if !patterns.iter().any(NamePattern::is_any) {
                    let found =
                        self.services().metrics.get(organisation, &reference).await.map_err(metric_error)?;
                    let name = &found.definition.name;
                    if !covers(patterns, name) {
                        return Err(match covers(&self.scope.metrics_read, name) {
                            true => not_granted(name),
                            false => wit::MetricError::UnknownMetric(id.to_string()),
                        });
                    }
                }
                Ok(reference)
            }
        }
    }
}

/// Whether one of `patterns` matches.
pub(super) fn covers(patterns: &[NamePattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

pub(super) fn not_granted(name: &str) -> wit::MetricError {
    wit::MetricError::Forbidden(format!("the plugin's grant does not cover the metric {name:?}"))
}

pub(super) fn field_error(error: FieldError) -> contract::types::FieldError {
    contract::types::FieldError { field: error.field, value: error.value, expected: error.expected }
}

pub(super) fn metric_error(error: MetricError) -> wit::MetricError {
    let text = error.to_string();
    match error {
        MetricError::UnknownMetric(name) => wit::MetricError::UnknownMetric(name),
        MetricError::Invalid(field) => wit::MetricError::Invalid(field_error(field)),
        MetricError::Conflict { .. } => wit::MetricError::Conflict(text),
        MetricError::Limit { .. } => wit::MetricError::Limit(text),
        MetricError::Store(error) => wit::MetricError::Unavailable(store_refused(&error)),
    }
}

/// What a plugin is told where the store refused its call. What the store says itself is for the operator: paths and
/// keys are none of a plugin's business.
pub(super) fn store_refused(error: &StoreError) -> String {
    /// A full disk refuses as often as anybody calls.
    static REFUSED: Seldom = Seldom::new();
    if let Some(unsaid) = REFUSED.happened() {
        tracing::warn!(%error, unsaid, "the store refused a plugin's call");
    }
    match error {
        StoreError::DiskFull { .. } => {
            "the host's disk is nearly full, and nothing is written until it has room again"
        }
        _ => "the store does not answer now",
    }
    .to_owned()
}

/// An instant of the contract; `field` names the argument it came in.
pub(super) fn timestamp(
    milliseconds: i64,
    field: impl FnOnce() -> String,
) -> Result<Timestamp, wit::MetricError> {
    time(milliseconds, field).map_err(|error| wit::MetricError::Invalid(field_error(error)))
}

pub(super) fn metric(metric: &Metric) -> wit::Metric {
    let Definition { name, data_type, interval, keyed, description } = &metric.definition;
    wit::Metric {
        id: metric.id.0,
        definition: wit::MetricDefinition {
            name: name.clone(),
            data_type: match data_type {
                DataType::Sum => wit::DataType::Sum,
                DataType::Count => wit::DataType::Count,
                DataType::Min => wit::DataType::Min,
                DataType::Max => wit::DataType::Max,
                DataType::First => wit::DataType::First,
                DataType::Last => wit::DataType::Last,
                DataType::Average => wit::DataType::Average,
            },
            interval: match interval {
                Interval::Hourly => wit::Interval::Hourly,
                Interval::Daily => wit::Interval::Daily,
                Interval::Weekly => wit::Interval::Weekly,
                Interval::Monthly => wit::Interval::Monthly,
                Interval::Yearly => wit::Interval::Yearly,
            },
            keyed: *keyed,
            description: description.clone(),
        },
        time_zone: metric.time_zone.clone(),
        created: metric.created.as_milliseconds(),
    }
}

pub(super) fn definition(definition: wit::MetricDefinition) -> Definition {
    Definition {
        name: definition.name,
        data_type: match definition.data_type {
            wit::DataType::Sum => DataType::Sum,
            wit::DataType::Count => DataType::Count,
            wit::DataType::Min => DataType::Min,
            wit::DataType::Max => DataType::Max,
            wit::DataType::First => DataType::First,
            wit::DataType::Last => DataType::Last,
            wit::DataType::Average => DataType::Average,
        },
        interval: match definition.interval {
            wit::Interval::Hourly => Interval::Hourly,
            wit::Interval::Daily => Interval::Daily,
            wit::Interval::Weekly => Interval::Weekly,
            wit::Interval::Monthly => Interval::Monthly,
            wit::Interval::Yearly => Interval::Yearly,
        },
        keyed: definition.keyed,
        description: definition.description,
    }
}

/// Bytes of a reference as it was handed over.
pub(super) fn reference_size(reference: &wit::MetricReference) -> usize {
    match reference {
        wit::MetricReference::Id(_) => 8,
        wit::MetricReference::Name(name) => name.len(),
    }
}
