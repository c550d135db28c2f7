//! Finds where a series changes for good: its level, or how far its values spread.
//!
//! Page's cumulative sums (Biometrika 41, 1954) over values made robust: each is measured from the present level in
//! standard deviations and held within three of them, so that no single value, however wild, is a change. Values that
//! follow each other closely prove less than independent ones; the deviation is widened by what their correlation is
//! worth, √((1 + ρ) / (1 − ρ)), so that a slow wave is none either. How high a sum has to rise follows from how rarely
//! a false alarm may come, by Siegmund's approximation (Sequential Analysis, 1985, section 2.6).
//!
//! When a sum has risen that high, what is known begins anew with the values since it began to rise.

mod segment;
mod sums;

use bellwether_sdk::detector::{Point, Verdict, detector};
use bellwether_sdk::{Choice, SettingError, Settings};
use serde::{Deserialize, Serialize};

use segment::Segment;
use sums::Sums;

/// What of a series can change.
#[derive(Choice, Clone, Copy, Debug, PartialEq)]
pub enum Of {
    /// Where its values lie.
    Level,
    /// How far they spread.
    Spread,
    /// Either.
    Both,
}

/// What a change is.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Change {
    /// The smallest change of the level to be found soon, in standard deviations, 0.25 to 5.
    #[setting(default = 1.0)]
    pub shift: f64,
    /// A false alarm may come once in so many points, 100 to 10,000,000.
    #[setting(default = 20000)]
    pub false_alarm_once_in: u32,
    /// What of the series can change.
    #[setting(default = Of::Both)]
    pub of: Of,
    /// For how many points a change keeps its score, so that whoever looks now and then meets it, 1 to 1000.
    #[setting(default = 3)]
    pub hold: u32,
    /// The least standard deviation to reckon with, in the metric's unit.
    #[setting(default = 0.0)]
    pub noise: f64,
}

fn check(change: &Change) -> Result<(), SettingError> {
    if !(0.25..=5.0).contains(&change.shift) {
        return Err(SettingError::new("shift", change.shift, "0.25 to 5"));
    }
    if !(100..=10_000_000).contains(&change.false_alarm_once_in) {
        let expected = "100 to 10000000";
        return Err(SettingError::new("false_alarm_once_in", change.false_alarm_once_in, expected));
    }
    if !(1..=1000).contains(&change.hold) {
        return Err(SettingError::new("hold", change.hold, "1 to 1000"));
    }
    if !(change.noise.is_finite() && change.noise >= 0.0) {
        return Err(SettingError::new("noise", change.noise, "0, or a number above"));
    }
    Ok(())
}

/// What is known of a series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    segment: Segment,
    sums: Sums,
    held: Held,
}

/// The last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Held {
    score: f64,
    /// For how many points it is still kept.
    points: u32,
    /// The level before it, and how far from there usual values lay: what it is a change from.
    before: (f64, f64),
}

/// Finds the points where the level or the spread of a series has changed for good.
#[detector(least = 30, best = 500, layout = 2)]
pub fn judge(known: &mut Known, change: &Change, point: Point) -> Verdict {
    if !point.learn {
        return known.clone().step(change, point.value);
    }
    known.step(change, point.value)
}

impl Known {
    fn step(&mut self, change: &Change, value: f64) -> Verdict {
        let Some((level, deviation)) = self.segment.usual(change.noise) else {
            self.segment.push(value, 0.0);
            return self.verdict(change, 0.0);
        };
        let distance = (value / deviation - level / deviation).clamp(-3.0, 3.0);
        let bound = sums::bound(change.shift / 2.0, f64::from(change.false_alarm_once_in));
        let height = self.sums.add(value, distance, self.segment.widening(), change);
        // 0.5 where the sum has risen as high as the bound, 0.8 at twice that.
        let ratio = (height / bound).max(0.0);
        let score = ratio * ratio / (1.0 + ratio * ratio);
        if ratio >= 1.0 {
            self.segment = Segment::of(self.sums.rising(change.of));
            self.sums = Sums::default();
            self.held = Held { score, points: change.hold, before: (level, tolerance(deviation)) };
        } else {
            self.segment.push(value, distance);
        }
        self.verdict(change, score)
    }

    /// A score and what is usual now; of a change, as long as its score is kept, what was usual before it: by that it is
    /// known to which side the series went, and the new level takes points to be known.
    fn verdict(&mut self, change: &Change, score: f64) -> Verdict {
        if self.held.points > 0 {
            self.held.points -= 1;
            let Held { score: kept, before: (level, tolerance), .. } = self.held;
            return Verdict::new(kept.max(score)).expected(level, tolerance);
        }
        match self.segment.usual(change.noise) {
            Some((level, deviation)) => Verdict::new(score).expected(level, tolerance(deviation)),
            None => Verdict::new(score),
        }
    }
}

/// How far from the level usual values lie.
fn tolerance(deviation: f64) -> f64 {
    (sums::WILD * deviation).min(f64::MAX)
}

#[cfg(test)]
mod tests;
