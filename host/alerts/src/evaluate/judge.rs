//! What one series is found to be: its level, and the figures it follows from.

use bellwether_kernel::Timestamp;

use super::breach::Measured;
use super::{Look, Seen, conditions, side_among, side_of};
use crate::monitor::{Anomaly, Compiled, MissingPolicy, Reduce};
use crate::state::{SeriesState, Strange, Verdict};
use crate::{Level, MonitorKind, Thresholds};

/// What a series is found to be.
pub(super) struct Judged {
    /// Its level; `None` if it cannot be told and stays as it was.
    pub(super) level: Option<Level>,
    /// Whether it stays away.
    pub(super) missing: bool,
    /// What was compared, measured against its bound.
    pub(super) value: Option<Measured>,
    /// The points of the window so measured.
    pub(super) points: Vec<Measured>,
    /// Their values.
    pub(super) values: Vec<f64>,
    /// The highest score of the window.
    pub(super) score: Option<f64>,
    /// Since when it breaches without interruption, as far as the window shows.
    pub(super) since: Timestamp,
    /// Why a breach would be over.
    pub(super) reason: &'static str,
    pub(super) why: String,
}

impl Judged {
    fn unknown(missing: bool) -> Self {
        Self {
            level: None,
            missing,
            value: None,
            points: Vec::new(),
            values: Vec::new(),
            score: None,
            since: Timestamp::default(),
            reason: "recovered",
            why: String::new(),
        }
    }

    fn level(level: Level, missing: bool, why: String) -> Self {
        Self { level: Some(level), why, ..Self::unknown(missing) }
    }
}

/// Judges one series; of an anomaly monitor it also takes in what the detector found. It was not looked at before
/// `passed`.
pub(super) fn judge(
    compiled: &Compiled,
    look: &Look,
    series: &mut SeriesState,
    seen: Option<&Seen>,
    passed: Timestamp,
) -> Judged {
    let missing = look.silent(series, passed) >= compiled.missing_after;
    let present = match (&compiled.anomaly, compiled.thresholds) {
        _ if compiled.monitor.kind == MonitorKind::NoData => {
            let why = format!("its last point is of {}", series.last_point);
            let level = if missing { Level::NoData } else { Level::Ok };
            return Judged { since: series.last_point, ..Judged::level(level, missing, why) };
        }
        // One that stays away is not judged by what it was any more.
        (Some(anomaly), Some(thresholds)) if seen.is_some() || !missing => {
            anomalous(compiled, anomaly, &thresholds, look, series, seen, passed)
        }
        (None, Some(thresholds)) => beyond(compiled, &thresholds, look, series, seen, passed),
        _ => None,
    };
    present.unwrap_or_else(|| absent(compiled, look, series, missing, passed))
}

/// Since when the points of the window count, in milliseconds. One that is open is held against all of it.
fn counts_since(series: &SeriesState, passed: Timestamp) -> i64 {
    if series.breach.is_some() { i64::MIN } else { passed.as_milliseconds() }
}

/// Whether there was more in the window than can be seen, so that what was added up is the least it came to.
fn is_cut(compiled: &Compiled, look: &Look, series: &SeriesState, passed: Timestamp) -> bool {
    let begin = look.end.as_milliseconds() - compiled.window;
    counts_since(series, passed) > begin || compiled.is_count && look.is_gappy(compiled.window)
}

/// A series without a point to judge by.
fn absent(
    compiled: &Compiled,
    look: &Look,
    series: &SeriesState,
    missing: bool,
    passed: Timestamp,
) -> Judged {
    let why = format!("no data since {}", series.last_point);
    match (compiled.monitor.missing_data.policy, compiled.thresholds) {
        (MissingPolicy::Default, Some(thresholds))
            if compiled.is_count && !is_cut(compiled, look, series, passed) =>
        {
            let points = [(look.end.as_milliseconds() - compiled.step, 0.0)];
            Judged { missing, ..compared(compiled, &thresholds, look, series, &points) }
        }
        (MissingPolicy::ShowAndNotifyNoData, _) if missing => {
            Judged { since: series.last_point, ..Judged::level(Level::NoData, true, why) }
        }
        (MissingPolicy::Resolve, _) if missing => {
            Judged { reason: "no-data", ..Judged::level(Level::Ok, true, why) }
        }
        _ => Judged::unknown(missing),
    }
}

/// The points of the window, those from `since` on; `None` if there are none.
fn within<'a>(
    compiled: &Compiled,
    look: &Look,
    seen: Option<&'a Seen>,
    since: i64,
) -> Option<&'a [(i64, f64)]> {
    let points = &seen?.points;
    let end = look.end.as_milliseconds();
    let first = points.partition_point(|(time, _)| *time < since.max(end - compiled.window));
    let last = points.partition_point(|(time, _)| *time < end);
    points.get(first..last).filter(|points| !points.is_empty())
}

/// A series of a threshold monitor.
fn beyond(
    compiled: &Compiled,
    thresholds: &Thresholds,
    look: &Look,
    series: &SeriesState,
    seen: Option<&Seen>,
    passed: Timestamp,
) -> Option<Judged> {
    let points = within(compiled, look, seen, counts_since(series, passed))?;
    let step = seen.map_or(compiled.step, |seen| seen.step.max(1));
    if compiled.monitor.require_full_window && (points.len() as i64) < compiled.window / step {
        return Some(Judged::unknown(false));
    }
    let judged = compared(compiled, thresholds, look, series, points);
    let partial = compiled.monitor.reduce == Reduce::Sum && is_cut(compiled, look, series, passed);
    // It can be too much already, and neither too little nor over.
    if partial && !(thresholds.comparator.is_upwards() && judged.level > Some(series.level)) {
        return Some(Judged::unknown(false));
    }
    Some(judged)
}

/// What the points of a window come to, compared.
fn compared(
    compiled: &Compiled,
    thresholds: &Thresholds,
    look: &Look,
    series: &SeriesState,
    points: &[(i64, f64)],
) -> Judged {
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let value = conditions::reduced(compiled.monitor.reduce, &values).unwrap_or_default();
    let level = thresholds.level(series.level, value);
    let bound = match (level, thresholds.warning) {
        (Level::Warning, Some(warning)) => warning,
        _ => thresholds.critical,
    };
    let side = Some(side_of(thresholds.comparator.is_upwards()));
    let measured = |time, value| Measured { time, value, expected: bound, bound, side, score: None };
    let last = points.last().map_or(look.end.as_milliseconds(), |(time, _)| *time);
    let breaching = points.iter().rev().take_while(|(_, value)| thresholds.comparator.holds(*value, bound));
    let since = breaching.last().map_or(last, |(time, _)| *time);
    Judged {
        value: Some(measured(last, value)),
        points: points.iter().map(|(time, value)| measured(*time, *value)).collect(),
        values,
        since: Timestamp::from_milliseconds(since).unwrap_or(look.end),
        ..Judged::level(level, false, told(thresholds, series.level, level, value))
    }
}

/// `93 > 90: alert`, or what keeps it at a level it does not breach any more, or let it go:
/// `85 > 80, where it recovers: alert`.
fn told(thresholds: &Thresholds, previous: Level, level: Level, value: f64) -> String {
    let Thresholds { comparator, critical, warning, critical_recovery, warning_recovery } = *thresholds;
    let (beyond, recovery) = match level {
        Level::Alert => (Some(critical), critical_recovery),
        Level::Warning => (warning, warning_recovery),
        Level::Ok | Level::NoData => {
            let kept = if warning.is_some() { warning_recovery } else { critical_recovery };
            (None, kept.filter(|_| matches!(previous, Level::Warning | Level::Alert)))
        }
    };
    let (bound, recovers) = match (beyond.filter(|bound| comparator.holds(value, *bound)), recovery) {
        (Some(bound), _) => (bound, ""),
        (None, Some(bound)) => (bound, ", where it recovers"),
        (None, None) => (warning.unwrap_or(critical), ""),
    };
    let sign = if comparator.holds(value, bound) { comparator } else { comparator.mirrored() };
    format!("{value} {} {bound}{recovers}: {}", sign.as_str(), level.as_str())
}

/// A series of an anomaly monitor; of one without new points by what was found of those before.
fn anomalous(
    compiled: &Compiled,
    anomaly: &Anomaly,
    thresholds: &Thresholds,
    look: &Look,
    series: &mut SeriesState,
    seen: Option<&Seen>,
    passed: Timestamp,
) -> Option<Judged> {
    let end = look.end.as_milliseconds();
    if let Some(seen) = seen {
        take_in(compiled, anomaly, end, series, seen);
    }
    let since = counts_since(series, passed);
    series.verdicts.retain(|verdict| verdict.time.as_milliseconds() >= since);
    let of = |length: i64| {
        let first = series.verdicts.partition_point(|verdict| verdict.time.as_milliseconds() < end - length);
        &series.verdicts[first..]
    };
    let window = of(compiled.window);
    let latest = window.last()?;
    if compiled.monitor.require_full_window && (window.len() as i64) < compiled.window / compiled.step {
        return Some(Judged::unknown(false));
    }
    let fraction = |verdicts: &[Verdict]| {
        let strange = verdicts.iter().filter(|verdict| verdict.strange.is_some()).count();
        strange as f64 / verdicts.len().max(1) as f64
    };
    let share = fraction(window);
    let recovered = match anomaly.recovery_window.map(of) {
        // Of a time without points nothing is known.
        Some(recovery) => {
            !recovery.is_empty() && fraction(recovery) <= thresholds.critical_recovery.unwrap_or(0.0)
        }
        None => series.ok_streak >= anomaly.recovery_points,
    };
    let beyond = |bound: f64| thresholds.comparator.holds(share, bound) && share > 0.0;
    let level = if beyond(thresholds.critical) || series.level == Level::Alert && !recovered {
        Level::Alert
    } else if thresholds.warning.is_some_and(beyond)
        || matches!(series.level, Level::Warning | Level::Alert)
            && thresholds.warning_recovery.is_some_and(beyond)
    {
        Level::Warning
    } else {
        Level::Ok
    };
    if seen.is_none() && level > series.level {
        // Only the points that were not strange have left the window.
        return Some(Judged::unknown(false));
    }
    let strange = window.iter().rev().find(|verdict| verdict.strange.is_some()).unwrap_or(latest);
    let run = window.iter().rev().take_while(|verdict| verdict.strange.is_some());
    let since = run.last().map_or(strange.time, |verdict| verdict.time);
    let why = format!("{} % of the points of the window are strange: {}", 100.0 * share, level.as_str());
    Some(Judged {
        value: Some(measured(strange)),
        points: window.iter().filter(|verdict| verdict.strange.is_some()).map(measured).collect(),
        values: window.iter().map(|verdict| verdict.value).collect(),
        score: window.iter().map(|verdict| verdict.score).reduce(f64::max),
        since,
        ..Judged::level(level, false, why)
    })
}

fn measured(verdict: &Verdict) -> Measured {
    let none = (f64::NAN, f64::NAN);
    let beside = || side_among(verdict.value, verdict.expected, none);
    let side = verdict.strange.map_or_else(beside, Strange::side);
    let bound = if verdict.edge.is_finite() { verdict.edge } else { verdict.expected };
    // A detector that cannot tell what is usual measures nothing.
    let bound = if bound.is_finite() { bound } else { verdict.value };
    Measured {
        time: verdict.time.as_milliseconds(),
        value: verdict.value,
        expected: verdict.expected,
        bound,
        side,
        score: Some(verdict.score),
    }
}

/// Adds what the detector found, and forgets what no window reaches.
fn take_in(compiled: &Compiled, anomaly: &Anomaly, end: i64, series: &mut SeriesState, seen: &Seen) {
    if seen.is_anew {
        series.verdicts.clear();
        series.ok_streak = 0;
    }
    for verdict in &seen.verdicts {
        series.ok_streak = if verdict.strange.is_some() { 0 } else { series.ok_streak.saturating_add(1) };
    }
    series.season = seen.season.or(series.season);
    series.verdicts.extend_from_slice(&seen.verdicts);
    let kept = end - compiled.window.max(anomaly.recovery_window.unwrap_or(0));
    series.verdicts.retain(|verdict| verdict.time.as_milliseconds() >= kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Comparator;

    #[test]
    fn the_reason_of_a_level_is_the_bound_that_made_it() {
        let bare = Thresholds {
            comparator: Comparator::Above,
            critical: 100.0,
            warning: None,
            critical_recovery: None,
            warning_recovery: None,
        };
        let alone = Thresholds { critical_recovery: Some(80.0), ..bare };
        let full = Thresholds { warning: Some(50.0), warning_recovery: Some(30.0), ..alone };
        for (thresholds, previous, value, why) in [
            (bare, Level::Ok, 101.0, "101 > 100: alert"),
            (bare, Level::Alert, 100.0, "100 <= 100: ok"),
            (alone, Level::Alert, 85.0, "85 > 80, where it recovers: alert"),
            (alone, Level::Alert, 80.0, "80 <= 80, where it recovers: ok"),
            (full, Level::Ok, 60.0, "60 > 50: warning"),
            (full, Level::Alert, 70.0, "70 > 50: warning"),
            (full, Level::Alert, 40.0, "40 > 30, where it recovers: warning"),
            (full, Level::Warning, 30.0, "30 <= 30, where it recovers: ok"),
            (full, Level::Ok, 40.0, "40 <= 50: ok"),
        ] {
            assert_eq!(told(&thresholds, previous, thresholds.level(previous, value), value), why);
        }
    }
}
