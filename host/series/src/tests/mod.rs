//! What the service as a whole promises, on the memory store.

mod crash;
mod damage;
mod erasing;
mod forgetting;
mod functions;
mod keeping;
mod many;
mod matching;
mod query;
mod roll_ups;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_kernel::{HostId, ManualClock, OrganisationId, Timestamp};
use bellwether_store::{Batch, MemoryStore, Objects};

use crate::{Filter, Limits, Parts, Samples, Series, SeriesError, SeriesSamples};

const OURS: OrganisationId = OrganisationId(1);
const DAY: i64 = 24 * 60 * 60 * 1000;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn entry(metric: &str, tags: &[&str], samples: &[(i64, f64)]) -> SeriesSamples {
    let mut columns = Samples::default();
    samples.iter().for_each(|(time, value)| columns.push(*time, *value));
    SeriesSamples {
        metric: metric.to_owned(),
        tags: tags.iter().map(ToString::to_string).collect(),
        samples: columns,
    }
}

/// The series of one host, its store, its folder and its clock.
struct House {
    series: Series,
    store: Arc<MemoryStore>,
    objects: Objects,
    clock: Arc<ManualClock>,
    folder: Arc<tempfile::TempDir>,
}

impl House {
    async fn new() -> Self {
        Self::limited(Limits { steady: std::time::Duration::ZERO, ..Limits::default() }).await
    }

    async fn limited(limits: Limits) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::new(at("2026-03-01T12:00:00Z")));
        Self::on(Arc::default(), folder, clock, limits).await.unwrap()
    }

    async fn on(
        store: Arc<MemoryStore>,
        folder: Arc<tempfile::TempDir>,
        clock: Arc<ManualClock>,
        limits: Limits,
    ) -> Result<Self, SeriesError> {
        let objects = Objects::open(folder.path()).unwrap();
        let parts = Parts {
            store: Arc::clone(&store) as _,
            objects: objects.clone(),
            clock: Arc::clone(&clock) as _,
            host: HostId(1),
            limits,
        };
        Ok(Self { series: Series::open(parts).await?, store, objects, clock, folder })
    }

    /// The same store after the process ended and began again.
    async fn restarted(&self) -> Self {
        let limits = *self.series.limits();
        let store = Arc::new(self.store.restart());
        Self::on(store, Arc::clone(&self.folder), Arc::clone(&self.clock), limits).await.unwrap()
    }

    async fn write(&self, series: &[SeriesSamples]) -> Result<(), SeriesError> {
        self.series.write(OURS, series, Batch::new()).await
    }

    /// Every series of a metric with its samples.
    async fn all(&self, metric: &str) -> BTreeMap<Vec<String>, Vec<(i64, f64)>> {
        let range = (Timestamp::MIN, Timestamp::MAX);
        let raw = self.series.raw(OURS, metric, &Filter::All, range).await.unwrap();
        let owned = |tags: Vec<Arc<str>>| tags.iter().map(ToString::to_string).collect();
        let points = |samples: Samples| samples.times.into_iter().zip(samples.values).collect();
        raw.into_iter().map(|series| (owned(series.tags), points(series.samples))).collect()
    }

    fn now(&self) -> i64 {
        use bellwether_kernel::Clock as _;
        self.clock.now().as_milliseconds()
    }

    async fn one(&self, metric: &str) -> Vec<(i64, f64)> {
        self.all(metric).await.into_values().next().unwrap_or_default()
    }

    /// Bytes of the files in the folder of segments.
    fn bytes(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }
}
