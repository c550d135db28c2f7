//! The newest values of a series, in the order they came and in order.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The newest values. Kept from call to call as they came; the order is made anew by who needs it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "VecDeque<f64>", into = "VecDeque<f64>")]
pub struct Window {
    recent: VecDeque<f64>,
    sorted: Vec<f64>,
}

impl From<VecDeque<f64>> for Window {
    fn from(recent: VecDeque<f64>) -> Self {
        let mut sorted: Vec<f64> = recent.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { recent, sorted }
    }
}

impl From<Window> for VecDeque<f64> {
    fn from(window: Window) -> Self {
        window.recent
    }
}

impl Window {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.recent.len()
    }

    /// Takes a value in, and lets the oldest go beyond `most`.
    pub(crate) fn push(&mut self, value: f64, most: usize) {
        while self.recent.len() >= most.max(1) {
            let oldest = self.recent.pop_front().expect("there is one");
            self.sorted.remove(self.place(oldest));
        }
        self.recent.push_back(value);
        self.sorted.insert(self.place(value), value);
    }

    /// Where a value is, or would be.
    fn place(&self, value: f64) -> usize {
        self.sorted.partition_point(|other| other.total_cmp(&value).is_lt())
    }

    /// The middle one; of an even number the mean of the two in the middle.
    pub(crate) fn median(&self) -> Option<f64> {
        let middle = self.sorted.len() / 2;
        let upper = *self.sorted.get(middle)?;
        match self.sorted.len() % 2 {
            0 => Some(f64::midpoint(self.sorted[middle - 1], upper)),
            _ => Some(upper),
        }
    }

    /// The upper median of the distances from `median`: so many values to either side of it as half of them lie no
    /// farther away. Found by halving over how many of them lie below.
    pub(crate) fn deviation(&self, median: f64) -> f64 {
        let (count, half) = (self.sorted.len(), self.sorted.len() / 2 + 1);
        if count == 0 {
            return 0.0;
        }
        // The `half` values nearest to the median are neighbours: find where they begin.
        let (mut low, mut high) = (0, count - half);
        while low < high {
            let begin = usize::midpoint(low, high);
            if median - self.sorted[begin] > self.sorted[begin + half] - median {
                low = begin + 1;
            } else {
                high = begin;
            }
        }
        (median - self.sorted[low]).abs().max((self.sorted[low + half - 1] - median).abs()).min(f64::MAX)
    }

    /// The mean of the distances from `median`; 0 of none.
    pub(crate) fn mean_deviation(&self, median: f64) -> f64 {
        let count = self.sorted.len().max(1) as f64;
        self.sorted.iter().map(|value| (value - median).abs() / count).sum::<f64>().min(f64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_deviation_are_those_of_the_newest_values() {
        let mut window = Window::default();
        assert_eq!((window.median(), window.deviation(0.0)), (None, 0.0));
        let mut seed: u64 = 7;
        let mut all = Vec::new();
        for count in 1..400_usize {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Some of them twice.
            let value = ((seed >> 33) % 50) as f64 - 20.0;
            all.push(value);
            window.push(value, 31);
            let mut recent = all[count.saturating_sub(31)..].to_vec();
            recent.sort_by(f64::total_cmp);
            let middle = recent.len() / 2;
            let median = if recent.len() % 2 == 1 {
                recent[middle]
            } else {
                (recent[middle - 1] + recent[middle]) / 2.0
            };
            assert_eq!(window.median(), Some(median));
            let mut distances: Vec<f64> = recent.iter().map(|value| (value - median).abs()).collect();
            distances.sort_by(f64::total_cmp);
            assert_eq!(window.deviation(median), distances[middle], "{recent:?}");
            let mean = distances.iter().sum::<f64>() / distances.len() as f64;
            assert!((window.mean_deviation(median) - mean).abs() < 1e-9, "{recent:?}");
        }
    }
}
