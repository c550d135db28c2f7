//! Works expressions out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bellwether_sdk::series::{Matcher, SeriesError};

use super::ast::Expr;
use super::types::Type;
use super::value::{ABSENT, Grid, Line, Value, is_absent, map};
use super::{ALL_SAMPLES, Error, Labels, SAMPLES, Series, Source, VALUES, too_many};

/// One query at work.
pub(super) struct Evaluation<'a, S> {
    source: &'a S,
    /// Where the whole query begins and ends: what `start()` and `end()` mean.
    pub(super) range: (i64, i64),
    /// How long the last sample of a series stands for its value, in milliseconds.
    pub(super) lookback: i64,
    /// Samples it may still load.
    left: u32,
}

/// What an instant query comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Scalar(f64),
    Text(String),
    /// One value each.
    Vector(Vec<Line>),
    /// The samples of a range selector.
    Matrix(Vec<Series>),
}

/// An expression at one instant; the last sample of a series stands for `lookback` milliseconds.
pub(crate) fn instant(
    source: &impl Source,
    expression: &Expr,
    at: i64,
    lookback: i64,
) -> Result<Answer, Error> {
    let grid = Grid { start: at, step: 1, count: 1 };
    let mut evaluation = Evaluation { source, range: (at, at), lookback, left: SAMPLES };
    if expression.kind() == Type::Matrix {
        let matrix = evaluation.matrix(expression, grid)?;
        return Ok(Answer::Matrix(matrix.series));
    }
    Ok(match evaluation.value(expression, grid)? {
        Value::Scalar(values) => Answer::Scalar(values[0]),
        Value::Text(text) => Answer::Text(text),
        Value::Vector(lines) => Answer::Vector(lines),
    })
}

/// An expression at each step of a range; in order of labels, those without any value left out. `end` is the range's
/// own, which `end()` means: no step need fall on it. The last sample of a series stands for `lookback` milliseconds.
pub(crate) fn range(
    source: &impl Source,
    expression: &Expr,
    grid: Grid,
    end: i64,
    lookback: i64,
) -> Result<Vec<Line>, Error> {
    let kind = expression.kind();
    if let Type::Matrix | Type::Text = kind {
        return Err(Error::Bad(format!(
            "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
        )));
    }
    let mut whole: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    let (mut done, mut at_once, mut loaded) = (0, grid.count, 0);
    while done < grid.count {
        let count = at_once.min(grid.count - done);
        let part = Grid { start: grid.time(done), step: grid.step, count };
        let mut evaluation = Evaluation { source, range: (grid.start, end), lookback, left: SAMPLES };
        let lines = match evaluation.part(expression, part) {
            // No step looks at the value of another: fewer of them hold less.
            Err(Error::TooMany(_)) if count > 1 => {
                at_once = count.div_ceil(2);
                continue;
            }
            lines => lines?,
        };
        loaded += u64::from(SAMPLES - evaluation.left);
        if loaded > ALL_SAMPLES {
            return Err(too_many("samples in one query", ALL_SAMPLES as usize));
        }
        for Line { labels, values } in lines {
            let is_full = whole.len() >= VALUES / grid.count;
            let line = match whole.entry(labels) {
                Entry::Vacant(_) if is_full => return Err(too_many("values in one answer", VALUES)),
                line => line.or_insert_with(|| vec![ABSENT; grid.count]),
            };
            line[done..][..count].copy_from_slice(&values);
        }
        done += count;
    }
    Ok(whole.into_iter().map(|(labels, values)| Line { labels, values }).collect())
}

impl<S: Source> Evaluation<'_, S> {
    /// The lines of an answer at some of its steps, those without any value left out.
    fn part(&mut self, expression: &Expr, grid: Grid) -> Result<Vec<Line>, Error> {
        match self.value(expression, grid)? {
            Value::Scalar(values) => Ok(vec![Line { labels: Labels::default(), values }]),
            Value::Text(text) => Err(Error::Bad(format!("expected a vector, got the string {text:?}"))),
            Value::Vector(mut lines) => {
                lines.retain(Line::is_some);
                Ok(lines)
            }
        }
    }

    /// The series matchers mean, within what the query may still load.
    pub(super) fn fetch(&mut self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, Error> {
        let found = self.source.series(matchers, start, end, self.left).map_err(|error| match error {
            SeriesError::Limit(reason) => Error::TooMany(format!(
                "query processing would load too many samples into memory in query execution: {reason}; \
                 {SAMPLES} may be loaded at once"
            )),
            other => Error::Source(other),
        })?;
        let loaded = found.iter().map(|series| series.times.len()).sum::<usize>();
        self.left = self.left.saturating_sub(u32::try_from(loaded).unwrap_or(u32::MAX));
        Ok(found)
    }

    /// An expression's value at each instant of a grid.
    pub(super) fn value(&mut self, expression: &Expr, grid: Grid) -> Result<Value, Error> {
        let value = match expression {
            Expr::Number(number) => Value::Scalar(vec![*number; grid.count]),
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Paren(inner) => self.value(inner, grid)?,
            Expr::Vector(selector) => Value::Vector(self.vector(selector, grid, false)?),
            Expr::Negative(inner) => match self.value(inner, grid)? {
                Value::Scalar(values) => Value::Scalar(values.into_iter().map(|value| -value).collect()),
                Value::Vector(lines) => Value::Vector(map(lines, |_, value| -value)?),
                text @ Value::Text(_) => text,
            },
            Expr::Call(function, arguments) => self.call(function.name, arguments, grid)?,
            Expr::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate, grid)?),
            Expr::Binary(binary) => self.binary(binary, grid)?,
            Expr::Matrix(..) | Expr::Subquery(_) => {
                return Err(Error::Bad("expected an instant vector, got a range vector".to_owned()));
            }
        };
        match &value {
            Value::Vector(lines) if lines.len().saturating_mul(grid.count) > VALUES => {
                Err(too_many("values of one part of the expression", VALUES))
            }
            _ => Ok(value),
        }
    }

    /// The value of an expression that must be a scalar, at each step.
    pub(super) fn scalar(&mut self, expression: &Expr, grid: Grid) -> Result<Vec<f64>, Error> {
        match self.value(expression, grid)? {
            Value::Scalar(values) => Ok(values),
            _ => Err(Error::Bad(format!("expected a scalar, got {}", expression.kind()))),
        }
    }

    /// The value of an expression that must be an instant vector.
    pub(super) fn lines(&mut self, expression: &Expr, grid: Grid) -> Result<Vec<Line>, Error> {
        match self.value(expression, grid)? {
            Value::Vector(lines) => Ok(lines),
            _ => Err(Error::Bad(format!("expected an instant vector, got {}", expression.kind()))),
        }
    }
}

/// The values of all lines at one step, those without any left out, each with its line's place.
pub(super) fn present(lines: &[Line], step: usize) -> impl Iterator<Item = (usize, f64)> {
    let values = lines.iter().map(move |line| line.values[step]).enumerate();
    values.filter(|(_, value)| !is_absent(*value))
}
