//! Interval metrics: definitions, series, samples, and the queries that read them back.
//!
//! A sample falls into one interval of its metric; what an interval holds is a [`Partial`] aggregate that merges in
//! any order, so that any number of writers, and of hosts, can add to it. This crate knows organisations by their id
//! alone, checks no permission, and knows no plugin and no HTTP.

mod catalogue;
mod definition;
mod definitions;
mod entry;
mod erase;
mod error;
mod interval;
mod layout;
mod log;
mod once;
mod partial;
mod pattern;
mod query;
mod read;
mod refusal;
mod sample;
mod service;
mod sum;
mod sweep;
mod watch;
mod write;

#[cfg(test)]
mod tests;

pub use definition::{DataType, Definition, Interval, MAX_DESCRIPTION, MAX_NAME, Metric, MetricReference};
pub use entry::MAX_KEY;
pub use error::MetricError;
pub use log::{LogState, Logged};
pub use once::{Record, RecordedWrite};
pub use partial::Partial;
pub use pattern::{InvalidPattern, NamePattern, split_at_commas};
pub use query::{Aggregate, Fill, IntervalQuery, KeyFilter, KeySelection, SeriesPoint, SeriesValues};
pub use sample::{Sample, SampleColumns, Written};
pub use service::{Defined, Limits, ListFilter, MetricPage, Metrics};
pub use sweep::Swept;
