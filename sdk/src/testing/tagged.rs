//! Tagged series in memory. What is written is read back; queries are answered with what the test says, since the
//! language is the host's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::matching::{Filter, Matching, split};
use super::wrong;
use crate::Timestamp;
use crate::series::{
    Counted, Line, Matcher, Metadata, Question, Selection, SeriesError, SeriesIdentity, SeriesSamples,
    TaggedMetric, TaggedSamples,
};

/// The host's own numbers and words, of `host/series`: samples of one write, tags of a series, days samples are kept.
const LARGEST_WRITE: usize = 200_000;
const MOST_TAGS: usize = 64;
const LONGEST_KEPT: u32 = 36_500;

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
        check_samples(&series)?;
        for (at, entry) in series.iter().enumerate() {
            let tags = entry.tags.iter().map(String::as_str).chain(shared.iter().copied());
            check_tags(at, &tags.collect::<Vec<_>>())?;
            check_metric(&entry.metric, &format!("series[{at}].metric"))?;
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

    pub(super) fn describe(&mut self, metric: &str, metadata: &Metadata) -> Result<(), SeriesError> {
        check_metric(metric, "metric")?;
        for (field, text, most) in [
            ("unit", &metadata.unit, 100),
            ("per_unit", &metadata.per_unit, 100),
            ("description", &metadata.description, 1000),
            ("short_name", &metadata.short_name, 100),
            ("integration", &metadata.integration, 100),
        ] {
            if let Some(text) = text.as_ref().filter(|text| text.len() > most) {
                return Err(invalid(field, text, format!("at most {most} bytes")));
            }
        }
        if let Some(days) = metadata.keep_days.filter(|days| !(1..=LONGEST_KEPT).contains(days)) {
            return Err(invalid("keep_days", days, format!("1 to {LONGEST_KEPT}")));
        }
        self.metrics.entry(metric.to_owned()).or_default().metadata = metadata.clone();
        Ok(())
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
        within(start, end)?;
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
        within(start, end)?;
        let (mut found, mut left) = (Vec::new(), limit as usize);
        for (metric, tags, samples) in self.matching(&matchers) {
            let (times, values): (Vec<i64>, Vec<f64>) =
                samples.range(start..=end).map(|(time, value)| (time.milliseconds(), *value)).unzip();
            left = left.checked_sub(times.len()).ok_or_else(|| {
                SeriesError::Limit(format!("at most {limit} samples in one answer; ask for less time"))
            })?;
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
    wrong::limit(limit, 1000).map_err(SeriesError::Invalid)
}

/// How many series, keys or values an answer may have.
fn identities(limit: u32) -> Result<usize, SeriesError> {
    wrong::limit(limit, 20_000).map_err(SeriesError::Invalid)
}

fn within(start: Timestamp, end: Timestamp) -> Result<(), SeriesError> {
    let instants = [(start, "start"), (end, "end")];
    let known = instants.into_iter().try_for_each(|(at, name)| wrong::instant(at, || name.to_owned()));
    known.and_then(|()| wrong::range(start, end)).map_err(SeriesError::Invalid)
}

fn check_samples(series: &[TaggedSamples]) -> Result<(), SeriesError> {
    let mut total = 0;
    for (at, TaggedSamples { times, values, .. }) in series.iter().enumerate() {
        if times.len() != values.len() {
            let expected = format!("as many as times, {}", times.len());
            return Err(invalid(format!("series[{at}].values"), values.len(), expected));
        }
        if times.is_empty() {
            return Err(invalid(format!("series[{at}]"), "", "at least one sample"));
        }
        for (index, time) in times.iter().enumerate() {
            let field = || format!("series[{at}].times[{index}]");
            wrong::instant(*time, field).map_err(SeriesError::Invalid)?;
        }
        total += times.len();
    }
    match series.len() {
        _ if total > LARGEST_WRITE => {
            Err(SeriesError::Limit(format!("at most {LARGEST_WRITE} samples of one write")))
        }
        0 => Err(invalid("series", "", "at least one series")),
        _ => Ok(()),
    }
}

fn check_metric(metric: &str, field: &str) -> Result<(), SeriesError> {
    if (1..=200).contains(&metric.len()) && !metric.contains(char::is_control) {
        return Ok(());
    }
    Err(invalid(field, metric, "1 to 200 bytes without control characters"))
}

fn check_tags(at: usize, tags: &[&str]) -> Result<(), SeriesError> {
    let field = |number: usize| format!("series[{at}].tags[{number}]");
    if let Some(tag) = tags.get(MOST_TAGS) {
        return Err(invalid(field(MOST_TAGS), tag, format!("at most {MOST_TAGS} tags")));
    }
    for (number, tag) in tags.iter().enumerate() {
        if tag.is_empty() || tag.starts_with(':') || tag.len() > 400 || tag.contains(char::is_control) {
            let expected = "key:value or a word, at most 400 bytes, no control characters";
            return Err(invalid(field(number), tag, expected));
        }
    }
    Ok(())
}

fn invalid(field: impl Into<String>, value: impl Display, expected: impl Into<String>) -> SeriesError {
    SeriesError::Invalid(wrong::field(field, value, expected))
}

/// A metric, the tags of one of its series, and its samples.
type Stored<'a> = (&'a String, &'a Vec<String>, &'a BTreeMap<Timestamp, f64>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{SeriesRead, SeriesWrite};
    use crate::series::SampleTable;
    use crate::testing::MemoryHost;

    #[test]
    fn what_no_host_takes_is_refused_in_its_words() {
        let host = MemoryHost::new();
        let at = Timestamp::from_seconds;
        let cpu = || TaggedSamples::of("cpu").at(at(1), 1.0);
        for (series, told) in [
            (vec![], "series is \"\", expected at least one series"),
            (vec![TaggedSamples::of("cpu")], "series[0] is \"\", expected at least one sample"),
            (
                vec![cpu(), TaggedSamples::of("").at(at(1), 1.0)],
                "series[1].metric is \"\", expected 1 to 200 bytes without control characters",
            ),
            (
                vec![cpu().tag(":a")],
                "series[0].tags[0] is \":a\", expected key:value or a word, at most 400 bytes, no control characters",
            ),
            (
                vec![(0..65).fold(cpu(), |series, tag| series.tag(format!("t{tag}")))],
                "series[0].tags[64] is \"t64\", expected at most 64 tags",
            ),
            (
                vec![cpu().at(Timestamp::from_milliseconds(i64::MIN), 1.0)],
                "series[0].times[1] is \"-9223372036854775808\", expected milliseconds since 1970 of an instant from \
                 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z",
            ),
            (
                vec![(0..=LARGEST_WRITE).fold(cpu(), |series, _| series.at(at(1), 1.0))],
                "at most 200000 samples of one write",
            ),
        ] {
            assert_eq!(host.write_series(&[], series).expect_err(told).to_string(), told);
        }
        let mut table = SampleTable::default();
        table.sample(at(1), 1.0);
        table.series("cpu", |_| ());
        table.sample(at(2), 1.0);
        let untold = host.write_table(&table).expect_err("a sample of no series").to_string();
        assert_eq!(untold, "table is \"1\", expected no texts, times or values behind the last series");
        let metadata = Metadata { keep_days: Some(0), ..Metadata::default() };
        let kept = host.describe("cpu", &metadata).expect_err("no days").to_string();
        assert_eq!(kept, "keep_days is \"0\", expected 1 to 36500");
        assert_eq!(host.tagged_metrics(None, None, 10), Ok(vec![]), "nothing of it happened");

        host.write_series(&[], [cpu()]).expect("a sample");
        for (refused, told) in [
            (host.find(&[], 20_001).map(drop), "limit is \"20001\", expected 1 to 20000"),
            (host.tagged_metrics(None, None, 0).map(drop), "limit is \"0\", expected 1 to 1000"),
            (
                host.samples("cpu", "*", at(1), at(0)).map(drop),
                "end is \"1970-01-01T00:00:00Z\", expected an instant not before start, 1970-01-01T00:00:01Z",
            ),
            (
                host.select(&[], at(0), at(1), 0).map(drop),
                "at most 0 samples in one answer; ask for less time",
            ),
            (host.tag_keys("none").map(drop), "there is no metric \"none\" with samples"),
        ] {
            assert_eq!(refused.expect_err(told).to_string(), told);
        }
    }
}
