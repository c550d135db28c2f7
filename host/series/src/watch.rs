//! Reading what is written, in order, from where one stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::OrganisationId;
use bellwether_store::{Direction, StoreError};
use tokio::sync::watch;

use crate::log::{self, Columns};
use crate::service::Series;
use crate::{Samples, SeriesError, layout};

/// Samples of one series that were written.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenSamples {
    /// Whose they are.
    pub organisation: OrganisationId,
    /// The metric.
    pub metric: Arc<str>,
    /// The tags, in order.
    pub tags: Vec<Arc<str>>,
    /// In the order they were written.
    pub samples: Samples,
}

/// What was written behind some place of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrittenPart {
    /// In the order of the writes; series deleted since are left out.
    pub written: Vec<WrittenSamples>,
    /// The place up to which this is everything: where to go on.
    pub last: u64,
    /// Whether something before it was dropped unread: who asked lagged too far behind.
    pub missed: bool,
}

impl Series {
    /// The place of the last write, and every later one as it happens.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// Keeps the log from this place on, as far as [`crate::Limits::watched_rows`] allows: all before was read by
    /// everyone. `None` if nobody reads it any more.
    pub fn keep_from(&self, place: Option<u64>) {
        self.shared.watched.store(place.unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Up to `rows` rows of the log behind `place`.
    ///
    /// # Errors
    /// If the store's.
    pub async fn written_after(&self, place: u64, rows: usize) -> Result<WrittenPart, SeriesError> {
        let applied = *self.shared.applied.borrow();
        let key = layout::log(self.shared.parts.host);
        let range = key.clone().number(place.saturating_add(1))..key.number(applied.saturating_add(1));
        // Before the rows: what is removed meanwhile is then told as missed.
        let found = self.shared.parts.store.scan(range, Direction::Forward, rows).await?;
        let first = self.shared.first_row.load(Ordering::Acquire);
        let mut part = WrittenPart { missed: place + 1 < first, ..WrittenPart::default() };
        let indexes = self.shared.all_indexes();
        part.last = if found.len() < rows { applied.max(place) } else { place };
        for (key, row) in found {
            let mut columns = Columns::default();
            let number = layout::number_behind_host(&key)?;
            log::read(&row, &mut columns).ok_or_else(|| {
                StoreError::Damaged(format!("row {number} of the log of samples does not read"))
            })?;
            for (series, times, values) in columns.iter() {
                let owner = indexes.iter().find_map(|(organisation, index)| {
                    index.read().identity(series).map(|identity| (*organisation, identity))
                });
                if let Some((organisation, (metric, tags))) = owner {
                    let samples = Samples { times: times.to_vec(), values: values.to_vec() };
                    part.written.push(WrittenSamples { organisation, metric, tags, samples });
                }
            }
            part.last = part.last.max(number);
        }
        Ok(part)
    }
}
