//! That what a real component does in a step is done once, however its host dies.

use std::sync::Arc;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_metrics::{
    DataType, Definition, Fill, Interval, IntervalQuery, KeySelection, MetricReference,
};
use bellwether_playbooks::{AppCall, AppReport, Apps, EffectScope};
use bellwether_store::{Crash, MemoryStore};

use crate::testing::{House, app, app_call};
use crate::{Owner, Plugins};

const OURS: OrganisationId = OrganisationId(1);

/// Writes 1 to the metric `hits`, which lies at 2048 as the contract lays samples out.
const WRITES: &str = r#"(import "bellwether:host/metrics-write@0.1.0" "write" (func $write (param i32 i32 i32)))
    (data (i32.const 1990) "hits")
    (data (i32.const 2048) "\01\00\00\00\00\00\00\00" "\c6\07\00\00\04\00\00\00" "\00\00\00\00\00\00\00\00\00\00\00\00"
        "\00\00\00\00\00\00\00\00" "\98\08\00\00\01\00\00\00" "\00\00\00\00\00\00\00\00")
    (data (i32.const 2200) "\00\00\00\00\00\00\f0\3f")"#;

/// Does so and traps if that is refused.
const WRITE: &str = "(call $write (i32.const 2048) (i32.const 1) (i32.const 3000))
    (if (i32.load8_u (i32.const 3000)) (then (unreachable)))";

async fn run(plugins: &Plugins, step: &str) -> AppReport {
    let call = AppCall {
        effects: Some(EffectScope {
            run: "01890000-0000-7000-8000-000000000001".parse().unwrap(),
            step: step.to_owned(),
            item: None,
        }),
        ..app_call()
    };
    plugins.app(OURS, "probe").unwrap().run(call).await
}

async fn hits(house: &House) -> f64 {
    let query = IntervalQuery {
        metric: MetricReference::Name("hits".to_owned()),
        keys: KeySelection::All,
        start: Timestamp::MIN,
        end: Timestamp::MAX,
        fill: Fill::Gaps,
    };
    let series = house.services.metrics.query(OURS, &query).await.unwrap();
    series.iter().flat_map(|series| &series.points).filter_map(|point| point.value).sum()
}

/// A host with the metric and a plugin that does `body`.
async fn installed(store: &Arc<MemoryStore>, body: &str) -> House {
    let house = House::on(Arc::clone(store)).await;
    let definition = Definition {
        name: "hits".to_owned(),
        data_type: DataType::Sum,
        interval: Interval::Daily,
        keyed: false,
        description: None,
    };
    house.services.metrics.define(OURS, "UTC", definition).await.unwrap();
    let grants = vec!["metrics-write=*".parse().unwrap()];
    let plugins = house.plugins().await;
    plugins.install(Owner::Host, "host", app(WRITES, "", body), grants, false).await.unwrap();
    house
}

#[tokio::test]
async fn a_component_that_writes_and_dies_counts_once_when_its_step_is_repeated() {
    let store = Arc::new(MemoryStore::new());
    let house = installed(&store, &format!("{WRITE} (unreachable)")).await;
    let plugins = house.plugins().await;
    for step in ["first", "first", "first", "second", "second"] {
        let report = run(&plugins, step).await;
        assert!(report.result.is_err(), "it dies after it wrote");
    }
    assert_eq!(hits(&house).await, 2.0, "one for each step");
}

#[tokio::test]
async fn a_component_whose_host_dies_counts_once_when_its_step_is_repeated() {
    let body = format!("{WRITE} {WRITE} (global.get $ok)");
    for commit in 1..=3 {
        for crash in [Crash::Before(commit), Crash::After(commit)] {
            let store = Arc::new(MemoryStore::new());
            let house = installed(&store, &body).await;
            let store = Arc::new(store.restart_with_crashes(crash));
            let house = house.again(Arc::clone(&store)).await;
            let report = run(&*house.plugins().await, "step").await;
            assert_eq!(report.result.is_ok(), commit == 3, "{crash:?}: {report:?}");

            let house = house.again(Arc::new(store.restart())).await;
            for _ in 0..2 {
                let report = run(&*house.plugins().await, "step").await;
                assert!(report.result.is_ok(), "{crash:?}: {report:?}");
            }
            assert_eq!(hits(&house).await, 2.0, "{crash:?}");
        }
    }
}
