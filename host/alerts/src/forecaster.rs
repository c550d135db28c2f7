//! Predictions of the points that follow.

use std::time::Duration;

use async_trait::async_trait;
use bellwether_kernel::value::Input;
use bellwether_kernel::{FieldError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::detector::{check_step, check_values};
use crate::{History, RoleError, Settings, limits};

/// What a forecaster is, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecasterDescription {
    /// One sentence.
    pub summary: String,
    /// What it can be set to; none is secret.
    pub settings: Vec<Input>,
    /// How much it wants to see.
    pub history: History,
}

/// What was, and how far ahead is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// The time of the first value.
    pub start: Timestamp,
    /// How far apart values lie.
    pub step: Duration,
    /// Oldest first; NaN where there is no value, never infinite.
    pub values: Vec<f64>,
    /// How many points to predict.
    pub horizon: u32,
    /// How much of what comes shall lie in the band: above 0 and below 1.
    pub level: f64,
}

impl Past {
    /// Whether it is what a forecaster may be given.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<(), FieldError> {
        check_step(Some(self.step))?;
        if self.values.len() > limits::POINTS {
            let expected = format!("at most {}", limits::POINTS);
            return Err(FieldError::new("values", format!("{} points", self.values.len()), expected));
        }
        check_values("values", &self.values)?;
        if !(1..=limits::HORIZON).contains(&self.horizon) {
            return Err(FieldError::new("horizon", self.horizon, format!("1 to {}", limits::HORIZON)));
        }
        if !(self.level > 0.0 && self.level < 1.0) {
            return Err(FieldError::new("level", self.level, "a number above 0 and below 1, such as 0.95"));
        }
        Ok(())
    }
}

/// A prediction, in columns of `horizon` entries, all finite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// What is expected.
    pub expected: Vec<f64>,
    /// Not above `expected`.
    pub lower: Vec<f64>,
    /// Not below `expected`.
    pub upper: Vec<f64>,
}

/// One version of one forecaster.
#[async_trait]
pub trait Forecaster: Send + Sync {
    /// The plugin's version.
    fn version(&self) -> &str;

    /// What it is, and what it takes.
    fn description(&self) -> &ForecasterDescription;

    /// Predicts the points that follow.
    ///
    /// # Errors
    /// [`RoleError::TooShort`] if there are too few points; else if settings or values are wrong, or the call came to
    /// nothing.
    async fn predict(&self, settings: &Settings, past: &Past) -> Result<Forecast, RoleError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_no_forecaster_may_be_asked_is_named() {
        let past = Past {
            start: Timestamp::MIN,
            step: Duration::from_secs(60),
            values: vec![1.0, f64::NAN],
            horizon: 1,
            level: 0.95,
        };
        assert_eq!(past.check(), Ok(()));
        for (past, field) in [
            (Past { horizon: 0, ..past.clone() }, "horizon"),
            (Past { horizon: limits::HORIZON + 1, ..past.clone() }, "horizon"),
            (Past { level: 1.0, ..past.clone() }, "level"),
            (Past { level: f64::NAN, ..past.clone() }, "level"),
            (Past { step: Duration::ZERO, ..past.clone() }, "step"),
            (Past { values: vec![f64::INFINITY], ..past.clone() }, "values[0]"),
        ] {
            assert_eq!(past.check().map_err(|error| error.field), Err(field.to_owned()));
        }
    }
}
