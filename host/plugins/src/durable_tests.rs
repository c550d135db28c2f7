//! That what a real component writes is written once, however its host dies, and never said to be where it is not.

use std::sync::Arc;

use bellwether_access::Role;
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_metrics::{
    DataType, Definition, Fill, Interval, IntervalQuery, KeySelection, MetricReference,
};
use bellwether_playbooks::{AppCall, AppReport, Apps, EffectScope};
use bellwether_store::{Crash, MemoryStore};
use bytes::Bytes;
use http::HeaderMap;

use crate::testing::{House, app, app_call, dialect, principal};
use crate::{DialectRequest, Owner, Plugins, RouteMatch};

const OURS: OrganisationId = OrganisationId(1);

/// Imports `function`, which writes 1 to the metric `hits` when it is given what lies at 2048, as the contract lays samples
/// out.
fn writes(function: &str) -> String {
    format!(
        r#"(import "bellwether:host/metrics-write@0.1.0" "{function}" (func $write (param i32 i32 i32)))
    (data (i32.const 1990) "hits")
    (data (i32.const 2048) "\01\00\00\00\00\00\00\00" "\c6\07\00\00\04\00\00\00" "\00\00\00\00\00\00\00\00\00\00\00\00"
        "\00\00\00\00\00\00\00\00" "\98\08\00\00\01\00\00\00" "\00\00\00\00\00\00\00\00")
    (data (i32.const 2200) "\00\00\00\00\00\00\f0\3f")"#
    )
}

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

/// A host with the metric and a plugin.
async fn installed(store: &Arc<MemoryStore>, plugin: Bytes) -> House {
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
    plugins.install(Owner::Host, "host", plugin, grants, false).await.unwrap();
    house
}

#[tokio::test]
async fn a_component_that_writes_and_dies_counts_once_when_its_step_is_repeated() {
    let store = Arc::new(MemoryStore::new());
    let house = installed(&store, app(&writes("write"), "", &format!("{WRITE} (unreachable)"))).await;
    let plugins = house.plugins().await;
    for step in ["first", "first", "first", "second", "second"] {
        let report = run(&plugins, step).await;
        assert!(report.result.is_err(), "it dies after it wrote");
    }
    assert_eq!(hits(&house).await, 2.0, "one for each step");
}

#[tokio::test]
async fn a_component_whose_host_dies_counts_once_when_its_step_is_repeated() {
    let plugin = app(&writes("write"), "", &format!("{WRITE} {WRITE} (global.get $ok)"));
    for commit in 1..=3 {
        for crash in [Crash::Before(commit), Crash::After(commit)] {
            let store = Arc::new(MemoryStore::new());
            let house = installed(&store, plugin.clone()).await;
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

#[tokio::test]
async fn a_dialect_that_does_not_wait_answers_as_if_it_had() {
    // The answer's status is 200 and 100 times whether the write was refused.
    let body = "(call $write (i32.const 2048) (i32.const 1) (i32.const 3000))
        (i32.store16 (i32.const 1400)
            (i32.add (i32.const 200) (i32.mul (i32.const 100) (i32.load8_u (i32.const 3000)))))
        (global.get $ok)";
    let store = Arc::new(MemoryStore::new());
    let house = installed(&store, dialect(&writes("add"), body)).await;
    let plugins = house.plugins().await;
    let dialect = plugins.dialect("speaker").unwrap();
    let RouteMatch::Found(matched) = dialect.route("POST", "/write") else { panic!("no such route") };
    for (full, status, written) in [(false, 200, 1.0), (true, 300, 1.0), (false, 200, 2.0)] {
        store.set_disk_full(full);
        let headers = HeaderMap::new();
        let (method, query, body) = ("POST", "", &b""[..]);
        let request = DialectRequest { matched: &matched, method, query, headers: &headers, body };
        let answer = dialect.handle(Some(Ok(principal(1, Role::Write))), request).await.unwrap();
        assert_eq!((answer.status.as_u16(), hits(&house).await), (status, written));
    }
}
