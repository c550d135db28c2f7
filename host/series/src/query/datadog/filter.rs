//! What stands in braces: which series, and by which tags they are grouped.

use winnow::Parser as _;
use winnow::combinator::{alt, opt, repeat};
use winnow::error::ErrMode;
use winnow::token::{any, take_while};

use super::words::{Parsed, Wrong, expected, is_sign, literal, sign, space};
use crate::limits::{FILTER_PATTERNS, GROUPED_BY};
use crate::{Filter, TagPattern};

/// Parts that commas or AND join, of parts that OR joins more loosely.
pub(super) fn filter(input: &mut &str) -> Parsed<Filter> {
    let filter = any_of(input)?;
    if filter.patterns() > FILTER_PATTERNS {
        return expected(format!("at most {FILTER_PATTERNS} wildcards and regular expressions before here"));
    }
    Ok(filter)
}

fn any_of(input: &mut &str) -> Parsed<Filter> {
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
        let inner = any_of(input)?;
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

/// The keys by which series are grouped, each once.
pub(super) fn keys(input: &mut &str) -> Parsed<Vec<String>> {
    let mut keys = Vec::new();
    loop {
        space(input)?;
        let key = key(input)?;
        if key.is_empty() {
            return expected("a tag's key");
        }
        if keys.len() == GROUPED_BY {
            return expected(format!("`}}` behind at most {GROUPED_BY} keys"));
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
        if !is_sign(input, ',')? {
            sign(input, '}')?;
            return Ok(keys);
        }
    }
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

/// What a tag is written with, outside quotes.
fn is_tag(next: char) -> bool {
    !next.is_whitespace() && !matches!(next, ',' | '{' | '}' | '(' | ')' | '"' | '!')
}
