//! What a request says of metrics beside their points: kept where nothing else is known.

use std::collections::BTreeMap;

use bellwether_sdk::host::{SeriesRead, SeriesWrite};
use bellwether_sdk::series::{Metadata, MetricKind, SeriesError};

use crate::tags::cut;

/// Metrics of which something new is kept in one request: each takes a commit. Exporters tell all they know every time,
/// so the next ones follow.
const LEARNED: usize = 100;

/// Bytes of a unit and of a description.
const UNIT: usize = 100;
const DESCRIPTION: usize = 1000;

/// What a request says of metrics, by their names.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeMap<String, Metadata>);

impl Told {
    /// Whether something was said of a metric, which stays.
    pub(crate) fn knows(&self, metric: &str) -> bool {
        self.0.contains_key(metric)
    }

    /// Takes note of a metric.
    pub(crate) fn tell(&mut self, metric: &str, kind: MetricKind, description: &str, unit: Option<String>) {
        let given = |text: &str, most: usize| {
            let text = cut(text, most).replace(char::is_control, " ");
            (!text.trim().is_empty()).then_some(text)
        };
        let description = given(description, DESCRIPTION);
        let unit = unit.and_then(|unit| given(&unit, UNIT));
        let metadata = Metadata { kind, unit, description, ..Metadata::default() };
        self.0.insert(metric.to_owned(), metadata);
    }

    /// Keeps what is new of it: what somebody set stays.
    pub(crate) fn keep<H: SeriesRead + SeriesWrite>(&self, host: &H) -> Result<(), SeriesError> {
        let mut learned = 0;
        for (metric, told) in self.0.iter().filter(|(_, told)| **told != Metadata::default()) {
            learned += usize::from(learn(host, metric, told)?);
            if learned == LEARNED {
                break;
            }
        }
        Ok(())
    }
}

fn learn<H: SeriesRead + SeriesWrite>(host: &H, metric: &str, told: &Metadata) -> Result<bool, SeriesError> {
    let known = match host.tagged_metric(metric) {
        Ok(found) => found.metadata,
        Err(SeriesError::UnknownMetric(_)) => Metadata::default(),
        Err(error) => return Err(error),
    };
    let mut metadata = known.clone();
    if known == Metadata::default() {
        metadata.kind = told.kind;
    }
    metadata.description = known.description.clone().or_else(|| told.description.clone());
    metadata.unit = known.unit.clone().or_else(|| told.unit.clone());
    if metadata == known {
        return Ok(false);
    }
    host.describe(metric, &metadata)?;
    Ok(true)
}
