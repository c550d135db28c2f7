//! Tagged time series: samples in compressed blocks, an index over their tags, and the queries over both.
//!
//! [`Series`] is the door. A series is a metric and tags; a write goes to the store's log and to memory, from memory to
//! immutable segments of blocks, and small segments are merged into large ones. This crate knows organisations by their
//! id alone, checks no permission but the metrics a query may name, and knows no plugin and no HTTP.

mod ahead;
mod brought;
mod catalogue;
mod codec;
mod error;
mod heads;
mod identity;
mod index;
mod layout;
mod limits;
mod listen;
mod log;
mod loss;
mod metadata;
mod open;
mod query;
mod read;
mod rollup;
mod runs;
mod sample;
mod segment;
mod service;
mod sketch;
mod upkeep;
mod write;
mod writer;

#[cfg(test)]
mod tests;

pub use catalogue::{NumberedSeries, Part, TagKey, TaggedMetric};
pub use error::SeriesError;
pub use identity::{SeriesNumber, split_tag};
pub use index::{Filter, TagPattern};
pub use limits::Limits;
pub use listen::{Hint, Listener};
pub use metadata::{Metadata, MetricKind};
pub use query::{
    Aggregate, Comparison, Expression, Fill, Function, Line, Matcher, Normalise, Operator, Rank, Selection,
    SeriesIdentity, SeriesRaw, TimeRange, Visible, parse_datadog, parse_filter,
};
pub use rollup::RollUp;
pub use sample::Samples;
pub use service::{Parts, Series, Totals};
pub use write::{Sent, SeriesSamples, SeriesSlice};
