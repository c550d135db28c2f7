//! What is known of metrics: told by who sends them, listed for who asks.
//!
//! Help and unit are the metric's description and unit. The type is the dialect's own, kept in its state: a counter of
//! Prometheus' counts from its beginning, and no kind of Bellwether's does.

use std::collections::BTreeMap;

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, SeriesWrite, State};
use bellwether_sdk::series::{LEARNED, Metadata, MetricKind, Said, SeriesError};
use serde_json::{Map, json};

use crate::answer;
use crate::failure::Failure;
use crate::parameters::Parameters;

/// Types by their numbers, the same in both versions of remote write.
const TYPES: [&str; 8] =
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// What a key of the state begins with.
const PREFIX: &str = "type/";

/// What a request says of metrics, by their names.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told(BTreeMap<String, Family>);

#[derive(Debug, PartialEq)]
struct Family {
    kind: u64,
    said: Said,
}

impl Told {
    /// Takes note of a metric; what was said of it before stays.
    pub(crate) fn tell(&mut self, metric: &str, kind: u64, help: &str, unit: &str) {
        let something = kind != 0 || !help.is_empty() || !unit.is_empty();
        if something && !metric.is_empty() && !self.0.contains_key(metric) {
            let said = Said::default().description(help).unit(unit);
            self.0.insert(metric.to_owned(), Family { kind, said });
        }
    }

    /// Keeps what is new of it, where nothing else is known: what somebody set stays.
    pub(crate) fn keep<H: SeriesRead + SeriesWrite + State>(&self, host: &H) -> Result<(), Failure> {
        let mut learned = 0;
        for (metric, family) in &self.0 {
            // No metric has such a name, and what is known of none is nobody's.
            if metric.len() > 190 || metric.contains(char::is_control) {
                continue;
            }
            learned += usize::from(learn(host, metric, family)?);
            if learned == LEARNED {
                break;
            }
        }
        Ok(())
    }
}

fn learn<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    metric: &str,
    family: &Family,
) -> Result<bool, Failure> {
    let known = match host.tagged_metric(metric) {
        Ok(found) => found.metadata,
        Err(SeriesError::UnknownMetric(_)) => Metadata::default(),
        Err(error) => return Err(error.into()),
    };
    let mut new = false;
    if let Some(metadata) = family.said.beside(&known) {
        host.describe(metric, &metadata)?;
        new = true;
    }
    let kind = usize::try_from(family.kind).ok().and_then(|kind| TYPES.get(kind)).unwrap_or(&TYPES[0]);
    let key = format!("{PREFIX}{metric}");
    if host.get(&key)?.as_deref() != Some(kind.as_bytes()) {
        host.set(&key, Some(kind.as_bytes()))?;
        new = true;
    }
    Ok(new)
}

/// What the host gives at once.
const PAGE: u32 = 1000;

/// Metrics of one answer.
const MOST: usize = 20_000;

/// `GET /api/v1/metadata[?metric=…&limit=…]`
pub(crate) fn list<H: SeriesRead + State>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let parameters = Parameters::of(request);
    let limit = parameters.limit_or_none(MOST)?;
    let found = match parameters.get("metric") {
        Some(metric) => BTreeMap::from([(metric.to_owned(), None)]),
        None => all(host, limit)?,
    };
    let mut shown = Map::new();
    for (metric, metadata) in found.into_iter().take(limit) {
        let metadata =
            match metadata.map_or_else(|| host.tagged_metric(&metric).map(|found| found.metadata), Ok) {
                Ok(metadata) => metadata,
                Err(SeriesError::UnknownMetric(_)) => continue,
                Err(error) => return Err(error.into()),
            };
        let key = format!("{PREFIX}{metric}");
        // A key longer than any that was kept is none.
        let told = if key.len() > 200 { None } else { host.get(&key)? };
        let kind = match &told {
            Some(kind) => String::from_utf8_lossy(kind),
            None if is_described(&metadata) => kind_of(&metric, metadata.kind).into(),
            None => continue,
        };
        let entry = json!([{
            "type": kind,
            "help": metadata.description.unwrap_or_default(),
            "unit": metadata.unit.unwrap_or_default(),
        }]);
        shown.insert(metric, entry);
    }
    Ok(answer::metadata(shown))
}

/// The first `limit` metrics and more that Prometheus told of, or that anybody described: those with what is known.
fn all<H: SeriesRead + State>(host: &H, limit: usize) -> Result<BTreeMap<String, Option<Metadata>>, Failure> {
    let mut keys: Vec<String> = Vec::new();
    while keys.len() < limit {
        let page = host.list_keys(PREFIX, keys.last().map(String::as_str), PAGE)?;
        let whole = page.len() == PAGE as usize;
        keys.extend(page);
        if !whole {
            break;
        }
    }
    let names = keys.into_iter().filter_map(|key| key.strip_prefix(PREFIX).map(str::to_owned));
    let mut found: BTreeMap<String, Option<Metadata>> = names.map(|name| (name, None)).collect();
    let (mut after, mut described) = (None, 0);
    while described < limit {
        let page = host.tagged_metrics(None, after.as_deref(), PAGE)?;
        let whole = page.len() == PAGE as usize;
        after = page.last().map(|metric| metric.name.clone());
        for metric in page.into_iter().filter(|metric| is_described(&metric.metadata)) {
            found.insert(metric.name, Some(metric.metadata));
            described += 1;
        }
        if !whole {
            break;
        }
    }
    Ok(found)
}

/// Whether anything was said of a metric: one of which nothing is known is a gauge too.
fn is_described(metadata: &Metadata) -> bool {
    let Metadata { kind, unit, description, .. } = metadata;
    *kind != MetricKind::Gauge || unit.is_some() || description.is_some()
}

/// Prometheus' word for what others sent. What counts from its beginning is kept as a gauge and known by its name; of
/// what a histogram's parts and single counts are, there is no word.
fn kind_of(metric: &str, kind: MetricKind) -> &'static str {
    let ends = |ending: &str| metric.ends_with(ending);
    match kind {
        MetricKind::Gauge if ends("_total") => "counter",
        MetricKind::Gauge if ["_bucket", "_count", "_sum"].into_iter().any(ends) => "unknown",
        MetricKind::Gauge | MetricKind::Rate => "gauge",
        MetricKind::Count | MetricKind::Distribution => "unknown",
    }
}
