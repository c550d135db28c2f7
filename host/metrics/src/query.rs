//! What is asked of a metric, and the answer.

use bellwether_kernel::Timestamp;
use serde::Serialize;

use crate::MetricReference;

/// What an interval without samples answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// It is left out.
    #[default]
    Gaps,
    /// 0 for sum and count; no value for the others.
    Zero,
    /// The value of the last interval before it that has samples, if that lies ahead of the range too; no value where
    /// there is none.
    Previous,
}

/// Which series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySelection {
    /// Every key; for a metric without keys, its one series. With [`Fill::Gaps`] a key without samples in the
    /// range is left out.
    All,
    /// Just these keys, each answered once. A key that was never written is answered like one without samples in
    /// the range: no points with [`Fill::Gaps`], filled ones otherwise. Refused for a metric without keys.
    Keys(Vec<String>),
}

/// A query over intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntervalQuery {
    /// Of which metric.
    pub metric: MetricReference,
    /// Which series.
    pub keys: KeySelection,
    /// The first interval is the one that contains this instant.
    pub start: Timestamp,
    /// The last interval is the one that contains this instant; `start = end` asks for one interval.
    pub end: Timestamp,
    /// What an interval without samples answers.
    pub fill: Fill,
}

/// Everything the samples of one interval amount to, whatever the metric's data type asks for.
///
/// In a metric of type count every sample has the value 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Aggregate {
    /// How many samples there were.
    pub count: u64,
    /// The sum of the values; one beyond the range of a double is given as the largest double.
    pub sum: f64,
    /// The smallest value.
    pub minimum: f64,
    /// The largest value.
    pub maximum: f64,
    /// The value of the earliest sample.
    pub first: f64,
    /// The value of the latest sample.
    pub last: f64,
    /// The mean of the values; weighted in a metric of type average.
    pub average: f64,
}

/// One interval of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesPoint {
    /// Where the interval begins.
    pub start: Timestamp,
    /// What its samples amount to, by the metric's data type; absent only where filled.
    pub value: Option<f64>,
    /// How many samples it has.
    pub count: u64,
    /// Everything else its samples amount to; absent where there are none.
    pub aggregate: Option<Aggregate>,
}

/// The values of one series, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesValues {
    /// Absent for a metric without keys.
    pub key: Option<String>,
    /// Its intervals.
    pub points: Vec<SeriesPoint>,
}

/// Which keys of a metric are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Only keys that begin with this.
    pub prefix: Option<String>,
    /// Only keys that contain this, letter case minded.
    pub contains: Option<String>,
}
