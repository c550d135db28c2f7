//! What this crate is told by others: the secrets steps are given by name, and the writes metric triggers watch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bellwether_access::{Access, AccessError};
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_metrics::{MetricError, Metrics, NamePattern};
use bellwether_store::StoreError;
use tokio::sync::{Mutex, watch};
use zeroize::Zeroizing;

/// How long a change of the log is waited for before it is looked at all the same: a write whose caller stopped waiting
/// is told of with the next one.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// Where named secrets are kept.
#[async_trait]
pub trait SecretSource: Send + Sync + 'static {
    /// The secret of that name; `None` if there is none.
    ///
    /// # Errors
    /// The store's, or that it does not open.
    async fn secret(
        &self,
        organisation: OrganisationId,
        name: &str,
    ) -> Result<Option<Zeroizing<String>>, AccessError>;
}

/// A source without secrets.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn secret(&self, _: OrganisationId, _: &str) -> Result<Option<Zeroizing<String>>, AccessError> {
        Ok(None)
    }
}

#[async_trait]
impl SecretSource for Access {
    async fn secret(
        &self,
        organisation: OrganisationId,
        name: &str,
    ) -> Result<Option<Zeroizing<String>>, AccessError> {
        let secret = Self::secret(self, organisation, name).await?;
        Ok(secret.map(|secret| Zeroizing::new(secret.value.expose().to_owned())))
    }
}

/// What a write made of one interval of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Its place in the host's log: each write has a greater one than those before it.
    pub sequence: u64,
    /// Whose metric it is.
    pub organisation: OrganisationId,
    /// The metric's name.
    pub metric: String,
    /// The series' key; `None` of a metric without keys.
    pub key: Option<String>,
    /// When the interval begins.
    pub interval_start: Timestamp,
    /// The interval's value before the write; `None` if it had none.
    pub before: Option<f64>,
    /// The interval's value after it.
    pub value: f64,
}

/// The log of what was written to metrics on this host.
#[async_trait]
pub trait Writes: Send + Sync + 'static {
    /// Says of which metrics of an organisation writes are wanted from here on, in place of what was said before: their
    /// names, in which `*` stands for any characters. Writes nobody wants need not be logged.
    fn watch(&self, organisation: OrganisationId, metrics: &[String]);

    /// The writes behind `sequence`, in order, at most `limit`. Never passes one that may yet be committed.
    async fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Write>, StoreError>;

    /// Waits until there may be writes not yet read. May return early, and is asked again within a minute.
    async fn changed(&self);

    /// Nobody needs the writes up to `sequence` any more.
    async fn forget(&self, sequence: u64) -> Result<(), StoreError>;
}

/// The log of the metrics on this host.
pub struct MetricLog {
    metrics: Arc<Metrics>,
    changes: Mutex<watch::Receiver<u64>>,
}

impl MetricLog {
    /// The log of `metrics`.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let changes = Mutex::new(metrics.log_changes());
        Self { metrics, changes }
    }
}

#[async_trait]
impl Writes for MetricLog {
    fn watch(&self, organisation: OrganisationId, metrics: &[String]) {
        // Patterns are checked before a playbook is published.
        let patterns: Vec<NamePattern> = metrics.iter().filter_map(|metric| metric.parse().ok()).collect();
        self.metrics.watch(organisation, patterns);
    }

    async fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Write>, StoreError> {
        let logged = self.metrics.log_after(sequence, limit).await.map_err(of_store)?;
        let writes = logged.into_iter().map(|logged| Write {
            sequence: logged.sequence,
            organisation: logged.organisation,
            metric: logged.name,
            key: logged.key,
            interval_start: logged.interval_start,
            before: logged.before,
            value: logged.after,
        });
        Ok(writes.collect())
    }

    async fn changed(&self) {
        let mut changes = self.changes.lock().await;
        // An error says that the metrics are gone; so is the host then.
        let _ = tokio::time::timeout(LOOKED_AT, changes.changed()).await;
    }

    async fn forget(&self, sequence: u64) -> Result<(), StoreError> {
        self.metrics.trim_log(sequence).await.map_err(of_store)
    }
}

fn of_store(error: MetricError) -> StoreError {
    match error {
        MetricError::Store(error) => error,
        other => StoreError::Failed(other.to_string()),
    }
}
