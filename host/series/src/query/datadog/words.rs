//! The words of the language: numbers, names, texts in quotes, signs; and what would be right where one does not read.

use winnow::Parser as _;
use winnow::ascii::multispace0;
use winnow::combinator::{alt, opt};
use winnow::error::{ErrMode, ParserError};
use winnow::token::{any, take_while};

/// What would be right where the parser stands.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) String);

impl<'i> ParserError<&'i str> for Wrong {
    type Inner = Self;

    fn from_input(_: &&'i str) -> Self {
        Self("expected a query".to_owned())
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

pub(super) type Parsed<T> = Result<T, ErrMode<Wrong>>;

pub(super) fn expected<T>(what: impl Into<String>) -> Parsed<T> {
    Err(ErrMode::Cut(Wrong(format!("expected {}", what.into()))))
}

pub(super) fn space(input: &mut &str) -> Parsed<()> {
    multispace0.void().parse_next(input)
}

/// Takes a character, spaces before it skipped.
pub(super) fn sign(input: &mut &str, character: char) -> Parsed<()> {
    space(input)?;
    if input.starts_with(character) {
        any.void().parse_next(input)
    } else {
        expected(format!("`{character}`"))
    }
}

/// Whether a character is next, spaces before it skipped; takes it.
pub(super) fn is_sign(input: &mut &str, character: char) -> Parsed<bool> {
    space(input)?;
    opt(character).map(|found: Option<char>| found.is_some()).parse_next(input)
}

/// A number, perhaps with a sign.
pub(super) fn number(input: &mut &str) -> Parsed<f64> {
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

pub(super) fn word<'i>(input: &mut &'i str) -> Parsed<&'i str> {
    space(input)?;
    let first = input.chars().next().is_some_and(|next| next.is_alphabetic() || next == '_');
    if first {
        take_while(1.., is_word).parse_next(input)
    } else {
        expected("a query such as avg:metric{*}, a function or a number")
    }
}

pub(super) fn is_word(next: char) -> bool {
    next.is_alphanumeric() || matches!(next, '_' | '.' | '-' | '/')
}

/// A text in double quotes, meant as it stands; `\` takes the next character as it is. `None` if no quote is next.
pub(super) fn literal(input: &mut &str) -> Parsed<Option<String>> {
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

/// Three hundred years.
pub(super) const MOST_SECONDS: f64 = 1e10;

/// Seconds from `least` to [`MOST_SECONDS`], as milliseconds.
pub(super) fn milliseconds(input: &mut &str, least: f64) -> Parsed<i64> {
    space(input)?;
    let start = *input;
    let seconds = number(input)?;
    if (least..=MOST_SECONDS).contains(&seconds) {
        return Ok((seconds * 1000.0).round() as i64);
    }
    *input = start;
    expected(format!("seconds from {least} to {MOST_SECONDS}"))
}

pub(super) fn whole_number(input: &mut &str) -> Parsed<u32> {
    space(input)?;
    let start = *input;
    let number = number(input)?;
    if number.fract() == 0.0 && (1.0..=1e9).contains(&number) {
        return Ok(number as u32);
    }
    *input = start;
    expected("a whole number from 1 to 1000000000")
}

/// A word, in quotes or not.
pub(super) fn quoted<'i>(input: &mut &'i str) -> Parsed<&'i str> {
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
