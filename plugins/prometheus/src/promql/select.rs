//! Selectors: the value of series at each step, and the samples of windows.

use super::ast::{At, Expr, Moved, Selector, Subquery};
use super::evaluate::Evaluation;
use super::value::{ABSENT, Grid, Line, is_absent};
use super::{Error, SUBQUERY_STEP, Series, Source, VALUES, too_many};

/// Samples to be looked at through one window for each step.
pub(super) struct Matrix {
    pub(super) series: Vec<Series>,
    /// Milliseconds of a window, which is open to the left.
    pub(super) length: i64,
    /// The last instant of each step's window.
    pub(super) ends: Vec<i64>,
}

/// The samples of one window.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) times: &'a [i64],
    pub(super) values: &'a [f64],
    /// Behind which it begins.
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Matrix {
    /// One value of each window that has samples, or none.
    pub(super) fn over(&self, mut of: impl FnMut(usize, Window<'_>) -> Option<f64>) -> Vec<Line> {
        let mut lines = Vec::with_capacity(self.series.len());
        for series in &self.series {
            let mut values = vec![ABSENT; self.ends.len()];
            let (mut first, mut behind) = (0, 0);
            for (at, end) in self.ends.iter().enumerate() {
                let start = end - self.length;
                // Windows only move on.
                first += series.times[first..].partition_point(|time| *time <= start);
                behind = behind.max(first);
                behind += series.times[behind..].partition_point(|time| *time <= *end);
                if first == behind {
                    continue;
                }
                let (times, own) = (&series.times[first..behind], &series.values[first..behind]);
                if let Some(value) = of(at, Window { times, values: own, start, end: *end }) {
                    values[at] = value;
                }
            }
            lines.push(Line { labels: series.labels.clone(), values });
        }
        lines
    }
}

impl<S: Source> Evaluation<'_, S> {
    /// The instants something is looked at, for each step.
    fn instants(&self, grid: Grid, moved: Moved) -> Vec<i64> {
        let fixed = moved.at.map(|at| match at {
            At::Start => self.range.0,
            At::End => self.range.1,
            At::Time(time) => time,
        });
        grid.times().map(|time| fixed.unwrap_or(time) - moved.offset.unwrap_or(0)).collect()
    }

    fn load(&mut self, selector: &Selector, instants: &[i64], length: i64) -> Result<Vec<Series>, Error> {
        let (Some(first), Some(last)) = (instants.first(), instants.last()) else { return Ok(Vec::new()) };
        let series = self.fetch(&selector.matchers, first - length + 1, *last)?;
        if series.len().saturating_mul(instants.len()) > VALUES {
            return Err(too_many("values of one selector", VALUES));
        }
        Ok(series)
    }

    /// The latest sample of each series at each step that is no older than the lookback, or its time in seconds.
    pub(super) fn vector(
        &mut self,
        selector: &Selector,
        grid: Grid,
        its_time: bool,
    ) -> Result<Vec<Line>, Error> {
        let instants = self.instants(grid, selector.moved);
        let lookback = self.lookback;
        let series = self.load(selector, &instants, lookback)?;
        let lines = series.into_iter().map(|series| {
            let mut behind = 0;
            let values = instants.iter().map(|instant| {
                behind += series.times[behind..].partition_point(|time| time <= instant);
                let Some(latest) = behind.checked_sub(1) else { return ABSENT };
                let (time, value) = (series.times[latest], series.values[latest]);
                match time > instant - lookback && !is_absent(value) {
                    true if its_time => time as f64 / 1000.0,
                    true => value,
                    false => ABSENT,
                }
            });
            Line { values: values.collect(), labels: series.labels }
        });
        Ok(lines.filter(Line::is_some).collect())
    }

    /// The windows of a range selector or subquery.
    pub(super) fn matrix(&mut self, expression: &Expr, grid: Grid) -> Result<Matrix, Error> {
        match expression {
            Expr::Paren(inner) => self.matrix(inner, grid),
            Expr::Matrix(selector, length) => {
                let (length, ends) = (*length, self.instants(grid, selector.moved));
                let mut series = self.load(selector, &ends, length)?;
                // A staleness marker is no sample of a window.
                for series in
                    series.iter_mut().filter(|series| series.values.iter().any(|value| is_absent(*value)))
                {
                    let kept =
                        series.times.iter().zip(&series.values).filter(|(_, value)| !is_absent(**value));
                    (series.times, series.values) = kept.map(|(time, value)| (*time, *value)).unzip();
                }
                series.retain(|series| !series.times.is_empty());
                Ok(Matrix { series, length, ends })
            }
            Expr::Subquery(subquery) => self.subquery(subquery, grid),
            other => Err(Error::Bad(format!("expected a range vector, got {}", other.kind()))),
        }
    }

    fn subquery(&mut self, subquery: &Subquery, grid: Grid) -> Result<Matrix, Error> {
        let Subquery { inner: expression, length, step, moved } = subquery;
        let (length, step) = (*length, step.unwrap_or(SUBQUERY_STEP));
        let ends = self.instants(grid, *moved);
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
            return Ok(Matrix { series: Vec::new(), length, ends });
        };
        // Its steps lie on multiples of their length since the epoch.
        let start = ((first - length).div_euclid(step) + 1) * step;
        if start > *last {
            return Ok(Matrix { series: Vec::new(), length, ends });
        }
        let count = usize::try_from((last - start) / step + 1).unwrap_or(usize::MAX);
        if count > VALUES {
            return Err(too_many("steps of one subquery", VALUES));
        }
        let inner = Grid { start, step, count };
        let series = self.lines(expression, inner)?.into_iter().map(|line| {
            let present = inner.times().zip(line.values).filter(|(_, value)| !is_absent(*value));
            let (times, values) = present.unzip();
            Series { labels: line.labels, times, values }
        });
        Ok(Matrix { series: series.collect(), length, ends })
    }
}
