//! One line for each group of series.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::over_time::percentile;
use super::total::Total;
use super::{Aggregate, Line};
use crate::limits::SERIES_GROUPS;
use crate::sketch::Sketch;
use crate::{Limits, SeriesError, split_tag};

/// What one step of a series comes to.
pub(super) struct StepValue {
    /// When the step begins.
    pub(super) start: i64,
    /// When its latest sample was taken.
    pub(super) time: i64,
    pub(super) value: f64,
    /// As how many values it counts. A mean is of the values by their weights: the sum of several is given as one value.
    pub(super) weight: u64,
}

/// For how many milliseconds a series stands for what it was before where it has no sample: as long as Datadog fills gaps.
pub(super) const STANDS: i64 = 5 * 60 * 1000;

/// What a series stands for in steps in which it has no sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    /// When the first of them begins.
    from: i64,
    /// Before this all of them begin.
    until: i64,
    value: f64,
}

impl Carried {
    /// Between the values of a series and behind the last, and before the first, in the steps from `first` on, by the
    /// sample `before` it.
    pub(super) fn between(
        values: &[StepValue],
        before: Option<(i64, f64)>,
        first: i64,
        step: i64,
    ) -> Vec<Self> {
        let behind = |time: i64| time.saturating_add(STANDS + 1);
        let mut carried = Vec::new();
        let mut present = before.map(|(time, value)| Self { from: first, until: behind(time), value });
        for value in values {
            carried.extend(present.map(|before| Self { until: before.until.min(value.start), ..before }));
            let from = value.start.saturating_add(step);
            present = Some(Self { from, until: behind(value.start), value: value.value });
        }
        carried.extend(present);
        carried.retain(|carried| carried.from < carried.until);
        carried
    }
}

/// The values of one step of a group.
#[derive(Clone, Debug)]
struct Cell {
    count: u64,
    sum: f64,
    minimum: f64,
    maximum: f64,
    /// The latest value, and the time of its sample.
    last: (i64, f64),
    /// What few cells have: apart, so that all others are small.
    spread: Option<Box<Spread>>,
}

/// More of the values of a step.
#[derive(Clone, Debug, Default)]
struct Spread {
    /// All of them, where a percentile is asked for.
    values: Vec<f64>,
    /// Those kept in sketches, where there are some.
    sketch: Option<Sketch>,
    /// What they add up to, where no double holds it.
    total: Total,
}

/// The steps of a group that have values.
#[derive(Debug, Default)]
struct Cells {
    /// In order. Series have mostly the same steps, so that nearly all of them are here.
    ordered: Vec<(i64, Cell)>,
    /// Those that came after a later one.
    between: BTreeMap<i64, Cell>,
    /// What is added to those of them that there are in the end.
    carried: Vec<Carried>,
}

/// The values of a tag each, in order of the tags asked for.
type Group = Vec<Arc<str>>;

/// Gathers series into lines.
pub(super) struct Groups<'a> {
    by: &'a [String],
    aggregate: Aggregate,
    limits: &'a Limits,
    groups: BTreeMap<Group, Cells>,
    /// Values that series added to other groups than their first.
    repeated: u64,
    /// Points so far.
    pub(super) points: usize,
    /// Values kept so far.
    pub(super) values: usize,
}

impl<'a> Groups<'a> {
    pub(super) fn new(by: &'a [String], aggregate: Aggregate, limits: &'a Limits) -> Self {
        Self { by, aggregate, limits, groups: BTreeMap::new(), repeated: 0, points: 0, values: 0 }
    }

    /// Adds the values of a series with these tags, and those it carries to steps in which others have some.
    pub(super) fn add(
        &mut self,
        tags: &[Arc<str>],
        values: &[StepValue],
        carried: &[Carried],
    ) -> Result<(), SeriesError> {
        for group in self.groups_of(tags, values.len() + carried.len())? {
            let cells = self.groups.entry(group).or_default();
            let before = cells.len();
            let keep = matches!(self.aggregate, Aggregate::Percentile(_));
            cells.each(values.iter().map(|value| (value.start, value)), |cell, value| cell.add(value, keep));
            cells.carried.extend_from_slice(carried);
            self.values += carried.len() + if keep { values.len() } else { 0 };
            self.points += cells.len() - before;
            check_points(self.points, self.limits)?;
        }
        Ok(())
    }

    /// Adds samples that are kept in sketches, those of each step, of a series with these tags.
    pub(super) fn add_sketches(
        &mut self,
        tags: &[Arc<str>],
        sketches: &[(i64, Sketch)],
    ) -> Result<(), SeriesError> {
        if sketches.is_empty() {
            return Ok(());
        }
        for group in self.groups_of(tags, sketches.len())? {
            let cells = self.groups.entry(group).or_default();
            let before = cells.len();
            cells.each(sketches.iter().map(|(start, sketch)| (*start, sketch)), |cell, sketch| {
                let there = cell.spread.get_or_insert_default().sketch.get_or_insert_with(Sketch::new);
                let size = there.size();
                there.merge(sketch);
                self.values += there.size().saturating_sub(size);
            });
            self.points += cells.len() - before;
            check_points(self.points, self.limits)?;
        }
        Ok(())
    }

    /// The groups a series is in that adds so many values to each.
    fn groups_of(&mut self, tags: &[Arc<str>], values: usize) -> Result<Vec<Group>, SeriesError> {
        let groups = groups_of(self.by, tags)?;
        // What is added to one group for each sample is counted by the samples that were read.
        self.repeated += (groups.len() as u64 - 1) * values as u64;
        if self.repeated > self.limits.query_samples {
            let what = "values of series in several groups; group by fewer keys, or ask for less time";
            return Err(SeriesError::limit(what, self.limits.query_samples));
        }
        Ok(groups)
    }

    /// The lines, in order of their groups.
    pub(super) fn finish(self, metric: &str, step: i64) -> Vec<Line> {
        let metric: Arc<str> = metric.into();
        let keys: Vec<Arc<str>> = self.by.iter().map(|key| Arc::from(key.as_str())).collect();
        let line = |(group, cells): (Group, Cells)| Line {
            metric: Some(Arc::clone(&metric)),
            tags: keys.iter().cloned().zip(group).collect(),
            step,
            points: cells
                .in_order()
                .filter_map(|(start, mut cell)| Some((start, cell.value(self.aggregate)?)))
                .filter(|(_, value)| value.is_finite())
                .collect(),
        };
        self.groups.into_iter().map(line).filter(|line| !line.points.is_empty()).collect()
    }
}

impl Cells {
    fn len(&self) -> usize {
        self.ordered.len() + self.between.len()
    }

    /// Calls `add` with each value and the cell of its step; the values are in order of their steps.
    fn each<V>(&mut self, values: impl Iterator<Item = (i64, V)>, mut add: impl FnMut(&mut Cell, V)) {
        let mut at = 0;
        for (start, value) in values {
            at = self.seek(at, start);
            if at == self.ordered.len() {
                self.ordered.push((start, Cell::default()));
            }
            let (there, cell) = &mut self.ordered[at];
            add(if *there == start { cell } else { self.between.entry(start).or_default() }, value);
        }
    }

    /// Where the first ordered cell stands, from `at` on, that does not begin before `start`: mostly the next one.
    fn seek(&self, at: usize, start: i64) -> usize {
        let is_before = |(there, _): &(i64, Cell)| *there < start;
        match &self.ordered[at..] {
            [present, next, ..] if is_before(present) && is_before(next) => {
                at + self.ordered[at..].partition_point(is_before)
            }
            [present, ..] if is_before(present) => at + 1,
            _ => at,
        }
    }

    fn in_order(mut self) -> impl Iterator<Item = (i64, Cell)> {
        if !self.between.is_empty() {
            self.ordered.extend(self.between);
            self.ordered.sort_by_key(|(start, _)| *start);
        }
        for Carried { from, until, value } in self.carried {
            let begin = self.ordered.partition_point(|(start, _)| *start < from);
            let steps = self.ordered[begin..].iter_mut().take_while(|(start, _)| *start < until);
            steps.for_each(|(start, cell)| {
                cell.add(&StepValue { start: *start, time: *start, value, weight: 1 }, false);
            });
        }
        self.ordered.into_iter()
    }
}

impl Cell {
    fn add(&mut self, &StepValue { time, value, weight, .. }: &StepValue, keep: bool) {
        self.count += weight;
        let sum = self.sum + value;
        if !sum.is_finite() {
            let before = Some(self.sum).filter(|sum| sum.is_finite());
            self.spread.get_or_insert_default().total.add(before.into_iter().chain([value]));
        }
        self.sum = sum;
        self.minimum = self.minimum.min(value);
        self.maximum = self.maximum.max(value);
        if time >= self.last.0 {
            self.last = (time, value);
        }
        if keep {
            self.spread.get_or_insert_default().values.push(value);
        }
    }

    fn value(&mut self, aggregate: Aggregate) -> Option<f64> {
        Some(match aggregate {
            Aggregate::Average => match &self.spread {
                Some(spread) if !self.sum.is_finite() => spread.total.mean(self.count),
                _ => self.sum / self.count as f64,
            },
            Aggregate::Sum => self.sum,
            Aggregate::Minimum => self.minimum,
            Aggregate::Maximum => self.maximum,
            Aggregate::Count => self.count as f64,
            Aggregate::Last => self.last.1,
            Aggregate::Percentile(percent) => match self.spread.as_deref_mut()? {
                Spread { values, sketch: None, .. } => percentile(values, percent)?,
                Spread { values, sketch: Some(sketch), .. } => {
                    values.iter().for_each(|value| sketch.add(*value));
                    sketch.percentile(percent)?
                }
            },
        })
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
            last: (i64::MIN, 0.0),
            spread: None,
        }
    }
}

/// Refuses more points than one answer may have.
pub(super) fn check_points(points: usize, limits: &Limits) -> Result<(), SeriesError> {
    let most = limits.query_points;
    if points > most {
        return Err(SeriesError::limit("points in one answer; ask for longer steps", most as u64));
    }
    Ok(())
}

/// The groups a series is in: more than one only if it has several values of a key.
fn groups_of(by: &[String], tags: &[Arc<str>]) -> Result<Vec<Group>, SeriesError> {
    let mut groups: Vec<Group> = vec![Vec::with_capacity(by.len())];
    for key in by {
        let own = tags.iter().map(|tag| split_tag(tag)).filter(|(own, _)| own == key);
        let mut values: Vec<Arc<str>> = own.map(|(_, value)| Arc::from(value)).collect();
        if values.is_empty() {
            values.push(Arc::from(""));
        }
        if groups.len() * values.len() > SERIES_GROUPS {
            return Err(SeriesError::limit(
                "groups of one series; group by fewer keys",
                SERIES_GROUPS as u64,
            ));
        }
        let longer = |group: &Group| {
            let group = group.clone();
            values.iter().map(move |value| [&group[..], &[Arc::clone(value)]].concat()).collect::<Vec<_>>()
        };
        groups = groups.iter().flat_map(longer).collect();
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_has_each_step_once_and_in_order_whatever_order_series_have_them_in(
            series in prop::collection::vec(prop::collection::btree_map(0_i64..40, -9_i32..9, 0..12), 0..9),
        ) {
            let limits = Limits::default();
            let mut groups = Groups::new(&[], Aggregate::Sum, &limits);
            let mut model = BTreeMap::<i64, f64>::new();
            for steps in &series {
                let value = |(at, value): (&i64, &i32)| StepValue { start: *at, time: *at, value: (*value).into(), weight: 1 };
                let values: Vec<_> = steps.iter().map(value).collect();
                groups.add(&[], &values, &[]).unwrap();
                values.iter().for_each(|value| *model.entry(value.start).or_default() += value.value);
            }
            prop_assert_eq!(groups.points, model.len());
            let lines = groups.finish("m", 1);
            prop_assert_eq!(lines.len(), usize::from(!model.is_empty()));
            for line in lines {
                prop_assert_eq!(line.points, model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
