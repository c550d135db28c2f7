//! What makes a series: a metric and tags.

use std::fmt;

use bellwether_kernel::FieldError;

use crate::SeriesError;
use crate::limits::Limits;

/// A series, counted from 1 on its store; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesNumber(pub u32);

impl fmt::Display for SeriesNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tag's key and value: `env:prod` is `env` and `prod`; `canary` is `canary` and nothing. The first colon separates.
#[must_use]
pub fn split_tag(tag: &str) -> (&str, &str) {
    tag.split_once(':').unwrap_or((tag, ""))
}

fn has_control(text: &str) -> bool {
    // Nearly all texts are ASCII, and bytes are looked at many at a time.
    if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

/// Checks a metric's name.
pub(crate) fn check_metric(
    metric: &str,
    limits: &Limits,
    field: impl Fn() -> String,
) -> Result<(), SeriesError> {
    let fits = (1..=limits.name_bytes).contains(&metric.len());
    if fits && !has_control(metric) {
        return Ok(());
    }
    let expected = format!("1 to {} bytes without control characters", limits.name_bytes);
    Err(FieldError::new(field(), metric, expected).into())
}

/// Puts `tags` into the order of identity: sorted, each once. A tag with an empty value is written without its colon.
pub(crate) fn canonical<'a>(
    tags: &[&'a str],
    limits: &Limits,
    field: impl Fn(usize) -> String,
    into: &mut Vec<&'a str>,
) -> Result<(), SeriesError> {
    into.clear();
    if tags.len() > limits.tags {
        let expected = format!("at most {} tags", limits.tags);
        return Err(FieldError::new(field(limits.tags), tags[limits.tags], expected).into());
    }
    for (at, &tag) in tags.iter().enumerate() {
        let no_key = tag.is_empty() || tag.starts_with(':');
        if no_key || tag.len() > limits.tag_bytes || has_control(tag) {
            let expected =
                format!("key:value or a word, at most {} bytes, no control characters", limits.tag_bytes);
            return Err(FieldError::new(field(at), tag, expected).into());
        }
        into.push(match tag.strip_suffix(':') {
            Some(key) if !key.contains(':') => key,
            _ => tag,
        });
    }
    if !into.is_sorted_by(|a, b| a < b) {
        into.sort_unstable();
        into.dedup();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_of(tags: &[&str]) -> Result<Vec<String>, String> {
        let mut sorted = Vec::new();
        let field = |at| format!("tags[{at}]");
        match canonical(tags, &Limits { tags: 4, tag_bytes: 8, ..Limits::default() }, field, &mut sorted) {
            Ok(()) => Ok(sorted.into_iter().map(str::to_owned).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_same_tags_in_any_order_are_the_same_series() {
        for tags in [&["b:2", "a:1"][..], &["a:1", "b:2"], &["b:2", "a:1", "b:2"]] {
            assert_eq!(canonical_of(tags).unwrap(), ["a:1", "b:2"]);
        }
        assert_eq!(canonical_of(&["word:", "a:b:c"]).unwrap(), ["a:b:c", "word"]);
        assert_eq!(canonical_of(&["a:1", "a:2"]).unwrap(), ["a:1", "a:2"], "a key may have several values");
    }

    #[test]
    fn a_wrong_tag_is_named_with_its_place() {
        for (tags, place) in [
            (&["a:1", ":x"][..], "tags[1]"),
            (&[""], "tags[0]"),
            (&["a:\n"], "tags[0]"),
            (&["123456789"], "tags[0]"),
            (&["a", "b", "c", "d", "e"], "tags[4]"),
        ] {
            assert!(canonical_of(tags).unwrap_err().starts_with(place), "{tags:?}");
        }
    }
}
