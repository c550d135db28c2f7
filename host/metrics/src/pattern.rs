//! Patterns over metric names: what a watch looks at, and the scope of the two metric privileges.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pattern over a whole name: `*` stands for any run of characters, even none, `\` takes the next character
/// literally, everything else stands for itself. Letter case counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamePattern {
    /// The literal texts around the stars: one more than there are stars.
    pieces: Vec<String>,
}

/// The text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Nothing there.
    #[error("a pattern has at least one character; * stands for every name")]
    Empty,
    /// `\` at the end.
    #[error("\\ needs a character behind it that it takes literally")]
    Escape,
}

impl NamePattern {
    /// The pattern every name matches.
    #[must_use]
    pub fn any() -> Self {
        Self { pieces: vec![String::new(), String::new()] }
    }

    /// Whether every name matches.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.iter().all(String::is_empty)
    }

    /// Whether the whole of `name` matches. Takes time in proportion to the name's length times the pattern's at
    /// worst.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let [first, middle @ .., last] = &self.pieces[..] else {
            return self.pieces[0] == name;
        };
        let Some(mut rest) =
            name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()))
        else {
            return false;
        };
        // The first place a piece is found leaves the most for those behind it.
        for piece in middle {
            let Some((_, behind)) = rest.split_once(piece.as_str()) else { return false };
            rest = behind;
        }
        true
    }
}

impl FromStr for NamePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        let mut pieces = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '*' => {
                    pieces.push(String::new());
                    continue;
                }
                '\\' => characters.next().ok_or(InvalidPattern::Escape)?,
                other => other,
            };
            pieces.last_mut().expect("there is always a piece").push(literal);
        }
        Ok(Self { pieces })
    }
}

/// The pattern's text; a comma is escaped, since commas separate patterns.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 {
                f.write_str("*")?;
            }
            for character in piece.chars() {
                if matches!(character, '*' | '\\' | ',') {
                    f.write_str("\\")?;
                }
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for NamePattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Cuts `text` at its commas, those behind a `\` left alone.
#[must_use]
pub fn split_at_commas(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut escaped) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[begin..index]);
                begin = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, matches) in [
            ("*", "", true),
            ("*", "anything at all", true),
            ("web.*", "web.logins", true),
            ("web.*", "web.", true),
            ("web.*", "web", false),
            ("web.*", "Web.logins", false),
            ("*.count", "a.b.count", true),
            ("*.count", "a.counts", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("logins", "logins", true),
            ("logins", "logins2", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
        ] {
            assert_eq!(pattern.parse::<NamePattern>().unwrap().matches(name), matches, "{pattern} on {name}");
        }
        assert_eq!("".parse::<NamePattern>(), Err(InvalidPattern::Empty));
        assert_eq!(r"a\".parse::<NamePattern>(), Err(InvalidPattern::Escape));
    }

    /// What a pattern means, one character at a time.
    fn oracle(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => oracle(rest, name) || (!name.is_empty() && oracle(pattern, &name[1..])),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && oracle(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_everything(pattern in "[ab*]{1,7}", name in "[ab]{0,9}") {
            let (p, n): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(pattern.parse::<NamePattern>().unwrap().matches(&name), oracle(&p, &n));
        }

        #[test]
        fn a_pattern_is_read_back_as_written(names in prop::collection::vec("[^\\x00]{1,12}", 1..4)) {
            let patterns: Vec<NamePattern> = names.iter().filter_map(|name| name.parse().ok()).collect();
            let text = patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            if !patterns.is_empty() {
                let read: Result<Vec<NamePattern>, _> = split_at_commas(&text).into_iter().map(str::parse).collect();
                prop_assert_eq!(read, Ok(patterns));
            }
        }
    }
}
