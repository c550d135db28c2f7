//! What is read back.

use std::collections::BTreeMap;

use bellwether_kernel::{Cursor, MetricId, PageRequest};
use proptest::prelude::*;

use super::*;
use crate::KeyFilter;

const HOUR: i64 = 3_600_000;

/// Hours of 2024-04-09 and what was written in them.
async fn with_hours(data_type: DataType, hours: &[(i64, f64)]) -> House {
    let house = House::new().await;
    house.define("hourly", data_type, Interval::Hourly, false).await;
    for (hour, value) in hours {
        let time = Some(at("2024-04-09").saturating_add(hour * HOUR + 1234).into());
        let given = (data_type != DataType::Count).then_some(*value);
        house.write(&[Sample { time, value: given, ..sample("hourly", None, *value) }]).await.unwrap();
    }
    house
}

#[tokio::test]
async fn empty_intervals_are_filled_as_asked() {
    for (data_type, fill, expected) in [
        (DataType::Sum, Fill::Gaps, &[(2, Some(5.0)), (4, Some(7.0))][..]),
        (
            DataType::Sum,
            Fill::Zero,
            &[(1, Some(0.0)), (2, Some(5.0)), (3, Some(0.0)), (4, Some(7.0)), (5, Some(0.0))],
        ),
        (DataType::Last, Fill::Zero, &[(1, None), (2, Some(5.0)), (3, None), (4, Some(7.0)), (5, None)]),
        (
            DataType::Count,
            Fill::Zero,
            &[(1, Some(0.0)), (2, Some(1.0)), (3, Some(0.0)), (4, Some(1.0)), (5, Some(0.0))],
        ),
        // The value ahead of the range as well.
        (
            DataType::Max,
            Fill::Previous,
            &[(1, Some(9.0)), (2, Some(5.0)), (3, Some(5.0)), (4, Some(7.0)), (5, Some(7.0))],
        ),
    ] {
        let house = with_hours(data_type, &[(0, 9.0), (2, 5.0), (4, 7.0), (6, 9.0)]).await;
        // Both ends lie somewhere in their intervals.
        let series = house.query("hourly", "2024-04-09T01:30:00Z", "2024-04-09T05:00:00Z", fill).await;
        assert_eq!(series.len(), 1);
        let hour = |point: &crate::SeriesPoint| point.start.milliseconds_since(at("2024-04-09")) / HOUR;
        let found: Vec<_> = series[0].points.iter().map(|point| (hour(point), point.value)).collect();
        assert_eq!(found, expected, "{data_type} {fill:?}");
        for point in &series[0].points {
            assert_eq!(point.count, u64::from(point.aggregate.is_some()));
            assert_eq!(point.aggregate.is_some(), [2, 4].contains(&hour(point)));
        }
    }
}

#[tokio::test]
async fn the_value_before_a_range_is_of_all_hosts_and_its_own_key() {
    let store = Arc::new(MemoryStore::new());
    let here = House::with(Arc::clone(&store), HostId(1), Limits::default()).await;
    let there = House::with(store, HostId(2), Limits::default()).await;
    here.define("keyed", DataType::Sum, Interval::Daily, true).await;
    for (house, key, day, value) in [
        (&here, "a", "2024-04-01", 64.0),
        (&here, "a", "2024-04-02", 1.0),
        (&there, "a", "2024-04-02", 2.0),
        (&here, "b", "2024-04-05", 8.0),
    ] {
        let time = Some(at(day).into());
        house.write(&[Sample { time, ..sample("keyed", Some(key), value) }]).await.unwrap();
    }
    let series = here.query("keyed", "2024-04-04", "2024-04-05", Fill::Previous).await;
    let values = |number: usize| series[number].points.iter().map(|point| point.value).collect::<Vec<_>>();
    assert_eq!(values(0), [Some(3.0), Some(3.0)]);
    assert_eq!(values(1), [None, Some(8.0)]);
}

#[tokio::test]
async fn one_interval_is_asked_for_by_any_instant_of_it() {
    let house = with_hours(DataType::Average, &[(2, 5.0), (2, 8.0), (3, 1.0)]).await;
    for instant in ["2024-04-09T02:00:00Z", "2024-04-09T02:59:59.999Z"] {
        let series = house.query("hourly", instant, instant, Fill::Gaps).await;
        let points = &series[0].points;
        assert_eq!((points.len(), points[0].value, points[0].count), (1, Some(6.5), 2));
        let aggregate = points[0].aggregate.unwrap();
        assert_eq!((aggregate.sum, aggregate.minimum, aggregate.maximum), (13.0, 5.0, 8.0));
        assert_eq!((aggregate.first, aggregate.last, aggregate.average), (5.0, 8.0, 6.5));
    }
}

#[tokio::test]
async fn keys_are_answered_in_order_and_unknown_ones_without_values() {
    let house = House::new().await;
    house.define("keyed", DataType::Sum, Interval::Daily, true).await;
    for (key, value) in [("b", 2.0), ("a", 1.0), ("c", 3.0)] {
        house.add("keyed", Some(key), value).await;
    }
    house.clock.advance(48 * HOUR);
    house.add("keyed", Some("late"), 4.0).await;
    let keys = |keys: &[&str]| KeySelection::Keys(keys.iter().map(|key| (*key).to_owned()).collect());
    for (keys, fill, expected) in [
        (KeySelection::All, Fill::Gaps, &[("a", 1), ("b", 1), ("c", 1)][..]),
        (KeySelection::All, Fill::Zero, &[("a", 2), ("b", 2), ("c", 2), ("late", 2)]),
        (keys(&["c", "never", "a", "a"]), Fill::Gaps, &[("a", 1), ("c", 1), ("never", 0)]),
        (keys(&["never", "a"]), Fill::Previous, &[("a", 2), ("never", 2)]),
        (keys(&[]), Fill::Gaps, &[]),
    ] {
        let (start, end) = (at("2024-04-09"), at("2024-04-10"));
        let query = IntervalQuery { metric: by_name("keyed"), keys, start, end, fill };
        let series = house.metrics.query(OURS, &query).await.unwrap();
        let found: Vec<_> =
            series.iter().map(|one| (one.key.as_deref().unwrap(), one.points.len())).collect();
        assert_eq!(found, expected, "{query:?}");
    }
}

#[tokio::test]
async fn a_wrong_query_is_refused_by_field() {
    let house = House::new().await;
    house.define("plain", DataType::Sum, Interval::Daily, false).await;
    house.define("keyed", DataType::Sum, Interval::Daily, true).await;
    let good = IntervalQuery {
        metric: by_name("plain"),
        keys: KeySelection::All,
        start: at("2024-04-09"),
        end: at("2024-04-09"),
        fill: Fill::Gaps,
    };
    let keys = |key: &str| KeySelection::Keys(vec!["a".to_owned(), key.to_owned()]);
    for (query, path) in [
        (IntervalQuery { start: at("2024-04-10"), ..good.clone() }, "start"),
        (IntervalQuery { keys: keys("b"), ..good.clone() }, "keys"),
        (IntervalQuery { metric: by_name("keyed"), keys: keys(""), ..good.clone() }, "keys[1]"),
        (IntervalQuery { metric: by_name("keyed"), keys: keys(&"k".repeat(201)), ..good.clone() }, "keys[1]"),
    ] {
        assert_eq!(field(house.metrics.query(OURS, &query).await).field, path);
    }
    let unkeyed = IntervalQuery { keys: keys("b"), ..good.clone() };
    assert_eq!(field(house.metrics.query(OURS, &unkeyed).await).value, "a, b");
    let unknown = IntervalQuery { metric: MetricReference::Id(MetricId(7)), ..good };
    let error = house.metrics.query(OURS, &unknown).await.unwrap_err();
    assert_eq!(error.to_string(), r#"there is no metric "7""#);
}

#[tokio::test]
async fn an_answer_has_only_so_many_values() {
    let house = House::limited(Limits { values: 6, ..Limits::default() }).await;
    house.define("keyed", DataType::Sum, Interval::Hourly, true).await;
    for _ in 0..3 {
        house.write(&[sample("keyed", Some("a"), 1.0), sample("keyed", Some("b"), 1.0)]).await.unwrap();
        house.clock.advance(HOUR);
    }
    for (start, end, fill, fits) in [
        ("2024-04-09T00:00:00Z", "2024-04-09T23:00:00Z", Fill::Gaps, true),
        ("2024-04-09T14:00:00Z", "2024-04-09T16:00:00Z", Fill::Zero, true),
        ("2024-04-09T14:00:00Z", "2024-04-09T17:00:00Z", Fill::Zero, false),
        ("0001-01-01", "9999-12-30", Fill::Previous, false),
    ] {
        let query = IntervalQuery {
            metric: by_name("keyed"),
            keys: KeySelection::All,
            start: at(start),
            end: at(end),
            fill,
        };
        match house.metrics.query(OURS, &query).await {
            Ok(series) => {
                assert!(fits, "{start} {end} {fill:?}");
                assert_eq!(series.iter().map(|series| series.points.len()).sum::<usize>(), 6);
            }
            Err(error) => {
                assert!(!fits, "{start} {end} {fill:?}");
                assert!(matches!(error, MetricError::Limit { limit: 6, .. }), "{error:?}");
                assert!(error.to_string().contains("narrow the range"), "{error}");
            }
        }
    }
    let named = IntervalQuery {
        metric: by_name("keyed"),
        keys: KeySelection::Keys((0..7).map(|key| key.to_string()).collect()),
        start: at("2024-04-09"),
        end: at("2024-04-09"),
        fill: Fill::Gaps,
    };
    assert!(matches!(house.metrics.query(OURS, &named).await, Err(MetricError::Limit { limit: 6, .. })));
    house.add("keyed", Some("a"), 1.0).await;
    let all = IntervalQuery {
        metric: by_name("keyed"),
        keys: KeySelection::All,
        start: Timestamp::MIN,
        end: Timestamp::MAX,
        fill: Fill::Gaps,
    };
    assert!(matches!(house.metrics.query(OURS, &all).await, Err(MetricError::Limit { .. })));
}

#[tokio::test]
async fn long_series_and_many_keys_are_read_whole() {
    for count in [999, 1000, 1001, 2000] {
        let house = House::new().await;
        house.define("long", DataType::Sum, Interval::Hourly, false).await;
        house.define("wide", DataType::Sum, Interval::Hourly, true).await;
        let hour = |number: i64| Some(at("2024-01-01").saturating_add(number * HOUR));
        let long: Vec<Sample> = (0..count)
            .map(|number| Sample {
                time: hour(number).map(Moment::from),
                ..sample("long", None, number as f64)
            })
            .collect();
        let keys: Vec<String> = (0..count).map(|number| format!("{number:05}")).collect();
        let wide: Vec<Sample> = keys.iter().map(|key| sample("wide", Some(key), 1.0)).collect();
        house.write(&long).await.unwrap();
        house.write(&wide).await.unwrap();
        let values = (0..count).map(|number| number as f64).collect::<Vec<_>>();
        assert_eq!(house.values("long").await, [(None, values)]);
        let found = house.values("wide").await;
        assert!(found.iter().map(|(key, _)| key.as_ref().unwrap()).eq(&keys), "{count}");
    }
}

#[tokio::test]
async fn what_was_stored_before_a_time_zone_changed_its_rules_is_in_the_interval_of_today() {
    let house = with_hours(DataType::Sum, &[(1, 5.0), (2, 7.0), (4, 9.0)]).await;
    // As if hours had once begun half an hour later here.
    let id = house.metrics.get(OURS, &by_name("hourly")).await.unwrap().id;
    let start = at("2024-04-09T02:30:00Z");
    let bucket = crate::layout::buckets(OURS, id, crate::layout::ONLY_SERIES, start).number(1);
    let mut batch = Batch::new();
    batch.put(bucket, bellwether_store::encode(&crate::Partial::of(start, 100.0, 1.0)));
    house.store.commit(batch).await.unwrap();
    let series = house.query("hourly", "2024-04-09T01:00:00Z", "2024-04-09T03:00:00Z", Fill::Zero).await;
    let values: Vec<_> = series[0].points.iter().map(|point| point.value).collect();
    assert_eq!(values, [Some(5.0), Some(107.0), Some(0.0)]);
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let house = House::new().await;
    house.define("keyed", DataType::Sum, Interval::Daily, true).await;
    house.define("plain", DataType::Sum, Interval::Daily, false).await;
    let names = ["app1", "app2", "apple", "zapp", "été"];
    for key in names.iter().rev() {
        house.add("keyed", Some(key), 1.0).await;
    }
    let some = |text: &str| Some(text.to_owned());
    for (prefix, contains, expected) in [
        (None, None, &names[..]),
        (some("app"), None, &names[..3]),
        (None, some("app"), &names[..4]),
        (some("app"), some("l"), &names[2..3]),
        (some("é"), None, &names[4..]),
        (some("none"), None, &[]),
    ] {
        let filter = KeyFilter { prefix, contains };
        for limit in 1..=6 {
            let mut page = PageRequest::first(limit);
            let mut found = Vec::new();
            loop {
                let part = house.metrics.keys(OURS, &by_name("keyed"), &filter, &page).await.unwrap();
                assert!(part.items.len() <= limit);
                found.extend(part.items);
                let Some(next) = part.next else { break };
                page.cursor = Some(next);
            }
            assert_eq!(found, expected, "{filter:?} by {limit}");
        }
    }
    let all = KeyFilter::default();
    // A cursor leads on from where it stands, also under a filter that begins later.
    let from_app1 = PageRequest { limit: 9, cursor: Some(Cursor(b"app1".to_vec())) };
    let z = KeyFilter { prefix: some("z"), contains: None };
    let page = house.metrics.keys(OURS, &by_name("keyed"), &z, &from_app1).await.unwrap();
    assert_eq!(page.items, ["zapp"]);
    let page = house.metrics.keys(OURS, &by_name("plain"), &all, &PageRequest::first(5)).await.unwrap();
    assert_eq!(page.items, [""; 0]);
    let none = house.metrics.keys(OURS, &by_name("keyed"), &all, &PageRequest::first(0)).await;
    assert_eq!(field(none).field, "limit");
    let foreign = PageRequest { limit: 1, cursor: Some(Cursor(vec![0xff])) };
    assert_eq!(field(house.metrics.keys(OURS, &by_name("keyed"), &all, &foreign).await).field, "cursor");
}

/// A sample as the plain list has it: its hour, its host, its number among all, its value.
type Modelled = (i64, usize, usize, f64);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_query_equals_what_a_plain_list_of_the_samples_says(
        samples in prop::collection::vec((0..3_usize, -40 * 24..40 * 24_i64, -100..100_i32), 1..120),
        interval in prop::sample::select(vec![Interval::Hourly, Interval::Daily, Interval::Weekly, Interval::Monthly]),
        data_type in prop::sample::select(vec![DataType::Sum, DataType::Count, DataType::Max, DataType::Last]),
        range in (-50 * 24..50 * 24_i64, 0..60 * 24_i64),
        fill in prop::sample::select(vec![Fill::Gaps, Fill::Zero]),
        chunk in 1..20_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let zone = "Australia/Lord_Howe";
            let keyed = definition("keyed", data_type, interval, true);
            house.metrics.define(OURS, zone, keyed).await.unwrap();
            let other = House::with(Arc::clone(&house.store), HostId(2), Limits::default()).await;
            // April the seventh had a repeated half hour.
            let noon = at("2024-04-07T12:00:00Z");
            let calendar = crate::interval::Calendar::new(jiff::tz::TimeZone::get(zone).unwrap(), interval);
            let time = |hour: i64| noon.saturating_add(hour * HOUR);
            // By key and interval.
            let mut model: BTreeMap<(String, Timestamp), Vec<Modelled>> = BTreeMap::new();
            for (number, write) in samples.chunks(chunk).enumerate() {
                let host = number % 2;
                let mut batch = Vec::new();
                for (index, (key, hour, value)) in write.iter().enumerate() {
                    let (key, value) = (format!("key {key}"), f64::from(*value));
                    let given = (data_type != DataType::Count).then_some(value);
                    let sample = sample("keyed", Some(&key), value);
                    batch.push(Sample { time: Some(time(*hour).into()), value: given, ..sample });
                    let start = calendar.containing(time(*hour)).start();
                    model.entry((key, start)).or_default().push((*hour, host, number * 100 + index, value));
                }
                [&house, &other][host].write(&batch).await.unwrap();
            }
            let (start, end) = (time(range.0), time(range.0 + range.1));
            let query =
                IntervalQuery { metric: by_name("keyed"), keys: KeySelection::All, start, end, fill };
            let found = house.metrics.query(OURS, &query).await.unwrap();

            let known: std::collections::BTreeSet<&String> = model.keys().map(|(key, _)| key).collect();
            let mut expected = Vec::new();
            for key in known {
                let mut points = Vec::new();
                for span in calendar.between(start, end) {
                    match model.get(&(key.clone(), span.start())) {
                        Some(samples) => {
                            let values = || samples.iter().map(|sample| sample.3);
                            let value = match data_type {
                                DataType::Sum => values().sum(),
                                DataType::Count => samples.len() as f64,
                                DataType::Max => values().fold(f64::NEG_INFINITY, f64::max),
                                _ => samples.iter().max_by_key(|(hour, host, number, _)| (hour, host, number)).unwrap().3,
                            };
                            points.push((span.start(), Some(value), samples.len() as u64));
                        }
                        None if fill == Fill::Gaps => {}
                        None => {
                            let zero = matches!(data_type, DataType::Sum | DataType::Count).then_some(0.0);
                            points.push((span.start(), zero, 0));
                        }
                    }
                }
                if fill == Fill::Zero || !points.is_empty() {
                    expected.push((Some(key.clone()), points));
                }
            }
            let found: Vec<_> = found
                .into_iter()
                .map(|series| {
                    let points = series.points.iter().map(|point| (point.start, point.value, point.count));
                    (series.key, points.collect::<Vec<_>>())
                })
                .collect();
            assert_eq!(found, expected);
        });
    }
}
