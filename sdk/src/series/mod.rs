//! The words of the two privileges over tagged series.

mod convert;
mod learning;
mod table;

use std::fmt;

use crate::Timestamp;
pub use crate::bindings::imports::bellwether::host::series_read::{
    Comparison, Counted, Matcher, Selection, SeriesIdentity,
};
pub use crate::bindings::imports::bellwether::host::series_types::{Metadata, MetricKind, SyntaxError};
pub use crate::metrics::FieldError;
pub use learning::{Gauges, LEARNED, Said, Settling};
pub use table::SampleTable;

/// Bytes of a metric's name that the host takes: for who looks first, so that one wrong series does not cost the others.
pub const LONGEST_METRIC: usize = 200;

/// Tags of a series that the host takes.
pub const MOST_TAGS: usize = 64;

/// Bytes of a tag that the host takes: a key, a colon and a value.
pub const LONGEST_TAG: usize = 400;

/// Samples of one series, in columns of equal length, in any order.
///
/// ```
/// use bellwether_sdk::Timestamp;
/// use bellwether_sdk::series::TaggedSamples;
///
/// let at = Timestamp::from_seconds(1_712_620_800);
/// let samples = TaggedSamples::of("system.cpu.user").tag("host:web-1").at(at, 41.5);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaggedSamples {
    /// 1 to 200 bytes, no control characters.
    pub metric: String,
    /// `key:value`, or a word; in any order.
    pub tags: Vec<String>,
    /// When each was taken.
    pub times: Vec<Timestamp>,
    /// What was measured.
    pub values: Vec<f64>,
}

impl TaggedSamples {
    /// No samples yet, of a series without tags.
    pub fn of(metric: impl Into<String>) -> Self {
        Self { metric: metric.into(), ..Self::default() }
    }

    /// With one more tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// With one more sample.
    #[must_use]
    pub fn at(mut self, time: Timestamp, value: f64) -> Self {
        self.times.push(time);
        self.values.push(value);
        self
    }
}

/// What is asked of tagged series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In Datadog's language: `avg:system.cpu.user{env:prod,!host:a*} by {host}.rollup(max, 60)`.
    pub query: String,
    /// The first sample may have this time.
    pub start: Timestamp,
    /// The last sample may have this time.
    pub end: Timestamp,
    /// The length of a step, in milliseconds; by default one that makes 300 points at most.
    pub step: Option<u64>,
}

impl Question {
    /// With steps as long as the host sees fit.
    pub fn new(query: impl Into<String>, start: Timestamp, end: Timestamp) -> Self {
        Self { query: query.into(), start, end, step: None }
    }

    /// With steps of so many milliseconds.
    #[must_use]
    pub fn step(self, milliseconds: u64) -> Self {
        Self { step: Some(milliseconds), ..self }
    }
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The metric, where the line is of one alone.
    pub metric: Option<String>,
    /// The tags it is grouped by, with their values.
    pub tags: Vec<(String, String)>,
    /// The length of its steps, in milliseconds.
    pub step: u64,
    /// When each step with a value begins, and that value; oldest first.
    pub points: Vec<(Timestamp, f64)>,
}

/// The samples of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSamples {
    /// In order.
    pub tags: Vec<String>,
    /// When each was taken and what was measured, oldest first.
    pub samples: Vec<(Timestamp, f64)>,
}

impl Matcher {
    /// Of a tag's value.
    pub fn tag(key: impl Into<String>, comparison: Comparison, value: impl Into<String>) -> Self {
        Self { key: Some(key.into()), comparison, value: value.into() }
    }

    /// Of the metric's name.
    pub fn metric(comparison: Comparison, value: impl Into<String>) -> Self {
        Self { key: None, comparison, value: value.into() }
    }
}

/// A metric with tagged series.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedMetric {
    /// Its name.
    pub name: String,
    /// How many series it has.
    pub series: u64,
    /// What is known of it.
    pub metadata: Metadata,
}

/// Nothing is known, but that it is a gauge.
impl Default for Metadata {
    fn default() -> Self {
        Self {
            kind: MetricKind::Gauge,
            unit: None,
            per_unit: None,
            description: None,
            short_name: None,
            integration: None,
            keep_days: None,
        }
    }
}

/// Why a call on series did not happen. Nothing of the call took effect.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesError {
    /// There is no such metric, or none the caller may see.
    UnknownMetric(String),
    /// An argument is wrong.
    Invalid(FieldError),
    /// A query or filter does not read.
    Syntax(SyntaxError),
    /// The caller or the plugin's grant does not allow it; says which.
    Forbidden(String),
    /// A limit of the organisation is reached; says which.
    Limit(String),
    /// The host cannot do it now; a later try may succeed.
    Unavailable(String),
    /// Something else.
    Other(String),
}

impl SeriesError {
    /// Whether it is a limit of what one write may bring, not of all there is: a smaller one may be taken.
    #[must_use]
    pub fn is_of_one_write(&self) -> bool {
        // The contract's variant cannot grow, so that the host's words tell.
        matches!(self, Self::Limit(reason) if reason.contains("of one write"))
    }
}

impl fmt::Display for SeriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMetric(metric) => write!(f, "there is no metric {metric:?} with samples"),
            Self::Invalid(error) => error.fmt(f),
            Self::Syntax(SyntaxError { line, column, message }) => {
                write!(f, "line {line}, column {column}: {message}")
            }
            Self::Forbidden(message)
            | Self::Limit(message)
            | Self::Unavailable(message)
            | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for SeriesError {}
