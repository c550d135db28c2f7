//! What is asked of a metric, and the answer.

use bellwether_kernel::Timestamp;

use crate::MetricReference;

/// What an interval without samples answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// It is left out.
    #[default]
    Gaps,
    /// 0 for sum and count; no value for the others.
    Zero,
    /// The value of the interval before it, within the range.
    Previous,
}

/// Which series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySelection {
    /// Every key; for a metric without keys, its one series.
    All,
    /// Just these keys.
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

/// One interval of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesPoint {
    /// Where the interval begins.
    pub start: Timestamp,
    /// What its samples amount to, by the metric's data type; absent only where filled.
    pub value: Option<f64>,
    /// How many samples it has.
    pub count: u64,
}

/// The values of one series, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesValues {
    /// Absent for a metric without keys.
    pub key: Option<String>,
    /// Its intervals.
    pub points: Vec<SeriesPoint>,
}
