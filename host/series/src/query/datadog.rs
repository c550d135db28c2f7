//! Datadog's query language, as in `avg:system.cpu.user{env:prod,!host:a*} by {host}.rollup(max, 60)`.
//!
//! Beside it, a value in quotes behind `~` is a regular expression, `host:~"web-\d+"`, and any other text in quotes is
//! meant as it stands: metrics, keys and values of other clients hold spaces, braces and stars, which Datadog's do
//! not. Functions that guess (`anomalies`, `forecast`, `outliers`, `robust_trend`) are not here: those are detectors' work.

use winnow::Parser as _;
use winnow::ascii::multispace0;
use winnow::combinator::{alt, opt, preceded, repeat};
use winnow::error::{ErrMode, ParserError};
use winnow::token::{any, take_while};

use super::{Aggregate, Expression, Fill, Function, Normalise, Operator, Rank, Selection};
use crate::{Filter, SeriesError, TagPattern};

/// Nested parentheses of one query.
const DEPTH: usize = 64;

/// Bytes of one query.
const LENGTH: usize = 16 * 1024;

/// What would be right where the parser stands.
#[derive(Debug)]
struct Wrong(String);

impl<'i> ParserError<&'i str> for Wrong {
    type Inner = Self;

    fn from_input(_: &&'i str) -> Self {
        Self("expected a query".to_owned())
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

type Parsed<T> = Result<T, ErrMode<Wrong>>;

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

fn expected<T>(what: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(Wrong(format!("expected {}", what.into()))))
}

fn space(input: &mut &str) -> Parsed<()> {
    multispace0.void().parse_next(input)
}

/// Takes a character, spaces before it skipped.
fn sign(input: &mut &str, character: char) -> Parsed<()> {
    space(input)?;
    if input.starts_with(character) {
        any.void().parse_next(input)
    } else {
        expected(format!("`{character}`"))
    }
}

/// Whether a character is next, spaces before it skipped; takes it.
fn is_sign(input: &mut &str, character: char) -> Parsed<bool> {
    space(input)?;
    opt(character).map(|found: Option<char>| found.is_some()).parse_next(input)
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

/// A number, perhaps with a sign.
fn number(input: &mut &str) -> Parsed<f64> {
    space(input)?;
    let start = *input;
    let digits = take_while(0.., |next: char| next.is_ascii_digit() || next == '.');
    let exponent =
        (alt(('e', 'E')), opt(alt(('+', '-'))), take_while(1.., |next: char| next.is_ascii_digit()));
    let text = (opt(alt(('+', '-'))), digits, opt(exponent)).take().parse_next(input)?;
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => {
            *input = start;
            expected("a number")
        }
    }
}

fn word<'i>(input: &mut &'i str) -> Parsed<&'i str> {
    space(input)?;
    let first = input.chars().next().is_some_and(|next| next.is_alphabetic() || next == '_');
    if first {
        take_while(1.., is_word).parse_next(input)
    } else {
        expected("a query such as avg:metric{*}, a function or a number")
    }
}

fn is_word(next: char) -> bool {
    next.is_alphanumeric() || matches!(next, '_' | '.' | '-' | '/')
}

/// A text in double quotes, meant as it stands; `\` takes the next character as it is. `None` if no quote is next.
fn literal(input: &mut &str) -> Parsed<Option<String>> {
    if !input.starts_with('"') {
        return Ok(None);
    }
    let mut text = String::new();
    let mut rest = input.char_indices().skip(1);
    while let Some((place, next)) = rest.next() {
        match next {
            '"' => {
                *input = &input[place + 1..];
                return Ok(Some(text));
            }
            '\\' => text.extend(rest.next().map(|(_, escaped)| escaped)),
            _ => text.push(next),
        }
    }
    expected("`\"` at the end of what begins with one")
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

fn keys(input: &mut &str) -> Parsed<Vec<String>> {
    let mut keys = Vec::new();
    loop {
        space(input)?;
        let key = key(input)?;
        if key.is_empty() {
            return expected("a tag's key");
        }
        keys.push(key);
        if !is_sign(input, ',')? {
            sign(input, '}')?;
            return Ok(keys);
        }
    }
}

/// A tag's key, in quotes or not.
fn key(input: &mut &str) -> Parsed<String> {
    if let Some(key) = literal(input)? {
        return Ok(key);
    }
    let key: &str = take_while(0.., |next: char| is_tag(next) && next != ':').parse_next(input)?;
    Ok(key.to_owned())
}

/// A tag's value: in quotes as it stands, else a pattern in which `*` is any text.
fn value(input: &mut &str) -> Parsed<TagPattern> {
    Ok(match literal(input)? {
        Some(value) => TagPattern::Exact(value),
        None => TagPattern::wildcard(take_while(0.., is_tag).parse_next(input)?),
    })
}

/// What a tag is written with, outside quotes.
fn is_tag(next: char) -> bool {
    !next.is_whitespace() && !matches!(next, ',' | '{' | '}' | '(' | ')' | '"' | '!')
}

/// A word in capitals or not, with a space, a parenthesis or the end behind it.
fn is_keyword(input: &mut &str, keyword: &str) -> Parsed<bool> {
    space(input)?;
    let Some((head, rest)) = input.split_at_checked(keyword.len()) else { return Ok(false) };
    let ends = rest.chars().next().is_none_or(|next| !is_tag(next));
    let is = head.eq_ignore_ascii_case(keyword) && ends;
    if is {
        *input = rest;
    }
    Ok(is)
}

/// Parts that commas or AND join, of parts that OR joins more loosely.
fn filter(input: &mut &str) -> Parsed<Filter> {
    let mut any_of = vec![all_of(input)?];
    while is_keyword(input, "OR")? {
        any_of.push(all_of(input)?);
    }
    Ok(if any_of.len() == 1 { any_of.remove(0) } else { Filter::Or(any_of) })
}

fn all_of(input: &mut &str) -> Parsed<Filter> {
    let mut filters = vec![one(input)?];
    while is_sign(input, ',')? || is_keyword(input, "AND")? {
        filters.push(one(input)?);
    }
    filters.retain(|filter| *filter != Filter::All);
    Ok(match filters.len() {
        0 => Filter::All,
        1 => filters.remove(0),
        _ => Filter::And(filters),
    })
}

fn one(input: &mut &str) -> Parsed<Filter> {
    let mut negative = false;
    while is_sign(input, '!')? || is_keyword(input, "NOT")? {
        negative = !negative;
    }
    let filter = if is_sign(input, '(')? {
        let inner = filter(input)?;
        sign(input, ')')?;
        inner
    } else {
        tag(input)?
    };
    Ok(if negative { Filter::Not(Box::new(filter)) } else { filter })
}

fn tag(input: &mut &str) -> Parsed<Filter> {
    space(input)?;
    let star = input.starts_with('*');
    let key = key(input)?;
    if key.is_empty() {
        return expected("a tag such as env:prod, or *");
    }
    if opt(':').parse_next(input)?.is_some() {
        let pattern = if input.starts_with("~\"") { regex(input)? } else { value(input)? };
        return Ok(Filter::Tag(key, pattern));
    }
    if star && key == "*" {
        return Ok(Filter::All);
    }
    let negative = is_keyword(input, "NOT")?;
    if is_keyword(input, "IN")? {
        let any_of = Filter::Or(values(input, &key)?);
        return Ok(if negative { Filter::Not(Box::new(any_of)) } else { any_of });
    }
    if negative {
        return expected("IN");
    }
    Ok(Filter::Tag(key, TagPattern::Exact(String::new())))
}

fn values(input: &mut &str, key: &str) -> Parsed<Vec<Filter>> {
    let mut values = Vec::new();
    sign(input, '(')?;
    loop {
        space(input)?;
        if !input.starts_with(|next| next == '"' || is_tag(next)) {
            return expected("a value");
        }
        values.push(Filter::Tag(key.to_owned(), value(input)?));
        if !is_sign(input, ',')? {
            sign(input, ')')?;
            return Ok(values);
        }
    }
}

/// `~"…"`; a quote in it is `\"`.
fn regex(input: &mut &str) -> Parsed<TagPattern> {
    let start = *input;
    let _: &str = "~\"".parse_next(input)?;
    let piece = alt((
        "\\\"".value("\""),
        ('\\', any).take(),
        take_while(1.., |next: char| next != '"' && next != '\\'),
    ));
    let expression: String = repeat(0.., piece)
        .fold(String::new, |mut text, piece: &str| {
            text.push_str(piece);
            text
        })
        .parse_next(input)?;
    if !input.starts_with('"') {
        return expected("`\"` at the end of the regular expression");
    }
    any.void().parse_next(input)?;
    TagPattern::regex(&expression).map_err(|error| {
        *input = start;
        let last = error.to_string().lines().last().unwrap_or_default().to_owned();
        ErrMode::Cut(Wrong(format!("expected a regular expression ({last})")))
    })
}

/// `.rollup(max, 60)`, `.fill(zero)`, `.as_count()`, `.as_rate()`.
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
                Expression::Select(Selection { normalise: Some(Normalise::Count), ..selection })
            }
            ("as_rate", Expression::Select(selection)) => {
                Expression::Select(Selection { normalise: Some(Normalise::Rate), ..selection })
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

/// Seconds, at least `least`, as milliseconds.
fn milliseconds(input: &mut &str, least: f64) -> Parsed<i64> {
    space(input)?;
    let start = *input;
    let seconds = number(input)?;
    if (least..=1e10).contains(&seconds) {
        return Ok((seconds * 1000.0).round() as i64);
    }
    *input = start;
    expected(format!("seconds, at least {least}"))
}

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
    let most = if is_sign(input, ',')? { Some(whole_number(input)?) } else { None };
    Ok(fill.map(|fill| Function::Fill(fill, most)))
}

fn whole_number(input: &mut &str) -> Parsed<u32> {
    space(input)?;
    let start = *input;
    let number = number(input)?;
    if number.fract() == 0.0 && (1.0..=1e9).contains(&number) {
        return Ok(number as u32);
    }
    *input = start;
    expected("a whole number, at least 1")
}

/// A word, in quotes or not.
fn quoted<'i>(input: &mut &'i str) -> Parsed<&'i str> {
    space(input)?;
    for quote in ['\'', '"'] {
        if input.starts_with(quote) {
            any.void().parse_next(input)?;
            let text = take_while(0.., |next: char| next != quote).parse_next(input)?;
            sign(input, quote)?;
            return Ok(text);
        }
    }
    take_while(0.., |next: char| next.is_alphanumeric() || next == '_').parse_next(input)
}

const FUNCTIONS: &str = "one of abs, log2, log10, cumsum, integral, diff, monotonic_diff, dt, derivative, per_second, \
    per_minute, per_hour, clamp_min, clamp_max, cutoff_min, cutoff_max, default_zero, count_nonzero, count_not_null, \
    top, top5, top10, bottom5, bottom10, ewma_3, ewma_5, ewma_7, ewma_10, ewma_20, moving_rollup, timeshift, \
    hour_before, day_before, week_before, month_before, exclude_null";

const HOUR: i64 = 3_600_000;

fn function<'i>(input: &mut &'i str, name: &str, start: &'i str) -> Parsed<Expression> {
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
        "clamp_min" | "clamp_max" | "cutoff_min" | "cutoff_max" | "timeshift" | "moving_rollup" | "top"
        | "exclude_null" => {
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
        "timeshift" => Function::TimeShift(milliseconds(input, -1e10)?),
        "exclude_null" => {
            quoted(input)?;
            Function::ExcludeNull
        }
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
                        return expected("one of 'mean', 'min', 'max', 'last', 'area', 'l2norm'");
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

#[cfg(test)]
#[path = "datadog_tests.rs"]
mod tests;
