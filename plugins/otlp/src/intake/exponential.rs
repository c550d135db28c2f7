//! Exponential histograms as buckets with bounds: of the scale below, or a coarser one.
//!
//! At a scale s a bucket of index i holds values above 2^(i / 2^s), up to 2^((i + 1) / 2^s). Two of them are one of the
//! next coarser scale, exactly. So buckets of all points of a metric lie on the same bounds, whatever scale each came
//! with, and series of buckets last.

use crate::messages::{Buckets, ExponentialHistogramDataPoint};

/// Four buckets for each doubling: their bounds are 19 % apart, and a percentile between them is within 9 %.
const FINEST: i32 = 2;

/// Buckets of one point: a scale at which they are more is made coarser. At the finest they span twelve decades.
const MOST: i64 = 160;

/// Counts by their buckets' indexes, ascending, without empty buckets at either end.
#[derive(Debug, PartialEq)]
struct Side {
    first: i64,
    counts: Vec<u64>,
}

impl Side {
    fn of(buckets: Option<&Buckets>) -> Self {
        let (offset, counts) =
            buckets.map_or((0, &[][..]), |buckets| (buckets.offset, &buckets.bucket_counts));
        let begin = counts.iter().position(|count| *count > 0).unwrap_or(counts.len());
        let end = counts.iter().rposition(|count| *count > 0).map_or(begin, |last| last + 1);
        Self { first: i64::from(offset) + begin as i64, counts: counts[begin..end].to_vec() }
    }

    fn last(&self) -> i64 {
        self.first + self.counts.len() as i64 - 1
    }

    /// How many buckets there are when scales are this much coarser.
    fn at(&self, coarser: u32) -> i64 {
        if self.counts.is_empty() { 0 } else { (self.last() >> coarser) - (self.first >> coarser) + 1 }
    }

    fn coarsen(&mut self, coarser: u32) {
        let first = self.first >> coarser;
        let mut counts = vec![0; usize::try_from(self.at(coarser)).unwrap_or_default()];
        for (index, count) in (self.first..).zip(&self.counts) {
            counts[((index >> coarser) - first) as usize] += count;
        }
        *self = Self { first, counts };
    }
}

/// The bounds of a point's buckets, ascending, each with how many values lie up to it. Their sum was checked to be a
/// count, so that no addition overflows.
pub(super) fn cumulative(point: &ExponentialHistogramDataPoint) -> Vec<(f64, u64)> {
    let (mut negative, mut positive) = (Side::of(point.negative.as_ref()), Side::of(point.positive.as_ref()));
    // An index has 33 bits at most: beyond that, all of a side is in one bucket, or in two.
    let mut coarser = u32::try_from(i64::from(point.scale) - i64::from(FINEST)).unwrap_or(0).min(40);
    while coarser < 40 && negative.at(coarser) + positive.at(coarser) > MOST {
        coarser += 1;
    }
    negative.coarsen(coarser);
    positive.coarsen(coarser);
    let width = (-(f64::from(point.scale) - f64::from(coarser))).exp2();
    // Zero times a width that is endless is still zero.
    let bound = |index: i64| if index == 0 { 1.0 } else { (index as f64 * width).exp2() };

    let mut below = 0;
    let mut bounds: Vec<(f64, u64)> = Vec::with_capacity(negative.counts.len() + positive.counts.len() + 3);
    // Some lie so close that as doubles they are one, at zero and beyond the largest double.
    let mut add = |bound: f64, below: u64| match bounds.last_mut() {
        _ if !bound.is_finite() => {}
        Some((last, count)) if bound <= *last => *count = below,
        _ => bounds.push((bound, below)),
    };
    if !negative.counts.is_empty() {
        add(-bound(negative.last() + 1), 0);
    }
    for (index, count) in (negative.first..=negative.last()).rev().zip(negative.counts.iter().rev()) {
        below += count;
        add(-bound(index), below);
    }
    below += point.zero_count;
    add(point.zero_threshold, below);
    if !positive.counts.is_empty() {
        add(bound(positive.first), below);
    }
    for (index, count) in (positive.first..).zip(&positive.counts) {
        below += count;
        add(bound(index + 1), below);
    }
    bounds
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(offset: i32, counts: &[u64]) -> Option<Buckets> {
        Some(Buckets { offset, bucket_counts: counts.to_vec() })
    }

    fn point(scale: i32, positive: Option<Buckets>) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint { scale, positive, ..Default::default() }
    }

    #[test]
    fn buckets_lie_on_the_bounds_of_their_scale() {
        let given = point(0, buckets(-1, &[1, 0, 2]));
        assert_eq!(cumulative(&given), [(0.0, 0), (0.5, 0), (1.0, 1), (2.0, 1), (4.0, 3)]);
        let given = ExponentialHistogramDataPoint {
            zero_count: 5,
            zero_threshold: 0.25,
            negative: buckets(0, &[7, 3]),
            ..given
        };
        let expected =
            [(-4.0, 0), (-2.0, 3), (-1.0, 10), (0.25, 15), (0.5, 15), (1.0, 16), (2.0, 16), (4.0, 18)];
        assert_eq!(cumulative(&given), expected);
        assert_eq!(cumulative(&point(3, None)), [(0.0, 0)]);
        assert_eq!(cumulative(&point(3, buckets(9, &[0, 0]))), [(0.0, 0)]);
    }

    #[test]
    fn a_finer_scale_has_the_bounds_of_the_finest_that_is_kept() {
        // 16 buckets of scale 4 are one doubling: those up to 2 and those up to 4.
        let given = point(4, buckets(0, &[1; 32]));
        let found = cumulative(&given);
        assert_eq!(found.len(), 1 + 1 + 8);
        assert_eq!((found[1], found[5], found[9]), ((1.0, 0), (2.0, 16), (4.0, 32)));
        assert_eq!(found, cumulative(&point(2, buckets(0, &[4; 8]))));
    }

    #[test]
    fn what_no_double_holds_is_at_zero_or_without_a_bound() {
        assert_eq!(cumulative(&point(-11, buckets(-1, &[2, 3]))), [(0.0, 0), (1.0, 2)]);
        assert_eq!(cumulative(&point(i32::MIN, buckets(-1, &[2, 3]))).last(), Some(&(1.0, 2)));
        assert_eq!(cumulative(&point(0, buckets(i32::MAX, &[1]))), [(0.0, 0)]);
        assert_eq!(cumulative(&point(i32::MAX, buckets(i32::MIN, &[1]))).last(), Some(&(1.0, 1)));
    }

    proptest! {
        #[test]
        fn no_value_is_lost_and_bounds_ascend(
            scale in -12..=21_i32,
            offset in -2000..=2000_i32,
            positive in prop::collection::vec(0..9_u64, 0..400),
            negative in prop::collection::vec(0..9_u64, 0..400),
            zero_count in 0..9_u64,
        ) {
            let all = positive.iter().chain(&negative).sum::<u64>() + zero_count;
            let point = ExponentialHistogramDataPoint {
                zero_count,
                negative: buckets(offset, &negative),
                ..point(scale, buckets(offset, &positive))
            };
            let found = cumulative(&point);
            prop_assert!(found.len() as i64 <= MOST + 3);
            prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
            let whole = found.last().map_or(0, |last| last.1);
            prop_assert!(whole <= all);
            // Those beyond the largest double are in no bucket with a bound.
            if (f64::from(offset) + 400.0) * (-f64::from(scale)).exp2() < 1000.0 {
                prop_assert_eq!(whole, all);
            }
        }

        #[test]
        fn a_value_lies_up_to_the_bound_of_its_bucket(value in 1e-6..1e6_f64, scale in 0..=20_i32) {
            // As the data model reckons it; a value so near to a bound that rounding decides may be in the next.
            let index = (value.log2() * f64::from(scale).exp2()).ceil() as i32 - 1;
            let found = cumulative(&point(scale, buckets(index, &[1])));
            let upper = found.iter().find(|(_, below)| *below == 1).map(|(bound, _)| *bound);
            let upper = upper.expect("it is in a bucket");
            let lower = found[found.len() - 2].0;
            let near = 1.0 + 1e-9;
            prop_assert!(lower < value * near && value <= upper * near, "{} < {} <= {}", lower, value, upper);
            prop_assert!(upper / lower <= 2.0 * near);
        }
    }
}
