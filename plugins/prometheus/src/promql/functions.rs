//! Functions by their names.

use bellwether_sdk::series::{Comparison, Matcher};
use bellwether_sdk::{Date, Timestamp};
use regex_lite::RegexBuilder;

use super::ast::Expr;
use super::evaluate::{Evaluation, present};
use super::numbers::clamped;
use super::over_time::{function, predicted, quantile_of, smoothed};
use super::value::{ABSENT, Grid, Line, Value, map, settle};
use super::{Error, Labels, Source, histogram, is_label, order};

/// Bytes of a compiled expression of `label_replace`.
const REGEX: usize = 1 << 20;

impl<S: Source> Evaluation<'_, S> {
    /// A function's value at each step.
    pub(super) fn call(&mut self, name: &str, arguments: &[Expr], grid: Grid) -> Result<Value, Error> {
        let argument = |at: usize| -> Result<&Expr, Error> {
            arguments.get(at).ok_or_else(|| {
                Error::Bad(format!("expected at least {} argument(s) in call to '{name}'", at + 1))
            })
        };
        if let Some(of) = function(name) {
            let lines = self.matrix(argument(0)?, grid)?.over(|_, window| of(window));
            return Ok(Value::Vector(match name {
                "last_over_time" | "first_over_time" => settle(lines)?,
                _ => unnamed(lines)?,
            }));
        }
        if let Some(of) = of_value(name) {
            return Ok(Value::Vector(map(self.lines(argument(0)?, grid)?, |_, value| of(value))?));
        }
        if let Some(of) = of_date(name) {
            let date = |seconds: f64| instant(seconds).map_or(f64::NAN, of);
            return Ok(Value::Vector(match arguments.first() {
                Some(argument) => map(self.lines(argument, grid)?, |_, value| date(value))?,
                None => {
                    let values = grid.seconds().into_iter().map(date).collect();
                    vec![Line { labels: Labels::default(), values }]
                }
            }));
        }
        Ok(match name {
            "time" => Value::Scalar(grid.seconds()),
            "pi" => Value::Scalar(vec![std::f64::consts::PI; grid.count]),
            "scalar" => {
                let lines = self.lines(argument(0)?, grid)?;
                let of = |step| {
                    let mut values = present(&lines, step);
                    match (values.next(), values.next()) {
                        (Some((_, value)), None) => value,
                        _ => f64::NAN,
                    }
                };
                Value::Scalar((0..grid.count).map(of).collect())
            }
            "vector" => {
                let values = self.scalar(argument(0)?, grid)?;
                Value::Vector(vec![Line { labels: Labels::default(), values }])
            }
            "timestamp" => Value::Vector(match bare(argument(0)?) {
                Expr::Vector(selector) => unnamed(self.vector(selector, grid, true)?)?,
                other => map(self.lines(other, grid)?, |step, _| grid.time(step) as f64 / 1000.0)?,
            }),
            "sort" | "sort_desc" => {
                let mut lines = self.lines(argument(0)?, grid)?;
                order::by_value(&mut lines, grid, name == "sort_desc");
                Value::Vector(lines)
            }
            "sort_by_label" | "sort_by_label_desc" => {
                let mut lines = self.lines(argument(0)?, grid)?;
                order::by_labels(&mut lines, &texts(&arguments[1..])?, grid, name == "sort_by_label_desc");
                Value::Vector(lines)
            }
            "round" => {
                let lines = self.lines(argument(0)?, grid)?;
                let nearest = match arguments.get(1) {
                    Some(argument) => self.scalar(argument, grid)?,
                    None => vec![1.0; grid.count],
                };
                Value::Vector(map(lines, |step, value| {
                    let inverse = 1.0 / nearest[step];
                    (value * inverse + 0.5).floor() / inverse
                })?)
            }
            "clamp" | "clamp_min" | "clamp_max" => {
                let mut lines = self.lines(argument(0)?, grid)?;
                let one = self.scalar(argument(1)?, grid)?;
                let (lowest, highest) = match name {
                    "clamp" => (one, self.scalar(argument(2)?, grid)?),
                    "clamp_min" => (one, vec![f64::INFINITY; grid.count]),
                    _ => (vec![f64::NEG_INFINITY; grid.count], one),
                };
                for line in &mut lines {
                    let bounds = lowest.iter().zip(&highest);
                    for (value, (lowest, highest)) in line.values.iter_mut().zip(bounds) {
                        if lowest > highest {
                            *value = ABSENT;
                        }
                    }
                }
                Value::Vector(map(lines, |step, value| clamped(value, lowest[step], highest[step]))?)
            }
            "histogram_quantile" => {
                let wanted = self.scalar(argument(0)?, grid)?;
                let lines = self.lines(argument(1)?, grid)?;
                Value::Vector(histogram::quantiles(&wanted, lines, grid)?)
            }
            "quantile_over_time" => {
                let wanted = self.scalar(argument(0)?, grid)?;
                let matrix = self.matrix(argument(1)?, grid)?;
                Value::Vector(unnamed(matrix.over(|step, window| Some(quantile_of(window, wanted[step]))))?)
            }
            "double_exponential_smoothing" | "holt_winters" => {
                let matrix = self.matrix(argument(0)?, grid)?;
                let (level, trend) = (self.scalar(argument(1)?, grid)?, self.scalar(argument(2)?, grid)?);
                for (factors, what) in [
                    (&level, "smoothing factor. Expected: 0 < sf"),
                    (&trend, "trend factor. Expected: 0 < tf"),
                ] {
                    let wrong = factors.iter().find(|factor| !(**factor > 0.0 && **factor < 1.0));
                    if let Some(wrong) = wrong.filter(|_| !matrix.series.is_empty()) {
                        return Err(Error::Execution(format!("invalid {what} < 1, got: {wrong:.6}")));
                    }
                }
                Value::Vector(unnamed(
                    matrix.over(|step, window| smoothed(window, level[step], trend[step])),
                )?)
            }
            "predict_linear" => {
                let matrix = self.matrix(argument(0)?, grid)?;
                let after = self.scalar(argument(1)?, grid)?;
                Value::Vector(unnamed(
                    matrix.over(|step, window| predicted(window, grid.time(step), after[step])),
                )?)
            }
            "info" => {
                let selector = match arguments.get(1).map(bare) {
                    None => None,
                    Some(Expr::Vector(selector)) => Some(selector),
                    Some(_) => return Err(Error::Bad("expected label selectors only".to_owned())),
                };
                Value::Vector(self.info(argument(0)?, selector, grid)?)
            }
            "absent" => {
                let lines = self.lines(argument(0)?, grid)?;
                Value::Vector(absent(&lines, argument(0)?, grid))
            }
            "absent_over_time" => {
                let lines = self.matrix(argument(0)?, grid)?.over(|_, _| Some(1.0));
                Value::Vector(absent(&lines, argument(0)?, grid))
            }
            "label_replace" => {
                let lines = self.lines(argument(0)?, grid)?;
                Value::Vector(label_replace(lines, &texts(&arguments[1..])?)?)
            }
            "label_join" => {
                let lines = self.lines(argument(0)?, grid)?;
                Value::Vector(label_join(lines, &texts(&arguments[1..])?)?)
            }
            _ => return Err(Error::Bad(format!("the function '{name}' is not served here"))),
        })
    }
}

/// An expression without the parentheses around it.
fn bare(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(inner) => bare(inner),
        other => other,
    }
}

fn unnamed(lines: Vec<Line>) -> Result<Vec<Line>, Error> {
    settle(lines.into_iter().map(|line| Line { labels: line.labels.unnamed(), ..line }).collect())
}

/// What a value's own function is.
fn of_value(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sqrt" => f64::sqrt,
        "sgn" => |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "deg" => f64::to_degrees,
        "rad" => f64::to_radians,
        _ => return None,
    })
}

/// What is read off a date, in UTC.
fn of_date(name: &str) -> Option<fn(Timestamp) -> f64> {
    const HOUR: i64 = 60 * 60 * 1000;
    Some(match name {
        "minute" => |time| (time.milliseconds().rem_euclid(HOUR) / 60_000) as f64,
        "hour" => |time| (time.milliseconds().rem_euclid(24 * HOUR) / HOUR) as f64,
        "day_of_month" => |time| f64::from(time.date().day),
        // Sunday is 0.
        "day_of_week" => |time| f64::from((time.date().weekday() + 1) % 7),
        "day_of_year" => |time| {
            let date = time.date();
            days(Date { month: 1, day: 1, ..date }, date) + 1.0
        },
        "days_in_month" => |time| {
            let first = Date { day: 1, ..time.date() };
            let next = match first.month {
                12 => Date { year: first.year + 1, month: 1, day: 1 },
                month => Date { month: month + 1, ..first },
            };
            days(first, next)
        },
        "month" => |time| f64::from(time.date().month),
        "year" => |time| f64::from(time.date().year),
        _ => return None,
    })
}

/// Days from one date to another.
fn days(from: Date, to: Date) -> f64 {
    let distance = Timestamp::midnight(to).milliseconds() - Timestamp::midnight(from).milliseconds();
    (distance / (24 * 60 * 60 * 1000)) as f64
}

/// The instant so many seconds after 1970, cut to whole ones, if the calendar has it.
fn instant(seconds: f64) -> Option<Timestamp> {
    let range = Timestamp::MIN.milliseconds()..=Timestamp::MAX.milliseconds();
    let milliseconds = (seconds.trunc() as i64).checked_mul(1000).filter(|time| range.contains(time))?;
    (!seconds.is_nan()).then(|| Timestamp::from_milliseconds(milliseconds))
}

/// 1 at each step at which no line has a value, with the labels the selector says there should be.
fn absent(lines: &[Line], expression: &Expr, grid: Grid) -> Vec<Line> {
    let of = |step| if present(lines, step).next().is_none() { 1.0 } else { ABSENT };
    let matchers: &[Matcher] = match bare(expression) {
        Expr::Vector(selector) | Expr::Matrix(selector, _) => &selector.matchers,
        _ => &[],
    };
    let once = |matcher: &&Matcher| {
        matcher.comparison == Comparison::Equal
            && matchers.iter().filter(|other| other.key == matcher.key).count() == 1
    };
    let equal = matchers.iter().filter(once);
    let labels = equal.filter_map(|matcher| Some((matcher.key.as_deref()?, &*matcher.value))).collect();
    let line = Line { labels, values: (0..grid.count).map(of).collect() };
    if line.is_some() { vec![line] } else { Vec::new() }
}

/// Arguments that must be texts.
fn texts(arguments: &[Expr]) -> Result<Vec<&str>, Error> {
    fn text(argument: &Expr) -> Result<&str, Error> {
        match bare(argument) {
            Expr::Text(text) => Ok(text),
            other => Err(Error::Bad(format!("expected a string, got {}", other.kind()))),
        }
    }
    arguments.iter().map(text).collect()
}

/// Whether a label may be called so. That is known as the query is worked out, so Prometheus tells it as `execution`.
fn check_label(name: &str, role: &str, function: &str) -> Result<(), Error> {
    if is_label(name) {
        return Ok(());
    }
    Err(Error::Execution(format!("invalid {role} label name in {function}(): {name}")))
}

/// Arguments: the label to set, what to, the label that is looked at, the expression its whole value must match.
fn label_replace(mut lines: Vec<Line>, texts: &[&str]) -> Result<Vec<Line>, Error> {
    let [to, replacement, from, expression] = texts else {
        return Err(Error::Bad("label_replace() needs a vector and four strings".to_owned()));
    };
    let regex = RegexBuilder::new(&format!("^(?s:{expression})$")).size_limit(REGEX).build();
    let regex = regex.map_err(|error| {
        Error::Execution(format!("invalid regular expression in label_replace(): {expression}: {error}"))
    })?;
    check_label(to, "destination", "label_replace")?;
    for line in &mut lines {
        let mut made = String::new();
        match regex.captures(line.labels.get(from)) {
            Some(found) => found.expand(replacement, &mut made),
            None => continue,
        }
        line.labels.set(to, &made);
    }
    settle(lines)
}

/// Arguments: the label to set, what stands between, the labels whose values are joined.
fn label_join(mut lines: Vec<Line>, texts: &[&str]) -> Result<Vec<Line>, Error> {
    let [to, between, from @ ..] = texts else {
        return Err(Error::Bad("label_join() needs a vector and at least two strings".to_owned()));
    };
    from.iter().try_for_each(|name| check_label(name, "source", "label_join"))?;
    check_label(to, "destination", "label_join")?;
    for line in &mut lines {
        let joined = from.iter().map(|name| line.labels.get(name)).collect::<Vec<_>>().join(between);
        line.labels.set(to, &joined);
    }
    settle(lines)
}
