//! Between the words of this module and the bindings'.

use super::{
    Defined, Definition, IntervalQuery, Metric, MetricError, MetricPage, Point, Samples, SeriesValues,
    Written,
};
use crate::Timestamp;
use crate::bindings::imports::bellwether::host::{metrics_read, metrics_types, metrics_write};

impl From<metrics_types::MetricError> for MetricError {
    fn from(error: metrics_types::MetricError) -> Self {
        use metrics_types::MetricError as Raw;
        match error {
            Raw::UnknownMetric(metric) => Self::UnknownMetric(metric),
            Raw::Invalid(error) => Self::Invalid(error),
            Raw::Conflict(message) => Self::Conflict(message),
            Raw::Forbidden(message) => Self::Forbidden(message),
            Raw::Limit(message) => Self::Limit(message),
            Raw::Unavailable(message) => Self::Unavailable(message),
            Raw::Other(message) => Self::Other(message),
        }
    }
}

impl From<&Definition> for metrics_types::MetricDefinition {
    fn from(definition: &Definition) -> Self {
        let Definition { name, data_type, interval, keyed, description } = definition.clone();
        Self { name, data_type, interval, keyed, description }
    }
}

impl From<metrics_types::Metric> for Metric {
    fn from(metric: metrics_types::Metric) -> Self {
        let metrics_types::Metric { id, definition, time_zone, created } = metric;
        let metrics_types::MetricDefinition { name, data_type, interval, keyed, description } = definition;
        Self {
            id,
            definition: Definition { name, data_type, interval, keyed, description },
            time_zone,
            created: Timestamp::from_milliseconds(created),
        }
    }
}

impl From<metrics_write::Defined> for Defined {
    fn from(defined: metrics_write::Defined) -> Self {
        Self { metric: defined.metric.into(), created: defined.created }
    }
}

impl From<metrics_read::MetricPage> for MetricPage {
    fn from(page: metrics_read::MetricPage) -> Self {
        Self { metrics: page.metrics.into_iter().map(Into::into).collect(), total: page.total }
    }
}

impl From<Samples> for metrics_write::Samples {
    fn from(samples: Samples) -> Self {
        let Samples { metric, key, times, values, weights } = samples;
        // In place: both sides of the map have one layout.
        let times = times.into_iter().map(Timestamp::milliseconds).collect();
        Self { metric, key, times, values, weights }
    }
}

impl From<metrics_write::Written> for Written {
    fn from(written: metrics_write::Written) -> Self {
        Self { interval_start: Timestamp::from_milliseconds(written.interval_start), value: written.value }
    }
}

impl From<&IntervalQuery> for metrics_read::IntervalQuery {
    fn from(query: &IntervalQuery) -> Self {
        let IntervalQuery { metric, keys, start, end, fill } = query.clone();
        Self { metric, keys, start: start.milliseconds(), end: end.milliseconds(), fill }
    }
}

impl From<metrics_read::SeriesValues> for SeriesValues {
    fn from(series: metrics_read::SeriesValues) -> Self {
        let columns = series.starts.into_iter().zip(series.values).zip(series.counts);
        Self {
            key: series.key,
            points: columns
                .map(|((start, value), count)| Point {
                    start: Timestamp::from_milliseconds(start),
                    value,
                    count,
                })
                .collect(),
        }
    }
}
