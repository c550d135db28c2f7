//! What one host's samples of one interval of one series amount to, and how such parts become a whole.

use std::cmp::Ordering;

use bellwether_kernel::{HostId, Timestamp};
use bellwether_store::{MergeError, Versioned, decode, encode};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::sum::Sum;
use crate::{Aggregate, DataType};

/// A sample's value and what orders it among the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Moment {
    time: Timestamp,
    /// Stored in the row's key, see [`Partial::at`].
    #[serde(skip)]
    host: u64,
    /// How many samples its host had in this interval before it.
    sequence: u64,
    value: f64,
}

impl Moment {
    /// By time, then host, then order of arrival. The value decides only between parts that were not told apart,
    /// so that even those merge in any order.
    fn order(&self, other: &Self) -> Ordering {
        (self.time, self.host, self.sequence)
            .cmp(&(other.time, other.host, other.sequence))
            .then(self.value.total_cmp(&other.value))
    }
}

/// Σ value × weight and Σ weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Weighted {
    products: Sum,
    weights: Sum,
}

/// A partial aggregate of one or more samples: enough to answer every [`DataType`], and to be merged with others of
/// the same interval in any order and any grouping.
///
/// All but the sums come out the same to the last bit. A sum of whole numbers of at most 2⁵³ is exact and rounded
/// once. Other sums of n values are within 2u·|Σx| + 4n²u²·Σ|x| of the exact one, u being 2⁻⁵³ (Neumaier's
/// compensated summation, 1974; `sum.rs` has the reference and the reasoning). An average is Σvw ÷ Σw, each within
/// that bound for 2n terms, the quotient rounded once more and held between minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    count: u64,
    sum: Sum,
    minimum: f64,
    maximum: f64,
    first: Moment,
    last: Moment,
    /// Absent while every weight is 1: then it is `sum` and `count`.
    weighted: Option<Weighted>,
}

impl Versioned for Partial {
    const NAME: &'static str = "partial aggregate";
}

impl Partial {
    /// Of one sample: a finite value, a weight above 0 whose product with it is finite.
    #[must_use]
    pub fn of(time: Timestamp, value: f64, weight: f64) -> Self {
        // No negative zero: it would tell 0 from 0 and so one order of merging from another.
        let value = value + 0.0;
        let mut sum = Sum::default();
        sum.add(value);
        let weighted = (weight != 1.0).then(|| {
            let mut weighted = Weighted { products: Sum::default(), weights: Sum::default() };
            weighted.products.add_product(value, weight);
            weighted.weights.add(weight);
            weighted
        });
        let moment = Moment { time, host: 0, sequence: 0, value };
        Self { count: 1, sum, minimum: value, maximum: value, first: moment, last: moment, weighted }
    }

    /// The same, written by `host`. Which host a stored one is of stands in its key.
    #[must_use]
    pub fn at(mut self, host: HostId) -> Self {
        self.first.host = host.0;
        self.last.host = host.0;
        self
    }

    /// Adds what came later at the same host.
    pub fn append(&mut self, mut later: Self) {
        later.first.sequence = later.first.sequence.saturating_add(self.count);
        later.last.sequence = later.last.sequence.saturating_add(self.count);
        self.merge(&later);
    }

    /// Adds what another host has of the same interval. Commutative and associative, see [`Self`].
    pub fn merge(&mut self, other: &Self) {
        self.weighted = match (self.weighted, other.weighted) {
            (None, None) => None,
            _ => {
                let (mut all, more) = (self.weighted(), other.weighted());
                all.products.merge(&more.products);
                all.weights.merge(&more.weights);
                Some(all)
            }
        };
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum);
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        if other.first.order(&self.first).is_lt() {
            self.first = other.first;
        }
        if other.last.order(&self.last).is_gt() {
            self.last = other.last;
        }
    }

    fn weighted(&self) -> Weighted {
        self.weighted.unwrap_or_else(|| Weighted { products: self.sum, weights: Sum::of_ones(self.count) })
    }

    /// How many samples there are; at least 1.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum; one beyond the range of a double is answered as the largest double.
    fn sum(&self) -> f64 {
        self.sum.total().clamp(f64::MIN, f64::MAX)
    }

    /// Whether no double holds the sum.
    fn sum_overflows(&self) -> bool {
        !self.sum.total().is_finite()
    }

    fn average(&self) -> f64 {
        let Weighted { products, weights } = self.weighted();
        products.divided_by(&weights).clamp(self.minimum, self.maximum)
    }

    /// What the samples amount to as `data_type` has it.
    #[must_use]
    pub fn value(&self, data_type: DataType) -> f64 {
        match data_type {
            DataType::Sum => self.sum(),
            DataType::Count => self.count as f64,
            DataType::Min => self.minimum,
            DataType::Max => self.maximum,
            DataType::First => self.first.value,
            DataType::Last => self.last.value,
            DataType::Average => self.average(),
        }
    }

    /// Everything the samples amount to.
    #[must_use]
    pub fn aggregate(&self) -> Aggregate {
        Aggregate {
            count: self.count,
            sum: self.sum(),
            minimum: self.minimum,
            maximum: self.maximum,
            first: self.first.value,
            last: self.last.value,
            average: self.average(),
        }
    }
}

/// The operand that adds samples to a stored [`Partial`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Addition {
    /// Which entry of the write it comes from, so that a refusal can name it.
    pub(crate) entry: u32,
    pub(crate) partial: Partial,
}

impl Versioned for Addition {
    const NAME: &'static str = "addition to a partial aggregate";
}

/// Adds an [`Addition`] to a stored [`Partial`].
pub(crate) fn add(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    Ok(encode(&added(existing, operand)?.partial).into())
}

/// As [`add`], refusing a sum that no double holds: for metrics whose value is the sum.
pub(crate) fn add_to_sum(existing: Option<&[u8]>, operand: &[u8]) -> Result<Vec<u8>, MergeError> {
    let added = added(existing, operand)?;
    if added.partial.sum_overflows() {
        return Err(Refusal::SumOverflows { entry: added.entry }.into());
    }
    Ok(encode(&added.partial).into())
}

fn added(existing: Option<&[u8]>, operand: &[u8]) -> Result<Addition, MergeError> {
    let damaged = |error: bellwether_store::StoreError| MergeError(error.to_string());
    let Addition { entry, mut partial } = decode(operand).map_err(damaged)?;
    if let Some(existing) = existing {
        let mut before: Partial = decode(existing).map_err(damaged)?;
        before.append(partial);
        partial = before;
    }
    Ok(Addition { entry, partial })
}
