//! `bellwether:host/metrics-read`: every caller's role may read; the grant's patterns decide which metrics there are.

use bellwether_access::Role;
use bellwether_kernel::FieldError;
use bellwether_metrics::{Fill, IntervalQuery, KeySelection, ListFilter, SeriesValues};

use super::convert::{covers, field_error, metric, metric_error, reference_size, timestamp};
use super::{Call, contract};
use crate::limits;
use contract::metrics_read as wit;
use contract::metrics_types::{Metric, MetricError, MetricReference};

impl wit::Host for Call {
    async fn get(&mut self, reference: MetricReference) -> Result<Metric, MetricError> {
        self.takes(reference_size(&reference));
        let organisation = self.metrics_caller(Role::Read).await?;
        let reference = self.reference(organisation, reference, &self.scope.metrics_read).await?;
        let found = self.services().metrics.get(organisation, &reference).await.map_err(metric_error)?;
        Ok(metric(&found))
    }

    async fn list_metrics(&mut self, offset: u64, limit: u32) -> Result<wit::MetricPage, MetricError> {
        let organisation = self.metrics_caller(Role::Read).await?;
        if !(1..=limits::PAGE).contains(&limit) {
            let expected = format!("1 to {}", limits::PAGE);
            return Err(MetricError::Invalid(field_error(FieldError::new("limit", limit, expected))));
        }
        let patterns = &self.scope.metrics_read;
        let visible = |metric: &bellwether_metrics::Metric| covers(patterns, &metric.definition.name);
        let metrics = &self.services().metrics;
        let page = metrics.list(organisation, &ListFilter::default(), &visible, offset, limit as usize).await;
        let page = page.map_err(metric_error)?;
        Ok(wit::MetricPage {
            metrics: page.metrics.iter().map(|found| metric(found)).collect(),
            total: page.total,
        })
    }

    async fn query(&mut self, query: wit::IntervalQuery) -> Result<Vec<wit::SeriesValues>, MetricError> {
        let keys = match &query.keys {
            wit::KeySelection::All => 0,
            wit::KeySelection::Keys(keys) => keys.iter().map(String::len).sum(),
        };
        self.takes(reference_size(&query.metric) + keys);
        let organisation = self.metrics_caller(Role::Read).await?;
        let query = IntervalQuery {
            metric: self.reference(organisation, query.metric, &self.scope.metrics_read).await?,
            keys: match query.keys {
                wit::KeySelection::All => KeySelection::All,
                wit::KeySelection::Keys(keys) => KeySelection::Keys(keys),
            },
            start: timestamp(query.start, || "start".to_owned())?,
            end: timestamp(query.end, || "end".to_owned())?,
            fill: match query.fill {
                wit::Fill::Gaps => Fill::Gaps,
                wit::Fill::Zero => Fill::Zero,
                wit::Fill::Previous => Fill::Previous,
            },
        };
        let series = self.services().metrics.query(organisation, &query).await.map_err(metric_error)?;
        Ok(series.into_iter().map(columns).collect())
    }
}

fn columns(series: SeriesValues) -> wit::SeriesValues {
    let points = &series.points;
    wit::SeriesValues {
        starts: points.iter().map(|point| point.start.as_milliseconds()).collect(),
        values: points.iter().map(|point| point.value).collect(),
        counts: points.iter().map(|point| point.count).collect(),
        key: series.key,
    }
}
