//! What this crate is told by others: the secrets steps are given by name, and the writes metric triggers watch.

use async_trait::async_trait;
use bellwether_access::AccessError;
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::StoreError;
use zeroize::Zeroizing;

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

/// What a write made of one interval of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Its place in the host's log: each write has a greater one than those before it.
    pub sequence: u64,
    /// Whose metric it is.
    pub organisation: OrganisationId,
    /// The metric's name.
    pub metric: String,
    /// The series' key.
    pub key: String,
    /// When the interval begins.
    pub interval_start: Timestamp,
    /// The interval's value before the write; `None` if it had none.
    pub before: Option<f64>,
    /// The interval's value after it.
    pub value: f64,
}

/// Metrics somebody wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watched {
    /// Whose.
    pub organisation: OrganisationId,
    /// Their names; `*` stands for any characters.
    pub metric: String,
}

/// The log of what was written to metrics on this host.
#[async_trait]
pub trait Writes: Send + Sync + 'static {
    /// Says which writes are wanted from here on, in place of what was said before. Writes nobody wants need not be
    /// logged.
    async fn watch(&self, watched: Vec<Watched>) -> Result<(), StoreError>;

    /// The writes behind `sequence`, in order, at most `limit`. Never passes one that may yet be committed.
    async fn after(&self, sequence: u64, limit: usize) -> Result<Vec<Write>, StoreError>;

    /// Waits until there may be writes not yet read. May return early.
    async fn changed(&self);

    /// Nobody needs the writes up to `sequence` any more.
    async fn forget(&self, sequence: u64) -> Result<(), StoreError>;
}
