//! What a call that posts its first write may rely on.

use std::sync::Arc;
use std::time::Duration;

use bellwether_access::Role;
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_metrics::{Fill, IntervalQuery, KeySelection};
use bellwether_store::MemoryStore;

use super::contract::metrics_types::{DataType, Interval, MetricDefinition, MetricError, MetricReference};
use super::contract::metrics_write::{Host as _, Samples};
use super::contract::series_types::SeriesError;
use super::contract::series_write::{self, SeriesSamples};
use super::contract::state::Host as _;
use super::{Call, Posted, Scope, Shared};
use crate::testing::{House, principal};

const OURS: OrganisationId = OrganisationId(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A host whose store can be made full, with the metric `hits`.
struct Host {
    store: Arc<MemoryStore>,
    shared: Arc<Shared>,
    _house: House,
}

impl Host {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let house = House::on(Arc::clone(&store)).await;
        let shared = Arc::new(Shared::new(house.services.clone(), house.limits));
        let host = Self { store, shared, _house: house };
        host.call().define(definition("hits")).await.unwrap();
        host
    }

    fn call(&self) -> Call {
        let grants = ["metrics-write=*", "series-write=*", "state"].map(|text| text.parse().unwrap());
        let scope = Scope::new(Arc::clone(&self.shared), "p".to_owned(), &grants, &Default::default());
        Call::new(Arc::new(scope), Some(principal(1, Role::Write)), None)
    }

    fn posting_call(&self) -> Call {
        let mut call = self.call();
        call.open_for_posting();
        call
    }

    /// What all additions to `hits` come to.
    async fn hits(&self) -> f64 {
        let query = IntervalQuery {
            metric: bellwether_metrics::MetricReference::Name("hits".to_owned()),
            keys: KeySelection::All,
            start: Timestamp::MIN,
            end: Timestamp::MAX,
            fill: Fill::Gaps,
        };
        let series = self.shared.services.metrics.query(OURS, &query).await.unwrap();
        series.iter().flat_map(|series| &series.points).filter_map(|point| point.value).sum()
    }
}

fn definition(name: &str) -> MetricDefinition {
    let (data_type, interval) = (DataType::Sum, Interval::Daily);
    MetricDefinition { name: name.to_owned(), data_type, interval, keyed: false, description: None }
}

fn hit() -> Vec<Samples> {
    let metric = MetricReference::Name("hits".to_owned());
    vec![Samples { metric, key: None, times: Vec::new(), values: vec![1.0], weights: Vec::new() }]
}

fn cpu() -> Vec<SeriesSamples> {
    vec![SeriesSamples { metric: "cpu".to_owned(), tags: Vec::new(), times: vec![1], values: vec![1.0] }]
}

async fn write_series(call: &mut Call, series: Vec<SeriesSamples>) -> Result<u64, SeriesError> {
    series_write::Host::write(call, Vec::new(), series).await
}

#[tokio::test]
async fn a_posted_write_is_there_once_it_was_waited_for() {
    let host = Host::new().await;
    let mut call = host.posting_call();
    call.add(hit()).await.unwrap();
    assert_eq!(host.hits().await, 0.0, "the guest did not wait");
    assert_eq!(call.posted(MINUTE).await, Posted::Kept);
    assert_eq!(host.hits().await, 1.0);
    let mut call = host.posting_call();
    write_series(&mut call, cpu()).await.unwrap();
    assert_eq!(call.posted(MINUTE).await, Posted::Kept);
    assert_eq!(host.shared.services.series.totals().head_samples, 1);
}

#[tokio::test]
async fn a_call_that_may_not_post_waits() {
    let host = Host::new().await;
    let mut call = host.call();
    call.add(hit()).await.unwrap();
    assert_eq!(host.hits().await, 1.0);
}

#[tokio::test]
async fn what_a_call_reads_and_does_next_comes_after_what_it_posted() {
    let host = Host::new().await;
    let mut call = host.posting_call();
    call.add(hit()).await.unwrap();
    call.get("k".to_owned()).await.unwrap();
    assert_eq!(host.hits().await, 1.0, "a read waits for it");
    call.add(hit()).await.unwrap();
    assert_eq!(host.hits().await, 2.0, "only the first write is posted");
    let mut call = host.posting_call();
    call.set("k".to_owned(), Some(b"v".to_vec())).await.unwrap();
    call.add(hit()).await.unwrap();
    assert_eq!(host.hits().await, 3.0, "what came before could not be taken back");
    let mut call = host.posting_call();
    call.define(definition("hits")).await.unwrap();
    call.add(hit()).await.unwrap();
    assert_eq!(host.hits().await, 3.0, "a metric that was there is defined again as well");
    let mut call = host.posting_call();
    call.define(definition("misses")).await.unwrap();
    call.add(hit()).await.unwrap();
    assert_eq!(host.hits().await, 4.0, "one that was not is made once");
}

#[tokio::test]
async fn nothing_is_done_after_a_posted_write_that_did_not_come_to_pass() {
    let host = Host::new().await;
    let mut lost = host.posting_call();
    host.store.set_disk_full(true);
    lost.add(hit()).await.unwrap();
    assert!(lost.get("k".to_owned()).await.is_err());
    host.store.set_disk_full(false);
    assert!(lost.set("k".to_owned(), Some(b"v".to_vec())).await.is_err());
    assert!(lost.add(hit()).await.is_err());
    assert_eq!(lost.posted(MINUTE).await, Posted::Lost);
    assert_eq!(host.hits().await, 0.0);
    assert_eq!(host.call().get("k".to_owned()).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_wrong_with_a_write_is_told_at_once() {
    let host = Host::new().await;
    let mut call = host.posting_call();
    let mut wrong = hit();
    wrong[0].key = Some("k".to_owned());
    assert!(matches!(call.add(wrong).await, Err(MetricError::Invalid(_))));
    let mut wrong = cpu();
    wrong[0].values.clear();
    assert!(write_series(&mut call, wrong).await.is_err());
    call.add(hit()).await.unwrap();
    assert_eq!(host.hits().await, 0.0, "what was refused was not the first write");
}

#[tokio::test]
async fn a_write_that_takes_for_ever_is_not_waited_for_beyond_the_call() {
    let host = Host::new().await;
    let mut call = host.posting_call();
    call.post(std::future::pending::<Result<(), ()>>()).await.unwrap();
    assert_eq!(call.posted(Duration::from_millis(1)).await, Posted::Late);
}
