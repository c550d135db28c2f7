//! `GET /api/v2/organization/metrics`: one query for each of reports, threats and takedowns, whose lines are days of one
//! status, type, brand and mark of deletion; what they amount to is added up here.

use std::collections::BTreeMap;

use bellwether_sdk::Timestamp;
use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{Clock, SeriesRead};
use bellwether_sdk::series::{Line, Question, SeriesError};
use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::mapping::{Mapping, is_one};
use crate::period;

/// What threats without a type are listed as.
const UNTYPED: &str = "OTHER";

/// Values of a tag looked at with one call.
const PAGE: u32 = 1_000;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    metrics: Metrics,
    blocked_by_type: Vec<OfType>,
    blocked_by_day: Vec<OfDay>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    reports: Count,
    new_threats: Count,
    threats_watchlisted: Count,
    takedowns_filed: Count,
    takedowns_completed: Count,
    domain_threats: Count,
    twitter_threats: Count,
    telegram_threats: Count,
    other_threats: Count,
}

#[derive(Serialize)]
struct OfType {
    r#type: String,
    count: Count,
}

#[derive(Serialize)]
struct OfDay {
    date: String,
    count: Count,
}

/// How many; without a fraction where it has none.
#[derive(Clone, Copy, Default, PartialEq)]
struct Count(f64);

impl Count {
    fn add(&mut self, value: f64) {
        self.0 += value;
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Whole numbers up to this are exact.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

pub(crate) fn metrics<H: SeriesRead + Clock>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let mapping: Mapping = request.settings()?;
    let period = period::asked(host, request)?;
    let brand = request.query("brandSlug").filter(|slug| !slug.is_empty());
    if let Some(slug) = brand {
        if !mapping.brands_metrics {
            return Err(Failure::bad("brandSlug requires the brands-metrics feature flag"));
        }
        if !is_known(host, &mapping, slug)? {
            return Err(Failure::brand());
        }
    }
    let Some(period) = period else { return Ok(Response::json(200, &Answer::default())) };
    let counted = Counted { host, mapping: &mapping, brand, period };
    Ok(Response::json(200, &counted.answer()?))
}

/// Whether a series of any of the metrics is of a brand.
fn is_known(host: &impl SeriesRead, mapping: &Mapping, slug: &str) -> Result<bool, Failure> {
    let metrics = [&mapping.reports_metric, mapping.brand_threats(), mapping.brand_takedowns()];
    for metric in metrics {
        // Values come in order: those before it are passed over but for the ones that share all but its last letter.
        let mut after = slug.char_indices().next_back().map(|(at, _)| slug[..at].to_owned());
        loop {
            let from = after.as_deref().filter(|after| !after.is_empty());
            let values = match host.tag_values(metric, &mapping.brand_tag, from, PAGE) {
                Ok(values) => values,
                Err(SeriesError::UnknownMetric(_)) => break,
                Err(error) => return Err(error.into()),
            };
            if values.iter().any(|value| value.text == slug) {
                return Ok(true);
            }
            match values.last() {
                Some(last) if values.len() == PAGE as usize && last.text.as_str() < slug => {
                    after = Some(last.text.clone());
                }
                _ => break,
            }
        }
    }
    Ok(false)
}

impl Mapping {
    fn brand_threats(&self) -> &String {
        self.brand_threats_metric.as_ref().unwrap_or(&self.threats_metric)
    }

    fn brand_takedowns(&self) -> &String {
        self.brand_takedowns_metric.as_ref().unwrap_or(&self.takedowns_metric)
    }
}

/// What is counted of whom, and when.
struct Counted<'a, H> {
    host: &'a H,
    mapping: &'a Mapping,
    brand: Option<&'a str>,
    period: (Timestamp, Timestamp),
}

impl<H: SeriesRead> Counted<'_, H> {
    fn answer(&self) -> Result<Answer, Failure> {
        let mapping = self.mapping;
        let (threats, takedowns) = match self.brand {
            None => (&mapping.threats_metric, &mapping.takedowns_metric),
            Some(_) => (mapping.brand_threats(), mapping.brand_takedowns()),
        };
        let mut answer = Answer::default();
        for line in self.lines(&mapping.reports_metric)? {
            answer.metrics.reports.add(total(&line));
        }
        for line in self.lines(takedowns)? {
            let status = tag(&line, &mapping.status_tag);
            if mapping.filed_statuses.is_empty() || is_one(&mapping.filed_statuses, status) {
                answer.metrics.takedowns_filed.add(total(&line));
            }
            if is_one(&mapping.completed_statuses, status) {
                answer.metrics.takedowns_completed.add(total(&line));
            }
        }
        let (mut types, mut days) = (BTreeMap::new(), BTreeMap::new());
        for line in self.lines(threats)? {
            let status = tag(&line, &mapping.status_tag);
            // Of a brand there are never any.
            if self.brand.is_none() && is_one(&mapping.watchlisted_statuses, status) {
                answer.metrics.threats_watchlisted.add(total(&line));
            }
            if is_one(&mapping.blocked_statuses, status) {
                answer.metrics.block(&line, tag(&line, &mapping.type_tag), mapping);
                let name = match tag(&line, &mapping.type_tag) {
                    "" => UNTYPED.to_owned(),
                    kind => kind.to_ascii_uppercase(),
                };
                types.entry(name).or_insert(Count(0.0)).add(total(&line));
                for (day, value) in &line.points {
                    days.entry(*day).or_insert(Count(0.0)).add(*value);
                }
            }
        }
        let types = types.into_iter().filter(|(_, count)| *count != Count(0.0));
        answer.blocked_by_type = types.map(|(r#type, count)| OfType { r#type, count }).collect();
        // Of as many, by name.
        answer.blocked_by_type.sort_by(|a, b| b.count.0.total_cmp(&a.count.0));
        let days = days.into_iter().filter(|(_, count)| *count != Count(0.0));
        answer.blocked_by_day = days.map(|(day, count)| OfDay { date: date(day), count }).collect();
        Ok(answer)
    }

    /// The days of a metric, by everything that is looked at; of what was deleted none, and of the brand alone where one
    /// is asked for.
    fn lines(&self, metric: &str) -> Result<Vec<Line>, Failure> {
        let Mapping { status_tag, type_tag, brand_tag, deleted_tag, .. } = self.mapping;
        let mut by = format!("{status_tag},{type_tag},{deleted_tag}");
        // Without need of it a series of two brands would count twice.
        if self.brand.is_some() {
            by = format!("{by},{brand_tag}");
        }
        let query = format!("sum:{metric}{{*}} by {{{by}}}.rollup(sum, 86400)");
        let mut lines = self.host.ask(&Question::new(query, self.period.0, self.period.1))?;
        lines.retain(|line| {
            let deleted = is_one(&self.mapping.deleted_values, tag(line, deleted_tag));
            !deleted && self.brand.is_none_or(|brand| tag(line, brand_tag) == brand)
        });
        Ok(lines)
    }
}

impl Metrics {
    fn block(&mut self, line: &Line, kind: &str, mapping: &Mapping) {
        let total = total(line);
        self.new_threats.add(total);
        let of_kind = if is_one(&mapping.domain_types, kind) {
            &mut self.domain_threats
        } else if is_one(&mapping.twitter_types, kind) {
            &mut self.twitter_threats
        } else if is_one(&mapping.telegram_types, kind) {
            &mut self.telegram_threats
        } else {
            &mut self.other_threats
        };
        of_kind.add(total);
    }
}

fn total(line: &Line) -> f64 {
    line.points.iter().map(|(_, value)| value).sum()
}

/// The value of one of a line's tags, empty if its series have none.
fn tag<'a>(line: &'a Line, key: &str) -> &'a str {
    line.tags.iter().find(|(own, _)| own == key).map_or("", |(_, value)| value.as_str())
}

fn date(day: Timestamp) -> String {
    let date = day.date();
    format!("{:04}-{:02}-{:02}", date.year, date.month, date.day)
}
