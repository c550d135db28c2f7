//! What is counted of every call, by plugin and role.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::CallError;

/// The counters of one plugin in one role. Made once when a plugin is loaded: a call then only adds to them. The
/// recorder must be installed before.
pub struct CallMeters {
    calls: Counter,
    seconds: Histogram,
    memory: Histogram,
    busy: Counter,
    deadline: Counter,
    memory_limit: Counter,
    trap: Counter,
}

impl CallMeters {
    /// The counters of `plugin` as `role`.
    #[must_use]
    pub fn new(plugin: &str, role: &'static str) -> Self {
        let errors = |kind: &'static str| counter!("bellwether_plugin_errors_total", "plugin" => plugin.to_owned(), "role" => role, "kind" => kind);
        Self {
            calls: counter!("bellwether_plugin_calls_total", "plugin" => plugin.to_owned(), "role" => role),
            seconds: histogram!("bellwether_plugin_call_seconds", "plugin" => plugin.to_owned(), "role" => role),
            memory: histogram!("bellwether_plugin_call_memory_bytes", "plugin" => plugin.to_owned(), "role" => role),
            busy: errors("busy"),
            deadline: errors("deadline"),
            memory_limit: errors("memory"),
            trap: errors("trap"),
        }
    }

    pub(crate) fn record(&self, spent: Duration, memory: usize, error: Option<&CallError>) {
        self.calls.increment(1);
        self.seconds.record(spent);
        self.memory.record(memory as f64);
        match error {
            None => {}
            Some(CallError::Busy { .. }) => self.busy.increment(1),
            Some(CallError::Deadline { .. }) => self.deadline.increment(1),
            Some(CallError::MemoryLimit { .. }) => self.memory_limit.increment(1),
            Some(CallError::Trap { .. }) => self.trap.increment(1),
        }
    }
}
