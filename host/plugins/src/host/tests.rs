//! That each call is held against the caller's role and the grant's scope.

use std::sync::Arc;

use bellwether_access::{AuditEntry, AuditFilter, AuditScope, Principal, Role};
use bellwether_kernel::{OrganisationId, PageRequest};

use super::contract::metrics_types::{DataType, Interval, MetricDefinition, MetricError, MetricReference};
use super::contract::metrics_write::Samples;
use super::contract::state::StateError;
use super::contract::{clock, metrics_read, metrics_write, random, state};
use super::{Call, Scope, Shared};
use crate::grant::Grant;
use crate::limits;
use crate::testing::{House, principal};

async fn shared() -> (House, Arc<Shared>) {
    let house = House::new().await;
    let (services, limits) = (house.services.clone(), house.limits);
    (house, Arc::new(Shared::new(services, limits)))
}

fn call(shared: &Arc<Shared>, plugin: &str, grants: &[&str], principal: Option<Arc<Principal>>) -> Call {
    let grants: Vec<Grant> = grants.iter().map(|text| text.parse().unwrap()).collect();
    Call::new(
        Arc::new(Scope::new(Arc::clone(shared), plugin.to_owned(), &grants, &Default::default())),
        principal,
        None,
    )
}

fn definition(name: &str) -> MetricDefinition {
    let (data_type, interval) = (DataType::Sum, Interval::Daily);
    MetricDefinition { name: name.to_owned(), data_type, interval, keyed: false, description: None }
}

fn named(name: &str) -> MetricReference {
    MetricReference::Name(name.to_owned())
}

fn samples(metric: MetricReference, times: Vec<i64>) -> Vec<Samples> {
    vec![Samples { metric, key: None, values: vec![1.5; times.len().max(1)], times, weights: Vec::new() }]
}

/// What was done in the first organisation, newest first.
pub(super) async fn audit(shared: &Arc<Shared>) -> Vec<AuditEntry> {
    let scope = AuditScope::Organisation(OrganisationId(1));
    let (all, page) = (AuditFilter::default(), PageRequest::first(100));
    shared.services.access.audit_log(scope, &all, &page).await.unwrap().items
}

#[tokio::test]
async fn a_call_that_outlasts_its_organisation_is_refused_all_that_belongs_to_it() {
    use metrics_write::Host as _;
    use state::Host as _;
    let (_house, shared) = shared().await;
    let access = &shared.services.access;
    let id = access.create_organisation("host", "acme", "UTC").await.unwrap().id;
    assert_eq!(id, OrganisationId(1));
    let mut call = call(&shared, "p", &["metrics-write=*", "state"], Some(principal(1, Role::Write)));
    call.define(definition("logins")).await.unwrap();
    call.set("key".to_owned(), Some(b"value".to_vec())).await.unwrap();
    access.suspend_organisation("host", id).await.unwrap();
    call.write(samples(named("logins"), Vec::new())).await.unwrap();
    access.delete_organisation("host", id).await.unwrap();
    let refused = call.write(samples(named("logins"), Vec::new())).await.unwrap_err();
    assert!(
        matches!(&refused, MetricError::Forbidden(why) if why.contains("is being deleted")),
        "{refused:?}"
    );
    assert!(call.define(definition("more")).await.is_err());
    assert!(call.set("key".to_owned(), None).await.is_err());
}

#[tokio::test]
async fn a_caller_writes_and_reads_what_the_grants_cover() {
    use metrics_read::Host as _;
    use metrics_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call =
        call(&shared, "p", &["metrics-write=web.*", "metrics-read=web.*"], Some(principal(1, Role::Write)));
    let defined = call.define(definition("web.logins")).await.unwrap();
    assert!(defined.created);
    let id = MetricReference::Id(defined.metric.id);
    for metric in [named("web.logins"), id.clone()] {
        call.write(samples(metric, Vec::new())).await.unwrap();
    }
    assert_eq!(metrics_read::Host::get(&mut call, id.clone()).await.unwrap().definition.name, "web.logins");
    let now = shared.services.clock.now().as_milliseconds();
    let query = metrics_read::IntervalQuery {
        metric: id,
        keys: metrics_read::KeySelection::All,
        start: now,
        end: now,
        fill: metrics_read::Fill::Gaps,
    };
    let answer = call.query(query).await.unwrap();
    assert_eq!((answer[0].values.as_slice(), answer[0].counts.as_slice()), (&[Some(3.0)][..], &[2][..]));
    let page = call.list_metrics(0, 10).await.unwrap();
    assert_eq!(page.total, 1);
}

#[tokio::test]
async fn metrics_outside_the_grant_are_forbidden_by_name_and_unknown_by_id() {
    use metrics_read::Host as _;
    use metrics_write::Host as _;
    let (_house, shared) = shared().await;
    let writer = Some(principal(1, Role::Write));
    let mut whole = call(&shared, "p", &["metrics-write=*"], writer.clone());
    let secret = whole.define(definition("payroll")).await.unwrap().metric.id;
    whole.define(definition("web.logins")).await.unwrap();
    let mut web = call(&shared, "p", &["metrics-write=web.*", "metrics-read=web.*"], writer);
    let forbidden =
        |error: MetricError| matches!(error, MetricError::Forbidden(text) if text.contains("payroll"));
    assert!(forbidden(web.define(definition("payroll")).await.unwrap_err()));
    assert!(forbidden(web.delete(named("payroll")).await.unwrap_err()));
    assert!(forbidden(web.write(samples(named("payroll"), Vec::new())).await.unwrap_err()));
    assert!(forbidden(metrics_read::Host::get(&mut web, named("payroll")).await.unwrap_err()));
    for id in [secret, 999] {
        let id = MetricReference::Id(id);
        assert!(matches!(web.delete(id.clone()).await, Err(MetricError::UnknownMetric(_))));
        assert!(matches!(
            web.write(samples(id.clone(), Vec::new())).await,
            Err(MetricError::UnknownMetric(_))
        ));
        assert!(matches!(metrics_read::Host::get(&mut web, id).await, Err(MetricError::UnknownMetric(_))));
    }
    let mut reader =
        call(&shared, "p", &["metrics-write=web.*", "metrics-read=*"], Some(principal(1, Role::Write)));
    let written = reader.write(samples(MetricReference::Id(secret), Vec::new())).await;
    assert!(forbidden(written.unwrap_err()), "it may be known, and not written to");
    let page = web.list_metrics(0, 10).await.unwrap();
    assert_eq!((page.total, page.metrics[0].definition.name.as_str()), (1, "web.logins"));
}

#[tokio::test]
async fn a_deletion_is_told_in_the_callers_audit_log() {
    use metrics_write::Host as _;
    let (_house, shared) = shared().await;
    let caller = principal(1, Role::Write);
    let mut call = call(&shared, "own/threatconnect", &["metrics-write=*"], Some(Arc::clone(&caller)));
    let id = call.define(definition("logins")).await.unwrap().metric.id;
    call.delete(named("logins")).await.unwrap();
    assert!(matches!(call.delete(named("logins")).await, Err(MetricError::UnknownMetric(_))));
    let told = audit(&shared).await;
    let id = id.to_string();
    assert_eq!(told.len(), 1, "what did not happen is not told: {told:?}");
    assert_eq!((&*told[0].action, &*told[0].target), ("metric.delete", "logins"));
    assert_eq!(told[0].actor, caller.key.as_str());
    let details: Vec<_> = told[0].details.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(details, [("id", &*id), ("plugin", "threatconnect")]);
}

#[tokio::test]
async fn a_reader_reads_and_nobody_does_nothing() {
    use metrics_read::Host as _;
    use metrics_write::Host as _;
    let (_house, shared) = shared().await;
    let grants = ["metrics-write=*", "metrics-read=*", "state"];
    let mut reader = call(&shared, "p", &grants, Some(principal(1, Role::Read)));
    assert!(reader.list_metrics(0, 10).await.is_ok());
    assert!(
        matches!(reader.define(definition("a")).await, Err(MetricError::Forbidden(text)) if text.contains("role write"))
    );
    let mut nobody = call(&shared, "p", &grants, None);
    assert!(matches!(nobody.list_metrics(0, 10).await, Err(MetricError::Forbidden(_))));
    assert!(matches!(nobody.define(definition("a")).await, Err(MetricError::Forbidden(_))));
    assert!(matches!(state::Host::set(&mut nobody, "k".into(), None).await, Err(StateError::Other(_))));
}

#[tokio::test]
async fn organisations_never_meet() {
    use metrics_write::Host as _;
    let (_house, shared) = shared().await;
    let grants = ["metrics-write=*", "metrics-read=*", "state"];
    let mut one = call(&shared, "p", &grants, Some(principal(1, Role::Write)));
    let mut two = call(&shared, "p", &grants, Some(principal(2, Role::Write)));
    let id = one.define(definition("a")).await.unwrap().metric.id;
    state::Host::set(&mut one, "k".into(), Some(b"one".to_vec())).await.unwrap();
    assert!(matches!(
        metrics_read::Host::get(&mut two, MetricReference::Id(id)).await,
        Err(MetricError::UnknownMetric(_))
    ));
    assert!(matches!(state::Host::get(&mut two, "k".into()).await, Ok(None)));
    let mut other = call(&shared, "q", &grants, Some(principal(1, Role::Write)));
    assert!(matches!(state::Host::get(&mut other, "k".into()).await, Ok(None)), "nor do plugins");
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    use metrics_read::Host as _;
    use metrics_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call =
        call(&shared, "p", &["metrics-write=*", "metrics-read=*"], Some(principal(1, Role::Write)));
    call.define(definition("a")).await.unwrap();
    let error = call.write(samples(named("a"), vec![0, i64::MAX])).await.unwrap_err();
    assert!(matches!(error, MetricError::Invalid(field) if field.field == "samples[0].times[1]"));
    for limit in [0, 1_001] {
        let error = call.list_metrics(0, limit).await.unwrap_err();
        assert!(matches!(error, MetricError::Invalid(field) if field.field == "limit"));
    }
    let conflict = MetricDefinition { keyed: true, ..definition("a") };
    assert!(matches!(call.define(conflict).await, Err(MetricError::Conflict(_))));
}

#[tokio::test]
async fn state_is_set_swapped_and_listed() {
    use state::Host;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, "p", &["state"], Some(principal(1, Role::Read)));
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    call.set("a/1".into(), bytes("x")).await.unwrap();
    call.swap("a/1".into(), bytes("x"), bytes("y")).await.unwrap();
    let error = call.swap("a/1".into(), bytes("x"), bytes("z")).await.unwrap_err();
    assert!(matches!(error, StateError::Changed(Some(value)) if value == b"y"));
    call.swap("a/2".into(), None, bytes("new")).await.unwrap();
    assert!(matches!(call.swap("a/2".into(), None, None).await, Err(StateError::Changed(Some(_)))));
    call.set("b".into(), bytes("")).await.unwrap();
    for (prefix, after, limit, expected) in [
        ("", None, 10, &["a/1", "a/2", "b"][..]),
        ("a/", None, 10, &["a/1", "a/2"]),
        ("a/", Some("a/1"), 10, &["a/2"]),
        ("a/", Some("b"), 10, &[]),
        ("", None, 1, &["a/1"]),
    ] {
        let keys = call.list_keys(prefix.into(), after.map(str::to_owned), limit).await.unwrap();
        assert_eq!(keys, expected, "{prefix} {after:?}");
    }
    call.set("a/1".into(), None).await.unwrap();
    assert!(matches!(call.get("a/1".into()).await, Ok(None)));
    let long = "k".repeat(limits::STATE_KEY + 1);
    assert!(matches!(call.set(long, bytes("x")).await, Err(StateError::TooLarge(_))));
    let large = Some(vec![0; limits::STATE_VALUE + 1]);
    assert!(matches!(call.set("c".into(), large).await, Err(StateError::TooLarge(_))));
    call.set("c".into(), Some(vec![0; limits::STATE_VALUE])).await.unwrap();
}

#[tokio::test]
async fn no_number_of_concurrent_writers_passes_the_quota_or_loses_an_update() {
    use state::Host;
    let (_house, shared) = shared().await;
    // Each value with its key takes 75 bytes, what a row counts besides among them: nine fit.
    let writers = (0..20).map(|writer| {
        let mut call = call(&shared, "p", &["state=700"], Some(principal(1, Role::Write)));
        tokio::spawn(async move { call.set(format!("{writer:02}"), Some(vec![1; 9])).await.is_ok() })
    });
    let mut kept = 0;
    for writer in writers.collect::<Vec<_>>() {
        kept += usize::from(writer.await.unwrap());
    }
    assert_eq!(kept, 9);
    let counters = (0..4).map(|_| {
        let mut call = call(&shared, "counter", &["state"], Some(principal(1, Role::Write)));
        tokio::spawn(async move {
            for _ in 0..25 {
                loop {
                    let before = call.get("n".into()).await.unwrap();
                    let next = before.as_ref().map_or(0, |bytes| bytes[0]) + 1;
                    match call.swap("n".into(), before, Some(vec![next])).await {
                        Ok(()) => break,
                        Err(StateError::Changed(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        })
    });
    for counter in counters.collect::<Vec<_>>() {
        counter.await.unwrap();
    }
    let mut reader = call(&shared, "counter", &["state"], Some(principal(1, Role::Read)));
    assert!(matches!(reader.get("n".into()).await, Ok(Some(bytes)) if bytes == [100]));
}

#[tokio::test]
async fn a_secret_that_the_end_of_a_logged_line_would_divide_is_masked_whole() {
    use super::contract::log::{Host as _, Level};
    let (_house, shared) = shared().await;
    let mut call = call(&shared, "p", &["log"], None);
    call.secrets.learn(&"hunter2-hunter2".into());
    call.write(Level::Info, format!("{}hunter2-hunter2", "x".repeat(limits::LOG_LINE - 7)));
    let lines = call.into_log().into_lines();
    assert!(!lines[0].message.contains("hunter2"), "{lines:?}");
}

#[tokio::test]
async fn time_and_chance_are_the_hosts() {
    let (_house, shared) = shared().await;
    let mut call = call(&shared, "p", &["clock", "random"], None);
    assert_eq!(clock::Host::now(&mut call), shared.services.clock.now().as_milliseconds());
    let bytes = random::Host::bytes(&mut call, 32).unwrap();
    assert!(bytes.len() == 32 && bytes.iter().any(|byte| *byte != 0));
    assert!(random::Host::bytes(&mut call, limits::RANDOM).is_ok());
    assert!(random::Host::bytes(&mut call, limits::RANDOM + 1).is_err());
}
