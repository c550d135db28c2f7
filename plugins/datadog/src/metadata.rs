//! What is known of a metric beside its samples: told with them, read, changed.
//!
//! The interval of counts and rates is the dialect's own: it is kept in its state, under the metric's name.

use bellwether_sdk::dialect::{Request, Response};
use bellwether_sdk::host::{SeriesRead, SeriesWrite, State, StateError};
use bellwether_sdk::series::{Gauges, LEARNED, Metadata, MetricKind, Settling};
use serde::{Deserialize, Deserializer, Serialize};

use crate::failure::Failure;
use crate::intake::Told;
use crate::intake::value::kind_of_word;

/// What a payload says of metrics that is new, and can wait until their samples are kept.
pub(crate) struct Learning<'a> {
    /// What is to be known of each, if that is another than it was, and its interval, if none was known.
    metrics: Vec<(&'a str, Option<Metadata>, Option<u64>)>,
}

impl<'a> Learning<'a> {
    /// Has the host know what the metrics are that nobody knew, before it gets samples of them: from those on they stay
    /// it, and are gauges if nothing was said. Gives what is to be said of those that came as something else than they
    /// are.
    ///
    /// # Errors
    /// Also if so many metrics are new that another try is to settle the rest; no sample is kept then.
    pub(crate) fn begin<H: SeriesRead + SeriesWrite + State>(
        host: &H,
        told: impl Iterator<Item = (&'a str, &'a Told)>,
        gauges: &Gauges<Told>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let (mut metrics, mut strange, mut settling) = (Vec::new(), Vec::new(), Settling::default());
        for (metric, told) in told {
            if gauges.know(metric, told) {
                continue;
            }
            let known = settling.known(host, metric, told.kind, &told.said)?;
            let other = [told.kind, told.other].into_iter().flatten().find(|kind| *kind != known.kind);
            strange.extend(other.map(|other| {
                format!("{metric} is kept as a {}, not as a {}", word(known.kind), word(other))
            }));
            // Asked before the samples are written, and only of so many: what is asked behind that waits for it.
            if metrics.len() < LEARNED {
                let metadata = told.said.beside(&known);
                let seconds = match told.interval {
                    Some(seconds) if interval(host, metric)?.is_none() => Some(seconds),
                    _ => None,
                };
                if metadata.is_some() || seconds.is_some() {
                    metrics.push((metric, metadata, seconds));
                } else if other.is_none() && known.kind == MetricKind::Gauge {
                    gauges.remember(metric, told);
                }
            }
        }
        Ok((Self { metrics }, strange))
    }

    /// Keeps what is new of units, sources and intervals; what somebody set stays.
    pub(crate) fn keep<H: SeriesWrite + State>(self, host: &H) -> Result<(), Failure> {
        for (metric, metadata, seconds) in self.metrics {
            if let Some(metadata) = metadata {
                host.describe(metric, &metadata)?;
            }
            let Some(seconds) = seconds else { continue };
            match host.set(metric, Some(seconds.to_string().as_bytes())) {
                // Points are worth more than how often they come.
                Ok(()) | Err(StateError::Quota(_) | StateError::TooLarge(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
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
        metadata.kind = kind_of_word(word).ok_or_else(|| {
            Failure::bad(format_args!("type is {word:?}, expected gauge, count, rate or distribution"))
        })?;
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
