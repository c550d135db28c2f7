//! Finds a value strange that is far from the one before it: a detector.
//!
//! It imports nothing, and keeps what it knows in a state the host hands from call to call. Points come one by one, so
//! they get the same scores however they are cut into calls.

use bellwether_sdk::detector::{Point, Verdict, detector};
use bellwether_sdk::{SettingError, Settings};
use serde::{Deserialize, Serialize};

/// What is strange. A field's comment is the help its user reads.
#[derive(Debug, Settings)]
#[settings(check = check)]
pub struct Jump {
    /// How many times the usual step a step is whose score is 0.5. Above 0.
    #[setting(default = 5.0)]
    pub factor: f64,
}

fn check(jump: &Jump) -> Result<(), SettingError> {
    match jump.factor > 0.0 {
        true => Ok(()),
        false => Err(SettingError::new("factor", jump.factor, "a number above 0")),
    }
}

/// What is known of a series. It is written and read by serde: at most 16 KiB.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Known {
    points: u32,
    last: f64,
    /// The mean step, newer ones weighing more.
    step: f64,
}

/// Points it has to have seen before it judges.
const LEAST: u32 = 10;

/// Finds jumps strange.
#[detector(least = 10, best = 100)]
pub fn judge(known: &mut Known, jump: &Jump, point: Point) -> Verdict {
    let step = (point.value - known.last).abs();
    let usual = known.step.max(f64::MIN_POSITIVE);
    let verdict = if known.points < LEAST {
        Verdict::unknown()
    } else {
        let ratio = step / usual / jump.factor;
        let score = if ratio.is_finite() {
            ratio / (1.0 + ratio)
        } else {
            1.0
        };
        Verdict::new(score).expected(known.last, jump.factor * usual)
    };
    // Where the host says not to learn, what was known stays as it was.
    if point.learn {
        if known.points > 0 {
            let weight = 1.0 / f64::from(known.points.min(100));
            known.step += (step.min(f64::MAX / 4.0) - known.step) * weight;
        }
        known.points = known.points.saturating_add(1);
        known.last = point.value;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use bellwether_sdk::serde_json::json;
    use bellwether_sdk::testing::{detect, detect_in_pieces, settings};

    use super::*;

    fn values() -> Vec<f64> {
        let mut values: Vec<f64> = (0..50).map(|at| f64::from(at % 3)).collect();
        values[40] = 100.0;
        values
    }

    #[test]
    fn a_jump_is_strange_and_what_was_before_is_not() {
        let jump: Jump = settings(&json!({})).expect("all have defaults");
        let verdicts = detect(judge, &jump, &values());
        assert!(verdicts[40].score > 0.9, "{:?}", verdicts[40]);
        assert!(verdicts[..40].iter().all(|verdict| verdict.score < 0.5));
        let wrong = settings::<Jump>(&json!({ "factor": 0 })).expect_err("it is not above 0");
        assert_eq!(
            wrong.to_string(),
            "factor is \"0\", expected a number above 0"
        );
    }

    #[test]
    fn scores_do_not_depend_on_how_points_are_cut_into_calls() {
        let jump: Jump = settings(&json!({})).expect("all have defaults");
        let whole = format!("{:?}", detect(judge, &jump, &values()));
        for piece in [1, 7] {
            let pieces = detect_in_pieces(judge, &jump, &values(), piece);
            assert_eq!(format!("{pieces:?}"), whole);
        }
    }
}
