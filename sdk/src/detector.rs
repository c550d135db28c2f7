//! The role `detector`: scores the points of series, in order, from what it has learnt so far.

use std::time::Duration;

use crate::bindings::detector::exports::bellwether::plugin::detector as raw;
use crate::bindings::imports::bellwether::host::types::FieldError;
use crate::{NamedValue, SettingError, Settings, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Makes the component a detector that judges by this function, a point at a time.
///
/// `fn name(state: &mut State, settings: &Settings, point: Point) -> Verdict`, or with `#[detector(aligned, …)]`
/// `fn name(state: &mut State, settings: &Settings, peers: &Peers<'_>) -> Vec<Verdict>` for several series that share
/// their times, a verdict for each. The state begins as its `Default`, and is kept from call to call as serde writes it.
///
/// `least = 20, best = 500` say how many points of a series it wants to have seen: with fewer than the first it cannot
/// judge, with the second it is at its best. `layout = 2` tells states apart of versions that keep other things: what
/// another layout wrote is not read. The first paragraph of the function's documentation is the summary;
/// `summary = "…"` gives another.
///
/// It imports nothing: there is no clock, no log and no chance, and the same points get the same scores however they are
/// cut into calls.
///
/// ```
/// use bellwether_sdk::Settings;
/// use bellwether_sdk::detector::{Point, Verdict, detector};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Settings)]
/// struct Bound {
///     /// Values above are strange.
///     most: f64,
/// }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Nothing;
///
/// /// Finds every value above a bound strange.
/// #[detector(least = 0, best = 0)]
/// fn above(_: &mut Nothing, bound: &Bound, point: Point) -> Verdict {
///     Verdict::new(if point.value > bound.most { 1.0 } else { 0.0 })
/// }
///
/// let verdicts = bellwether_sdk::testing::detect(above, &Bound { most: 2.0 }, &[1.0, 3.0]);
/// assert_eq!((verdicts[0].score, verdicts[1].score), (0.0, 1.0));
/// ```
pub use bellwether_sdk_macros::detector;
pub use raw::{Description, History, Takes};

/// One point of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it was.
    pub time: Timestamp,
    /// How far apart points lie that miss none between them; absent where they come as they come.
    pub step: Option<Duration>,
    /// In the metric's unit; finite. Points without a value are not shown.
    pub value: f64,
    /// Whether to learn from it; where false, judge it and leave the state as it is.
    pub learn: bool,
}

/// One point of every one of several aligned series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peers<'a> {
    /// When it was.
    pub time: Timestamp,
    /// How far apart points lie that miss none between them; absent where they come as they come.
    pub step: Option<Duration>,
    /// One for each series; NaN where it has no value.
    pub values: &'a [f64],
    /// Whether to learn from it; where false, judge it and leave the state as it is.
    pub learn: bool,
}

/// What is thought of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// In [0, 1]; higher is stranger.
    pub score: f64,
    /// What the value should have been; NaN where it cannot be told.
    pub expected: f64,
    /// Where usual values begin, not above `expected`; NaN where it cannot be told.
    pub lower: f64,
    /// Where usual values end, not below `expected`; NaN where it cannot be told.
    pub upper: f64,
    /// The longest season found so far.
    pub season: Option<Duration>,
}

impl Verdict {
    /// A score, which is held within [0, 1], and nothing more.
    #[must_use]
    pub const fn new(score: f64) -> Self {
        Self {
            score: score.clamp(0.0, 1.0),
            expected: f64::NAN,
            lower: f64::NAN,
            upper: f64::NAN,
            season: None,
        }
    }

    /// Nothing can be told yet.
    #[must_use]
    pub const fn unknown() -> Self {
        Self::new(0.0)
    }

    /// With what the value should have been, and how far usual values lie from it on either side; the band is held within
    /// the finite numbers.
    #[must_use]
    pub const fn expected(self, expected: f64, tolerance: f64) -> Self {
        let (lower, upper) = (expected - tolerance, expected + tolerance);
        Self {
            expected,
            lower: lower.clamp(f64::MIN, f64::MAX),
            upper: upper.clamp(f64::MIN, f64::MAX),
            ..self
        }
    }

    /// With another band.
    #[must_use]
    pub const fn band(self, lower: f64, upper: f64) -> Self {
        Self { lower, upper, ..self }
    }

    /// With the season that was found.
    #[must_use]
    pub const fn season(self, season: Duration) -> Self {
        Self { season: Some(season), ..self }
    }
}

/// What a detector keeps from call to call; every type serde reads and writes, with a beginning.
pub trait State: Default + Serialize + DeserializeOwned {}

impl<T: Default + Serialize + DeserializeOwned> State for T {}

/// What the macros and the tests write calls to; not for authors.
#[doc(hidden)]
pub mod expanded {
    use super::*;

    /// What a detector takes, read off its function.
    pub fn describe_one<S: State, C: Settings>(
        _judge: impl Fn(&mut S, &C, Point) -> Verdict,
        summary: &str,
        least: u32,
        best: u32,
    ) -> Description {
        description::<C>(summary, Takes::OneSeries, least, best)
    }

    /// What a detector of aligned series takes, read off its function.
    pub fn describe_aligned<S: State, C: Settings>(
        _judge: impl Fn(&mut S, &C, &Peers<'_>) -> Vec<Verdict>,
        summary: &str,
        least: u32,
        best: u32,
    ) -> Description {
        description::<C>(summary, Takes::AlignedSeries, least, best)
    }

    fn description<C: Settings>(summary: &str, takes: Takes, least: u32, best: u32) -> Description {
        Description {
            summary: summary.to_owned(),
            settings: C::describe(),
            takes,
            history: History { least, best },
        }
    }

    /// Scores the points of a call.
    pub fn detect_one<S: State, C: Settings>(
        judge: impl Fn(&mut S, &C, Point) -> Verdict,
        layout: u32,
        settings: Vec<NamedValue>,
        state: &[u8],
        points: &raw::Points,
    ) -> Result<raw::Detection, raw::DetectorError> {
        let settings = C::read(settings)?;
        let [values] = &points.values[..] else {
            return Err(raw::DetectorError::Other(format!(
                "{} series were given, expected one",
                points.values.len()
            )));
        };
        check_lengths(points)?;
        let mut state: S = decode(layout, state)?;
        let step = points.step.map(Duration::from_millis);
        let mut scores = Columns::of(points.times.len());
        for (&time, &value) in points.times.iter().zip(values) {
            let point = Point { time: Timestamp::from_milliseconds(time), step, value, learn: points.learn };
            let verdict =
                if value.is_finite() { judge(&mut state, &settings, point) } else { Verdict::unknown() };
            scores.push(verdict);
        }
        Ok(raw::Detection { series: vec![scores.into()], state: encode(layout, &state)? })
    }

    /// Scores the points of a call over several series.
    pub fn detect_aligned<S: State, C: Settings>(
        judge: impl Fn(&mut S, &C, &Peers<'_>) -> Vec<Verdict>,
        layout: u32,
        settings: Vec<NamedValue>,
        state: &[u8],
        points: &raw::Points,
    ) -> Result<raw::Detection, raw::DetectorError> {
        let settings = C::read(settings)?;
        check_lengths(points)?;
        let mut state: S = decode(layout, state)?;
        let step = points.step.map(Duration::from_millis);
        let mut series: Vec<_> = points.values.iter().map(|_| Columns::of(points.times.len())).collect();
        let mut values = vec![0.0; points.values.len()];
        for (at, &time) in points.times.iter().enumerate() {
            for (value, column) in values.iter_mut().zip(&points.values) {
                *value = if column[at].is_finite() { column[at] } else { f64::NAN };
            }
            let time = Timestamp::from_milliseconds(time);
            let verdicts =
                judge(&mut state, &settings, &Peers { time, step, values: &values, learn: points.learn });
            if verdicts.len() != values.len() {
                let (found, expected) = (verdicts.len(), values.len());
                return Err(raw::DetectorError::Other(format!(
                    "{found} verdicts were given on {expected} series"
                )));
            }
            for ((scores, value), verdict) in series.iter_mut().zip(&values).zip(verdicts) {
                scores.push(if value.is_nan() { Verdict { score: 0.0, ..verdict } } else { verdict });
            }
        }
        Ok(raw::Detection {
            series: series.into_iter().map(Into::into).collect(),
            state: encode(layout, &state)?,
        })
    }

    fn check_lengths(points: &raw::Points) -> Result<(), raw::DetectorError> {
        match points.values.iter().find(|values| values.len() != points.times.len()) {
            None => Ok(()),
            Some(values) => Err(raw::DetectorError::Other(format!(
                "a series has {} values at {} times",
                values.len(),
                points.times.len()
            ))),
        }
    }

    /// A state as bytes: its layout's number, and what serde writes.
    pub fn encode<S: State>(layout: u32, state: &S) -> Result<Vec<u8>, raw::DetectorError> {
        postcard::to_extend(state, layout.to_le_bytes().to_vec())
            .map_err(|error| raw::DetectorError::Other(format!("the state cannot be written: {error}")))
    }

    /// A state from bytes; the beginning from none.
    pub fn decode<S: State>(layout: u32, state: &[u8]) -> Result<S, raw::DetectorError> {
        if state.is_empty() {
            return Ok(S::default());
        }
        let kept = state.strip_prefix(&layout.to_le_bytes()).ok_or(raw::DetectorError::UnknownState)?;
        match postcard::take_from_bytes(kept) {
            Ok((state, [])) => Ok(state),
            _ => Err(raw::DetectorError::UnknownState),
        }
    }

    /// Verdicts in columns.
    struct Columns(raw::Scores);

    impl Columns {
        fn of(points: usize) -> Self {
            let column = || Vec::with_capacity(points);
            Self(raw::Scores {
                scores: column(),
                expected: column(),
                lower: column(),
                upper: column(),
                season: None,
            })
        }

        fn push(&mut self, verdict: Verdict) {
            self.0.scores.push(verdict.score);
            self.0.expected.push(verdict.expected);
            self.0.lower.push(verdict.lower);
            self.0.upper.push(verdict.upper);
            if let Some(season) = verdict.season {
                // Of 128 bits, which `Duration::as_millis` has, a component reckons slowly.
                let seconds = season.as_secs().saturating_mul(1000);
                self.0.season = Some(seconds.saturating_add(season.subsec_millis().into()));
            }
        }
    }

    impl From<Columns> for raw::Scores {
        fn from(columns: Columns) -> Self {
            columns.0
        }
    }
}

impl From<SettingError> for raw::DetectorError {
    fn from(error: SettingError) -> Self {
        Self::InvalidSettings(FieldError::from(error))
    }
}
