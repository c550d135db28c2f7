//! Cumulative sums: what speaks for a change, gathered point by point.

use serde::{Deserialize, Serialize};

use crate::{Change, Of};

/// Where usual values end, in standard deviations.
pub(crate) const WILD: f64 = 3.0;

/// Values kept since a sum began to rise; enough to know the new level by.
const RISING: usize = 64;

/// The mean and the standard deviation of |z| of a normal z held within three: what the spread is measured from.
const DISTANCE: (f64, f64) = (0.797, 0.600);

/// How high a sum has to rise that a false alarm comes once in `points` points, where each step is lowered by
/// `allowance`: Siegmund's approximation of the average run length, for one of two sides.
pub(crate) fn bound(allowance: f64, points: f64) -> f64 {
    // What a sum overshoots its bound by, and falls short of nought by, on average.
    const OVERSHOOT: f64 = 1.166;
    // The run length to one side is (e^x − x − 1) / (2 · allowance²), where x is twice the allowance times the bound and
    // its overshoot. What x is where it is given comes out of a few rounds.
    let length = 2.0 * points * 2.0 * allowance * allowance;
    let x = (0..6).fold(0.0, |x: f64, _| (length + x + 1.0).ln());
    (x / (2.0 * allowance) - OVERSHOOT).max(1.0)
}

/// Sums of steps up and down, of the level and of the spread, and the values since one of them began to rise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    level: [f64; 2],
    spread: [f64; 2],
    /// The newest values, at most as many as are kept.
    newest: Vec<f64>,
    /// Points since each of the sums was nought, in the order above.
    since: [u32; 4],
}

impl Sums {
    /// Takes in a value that lies so far from the level, where distances and their absolutes are to be widened so, and
    /// gives the highest sum.
    pub(crate) fn add(&mut self, value: f64, distance: f64, widening: [f64; 2], change: &Change) -> f64 {
        if self.newest.len() >= RISING {
            self.newest.remove(0);
        }
        self.newest.push(value);
        let allowance = change.shift / 2.0;
        let wider = (distance.abs() - DISTANCE.0) / DISTANCE.1 / widening[1];
        let distance = distance / widening[0];
        let steps = [distance, -distance, wider, -wider];
        let sums = self.level.iter_mut().chain(&mut self.spread);
        for ((sum, step), since) in sums.zip(steps).zip(&mut self.since) {
            *sum = (*sum + step - allowance).max(0.0);
            *since = if *sum > 0.0 { since.saturating_add(1) } else { 0 };
        }
        self.highest(change.of)
    }

    fn watched(&self, of: Of) -> impl Iterator<Item = (f64, u32)> {
        let counts = move |at: usize| match of {
            Of::Level => at < 2,
            Of::Spread => at >= 2,
            Of::Both => true,
        };
        let sums = self.level.iter().chain(&self.spread).copied().zip(self.since).enumerate();
        sums.filter(move |(at, _)| counts(*at)).map(|(_, sum)| sum)
    }

    fn highest(&self, of: Of) -> f64 {
        self.watched(of).map(|(sum, _)| sum).fold(0.0, f64::max)
    }

    /// The values since the highest sum began to rise, as far as they are kept.
    pub(crate) fn rising(&self, of: Of) -> &[f64] {
        let highest = self.watched(of).max_by(|one, other| one.0.total_cmp(&other.0));
        let since = highest.map_or(0, |(_, since)| since as usize).clamp(1, self.newest.len());
        &self.newest[self.newest.len() - since..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_that_of_the_tables() {
        // Hawkins and Olwell, Cumulative Sum Charts (1998): k = 0.5 and h = 4 or 5 give one false alarm in 336 and 930
        // points to one side, so one in half as many to both.
        for (length, tabled) in [(168.0, 4.0), (465.0, 5.0)] {
            let found = bound(0.5, length);
            assert!((found - tabled).abs() < 0.02, "{length}: {found}, tabled {tabled}");
        }
    }
}
