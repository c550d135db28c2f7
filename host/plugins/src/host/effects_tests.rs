//! That a repeated step does nothing twice, call by call.

use std::sync::Arc;

use bellwether_access::Role;
use bellwether_kernel::{OrganisationId, RunId};
use bellwether_metrics::{Fill, IntervalQuery, KeySelection, MetricReference as Reference};
use bellwether_playbooks::EffectScope;
use bellwether_store::{Crash, Direction, MemoryStore, Store, effects_of_run};

use super::contract::metrics_types::{DataType, Interval, MetricDefinition, MetricError, MetricReference};
use super::contract::metrics_write::{Host as _, Samples};
use super::contract::records_types::{Content, RecordKind};
use super::contract::records_write::Host as _;
use super::contract::state::{Host as _, StateError};
use super::{Call, Scope, Shared};
use crate::grant::Grant;
use crate::testing::{House, principal};

const OURS: OrganisationId = OrganisationId(1);

fn run() -> RunId {
    "01890000-0000-7000-8000-000000000001".parse().unwrap()
}

fn scope(step: &str, item: Option<u32>) -> EffectScope {
    EffectScope { run: run(), step: step.to_owned(), item }
}

fn shared(house: &House) -> Arc<Shared> {
    Arc::new(Shared::new(house.services.clone(), house.limits))
}

/// One call of the app in a step; a second one is a repeat.
fn call_of(shared: &Arc<Shared>, effects: Option<EffectScope>) -> Call {
    let grants: Vec<Grant> =
        ["metrics-write=*", "records-write=logs", "state"].iter().map(|text| text.parse().unwrap()).collect();
    let scope = Arc::new(Scope::new(Arc::clone(shared), "p".to_owned(), &grants, &Default::default()));
    Call::new(scope, Some(principal(1, Role::Write)), effects)
}

fn call(shared: &Arc<Shared>) -> Call {
    call_of(shared, Some(scope("step", None)))
}

fn named(name: &str) -> MetricReference {
    MetricReference::Name(name.to_owned())
}

fn definition(name: &str) -> MetricDefinition {
    let (data_type, interval) = (DataType::Sum, Interval::Daily);
    MetricDefinition { name: name.to_owned(), data_type, interval, keyed: false, description: None }
}

fn one(metric: &str, times: &[i64], values: &[f64]) -> Vec<Samples> {
    let (times, values) = (times.to_vec(), values.to_vec());
    vec![Samples { metric: named(metric), key: None, times, values, weights: Vec::new() }]
}

async fn sum(shared: &Shared, metric: &str) -> f64 {
    let query = IntervalQuery {
        metric: Reference::Name(metric.to_owned()),
        keys: KeySelection::All,
        start: bellwether_kernel::Timestamp::MIN,
        end: bellwether_kernel::Timestamp::MAX,
        fill: Fill::Gaps,
    };
    let series = shared.services.metrics.query(OURS, &query).await.unwrap();
    series.iter().flat_map(|series| &series.points).filter_map(|point| point.value).sum()
}

fn warnings(call: Call) -> Vec<String> {
    call.into_log().into_lines().into_iter().map(|line| line.message).collect()
}

#[tokio::test]
async fn a_repeated_write_is_answered_as_the_first_and_adds_nothing() {
    let house = House::new().await;
    let shared = shared(&house);
    call_of(&shared, None).define(definition("hits")).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let mut call = call(&shared);
        let mut found = Vec::new();
        // Twice the same, and once at a time that is named: three effects.
        for times in [&[][..], &[], &[1_712_000_000_000]] {
            found.push(call.write(one("hits", times, &[1.0])).await.unwrap()[0].value);
        }
        answers.push(found);
        assert_eq!(warnings(call), [""; 0]);
    }
    let first = answers[0].clone();
    assert!(first[0] == 1.0 && first[1] == 2.0, "{first:?}");
    assert!(answers.iter().all(|answer| *answer == first), "{answers:?}");
    assert_eq!(sum(&shared, "hits").await, 3.0);
}

#[tokio::test]
async fn steps_items_and_targets_are_told_apart() {
    let house = House::new().await;
    let shared = shared(&house);
    for name in ["a", "b"] {
        call_of(&shared, None).define(definition(name)).await.unwrap();
    }
    let other_run =
        EffectScope { run: "01890000-0000-7000-8000-000000000002".parse().unwrap(), ..scope("x", None) };
    let scopes = [scope("x", None), scope("x", Some(0)), scope("x", Some(1)), scope("y", None), other_run];
    for _ in 0..2 {
        for scope in &scopes {
            let mut call = call_of(&shared, Some(scope.clone()));
            call.write(one("a", &[], &[1.0])).await.unwrap();
            call.write(one("b", &[], &[1.0])).await.unwrap();
        }
    }
    assert_eq!((sum(&shared, "a").await, sum(&shared, "b").await), (5.0, 5.0));
    // Without a step nothing is remembered.
    for _ in 0..2 {
        call_of(&shared, None).write(one("a", &[], &[1.0])).await.unwrap();
    }
    assert_eq!(sum(&shared, "a").await, 7.0);
}

#[tokio::test]
async fn a_repeat_with_other_values_is_told_and_the_first_stands() {
    let house = House::new().await;
    let shared = shared(&house);
    let mut first = call(&shared);
    first.define(definition("hits")).await.unwrap();
    first.write(one("hits", &[], &[1.0])).await.unwrap();
    first.set("k".into(), Some(b"1".to_vec())).await.unwrap();
    let mut again = call(&shared);
    let other = MetricDefinition { keyed: true, ..definition("hits") };
    assert!(again.define(other).await.unwrap().created);
    assert_eq!(again.write(one("hits", &[], &[50.0])).await.unwrap()[0].value, 1.0);
    again.set("k".into(), Some(b"2".to_vec())).await.unwrap();
    assert!(matches!(again.get("k".into()).await, Ok(Some(value)) if value == b"1"));
    // What comes after is the same again.
    again.set("k".into(), Some(b"3".to_vec())).await.unwrap();
    assert!(matches!(again.get("k".into()).await, Ok(Some(value)) if value == b"3"));
    let warnings = warnings(again);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, about) in warnings.iter().zip(["metric \"hits\"", "metric \"hits\"", "state \"k\""]) {
        assert!(warning.contains(about) && warning.contains("stand"), "{warning}");
    }
    assert_eq!(sum(&shared, "hits").await, 1.0);
}

#[tokio::test]
async fn a_step_that_makes_fills_and_deletes_a_metric_is_repeated_without_a_trace() {
    let house = House::new().await;
    let shared = shared(&house);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut call = call(&shared);
        let defined = call.define(definition("scratch")).await.unwrap();
        assert!(defined.created);
        let id = MetricReference::Id(defined.metric.id);
        let samples =
            Samples { metric: id.clone(), key: None, times: vec![], values: vec![2.0], weights: vec![] };
        assert_eq!(call.write(vec![samples]).await.unwrap()[0].value, 2.0);
        assert_eq!(call.delete(id).await.unwrap().id, defined.metric.id);
        ids.push(defined.metric.id);
        assert_eq!(warnings(call), [""; 0]);
    }
    assert_eq!(ids[0], ids[1]);
    let next = call_of(&shared, None).define(definition("scratch")).await.unwrap();
    assert_eq!((next.created, next.metric.id), (true, ids[0] + 1));
}

#[tokio::test]
async fn what_is_refused_is_neither_counted_nor_remembered() {
    let house = House::new().await;
    let shared = shared(&house);
    let mut first = call(&shared);
    assert!(matches!(first.write(one("late", &[], &[1.0])).await, Err(MetricError::UnknownMetric(_))));
    assert!(matches!(first.delete(named("late")).await, Err(MetricError::UnknownMetric(_))));
    first.define(definition("late")).await.unwrap();
    first.write(one("late", &[], &[1.0])).await.unwrap();
    // A swap that loses is tried again with what it was told, and counts when it wins.
    call_of(&shared, None).set("n".into(), Some(vec![5])).await.unwrap();
    assert!(matches!(first.swap("n".into(), None, Some(vec![1])).await, Err(StateError::Changed(Some(_)))));
    first.swap("n".into(), Some(vec![5]), Some(vec![6])).await.unwrap();

    let mut again = call(&shared);
    again.write(one("late", &[], &[1.0])).await.unwrap();
    again.swap("n".into(), Some(vec![6]), Some(vec![7])).await.unwrap();
    assert!(matches!(again.get("n".into()).await, Ok(Some(value)) if value == [6]));
    assert_eq!(sum(&shared, "late").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repeats_at_the_same_time_have_one_effect_together() {
    let house = House::new().await;
    let shared = shared(&house);
    call_of(&shared, None).define(definition("hits")).await.unwrap();
    let calls = (0..16).map(|_| {
        let mut call = call(&shared);
        tokio::spawn(async move {
            let defined = call.define(definition("new")).await.unwrap();
            let written = call.write(one("hits", &[], &[1.0])).await.unwrap()[0].value;
            let before = call.get("n".into()).await.unwrap();
            let next = before.as_ref().map_or(0, |bytes| bytes[0]) + 1;
            call.set("n".into(), Some(vec![next])).await.unwrap();
            let deleted = call.delete(named("new")).await.unwrap();
            (defined.created, written, deleted.id == defined.metric.id)
        })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), (true, 1.0, true));
    }
    assert_eq!(sum(&shared, "hits").await, 1.0);
    let mut reader = call_of(&shared, None);
    assert!(matches!(reader.get("n".into()).await, Ok(Some(value)) if value == [1]));
    assert!(matches!(reader.delete(named("new")).await, Err(MetricError::UnknownMetric(_))));
}

/// What a step does here: four effects.
async fn step(call: &mut Call) -> Result<(), ()> {
    call.define(definition("hits")).await.map_err(drop)?;
    call.write(one("hits", &[], &[1.0])).await.map_err(drop)?;
    call.write(one("hits", &[], &[1.0])).await.map_err(drop)?;
    let before = call.get("n".into()).await.map_err(drop)?;
    let next = before.as_ref().map_or(0, |bytes| bytes[0]) + 1;
    call.swap("n".into(), before, Some(vec![next])).await.map_err(drop)
}

#[tokio::test]
async fn a_step_repeated_after_any_crash_has_its_effects_once() {
    for commit in 1..=5 {
        for crash in [Crash::Before(commit), Crash::After(commit)] {
            let store = Arc::new(MemoryStore::new());
            drop(House::on(Arc::clone(&store)).await);
            let store = Arc::new(store.restart_with_crashes(crash));
            let house = House::on(Arc::clone(&store)).await;
            let ended = step(&mut call(&shared(&house))).await;
            assert_eq!(ended.is_ok(), commit == 5, "{crash:?}");

            let store = Arc::new(store.restart());
            let house = House::on(Arc::clone(&store)).await;
            let shared = shared(&house);
            for _ in 0..2 {
                step(&mut call(&shared)).await.unwrap();
            }
            assert_eq!(sum(&shared, "hits").await, 2.0, "{crash:?}");
            let value = call_of(&shared, None).get("n".into()).await.unwrap();
            assert_eq!(value, Some(vec![1]), "{crash:?}");
            // A row of each effect, all found by the run.
            let rows = effects_of_run(OURS, run()).prefix();
            let rows = store.scan(rows, Direction::Forward, 100).await.unwrap();
            assert_eq!(rows.len(), 4);
        }
    }
}

#[tokio::test]
async fn a_repeated_append_is_answered_with_the_id_of_the_first_and_appends_nothing() {
    let house = House::new().await;
    let shared = shared(&house);
    let log = |message: &str, time: i64| Content {
        time,
        title: String::new(),
        message: message.to_owned(),
        status: String::new(),
        priority: String::new(),
        service: String::new(),
        source: String::new(),
        host: String::new(),
        aggregation_key: String::new(),
        tags: Vec::new(),
        attributes: String::new(),
    };
    for _ in 0..2 {
        let mut call = call(&shared);
        assert_eq!(call.append(RecordKind::Log, vec![log("one", 1), log("two", 2)]).await.unwrap(), 1);
        assert_eq!(call.append(RecordKind::Log, vec![log("three", 3)]).await.unwrap(), 3);
    }
    let mut late = call(&shared);
    assert_eq!(late.append(RecordKind::Log, vec![log("one", 9), log("two", 9)]).await.unwrap(), 1);
    let totals = house.services.records.totals(bellwether_records::RecordKind::Log);
    assert_eq!(totals.records, 3);
    let mut apart = call_of(&shared, None);
    assert_eq!(apart.append(RecordKind::Log, vec![log("one", 1)]).await.unwrap(), 4);
}
