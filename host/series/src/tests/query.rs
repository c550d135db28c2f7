//! Queries answer what a naive model of the same words answers.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::read::Wanted;
use crate::{
    Aggregate, Expression, Fill, Function, Line, Metadata, MetricKind, Normalise, Operator, Selection,
    TagPattern, TimeRange, parse_datadog,
};

/// Everything written: tags and samples, in the order of writes.
pub(super) type Written = Vec<(Vec<String>, Vec<(i64, f64)>)>;

pub(super) type Points = Vec<(i64, f64)>;

/// One value of `values`, given in order of time.
pub(super) fn naive_one(aggregate: Aggregate, values: &[f64]) -> f64 {
    let count = values.len() as f64;
    match aggregate {
        Aggregate::Average => values.iter().sum::<f64>() / count,
        Aggregate::Sum => values.iter().sum(),
        Aggregate::Minimum => values.iter().copied().fold(f64::INFINITY, f64::min),
        Aggregate::Maximum => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Aggregate::Count => count,
        Aggregate::Last => values[values.len() - 1],
        Aggregate::Percentile(percent) => {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            let place = percent / 100.0 * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        }
    }
}

/// What a selection over time means, written as it is said.
pub(super) fn naive(
    written: &Written,
    selection: &Selection,
    start: i64,
    end: i64,
    step: i64,
    kind: MetricKind,
) -> BTreeMap<Vec<String>, Vec<(i64, f64)>> {
    let mut series: BTreeMap<&Vec<String>, BTreeMap<i64, f64>> = BTreeMap::new();
    for (tags, samples) in written {
        series.entry(tags).or_default().extend(samples.iter().copied());
    }
    // By group and step: the time of the latest sample, and the value, of each series; or of each sample.
    let mut cells: BTreeMap<(Vec<String>, i64), Points> = BTreeMap::new();
    for (tags, samples) in series {
        let texts: Vec<&str> = tags.iter().map(String::as_str).collect();
        if !selection.filter.matches(&texts) {
            continue;
        }
        let values_of = |key: &String| {
            let own = texts.iter().map(|tag| crate::split_tag(tag)).filter(|(own, _)| own == key);
            let own: Vec<String> = own.map(|(_, value)| value.to_owned()).collect();
            if own.is_empty() { vec![String::new()] } else { own }
        };
        let mut groups = vec![Vec::new()];
        for key in &selection.by {
            groups = groups
                .iter()
                .flat_map(|group: &Vec<String>| {
                    values_of(key).into_iter().map(|value| [group.clone(), vec![value]].concat())
                })
                .collect();
        }
        let mut steps: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
        for (time, value) in samples.range(start..=end).filter(|(_, value)| value.is_finite()) {
            steps.entry(time.div_euclid(step) * step).or_default().push((*time, *value));
        }
        let reasons =
            [kind == MetricKind::Distribution, matches!(selection.over_series, Aggregate::Percentile(_))];
        let pooled = match selection.over_time {
            None => reasons.contains(&true),
            Some(_) => reasons == [true; 2],
        };
        for (step, samples) in steps {
            let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            let over_time = selection.over_time.unwrap_or(Aggregate::Average);
            let last = samples[samples.len() - 1].0;
            for group in &groups {
                let cell = cells.entry((group.clone(), step)).or_default();
                if pooled {
                    cell.extend(samples.iter().copied());
                } else {
                    cell.push((last, naive_one(over_time, &values)));
                }
            }
        }
    }
    let mut lines: BTreeMap<Vec<String>, Vec<(i64, f64)>> = BTreeMap::new();
    for ((group, step), mut values) in cells {
        values.sort_by_key(|(time, _)| *time);
        let values: Vec<f64> = values.into_iter().map(|(_, value)| value).collect();
        lines.entry(group).or_default().push((step, naive_one(selection.over_series, &values)));
    }
    lines
}

pub(super) fn aggregate() -> impl Strategy<Value = Aggregate> {
    prop_oneof![
        Just(Aggregate::Average),
        Just(Aggregate::Sum),
        Just(Aggregate::Minimum),
        Just(Aggregate::Maximum),
        Just(Aggregate::Count),
        Just(Aggregate::Last),
        (0..=100_u32).prop_map(|percent| Aggregate::Percentile(f64::from(percent))),
    ]
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let tag = ("[abc]", "[xy*]{1,2}").prop_map(|(key, value)| Filter::Tag(key, TagPattern::wildcard(&value)));
    let tag = prop_oneof![3 => Just(Filter::All), 3 => tag, 1 => Just(Filter::Tag("a".into(), TagPattern::regex("x|y.").unwrap()))];
    tag.prop_flat_map(|filter| prop_oneof![Just(filter.clone()), Just(Filter::Not(Box::new(filter)))])
}

fn selection() -> impl Strategy<Value = Selection> {
    (aggregate(), prop::option::of(aggregate()), filter(), prop::collection::btree_set("[abc]", 0..3))
        .prop_map(|(over_series, over_time, filter, by)| Selection {
            filter,
            over_series,
            over_time,
            by: by.into_iter().collect(),
            ..Selection::new("m")
        })
}

/// Whole numbers, so that sums are exact in any order; of distinct times, so that "latest" has one meaning.
pub(super) fn written() -> impl Strategy<Value = Written> {
    let tags =
        prop::collection::btree_set("[abc]:[xy]{1,2}", 0..3).prop_map(|tags| tags.into_iter().collect());
    let samples = (0..400_i64, 1..400_i64, 1..50_i64).prop_flat_map(|(start, count, step)| {
        let value = prop_oneof![20 => (-1000..1000_i32).prop_map(f64::from), 1 => Just(f64::NAN)];
        prop::collection::vec(value, count as usize)
            .prop_map(move |values| (0..).map(|n| (start + n * step) * 16).zip(values).collect())
    });
    prop::collection::vec((tags, samples), 1..8).prop_map(|mut written: Written| {
        let mut known: Vec<Vec<String>> = Vec::new();
        for (tags, samples) in &mut written {
            let place = known.iter().position(|other| other == tags).unwrap_or_else(|| {
                known.push(tags.clone());
                known.len() - 1
            });
            samples.iter_mut().for_each(|(time, _)| *time += place as i64);
        }
        written
    })
}

pub(super) fn kind() -> impl Strategy<Value = MetricKind> {
    prop_oneof![Just(MetricKind::Gauge), Just(MetricKind::Distribution)]
}

pub(super) fn points(lines: Vec<Line>) -> BTreeMap<Vec<String>, Vec<(i64, f64)>> {
    let tags = |line: &Line| line.tags.iter().map(|(_, value)| value.to_string()).collect();
    lines.into_iter().map(|line| (tags(&line), line.points)).collect()
}

pub(super) fn close(
    a: &BTreeMap<Vec<String>, Vec<(i64, f64)>>,
    b: &BTreeMap<Vec<String>, Vec<(i64, f64)>>,
) -> bool {
    let same =
        |(a, b): (&(i64, f64), &(i64, f64))| a.0 == b.0 && (a.1 - b.1).abs() <= 1e-9 * a.1.abs().max(1.0);
    a.keys().eq(b.keys())
        && a.values().zip(b.values()).all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(same))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_query_answers_what_the_model_answers(
        written in written(), selection in selection(), step in 1..8000_i64, start in 0..3000_i64, length in 0..300_000_i64,
        packs in any::<u8>(), kind in kind(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            house.series.describe(OURS, "m", Metadata { kind, ..Metadata::default() }, Batch::new()).await.unwrap();
            for (at, (tags, samples)) in written.iter().enumerate() {
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                house.write(&[entry("m", &tags, samples)]).await.unwrap();
                if packs >> (at % 8) & 1 == 1 {
                    house.series.pack().await.unwrap();
                    house.series.tend().await.unwrap();
                }
            }
            let range = TimeRange {
                start: Timestamp::from_milliseconds(start).unwrap(),
                end: Timestamp::from_milliseconds(start + length).unwrap(),
                step: Some(step),
            };
            let expression = Expression::Select(selection.clone());
            let answer = points(house.series.query(OURS, &expression, range, &|_| true).await.unwrap());
            let expected = naive(&written, &selection, start, start + length, step, kind);
            assert!(close(&answer, &expected), "{selection:?}\n{answer:?}\nis not\n{expected:?}");
        });
    }
}

/// Two hosts with a sample every ten seconds for a quarter of an hour, `a` at 1, 2, …, `b` at 10, 20, ….
async fn two_hosts() -> House {
    let house = House::new().await;
    for (host, factor) in [("a", 1.0), ("b", 10.0)] {
        let samples: Vec<(i64, f64)> = (0..90).map(|n| (n * 10_000, (n + 1) as f64 * factor)).collect();
        house.write(&[entry("m", &[&format!("host:{host}"), "env:prod"], &samples)]).await.unwrap();
    }
    house
}

async fn ask(house: &House, query: &str, seconds: i64) -> Vec<(String, Vec<(i64, f64)>)> {
    let range = TimeRange {
        start: Timestamp::from_milliseconds(0).unwrap(),
        end: Timestamp::from_milliseconds(seconds * 1000 - 1).unwrap(),
        step: Some(60_000),
    };
    let expression = parse_datadog(query).unwrap();
    let lines = house.series.query(OURS, &expression, range, &|metric| metric != "hidden").await.unwrap();
    let tags = |line: &Line| {
        line.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(",")
    };
    let seconds = |line: &Line| line.points.iter().map(|(time, value)| (time / 1000, *value)).collect();
    lines.iter().map(|line| (tags(line), seconds(line))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_few_series_is_answered_at_once_and_one_that_must_look_for_them_is_not() {
    let house = House::new().await;
    let tag = |host: usize| format!("host:{host}");
    for host in 0..100 {
        house.write(&[entry("m", &[&tag(host)], &[(house.now(), 1.0)])]).await.unwrap();
    }
    let now = Timestamp::from_milliseconds(house.now()).unwrap();
    let range = TimeRange { start: now, end: now, step: None };
    for (query, quick) in [
        ("avg:m{host:1}", true),
        ("avg:m{!host:*,host:1}", false),
        ("avg:m{*}", false),
        ("avg:m{host:1} + avg:m{host:2} * 2", true),
        ("avg:m{host:1} + avg:m{*}", false),
        ("avg:m{host:1*}", false),
        ("avg:m{host:~\"1\"}", false),
        ("abs(avg:m{host:1})", true),
        ("hour_before(avg:m{host:1})", false),
        ("avg:nobody{*}", true),
    ] {
        let expression = parse_datadog(query).unwrap();
        assert_eq!(house.series.is_quick(OURS, &expression, range), quick, "{query}");
        let lines = house.series.query(OURS, &expression, range, &|_| true).await.unwrap();
        assert!(lines.iter().all(|line| line.points.len() == 1), "{query}: {lines:?}");
    }
    let lines = house.series.query(OURS, &parse_datadog("sum:m{host:7}").unwrap(), range, &|_| true).await;
    assert_eq!(lines.unwrap()[0].points[0].1, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_few_series_with_many_samples_is_worked_out_where_it_can_be_given_up() {
    let house = House::new().await;
    let samples: Vec<(i64, f64)> = (0..150_000).map(|n| (house.now() + n * 1000, 1.0)).collect();
    house.write(&[entry("m", &[], &samples)]).await.unwrap();
    for packed in [false, true] {
        if packed {
            house.series.pack().await.unwrap();
        }
        for query in ["p99:m{*}", "avg:m{*}"] {
            let expression = parse_datadog(query).unwrap();
            for (seconds, at_once) in [(1000, true), (150_000, false)] {
                let start = Timestamp::from_milliseconds(house.now()).unwrap();
                let range = TimeRange { start, end: start.saturating_add(seconds * 1000), step: None };
                let answer = house.series.at_once(OURS, &expression, range).await;
                assert_eq!(answer.is_some(), at_once, "{query} of {seconds} s");
                let lines = house.series.query(OURS, &expression, range, &|_| true).await.unwrap();
                assert!(lines[0].points.iter().all(|(_, value)| *value == 1.0), "{query}: {lines:?}");
            }
        }
    }
}

/// The points of a query's only line from one second to another, in steps of a length that nobody chose.
async fn by_default(house: &House, query: &str, (start, end): (i64, i64)) -> BTreeMap<i64, f64> {
    let time = |second: i64| Timestamp::from_milliseconds(second * 1000).unwrap();
    let range = TimeRange { start: time(start), end: time(end), step: None };
    let lines = house.series.query(OURS, &parse_datadog(query).unwrap(), range, &|_| true).await.unwrap();
    assert!(lines.len() == 1, "{query}: {lines:?}");
    lines[0].points.iter().map(|(time, value)| (time / 1000, *value)).collect()
}

#[tokio::test]
async fn a_sum_of_gauges_is_of_all_series_however_short_the_default_step_is() {
    let house = House::new().await;
    for host in 0..10 {
        let samples: Vec<_> = (0..480).map(|n| (n * 15_000 + host * 1500, 1.0)).collect();
        house.write(&[entry("m", &[&format!("host:{host}")], &samples)]).await.unwrap();
        if host == 4 {
            house.series.pack().await.unwrap();
        }
    }
    for minutes in [5, 10, 30, 60, 100] {
        for query in ["sum:m{*}", "count:m{*}", "sum:m{*}.rollup(max)", "timeshift(sum:m{*}, 47)"] {
            let points = by_default(&house, query, (600, 600 + minutes * 60)).await;
            assert!(points.values().all(|value| *value == 10.0), "{query} of {minutes} minutes: {points:?}");
        }
    }
}

#[tokio::test]
async fn a_series_without_samples_is_part_of_a_sum_for_five_minutes_where_its_values_are_levels() {
    let house = House::new().await;
    for (metric, kind) in [("g", MetricKind::Gauge), ("r", MetricKind::Rate), ("c", MetricKind::Count)] {
        let metadata = Metadata { kind, ..Metadata::default() };
        house.series.describe(OURS, metric, metadata, Batch::new()).await.unwrap();
        let steady: Vec<_> = (0..180).map(|n| (n * 10_000, 1.0)).collect();
        let once = [(600_000, 5.0), (610_000, f64::NAN)];
        house.write(&[entry(metric, &["a:1"], &steady), entry(metric, &["a:2"], &once)]).await.unwrap();
    }
    for (query, stands) in [
        ("sum:g{*}", true),
        ("sum:r{*}.as_rate()", true),
        ("sum:g{*}.rollup(max)", true),
        ("sum:g{*}.rollup(avg, 10)", false),
        ("sum:r{*}.as_count(10) / 10", false),
        ("sum:c{*}", false),
    ] {
        for start in [0, 700, 1000] {
            let points = by_default(&house, query, (start, start + 1790)).await;
            let steps: Vec<i64> = points.keys().copied().collect();
            assert_eq!(steps, (start..1800).step_by(10).collect::<Vec<_>>(), "no step is made up");
            for (second, value) in points {
                let there = second == 600 || stands && (600..=900).contains(&second);
                assert_eq!(value, if there { 6.0 } else { 1.0 }, "{query} at {second}, from {start} on");
            }
        }
    }
}

#[tokio::test]
async fn every_function_does_what_its_name_says() {
    let house = two_hosts().await;
    let gappy: Vec<(i64, f64)> =
        [(0, 1.0), (60, 4.0), (240, 2.0)].map(|(second, value)| (second * 1000, value)).to_vec();
    house.write(&[entry("g", &[], &gappy)]).await.unwrap();
    for (query, expected) in [
        ("max:m{host:a}.rollup(max)", vec![(0, 6.0), (60, 12.0), (120, 18.0)]),
        ("sum:m{*}.rollup(max, 120)", vec![(0, 132.0), (120, 198.0)]),
        ("max:m{*}.rollup(count)", vec![(0, 6.0), (60, 6.0), (120, 6.0)]),
        ("p50:m{host:a}", vec![(0, 3.5), (60, 9.5), (120, 15.5)]),
        ("max:m{host:b}.rollup(max) / max:m{host:a}.rollup(max)", vec![(0, 10.0), (60, 10.0), (120, 10.0)]),
        ("cumsum(max:m{host:a}.rollup(max))", vec![(0, 6.0), (60, 18.0), (120, 36.0)]),
        ("diff(max:m{host:a}.rollup(max))", vec![(60, 6.0), (120, 6.0)]),
        ("per_second(max:m{host:a}.rollup(max))", vec![(60, 0.1), (120, 0.1)]),
        ("monotonic_diff(g{*})", vec![(60, 3.0)]),
        ("diff(g{*})", vec![(60, 3.0)]),
        ("dt(max:m{host:a})", vec![(60, 60.0), (120, 60.0)]),
        ("g{*}.fill(zero)", vec![(0, 1.0), (60, 4.0), (120, 0.0)]),
        ("g{*}.fill(last, 1)", vec![(0, 1.0), (60, 4.0), (120, 4.0)]),
        ("clamp_max(g{*}, 2)", vec![(0, 1.0), (60, 2.0)]),
        ("cutoff_min(g{*}, 2)", vec![(60, 4.0)]),
        ("log2(g{*}) + 1", vec![(0, 1.0), (60, 3.0)]),
        ("1 / (g{*} - 1)", vec![(60, 1.0 / 3.0)]),
        ("count_nonzero(max:m{*} by {host})", vec![(0, 2.0), (60, 2.0), (120, 2.0)]),
        ("moving_rollup(max:m{host:a}.rollup(max), 120, 'sum')", vec![(0, 6.0), (60, 18.0), (120, 30.0)]),
        ("timeshift(max:m{host:a}.rollup(max), 60)", vec![(0, 12.0), (60, 18.0), (120, 24.0)]),
        ("timeshift(g{*}.fill(zero), 30)", vec![(0, 4.0), (60, 0.0), (120, 0.0)]),
        (
            "max:m{host:a}.rollup(max) - timeshift(max:m{host:a}.rollup(max), 30)",
            vec![(0, -3.0), (60, -3.0), (120, -3.0)],
        ),
        ("integral(g{*})", vec![(0, 0.0), (60, 240.0)]),
        ("ewma_3(g{*})", vec![(0, 1.0), (60, 2.5)]),
        ("-g{*} + 2 * 3", vec![(0, 5.0), (60, 2.0)]),
        ("7", vec![(0, 7.0), (60, 7.0), (120, 7.0)]),
    ] {
        let answer = ask(&house, query, 180).await;
        assert_eq!(answer.len(), 1, "{query}: {answer:?}");
        assert_eq!(answer[0].1, expected, "{query}");
    }
    assert_eq!(
        ask(&house, "g{*}.fill(linear)", 300).await[0].1[2..4],
        [(120, 4.0 - 2.0 / 3.0), (180, 4.0 - 4.0 / 3.0)]
    );
    assert_eq!(ask(&house, "g{*}.fill(linear, 60)", 300).await[0].1, [(0, 1.0), (60, 4.0), (240, 2.0)]);
}

#[tokio::test]
async fn a_host_that_is_gone_is_not_shown_alive_for_longer_than_is_said() {
    let house = two_hosts().await;
    house.write(&[entry("g", &[], &[(0, 1.0), (1_200_000, 5.0)])]).await.unwrap();
    for (query, filled) in [
        ("g{*}.rollup(avg, 60).fill(last)", 5),
        ("g{*}.rollup(avg, 60).fill(last, 120)", 2),
        ("g{*}.rollup(avg, 60).fill(linear)", 0),
        ("g{*}.rollup(avg, 60).fill(linear, 1140)", 19),
        ("g{*}.rollup(avg, 60).fill(zero)", 19),
    ] {
        assert_eq!(ask(&house, query, 1260).await[0].1.len(), 2 + filled, "{query}");
    }
}

#[tokio::test]
async fn groups_are_joined_by_their_tags_and_ranked() {
    let house = two_hosts().await;
    let by_host = ask(&house, "max:m{*} by {host}.rollup(max)", 60).await;
    assert_eq!(by_host, [("host:a".to_owned(), vec![(0, 6.0)]), ("host:b".to_owned(), vec![(0, 60.0)])]);
    let share = ask(&house, "max:m{*} by {host}.rollup(max) / max:m{*}.rollup(max)", 60).await;
    assert_eq!(share, [("host:a".to_owned(), vec![(0, 0.1)]), ("host:b".to_owned(), vec![(0, 1.0)])]);
    let top = ask(&house, "top(max:m{*} by {host}, 1, 'max', 'desc')", 60).await;
    assert_eq!(top.iter().map(|(tags, _)| &**tags).collect::<Vec<_>>(), ["host:b"]);
    let bottom = ask(&house, "top(max:m{*} by {host}, 2, 'mean', 'asc')", 60).await;
    assert_eq!(bottom.iter().map(|(tags, _)| &**tags).collect::<Vec<_>>(), ["host:a", "host:b"]);
    assert_eq!(ask(&house, "avg:none{*}", 60).await, []);
    assert_eq!(ask(&house, "exclude_null(avg:m{*} by {rack})", 60).await, []);
}

#[tokio::test]
async fn counts_are_summed_and_become_rates_on_demand() {
    let house = House::new().await;
    let metadata = Metadata { kind: MetricKind::Count, ..Metadata::default() };
    house.series.describe(OURS, "c", metadata, Batch::new()).await.unwrap();
    house.write(&[entry("c", &[], &[(0, 30.0), (10_000, 90.0), (60_000, 6.0)])]).await.unwrap();
    assert_eq!(ask(&house, "sum:c{*}", 120).await[0].1, [(0, 120.0), (60, 6.0)]);
    assert_eq!(ask(&house, "sum:c{*}.as_rate()", 120).await[0].1, [(0, 2.0), (60, 0.1)]);
    assert_eq!(ask(&house, "sum:c{*}.as_count()", 120).await[0].1, [(0, 120.0), (60, 6.0)]);
}

#[tokio::test]
async fn what_is_sampled_less_often_than_asked_for_is_turned_by_how_often_it_is_sampled() {
    let house = House::new().await;
    for (metric, kind) in [("c", MetricKind::Count), ("r", MetricKind::Rate)] {
        let metadata = Metadata { kind, ..Metadata::default() };
        house.series.describe(OURS, metric, metadata, Batch::new()).await.unwrap();
    }
    let minutes = [(0, 60.0), (60_000, 6.0)];
    house.write(&[entry("c", &[], &minutes), entry("r", &[], &minutes)]).await.unwrap();
    for (query, points) in [
        ("sum:c{*}.rollup(sum, 20).as_rate(60)", [(0, 1.0), (60, 0.1)]),
        ("sum:c{*}.as_rate( 60 ).rollup(20)", [(0, 1.0), (60, 0.1)]),
        ("sum:c{*}.rollup(20).as_count(60)", [(0, 60.0), (60, 6.0)]),
        ("sum:r{*}.rollup(20).as_count(60)", [(0, 3600.0), (60, 360.0)]),
        ("sum:r{*}.rollup(20).as_rate(60)", [(0, 60.0), (60, 6.0)]),
    ] {
        assert_eq!(ask(&house, query, 120).await[0].1, points, "{query}");
    }
    assert_eq!(ask(&house, "sum:c{*}.rollup(120).as_rate(60)", 120).await[0].1, [(0, 0.55)]);
    assert!(parse_datadog("sum:c{*}.as_rate(0)").unwrap_err().to_string().contains("from 1 to"));
}

#[tokio::test]
async fn a_rate_becomes_as_many_as_its_samples_stand_for() {
    let house = House::new().await;
    let each_ten_seconds: Vec<_> = (0..90).map(|n| (n * 10_000, 1.0)).collect();
    for (metric, samples) in [("r", &*each_ten_seconds), ("one", &[(1_800_000, 1.0)])] {
        let metadata = Metadata { kind: MetricKind::Rate, ..Metadata::default() };
        house.series.describe(OURS, metric, metadata, Batch::new()).await.unwrap();
        house.write(&[entry(metric, &[], samples)]).await.unwrap();
    }
    for (query, seconds, points) in [
        ("sum:r{*}.rollup(sum, 3600).as_count(10)", 3600, vec![(0, 900.0)]),
        ("sum:r{*}.rollup(3600).as_count(10)", 3600, vec![(0, 900.0)]),
        ("sum:one{*}.rollup(3600).as_count(10)", 3600, vec![(0, 10.0)]),
        ("sum:r{*}.as_count(10)", 90, vec![(0, 60.0), (60, 30.0)]),
        ("sum:r{*}.rollup(max, 60).as_count(10)", 60, vec![(0, 10.0)]),
        ("sum:r{*}.rollup(count, 60).as_count(10)", 60, vec![(0, 6.0)]),
        ("sum:r{*}.as_count()", 120, vec![(0, 60.0), (60, 60.0)]),
    ] {
        assert_eq!(ask(&house, query, seconds).await[0].1, points, "{query}");
    }
}

#[tokio::test]
async fn an_average_is_right_of_values_whose_sum_no_double_holds() {
    let house = House::new().await;
    let greatest = [(0, f64::MAX), (1000, f64::MAX), (2000, f64::MAX)];
    house.write(&[entry("m", &["a:1"], &greatest), entry("m", &["a:2"], &greatest)]).await.unwrap();
    for packed in [false, true] {
        if packed {
            house.series.pack().await.unwrap();
        }
        for query in ["avg:m{*}", "avg:m{*} by {a}", "moving_rollup(avg:m{*}.rollup(1), 10, 'avg')"] {
            let lines = ask(&house, query, 60).await;
            let values = lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
            assert!(
                values.clone().count() > 0 && values.clone().all(|value| value == f64::MAX),
                "{query}: {lines:?}"
            );
        }
        assert_eq!(ask(&house, "sum:m{*}", 60).await, [], "no double is their sum");
    }
}

#[tokio::test]
async fn a_query_that_asks_too_much_is_told_what() {
    let limits = Limits { query_series: 1, query_samples: 100, query_points: 10, ..Limits::default() };
    let house = House::limited(limits).await;
    let samples: Vec<(i64, f64)> = (0..200).map(|n| (n, n as f64)).collect();
    house.write(&[entry("m", &["a:1"], &samples), entry("m", &["a:2"], &samples)]).await.unwrap();
    let range = |step| TimeRange {
        start: Timestamp::from_milliseconds(0).unwrap(),
        end: Timestamp::from_milliseconds(1000).unwrap(),
        step: Some(step),
    };
    for (query, step, message) in [
        ("avg:m{*}", 1000, "at most 1 series in one query"),
        ("avg:m{a:1}", 1000, "at most 100 samples read by one query"),
        ("1", 10, "at most 10 points in one answer"),
        ("1", 0, "step is \"0\""),
        ("p100:m{a:3}.fill(zero)", 1, ""),
    ] {
        let answer = house.series.query(OURS, &parse_datadog(query).unwrap(), range(step), &|_| true).await;
        match answer {
            Err(error) => {
                assert!(!message.is_empty() && error.to_string().contains(message), "{query}: {error}");
            }
            Ok(lines) => assert!(message.is_empty() && lines.is_empty(), "{query}: {lines:?}"),
        }
    }
    let expression = parse_datadog("1 + avg:hidden{*}").unwrap();
    let hidden = house.series.query(OURS, &expression, range(1), &|name| name != "hidden").await;
    assert!(matches!(hidden, Err(SeriesError::Forbidden(name)) if name == "hidden"));
}

#[test]
fn the_default_step_makes_at_most_300_points() {
    for (hours, seconds) in
        [(1, 20), (4, 60), (24, 300), (24 * 7, 3600), (24 * 365, 604_800), (24 * 365 * 100, 11 * 604_800)]
    {
        let start = Timestamp::from_milliseconds(0).unwrap();
        let range = TimeRange { start, end: start.saturating_add(hours * 3_600_000), step: None };
        let points = hours * 3_600_000 / range.step();
        assert!(points <= 300, "{hours} hours make {points} points");
        assert!(range.step() <= seconds * 2000, "{hours} hours make steps of {}", range.step());
    }
}

#[test]
fn what_a_builder_builds_and_a_text_says_are_one() {
    let built = Expression::Select(Selection::new("m").grouped(Aggregate::Sum, ["host"]))
        .apply(Function::Fill(Fill::Zero, None))
        .with(Operator::Divide, Expression::Number(2.0));
    assert_eq!(parse_datadog("sum:m{*} by {host}.fill(zero) / 2").unwrap(), built);
    let rate = Expression::Select(Selection { normalise: Some(Normalise::Rate), ..Selection::new("m") });
    assert_eq!(parse_datadog("avg:m{*}.as_rate()").unwrap(), rate);
}

/// All there is of every series.
fn everything(cancelled: &AtomicBool) -> Wanted<'_> {
    let (first, last) = (i64::MIN, i64::MAX);
    let (raw, sketches, at_once) = (false, false, false);
    Wanted { first, last, before: first, raw, sketches, most: u64::MAX, at_once, cancelled }
}

#[tokio::test]
async fn only_blocks_among_whose_samples_others_came_late_are_unpacked_for_long_steps() {
    let house = House::new().await;
    let at = |n: i64| house.now() + n * 1000;
    let samples: Vec<(i64, f64)> = (0..8 * 1024).map(|n| (at(n), 1.0)).collect();
    house.write(&[entry("m", &[], &samples)]).await.unwrap();
    house.series.pack().await.unwrap();
    // Of the sixth block, of the second, and behind all of them.
    house
        .write(&[entry("m", &[], &[(at(5200) + 1, 2.0), (at(1500) + 1, 2.0), (at(9000), 2.0)])])
        .await
        .unwrap();
    let nobody = AtomicBool::new(false);
    let shared = &house.series.shared;
    let series = shared.index(OURS).read().all();
    let mut snapshot = shared.snapshot(&series, everything(&nobody)).unwrap();
    let piece = snapshot.read(series.min().unwrap(), Some((0, 1 << 45))).unwrap();
    assert_eq!((piece.summaries.len(), snapshot.unpacked), (6, 2 * 1024 + 3));
}

#[tokio::test]
async fn a_series_is_read_no_further_once_nobody_waits_for_it() {
    let house = House::rolling(MetricKind::Gauge).await;
    let day = house.now() - 10 * DAY;
    for round in 0..3 {
        let samples: Vec<(i64, f64)> = (0..3000).map(|n| (day + n * 1000 + round, 1.0)).collect();
        house.write(&[entry("m", &[], &samples)]).await.unwrap();
        // Samples, samples that are looked at by their summaries, and roll-ups.
        house.later(if round == 1 { 30 } else { 0 }).await;
        let shared = &house.series.shared;
        let series = shared.index(OURS).read().all();
        for (cancelled, steps) in [(false, None), (true, None), (true, Some((0, 1 << 45)))] {
            let cancelled_now = AtomicBool::new(cancelled);
            let mut snapshot = shared.snapshot(&series, everything(&cancelled_now)).unwrap();
            assert_eq!(snapshot.read(series.min().unwrap(), steps).is_err(), cancelled);
        }
    }
}

#[tokio::test]
async fn samples_that_were_unpacked_not_long_ago_are_not_read_from_the_disk_again() {
    let house = House::new().await;
    let samples: Vec<(i64, f64)> = (0..3000).map(|n| (house.now() + n * 1000, (n % 77) as f64)).collect();
    house.write(&[entry("m", &["host:a"], &samples)]).await.unwrap();
    house.series.pack().await.unwrap();
    assert_eq!(house.one("m").await, samples);
    for file in std::fs::read_dir(house.folder.path()).unwrap() {
        let file = std::fs::OpenOptions::new().write(true).open(file.unwrap().path()).unwrap();
        file.set_len(0).unwrap();
    }
    assert_eq!(house.one("m").await, samples);
    // What was written since joins what is kept.
    let late = (samples[10].0, 1e6);
    house.write(&[entry("m", &["host:a"], &[late])]).await.unwrap();
    let mut expected = samples.clone();
    expected[10] = late;
    assert_eq!(house.one("m").await, expected);
}

#[tokio::test]
async fn a_series_of_many_values_is_in_each_group_once_and_in_no_more_than_a_query_can_hold() {
    let house = House::new().await;
    let tags: Vec<String> = (0..64).map(|n| format!("{}:{}", ["a", "b", "c", "d"][n % 4], n)).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    house.write(&[entry("m", &tags, &[(1000, 1.0)])]).await.unwrap();
    let range = TimeRange { start: at("1970-01-01"), end: at("1970-01-02"), step: Some(1000) };
    let ask = async |by: &[&str]| {
        let selection = Selection::new("m").grouped(Aggregate::Sum, by.iter().copied());
        house.series.query(OURS, &Expression::Select(selection), range, &|_| true).await
    };
    let lines = ask(&["a"; 20]).await.unwrap();
    assert_eq!(lines.len(), 16);
    assert!(lines.iter().all(|line| line.tags.len() == 1 && line.points == [(1000, 1.0)]), "{lines:?}");
    assert_eq!(ask(&["a", "b"]).await.unwrap().len(), 256);
    let refused = ask(&["a", "b", "c", "d"]).await.unwrap_err();
    assert!(matches!(refused, SeriesError::Limit { limit: 1024, .. }), "{refused}");
    let keys: Vec<String> = (0..65).map(|number| format!("k{number}")).collect();
    let refused = ask(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap_err();
    assert!(refused.to_string().contains("at most 64 keys"), "{refused}");
}

#[tokio::test]
async fn points_of_one_series_in_many_groups_are_refused_before_they_are_there() {
    let house = House::limited(Limits { query_points: 1000, ..Limits::default() }).await;
    let tags: Vec<String> = (0..32).map(|n| format!("a:{n}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let samples: Vec<_> = (0..100).map(|n| (n * 1000, 1.0)).collect();
    house.write(&[entry("m", &tags, &samples)]).await.unwrap();
    let range = TimeRange { start: at("1970-01-01"), end: at("1970-01-02"), step: Some(1000) };
    let query = parse_datadog("sum:m{*} by {a}").unwrap();
    let refused = house.series.query(OURS, &query, range, &|_| true).await.unwrap_err();
    assert!(matches!(refused, SeriesError::Limit { limit: 1000, .. }), "{refused}");
}
