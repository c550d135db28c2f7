use bellwether_sdk::Timestamp;
use bellwether_sdk::serde_json::{Value, json};
use bellwether_sdk::testing::settings;

use super::*;

fn outlier(given: &Value) -> Outlier {
    settings(given).expect("they are right")
}

/// Judges times of several series each, and learns from all.
fn judged(given: &Value, times: &[Vec<f64>]) -> Vec<Vec<Verdict>> {
    let (outlier, mut known) = (outlier(given), Known::default());
    times.iter().map(|values| seen(&mut known, &outlier, values, true)).collect()
}

fn seen(known: &mut Known, outlier: &Outlier, values: &[f64], learn: bool) -> Vec<Verdict> {
    judge(known, outlier, &Peers { time: Timestamp::from_seconds(0), step: None, values, learn })
}

/// Series that rise and fall together, each a little off the others by a fixed sequence.
fn fleet(times: usize, series: usize) -> Vec<Vec<f64>> {
    let mut seed: u64 = 42;
    let mut chance = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((seed >> 33) % 1000) as f64 / 1000.0
    };
    (0..times)
        .map(|at| {
            let together = 100.0 + 50.0 * (at as f64 / 20.0).sin();
            (0..series).map(|_| together + chance()).collect()
        })
        .collect()
}

#[test]
fn the_one_that_leaves_the_others_is_strange_and_they_are_not() {
    let mut times = fleet(200, 6);
    for values in &mut times[100..] {
        values[2] += 20.0;
    }
    let verdicts = judged(&json!({}), &times);
    for (at, verdicts) in verdicts.iter().enumerate().skip(20) {
        for (series, verdict) in verdicts.iter().enumerate() {
            let strange = series == 2 && at >= 100;
            assert_eq!(verdict.score >= 0.5, strange, "{at}, {series}: {verdict:?}");
            assert!(verdict.lower <= verdict.expected && verdict.expected <= verdict.upper);
        }
    }
}

#[test]
fn all_rising_together_is_not_strange() {
    let mut times = fleet(200, 6);
    for value in times[100..].iter_mut().flatten() {
        *value *= 3.0;
    }
    let verdicts = judged(&json!({"smooth": 5}), &times);
    assert!(verdicts.iter().skip(20).flatten().all(|verdict| verdict.score < 0.5));
}

#[test]
fn a_lasting_distance_becomes_the_series_own_way_where_that_is_asked_for() {
    let mut times = fleet(400, 5);
    for values in &mut times {
        values[0] -= 15.0;
    }
    for values in &mut times[380..] {
        values[0] += 40.0;
    }
    let plain = judged(&json!({}), &times);
    assert!(plain[300][0].score > 0.5);
    let verdicts = judged(&json!({"accustom": 200}), &times);
    assert!(verdicts[100][0].score > 0.5 && verdicts[300][0].score < 0.5, "{:?}", verdicts[300][0]);
    assert!(verdicts[300][0].expected < verdicts[300][1].expected - 5.0);
    assert!(verdicts[390][0].score > 0.5, "{:?}", verdicts[390][0]);
}

#[test]
fn two_cannot_be_held_against_each_other_and_a_missing_value_is_not_strange() {
    assert!(judged(&json!({}), &fleet(50, 2)).iter().flatten().all(|verdict| verdict.expected.is_nan()));
    let mut times = fleet(100, 5);
    for values in &mut times[50..60] {
        values[1] = f64::NAN;
    }
    let verdicts = judged(&json!({}), &times);
    assert!(verdicts[20..].iter().flatten().all(|verdict| verdict.score < 0.5));
    assert!(verdicts[55][1].expected.is_finite(), "what it should have been is known from the others");
}

#[test]
fn series_that_are_all_the_same_bear_a_trifle_up_to_the_noise() {
    let mut times = vec![vec![7.0; 4]; 60];
    times[50][3] = 7.5;
    let scores = |given| judged(&given, &times)[50][3].score;
    assert!(scores(json!({"smooth": 1})) > 0.9);
    assert!(scores(json!({"smooth": 1, "noise": 1.0})) < 0.1);
    assert!(scores(json!({"smooth": 1, "direction": "down"})) < 0.1);
}

#[test]
fn what_it_must_not_learn_from_leaves_the_state_as_it_is_and_other_series_begin_anew() {
    let outlier = outlier(&json!({"accustom": 20}));
    let mut known = Known::default();
    for values in fleet(50, 4) {
        seen(&mut known, &outlier, &values, true);
    }
    let before = known.clone();
    assert!(seen(&mut known, &outlier, &[0.0, 0.1, 0.2, 900.0], false)[3].score > 0.9);
    assert_eq!(known, before);
    assert_eq!(seen(&mut known, &outlier, &[1.0; 7], true).len(), 7);
    assert_eq!(known.series.len(), 7);
}

#[test]
fn every_verdict_is_one_whatever_the_values() {
    let extreme = [f64::MAX, f64::MIN, 0.0, f64::MIN_POSITIVE, 1e308, -1e308, f64::NAN];
    let times: Vec<Vec<f64>> =
        (0..70).map(|at| (0..5).map(|series| extreme[(at * 3 + series * at) % 7]).collect()).collect();
    for verdict in judged(&json!({"accustom": 10}), &times).iter().flatten() {
        assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        if !verdict.expected.is_nan() {
            assert!(verdict.lower <= verdict.expected && verdict.expected <= verdict.upper, "{verdict:?}");
        }
    }
}

#[test]
fn a_wrong_setting_is_named() {
    for (given, expected) in [
        (json!({"deviations": 0}), "deviations is \"0\", expected a number above 0"),
        (json!({"smooth": 0}), "smooth is \"0\", expected 1 to 1000"),
        (json!({"accustom": 5}), "accustom is \"5\", expected 10 to 100000"),
        (json!({"noise": -1}), "noise is \"-1\""),
    ] {
        let error = settings::<Outlier>(&given).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{given}: {error}");
    }
}
