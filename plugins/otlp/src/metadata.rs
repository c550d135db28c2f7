//! What a request says of metrics beside their points.

use std::collections::BTreeMap;

use bellwether_sdk::host::{SeriesRead, SeriesWrite};
use bellwether_sdk::series::{Gauges, LEARNED, Metadata, MetricKind, Said, SeriesError, Settling};

/// What a request says of metrics, by their names.
#[derive(Debug, Default)]
pub(crate) struct Told {
    metrics: BTreeMap<String, Metric>,
    /// Those that are not settled yet.
    new: Vec<String>,
    settling: Settling,
    /// How many metrics came as something else than they are, and what the first is.
    strange: usize,
    first: String,
}

#[derive(Debug)]
struct Metric {
    /// What it came as first.
    kind: MetricKind,
    said: Said,
    /// What the host knows of it, once it was asked.
    known: Option<Metadata>,
    strange: bool,
}

impl Told {
    /// Takes note of a metric that comes as this kind; says whether what else is said of it is not told yet.
    pub(crate) fn comes(&mut self, metric: &str, kind: MetricKind) -> bool {
        match self.metrics.get_mut(metric) {
            Some(known) => {
                if known.kind != kind && !known.strange {
                    known.strange = true;
                    let kept = known.kind;
                    self.note(metric, kind, kept);
                }
                false
            }
            None => {
                let told = Metric { kind, said: Said::default(), known: None, strange: false };
                self.metrics.insert(metric.to_owned(), told);
                self.new.push(metric.to_owned());
                true
            }
        }
    }

    /// Takes note of what else is said of a metric that came.
    pub(crate) fn tell(&mut self, metric: &str, description: &str, unit: Option<&str>) {
        if let Some(Metric { said, .. }) = self.metrics.get_mut(metric) {
            *said = Said::default().description(description).unit(unit.unwrap_or_default());
        }
    }

    /// Has the host know what the metrics are that nobody knew, before it gets samples of them.
    ///
    /// # Errors
    /// Also if so many metrics are new that another try is to settle the rest.
    pub(crate) fn settle<H: SeriesRead + SeriesWrite>(
        &mut self,
        host: &H,
        gauges: &Gauges<Said>,
    ) -> Result<(), SeriesError> {
        for name in std::mem::take(&mut self.new) {
            let Some(metric) = self.metrics.get_mut(&name) else { continue };
            if metric.kind == MetricKind::Gauge && gauges.know(&name, &metric.said) {
                continue;
            }
            let known = self.settling.known(host, &name, Some(metric.kind), &metric.said)?;
            let (told, kept) = (metric.kind, known.kind);
            if told == MetricKind::Gauge && told == kept && metric.said.beside(&known).is_none() {
                gauges.remember(&name, &metric.said);
            }
            metric.known = Some(known);
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
        let new = self.metrics.iter().filter_map(|(name, Metric { said, known, .. })| {
            said.beside(known.as_ref()?).map(|metadata| (name, metadata))
        });
        new.take(LEARNED).try_for_each(|(name, metadata)| host.describe(name, &metadata))
    }
}
