//! What a monitor of one minute's window should have done, said as plainly as possible.

use super::*;

/// One series as the model has it.
#[derive(Clone, Copy, Default)]
struct Host {
    level: Level,
    /// The time of the first point of a breach that has not opened.
    pending: Option<i64>,
    open: bool,
    /// Points before this were not looked at.
    passed: i64,
    /// The time of the last point that was seen.
    last: i64,
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
    /// Whether it was severe when it was told last.
    told_severe: bool,
}

/// Incidents that are told as one, as the model has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    opened: i64,
    /// Places among the incidents, the first one's first.
    pub(super) parts: Vec<usize>,
    pub(super) events: Vec<Event>,
    owes_an_end: bool,
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
    /// The end of the last window that was looked at.
    looked: Option<i64>,
    /// How many hosts there is room for.
    room: usize,
    /// In the order they opened.
    pub(super) incidents: Vec<Expected>,
    /// Whether incidents are told as one that open within ten minutes.
    pub(super) merges: bool,
    pub(super) groups: Vec<Group>,
}

impl Model {
    pub(super) fn new(document: &Json, room: usize) -> Self {
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
            looked: None,
            room,
            incidents: Vec::new(),
            merges: document["merge"].is_object(),
            groups: Vec::new(),
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
        let mut open: Vec<usize> = (0..self.incidents.len()).filter(|at| self.incidents[*at].open).collect();
        open.sort_by_key(|at| self.incidents[*at].tuple.clone());
        for at in open {
            self.close(at);
        }
    }

    fn close(&mut self, at: usize) {
        self.incidents[at].open = false;
        if self.incidents[at].told {
            self.tell(at, Event::Closed);
        }
        let is_open = |part: &usize| self.incidents[*part].open;
        let group = self.groups.iter_mut().find(|group| group.parts.contains(&at));
        if let Some(group) = group.filter(|group| group.owes_an_end && !group.parts.iter().any(is_open)) {
            group.owes_an_end = false;
            group.events.push(Event::Closed);
        }
    }

    /// An incident opens: by itself, or with those that opened shortly before and go on.
    fn open(&mut self, now: i64, expected: Expected) {
        let at = self.incidents.len();
        self.incidents.push(expected);
        if !self.merges {
            return;
        }
        let is_open = |part: &usize| self.incidents[*part].open;
        match self.groups.last_mut() {
            Some(group) if now - group.opened <= 10 * MINUTE && group.parts.iter().any(is_open) => {
                group.parts.push(at);
            }
            _ => self.groups.push(Group { opened: now, parts: vec![at], ..Group::default() }),
        }
    }

    /// Channels would be told something of an incident.
    fn tell(&mut self, at: usize, event: Event) {
        self.incidents[at].told_severe = self.incidents[at].severe;
        let goes_on = |part: &usize| self.incidents[*part].open;
        let Some(group) = self.groups.iter_mut().find(|group| group.parts.contains(&at)) else {
            self.incidents[at].events.push(event);
            return;
        };
        match event {
            Event::Closed if group.parts.iter().any(goes_on) => {
                group.owes_an_end = true;
                if self.update {
                    group.events.push(Event::Updated);
                }
            }
            Event::Closed => {
                group.owes_an_end = false;
                group.events.push(Event::Closed);
            }
            _ if group.events.is_empty() => group.events.push(Event::Opened),
            _ => group.events.push(Event::Updated),
        }
    }

    /// Makes room for hosts that are new; those there is none for.
    fn make_room(&mut self, there: &[&String]) -> Vec<String> {
        let mut new: Vec<String> = there.iter().map(|host| (*host).clone()).collect();
        new.retain(|host| !self.hosts.contains_key(host));
        while self.hosts.len() + new.len() > self.room {
            let gone = self.hosts.iter().filter(|(host, state)| !state.open && !there.contains(host));
            let first = gone.min_by_key(|(_, state)| state.last).map(|(host, _)| host.clone());
            let Some(first) = first else { break };
            self.hosts.remove(&first);
        }
        new.split_off(new.len().min(self.room - self.hosts.len()))
    }

    /// An evaluation was committed; how many hosts it left out.
    pub(super) fn evaluate(
        &mut self,
        now: Timestamp,
        points: &BTreeMap<String, BTreeMap<i64, f64>>,
        mutes: &[Mute],
        entries: &[CalendarEntry],
    ) -> usize {
        // What was woken is evaluated within a minute: its window is the last whole one.
        let end = now.as_milliseconds().div_euclid(MINUTE) * MINUTE;
        let before = end - MINUTE;
        let last = Timestamp::from_milliseconds(end - 1).unwrap();
        let is_about = |entry: &CalendarEntry, host: &String| {
            entry.scope.tags.is_empty() || entry.scope.tags.get("host") == Some(host)
        };
        let lasts = |entry: &CalendarEntry, moment| entry.lasting(moment).is_ok();
        // Up to when a host was taken out while nobody looked. All that ends does so at a whole minute.
        let unseen = self.looked.unwrap_or(i64::MIN).max(end - 2 * MINUTE);
        self.looked = Some(end);
        let passed = |host: &String| {
            let own = || entries.iter().filter(move |entry| is_about(entry, host));
            let made =
                own().filter(|entry| entry.kind == EntryKind::OfficeHours).map(|entry| entry.updated).min();
            let is_out = |time: &i64| {
                let moment = Timestamp::from_milliseconds(time - 1_000).unwrap();
                let (hours, out): (Vec<_>, Vec<_>) =
                    own().partition(|entry| entry.kind == EntryKind::OfficeHours);
                let within = |entry: &&CalendarEntry| lasts(entry, moment);
                out.iter().any(within) || made.is_some_and(|made| moment >= made) && !hours.iter().any(within)
            };
            (unseen / MINUTE + 1..=end / MINUTE).rev().map(|minute| minute * MINUTE).find(is_out)
        };
        let quiet = |host: &String| {
            let own = |entry: &&CalendarEntry| is_about(entry, host);
            let out = entries.iter().filter(own).any(|entry| {
                entry.kind != EntryKind::OfficeHours && (lasts(entry, now) || lasts(entry, last))
            });
            let hours: Vec<&CalendarEntry> =
                entries.iter().filter(own).filter(|entry| entry.kind == EntryKind::OfficeHours).collect();
            let within = |moment| hours.iter().any(|entry| lasts(entry, moment));
            out || !(hours.is_empty() || within(now) && within(last))
        };
        let there = points.iter().filter(|(_, points)| points.contains_key(&before));
        let left_out = self.make_room(&there.map(|(host, _)| host).collect::<Vec<_>>());
        let mut moved: BTreeMap<String, bool> = BTreeMap::new();
        for (host, points) in points {
            let value = points.get(&before);
            if left_out.contains(host) || value.is_none() && !self.hosts.contains_key(host) {
                continue;
            }
            let state = self.hosts.entry(host.clone()).or_default();
            if value.is_some() {
                state.last = before;
            }
            let mut state = *state;
            if quiet(host) && !state.open {
                state = Host { passed: end, last: state.last, ..Host::default() };
                self.hosts.insert(host.clone(), state);
                continue;
            }
            if let Some(passed) = passed(host).filter(|_| !state.open) {
                state = Host { passed, last: state.last, ..Host::default() };
                self.hosts.insert(host.clone(), state);
            }
            let Some(value) = value.filter(|_| state.open || before >= state.passed) else { continue };
            let level = self.level(state.level, *value);
            if quiet(host) && level != Level::Ok {
                continue;
            }
            let tuple = if self.together { String::new() } else { host.clone() };
            let was = state;
            state.level = level;
            if level == Level::Ok {
                (state.open, state.pending) = (false, None);
            } else if !state.open {
                let since = *state.pending.get_or_insert(before);
                if end - since >= self.duration {
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
            let silent = members.iter().all(|(host, _)| muted(host) || quiet(host));
            let severe = members.iter().any(|(_, state)| state.level == Level::Alert);
            let (any, moved) = (!members.is_empty(), moved.contains_key(&tuple));
            let known = self.incidents.iter().position(|incident| incident.open && incident.tuple == tuple);
            match (known, any) {
                (None, false) => {}
                (None, true) => {
                    let at = self.incidents.len();
                    let (open, told) = (true, !silent);
                    let new = Expected { tuple, open, told, severe, ..Expected::default() };
                    self.open(now.as_milliseconds(), new);
                    if told {
                        self.tell(at, Event::Opened);
                    }
                }
                (Some(at), false) => self.close(at),
                (Some(at), true) => {
                    let incident = &mut self.incidents[at];
                    let rose = severe && !incident.severe;
                    if severe && incident.acknowledged == Some(false) {
                        incident.acknowledged = None;
                    }
                    incident.severe = severe;
                    let (was_told, owed) = (incident.told, severe && !incident.told_severe);
                    if !silent {
                        incident.told = true;
                    }
                    if !was_told && !silent {
                        self.tell(at, Event::Opened);
                    } else if was_told && !silent && (rose || owed || moved && self.update) {
                        self.tell(at, Event::Updated);
                    }
                }
            }
        }
        left_out.len()
    }

    /// Takes in who acknowledged what.
    pub(super) fn acknowledge(&mut self, open: &[StoredIncident]) {
        for incident in open.iter().filter(|incident| incident.acknowledgement.is_some()) {
            let tuple = incident.tags.first().map_or("", |(_, host)| host);
            let known = self.incidents.iter().position(|known| known.open && known.tuple == tuple);
            if let Some(at) = known.filter(|at| self.incidents[*at].acknowledged.is_none()) {
                let known = &mut self.incidents[at];
                known.acknowledged = Some(known.severe);
                if known.told && self.update {
                    self.tell(at, Event::Updated);
                }
            }
        }
    }
}
