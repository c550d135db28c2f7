//! The app on a host in memory.

use bellwether_sdk::app::Retry;
use bellwether_sdk::host::Level;
use bellwether_sdk::metrics::IntervalQuery;
use bellwether_sdk::testing::MemoryHost;
use bellwether_sdk::{NamedValue, Value, ValueType};

use super::*;

fn one(metric: &str) -> Add {
    Add {
        metric: metric.into(),
        value: Some(1.0),
        key: None,
        date: None,
        weight: None,
        read: false,
        create: true,
        data_type: None,
        interval: None,
        keyed: None,
        description: None,
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[test]
fn the_first_call_creates_and_the_next_adds() {
    let host = MemoryHost::new();
    let first = add(&host, Add { description: Some("Runs".into()), ..one("runs") }).expect("added");
    let expected = Added {
        id: 1,
        metric: "runs".into(),
        key: None,
        value: 1.0,
        interval_start: time("2024-04-09"),
        created: true,
        data_type: DataType::Sum,
        interval: Interval::Daily,
    };
    assert_eq!(first, expected);
    assert_eq!(host.metric("runs").expect("there").definition.description.as_deref(), Some("Runs"));
    let second = add(&host, Add { value: Some(2.5), ..one("runs") }).expect("added");
    assert_eq!((second.value, second.created), (3.5, false));
    assert_eq!(host.logged(), [(Level::Info, "created the daily metric \"runs\" of type sum".into())]);
}

#[test]
fn a_key_makes_a_new_metric_keyed_and_each_key_counts_for_itself() {
    let host = MemoryHost::new();
    for (key, total) in [("jack", 1.0), ("jill", 1.0), ("jack", 2.0)] {
        let added = add(&host, Add { key: Some(key.into()), ..one("logins") }).expect("added");
        assert_eq!((added.key.as_deref(), added.value), (Some(key), total));
    }
    let day = time("2024-04-09");
    assert_eq!(host.query(&IntervalQuery::new("logins", day, day)).expect("both").len(), 2);
}

#[test]
fn a_count_needs_no_value_and_an_average_heeds_weights() {
    let host = MemoryHost::new();
    let hit = Add { value: None, data_type: Some(DataType::Count), weight: Some(3.0), ..one("hits") };
    add(&host, hit.clone()).expect("added");
    assert_eq!(add(&host, hit).expect("added").value, 2.0);

    let score = Add { data_type: Some(DataType::Average), ..one("scores") };
    add(&host, Add { value: Some(1.0), weight: Some(3.0), ..score.clone() }).expect("added");
    assert_eq!(add(&host, Add { value: Some(5.0), ..score }).expect("added").value, 2.0);
}

#[test]
fn a_date_decides_the_interval() {
    let host = MemoryHost::new();
    let old = Add { date: Some(time("2008-12-12T12:12:12Z")), interval: Some(Interval::Monthly), ..one("m") };
    assert_eq!(add(&host, old).expect("added").interval_start, time("2008-12-01"));
    assert_eq!(add(&host, one("m")).expect("added").value, 1.0);
}

#[test]
fn what_does_not_fit_is_refused_for_good_and_leaves_nothing_behind() {
    let host = MemoryHost::new();
    host.define(&Definition::new("plain", DataType::Sum, Interval::Daily)).expect("new");
    host.define(&Definition::new("keyed", DataType::Max, Interval::Hourly).keyed()).expect("new");
    let key = |key: &str| Some(key.to_owned());
    for (call, expected) in [
        (Add { create: false, ..one("none") }, "there is no metric \"none\"; create it"),
        (
            Add { data_type: Some(DataType::Max), ..one("plain") },
            "data_type is max, but the metric \"plain\" has sum",
        ),
        (
            Add { interval: Some(Interval::Yearly), ..one("plain") },
            "interval is yearly, but the metric \"plain\" has daily",
        ),
        (Add { keyed: Some(true), ..one("plain") }, "keyed is true, but the metric \"plain\" has false"),
        (Add { key: key("k"), ..one("plain") }, "key is \"k\", but the metric \"plain\" has no keys"),
        (one("keyed"), "key is missing: the metric \"keyed\" is keyed"),
        (Add { key: key(""), ..one("keyed") }, "key has 0 characters, expected 1 to 200"),
        (Add { value: None, ..one("plain") }, "value is missing: the metric \"plain\" is of type sum"),
        (Add { value: Some(f64::INFINITY), ..one("plain") }, "value is inf, expected a finite number"),
        (Add { weight: Some(-1.0), ..one("plain") }, "weight is -1, expected a finite number above 0"),
        (Add { value: None, ..one("new") }, "value is missing"),
        (Add { keyed: Some(true), ..one("new") }, "key is missing"),
        (one(""), "metric \"\": definition.name is \"\", expected 1 to 200 characters"),
        (Add { description: Some("d".repeat(501)), ..one("new") }, "expected at most 500 characters"),
    ] {
        let error = add(&host, call).expect_err(expected);
        assert!(error.message().contains(expected), "{error}, expected {expected}");
        assert_eq!(error.retries(), Retry::No, "{error}");
    }
    assert_eq!(host.metrics(0, 10).expect("a page").total, 2);
}

#[test]
fn what_may_go_better_later_is_retried() {
    for (call, failure) in [
        (0, MetricError::Unavailable("the disk is full".into())),
        (1, MetricError::Unavailable("the disk is full".into())),
        (2, MetricError::Other("the disk is full".into())),
    ] {
        let host = MemoryHost::new();
        host.fail_metrics_after(call, failure);
        let error = add(&host, one("m")).expect_err("the call that looks, creates or writes failed");
        assert_eq!(
            (error.message(), error.retries()),
            ("metric \"m\": the disk is full", Retry::Yes),
            "call {call}"
        );
        assert_eq!(add(&host, one("m")).expect("the next attempt").value, 1.0);
    }
    let host = MemoryHost::new();
    host.fail_metrics_after(2, MetricError::UnknownMetric("1".into()));
    let error = add(&host, one("m")).expect_err("deleted between two calls");
    assert_eq!((error.message(), error.retries()), ("the metric \"m\" was deleted meanwhile", Retry::Yes));
}

#[test]
fn reading_gives_an_interval_s_value_and_adds_nothing() {
    let host = MemoryHost::new();
    let day = Some(time("2024-04-01T09:00:00Z"));
    for (name, key, value, data_type) in [
        ("sales", None, Some(3.0), DataType::Sum),
        ("hits", Some("a"), None, DataType::Count),
        ("heat", None, Some(21.5), DataType::Max),
    ] {
        let key = key.map(str::to_owned);
        let sample = Add { value, key: key.clone(), date: day, data_type: Some(data_type), ..one(name) };
        let added = add(&host, sample).expect("added");
        let reading = Add { read: true, value: None, key, date: day, ..one(name) };
        for _ in 0..2 {
            let read = add(&host, reading.clone()).expect("read");
            assert_eq!(read, Added { created: false, ..added.clone() }, "{name}");
        }
        let other_day = Add { date: Some(time("2024-03-01")), ..reading.clone() };
        match add(&host, other_day) {
            Ok(nothing) => assert_eq!(nothing.value, 0.0, "{name}"),
            Err(error) => {
                assert_eq!(data_type, DataType::Max, "{name}: {error}");
                assert!(error.message().contains("has no value in the daily interval"), "{error}");
            }
        }
        let error = add(&host, Add { date: None, ..reading.clone() }).expect_err("no date");
        assert!(error.message().contains("date is missing"), "{error}");
        let error = add(&host, Add { value: Some(1.0), ..reading }).expect_err("a value");
        assert!(error.message().contains("read adds nothing"), "{error}");
    }
    let error = add(&host, Add { read: true, value: None, date: day, ..one("new") }).expect_err("none");
    assert_eq!(error.message(), "there is no metric \"new\" to read");
    assert_eq!(host.metrics(0, 10).expect("a page").total, 3, "reading creates nothing");
}

#[test]
fn two_calls_that_create_at_once_agree() {
    let host = MemoryHost::new();
    host.define(&Definition::new("m", DataType::Sum, Interval::Daily).description("First")).expect("new");
    // The other call created it after this one looked.
    host.fail_metrics_after(0, MetricError::UnknownMetric("m".into()));
    let added = add(&host, Add { description: Some("Second".into()), ..one("m") }).expect("added");
    assert_eq!((added.created, added.value), (false, 1.0));
}

#[test]
fn inputs_and_outputs_are_told_to_whoever_fills_them_in() {
    let inputs = <Add as Inputs>::describe();
    let input = |name: &str| inputs.iter().find(|input| input.name == name).expect(name);
    assert_eq!(
        inputs.iter().filter(|input| input.required).map(|input| &*input.name).collect::<Vec<_>>(),
        ["metric"]
    );
    assert!(inputs.iter().all(|input| !input.help.is_empty() && !input.secret));
    assert_eq!(input("create").default.as_deref(), Some("true"));
    assert_eq!(input("value").value_type, ValueType::Number);
    assert_eq!(input("interval").choices, ["hourly", "daily", "weekly", "monthly", "yearly"]);
    assert!(<Added as Outputs>::describe().iter().all(|output| !output.help.is_empty()));

    let value = |name: &str, value| NamedValue { name: name.into(), value };
    let read = Add::read(vec![
        value("metric", Value::Text("m".into())),
        value("value", Value::Integer(3)),
        value("data_type", Value::Text("average".into())),
        value("date", Value::None),
    ]);
    let read = read.expect("as the host passes them");
    assert_eq!((read.value, read.data_type, read.create), (Some(3.0), Some(DataType::Average), true));
    let error =
        Add::read(vec![value("metric", Value::Text("m".into())), value("date", Value::Text("soon".into()))]);
    assert!(error.expect_err("no date").message().contains("input \"date\": expected an ISO 8601"));
}
