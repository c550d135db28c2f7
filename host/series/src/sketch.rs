//! Sketches: percentiles of more samples than one would keep, which merge in any order.
//!
//! A percentile is within [`ERROR`] of the sample of that rank. Values nearer to zero than 1e-9 count as zero, and of those
//! more than 17 powers of ten below the largest, only that they are small is known.

use sketches_ddsketch::{Config, DDSketch};

use crate::codec::Malformed;

/// How far a percentile may be off, relative to the sample.
#[cfg(test)]
pub(crate) const ERROR: f64 = 0.01;

/// A sketch of samples: one to sixteen kilobytes in memory, two bytes or so for each size of value in a block.
#[derive(Clone)]
pub(crate) struct Sketch(DDSketch);

impl Sketch {
    /// Of no sample.
    pub(crate) fn new() -> Self {
        // By default within 1 %: what reads back has the same, else it would not merge.
        Self(DDSketch::new(Config::defaults()))
    }

    /// Adds a finite sample.
    pub(crate) fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    /// Adds the samples of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0).expect("every sketch is made and read alike");
    }

    /// The sample below which so many percent lie: the lower one, where that is between two. `None` of none.
    pub(crate) fn percentile(&self, percent: f64) -> Option<f64> {
        let found = self.0.quantile((percent / 100.0).clamp(0.0, 1.0)).ok()??;
        Some(found.clamp(self.0.min()?, self.0.max()?))
    }

    /// Numbers it holds.
    pub(crate) fn size(&self) -> usize {
        self.0.length()
    }

    /// In the form that Datadog's sketch libraries share.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.to_java_bytes()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let read = DDSketch::from_java_bytes(bytes).map_err(|_| Malformed)?;
        let mut sketch = Self::new();
        // Of another precision it would not merge.
        sketch.0.merge(&read).map_err(|_| Malformed)?;
        Ok(sketch)
    }
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a sketch of {} samples", self.0.count())
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => 1e-3..1e6,
            2 => -1e6..-1e-3,
            1 => Just(0.0),
            1 => (-1000..1000_i32).prop_map(f64::from),
        ]
    }

    proptest! {
        #[test]
        fn a_percentile_is_near_the_sample_of_its_rank_however_sketches_were_merged(
            parts in prop::collection::vec(prop::collection::vec(value(), 0..200), 1..8),
            percent in 0.0..=100.0,
        ) {
            let (mut merged, mut all) = (Sketch::new(), Vec::new());
            for part in &parts {
                let mut sketch = Sketch::new();
                part.iter().for_each(|value| sketch.add(*value));
                merged.merge(&Sketch::from_bytes(&sketch.to_bytes()).unwrap());
                all.extend_from_slice(part);
            }
            all.sort_by(f64::total_cmp);
            let found = merged.percentile(percent);
            if all.is_empty() {
                prop_assert_eq!(found, None);
            } else {
                let expected = all[(percent / 100.0 * (all.len() - 1) as f64) as usize];
                let found = found.unwrap();
                prop_assert!((found - expected).abs() <= expected.abs() * (ERROR + 1e-9), "{found} for {expected}");
            }
        }

        #[test]
        fn any_finite_values_can_be_sketched_and_merged(
            values in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO, 1..60),
        ) {
            let mut merged = Sketch::new();
            for value in &values {
                let mut sketch = Sketch::new();
                sketch.add(*value);
                merged.merge(&Sketch::from_bytes(&sketch.to_bytes()).unwrap());
            }
            let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(merged.percentile(100.0), Some(largest));
            prop_assert!(merged.percentile(50.0).unwrap() <= largest);
        }
    }
}
