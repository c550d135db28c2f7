//! The one door to metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bellwether_kernel::{Clock, HostId, SeriesId};
use bellwether_store::{Batch, Key, SharedStore, encode};

use crate::catalogue::Catalogue;
use crate::layout::{self, HostRow};
use crate::log::WriteLog;
use crate::watch::Watches;
use crate::{Metric, MetricError};

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

impl ListFilter {
    /// Tells which metrics match.
    pub(crate) fn matcher(&self) -> impl Fn(&Metric) -> bool {
        let part = self.name_contains.as_deref().map(str::to_lowercase);
        move |metric| part.as_ref().is_none_or(|part| metric.definition.name.to_lowercase().contains(part))
    }
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
    /// Entries kept in the log of watched writes until it is trimmed: beyond, the oldest are dropped. At about 200
    /// bytes each, a million take 200 MB.
    pub logged: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { metrics: 10_000, keys: 100_000, samples: 10_000, values: 100_000, logged: 1_000_000 }
    }
}

/// Series' ids kept in memory, by key: at about 200 bytes each, 20 MB.
const CACHED_SERIES: u64 = 100_000;

/// The metrics of every organisation on one store.
pub struct Metrics {
    pub(crate) store: SharedStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) host: HostId,
    pub(crate) limits: Limits,
    pub(crate) catalogue: Catalogue,
    /// By the row of the key. A series keeps its id as long as its metric lives, and a metric's id is in the row
    /// and never used again, so nothing here ever becomes wrong.
    pub(crate) series: moka::sync::Cache<Key, SeriesId>,
    /// Whether hosts but this one ever wrote metrics here.
    pub(crate) other_hosts: AtomicBool,
    pub(crate) watches: Watches,
    pub(crate) log: WriteLog,
}

impl Metrics {
    /// Opens the metrics on `store`; `host` marks the partial aggregates written here.
    ///
    /// # Errors
    /// If the store's.
    pub async fn open(
        store: SharedStore,
        clock: Arc<dyn Clock>,
        host: HostId,
        limits: Limits,
    ) -> Result<Self, MetricError> {
        let row = layout::host(host);
        if store.get(&row).await?.is_none() {
            let mut batch = Batch::new();
            batch.put(row, encode(&HostRow { since: clock.now() }));
            store.commit(batch).await?;
        }
        let log = WriteLog::open(&store, &layout::log(host), &layout::last_logged(host), clock.now()).await?;
        let metrics = Self {
            catalogue: Catalogue::new(Arc::clone(&store)),
            store,
            clock,
            host,
            limits,
            series: moka::sync::Cache::new(CACHED_SERIES),
            other_hosts: AtomicBool::new(false),
            watches: Watches::default(),
            log,
        };
        metrics.learn_other_hosts().await?;
        Ok(metrics)
    }
}
