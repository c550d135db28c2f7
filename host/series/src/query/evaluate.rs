//! Works expressions out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bellwether_kernel::{FieldError, OrganisationId, Timestamp};
use roaring::RoaringBitmap;

use super::matching::check_wanted;
use super::over_series::{Carried, Groups, STANDS, StepValue, check_points};
use super::over_time::{Grid, step_of, steps};
use super::{
    Aggregate, Expression, Line, Normalise, Operator, Selection, SeriesRaw, TimeRange, check_step, functions,
    over_rolled,
};
use crate::index::select;
use crate::limits::{AT_ONCE_POINTS, AT_ONCE_SAMPLES, GROUPED_BY, WORKED_POINTS};
use crate::loss::as_they_move;
use crate::metadata::MetricKind;
use crate::read::{Piece, TOO_MANY, Wanted};
use crate::rollup::as_samples;
use crate::service::Shared;
use crate::upkeep::first_kept;
use crate::{Filter, SeriesError};

/// Values kept at once for a percentile, 160 MB, or to be carried on, 480 MB.
const KEPT_VALUES: usize = 20_000_000;

struct Evaluation<'a> {
    shared: &'a Shared,
    organisation: OrganisationId,
    range: TimeRange,
    /// Whether it may do no more than what takes a millisecond or two.
    at_once: bool,
    cancelled: &'a AtomicBool,
    /// Samples unpacked so far.
    unpacked: u64,
    /// Points that functions and operators went through so far.
    worked: u64,
}

/// What an expression comes to.
enum Value {
    Number(f64),
    Lines(Vec<Line>),
}

pub(super) fn evaluate(
    shared: &Shared,
    organisation: OrganisationId,
    expression: &Expression,
    range: TimeRange,
    at_once: bool,
    cancelled: &AtomicBool,
) -> Result<Vec<Line>, SeriesError> {
    let evaluation =
        || Evaluation { shared, organisation, range, at_once, cancelled, unpacked: 0, worked: 0 };
    match as_they_move(|| evaluation().value(expression, 0))? {
        Value::Lines(lines) => Ok(lines),
        Value::Number(number) => {
            let step = range.step();
            let (first, last) = (step_of(range.start.as_milliseconds(), step), range.end.as_milliseconds());
            check_points(((last - first) / step) as usize + 1, &shared.parts.limits)?;
            let points = (0..).map(|at| first + at * step).take_while(|time| *time <= last);
            let points = points.map(|time| (time, number)).filter(|(_, number)| number.is_finite()).collect();
            Ok(vec![Line { metric: None, tags: Vec::new(), step, points }])
        }
    }
}

pub(super) fn raw(
    shared: &Shared,
    organisation: OrganisationId,
    metric: &str,
    filter: &Filter,
    (start, end): (Timestamp, Timestamp),
    cancelled: &AtomicBool,
) -> Result<Vec<SeriesRaw>, SeriesError> {
    as_they_move(|| raw_once(shared, organisation, metric, filter, (start, end), cancelled))
}

fn raw_once(
    shared: &Shared,
    organisation: OrganisationId,
    metric: &str,
    filter: &Filter,
    (start, end): (Timestamp, Timestamp),
    cancelled: &AtomicBool,
) -> Result<Vec<SeriesRaw>, SeriesError> {
    let range = TimeRange { start, end, step: None };
    let mut evaluation =
        Evaluation { shared, organisation, range, at_once: false, cancelled, unpacked: 0, worked: 0 };
    let Some(selected) = evaluation.select(metric, filter)? else { return Ok(Vec::new()) };
    let (mut all, mut points) = (Vec::new(), 0);
    let (first, last) = (start.as_milliseconds(), end.as_milliseconds());
    let whole = |piece: Piece| {
        let mut samples = piece.samples.joined();
        if !piece.rolled.is_empty() {
            let written = std::mem::take(&mut samples);
            as_samples(&piece.rolled, selected.kind, &mut samples);
            samples.extend(&written.times, &written.values);
            samples.settle();
        }
        samples
    };
    let wanted = Wanted { raw: true, ..evaluation.wanted(&selected, (first, last)) };
    evaluation.each(&selected, wanted, None, whole, |tags, samples| {
        points += samples.len();
        if !samples.is_empty() {
            all.push(SeriesRaw { tags: tags.to_vec(), samples });
        }
        Ok((points, 0))
    })?;
    all.sort_by(|a, b| a.tags.cmp(&b.tags));
    Ok(all)
}

/// The series of a selection, and what is known of their metric.
struct Selected {
    series: RoaringBitmap,
    kind: MetricKind,
    first_kept: i64,
}

impl<'a> Evaluation<'a> {
    /// The value of an expression over the range, of samples that are `shift` milliseconds later than its points say.
    fn value(&mut self, expression: &Expression, shift: i64) -> Result<Value, SeriesError> {
        match expression {
            Expression::Number(number) => Ok(Value::Number(*number)),
            Expression::Select(selection) => self.lines(selection, shift).map(Value::Lines),
            Expression::Binary(operator, left, right) => {
                let (left, right) = (self.value(left, shift)?, self.value(right, shift)?);
                self.work_on(&left)?;
                self.work_on(&right)?;
                Ok(combine(*operator, left, right))
            }
            Expression::Apply(function, argument) => {
                function.check()?;
                let argument = self.value(argument, shift.saturating_add(function.shift()))?;
                self.work_on(&argument)?;
                let lines = match argument {
                    Value::Lines(lines) => lines,
                    Value::Number(number) => {
                        return Ok(Value::Number(functions::of_number(function, number)));
                    }
                };
                let (start, end) = (self.range.start.as_milliseconds(), self.range.end.as_milliseconds());
                if function.fills() {
                    let points = lines.iter().map(|line| ((end - start) / line.step) as usize + 1).sum();
                    check_points(points, &self.shared.parts.limits)?;
                }
                Ok(Value::Lines(functions::apply(function, lines, (start, end))))
            }
        }
    }

    /// Counts what a function or an operator is about to go through: one alone takes little, thousands of them do not.
    fn work_on(&mut self, value: &Value) -> Result<(), SeriesError> {
        self.check_wanted()?;
        if let Value::Lines(lines) = value {
            self.worked += lines.iter().map(|line| line.points.len() as u64).sum::<u64>();
        }
        let most = if self.at_once { AT_ONCE_POINTS } else { WORKED_POINTS };
        if self.worked > most {
            let what =
                "points in the functions and operators of one query; ask for longer steps or less time";
            return Err(SeriesError::limit(what, most));
        }
        Ok(())
    }

    fn check_wanted(&self) -> Result<(), SeriesError> {
        check_wanted(self.cancelled)
    }

    fn lines(&mut self, selection: &Selection, shift: i64) -> Result<Vec<Line>, SeriesError> {
        for aggregate in [Some(selection.over_series), selection.over_time].into_iter().flatten() {
            if let Aggregate::Percentile(percent) = aggregate
                && !(0.0..=100.0).contains(&percent)
            {
                return Err(FieldError::new("percentile", percent, "a number from 0 to 100").into());
            }
        }
        let by = distinct(&selection.by)?;
        let step = selection.step.unwrap_or_else(|| self.range.step());
        check_step(step)?;
        let Some(selected) = self.select(&selection.metric, &selection.filter)? else {
            return Ok(Vec::new());
        };
        let range = self.range;
        let moved = |time: Timestamp| time.saturating_add(shift).as_milliseconds();
        let (first, last) = (moved(range.start), moved(range.end));
        let pooling = Pooling::of(selection, selected.kind);
        // How long each sample of a rate is of that becomes a count.
        let counted = match (selection.normalise, selected.kind) {
            (Some(Normalise::Count), MetricKind::Rate) => selection.sampled,
            _ => None,
        };
        let over_time = match (selection.over_time, pooling) {
            (_, Pooling::Weighed) => match selection.over_series {
                Aggregate::Average | Aggregate::Count => Aggregate::Sum,
                same => same,
            },
            (Some(given), _) => given,
            (None, _) if selected.kind == MetricKind::Count || counted.is_some() => Aggregate::Sum,
            (None, _) => Aggregate::Average,
        };
        let limits = &self.shared.parts.limits;
        let mut groups = Groups::new(&by, selection.over_series, limits);
        let pooled = pooling == Pooling::Together;
        let sketches = pooled || matches!(over_time, Aggregate::Percentile(_));
        let unsummarised = sketches || matches!(selection.over_series, Aggregate::Last);
        let whole = (!unsummarised).then_some((shift, step));
        let grid = Grid { step, shift };
        let seconds = |milliseconds: i64| milliseconds as f64 / 1000.0;
        let factor = match (selection.normalise, selected.kind, over_time) {
            (Some(Normalise::Rate), MetricKind::Count, Aggregate::Sum) => {
                1.0 / seconds(step.max(selection.sampled.unwrap_or(step)))
            }
            (Some(Normalise::Count), MetricKind::Rate, Aggregate::Count) => 1.0,
            (Some(Normalise::Count), MetricKind::Rate, over_time) => match counted {
                Some(sampled) => seconds(sampled),
                None if over_time == Aggregate::Average => seconds(step),
                None => 1.0,
            },
            _ => 1.0,
        };
        let carries = self.carries(selection, selected.kind, over_time);
        let mut wanted = Wanted { sketches, ..self.wanted(&selected, (first, last)) };
        if carries {
            wanted.before = wanted.first.saturating_sub(STANDS).max(selected.first_kept);
        }
        let values_of = |piece: Piece| -> Result<_, SeriesError> {
            if sketches {
                over_rolled::check_sketched(&selection.metric, &piece.rolled)?;
            }
            let mut values = Vec::new();
            if pooled {
                let finite = piece.samples.iter().filter(|(_, value)| value.is_finite());
                values.extend(finite.map(|(time, value)| StepValue {
                    start: grid.start(time),
                    time,
                    value,
                    weight: 1,
                }));
                return Ok((values, over_rolled::sketches(&piece.rolled, grid), Vec::new()));
            }
            steps(&piece, grid, over_time, |start, value, samples| {
                let weight = if pooling == Pooling::Weighed { samples } else { 1 };
                values.push(StepValue { start, time: start, value: value * factor, weight });
            });
            if let Aggregate::Last = selection.over_series {
                latest(&piece, grid, &mut values);
                over_rolled::latest(&piece.rolled, grid, &mut values);
            }
            let before = piece.before.map(|(time, value)| (time.saturating_sub(shift), value));
            let carried = if carries {
                Carried::between(&values, before, grid.start(wanted.first), step)
            } else {
                Vec::new()
            };
            Ok((values, Vec::new(), carried))
        };
        self.each(&selected, wanted, whole, values_of, |tags, read| {
            let (values, sketches, carried) = read?;
            groups.add_sketches(tags, &sketches)?;
            groups.add(tags, &values, &carried)?;
            Ok((groups.points, groups.values))
        })?;
        Ok(groups.finish(&selection.metric, step))
    }

    /// Whether each series stands in steps without a sample for what it was before: where levels are added up, or counted,
    /// in steps that nobody chose.
    fn carries(&self, selection: &Selection, kind: MetricKind, over_time: Aggregate) -> bool {
        let is_level = match kind {
            MetricKind::Gauge => true,
            MetricKind::Rate => selection.normalise != Some(Normalise::Count),
            MetricKind::Count | MetricKind::Distribution => false,
        };
        is_level
            && selection.step.or(self.range.step).is_none()
            && matches!(selection.over_series, Aggregate::Sum | Aggregate::Count)
            && !matches!(over_time, Aggregate::Sum | Aggregate::Count)
    }

    /// The samples of series from `first` to `last`, as far as they are kept.
    fn wanted(&self, selected: &Selected, (first, last): (i64, i64)) -> Wanted<'a> {
        let first = first.max(selected.first_kept);
        let (at_once, cancelled) = (self.at_once, self.cancelled);
        let query_samples = self.shared.parts.limits.query_samples;
        let most = if at_once { query_samples.min(AT_ONCE_SAMPLES) } else { query_samples };
        Wanted { first, last, before: first, raw: false, sketches: false, most, at_once, cancelled }
    }

    /// The series of a metric that a filter means; `None` if there is no such metric.
    fn select(&self, metric: &str, filter: &Filter) -> Result<Option<Selected>, SeriesError> {
        filter.check()?;
        let index = self.shared.index(self.organisation);
        let found = select(&index, metric, filter, &|| self.check_wanted())?;
        let (Some(series), Some(metadata)) = (found, index.read().metadata(metric)) else {
            return Ok(None);
        };
        let limits = &self.shared.parts.limits;
        if series.len() > limits.query_series {
            return Err(SeriesError::limit("series in one query", limits.query_series));
        }
        let days = metadata.keep_days.unwrap_or(limits.keep_days);
        let first_kept = first_kept(self.shared.parts.clock.now(), days);
        Ok(Some(Selected { series, kind: metadata.kind, first_kept }))
    }

    /// Reads what is wanted of each series, and makes of it, on several threads, what `each` is given; `each` says how many
    /// points there are and values kept.
    fn each<T: Send>(
        &mut self,
        selected: &Selected,
        wanted: Wanted<'_>,
        whole: Option<(i64, i64)>,
        make: impl Fn(Piece) -> T + Sync,
        mut each: impl FnMut(&[Arc<str>], T) -> Result<(usize, usize), SeriesError>,
    ) -> Result<(), SeriesError> {
        let limits = &self.shared.parts.limits;
        let snapshot = self.shared.snapshot(&selected.series, wanted)?;
        let index = self.shared.index(self.organisation);
        snapshot.each(&selected.series, whole, make, |number, made, unpacked| {
            self.check_wanted()?;
            // Deleted since it was found.
            let Some((_, tags)) = index.read().identity(number) else { return Ok(()) };
            self.unpacked += unpacked;
            if self.unpacked > wanted.most {
                return Err(SeriesError::limit(TOO_MANY, wanted.most));
            }
            let (points, values) = each(&tags, made)?;
            check_points(points, limits)?;
            if values > KEPT_VALUES {
                return Err(SeriesError::limit(
                    "values kept by one query; ask for less time",
                    KEPT_VALUES as u64,
                ));
            }
            Ok(())
        })
    }
}

/// The keys to group by, each once, in the order they were given.
fn distinct(by: &[String]) -> Result<Vec<String>, SeriesError> {
    if by.len() > GROUPED_BY {
        return Err(FieldError::new("by", by.len(), format!("at most {GROUPED_BY} keys")).into());
    }
    let mut keys = Vec::with_capacity(by.len());
    for key in by {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    Ok(keys)
}

/// What of each series becomes a group's value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pooling {
    /// One value for each of its steps.
    Apart,
    /// One value for each of its steps, which counts as often as it has samples there.
    Weighed,
    /// Its samples, one by one.
    Together,
}

impl Pooling {
    /// Those of a distribution, which are measurements of many things, are looked at together, and so is what a
    /// percentile is of, unless it is said what becomes of each series before.
    fn of(selection: &Selection, kind: MetricKind) -> Self {
        let distribution = kind == MetricKind::Distribution;
        match (selection.over_series, selection.over_time) {
            (Aggregate::Percentile(_), None) => Self::Together,
            (Aggregate::Percentile(_), Some(_)) if distribution => Self::Together,
            (_, None) if distribution => Self::Weighed,
            _ => Self::Apart,
        }
    }
}

/// Puts the time of each step's latest sample beside it.
fn latest(piece: &Piece, grid: Grid, values: &mut [StepValue]) {
    let mut values = values.iter_mut().peekable();
    for (time, _) in piece.samples.iter().filter(|(_, value)| value.is_finite()) {
        while values.next_if(|value| value.start < grid.start(time)).is_some() {}
        if let Some(value) = values.peek_mut() {
            value.time = time.saturating_sub(grid.shift);
        }
    }
}

fn combine(operator: Operator, left: Value, right: Value) -> Value {
    let of = move |a: f64, b: f64| match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
    };
    let each = |lines: Vec<Line>, of: &dyn Fn(f64) -> f64| {
        let points = |line: &mut Line| {
            line.points.iter_mut().for_each(|(_, value)| *value = of(*value));
            line.points.retain(|(_, value)| value.is_finite());
        };
        let mut lines = lines;
        lines.iter_mut().for_each(points);
        lines.retain(|line| !line.points.is_empty());
        Value::Lines(lines)
    };
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => Value::Number(of(a, b)),
        (Value::Lines(lines), Value::Number(b)) => each(lines, &|a| of(a, b)),
        (Value::Number(a), Value::Lines(lines)) => each(lines, &|b| of(a, b)),
        (Value::Lines(left), Value::Lines(right)) => Value::Lines(join(&left, &right, of)),
    }
}

fn join(left: &[Line], right: &[Line], of: impl Fn(f64, f64) -> f64) -> Vec<Line> {
    let sorted = |line: &Line| {
        let mut tags = line.tags.clone();
        tags.sort();
        tags
    };
    let single = |lines: &[Line]| lines.len() == 1 && lines[0].tags.is_empty();
    let pairs: Vec<(&Line, &Line)> = if single(right) {
        left.iter().map(|line| (line, &right[0])).collect()
    } else if single(left) {
        right.iter().map(|line| (&left[0], line)).collect()
    } else {
        let by_tags: BTreeMap<_, _> = right.iter().map(|line| (sorted(line), line)).collect();
        left.iter().filter_map(|line| Some((line, *by_tags.get(&sorted(line))?))).collect()
    };
    let joined = pairs.into_iter().map(|(left, right)| {
        let mut others = right.points.iter().peekable();
        let mut points = Vec::new();
        for (time, a) in &left.points {
            while others.next_if(|(other, _)| other < time).is_some() {}
            if let Some((_, b)) = others.next_if(|(other, _)| other == time) {
                points.push((*time, of(*a, *b)));
            }
        }
        points.retain(|(_, value)| value.is_finite());
        let tags = if left.tags.is_empty() { &right.tags } else { &left.tags };
        let metric = left.metric.clone().filter(|metric| right.metric.as_ref() == Some(metric));
        Line { metric, tags: tags.clone(), step: left.step.max(right.step), points }
    });
    joined.filter(|line| !line.points.is_empty()).collect()
}
