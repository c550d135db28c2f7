//! What is written, and what a write amounted to.

use bellwether_kernel::{Moment, Timestamp};

use crate::MetricReference;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its metric.
    pub metric: MetricReference,
    /// Its series; needed for a keyed metric, refused for one without keys. 1 to 200 characters.
    pub key: Option<String>,
    /// A finite number. A metric of type count goes without, or with 1: each of its samples is 1.
    pub value: Option<f64>,
    /// When it happened, a day or a local time in the metric's own time zone; absent means now.
    pub time: Option<Moment>,
    /// Above 0; absent means 1. Only averages look at it.
    pub weight: Option<f64>,
}

/// Samples of one series in columns, as plugins send them.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleColumns {
    /// Their metric.
    pub metric: MetricReference,
    /// Their series.
    pub key: Option<String>,
    /// When each happened; empty means now, for all.
    pub times: Vec<Timestamp>,
    /// Their values; may be empty for a metric of type count, where each is 1, whatever it says.
    pub values: Vec<f64>,
    /// Their weights; empty means 1.
    pub weights: Vec<f64>,
}

/// What one entry of a write amounted to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    /// Where the interval of the entry's last sample begins.
    pub interval_start: Timestamp,
    /// That interval's value, this write included.
    pub value: f64,
}
