//! What starts a playbook, as its document says it: one table whose `type` decides which other fields it takes.

use std::collections::BTreeMap;

use bellwether_alerts::Severity;
use serde::{Deserialize, Serialize};

use crate::signature::SignatureScheme;
use crate::{Input, Period, ValueType};

/// What starts a playbook, and what happens when a run it started fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Trigger {
    /// What starts it.
    pub on: TriggerOn,
    /// What happens when a run fails or runs out of time.
    pub on_error: OnError,
}

/// What starts a playbook.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerOn {
    /// A request to the playbook's own URL.
    Webhook {
        /// How a request proves who sent it, besides knowing the URL.
        signature: Option<SignatureCheck>,
        /// The header that names a delivery, before the usual ones.
        delivery_id: Option<String>,
    },
    /// The calendar.
    Cron {
        /// Five fields, minute to day of the week; or six or seven with seconds first and the year last.
        expression: String,
        /// An IANA name such as `Europe/Berlin`; UTC if there is none.
        time_zone: String,
        /// What happens to a time that passed while no host was up.
        missed: Missed,
    },
    /// The same interval again and again, counted from the epoch.
    Every {
        /// One second or more.
        interval: Period,
        /// What happens to a time that passed while no host was up.
        missed: Missed,
    },
    /// A write to a metric. Every condition that is given must hold.
    Metric {
        /// Which metrics: a name, in which `*` stands for any characters.
        metric: String,
        /// Which of their keys, likewise; any if there is none.
        key: Option<String>,
        /// An expression over `value`, `before`, `metric`, `key` and `interval_start`.
        when: Option<String>,
        /// The interval's value was at or below this, or there was none, and is above it now.
        rises_above: Option<f64>,
        /// The interval's value was at or above this, and is below it now.
        falls_below: Option<f64>,
    },
    /// Something an incident did. Every condition that is given must hold.
    Alert {
        /// Which of the things an incident does.
        moves: Vec<AlertMove>,
        /// Of which monitors: a name, in which `*` stands for any characters; any if there is none.
        monitor: Option<String>,
        /// Labels its monitor has, each with a value, in which `*` stands for any characters.
        labels: BTreeMap<String, String>,
        /// Tags all its series share, likewise.
        tags: BTreeMap<String, String>,
        /// So severe, or worse.
        severity: Option<Severity>,
        /// An expression over what `trigger` holds.
        when: Option<String>,
    },
    /// A call of the API or the command line.
    Manual {
        /// What it is given; anything at all if nothing is declared.
        inputs: BTreeMap<String, DeclaredInput>,
    },
    /// A step of another playbook.
    Playbook {
        /// What it is given.
        inputs: BTreeMap<String, DeclaredInput>,
    },
}

/// The kinds of trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TriggerKind {
    /// A request to the playbook's own URL.
    Webhook,
    /// The calendar.
    Cron,
    /// The same interval again and again.
    Every,
    /// A write to a metric.
    Metric,
    /// A call of the API or the command line.
    Manual,
    /// A step of another playbook.
    Playbook,
    /// Something an incident did.
    Alert,
}

/// What an incident does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertMove {
    /// It opens.
    Open,
    /// Series join or leave it, or become better or worse.
    Update,
    /// It closes.
    Close,
}

/// How a webhook's request proves who sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureCheck {
    /// How it is signed.
    pub scheme: SignatureScheme,
    /// The name of the organisation's secret it is signed with.
    pub secret: String,
}

/// What happens to times that passed while no host was up, or the host was more than a minute late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// One run for all of them, at once, with the first of them as its `trigger.scheduled`.
    #[default]
    RunOnce,
    /// No run: the next is at the next time to come.
    Skip,
}

/// What happens when a run fails or runs out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnError {
    /// Which.
    pub action: ErrorAction,
    /// For [`ErrorAction::Retry`]: how many more runs one firing may have; 3 by default. For [`ErrorAction::Disable`]:
    /// after how many failed runs in a row; 1 by default.
    pub times: u32,
    /// For [`ErrorAction::Retry`]: how long after the end of the failed run.
    pub delay: Period,
}

/// What happens when a run fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorAction {
    /// Nothing more than that it is recorded.
    #[default]
    Log,
    /// The same firing starts another run, from the beginning.
    Retry,
    /// After so many failed runs in a row nothing starts the playbook until it is enabled or published again.
    Disable,
}

impl Default for OnError {
    fn default() -> Self {
        Self { action: ErrorAction::Log, times: 1, delay: RETRY_DELAY }
    }
}

/// One input of a playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredInput {
    /// Its type.
    #[serde(rename = "type", default = "any_json")]
    pub value_type: ValueType,
    /// Whether a start without it is refused.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: bool,
    /// What its absence stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// The only texts allowed; empty means any.
    #[serde(default, skip_serializing_if = "is_default")]
    pub choices: Vec<String>,
    /// Never shown in runs, logs or errors.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret: bool,
    /// For whoever fills it in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub help: String,
}

fn any_json() -> ValueType {
    ValueType::Json
}

/// Whether a field says no more than its absence would.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl DeclaredInput {
    /// As an app would declare it.
    pub(crate) fn to_input(&self, name: &str) -> Input {
        Input {
            name: name.to_owned(),
            value_type: self.value_type,
            required: self.required,
            default: self.default.clone(),
            choices: self.choices.clone(),
            secret: self.secret,
            help: self.help.clone(),
        }
    }
}

const RETRY_DELAY: Period = Period::seconds(60);
const RETRIES: u32 = 3;

impl Trigger {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> TriggerKind {
        match &self.on {
            TriggerOn::Webhook { .. } => TriggerKind::Webhook,
            TriggerOn::Cron { .. } => TriggerKind::Cron,
            TriggerOn::Every { .. } => TriggerKind::Every,
            TriggerOn::Metric { .. } => TriggerKind::Metric,
            TriggerOn::Alert { .. } => TriggerKind::Alert,
            TriggerOn::Manual { .. } => TriggerKind::Manual,
            TriggerOn::Playbook { .. } => TriggerKind::Playbook,
        }
    }

    /// What is declared of what it is started with.
    #[must_use]
    pub fn inputs(&self) -> Option<&BTreeMap<String, DeclaredInput>> {
        match &self.on {
            TriggerOn::Manual { inputs } | TriggerOn::Playbook { inputs } => Some(inputs),
            _ => None,
        }
    }
}

impl TriggerKind {
    /// The word for it in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Cron => "cron",
            Self::Every => "every",
            Self::Metric => "metric",
            Self::Alert => "alert",
            Self::Manual => "manual",
            Self::Playbook => "playbook",
        }
    }

    /// Whether somebody may also start by hand what has such a trigger, see [`Playbooks::start`](crate::Playbooks::start).
    #[must_use]
    pub fn is_by_hand(self) -> bool {
        matches!(self, Self::Manual | Self::Playbook | Self::Cron | Self::Every)
    }
}

impl AlertMove {
    /// The word for it in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Update => "update",
            Self::Close => "close",
        }
    }
}

/// A trigger's table with every field any kind has. A tagged enum would do the same, but could not refuse fields of
/// another kind and share those of every kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "type")]
    kind: TriggerKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<SignatureCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interval: Option<Period>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missed: Option<Missed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rises_above: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    falls_below: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moves: Option<Vec<AlertMove>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    severity: Option<Severity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inputs: Option<BTreeMap<String, DeclaredInput>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_error: Option<ErrorAction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_error_times: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_error_delay: Option<Period>,
}

impl Written {
    /// The fields that only some kinds have, and whether each is given.
    fn given(&self) -> [(&'static str, bool); 16] {
        [
            ("signature", self.signature.is_some()),
            ("delivery_id", self.delivery_id.is_some()),
            ("expression", self.expression.is_some()),
            ("time_zone", self.time_zone.is_some()),
            ("interval", self.interval.is_some()),
            ("missed", self.missed.is_some()),
            ("metric", self.metric.is_some()),
            ("key", self.key.is_some()),
            ("when", self.when.is_some()),
            ("rises_above", self.rises_above.is_some()),
            ("falls_below", self.falls_below.is_some()),
            ("moves", self.moves.is_some()),
            ("monitor", self.monitor.is_some()),
            ("labels", self.labels.is_some()),
            ("tags", self.tags.is_some()),
            ("severity", self.severity.is_some()),
        ]
    }

    fn empty(kind: TriggerKind) -> Self {
        Self {
            kind,
            signature: None,
            delivery_id: None,
            expression: None,
            time_zone: None,
            interval: None,
            missed: None,
            metric: None,
            key: None,
            when: None,
            rises_above: None,
            falls_below: None,
            moves: None,
            monitor: None,
            labels: None,
            tags: None,
            severity: None,
            inputs: None,
            on_error: None,
            on_error_times: None,
            on_error_delay: None,
        }
    }
}

impl TryFrom<Written> for Trigger {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let kind = written.kind;
        let takes: &[&str] = match kind {
            TriggerKind::Webhook => &["signature", "delivery_id"],
            TriggerKind::Cron => &["expression", "time_zone", "missed"],
            TriggerKind::Every => &["interval", "missed"],
            TriggerKind::Metric => &["metric", "key", "when", "rises_above", "falls_below"],
            TriggerKind::Alert => &["moves", "monitor", "labels", "tags", "severity", "when"],
            TriggerKind::Manual | TriggerKind::Playbook => &["inputs"],
        };
        let refuse = |name: &str| {
            let takes = if takes.is_empty() { "none of its own".into() } else { takes.join(", ") };
            Err(format!("a trigger of type {} has no field `{name}`, expected {takes}", kind.as_str()))
        };
        if let Some((name, _)) = written.given().iter().find(|(name, given)| *given && !takes.contains(name))
        {
            return refuse(name);
        }
        if written.inputs.is_some() && !takes.contains(&"inputs") {
            return refuse("inputs");
        }
        let missing =
            |name: &str| format!("missing field `{name}`, which a trigger of type {} has", kind.as_str());
        let missed = written.missed.unwrap_or_default();
        let on = match kind {
            TriggerKind::Webhook => {
                TriggerOn::Webhook { signature: written.signature, delivery_id: written.delivery_id }
            }
            TriggerKind::Cron => TriggerOn::Cron {
                expression: written.expression.ok_or_else(|| missing("expression"))?,
                time_zone: written.time_zone.unwrap_or_else(|| "UTC".into()),
                missed,
            },
            TriggerKind::Every => {
                TriggerOn::Every { interval: written.interval.ok_or_else(|| missing("interval"))?, missed }
            }
            TriggerKind::Metric => TriggerOn::Metric {
                metric: written.metric.ok_or_else(|| missing("metric"))?,
                key: written.key,
                when: written.when,
                rises_above: written.rises_above,
                falls_below: written.falls_below,
            },
            TriggerKind::Alert => TriggerOn::Alert {
                moves: written.moves.unwrap_or_else(|| vec![AlertMove::Open]),
                monitor: written.monitor,
                labels: written.labels.unwrap_or_default(),
                tags: written.tags.unwrap_or_default(),
                severity: written.severity,
                when: written.when,
            },
            TriggerKind::Manual => TriggerOn::Manual { inputs: written.inputs.unwrap_or_default() },
            TriggerKind::Playbook => TriggerOn::Playbook { inputs: written.inputs.unwrap_or_default() },
        };
        let action = written.on_error.unwrap_or_default();
        if action == ErrorAction::Log
            && (written.on_error_times.is_some() || written.on_error_delay.is_some())
        {
            return Err(
                "`on_error_times` and `on_error_delay` go with `on_error = \"retry\"` or \"disable\"".into(),
            );
        }
        let times = written.on_error_times.unwrap_or(if action == ErrorAction::Retry { RETRIES } else { 1 });
        let delay = written.on_error_delay.unwrap_or(RETRY_DELAY);
        Ok(Self { on, on_error: OnError { action, times, delay } })
    }
}

impl From<Trigger> for Written {
    fn from(trigger: Trigger) -> Self {
        let mut written = Self::empty(trigger.kind());
        let some_missed = |missed: Missed| (missed != Missed::default()).then_some(missed);
        let declared = |inputs: BTreeMap<_, _>| (!inputs.is_empty()).then_some(inputs);
        match trigger.on {
            TriggerOn::Webhook { signature, delivery_id } => {
                (written.signature, written.delivery_id) = (signature, delivery_id);
            }
            TriggerOn::Cron { expression, time_zone, missed } => {
                (written.expression, written.time_zone) = (Some(expression), Some(time_zone));
                written.missed = some_missed(missed);
            }
            TriggerOn::Every { interval, missed } => {
                (written.interval, written.missed) = (Some(interval), some_missed(missed));
            }
            TriggerOn::Metric { metric, key, when, rises_above, falls_below } => {
                (written.metric, written.key, written.when) = (Some(metric), key, when);
                (written.rises_above, written.falls_below) = (rises_above, falls_below);
            }
            TriggerOn::Alert { moves, monitor, labels, tags, severity, when } => {
                let some = |patterns: BTreeMap<_, _>| (!patterns.is_empty()).then_some(patterns);
                (written.moves, written.monitor) = (Some(moves), monitor);
                (written.labels, written.tags) = (some(labels), some(tags));
                (written.severity, written.when) = (severity, when);
            }
            TriggerOn::Manual { inputs } | TriggerOn::Playbook { inputs } => {
                written.inputs = declared(inputs);
            }
        }
        let OnError { action, times, delay } = trigger.on_error;
        if action != ErrorAction::Log {
            written.on_error = Some(action);
            written.on_error_times = Some(times);
            written.on_error_delay = (action == ErrorAction::Retry).then_some(delay);
        }
        written
    }
}
