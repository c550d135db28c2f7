//! What is looked for among tagged series: matchers as the host reads them, and the filters it has most of.

use regex_lite::Regex;

use super::wrong;
use crate::series::{Comparison, Matcher, SeriesError, SyntaxError};

/// Matchers the host takes of one selection, as `host/plugins/src/limits.rs` says.
const MOST_MATCHERS: usize = 100;

/// A matcher that was read.
pub(super) struct Matching<'a> {
    key: Option<&'a str>,
    negative: bool,
    value: &'a str,
    regex: Option<Regex>,
}

impl<'a> Matching<'a> {
    pub(super) fn read(matchers: &'a [Matcher]) -> Result<Vec<Self>, SeriesError> {
        if matchers.len() > MOST_MATCHERS {
            let expected = format!("at most {MOST_MATCHERS}");
            return Err(SeriesError::Invalid(wrong::field("matchers", matchers.len(), expected)));
        }
        let each = |(at, matcher): (usize, &'a Matcher)| {
            let (negative, regex) = match matcher.comparison {
                Comparison::Equal => (false, false),
                Comparison::NotEqual => (true, false),
                Comparison::Matches => (false, true),
                Comparison::NotMatches => (true, true),
            };
            let value = matcher.value.as_str();
            let regex = regex.then(|| Regex::new(&format!("^(?:{value})$"))).transpose();
            let regex = regex.map_err(|error| {
                let expected = format!("a regular expression of moderate size: {error}");
                SeriesError::Invalid(wrong::field(format!("matchers[{at}].value"), value, expected))
            })?;
            Ok(Self { key: matcher.key.as_deref(), negative, value, regex })
        };
        matchers.iter().enumerate().map(each).collect()
    }

    pub(super) fn means(&self, metric: &str, tags: &[String]) -> bool {
        let is = |value: &str| self.regex.as_ref().map_or(value == self.value, |regex| regex.is_match(value));
        let found = match self.key {
            None => is(metric),
            Some(key) => {
                let mut own = tags.iter().map(|tag| split(tag)).filter(|(own, _)| *own == key).peekable();
                if own.peek().is_none() { is("") } else { own.any(|(_, value)| is(value)) }
            }
        };
        found != self.negative
    }
}

pub(super) fn split(tag: &str) -> (&str, &str) {
    tag.split_once(':').unwrap_or((tag, ""))
}

/// Tags with `*` and `!`, commas between; the host reads more.
pub(super) struct Filter(Vec<(bool, String, String)>);

impl Filter {
    pub(super) fn read(text: &str) -> Result<Self, SeriesError> {
        if text.trim() == "*" {
            return Ok(Self(Vec::new()));
        }
        let mut column = 1;
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (negative, tag) = match part.trim().strip_prefix('!') {
                Some(tag) => (true, tag),
                None => (false, part.trim()),
            };
            if tag.is_empty() || tag.contains([' ', '(', ')', '"']) {
                let message = "this host in memory reads tags with * and !, commas between".to_owned();
                return Err(SeriesError::Syntax(SyntaxError { line: 1, column, message }));
            }
            let (key, value) = split(tag);
            parts.push((negative, key.to_owned(), value.to_owned()));
            column += part.chars().count() as u32 + 1;
        }
        Ok(Self(parts))
    }

    pub(super) fn matches(&self, tags: &[String]) -> bool {
        let has = |key: &str, pattern: &str| {
            tags.iter().map(|tag| split(tag)).any(|(own, value)| own == key && like(pattern, value))
        };
        self.0.iter().all(|(negative, key, pattern)| has(key, pattern) != *negative)
    }
}

/// Whether a value matches a pattern in which `*` stands for any run of characters.
fn like(pattern: &str, value: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == value,
        Some((start, rest)) => value.strip_prefix(start).is_some_and(|value| {
            (0..=value.len()).filter(|at| value.is_char_boundary(*at)).any(|at| like(rest, &value[at..]))
        }),
    }
}
