use bellwether_sdk::Timestamp;
use bellwether_sdk::serde_json::{Value, json};
use bellwether_sdk::testing::{detect, detect_in_pieces, settings};

use super::*;

fn change(given: &Value) -> Change {
    settings(given).expect("they are right")
}

/// Noise of a normal distribution's kind around a level, by a fixed sequence: the sum of twelve even chances.
fn noise(points: usize, level: f64, deviation: f64, mut seed: u64) -> Vec<f64> {
    let mut chance = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / (1_u64 << 31) as f64
    };
    (0..points).map(|_| level + deviation * ((0..12).map(|_| chance()).sum::<f64>() - 6.0)).collect()
}

/// Where changes were found: the first of the points that keep a score.
fn found(verdicts: &[Verdict]) -> Vec<usize> {
    let strange = |at: usize| verdicts[at].score >= 0.5;
    (0..verdicts.len()).filter(|at| strange(*at) && (*at == 0 || !strange(at - 1))).collect()
}

#[test]
fn a_level_that_stays_is_found_once_and_is_the_new_usual() {
    let mut values = noise(400, 10.0, 1.0, 1);
    values.extend(noise(400, 13.0, 1.0, 2));
    let verdicts = detect(judge, &change(&json!({})), &values);
    let found = found(&verdicts);
    assert!(matches!(found[..], [at] if (400..415).contains(&at)), "{found:?}");
    assert!((verdicts[399].expected - 10.0).abs() < 0.5 && (verdicts[700].expected - 13.0).abs() < 0.5);
    assert!(verdicts[700].lower < 11.5 && verdicts[700].upper > 14.5);
}

#[test]
fn a_spread_that_stays_is_found_unless_only_levels_are_asked_for() {
    let mut values = noise(500, 10.0, 1.0, 3);
    values.extend(noise(300, 10.0, 4.0, 4));
    let found = |given| found(&detect(judge, &change(&given), &values));
    let both = found(json!({}));
    assert!(both.first().is_some_and(|at| (500..530).contains(at)), "{both:?}");
    assert_eq!(found(json!({"of": "spread"})), both);
}

#[test]
fn every_point_that_keeps_the_score_of_a_change_says_what_was_usual_before_it() {
    for (before, after) in [(100.0, 300.0), (100.0, 140.0), (100.0, 106.0), (100.0, 20.0)] {
        for hold in [1, 3, 50] {
            let mut values = noise(400, before, 3.0, 12);
            values.extend(noise(100, after, 3.0, 13));
            let verdicts = detect(judge, &change(&json!({"hold": hold, "of": "level"})), &values);
            let strange: Vec<_> = verdicts.iter().filter(|verdict| verdict.score >= 0.5).collect();
            assert_eq!(strange.len(), hold, "{before} to {after}");
            for verdict in strange {
                assert!((verdict.expected - before).abs() < 3.0, "{before} to {after}, {hold}: {verdict:?}");
                assert!(verdict.lower < before && verdict.upper > before && verdict.upper < before + 20.0);
            }
        }
    }
}

#[test]
fn a_single_value_is_no_change_and_neither_is_noise_or_a_slow_wave() {
    let mut values = noise(3000, 10.0, 1.0, 5);
    values[1500] = 1e9;
    assert_eq!(found(&detect(judge, &change(&json!({})), &values)), [] as [usize; 0]);
    let wave: Vec<f64> = noise(3000, 10.0, 0.2, 6)
        .iter()
        .enumerate()
        .map(|(at, noise)| noise + 5.0 * (at as f64 * std::f64::consts::TAU / 288.0).sin())
        .collect();
    let waves = found(&detect(judge, &change(&json!({"of": "level"})), &wave));
    assert!(waves.len() <= 2, "{waves:?}");
}

#[test]
fn a_constant_series_changes_where_it_leaves_its_value_for_good() {
    let mut values = vec![5.0; 200];
    values[100] = 6.0;
    values.extend(vec![8.0; 100]);
    let found = found(&detect(judge, &change(&json!({"of": "level"})), &values));
    assert!(matches!(found[..], [at] if (200..215).contains(&at)), "{found:?}");
}

#[test]
fn a_change_keeps_its_score_for_as_many_points_as_it_is_told() {
    let mut values = noise(200, 0.0, 1.0, 7);
    values.extend(noise(100, 8.0, 1.0, 8));
    let verdicts = detect(judge, &change(&json!({"hold": 10})), &values);
    assert_eq!(verdicts.iter().filter(|verdict| verdict.score >= 0.5).count(), 10);
}

#[test]
fn verdicts_do_not_depend_on_how_points_are_cut_into_calls() {
    let mut values = noise(300, 10.0, 1.0, 9);
    values.extend(noise(300, 0.0, 3.0, 10));
    values[50] = f64::NAN;
    let change = change(&json!({}));
    let whole = format!("{:?}", detect(judge, &change, &values));
    for piece in [1, 7, 100] {
        assert_eq!(format!("{:?}", detect_in_pieces(judge, &change, &values, piece)), whole, "{piece}");
    }
}

#[test]
fn a_point_it_must_not_learn_from_leaves_the_state_as_it_is() {
    let (change, mut known) = (change(&json!({})), Known::default());
    let point = |value, learn| Point { time: Timestamp::from_seconds(0), step: None, value, learn };
    for value in noise(200, 10.0, 1.0, 11) {
        judge(&mut known, &change, point(value, true));
    }
    let before = known.clone();
    for _ in 0..50 {
        judge(&mut known, &change, point(500.0, false));
    }
    assert_eq!(known, before);
}

#[test]
fn every_verdict_is_one_whatever_the_values() {
    let extreme = [f64::MAX, f64::MIN, 0.0, -0.0, f64::MIN_POSITIVE, 1e308, -1e308, 5.0, 5.0, f64::MAX];
    let values: Vec<f64> = extreme.iter().cycle().take(300).copied().collect();
    for values in [values, vec![f64::MAX; 100], vec![0.0; 100]] {
        for verdict in detect(judge, &change(&json!({})), &values) {
            assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
            if !verdict.expected.is_nan() {
                assert!(verdict.lower.is_finite() && verdict.upper.is_finite(), "{verdict:?}");
                assert!(
                    verdict.lower <= verdict.expected && verdict.expected <= verdict.upper,
                    "{verdict:?}"
                );
            }
        }
    }
}

#[test]
fn a_wrong_setting_is_named() {
    for (given, expected) in [
        (json!({"shift": 0.1}), "shift is \"0.1\", expected 0.25 to 5"),
        (json!({"false_alarm_once_in": 9}), "expected 100 to 10000000"),
        (json!({"hold": 0}), "hold is \"0\", expected 1 to 1000"),
        (json!({"noise": -1}), "noise is \"-1\""),
    ] {
        let error = settings::<Change>(&given).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{given}: {error}");
    }
}
