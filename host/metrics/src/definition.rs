//! What a metric is.

use std::fmt;

use bellwether_kernel::{FieldError, MetricId, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest name of a metric, in characters.
pub const MAX_NAME: usize = 200;

/// The longest description of a metric, in characters: ThreatConnect's limit.
pub const MAX_DESCRIPTION: usize = 500;

/// How the samples of one interval become its one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// The sum of the values.
    Sum,
    /// How many samples there were; values are not needed.
    Count,
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The value of the earliest sample.
    First,
    /// The value of the latest sample.
    Last,
    /// The mean of the values, weighted where samples carry weights.
    Average,
}

/// How long one value gathers samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// Begins on the hour.
    Hourly,
    /// Begins at midnight.
    Daily,
    /// Begins on Monday (ISO 8601).
    Weekly,
    /// Begins on the first of the month.
    Monthly,
    /// Begins on the first of January.
    Yearly,
}

impl DataType {
    /// Its name as it is written everywhere: `sum`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Average => "average",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Interval {
    /// Its name as it is written everywhere: `hourly`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a metric is, chosen when it is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// 1 to 200 characters, no control characters, unique in its organisation.
    pub name: String,
    /// How samples become a value.
    pub data_type: DataType,
    /// How long a value gathers samples.
    pub interval: Interval,
    /// Whether every sample names a key, each key a series of its own.
    pub keyed: bool,
    /// At most 500 characters.
    pub description: Option<String>,
}

impl Definition {
    /// Refuses a name or description that is too long, a name without characters or with control characters, and one
    /// that no URL can hold: clients take the segments `.` and `..` out of a path, however they are encoded.
    pub(crate) fn check(&self) -> Result<(), FieldError> {
        let length = self.name.chars().count();
        let reachable = self.name != "." && self.name != "..";
        if !(1..=MAX_NAME).contains(&length) || self.name.contains(char::is_control) || !reachable {
            let expected = format!("1 to {MAX_NAME} characters without control characters, not `.` or `..`");
            return Err(FieldError::new("definition.name", &self.name, expected));
        }
        check_description("definition.description", self.description.as_deref())
    }

    /// The first field that cannot differ between two definitions of one metric and does, and what it is here.
    /// The description may: it is words about the metric, and changed by
    /// [`update_description`](crate::Metrics::update_description).
    pub(crate) fn difference(&self, other: &Self) -> Option<(&'static str, String)> {
        if self.data_type != other.data_type {
            Some(("data_type", self.data_type.to_string()))
        } else if self.interval != other.interval {
            Some(("interval", self.interval.to_string()))
        } else if self.keyed != other.keyed {
            Some(("keyed", self.keyed.to_string()))
        } else {
            None
        }
    }
}

/// Refuses a description that is too long.
pub(crate) fn check_description(field: &str, description: Option<&str>) -> Result<(), FieldError> {
    match description {
        Some(text) if text.chars().count() > MAX_DESCRIPTION => {
            Err(FieldError::new(field, text, format!("at most {MAX_DESCRIPTION} characters")))
        }
        _ => Ok(()),
    }
}

/// A metric as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Never used twice within its organisation.
    pub id: MetricId,
    /// What it is.
    pub definition: Definition,
    /// The IANA name of the time zone its intervals begin in, kept from when it was created.
    pub time_zone: String,
    /// When it was created.
    pub created: Timestamp,
}

/// One of the two names of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetricReference {
    /// By its id.
    Id(MetricId),
    /// By its name.
    Name(String),
}
