//! Datadog's query language, as in `avg:system.cpu.user{env:prod,!host:a*} by {host}.rollup(max, 60)`.
//!
//! Beside it, a value in quotes behind `~` is a regular expression, `host:~"web-\d+"`, and any other text in quotes is
//! meant as it stands: metrics, keys and values of other clients hold spaces, braces and stars, which Datadog's do
//! not. Functions that guess (`anomalies`, `forecast`, `outliers`, `robust_trend`) are not here: those are detectors' work.

mod filter;
mod functions;
mod words;

use winnow::Parser as _;
use winnow::ascii::multispace0;
use winnow::combinator::{opt, preceded};
use winnow::error::ErrMode;
use winnow::token::{any, take_while};

use super::{Aggregate, Expression, Fill, Function, Normalise, Operator, Selection};
use crate::{Filter, SeriesError};
use filter::{filter, keys};
use functions::function;
use words::{Parsed, Wrong, expected, is_sign, is_word, literal, milliseconds, number, sign, space, word};

/// Nested parentheses of one query.
const DEPTH: usize = 64;

/// Bytes of one query.
const LENGTH: usize = 16 * 1024;

/// Reads a query.
///
/// # Errors
/// [`SeriesError::Syntax`] with the line and column where it does not read, and what would be right there.
pub fn parse(query: &str) -> Result<Expression, SeriesError> {
    let parsed = read(query, |input| whole(input, sum, "an operator or the end"))?;
    if parsed.depth() > DEPTH * 2 {
        return Err(wrong(query, 0, format!("at most {} operators and functions on one value", DEPTH * 2)));
    }
    Ok(parsed)
}

/// Reads what stands in a query's braces: `env:prod,!host:a*`.
///
/// # Errors
/// As [`parse`].
pub fn parse_filter(text: &str) -> Result<Filter, SeriesError> {
    read(text, |input| whole(input, filter, "a comma, AND, OR or the end"))
}

fn wrong(text: &str, offset: usize, message: String) -> SeriesError {
    let before = &text[..offset];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    SeriesError::Syntax { line: before.matches('\n').count() + 1, column, message }
}

fn read<T>(text: &str, mut parser: impl FnMut(&mut &str) -> Parsed<T>) -> Result<T, SeriesError> {
    if text.len() > LENGTH {
        return Err(wrong(text, 0, format!("at most {LENGTH} bytes are read, this has {}", text.len())));
    }
    let mut depth = 0_usize;
    for (offset, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return Err(wrong(text, offset, format!("at most {DEPTH} parentheses within each other")));
        }
    }
    let mut input = text;
    parser(&mut input).map_err(|error| {
        let message = match error {
            ErrMode::Backtrack(Wrong(message)) | ErrMode::Cut(Wrong(message)) => message,
            ErrMode::Incomplete(_) => "expected more".to_owned(),
        };
        let found: String = input.chars().take_while(|next| !next.is_whitespace()).take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        wrong(text, text.len() - input.len(), format!("{message}, found {found}"))
    })
}

fn whole<T>(
    input: &mut &str,
    mut parser: impl FnMut(&mut &str) -> Parsed<T>,
    behind: &'static str,
) -> Parsed<T> {
    let parsed = parser(input)?;
    space(input)?;
    if input.is_empty() { Ok(parsed) } else { expected(behind) }
}

fn sum(input: &mut &str) -> Parsed<Expression> {
    chain(input, product, &[('+', Operator::Add), ('-', Operator::Subtract)])
}

fn product(input: &mut &str) -> Parsed<Expression> {
    chain(input, operand, &[('*', Operator::Multiply), ('/', Operator::Divide)])
}

/// Operands with operators of one rank between them, worked out from the left.
fn chain(
    input: &mut &str,
    mut operand: impl FnMut(&mut &str) -> Parsed<Expression>,
    operators: &[(char, Operator)],
) -> Parsed<Expression> {
    let mut left = operand(input)?;
    'next: loop {
        for (character, operator) in operators {
            if is_sign(input, *character)? {
                left = left.with(*operator, operand(input)?);
                continue 'next;
            }
        }
        return Ok(left);
    }
}

fn operand(input: &mut &str) -> Parsed<Expression> {
    let mut negative = false;
    while is_sign(input, '-')? {
        negative = !negative;
    }
    let operand = if is_sign(input, '(')? {
        let inner = sum(input)?;
        sign(input, ')')?;
        suffixes(input, inner)?
    } else if input.starts_with(|next: char| next.is_ascii_digit() || next == '.') {
        Expression::Number(number(input)?)
    } else {
        named(input)?
    };
    Ok(match operand {
        Expression::Number(number) if negative => Expression::Number(-number),
        other if negative => Expression::Number(-1.0).with(Operator::Multiply, other),
        other => other,
    })
}

/// A selection, or a function of something.
fn named(input: &mut &str) -> Parsed<Expression> {
    space(input)?;
    let start = *input;
    if let Some(metric) = literal(input)? {
        return matching(input, Selection::new(metric));
    }
    let name = word(input)?;
    if input.starts_with('(') {
        return function(input, name, start);
    }
    let selection = if input.starts_with(':') {
        let Some(over_series) = aggregate(name) else {
            *input = start;
            return expected("one of avg, sum, min, max, count, last, p50, p75, p90, p95, p99");
        };
        any.void().parse_next(input)?;
        Selection { over_series, ..Selection::new(metric(input)?) }
    } else {
        Selection::new(name)
    };
    matching(input, selection)
}

/// A metric behind its aggregate: in quotes, or a word in which colons may stand, as in Prometheus' recording rules.
fn metric(input: &mut &str) -> Parsed<String> {
    space(input)?;
    if let Some(metric) = literal(input)? {
        return Ok(metric);
    }
    let mut metric = word(input)?.to_owned();
    while input.strip_prefix(':').is_some_and(|rest| rest.starts_with(is_word)) {
        metric.push_str((any, take_while(1.., is_word)).take().parse_next(input)?);
    }
    Ok(metric)
}

/// What stands behind a metric: `{env:prod} by {host}` and suffixes.
fn matching(input: &mut &str, selection: Selection) -> Parsed<Expression> {
    sign(input, '{')?;
    let selection = selection.matching(filter(input)?);
    sign(input, '}')?;
    let by = opt(preceded((multispace0, "by", multispace0), '{')).parse_next(input)?;
    let selection = if by.is_some() { Selection { by: keys(input)?, ..selection } } else { selection };
    suffixes(input, Expression::Select(selection))
}

fn aggregate(name: &str) -> Option<Aggregate> {
    Some(match name {
        "avg" => Aggregate::Average,
        "sum" => Aggregate::Sum,
        "min" => Aggregate::Minimum,
        "max" => Aggregate::Maximum,
        "count" => Aggregate::Count,
        "last" => Aggregate::Last,
        _ => {
            let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
            (0.0..=100.0).contains(&percent).then_some(Aggregate::Percentile(percent))?
        }
    })
}

/// `.rollup(max, 60)`, `.fill(zero)`, `.as_count()`, `.as_rate(60)`.
fn suffixes(input: &mut &str, mut expression: Expression) -> Parsed<Expression> {
    loop {
        let start = *input;
        if !is_sign(input, '.')? {
            return Ok(expression);
        }
        let name = word(input)?;
        sign(input, '(')?;
        expression = match (name, expression) {
            ("rollup", Expression::Select(selection)) => Expression::Select(rollup(input, selection)?),
            ("as_count", Expression::Select(selection)) => {
                Expression::Select(normalised(input, selection, Normalise::Count)?)
            }
            ("as_rate", Expression::Select(selection)) => {
                Expression::Select(normalised(input, selection, Normalise::Rate)?)
            }
            ("fill", expression) => match fill(input)? {
                Some(fill) => expression.apply(fill),
                None => expression,
            },
            ("rollup" | "as_count" | "as_rate", _) => {
                *input = start;
                return expected(
                    "an operator or the end: .rollup, .as_count and .as_rate stand right behind {…}",
                );
            }
            _ => {
                *input = start;
                return expected("one of .rollup, .fill, .as_count, .as_rate");
            }
        };
        sign(input, ')')?;
    }
}

/// Turned, by the seconds each sample is of where they are said.
fn normalised(input: &mut &str, mut selection: Selection, normalise: Normalise) -> Parsed<Selection> {
    space(input)?;
    selection.normalise = Some(normalise);
    selection.sampled = if input.starts_with(')') { None } else { Some(milliseconds(input, 1.0)?) };
    Ok(selection)
}

fn rollup(input: &mut &str, mut selection: Selection) -> Parsed<Selection> {
    space(input)?;
    let start = *input;
    if !input.starts_with(|next: char| next.is_ascii_digit()) {
        selection.over_time = aggregate(word(input)?);
        if selection.over_time.is_none() {
            *input = start;
            return expected("one of avg, sum, min, max, count, last, p50 to p99");
        }
        if !is_sign(input, ',')? {
            return Ok(selection);
        }
    }
    selection.step = Some(milliseconds(input, 1.0)?);
    Ok(selection)
}

/// For how long `last` and `linear` fill where nothing is said, in milliseconds: Datadog's five minutes.
const FILL_LONGEST: i64 = 300_000;

fn fill(input: &mut &str) -> Parsed<Option<Function>> {
    space(input)?;
    let start = *input;
    let fill = match word(input)? {
        "null" => None,
        "zero" | "0" => Some(Fill::Zero),
        "last" => Some(Fill::Last),
        "linear" => Some(Fill::Linear),
        _ => {
            *input = start;
            return expected("one of null, zero, last, linear");
        }
    };
    let longest = match fill {
        _ if is_sign(input, ',')? => Some(milliseconds(input, 1.0)?),
        Some(Fill::Last | Fill::Linear) => Some(FILL_LONGEST),
        Some(Fill::Zero) | None => None,
    };
    Ok(fill.map(|fill| Function::Fill(fill, longest)))
}

#[cfg(test)]
mod tests;
