//! What the types of a document cannot say.

use std::fmt::Display;

use bellwether_kernel::FieldError;
use serde::Serialize;

use super::compile::{acts_on_absence, missing_after, step_of, timeout_of};
use super::{Condition, Merge, MissingPolicy, Monitor, Side};
use crate::{MonitorKind, Period, Thresholds, channel, limits};

/// Gathers what is wrong.
#[derive(Default)]
struct Checks(Vec<FieldError>);

impl Checks {
    fn expect(&mut self, right: bool, field: impl Into<String>, value: impl Display, expected: &str) {
        if !right {
            self.0.push(FieldError::new(field, value, expected));
        }
    }

    /// Nothing may be there, for this reason.
    fn none<T: Serialize>(&mut self, field: &str, value: Option<&T>, why: &str) {
        let Some(value) = value else { return };
        let value = match serde_json::to_value(value) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(value) => value.to_string(),
            Err(_) => String::new(),
        };
        self.0.push(FieldError::new(field, value, format!("none: {why}")));
    }

    fn between(&mut self, field: &str, span: Period, least: Period, most: Period) {
        let right = (least..=most).contains(&span);
        self.expect(right, field, span, &format!("a span from {least} to {most}"));
    }
}

/// Whether a text can be the name of a monitor.
pub(crate) fn is_name(name: &str) -> bool {
    let characters =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=100).contains(&name.len()) && characters && !name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Everything that is wrong with the fields of `monitor`, apart from its query. `step` is what its steps come to.
pub(super) fn check(monitor: &Monitor, step: Period) -> Vec<FieldError> {
    let mut checks = Checks::default();
    let name = "1 to 100 characters of a-z, 0-9 and -, not digits alone";
    checks.expect(is_name(&monitor.name), "name", &monitor.name, name);
    for (field, text, most) in [
        ("title", monitor.title.as_deref().unwrap_or("a title"), limits::TITLE),
        ("message", monitor.message.as_str(), limits::MESSAGE),
    ] {
        let expected = format!("at most {most} characters");
        checks.expect(text.chars().count() <= most, field, text, &expected);
    }
    times(&mut checks, monitor, step);
    match monitor.kind {
        MonitorKind::Threshold => {
            let expected = "thresholds: {\"comparator\": \">\", \"critical\": 90}";
            checks.expect(monitor.thresholds.is_some(), "thresholds", "", expected);
            checks.none("detector", monitor.detector.as_ref(), "only an anomaly monitor has one");
        }
        MonitorKind::NoData => {
            checks.none("thresholds", monitor.thresholds.as_ref(), "a no-data monitor has no value");
            checks.none("detector", monitor.detector.as_ref(), "only an anomaly monitor has one");
            let policy = Some(monitor.missing_data.policy);
            let policy = policy.filter(|policy| *policy != MissingPolicy::Default);
            let why = "a no-data monitor tells of every series that stays away";
            checks.none("missing_data.policy", policy.as_ref(), why);
        }
        MonitorKind::Anomaly => {
            let expected = "detector: {\"name\": \"a plugin that is one\"}";
            checks.expect(monitor.detector.is_some(), "detector", "", expected);
            if let Some(detector) = &monitor.detector {
                let right = (0.0..=1.0).contains(&detector.score);
                checks.expect(right, "detector.score", detector.score, "a number from 0 to 1");
                if let Some(points) = detector.recovery_points {
                    let right = (1..=1000).contains(&points);
                    checks.expect(right, "detector.recovery_points", points, "1 to 1000 points");
                }
                let recovery = detector.recovery_window.unwrap_or(monitor.window);
                checks.between("detector.recovery_window", recovery, step, Period::days(7));
                let verdicts = monitor.window.max(recovery).milliseconds() / step.milliseconds().max(1);
                let expected =
                    format!("at most {} steps of {step}: a longer step, or less time", limits::VERDICTS);
                checks.expect(verdicts <= limits::VERDICTS, "window", monitor.window, &expected);
            }
            if let Some(thresholds) = monitor.thresholds {
                let right = (0.0..=1.0).contains(&thresholds.critical) && thresholds.comparator.is_upwards();
                let expected =
                    "`>` or `>=` and a fraction from 0 to 1: so many points of the window are strange";
                checks.expect(right, "thresholds.critical", thresholds.critical, expected);
            }
        }
    }
    if let Some(thresholds) = &monitor.thresholds {
        order(&mut checks, thresholds);
    }
    for (at, condition) in monitor.conditions.iter().enumerate() {
        self::condition(&mut checks, monitor, step, &format!("conditions[{at}]"), condition);
    }
    if let Some(merge) = &monitor.merge {
        self::merge(&mut checks, merge);
    }
    lists(&mut checks, monitor);
    outward(&mut checks, monitor);
    checks.0
}

/// What is refused of a document that is written, and is not held against one that was kept before: that it contradicts
/// itself, so that no series could ever open or one of two fields would mean nothing, or names what no channel can be called.
pub(crate) fn check_written(monitor: &Monitor) -> Vec<FieldError> {
    let mut checks = Checks::default();
    for (at, name) in monitor.channels.iter().enumerate() {
        checks.0.extend(channel::check_name(&format!("channels[{at}]"), name).err());
    }
    if let (MonitorKind::Threshold, Some(thresholds)) = (monitor.kind, &monitor.thresholds) {
        let comparator = thresholds.comparator.as_str();
        let (word, other, wrong) = match thresholds.comparator.is_upwards() {
            true => ("up", "down", Side::Down),
            false => ("down", "up", Side::Up),
        };
        for (at, condition) in monitor.conditions.iter().enumerate() {
            let Condition::Direction { side } = condition else { continue };
            let expected = format!(
                "{word} or both: what breaches with thresholds.comparator {comparator} does so to that side"
            );
            checks.expect(*side != wrong, format!("conditions[{at}].side"), other, &expected);
        }
    }
    let (timeout, after) = (timeout_of(monitor, step_of(monitor)), missing_after(monitor));
    let acts = acts_on_absence(monitor);
    let expected = format!(
        "longer than missing_data.after, {after}, after which a series is missing: else what opens or is resolved for that \
         is closed by the timeout before"
    );
    checks.expect(!acts || timeout > after, "timeout", timeout, &expected);
    if let Some(detector) = &monitor.detector
        && let (Some(points), Some(window)) = (detector.recovery_points, detector.recovery_window)
    {
        let expected =
            format!("none beside detector.recovery_window, {window}: one of them says when it is over");
        checks.expect(false, "detector.recovery_points", points, &expected);
    }
    if let (Some(detector), Some(thresholds)) = (&monitor.detector, &monitor.thresholds)
        && let (None, Some(recovery)) = (detector.recovery_window, thresholds.critical_recovery)
    {
        let expected =
            "none without detector.recovery_window: detector.recovery_points say when an alert is over";
        checks.expect(false, "thresholds.critical_recovery", recovery, expected);
    }
    checks.0
}

fn times(checks: &mut Checks, monitor: &Monitor, step: Period) {
    checks.between("window", monitor.window, Period::seconds(10), Period::days(30));
    checks.between("step", step, Period::seconds(1), monitor.window.max(Period::seconds(1)));
    let steps = monitor.window.milliseconds() / step.milliseconds().max(1);
    let whole = step.milliseconds() > 0
        && monitor.window.milliseconds() % step.milliseconds() == 0
        && steps <= limits::WINDOW_STEPS;
    let expected = format!("a part of the window, at most {} of them", limits::WINDOW_STEPS);
    checks.expect(whole, "step", step, &expected);
    checks.between("delay", monitor.delay, Period::default(), Period::days(1));
    if let Some(every) = monitor.every {
        checks.between("every", every, limits::CADENCE, Period::days(1));
    }
    if let Some(after) = monitor.missing_data.after {
        checks.between("missing_data.after", after, monitor.window, Period::days(30));
    }
    checks.between("new_group_delay", monitor.new_group_delay, Period::default(), Period::days(1));
    if let Some(timeout) = monitor.timeout {
        checks.between("timeout", timeout, monitor.window, Period::days(30));
    }
    if let Some(renotify) = &monitor.renotify {
        checks.between("renotify.every", renotify.every, Period::minutes(1), Period::days(30));
        let expected = "at least 1; without it there is no end, and without renotify it is not told again";
        checks.expect(renotify.times != Some(0), "renotify.times", 0, expected);
        let message = renotify.message.as_deref().unwrap_or_default();
        let expected = format!("at most {} characters", limits::MESSAGE);
        checks.expect(message.chars().count() <= limits::MESSAGE, "renotify.message", message, &expected);
    }
}

/// What it is told with.
fn merge(checks: &mut Checks, merge: &Merge) {
    checks.between("merge.within", merge.within, Period::minutes(1), Period::days(1));
    let count = merge.by.len();
    let expected = format!("at most {}", limits::MERGE_BY);
    checks.expect(count <= limits::MERGE_BY, "merge.by", count, &expected);
    for (at, name) in merge.by.iter().enumerate() {
        let first = !merge.by[..at].contains(name);
        checks.expect(first, format!("merge.by[{at}]"), name, "each name once");
    }
}

/// Thresholds that lie to each other as they must.
fn order(checks: &mut Checks, thresholds: &Thresholds) {
    let upwards = thresholds.comparator.is_upwards();
    let worse = |a: f64, b: f64| if upwards { a >= b } else { a <= b };
    let side = if upwards { "at most" } else { "at least" };
    let given = [
        ("critical", Some(thresholds.critical)),
        ("warning", thresholds.warning),
        ("critical_recovery", thresholds.critical_recovery),
        ("warning_recovery", thresholds.warning_recovery),
    ];
    for (field, value) in given {
        let value = value.unwrap_or_default();
        checks.expect(value.is_finite(), format!("thresholds.{field}"), value, "a finite number");
    }
    for (field, value, than, bound) in [
        ("warning", thresholds.warning, "critical", Some(thresholds.critical)),
        ("critical_recovery", thresholds.critical_recovery, "critical", Some(thresholds.critical)),
        ("warning_recovery", thresholds.warning_recovery, "warning", thresholds.warning),
    ] {
        let Some(value) = value else { continue };
        let field = format!("thresholds.{field}");
        match bound {
            Some(bound) => {
                checks.expect(worse(bound, value), field, value, &format!("{side} {than}, {bound}"));
            }
            None => checks.expect(false, field, value, &format!("none: there is no {than} threshold")),
        }
    }
}

fn condition(checks: &mut Checks, monitor: &Monitor, step: Period, field: &str, condition: &Condition) {
    let finite = |value: &Option<f64>| value.is_none_or(|value| value.is_finite() && value >= 0.0);
    let named = |name: &str| format!("{field}.{name}");
    if monitor.kind == MonitorKind::NoData {
        let right = matches!(condition, Condition::Duration { .. } | Condition::Participating { .. });
        let kind = serde_json::to_value(condition).unwrap_or_default();
        let kind = kind["type"].as_str().unwrap_or_default();
        let expected = "duration or participating: a no-data monitor has no value";
        checks.expect(right, named("type"), kind, expected);
    }
    match condition {
        Condition::Duration { at_least } => {
            checks.between(&named("at_least"), *at_least, Period::seconds(1), Period::days(30));
        }
        Condition::Direction { .. } => {}
        Condition::Significance { at_least } => {
            let right = (0.0..=1.0).contains(at_least);
            checks.expect(right, named("at_least"), at_least, "a number from 0 to 1");
            let anomaly = monitor.kind == MonitorKind::Anomaly;
            checks.expect(
                anomaly,
                named("type"),
                "significance",
                "an anomaly monitor: only a detector scores",
            );
        }
        Condition::Delta { absolute, percentage, automatic } => {
            let right = absolute.is_some() || percentage.is_some() || *automatic;
            checks.expect(right, field, "", "one of absolute, percentage and automatic");
            for (name, value) in [("absolute", absolute), ("percentage", percentage)] {
                checks.expect(
                    finite(value),
                    named(name),
                    value.unwrap_or_default(),
                    "a number, not negative",
                );
            }
        }
        Condition::Volume { points, at_least, at_most, .. } => {
            let steps = monitor.window.milliseconds() / step.milliseconds().max(1);
            let right = (1..=steps).contains(&i64::from(*points));
            checks.expect(right, named("points"), points, &format!("1 to {steps}, the points of the window"));
            checks.expect(at_least.is_some() || at_most.is_some(), field, "", "at_least, at_most, or both");
        }
        Condition::Participating { at_least, at_most, percentage } => {
            checks.expect(at_least.is_some() || at_most.is_some(), field, "", "at_least, at_most, or both");
            for (name, value) in [("at_least", at_least), ("at_most", at_most)] {
                let percent = !percentage || value.is_none_or(|value| value <= 100.0);
                let expected = if *percentage { "percent from 0 to 100" } else { "a number, not negative" };
                checks.expect(finite(value) && percent, named(name), value.unwrap_or_default(), expected);
            }
        }
    }
}

fn lists(checks: &mut Checks, monitor: &Monitor) {
    for (field, count, most) in [
        ("channels", monitor.channels.len(), limits::MONITOR_CHANNELS),
        ("labels", monitor.labels.len(), limits::LABELS),
        ("conditions", monitor.conditions.len(), limits::CONDITIONS),
    ] {
        checks.expect(count <= most, field, count, &format!("at most {most}"));
    }
    for (at, channel) in monitor.channels.iter().enumerate() {
        let first = !monitor.channels[..at].contains(channel);
        checks.expect(first, format!("channels[{at}]"), channel, "each channel once");
    }
    for (key, value) in &monitor.labels {
        let fits = (1..=limits::NAME).contains(&key.len()) && value.len() <= limits::LABEL;
        let expected = format!("a name of 1 to {} bytes, a value of at most {}", limits::NAME, limits::LABEL);
        checks.expect(fits, format!("labels.{key}"), value, &expected);
    }
}

/// Actions and links.
fn outward(checks: &mut Checks, monitor: &Monitor) {
    let (mut names, most) = (Vec::new(), format!("at most {}", limits::ACTIONS));
    for (field, count) in [("actions", monitor.actions.len()), ("links", monitor.links.len())] {
        checks.expect(count <= limits::ACTIONS, field, count, &most);
    }
    let actions = monitor.actions.iter().map(|action| (&action.name, &action.label));
    let links = monitor.links.iter().map(|link| (&link.name, &link.label));
    let places = (0..monitor.actions.len()).map(|at| format!("actions[{at}]"));
    let places = places.chain((0..monitor.links.len()).map(|at| format!("links[{at}]")));
    for (place, (name, label)) in places.zip(actions.chain(links)) {
        let expected =
            "1 to 100 characters of a-z, 0-9 and -, not digits alone, which no other action or link has";
        checks.expect(is_name(name) && !names.contains(&name), format!("{place}.name"), name, expected);
        names.push(name);
        let label = label.as_deref().unwrap_or("a label");
        let fits = (1..=limits::NAME).contains(&label.len());
        checks.expect(fits, format!("{place}.label"), label, &format!("1 to {} bytes", limits::NAME));
    }
    for (at, action) in monitor.actions.iter().enumerate() {
        let place = format!("actions[{at}]");
        let one = action.playbook.is_some() != action.app.is_some();
        checks.expect(one, place.as_str(), &action.name, "either playbook or app");
        let target = action.playbook.as_ref().or(action.app.as_ref()).map_or("a target", String::as_str);
        let fits = (1..=limits::NAME).contains(&target.len());
        checks.expect(fits, place.as_str(), target, "the name of a playbook or an app");
        let by_link = !action.by_link || action.app.is_none();
        let expected = "false for an app, which acts for who calls it: name a playbook that calls it";
        checks.expect(by_link, format!("{place}.by_link"), action.by_link, expected);
    }
    for (at, link) in monitor.links.iter().enumerate() {
        let read = url::Url::parse(&link.url).ok().filter(|_| link.url.len() <= limits::URL);
        let right = read.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let expected = format!("a URL such as https://wiki.example/checkout, at most {} bytes", limits::URL);
        checks.expect(right, format!("links[{at}].url"), &link.url, &expected);
    }
}
