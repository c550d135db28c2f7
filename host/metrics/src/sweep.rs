//! Freeing the data of deleted metrics, a bounded piece at a time.

use std::sync::atomic::Ordering;

use bellwether_store::{Batch, Direction};

use crate::{MetricError, Metrics, layout};

/// Rows freed in one commit: small enough that no writer waits long behind it.
const ROWS: usize = 500;

/// What one [`Metrics::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows freed.
    pub rows: u64,
    /// Deleted metrics whose data is all freed now.
    pub metrics: u64,
    /// Whether there may be more to free: then sweep again soon.
    pub more: bool,
}

impl Metrics {
    /// Frees up to `budget` rows of deleted metrics and learns which other hosts write to the store; to be called
    /// every minute or so. A sweep that is cut short goes on where it stopped: what marks a metric for freeing is
    /// deleted last.
    ///
    /// # Errors
    /// If the store's. What was freed stays so.
    pub async fn sweep(&self, budget: usize) -> Result<Swept, MetricError> {
        self.learn_other_hosts().await?;
        let mut swept = Swept::default();
        let mut left = budget;
        while left > 0 {
            let next = self.store.scan(layout::deletions().prefix(), Direction::Forward, 1).await?;
            let Some((deletion, _)) = next.into_iter().next() else { return Ok(swept) };
            let (organisation, metric) = layout::metric_of(&deletion)?;
            let mut freed_all = true;
            for space in [layout::all_buckets(organisation, metric), layout::all_series(organisation, metric)]
            {
                while left > 0 {
                    let page = left.min(ROWS);
                    let rows = self.store.scan(space.prefix(), Direction::Forward, page).await?;
                    let found = rows.len();
                    let mut batch = Batch::new();
                    for (key, _) in rows {
                        batch.delete(key);
                    }
                    if found > 0 {
                        self.store.commit(batch).await?;
                    }
                    left -= found;
                    swept.rows += found as u64;
                    if found < page {
                        break;
                    }
                }
                // Stopped by the budget, not by the end of the rows.
                freed_all &= left > 0;
            }
            if freed_all {
                let mut batch = Batch::new();
                batch.delete(deletion);
                self.store.commit(batch).await?;
                left -= 1;
                swept.rows += 1;
                swept.metrics += 1;
            }
        }
        swept.more = true;
        Ok(swept)
    }

    /// Learns whether any host but this one ever wrote metrics to the store.
    pub(crate) async fn learn_other_hosts(&self) -> Result<(), MetricError> {
        let own = layout::host(self.host);
        let hosts = self.store.scan(layout::hosts().prefix(), Direction::Forward, 2).await?;
        self.other_hosts.store(hosts.iter().any(|(key, _)| *key != own), Ordering::Relaxed);
        Ok(())
    }
}
