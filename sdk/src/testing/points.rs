//! Series fed to a detector, in one go and in pieces, and a past to predict from.

use std::time::Duration;

use crate::Timestamp;
use crate::detector::{Point, State, Verdict, expanded};
use crate::forecaster::Past;

/// The time of the first point, and how far apart points lie.
const START: Timestamp = Timestamp::from_seconds(1_712_673_840);
const STEP: Duration = Duration::from_secs(60);

/// Scores a series, a minute between its points, from a detector's beginning; NaN stands for a minute without a value.
/// It learns from all of them.
pub fn detect<S: State, C>(
    judge: impl Fn(&mut S, &C, Point) -> Verdict,
    settings: &C,
    values: &[f64],
) -> Vec<Verdict> {
    detect_in_pieces(judge, settings, values, values.len().max(1))
}

/// The same in calls of so many points, the state written and read between them as the host does. The scores are to be
/// the same as in one go.
///
/// # Panics
/// If the state cannot be written, or does not read back.
pub fn detect_in_pieces<S: State, C>(
    judge: impl Fn(&mut S, &C, Point) -> Verdict,
    settings: &C,
    values: &[f64],
    piece: usize,
) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(values.len());
    let mut time = START;
    let mut kept = Vec::new();
    for piece in values.chunks(piece.max(1)) {
        let mut state: S = expanded::decode(1, &kept).expect("a state reads back");
        for &value in piece {
            let point = Point { time, step: Some(STEP), value, learn: true };
            let verdict =
                if value.is_finite() { judge(&mut state, settings, point) } else { Verdict::unknown() };
            verdicts.push(verdict);
            time = time + STEP;
        }
        kept = expanded::encode(1, &state).expect("a state is written");
        assert!(kept.len() <= 16 << 10, "the state has {} bytes, at most 16 KiB are kept", kept.len());
    }
    verdicts
}

/// A past of values a minute apart, to predict so many points from, with bands of 0.95.
#[must_use]
pub fn past(values: &[f64], horizon: usize) -> Past {
    Past { start: START, step: STEP, values: values.to_vec(), horizon, level: 0.95 }
}
