//! What a host does once it is asked to stop, each in bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::open::{Opened, Services};

/// How long it takes at most to write what is in memory and close the store, where nothing is left of the time to stop.
pub(super) const CLOSING: Duration = Duration::from_secs(2);

/// Begins no more runs but those that requests ask for, and ends what was accepted, until `end`: requests, then evaluations,
/// then the runs at work and deliveries on their way. Apps that are called about incidents end beside these, so that a slow one
/// takes no time from them.
pub(super) async fn stop(
    services: &Services,
    handle: &Handle<SocketAddr>,
    servers: &mut JoinSet<std::io::Result<()>>,
    end: Instant,
) {
    let left = || end.duration_since(Instant::now());
    let ending = async {
        // Who waits for a run that does not begin any more is answered, and holds up no socket.
        services.playbooks.begin_no_more();
        // Requests first: one that was accepted may still begin a run, or wait for one.
        handle.graceful_shutdown(Some(left()));
        while servers.join_next().await.is_some() {}
        services.alerts.stop(left()).await;
        let runs_and_deliveries = async {
            services.playbooks.stop(left()).await;
            // What is cut off is delivered at the next start.
            services.deliveries.stop(left()).await;
        };
        tokio::join!(runs_and_deliveries, services.alerts.end_acts(left()));
    };
    // What is cut off is written down, which waits for the store.
    let _ = tokio::time::timeout_at(end + CLOSING, ending).await;
    if Instant::now() >= end {
        tracing::warn!("not everything had ended in time; runs that had not go on at the next start");
    }
}

impl Opened {
    /// As [`Self::close`], after `before`; until `end` and [`CLOSING`] after. What was acknowledged is in the store's journal:
    /// nothing is lost that is not put into sled by then, the next start does it.
    pub(super) async fn close_by(self, end: Instant, before: impl Future<Output = ()>) {
        let sled = Arc::clone(&self.sled);
        let closing = async {
            before.await;
            self.close().await;
        };
        if tokio::time::timeout_at(end + CLOSING, closing).await.is_err() {
            tracing::warn!(
                "the store was not closed in time; what was acknowledged is in its journal, and the next start reads it"
            );
            // Who drops the store last waits for its writer: nobody does.
            std::mem::forget(sled);
        }
    }

    /// Writes what is still in memory and closes the store.
    pub(super) async fn close(self) {
        if let Err(error) = self.access.flush_last_uses().await {
            tracing::warn!(%error, "the last uses of keys were not written");
        }
        let sled = Arc::clone(&self.sled);
        if tokio::task::spawn_blocking(move || sled.close()).await.is_err() {
            tracing::error!("closing the store failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use bellwether_store::{Batch, Key, Space, Store as _};

    use super::*;
    use crate::settings::Settings;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_takes_long_to_close_holds_up_no_stop_and_loses_nothing_acknowledged() {
        static IS_SLOW: AtomicBool = AtomicBool::new(true);
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { data: folder.path().join("data"), ..Settings::default() };
        let opened = Opened::open(&settings).await.unwrap();
        let key = |number| Key::new(Space::Counter).text("stop").number(number);
        let mut batch = Batch::new();
        batch.put(key(1), "acknowledged");
        opened.sled.commit(batch).await.unwrap();
        // The store's only writer is at work until it is let go on.
        let mut slow = Batch::new();
        slow.merge(key(2), "", |_, _| {
            while IS_SLOW.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(Vec::new())
        });
        let store = opened.store();
        let slow = tokio::spawn(async move { store.commit(slow).await });
        tokio::time::sleep(Duration::from_millis(50)).await;

        let began = Instant::now();
        opened.close_by(began, async {}).await;
        let took = began.elapsed();
        assert!(took >= CLOSING && took < CLOSING + Duration::from_secs(3), "{took:?}");

        // As the end of the process leaves it.
        let left = Settings { data: folder.path().join("left"), ..Settings::default() };
        copy(&settings.data, &left.data);
        let opened = Opened::open(&left).await.unwrap();
        assert_eq!(opened.sled.get(&key(1)).await.unwrap(), Some("acknowledged".into()));
        IS_SLOW.store(false, Ordering::SeqCst);
        slow.await.unwrap().unwrap();
    }

    fn copy(folder: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let to = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy(&path, &to);
            } else {
                fs::copy(&path, to).unwrap();
            }
        }
    }
}
