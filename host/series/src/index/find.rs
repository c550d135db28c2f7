//! Finding series by tags, and what tags there are.

use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use bellwether_kernel::FieldError;
use regex::Regex;
use roaring::RoaringBitmap;

use super::Index;
use crate::SeriesError;
use crate::limits::FILTER_PATTERNS;

/// Which values of a tag's key.
#[derive(Clone, Debug)]
pub enum TagPattern {
    /// Any: the key is there.
    Present,
    /// Just this.
    Exact(String),
    /// `*` stands for any run of characters, everything else for itself.
    Wildcard(String),
    /// One the whole of which the expression matches.
    Regex(Regex),
}

/// Two patterns are equal if they read the same.
impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present, Self::Present) => true,
            (Self::Exact(a), Self::Exact(b)) | (Self::Wildcard(a), Self::Wildcard(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl TagPattern {
    /// A pattern of the whole value by a regular expression; in linear time whatever it is.
    ///
    /// # Errors
    /// If it does not read, or would take too much memory.
    pub fn regex(expression: &str) -> Result<Self, regex::Error> {
        let whole = format!("^(?:{expression})$");
        regex::RegexBuilder::new(&whole).size_limit(1 << 20).build().map(Self::Regex)
    }

    /// A pattern by `text`, in which `*` is a wildcard.
    #[must_use]
    pub fn wildcard(text: &str) -> Self {
        match text {
            "*" => Self::Present,
            _ if text.contains('*') => Self::Wildcard(text.to_owned()),
            _ => Self::Exact(text.to_owned()),
        }
    }

    /// Whether a value matches.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(exact) => value == exact,
            Self::Wildcard(pattern) => matches_wildcard(pattern, value),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

fn matches_wildcard(pattern: &str, value: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(last) = pieces.next_back() else { return pattern == value };
    let Some(mut rest) = value.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    // The first place a piece is found leaves the most for those behind it.
    pieces.all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

/// Which series of a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Filter {
    /// Every one.
    #[default]
    All,
    /// Those with a tag of this key whose value matches. A series with several values of the key has them all.
    Tag(String, TagPattern),
    /// The others.
    Not(Box<Self>),
    /// Those that all find.
    And(Vec<Self>),
    /// Those that any finds.
    Or(Vec<Self>),
}

impl Filter {
    /// Whether it names every value it is about.
    pub(crate) fn is_exact(&self) -> bool {
        match self {
            Self::All | Self::Tag(_, TagPattern::Exact(_)) => true,
            Self::Tag(..) => false,
            Self::Not(filter) => filter.is_exact(),
            Self::And(filters) | Self::Or(filters) => filters.iter().all(Self::is_exact),
        }
    }

    /// How many patterns it has that all values of a tag's key are held against.
    pub(crate) fn patterns(&self) -> usize {
        match self {
            Self::All | Self::Tag(_, TagPattern::Exact(_)) => 0,
            Self::Tag(..) => 1,
            Self::Not(filter) => filter.patterns(),
            Self::And(filters) | Self::Or(filters) => filters.iter().map(Self::patterns).sum(),
        }
    }

    /// Refuses one of more patterns than a filter may have.
    pub(crate) fn check(&self) -> Result<(), SeriesError> {
        let patterns = self.patterns();
        if patterns > FILTER_PATTERNS {
            let expected = format!("at most {FILTER_PATTERNS} wildcards and regular expressions");
            return Err(FieldError::new("filter", patterns, expected).into());
        }
        Ok(())
    }

    /// Those of `all` that are meant, where `tagged` finds those of some that have a tag.
    pub(super) fn within<E>(
        &self,
        all: &RoaringBitmap,
        tagged: &impl Fn(&RoaringBitmap, &str, &TagPattern) -> Result<RoaringBitmap, E>,
    ) -> Result<RoaringBitmap, E> {
        Ok(match self {
            Self::All => all.clone(),
            Self::Tag(key, pattern) => tagged(all, key, pattern)?,
            Self::Not(filter) => all - filter.within(all, tagged)?,
            Self::And(filters) => {
                let mut found = all.clone();
                for filter in filters {
                    found = filter.within(&found, tagged)?;
                }
                found
            }
            Self::Or(filters) => {
                let mut found = RoaringBitmap::new();
                for filter in filters {
                    found |= filter.within(all, tagged)?;
                }
                found
            }
        })
    }

    /// Whether a series with these tags is meant.
    #[must_use]
    pub fn matches(&self, tags: &[&str]) -> bool {
        match self {
            Self::All => true,
            Self::Tag(key, pattern) => tags.iter().any(|tag| {
                let (own, value) = crate::split_tag(tag);
                own == key && pattern.matches(value)
            }),
            Self::Not(filter) => !filter.matches(tags),
            Self::And(filters) => filters.iter().all(|filter| filter.matches(tags)),
            Self::Or(filters) => filters.iter().any(|filter| filter.matches(tags)),
        }
    }
}

impl Index {
    /// The series of a metric that `filter` means; `None` if there is no such metric.
    pub(crate) fn select(&self, metric: &str, filter: &Filter) -> Option<RoaringBitmap> {
        let all = &self.metrics[*self.metric_names.get(metric)? as usize].series;
        let tagged =
            |all: &RoaringBitmap, key: &str, pattern: &TagPattern| Ok(self.tagged(all, key, pattern));
        let Ok::<_, Infallible>(found) = filter.within(all, &tagged);
        Some(found)
    }

    pub(super) fn tagged(&self, all: &RoaringBitmap, key: &str, pattern: &TagPattern) -> RoaringBitmap {
        let Some(values) = self.keys.get(key) else { return RoaringBitmap::new() };
        let set = |tag: &u32| &self.tags[*tag as usize].series;
        let mut found = RoaringBitmap::new();
        match pattern {
            TagPattern::Exact(value) => {
                if let Some(tag) = values.get(value.as_str()) {
                    found = all & set(tag);
                }
            }
            TagPattern::Present => values.values().for_each(|tag| found |= set(tag)),
            TagPattern::Wildcard(wildcard) => {
                let start = wildcard.split('*').next().unwrap_or_default();
                let from = (Bound::Included(start), Bound::Unbounded);
                let range = values.range::<str, _>(from).take_while(|(value, _)| value.starts_with(start));
                range.filter(|(value, _)| pattern.matches(value)).for_each(|(_, tag)| found |= set(tag));
            }
            TagPattern::Regex(regex) => {
                let matching = values.iter().filter(|(value, _)| regex.is_match(value));
                matching.for_each(|(_, tag)| found |= set(tag));
            }
        }
        found &= all;
        found
    }

    /// The metrics that any of these series has, each once.
    pub(crate) fn metrics_of(&self, series: &RoaringBitmap) -> Vec<Arc<str>> {
        let entries = series.iter().filter_map(|number| self.series.get(&number));
        let metrics: RoaringBitmap = entries.map(|entry| entry.metric).collect();
        metrics.into_iter().map(|at| Arc::clone(&self.metrics[at as usize].name)).collect()
    }

    /// The tags that any of these series has, each once.
    pub(crate) fn tags_of(&self, series: &RoaringBitmap) -> impl Iterator<Item = &Arc<str>> {
        let mut tags = RoaringBitmap::new();
        for entry in series.iter().filter_map(|number| self.series.get(&number)) {
            tags.extend(entry.tags.iter().copied());
        }
        tags.into_iter().map(|tag| &self.tags[tag as usize].text)
    }

    /// The metrics with series whose names contain `part`, letter case ignored, behind `after`, in order.
    pub(crate) fn metrics_like<'a>(
        &'a self,
        part: Option<&str>,
        after: Option<&str>,
    ) -> impl Iterator<Item = (Arc<str>, u64)> + 'a {
        let part = part.map(str::to_lowercase);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.metric_names
            .range::<str, _>((from, Bound::Unbounded))
            .filter(move |(name, _)| part.as_ref().is_none_or(|part| name.to_lowercase().contains(part)))
            .map(|(name, at)| (Arc::clone(name), self.metrics[*at as usize].series.len()))
            .filter(|(_, series)| *series > 0)
    }
}
