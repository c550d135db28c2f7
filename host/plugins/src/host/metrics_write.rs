//! `bellwether:host/metrics-write`: the caller's role must be write or above, and the grant's patterns cover the
//! metric.

use bellwether_access::Role;
use bellwether_kernel::Timestamp;
use bellwether_metrics::SampleColumns;
use bellwether_store::Batch;

use super::convert::{covers, definition, metric, metric_error, not_granted, timestamp};
use super::{Call, contract};
use contract::metrics_types::{Metric, MetricDefinition, MetricError, MetricReference};
use contract::metrics_write as wit;

impl wit::Host for Call {
    async fn define(&mut self, wanted: MetricDefinition) -> Result<wit::Defined, MetricError> {
        let (organisation, time_zone) = self.organisation(Role::Write).map_err(MetricError::Forbidden)?;
        if !covers(&self.scope.metrics_write, &wanted.name) {
            return Err(not_granted(&wanted.name));
        }
        let defined = self.services().metrics.define(organisation, time_zone, definition(wanted)).await;
        let defined = defined.map_err(metric_error)?;
        Ok(wit::Defined { metric: metric(&defined.metric), created: defined.created })
    }

    async fn delete(&mut self, reference: MetricReference) -> Result<Metric, MetricError> {
        let (organisation, _) = self.organisation(Role::Write).map_err(MetricError::Forbidden)?;
        let reference = self.reference(organisation, reference, &self.scope.metrics_write).await?;
        let deleted = self.services().metrics.delete(organisation, &reference).await.map_err(metric_error)?;
        Ok(metric(&deleted))
    }

    async fn write(&mut self, samples: Vec<wit::Samples>) -> Result<Vec<wit::Written>, MetricError> {
        let (organisation, _) = self.organisation(Role::Write).map_err(MetricError::Forbidden)?;
        let mut entries = Vec::with_capacity(samples.len());
        for (index, entry) in samples.into_iter().enumerate() {
            let times = entry.times.into_iter().enumerate();
            let times: Result<Vec<Timestamp>, _> =
                times.map(|(at, time)| timestamp(time, || format!("samples[{index}].times[{at}]"))).collect();
            entries.push(SampleColumns {
                metric: self.reference(organisation, entry.metric, &self.scope.metrics_write).await?,
                key: entry.key,
                times: times?,
                values: entry.values,
                weights: entry.weights,
            });
        }
        let written = self.services().metrics.write_columns(organisation, &entries, Batch::new()).await;
        let written = written.map_err(metric_error)?.into_iter();
        Ok(written
            .map(|entry| wit::Written {
                interval_start: entry.interval_start.as_milliseconds(),
                value: entry.value,
            })
            .collect())
    }
}
