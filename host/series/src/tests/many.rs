//! Queries that go through so much that several threads read.

use super::*;
use crate::{TimeRange, parse_datadog};

const SERIES: i64 = 400;
const SAMPLES: i64 = 500;

/// Whole numbers, so that no order of adding them matters.
fn value(series: i64, sample: i64) -> f64 {
    ((series * 7 + sample * 3) % 1000) as f64
}

/// Many series, half of their samples in segments.
async fn filled(limits: Limits) -> House {
    let house = House::limited(limits).await;
    for (round, samples) in [0..SAMPLES / 2, SAMPLES / 2..SAMPLES].into_iter().enumerate() {
        let series: Vec<_> = (0..SERIES)
            .map(|number| {
                let samples: Vec<_> =
                    samples.clone().map(|sample| (sample * 1000, value(number, sample))).collect();
                entry("m", &[&format!("n:{number}"), &format!("odd:{}", number % 2)], &samples)
            })
            .collect();
        house.write(&series).await.unwrap();
        if round == 0 {
            house.series.pack().await.unwrap();
        }
    }
    house
}

#[tokio::test]
async fn many_series_are_read_each_once_and_whole() {
    let house = filled(Limits::default()).await;
    let all = house.all("m").await;
    assert_eq!(all.len() as i64, SERIES);
    for (tags, samples) in all {
        let number: i64 = tags[0].strip_prefix("n:").unwrap().parse().unwrap();
        let expected: Vec<_> = (0..SAMPLES).map(|sample| (sample * 1000, value(number, sample))).collect();
        assert_eq!(samples, expected, "{tags:?}");
    }
    let at = |milliseconds| Timestamp::from_milliseconds(milliseconds).unwrap();
    let range = TimeRange { start: at(0), end: at(SAMPLES * 1000 - 1), step: Some(100_000) };
    let query = parse_datadog("sum:m{*} by {odd}.rollup(sum)").unwrap();
    let lines = house.series.query(OURS, &query, range, &|_| true).await.unwrap();
    assert_eq!(lines.len(), 2);
    for (odd, line) in (0..).zip(lines) {
        let sum = |step: i64| {
            let series = (0..SERIES).filter(|number| number % 2 == odd);
            series.flat_map(|number| (step * 100..step * 100 + 100).map(move |at| value(number, at))).sum()
        };
        let expected: Vec<(i64, f64)> = (0..5).map(|step| (step * 100_000, sum(step))).collect();
        assert_eq!(line.points, expected);
    }
}

#[tokio::test]
async fn a_limit_that_is_reached_half_way_ends_the_reading() {
    let house = filled(Limits { query_samples: 150_000, ..Limits::default() }).await;
    let range = (Timestamp::MIN, Timestamp::MAX);
    let refused = house.series.raw(OURS, "m", &Filter::All, range).await.unwrap_err();
    assert!(matches!(refused, SeriesError::Limit { limit: 150_000, .. }), "{refused}");
    let few = Filter::Tag("n".to_owned(), crate::TagPattern::Exact("7".to_owned()));
    assert_eq!(house.series.raw(OURS, "m", &few, range).await.unwrap().len(), 1);
}
