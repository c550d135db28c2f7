//! Predicts that a series goes on as it did on the whole: a forecaster.
//!
//! It imports nothing: what it is given is all it knows.

use bellwether_sdk::Settings;
use bellwether_sdk::forecaster::{Forecast, ForecastError, Past, forecaster};

/// How to predict. A field's comment is the help its user reads.
#[derive(Debug, Settings)]
pub struct Drift {
    /// Whether what is predicted may be below 0.
    #[setting(default = true)]
    pub negative: bool,
}

/// Predicts that the change from first to last goes on.
#[forecaster(least = 3, best = 100)]
pub fn predict(drift: &Drift, past: &Past) -> Result<Forecast, ForecastError> {
    // Each value with its place: where there is none the line goes on all the same.
    let places = (0..past.values.len()).map(|place| place as f64);
    let known: Vec<(f64, f64)> = places
        .zip(past.values.iter().copied())
        .filter(|(_, value)| value.is_finite())
        .collect();
    let (Some(first), Some(last), true) = (known.first(), known.last(), known.len() >= 3) else {
        return Err(ForecastError::TooShort(3));
    };
    let steps = last.0 - first.0;
    let slope = last.1 / steps - first.1 / steps;
    let squares = known.windows(2).map(|pair| {
        let steps = pair[1].0 - pair[0].0;
        (pair[1].1 - pair[0].1 - slope * steps).powi(2) / steps
    });
    let deviation = (squares.sum::<f64>() / (known.len() - 1) as f64).sqrt();
    // Steps from the last value to the last point, which may have none.
    let behind = (past.values.len() - 1) as f64 - last.0;
    let held = |value: f64| {
        let least = if drift.negative { f64::MIN } else { 0.0 };
        value.clamp(least, f64::MAX)
    };
    let points = (1..=past.horizon).map(|ahead| {
        let ahead = behind + ahead as f64;
        let expected = (last.1 + slope * ahead).clamp(f64::MIN, f64::MAX);
        let spread = past.deviations() * deviation * (ahead * (1.0 + ahead / steps)).sqrt();
        (
            held(expected),
            held(expected - spread),
            held(expected + spread),
        )
    });
    Ok(points.collect())
}

#[cfg(test)]
mod tests {
    use bellwether_sdk::testing::past;

    use super::*;

    #[test]
    fn a_line_goes_on_and_its_band_is_as_narrow_as_it_was_straight() {
        let drift = Drift { negative: true };
        let gaps = [1.0, 2.0, f64::NAN, 4.0, f64::NAN];
        let forecast = predict(&drift, &past(&gaps, 2)).expect("three points");
        assert_eq!(forecast.expected, [6.0, 7.0]);
        assert_eq!(forecast.lower, forecast.upper);
        let rough = predict(&drift, &past(&[1.0, 3.0, 2.0, 4.0], 2)).expect("four points");
        assert!(rough.upper[1] - rough.lower[1] > rough.upper[0] - rough.lower[0]);
    }

    #[test]
    fn what_cannot_be_negative_is_not_and_two_points_are_too_few() {
        let drift = Drift { negative: false };
        let forecast = predict(&drift, &past(&[2.0, 1.0, 0.0], 2)).expect("three points");
        assert_eq!(forecast.expected, [0.0, 0.0]);
        assert_eq!(
            predict(&drift, &past(&[2.0, 1.0], 1)),
            Err(ForecastError::TooShort(3))
        );
    }
}
