//! That calls on tagged series are held against the caller's role and the grant's scope.

use std::sync::Arc;

use bellwether_access::{Principal, Role};

use super::contract::series_read::{self, Question};
use super::contract::series_types::{Metadata, MetricKind, SeriesError};
use super::contract::series_write::{self, SeriesSamples};
use super::tests::audit;
use super::{Call, Scope, Shared};
use crate::LimitOverrides;
use crate::grant::Grant;
use crate::testing::{House, principal};

async fn shared() -> (House, Arc<Shared>) {
    let house = House::new().await;
    let (services, limits) = (house.services.clone(), house.limits);
    (house, Arc::new(Shared::new(services, limits)))
}

fn call(shared: &Arc<Shared>, grants: &[&str], principal: Arc<Principal>) -> Call {
    let grants: Vec<Grant> = grants.iter().map(|text| text.parse().unwrap()).collect();
    Call::new(
        Arc::new(Scope::new(Arc::clone(shared), "p".to_owned(), &grants, &LimitOverrides::default())),
        Some(principal),
        None,
    )
}

fn samples(metric: &str, tag: &str, values: &[f64]) -> SeriesSamples {
    SeriesSamples {
        metric: metric.to_owned(),
        tags: vec![tag.to_owned()],
        times: (0..values.len() as i64).map(|at| at * 1000).collect(),
        values: values.to_vec(),
    }
}

fn question(query: &str) -> Question {
    Question { query: query.to_owned(), start: 0, end: 59_999, step: Some(60_000) }
}

fn forbidden<T>(result: Result<T, SeriesError>, part: &str) -> bool {
    matches!(result, Err(SeriesError::Forbidden(text)) if text.contains(part))
}

#[tokio::test]
async fn a_caller_writes_and_asks_what_the_grants_cover() {
    use series_read::Host as _;
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, &["series-read=web.*", "series-write=web.*"], principal(1, Role::Write));
    let series = vec![samples("web.load", "host:a", &[1.0, 3.0]), samples("web.load", "host:b", &[5.0])];
    assert_eq!(call.write(vec!["env:prod".to_owned()], series).await.unwrap(), 3);
    let lines = call.query(question("max:web.load{env:prod} by {host}")).await.unwrap();
    let shown: Vec<_> = lines.iter().map(|line| (line.tags[0].value.as_str(), line.values[0])).collect();
    assert_eq!(shown, [("a", 2.0), ("b", 5.0)]);
    let raw = call.samples("web.load".to_owned(), "!host:b".to_owned(), 0, 5000).await.unwrap();
    assert_eq!((raw[0].tags.join(" "), &raw[0].values), ("env:prod host:a".to_owned(), &vec![1.0, 3.0]));
    let known = Metadata {
        kind: MetricKind::Rate,
        unit: Some("request".to_owned()),
        per_unit: None,
        description: None,
        short_name: None,
        integration: None,
        keep_days: None,
    };
    let roll_ups = vec![bellwether_series::RollUp { after_days: 15, step_seconds: 300 }];
    let operators = bellwether_series::Metadata { roll_ups: roll_ups.clone(), ..Default::default() };
    let (organisation, none) = (bellwether_kernel::OrganisationId(1), bellwether_store::Batch::new());
    shared.services.series.describe(organisation, "web.load", operators, none).await.unwrap();
    call.describe("web.load".to_owned(), known).await.unwrap();
    let kept = shared.services.series.metric(organisation, "web.load").unwrap();
    assert_eq!(kept.metadata.roll_ups, roll_ups, "a plugin leaves the operator's roll-ups as they are");
    let metric = series_read::Host::get(&mut call, "web.load".to_owned()).await.unwrap();
    assert_eq!((metric.series, metric.metadata.kind), (2, MetricKind::Rate));
    let keys = call.tag_keys("web.load".to_owned()).await.unwrap();
    assert_eq!(
        keys.iter().map(|key| (key.text.as_str(), key.series)).collect::<Vec<_>>(),
        [("env", 2), ("host", 2)]
    );
    let values =
        call.tag_values("web.load".to_owned(), "host".to_owned(), Some("a".to_owned()), 5).await.unwrap();
    assert_eq!(values[0].text, "b");
    assert_eq!(
        series_write::Host::delete(&mut call, "web.load".to_owned(), "host:a".to_owned()).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn deletions_and_how_long_samples_are_kept_are_told_in_the_callers_audit_log() {
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, &["series-write=*"], principal(1, Role::Write));
    let known = |unit: &str, keep_days| Metadata {
        kind: MetricKind::Gauge,
        unit: Some(unit.to_owned()),
        per_unit: None,
        description: None,
        short_name: None,
        integration: None,
        keep_days,
    };
    call.write(Vec::new(), vec![samples("load", "host:a", &[1.0])]).await.unwrap();
    for metadata in [known("byte", None), known("byte", Some(9)), known("bit", Some(9))] {
        call.describe("load".to_owned(), metadata).await.unwrap();
    }
    assert_eq!(call.delete("load".to_owned(), "host:a".to_owned()).await.unwrap(), 1);
    let told = audit(&shared).await;
    let shown: Vec<_> =
        told.iter().map(|entry| (&*entry.action, &*entry.target, entry.details[0].clone())).collect();
    let detail = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        shown,
        [
            ("series.delete", "load", detail("filter", "host:a")),
            ("series.describe", "load", detail("keep_days", "9")),
        ]
    );
}

#[tokio::test]
async fn metrics_outside_the_grant_and_callers_without_the_role_are_refused() {
    use series_read::Host as _;
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut whole = call(&shared, &["series-write=*"], principal(1, Role::Write));
    whole
        .write(Vec::new(), vec![samples("payroll", "a:b", &[1.0]), samples("web.load", "a:b", &[1.0])])
        .await
        .unwrap();
    let mut web = call(&shared, &["series-read=web.*", "series-write=web.*"], principal(1, Role::Write));
    assert!(forbidden(web.write(Vec::new(), vec![samples("payroll", "a:b", &[1.0])]).await, "payroll"));
    assert!(forbidden(web.query(question("avg:web.load{*} + avg:payroll{*}")).await, "payroll"));
    assert!(forbidden(web.samples("payroll".to_owned(), "*".to_owned(), 0, 1).await, "payroll"));
    assert!(forbidden(web.tag_keys("payroll".to_owned()).await, "payroll"));
    let listed = web.list_metrics(None, None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(), ["web.load"]);
    let mut reader = call(&shared, &["series-write=*"], principal(1, Role::Read));
    assert!(forbidden(reader.write(Vec::new(), vec![samples("web.load", "a:b", &[1.0])]).await, "role"));
    assert!(forbidden(
        series_write::Host::delete(&mut reader, "web.load".to_owned(), "*".to_owned()).await,
        "role"
    ));
    let mut stranger = call(&shared, &["series-read=*"], principal(2, Role::Read));
    assert_eq!(stranger.query(question("avg:payroll{*}")).await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_does_not_read_is_told_with_its_place() {
    use series_read::Host as _;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, &["series-read=*"], principal(1, Role::Read));
    match call.query(question("avg:m{*} by {}")).await {
        Err(SeriesError::Syntax(error)) => {
            assert_eq!((error.line, error.column), (1, 14), "{}", error.message);
        }
        other => panic!("{:?}", other.map(|lines| lines.len())),
    }
    let late = Question { end: i64::MAX, ..question("1") };
    assert!(matches!(call.query(late).await, Err(SeriesError::Invalid(error)) if error.field == "end"));
    assert!(matches!(
        call.list_metrics(None, None, 0).await,
        Err(SeriesError::Invalid(error)) if error.field == "limit"
    ));
}

#[tokio::test]
async fn series_are_selected_by_matchers_within_the_grant() {
    use series_read::Host as _;
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut whole = call(&shared, &["series-write=*"], principal(1, Role::Write));
    // A number that is none, as Prometheus marks the end of a series: every bit of it stays.
    let marker = f64::from_bits(0x7ff0_0000_0000_0002);
    let series =
        vec![samples("web.load", "host:a:1", &[1.0, marker]), samples("payroll", "host:a:1", &[5.0])];
    whole.write(Vec::new(), series).await.unwrap();
    let mut call = call(&shared, &["series-read=web.*"], principal(1, Role::Read));
    let matcher = |key: Option<&str>, comparison, value: &str| series_read::Matcher {
        key: key.map(str::to_owned),
        comparison,
        value: value.to_owned(),
    };
    let (equal, matches) = (series_read::Comparison::Equal, series_read::Comparison::Matches);
    let host = || vec![matcher(Some("host"), equal, "a:1")];
    let found = call.select(host(), 0, 5000, 2).await.unwrap();
    assert_eq!((found.len(), &*found[0].identity.metric), (1, "web.load"));
    assert_eq!((found[0].values[0], found[0].values[1].to_bits()), (1.0, marker.to_bits()));
    assert!(matches!(call.select(host(), 0, 5000, 1).await, Err(SeriesError::Limit(_))));
    assert_eq!(call.find(host(), 10).await.unwrap()[0].tags, ["host:a:1"]);
    assert_eq!(call.find_keys(Vec::new(), 10).await.unwrap(), ["host"]);
    assert_eq!(call.find_values(Vec::new(), None, 10).await.unwrap(), ["web.load"]);
    assert_eq!(call.find_values(Vec::new(), Some("host".to_owned()), 10).await.unwrap(), ["a:1"]);
    for (matchers, limit, field) in [
        (vec![matcher(None, equal, "x"), matcher(None, matches, "a(")], 10, "matchers[1].value"),
        (vec![matcher(None, equal, "x"); 101], 10, "matchers"),
        (host(), 0, "limit"),
        (host(), 20_001, "limit"),
    ] {
        match call.find(matchers, limit).await {
            Err(SeriesError::Invalid(error)) => assert_eq!(error.field, field, "{}", error.expected),
            other => panic!("{field}: {other:?}"),
        }
    }
}

/// Two series: `web.load` with a tag and two samples, `web.errors` with none and one.
fn table() -> series_write::Table {
    series_write::Table {
        texts: "web.loadhost:ä".to_owned() + "web.errors",
        text_lengths: vec![8, 7, 10],
        tag_counts: vec![1, 0],
        sample_counts: vec![2, 1],
        times: vec![0, 1000, 0],
        values: vec![1.0, 3.0, 7.0],
    }
}

#[tokio::test]
async fn a_table_is_written_as_its_series_would_be() {
    use series_read::Host as _;
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, &["series-read=*", "series-write=web.*"], principal(1, Role::Write));
    assert_eq!(call.write_table(table()).await.unwrap(), 3);
    let load = call.samples("web.load".to_owned(), "host:ä".to_owned(), 0, 5000).await.unwrap();
    assert_eq!((&*load[0].times, &*load[0].values), (&[0, 1000][..], &[1.0, 3.0][..]));
    let errors = call.samples("web.errors".to_owned(), "*".to_owned(), 0, 5000).await.unwrap();
    assert_eq!((errors[0].tags.len(), &*errors[0].values), (0, &[7.0][..]));
    let payroll = series_write::Table { texts: "web.loadhost:äpay.roll..".to_owned(), ..table() };
    assert!(forbidden(call.write_table(payroll).await, "pay.roll"));
}

#[tokio::test]
async fn a_table_whose_columns_do_not_fit_is_refused_by_the_column() {
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, &["series-write=*"], principal(1, Role::Write));
    type Change = fn(&mut series_write::Table);
    let cases: [(&str, Change); 7] = [
        ("table.text-lengths[1]", |table| table.text_lengths[1] = 6),
        ("table.text-lengths[2]", |table| table.text_lengths[2] = u32::MAX),
        ("table.texts", |table| table.texts.push('x')),
        ("table.tag-counts[1]", |table| table.tag_counts[1] = 1),
        ("table.sample-counts", |table| table.sample_counts.push(1)),
        ("table.sample-counts[1]", |table| table.sample_counts[1] = 2),
        ("table", |table| table.values.push(1.0)),
    ];
    for (place, change) in cases {
        let mut wrong = table();
        change(&mut wrong);
        match call.write_table(wrong).await {
            Err(SeriesError::Invalid(error)) => assert_eq!(error.field, place, "{}", error.expected),
            other => panic!("{place}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_call_on_series_is_given_counts_with_all_it_may_hand_over() {
    use series_read::Host as _;
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, &["series-read=*", "series-write=*"], principal(1, Role::Write));
    let mut before = 0;
    // What is refused counts too.
    let mut counted = |call: &Call, what: &str, bytes: u64| {
        assert_eq!(call.handed_over - before, bytes, "{what}");
        before = call.handed_over;
    };
    let (load, matcher) = ("load".to_owned(), |value: &str| series_read::Matcher {
        key: Some("host".to_owned()),
        comparison: series_read::Comparison::Equal,
        value: value.to_owned(),
    });
    call.write(vec!["env:prod".to_owned()], vec![samples("load", "host:a", &[1.0, 3.0])]).await.unwrap();
    counted(&call, "write", 8 + 4 + 6 + 2 * 16);
    let table = series_write::Table {
        texts: "loadhost:a".to_owned(),
        text_lengths: vec![4, 6],
        tag_counts: vec![1],
        sample_counts: vec![1],
        times: vec![5_000],
        values: vec![1.0],
    };
    call.write_table(table).await.unwrap();
    counted(&call, "write-table", 10 + 4 * 4 + 16);
    let known = Metadata {
        kind: MetricKind::Gauge,
        unit: Some("a".to_owned()),
        per_unit: Some("bc".to_owned()),
        description: Some("def".to_owned()),
        short_name: Some("ghij".to_owned()),
        integration: Some("klmno".to_owned()),
        keep_days: None,
    };
    call.describe(load.clone(), known).await.unwrap();
    counted(&call, "describe", 4 + 15);
    call.query(question("avg:load{*}")).await.unwrap();
    counted(&call, "query", 11);
    call.samples(load.clone(), "host:a".to_owned(), 0, 1).await.unwrap();
    counted(&call, "samples", 4 + 6);
    call.select(vec![matcher("a")], 0, 1, 10).await.unwrap();
    counted(&call, "select", 5);
    call.find(vec![matcher("a"), matcher("bc")], 10).await.unwrap();
    counted(&call, "find", 5 + 6);
    call.find_keys(vec![matcher("a")], 10).await.unwrap();
    counted(&call, "find-keys", 5);
    call.find_values(vec![matcher("a")], Some("env".to_owned()), 10).await.unwrap();
    counted(&call, "find-values", 5 + 3);
    call.list_metrics(Some("lo".to_owned()), Some("a".to_owned()), 10).await.unwrap();
    counted(&call, "list-metrics", 3);
    let _ = series_read::Host::get(&mut call, "load".to_owned()).await;
    counted(&call, "get", 4);
    let _ = call.tag_keys(load.clone()).await;
    counted(&call, "tag-keys", 4);
    let _ = call.tag_values(load.clone(), "host".to_owned(), Some("b".to_owned()), 10).await;
    counted(&call, "tag-values", 4 + 4 + 1);
    call.delete(load, "*".to_owned()).await.unwrap();
    counted(&call, "delete", 4 + 1);
}

#[tokio::test]
async fn tags_that_all_series_share_are_as_many_as_one_may_have_and_not_copied_for_each() {
    use series_write::Host as _;
    let (_house, shared) = shared().await;
    let mut call = call(&shared, &["series-write=*"], principal(1, Role::Write));
    let most = shared.services.series.limits().tags;
    // Copied beside each they would be 20 GB.
    let many = || (0..20_000).map(|at| samples("load", &format!("host:{at}"), &[1.0])).collect::<Vec<_>>();
    let long = vec!["x".repeat(1 << 20)];
    let SeriesError::Invalid(wrong) = call.write(long, many()).await.unwrap_err() else { panic!() };
    assert_eq!(wrong.field, "series[0].tags[1]");
    let tags = (0..=most).map(|at| format!("key:{at}")).collect();
    let SeriesError::Invalid(wrong) = call.write(tags, many()).await.unwrap_err() else { panic!() };
    assert_eq!((wrong.field.as_str(), wrong.expected), ("shared-tags", format!("at most {most} tags")));
}
