//! Functions of lines: Datadog's names, and what each does where its documentation leaves room.
//!
//! A function works on the points that are there; only [`Function::Fill`] makes new ones. What comes out as no finite
//! number is left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_kernel::FieldError;

use super::moving::moving;
use super::over_time::step_of;
use super::{Aggregate, Line};
use crate::SeriesError;

/// What a step without a point gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Zero.
    Zero,
    /// The value before it; none before the first.
    Last,
    /// On the straight line between its neighbours; none at the ends.
    Linear,
}

/// By what lines are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// The mean of the points.
    Mean,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// The latest.
    Last,
    /// The sum.
    Area,
    /// The root of the sum of squares.
    Norm,
}

/// A function of each line, or of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// The value without its sign.
    Absolute,
    /// The logarithm to base 2.
    Log2,
    /// The logarithm to base 10.
    Log10,
    /// The sum of the points so far.
    CumulativeSum,
    /// The sum of value times seconds since the point before, from 0.
    Integral,
    /// The point minus the one before it.
    Difference,
    /// The same, 0 where the value fell: a counter that began anew.
    MonotonicDifference,
    /// Seconds since the point before.
    TimeDifference,
    /// The difference divided by what time passed, in units of so many seconds.
    PerTime(f64),
    /// At least this.
    ClampMinimum(f64),
    /// At most this.
    ClampMaximum(f64),
    /// Without points below this.
    CutoffMinimum(f64),
    /// Without points above this.
    CutoffMaximum(f64),
    /// Steps without points filled, if said for so many milliseconds without a point and one step at least: by a line
    /// between two points where the gap is no longer, else as far.
    Fill(Fill, Option<i64>),
    /// How many lines have a point other than 0 at each step.
    CountNonzero,
    /// How many lines have a point at each step.
    CountPresent,
    /// The lines that rank highest, or lowest, by what they come to; highest first.
    Top {
        /// How many.
        lines: usize,
        /// By what.
        by: Rank,
        /// Whether the lowest are meant instead, lowest first.
        lowest: bool,
    },
    /// A mean that halves the weight of a point after about so many points: each counts `2 / (span + 1)`.
    MovingAverage(u32),
    /// What the points of the last so many milliseconds come to, the present one's included.
    Moving(i64, Aggregate),
    /// The values of so many milliseconds later; negative for earlier.
    TimeShift(i64),
    /// Without lines that have no value of a tag they are grouped by.
    ExcludeNull,
}

impl Function {
    pub(super) fn check(&self) -> Result<(), SeriesError> {
        let wrong = |field: &str, value: &dyn std::fmt::Display, expected: &str| {
            Err(FieldError::new(field, value, expected).into())
        };
        match self {
            Self::Top { lines: 0, .. } => wrong("top", &0, "at least 1"),
            Self::MovingAverage(0) => wrong("span", &0, "at least 1"),
            Self::Moving(time, _) if *time < 1 => wrong("window", time, "a length above 0"),
            Self::Fill(_, Some(time)) if *time < 1 => wrong("fill", time, "a length above 0"),
            _ => Ok(()),
        }
    }

    /// By how many milliseconds what its argument looks at is later than the answer says.
    pub(super) fn shift(&self) -> i64 {
        match self {
            Self::TimeShift(shift) => *shift,
            _ => 0,
        }
    }

    /// Whether it makes points for steps without.
    pub(super) fn fills(&self) -> bool {
        matches!(self, Self::Fill(..))
    }

    /// What it makes of a point alone, where that is all it looks at.
    fn of_value(&self, value: f64) -> Option<f64> {
        Some(match self {
            Self::Absolute => value.abs(),
            Self::Log2 => value.log2(),
            Self::Log10 => value.log10(),
            Self::ClampMinimum(least) => value.max(*least),
            Self::ClampMaximum(most) => value.min(*most),
            Self::CutoffMinimum(least) => keep(value, value >= *least),
            Self::CutoffMaximum(most) => keep(value, value <= *most),
            _ => return None,
        })
    }
}

fn keep(value: f64, kept: bool) -> f64 {
    if kept { value } else { f64::NAN }
}

/// The function of what is the same at every step.
pub(super) fn of_number(function: &Function, number: f64) -> f64 {
    function.of_value(number).unwrap_or(number)
}

/// The function of lines, whose steps lie between two times.
pub(super) fn apply(function: &Function, mut lines: Vec<Line>, range: (i64, i64)) -> Vec<Line> {
    match function {
        Function::Top { lines: most, by, lowest } => return top(lines, *most, *by, *lowest),
        Function::CountNonzero => return count(&lines, |value| value != 0.0),
        Function::CountPresent => return count(&lines, |_| true),
        Function::ExcludeNull => lines.retain(|line| line.tags.iter().all(|(_, value)| !value.is_empty())),
        _ => lines.iter_mut().for_each(|line| apply_to(function, line, range)),
    }
    lines.iter_mut().for_each(|line| line.points.retain(|(_, value)| value.is_finite()));
    lines.retain(|line| !line.points.is_empty());
    lines
}

fn apply_to(function: &Function, line: &mut Line, range: (i64, i64)) {
    let points = std::mem::take(&mut line.points);
    line.points = match function {
        Function::CumulativeSum => {
            let mut sum = 0.0;
            let mut add = |value: f64| {
                sum += value;
                sum
            };
            points.into_iter().map(|(time, value)| (time, add(value))).collect()
        }
        Function::Integral => {
            let (mut sum, mut before) = (0.0, points.first().map_or(0, |point| point.0));
            let mut add = |time: i64, value: f64| {
                sum += value * (time - before) as f64 / 1000.0;
                before = time;
                sum
            };
            points.into_iter().map(|(time, value)| (time, add(time, value))).collect()
        }
        Function::Difference => pairs(&points, |_, difference| difference),
        Function::MonotonicDifference => pairs(&points, |_, difference| difference.max(0.0)),
        Function::TimeDifference => pairs(&points, |seconds, _| seconds),
        Function::PerTime(unit) => pairs(&points, |seconds, difference| difference / seconds * unit),
        Function::Fill(fill, longest) => filled(&points, line.step, *fill, *longest, range),
        Function::MovingAverage(span) => {
            let weight = 2.0 / (f64::from(*span) + 1.0);
            let mut average = points.first().map_or(0.0, |point| point.1);
            let mut next = |value: f64| {
                average += weight * (value - average);
                average
            };
            points.into_iter().map(|(time, value)| (time, next(value))).collect()
        }
        Function::Moving(window, aggregate) => moving(&points, *window, *aggregate),
        _ => points
            .into_iter()
            .map(|(time, value)| (time, function.of_value(value).unwrap_or(value)))
            .collect(),
    };
}

/// Each point but the first, by the seconds since the one before and the difference to it.
fn pairs(points: &[(i64, f64)], of: impl Fn(f64, f64) -> f64) -> Vec<(i64, f64)> {
    let pair = |pair: &[(i64, f64)]| {
        let seconds = (pair[1].0 - pair[0].0) as f64 / 1000.0;
        (pair[1].0, of(seconds, pair[1].1 - pair[0].1))
    };
    points.windows(2).map(pair).collect()
}

fn filled(
    points: &[(i64, f64)],
    step: i64,
    fill: Fill,
    longest: Option<i64>,
    (start, end): (i64, i64),
) -> Vec<(i64, f64)> {
    let most = longest.map_or(i64::MAX, |longest| (longest / step).max(1));
    let mut out = Vec::new();
    let mut gap = |from: i64, to: i64, before: Option<(i64, f64)>, after: Option<(i64, f64)>| {
        let (mut time, mut done) = (from, 0);
        while time < to && done < most {
            let value = match (fill, before, after) {
                (Fill::Zero, ..) => Some(0.0),
                (Fill::Last, Some((_, value)), _) => Some(value),
                (Fill::Linear, Some((t0, v0)), Some((t1, v1))) if (to - from) / step <= most => {
                    Some(v0 + (v1 - v0) * (time - t0) as f64 / (t1 - t0) as f64)
                }
                _ => None,
            };
            out.extend(value.map(|value| (time, value)));
            (time, done) = (time + step, done + 1);
        }
        out.extend(after);
    };
    let (mut next, mut before) = (step_of(start, step), None);
    for point in points {
        gap(next, point.0, before, Some(*point));
        (next, before) = (point.0 + step, Some(*point));
    }
    gap(next, end.saturating_add(1), before, None);
    out
}

fn top(mut lines: Vec<Line>, most: usize, by: Rank, lowest: bool) -> Vec<Line> {
    let rank = |line: &Line| {
        let values = || line.points.iter().map(|(_, value)| *value);
        match by {
            Rank::Mean => values().sum::<f64>() / line.points.len() as f64,
            Rank::Minimum => values().fold(f64::INFINITY, f64::min),
            Rank::Maximum => values().fold(f64::NEG_INFINITY, f64::max),
            Rank::Last => line.points.last().map_or(f64::NAN, |(_, value)| *value),
            Rank::Area => values().sum(),
            Rank::Norm => values().map(|value| value * value).sum::<f64>().sqrt(),
        }
    };
    lines.sort_by_cached_key(|line| {
        // The order of doubles as whole numbers; lines of one rank stay in order of their tags.
        let bits = rank(line).to_bits() as i64;
        let ordered = bits ^ ((bits >> 63) as u64 >> 1) as i64;
        if lowest { ordered } else { !ordered }
    });
    lines.truncate(most);
    lines
}

fn count(lines: &[Line], counts: impl Fn(f64) -> bool) -> Vec<Line> {
    let mut counted: BTreeMap<i64, f64> = BTreeMap::new();
    for (time, value) in lines.iter().flat_map(|line| &line.points) {
        *counted.entry(*time).or_default() += f64::from(u8::from(counts(*value)));
    }
    let Some(first) = lines.first() else { return Vec::new() };
    let same = |line: &Line| line.metric == first.metric;
    let metric: Option<Arc<str>> = first.metric.clone().filter(|_| lines.iter().all(same));
    vec![Line { metric, tags: Vec::new(), step: first.step, points: counted.into_iter().collect() }]
}
