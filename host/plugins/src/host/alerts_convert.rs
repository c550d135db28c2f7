//! Alerts' words in the contract's types and back, for both alert interfaces.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_access::{Principal, Role};
use bellwether_alerts::{
    AlertError, Alerts, Faults, IncidentId, Level, Scope, Severity, StoredIncident, StoredMonitor,
};
use bellwether_kernel::{ErrorKind, FieldError, OrganisationId, PageRequest, Timestamp};
use bellwether_metrics::NamePattern;

use super::convert::{self, covers, field_error, store_refused, time};
use super::{Call, contract};
use crate::limits;
use contract::alerts_types as wit;

impl wit::Host for Call {}

impl Call {
    /// The alerts, and on whose behalf they are called, if that caller may do what needs `role`.
    pub(super) async fn alerts(
        &mut self,
        role: Role,
    ) -> Result<(Arc<Alerts>, Arc<Principal>), wit::AlertError> {
        self.reach(role).await.map_err(wit::AlertError::Forbidden)?;
        let principal = self.principal.clone().expect("a caller with a role is somebody");
        let alerts = self.scope.shared.alerts.get().and_then(std::sync::Weak::upgrade);
        let missing = || wit::AlertError::Unavailable("this host has no alerts now".to_owned());
        Ok((alerts.ok_or_else(missing)?, principal))
    }
}

/// The monitor of that name or id, if a pattern lets the plugin see it. A name tells by itself; an id that is not granted is
/// told apart from none no more than that.
pub(super) async fn granted_monitor(
    alerts: &Alerts,
    organisation: OrganisationId,
    patterns: &[NamePattern],
    name_or_id: &str,
) -> Result<StoredMonitor, wit::AlertError> {
    let is_name = name_or_id.bytes().any(|byte| !byte.is_ascii_digit());
    if is_name && !covers(patterns, name_or_id) {
        return Err(not_granted(name_or_id));
    }
    let found = alerts.monitor(organisation, name_or_id).await.map_err(alert_error)?;
    if covers(patterns, &found.document.name) {
        return Ok(found);
    }
    Err(wit::AlertError::Unknown(format!("there is no monitor {name_or_id:?}")))
}

/// The incident of that id, if its monitor is granted; else it is told apart from none no more than that.
pub(super) async fn granted_incident(
    alerts: &Alerts,
    organisation: OrganisationId,
    patterns: &[NamePattern],
    id: &str,
) -> Result<StoredIncident, wit::AlertError> {
    let unknown = || wit::AlertError::Unknown(format!("there is no incident {id:?}"));
    let read: IncidentId = id.parse().map_err(|_| unknown())?;
    let found = alerts.incident(organisation, read).await.map_err(alert_error)?;
    if covers(patterns, &found.monitor_name) { Ok(found) } else { Err(unknown()) }
}

pub(super) fn not_granted(monitor: &str) -> wit::AlertError {
    wit::AlertError::Forbidden(format!("the plugin's grant does not cover the monitor {monitor:?}"))
}

pub(super) fn invalid(error: FieldError) -> wit::AlertError {
    wit::AlertError::Invalid(vec![field_error(error)])
}

pub(super) fn alert_error(error: AlertError) -> wit::AlertError {
    let (text, kind) = (error.to_string(), error.kind());
    match error {
        AlertError::NotFound { .. } => wit::AlertError::Unknown(text),
        AlertError::Invalid(field) => invalid(field),
        AlertError::Document(Faults(faults)) => {
            wit::AlertError::Invalid(faults.into_iter().map(field_error).collect())
        }
        AlertError::Exists { .. } | AlertError::Conflict(_) => wit::AlertError::Conflict(text),
        AlertError::Limit { .. } => wit::AlertError::Limit(text),
        AlertError::Store(error) => wit::AlertError::Unavailable(store_refused(&error)),
        _ if kind == ErrorKind::Deadline => wit::AlertError::Unavailable(text),
        _ => wit::AlertError::Other(text),
    }
}

/// A page of a list.
pub(super) fn page(cursor: Option<&str>, limit: u32) -> Result<PageRequest, wit::AlertError> {
    let limit = convert::limit(limit, limits::PAGE).map_err(invalid)?;
    let cursor = cursor.map(convert::cursor).transpose().map_err(invalid)?;
    Ok(PageRequest { cursor, ..PageRequest::first(limit) })
}

/// An instant of the contract; `field` names the argument it came in.
pub(super) fn instant(milliseconds: i64, field: &str) -> Result<Timestamp, wit::AlertError> {
    time(milliseconds, || field.to_owned()).map_err(invalid)
}

pub(super) fn severity(severity: Severity) -> wit::Severity {
    match severity {
        Severity::Info => wit::Severity::Info,
        Severity::Low => wit::Severity::Low,
        Severity::Medium => wit::Severity::Medium,
        Severity::High => wit::Severity::High,
        Severity::Critical => wit::Severity::Critical,
    }
}

pub(super) fn least_severity(severity: wit::Severity) -> Severity {
    match severity {
        wit::Severity::Info => Severity::Info,
        wit::Severity::Low => Severity::Low,
        wit::Severity::Medium => Severity::Medium,
        wit::Severity::High => Severity::High,
        wit::Severity::Critical => Severity::Critical,
    }
}

pub(super) fn level(level: Level) -> wit::Level {
    match level {
        Level::Ok => wit::Level::Ok,
        Level::Warning => wit::Level::Warning,
        Level::NoData => wit::Level::NoData,
        Level::Alert => wit::Level::Alert,
    }
}

pub(super) fn labels(pairs: impl IntoIterator<Item = (String, String)>) -> Vec<wit::Label> {
    pairs.into_iter().map(|(name, value)| wit::Label { name, value }).collect()
}

fn map(labels: Vec<wit::Label>) -> BTreeMap<String, String> {
    labels.into_iter().map(|label| (label.name, label.value)).collect()
}

pub(super) fn monitor(stored: &StoredMonitor) -> wit::Monitor {
    wit::Monitor {
        id: stored.id.0,
        name: stored.document.name.clone(),
        version: stored.version,
        document: serde_json::to_string(&stored.document).expect("a document is plain data"),
        paused: stored.document.paused,
        created: stored.created.as_milliseconds(),
        updated: stored.updated.as_milliseconds(),
        updated_by: stored.updated_by.clone(),
        next_due: stored.next_due.map(Timestamp::as_milliseconds),
        evaluated: stored.evaluated.map(Timestamp::as_milliseconds),
        problem: stored.problem.clone(),
    }
}

pub(super) fn incident(stored: StoredIncident) -> wit::Incident {
    wit::Incident {
        id: stored.id.to_string(),
        monitor: stored.monitor.0,
        monitor_name: stored.monitor_name,
        title: stored.title,
        message: stored.message,
        severity: severity(stored.severity),
        level: level(stored.level),
        tags: labels(stored.tags),
        labels: labels(stored.labels),
        started: stored.started.as_milliseconds(),
        opened: stored.opened.as_milliseconds(),
        updated: stored.updated.as_milliseconds(),
        closed: stored.closed.map(Timestamp::as_milliseconds),
        close_reason: stored.close_reason,
        channels: stored.channels,
        told: stored.told.map(Timestamp::as_milliseconds),
        acknowledged_by: stored.acknowledgement.map(|known| known.by),
        assignee: stored.assignee,
        open_series: stored.open_series,
    }
}

pub(super) fn mute(mute: bellwether_alerts::Mute) -> wit::Mute {
    let Scope { monitors, labels: of_monitor, tags } = mute.scope;
    wit::Mute {
        id: mute.id.0,
        scope: wit::MuteScope { monitors, labels: labels(of_monitor), tags: labels(tags) },
        start: mute.start.as_milliseconds(),
        end: mute.end.map(Timestamp::as_milliseconds),
        reason: mute.reason,
        created_by: mute.created_by,
    }
}

pub(super) fn scope(scope: wit::MuteScope) -> Scope {
    Scope { monitors: scope.monitors, labels: map(scope.labels), tags: map(scope.tags) }
}

/// Whether patterns cover everything a mute is about: each monitor it names, or all there are.
pub(super) fn covers_mute(patterns: &[NamePattern], scope: &Scope) -> bool {
    match scope.monitors.is_empty() {
        true => patterns.iter().any(NamePattern::is_any),
        false => scope.monitors.iter().all(|monitor| covers(patterns, monitor)),
    }
}
