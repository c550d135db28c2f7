//! What a monitor says, read from JSON.

use std::collections::BTreeMap;

use bellwether_kernel::FieldError;
use bellwether_kernel::reading::{JsonError, from_json, pointer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::EventChoice;
use crate::error::Faults;
use crate::{Action, AlertError, MonitorKind, MonitorLink, Period, Severity, Thresholds};

/// A monitor's document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// 1 to 100 characters of `a-z0-9-`, not digits alone, unique in its organisation.
    pub name: String,
    /// The incident's title; the name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What those who are told should know, up to 2000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What it looks for.
    pub kind: MonitorKind,
    /// What it looks at, in Datadog's language; `by {…}` makes it look at each group by itself.
    pub query: String,
    /// How much time an evaluation looks at.
    #[serde(default = "window")]
    pub window: Period,
    /// How much time becomes one point; by default a minute, or what makes at most 300 points of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Period>,
    /// How the points of the window become the value that is compared.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reduce: Reduce,
    /// How long data may be on its way: the window ends so long before the evaluation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delay: Period,
    /// How often it is evaluated; by default each minute, each 10 minutes for a window of a day, each 30 of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Period>,
    /// Where alerts and warnings begin. For an anomaly monitor the value is the fraction of strange points in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// What must hold besides, all of it, before a series opens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What it does about series that stay away.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing_data: MissingData,
    /// Whether a series without a point in each step of the window is passed over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub require_full_window: bool,
    /// How long a group that was not seen for a day is passed over.
    #[serde(default = "new_group_delay")]
    pub new_group_delay: Period,
    /// After how long without data an open series is closed; by default longer the longer its steps, see the guide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Whether an incident that goes on is told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renotify: Option<Renotify>,
    /// What is told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub notify: Notify,
    /// Which of the query's groups make an incident each; by default all of them, so that each series has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_by: Option<Vec<String>>,
    /// With which incidents of other monitors, or of its own, one is told as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<Merge>,
    /// Which events belong to its incidents; by default those about the same, of the hour before and the time it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventChoice>,
    /// How much an alert matters.
    #[serde(default = "severity")]
    pub severity: Severity,
    /// How much a warning matters.
    #[serde(default = "warning_severity")]
    pub warning_severity: Severity,
    /// For those who look for it, and for mutes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Names of the channels that are told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
    /// What may be done about its incidents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// Pages elsewhere that help with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<MonitorLink>,
    /// Whether it is not evaluated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,
    /// What scores the points of an anomaly monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorChoice>,
}

/// How the points of a window become one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduce {
    /// Their mean.
    #[default]
    Average,
    /// Their sum.
    Sum,
    /// The smallest: "at all times above".
    Minimum,
    /// The largest: "at least once above".
    Maximum,
    /// The latest.
    Last,
}

/// Which side counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Above the band or threshold.
    Up,
    /// Below it.
    Down,
    /// Either.
    Both,
}

/// What must hold before a series opens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// It breaches without interruption, in the time of its data.
    Duration {
        /// For so long.
        at_least: Period,
    },
    /// It breaches to this side.
    Direction {
        /// Which.
        side: Side,
    },
    /// A point of the window is so strange.
    Significance {
        /// In [0, 1].
        at_least: f64,
    },
    /// It is so far beyond the band or threshold.
    Delta {
        /// In the metric's unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        absolute: Option<f64>,
        /// In percent of the band's edge or threshold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percentage: Option<f64>,
        /// A tenth of the 90th percentile of all series' averages over the window.
        #[serde(default, skip_serializing_if = "is_default")]
        automatic: bool,
    },
    /// The latest points amount to so much.
    Volume {
        /// How many points.
        points: u32,
        /// How they become one value.
        #[serde(default = "sum")]
        reduce: Reduce,
        /// At least so much.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<f64>,
        /// At most so much.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<f64>,
    },
    /// So many of the series breach together.
    Participating {
        /// At least so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<f64>,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<f64>,
        /// Whether these are percent of the series there are.
        #[serde(default, skip_serializing_if = "is_default")]
        percentage: bool,
    },
}

/// What a monitor does about series that stay away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingData {
    /// What.
    #[serde(default)]
    pub policy: MissingPolicy,
    /// After how long; by default two windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Period>,
}

/// What becomes of a series that stays away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingPolicy {
    /// A count is 0; all else stays as it was.
    #[default]
    Default,
    /// It is shown as missing; nobody is told.
    ShowNoData,
    /// It is shown as missing, and that is an incident.
    ShowAndNotifyNoData,
    /// It is well.
    Resolve,
}

/// Telling again of an incident that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renotify {
    /// So long after it was last told.
    pub every: Period,
    /// While it is one of these.
    #[serde(default = "renotified")]
    pub statuses: Vec<RenotifyStatus>,
    /// At most so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What it says then instead of the monitor's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What incidents share that are told as one. Their monitors say the same, and the same channels are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// Names of tags it notifies by, or of its labels: the values are the same.
    pub by: Vec<String>,
    /// One opens so long after the first of them, at most.
    #[serde(default = "within")]
    pub within: Period,
}

/// In which state an incident is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RenotifyStatus {
    /// A series is at alert.
    Alert,
    /// The worst series is at warning.
    Warning,
    /// The worst series is missing.
    NoData,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// That an incident opened, and that it became worse.
    #[serde(default = "yes")]
    pub open: bool,
    /// That series joined or left it, or turned.
    #[serde(default)]
    pub update: bool,
    /// That it closed.
    #[serde(default = "yes")]
    pub close: bool,
}

impl Default for Notify {
    fn default() -> Self {
        Self { open: true, update: false, close: true }
    }
}

/// What scores the points of an anomaly monitor, and when a point is strange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorChoice {
    /// The plugin.
    pub name: String,
    /// What it is set to.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Json>,
    /// Of a detector that looks at several series together: which of the query's groups those it is shown together
    /// share; by default it is shown all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers_by: Vec<String>,
    /// A point with this score is strange, or a higher one; by default 0.5, where the bundled detectors' bands end.
    #[serde(default = "score")]
    pub score: f64,
    /// So many points in a row that are not strange end an alert whose window does not breach any more; by default 3, where
    /// there is no `recovery_window`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_points: Option<u32>,
    /// An alert whose window does not breach any more ends when the fraction of strange points in so much time is at most
    /// `thresholds.critical_recovery`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_window: Option<Period>,
}

fn window() -> Period {
    Period::minutes(5)
}

fn new_group_delay() -> Period {
    Period::minutes(1)
}

fn severity() -> Severity {
    Severity::High
}

fn warning_severity() -> Severity {
    Severity::Medium
}

fn within() -> Period {
    Period::minutes(15)
}

fn sum() -> Reduce {
    Reduce::Sum
}

fn renotified() -> Vec<RenotifyStatus> {
    vec![RenotifyStatus::Alert, RenotifyStatus::NoData]
}

fn yes() -> bool {
    true
}

fn score() -> f64 {
    0.5
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Monitor {
    /// Reads a document; what it means is checked by `Compiled`.
    ///
    /// # Errors
    /// [`AlertError::Document`] names every field that does not read; of each the first thing in it.
    pub fn read(document: &Json) -> Result<Self, AlertError> {
        Self::deserialize(document).map_err(|_| Faults(unread(document)).into())
    }
}

/// A fault of a whole condition, as one of what is in it: a condition is read at once, and its reader names no field.
fn in_condition(document: &Json, fault: FieldError) -> FieldError {
    let is_condition = fault.field.starts_with("conditions[") && fault.field.ends_with(']');
    let Some(Json::Object(fields)) = document.pointer(&pointer(&fault.field)).filter(|_| is_condition) else {
        return fault;
    };
    let said = |fields: &Map<String, Json>| {
        Condition::deserialize(Json::Object(fields.clone())).err().map(|error| error.to_string())
    };
    let whole = said(fields);
    let wrong = fields.iter().find(|(name, _)| {
        let mut rest = fields.clone();
        rest.remove(*name);
        *name != "type" && said(&rest) != whole
    });
    let Some((name, value)) = wrong else { return fault };
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    FieldError::new(format!("{}.{name}", fault.field), value, fault.expected)
}

/// The fields of a document that do not read. Each is put aside, so that the next is found.
fn unread(document: &Json) -> Vec<FieldError> {
    let (mut rest, mut faults) = (document.clone(), Vec::new());
    while let Err(error) = from_json::<Monitor>("the document", rest.to_string().as_bytes()) {
        let JsonError::Field { field: fault, .. } = error else {
            faults.push(FieldError::new("the document", "", error.to_string()));
            break;
        };
        let name = fault.field.split(['.', '[']).next().unwrap_or_default().to_owned();
        faults.push(in_condition(&rest, fault));
        let Some(fields) = rest.as_object_mut() else { break };
        // What must be there has something in its place.
        let in_place = match name.as_str() {
            "name" | "query" => Some(Json::from("")),
            "kind" => serde_json::to_value(MonitorKind::Threshold).ok(),
            _ => None,
        };
        let is_aside = match in_place {
            Some(value) => fields.insert(name, value.clone()) != Some(value),
            None => fields.remove(&name).is_some(),
        };
        if !is_aside {
            break;
        }
    }
    faults
}
