//! A plugin that predicts the points that follow.

use std::sync::Arc;

use bellwether_alerts::{Forecast, ForecasterDescription, Past, RoleError, Settings};
use bellwether_engine::{CallMeters, exports};
use bellwether_kernel::{FieldError, OrganisationId};

use crate::PluginError;
use crate::bindings::exports::bellwether::plugin::forecaster as wit;
use crate::declared::{bounded, open_settings};
use crate::detector::history;
use crate::inspect::PluginRole;
use crate::plugin::{Caller, Export, Loaded};
use crate::role::{SettingsBacking, bad_answer, check_band, check_length, refused, wrong_setting};

const DESCRIBE: Export = Export { role: PluginRole::Forecaster, name: "forecaster.describe" };
const PREDICT: Export = Export { role: PluginRole::Forecaster, name: "forecaster.predict" };

/// A plugin that exports `forecaster`.
pub(crate) struct PluginForecaster {
    loaded: Arc<Loaded>,
    exports: wit::GuestIndices,
    meters: Arc<CallMeters>,
    description: ForecasterDescription,
}

impl PluginForecaster {
    pub(crate) fn description(&self) -> &ForecasterDescription {
        &self.description
    }

    /// Asks the plugin what it is, and makes sure that it makes sense.
    pub(crate) async fn describe(loaded: Arc<Loaded>) -> Result<Self, PluginError> {
        let (exports, meters, described) = loaded
            .described(DESCRIBE, wit::GuestIndices::new, async |exports, store, instance| {
                exports.load(&mut *store, instance)?.call_describe(store).await
            })
            .await?;
        let description = description(described).map_err(|error| loaded.bad_description(DESCRIBE, error))?;
        Ok(Self { loaded, exports, meters, description })
    }

    /// [`Forecaster::predict`](bellwether_alerts::Forecaster::predict) in the service of an organisation, whose turns
    /// it takes, and whose instances are kept for the next calls.
    pub(crate) async fn predict(
        &self,
        organisation: OrganisationId,
        settings: &Settings,
        past: &Past,
    ) -> Result<Forecast, RoleError> {
        past.check()?;
        let settings = SettingsBacking::new(settings);
        let settings = settings.lower();
        let steps = i64::try_from(past.values.len().saturating_sub(1)).unwrap_or(i64::MAX);
        let step = i64::try_from(past.step.as_millis()).unwrap_or(i64::MAX);
        let time = past.start.saturating_add(step.saturating_mul(steps));
        let given = wit::Past {
            start: past.start.as_milliseconds(),
            step: u64::try_from(past.step.as_millis()).unwrap_or(u64::MAX),
            values: &past.values,
            horizon: past.horizon,
            level: past.level,
        };
        let (answer, _) = self
            .loaded
            .call(
                PREDICT,
                self.loaded.limits(),
                &self.meters,
                Caller::pure(time, organisation),
                async |store, instance| {
                    let found = exports(store, |store| self.exports.load(store, instance))?;
                    found.call_predict(store, &settings, given).await
                },
            )
            .await;
        match answer? {
            Ok(given) => forecast(given, past.horizon as usize)
                .map_err(|problem| bad_answer(&self.loaded, PREDICT, problem)),
            Err(wit::ForecastError::InvalidSettings(error)) => Err(wrong_setting(error)),
            Err(wit::ForecastError::TooShort(least)) => {
                Err(RoleError::TooShort { points: past.values.len(), least })
            }
            Err(wit::ForecastError::Other(reason)) => Err(refused(&self.loaded, PREDICT, reason)),
        }
    }
}

fn description(given: wit::Description) -> Result<ForecasterDescription, FieldError> {
    bounded("summary", &given.summary)?;
    Ok(ForecasterDescription {
        summary: given.summary,
        settings: open_settings(given.settings)?,
        history: history(given.history.least, given.history.best)?,
    })
}

/// What a forecaster gave, if it is a prediction of so many points.
fn forecast(given: wit::Forecast, horizon: usize) -> Result<Forecast, String> {
    let wit::Forecast { expected, lower, upper } = given;
    for (name, column) in [("expected", &expected), ("lower", &lower), ("upper", &upper)] {
        check_length(name, column.len(), horizon)?;
        if let Some(at) = column.iter().position(|value| !value.is_finite()) {
            return Err(format!("{name} of point {at} is {}, expected a finite number", column[at]));
        }
    }
    check_band(&lower, &expected, &upper).map_err(|(at, problem)| format!("point {at}: {problem}"))?;
    Ok(Forecast { expected, lower, upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_that_is_none_is_told_with_its_place() {
        let given = |expected: f64, upper: f64| wit::Forecast {
            expected: vec![1.0, expected],
            lower: vec![0.0, 0.0],
            upper: vec![2.0, upper],
        };
        assert!(forecast(given(1.0, 1.0), 2).is_ok());
        for (wrong, horizon, expected) in [
            (given(1.0, 1.0), 3, "2 entries of expected, expected 3"),
            (given(f64::NAN, 1.0), 2, "expected of point 1 is NaN"),
            (given(1.0, f64::INFINITY), 2, "upper of point 1 is inf"),
            (given(1.0, 0.5), 2, "point 1: lower 0, expected 1 and upper 0.5"),
        ] {
            let problem = forecast(wrong, horizon).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
