//! Samples in columns.

/// Samples of one series: when (milliseconds since the epoch) and what, in columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// When each was taken.
    pub times: Vec<i64>,
    /// What was measured.
    pub values: Vec<f64>,
}

impl Samples {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, time: i64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    /// None, with room for so many.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self { times: Vec::with_capacity(count), values: Vec::with_capacity(count) }
    }

    /// Adds others, in columns.
    pub(crate) fn extend(&mut self, times: &[i64], values: &[f64]) {
        self.times.extend_from_slice(times);
        self.values.extend_from_slice(values);
    }

    /// Puts them in order of time. Of several at one time the one that came last stays.
    pub(crate) fn settle(&mut self) {
        let Some(ordered) = self.times.windows(2).position(|pair| pair[0] >= pair[1]) else { return };
        let (before, after) = self.times.split_at(ordered + 1);
        let least = after.iter().min().copied().unwrap_or(i64::MAX);
        // Those before the least of what is out of order stay where they are.
        let from = before.partition_point(|time| *time < least);
        let mut order: Vec<usize> = (from..self.len()).collect();
        order.sort_by_key(|at| self.times[*at]);
        let mut settled = Self::default();
        for at in order {
            let (time, value) = (self.times[at], self.values[at]);
            if settled.times.last() == Some(&time) {
                *settled.values.last_mut().expect("there is one at this time") = value;
            } else {
                settled.push(time, value);
            }
        }
        self.times.truncate(from);
        self.times.append(&mut settled.times);
        self.values.truncate(from);
        self.values.append(&mut settled.values);
    }

    /// Only those from `first` to `last`, both included; they are in order.
    pub(crate) fn keep(&mut self, first: i64, last: i64) {
        let end = self.times.partition_point(|time| *time <= last);
        let start = self.times.partition_point(|time| *time < first).min(end);
        self.times.truncate(end);
        self.values.truncate(end);
        self.times.drain(..start);
        self.values.drain(..start);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_several_at_one_time_the_last_one_stays(points in prop::collection::vec((0_i64..20, any::<i32>()), 0..60)) {
            let mut samples = Samples::default();
            points.iter().for_each(|(time, value)| samples.push(*time, f64::from(*value)));
            samples.settle();
            let model: BTreeMap<i64, f64> = points.iter().map(|(time, value)| (*time, f64::from(*value))).collect();
            prop_assert_eq!(&samples.times, &model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(&samples.values, &model.values().copied().collect::<Vec<_>>());
            samples.keep(5, 9);
            prop_assert_eq!(samples.times, model.range(5..=9).map(|(time, _)| *time).collect::<Vec<_>>());
        }
    }
}
