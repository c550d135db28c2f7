//! Quantiles of classic histograms: counters of observations up to a bound, the label `le`.

use std::collections::HashMap;

use super::evaluate::present;
use super::numbers::ascending;
use super::value::{ABSENT, Grid, Line, settle};
use super::{Error, Labels};

/// The label that holds a bucket's bound.
const BOUND: &str = "le";

/// Counts that differ by less, of what both are together, are the same: sums and rates round.
const TOLERANCE: f64 = 1e-12;

/// One bucket at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    /// Observations up to this.
    bound: f64,
    /// All of them, those of smaller buckets included.
    count: f64,
}

/// `histogram_quantile`: of each histogram, the value below which the wanted share of observations lies.
pub(super) fn quantiles(wanted: &[f64], buckets: Vec<Line>, grid: Grid) -> Result<Vec<Line>, Error> {
    let mut groups: Vec<(Labels, Vec<f64>, Vec<Line>)> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let without = [BOUND.to_owned()];
    for line in buckets {
        // What is no bucket is no part of a histogram.
        let Ok(bound) = line.labels.get(BOUND).parse::<f64>() else { continue };
        let labels = line.labels.without(&without);
        let at = *places.entry(labels.clone()).or_insert(groups.len());
        if at == groups.len() {
            groups.push((labels, Vec::new(), Vec::new()));
        }
        groups[at].1.push(bound);
        groups[at].2.push(line);
    }
    let lines = groups.into_iter().map(|(labels, bounds, lines)| {
        let of = |step: usize| {
            let buckets = present(&lines, step).map(|(at, count)| Bucket { bound: bounds[at], count });
            let buckets: Vec<Bucket> = buckets.collect();
            if buckets.is_empty() { ABSENT } else { quantile(wanted[step], buckets) }
        };
        Line { labels, values: (0..grid.count).map(of).collect() }
    });
    settle(lines.collect())
}

/// Whether two counts are one but for rounding, as Prometheus has it.
fn is_rounded(one: f64, other: f64) -> bool {
    let both = one.abs() + other.abs();
    one != 0.0
        && other != 0.0
        && both >= f64::MIN_POSITIVE
        && (one - other).abs() / both.min(f64::MAX) < TOLERANCE
}

/// Linear within a bucket; the first begins at 0 unless its bound is below, and the last has no end to lie at.
fn quantile(wanted: f64, mut buckets: Vec<Bucket>) -> f64 {
    if wanted.is_nan() {
        return f64::NAN;
    }
    if wanted < 0.0 {
        return f64::NEG_INFINITY;
    }
    if wanted > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| ascending(&a.bound, &b.bound));
    // Of one bound twice, both count.
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        kept.count += if same { next.count } else { 0.0 };
        same
    });
    // No bucket holds less than a smaller one, whatever scrapes that were apart say, or more by what rounding made.
    let mut before = f64::NEG_INFINITY;
    for bucket in &mut buckets {
        if bucket.count < before || is_rounded(before, bucket.count) {
            bucket.count = before;
        }
        before = bucket.count;
    }
    let [.., before_last, last] = &*buckets else { return f64::NAN };
    if last.bound != f64::INFINITY || last.count == 0.0 {
        return f64::NAN;
    }
    let rank = wanted * last.count;
    let at = buckets[..buckets.len() - 1].partition_point(|bucket| bucket.count < rank);
    if at == buckets.len() - 1 {
        return before_last.bound;
    }
    let Bucket { bound, count } = buckets[at];
    if at == 0 && bound <= 0.0 {
        return bound;
    }
    let (start, below) = if at == 0 { (0.0, 0.0) } else { (buckets[at - 1].bound, buckets[at - 1].count) };
    start + (bound - start) * ((rank - below) / (count - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_does_not_fall_into_a_bucket_that_only_rounding_filled() {
        let of = |counts: [f64; 5]| {
            let bounds = [0.1, 1.0, 2.0, 10.0, f64::INFINITY];
            let buckets = bounds.into_iter().zip(counts).map(|(bound, count)| Bucket { bound, count });
            quantile(1.0, buckets.collect())
        };
        let (more, less) = (1000.0 + 1e-10, 1000.0 - 1e-10);
        for counts in [
            [500.0, 1000.0, 1000.0, 1000.0, 1000.0],
            [500.0, 1000.0, 1000.0, more, more],
            [500.0, 1000.0, more, 1000.0, more],
            [500.0, 1000.0, less, more, less],
        ] {
            assert_eq!(of(counts), 1.0, "{counts:?}");
        }
        assert_eq!(of([500.0, 1000.0, 1000.0, 1000.1, 1000.1]), 10.0);
        assert_eq!(of([0.0, 0.0, 1e-300, 1e-300, 1e-300]), 2.0, "nothing and little are not the same");
    }
}
