//! What can be asked of series: an expression over selections, whatever language it was written in.
//!
//! A selection takes the series of one metric that a filter means, makes one value of each series' samples for every
//! step, and one value of all series of a group. Steps lie on multiples of their length since the epoch, and a point
//! bears the time its step begins. Values that are no finite number are left out, as are points that would be. Samples that
//! are kept as roll-ups count as if they had all been taken when their step begins.

mod datadog;
mod evaluate;
mod functions;
mod matching;
mod moving;
mod over_rolled;
mod over_series;
mod over_time;
mod total;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use bellwether_store::StoreError;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::service::Series;
use crate::{Filter, SeriesError};

pub use datadog::{parse as parse_datadog, parse_filter};
pub use functions::{Fill, Function, Rank};
pub(crate) use matching::check_wanted;
pub use matching::{Comparison, Matcher, SeriesIdentity};

/// How many values become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregate {
    /// Their mean.
    Average,
    /// Their sum.
    Sum,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// How many there are.
    Count,
    /// The latest; of several series, the one with the latest sample.
    Last,
    /// The value below which so many percent lie, between two by linear interpolation; 0 to 100.
    Percentile(f64),
}

/// The series of one metric, made one line for each group.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The metric.
    pub metric: String,
    /// Which of its series.
    pub filter: Filter,
    /// How several series become one line. A percentile without [`Self::over_time`] is taken of all their samples.
    pub over_series: Aggregate,
    /// By which tags' values series are grouped; all are one group if by none. A series without one of them has the
    /// empty value, one with several is in each group.
    pub by: Vec<String>,
    /// How the samples of one step become one value; by default the sum for a count, the mean for all else.
    pub over_time: Option<Aggregate>,
    /// Steps of so many milliseconds; by default the query's.
    pub step: Option<i64>,
    /// What the values are turned into.
    pub normalise: Option<Normalise>,
    /// Milliseconds that each sample is of: a rate's becomes a count by them, and they count in the place of steps that are
    /// shorter when counts become rates.
    pub sampled: Option<i64>,
}

/// What counts and rates are turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalise {
    /// How many in each step.
    Count,
    /// How many a second.
    Rate,
}

/// Between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// Something with lines for its value.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// The same at every step.
    Number(f64),
    /// Series.
    Select(Selection),
    /// Lines of the same tags, or each line and one without tags, point by point where both have one.
    Binary(Operator, Box<Self>, Box<Self>),
    /// A function of each line, or of all.
    Apply(Function, Box<Self>),
}

impl Selection {
    /// Every series of a metric, averaged.
    pub fn new(metric: impl Into<String>) -> Self {
        Self {
            metric: metric.into(),
            filter: Filter::All,
            over_series: Aggregate::Average,
            by: Vec::new(),
            over_time: None,
            step: None,
            normalise: None,
            sampled: None,
        }
    }

    /// Only what `filter` means too.
    #[must_use]
    pub fn matching(mut self, filter: Filter) -> Self {
        self.filter = match std::mem::take(&mut self.filter) {
            Filter::All => filter,
            Filter::And(mut filters) => {
                filters.push(filter);
                Filter::And(filters)
            }
            before => Filter::And(vec![before, filter]),
        };
        self
    }

    /// Groups by these tags, and makes one line of each group by `over_series`.
    #[must_use]
    pub fn grouped(mut self, over_series: Aggregate, by: impl IntoIterator<Item: Into<String>>) -> Self {
        self.over_series = over_series;
        self.by = by.into_iter().map(Into::into).collect();
        self
    }

    /// Makes one value of each series and step by `over_time`, with steps of so many milliseconds if said.
    #[must_use]
    pub fn rolled_up(mut self, over_time: Aggregate, step: Option<i64>) -> Self {
        (self.over_time, self.step) = (Some(over_time), step);
        self
    }
}

impl Expression {
    /// This, as a function's argument.
    #[must_use]
    pub fn apply(self, function: Function) -> Self {
        Self::Apply(function, Box::new(self))
    }

    /// This and another.
    #[must_use]
    pub fn with(self, operator: Operator, other: Self) -> Self {
        Self::Binary(operator, Box::new(self), Box::new(other))
    }

    /// How many operators and functions lie around its innermost part.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Number(_) | Self::Select(_) => 0,
            Self::Binary(_, left, right) => 1 + left.depth().max(right.depth()),
            Self::Apply(_, argument) => 1 + argument.depth(),
        }
    }

    /// Every selection, where each is of the range itself and its series are found without going through values.
    fn plain_selections(&self) -> Option<Vec<&Selection>> {
        Some(match self {
            Self::Number(_) => Vec::new(),
            Self::Select(selection) => vec![selection.filter.is_exact().then_some(selection)?],
            Self::Binary(_, left, right) => [left.plain_selections()?, right.plain_selections()?].concat(),
            Self::Apply(function, _) if function.shift() != 0 => return None,
            Self::Apply(_, argument) => argument.plain_selections()?,
        })
    }

    /// Every metric it names.
    pub fn metrics(&self) -> Vec<&str> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Select(selection) => vec![&selection.metric],
            Self::Binary(_, left, right) => [left.metrics(), right.metrics()].concat(),
            Self::Apply(_, argument) => argument.metrics(),
        }
    }
}

/// Over which time, and how finely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first sample may have this time.
    pub start: Timestamp,
    /// The last sample may have this time.
    pub end: Timestamp,
    /// Steps of so many milliseconds; by default one of [`TimeRange::STEPS`] that makes 300 points at most.
    pub step: Option<i64>,
}

impl TimeRange {
    /// Seconds a step has by default.
    pub const STEPS: [i64; 18] = [
        1, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 604_800,
    ];

    /// The length of a step in milliseconds.
    #[must_use]
    pub fn step(&self) -> i64 {
        self.step.unwrap_or_else(|| {
            let length = self.end.milliseconds_since(self.start);
            let fits = Self::STEPS.iter().find(|seconds| length / (**seconds * 1000) <= 300);
            1000 * fits.copied().unwrap_or_else(|| (length / 300_000 / 604_800 + 1) * 604_800)
        })
    }

    fn check(&self) -> Result<(), SeriesError> {
        if self.end < self.start {
            let expected = format!("an instant not before start, {}", self.start);
            return Err(FieldError::new("end", self.end, expected).into());
        }
        self.step.map_or(Ok(()), check_step)
    }
}

/// A hundred years, in milliseconds.
const LONGEST_STEP: i64 = 100 * 365 * 24 * 60 * 60 * 1000;

fn check_step(step: i64) -> Result<(), SeriesError> {
    if (1..=LONGEST_STEP).contains(&step) {
        return Ok(());
    }
    Err(FieldError::new("step", step, format!("1 to {LONGEST_STEP} milliseconds")).into())
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The metric, where the line is of one alone.
    pub metric: Option<Arc<str>>,
    /// The tags it is grouped by, with their values.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
    /// Milliseconds of a step.
    pub step: i64,
    /// When each step begins and its value, in order.
    pub points: Vec<(i64, f64)>,
}

/// Raw samples of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRaw {
    /// Its tags, in order.
    pub tags: Vec<Arc<str>>,
    /// Its samples, in order, each time once.
    pub samples: crate::Samples,
}

/// Series times segments, and memory as one of those, up to which a query is answered where it is asked: a millisecond or two.
/// Another thread and the way back take a tenth of one.
const FEW: u64 = 64;

/// Which metrics a caller may read.
pub type Visible<'a> = &'a (dyn Fn(&str) -> bool + Send + Sync);

impl Series {
    /// Answers a query: lines in order of their tags, those without points left out. A metric nobody wrote has no
    /// lines.
    ///
    /// # Errors
    /// [`SeriesError::Invalid`] for a range or step that is none; [`SeriesError::Forbidden`] for a metric that is not
    /// `visible`; [`SeriesError::Limit`] if it would read or answer too much.
    pub async fn query(
        &self,
        organisation: OrganisationId,
        expression: &Expression,
        range: TimeRange,
        visible: Visible<'_>,
    ) -> Result<Vec<Line>, SeriesError> {
        range.check()?;
        if let Some(hidden) = expression.metrics().into_iter().find(|metric| !visible(metric)) {
            return Err(SeriesError::Forbidden(hidden.to_owned()));
        }
        if let Some(answer) = self.at_once(organisation, expression, range).await {
            return answer;
        }
        let (shared, expression) = (Arc::clone(&self.shared), expression.clone());
        self.work(organisation, move |cancelled| {
            evaluate::evaluate(&shared, organisation, &expression, range, false, cancelled)
        })
        .await
    }

    /// The samples of each series that `filter` means, from `start` to `end`, both included; those without any left
    /// out. Where they are kept as roll-ups, the latest of each step; of a count, their sum at that time.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn raw(
        &self,
        organisation: OrganisationId,
        metric: &str,
        filter: &Filter,
        (start, end): (Timestamp, Timestamp),
    ) -> Result<Vec<SeriesRaw>, SeriesError> {
        TimeRange { start, end, step: None }.check()?;
        let (shared, metric, filter) = (Arc::clone(&self.shared), metric.to_owned(), filter.clone());
        self.work(organisation, move |cancelled| {
            evaluate::raw(&shared, organisation, &metric, &filter, (start, end), cancelled)
        })
        .await
    }

    /// The answer, worked out where it is asked, if that is a matter of a millisecond or two: of few series in few segments
    /// that are found at once, with few samples.
    pub(crate) async fn at_once(
        &self,
        organisation: OrganisationId,
        expression: &Expression,
        range: TimeRange,
    ) -> Option<Result<Vec<Line>, SeriesError>> {
        if !self.is_quick(organisation, expression, range)
            || Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread
        {
            return None;
        }
        let _turn = match self.shared.queries.take(organisation).await {
            Ok(turn) => turn,
            Err(error) => return Some(Err(error.into())),
        };
        let answer = tokio::task::block_in_place(|| {
            let nobody = AtomicBool::new(false);
            evaluate::evaluate(&self.shared, organisation, expression, range, true, &nobody)
        });
        // More than it may do here is not more than it may do.
        (!matches!(answer, Err(SeriesError::Limit { .. }))).then_some(answer)
    }

    /// Whether it may be: few series in few segments, that are found at once.
    pub(crate) fn is_quick(
        &self,
        organisation: OrganisationId,
        expression: &Expression,
        range: TimeRange,
    ) -> bool {
        let Some(selections) = expression.plain_selections() else { return false };
        let index = self.shared.index(organisation);
        let index = index.read();
        let count = |one: &Selection| match &one.filter {
            Filter::All => index.series_of(&one.metric),
            filter => index.select(&one.metric, filter).map(|series| series.len()),
        };
        let series: u64 = selections.into_iter().filter_map(count).sum();
        drop(index);
        let (first, last) = (range.start.as_milliseconds(), range.end.as_milliseconds());
        series * (self.shared.segments_within(first, last) as u64 + 1) <= FEW
    }

    /// Works on another thread, where it stops if the caller does not wait any more.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        organisation: OrganisationId,
        work: impl FnOnce(&AtomicBool) -> Result<T, SeriesError> + Send + 'static,
    ) -> Result<T, SeriesError> {
        struct Cancel(Arc<AtomicBool>);
        impl Drop for Cancel {
            fn drop(&mut self) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let turn = self.shared.queries.take(organisation).await?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let _cancel = Cancel(Arc::clone(&cancelled));
        let answer = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&cancelled)
        });
        answer.await.map_err(|error| StoreError::Failed(format!("a query: {error}")))?
    }
}
