//! `bellwether:host/metrics-write`: the caller's role must be write or above, and the grant's patterns cover the
//! metric. What is deleted is told in the caller's audit log.

use std::sync::Arc;

use bellwether_access::{DataChange, Role};
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_metrics::{Defined, MetricError as Refused, RecordedWrite, SampleColumns};
use bellwether_store::Batch;

use super::convert::{covers, definition, metric, metric_error, not_granted, reference_size, timestamp};
use super::effects::{Answer, Effect};
use super::{Call, contract};
use contract::metrics_types::{Metric, MetricDefinition, MetricError, MetricReference};
use contract::metrics_write as wit;

impl wit::Host for Call {
    async fn define(&mut self, wanted: MetricDefinition) -> Result<wit::Defined, MetricError> {
        self.takes(wanted.name.len() + wanted.description.as_ref().map_or(0, String::len));
        self.settle().await.map_err(MetricError::Forbidden)?;
        let caller = self.caller(Role::Write).map_err(MetricError::Forbidden)?;
        let (organisation, time_zone) = (caller.organisation, caller.time_zone.clone());
        if !covers(&self.scope.metrics_write, &wanted.name) {
            return Err(not_granted(&wanted.name));
        }
        let effect = self.effect_of_define(organisation, &wanted);
        if let Some(defined) = self.defined_before(effect.as_ref()).await? {
            return Ok(defined);
        }
        let join = |defined: &Defined| {
            let answer = || Answer::Defined { metric: (*defined.metric).clone(), created: defined.created };
            effect.as_ref().map_or_else(Batch::new, |effect| effect.batch(answer()))
        };
        let metrics = &self.services().metrics;
        match metrics.define_with(organisation, &time_zone, definition(wanted), join).await {
            Ok(defined) => {
                self.counted(effect.as_ref());
                if defined.created {
                    self.acted();
                }
                Ok(wit::Defined { metric: metric(&defined.metric), created: defined.created })
            }
            Err(error) if happened(effect.as_ref(), &error) => {
                self.defined_before(effect.as_ref()).await?.ok_or_else(|| metric_error(error))
            }
            Err(error) => Err(metric_error(error)),
        }
    }

    async fn delete(&mut self, reference: MetricReference) -> Result<Metric, MetricError> {
        self.takes(reference_size(&reference));
        let organisation = self.metrics_caller(Role::Write).await?;
        let effect = self.effect_of_delete(organisation, &reference);
        if let Some(deleted) = self.deleted_before(effect.as_ref()).await? {
            return Ok(deleted);
        }
        let reference = self.reference(organisation, reference, &self.scope.metrics_write).await?;
        let join = |deleted: &bellwether_metrics::Metric| {
            let name = &deleted.definition.name;
            let mut batch = self.told(&DataChange::DeleteMetric { name, id: deleted.id });
            if let Some(effect) = &effect {
                batch.append(effect.batch(Answer::Deleted(deleted.clone())));
            }
            batch
        };
        match self.services().metrics.delete_with(organisation, &reference, join).await {
            Ok(deleted) => {
                self.counted(effect.as_ref());
                Ok(metric(&deleted))
            }
            // Two repeats at once: the other one was first, whether or not its metric is known to be gone here.
            Err(error) => self.deleted_before(effect.as_ref()).await?.ok_or_else(|| metric_error(error)),
        }
    }

    async fn write(&mut self, samples: Vec<wit::Samples>) -> Result<Vec<wit::Written>, MetricError> {
        self.takes(samples.iter().map(size).sum());
        let organisation = self.metrics_caller(Role::Write).await?;
        let Some(effect) = self.effect_of_write(organisation, &samples) else {
            let entries = self.entries(organisation, samples).await?;
            let metrics = &self.services().metrics;
            let written = metrics.write_columns(organisation, &entries, Batch::new()).await;
            return Ok(answers(written.map_err(metric_error)?));
        };
        let metrics = &self.services().metrics;
        let written = match self.entries(organisation, samples).await {
            Ok(entries) => metrics.write_once(organisation, &entries, effect.record()).await,
            // It may have happened: the step may have deleted its metrics since.
            Err(error) => match metrics.recorded(effect.record()).await.map_err(metric_error)? {
                Some(before) => Ok(before),
                None => return Err(error),
            },
        };
        Ok(self.written(&effect, written.map_err(metric_error)?))
    }

    async fn add(&mut self, samples: Vec<wit::Samples>) -> Result<(), MetricError> {
        if self.effects.is_some() {
            return self.write(samples).await.map(drop);
        }
        self.takes(samples.iter().map(size).sum());
        let organisation = self.reach_to_post().await.map_err(MetricError::Forbidden)?.organisation;
        let entries = self.entries(organisation, samples).await?;
        let metrics = Arc::clone(&self.services().metrics);
        let write = async move { metrics.write_columns(organisation, &entries, Batch::new()).await };
        self.post(write).await.map_err(metric_error)
    }
}

impl Call {
    /// Samples as they are stored, each metric looked for that it is granted.
    async fn entries(
        &self,
        organisation: OrganisationId,
        samples: Vec<wit::Samples>,
    ) -> Result<Vec<SampleColumns>, MetricError> {
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
        Ok(entries)
    }

    /// Takes note of a write, done now or before, and answers it.
    fn written(&mut self, effect: &Effect, write: RecordedWrite) -> Vec<wit::Written> {
        self.counted(Some(effect));
        if write.repeats == Some(false) {
            self.differs(effect);
        }
        answers(write.written)
    }

    async fn defined_before(&mut self, effect: Option<&Effect>) -> Result<Option<wit::Defined>, MetricError> {
        match self.repeated(effect).await {
            Ok(Some(Answer::Defined { metric: defined, created })) => {
                Ok(Some(wit::Defined { metric: metric(&defined), created }))
            }
            Ok(_) => Ok(None),
            Err(error) => Err(metric_error(error.into())),
        }
    }

    async fn deleted_before(&mut self, effect: Option<&Effect>) -> Result<Option<Metric>, MetricError> {
        match self.repeated(effect).await {
            Ok(Some(Answer::Deleted(deleted))) => Ok(Some(metric(&deleted))),
            Ok(_) => Ok(None),
            Err(error) => Err(metric_error(error.into())),
        }
    }
}

/// Bytes of samples as they were handed over.
fn size(samples: &wit::Samples) -> usize {
    let numbers = samples.times.len() + samples.values.len() + samples.weights.len();
    reference_size(&samples.metric) + samples.key.as_ref().map_or(0, String::len) + numbers * 8
}

fn happened(effect: Option<&Effect>, error: &Refused) -> bool {
    matches!((effect, error), (Some(effect), Refused::Store(error)) if effect.happened(error))
}

fn answers(written: Vec<bellwether_metrics::Written>) -> Vec<wit::Written> {
    let answer = |entry: bellwether_metrics::Written| wit::Written {
        interval_start: entry.interval_start.as_milliseconds(),
        value: entry.value,
    };
    written.into_iter().map(answer).collect()
}
