//! The forecaster every other one has to beat: each point is predicted to be what it was a season ago.
//!
//! The band is that of the method's own theory (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, section
//! 5.5): the standard deviation of the steps from season to season, times the square root of how many seasons lie
//! between a point and what it is predicted from.

use std::time::Duration;

use bellwether_sdk::forecaster::{Forecast, ForecastError, Past, forecaster};
use bellwether_sdk::{SettingError, Settings};

/// How long a season is.
#[derive(Debug, Settings)]
pub struct Seasonal {
    /// Milliseconds from the beginning of a season to that of the next, a multiple of the series' step. If absent, a day
    /// where two of them are known; else every point is predicted to be the last one.
    pub season: Option<u64>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Predicts that the last season repeats.
#[forecaster(least = 2, best = 2016)]
pub fn predict(seasonal: &Seasonal, past: &Past) -> Result<Forecast, ForecastError> {
    let season = season(seasonal, past)?;
    let needed = if season == 1 { 2 } else { season.saturating_mul(2) };
    if past.values.len() < needed {
        return Err(ForecastError::TooShort(u32::try_from(needed).unwrap_or(u32::MAX)));
    }
    let deviation = deviation(&past.values, season);
    let deviations = past.deviations();
    let points = (0..past.horizon).map(|ahead| {
        let (expected, seasons) = repeated(&past.values, season, ahead)?;
        let tolerance = deviations * deviation * seasons.sqrt();
        let held = |value: f64| value.clamp(f64::MIN, f64::MAX);
        Some((expected, held(expected - tolerance), held(expected + tolerance)))
    });
    let nothing = || ForecastError::Other("a whole phase of the season has no values to repeat".to_owned());
    points.collect::<Option<Forecast>>().ok_or_else(nothing)
}

/// A season's length in points.
fn season(seasonal: &Seasonal, past: &Past) -> Result<usize, SettingError> {
    let step = past.step.as_millis().max(1);
    match seasonal.season {
        Some(season) if season == 0 || u128::from(season) % step != 0 => Err(SettingError::new(
            "season",
            season,
            format!("a multiple of the series' step, {step} milliseconds"),
        )),
        Some(season) => Ok(usize::try_from(u128::from(season) / step).unwrap_or(usize::MAX)),
        None => {
            let day = usize::try_from(DAY.as_millis() / step).unwrap_or(usize::MAX);
            let whole = DAY.as_millis().is_multiple_of(step) && past.values.len() / 2 >= day;
            Ok(if whole { day.max(1) } else { 1 })
        }
    }
}

/// The newest value of the phase that lies `ahead` points past the end, and how many seasons ago it was.
fn repeated(values: &[f64], season: usize, ahead: usize) -> Option<(f64, f64)> {
    let first = ahead / season + 1;
    let at = values.len() + ahead;
    (first..).map_while(|seasons| at.checked_sub(seasons * season).map(|place| (seasons, place))).find_map(
        |(seasons, place)| {
            let value = values.get(place).copied().filter(|value| value.is_finite())?;
            Some((value, seasons as f64))
        },
    )
}

/// The standard deviation of the steps from season to season, around no step at all.
fn deviation(values: &[f64], season: usize) -> f64 {
    let steps = values.iter().zip(&values[season.min(values.len())..]).map(|(before, after)| after - before);
    let (mut count, mut squares) = (0.0, 0.0);
    for step in steps.filter(|step| step.is_finite()) {
        count += 1.0;
        squares += step * step;
    }
    if count == 0.0 { 0.0 } else { (squares / count).sqrt().min(f64::MAX.sqrt()) }
}

#[cfg(test)]
mod tests {
    use bellwether_sdk::serde_json::json;
    use bellwether_sdk::testing::{past, settings};

    use super::*;

    const MINUTE: u64 = 60_000;

    fn seasonal(points: u64) -> Seasonal {
        settings(&json!({ "season": points * MINUTE })).expect("they are right")
    }

    #[test]
    fn the_last_season_is_repeated_and_the_band_widens_with_every_season() {
        let values = [1.0, 5.0, 2.0, 2.0, 6.0, 2.0, 3.0, 7.0, 2.0];
        let forecast = predict(&seasonal(3), &past(&values, 7)).expect("it is long enough");
        assert_eq!(forecast.expected, [3.0, 7.0, 2.0, 3.0, 7.0, 2.0, 3.0]);
        let width = |at: usize| forecast.upper[at] - forecast.lower[at];
        assert!((width(3) / width(0) - 2.0_f64.sqrt()).abs() < 1e-12);
        assert!((width(6) / width(0) - 3.0_f64.sqrt()).abs() < 1e-12);
        // Steps from season to season are 1, 1, 0, 1, 1, 0.
        assert!((width(0) - 2.0 * 1.959_964 * (4.0_f64 / 6.0).sqrt()).abs() < 1e-5, "{}", width(0));
    }

    #[test]
    fn a_gap_is_filled_from_the_season_before_it() {
        let values = [1.0, 5.0, 2.0, 6.0, f64::NAN, 7.0];
        let forecast = predict(&seasonal(2), &past(&values, 2)).expect("it is long enough");
        assert_eq!(forecast.expected, [2.0, 7.0]);
        let none = [f64::NAN, 5.0, f64::NAN, 6.0];
        let error = predict(&seasonal(2), &past(&none, 1)).expect_err("nothing to repeat");
        assert!(error.to_string().contains("no values to repeat"), "{error}");
    }

    #[test]
    fn without_a_season_a_day_is_one_and_a_short_series_has_none() {
        let none = Seasonal { season: None };
        let days: Vec<f64> = (0..2 * 1440).map(|minute| f64::from(minute % 1440)).collect();
        assert_eq!(predict(&none, &past(&days, 2)).expect("two days").expected, [0.0, 1.0]);
        assert_eq!(predict(&none, &past(&[1.0, 2.0, 3.0], 2)).expect("three minutes").expected, [3.0, 3.0]);
    }

    #[test]
    fn what_it_cannot_predict_from_is_said() {
        assert_eq!(predict(&seasonal(3), &past(&[1.0; 5], 1)), Err(ForecastError::TooShort(6)));
        assert_eq!(predict(&Seasonal { season: None }, &past(&[], 1)), Err(ForecastError::TooShort(2)));
        for season in [0, 90_001] {
            let error =
                predict(&Seasonal { season: Some(season) }, &past(&[1.0; 9], 1)).expect_err("no season");
            assert!(error.to_string().contains("a multiple of the series' step, 60000"), "{error}");
        }
    }

    #[test]
    fn every_number_is_finite_and_in_order_whatever_the_values() {
        let values = [f64::MAX, f64::MIN, f64::MAX, f64::MIN, 0.0, f64::MAX];
        let forecast = predict(&Seasonal { season: None }, &past(&values, 3)).expect("it is long enough");
        for at in 0..3 {
            let (lower, upper) = (forecast.lower[at], forecast.upper[at]);
            assert!(
                lower.is_finite()
                    && upper.is_finite()
                    && lower <= forecast.expected[at]
                    && forecast.expected[at] <= upper
            );
        }
    }
}
