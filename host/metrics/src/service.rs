//! The one door to metrics.

use std::sync::Arc;

use bellwether_kernel::{Clock, HostId, OrganisationId};
use bellwether_store::{Batch, SharedStore};

use crate::{Definition, IntervalQuery, Metric, MetricError, MetricReference, Sample, SampleColumns, SeriesValues, Written};

/// A metric and whether the call made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defined {
    /// The metric.
    pub metric: Arc<Metric>,
    /// Whether it is new.
    pub created: bool,
}

/// Which metrics are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Only names that contain this, letter case ignored.
    pub name_contains: Option<String>,
}

/// A page of metrics, ordered by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricPage {
    /// The metrics.
    pub metrics: Vec<Arc<Metric>>,
    /// How many match in all.
    pub total: u64,
}

/// How much one organisation may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Metrics of one organisation.
    pub metrics: u64,
    /// Keys of one metric.
    pub keys: u64,
    /// Samples of one write.
    pub samples: usize,
    /// Values one query may answer.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { metrics: 10_000, keys: 100_000, samples: 10_000, values: 100_000 }
    }
}

/// The metrics of every organisation on one store.
pub struct Metrics {
    _store: SharedStore,
    _clock: Arc<dyn Clock>,
    _host: HostId,
    _limits: Limits,
}

impl Metrics {
    /// Opens the metrics on `store`; `host` marks the partial aggregates written here.
    ///
    /// # Errors
    /// If the store does.
    pub async fn open(store: SharedStore, clock: Arc<dyn Clock>, host: HostId, limits: Limits) -> Result<Self, MetricError> {
        Ok(Self { _store: store, _clock: clock, _host: host, _limits: limits })
    }

    /// Creates a metric whose intervals begin in `time_zone` (an IANA name), or returns the one of that name if its
    /// definition is the same.
    pub async fn define(&self, organisation: OrganisationId, time_zone: &str, definition: Definition) -> Result<Defined, MetricError> {
        todo!()
    }

    /// One metric.
    pub async fn get(&self, organisation: OrganisationId, metric: &MetricReference) -> Result<Arc<Metric>, MetricError> {
        todo!()
    }

    /// `limit` of the metrics that match `filter` and `visible`, after the first `offset` such.
    pub async fn list(&self, organisation: OrganisationId, filter: &ListFilter, visible: &(dyn Fn(&Metric) -> bool + Sync), offset: u64, limit: usize) -> Result<MetricPage, MetricError> {
        todo!()
    }

    /// Deletes a metric; its data is freed in the background.
    pub async fn delete(&self, organisation: OrganisationId, metric: &MetricReference) -> Result<Arc<Metric>, MetricError> {
        todo!()
    }

    /// Adds samples and whatever `join` holds in one commit: all are durable when this returns, or none is. One answer
    /// per sample, in order.
    pub async fn write(&self, organisation: OrganisationId, samples: &[Sample], join: Batch) -> Result<Vec<Written>, MetricError> {
        todo!()
    }

    /// As [`Self::write`], for samples in columns: one answer per entry.
    pub async fn write_columns(&self, organisation: OrganisationId, samples: &[SampleColumns], join: Batch) -> Result<Vec<Written>, MetricError> {
        todo!()
    }

    /// Answers a query, series ordered by key.
    pub async fn query(&self, organisation: OrganisationId, query: &IntervalQuery) -> Result<Vec<SeriesValues>, MetricError> {
        todo!()
    }
}
