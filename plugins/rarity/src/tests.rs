use bellwether_sdk::Timestamp;
use bellwether_sdk::serde_json::{Value, json};
use bellwether_sdk::testing::{detect, detect_in_pieces, settings};
use proptest::prelude::*;

use super::*;

fn rarity(given: &Value) -> Rarity {
    settings(given).expect("they are right")
}

/// Even chances in 0 to 1, by a fixed sequence.
fn chances(mut seed: u64) -> impl FnMut() -> f64 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / (1_u64 << 31) as f64
    }
}

/// A level with noise, a standard deviation of 1.
fn noise(points: usize, level: f64, seed: u64) -> Vec<f64> {
    let mut chance = chances(seed);
    (0..points).map(|_| level + (0..12).map(|_| chance()).sum::<f64>() - 6.0).collect()
}

/// Points five minutes apart: a wave of a day's length around 100, 20 high, with noise.
fn days(days: usize, seed: u64) -> Vec<f64> {
    let wave = |at: usize| 20.0 * (at as f64 * std::f64::consts::TAU / 288.0).sin();
    noise(days * 288, 100.0, seed).iter().enumerate().map(|(at, noise)| noise + wave(at)).collect()
}

fn every_five_minutes(values: &[f64]) -> Vec<Verdict> {
    let (rarity, mut known) = (rarity(&json!({})), Known::default());
    let point = |(at, &value): (usize, &f64)| Point {
        time: Timestamp::from_seconds(1_700_006_400 + 300 * at as i64),
        step: Some(Duration::from_secs(300)),
        value,
        learn: true,
    };
    values.iter().enumerate().map(point).map(|point| judge(&mut known, &rarity, point)).collect()
}

fn strange(verdicts: &[Verdict]) -> Vec<usize> {
    (0..verdicts.len()).filter(|at| verdicts[*at].score >= 0.5).collect()
}

#[test]
fn a_spike_and_a_drop_are_strange_and_noise_hardly_ever_is() {
    for height in [15.0, -15.0] {
        let mut values = noise(2000, 50.0, 1);
        values[1500] += height;
        let verdicts = detect(judge, &rarity(&json!({})), &values);
        assert!(verdicts[1500].score > 0.5, "{:?}", verdicts[1500]);
        let others = strange(&verdicts).into_iter().filter(|at| !(1500..1510).contains(at)).count();
        assert!(others <= 8, "{:?}", strange(&verdicts));
    }
}

#[test]
fn a_season_is_found_followed_and_missed_where_it_does_not_come() {
    let mut values = days(14, 2);
    // The 12th day stays where nights are.
    for value in &mut values[11 * 288..12 * 288] {
        *value = value.min(85.0);
    }
    let verdicts = every_five_minutes(&values);
    let day = Some(Duration::from_secs(24 * 60 * 60));
    assert_eq!(verdicts[10 * 288].season, day);
    let found = strange(&verdicts[11 * 288..12 * 288]);
    assert!(!found.is_empty());
    for at in 8 * 288..11 * 288 {
        let Verdict { expected, lower, upper, .. } = verdicts[at];
        assert!((expected - values[at]).abs() < 8.0 && lower > 60.0 && upper < 140.0, "{:?}", verdicts[at]);
    }
    assert_eq!(every_five_minutes(&noise(4000, 5.0, 3)).pop().and_then(|verdict| verdict.season), None);
}

#[test]
fn a_new_level_is_strange_once_and_soon_the_usual_one() {
    let mut values = noise(1500, 10.0, 4);
    values.extend(noise(1500, 40.0, 5));
    let verdicts = detect(judge, &rarity(&json!({})), &values);
    assert!(verdicts[1500].score > 0.5);
    assert!(strange(&verdicts[1560..1800]).len() <= 3, "{:?}", strange(&verdicts));
    assert!((verdicts[1600].expected - 40.0).abs() < 3.0, "{:?}", verdicts[1600]);
    assert!(verdicts[1600].lower > 10.0);
}

#[test]
fn a_drift_is_followed_and_a_counter_is_not_strange() {
    let drift: Vec<f64> =
        noise(4000, 0.0, 6).iter().enumerate().map(|(at, noise)| noise + at as f64 / 50.0).collect();
    let verdicts = detect(judge, &rarity(&json!({})), &drift);
    assert!(strange(&verdicts[500..]).len() <= 12, "{:?}", strange(&verdicts));
    assert!((verdicts[3900].expected - drift[3900]).abs() < 6.0);
    let counter: Vec<f64> = (0..4000).map(|at| f64::from(at) * 7.0).collect();
    assert!(strange(&detect(judge, &rarity(&json!({})), &counter)[100..]).len() <= 3);
}

#[test]
fn a_flat_line_is_not_strange_until_it_moves_and_stillness_after_noise_is() {
    let mut flat = vec![45.0; 1000];
    let verdicts = detect(judge, &rarity(&json!({})), &flat);
    assert_eq!(strange(&verdicts), [] as [usize; 0]);
    assert_eq!((verdicts[999].expected, verdicts[999].lower, verdicts[999].upper), (45.0, 45.0, 45.0));
    flat.push(46.0);
    assert!(detect(judge, &rarity(&json!({})), &flat)[1000].score > 0.5);
    let mut stuck = noise(2000, 10.0, 7);
    stuck.extend(vec![10.0; 60]);
    assert!(!strange(&detect(judge, &rarity(&json!({})), &stuck)[2000..]).is_empty());
}

#[test]
fn the_first_hundred_points_are_not_taken_for_strange() {
    for seed in 0..20 {
        let verdicts = detect(judge, &rarity(&json!({})), &noise(100, 1e6, seed));
        assert!(strange(&verdicts[50..]).len() <= 2, "{seed}: {:?}", strange(&verdicts));
        assert!(
            verdicts[60..]
                .iter()
                .all(|verdict| verdict.lower <= verdict.expected && verdict.expected <= verdict.upper)
        );
    }
}

#[test]
fn what_is_strange_is_told_once_where_it_lasts_and_each_time_where_that_is_asked_for() {
    let mut values = noise(1500, 0.0, 8);
    for at in [1400, 1410, 1420, 1430] {
        values[at] += 30.0;
    }
    let count = |given| strange(&detect(judge, &rarity(&given), &values)[1400..]).len();
    assert!(count(json!({})) < count(json!({"quiet": 0})));
}

#[test]
fn a_distance_below_the_noise_does_not_count() {
    let mut values = vec![5.0; 300];
    values[200] = 5.5;
    let score = |given| detect(judge, &rarity(&given), &values)[200].score;
    assert!(score(json!({})) > 0.5);
    let verdict = detect(judge, &rarity(&json!({"noise": 1.0})), &values)[250];
    assert!(verdict.lower <= 4.0 && verdict.upper >= 6.0, "{verdict:?}");
}

#[test]
fn a_point_it_must_not_learn_from_leaves_the_state_as_it_is() {
    let (rarity, mut known) = (rarity(&json!({})), Known::default());
    let point = |value, learn| Point { time: Timestamp::from_seconds(0), step: None, value, learn };
    for value in noise(200, 10.0, 9) {
        judge(&mut known, &rarity, point(value, true));
    }
    let before = known.clone();
    assert!(judge(&mut known, &rarity, point(900.0, false)).score > 0.5);
    assert_eq!(known, before);
}

#[test]
fn a_gap_is_no_reason_to_be_strange() {
    let mut values = noise(1000, 10.0, 10);
    values[700..760].fill(f64::NAN);
    let verdicts = detect(judge, &rarity(&json!({})), &values);
    assert!(verdicts[700..760].iter().all(|verdict| verdict.score == 0.0));
    assert!(strange(&verdicts[760..800]).len() <= 1);
}

#[test]
fn a_wrong_setting_is_named() {
    for (given, expected) in [
        (json!({"one_in": 9}), "one_in is \"9\", expected 10 to 1000000"),
        (json!({"quiet": 100_001}), "quiet is \"100001\", expected 0 to 100000"),
        (json!({"season": 10}), "season is \"10\", expected 1000 to 31622400000 milliseconds"),
        (json!({"noise": -1}), "noise is \"-1\""),
    ] {
        let error = settings::<Rarity>(&given).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{given}: {error}");
    }
}

/// Values of any size, some of them the same and some missing.
fn series() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        4 => -100.0..100.0,
        2 => Just(7.0),
        1 => Just(f64::NAN),
        1 => proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        1 => prop_oneof![Just(f64::MAX), Just(f64::MIN)],
    ];
    prop::collection::vec(value, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn verdicts_are_verdicts_and_do_not_depend_on_how_points_are_cut_into_calls(
        values in series(), piece in 1_usize..50,
    ) {
        let rarity = rarity(&json!({}));
        let whole = detect(judge, &rarity, &values);
        for verdict in &whole {
            prop_assert!((0.0..=1.0).contains(&verdict.score), "{verdict:?}");
            if !verdict.expected.is_nan() {
                prop_assert!(verdict.lower.is_finite() && verdict.upper.is_finite(), "{verdict:?}");
                prop_assert!(verdict.lower <= verdict.expected && verdict.expected <= verdict.upper);
            }
        }
        let pieces = detect_in_pieces(judge, &rarity, &values, piece);
        prop_assert_eq!(format!("{pieces:?}"), format!("{whole:?}"));
    }

    #[test]
    fn a_state_reads_back_to_the_last_bit(values in series()) {
        let (rarity, mut known) = (rarity(&json!({})), Known::default());
        for (at, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let time = Timestamp::from_seconds(at as i64 * 3600);
            judge(&mut known, &rarity, Point { time, step: None, value: *value, learn: true });
        }
        let kept = postcard::to_allocvec(&known).expect("it is written");
        let read: Known = postcard::from_bytes(&kept).expect("it reads back");
        prop_assert_eq!(postcard::to_allocvec(&read).expect("it is written"), kept);
    }

    #[test]
    fn a_state_of_chance_is_refused_or_borne(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(mut known) = postcard::from_bytes::<Known>(&bytes) {
            let rarity = rarity(&json!({}));
            for at in 0..10 {
                let time = Timestamp::from_seconds(at * 60);
                judge(&mut known, &rarity, Point { time, step: None, value: at as f64, learn: true });
            }
        }
    }
}

#[test]
fn the_state_stays_below_its_bound_over_weeks_of_wild_minutes() {
    let (rarity, mut known) = (rarity(&json!({})), Known::default());
    let mut chance = chances(11);
    for at in 0..40_000 {
        // Sixty orders of magnitude.
        let value = 10_f64.powf(60.0 * chance() - 30.0) * if chance() < 0.5 { -1.0 } else { 1.0 };
        let time = Timestamp::from_seconds(at * 60);
        judge(&mut known, &rarity, Point { time, step: Some(Duration::from_secs(60)), value, learn: true });
    }
    let kept = postcard::to_allocvec(&known).expect("it is written").len();
    assert!(kept <= 16 << 10, "{kept} bytes");
}
