//! The role `forecaster`: predicts the points that follow.

use std::fmt;
use std::time::Duration;

use crate::bindings::forecaster::exports::bellwether::plugin::forecaster as raw;
use crate::bindings::imports::bellwether::host::types::FieldError;
use crate::{NamedValue, SettingError, Settings, Timestamp};

/// Makes the component a forecaster that predicts by this function:
/// `fn name(settings: &Settings, past: &Past) -> Result<Forecast, ForecastError>`.
///
/// `least = 20, best = 500` say how many points of a series it wants to see: with fewer than the first it is not asked, and
/// the answer is [`ForecastError::TooShort`]; with the second it is at its best. The first paragraph of the function's documentation is the summary;
/// `summary = "…"` gives another.
///
/// ```
/// use bellwether_sdk::forecaster::{Forecast, ForecastError, Past, forecaster};
///
/// /// Predicts that all stays as it was last.
/// #[forecaster(least = 1, best = 1)]
/// fn unchanged(_: &(), past: &Past) -> Result<Forecast, ForecastError> {
///     let last = past.known().last().ok_or(ForecastError::TooShort(1))?;
///     Ok((0..past.horizon).map(|_| (last, last - 1.0, last + 1.0)).collect())
/// }
///
/// let past = bellwether_sdk::testing::past(&[1.0, 2.0], 3);
/// assert_eq!(unchanged(&(), &past)?.expected, [2.0, 2.0, 2.0]);
/// # Ok::<(), ForecastError>(())
/// ```
pub use bellwether_sdk_macros::forecaster;
pub use raw::{Description, Forecast, History};

/// What was, and how far ahead is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// The time of the first value.
    pub start: Timestamp,
    /// How far apart values lie.
    pub step: Duration,
    /// In the metric's unit, oldest first; NaN where there is no value.
    pub values: Vec<f64>,
    /// How many points to predict.
    pub horizon: usize,
    /// How much of what comes shall lie in the band: above 0 and below 1.
    pub level: f64,
}

impl Past {
    /// The values there are, oldest first.
    pub fn known(&self) -> impl DoubleEndedIterator<Item = f64> + '_ {
        self.values.iter().copied().filter(|value| value.is_finite())
    }

    /// How many standard deviations to either side of its mean hold [`Self::level`] of a normal distribution.
    #[must_use]
    pub fn deviations(&self) -> f64 {
        deviations(self.level)
    }
}

/// How many standard deviations to either side of its mean hold `level` of a normal distribution: 1.96 for 0.95. Found by
/// halving, to the last digit but one; at most 8.
///
/// ```
/// use bellwether_sdk::forecaster::deviations;
///
/// assert!((deviations(0.95) - 1.959_964).abs() < 1e-6);
/// assert!((deviations(0.5) - 0.674_490).abs() < 1e-6);
/// ```
#[must_use]
pub fn deviations(level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if within(middle) < level { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// How much of a normal distribution lies within so many standard deviations: erf(x / √2), by its series
/// 2/√π · e^(−t²) · Σ 2ⁿ t^(2n+1) / (1·3·…·(2n+1)), whose terms are all positive.
fn within(deviations: f64) -> f64 {
    let t = deviations / std::f64::consts::SQRT_2;
    let (mut term, mut sum) = (t, t);
    let mut odd = 1.0;
    while term > sum * f64::EPSILON {
        odd += 2.0;
        term *= 2.0 * t * t / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-t * t).exp() * sum
}

/// Points as `(expected, lower, upper)`.
impl FromIterator<(f64, f64, f64)> for Forecast {
    fn from_iter<I: IntoIterator<Item = (f64, f64, f64)>>(points: I) -> Self {
        let mut forecast = Self { expected: Vec::new(), lower: Vec::new(), upper: Vec::new() };
        for (expected, lower, upper) in points {
            forecast.expected.push(expected);
            forecast.lower.push(lower);
            forecast.upper.push(upper);
        }
        forecast
    }
}

/// Why there is no prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForecastError {
    /// A setting is wrong.
    Setting(SettingError),
    /// With these settings so many points are needed.
    TooShort(u32),
    /// In one line.
    Other(String),
}

impl fmt::Display for ForecastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(error) => error.fmt(f),
            Self::TooShort(least) => write!(f, "{least} points are needed"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ForecastError {}

impl From<SettingError> for ForecastError {
    fn from(error: SettingError) -> Self {
        Self::Setting(error)
    }
}

impl From<ForecastError> for raw::ForecastError {
    fn from(error: ForecastError) -> Self {
        match error {
            ForecastError::Setting(error) => Self::InvalidSettings(FieldError::from(error)),
            ForecastError::TooShort(least) => Self::TooShort(least),
            ForecastError::Other(reason) => Self::Other(reason),
        }
    }
}

/// What the macros write calls to; not for authors.
#[doc(hidden)]
pub mod expanded {
    use super::*;

    /// What a forecaster takes, read off its function.
    pub fn describe<C: Settings>(
        _predict: impl Fn(&C, &Past) -> Result<Forecast, ForecastError>,
        summary: &str,
        least: u32,
        best: u32,
    ) -> Description {
        Description { summary: summary.to_owned(), settings: C::describe(), history: History { least, best } }
    }

    /// Predicts what a call asks for, of no fewer points than it wants to see.
    pub fn predict<C: Settings>(
        predict: impl Fn(&C, &Past) -> Result<Forecast, ForecastError>,
        least: u32,
        settings: Vec<NamedValue>,
        past: raw::Past,
    ) -> Result<Forecast, raw::ForecastError> {
        let settings = C::read(settings).map_err(ForecastError::from)?;
        let past = Past {
            start: Timestamp::from_milliseconds(past.start),
            step: Duration::from_millis(past.step),
            values: past.values,
            horizon: past.horizon as usize,
            level: past.level,
        };
        if past.known().count() < least as usize {
            return Err(ForecastError::TooShort(least).into());
        }
        Ok(predict(&settings, &past)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_fewer_points_than_it_wants_to_see_nothing_is_predicted() {
        let past = |values: &[f64]| raw::Past {
            start: 0,
            step: 60_000,
            values: values.to_vec(),
            horizon: 1,
            level: 0.95,
        };
        let predict = |values: &[f64]| {
            let zero = |(): &(), _: &Past| Ok([(0.0, 0.0, 0.0)].into_iter().collect());
            expanded::predict::<()>(zero, 2, Vec::new(), past(values))
        };
        assert!(matches!(predict(&[1.0, f64::NAN]), Err(raw::ForecastError::TooShort(2))));
        assert!(predict(&[1.0, f64::NAN, 2.0]).is_ok());
    }
}
