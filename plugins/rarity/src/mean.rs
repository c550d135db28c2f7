//! Means that forget.

use serde::{Deserialize, Serialize};

/// An exponentially weighted mean, its beginning made up for: the first values weigh as much as there are of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mean {
    mean: f64,
    weight: f32,
}

impl Mean {
    /// The mean; 0 before there is one.
    pub(crate) fn get(self) -> f64 {
        self.mean
    }

    /// How many values it is worth.
    pub(crate) fn weight(self) -> f64 {
        f64::from(self.weight)
    }

    /// Takes in a value, of some `life` of which it is the mean, and gives the mean.
    pub(crate) fn add(&mut self, value: f64, life: Life) -> f64 {
        let weight = self.weight() * (1.0 - life.share) + 1.0;
        // Once it is worth its whole life there is nothing to divide.
        let share = if weight * life.share > 0.999 { life.share } else { 1.0 / weight };
        self.weight = weight.min(life.points) as f32;
        self.mean += (value - self.mean) * share;
        self.mean
    }
}

/// How many values a mean is of, and the share each new one has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    points: f64,
    share: f64,
}

impl Life {
    pub(crate) const fn of(points: f64) -> Self {
        Self { points, share: 1.0 / points }
    }
}
