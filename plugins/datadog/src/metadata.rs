//! What is known of a metric beside its samples: told with them, read, changed.
//!
//! The interval of counts and rates is the dialect's own: it is kept in its state, under the metric's name.

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, SeriesWrite, State, StateError};
use bellwether_sdk::series::{Metadata, MetricKind, SeriesError};
use serde::{Deserialize, Deserializer, Serialize};

use crate::failure::Failure;
use crate::intake::Told;

/// Keeps what a payload says of a metric, where nothing else is known: what somebody set stays. What a metric is, it is
/// from its first samples on, a gauge if they say nothing; of one that came as something else, gives what is to be said.
pub(crate) fn learn<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    metric: &str,
    told: &Told,
) -> Result<Option<String>, Failure> {
    let Told { kind, other, unit, source, interval } = told;
    let (known, new) = match host.tagged_metric(metric) {
        Ok(found) => (found.metadata, false),
        Err(SeriesError::UnknownMetric(_)) => (Metadata::default(), true),
        Err(error) => return Err(error.into()),
    };
    let metadata = Metadata {
        kind: kind.filter(|_| new).unwrap_or(known.kind),
        unit: known.unit.clone().or_else(|| unit.clone()),
        integration: known.integration.clone().or_else(|| source.clone()),
        ..known.clone()
    };
    if metadata != known {
        host.describe(metric, &metadata)?;
        if let Some(interval) = interval {
            match host.set(metric, Some(interval.to_string().as_bytes())) {
                // Points are worth more than how often they come.
                Ok(()) | Err(StateError::Quota(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let kept = metadata.kind;
    let strange = [kind, other].into_iter().flatten().find(|kind| **kind != kept);
    Ok(strange.map(|strange| format!("{metric} is kept as a {}, not as a {}", word(kept), word(*strange))))
}

/// `GET /api/v1/metrics/{metric}`
pub(crate) fn get<H: SeriesRead + State>(host: &H, request: &Request<'_>) -> Result<Response, Failure> {
    let metric = request.parameter("metric");
    let metadata = host.tagged_metric(metric)?.metadata;
    answer(host, metric, &metadata)
}

#[derive(Serialize)]
struct Shown<'a> {
    description: Option<&'a str>,
    short_name: Option<&'a str>,
    integration: Option<&'a str>,
    statsd_interval: Option<u64>,
    per_unit: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'static str,
    unit: Option<&'a str>,
}

fn answer<H: State>(host: &H, metric: &str, metadata: &Metadata) -> Result<Response, Failure> {
    let Metadata { kind, unit, per_unit, description, short_name, integration, keep_days: _ } = metadata;
    let shown = Shown {
        description: description.as_deref(),
        short_name: short_name.as_deref(),
        integration: integration.as_deref(),
        statsd_interval: interval(host, metric)?,
        per_unit: per_unit.as_deref(),
        kind: word(*kind),
        unit: unit.as_deref(),
    };
    Ok(Response::json(200, &shown))
}

/// Seconds between the samples of a count or rate, where they are known.
pub(crate) fn interval(host: &impl State, metric: &str) -> Result<Option<u64>, Failure> {
    let interval = match host.get(metric) {
        Ok(interval) => interval,
        // No state has so long a key.
        Err(StateError::TooLarge(_)) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(interval.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()))
}

/// Datadog's word for it.
pub(crate) fn word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Count => "count",
        MetricKind::Rate => "rate",
        MetricKind::Distribution => "distribution",
    }
}

/// What is to be changed: absent stays, `null` is taken away.
#[derive(Deserialize)]
struct Change {
    #[serde(default, deserialize_with = "told")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "told")]
    short_name: Option<Option<String>>,
    #[serde(default, deserialize_with = "told")]
    integration: Option<Option<String>>,
    #[serde(default, deserialize_with = "told")]
    statsd_interval: Option<Option<u64>>,
    #[serde(default, deserialize_with = "told")]
    per_unit: Option<Option<String>>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "told")]
    unit: Option<Option<String>>,
}

fn told<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `PUT /api/v1/metrics/{metric}`
pub(crate) fn put<H: SeriesRead + SeriesWrite + State>(
    host: &H,
    request: &Request<'_>,
) -> Result<Response, Failure> {
    let metric = request.parameter("metric");
    let change: Change = request.json().map_err(Failure::format)?;
    let mut metadata = host.tagged_metric(metric)?.metadata;
    if let Some(word) = change.kind.as_deref() {
        metadata.kind = match word {
            "gauge" => MetricKind::Gauge,
            "count" | "counter" => MetricKind::Count,
            "rate" => MetricKind::Rate,
            "distribution" => MetricKind::Distribution,
            _ => {
                return Err(Failure::bad(format_args!(
                    "type is {word:?}, expected gauge, count, rate or distribution"
                )));
            }
        };
    }
    for (field, told) in [
        (&mut metadata.description, change.description),
        (&mut metadata.short_name, change.short_name),
        (&mut metadata.integration, change.integration),
        (&mut metadata.per_unit, change.per_unit),
        (&mut metadata.unit, change.unit),
    ] {
        if let Some(told) = told {
            *field = told.filter(|text| !text.is_empty());
        }
    }
    host.describe(metric, &metadata)?;
    if let Some(interval) = change.statsd_interval {
        let text = interval.map(|interval| interval.to_string());
        host.set(metric, text.as_deref().map(str::as_bytes))?;
    }
    answer(host, metric, &metadata)
}
