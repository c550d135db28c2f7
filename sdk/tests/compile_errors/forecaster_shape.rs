//! A forecaster that owns its settings.
use bellwether_sdk::forecaster::{Forecast, ForecastError, Past, forecaster};

/// Predicts.
#[forecaster(least = 1, best = 1)]
fn predict(
    _: (), //~ a forecaster is `fn name(settings: &Settings, past: &Past)
    _: &Past,
) -> Result<Forecast, ForecastError> {
    Err(ForecastError::TooShort(1))
}

fn main() {}
