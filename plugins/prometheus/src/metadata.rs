//! What is known of metrics: told by who sends them, listed for who asks.
//!
//! Help and unit are the metric's description and unit. The type is the dialect's own, kept in its state: a counter of
//! Prometheus' counts from its beginning, and no kind of Bellwether's does.

use std::collections::BTreeMap;

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, SeriesWrite, State};
use bellwether_sdk::series::{Metadata, SeriesError};
use serde_json::{Map, Value, json};

use crate::answer;
use crate::failure::Failure;
use crate::parameters::Parameters;

/// Types by their numbers, the same in both versions of remote write.
const TYPES: [&str; 8] =
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// Metrics of which something new is kept in one request: each takes two commits. Prometheus sends all it knows every
/// minute, so the next ones follow.
const LEARNED: usize = 100;

/// Bytes of a unit and of a description.
const UNIT: usize = 100;
const DESCRIPTION: usize = 1000;

/// What a key of the state begins with.
const PREFIX: &str = "type/";

/// What a request says of metrics, by their names.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told(BTreeMap<String, Family>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Family {
    kind: u64,
    help: String,
    unit: String,
}

impl Told {
    /// Takes note of a metric; what was said of it before stays.
    pub(crate) fn tell(&mut self, metric: &str, kind: u64, help: &str, unit: &str) {
        let said = kind != 0 || !help.is_empty() || !unit.is_empty();
        if said && !metric.is_empty() && !self.0.contains_key(metric) {
            let family = Family { kind, help: help.to_owned(), unit: unit.to_owned() };
            self.0.insert(metric.to_owned(), family);
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
    let given = |text: &str, most: usize| (!text.is_empty()).then(|| cut(text, most).to_owned());
    let metadata = Metadata {
        description: known.description.clone().or_else(|| given(&family.help, DESCRIPTION)),
        unit: known.unit.clone().or_else(|| given(&family.unit, UNIT)),
        ..known.clone()
    };
    let mut new = metadata != known;
    if new {
        host.describe(metric, &metadata)?;
    }
    let kind = usize::try_from(family.kind).ok().and_then(|kind| TYPES.get(kind)).unwrap_or(&TYPES[0]);
    let key = format!("{PREFIX}{metric}");
    if host.get(&key)?.as_deref() != Some(kind.as_bytes()) {
        host.set(&key, Some(kind.as_bytes()))?;
        new = true;
    }
    Ok(new)
}

/// Its first bytes, up to a whole character.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// `GET /api/v1/metadata`
pub(crate) fn list<H: SeriesRead + State>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    const PAGE: u32 = 1000;
    const MOST: usize = 20_000;
    let parameters = Parameters::of(request);
    let limit = parameters.limit(MOST)?;
    let mut keys = Vec::new();
    match parameters.get("metric") {
        Some(metric) => keys.push(format!("{PREFIX}{metric}")),
        None => {
            while keys.len() < limit {
                let page = host.list_keys(PREFIX, keys.last().map(String::as_str), PAGE)?;
                let whole = page.len() == PAGE as usize;
                keys.extend(page);
                if !whole {
                    break;
                }
            }
        }
    }
    let mut all = Map::new();
    for key in keys.iter().take(limit) {
        let metric = key.strip_prefix(PREFIX).unwrap_or(key);
        // A key longer than any that was kept is none.
        let Some(kind) = (if key.len() > 200 { None } else { host.get(key)? }) else { continue };
        let known = match host.tagged_metric(metric) {
            Ok(found) => found.metadata,
            Err(SeriesError::UnknownMetric(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        let entry = json!([{
            "type": String::from_utf8_lossy(&kind),
            "help": known.description.unwrap_or_default(),
            "unit": known.unit.unwrap_or_default(),
        }]);
        all.insert(metric.to_owned(), entry);
    }
    Ok(answer::success(&Value::Object(all)))
}
