use bellwether_sdk::serde_json::json;
use bellwether_sdk::testing::{detect, detect_in_pieces, settings};

use super::*;

fn threshold(given: &bellwether_sdk::serde_json::Value) -> Threshold {
    settings(given).expect("they are right")
}

/// A series that swings a little around 100, its place by a fixed sequence.
fn calm(points: usize) -> Vec<f64> {
    let mut seed: u64 = 42;
    (0..points)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            100.0 + ((seed >> 33) % 1000) as f64 / 1000.0
        })
        .collect()
}

#[test]
fn a_value_far_from_the_median_is_strange_and_its_neighbours_are_not() {
    let mut values = calm(300);
    values[200] = 110.0;
    let verdicts = detect(judge, &threshold(&json!({})), &values);
    assert!(verdicts[200].score > 0.9, "{:?}", verdicts[200]);
    for (at, verdict) in verdicts.iter().enumerate().filter(|(at, _)| *at != 200) {
        assert!(verdict.score < 0.5, "{at}: {verdict:?}");
    }
    let band = verdicts[201];
    assert!(band.lower < 100.5 && 100.5 < band.upper && band.lower <= band.expected, "{band:?}");
}

#[test]
fn it_does_not_judge_before_it_has_seen_enough() {
    let verdicts = detect(judge, &threshold(&json!({})), &[1.0, 1.0, 1.0, 1.0, 9.0, 900.0]);
    assert!(verdicts[..5].iter().all(|verdict| verdict.score == 0.0 && verdict.expected.is_nan()));
    assert!(verdicts[5].score > 0.99, "{:?}", verdicts[5]);
}

#[test]
fn a_direction_and_a_noise_leave_out_what_is_not_asked_for() {
    let mut values = calm(100);
    values[60] = 0.0;
    values[80] = 200.0;
    let scores = |given| {
        let verdicts = detect(judge, &threshold(&given), &values);
        (verdicts[60].score > 0.5, verdicts[80].score > 0.5)
    };
    assert_eq!(scores(json!({})), (true, true));
    assert_eq!(scores(json!({"direction": "up"})), (false, true));
    assert_eq!(scores(json!({"direction": "down"})), (true, false));
    assert_eq!(scores(json!({"noise": 50.0})), (false, false));
}

#[test]
fn scores_do_not_depend_on_how_points_are_cut_into_calls() {
    let mut values = calm(700);
    values[333] = f64::NAN;
    values[444] = 1e12;
    let threshold = threshold(&json!({"window": 100}));
    let whole = format!("{:?}", detect(judge, &threshold, &values));
    for piece in [1, 7, 300] {
        assert_eq!(format!("{:?}", detect_in_pieces(judge, &threshold, &values, piece)), whole, "{piece}");
    }
}

#[test]
fn every_verdict_is_one_whatever_the_values() {
    let extreme = [f64::MAX, f64::MIN, 0.0, -0.0, f64::MIN_POSITIVE, 1e308, -1e308, 5.0, 5.0, 5.0, f64::MAX];
    let values: Vec<f64> = extreme.iter().cycle().take(60).copied().collect();
    for verdict in detect(judge, &threshold(&json!({"window": 5})), &values).iter().skip(5) {
        assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
        assert!(verdict.lower.is_finite() && verdict.upper.is_finite(), "{verdict:?}");
        assert!(verdict.lower <= verdict.expected && verdict.expected <= verdict.upper, "{verdict:?}");
    }
}

#[test]
fn a_point_it_must_not_learn_from_leaves_the_state_as_it_is() {
    let mut window = Window::default();
    let threshold = threshold(&json!({}));
    let point =
        |value, learn| Point { time: bellwether_sdk::Timestamp::from_seconds(0), step: None, value, learn };
    for value in calm(20) {
        judge(&mut window, &threshold, point(value, true));
    }
    let before = format!("{window:?}");
    assert!(judge(&mut window, &threshold, point(500.0, false)).score > 0.9);
    assert_eq!(format!("{window:?}"), before);
}

#[test]
fn a_value_as_the_lesser_half_before_it_is_not_strange_and_a_rare_one_is() {
    let values = [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, f64::NAN, 90.0];
    let scores: Vec<bool> =
        detect(judge, &threshold(&json!({})), &values).iter().map(|verdict| verdict.score >= 0.5).collect();
    assert_eq!(scores, [false, false, false, false, false, false, false, true]);
    let mut rare = vec![0.0; 60];
    (rare[20], rare[40]) = (10.0, 10.0);
    let verdicts = detect(judge, &threshold(&json!({})), &rare);
    assert!(verdicts[20].score > 0.9 && verdicts[40].score > 0.9 && verdicts[41].score < 0.1);
}

#[test]
fn a_wrong_setting_is_named() {
    for (given, expected) in [
        (json!({"deviations": 0}), "deviations is \"0\", expected a number above 0"),
        (json!({"window": 4}), "window is \"4\", expected 5 to 1000"),
        (json!({"noise": -1}), "noise is \"-1\""),
        (json!({"direction": "sideways"}), "expected one of up, down, both"),
    ] {
        let error = settings::<Threshold>(&given).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{given}: {error}");
    }
}
