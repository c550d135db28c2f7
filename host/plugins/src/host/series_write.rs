//! `bellwether:host/series-write`: the caller's role must be write or above, and the grant's patterns cover the metric.
//!
//! A step that is repeated writes the same samples again, and the last of one time holds: it needs no record.

use bellwether_access::Role;
use bellwether_series::{Samples, SeriesSamples};
use bellwether_store::Batch;

use super::series_convert::{filter, granted, known, series_error};
use super::{Call, contract};
use contract::series_types::{Metadata, SeriesError};
use contract::series_write as wit;

impl wit::Host for Call {
    async fn write(
        &mut self,
        shared_tags: Vec<String>,
        series: Vec<wit::SeriesSamples>,
    ) -> Result<u64, SeriesError> {
        let organisation = self.series_caller(Role::Write)?;
        let mut written = 0;
        let mut entries = Vec::with_capacity(series.len());
        for entry in series {
            granted(&self.scope.series_write, &entry.metric)?;
            written += entry.times.len() as u64;
            let tags =
                if shared_tags.is_empty() { entry.tags } else { [entry.tags, shared_tags.clone()].concat() };
            let samples = Samples { times: entry.times, values: entry.values };
            entries.push(SeriesSamples { metric: entry.metric, tags, samples });
        }
        let series = &self.services().series;
        series.write(organisation, &entries, Batch::new()).await.map_err(series_error)?;
        Ok(written)
    }

    async fn describe(&mut self, metric: String, metadata: Metadata) -> Result<(), SeriesError> {
        let organisation = self.series_caller(Role::Write)?;
        granted(&self.scope.series_write, &metric)?;
        let series = &self.services().series;
        series.describe(organisation, &metric, known(metadata), Batch::new()).await.map_err(series_error)
    }

    async fn delete(&mut self, metric: String, text: String) -> Result<u64, SeriesError> {
        let organisation = self.series_caller(Role::Write)?;
        granted(&self.scope.series_write, &metric)?;
        let filter = filter(&text)?;
        self.services().series.delete(organisation, &metric, filter, Batch::new()).await.map_err(series_error)
    }
}
