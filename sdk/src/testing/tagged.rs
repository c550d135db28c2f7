//! Tagged series in memory. What is written is read back; queries are answered with what the test says, since the
//! language is the host's.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use crate::Timestamp;
use crate::series::{
    Comparison, Counted, FieldError, Line, Matcher, Metadata, Question, Selection, SeriesError,
    SeriesIdentity, SeriesSamples, SyntaxError, TaggedMetric, TaggedSamples,
};

#[derive(Debug, Default)]
struct Metric {
    metadata: Metadata,
    series: BTreeMap<Vec<String>, BTreeMap<Timestamp, f64>>,
}

#[derive(Debug, Default)]
pub(super) struct Series {
    metrics: BTreeMap<String, Metric>,
    answers: BTreeMap<String, Vec<Line>>,
}

impl Series {
    pub(super) fn answer(&mut self, query: &str, lines: Vec<Line>) {
        self.answers.insert(query.to_owned(), lines);
    }

    pub(super) fn query(&self, question: &Question) -> Result<Vec<Line>, SeriesError> {
        self.answers.get(&question.query).cloned().ok_or_else(|| {
            SeriesError::Other(format!(
                "the test has no answer to {:?}; give one with answer_query",
                question.query
            ))
        })
    }

    pub(super) fn write(&mut self, shared: &[&str], series: Vec<TaggedSamples>) -> Result<u64, SeriesError> {
        for (at, entry) in series.iter().enumerate() {
            let wrong = |field: &str, value: String, expected: &str| {
                let (field, expected) = (format!("series[{at}]{field}"), expected.to_owned());
                Err(SeriesError::Invalid(FieldError { field, value, expected }))
            };
            if !(1..=200).contains(&entry.metric.len()) || entry.metric.contains(char::is_control) {
                return wrong(".metric", entry.metric.clone(), "1 to 200 bytes without control characters");
            }
            let tags = entry.tags.iter().map(String::as_str).chain(shared.iter().copied());
            for (number, tag) in tags.enumerate() {
                if tag.is_empty() || tag.starts_with(':') || tag.len() > 400 || tag.contains(char::is_control)
                {
                    let expected = "key:value or a word, at most 400 bytes, no control characters";
                    return wrong(&format!(".tags[{number}]"), tag.to_owned(), expected);
                }
            }
            if entry.times.len() != entry.values.len() {
                let expected = format!("as many as times, {}", entry.times.len());
                return wrong(".values", entry.values.len().to_string(), &expected);
            }
            if entry.times.is_empty() {
                return wrong("", String::new(), "at least one sample");
            }
        }
        let mut written = 0;
        for entry in series {
            let mut tags: Vec<String> = entry.tags;
            tags.extend(shared.iter().map(|tag| (*tag).to_owned()));
            tags.iter_mut().for_each(|tag| {
                if tag.find(':') == Some(tag.len() - 1) {
                    tag.pop();
                }
            });
            tags.sort();
            tags.dedup();
            written += entry.times.len() as u64;
            let samples = self.metrics.entry(entry.metric).or_default().series.entry(tags).or_default();
            samples.extend(entry.times.into_iter().zip(entry.values));
        }
        Ok(written)
    }

    pub(super) fn describe(&mut self, metric: &str, metadata: &Metadata) {
        self.metrics.entry(metric.to_owned()).or_default().metadata = metadata.clone();
    }

    pub(super) fn delete(&mut self, metric: &str, filter: &str) -> Result<u64, SeriesError> {
        let filter = Filter::read(filter)?;
        let found = self.metrics.get_mut(metric).ok_or_else(|| unknown(metric))?;
        let before = found.series.len();
        found.series.retain(|tags, _| !filter.matches(tags));
        Ok((before - found.series.len()) as u64)
    }

    pub(super) fn samples(
        &self,
        metric: &str,
        filter: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<SeriesSamples>, SeriesError> {
        let filter = Filter::read(filter)?;
        if end < start {
            let (field, value) = ("end".to_owned(), end.to_string());
            let expected = format!("an instant not before start, {start}");
            return Err(SeriesError::Invalid(FieldError { field, value, expected }));
        }
        let series = self.metrics.get(metric).into_iter().flat_map(|metric| &metric.series);
        let within = |(tags, samples): (&Vec<String>, &BTreeMap<Timestamp, f64>)| SeriesSamples {
            tags: tags.clone(),
            samples: samples.range(start..=end).map(|(time, value)| (*time, *value)).collect(),
        };
        let found = series.filter(|(tags, _)| filter.matches(tags)).map(within);
        Ok(found.filter(|series| !series.samples.is_empty()).collect())
    }

    pub(super) fn select(
        &self,
        matchers: &[Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: u32,
    ) -> Result<Vec<Selection>, SeriesError> {
        let matchers = Matching::read(matchers)?;
        let (mut found, mut left) = (Vec::new(), limit as usize);
        for (metric, tags, samples) in self.matching(&matchers) {
            let (times, values): (Vec<i64>, Vec<f64>) =
                samples.range(start..=end).map(|(time, value)| (time.milliseconds(), *value)).unzip();
            left = left
                .checked_sub(times.len())
                .ok_or_else(|| SeriesError::Limit(format!("at most {limit} samples in one answer")))?;
            if !times.is_empty() {
                let identity = SeriesIdentity { metric: metric.clone(), tags: tags.clone() };
                found.push(Selection { identity, times, values });
            }
        }
        Ok(found)
    }

    pub(super) fn find(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<SeriesIdentity>, SeriesError> {
        let (matchers, limit) = (Matching::read(matchers)?, identities(limit)?);
        let found = self.matching(&matchers).take(limit);
        let identity =
            |(metric, tags, _): Stored<'_>| SeriesIdentity { metric: metric.clone(), tags: tags.clone() };
        Ok(found.map(identity).collect())
    }

    pub(super) fn find_keys(&self, matchers: &[Matcher], limit: u32) -> Result<Vec<String>, SeriesError> {
        let (matchers, limit) = (Matching::read(matchers)?, identities(limit)?);
        let keys: BTreeSet<&str> =
            self.matching(&matchers).flat_map(|(_, tags, _)| tags.iter().map(|tag| split(tag).0)).collect();
        Ok(keys.into_iter().take(limit).map(str::to_owned).collect())
    }

    pub(super) fn find_values(
        &self,
        matchers: &[Matcher],
        key: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, SeriesError> {
        let (matchers, limit) = (Matching::read(matchers)?, identities(limit)?);
        let mut values: BTreeSet<&str> = BTreeSet::new();
        for (metric, tags, _) in self.matching(&matchers) {
            match key {
                None => drop(values.insert(metric)),
                Some(key) => {
                    let own = tags.iter().map(|tag| split(tag)).filter(|(own, _)| *own == key);
                    values.extend(own.map(|(_, value)| value));
                }
            }
        }
        Ok(values.into_iter().take(limit).map(str::to_owned).collect())
    }

    fn matching(&self, matchers: &[Matching<'_>]) -> impl Iterator<Item = Stored<'_>> {
        let all = self.metrics.iter().flat_map(|(name, metric)| {
            metric.series.iter().map(move |(tags, samples)| (name, tags, samples))
        });
        all.filter(|(metric, tags, _)| matchers.iter().all(|matcher| matcher.means(metric, tags)))
    }

    pub(super) fn list(
        &self,
        part: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<TaggedMetric>, SeriesError> {
        let limit = page(limit)?;
        let part = part.unwrap_or_default().to_lowercase();
        let metrics = self.metrics.iter().filter(|(name, metric)| {
            !metric.series.is_empty()
                && name.to_lowercase().contains(&part)
                && after.is_none_or(|after| name.as_str() > after)
        });
        Ok(metrics.take(limit).map(|(name, metric)| tagged(name, metric)).collect())
    }

    pub(super) fn get(&self, metric: &str) -> Result<TaggedMetric, SeriesError> {
        self.metrics.get(metric).map(|found| tagged(metric, found)).ok_or_else(|| unknown(metric))
    }

    pub(super) fn tag_keys(&self, metric: &str) -> Result<Vec<Counted>, SeriesError> {
        self.count(metric, |tag| Some(split(tag).0.to_owned()))
    }

    pub(super) fn tag_values(
        &self,
        metric: &str,
        key: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Counted>, SeriesError> {
        let limit = page(limit)?;
        let value = |tag: &str| {
            let (own, value) = split(tag);
            (own == key && after.is_none_or(|after| value > after)).then(|| value.to_owned())
        };
        let mut values = self.count(metric, value)?;
        values.truncate(limit);
        Ok(values)
    }

    /// In how many series each text that `of` makes of a tag occurs.
    fn count(&self, metric: &str, of: impl Fn(&str) -> Option<String>) -> Result<Vec<Counted>, SeriesError> {
        let found = self.metrics.get(metric).ok_or_else(|| unknown(metric))?;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for tags in found.series.keys() {
            let mut texts: Vec<String> = tags.iter().filter_map(|tag| of(tag)).collect();
            texts.dedup();
            texts.into_iter().for_each(|text| *counts.entry(text).or_default() += 1);
        }
        Ok(counts.into_iter().map(|(text, series)| Counted { text, series }).collect())
    }
}

fn tagged(name: &str, metric: &Metric) -> TaggedMetric {
    let (name, series) = (name.to_owned(), metric.series.len() as u64);
    TaggedMetric { name, series, metadata: metric.metadata.clone() }
}

fn unknown(metric: &str) -> SeriesError {
    SeriesError::UnknownMetric(metric.to_owned())
}

fn page(limit: u32) -> Result<usize, SeriesError> {
    if (1..=1000).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(wrong("limit".to_owned(), limit.to_string(), "1 to 1,000"))
}

/// How many series, keys or values an answer may have.
fn identities(limit: u32) -> Result<usize, SeriesError> {
    if (1..=20_000).contains(&limit) {
        return Ok(limit as usize);
    }
    Err(wrong("limit".to_owned(), limit.to_string(), "1 to 20,000"))
}

fn wrong(field: String, value: String, expected: &str) -> SeriesError {
    SeriesError::Invalid(FieldError { field, value, expected: expected.to_owned() })
}

/// A metric, the tags of one of its series, and its samples.
type Stored<'a> = (&'a String, &'a Vec<String>, &'a BTreeMap<Timestamp, f64>);

/// A matcher that was read.
struct Matching<'a> {
    key: Option<&'a str>,
    negative: bool,
    value: &'a str,
    regex: Option<Regex>,
}

impl<'a> Matching<'a> {
    fn read(matchers: &'a [Matcher]) -> Result<Vec<Self>, SeriesError> {
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
                let expected = format!("a regular expression: {error}");
                wrong(format!("matchers[{at}].value"), value.to_owned(), &expected)
            })?;
            Ok(Self { key: matcher.key.as_deref(), negative, value, regex })
        };
        matchers.iter().enumerate().map(each).collect()
    }

    fn means(&self, metric: &str, tags: &[String]) -> bool {
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

fn split(tag: &str) -> (&str, &str) {
    tag.split_once(':').unwrap_or((tag, ""))
}

/// Tags with `*` and `!`, commas between; the host reads more.
struct Filter(Vec<(bool, String, String)>);

impl Filter {
    fn read(text: &str) -> Result<Self, SeriesError> {
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

    fn matches(&self, tags: &[String]) -> bool {
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
