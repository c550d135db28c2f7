//! How a series stands: the level of a value, with recovery thresholds.

use serde::{Deserialize, Serialize};

/// How a series stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should.
    #[default]
    Ok,
    /// Beyond the warning threshold.
    Warning,
    /// It stays away.
    NoData,
    /// Beyond the critical threshold, or strange.
    Alert,
}

impl Level {
    /// As it is written: `ok`, `warning`, `no-data`, `alert`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::NoData => "no-data",
            Self::Alert => "alert",
        }
    }
}

/// On which side of a threshold a value breaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparator {
    /// Above it.
    #[serde(rename = ">")]
    Above,
    /// At it or above.
    #[serde(rename = ">=")]
    AtOrAbove,
    /// Below it.
    #[serde(rename = "<")]
    Below,
    /// At it or below.
    #[serde(rename = "<=")]
    AtOrBelow,
}

impl Comparator {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtOrAbove => ">=",
            Self::Below => "<",
            Self::AtOrBelow => "<=",
        }
    }

    /// Whether `value` stands to `bound` as this says.
    #[must_use]
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Above => value > bound,
            Self::AtOrAbove => value >= bound,
            Self::Below => value < bound,
            Self::AtOrBelow => value <= bound,
        }
    }

    /// What a recovery is compared with: `>` recovers with `<=`, `>=` with `<`, `<` with `>=`, `<=` with `>`.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Above => Self::AtOrBelow,
            Self::AtOrAbove => Self::Below,
            Self::Below => Self::AtOrAbove,
            Self::AtOrBelow => Self::Above,
        }
    }

    /// Whether values breach upwards.
    #[must_use]
    pub fn is_upwards(self) -> bool {
        matches!(self, Self::Above | Self::AtOrAbove)
    }
}

/// Where levels begin and where they end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// On which side values breach.
    pub comparator: Comparator,
    /// Beyond it is an alert.
    pub critical: f64,
    /// Beyond it is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<f64>,
    /// An alert lasts until the value is back beyond this; without it until it does not breach any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical_recovery: Option<f64>,
    /// A warning lasts until the value is back beyond this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning_recovery: Option<f64>,
}

impl Thresholds {
    /// The level of `value` for a series that stood at `previous`.
    ///
    /// Critical breached: alert; else was an alert and its recovery not passed: stays; else warning breached: warning;
    /// else was a warning or an alert and the warning's recovery not passed: warning; else ok.
    #[must_use]
    pub fn level(&self, previous: Level, value: f64) -> Level {
        let breaches = |bound: f64| self.comparator.holds(value, bound);
        let not_passed = |recovery: Option<f64>| {
            recovery.is_some_and(|recovery| !self.comparator.mirrored().holds(value, recovery))
        };
        if breaches(self.critical) || previous == Level::Alert && not_passed(self.critical_recovery) {
            return Level::Alert;
        }
        let was_up = matches!(previous, Level::Warning | Level::Alert);
        if self.warning.is_some_and(breaches) || was_up && not_passed(self.warning_recovery) {
            return Level::Warning;
        }
        Level::Ok
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Level::{Alert, NoData, Ok, Warning};

    const FULL: Thresholds = Thresholds {
        comparator: Comparator::Above,
        critical: 90.0,
        warning: Some(70.0),
        critical_recovery: Some(85.0),
        warning_recovery: Some(60.0),
    };

    #[test]
    fn the_level_follows_the_table() {
        let bare = Thresholds { warning: None, critical_recovery: None, warning_recovery: None, ..FULL };
        let at_or = Thresholds { comparator: Comparator::AtOrAbove, ..FULL };
        let low = Thresholds {
            comparator: Comparator::Below,
            critical: 10.0,
            warning: Some(30.0),
            critical_recovery: Some(15.0),
            warning_recovery: Some(40.0),
        };
        let low_at_or = Thresholds { comparator: Comparator::AtOrBelow, ..low };
        for (name, thresholds, previous, value, level) in [
            ("below everything", FULL, Ok, 50.0, Ok),
            ("at the warning, which is not above it", FULL, Ok, 70.0, Ok),
            ("above the warning", FULL, Ok, 70.1, Warning),
            ("at the critical threshold", FULL, Ok, 90.0, Warning),
            ("above it", FULL, Ok, 90.1, Alert),
            ("an alert above its recovery stays", FULL, Alert, 85.1, Alert),
            ("an alert at its recovery has passed it, and is a warning", FULL, Alert, 85.0, Warning),
            ("an alert below the warning, its recovery not passed", FULL, Alert, 65.0, Warning),
            ("a warning above its recovery stays", FULL, Warning, 60.1, Warning),
            ("a warning at its recovery is over", FULL, Warning, 60.0, Ok),
            ("who was ok is not kept by a recovery", FULL, Ok, 65.0, Ok),
            ("nor who had no data", FULL, NoData, 88.0, Warning),
            ("without recovery thresholds an alert ends with its breach", bare, Alert, 90.0, Ok),
            ("without a warning there is none", bare, Ok, 80.0, Ok),
            (">= breaches at the bound", at_or, Ok, 90.0, Alert),
            (">= recovers below, not at", at_or, Alert, 85.0, Alert),
            (">= recovers below", at_or, Alert, 84.9, Warning),
            ("< breaches below", low, Ok, 9.9, Alert),
            ("< does not at the bound", low, Ok, 10.0, Warning),
            ("< recovers at", low, Alert, 15.0, Warning),
            ("< stays below", low, Alert, 14.9, Alert),
            ("<= breaches at the bound", low_at_or, Ok, 10.0, Alert),
            ("<= recovers above, not at", low_at_or, Alert, 15.0, Alert),
            ("<= recovers above", low_at_or, Alert, 15.1, Warning),
        ] {
            assert_eq!(thresholds.level(previous, value), level, "{name}");
        }
    }

    fn previous() -> impl Strategy<Value = Level> {
        prop_oneof![Just(Ok), Just(Warning), Just(Alert), Just(NoData)]
    }

    proptest! {
        #[test]
        fn worse_values_are_never_of_a_lower_level(
            previous in previous(), bounds in prop::collection::vec(-20_i32..20, 4), given in any::<[bool; 3]>(),
            upwards: bool, strict: bool, a in -25_i32..25, b in -25_i32..25,
        ) {
            // Critical is the most extreme; each recovery lies on the good side of its threshold.
            let mut bounds = bounds;
            bounds.sort_unstable();
            if !upwards { bounds.reverse(); }
            let comparator = match (upwards, strict) {
                (true, true) => Comparator::Above,
                (true, false) => Comparator::AtOrAbove,
                (false, true) => Comparator::Below,
                (false, false) => Comparator::AtOrBelow,
            };
            let of = |at: usize| f64::from(bounds[at]);
            let thresholds = Thresholds {
                comparator,
                critical: of(3),
                critical_recovery: given[0].then(|| of(2)),
                warning: given[1].then(|| of(1)),
                warning_recovery: (given[1] && given[2]).then(|| of(0)),
            };
            let (good, bad) = if upwards { (a.min(b), a.max(b)) } else { (a.max(b), a.min(b)) };
            let (good, bad) = (f64::from(good), f64::from(bad));
            prop_assert!(thresholds.level(previous, good) <= thresholds.level(previous, bad));
            // A level, once reached, is stable: the same value again changes nothing.
            let level = thresholds.level(previous, bad);
            prop_assert_eq!(thresholds.level(level, bad), level);
        }
    }
}
