//! Finds which of several series that should behave alike does not: one machine of a fleet, one shop of many.
//!
//! At each time the series are held against their median. How far they usually lie from it is the median of their
//! distances, averaged over the newest times; up to half of them may be strange without moving either. All of them
//! rising together is not strange: that is a question for a detector of one series.

use bellwether_sdk::detector::{Peers, Verdict, detector};
use bellwether_sdk::{Choice, SettingError, Settings};
use serde::{Deserialize, Serialize};

/// Which series can be strange.
#[derive(Choice, Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    /// Those above the others.
    Up,
    /// Those below.
    Down,
    /// Both.
    Both,
}

/// What is strange.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Outlier {
    /// How many robust standard deviations of the series from their median one lies whose score is 0.5, which is also
    /// where the band ends. Above 0.
    #[setting(default = 5.0)]
    pub deviations: f64,
    /// Over how many points a distance is averaged, so that it has to last, 1 to 1000.
    #[setting(default = 3)]
    pub smooth: u32,
    /// After how many points a distance that lasts is taken for the series' own way, 10 to 100,000. If absent, never:
    /// then a series that is always far from the others is always strange.
    pub accustom: Option<u32>,
    /// The least standard deviation to reckon with, in the metric's unit, so that series that are all but the same are
    /// not strange for a trifle.
    #[setting(default = 0.0)]
    pub noise: f64,
    /// Which series can be strange.
    #[setting(default = Direction::Both)]
    pub direction: Direction,
}

fn check(outlier: &Outlier) -> Result<(), SettingError> {
    if !(outlier.deviations.is_finite() && outlier.deviations > 0.0) {
        return Err(SettingError::new("deviations", outlier.deviations, "a number above 0"));
    }
    if !(1..=1000).contains(&outlier.smooth) {
        return Err(SettingError::new("smooth", outlier.smooth, "1 to 1000"));
    }
    if let Some(points) = outlier.accustom.filter(|points| !(10..=100_000).contains(points)) {
        return Err(SettingError::new("accustom", points, "10 to 100000"));
    }
    if !(outlier.noise.is_finite() && outlier.noise >= 0.0) {
        return Err(SettingError::new("noise", outlier.noise, "0, or a number above"));
    }
    Ok(())
}

/// Series that have to have a value for any to be held against the others: of two, nobody can tell which is strange.
const LEAST: usize = 3;

/// Times the usual spread is averaged over.
const SPREAD: f64 = 20.0;

/// What makes a median absolute deviation a standard deviation, of a normal distribution: 1 / Φ⁻¹(3/4).
const NORMAL: f64 = 1.482_602_218_505_602;

/// The largest distance reckoned with, in standard deviations: beyond, the average would take too long to come back.
const FARTHEST: f64 = 100.0;

/// What is known of the series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The usual standard deviation of the series around their median, and how many times it was seen.
    spread: Mean,
    /// One for each series.
    series: Vec<Usual>,
}

/// An average that forgets, of so many values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mean {
    mean: f64,
    values: f64,
}

impl Mean {
    fn push(&mut self, value: f64, life: f64) {
        self.values = (self.values + 1.0).min(life);
        self.mean += (value - self.mean) / self.values;
    }
}

/// What is known of one series: its distance from the others, in their standard deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Usual {
    recent: Mean,
    own: Mean,
}

/// Finds which of several series that should behave alike lies far from the others.
#[detector(aligned, least = 3, best = 100)]
pub fn judge(known: &mut Known, outlier: &Outlier, peers: &Peers<'_>) -> Vec<Verdict> {
    if peers.learn { known.step(outlier, peers.values) } else { known.clone().step(outlier, peers.values) }
}

impl Known {
    fn step(&mut self, outlier: &Outlier, values: &[f64]) -> Vec<Verdict> {
        if self.series.len() != values.len() {
            // Other series than before.
            *self = Self { series: vec![Usual::default(); values.len()], ..Self::default() };
        }
        let mut present: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if present.len() < LEAST {
            return vec![Verdict::unknown(); values.len()];
        }
        let centre = median(&mut present);
        let mut distances: Vec<f64> =
            present.iter().map(|value| (value - centre).abs().min(f64::MAX)).collect();
        let spread = (NORMAL * median(&mut distances)).min(f64::MAX / 2.0);
        // A time at which everything flies apart counts, but not for more than a few.
        let usual = self.spread.mean;
        let most = if usual > 0.0 { (10.0 * usual).min(f64::MAX / 2.0) } else { f64::MAX / 2.0 };
        self.spread.push(spread.min(most), SPREAD);
        // The first times do not tell how far series lie apart: the wider of now and before holds.
        let rounding = centre.abs() * 1e-9;
        let unit = self.spread.mean.max(spread).max(outlier.noise).max(rounding).max(f64::MIN_POSITIVE);
        let verdict = |(usual, value): (&mut Usual, &f64)| {
            if value.is_finite() {
                usual.step(outlier, (value / unit - centre / unit).clamp(-FARTHEST, FARTHEST));
            }
            usual.verdict(outlier, centre, unit)
        };
        self.series.iter_mut().zip(values).map(verdict).collect()
    }
}

impl Usual {
    /// Takes in how far the series lies from the others.
    fn step(&mut self, outlier: &Outlier, distance: f64) {
        self.recent.push(distance, f64::from(outlier.smooth));
        match outlier.accustom {
            Some(points) => self.own.push(distance, f64::from(points)),
            None => self.own = Mean::default(),
        }
    }

    fn verdict(&self, outlier: &Outlier, centre: f64, unit: f64) -> Verdict {
        // A way of its own is known once it has been kept long enough.
        let own = match outlier.accustom {
            Some(points) if self.own.values >= f64::from(points) => self.own.mean,
            _ => 0.0,
        };
        let distance = self.recent.mean - own;
        let counts = match outlier.direction {
            Direction::Up => distance > 0.0,
            Direction::Down => distance < 0.0,
            Direction::Both => true,
        };
        let ratio = if counts { distance.abs() / outlier.deviations } else { 0.0 };
        let square = (ratio * ratio).min(f64::MAX);
        let expected = (centre + own * unit).clamp(f64::MIN, f64::MAX);
        // 0.5 where it lies so many deviations off, 0.9 at three times that.
        Verdict::new(square / (1.0 + square)).expected(expected, (outlier.deviations * unit).min(f64::MAX))
    }
}

/// The middle one; of an even number the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

#[cfg(test)]
mod tests;
