//! Monitors and incidents in memory. Nothing is evaluated: the test opens the incidents, and says how series stand.

use std::collections::BTreeMap;

use super::{MemoryHost, wrong};
use crate::Timestamp;
use crate::alerts::{
    AlertError, Breach, FieldError, Incident, IncidentFilter, IncidentPage, Level, Monitor, Mute, MuteScope,
    NewMute, SeriesPage, SeriesStatus, Severity, Stored,
};
use crate::host::{AlertsRead, AlertsWrite};
use crate::serde_json;

/// Who does what a test does.
const WHO: &str = "test";

#[derive(Debug, Default)]
pub(super) struct Alerts {
    monitors: BTreeMap<u64, Monitor>,
    /// Monitors there ever were.
    counted: u64,
    incidents: BTreeMap<String, Incident>,
    breaches: BTreeMap<String, Vec<Breach>>,
    comments: BTreeMap<String, Vec<String>>,
    series: BTreeMap<String, Vec<SeriesStatus>>,
    mutes: BTreeMap<u64, Mute>,
    /// Mutes there ever were.
    muted: u64,
}

impl Incident {
    /// An open one of that monitor, as it is in a test: severe, opened at the Unix epoch. Ids sort by when they open.
    #[must_use]
    pub fn of(monitor: &str, id: &str) -> Self {
        let opened = Timestamp::from_seconds(0);
        Self {
            id: id.to_owned(),
            monitor: 1,
            monitor_name: monitor.to_owned(),
            title: monitor.to_owned(),
            message: String::new(),
            severity: Severity::High,
            level: Level::Alert,
            tags: Vec::new(),
            labels: Vec::new(),
            started: opened,
            opened,
            updated: opened,
            closed: None,
            close_reason: None,
            channels: Vec::new(),
            told: None,
            acknowledged_by: None,
            assignee: None,
            open_series: 1,
        }
    }
}

impl MemoryHost {
    /// Puts an incident there, with the breaches it is made of, as a monitor would open it.
    pub fn open_incident(&self, incident: Incident, breaches: Vec<Breach>) {
        let mut alerts = self.alerts.borrow_mut();
        alerts.breaches.insert(incident.id.clone(), breaches);
        alerts.incidents.insert(incident.id.clone(), incident);
    }

    /// Says how the series of the monitor of that name stand.
    pub fn set_series(&self, monitor: &str, series: Vec<SeriesStatus>) {
        self.alerts.borrow_mut().series.insert(monitor.to_owned(), series);
    }

    /// What was said about an incident, oldest first.
    #[must_use]
    pub fn comments(&self, incident: &str) -> Vec<String> {
        self.alerts.borrow().comments.get(incident).cloned().unwrap_or_default()
    }

    fn change(
        &self,
        incident: &str,
        needs_open: bool,
        change: impl FnOnce(&mut Incident),
    ) -> Result<Incident, AlertError> {
        let mut alerts = self.alerts.borrow_mut();
        let found = alerts.incidents.get_mut(incident).ok_or_else(|| unknown("incident", incident))?;
        if needs_open && !found.is_open() {
            return Err(AlertError::Conflict(format!("the incident {incident} is over")));
        }
        change(found);
        found.updated = self.now.get();
        Ok(found.clone())
    }

    fn monitor_id(&self, name_or_id: &str) -> Result<u64, AlertError> {
        let alerts = self.alerts.borrow();
        let found = alerts.monitors.values().find(|monitor| {
            monitor.name == name_or_id || name_or_id.parse().is_ok_and(|id: u64| monitor.id == id)
        });
        found.map(|monitor| monitor.id).ok_or_else(|| unknown("monitor", name_or_id))
    }
}

impl AlertsRead for MemoryHost {
    fn monitor(&self, name_or_id: &str) -> Result<Monitor, AlertError> {
        let id = self.monitor_id(name_or_id)?;
        Ok(self.alerts.borrow().monitors[&id].clone())
    }

    fn monitors(&self, after: Option<u64>, limit: u32) -> Result<Vec<Monitor>, AlertError> {
        let limit = page(limit)?;
        let alerts = self.alerts.borrow();
        let behind = alerts.monitors.values().filter(|monitor| after.is_none_or(|after| monitor.id > after));
        Ok(behind.take(limit).cloned().collect())
    }

    fn monitor_series(
        &self,
        monitor: &str,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<SeriesPage, AlertError> {
        let limit = page(limit)?;
        let name = self.monitor(monitor)?.name;
        let alerts = self.alerts.borrow();
        let all = alerts.series.get(&name).map_or(&[][..], Vec::as_slice);
        let (series, next) = part(all, cursor, limit)?;
        Ok(SeriesPage { series, next })
    }

    fn incidents(
        &self,
        filter: &IncidentFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<IncidentPage, AlertError> {
        let limit = page(limit)?;
        let alerts = self.alerts.borrow();
        let wanted = alerts.incidents.values().rev().filter(|incident| wants(filter, incident));
        let (incidents, next) = part(&wanted.cloned().collect::<Vec<_>>(), cursor, limit)?;
        Ok(IncidentPage { incidents, next })
    }

    fn incident(&self, incident: &str) -> Result<Incident, AlertError> {
        let alerts = self.alerts.borrow();
        alerts.incidents.get(incident).cloned().ok_or_else(|| unknown("incident", incident))
    }

    fn breaches(&self, incident: &str, limit: u32) -> Result<Vec<Breach>, AlertError> {
        let limit = page(limit)?;
        self.incident(incident)?;
        let alerts = self.alerts.borrow();
        Ok(alerts.breaches.get(incident).into_iter().flatten().take(limit).cloned().collect())
    }

    fn mutes(&self, after: Option<u64>, limit: u32) -> Result<Vec<Mute>, AlertError> {
        let limit = page(limit)?;
        let alerts = self.alerts.borrow();
        let behind = alerts.mutes.values().filter(|mute| after.is_none_or(|after| mute.id > after));
        Ok(behind.take(limit).cloned().collect())
    }
}

impl AlertsWrite for MemoryHost {
    fn put_monitor(&self, document: &str) -> Result<Stored, AlertError> {
        let json: serde_json::Value = serde_json::from_str(document)
            .map_err(|error| invalid("document", "text", &format!("a monitor as JSON: {error}")))?;
        let name = json["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| invalid("name", &json["name"].to_string(), "a text"))?;
        let (now, id) = (self.now.get(), self.monitor_id(name).ok());
        let mut alerts = self.alerts.borrow_mut();
        let id = id.unwrap_or(alerts.counted + 1);
        alerts.counted = alerts.counted.max(id);
        let before = alerts.monitors.get(&id).cloned();
        let created = before.is_none();
        let document = json.to_string();
        let monitor = match before {
            Some(before) if before.document == document => before,
            before => Monitor {
                id,
                name: name.to_owned(),
                version: before.as_ref().map_or(1, |before| before.version + 1),
                paused: json["paused"].as_bool().unwrap_or_default(),
                created: before.map_or(now, |before| before.created),
                updated: now,
                updated_by: WHO.to_owned(),
                document,
                next_due: Some(now),
                evaluated: None,
                problem: None,
            },
        };
        alerts.monitors.insert(id, monitor.clone());
        Ok(Stored { monitor, created })
    }

    fn pause_monitor(&self, monitor: &str, paused: bool) -> Result<Monitor, AlertError> {
        let (id, now) = (self.monitor_id(monitor)?, self.now.get());
        let mut alerts = self.alerts.borrow_mut();
        let found = alerts.monitors.get_mut(&id).ok_or_else(|| unknown("monitor", monitor))?;
        if found.paused != paused {
            found.paused = paused;
            found.version += 1;
            found.next_due = (!paused).then_some(now);
        }
        Ok(found.clone())
    }

    fn delete_monitor(&self, monitor: &str) -> Result<(), AlertError> {
        let (id, now) = (self.monitor_id(monitor)?, self.now.get());
        let mut alerts = self.alerts.borrow_mut();
        let Some(monitor) = alerts.monitors.remove(&id) else { return Ok(()) };
        let open = alerts.incidents.values_mut().filter(|incident| incident.is_open());
        for incident in open.filter(|incident| incident.monitor_name == monitor.name) {
            close(incident, now, "monitor-deleted");
        }
        Ok(())
    }

    fn acknowledge(&self, incident: &str) -> Result<Incident, AlertError> {
        self.change(incident, true, |incident| incident.acknowledged_by = Some(WHO.to_owned()))
    }

    fn assign(&self, incident: &str, assignee: Option<&str>) -> Result<Incident, AlertError> {
        if let Some(name) = assignee.filter(|name| !(1..=100).contains(&name.len())) {
            return Err(invalid("assignee", name, "a name of 1 to 100 bytes, or null"));
        }
        self.change(incident, true, |incident| incident.assignee = assignee.map(str::to_owned))
    }

    fn comment(&self, incident: &str, text: &str) -> Result<Incident, AlertError> {
        if !(1..=2000).contains(&text.chars().count()) {
            return Err(invalid("text", text, "1 to 2000 characters"));
        }
        let changed = self.change(incident, false, |_| {})?;
        self.alerts.borrow_mut().comments.entry(incident.to_owned()).or_default().push(text.to_owned());
        Ok(changed)
    }

    fn resolve(&self, incident: &str) -> Result<Incident, AlertError> {
        let now = self.now.get();
        self.change(incident, true, |incident| close(incident, now, "resolved"))
    }

    fn add_mute(&self, new: &NewMute) -> Result<Mute, AlertError> {
        let start = new.start.unwrap_or(self.now.get());
        if let Some(end) = new.end.filter(|end| *end <= start || *end <= self.now.get()) {
            return Err(invalid("end", &end.to_string(), "an instant to come, after the start"));
        }
        if new.reason.chars().count() > 200 {
            return Err(invalid("reason", &new.reason, "at most 200 characters"));
        }
        let MuteScope { monitors, labels, tags } = &new.scope;
        if new.end.is_none() && monitors.is_empty() && labels.is_empty() && tags.is_empty() {
            let expected =
                "an instant to come; or `until_deleted` to be true, for a mute of everything without an end";
            return Err(invalid("end", "", expected));
        }
        let mut alerts = self.alerts.borrow_mut();
        alerts.muted += 1;
        let (id, scope, reason) = (alerts.muted, new.scope.clone(), new.reason.clone());
        let mute = Mute { id, scope, start, end: new.end, reason, created_by: WHO.to_owned() };
        alerts.mutes.insert(id, mute.clone());
        Ok(mute)
    }

    fn remove_mute(&self, id: u64) -> Result<(), AlertError> {
        let removed = self.alerts.borrow_mut().mutes.remove(&id);
        removed.map(drop).ok_or_else(|| unknown("mute", &id.to_string()))
    }
}

fn close(incident: &mut Incident, now: Timestamp, why: &str) {
    incident.closed = Some(now);
    incident.close_reason = Some(why.to_owned());
}

fn wants(filter: &IncidentFilter, incident: &Incident) -> bool {
    let id = incident.monitor.to_string();
    let of_monitor = |monitor: &String| *monitor == incident.monitor_name || *monitor == id;
    filter.open.is_none_or(|open| open == incident.is_open())
        && filter.monitor.as_ref().is_none_or(of_monitor)
        && filter.severity.is_none_or(|least| incident.severity as u8 >= least as u8)
        && filter.labels.iter().all(|label| incident.labels.contains(label))
        && filter.acknowledged.is_none_or(|known| known == incident.acknowledged_by.is_some())
        && filter.assignee.as_ref().is_none_or(|assignee| incident.assignee.as_ref() == Some(assignee))
        && filter.since.is_none_or(|since| incident.opened >= since)
        && filter.until.is_none_or(|until| incident.opened < until)
}

/// A page of a list, whose cursors are places in it.
fn part<T: Clone>(
    all: &[T],
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), AlertError> {
    let first = wrong::cursor(cursor).map_err(one)?.min(all.len());
    let end = (first + limit).min(all.len());
    Ok((all[first..end].to_vec(), (end < all.len()).then(|| end.to_string())))
}

fn page(limit: u32) -> Result<usize, AlertError> {
    wrong::limit(limit, 1000).map_err(one)
}

fn unknown(what: &str, name: &str) -> AlertError {
    AlertError::Unknown(format!("there is no {what} {name:?}"))
}

fn invalid(field: &str, value: &str, expected: &str) -> AlertError {
    one(wrong::field(field, value, expected))
}

fn one(wrong: FieldError) -> AlertError {
    AlertError::Invalid(vec![wrong])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_found_by_what_is_asked_and_newest_first() {
        let host = MemoryHost::new();
        for (id, monitor) in [("a", "load"), ("b", "errors"), ("c", "load")] {
            host.open_incident(Incident::of(monitor, id), Vec::new());
        }
        host.acknowledge("a").expect("it is open");
        host.resolve("c").expect("it is open");
        let ids = |filter: IncidentFilter| -> Vec<String> {
            let page = host.incidents(&filter, None, 10).expect("within bounds");
            page.incidents.into_iter().map(|incident| incident.id).collect()
        };
        let all = IncidentFilter::default;
        assert_eq!(ids(all()), ["c", "b", "a"]);
        assert_eq!(ids(IncidentFilter { open: Some(true), ..all() }), ["b", "a"]);
        assert_eq!(ids(IncidentFilter { acknowledged: Some(true), ..all() }), ["a"]);
        assert_eq!(ids(IncidentFilter { monitor: Some("load".into()), ..all() }), ["c", "a"]);
        assert_eq!(ids(IncidentFilter { severity: Some(Severity::Critical), ..all() }), [""; 0]);
        let first = host.incidents(&all(), None, 2).expect("within bounds");
        let rest = host.incidents(&all(), first.next.as_deref(), 2).expect("a cursor");
        assert_eq!((first.incidents.len(), rest.incidents.len(), rest.next), (2, 1, None));
        assert!(matches!(host.acknowledge("c"), Err(AlertError::Conflict(_))), "it is over");
        host.comment("c", "It was the disk.").expect("also when it is over");
        assert_eq!(host.comments("c"), ["It was the disk."]);
        assert!(matches!(host.incident("d"), Err(AlertError::Unknown(_))));
    }

    #[test]
    fn a_document_that_is_stored_again_changes_nothing() {
        let host = MemoryHost::new();
        let document = r#"{"name": "load", "kind": "threshold"}"#;
        assert!(host.put_monitor(document).expect("it has a name").created);
        let again = host.put_monitor(document).expect("it has a name");
        assert_eq!((again.created, again.monitor.version), (false, 1));
        let other = host.put_monitor(r#"{"name": "load", "kind": "anomaly"}"#).expect("it has a name");
        assert_eq!((other.monitor.id, other.monitor.version), (again.monitor.id, 2));
        assert!(host.pause_monitor("1", true).expect("it is there").paused);
        host.open_incident(Incident::of("load", "a"), Vec::new());
        host.delete_monitor("load").expect("it is there");
        assert_eq!(host.incident("a").expect("it stays").close_reason.as_deref(), Some("monitor-deleted"));
        assert!(
            matches!(host.put_monitor("{}"), Err(AlertError::Invalid(errors)) if errors[0].field == "name")
        );
    }

    #[test]
    fn a_wrong_argument_is_refused_in_the_hosts_words() {
        let host = MemoryHost::new();
        host.open_incident(Incident::of("load", "a"), Vec::new());
        let text = "é".repeat(2001);
        let everything = NewMute { reason: "Quiet".into(), ..NewMute::default() };
        for (refused, told) in [
            (host.monitors(None, 1001).map(drop), "limit is \"1001\", expected 1 to 1000".to_owned()),
            (
                host.incidents(&IncidentFilter::default(), Some("next"), 1).map(drop),
                "cursor is \"next\", expected `next` of the page before, unchanged".to_owned(),
            ),
            (
                host.comment("a", &text).map(drop),
                format!("text is \"{}…\", expected 1 to 2000 characters", "é".repeat(100)),
            ),
            (
                host.add_mute(&everything).map(drop),
                "end is \"\", expected an instant to come; or `until_deleted` to be true, for a mute of \
                 everything without an end"
                    .to_owned(),
            ),
            (host.incident("b").map(drop), "there is no incident \"b\"".to_owned()),
        ] {
            assert_eq!(refused.expect_err(&told).to_string(), told);
        }
    }
}
