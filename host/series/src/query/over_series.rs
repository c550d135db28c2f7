//! One line for each group of series.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::over_time::percentile;
use super::{Aggregate, Line};
use crate::sketch::Sketch;
use crate::split_tag;

/// The values of one step of a group.
#[derive(Clone, Debug)]
struct Cell {
    count: u64,
    sum: f64,
    minimum: f64,
    maximum: f64,
    /// The latest value, and the time of its sample.
    last: (i64, f64),
    /// All of them, where a percentile is asked for.
    values: Vec<f64>,
    /// Those kept in sketches, where there are some.
    sketch: Option<Sketch>,
}

/// The values of a tag each, in order of the tags asked for.
type Group = Vec<Arc<str>>;

/// Gathers series into lines.
pub(super) struct Groups<'a> {
    by: &'a [String],
    aggregate: Aggregate,
    groups: BTreeMap<Group, BTreeMap<i64, Cell>>,
    /// Points so far.
    pub(super) points: usize,
    /// Values kept so far.
    pub(super) values: usize,
}

impl<'a> Groups<'a> {
    pub(super) fn new(by: &'a [String], aggregate: Aggregate) -> Self {
        Self { by, aggregate, groups: BTreeMap::new(), points: 0, values: 0 }
    }

    /// Adds the values of a series with these tags: when each step begins, when its latest sample was taken, a value.
    pub(super) fn add(&mut self, tags: &[Arc<str>], values: &[(i64, i64, f64)]) {
        for group in groups_of(self.by, tags) {
            let cells = self.groups.entry(group).or_default();
            let before = cells.len();
            let keep = matches!(self.aggregate, Aggregate::Percentile(_));
            each_cell(cells, values, |cell, (_, time, value)| cell.add(*time, *value, keep));
            if keep {
                self.values += values.len();
            }
            self.points += cells.len() - before;
        }
    }

    /// Adds samples that are kept in sketches, those of each step, of a series with these tags.
    pub(super) fn add_sketches(&mut self, tags: &[Arc<str>], sketches: &[(i64, Sketch)]) {
        if sketches.is_empty() {
            return;
        }
        for group in groups_of(self.by, tags) {
            let cells = self.groups.entry(group).or_default();
            let before = cells.len();
            for (start, sketch) in sketches {
                let cell = cells.entry(*start).or_default();
                let there = cell.sketch.get_or_insert_with(Sketch::new);
                let size = there.size();
                there.merge(sketch);
                self.values += there.size().saturating_sub(size);
            }
            self.points += cells.len() - before;
        }
    }

    /// The lines, in order of their groups.
    pub(super) fn finish(self, metric: &str, step: i64) -> Vec<Line> {
        let metric: Arc<str> = metric.into();
        let keys: Vec<Arc<str>> = self.by.iter().map(|key| Arc::from(key.as_str())).collect();
        let line = |(group, cells): (Group, BTreeMap<i64, Cell>)| Line {
            metric: Some(Arc::clone(&metric)),
            tags: keys.iter().cloned().zip(group).collect(),
            step,
            points: cells
                .into_iter()
                .filter_map(|(start, mut cell)| Some((start, cell.value(self.aggregate)?)))
                .filter(|(_, value)| value.is_finite())
                .collect(),
        };
        self.groups.into_iter().map(line).filter(|line| !line.points.is_empty()).collect()
    }
}

/// Calls `add` with each value and the cell of its step; the values are in order of their steps.
fn each_cell(
    cells: &mut BTreeMap<i64, Cell>,
    values: &[(i64, i64, f64)],
    mut add: impl FnMut(&mut Cell, &(i64, i64, f64)),
) {
    let (Some((first, ..)), Some((last, ..))) = (values.first(), values.last()) else { return };
    let mut fresh = Vec::new();
    // Series have mostly the same steps: going through the cells beside them is several times as fast as looking each
    // up, unless nearly all would be passed by.
    if values.len() * 8 >= cells.len() {
        let mut there = cells.range_mut(*first..=*last).peekable();
        for value in values {
            while there.next_if(|(start, _)| **start < value.0).is_some() {}
            match there.peek_mut() {
                Some((start, cell)) if **start == value.0 => add(cell, value),
                _ => fresh.push(value),
            }
        }
    } else {
        fresh.extend(values);
    }
    for value in fresh {
        add(cells.entry(value.0).or_default(), value);
    }
}

impl Cell {
    fn add(&mut self, time: i64, value: f64, keep: bool) {
        self.count += 1;
        self.sum += value;
        self.minimum = self.minimum.min(value);
        self.maximum = self.maximum.max(value);
        if time >= self.last.0 {
            self.last = (time, value);
        }
        if keep {
            self.values.push(value);
        }
    }

    fn value(&mut self, aggregate: Aggregate) -> Option<f64> {
        Some(match aggregate {
            Aggregate::Average => self.sum / self.count as f64,
            Aggregate::Sum => self.sum,
            Aggregate::Minimum => self.minimum,
            Aggregate::Maximum => self.maximum,
            Aggregate::Count => self.count as f64,
            Aggregate::Last => self.last.1,
            Aggregate::Percentile(percent) => match &mut self.sketch {
                None => percentile(&mut self.values, percent)?,
                Some(sketch) => {
                    self.values.iter().for_each(|value| sketch.add(*value));
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
            values: Vec::new(),
            sketch: None,
        }
    }
}

/// The groups a series is in: more than one only if it has several values of a key.
fn groups_of(by: &[String], tags: &[Arc<str>]) -> Vec<Group> {
    let mut groups: Vec<Group> = vec![Vec::with_capacity(by.len())];
    for key in by {
        let own = tags.iter().map(|tag| split_tag(tag)).filter(|(own, _)| own == key);
        let mut values: Vec<Arc<str>> = own.map(|(_, value)| Arc::from(value)).collect();
        if values.is_empty() {
            values.push(Arc::from(""));
        }
        let longer = |group: &Group| {
            let group = group.clone();
            values.iter().map(move |value| [&group[..], &[Arc::clone(value)]].concat()).collect::<Vec<_>>()
        };
        groups = groups.iter().flat_map(longer).collect();
    }
    groups
}
