//! Aggregations: many lines become one for each group.

use std::collections::HashMap;

use super::ast::{Aggregate, Aggregation, Grouping};
use super::evaluate::{Evaluation, present};
use super::numbers::{ascending, decimal, larger, mean, quantile, smaller, sum, variance};
use super::value::{ABSENT, Grid, Line, Value, is_absent};
use super::{Error, Labels, Source, is_label};

/// Lines of one group.
struct Group {
    labels: Labels,
    lines: Vec<Line>,
}

impl<S: Source> Evaluation<'_, S> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<Vec<Line>, Error> {
        let Aggregate { of, parameter, inner, grouping } = aggregate;
        let needs = || Error::Bad("the aggregation needs a parameter".to_owned());
        let reduction: fn(&mut [f64]) -> f64 = match of {
            Aggregation::Sum => |values| sum(values),
            Aggregation::Average => |values| mean(values),
            Aggregation::Minimum => |values| values.iter().copied().reduce(smaller).unwrap_or(f64::NAN),
            Aggregation::Maximum => |values| values.iter().copied().reduce(larger).unwrap_or(f64::NAN),
            Aggregation::Count => |values| values.len() as f64,
            Aggregation::Group => |_| 1.0,
            Aggregation::Deviation => |values| variance(values).sqrt(),
            Aggregation::Variance => |values| variance(values),
            Aggregation::Quantile => {
                let wanted = self.scalar(parameter.as_ref().ok_or_else(needs)?, grid)?;
                let groups = groups(self.lines(inner, grid)?, grouping.as_ref());
                return Ok(reduce(&groups, grid, |step, values| quantile(wanted[step], values)));
            }
            Aggregation::Top | Aggregation::Bottom => {
                let most = self.scalar(parameter.as_ref().ok_or_else(needs)?, grid)?;
                let groups = groups(self.lines(inner, grid)?, grouping.as_ref());
                return ranked(groups, &most, *of == Aggregation::Top, grid);
            }
            Aggregation::Limit => {
                let most = self.scalar(parameter.as_ref().ok_or_else(needs)?, grid)?;
                check_counts(&most)?;
                let groups = groups(self.lines(inner, grid)?, grouping.as_ref());
                let first =
                    |step: usize, _: &[Line], own: &mut Vec<_>| own.truncate(most[step].max(0.0) as usize);
                return Ok(chosen(groups, grid, first).flat_map(|group| group.lines).collect());
            }
            Aggregation::Ratio => {
                let ratios = self.scalar(parameter.as_ref().ok_or_else(needs)?, grid)?;
                if ratios.iter().any(|ratio| ratio.is_nan()) {
                    return Err(Error::Execution("Ratio value is NaN".to_owned()));
                }
                let groups = groups(self.lines(inner, grid)?, grouping.as_ref());
                let share = |step: usize, lines: &[Line], own: &mut Vec<(usize, f64)>| {
                    own.retain(|(at, _)| is_of_share(&lines[*at].labels, ratios[step]));
                };
                return Ok(chosen(groups, grid, share).flat_map(|group| group.lines).collect());
            }
            Aggregation::CountValues => {
                let label = match self.value(parameter.as_ref().ok_or_else(needs)?, grid)? {
                    Value::Text(label) if is_label(&label) => label,
                    Value::Text(label) => {
                        return Err(Error::Execution(format!("invalid label name {label:?}")));
                    }
                    _ => return Err(Error::Bad("count_values needs the name of a label".to_owned())),
                };
                return count_values(&self.lines(inner, grid)?, &label, grouping.as_ref(), grid);
            }
        };
        let lines = self.lines(inner, grid)?;
        Ok(reduce(&groups(lines, grouping.as_ref()), grid, |_, values| reduction(values)))
    }
}

/// The labels of the group a line is of.
fn group_of(labels: &Labels, grouping: Option<&Grouping>) -> Labels {
    match grouping {
        None => Labels::default(),
        Some(Grouping::Only(names)) => labels.only(names),
        Some(Grouping::Without(names)) => labels.without(names),
    }
}

/// Lines by the labels they are grouped by, in the order the first of each came.
fn groups(lines: Vec<Line>, grouping: Option<&Grouping>) -> Vec<Group> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for line in lines {
        let labels = group_of(&line.labels, grouping);
        match places.get(&labels) {
            Some(at) => groups[*at].lines.push(line),
            None => {
                places.insert(labels.clone(), groups.len());
                groups.push(Group { labels, lines: vec![line] });
            }
        }
    }
    groups
}

/// One value of each group's values at each step.
fn reduce(groups: &[Group], grid: Grid, mut of: impl FnMut(usize, &mut [f64]) -> f64) -> Vec<Line> {
    let mut own = Vec::new();
    let mut line = |group: &Group| {
        let values = (0..grid.count).map(|step| {
            own.clear();
            own.extend(present(&group.lines, step).map(|(_, value)| value));
            if own.is_empty() { ABSENT } else { of(step, &mut own) }
        });
        Line { values: values.collect(), labels: group.labels.clone() }
    };
    groups.iter().map(&mut line).filter(Line::is_some).collect()
}

/// Whether these can count lines: Prometheus counts in an int64.
fn check_counts(counts: &[f64]) -> Result<(), Error> {
    // 2^63 and more.
    let Some(wrong) = counts.iter().find(|count| count.is_nan() || count.abs() >= i64::MAX as f64) else {
        return Ok(());
    };
    let wrong = if wrong.is_finite() { format!("{wrong:e}") } else { decimal(*wrong) };
    Err(Error::Execution(format!("Scalar value {wrong} overflows int64")))
}

/// The lines of each group as they were, at each step those that are left of the places and values there are.
fn chosen(
    groups: Vec<Group>,
    grid: Grid,
    leave: impl Fn(usize, &[Line], &mut Vec<(usize, f64)>),
) -> impl Iterator<Item = Group> {
    groups.into_iter().map(move |Group { labels, mut lines }| {
        let mut kept = vec![vec![ABSENT; grid.count]; lines.len()];
        (0..grid.count).for_each(|step| {
            let mut own: Vec<(usize, f64)> = present(&lines, step).collect();
            leave(step, &lines, &mut own);
            own.into_iter().for_each(|(at, value)| kept[at][step] = value);
        });
        for (line, kept) in lines.iter_mut().zip(kept) {
            line.values = kept;
        }
        lines.retain(Line::is_some);
        Group { labels, lines }
    })
}

/// The largest or smallest of each group at each step; at one instant in order of their values.
fn ranked(groups: Vec<Group>, most: &[f64], largest: bool, grid: Grid) -> Result<Vec<Line>, Error> {
    check_counts(most)?;
    let order = |a: f64, b: f64| match largest {
        // What is no number is the last, either way.
        true => ascending(&b, &a),
        false => a.is_nan().cmp(&b.is_nan()).then(ascending(&a, &b)),
    };
    let rank = |step: usize, _: &[Line], own: &mut Vec<(usize, f64)>| {
        own.sort_by(|(_, a), (_, b)| order(*a, *b));
        own.truncate(most[step].max(0.0) as usize);
    };
    let mut all = Vec::new();
    for Group { mut lines, .. } in chosen(groups, grid, rank) {
        if grid.count == 1 {
            lines.sort_by(|a, b| order(a.values[0], b.values[0]));
        }
        all.extend(lines);
    }
    Ok(all)
}

/// Whether labels are of a share of all there may be: the first for a positive one, for a negative one the last, so that
/// `0.3` and `-0.7` have no line in common. Which those are follows from the labels alone.
fn is_of_share(labels: &Labels, share: f64) -> bool {
    // FNV-1a, each text ended by a byte that no text has; the finish of MurmurHash3 spreads what few bytes say.
    let bytes = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = bytes.flat_map(|text| text.bytes().chain([0xff]));
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    let place = (hash ^ (hash >> 33)) as f64 / u64::MAX as f64;
    if share >= 0.0 { place < share || share >= 1.0 } else { place >= 1.0 + share }
}

/// How many lines of each group have each value. The value becomes a label before lines are grouped, in place of one of
/// its name, so that `by` keeps it without being told and `without` may take it away.
fn count_values(
    lines: &[Line],
    label: &str,
    grouping: Option<&Grouping>,
    grid: Grid,
) -> Result<Vec<Line>, Error> {
    let grouping = match grouping {
        Some(Grouping::Without(names)) => Grouping::Without(names.clone()),
        Some(Grouping::Only(names)) => Grouping::Only([names.as_slice(), &[label.to_owned()]].concat()),
        None => Grouping::Only(vec![label.to_owned()]),
    };
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut all: Vec<Line> = Vec::new();
    for line in lines {
        // Where this line's values are counted: labels are worked out once for each, not for each step.
        let mut own: HashMap<String, usize> = HashMap::new();
        for (step, value) in line.values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            let at = *own.entry(decimal(*value)).or_insert_with_key(|text| {
                let mut labels = line.labels.clone();
                labels.set(label, text);
                let labels = group_of(&labels, Some(&grouping));
                *places.entry(labels).or_insert_with_key(|labels| {
                    all.push(Line { labels: labels.clone(), values: vec![ABSENT; grid.count] });
                    all.len() - 1
                })
            });
            let count = &mut all[at].values[step];
            *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            if all.len().saturating_mul(grid.count) > super::VALUES {
                return Err(super::too_many("values of count_values", super::VALUES));
            }
        }
    }
    Ok(all)
}
