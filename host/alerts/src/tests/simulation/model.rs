//! What a monitor of one minute's window should have done, said as plainly as possible.

use super::*;

/// One series as the model has it.
#[derive(Clone, Copy, Default)]
struct Host {
    level: Level,
    /// The time of the first point of a breach that has not opened.
    pending: Option<i64>,
    open: bool,
}

/// One incident as the model has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) tuple: String,
    pub(super) events: Vec<Event>,
    pub(super) open: bool,
    told: bool,
    /// Whether it was severe when somebody acknowledged it.
    acknowledged: Option<bool>,
    severe: bool,
}

pub(super) struct Model {
    critical: f64,
    warning: Option<f64>,
    critical_recovery: Option<f64>,
    warning_recovery: Option<f64>,
    /// Milliseconds a breach must last.
    duration: i64,
    update: bool,
    together: bool,
    hosts: BTreeMap<String, Host>,
    /// In the order they opened.
    pub(super) incidents: Vec<Expected>,
}

impl Model {
    pub(super) fn new(document: &Json) -> Self {
        let bound = |name: &str| document["thresholds"][name].as_f64();
        Self {
            critical: bound("critical").unwrap(),
            warning: bound("warning"),
            critical_recovery: bound("critical_recovery"),
            warning_recovery: bound("warning_recovery"),
            duration: if document["conditions"].is_array() { 3 * MINUTE } else { 0 },
            update: document["notify"]["update"] == true,
            together: document["notify_by"].is_array(),
            hosts: BTreeMap::new(),
            incidents: Vec::new(),
        }
    }

    /// The levels of the hosts that are known.
    pub(super) fn levels(&self) -> BTreeMap<String, Level> {
        self.hosts.iter().map(|(host, state)| (host.clone(), state.level)).collect()
    }

    fn level(&self, before: Level, value: f64) -> Level {
        if value > self.critical {
            return Level::Alert;
        }
        if before == Level::Alert && self.critical_recovery.is_some_and(|recovery| value > recovery) {
            return Level::Alert;
        }
        if self.warning.is_some_and(|warning| value > warning) {
            return Level::Warning;
        }
        if before != Level::Ok && self.warning_recovery.is_some_and(|recovery| value > recovery) {
            return Level::Warning;
        }
        Level::Ok
    }

    /// The monitor looks at something else from here on.
    pub(super) fn reset(&mut self) {
        self.hosts.clear();
        for incident in self.incidents.iter_mut().filter(|incident| incident.open) {
            incident.open = false;
            if incident.told {
                incident.events.push(Event::Closed);
            }
        }
    }

    /// An evaluation was committed.
    pub(super) fn evaluate(
        &mut self,
        now: Timestamp,
        points: &BTreeMap<String, BTreeMap<i64, f64>>,
        mutes: &[Mute],
    ) {
        let before = now.as_milliseconds() - MINUTE;
        let mut moved: BTreeMap<String, bool> = BTreeMap::new();
        for (host, points) in points {
            let Some(value) = points.get(&before) else { continue };
            let mut state = self.hosts.get(host).copied().unwrap_or_default();
            let level = self.level(state.level, *value);
            let tuple = if self.together { String::new() } else { host.clone() };
            let was = state;
            state.level = level;
            if level == Level::Ok {
                (state.open, state.pending) = (false, None);
            } else if !state.open {
                let since = *state.pending.get_or_insert(before);
                if now.as_milliseconds() - since >= self.duration {
                    (state.open, state.pending) = (true, None);
                }
            }
            if was.open != state.open || state.open && was.level != level {
                moved.insert(tuple, true);
            }
            self.hosts.insert(host.clone(), state);
        }
        let tuples: Vec<String> =
            if self.together { vec![String::new()] } else { self.hosts.keys().cloned().collect() };
        for tuple in tuples {
            let members: Vec<(&String, &Host)> = self
                .hosts
                .iter()
                .filter(|(host, state)| state.open && (self.together || **host == tuple))
                .collect();
            let muted = |host: &String| {
                mutes.iter().any(|mute| {
                    let all = mute.scope.tags.is_empty() || mute.scope.tags.get("host") == Some(host);
                    all && mute.start <= now && mute.end.is_none_or(|end| end > now)
                })
            };
            let silent = members.iter().all(|(host, _)| muted(host));
            let severe = members.iter().any(|(_, state)| state.level == Level::Alert);
            let (any, moved) = (!members.is_empty(), moved.contains_key(&tuple));
            let known = self.incidents.iter_mut().find(|incident| incident.open && incident.tuple == tuple);
            match (known, any) {
                (None, false) => {}
                (None, true) => {
                    let events = if silent { Vec::new() } else { vec![Event::Opened] };
                    let told = !silent;
                    self.incidents.push(Expected {
                        tuple,
                        events,
                        open: true,
                        told,
                        acknowledged: None,
                        severe,
                    });
                }
                (Some(incident), false) => {
                    incident.open = false;
                    if incident.told {
                        incident.events.push(Event::Closed);
                    }
                }
                (Some(incident), true) => {
                    let rose = severe && !incident.severe;
                    if severe && incident.acknowledged == Some(false) {
                        incident.acknowledged = None;
                    }
                    incident.severe = severe;
                    if !incident.told && !silent {
                        incident.told = true;
                        incident.events.push(Event::Opened);
                    } else if incident.told && !silent && (rose || moved && self.update) {
                        incident.events.push(Event::Updated);
                    }
                }
            }
        }
    }

    /// Takes in who acknowledged what.
    pub(super) fn acknowledge(&mut self, open: &[StoredIncident]) {
        for incident in open.iter().filter(|incident| incident.acknowledgement.is_some()) {
            let tuple = incident.tags.first().map_or("", |(_, host)| host);
            let known = self.incidents.iter_mut().find(|known| known.open && known.tuple == tuple);
            if let Some(known) = known.filter(|known| known.acknowledged.is_none()) {
                known.acknowledged = Some(known.severe);
                if known.told && self.update {
                    known.events.push(Event::Updated);
                }
            }
        }
    }
}
