//! What a request says of metrics beside their points.
//!
//! What a metric is, it is from its first samples on: so a kind is told before them, and of one that has samples, or
//! that somebody described, it stays. Units and descriptions are kept where nothing else is known, whenever that is.

use std::collections::BTreeMap;

use bellwether_sdk::host::{SeriesRead, SeriesWrite};
use bellwether_sdk::series::{Metadata, MetricKind, SeriesError};

use crate::tags::cut;

/// Metrics of which a unit or description is kept in one request: each takes a commit. Exporters tell all they know
/// every time, so the next ones follow.
const LEARNED: usize = 100;

/// Metrics of which one request settles what they are: each takes a commit, one after the other, and a call has five
/// seconds. Exporters send again what is answered with 503, and that settles the next ones.
const SETTLED: usize = 500;

/// Bytes of a unit and of a description.
const UNIT: usize = 100;
const DESCRIPTION: usize = 1000;

/// What a request says of metrics, by their names.
#[derive(Debug, Default)]
pub(crate) struct Told {
    metrics: BTreeMap<String, Metric>,
    /// Those that are not settled yet.
    new: Vec<String>,
    /// How many this request settled.
    settled: usize,
    /// How many metrics came as something else than they are, and what the first is.
    strange: usize,
    first: String,
}

#[derive(Debug)]
struct Metric {
    told: Metadata,
    /// What the host knows of it.
    known: Metadata,
    strange: bool,
}

impl Told {
    /// Takes note of a metric that comes as this kind; says whether what else is said of it is not told yet.
    pub(crate) fn comes(&mut self, metric: &str, kind: MetricKind) -> bool {
        match self.metrics.get_mut(metric) {
            Some(known) => {
                if known.told.kind != kind && !known.strange {
                    known.strange = true;
                    let kept = known.told.kind;
                    self.note(metric, kind, kept);
                }
                false
            }
            None => {
                let told = Metadata { kind, ..Metadata::default() };
                let known = Metadata::default();
                self.metrics.insert(metric.to_owned(), Metric { told, known, strange: false });
                self.new.push(metric.to_owned());
                true
            }
        }
    }

    /// Takes note of what else is said of a metric that came.
    pub(crate) fn tell(&mut self, metric: &str, description: &str, unit: Option<String>) {
        let given = |text: &str, most: usize| {
            let text = cut(text, most).replace(char::is_control, " ");
            (!text.trim().is_empty()).then_some(text)
        };
        if let Some(Metric { told, .. }) = self.metrics.get_mut(metric) {
            told.description = given(description, DESCRIPTION);
            told.unit = unit.and_then(|unit| given(&unit, UNIT));
        }
    }

    /// Has the host know what the metrics are that nobody knew, before it gets samples of them.
    ///
    /// # Errors
    /// Also if so many metrics are new that another try is to settle the rest.
    pub(crate) fn settle<H: SeriesRead + SeriesWrite>(&mut self, host: &H) -> Result<(), SeriesError> {
        for name in std::mem::take(&mut self.new) {
            let Some(metric) = self.metrics.get_mut(&name) else { continue };
            match host.tagged_metric(&name) {
                Ok(found) => metric.known = found.metadata,
                // Without a word, a metric is a gauge.
                Err(SeriesError::UnknownMetric(_)) if metric.told.kind != MetricKind::Gauge => {
                    if self.settled == SETTLED {
                        return Err(SeriesError::Unavailable(format!(
                            "more than {SETTLED} metrics are new: what the first are is kept, send it again for the others"
                        )));
                    }
                    self.settled += 1;
                    host.describe(&name, &metric.told)?;
                    metric.known = metric.told.clone();
                }
                Err(SeriesError::UnknownMetric(_)) => {}
                Err(error) => return Err(error),
            }
            let (told, kept) = (metric.told.kind, metric.known.kind);
            if told != kept && !metric.strange {
                metric.strange = true;
                self.note(&name, told, kept);
            }
        }
        Ok(())
    }

    fn note(&mut self, metric: &str, told: MetricKind, kept: MetricKind) {
        if self.strange == 0 {
            let word = |kind| match kind {
                MetricKind::Gauge => "levels (a gauge, or cumulative)",
                MetricKind::Count => "counts (delta)",
                MetricKind::Rate => "rates",
                MetricKind::Distribution => "a distribution",
            };
            self.first =
                format!("{metric:?} has points that are {}, and is kept as {}", word(told), word(kept));
        }
        self.strange += 1;
    }

    /// What is to be said of metrics that came as something else than they are.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.strange > 0)
            .then(|| format!("{} metrics came as another kind; the first: {}", self.strange, self.first))
    }

    /// Keeps what is new of units and descriptions: what somebody set stays.
    pub(crate) fn keep<H: SeriesWrite>(&self, host: &H) -> Result<(), SeriesError> {
        let new = self.metrics.iter().filter_map(|(name, Metric { told, known, .. })| {
            let metadata = Metadata {
                description: known.description.clone().or_else(|| told.description.clone()),
                unit: known.unit.clone().or_else(|| told.unit.clone()),
                ..known.clone()
            };
            (metadata != *known).then_some((name, metadata))
        });
        new.take(LEARNED).try_for_each(|(name, metadata)| host.describe(name, &metadata))
    }
}
