//! Functions of the samples of one window.

use super::numbers::{Sum, larger, mean, quantile, smaller, sum, variance};
use super::select::Window;

/// A function of a window alone, by its name; whether the metric's name stays is the caller's to know.
pub(super) fn function(name: &str) -> Option<fn(Window<'_>) -> Option<f64>> {
    Some(match name {
        "avg_over_time" => |window| Some(mean(window.values)),
        "sum_over_time" => |window| Some(sum(window.values)),
        "min_over_time" => |window| window.values.iter().copied().reduce(smaller),
        "max_over_time" => |window| window.values.iter().copied().reduce(larger),
        "count_over_time" => |window| Some(window.values.len() as f64),
        "stddev_over_time" => |window| Some(variance(window.values).sqrt()),
        "stdvar_over_time" => |window| Some(variance(window.values)),
        "first_over_time" => |window| window.values.first().copied(),
        "last_over_time" => |window| window.values.last().copied(),
        "mad_over_time" => |window| Some(deviation(window)),
        "present_over_time" => |_| Some(1.0),
        "ts_of_first_over_time" => |window| window.times.first().map(|time| in_seconds(*time)),
        "ts_of_last_over_time" => |window| window.times.last().map(|time| in_seconds(*time)),
        "ts_of_max_over_time" => |window| last_that(window, |value, most| value >= most),
        "ts_of_min_over_time" => |window| last_that(window, |value, least| value <= least),
        "rate" => |window| extrapolated(window, true).map(|increase| increase / seconds(window)),
        "increase" => |window| extrapolated(window, true),
        "delta" => |window| extrapolated(window, false),
        "irate" => |window| last_two(window, true),
        "idelta" => |window| last_two(window, false),
        "changes" => |window| Some(pairs(window, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        "resets" => |window| Some(pairs(window, |before, after| after < before)),
        "deriv" => |window| match window.times {
            [first, _, ..] => Some(regression(window, *first).0),
            _ => None,
        },
        _ => return None,
    })
}

/// The window's length in seconds.
fn seconds(window: Window<'_>) -> f64 {
    (window.end - window.start) as f64 / 1000.0
}

fn in_seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// When the last sample was taken that is before none of the others, in seconds; what is no number is behind all that are.
fn last_that(window: Window<'_>, before: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let samples = window.times.iter().zip(window.values);
    let found = samples.reduce(
        |found, next| {
            if before(*next.1, *found.1) || found.1.is_nan() { next } else { found }
        },
    );
    found.map(|(time, _)| in_seconds(*time))
}

/// The median of how far values are from their median.
fn deviation(window: Window<'_>) -> f64 {
    let mut values = window.values.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    quantile(0.5, &mut values)
}

/// Smoothed twice (Holt's linear trend): each sample moves the level by the share `level_factor` and the trend by
/// `trend_factor`.
pub(super) fn smoothed(window: Window<'_>, level_factor: f64, trend_factor: f64) -> Option<f64> {
    let [first, second, ..] = *window.values else { return None };
    let (mut before, mut level, mut trend) = (0.0, first, second - first);
    for (at, value) in window.values.iter().enumerate().skip(1) {
        if at > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        (before, level) = (level, level_factor * value + (1.0 - level_factor) * (level + trend));
    }
    Some(level)
}

fn pairs(window: Window<'_>, counts: impl Fn(f64, f64) -> bool) -> f64 {
    window.values.windows(2).filter(|pair| counts(pair[0], pair[1])).count() as f64
}

/// By how much the value grew over the whole window, if it went on before its first and behind its last sample as
/// between them: up to the window's ends where a sample is near (within 1.1 of the mean distance of two), by half that
/// distance otherwise, and for a counter never to before it was zero.
fn extrapolated(window: Window<'_>, counter: bool) -> Option<f64> {
    let Window { times, values, start, end } = window;
    let ([first_time, .., last_time], [first, .., last]) = (times, values) else { return None };
    let mut grown = last - first;
    if counter {
        let lost = values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]);
        grown += lost.sum::<f64>();
    }
    let (mut to_start, mut to_end) =
        ((first_time - start) as f64 / 1000.0, (end - last_time) as f64 / 1000.0);
    let sampled = (last_time - first_time) as f64 / 1000.0;
    let between = sampled / (times.len() - 1) as f64;
    let near = between * 1.1;
    if to_start >= near {
        to_start = between / 2.0;
    }
    if counter && grown > 0.0 && *first >= 0.0 {
        to_start = to_start.min(sampled * (first / grown));
    }
    if to_end >= near {
        to_end = between / 2.0;
    }
    Some(grown * ((sampled + to_start + to_end) / sampled))
}

/// What the last two samples differ by; of a counter, in each second between them.
fn last_two(window: Window<'_>, counter: bool) -> Option<f64> {
    let ([.., before_time, time], [.., before, value]) = (window.times, window.values) else { return None };
    if !counter {
        return Some(value - before);
    }
    // A counter that began anew grew by all it has.
    let grown = if value < before { *value } else { value - before };
    Some(grown / ((time - before_time) as f64 / 1000.0))
}

/// Slope for each second, and the value at `origin`, of the line of least squares.
fn regression(window: Window<'_>, origin: i64) -> (f64, f64) {
    let first = window.values[0];
    if window.values.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let count = window.values.len() as f64;
    let (mut xs, mut ys, mut products, mut squares) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (time, y) in window.times.iter().zip(window.values) {
        let x = (time - origin) as f64 / 1000.0;
        xs.add(x);
        ys.add(*y);
        products.add(x * y);
        squares.add(x * x);
    }
    let (xs, ys) = (xs.total(), ys.total());
    let slope = (products.total() - xs * ys / count) / (squares.total() - xs * xs / count);
    (slope, ys / count - slope * xs / count)
}

/// The value so many seconds after `now`, along the line of least squares.
pub(super) fn predicted(window: Window<'_>, now: i64, after: f64) -> Option<f64> {
    let [_, _, ..] = window.values else { return None };
    let (slope, level) = regression(window, now);
    Some(slope * after + level)
}

/// As [`quantile`], of a window.
pub(super) fn quantile_of(window: Window<'_>, wanted: f64) -> f64 {
    quantile(wanted, &mut window.values.to_vec())
}
