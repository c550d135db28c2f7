//! What every handler can reach: the domain services, the settings, and the front's own counters and limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellwether_access::{Access, AuditScope, DataChange, Principal};
use bellwether_alerts::{Alerts, Deliveries, Routes};
use bellwether_kernel::{Clock, Randomness};
use bellwether_metrics::Metrics;
use bellwether_playbooks::Playbooks;
use bellwether_plugins::Plugins;
use bellwether_records::Records;
use bellwether_series::Series;
use bellwether_store::{Batch, Erase, LeftOut, SharedStore, StoreError};
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::mpsc;

use crate::FrontSettings;
use crate::limits::Limits;
use crate::request_id::RequestIds;
use crate::telemetry::Telemetry;

/// What the front serves: every service is opened by the binary and handed in.
#[derive(Clone)]
pub struct Parts {
    /// The store, for its health and backup.
    pub store: SharedStore,
    /// Organisations, keys, the audit log.
    pub access: Arc<Access>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Tagged series.
    pub series: Arc<Series>,
    /// Events and logs.
    pub records: Arc<Records>,
    /// Channels, and what is delivered to them.
    pub deliveries: Arc<Deliveries>,
    /// Playbooks and runs.
    pub playbooks: Arc<Playbooks>,
    /// Monitors, incidents and mutes.
    pub alerts: Arc<Alerts>,
    /// Plugins, and the dialects among them.
    pub plugins: Arc<Plugins>,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Chance, for request ids.
    pub randomness: Arc<dyn Randomness>,
    /// What `/metrics` shows: the handle of the recorder that is installed, see [`crate::prometheus`].
    pub recorder: PrometheusHandle,
    /// Set when the host begins to stop.
    pub stopping: Stopping,
    /// How a backup is begun; `None` for a store that has none.
    pub backup: Option<Backup>,
    /// What the operator set.
    pub settings: FrontSettings,
}

impl Parts {
    /// Who keeps something of organisations that [`Access::erase_deleted`] is to have erased; in the order in which one makes what
    /// the next keeps.
    #[must_use]
    pub fn keepers(&self) -> [Arc<dyn Erase>; 7] {
        [
            Arc::clone(&self.playbooks) as _,
            Arc::clone(&self.alerts) as _,
            Arc::clone(&self.deliveries) as _,
            Arc::clone(&self.plugins) as _,
            Arc::clone(&self.metrics) as _,
            Arc::clone(&self.series) as _,
            Arc::clone(&self.records) as _,
        ]
    }
}

/// Begins a backup without what is named: the parts, put one after the other, are it; an error is the last thing received.
pub type Backup = Arc<dyn Fn(Vec<LeftOut>) -> mpsc::Receiver<Result<Bytes, StoreError>> + Send + Sync>;

/// Whether the host is stopping: `/readyz` answers 503 from then on, so that no more work is sent here, while the
/// requests in flight finish.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// Begins.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What handlers hold.
pub(crate) type Shared = Arc<Services>;

/// [`Parts`] and what the front keeps itself.
pub(crate) struct Services {
    pub(crate) parts: Parts,
    pub(crate) limits: Limits,
    pub(crate) request_ids: RequestIds,
    pub(crate) telemetry: Telemetry,
    /// When this front was made, for the uptime.
    pub(crate) started: std::time::Instant,
}

impl Services {
    pub(crate) fn new(parts: Parts) -> Self {
        let limits = Limits::new(&parts.settings);
        let request_ids = RequestIds::new(&*parts.randomness);
        Self { parts, limits, request_ids, telemetry: Telemetry::new(), started: std::time::Instant::now() }
    }

    pub(crate) fn settings(&self) -> &FrontSettings {
        &self.parts.settings
    }

    /// Tells the audit log of what changes nothing, and goes ahead though it cannot: a disk that is full keeps nobody from
    /// saving what is there, or from looking.
    pub(crate) async fn audit(
        &self,
        scope: AuditScope,
        actor: &str,
        action: &str,
        target: &str,
        details: &[(&str, String)],
    ) {
        let mut batch = Batch::new();
        self.access().audit(&mut batch, scope, actor, action, target, details);
        if let Err(error) = self.parts.store.commit(batch).await {
            tracing::warn!(%error, action, actor, "not told in the audit log");
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    pub(crate) fn series(&self) -> &Series {
        &self.parts.series
    }

    pub(crate) fn records(&self) -> &Records {
        &self.parts.records
    }

    pub(crate) fn playbooks(&self) -> &Arc<Playbooks> {
        &self.parts.playbooks
    }

    pub(crate) fn alerts(&self) -> &Arc<Alerts> {
        &self.parts.alerts
    }

    pub(crate) fn deliveries(&self) -> &Deliveries {
        &self.parts.deliveries
    }

    pub(crate) fn routes(&self) -> &Routes {
        self.parts.alerts.routes()
    }

    pub(crate) fn plugins(&self) -> &Plugins {
        &self.parts.plugins
    }

    pub(crate) fn access(&self) -> &Access {
        &self.parts.access
    }

    /// The audit entry of a change of the organisation's data, for the change's commit to join.
    pub(crate) fn told(&self, principal: &Principal, change: &DataChange<'_>) -> Batch {
        self.access().data_changed(principal, change, None)
    }
}
