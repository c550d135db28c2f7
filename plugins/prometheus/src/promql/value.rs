//! What expressions come to: columns with one value for each step.

use std::collections::HashMap;

use super::{Error, Labels};

/// No value at this step. It is Prometheus' staleness marker, which no sample and no result has as its value.
pub(crate) const ABSENT: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether there is no value.
pub(crate) fn is_absent(value: f64) -> bool {
    value.to_bits() == ABSENT.to_bits()
}

/// The instants an expression is worked out at, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) start: i64,
    pub(crate) step: i64,
    /// How many there are, at least one.
    pub(crate) count: usize,
}

impl Grid {
    pub(crate) fn time(&self, at: usize) -> i64 {
        self.start + at as i64 * self.step
    }

    pub(crate) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.count).map(move |at| self.time(at))
    }

    /// A column of the instants in seconds.
    pub(crate) fn seconds(self) -> Vec<f64> {
        self.times().map(|time| time as f64 / 1000.0).collect()
    }
}

/// One element of an instant vector, at all steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) labels: Labels,
    /// One for each step, [`ABSENT`] where there is none.
    pub(crate) values: Vec<f64>,
}

impl Line {
    /// Whether it has a value at any step.
    pub(crate) fn is_some(&self) -> bool {
        self.values.iter().any(|value| !is_absent(*value))
    }
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Scalar(Vec<f64>),
    Vector(Vec<Line>),
    Text(String),
}

/// Lines whose labels became the same are one, if no two have a value at the same step; those without values are left
/// out.
pub(crate) fn settle(lines: Vec<Line>) -> Result<Vec<Line>, Error> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(lines.len());
    let mut settled: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines.into_iter().filter(Line::is_some) {
        let Some(at) = places.get(&line.labels) else {
            places.insert(line.labels.clone(), settled.len());
            settled.push(line);
            continue;
        };
        for (value, other) in settled[*at].values.iter_mut().zip(line.values) {
            match (is_absent(*value), is_absent(other)) {
                (_, true) => {}
                (true, false) => *value = other,
                (false, false) => {
                    return Err(Error::Execution(format!(
                        "vector cannot contain metrics with the same labelset: {} is there twice",
                        line.labels
                    )));
                }
            }
        }
    }
    Ok(settled)
}

/// Each line without its metric's name, its values turned into others.
pub(crate) fn map(lines: Vec<Line>, mut of: impl FnMut(usize, f64) -> f64) -> Result<Vec<Line>, Error> {
    let each = |mut line: Line| {
        line.labels = line.labels.unnamed();
        for (at, value) in line.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
            *value = of(at, *value);
        }
        line
    };
    settle(lines.into_iter().map(each).collect())
}
