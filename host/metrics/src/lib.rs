//! Interval metrics: definitions, series, samples, and the queries that read them back.
//!
//! A sample falls into one interval of its metric; what an interval holds is a [`Partial`] aggregate that merges in
//! any order, so that any number of writers, and later of hosts, can add to it. This crate knows organisations by
//! their id alone, checks no permission, and knows no plugin and no HTTP.

mod definition;
mod error;
mod partial;
mod query;
mod refusal;
mod sample;
mod service;
mod sum;

pub use definition::{DataType, Definition, Interval, Metric, MetricReference};
pub use error::MetricError;
pub use partial::Partial;
pub use query::{Aggregate, Fill, IntervalQuery, KeySelection, SeriesPoint, SeriesValues};
pub use sample::{Sample, SampleColumns, Written};
pub use service::{Defined, ListFilter, Limits, Metrics, MetricPage};
