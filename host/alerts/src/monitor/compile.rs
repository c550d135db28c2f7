//! A document ready to be evaluated: its query parsed, its defaults worked out.

use std::sync::Arc;

use bellwether_kernel::{FieldError, Timestamp};
use bellwether_series::{Aggregate, Expression, Normalise, SeriesError, TimeRange, parse_datadog};
use serde_json::{Map, Value as Json};

use super::{Condition, EventRule, MissingPolicy, Monitor, check};
use crate::error::Faults;
use crate::evaluate::DAY;
use crate::{AlertError, Level, MonitorKind, Period, Thresholds, limits};

/// After how many points in a row that are not strange an alert is over, where its monitor does not say.
const RECOVERY_POINTS: u32 = 3;

/// A monitor ready to be evaluated. Spans are in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) monitor: Monitor,
    pub(crate) expression: Expression,
    /// Which of the tags it groups by make an incident each.
    pub(crate) notify_by: Vec<String>,
    pub(crate) window: i64,
    pub(crate) step: i64,
    pub(crate) delay: i64,
    pub(crate) every: i64,
    /// After how long a series counts as missing.
    pub(crate) missing_after: i64,
    /// After how long without data an open series is closed.
    pub(crate) timeout: i64,
    /// How long it is awaited that a series which stays away opens for that, where one can.
    pub(crate) awaited: Option<i64>,
    /// After how long without a point a series is forgotten that is not open, at the soonest.
    pub(crate) kept: i64,
    /// Whether a series without points is 0; never of an anomaly monitor, which compares no value but a share of points.
    pub(crate) is_count: bool,
    /// What value is compared with; a no-data monitor has none.
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) anomaly: Option<Anomaly>,
    /// Which events belong to its incidents.
    pub(crate) events: Arc<EventRule>,
}

/// What an anomaly monitor has besides.
#[derive(Clone, Debug)]
pub(crate) struct Anomaly {
    pub(crate) detector: String,
    pub(crate) settings: Map<String, Json>,
    /// Which tags the series share that a detector is shown together.
    pub(crate) peers_by: Vec<String>,
    pub(crate) score: f64,
    pub(crate) recovery_points: u32,
    pub(crate) recovery_window: Option<i64>,
}

impl Anomaly {
    /// What the series share that a detector is shown together with one of these tags.
    pub(crate) fn group(&self, tags: &[(String, String)]) -> Vec<(String, String)> {
        tags.iter().filter(|(key, _)| self.peers_by.contains(key)).cloned().collect()
    }
}

impl Compiled {
    /// Reads and checks a document as it was written.
    ///
    /// # Errors
    /// [`AlertError::Document`] names every field that is wrong; of a query that does not read, the line and column.
    pub(crate) fn read(document: &Json) -> Result<Self, AlertError> {
        Self::new(Monitor::read(document)?)
    }

    pub(crate) fn new(monitor: Monitor) -> Result<Self, AlertError> {
        let step = step_of(&monitor);
        let mut faults = check::check(&monitor, step);
        let looked = read_query(&monitor).map_err(|fault| faults.push(fault)).ok();
        let looked = looked.and_then(|expression| {
            let by = group_by(&expression).to_vec();
            faults.extend(foreign_tags(&monitor, &by));
            let told_by = monitor.notify_by.as_ref().unwrap_or(&by);
            let events = EventRule::read(&monitor, &expression, told_by);
            let events = events.map_err(|wrong| faults.extend(wrong)).ok()?;
            Some((expression, by, Arc::new(events)))
        });
        let Some((expression, by, events)) = looked.filter(|_| faults.is_empty()) else {
            return Err(Faults(faults).into());
        };
        let window = monitor.window;
        let thresholds = match monitor.kind {
            // A point of the window by default: most detectors mark where something begins, and are quiet while it goes on.
            MonitorKind::Anomaly => Some(monitor.thresholds.unwrap_or(Thresholds {
                comparator: crate::Comparator::Above,
                critical: 0.0,
                warning: None,
                critical_recovery: None,
                warning_recovery: None,
            })),
            _ => monitor.thresholds,
        };
        let anomaly = monitor.detector.as_ref().map(|detector| Anomaly {
            detector: detector.name.clone(),
            settings: detector.settings.clone(),
            peers_by: detector.peers_by.clone(),
            score: detector.score,
            recovery_points: detector.recovery_points.unwrap_or(RECOVERY_POINTS),
            recovery_window: detector.recovery_window.map(Period::milliseconds),
        });
        let missing_after = missing_after(&monitor).milliseconds();
        let every = monitor.every.unwrap_or_else(|| cadence(window)).milliseconds();
        let is_count = monitor.kind == MonitorKind::Threshold && is_count(&expression);
        // With twice its time, so that an evaluation lies between what is waited for and the end of it.
        let silence = window.milliseconds() + missing_after + lasting(&monitor) + 2 * every;
        let recovery_window = anomaly.as_ref().and_then(|anomaly| anomaly.recovery_window);
        Ok(Self {
            notify_by: monitor.notify_by.clone().unwrap_or(by),
            window: window.milliseconds(),
            step: step.milliseconds(),
            delay: monitor.delay.milliseconds(),
            every,
            missing_after,
            timeout: timeout_of(&monitor, step).milliseconds(),
            awaited: opens_by_absence(&monitor, is_count, thresholds).then_some(silence),
            kept: DAY.max(silence).max(recovery_window.unwrap_or(0)),
            is_count,
            thresholds,
            anomaly,
            events,
            expression,
            monitor,
        })
    }

    /// Whether what is known of series under `before` means nothing any more.
    pub(crate) fn looks_at_other_than(&self, before: &Self) -> bool {
        let detector = |monitor: &Monitor| {
            monitor.detector.clone().map(|detector| (detector.name, detector.settings, detector.peers_by))
        };
        self.monitor.kind != before.monitor.kind
            || self.expression != before.expression
            || self.notify_by != before.notify_by
            || self.step != before.step
            || detector(&self.monitor) != detector(&before.monitor)
    }

    /// The end of the window of an evaluation at `at`: the last whole step that is due.
    pub(crate) fn end(&self, at: i64) -> i64 {
        (at - self.delay).div_euclid(self.step) * self.step
    }

    /// The least time between two evaluations, where writes bring them forward: a monitor that looks at much at once
    /// is one that is looked at seldom.
    pub(crate) fn distance(&self) -> i64 {
        limits::CADENCE.milliseconds().max(self.every / limits::HASTE)
    }

    /// The soonest it is evaluated again for a write.
    pub(crate) fn soonest_after(&self, evaluated: Timestamp) -> Timestamp {
        evaluated.saturating_add(self.distance())
    }

    /// The tags of a series that say which incident it belongs to.
    pub(crate) fn tuple(&self, tags: &[(String, String)]) -> Vec<(String, String)> {
        tags.iter().filter(|(key, _)| self.notify_by.contains(key)).cloned().collect()
    }
}

/// What a series is called: its tags, or `*` for the one of a monitor that groups by nothing.
pub(crate) fn series_id(tags: &[(String, String)]) -> String {
    if tags.is_empty() {
        return "*".to_owned();
    }
    tags.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(",")
}

/// What a monitor looks at.
fn read_query(monitor: &Monitor) -> Result<Expression, FieldError> {
    let query = &monitor.query;
    let expression = parse_datadog(query).map_err(|error| query_fault(query, &error))?;
    if expression.metrics().is_empty() {
        return Err(FieldError::new("query", query, "a query that names a metric"));
    }
    Ok(expression)
}

/// Names tags that the query does not group by, and what else incidents are merged by and none of them has.
fn foreign_tags(monitor: &Monitor, by: &[String]) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let none = Vec::new();
    let peers_by = monitor.detector.as_ref().map_or(&none, |detector| &detector.peers_by);
    for (field, tags) in [("notify_by", monitor.notify_by.as_ref()), ("detector.peers_by", Some(peers_by))] {
        for (at, tag) in tags.into_iter().flatten().enumerate().filter(|(_, tag)| !by.contains(tag)) {
            let groups = if by.is_empty() { "none".to_owned() } else { by.join(", ") };
            let expected = format!("one of the tags the query groups by, {groups}");
            faults.push(FieldError::new(format!("{field}[{at}]"), tag, expected));
        }
    }
    let told_by = monitor.notify_by.as_deref().unwrap_or(by);
    let own = |name: &String| told_by.contains(name) || monitor.labels.contains_key(name);
    let names = monitor.merge.iter().flat_map(|merge| &merge.by).enumerate();
    for (at, name) in names.filter(|(_, name)| !own(name)) {
        let known: Vec<&str> = told_by.iter().chain(monitor.labels.keys()).map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let expected = format!("a tag it notifies by, or one of its labels: {known}");
        faults.push(FieldError::new(format!("merge.by[{at}]"), name, expected));
    }
    faults
}

fn query_fault(query: &str, error: &SeriesError) -> FieldError {
    match error {
        SeriesError::Syntax { line, column, message } => FieldError::new(
            format!("query (line {line}, column {column})"),
            query,
            message.trim_start_matches("expected "),
        ),
        other => FieldError::new("query", query, other.to_string()),
    }
}

/// Datadog's cadence: each minute, for a window of a day each 10 minutes, of two each 30.
fn cadence(window: Period) -> Period {
    match window {
        window if window < Period::hours(24) => Period::minutes(1),
        window if window < Period::hours(48) => Period::minutes(10),
        _ => Period::minutes(30),
    }
}

/// How much time becomes one point.
pub(crate) fn step_of(monitor: &Monitor) -> Period {
    monitor.step.unwrap_or_else(|| default_step(monitor.window))
}

/// A minute, or the least that divides the window into at most 300 steps; of an odd window what divides it at all.
fn default_step(window: Period) -> Period {
    let divides = |step: &i64| window.milliseconds() % (step * 1000) == 0;
    let fits = TimeRange::STEPS
        .iter()
        .filter(|step| divides(step))
        .find(|step| **step >= 60 && window.milliseconds() / (**step * 1000) <= 300);
    match fits.or_else(|| TimeRange::STEPS.iter().rev().find(|step| divides(step))) {
        Some(seconds) => Period::from_milliseconds(seconds * 1000),
        None => Period::seconds(1),
    }
}

/// After how long without a point a series counts as missing.
pub(super) fn missing_after(monitor: &Monitor) -> Period {
    let twice = || Period::from_milliseconds(2 * monitor.window.milliseconds());
    monitor.missing_data.after.unwrap_or_else(twice)
}

/// After how long without data an open series is closed.
pub(super) fn timeout_of(monitor: &Monitor, step: Period) -> Period {
    monitor.timeout.unwrap_or_else(|| {
        let usual = default_timeout(monitor.kind, step);
        // What opens or is resolved because it is missing is not closed before, and goes on for as long as it was awaited.
        let missed = Period::from_milliseconds(2 * missing_after(monitor).milliseconds());
        if acts_on_absence(monitor) { usual.max(missed) } else { usual }
    })
}

/// Whether anything becomes of a series because it is missing.
pub(super) fn acts_on_absence(monitor: &Monitor) -> bool {
    monitor.kind == MonitorKind::NoData
        || match monitor.missing_data.policy {
            MissingPolicy::ShowAndNotifyNoData | MissingPolicy::Resolve => true,
            MissingPolicy::Default | MissingPolicy::ShowNoData => false,
        }
}

/// Anodot's: what is open closes after so long without data, the longer the longer its steps.
fn default_timeout(kind: MonitorKind, step: Period) -> Period {
    match (kind, step) {
        (MonitorKind::Anomaly, step) if step <= Period::minutes(1) => Period::hours(5),
        (MonitorKind::Anomaly, step) if step <= Period::minutes(5) => Period::hours(10),
        (MonitorKind::Anomaly, step) if step <= Period::hours(1) => Period::hours(24),
        (MonitorKind::Anomaly, step) if step <= Period::days(1) => Period::days(4),
        (MonitorKind::Anomaly, _) => Period::days(28),
        (_, step) if step <= Period::minutes(5) => Period::days(7),
        _ => Period::days(30),
    }
}

/// For how long a series breaches at least before it opens, in milliseconds.
fn lasting(monitor: &Monitor) -> i64 {
    let each = monitor.conditions.iter().map(|condition| match condition {
        Condition::Duration { at_least } => at_least.milliseconds(),
        _ => 0,
    });
    each.max().unwrap_or(0)
}

/// Whether a series can open because it stays away.
fn opens_by_absence(monitor: &Monitor, is_count: bool, thresholds: Option<Thresholds>) -> bool {
    let none_breaches = || thresholds.is_some_and(|bounds| bounds.level(Level::Ok, 0.0) != Level::Ok);
    monitor.kind == MonitorKind::NoData
        || match monitor.missing_data.policy {
            MissingPolicy::Default => is_count && none_breaches(),
            MissingPolicy::ShowAndNotifyNoData => true,
            MissingPolicy::ShowNoData | MissingPolicy::Resolve => false,
        }
}

/// By what the lines of an expression are grouped.
fn group_by(expression: &Expression) -> &[String] {
    match expression {
        Expression::Number(_) => &[],
        Expression::Select(selection) => &selection.by,
        Expression::Binary(_, left, right) => match group_by(left) {
            [] => group_by(right),
            by => by,
        },
        Expression::Apply(_, argument) => group_by(argument),
    }
}

/// Whether no points mean none of what is counted.
fn is_count(expression: &Expression) -> bool {
    match expression {
        Expression::Number(_) => true,
        Expression::Select(selection) => {
            selection.normalise == Some(Normalise::Count)
                || selection.over_series == Aggregate::Count
                || selection.over_time == Some(Aggregate::Count)
        }
        Expression::Binary(_, left, right) => is_count(left) && is_count(right),
        Expression::Apply(_, argument) => is_count(argument),
    }
}

/// Whether a document is small enough to be kept, as it is written.
pub(crate) fn written(document: &Monitor) -> Result<String, AlertError> {
    let text = serde_json::to_string(document).expect("a document is plain data");
    if text.len() > limits::DOCUMENT {
        let expected = format!("at most {} bytes of JSON", limits::DOCUMENT);
        return Err(FieldError::new("the document", format!("{} bytes", text.len()), expected).into());
    }
    Ok(text)
}
