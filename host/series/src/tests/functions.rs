//! Functions of lines and arithmetic between them answer what a naive model of the same words answers.

use proptest::prelude::*;

use super::query::{Points, Written, close, naive, naive_one, points, written};
use super::*;
use crate::{Aggregate, Expression, Fill, Function, Line, MetricKind, Operator, Rank, Selection, TimeRange};

type Point = (i64, f64);
type Lines = BTreeMap<Vec<String>, Points>;

fn selection() -> impl Strategy<Value = Selection> {
    let over = || {
        prop_oneof![
            Just(Aggregate::Sum),
            Just(Aggregate::Maximum),
            Just(Aggregate::Count),
            Just(Aggregate::Percentile(75.0))
        ]
    };
    (over(), over(), prop::collection::btree_set("[ab]", 0..3)).prop_map(|(over_series, over_time, by)| {
        Selection::new("m").grouped(over_series, by).rolled_up(over_time, None)
    })
}

fn function() -> impl Strategy<Value = Function> {
    let rank = prop_oneof![
        Just(Rank::Mean),
        Just(Rank::Minimum),
        Just(Rank::Maximum),
        Just(Rank::Last),
        Just(Rank::Area),
        Just(Rank::Norm)
    ];
    let fill = prop_oneof![Just(Fill::Zero), Just(Fill::Last), Just(Fill::Linear)];
    let number = || (-500..500_i32).prop_map(f64::from);
    let window = prop_oneof![
        Just(Aggregate::Average),
        Just(Aggregate::Sum),
        Just(Aggregate::Minimum),
        Just(Aggregate::Last),
        Just(Aggregate::Percentile(30.0))
    ];
    prop_oneof![
        Just(Function::Absolute),
        Just(Function::Log2),
        Just(Function::Log10),
        Just(Function::CumulativeSum),
        Just(Function::Integral),
        Just(Function::Difference),
        Just(Function::MonotonicDifference),
        Just(Function::TimeDifference),
        prop_oneof![Just(1.0), Just(60.0), Just(3600.0)].prop_map(Function::PerTime),
        number().prop_map(Function::ClampMinimum),
        number().prop_map(Function::ClampMaximum),
        number().prop_map(Function::CutoffMinimum),
        number().prop_map(Function::CutoffMaximum),
        (fill, prop::option::of(1..40_000_i64)).prop_map(|(fill, longest)| Function::Fill(fill, longest)),
        Just(Function::CountNonzero),
        Just(Function::CountPresent),
        (1..4_usize, rank, any::<bool>()).prop_map(|(lines, by, lowest)| Function::Top { lines, by, lowest }),
        (1..9_u32).prop_map(Function::MovingAverage),
        (1..60_000_i64, window).prop_map(|(window, over)| Function::Moving(window, over)),
        (-90_000..90_000_i64).prop_map(Function::TimeShift),
        Just(Function::ExcludeNull),
    ]
}

/// Each point with the one before it, if any.
fn each(line: &Points, of: impl Fn(Option<Point>, Point) -> f64) -> Points {
    (0..line.len()).map(|at| (line[at].0, of(at.checked_sub(1).map(|at| line[at]), line[at]))).collect()
}

fn seconds(before: Point, point: Point) -> f64 {
    (point.0 - before.0) as f64 / 1000.0
}

/// What a function makes of one line, point by point as it is said.
fn of_line(function: Function, line: &Points, step: i64, (start, end): (i64, i64)) -> Points {
    let behind = |of: &dyn Fn(Point, Point) -> f64| {
        each(line, |before, point| before.map_or(f64::NAN, |before| of(before, point)))
    };
    let up_to =
        |of: &dyn Fn(&[Point]) -> f64| (0..line.len()).map(|at| (line[at].0, of(&line[..=at]))).collect();
    match function {
        Function::Absolute => each(line, |_, (_, value)| value.abs()),
        Function::Log2 => each(line, |_, (_, value)| value.ln() / 2_f64.ln()),
        Function::Log10 => each(line, |_, (_, value)| value.ln() / 10_f64.ln()),
        Function::ClampMinimum(least) => {
            each(line, |_, (_, value)| if value < least { least } else { value })
        }
        Function::ClampMaximum(most) => each(line, |_, (_, value)| if value > most { most } else { value }),
        Function::CutoffMinimum(least) => line.iter().copied().filter(|(_, value)| *value >= least).collect(),
        Function::CutoffMaximum(most) => line.iter().copied().filter(|(_, value)| *value <= most).collect(),
        Function::Difference => behind(&|before, point| point.1 - before.1),
        Function::MonotonicDifference => behind(&|before, point| (point.1 - before.1).max(0.0)),
        Function::TimeDifference => behind(&seconds),
        Function::PerTime(unit) => {
            behind(&|before, point| (point.1 - before.1) / (seconds(before, point) / unit))
        }
        Function::CumulativeSum => up_to(&|points| points.iter().map(|(_, value)| value).sum()),
        Function::Integral => {
            up_to(&|points| points.windows(2).map(|pair| pair[1].1 * seconds(pair[0], pair[1])).sum())
        }
        Function::MovingAverage(span) => {
            let weight = 2.0 / (f64::from(span) + 1.0);
            let next = |average: f64, (_, value): &Point| weight * value + (1.0 - weight) * average;
            up_to(&|points| points[1..].iter().fold(points[0].1, next))
        }
        Function::Moving(window, over) => up_to(&|points| {
            let now = points[points.len() - 1].0;
            let within = points.iter().filter(|(time, _)| now - time < window).map(|(_, value)| *value);
            naive_one(over, &within.collect::<Vec<_>>())
        }),
        Function::Fill(fill, longest) => {
            // As many steps as the length holds, and one at least.
            let short = |steps: i64| longest.is_none_or(|longest| steps == 1 || steps * step <= longest);
            let there: BTreeMap<i64, f64> = line.iter().copied().collect();
            let (mut filled, mut missing) = (Points::new(), 0);
            let mut time = start.div_euclid(step) * step;
            while time <= end {
                let before = there.range(..time).next_back();
                let after = there.range(time..).next();
                match there.get(&time) {
                    Some(value) => {
                        missing = 0;
                        filled.push((time, *value));
                    }
                    None => {
                        missing += 1;
                        let value = match (fill, before, after) {
                            (Fill::Zero, ..) => Some(0.0),
                            (Fill::Last, Some((_, value)), _) => Some(*value),
                            (Fill::Linear, Some((t0, v0)), Some((t1, v1))) => {
                                let part = (time - t0) as f64 / (t1 - t0) as f64;
                                let value = v0 * (1.0 - part) + v1 * part;
                                Some(value).filter(|_| short((t1 - t0) / step - 1))
                            }
                            _ => None,
                        };
                        filled.extend(value.filter(|_| short(missing)).map(|value| (time, value)));
                    }
                }
                time += step;
            }
            filled
        }
        _ => line.clone(),
    }
}

/// What a function makes of all lines; in order of their tags, but for the ranked.
fn of_lines(function: Function, lines: &Lines, step: i64, range: (i64, i64)) -> Vec<(Vec<String>, Points)> {
    let counted = |counts: &dyn Fn(f64) -> bool| {
        let mut all: BTreeMap<i64, f64> = BTreeMap::new();
        for (time, value) in lines.values().flatten() {
            *all.entry(*time).or_default() += if counts(*value) { 1.0 } else { 0.0 };
        }
        vec![(Vec::new(), all.into_iter().collect::<Points>())]
    };
    let mut answer: Vec<(Vec<String>, Points)> = match function {
        Function::CountNonzero => counted(&|value| value != 0.0),
        Function::CountPresent => counted(&|_| true),
        Function::Top { lines: most, by, lowest } => {
            let rank = |line: &Points| {
                let values: Vec<f64> = line.iter().map(|(_, value)| *value).collect();
                match by {
                    Rank::Mean => naive_one(Aggregate::Average, &values),
                    Rank::Minimum => naive_one(Aggregate::Minimum, &values),
                    Rank::Maximum => naive_one(Aggregate::Maximum, &values),
                    Rank::Last => naive_one(Aggregate::Last, &values),
                    Rank::Area => naive_one(Aggregate::Sum, &values),
                    Rank::Norm => values.iter().map(|value| value * value).sum::<f64>().sqrt(),
                }
            };
            let mut ranked: Vec<_> = lines.clone().into_iter().collect();
            ranked.sort_by(
                |(_, a), (_, b)| {
                    if lowest { rank(a).total_cmp(&rank(b)) } else { rank(b).total_cmp(&rank(a)) }
                },
            );
            ranked.truncate(most);
            ranked
        }
        Function::ExcludeNull => {
            lines.clone().into_iter().filter(|(tags, _)| tags.iter().all(|value| !value.is_empty())).collect()
        }
        _ => lines.iter().map(|(tags, line)| (tags.clone(), of_line(function, line, step, range))).collect(),
    };
    answer.iter_mut().for_each(|(_, line)| line.retain(|(_, value)| value.is_finite()));
    answer.retain(|(_, line)| !line.is_empty());
    answer
}

/// What an operator makes of lines by their tags, or of each line and one without.
fn between(operator: Operator, left: &Lines, right: &Lines) -> Lines {
    let lone = |lines: &Lines| lines.len() == 1 && lines.keys().all(Vec::is_empty);
    let mut answer = Lines::new();
    for (a_tags, a) in left {
        for (b_tags, b) in right {
            if a_tags != b_tags && !lone(left) && !lone(right) {
                continue;
            }
            let tags = if lone(right) { a_tags } else { b_tags };
            for (time, a) in a {
                for (_, b) in b.iter().filter(|(other, _)| other == time) {
                    let value = match operator {
                        Operator::Add => a + b,
                        Operator::Subtract => a - b,
                        Operator::Multiply => a * b,
                        Operator::Divide => a / b,
                    };
                    if value.is_finite() {
                        answer.entry(tags.clone()).or_default().push((*time, value));
                    }
                }
            }
        }
    }
    answer
}

async fn filled(written: &Written) -> House {
    let house = House::new().await;
    for (at, (tags, samples)) in written.iter().enumerate() {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        house.write(&[entry("m", &tags, samples)]).await.unwrap();
        if at % 2 == 0 {
            house.series.pack().await.unwrap();
        }
    }
    house
}

fn asked(written: &Written, expression: &Expression, (start, end): (i64, i64), step: i64) -> Vec<Line> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let time = |time| Timestamp::from_milliseconds(time).unwrap();
        let range = TimeRange { start: time(start), end: time(end), step: Some(step) };
        filled(written).await.series.query(OURS, expression, range, &|_| true).await.unwrap()
    })
}

fn operator() -> impl Strategy<Value = Operator> {
    prop_oneof![
        Just(Operator::Add),
        Just(Operator::Subtract),
        Just(Operator::Multiply),
        Just(Operator::Divide)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_function_of_lines_is_what_the_model_makes_of_them(
        written in written(), selection in selection(), function in function(),
        step in 500..8000_i64, start in 0..100_000_i64, length in 0..200_000_i64,
    ) {
        let range = (start, start + length);
        let expression = Expression::Select(selection.clone()).apply(function);
        let answer = asked(&written, &expression, range, step);
        let shift = if let Function::TimeShift(shift) = function { shift } else { 0 };
        let mut moved = written;
        moved.iter_mut().flat_map(|(_, samples)| samples).for_each(|(time, _)| *time -= shift);
        let base = naive(&moved, &selection, range.0, range.1, step, MetricKind::Gauge);
        let expected = of_lines(function, &base, step, range);
        let tags = |line: &Line| line.tags.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>();
        let order: Vec<_> = answer.iter().map(tags).collect();
        prop_assert_eq!(order, expected.iter().map(|(tags, _)| tags.clone()).collect::<Vec<_>>(), "{:?}", function);
        let (answer, expected) = (points(answer), expected.into_iter().collect());
        prop_assert!(close(&answer, &expected), "{function:?} of {selection:?}\n{answer:?}\nis not\n{expected:?}");
    }

    #[test]
    fn arithmetic_between_lines_is_what_the_model_makes_of_them(
        written in written(), left in selection(), right in selection(), operator in operator(),
        number in prop::option::of(-9..9_i32), step in 500..8000_i64, length in 0..200_000_i64,
    ) {
        let (range, of) = ((0, length), |selection: &Selection| naive(&written, selection, 0, length, step, MetricKind::Gauge));
        let (right, expected) = match number {
            Some(number) => {
                let number = f64::from(number);
                let everywhere: Points = of(&left).into_values().flatten().map(|(time, _)| (time, number)).collect();
                let everywhere: BTreeMap<i64, f64> = everywhere.into_iter().collect();
                let line = Lines::from([(Vec::new(), everywhere.into_iter().collect())]);
                (Expression::Number(number), between(operator, &of(&left), &line))
            }
            None => {
                // Of the same tags, so that lines meet.
                let right = Selection { by: if right.by.is_empty() { right.by } else { left.by.clone() }, ..right };
                let expected = between(operator, &of(&left), &of(&right));
                (Expression::Select(right), expected)
            }
        };
        let expression = Expression::Select(left).with(operator, right);
        let answer = points(asked(&written, &expression, range, step));
        prop_assert!(close(&answer, &expected), "{expression:?}\n{answer:?}\nis not\n{expected:?}");
    }
}
