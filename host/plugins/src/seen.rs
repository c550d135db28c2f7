//! What is seen of a plugin's calls besides the engine's counters: what went out, and what was logged last.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use bellwether_engine::{Activity, BreakerState, CallStats, Instances, Sandbox};
use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_playbooks::LogLine;
use parking_lot::Mutex;
use serde::Serialize;

use crate::limits;
use crate::{LimitOverrides, PluginRole};

/// How one version of a plugin does, since this host loaded it.
#[derive(Clone, Debug, Serialize)]
pub struct PluginStats {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How the sandbox is set up for it.
    pub engine: Sandbox,
    /// Whether its calls share instances.
    pub instances: Instances,
    /// What its calls may use: every limit, as it holds.
    pub limits: LimitOverrides,
    /// Stack its code may use, which follows from the engine.
    pub stack_bytes: u64,
    /// What it is doing now.
    #[serde(flatten)]
    pub activity: Activity,
    /// Whether it is called, or left alone for a while after failures.
    pub breaker: BreakerState,
    /// What its calls came to, by role.
    pub roles: Vec<RoleStats>,
    /// What it sent out.
    pub egress: EgressStats,
}

/// What a plugin's calls in one role came to.
#[derive(Clone, Debug, Serialize)]
pub struct RoleStats {
    /// The role.
    pub role: PluginRole,
    /// What they came to.
    #[serde(flatten)]
    pub calls: CallStats,
}

/// What a plugin sent out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EgressStats {
    /// Requests.
    pub requests: u64,
    /// Those that were not sent, or not answered.
    pub failed: u64,
    /// Bytes of the requests' bodies.
    pub sent_bytes: u64,
    /// Bytes of the answers' bodies.
    pub received_bytes: u64,
}

/// A line a plugin logged, or the host of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedLine {
    /// Whose call it was of; none for one without a caller, and where the host wrote it for the plugin's owner.
    #[serde(skip)]
    pub organisation: Option<OrganisationId>,
    /// Role and function: `app.run`.
    pub call: &'static str,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}

/// A trap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrapRecord {
    /// The role it was called in.
    pub role: PluginRole,
    /// When.
    pub time: Timestamp,
    /// Why, in one line.
    pub message: String,
    /// The functions it was in, innermost first, by name where the component has names, without what a panic itself calls.
    pub backtrace: Vec<String>,
}

/// What is kept of one loaded plugin.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    requests: AtomicU64,
    failed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    logs: Mutex<Logs>,
}

/// The last lines of each organisation's calls, and of those that are nobody's, oldest first.
#[derive(Debug, Default)]
struct Logs {
    own: HashMap<Option<OrganisationId>, VecDeque<LoggedLine>>,
    count: usize,
}

impl Logs {
    fn push(&mut self, line: LoggedLine) {
        let own = self.own.entry(line.organisation).or_default();
        if own.len() >= limits::LOGS_KEPT {
            own.pop_front();
            self.count -= 1;
        }
        own.push_back(line);
        self.count += 1;
        if self.count > limits::LOGS_KEPT_OF_ALL {
            self.drop_one();
        }
    }

    /// Drops the oldest line of whoever has the most; among equals of whom it is oldest.
    fn drop_one(&mut self) {
        let first = |lines: &VecDeque<LoggedLine>| Reverse(lines.front().map(|line| line.line.time));
        let most = self.own.iter().max_by_key(|(_, lines)| (lines.len(), first(lines)));
        let Some(most) = most.map(|(organisation, _)| *organisation) else { return };
        let Some(lines) = self.own.get_mut(&most) else { return };
        if lines.pop_front().is_some() {
            self.count -= 1;
        }
        if lines.is_empty() {
            self.own.remove(&most);
        }
    }
}

impl Seen {
    /// Counts a request of a body of so many bytes, and its answer's, if it was answered.
    pub(crate) fn requested(&self, sent: usize, received: Option<usize>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        match received {
            Some(received) => self.received.fetch_add(received as u64, Ordering::Relaxed),
            None => self.failed.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(crate) fn egress(&self) -> EgressStats {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        EgressStats {
            requests: read(&self.requests),
            failed: read(&self.failed),
            sent_bytes: read(&self.sent),
            received_bytes: read(&self.received),
        }
    }

    /// Keeps what a call logged, in place of the organisation's oldest lines where it has no room.
    pub(crate) fn logged(&self, organisation: Option<OrganisationId>, call: &'static str, lines: &[LogLine]) {
        if lines.is_empty() {
            return;
        }
        let last = &lines[lines.len().saturating_sub(limits::LOGS_KEPT)..];
        let mut logs = self.logs.lock();
        for line in last {
            logs.push(LoggedLine { organisation, call, line: line.clone() });
        }
    }

    /// Keeps no lines of an organisation that is gone.
    pub(crate) fn forget(&self, organisation: OrganisationId) {
        let mut logs = self.logs.lock();
        let own = logs.own.remove(&Some(organisation));
        logs.count -= own.map_or(0, |own| own.len());
    }

    /// The last lines of calls of `organisation`, oldest first; with none, those that are nobody's.
    pub(crate) fn logs(&self, organisation: Option<OrganisationId>) -> Vec<LoggedLine> {
        self.logs.lock().own.get(&organisation).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use bellwether_playbooks::LogLevel;

    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_each_organisation_sees_its_own() {
        let seen = Seen::default();
        let line = |message: String| LogLine { time: Timestamp::default(), level: LogLevel::Info, message };
        let (one, two) = (Some(OrganisationId(1)), Some(OrganisationId(2)));
        for number in 0..limits::LOGS_KEPT + 3 {
            seen.logged(one, "app.run", &[line(number.to_string())]);
        }
        seen.logged(two, "app.run", &[line("other".to_owned())]);
        let kept = seen.logs(one);
        assert_eq!(kept.len(), limits::LOGS_KEPT, "another's lines take none of its room");
        assert_eq!(kept[0].line.message, "3");
        assert_eq!(seen.logs(two).len(), 1);
        seen.forget(OrganisationId(1));
        assert_eq!((seen.logs(one).len(), seen.logs(two).len()), (0, 1));
        assert!(seen.logs(None).is_empty());
    }

    #[test]
    fn what_many_organisations_log_is_bounded_and_who_logs_most_makes_room() {
        let seen = Seen::default();
        let log = |organisation: u64| {
            let (time, level, message) = (Timestamp::default(), LogLevel::Info, "x".to_owned());
            seen.logged(Some(OrganisationId(organisation)), "app.run", &[LogLine { time, level, message }]);
        };
        log(1_000);
        for organisation in 1..100 {
            (0..limits::LOGS_KEPT).for_each(|_| log(organisation));
        }
        assert_eq!(seen.logs(Some(OrganisationId(1_000))).len(), 1);
        let logs = seen.logs.lock();
        let kept: usize = logs.own.values().map(VecDeque::len).sum();
        assert_eq!((kept, logs.count), (limits::LOGS_KEPT_OF_ALL, limits::LOGS_KEPT_OF_ALL));
    }

    #[test]
    fn requests_are_counted_with_what_went_both_ways() {
        let seen = Seen::default();
        seen.requested(10, Some(100));
        seen.requested(5, None);
        let expected = EgressStats { requests: 2, failed: 1, sent_bytes: 15, received_bytes: 100 };
        assert_eq!(seen.egress(), expected);
    }
}
