//! The figures of a breach: its peak to each side, how far beyond, and all of it added up.

use bellwether_kernel::Timestamp;

use crate::Excursion;
use crate::state::{Breach, Direction};

/// One point with what would have been usual, and the bound it is measured against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) time: i64,
    pub(crate) value: f64,
    /// What would have been usual; the bound itself where there is no more to say.
    pub(crate) expected: f64,
    pub(crate) bound: f64,
    /// Where it lies beyond; absent where a detector does not say what would be usual.
    pub(crate) side: Option<Direction>,
    pub(crate) score: Option<f64>,
}

impl Measured {
    /// How far beyond the bound it is; negative within.
    pub(crate) fn delta(&self) -> f64 {
        match self.side {
            Some(Direction::Up) => self.value - self.bound,
            Some(Direction::Down) => self.bound - self.value,
            None => 0.0,
        }
    }

    fn counts(&self) -> bool {
        self.score.is_some() || self.delta() >= 0.0
    }

    /// The same in percent of the bound; infinite of zero.
    pub(crate) fn percentage(&self) -> f64 {
        100.0 * self.delta() / self.bound.abs()
    }
}

impl Breach {
    /// Takes points into the figures that are not in them yet. What a detector finds strange counts within its band too,
    /// as a small change of the level does that lasts; what has no side is the peak of none.
    pub(crate) fn count(&mut self, points: &[Measured], end: Timestamp) {
        let since = self.counted.as_milliseconds().max(self.started.as_milliseconds());
        for point in points.iter().filter(|point| point.time >= since && point.counts()) {
            let side = match point.side {
                Some(Direction::Up) => Some((&mut self.upper, 1.0)),
                Some(Direction::Down) => Some((&mut self.lower, -1.0)),
                None => None,
            };
            if let Some((excursion, sign)) = side
                && excursion.is_none_or(|known| sign * point.value > sign * known.peak)
            {
                *excursion = Some(excursion_of(point.value, point.expected));
            }
            if point.delta().is_finite() {
                self.sum_of_deltas += point.delta().max(0.0);
            }
            if let Some(score) = point.score {
                self.score = Some(self.score.map_or(score, |known| known.max(score)));
            }
        }
        self.counted = self.counted.max(end);
    }
    /// Holds what is known against another bound, that of the level it is at by now: a peak that does not reach it is none.
    pub(crate) fn measure(&mut self, bound: f64) {
        if self.threshold == Some(bound) {
            return;
        }
        self.threshold = Some(bound);
        for (excursion, sign) in [(&mut self.upper, 1.0), (&mut self.lower, -1.0)] {
            let known = excursion.filter(|known| sign * known.peak >= sign * bound);
            *excursion = known.map(|known| excursion_of(known.peak, bound));
        }
    }
}

fn excursion_of(peak: f64, expected: f64) -> Excursion {
    let delta = (peak - expected).abs();
    let percentage = 100.0 * delta / expected.abs();
    Excursion {
        peak,
        expected: expected.is_finite().then_some(expected),
        delta: delta.is_finite().then_some(delta),
        delta_percentage: percentage.is_finite().then_some(percentage),
    }
}
