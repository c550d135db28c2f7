//! The four kinds of data points as rows: what stands behind the metric's name, a tag of its own, and a value.
//!
//! Histograms and summaries are those of Prometheus: a series for each bucket with how many values lie up to its bound
//! (`le`), or for each quantile, and series with the sum and the count.

use std::borrow::Cow;

use super::exponential;
use crate::messages::{
    ExponentialHistogramDataPoint, HistogramDataPoint, KeyValue, NumberDataPoint, SummaryDataPoint,
};

/// What ends a series, as Prometheus marks it: its bits, a number that is none.
pub(super) const STALE: u64 = 0x7ff0_0000_0000_0002;

const BUCKET: &str = "_bucket";
const COUNT: &str = "_count";
const SUM: &str = "_sum";
const LE: &str = "le";
const QUANTILE: &str = "quantile";
const INFINITY: &str = "+Inf";

/// One sample of one series.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Stands behind the metric's name.
    pub(super) ending: &'static str,
    /// A tag beside the point's.
    pub(super) label: Option<(&'static str, String)>,
    pub(super) value: f64,
}

impl Row {
    fn of(ending: &'static str, value: f64) -> Self {
        Self { ending, label: None, value }
    }

    fn bucket(bound: String, count: u64) -> Self {
        Self { ending: BUCKET, label: Some((LE, bound)), value: count as f64 }
    }

    /// The metric of its series, of a family of this name.
    pub(super) fn metric<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match self.ending {
            "" => Cow::Borrowed(name),
            ending => Cow::Owned(format!("{name}{ending}")),
        }
    }

    /// The tags of its series, of a point with these: its own stands in the place of one of the same key.
    pub(super) fn tags<'a>(
        &'a self,
        point: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let own = self.label.as_ref().map(|(key, value)| (*key, value.as_str()));
        let others = point.iter().filter(move |(key, _)| own.is_none_or(|(label, _)| label != *key));
        others.copied().chain(own)
    }

    /// Whether it says how many there are of what its point is about: every point has one such row.
    pub(super) fn is_count(&self) -> bool {
        self.label.is_none() && matches!(self.ending, "" | COUNT)
    }

    /// Whether it is a quantile, which counts nothing.
    pub(super) fn is_quantile(&self) -> bool {
        self.label.as_ref().is_some_and(|(key, _)| *key == QUANTILE)
    }
}

/// What all kinds of data points have.
pub(super) trait Point {
    fn attributes(&self) -> &[KeyValue];

    /// Nanoseconds since 1970.
    fn time(&self) -> u64;

    /// The same of what its stream counts from; 0 if nobody knows.
    fn start(&self) -> u64;

    fn flags(&self) -> u32;

    /// Adds its rows; one that has no value any more need not have one.
    ///
    /// # Errors
    /// Says what is wrong, beginning with a dot and the field's name; nothing was added then.
    fn rows(&self, stale: bool, rows: &mut Vec<Row>) -> Result<(), String>;
}

macro_rules! point {
    ($message:ty, $rows:expr) => {
        impl Point for $message {
            fn attributes(&self) -> &[KeyValue] {
                &self.attributes
            }

            fn time(&self) -> u64 {
                self.time_unix_nano
            }

            fn start(&self) -> u64 {
                self.start_time_unix_nano
            }

            fn flags(&self) -> u32 {
                self.flags
            }

            fn rows(&self, stale: bool, rows: &mut Vec<Row>) -> Result<(), String> {
                $rows(self, stale, rows)
            }
        }
    };
}

point!(NumberDataPoint, number);
point!(HistogramDataPoint, histogram);
point!(ExponentialHistogramDataPoint, exponential);
point!(SummaryDataPoint, summary);

fn number(point: &NumberDataPoint, stale: bool, rows: &mut Vec<Row>) -> Result<(), String> {
    let value = point.as_double.or(point.as_int.map(|number| number as f64)).or(stale.then_some(0.0));
    let value = value.ok_or(" has no value, expected as_double or as_int")?;
    rows.push(Row::of("", value));
    Ok(())
}

fn histogram(point: &HistogramDataPoint, stale: bool, rows: &mut Vec<Row>) -> Result<(), String> {
    let HistogramDataPoint { count, sum, bucket_counts, explicit_bounds, .. } = point;
    if let Some(wrong) = explicit_bounds.iter().find(|bound| !bound.is_finite()) {
        return Err(format!(".explicit_bounds has {wrong}, expected finite numbers"));
    }
    if let Some(pair) = explicit_bounds.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!(".explicit_bounds has {} behind {}, expected a larger one", pair[1], pair[0]));
    }
    let bare = bucket_counts.is_empty() && (explicit_bounds.is_empty() || stale);
    if !bare && bucket_counts.len() != explicit_bounds.len() + 1 {
        return Err(format!(
            ".bucket_counts has {}, expected {}: one more than explicit_bounds",
            bucket_counts.len(),
            explicit_bounds.len() + 1
        ));
    }
    if !bare {
        total(*count, ".bucket_counts", bucket_counts.iter().copied())?;
    }
    let mut below = 0;
    for (bound, count) in explicit_bounds.iter().zip(bucket_counts.iter().chain(std::iter::repeat(&0))) {
        below += count;
        rows.push(Row::bucket(number_text(*bound), below));
    }
    end(*count, *sum, rows);
    Ok(())
}

fn exponential(point: &ExponentialHistogramDataPoint, _: bool, rows: &mut Vec<Row>) -> Result<(), String> {
    let threshold = point.zero_threshold;
    if !threshold.is_finite() || threshold < 0.0 {
        return Err(format!(".zero_threshold is {threshold}, expected a finite number from 0 on"));
    }
    let counts = [&point.negative, &point.positive].into_iter().flatten();
    let counts = counts.flat_map(|buckets| &buckets.bucket_counts).copied();
    total(point.count, ".zero_count and bucket_counts", counts.chain([point.zero_count]))?;
    for (bound, below) in exponential::cumulative(point) {
        rows.push(Row::bucket(number_text(bound), below));
    }
    end(point.count, point.sum, rows);
    Ok(())
}

/// The counts of buckets add up to how many values there are, as OTLP demands.
fn total(count: u64, field: &str, counts: impl Iterator<Item = u64>) -> Result<(), String> {
    let all: u128 = counts.map(u128::from).sum();
    if all != u128::from(count) {
        return Err(format!("{field} add up to {all}, expected the point's count, {count}"));
    }
    Ok(())
}

/// What all histograms end with. A sum is left out where values may be negative and it counts nothing.
fn end(count: u64, sum: Option<f64>, rows: &mut Vec<Row>) {
    rows.push(Row::bucket(INFINITY.to_owned(), count));
    rows.push(Row::of(COUNT, count as f64));
    rows.extend(sum.map(|sum| Row::of(SUM, sum)));
}

fn summary(point: &SummaryDataPoint, _: bool, rows: &mut Vec<Row>) -> Result<(), String> {
    let quantiles = &point.quantile_values;
    if let Some(wrong) = quantiles.iter().find(|value| !(0.0..=1.0).contains(&value.quantile)) {
        return Err(format!(".quantile_values has the quantile {}, expected 0 to 1", wrong.quantile));
    }
    rows.extend(quantiles.iter().map(|at| Row {
        ending: "",
        label: Some((QUANTILE, number_text(at.quantile))),
        value: at.value,
    }));
    rows.push(Row::of(COUNT, point.count as f64));
    rows.push(Row::of(SUM, point.sum));
    Ok(())
}

/// A bound as Prometheus writes it, `0.005` and `10`; with an exponent where that would be hundreds of digits.
fn number_text(number: f64) -> String {
    match number.abs() {
        size if size != 0.0 && !(1e-9..1e21).contains(&size) => format!("{number:e}"),
        // There is a zero that is negative.
        0.0 => "0".to_owned(),
        _ => number.to_string(),
    }
}
