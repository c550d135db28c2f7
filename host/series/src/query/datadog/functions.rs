//! Functions of lines.

use super::words::{
    MOST_SECONDS, Parsed, expected, is_sign, milliseconds, number, quoted, sign, space, whole_number,
};
use super::{aggregate, suffixes, sum};
use crate::query::{Aggregate, Expression, Fill, Function, Rank};

const FUNCTIONS: &str = "one of abs, log2, log10, cumsum, integral, diff, monotonic_diff, dt, derivative, per_second, \
    per_minute, per_hour, clamp_min, clamp_max, cutoff_min, cutoff_max, default_zero, count_nonzero, count_not_null, \
    top, top5, top10, bottom5, bottom10, ewma_3, ewma_5, ewma_7, ewma_10, ewma_20, moving_rollup, timeshift, \
    hour_before, day_before, week_before, month_before, exclude_null";

const HOUR: i64 = 3_600_000;

/// What stands behind the name of a function, which began at `start`.
pub(super) fn function<'i>(input: &mut &'i str, name: &str, start: &'i str) -> Parsed<Expression> {
    sign(input, '(')?;
    let ranked = |lines, lowest| Function::Top { lines, by: Rank::Mean, lowest };
    let simple = match name {
        "abs" => Function::Absolute,
        "log2" => Function::Log2,
        "log10" => Function::Log10,
        "cumsum" => Function::CumulativeSum,
        "integral" => Function::Integral,
        "diff" => Function::Difference,
        "monotonic_diff" => Function::MonotonicDifference,
        "dt" => Function::TimeDifference,
        "derivative" | "per_second" => Function::PerTime(1.0),
        "per_minute" => Function::PerTime(60.0),
        "per_hour" => Function::PerTime(3600.0),
        "default_zero" => Function::Fill(Fill::Zero, None),
        "count_nonzero" => Function::CountNonzero,
        "count_not_null" => Function::CountPresent,
        "exclude_null" => Function::ExcludeNull,
        "top5" => ranked(5, false),
        "top10" => ranked(10, false),
        "bottom5" => ranked(5, true),
        "bottom10" => ranked(10, true),
        "ewma_3" => Function::MovingAverage(3),
        "ewma_5" => Function::MovingAverage(5),
        "ewma_7" => Function::MovingAverage(7),
        "ewma_10" => Function::MovingAverage(10),
        "ewma_20" => Function::MovingAverage(20),
        "hour_before" => Function::TimeShift(-HOUR),
        "day_before" => Function::TimeShift(-24 * HOUR),
        "week_before" => Function::TimeShift(-7 * 24 * HOUR),
        "month_before" => Function::TimeShift(-28 * 24 * HOUR),
        "clamp_min" | "clamp_max" | "cutoff_min" | "cutoff_max" | "timeshift" | "moving_rollup" | "top" => {
            let argument = sum(input)?;
            sign(input, ',')?;
            let function = with_arguments(input, name)?;
            sign(input, ')')?;
            return suffixes(input, argument.apply(function));
        }
        _ => {
            *input = start;
            return expected(FUNCTIONS);
        }
    };
    let argument = sum(input)?;
    sign(input, ')')?;
    suffixes(input, argument.apply(simple))
}

fn with_arguments(input: &mut &str, name: &str) -> Parsed<Function> {
    Ok(match name {
        "clamp_min" => Function::ClampMinimum(number(input)?),
        "clamp_max" => Function::ClampMaximum(number(input)?),
        "cutoff_min" => Function::CutoffMinimum(number(input)?),
        "cutoff_max" => Function::CutoffMaximum(number(input)?),
        "timeshift" => Function::TimeShift(milliseconds(input, -MOST_SECONDS)?),
        "moving_rollup" => {
            let window = milliseconds(input, 1.0)?;
            let mut over = Aggregate::Average;
            if is_sign(input, ',')? {
                space(input)?;
                let start = *input;
                let Some(named) = aggregate(quoted(input)?) else {
                    *input = start;
                    return expected("one of 'avg', 'sum', 'min', 'max', 'count', 'last', 'p50' to 'p99'");
                };
                over = named;
            }
            Function::Moving(window, over)
        }
        _ => {
            let lines = whole_number(input)? as usize;
            let (mut by, mut lowest) = (Rank::Mean, false);
            if is_sign(input, ',')? {
                space(input)?;
                let start = *input;
                by = match quoted(input)? {
                    "mean" => Rank::Mean,
                    "min" => Rank::Minimum,
                    "max" => Rank::Maximum,
                    "last" => Rank::Last,
                    "area" | "sum" => Rank::Area,
                    "l2norm" | "norm" => Rank::Norm,
                    _ => {
                        *input = start;
                        return expected(
                            "one of 'mean', 'min', 'max', 'last', 'sum' or 'area', 'norm' or 'l2norm'",
                        );
                    }
                };
            }
            if is_sign(input, ',')? {
                space(input)?;
                let start = *input;
                lowest = match quoted(input)? {
                    "desc" => false,
                    "asc" => true,
                    _ => {
                        *input = start;
                        return expected("'desc' or 'asc'");
                    }
                };
            }
            Function::Top { lines, by, lowest }
        }
    })
}
