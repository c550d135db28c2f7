//! What is known of the stretch since the last change.

use serde::{Deserialize, Serialize};

/// Values that have to be known before a level is: their median is robust, and what follows refines it.
const FIRST: usize = 30;

/// Points a level is the mean of, once there are as many.
const LIFE: f64 = 500.0;

/// What makes a median absolute deviation a standard deviation, of a normal distribution: 1 / Φ⁻¹(3/4).
const NORMAL: f64 = 1.482_602_218_505_602;

/// The mean of z² of a normal z that is held within three.
const SQUARE: f64 = 0.995;

/// The highest correlation that is made up for: beyond, a series is a wave rather than noise.
const CORRELATED: f64 = 0.98;

/// The stretch since the last change: its first values, then its level, deviation and correlation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Segment {
    first: Vec<f64>,
    points: f64,
    level: f64,
    deviation: f64,
    /// Of each distance with the one before, in squares of the deviation.
    product: f64,
    last: f64,
}

impl Segment {
    /// A stretch that begins with these values.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut segment = Self::default();
        for value in values {
            let distance = segment
                .usual(0.0)
                .map_or(0.0, |(level, deviation)| (value / deviation - level / deviation).clamp(-3.0, 3.0));
            segment.push(*value, distance);
        }
        segment
    }

    /// Level and standard deviation, once they are known; the deviation is not below `noise`, nor below what rounding
    /// makes.
    pub(crate) fn usual(&self, noise: f64) -> Option<(f64, f64)> {
        let rounding = self.level.abs() * 1e-9;
        let deviation = self.deviation.max(noise).max(rounding).clamp(f64::MIN_POSITIVE, f64::MAX);
        (self.points > 0.0).then_some((self.level, deviation))
    }

    /// What the deviation of distances, and that of their absolutes, are to be widened by, since values follow each
    /// other. The correlation of squares, and nearly that of absolutes, is the square of theirs.
    pub(crate) fn widening(&self) -> [f64; 2] {
        let correlation = self.product.clamp(0.0, CORRELATED);
        [correlation, correlation * correlation].map(|of| ((1.0 + of) / (1.0 - of)).sqrt())
    }

    /// Takes a value in, which lies so many deviations from the level, held within three.
    pub(crate) fn push(&mut self, value: f64, distance: f64) {
        if self.points > 0.0 {
            self.points = (self.points + 1.0).min(LIFE);
            let weight = 1.0 / self.points;
            self.product += (distance * self.last - self.product) * weight;
            self.last = distance;
            let (_, mut deviation) = self.usual(0.0).unwrap_or((0.0, f64::MIN_POSITIVE));
            if self.deviation <= self.level.abs() * 1e-9 {
                // Until now all were alike: the first that is not tells how far values lie apart.
                deviation = deviation.max((value - self.level).abs().min(f64::MAX) * weight.sqrt());
            }
            self.level += (distance * weight * deviation).clamp(f64::MIN, f64::MAX);
            // Steps of the deviation are relative, by what a normal distance held within three would leave alone.
            self.deviation = deviation * (1.0 + (distance * distance / SQUARE - 1.0) * weight / 2.0);
            return;
        }
        self.first.push(value);
        if self.first.len() >= FIRST {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let median = |values: &mut [f64]| {
            values.sort_by(f64::total_cmp);
            f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
        };
        let values = std::mem::take(&mut self.first);
        self.level = median(&mut values.clone());
        let mut distances: Vec<f64> =
            values.iter().map(|value| (value - self.level).abs().min(f64::MAX)).collect();
        // Where more than half are alike, the mean distance tells of the others.
        let mean = distances.iter().map(|distance| distance / FIRST as f64).sum::<f64>();
        let middle = median(&mut distances);
        self.deviation = if middle > 0.0 { NORMAL * middle } else { mean }.min(f64::MAX);
        self.points = values.len() as f64;
        if let Some((level, deviation)) = self.usual(0.0) {
            let distance = |value: &f64| (value / deviation - level / deviation).clamp(-3.0, 3.0);
            let products = values.windows(2).map(|pair| distance(&pair[0]) * distance(&pair[1]));
            self.product = products.sum::<f64>() / (self.points - 1.0);
            self.last = values.last().map_or(0.0, distance);
        }
    }
}
