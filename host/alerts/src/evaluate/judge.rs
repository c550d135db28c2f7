//! What one series is found to be: its level, and the figures it follows from.

use bellwether_kernel::Timestamp;

use super::breach::Measured;
use super::{Look, Seen, conditions, side_of};
use crate::monitor::{Anomaly, Compiled, MissingPolicy};
use crate::state::{SeriesState, Verdict};
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
        (Some(anomaly), Some(thresholds)) => anomalous(compiled, anomaly, &thresholds, look, series, seen),
        (None, Some(thresholds)) => {
            // One that is open is held against all of the window.
            let since = if series.breach.is_some() { i64::MIN } else { passed.as_milliseconds() };
            beyond(compiled, &thresholds, look, series, seen, since)
        }
        (_, None) => None,
    };
    present.unwrap_or_else(|| absent(compiled, look, series, missing))
}

/// A series without a point to judge by.
fn absent(compiled: &Compiled, look: &Look, series: &SeriesState, missing: bool) -> Judged {
    let why = format!("no data since {}", series.last_point);
    match (compiled.monitor.missing_data.policy, compiled.thresholds) {
        (MissingPolicy::Default, Some(thresholds)) if compiled.is_count => {
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
    since: i64,
) -> Option<Judged> {
    let points = within(compiled, look, seen, since)?;
    let step = seen.map_or(compiled.step, |seen| seen.step.max(1));
    if compiled.monitor.require_full_window && (points.len() as i64) < compiled.window / step {
        return Some(Judged::unknown(false));
    }
    Some(compared(compiled, thresholds, look, series, points))
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
    let side = side_of(thresholds.comparator.is_upwards());
    let measured = |time, value| Measured { time, value, expected: bound, bound, side, score: None };
    let last = points.last().map_or(look.end.as_milliseconds(), |(time, _)| *time);
    let breaching = points.iter().rev().take_while(|(_, value)| thresholds.comparator.holds(*value, bound));
    let since = breaching.last().map_or(last, |(time, _)| *time);
    Judged {
        value: Some(measured(last, value)),
        points: points.iter().map(|(time, value)| measured(*time, *value)).collect(),
        values,
        since: Timestamp::from_milliseconds(since).unwrap_or(look.end),
        ..Judged::level(level, false, told(thresholds, level, value))
    }
}

/// `93 > 90: alert`
fn told(thresholds: &Thresholds, level: Level, value: f64) -> String {
    let comparator = thresholds.comparator;
    let beyond = |bound: f64| {
        let sign = if comparator.holds(value, bound) { comparator } else { comparator.mirrored() };
        format!("{value} {} {bound}: {}", sign.as_str(), level.as_str())
    };
    beyond(thresholds.warning.filter(|_| level != Level::Alert).unwrap_or(thresholds.critical))
}

/// A series of an anomaly monitor.
fn anomalous(
    compiled: &Compiled,
    anomaly: &Anomaly,
    thresholds: &Thresholds,
    look: &Look,
    series: &mut SeriesState,
    seen: Option<&Seen>,
) -> Option<Judged> {
    let end = look.end.as_milliseconds();
    take_in(compiled, anomaly, end, series, seen?);
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
    let recovered = match anomaly.recovery_window {
        Some(recovery) => fraction(of(recovery)) <= thresholds.critical_recovery.unwrap_or(0.0),
        None => series.ok_streak >= anomaly.recovery_points,
    };
    let beyond = |bound: f64| thresholds.comparator.holds(share, bound) && share > 0.0;
    let level = if beyond(thresholds.critical) || series.level == Level::Alert && !recovered {
        Level::Alert
    } else if thresholds.warning.is_some_and(beyond) {
        Level::Warning
    } else {
        Level::Ok
    };
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
    let side = verdict.strange.unwrap_or(side_of(verdict.value >= verdict.expected));
    let bound = if verdict.edge.is_finite() { verdict.edge } else { verdict.expected };
    // A detector that cannot tell what is usual measures nothing, and still finds a peak.
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
    for verdict in &seen.verdicts {
        series.ok_streak = if verdict.strange.is_some() { 0 } else { series.ok_streak.saturating_add(1) };
    }
    series.season = seen.season.or(series.season);
    series.verdicts.extend_from_slice(&seen.verdicts);
    let kept = end - compiled.window.max(anomaly.recovery_window.unwrap_or(0));
    series.verdicts.retain(|verdict| verdict.time.as_milliseconds() >= kept);
}
