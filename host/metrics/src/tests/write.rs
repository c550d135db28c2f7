//! What samples amount to, and which are refused.

use bellwether_store::{MAX_VALUE, Precondition, StoreError};

use super::*;

const TYPES: [DataType; 7] = [
    DataType::Sum,
    DataType::Count,
    DataType::Min,
    DataType::Max,
    DataType::First,
    DataType::Last,
    DataType::Average,
];

#[tokio::test]
async fn the_seven_types_come_out_as_threatconnect_documents_them() {
    let house = House::new().await;
    for data_type in TYPES {
        house.define(data_type.as_str(), data_type, Interval::Daily, false).await;
    }
    for (day, values) in
        [("2024-04-09T14:44:00Z", &[13.0, 2.0][..]), ("2024-04-10T09:00:00Z", &[1.0, 1.0, 7.0])]
    {
        house.clock.set(at(day));
        for value in values {
            for data_type in TYPES {
                house.add(data_type.as_str(), None, *value).await;
            }
            house.clock.advance(1000);
        }
    }
    for (data_type, days) in [
        ("sum", [15.0, 9.0]),
        ("count", [2.0, 3.0]),
        ("min", [2.0, 1.0]),
        ("max", [13.0, 7.0]),
        ("first", [13.0, 1.0]),
        ("last", [2.0, 7.0]),
        ("average", [7.5, 3.0]),
    ] {
        assert_eq!(house.values(data_type).await, [(None, days.to_vec())], "{data_type}");
    }
}

#[tokio::test]
async fn each_key_is_a_series_of_its_own() {
    let house = House::new().await;
    house.define("weeklyScoreAverage", DataType::Average, Interval::Weekly, true).await;
    assert_eq!(house.add("weeklyScoreAverage", Some("Jack"), 7.0).await, 7.0);
    assert_eq!(house.add("weeklyScoreAverage", Some("Jill"), 11.0).await, 11.0);
    assert_eq!(house.add("weeklyScoreAverage", Some("Jack"), 13.0).await, 10.0);
    let (jack, jill) = (Some("Jack".to_owned()), Some("Jill".to_owned()));
    assert_eq!(house.values("weeklyScoreAverage").await, [(jack, vec![10.0]), (jill, vec![11.0])]);
}

#[tokio::test]
async fn weights_weigh_in_averages_alone() {
    let house = House::new().await;
    for (data_type, value) in
        [(DataType::Average, 4.0), (DataType::Sum, 15.0), (DataType::Count, 3.0), (DataType::Max, 10.0)]
    {
        house.define(data_type.as_str(), data_type, Interval::Daily, false).await;
        let mut last = 0.0;
        for (value, weight) in [(1.0, Some(2.0)), (10.0, Some(1.0)), (4.0, None)] {
            let value = (data_type != DataType::Count).then_some(value);
            let sample = Sample { weight, value, ..sample(data_type.as_str(), None, 0.0) };
            last = house.write(&[sample]).await.unwrap()[0].value;
        }
        // (2 × 1 + 1 × 10 + 1 × 4) ÷ 4
        assert_eq!(last, value, "{data_type}");
        let series = house.query(data_type.as_str(), "2024-04-09", "2024-04-09", Fill::Gaps).await;
        let average = match data_type {
            DataType::Average => 4.0,
            DataType::Count => 1.0,
            _ => 5.0,
        };
        assert_eq!(series[0].points[0].aggregate.unwrap().average, average, "{data_type}");
    }
}

#[tokio::test]
async fn a_sample_of_the_past_goes_where_it_belongs() {
    let house = House::new().await;
    house.define("first", DataType::First, Interval::Daily, false).await;
    house.define("last", DataType::Last, Interval::Daily, false).await;
    for name in ["first", "last"] {
        house.add(name, None, 5.0).await;
        for (time, value) in
            [("2024-04-09T03:00:00Z", 3.0), ("2024-04-09T23:00:00Z", 23.0), ("2023-01-01", 1.0)]
        {
            let sample = Sample { time: Some(at(time).into()), ..sample(name, None, value) };
            let written = house.write(&[sample]).await.unwrap()[0];
            assert_eq!(written.interval_start, at(&time[..10]), "{time}");
        }
    }
    // It is the sample's time that counts, not when it came.
    assert_eq!(house.values("first").await, [(None, vec![1.0, 3.0])]);
    assert_eq!(house.values("last").await, [(None, vec![1.0, 23.0])]);
}

#[tokio::test]
async fn a_day_alone_and_a_time_without_an_offset_are_of_the_metrics_own_zone() {
    let house = House::new().await;
    let daily = definition("daily", DataType::Sum, Interval::Daily, false);
    house.metrics.define(OURS, "America/New_York", daily).await.unwrap();
    for (time, start) in [
        ("2026-02-01", "2026-02-01T05:00:00Z"),
        ("2026-02-01T23:59:59", "2026-02-01T05:00:00Z"),
        ("2026-02-01T00:00:00Z", "2026-01-31T05:00:00Z"),
        ("2026-07-01", "2026-07-01T04:00:00Z"),
    ] {
        let moment = Moment::parse(time).unwrap();
        let written =
            house.write(&[Sample { time: Some(moment), ..sample("daily", None, 1.0) }]).await.unwrap();
        assert_eq!(written[0].interval_start, at(start), "{time}");
        let asked = house.metrics.instant(OURS, &by_name("daily"), moment).await.unwrap();
        let query = IntervalQuery {
            metric: by_name("daily"),
            keys: KeySelection::All,
            start: asked,
            end: asked,
            fill: Fill::Zero,
        };
        assert_eq!(house.metrics.query(OURS, &query).await.unwrap()[0].points[0].start, at(start), "{time}");
    }
}

#[tokio::test]
async fn of_samples_of_one_instant_the_one_that_came_first_is_first() {
    let house = House::new().await;
    house.define("first", DataType::First, Interval::Daily, false).await;
    house.define("last", DataType::Last, Interval::Daily, false).await;
    for name in ["first", "last"] {
        house.write(&[sample(name, None, 1.0), sample(name, None, 2.0)]).await.unwrap();
        house.write(&[sample(name, None, 3.0), sample(name, None, 4.0)]).await.unwrap();
    }
    assert_eq!(house.values("first").await, [(None, vec![1.0])]);
    assert_eq!(house.values("last").await, [(None, vec![4.0])]);
}

#[tokio::test]
async fn intervals_begin_in_the_time_zone_of_the_metric() {
    let house = House::new().await;
    let daily = definition("daily", DataType::Sum, Interval::Daily, false);
    let metric = house.metrics.define(OURS, "america/new_york", daily).await.unwrap().metric;
    assert_eq!(metric.time_zone, "America/New_York");
    let time = Some(at("2024-04-10T03:59:00Z"));
    let written =
        house.write(&[Sample { time: time.map(Moment::from), ..sample("daily", None, 1.0) }]).await.unwrap();
    assert_eq!(written, [Written { interval_start: at("2024-04-09T04:00:00Z"), value: 1.0 }]);
}

#[tokio::test]
async fn a_write_of_many_samples_answers_each_with_all_of_them_in() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Hourly, true).await;
    house.define("count", DataType::Count, Interval::Hourly, false).await;
    let hour = |time: &str, sample: Sample| Sample { time: Some(at(time).into()), ..sample };
    let written = house
        .write(&[
            hour("2024-04-09T10:00:00Z", sample("sum", Some("a"), 1.0)),
            hour("2024-04-09T10:00:00Z", sample("sum", Some("b"), 2.0)),
            hour("2024-04-09T11:00:00Z", sample("sum", Some("a"), 4.0)),
            hour("2024-04-09T10:59:00Z", sample("sum", Some("a"), 8.0)),
            Sample { value: None, ..sample("count", None, 0.0) },
            sample("count", None, 1.0),
        ])
        .await
        .unwrap();
    let (ten, eleven, now) =
        (at("2024-04-09T10:00:00Z"), at("2024-04-09T11:00:00Z"), at("2024-04-09T14:00:00Z"));
    let expected = [(ten, 9.0), (ten, 2.0), (eleven, 4.0), (ten, 9.0), (now, 2.0), (now, 2.0)];
    assert_eq!(written, expected.map(|(interval_start, value)| Written { interval_start, value }));
}

#[tokio::test]
async fn columns_are_written_like_the_samples_they_stand_for() {
    let house = House::new().await;
    house.define("average", DataType::Average, Interval::Daily, false).await;
    house.define("count", DataType::Count, Interval::Daily, true).await;
    let columns =
        |metric, key: Option<&str>, times: &[&str], values: &[f64], weights: &[f64]| SampleColumns {
            metric: by_name(metric),
            key: key.map(str::to_owned),
            times: times.iter().map(|time| at(time)).collect(),
            values: values.to_vec(),
            weights: weights.to_vec(),
        };
    let entries = [
        columns(
            "average",
            None,
            &["2024-04-08", "2024-04-09", "2024-04-09"],
            &[100.0, 1.0, 4.0],
            &[1.0, 2.0, 1.0],
        ),
        columns("count", Some("k"), &["2024-04-08", "2024-04-09", "2024-04-09"], &[], &[]),
        columns("count", Some("k"), &[], &[], &[]),
        columns("count", Some("k"), &[], &[9.0, 9.0], &[]),
    ];
    let written = house.metrics.write_columns(OURS, &entries, Batch::new()).await.unwrap();
    let values: Vec<f64> = written.iter().map(|written| written.value).collect();
    assert_eq!(values, [2.0, 5.0, 5.0, 5.0]);
    assert_eq!(house.values("average").await, [(None, vec![100.0, 2.0])]);
    assert_eq!(house.values("count").await, [(Some("k".to_owned()), vec![1.0, 5.0])]);

    for (entry, path) in [
        (columns("average", None, &[], &[], &[]), "samples[0].values"),
        (columns("average", None, &["2024-04-08"], &[1.0, 2.0], &[]), "samples[0].times"),
        (columns("average", None, &[], &[1.0, 2.0], &[1.0, 1.0, 1.0]), "samples[0].weights"),
        (columns("average", None, &[], &[1.0, f64::NAN], &[]), "samples[0].values[1]"),
        (columns("average", None, &[], &[1.0, 2.0], &[1.0, -1.0]), "samples[0].weights[1]"),
        (columns("count", None, &[], &[], &[]), "samples[0].key"),
        (columns("count", Some("k"), &[], &[], &[1.0, 1.0]), "samples[0].weights"),
    ] {
        let result = house.metrics.write_columns(OURS, &[entry], Batch::new()).await;
        assert_eq!(field(result).field, path);
    }
}

#[tokio::test]
async fn a_value_that_a_count_would_drop_is_refused() {
    let house = House::new().await;
    house.define("starts", DataType::Count, Interval::Daily, false).await;
    for wrong in [5.0, 0.0, -1.0, f64::NAN] {
        let refused = field(house.write(&[sample("starts", None, 1.0), sample("starts", None, wrong)]).await);
        assert_eq!((&*refused.field, refused.value), ("samples[1].value", wrong.to_string()));
        for part in ["none, or 1", "\"starts\"", "type count", "type sum"] {
            assert!(refused.expected.contains(part), "{}", refused.expected);
        }
    }
    assert_eq!(house.values("starts").await, [(None, vec![])]);
}

#[tokio::test]
async fn a_wrong_sample_is_named_and_nothing_of_its_write_happens() {
    let house = House::new().await;
    house.define("plain", DataType::Average, Interval::Daily, false).await;
    house.define("keyed", DataType::Sum, Interval::Daily, true).await;
    let beyond: Timestamp = serde_from_milliseconds(Timestamp::MAX.as_milliseconds() + 1);
    let plain = || sample("plain", None, 1.0);
    for (wrong, path, value) in [
        (sample("plain", Some("k"), 1.0), "samples[1].key", "k"),
        (sample("keyed", None, 1.0), "samples[1].key", ""),
        (sample("keyed", Some(""), 1.0), "samples[1].key", ""),
        (sample("keyed", Some(&"k".repeat(201)), 1.0), "samples[1].key", &format!("{}…", "k".repeat(100))),
        (Sample { value: None, ..plain() }, "samples[1].value", ""),
        (sample("plain", None, f64::NAN), "samples[1].value", "NaN"),
        (sample("plain", None, f64::NEG_INFINITY), "samples[1].value", "-inf"),
        (Sample { weight: Some(0.0), ..plain() }, "samples[1].weight", "0"),
        (Sample { weight: Some(-1.0), ..plain() }, "samples[1].weight", "-1"),
        (Sample { weight: Some(f64::INFINITY), ..plain() }, "samples[1].weight", "inf"),
        (Sample { weight: Some(2.0), ..sample("plain", None, f64::MAX) }, "samples[1].weight", "2"),
        (Sample { time: Some(beyond.into()), ..plain() }, "samples[1].time", "253402207200001"),
    ] {
        let error = field(house.write(&[plain(), wrong]).await);
        assert_eq!((error.field.as_str(), error.value.as_str()), (path, value));
        assert!(!error.expected.is_empty());
    }
    let unknown = house.write(&[plain(), sample("nothing", None, 1.0)]).await;
    assert!(matches!(unknown, Err(MetricError::UnknownMetric(name)) if name == "nothing"));
    let elsewhere = house.metrics.write(OrganisationId(2), &[plain()], Batch::new()).await;
    assert!(matches!(elsewhere, Err(MetricError::UnknownMetric(_))));
    assert_eq!(house.values("plain").await, [(None, vec![])]);
    assert_eq!(rows(&*house.store, Space::Series).await, []);
}

/// A timestamp beyond the bounds, as bad input could make one.
fn serde_from_milliseconds(milliseconds: i64) -> Timestamp {
    use serde::Deserialize;
    use serde::de::value::{Error, I64Deserializer};
    Timestamp::deserialize(I64Deserializer::<Error>::new(milliseconds)).unwrap()
}

#[tokio::test]
async fn the_longest_key_of_the_widest_characters_is_stored() {
    let house = House::new().await;
    let name = "🐑".repeat(200);
    house.define(&name, DataType::Sum, Interval::Daily, true).await;
    assert_eq!(house.add(&name, Some(&"🔔".repeat(200)), 1.0).await, 1.0);
    assert_eq!(house.add(&name, Some(&"\0".repeat(200)), 2.0).await, 2.0);
    assert_eq!(house.values(&name).await.len(), 2);
}

#[tokio::test]
async fn a_sum_that_would_overflow_is_refused_by_the_value_that_weighs_most() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Daily, false).await;
    house.define("max", DataType::Max, Interval::Daily, false).await;
    house.add("sum", None, f64::MAX).await;
    let error = field(
        house.write(&[sample("max", None, 1.0), sample("sum", None, 1.0), sample("sum", None, 1e308)]).await,
    );
    assert_eq!(error.field, "samples[2].value");
    assert_eq!(house.values("sum").await, [(None, vec![f64::MAX])]);
    assert_eq!(house.values("max").await, [(None, vec![])]);
    // Back within range it goes on; and a largest value has no sum to overflow.
    assert_eq!(house.add("sum", None, -f64::MAX).await, 0.0);
    for _ in 0..3 {
        assert_eq!(house.add("max", None, f64::MAX).await, f64::MAX);
    }
}

#[tokio::test]
async fn what_is_joined_is_committed_with_the_samples_or_neither_is() {
    let house = House::new().await;
    house.define("sum", DataType::Sum, Interval::Daily, true).await;
    let receipt = Key::new(Space::Meta).text("receipt");
    let mut join = Batch::new();
    join.require(receipt.clone(), Precondition::Absent).put(receipt.clone(), "done");
    let samples = [sample("sum", Some("a"), 1.0)];
    house.metrics.write(OURS, &samples, join.clone()).await.unwrap();
    assert_eq!(house.store.get(&receipt).await.unwrap().unwrap(), "done");

    let again = house.metrics.write(OURS, &[sample("sum", Some("b"), 1.0)], join).await;
    assert!(matches!(again, Err(MetricError::Store(StoreError::Conflict(key))) if key == receipt));
    let mut large = Batch::new();
    large.put(receipt, vec![0; MAX_VALUE + 1]);
    assert!(house.metrics.write(OURS, &samples, large).await.is_err());
    assert_eq!(house.values("sum").await, [(Some("a".to_owned()), vec![1.0])]);

    let mut alone = Batch::new();
    let other = Key::new(Space::Meta).text("other");
    alone.put(other.clone(), "done");
    assert_eq!(house.metrics.write(OURS, &[], alone).await.unwrap(), []);
    assert!(house.store.get(&other).await.unwrap().is_some());
}

#[tokio::test]
async fn limits_on_samples_and_keys_hold() {
    let house = House::limited(Limits { samples: 3, keys: 2, ..Limits::default() }).await;
    house.define("sum", DataType::Sum, Interval::Daily, true).await;
    let keyed = |key| sample("sum", Some(key), 1.0);
    let limit = |result: Result<_, MetricError>| match result {
        Err(MetricError::Limit { what, limit }) => (what, limit),
        other => panic!("{other:?}"),
    };
    let many = house.write(&[keyed("a"), keyed("a"), keyed("a"), keyed("a")]).await;
    assert_eq!(limit(many), ("samples in one write".to_owned(), 3));
    let times = vec![at("2024-04-09"); 2];
    let two = || SampleColumns {
        metric: by_name("sum"),
        key: Some("a".to_owned()),
        times: times.clone(),
        values: vec![1.0; 2],
        weights: Vec::new(),
    };
    let columns = house.metrics.write_columns(OURS, &[two(), two()], Batch::new()).await;
    assert_eq!(limit(columns), ("samples in one write".to_owned(), 3));
    let three = house.write(&[keyed("a"), keyed("b"), keyed("c")]).await;
    assert_eq!(limit(three), ("keys of the metric sum".to_owned(), 2));
    assert_eq!(house.values("sum").await, []);
    house.write(&[keyed("a"), keyed("b")]).await.unwrap();
    assert_eq!(limit(house.write(&[keyed("a"), keyed("c")]).await).1, 2);
    // The keys there are can still be written.
    assert_eq!(house.add("sum", Some("a"), 1.0).await, 2.0);
}

#[tokio::test]
async fn numbers_of_series_are_never_shared_between_keys_or_metrics() {
    let house = House::new().await;
    for name in ["one", "two"] {
        house.define(name, DataType::Sum, Interval::Daily, true).await;
        for key in ["a", "b", "c"] {
            house.add(name, Some(key), 1.0).await;
        }
    }
    let series = rows(&*house.store, Space::Series).await;
    let mut values: Vec<_> = series.into_iter().map(|(_, value)| value).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 6);
}
