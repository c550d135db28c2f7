//! Sums that come out the same in whatever order and grouping their terms are added.
//!
//! Whole numbers up to 2⁵³ are summed as integers, exactly. The rest goes through the compensated summation of
//! A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM 54 (1974), 39–51:
//! every addition's rounding error is kept and summed apart. Neumaier adds one term at a time; two such sums merge
//! by adding their sums, keeping that addition's error too, and adding their errors. For n terms added in any order
//! and grouping this gives, with u = 2⁻⁵³ and barring underflow, an error of at most
//!
//! > 2u·|Σx| + 4n²u²·Σ|x|
//!
//! u·|Σx| is the last rounding. Each addition loses at most u times its result, so the lost parts together amount
//! to at most nu·Σ|x|, and summing them plainly, two additions a merge, errs by at most 2nu of that; the rest of
//! the bound is room for terms of higher order. Ten million terms of one sign are thus off by at most one unit in
//! the last place or so.

use serde::{Deserialize, Serialize};

/// 2⁵³: up to here every whole number is a double of its own.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// 2⁹⁶⁰: up to here 2⁶³ values can be added without leaving the range of a double. Larger ones are summed apart,
/// scaled by [`SCALE`], so that whether a sum overflows does not hang on the order of its terms.
const LARGE: f64 = f64::from_bits((1023 + 960) << 52);

/// 2⁻⁶⁴.
const SCALE: f64 = f64::from_bits((1023 - 64) << 52);

/// A sum and what rounding took from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    fn add(self, other: Self) -> Self {
        let sum = self.sum + other.sum;
        let (large, small) =
            if self.sum.abs() >= other.sum.abs() { (self.sum, other.sum) } else { (other.sum, self.sum) };
        Self { sum, lost: (self.lost + other.lost) + ((large - sum) + small) }
    }

    fn scaled(self, factor: f64) -> Self {
        Self { sum: self.sum * factor, lost: self.lost * factor }
    }

    fn total(self) -> f64 {
        self.sum + self.lost
    }
}

impl From<f64> for Compensated {
    fn from(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }
}

/// A sum of finite doubles. The module says how exact it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sum {
    /// Of whole numbers of at most [`WHOLE`]: 2⁶⁴ of them stay below 2¹¹⁷.
    whole: i128,
    /// Of the others up to [`LARGE`].
    rest: Option<Compensated>,
    /// Of those beyond, scaled.
    large: Option<Compensated>,
}

impl Sum {
    /// Adds one finite value.
    pub(crate) fn add(&mut self, value: f64) {
        if value.abs() <= WHOLE && value.trunc() == value {
            self.whole = self.whole.saturating_add(value as i128);
        } else if value.abs() <= LARGE {
            self.rest = join(self.rest, Some(value.into()));
        } else {
            self.large = join(self.large, Some((value * SCALE).into()));
        }
    }

    /// Adds `value` × `weight`, a finite product. A product's own rounding error is a double and is added too, so
    /// that the sum of products is as exact as any other of twice as many terms.
    pub(crate) fn add_product(&mut self, value: f64, weight: f64) {
        let product = value * weight;
        self.add(product);
        if weight != 1.0 {
            let lost = value.mul_add(weight, -product);
            if lost != 0.0 {
                self.add(lost);
            }
        }
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.whole = self.whole.saturating_add(other.whole);
        self.rest = join(self.rest, other.rest);
        self.large = join(self.large, other.large);
    }

    /// The sum of `count` ones.
    pub(crate) fn of_ones(count: u64) -> Self {
        Self { whole: i128::from(count), ..Self::default() }
    }

    /// The sum, or an infinity where no double holds it.
    pub(crate) fn total(&self) -> f64 {
        match (self.rest, self.large()) {
            (None, None) => self.whole as f64,
            (_, None) => self.small().total(),
            (_, Some(_)) => self.scaled() / SCALE,
        }
    }

    /// This sum ÷ `divisor`, also where one of them is beyond the range of a double and the quotient is not.
    pub(crate) fn divided_by(&self, divisor: &Self) -> f64 {
        let (dividend_total, divisor_total) = (self.total(), divisor.total());
        if dividend_total.is_finite() && divisor_total.is_finite() {
            dividend_total / divisor_total
        } else {
            self.scaled() / divisor.scaled()
        }
    }

    /// What the large values amount to, if they do not cancel out.
    fn large(&self) -> Option<Compensated> {
        self.large.filter(|large| large.total() != 0.0)
    }

    /// The sum of all but the large values.
    fn small(&self) -> Compensated {
        let sum = self.whole as f64;
        let lost = self.whole.saturating_sub(sum as i128) as f64;
        Compensated { sum, lost }.add(self.rest.unwrap_or_default())
    }

    /// The sum × [`SCALE`], which always is a double.
    fn scaled(&self) -> f64 {
        self.small().scaled(SCALE).add(self.large.unwrap_or_default()).total()
    }
}

fn join(one: Option<Compensated>, other: Option<Compensated>) -> Option<Compensated> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.add(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> Sum {
        let mut sum = Sum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    #[test]
    fn sums_that_plain_addition_gets_wrong_come_out_right() {
        for (values, total) in [
            (&[0.1; 10][..], 1.0),
            (&[1e100, 1.5, -1e100], 1.5),
            (&[1.5, 1e100, 1.0, -1e100], 2.5),
            (&[9_007_199_254_740_992.0, 1.0, 1.0], 9_007_199_254_740_994.0),
            (&[9_007_199_254_740_992.0, 1.0, -9_007_199_254_740_992.0, 0.5], 1.5),
            (&[9_007_199_254_740_992.0, 1.0, 0.75], 9_007_199_254_740_994.0),
            (&[f64::MAX, f64::MAX, -f64::MAX, -f64::MAX, 1e-300], 1e-300),
            (&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
            (&[f64::MIN, f64::MIN], f64::NEG_INFINITY),
            (&[5e-324, 5e-324], 1e-323),
            (&[-0.0], 0.0),
            (&[], 0.0),
        ] {
            assert_eq!(sum(values).total(), total, "{values:?}");
            let reversed: Vec<f64> = values.iter().rev().copied().collect();
            assert_eq!(sum(&reversed).total(), total, "{values:?} from the end");
        }
    }

    #[test]
    fn a_product_keeps_what_its_rounding_lost() {
        let mut products = Sum::default();
        // 0.1 is a little more than a tenth; ten times it rounds to 1 and leaves 2⁻⁵⁴.
        products.add_product(0.1, 10.0);
        products.add_product(-1.0, 1.0);
        assert_eq!(products.total(), f64::from_bits((1023 - 54) << 52));
    }

    #[test]
    fn a_quotient_of_sums_beyond_the_range_of_a_double_is_right() {
        let three = sum(&[f64::MAX, f64::MAX, f64::MAX]);
        assert_eq!(three.divided_by(&Sum::of_ones(3)), f64::MAX);
        assert_eq!(three.divided_by(&three), 1.0);
    }
}
