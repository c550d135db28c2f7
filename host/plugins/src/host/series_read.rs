//! `bellwether:host/series-read`: every caller's role may read; the grant's patterns decide which metrics there are.

use bellwether_access::Role;
use bellwether_kernel::FieldError;
use bellwether_series::{Comparison, Line, Matcher, SeriesIdentity, TaggedMetric, TimeRange, parse_datadog};

use super::convert::{self, covers};
use super::series_convert::{filter, granted, instant, invalid, metadata, page, series_error};
use super::{Call, contract};
use contract::series_read as wit;
use contract::series_types::SeriesError;

impl wit::Host for Call {
    async fn query(&mut self, question: wit::Question) -> Result<Vec<wit::Line>, SeriesError> {
        self.takes(question.query.len());
        let organisation = self.series_caller(Role::Read).await?;
        let step = question.step.map(|step| {
            i64::try_from(step).map_err(|_| invalid(FieldError::new("step", step, "milliseconds below 2^63")))
        });
        let range = TimeRange {
            start: instant(question.start, "start")?,
            end: instant(question.end, "end")?,
            step: step.transpose()?,
        };
        let expression = parse_datadog(&question.query).map_err(series_error)?;
        let patterns = &self.scope.series_read;
        let visible = |metric: &str| covers(patterns, metric);
        let lines = self.services().series.query(organisation, &expression, range, &visible).await;
        Ok(lines.map_err(series_error)?.into_iter().map(line).collect())
    }

    async fn samples(
        &mut self,
        metric: String,
        text: String,
        start: i64,
        end: i64,
    ) -> Result<Vec<wit::Series>, SeriesError> {
        self.takes(metric.len() + text.len());
        let organisation = self.series_caller(Role::Read).await?;
        granted(&self.scope.series_read, &metric)?;
        let (filter, range) = (filter(&text)?, (instant(start, "start")?, instant(end, "end")?));
        let found = self.services().series.raw(organisation, &metric, &filter, range).await;
        let series = |series: bellwether_series::SeriesRaw| wit::Series {
            tags: series.tags.iter().map(ToString::to_string).collect(),
            times: series.samples.times,
            values: series.samples.values,
        };
        Ok(found.map_err(series_error)?.into_iter().map(series).collect())
    }

    async fn select(
        &mut self,
        matchers: Vec<wit::Matcher>,
        start: i64,
        end: i64,
        limit: u32,
    ) -> Result<Vec<wit::Selection>, SeriesError> {
        self.takes(matchers_size(&matchers));
        let organisation = self.series_caller(Role::Read).await?;
        let (matchers, range) = (known(matchers)?, (instant(start, "start")?, instant(end, "end")?));
        let patterns = &self.scope.series_read;
        let visible = |metric: &str| covers(patterns, metric);
        let series = &self.services().series;
        let found = series.matching(organisation, &matchers, range, limit as usize, &visible).await;
        let selection = |(metric, series): (_, bellwether_series::SeriesRaw)| wit::Selection {
            identity: identity((metric, series.tags)),
            times: series.samples.times,
            values: series.samples.values,
        };
        Ok(found.map_err(series_error)?.into_iter().map(selection).collect())
    }

    async fn find(
        &mut self,
        matchers: Vec<wit::Matcher>,
        limit: u32,
    ) -> Result<Vec<wit::SeriesIdentity>, SeriesError> {
        self.takes(matchers_size(&matchers));
        let organisation = self.series_caller(Role::Read).await?;
        let (matchers, limit) = (known(matchers)?, identities(limit)?);
        let patterns = &self.scope.series_read;
        let visible = |metric: &str| covers(patterns, metric);
        let series = &self.services().series;
        let found = series.identities(organisation, &matchers, limit, &visible).await;
        Ok(found.map_err(series_error)?.into_iter().map(identity).collect())
    }

    async fn find_keys(
        &mut self,
        matchers: Vec<wit::Matcher>,
        limit: u32,
    ) -> Result<Vec<String>, SeriesError> {
        self.takes(matchers_size(&matchers));
        let organisation = self.series_caller(Role::Read).await?;
        let (matchers, limit) = (known(matchers)?, identities(limit)?);
        let patterns = &self.scope.series_read;
        let visible = |metric: &str| covers(patterns, metric);
        let found = self.services().series.keys_matching(organisation, &matchers, limit, &visible).await;
        Ok(found.map_err(series_error)?.iter().map(ToString::to_string).collect())
    }

    async fn find_values(
        &mut self,
        matchers: Vec<wit::Matcher>,
        key: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, SeriesError> {
        self.takes(matchers_size(&matchers) + key.as_ref().map_or(0, String::len));
        let organisation = self.series_caller(Role::Read).await?;
        let (matchers, limit) = (known(matchers)?, identities(limit)?);
        let patterns = &self.scope.series_read;
        let visible = |metric: &str| covers(patterns, metric);
        let series = &self.services().series;
        let found = series.values_matching(organisation, &matchers, key.as_deref(), limit, &visible).await;
        Ok(found.map_err(series_error)?.iter().map(ToString::to_string).collect())
    }

    async fn list_metrics(
        &mut self,
        part: Option<String>,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<wit::TaggedMetric>, SeriesError> {
        self.takes([&part, &after].into_iter().flatten().map(String::len).sum());
        let organisation = self.series_caller(Role::Read).await?;
        let limit = page(limit)?;
        let patterns = &self.scope.series_read;
        let visible = |metric: &str| covers(patterns, metric);
        let series = &self.services().series;
        let found = series.metrics(organisation, part.as_deref(), &visible, after.as_deref(), limit);
        Ok(found.items.iter().map(tagged).collect())
    }

    async fn get(&mut self, metric: String) -> Result<wit::TaggedMetric, SeriesError> {
        self.takes(metric.len());
        let organisation = self.series_caller(Role::Read).await?;
        granted(&self.scope.series_read, &metric)?;
        self.services().series.metric(organisation, &metric).map(|found| tagged(&found)).map_err(series_error)
    }

    async fn tag_keys(&mut self, metric: String) -> Result<Vec<wit::Counted>, SeriesError> {
        self.takes(metric.len());
        let organisation = self.series_caller(Role::Read).await?;
        granted(&self.scope.series_read, &metric)?;
        let keys = self.services().series.tag_keys(organisation, &metric).await.map_err(series_error)?;
        let counted =
            |key: bellwether_series::TagKey| wit::Counted { text: key.key.to_string(), series: key.series };
        Ok(keys.into_iter().map(counted).collect())
    }

    async fn tag_values(
        &mut self,
        metric: String,
        key: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<wit::Counted>, SeriesError> {
        self.takes(metric.len() + key.len() + after.as_ref().map_or(0, String::len));
        let organisation = self.series_caller(Role::Read).await?;
        granted(&self.scope.series_read, &metric)?;
        let limit = page(limit)?;
        let series = &self.services().series;
        let values = series.tag_values(organisation, &metric, &key, after.as_deref(), limit).await;
        let values = values.map_err(series_error)?.items.into_iter();
        Ok(values.map(|(value, series)| wit::Counted { text: value.to_string(), series }).collect())
    }
}

/// Bytes of the texts of a call's matchers.
fn matchers_size(matchers: &[wit::Matcher]) -> usize {
    let size = |matcher: &wit::Matcher| matcher.key.as_ref().map_or(0, String::len) + matcher.value.len();
    matchers.iter().map(size).sum()
}

/// The matchers of a call, as the series know them.
fn known(matchers: Vec<wit::Matcher>) -> Result<Vec<Matcher>, SeriesError> {
    if matchers.len() > crate::limits::MATCHERS {
        let expected = format!("at most {}", crate::limits::MATCHERS);
        return Err(invalid(FieldError::new("matchers", matchers.len(), expected)));
    }
    let each = |(at, matcher): (usize, wit::Matcher)| {
        let comparison = match matcher.comparison {
            wit::Comparison::Equal => Comparison::Equal,
            wit::Comparison::NotEqual => Comparison::NotEqual,
            wit::Comparison::Matches => Comparison::Matches,
            wit::Comparison::NotMatches => Comparison::NotMatches,
        };
        let field = || format!("matchers[{at}].value");
        Matcher::new(matcher.key, comparison, &matcher.value, field).map_err(series_error)
    };
    matchers.into_iter().enumerate().map(each).collect()
}

/// How many series, keys or values an answer may have.
fn identities(limit: u32) -> Result<usize, SeriesError> {
    convert::limit(limit, crate::limits::IDENTITIES).map_err(invalid)
}

fn identity((metric, tags): SeriesIdentity) -> wit::SeriesIdentity {
    wit::SeriesIdentity { metric: metric.to_string(), tags: tags.iter().map(ToString::to_string).collect() }
}

fn line(line: Line) -> wit::Line {
    let tag = |(key, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| wit::Tag {
        key: key.to_string(),
        value: value.to_string(),
    };
    wit::Line {
        metric: line.metric.map(|metric| metric.to_string()),
        tags: line.tags.iter().map(tag).collect(),
        step: line.step.unsigned_abs(),
        starts: line.points.iter().map(|(start, _)| *start).collect(),
        values: line.points.iter().map(|(_, value)| *value).collect(),
    }
}

fn tagged(metric: &TaggedMetric) -> wit::TaggedMetric {
    wit::TaggedMetric {
        name: metric.name.to_string(),
        series: metric.series,
        metadata: metadata(&metric.metadata),
    }
}
