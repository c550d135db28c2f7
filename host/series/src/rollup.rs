//! Roll-ups: what the samples of one step of a series amount to, kept in their place.

use serde::{Deserialize, Serialize};

use crate::Samples;
use crate::metadata::MetricKind;
use crate::sketch::Sketch;

/// Milliseconds of the longest step of roll-ups: a day.
pub(crate) const LONGEST_STEP: i64 = 24 * 60 * 60 * 1000;

/// From which age on a metric's samples are kept as roll-ups only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RollUp {
    /// Days: of a week (since 1970) all of whose samples are that old, only roll-ups are kept.
    pub after_days: u32,
    /// Seconds of a step, a divisor of a day from ten seconds on.
    pub step_seconds: u32,
}

impl RollUp {
    /// The length of a step in milliseconds.
    pub(crate) fn step(&self) -> i64 {
        i64::from(self.step_seconds) * 1000
    }
}

/// What the finite samples of one step of a series amount to; at least one of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rolled {
    /// When the step begins.
    pub(crate) start: i64,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) minimum: f64,
    pub(crate) maximum: f64,
    /// The latest sample, and when it was taken.
    pub(crate) last: f64,
    pub(crate) last_at: i64,
    /// Of a distribution; `None` where a sample is in none.
    pub(crate) sketch: Option<Sketch>,
}

impl Rolled {
    /// Of one sample.
    pub(crate) fn of(start: i64, time: i64, value: f64, sketched: bool) -> Self {
        let sketch = sketched.then(|| {
            let mut sketch = Sketch::new();
            sketch.add(value);
            sketch
        });
        Self {
            start,
            count: 1,
            sum: value,
            minimum: value,
            maximum: value,
            last: value,
            last_at: time,
            sketch,
        }
    }

    /// Adds a sample; of several at one time the last that is added is the latest.
    pub(crate) fn add(&mut self, time: i64, value: f64) {
        self.count += 1;
        self.sum += value;
        self.minimum = self.minimum.min(value);
        self.maximum = self.maximum.max(value);
        if time >= self.last_at {
            (self.last_at, self.last) = (time, value);
        }
        if let Some(sketch) = &mut self.sketch {
            sketch.add(value);
        }
    }

    /// Adds what another amounts to, as [`Self::add`].
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
        if other.last_at >= self.last_at {
            (self.last_at, self.last) = (other.last_at, other.last);
        }
        match (&mut self.sketch, &other.sketch) {
            (Some(sketch), Some(other)) => sketch.merge(other),
            _ => self.sketch = None,
        }
    }
}

/// Roll-ups as samples: of each the latest at its own time, of a count their sum.
pub(crate) fn as_samples(rolled: &[Rolled], kind: MetricKind, samples: &mut Samples) {
    for rolled in rolled {
        let value = if kind == MetricKind::Count { rolled.sum } else { rolled.last };
        samples.push(rolled.last_at, value);
    }
}
