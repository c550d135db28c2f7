//! PromQL, worked out over samples somebody else fetches.
//!
//! An expression is worked out once for all steps of a range: labels are compared once for each series and not once for
//! each step, values are columns. What the functions do, to the order in which sums are made, is as Prometheus 3
//! documents it; windows are open to the left.

mod aggregate;
mod ast;
mod binary;
mod evaluate;
mod functions;
mod histogram;
mod info;
mod labels;
mod numbers;
mod order;
mod over_time;
mod read;
mod select;
mod tokens;
mod types;
mod value;

use bellwether_sdk::series::{Matcher, SeriesError};

pub(crate) use ast::Expr;
pub(crate) use evaluate::{Answer, instant, range};
pub(crate) use labels::{Labels, NAME, is_label, key_of, label_of};
pub(crate) use read::{duration, parse};
pub(crate) use value::{Grid, Line, is_absent};

/// How long the last sample of a series stands for its value, in milliseconds, unless asked otherwise: Prometheus' own
/// five minutes.
pub(crate) const LOOKBACK: i64 = 5 * 60 * 1000;

/// The step of a subquery that says none, in milliseconds: Prometheus' default evaluation interval.
const SUBQUERY_STEP: i64 = 60 * 1000;

/// Samples that are loaded at once: 16 MB of the 64 MiB a call may hold.
const SAMPLES: u32 = 1_000_000;

/// Samples one query may load, some steps after the others: a call has two seconds, and a sum over five million took 0.8.
const ALL_SAMPLES: u64 = 10_000_000;

/// Values of one part of an expression, all its series at all steps that are worked out at once: 16 MB, and a binary
/// operator holds three. So many an answer may have.
const VALUES: usize = 1_000_000;

/// Where samples come from.
pub(crate) trait Source {
    /// The series all matchers mean, with their samples from `start` to `end`, both included, at most `most` in all;
    /// in order of labels.
    fn series(
        &self,
        matchers: &[Matcher],
        start: i64,
        end: i64,
        most: u32,
    ) -> Result<Vec<Series>, SeriesError>;
}

/// Samples of one series in columns, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Error {
    /// It does not read, or is not served.
    Bad(String),
    /// It cannot be worked out over these series.
    Execution(String),
    /// It would hold too much at once.
    TooMany(String),
    /// The samples could not be had.
    Source(SeriesError),
}

/// The value as a limit says it.
fn too_many(what: &str, limit: usize) -> Error {
    Error::TooMany(format!(
        "query processing would load too many samples into memory in query execution: at most {limit} {what}; \
         ask for less time, fewer series or longer steps"
    ))
}
