//! What `/metrics` shows of evaluations: how many, how long they take, how late they are, what came of them.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::engine::{Cause, ProblemKind, Turn};
use crate::evaluate::Changed;

const EVALUATIONS: &str = "bellwether_monitor_evaluations_total";
const DURATION: &str = "bellwether_monitor_evaluation_duration_seconds";
const LAG: &str = "bellwether_monitor_lag_seconds";
const WOKEN: &str = "bellwether_monitor_wakes_total";
const MISSED: &str = "bellwether_monitor_times_missed_total";
const BEHIND: &str = "bellwether_monitors_behind_seconds";
const FAILURES: &str = "bellwether_monitor_failures_total";
const PROBLEMS: &str = "bellwether_monitors_with_problem";
const INCIDENTS: &str = "bellwether_incidents_total";
const EVENT_SEARCHES: &str = "bellwether_incident_event_searches_total";
const TELLINGS: &str = "bellwether_incident_tellings_total";

/// The counters of this host's evaluations.
pub(crate) struct Meters {
    evaluated: Counter,
    woken: Counter,
    missed: Counter,
    behind: Gauge,
    failed: Counter,
    overtaken: Counter,
    duration: Histogram,
    lag: Histogram,
    opened: Counter,
    closed: Counter,
    tellings: Counter,
    events_found: Counter,
    events_failed: Counter,
    events_skipped: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe_counter!(EVALUATIONS, "Evaluations of monitors, by what became of them");
        describe_histogram!(DURATION, Unit::Seconds, "How long evaluations took, their commits included");
        describe_histogram!(LAG, Unit::Seconds, "How long after they were due evaluations were committed");
        describe_counter!(WOKEN, "Evaluations that a write brought forward");
        describe_counter!(MISSED, "Times of monitors that were passed over for a later one");
        describe_gauge!(BEHIND, Unit::Seconds, "How long the first monitor that is due has been");
        describe_counter!(FAILURES, "Evaluations that came to nothing, by what failed");
        describe_gauge!(
            PROBLEMS,
            "Monitors that have a problem, by its kind, as their last evaluations left them"
        );
        describe_counter!(INCIDENTS, "Incidents that opened and closed");
        describe_counter!(EVENT_SEARCHES, "Searches for events of incidents as they were told or ended");
        describe_counter!(TELLINGS, "What channels were to be told of incidents");
        for kind in ProblemKind::ALL {
            problems(kind).set(0.0);
        }
        Self {
            evaluated: counter!(EVALUATIONS, "result" => "evaluated"),
            woken: counter!(WOKEN),
            missed: counter!(MISSED),
            behind: gauge!(BEHIND),
            failed: counter!(EVALUATIONS, "result" => "failed"),
            overtaken: counter!(EVALUATIONS, "result" => "overtaken"),
            duration: histogram!(DURATION),
            lag: histogram!(LAG),
            opened: counter!(INCIDENTS, "event" => "opened"),
            closed: counter!(INCIDENTS, "event" => "closed"),
            tellings: counter!(TELLINGS),
            events_found: counter!(EVENT_SEARCHES, "result" => "found"),
            events_failed: counter!(EVENT_SEARCHES, "result" => "failed"),
            events_skipped: counter!(EVENT_SEARCHES, "result" => "skipped"),
        }
    }

    pub(crate) fn turn(&self, turn: Turn) {
        match turn {
            Turn::Evaluated => self.evaluated.increment(1),
            Turn::Failed => self.failed.increment(1),
            Turn::Overtaken => self.overtaken.increment(1),
            Turn::Stale | Turn::Ended => {}
        }
    }

    /// An evaluation came to nothing.
    pub(crate) fn failed(&self, kind: ProblemKind) {
        counter!(FAILURES, "kind" => kind.word()).increment(1);
    }

    pub(crate) fn problem_begins(&self, kind: ProblemKind) {
        problems(kind).increment(1.0);
    }

    pub(crate) fn problem_ends(&self, kind: ProblemKind) {
        problems(kind).decrement(1.0);
    }

    /// So many times of a monitor are passed over.
    pub(crate) fn missed(&self, times: i64) {
        self.missed.increment(u64::try_from(times).unwrap_or(0));
    }

    /// The first monitor has been due for so many milliseconds.
    pub(crate) fn behind(&self, late: i64) {
        self.behind.set(late.max(0) as f64 / 1000.0);
    }

    /// An evaluation took so long, and was committed so many milliseconds after it was due.
    pub(crate) fn evaluated(&self, took: Duration, late: i64, cause: Cause) {
        self.woken.increment(u64::from(cause == Cause::Write));
        self.duration.record(took.as_secs_f64());
        self.lag.record(late.max(0) as f64 / 1000.0);
    }

    /// Events were searched for.
    pub(crate) fn events_found(&self, is_found: bool) {
        if is_found { &self.events_found } else { &self.events_failed }.increment(1);
    }

    /// They were not, because the search took too long just before.
    pub(crate) fn events_skipped(&self) {
        self.events_skipped.increment(1);
    }

    pub(crate) fn incident(&self, changed: &Changed) {
        self.opened.increment(u64::from(changed.is_new));
        self.closed.increment(u64::from(!changed.incident.is_open()));
        self.tellings.increment(changed.tellings.len() as u64);
    }
}

fn problems(kind: ProblemKind) -> Gauge {
    gauge!(PROBLEMS, "kind" => kind.word())
}
