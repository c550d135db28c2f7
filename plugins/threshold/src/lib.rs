//! The plainest detector there is: how far a value lies from the median of the values before it, measured in robust
//! standard deviations.
//!
//! Median and median absolute deviation (times 1.4826, which makes it the standard deviation of a normal distribution)
//! are those of a sliding window, exactly: the window is kept in order, so that both are found by halving. A strange
//! value among the window's hardly moves either, so nothing has to be left out of what it learns. Where more than half of
//! the values are alike the median deviation is 0: then the mean absolute deviation (times 1.2533) stands for it, as in
//! Iglewicz and Hoaglin's modified z-score as statistics packages compute it.

mod window;

use bellwether_sdk::detector::{Point, Verdict, detector};
use bellwether_sdk::{Choice, SettingError, Settings};

use window::Window;

/// Which values can be strange.
#[derive(Choice, Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    /// Those above.
    Up,
    /// Those below.
    Down,
    /// Both.
    Both,
}

/// What is strange.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Threshold {
    /// How many robust standard deviations from the median a value lies whose score is 0.5, which is also where the band
    /// ends. Above 0.
    #[setting(default = 4.0)]
    pub deviations: f64,
    /// How many values the median is taken of, 5 to 1000.
    #[setting(default = 240)]
    pub window: u32,
    /// The least standard deviation to reckon with, in the metric's unit, so that a series that hardly ever changes is
    /// not strange at its first change.
    #[setting(default = 0.0)]
    pub noise: f64,
    /// Which values can be strange.
    #[setting(default = Direction::Both)]
    pub direction: Direction,
}

fn check(threshold: &Threshold) -> Result<(), SettingError> {
    let Threshold { deviations, window, noise, .. } = threshold;
    if !(deviations.is_finite() && *deviations > 0.0) {
        return Err(SettingError::new("deviations", deviations, "a number above 0"));
    }
    if !(5..=1000).contains(window) {
        return Err(SettingError::new("window", window, "5 to 1000"));
    }
    if !(noise.is_finite() && *noise >= 0.0) {
        return Err(SettingError::new("noise", noise, "0, or a number above"));
    }
    Ok(())
}

/// Values it has to have seen before it judges.
const LEAST: usize = 5;

/// What makes a median absolute deviation a standard deviation, of a normal distribution: 1 / Φ⁻¹(3/4).
const NORMAL: f64 = 1.482_602_218_505_602;

/// The same of a mean absolute deviation: √(π/2).
const NORMAL_MEAN: f64 = 1.253_314_137_315_500_3;

/// Finds values strange that lie far from the median of those before.
#[detector(least = 5, best = 240)]
pub fn judge(window: &mut Window, threshold: &Threshold, point: Point) -> Verdict {
    let verdict = match window.median() {
        Some(median) if window.len() >= LEAST => verdict(window, threshold, point.value, median),
        _ => Verdict::unknown(),
    };
    if point.learn {
        window.push(point.value, threshold.window as usize);
    }
    verdict
}

fn verdict(window: &Window, threshold: &Threshold, value: f64, median: f64) -> Verdict {
    // Where all values are alike, a distance that only rounding makes is none.
    let rounding = median.abs() * 1e-9;
    let spread = match window.deviation(median) {
        0.0 => NORMAL_MEAN * window.mean_deviation(median),
        deviation => NORMAL * deviation,
    };
    let spread = spread.max(threshold.noise).max(rounding).clamp(f64::MIN_POSITIVE, f64::MAX);
    let counts = match threshold.direction {
        Direction::Up => value > median,
        Direction::Down => value < median,
        Direction::Both => true,
    };
    let distance = (value - median).abs().min(f64::MAX);
    let ratio = if counts { distance / spread / threshold.deviations } else { 0.0 };
    let square = (ratio * ratio).min(f64::MAX);
    // 0.5 where it lies so many deviations off, 0.9 at three times that.
    Verdict::new(square / (1.0 + square)).expected(median, (threshold.deviations * spread).min(f64::MAX))
}

#[cfg(test)]
mod tests;
