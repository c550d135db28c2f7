//! Scores of points, one series or several aligned ones at a time.

use std::time::Duration;

use async_trait::async_trait;
use bellwether_kernel::value::Input;
use bellwether_kernel::{FieldError, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{RoleError, Settings, limits};

/// What a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Takes {
    /// One series.
    OneSeries,
    /// One or more series that share their times.
    AlignedSeries,
}

/// How much of a series it wants to have seen, in points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// With fewer it cannot judge.
    pub least: u32,
    /// With so many it is at its best; not below `least`.
    pub best: u32,
}

/// What a detector is, and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorDescription {
    /// One sentence.
    pub summary: String,
    /// What it can be set to; none is secret.
    pub settings: Vec<Input>,
    /// What a call takes.
    pub takes: Takes,
    /// How much it wants to have seen.
    pub history: History,
}

/// Points in columns, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// Strictly ascending.
    pub times: Vec<Timestamp>,
    /// How far apart points lie that miss none between them; absent where they come as they come.
    pub step: Option<Duration>,
    /// One list for each series, each as long as `times`: NaN where there is no value, never infinite.
    pub values: Vec<Vec<f64>>,
    /// Whether the detector learns from them.
    pub learn: bool,
}

impl Points {
    /// Whether they are what a detector that `takes` so many series may be given.
    ///
    /// # Errors
    /// Names the column and the place that is wrong.
    pub fn check(&self, takes: Takes) -> Result<(), FieldError> {
        let series = self.values.len();
        let most = if takes == Takes::OneSeries { 1 } else { limits::SERIES };
        if !(1..=most).contains(&series) {
            let expected = match takes {
                Takes::OneSeries => "one series: this detector looks at each by itself".to_owned(),
                Takes::AlignedSeries => format!("1 to {most} series"),
            };
            return Err(FieldError::new("values", format!("{series} series"), expected));
        }
        check_times(&self.times)?;
        if series.saturating_mul(self.times.len()) > limits::POINTS {
            let found = format!("{series} series of {} points", self.times.len());
            return Err(FieldError::new(
                "values",
                found,
                format!("at most {} points in all", limits::POINTS),
            ));
        }
        for (index, values) in self.values.iter().enumerate() {
            if values.len() != self.times.len() {
                let expected = format!("{}, one for each time", self.times.len());
                return Err(FieldError::new(format!("values[{index}]"), values.len(), expected));
            }
            check_values(&format!("values[{index}]"), values)?;
        }
        check_step(self.step)
    }
}

/// Times are strictly ascending.
fn check_times(times: &[Timestamp]) -> Result<(), FieldError> {
    match times.windows(2).position(|pair| pair[0] >= pair[1]) {
        None => Ok(()),
        Some(at) => {
            let expected = format!("an instant after {}", times[at]);
            Err(FieldError::new(format!("times[{}]", at + 1), times[at + 1], expected))
        }
    }
}

/// Values are finite, or NaN for none.
pub(crate) fn check_values(field: &str, values: &[f64]) -> Result<(), FieldError> {
    match values.iter().position(|value| value.is_infinite()) {
        None => Ok(()),
        Some(at) => Err(FieldError::new(
            format!("{field}[{at}]"),
            values[at],
            "a finite number, or none where there is no value",
        )),
    }
}

/// A step is whole milliseconds, at least one.
pub(crate) fn check_step(step: Option<Duration>) -> Result<(), FieldError> {
    match step {
        Some(step) if step.as_millis() == 0 || u64::try_from(step.as_millis()).is_err() => {
            Err(FieldError::new("step", format!("{step:?}"), "at least a millisecond"))
        }
        _ => Ok(()),
    }
}

/// A verdict on each point of one series, in columns as long as its points.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// In [0, 1]; higher is stranger.
    pub scores: Vec<f64>,
    /// What the value should have been; NaN where the detector cannot tell.
    pub expected: Vec<f64>,
    /// Where usual values begin, not above `expected`; NaN where it cannot tell.
    pub lower: Vec<f64>,
    /// Where usual values end, not below `expected`; NaN where it cannot tell.
    pub upper: Vec<f64>,
    /// The longest season it found so far, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub season: Option<u64>,
}

/// What a call gives back.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// One for each series, in the order they were given.
    pub series: Vec<Scores>,
    /// For the next call; at most [`limits::STATE`] bytes for each series.
    pub state: Vec<u8>,
}

/// One version of one detector.
#[async_trait]
pub trait Detector: Send + Sync {
    /// The plugin's version.
    fn version(&self) -> &str;

    /// What it is, and what it takes.
    fn description(&self) -> &DetectorDescription;

    /// Scores points. `state` is what the previous call gave back, empty at first.
    ///
    /// # Errors
    /// [`RoleError::UnknownState`] if another version wrote the state; else if settings or points are wrong, or the
    /// call came to nothing.
    async fn detect(
        &self,
        settings: &Settings,
        state: &[u8],
        points: &Points,
    ) -> Result<Detection, RoleError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_no_detector_may_be_given_are_named() {
        let at = Timestamp::from_milliseconds;
        let points = |times: &[i64], values: &[&[f64]]| Points {
            times: times.iter().map(|&time| at(time).expect("an instant")).collect(),
            step: None,
            values: values.iter().map(|values| values.to_vec()).collect(),
            learn: true,
        };
        assert_eq!(points(&[], &[&[]]).check(Takes::OneSeries), Ok(()));
        assert_eq!(points(&[1, 2], &[&[1.0, f64::NAN]]).check(Takes::OneSeries), Ok(()));
        assert_eq!(points(&[1], &[&[1.0], &[2.0]]).check(Takes::AlignedSeries), Ok(()));
        let step = Points { step: Some(Duration::ZERO), ..points(&[], &[&[]]) };
        for (points, takes, field) in [
            (points(&[1], &[&[1.0], &[2.0]]), Takes::OneSeries, "values"),
            (points(&[1], &[]), Takes::AlignedSeries, "values"),
            (points(&[1, 1], &[&[1.0, 2.0]]), Takes::OneSeries, "times[1]"),
            (points(&[1, 2], &[&[1.0]]), Takes::OneSeries, "values[0]"),
            (points(&[1, 2], &[&[1.0, f64::INFINITY]]), Takes::OneSeries, "values[0][1]"),
            (step, Takes::OneSeries, "step"),
        ] {
            assert_eq!(points.check(takes).map_err(|error| error.field), Err(field.to_owned()));
        }
    }
}
