//! One line for each group of series.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::over_time::percentile;
use super::{Aggregate, Line};
use crate::split_tag;

/// The values of one step of a group.
#[derive(Clone, Debug, Default)]
struct Cell {
    count: u64,
    sum: f64,
    minimum: f64,
    maximum: f64,
    /// The latest value, and the time of its sample.
    last: (i64, f64),
    /// All of them, where a percentile is asked for.
    values: Vec<f64>,
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
            for (start, time, value) in values {
                let cell = cells.entry(*start).or_insert_with(|| Cell {
                    minimum: f64::INFINITY,
                    maximum: f64::NEG_INFINITY,
                    last: (i64::MIN, 0.0),
                    ..Cell::default()
                });
                cell.count += 1;
                cell.sum += value;
                cell.minimum = cell.minimum.min(*value);
                cell.maximum = cell.maximum.max(*value);
                if *time >= cell.last.0 {
                    cell.last = (*time, *value);
                }
                if let Aggregate::Percentile(_) = self.aggregate {
                    cell.values.push(*value);
                    self.values += 1;
                }
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

impl Cell {
    fn value(&mut self, aggregate: Aggregate) -> Option<f64> {
        Some(match aggregate {
            Aggregate::Average => self.sum / self.count as f64,
            Aggregate::Sum => self.sum,
            Aggregate::Minimum => self.minimum,
            Aggregate::Maximum => self.maximum,
            Aggregate::Count => self.count as f64,
            Aggregate::Last => self.last.1,
            Aggregate::Percentile(percent) => percentile(&mut self.values, percent)?,
        })
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
