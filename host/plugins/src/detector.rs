//! A plugin that scores the points of series.

use std::sync::Arc;

use bellwether_alerts::{
    Detection, DetectorDescription, History, Points, RoleError, Scores, Settings, Takes,
    limits as alert_limits,
};
use bellwether_engine::{CallMeters, exports};
use bellwether_kernel::{FieldError, OrganisationId};

use crate::PluginError;
use crate::bindings::exports::bellwether::plugin::detector as wit;
use crate::declared::{bounded, open_settings};
use crate::inspect::PluginRole;
use crate::plugin::{Caller, Export, Loaded};
use crate::role::{SettingsBacking, bad_answer, check_band, check_length, refused, wrong_setting};

const DESCRIBE: Export = Export { role: PluginRole::Detector, name: "detector.describe" };
const DETECT: Export = Export { role: PluginRole::Detector, name: "detector.detect" };

/// A plugin that exports `detector`.
pub(crate) struct PluginDetector {
    loaded: Arc<Loaded>,
    exports: wit::GuestIndices,
    meters: Arc<CallMeters>,
    description: DetectorDescription,
}

impl PluginDetector {
    pub(crate) fn description(&self) -> &DetectorDescription {
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

    /// [`Detector::detect`](bellwether_alerts::Detector::detect) in the service of an organisation, whose turns
    /// it takes, and whose instances are kept for the next calls.
    pub(crate) async fn detect(
        &self,
        organisation: OrganisationId,
        settings: &Settings,
        state: &[u8],
        points: &Points,
    ) -> Result<Detection, RoleError> {
        points.check(self.description.takes)?;
        let settings = SettingsBacking::new(settings);
        let settings = settings.lower();
        let time = points.times.last().copied().unwrap_or_default();
        let times: Vec<i64> = points.times.iter().map(|time| time.as_milliseconds()).collect();
        let values: Vec<&[f64]> = points.values.iter().map(Vec::as_slice).collect();
        let given = wit::Points {
            times: &times,
            step: points.step.map(|step| u64::try_from(step.as_millis()).unwrap_or(u64::MAX)),
            values: &values,
            learn: points.learn,
        };
        let (answer, _) = self
            .loaded
            .call(
                DETECT,
                self.loaded.limits(),
                &self.meters,
                Caller::pure(time, organisation),
                async |store, instance| {
                    let found = exports(store, |store| self.exports.load(store, instance))?;
                    found.call_detect(store, &settings, state, given).await
                },
            )
            .await;
        match answer? {
            Ok(given) => {
                self.loaded.check_output(DETECT, size(&given))?;
                detection(given, points).map_err(|problem| bad_answer(&self.loaded, DETECT, problem))
            }
            Err(wit::DetectorError::InvalidSettings(error)) => Err(wrong_setting(error)),
            Err(wit::DetectorError::UnknownState) => {
                Err(RoleError::UnknownState(format!("plugin {} {}", self.loaded.name, self.loaded.version)))
            }
            Err(wit::DetectorError::Other(reason)) => Err(refused(&self.loaded, DETECT, reason)),
        }
    }
}

fn description(given: wit::Description) -> Result<DetectorDescription, FieldError> {
    bounded("summary", &given.summary)?;
    Ok(DetectorDescription {
        summary: given.summary,
        settings: open_settings(given.settings)?,
        takes: match given.takes {
            wit::Takes::OneSeries => Takes::OneSeries,
            wit::Takes::AlignedSeries => Takes::AlignedSeries,
        },
        history: history(given.history.least, given.history.best)?,
    })
}

/// How much of a series a role wants, if a call can hold it.
pub(crate) fn history(least: u32, best: u32) -> Result<History, FieldError> {
    if best < least {
        return Err(FieldError::new("history.best", best, format!("not below history.least, {least}")));
    }
    if best as usize > alert_limits::POINTS {
        let expected = format!("at most {} points", alert_limits::POINTS);
        return Err(FieldError::new("history.best", best, expected));
    }
    Ok(History { least, best })
}

/// Bytes a detector gave.
fn size(given: &wit::Detection) -> usize {
    let numbers = |scores: &wit::Scores| {
        scores.scores.len() + scores.expected.len() + scores.lower.len() + scores.upper.len()
    };
    given.state.len() + given.series.iter().map(numbers).sum::<usize>() * size_of::<f64>()
}

/// What a detector gave, if it is a verdict on each of `points`.
fn detection(given: wit::Detection, points: &Points) -> Result<Detection, String> {
    let most = points.values.len() * alert_limits::STATE;
    if given.state.len() > most {
        return Err(format!("its state has {} bytes, at most {most} are kept", given.state.len()));
    }
    check_length("series", given.series.len(), points.values.len())?;
    let series = given.series.into_iter().enumerate().map(|(index, scores)| {
        let scores = Scores {
            scores: scores.scores,
            expected: scores.expected,
            lower: scores.lower,
            upper: scores.upper,
            season: scores.season,
        };
        check_scores(&scores, points.times.len()).map_err(|problem| format!("series {index}: {problem}"))?;
        Ok(scores)
    });
    Ok(Detection { series: series.collect::<Result<_, String>>()?, state: given.state })
}

fn check_scores(given: &Scores, points: usize) -> Result<(), String> {
    let Scores { scores, expected, lower, upper, .. } = given;
    for (name, column) in [("scores", scores), ("expected", expected), ("lower", lower), ("upper", upper)] {
        check_length(name, column.len(), points)?;
    }
    if let Some(at) = scores.iter().position(|score| !(0.0..=1.0).contains(score)) {
        return Err(format!("the score of point {at} is {}, expected 0 to 1", scores[at]));
    }
    for (name, column) in [("expected", expected), ("lower", lower), ("upper", upper)] {
        if let Some(at) = column.iter().position(|value| value.is_infinite()) {
            return Err(format!(
                "{name} of point {at} is {}, expected a finite number, or NaN where it cannot tell",
                column[at]
            ));
        }
    }
    check_band(lower, expected, upper).map_err(|(at, problem)| format!("point {at}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_is_none_is_told_with_its_place() {
        let right = || Scores {
            scores: vec![0.0, 1.0],
            expected: vec![f64::NAN, 2.0],
            lower: vec![f64::NAN, 1.0],
            upper: vec![f64::NAN, 3.0],
            season: None,
        };
        assert_eq!(check_scores(&right(), 2), Ok(()));
        for (wrong, expected) in [
            (Scores { scores: vec![0.0], ..right() }, "1 entries of scores, expected 2"),
            (Scores { scores: vec![0.0, f64::NAN], ..right() }, "the score of point 1 is NaN"),
            (Scores { scores: vec![-0.1, 0.0], ..right() }, "the score of point 0 is -0.1"),
            (Scores { expected: vec![f64::INFINITY, 2.0], ..right() }, "expected of point 0 is inf"),
            (Scores { upper: vec![0.0, 1.5], ..right() }, "point 1: lower 1, expected 2 and upper 1.5"),
            (Scores { expected: vec![0.0, f64::NAN], upper: vec![0.0, 0.5], ..right() }, "point 1: lower 1"),
        ] {
            let problem = check_scores(&wrong, 2).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
