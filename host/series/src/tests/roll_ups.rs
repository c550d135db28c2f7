//! Roll-ups: the same answers from less.

use proptest::prelude::*;

use super::query::{Points, Written, aggregate, close, filter, kind, naive, points};
use super::*;
use crate::{
    Aggregate, Expression, Line, Metadata, MetricKind, RollUp, Selection, TagPattern, TimeRange,
    parse_datadog,
};

const WEEK: i64 = 7 * DAY;
/// The beginning of a week, some years before the clock of [`House`].
const START: i64 = 2800 * WEEK;
const HOUR: i64 = 3_600_000;

fn rolled_up(kind: MetricKind) -> Metadata {
    let roll_ups =
        [(15, 300), (90, 3600)].map(|(after_days, step_seconds)| RollUp { after_days, step_seconds });
    Metadata { kind, roll_ups: roll_ups.to_vec(), ..Metadata::default() }
}

impl House {
    /// With the metric `m` rolled up, and the clock at the end of the samples' weeks.
    pub(super) async fn rolling(kind: MetricKind) -> Self {
        let house = Self::new().await;
        house.clock.set(Timestamp::from_milliseconds(START + 3 * WEEK).unwrap());
        house.series.describe(OURS, "m", rolled_up(kind), Batch::new()).await.unwrap();
        house
    }

    /// So many days later, when everything was packed and looked at.
    pub(super) async fn later(&self, days: i64) {
        self.clock.advance(days * DAY);
        self.series.pack().await.unwrap();
        self.series.tend().await.unwrap();
    }

    async fn ask(
        &self,
        query: &Expression,
        (start, end): (i64, i64),
        step: i64,
    ) -> Result<Vec<Line>, SeriesError> {
        let time = |time| Timestamp::from_milliseconds(time).unwrap();
        let range = TimeRange { start: time(start), end: time(end), step: Some(step) };
        self.series.query(OURS, query, range, &|_| true).await
    }

    /// The points of a query's only line, over all three weeks.
    async fn points(&self, query: &str, step: i64) -> Points {
        let query = parse_datadog(query).unwrap();
        let lines = self.ask(&query, (START, START + 3 * WEEK - 1), step).await.unwrap();
        lines.into_iter().next().map(|line| line.points).unwrap_or_default()
    }
}

/// Whole numbers over three weeks; in order, of distinct times among all series, and some more for later.
fn written() -> impl Strategy<Value = (Written, Written)> {
    let series = |tags: usize| {
        let samples = prop::collection::vec((0..3 * WEEK / 20_000, -1000..1000_i32, 0..20_u8), 1..300);
        let tags = prop::collection::btree_set("[abc]:[xy]{1,2}", tags..=tags);
        (tags, samples, any::<bool>())
    };
    let series = prop_oneof![series(0), series(1), series(2)];
    prop::collection::vec(series, 1..8).prop_map(|all| {
        let mut known: Vec<Vec<String>> = Vec::new();
        let mut placed = |(tags, samples, late): (std::collections::BTreeSet<String>, Vec<_>, bool)| {
            let tags: Vec<String> = tags.into_iter().collect();
            let place = known.iter().position(|other| *other == tags).unwrap_or_else(|| {
                known.push(tags.clone());
                known.len() - 1
            });
            let sample = |(time, value, odd): (i64, i32, u8)| {
                let value = if odd == 0 { f64::NAN } else { f64::from(value) };
                (START + time * 20_000 + place as i64, value)
            };
            (late, (tags, samples.into_iter().map(sample).collect::<Points>()))
        };
        let all: Vec<_> = all.into_iter().map(&mut placed).collect();
        let of =
            |is_late| all.iter().filter(move |(late, _)| *late == is_late).map(|(_, entry)| entry.clone());
        let (written, mut late): (Written, Written) = (of(false).collect(), of(true).collect());
        // What is late is of times that were not written: those would count again.
        let samples = written.iter().flat_map(|(_, samples)| samples);
        let mut taken: std::collections::BTreeSet<i64> = samples.map(|(time, _)| *time).collect();
        late.iter_mut().for_each(|(_, samples)| samples.retain(|(time, _)| taken.insert(*time)));
        late.retain(|(_, samples)| !samples.is_empty());
        (written, late)
    })
}

fn exact() -> impl Strategy<Value = (Selection, MetricKind)> {
    let is_exact = |of: &Aggregate| !matches!(of, Aggregate::Percentile(_));
    let over_time = prop::option::of(aggregate().prop_filter("exact", is_exact));
    let by = prop::collection::btree_set("[abc]", 0..3);
    (aggregate(), over_time, filter(), by, kind())
        .prop_map(|(over_series, over_time, filter, by, kind)| {
            let by = by.into_iter().collect();
            (Selection { filter, over_series, over_time, by, ..Selection::new("m") }, kind)
        })
        .prop_filter("exact", move |(selection, kind)| {
            is_exact(&selection.over_series) || (*kind == MetricKind::Gauge && selection.over_time.is_some())
        })
}

async fn write_all(house: &House, written: &Written, packs: u8) {
    for (at, (tags, samples)) in written.iter().enumerate() {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        // In two writes, the second over the first half again.
        let half = samples.len().div_ceil(2);
        house.write(&[entry("m", &tags, &samples[..half])]).await.unwrap();
        if packs >> (at % 8) & 1 == 1 {
            house.series.pack().await.unwrap();
        }
        house.write(&[entry("m", &tags, samples)]).await.unwrap();
    }
}

#[tokio::test]
async fn an_average_over_roll_ups_is_right_where_no_double_holds_their_sum() {
    let house = House::rolling(MetricKind::Gauge).await;
    let greatest = [(START, f64::MAX), (START + 300_000, f64::MAX), (START + 600_000, f64::MAX)];
    house.write(&[entry("m", &[], &greatest)]).await.unwrap();
    house.later(20).await;
    assert_eq!(house.points("avg:m{*}", HOUR).await, [(START, f64::MAX)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_query_over_roll_ups_answers_what_the_model_answers_of_the_samples(
        (written, late) in written(), (selection, kind) in exact(), packs in any::<u8>(),
        steps in 1..40_i64, start in 0..3 * WEEK / HOUR, length in 1..3 * WEEK / HOUR,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut house = House::rolling(kind).await;
            let (start, end) = (START + start * HOUR, START + (start + length) * HOUR - 1);
            let expression = Expression::Select(selection.clone());
            write_all(&house, &written, packs).await;
            let mut all = written;
            // Young; partly in steps of five minutes; with late samples, in memory and then rolled up; in hours.
            for (days, step) in [(0, 1000), (8, 300_000), (0, 300_000), (8, 300_000), (60, 3_600_000), (30, 3_600_000)] {
                house.later(days).await;
                if days == 0 && step > 1000 {
                    write_all(&house, &late, 0).await;
                    all.extend(late.iter().cloned());
                }
                if days == 60 {
                    house = house.restarted().await;
                }
                let step = step * steps;
                let answer = points(house.ask(&expression, (start, end), step).await.unwrap());
                let expected = naive(&all, &selection, start, end, step, kind);
                assert!(close(&answer, &expected), "{days} days, steps of {step}: {selection:?}\n{answer:?}\nis not\n{expected:?}");
            }
            let finite = all.iter().flat_map(|(_, samples)| samples).filter(|(_, value)| value.is_finite()).count();
            assert!(house.series.totals().packed_samples <= finite as u64);
        });
    }
}

/// A sample every ten seconds of three weeks, from 1 to 1,000 again and again.
fn regular() -> Points {
    (0..3 * WEEK / 10_000).map(|n| (START + n * 10_000, (n * 7 % 1000 + 1) as f64)).collect()
}

#[tokio::test]
async fn samples_become_roll_ups_a_week_at_a_time_and_their_space_is_free() {
    let house = House::rolling(MetricKind::Gauge).await;
    house.write(&[entry("m", &[], &regular())]).await.unwrap();
    house.later(0).await;
    let (samples, full) = (house.series.totals().packed_samples, house.bytes());
    let expected = house.points("max:m{*}.rollup(sum)", HOUR).await;
    let weeks = |fine: i64, coarse: i64| {
        (WEEK / 10_000 * (3 - fine - coarse) + WEEK / 300_000 * fine + WEEK / HOUR * coarse) as u64
    };
    assert_eq!(samples, weeks(0, 0), "no week is 15 days old in all its samples");
    house.later(1).await;
    assert_eq!(house.series.totals().packed_samples, weeks(1, 0));
    house.later(14).await;
    assert_eq!(house.series.totals().packed_samples, weeks(3, 0));
    let five_minutes = house.bytes();
    assert!(five_minutes * 4 < full, "{full} bytes became {five_minutes}");
    house.later(68).await;
    assert_eq!(house.series.totals().packed_samples, weeks(1, 2));
    house.later(7).await;
    assert_eq!(house.series.totals().packed_samples, weeks(0, 3));
    assert!(house.bytes() * 3 < five_minutes, "{five_minutes} bytes became {}", house.bytes());
    assert_eq!(house.points("max:m{*}.rollup(sum)", HOUR).await, expected);
    assert_eq!(
        house.objects.list().unwrap().len() as u64,
        house.series.totals().segments,
        "files of before are gone"
    );
}

#[tokio::test]
async fn a_late_sample_is_added_to_its_roll_up() {
    let house = House::rolling(MetricKind::Gauge).await;
    let at = START + 100 * HOUR;
    house.write(&[entry("m", &[], &[(at, 1.0), (at + 1000, 2.0)])]).await.unwrap();
    house.later(30).await;
    // At the next look, before and after it is packed; the latest of the step stays the latest.
    house.write(&[entry("m", &[], &[(at + 500, 10.0)])]).await.unwrap();
    for days in [0, 0, 1, 0] {
        for (query, value) in [("sum", 13.0), ("count", 3.0), ("min", 1.0), ("max", 10.0), ("last", 2.0)] {
            let points = house.points(&format!("max:m{{*}}.rollup({query})"), HOUR).await;
            assert_eq!(points, [(at, value)], "{query}");
        }
        house.later(days).await;
    }
    assert_eq!(house.series.totals().packed_samples, 2, "a roll-up in each of two segments");
}

#[tokio::test]
async fn raw_samples_of_a_roll_up_are_the_latest_of_each_step_and_of_a_count_their_sum() {
    for (kind, expected) in [(MetricKind::Gauge, [7.0, 3.0]), (MetricKind::Count, [12.0, 3.0])] {
        let house = House::rolling(kind).await;
        house
            .write(&[entry("m", &[], &[(START, 5.0), (START + 9000, 7.0), (START + 300_000, 3.0)])])
            .await
            .unwrap();
        house.later(16).await;
        assert_eq!(house.one("m").await, [(START + 9000, expected[0]), (START + 300_000, expected[1])]);
    }
}

#[tokio::test]
async fn raw_samples_of_ranges_that_meet_are_each_in_one_of_them_wherever_they_meet() {
    for kind in [MetricKind::Gauge, MetricKind::Count] {
        let house = House::rolling(kind).await;
        let end = START + WEEK;
        let samples: Points = (1..=40).map(|n| (end - n * 100_000 + 7000, n as f64)).collect();
        house.write(&[entry("m", &[], &samples)]).await.unwrap();
        house.later(16).await;
        // Added to what its step amounts to, in a segment of its own.
        house.write(&[entry("m", &[], &[(end - 600_000 + 500, 1000.0)])]).await.unwrap();
        house.later(1).await;
        let raw = async |start: i64, end: i64| {
            let range = [start, end].map(|time| Timestamp::from_milliseconds(time).unwrap());
            let raw = house.series.raw(OURS, "m", &Filter::All, (range[0], range[1])).await.unwrap();
            let samples = raw.into_iter().map(|series| series.samples);
            samples.flat_map(|samples| samples.times.into_iter().zip(samples.values)).collect::<Points>()
        };
        let whole = house.one("m").await;
        assert!((14..=15).contains(&whole.len()), "{whole:?}");
        for at in (end - 4_100_000..=end).step_by(49_000) {
            let parts = [raw(START, at - 1).await, raw(at, end + WEEK).await].concat();
            assert_eq!(parts, whole, "they meet {} ms before the end of the week", end - at);
        }
        for (time, value) in whole {
            assert_eq!(raw(time, time).await, [(time, value)]);
        }
    }
}

#[tokio::test]
async fn a_shift_moves_roll_ups_by_when_their_steps_begin() {
    let house = House::rolling(MetricKind::Gauge).await;
    let at = START + 100 * HOUR;
    house.write(&[entry("m", &[], &[(at, 1.0), (at + HOUR / 2, 2.0), (at + HOUR, 3.0)])]).await.unwrap();
    house.later(16).await;
    for query in ["timeshift(max:m{*}.rollup(max), 1800)", "timeshift(p100:m{*}.rollup(last), 1800)"] {
        assert_eq!(house.points(query, HOUR).await, [(at - HOUR, 1.0), (at, 3.0)], "{query}");
    }
}

#[tokio::test]
async fn the_last_of_several_series_is_the_latest_also_of_roll_ups_that_are_moved() {
    let house = House::rolling(MetricKind::Gauge).await;
    let at = START + 100 * HOUR;
    let (later, earlier) = ([(at + 1_200_000, 2.0)], [(at + 600_000, 1.0)]);
    house.write(&[entry("m", &["host:a"], &later), entry("m", &["host:b"], &earlier)]).await.unwrap();
    for days in [0, 16] {
        house.later(days).await;
        let points = house.points("timeshift(last:m{*}.rollup(last), -3600)", HOUR).await;
        assert_eq!(points, [(at + HOUR, 2.0)], "after {days} days");
    }
}

#[tokio::test]
async fn percentiles_of_a_distribution_stay_within_one_percent() {
    let house = House::rolling(MetricKind::Distribution).await;
    let spread = |n: i64, host: i64| ((n * 7919 + host * 31) % 10_007) as f64 / 10.0 + 0.1;
    let mut all = Vec::new();
    for host in 0..5 {
        let samples: Points = (0..2000).map(|n| (START + n * 900_000, spread(n, host))).collect();
        all.extend(samples.iter().copied());
        house.write(&[entry("m", &[&format!("host:{host}")], &samples)]).await.unwrap();
    }
    // Samples; then two weeks of sketches and one of samples; then all of sketches, and of longer ones.
    for days in [0, 8, 8, 90] {
        house.later(days).await;
        for step in [DAY, 30 * WEEK] {
            let mut steps: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (time, value) in &all {
                steps.entry(time.div_euclid(step) * step).or_default().push(*value);
            }
            for percent in [0.0, 50.0, 75.0, 95.0, 99.0, 100.0] {
                let points = house.points(&format!("p{percent}:m{{*}}"), step).await;
                assert_eq!(points.len(), steps.len());
                for ((time, found), (start, values)) in points.iter().zip(&mut steps) {
                    values.sort_by(f64::total_cmp);
                    let place = percent / 100.0 * (values.len() - 1) as f64;
                    let (lower, upper) = (values[place.floor() as usize], values[place.ceil() as usize]);
                    assert!(
                        time == start && *found >= lower * 0.989_999 && *found <= upper * 1.010_001,
                        "p{percent} is {found}, not {lower} to {upper}"
                    );
                }
            }
            // What is one number for all samples is exact.
            for (query, of) in [("sum", 0), ("count", 1), ("min", 2), ("max", 3)] {
                let points = house
                    .points(&format!("{}:m{{*}}.rollup({query})", if of < 2 { "sum" } else { query }), step)
                    .await;
                let expected = steps.iter().map(|(start, values)| {
                    let ends = (
                        values.iter().copied().fold(f64::INFINITY, f64::min),
                        values.iter().copied().fold(0.0, f64::max),
                    );
                    (*start, [values.iter().sum(), values.len() as f64, ends.0, ends.1][of])
                });
                for ((time, found), (start, value)) in points.into_iter().zip(expected) {
                    assert!(time == start && (found - value).abs() < 1e-6, "{query} is {found}, not {value}");
                }
            }
        }
    }
    let by_host = parse_datadog("p95:m{host:3}.rollup(p95)").unwrap();
    assert_eq!(house.ask(&by_host, (START, START + 3 * WEEK), WEEK).await.unwrap()[0].points.len(), 3);
}

#[tokio::test]
async fn percentiles_of_what_has_no_sketches_are_refused_and_told_why() {
    let house = House::rolling(MetricKind::Gauge).await;
    house.write(&[entry("m", &[], &regular())]).await.unwrap();
    house.later(16).await;
    for query in ["p95:m{*}", "max:m{*}.rollup(p50)"] {
        let error =
            house.ask(&parse_datadog(query).unwrap(), (START, START + 3 * WEEK), HOUR).await.unwrap_err();
        assert!(error.to_string().contains("up to 2023"), "{error}");
        assert!(matches!(error, SeriesError::Invalid(_)));
    }
    // Of each series' values it is what it was.
    assert_eq!(
        house.points("p50:m{*}.rollup(max)", WEEK).await,
        house.points("max:m{*}", WEEK).await.iter().map(|(time, _)| (*time, 1000.0)).collect::<Points>()
    );
}

#[tokio::test]
async fn what_is_rolled_up_stays_so_when_its_metric_says_otherwise_and_goes_when_deleted_or_too_old() {
    let house = House::rolling(MetricKind::Gauge).await;
    for tag in ["a:1", "a:2"] {
        house.write(&[entry("m", &[tag], &regular())]).await.unwrap();
    }
    house.later(40).await;
    let before = (house.points("sum:m{*}.rollup(sum)", HOUR).await, house.series.totals().packed_samples);
    // Steps that five minutes do not divide, and none at all, change nothing; hours take them in.
    for (step_seconds, shrinks) in [(320, 1), (0, 1), (3600, 12)] {
        let roll_ups = vec![RollUp { after_days: 1, step_seconds }];
        let roll_ups = if step_seconds == 0 { Vec::new() } else { roll_ups };
        house
            .series
            .describe(OURS, "m", Metadata { roll_ups, ..Metadata::default() }, Batch::new())
            .await
            .unwrap();
        house.later(0).await;
        assert_eq!(house.points("sum:m{*}.rollup(sum)", HOUR).await, before.0);
        assert_eq!(house.series.totals().packed_samples, before.1 / shrinks);
    }
    let one = Filter::Tag("a".to_owned(), TagPattern::Exact("1".to_owned()));
    house.series.delete(OURS, "m", one, Batch::new()).await.unwrap();
    house.later(0).await;
    assert_eq!(house.series.totals().packed_samples, before.1 / 24);
    house
        .series
        .describe(OURS, "m", Metadata { keep_days: Some(50), ..Metadata::default() }, Batch::new())
        .await
        .unwrap();
    house.later(1).await;
    assert!(house.one("m").await[0].0 >= house.now() - 50 * DAY);
    house.later(50).await;
    assert_eq!((house.series.totals().segments, house.bytes()), (0, 0));
}

#[tokio::test]
async fn what_shares_its_week_with_scattered_samples_is_not_rolled_up_and_stays_exact() {
    let house = House::rolling(MetricKind::Gauge).await;
    house
        .write(&[
            entry("m", &["a:1"], &[(START, 1.0), (START + 1, 2.0)]),
            entry("m", &["a:2"], &[(START, 1.0), (START + 1, 2.0)]),
        ])
        .await
        .unwrap();
    house.series.pack().await.unwrap();
    let scattered: Points = (0..600).map(|week| (START + week * WEEK, 5.0)).collect();
    house.write(&[entry("m", &["a:1"], &scattered)]).await.unwrap();
    house.later(100).await;
    assert_eq!(house.points("sum:m{a:1}.rollup(sum)", HOUR).await[0], (START, 7.0));
    assert_eq!(house.points("sum:m{a:2}.rollup(count)", HOUR).await, [(START, 2.0)]);
    assert_eq!(
        house.all("m").await[&vec!["a:2".to_owned()]],
        [(START + 1, 2.0)],
        "its neighbour is rolled up"
    );
}

#[tokio::test]
async fn a_clock_that_jumps_frees_and_rolls_up_nothing() {
    let house = House::limited(Limits { keep_days: 30, ..Limits::default() }).await;
    let now = house.now();
    let roll_ups = vec![RollUp { after_days: 1, step_seconds: 300 }];
    house
        .series
        .describe(OURS, "m", Metadata { roll_ups, ..Metadata::default() }, Batch::new())
        .await
        .unwrap();
    let samples: Points = (0..1000).map(|n| (now - n * 60_000, n as f64)).collect();
    house.write(&[entry("m", &[], &samples)]).await.unwrap();
    for days in [4000, -8000, 4001] {
        house.later(days).await;
    }
    assert_eq!(house.one("m").await.len(), 1000);
}
