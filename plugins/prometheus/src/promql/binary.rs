//! Binary operators: between numbers, between a vector and a number, and between vectors whose lines are matched by
//! their labels.

use std::collections::HashMap;

use super::ast::{Binary, Grouping, Operator, Side};
use super::evaluate::{Evaluation, present};
use super::value::{ABSENT, Grid, Line, Value, is_absent, settle};
use super::{Error, Labels, Source, VALUES, too_many};

/// What an operator makes of two values.
#[derive(Clone, Copy)]
enum Operation {
    /// Another value.
    Arithmetic(fn(f64, f64) -> f64),
    /// Whether it holds: 1 or 0, or as a filter the left value or none.
    Comparison(fn(&f64, &f64) -> bool, bool),
}

impl Operation {
    /// None for those between sets.
    fn of(operator: Operator, gives_bool: bool) -> Option<Self> {
        Some(match operator {
            Operator::Add => Self::Arithmetic(|a, b| a + b),
            Operator::Subtract => Self::Arithmetic(|a, b| a - b),
            Operator::Multiply => Self::Arithmetic(|a, b| a * b),
            Operator::Divide => Self::Arithmetic(|a, b| a / b),
            Operator::Modulo => Self::Arithmetic(|a, b| a % b),
            Operator::Power => Self::Arithmetic(f64::powf),
            Operator::Atan2 => Self::Arithmetic(f64::atan2),
            Operator::Equal => Self::Comparison(f64::eq, gives_bool),
            Operator::NotEqual => Self::Comparison(f64::ne, gives_bool),
            Operator::Greater => Self::Comparison(f64::gt, gives_bool),
            Operator::Less => Self::Comparison(f64::lt, gives_bool),
            Operator::GreaterOrEqual => Self::Comparison(f64::ge, gives_bool),
            Operator::LessOrEqual => Self::Comparison(f64::le, gives_bool),
            Operator::And | Operator::Or | Operator::Unless => return None,
        })
    }

    /// The value of two; [`ABSENT`] if they are filtered out. A filter gives `kept`.
    fn apply(self, a: f64, b: f64, kept: f64) -> f64 {
        match self {
            Self::Arithmetic(of) => of(a, b),
            Self::Comparison(holds, true) => f64::from(u8::from(holds(&a, &b))),
            Self::Comparison(holds, false) => {
                if holds(&a, &b) {
                    kept
                } else {
                    ABSENT
                }
            }
        }
    }

    /// A filter keeps what it filters as it is; anything else is no longer the metric it was.
    fn keeps_name(self) -> bool {
        matches!(self, Self::Comparison(_, false))
    }
}

impl<S: Source> Evaluation<'_, S> {
    pub(super) fn binary(&mut self, binary: &Binary, grid: Grid) -> Result<Value, Error> {
        let (left, right) = (self.value(&binary.left, grid)?, self.value(&binary.right, grid)?);
        let Some(operation) = Operation::of(binary.operator, binary.gives_bool) else {
            return match (left, right) {
                (Value::Vector(left), Value::Vector(right)) => {
                    set(binary.operator, left, right, binary.matching.as_ref(), grid).map(Value::Vector)
                }
                _ => Err(Error::Bad("set operators are not allowed in binary scalar expressions".to_owned())),
            };
        };
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                let values = left.into_iter().zip(right).map(|(a, b)| operation.apply(a, b, a));
                Ok(Value::Scalar(values.collect()))
            }
            (Value::Vector(lines), Value::Scalar(numbers)) => {
                each(lines, operation, |value, step| operation.apply(value, numbers[step], value))
                    .map(Value::Vector)
            }
            (Value::Scalar(numbers), Value::Vector(lines)) => {
                each(lines, operation, |value, step| operation.apply(numbers[step], value, value))
                    .map(Value::Vector)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                matched(operation, left, right, binary, grid).map(Value::Vector)
            }
            _ => Err(Error::Bad(
                "binary expression must contain only scalar and instant vector types".to_owned(),
            )),
        }
    }
}

/// Each value of each line, and a number's at the same step.
fn each(
    mut lines: Vec<Line>,
    operation: Operation,
    of: impl Fn(f64, usize) -> f64,
) -> Result<Vec<Line>, Error> {
    for line in &mut lines {
        if !operation.keeps_name() {
            line.labels = line.labels.unnamed();
        }
        for (step, value) in line.values.iter_mut().enumerate().filter(|(_, value)| !is_absent(**value)) {
            *value = of(*value, step);
        }
    }
    settle(lines)
}

/// The labels by which two lines are matched.
fn signature(labels: &Labels, matching: Option<&Grouping>) -> Labels {
    match matching {
        None => labels.unnamed(),
        Some(Grouping::Only(names)) => labels.only(names),
        Some(Grouping::Without(names)) => labels.without(names),
    }
}

/// The places of lines, by their signature.
fn by_signature(lines: &[Line], matching: Option<&Grouping>) -> HashMap<Labels, Vec<usize>> {
    let mut places: HashMap<Labels, Vec<usize>> = HashMap::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        places.entry(signature(&line.labels, matching)).or_default().push(at);
    }
    places
}

/// `and`, `or` and `unless`.
fn set(
    operator: Operator,
    mut left: Vec<Line>,
    mut right: Vec<Line>,
    matching: Option<&Grouping>,
    grid: Grid,
) -> Result<Vec<Line>, Error> {
    // Of each signature, at which steps a line of the other side has a value.
    let there = |lines: &[Line]| {
        let mut there: HashMap<Labels, Vec<bool>> = HashMap::new();
        for line in lines {
            let steps =
                there.entry(signature(&line.labels, matching)).or_insert_with(|| vec![false; grid.count]);
            steps.iter_mut().zip(&line.values).for_each(|(there, value)| *there |= !is_absent(*value));
        }
        there
    };
    let keep = |lines: &mut Vec<Line>, other: &HashMap<Labels, Vec<bool>>, wanted: bool| {
        for line in lines {
            let steps = other.get(&signature(&line.labels, matching));
            for (step, value) in line.values.iter_mut().enumerate() {
                if steps.is_some_and(|steps| steps[step]) != wanted {
                    *value = ABSENT;
                }
            }
        }
    };
    match operator {
        Operator::And => keep(&mut left, &there(&right), true),
        Operator::Unless => keep(&mut left, &there(&right), false),
        _ => {
            keep(&mut right, &there(&left), false);
            left.append(&mut right);
        }
    }
    settle(left)
}

/// Each line and the one that matches it, at each step.
fn matched(
    operation: Operation,
    left: Vec<Line>,
    right: Vec<Line>,
    binary: &Binary,
    grid: Grid,
) -> Result<Vec<Line>, Error> {
    let matching = binary.matching.as_ref();
    let (swapped, included) = match &binary.many {
        Some((side, labels)) => (*side == Side::Right, Some(labels)),
        None => (false, None),
    };
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let ones = by_signature(&one, matching);
    let side = if swapped { "left" } else { "right" };
    for (labels, places) in ones.iter().filter(|(_, places)| places.len() > 1) {
        check_single(labels, places, &one, &many, side, grid)?;
    }
    let mut made: Vec<Line> = Vec::new();
    // Lines of `many` by signature, so that two of one signature at one step are seen.
    for (labels, places) in by_signature(&many, matching) {
        let Some(others) = ones.get(&labels) else { continue };
        let mut pairs: HashMap<(usize, usize), usize> = HashMap::new();
        for step in 0..grid.count {
            let found = others.iter().copied().find(|at| !is_absent(one[*at].values[step]));
            let Some(other) = found else { continue };
            let mut before = None;
            for at in places.iter().copied().filter(|at| !is_absent(many[*at].values[step])) {
                let (value, of_one) = (many[at].values[step], one[other].values[step]);
                let (a, b) = if swapped { (of_one, value) } else { (value, of_one) };
                let result = operation.apply(a, b, a);
                if is_absent(result) {
                    continue;
                }
                if included.is_none() && before.replace(at).is_some() {
                    return Err(Error::Execution(format!(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right), \
                         match group {labels}"
                    )));
                }
                let place = *pairs.entry((at, other)).or_insert_with(|| {
                    let labels =
                        result_labels(&many[at].labels, &one[other].labels, operation, matching, included);
                    made.push(Line { labels, values: vec![ABSENT; grid.count] });
                    made.len() - 1
                });
                made[place].values[step] = result;
            }
            if made.len().saturating_mul(grid.count) > VALUES {
                return Err(too_many("values of one operator", VALUES));
            }
        }
    }
    made.sort_by(|a, b| a.labels.cmp(&b.labels));
    settle(made).map_err(|error| match error {
        Error::Execution(_) => Error::Execution(
            "multiple matches for labels: grouping labels must ensure unique matches".to_owned(),
        ),
        other => other,
    })
}

/// Refuses two lines of one signature on the side that may have one, at a step at which the other side has any.
fn check_single(
    labels: &Labels,
    places: &[usize],
    one: &[Line],
    many: &[Line],
    side: &str,
    grid: Grid,
) -> Result<(), Error> {
    for step in 0..grid.count {
        let mut found = places.iter().filter(|at| !is_absent(one[**at].values[step]));
        if let (Some(first), Some(second)) = (found.next(), found.next())
            && present(many, step).next().is_some()
        {
            return Err(Error::Execution(format!(
                "found duplicate series for the match group {labels} on the {side} hand-side of the operation: \
                 [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                one[*first].labels, one[*second].labels
            )));
        }
    }
    Ok(())
}

/// The labels of what two matched lines make.
fn result_labels(
    many: &Labels,
    one: &Labels,
    operation: Operation,
    matching: Option<&Grouping>,
    included: Option<&Vec<String>>,
) -> Labels {
    let named = if operation.keeps_name() { many.clone() } else { many.unnamed() };
    let Some(included) = included else {
        return match matching {
            None => named,
            Some(Grouping::Only(names)) => named.only(names),
            Some(Grouping::Without(names)) => {
                let mut labels = named;
                names.iter().for_each(|name| labels.set(name, ""));
                labels
            }
        };
    };
    let mut labels = named;
    included.iter().for_each(|name| labels.set(name, one.get(name)));
    labels
}
