//! Work that waits for the disk or computes for long.

use crate::StoreError;

/// Does `work` on a thread that may block; `what` it is stands in the error if it panics. Within a tokio runtime.
///
/// # Errors
/// Its own; [`StoreError::Failed`] if it panics.
pub async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Failed(format!("{what}: {error}")))?
}
