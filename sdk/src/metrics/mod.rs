//! The words of the two metric privileges.

mod convert;

use std::fmt;
use std::str::FromStr;

use crate::Timestamp;
pub use crate::bindings::imports::bellwether::host::metrics_read::{Fill, KeySelection};
pub use crate::bindings::imports::bellwether::host::metrics_types::{DataType, Interval, MetricReference};
use crate::bindings::imports::bellwether::host::types;
use crate::value::Choice;

pub use types::FieldError;

impl Choice for DataType {
    const CASES: &'static [(&'static str, Self)] = &[
        ("sum", Self::Sum),
        ("count", Self::Count),
        ("min", Self::Min),
        ("max", Self::Max),
        ("first", Self::First),
        ("last", Self::Last),
        ("average", Self::Average),
    ];

    fn text(self) -> &'static str {
        Self::CASES[self as usize].0
    }
}

impl Choice for Interval {
    const CASES: &'static [(&'static str, Self)] = &[
        ("hourly", Self::Hourly),
        ("daily", Self::Daily),
        ("weekly", Self::Weekly),
        ("monthly", Self::Monthly),
        ("yearly", Self::Yearly),
    ];

    fn text(self) -> &'static str {
        Self::CASES[self as usize].0
    }
}

macro_rules! choice_values {
    ($($choice:ty),+) => {$(
        impl crate::FromValue for $choice {
            const TYPE: crate::ValueType = crate::ValueType::Text;

            fn choices() -> Vec<String> {
                Self::CASES.iter().map(|(name, _)| (*name).to_owned()).collect()
            }

            fn from_value(value: crate::Value) -> Result<Self, crate::Mismatch> {
                Self::read(&value)
            }
        }

        impl crate::IntoValue for $choice {
            const TYPE: crate::ValueType = crate::ValueType::Text;

            fn into_value(self) -> crate::Value {
                crate::Value::Text(self.text().to_owned())
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.text())
            }
        }

        impl FromStr for $choice {
            type Err = crate::Mismatch;

            fn from_str(text: &str) -> Result<Self, crate::Mismatch> {
                Self::read(&crate::Value::Text(text.to_owned()))
            }
        }
    )+};
}

choice_values!(DataType, Interval);

impl From<u64> for MetricReference {
    fn from(id: u64) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for MetricReference {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for MetricReference {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<&String> for MetricReference {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

impl From<&Metric> for MetricReference {
    fn from(metric: &Metric) -> Self {
        Self::Id(metric.id)
    }
}

impl From<&MetricReference> for MetricReference {
    fn from(reference: &MetricReference) -> Self {
        reference.clone()
    }
}

impl fmt::Display for MetricReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {:?}, expected {}", self.field, self.value, self.expected)
    }
}

impl std::error::Error for FieldError {}

/// What a metric is, chosen when it is created.
///
/// ```
/// use bellwether_sdk::metrics::{DataType, Definition, Interval};
///
/// let definition = Definition::new("logins", DataType::Sum, Interval::Daily).keyed().description("By user");
/// assert!(definition.keyed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// 1 to 200 characters, unique in the organisation, no control characters.
    pub name: String,
    /// How the samples of one interval become its one value.
    pub data_type: DataType,
    /// How long one value gathers samples.
    pub interval: Interval,
    /// Whether every sample names a key, each key a series of its own.
    pub keyed: bool,
    /// At most 500 characters.
    pub description: Option<String>,
}

impl Definition {
    /// A metric without keys and without description.
    pub fn new(name: impl Into<String>, data_type: DataType, interval: Interval) -> Self {
        Self { name: name.into(), data_type, interval, keyed: false, description: None }
    }

    /// The same with keys.
    #[must_use]
    pub fn keyed(self) -> Self {
        Self { keyed: true, ..self }
    }

    /// The same with a description.
    #[must_use]
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }
}

/// A metric as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Counted from 1 within the organisation, never used twice.
    pub id: u64,
    /// What it is.
    pub definition: Definition,
    /// The IANA name of the time zone its intervals begin in.
    pub time_zone: String,
    /// When it was created.
    pub created: Timestamp,
}

/// A page of a list of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPage {
    /// Ordered by id. The plugin sees only what its grant's patterns match.
    pub metrics: Vec<Metric>,
    /// How many there are in all pages together.
    pub total: u64,
}

/// A metric and whether the call made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    /// The metric.
    pub metric: Metric,
    /// Whether it is new.
    pub created: bool,
}

/// Samples of one series of one metric, in columns.
///
/// ```
/// use bellwether_sdk::metrics::Samples;
///
/// let one = Samples::of("logins").key("jack").value(1.0);
/// let hit = Samples::of(7); // one sample, now, of a metric of type count
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Their metric.
    pub metric: MetricReference,
    /// Needed for a keyed metric, refused for one without keys. 1 to 200 characters.
    pub key: Option<String>,
    /// When each sample happened; empty means now, for every sample.
    pub times: Vec<Timestamp>,
    /// The values; finite. For a metric of type count it may be empty where `times` says how many, or both empty for
    /// one.
    pub values: Vec<f64>,
    /// A weight for each value, above 0; empty means 1. Only averages look at it.
    pub weights: Vec<f64>,
}

impl Samples {
    /// No values yet, for the metric of this id or name.
    pub fn of(metric: impl Into<MetricReference>) -> Self {
        Self { metric: metric.into(), key: None, times: Vec::new(), values: Vec::new(), weights: Vec::new() }
    }

    /// The same for this key.
    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// With one more value.
    #[must_use]
    pub fn value(mut self, value: f64) -> Self {
        self.values.push(value);
        self
    }

    /// With the next sample's time; give all samples one, or none.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.times.push(time);
        self
    }

    /// With the next sample's weight; give all samples one, or none.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.weights.push(weight);
        self
    }
}

/// What one entry of a write amounted to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    /// Where the interval of the entry's last sample begins.
    pub interval_start: Timestamp,
    /// The value of that interval, this write included.
    pub value: f64,
}

/// A query over intervals.
///
/// ```
/// use bellwether_sdk::Timestamp;
/// use bellwether_sdk::metrics::{Fill, IntervalQuery};
///
/// let day = Timestamp::from_seconds(1_712_620_800);
/// let query = IntervalQuery::new("logins", day, day).keys(["jack", "jill"]).fill(Fill::Zero);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct IntervalQuery {
    /// The metric.
    pub metric: MetricReference,
    /// Which series.
    pub keys: KeySelection,
    /// The first interval is the one that contains this instant.
    pub start: Timestamp,
    /// The last interval is the one that contains this instant, so that `start = end` asks for one interval.
    pub end: Timestamp,
    /// What an interval without samples answers.
    pub fill: Fill,
}

impl IntervalQuery {
    /// Every series, with gaps.
    pub fn new(metric: impl Into<MetricReference>, start: Timestamp, end: Timestamp) -> Self {
        Self { metric: metric.into(), keys: KeySelection::All, start, end, fill: Fill::Gaps }
    }

    /// Only these keys.
    #[must_use]
    pub fn keys<K: Into<String>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: KeySelection::Keys(keys.into_iter().map(Into::into).collect()), ..self }
    }

    /// With this for intervals without samples.
    #[must_use]
    pub fn fill(self, fill: Fill) -> Self {
        Self { fill, ..self }
    }
}

/// The values of one series, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesValues {
    /// Absent for a metric without keys.
    pub key: Option<String>,
    /// One for each interval.
    pub points: Vec<Point>,
}

/// One interval of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When the interval begins.
    pub start: Timestamp,
    /// What its samples amount to; absent only where filled.
    pub value: Option<f64>,
    /// How many samples it has.
    pub count: u64,
}

/// Why a metric call did not happen. Nothing of the call took effect.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricError {
    /// There is no such metric, or none the caller may see.
    UnknownMetric(String),
    /// An argument is wrong.
    Invalid(FieldError),
    /// A metric of that name exists with another definition.
    Conflict(String),
    /// The caller or the plugin's grant does not allow it; says which.
    Forbidden(String),
    /// A limit of the organisation is reached; says which.
    Limit(String),
    /// The host cannot do it now; a later try may succeed.
    Unavailable(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMetric(metric) => write!(f, "there is no metric {metric:?}"),
            Self::Invalid(error) => error.fmt(f),
            Self::Conflict(message)
            | Self::Forbidden(message)
            | Self::Limit(message)
            | Self::Unavailable(message)
            | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for MetricError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_named_by_a_text_in_any_form() {
        let name = "visits".to_owned();
        let references: [MetricReference; 3] = ["visits".into(), (&name).into(), name.clone().into()];
        for reference in references {
            assert_eq!(reference.to_string(), "\"visits\"");
        }
    }
}
