//! Between the words of this module and the bindings'.

use super::{
    AlertError, Breach, Incident, IncidentFilter, IncidentPage, Label, Monitor, Mute, MuteScope, NewMute,
    SeriesPage, SeriesStatus, Stored,
};
use crate::Timestamp;
use crate::bindings::imports::bellwether::host::{alerts_read, alerts_types, alerts_write};

impl From<alerts_types::AlertError> for AlertError {
    fn from(error: alerts_types::AlertError) -> Self {
        use alerts_types::AlertError as Raw;
        match error {
            Raw::Unknown(message) => Self::Unknown(message),
            Raw::Invalid(errors) => Self::Invalid(errors),
            Raw::Conflict(message) => Self::Conflict(message),
            Raw::Forbidden(message) => Self::Forbidden(message),
            Raw::Limit(message) => Self::Limit(message),
            Raw::Unavailable(message) => Self::Unavailable(message),
            Raw::Other(message) => Self::Other(message),
        }
    }
}

fn at(time: i64) -> Timestamp {
    Timestamp::from_milliseconds(time)
}

fn pairs(labels: Vec<alerts_types::Label>) -> Vec<Label> {
    labels.into_iter().map(|label| (label.name, label.value)).collect()
}

fn labels(pairs: &[Label]) -> Vec<alerts_types::Label> {
    let label = |(name, value): &Label| alerts_types::Label { name: name.clone(), value: value.clone() };
    pairs.iter().map(label).collect()
}

impl From<alerts_types::Monitor> for Monitor {
    fn from(raw: alerts_types::Monitor) -> Self {
        Self {
            id: raw.id,
            name: raw.name,
            version: raw.version,
            document: raw.document,
            paused: raw.paused,
            created: at(raw.created),
            updated: at(raw.updated),
            updated_by: raw.updated_by,
            next_due: raw.next_due.map(at),
            evaluated: raw.evaluated.map(at),
            problem: raw.problem,
        }
    }
}

impl From<alerts_write::Stored> for Stored {
    fn from(raw: alerts_write::Stored) -> Self {
        Self { monitor: raw.monitor.into(), created: raw.created }
    }
}

impl From<alerts_types::Incident> for Incident {
    fn from(raw: alerts_types::Incident) -> Self {
        Self {
            id: raw.id,
            monitor: raw.monitor,
            monitor_name: raw.monitor_name,
            title: raw.title,
            message: raw.message,
            severity: raw.severity,
            level: raw.level,
            tags: pairs(raw.tags),
            labels: pairs(raw.labels),
            started: at(raw.started),
            opened: at(raw.opened),
            updated: at(raw.updated),
            closed: raw.closed.map(at),
            close_reason: raw.close_reason,
            channels: raw.channels,
            told: raw.told.map(at),
            acknowledged_by: raw.acknowledged_by,
            assignee: raw.assignee,
            open_series: raw.open_series,
        }
    }
}

impl From<&IncidentFilter> for alerts_read::IncidentFilter {
    fn from(filter: &IncidentFilter) -> Self {
        Self {
            open: filter.open,
            monitor: filter.monitor.clone(),
            severity: filter.severity,
            labels: labels(&filter.labels),
            acknowledged: filter.acknowledged,
            assignee: filter.assignee.clone(),
            since: filter.since.map(Timestamp::milliseconds),
            until: filter.until.map(Timestamp::milliseconds),
        }
    }
}

impl From<alerts_read::IncidentPage> for IncidentPage {
    fn from(raw: alerts_read::IncidentPage) -> Self {
        Self { incidents: raw.incidents.into_iter().map(Into::into).collect(), next: raw.next }
    }
}

impl From<alerts_read::SeriesPage> for SeriesPage {
    fn from(raw: alerts_read::SeriesPage) -> Self {
        let status = |raw: alerts_read::SeriesStatus| SeriesStatus {
            series: raw.series,
            tags: pairs(raw.tags),
            level: raw.level,
            missing: raw.missing,
            last_point: at(raw.last_point),
            value: raw.value,
            since: raw.since.map(at),
        };
        Self { series: raw.series.into_iter().map(status).collect(), next: raw.next }
    }
}

impl From<alerts_read::Breach> for Breach {
    fn from(raw: alerts_read::Breach) -> Self {
        Self {
            series: raw.series,
            tags: pairs(raw.tags),
            started: at(raw.started),
            ended: raw.ended.map(at),
            level: raw.level,
            value: raw.value,
            peak_above: raw.peak_above,
            peak_below: raw.peak_below,
            expected: raw.expected,
            score: raw.score,
        }
    }
}

impl From<alerts_types::Mute> for Mute {
    fn from(raw: alerts_types::Mute) -> Self {
        let alerts_types::MuteScope { monitors, labels, tags } = raw.scope;
        Self {
            id: raw.id,
            scope: MuteScope { monitors, labels: pairs(labels), tags: pairs(tags) },
            start: at(raw.start),
            end: raw.end.map(at),
            reason: raw.reason,
            created_by: raw.created_by,
        }
    }
}

impl From<&NewMute> for alerts_write::NewMute {
    fn from(new: &NewMute) -> Self {
        let MuteScope { monitors, labels: of_monitor, tags } = &new.scope;
        let (monitors, of_monitor, tags) = (monitors.clone(), labels(of_monitor), labels(tags));
        Self {
            scope: alerts_types::MuteScope { monitors, labels: of_monitor, tags },
            start: new.start.map(Timestamp::milliseconds),
            end: new.end.map(Timestamp::milliseconds),
            reason: new.reason.clone(),
        }
    }
}
