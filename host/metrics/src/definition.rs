//! What a metric is.

use bellwether_kernel::{MetricId, Timestamp};
use serde::{Deserialize, Serialize};

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
