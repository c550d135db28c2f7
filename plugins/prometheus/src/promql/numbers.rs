//! Sums without loss, means, quantiles, and numbers as Go writes them.

use std::cmp::Ordering;

/// A sum that keeps what rounding takes away (Neumaier's).
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_finite() {
            self.lost += match self.sum.abs() >= value.abs() {
                true => (self.sum - sum) + value,
                false => (value - sum) + self.sum,
            };
        } else {
            // What is lost of an infinity is no number.
            self.lost = 0.0;
        }
        self.sum = sum;
    }

    pub(super) fn total(self) -> f64 {
        self.sum + self.lost
    }
}

pub(super) fn sum(values: &[f64]) -> f64 {
    let mut sum = Sum::default();
    values.iter().for_each(|value| sum.add(*value));
    sum.total()
}

/// The mean; of values whose sum is beyond what a number holds, too.
pub(super) fn mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let total = sum(values);
    if total.is_finite() || values.iter().any(|value| !value.is_finite()) {
        return total / count;
    }
    let mut sum = Sum::default();
    values.iter().for_each(|value| sum.add(value / count));
    sum.total()
}

/// The variance of a whole population.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - mean) * (value - mean)).collect();
    sum(&squares) / values.len() as f64
}

/// The larger; a number rather than none.
pub(super) fn larger(one: f64, other: f64) -> f64 {
    if other > one || one.is_nan() { other } else { one }
}

/// The smaller; a number rather than none.
pub(super) fn smaller(one: f64, other: f64) -> f64 {
    if other < one || one.is_nan() { other } else { one }
}

/// The smaller as Go's `math.Min` has it: minus infinity even beside what is no number, which else wins; -0 below 0.
fn minimum(one: f64, other: f64) -> f64 {
    if one == f64::NEG_INFINITY || other == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if one.is_nan() || other.is_nan() {
        return f64::NAN;
    }
    if one.total_cmp(&other).is_lt() { one } else { other }
}

/// A value within bounds, as Prometheus works it out: `math.Max(lowest, math.Min(highest, value))`.
pub(super) fn clamped(value: f64, lowest: f64, highest: f64) -> f64 {
    -minimum(-lowest, -minimum(highest, value))
}

/// In order, what is no number before all others.
pub(super) fn ascending(one: &f64, other: &f64) -> Ordering {
    match (one.is_nan(), other.is_nan()) {
        (false, false) => one.partial_cmp(other).unwrap_or(Ordering::Equal),
        (one, other) => other.cmp(&one),
    }
}

/// The value below which the share `wanted` lies, linear between two; `values` are put in order.
pub(super) fn quantile(wanted: f64, values: &mut [f64]) -> f64 {
    if wanted.is_nan() || values.is_empty() {
        return f64::NAN;
    }
    if wanted < 0.0 {
        return f64::NEG_INFINITY;
    }
    if wanted > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(ascending);
    let rank = wanted * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// A number as Go's `strconv.FormatFloat(value, 'f', -1, 64)` writes it.
pub(super) fn decimal(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}
