//! What the service as a whole promises, on the memory store.

mod concurrency;
mod definitions;
mod deletion;
mod erasing;
mod log;
mod query;
mod write;

use std::sync::Arc;

use bellwether_kernel::{FieldError, HostId, ManualClock, Moment, OrganisationId, Timestamp};
use bellwether_store::{Batch, Direction, Key, MemoryStore, Row, SharedStore, Space, Store};

use crate::{
    DataType, Definition, Fill, Interval, IntervalQuery, KeySelection, Limits, MetricError, MetricReference,
    Metrics, Sample, SampleColumns, SeriesValues, Written,
};

const OURS: OrganisationId = OrganisationId(1);

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn by_name(name: &str) -> MetricReference {
    MetricReference::Name(name.to_owned())
}

fn definition(name: &str, data_type: DataType, interval: Interval, keyed: bool) -> Definition {
    Definition { name: name.to_owned(), data_type, interval, keyed, description: None }
}

fn sample(metric: &str, key: Option<&str>, value: f64) -> Sample {
    let metric = by_name(metric);
    Sample { metric, key: key.map(str::to_owned), value: Some(value), time: None, weight: None }
}

async fn rows(store: &dyn Store, space: Space) -> Vec<Row> {
    store.scan(Key::new(space).prefix(), Direction::Forward, usize::MAX).await.unwrap()
}

/// The metrics of one host, its store and its clock.
struct House {
    metrics: Arc<Metrics>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
}

impl House {
    async fn new() -> Self {
        Self::on(MemoryStore::new()).await
    }

    async fn on(store: MemoryStore) -> Self {
        Self::with(Arc::new(store), HostId(1), Limits::default()).await
    }

    async fn limited(limits: Limits) -> Self {
        Self::with(Arc::default(), HostId(1), limits).await
    }

    async fn with(store: Arc<MemoryStore>, host: HostId, limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::new(at("2024-04-09T14:44:00Z")));
        let shared = Arc::clone(&store) as SharedStore;
        let metrics = Metrics::open(shared, Arc::clone(&clock) as _, host, limits).await.unwrap();
        Self { metrics: Arc::new(metrics), store, clock }
    }

    /// Has a row hold what does not read.
    async fn damage(&self, row: Key) {
        let mut batch = Batch::new();
        batch.put(row, "?");
        self.store.commit(batch).await.unwrap();
    }

    async fn define(&self, name: &str, data_type: DataType, interval: Interval, keyed: bool) {
        let definition = definition(name, data_type, interval, keyed);
        assert!(self.metrics.define(OURS, "UTC", definition).await.unwrap().created);
    }

    async fn write(&self, samples: &[Sample]) -> Result<Vec<Written>, MetricError> {
        self.metrics.write(OURS, samples, Batch::new()).await
    }

    /// Writes one value now, as plugins do, and gives what its interval has then.
    async fn add(&self, metric: &str, key: Option<&str>, value: f64) -> f64 {
        let (metric, key) = (by_name(metric), key.map(str::to_owned));
        let columns =
            SampleColumns { metric, key, times: Vec::new(), values: vec![value], weights: Vec::new() };
        self.metrics.write_columns(OURS, &[columns], Batch::new()).await.unwrap()[0].value
    }

    async fn query(&self, metric: &str, start: &str, end: &str, fill: Fill) -> Vec<SeriesValues> {
        let query = IntervalQuery {
            metric: by_name(metric),
            keys: KeySelection::All,
            start: at(start),
            end: at(end),
            fill,
        };
        self.metrics.query(OURS, &query).await.unwrap()
    }

    /// Each series' key and values over all time.
    async fn values(&self, metric: &str) -> Vec<(Option<String>, Vec<f64>)> {
        let series = self.query(metric, "0001-01-01", "9999-12-30", Fill::Gaps).await;
        let values = |series: &SeriesValues| series.points.iter().map(|point| point.value.unwrap()).collect();
        series.iter().map(|series| (series.key.clone(), values(series))).collect()
    }
}

/// The field error of a refused call.
fn field<T: std::fmt::Debug>(result: Result<T, MetricError>) -> FieldError {
    match result {
        Err(MetricError::Invalid(error)) => error,
        other => panic!("expected a field error, got {other:?}"),
    }
}
