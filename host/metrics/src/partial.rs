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

    /// When the latest of the samples happened.
    pub(crate) fn latest(&self) -> Timestamp {
        self.last.time
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One sample as the plainest model keeps it. `host` is where it came in; the order of the list is the order
    /// in which they came.
    #[derive(Clone, Copy, Debug)]
    struct Came {
        host: u64,
        time: i64,
        value: f64,
        weight: f64,
    }

    /// A whole number and the power of two it is divided by: exact in a double, and in an `i128` once scaled.
    fn dyadic(bits: u32) -> impl Strategy<Value = f64> {
        let most = 1_i64 << bits;
        (-most..=most, -10..=10_i32).prop_map(|(whole, power)| whole as f64 * 2_f64.powi(power))
    }

    fn samples(
        value: impl Strategy<Value = f64>,
        weight: impl Strategy<Value = f64>,
    ) -> impl Strategy<Value = Vec<Came>> {
        // Few hosts and few instants, so that ties are common.
        let came = (0..4_u64, -3..3_i64, value, weight);
        let came = came.prop_map(|(host, time, value, weight)| Came { host, time, value, weight });
        prop::collection::vec(came, 1..60)
    }

    /// Stores the samples as the hosts would, in writes of up to `chunk` samples, and merges what the hosts hold
    /// in an order and grouping drawn from `order`.
    fn stored_and_merged(samples: &[Came], chunk: usize, order: &[usize]) -> Partial {
        let mut parts = Vec::new();
        for host in 0..4 {
            let own: Vec<&Came> = samples.iter().filter(|came| came.host == host).collect();
            let mut row: Option<Vec<u8>> = None;
            for write in own.chunks(chunk) {
                let of = |came: &Came| {
                    Partial::of(Timestamp::from_milliseconds(came.time).unwrap(), came.value, came.weight)
                };
                let mut partial = of(write[0]);
                write[1..].iter().for_each(|came| partial.append(of(came)));
                let operand = encode(&Addition { entry: 0, partial });
                row = Some(add_to_sum(row.as_deref(), &operand).unwrap());
            }
            parts.extend(row.map(|row| decode::<Partial>(&row).unwrap().at(HostId(host))));
        }
        let mut order = order.iter().cycle();
        while parts.len() > 1 {
            let taken = parts.swap_remove(order.next().unwrap() % parts.len());
            let into = order.next().unwrap() % parts.len();
            parts[into].merge(&taken);
        }
        parts.remove(0)
    }

    /// What every order and grouping must agree on to the last bit.
    fn check_what_is_exact(partial: &Partial, samples: &[Came]) {
        let in_order = |host, index: usize| (samples[index].time, host, index);
        let first = (0..samples.len()).min_by_key(|index| in_order(samples[*index].host, *index)).unwrap();
        let last = (0..samples.len()).max_by_key(|index| in_order(samples[*index].host, *index)).unwrap();
        assert_eq!(partial.count(), samples.len() as u64);
        assert_eq!(partial.value(DataType::First), samples[first].value);
        assert_eq!(partial.value(DataType::Last), samples[last].value);
        let values = || samples.iter().map(|came| came.value);
        assert_eq!(partial.value(DataType::Min), values().fold(f64::INFINITY, f64::min));
        assert_eq!(partial.value(DataType::Max), values().fold(f64::NEG_INFINITY, f64::max));
    }

    proptest! {
        #[test]
        fn any_order_and_grouping_of_whole_numbers_is_exact(
            samples in samples((-(1_i64 << 53)..=1 << 53).prop_map(|v| v as f64), Just(1.0)),
            chunk in 1..10_usize,
            order in prop::collection::vec(any::<usize>(), 8),
        ) {
            let partial = stored_and_merged(&samples, chunk, &order);
            check_what_is_exact(&partial, &samples);
            let sum: i128 = samples.iter().map(|came| came.value as i128).sum();
            prop_assert_eq!(partial.value(DataType::Sum), sum as f64);
            let average = (sum as f64 / samples.len() as f64).clamp(partial.minimum, partial.maximum);
            prop_assert_eq!(partial.value(DataType::Average), average);
        }

        #[test]
        fn a_weighted_average_of_whole_numbers_is_exact(
            samples in samples((-1_000_000..1_000_000_i32).prop_map(f64::from), (1..1000_i32).prop_map(f64::from)),
            chunk in 1..10_usize,
            order in prop::collection::vec(any::<usize>(), 8),
        ) {
            let partial = stored_and_merged(&samples, chunk, &order);
            let products: i128 = samples.iter().map(|came| (came.value * came.weight) as i128).sum();
            let weights: i128 = samples.iter().map(|came| came.weight as i128).sum();
            prop_assert_eq!(partial.value(DataType::Average), products as f64 / weights as f64);
        }

        #[test]
        fn any_order_and_grouping_of_other_numbers_is_within_the_stated_tolerance(
            samples in samples(dyadic(50), dyadic(26).prop_map(|weight| weight.abs() + 1.0)),
            chunk in 1..10_usize,
            order in prop::collection::vec(any::<usize>(), 8),
        ) {
            let partial = stored_and_merged(&samples, chunk, &order);
            check_what_is_exact(&partial, &samples);
            // Every value is a multiple of 2⁻¹⁰, every product of 2⁻²⁰, so both sums are exact as integers.
            let (unit, n) = (1024.0, samples.len() as f64);
            let (u, scaled) = (2_f64.powi(-53), |value: f64| (value * unit) as i128);
            let values = || samples.iter().map(|came| scaled(came.value));
            let (sum, magnitude) = (values().sum::<i128>(), values().map(i128::abs).sum::<i128>() as f64);
            let tolerance = 2.0 * u * sum.abs() as f64 + 4.0 * n * n * u * u * magnitude;
            // What is left below a unit is an error too.
            let found = partial.value(DataType::Sum) * unit;
            let error = ((found.trunc() as i128 - sum) as f64 + found.fract()).abs();
            prop_assert!(error <= tolerance, "{error} > {tolerance}");

            let products = || samples.iter().map(|came| scaled(came.value) * scaled(came.weight));
            let weights = samples.iter().map(|came| scaled(came.weight)).sum::<i128>() as f64 * unit;
            let average = products().sum::<i128>() as f64 / weights;
            let magnitude = products().map(i128::abs).sum::<i128>() as f64 / weights;
            let tolerance = 8.0 * u * average.abs() + 16.0 * n * n * u * u * magnitude;
            let error = (partial.value(DataType::Average) - average).abs();
            prop_assert!(error <= tolerance, "{error} > {tolerance}");
        }

        #[test]
        fn any_values_at_all_merge_alike_both_ways(
            one in (any::<i32>(), prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO),
            other in (any::<i32>(), prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO),
            hosts in (0..2_u64, 0..2_u64),
        ) {
            let of = |(time, value): (i32, f64), host| {
                Partial::of(Timestamp::from_milliseconds(i64::from(time)).unwrap(), value, 1.0).at(HostId(host))
            };
            let (one, other) = (of(one, hosts.0), of(other, hosts.1));
            let (mut left, mut right) = (one, other);
            left.merge(&other);
            right.merge(&one);
            prop_assert_eq!(encode(&left), encode(&right));
            let aggregate = left.aggregate();
            for value in [aggregate.sum, aggregate.average, aggregate.first, aggregate.last] {
                prop_assert!(value.is_finite());
            }
            prop_assert!((aggregate.minimum..=aggregate.maximum).contains(&aggregate.average));
        }
    }

    #[test]
    fn a_sum_beyond_the_range_of_a_double_is_refused_only_where_the_sum_is_the_value() {
        let operand =
            |value| encode(&Addition { entry: 3, partial: Partial::of(Timestamp::default(), value, 1.0) });
        let before = add_to_sum(None, &operand(f64::MAX)).unwrap();
        let refused = add_to_sum(Some(&before), &operand(f64::MAX)).unwrap_err();
        assert_eq!(Refusal::read(&refused), Some(Refusal::SumOverflows { entry: 3 }));

        let merged: Partial = decode(&add(Some(&before), &operand(f64::MAX)).unwrap()).unwrap();
        assert_eq!(merged.aggregate().sum, f64::MAX);
        assert_eq!(merged.aggregate().average, f64::MAX);
        let back: Partial = decode(&add_to_sum(Some(&encode(&merged)), &operand(f64::MIN)).unwrap()).unwrap();
        assert_eq!(back.value(DataType::Sum), f64::MAX);
    }

    #[test]
    fn an_average_lies_between_minimum_and_maximum_and_zero_has_no_sign() {
        let of = |value| Partial::of(Timestamp::default(), value, 1.0);
        // The double nearest to three tenths is a little more than three times the one nearest to a tenth.
        let mut tenths = of(0.1);
        tenths.append(of(0.1));
        tenths.append(of(0.1));
        assert_eq!(tenths.value(DataType::Average), 0.1);

        let (mut negative, mut positive) = (of(-0.0), of(0.0));
        assert_eq!(encode(&negative), encode(&positive));
        negative.merge(&of(0.0));
        positive.merge(&of(-0.0));
        assert_eq!(encode(&negative), encode(&positive));
    }

    #[test]
    fn a_damaged_row_refuses_the_merge_and_a_row_of_one_sample_is_small() {
        let operand = encode(&Addition { entry: 0, partial: Partial::of(Timestamp::default(), 13.0, 1.0) });
        for row in [&b""[..], b"\x01", b"\x63\x00\x00"] {
            assert!(add(Some(row), &operand).is_err(), "{row:?}");
        }
        let row = add(None, &operand).unwrap();
        assert!(row.len() < 60, "{} bytes", row.len());
    }
}
