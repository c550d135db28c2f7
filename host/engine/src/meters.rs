//! What is counted of every call, by plugin and role: for `/metrics`, and as numbers to show.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use metrics::{
    Counter, Histogram as Recorded, Label, Unit, counter, describe_counter, describe_histogram, histogram,
};
use parking_lot::Mutex;

use crate::breaker::BreakerPhase;
use crate::stats::{CallStats, ErrorCase, ErrorCount, Histogram};
use crate::{CallError, limits};

const CALLS: &str = "bellwether_plugin_calls_total";
const ERRORS: &str = "bellwether_plugin_errors_total";
const SECONDS: &str = "bellwether_plugin_call_seconds";
const QUEUE: &str = "bellwether_plugin_queue_seconds";
const PROCESSOR: &str = "bellwether_plugin_processor_seconds";
const MEMORY: &str = "bellwether_plugin_call_memory_bytes";
const HOST_CALLS: &str = "bellwether_plugin_host_calls_total";
const HOST_BYTES: &str = "bellwether_plugin_host_bytes_total";
const BREAKER_OPENED: &str = "bellwether_plugin_breaker_opened_total";

/// Says in `/metrics` what the counters are. The recorder must be installed before.
pub(crate) fn describe() {
    describe_counter!(CALLS, Unit::Count, "Calls of plugins, by plugin, owner and role.");
    describe_counter!(ERRORS, Unit::Count, "Calls that came to nothing, by plugin, owner, role and kind.");
    describe_histogram!(SECONDS, Unit::Seconds, "How long calls took, waiting included.");
    describe_histogram!(
        QUEUE,
        Unit::Seconds,
        "How long calls that did not have their turn at once waited for it."
    );
    describe_histogram!(PROCESSOR, Unit::Seconds, "How long calls computed.");
    describe_histogram!(MEMORY, Unit::Bytes, "The most memory each call held.");
    describe_counter!(HOST_CALLS, Unit::Count, "How often calls called the host.");
    describe_counter!(HOST_BYTES, Unit::Bytes, "What calls handed to the host.");
    describe_counter!(
        BREAKER_OPENED,
        Unit::Count,
        "How often a plugin was left alone because its calls came to nothing."
    );
}

/// The counters of one plugin in one role. Made once when a plugin is loaded: a call then only adds to them.
pub struct CallMeters {
    labels: [Label; 3],
    /// What `/metrics` shows, from when it does.
    exported: OnceLock<Exported>,
    calls: AtomicU64,
    errors: [AtomicU64; ErrorCase::ALL.len()],
    warm: AtomicU64,
    processor: AtomicU64,
    memory: AtomicU64,
    host_calls: AtomicU64,
    host_bytes: AtomicU64,
    latency: Histogram,
    queue: Histogram,
    traps: Mutex<VecDeque<Trapped>>,
}

/// What `/metrics` shows.
struct Exported {
    calls: Counter,
    errors: [Counter; ErrorCase::ALL.len()],
    seconds: Recorded,
    queue: Recorded,
    processor: Recorded,
    memory: Recorded,
    host_calls: Counter,
    host_bytes: Counter,
    breaker_opened: Counter,
}

/// A trap, kept to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trapped {
    /// When.
    pub time: SystemTime,
    /// Why, in one line.
    pub message: String,
    /// The functions it was in, innermost first, as far as they have names.
    pub backtrace: Vec<String>,
}

/// What one call used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// In all.
    pub(crate) spent: Duration,
    /// Until its turn came.
    pub(crate) queued: Duration,
    /// Computing.
    pub(crate) processor: Duration,
    /// The most bytes of memory.
    pub(crate) memory: usize,
    pub(crate) host_calls: u64,
    pub(crate) host_bytes: u64,
    /// Whether its instance had served before.
    pub(crate) warm: bool,
}

impl Exported {
    fn new(labels: &[Label; 3]) -> Self {
        let labels = || labels.iter();
        let error = |case: ErrorCase| {
            let kind = Label::new("kind", case.name());
            counter!(ERRORS, labels().cloned().chain([kind]).collect::<Vec<_>>())
        };
        Self {
            calls: counter!(CALLS, labels()),
            errors: ErrorCase::ALL.map(error),
            seconds: histogram!(SECONDS, labels()),
            queue: histogram!(QUEUE, labels()),
            processor: histogram!(PROCESSOR, labels()),
            memory: histogram!(MEMORY, labels()),
            host_calls: counter!(HOST_CALLS, labels()),
            host_bytes: counter!(HOST_BYTES, labels()),
            breaker_opened: counter!(BREAKER_OPENED, labels()),
        }
    }

    fn record(&self, used: &Used) {
        self.calls.increment(1);
        self.seconds.record(used.spent);
        self.processor.record(used.processor);
        self.memory.record(used.memory as f64);
        if !used.queued.is_zero() {
            self.queue.record(used.queued);
        }
        if used.host_calls > 0 {
            self.host_calls.increment(used.host_calls);
            self.host_bytes.increment(used.host_bytes);
        }
    }
}

impl CallMeters {
    /// The counters of `plugin` as `role`; plugins of several owners may have one name. `/metrics` does not show them yet.
    #[must_use]
    pub fn new(plugin: &str, owner: &str, role: &'static str) -> Self {
        let labels = [
            Label::new("plugin", plugin.to_owned()),
            Label::new("owner", owner.to_owned()),
            Label::new("role", role),
        ];
        Self {
            labels,
            exported: OnceLock::new(),
            calls: AtomicU64::default(),
            errors: Default::default(),
            warm: AtomicU64::default(),
            processor: AtomicU64::default(),
            memory: AtomicU64::default(),
            host_calls: AtomicU64::default(),
            host_bytes: AtomicU64::default(),
            latency: Histogram::default(),
            queue: Histogram::default(),
            traps: Mutex::default(),
        }
    }

    /// Has `/metrics` show them, from the next call on: those of a plugin that is never installed would stay there for good.
    /// The recorder must be installed before.
    pub fn show(&self) {
        self.exported.get_or_init(|| Exported::new(&self.labels));
    }

    pub(crate) fn record(&self, used: &Used, error: Option<&CallError>) {
        if let Some(exported) = self.exported.get() {
            exported.record(used);
        }
        add(&self.calls, 1);
        add(&self.processor, u64::try_from(used.processor.as_nanos()).unwrap_or(u64::MAX));
        if used.memory as u64 > self.memory.load(Ordering::Relaxed) {
            self.memory.fetch_max(used.memory as u64, Ordering::Relaxed);
        }
        self.latency.record(used.spent);
        // Most wait for nothing: how many they are follows from the others.
        if !used.queued.is_zero() {
            self.queue.record(used.queued);
        }
        if used.warm {
            add(&self.warm, 1);
        }
        if used.host_calls > 0 {
            add(&self.host_calls, used.host_calls);
            add(&self.host_bytes, used.host_bytes);
        }
        if let Some(error) = error {
            self.count(error.case());
            self.keep_trap(error);
        }
    }

    /// Counts that the answer of a call, counted before, made no sense. The breaker learns nothing of it.
    pub fn refuse_answer(&self) {
        self.count(ErrorCase::BadAnswer);
    }

    fn count(&self, case: ErrorCase) {
        add(&self.errors[case as usize], 1);
        if let Some(exported) = self.exported.get() {
            exported.errors[case as usize].increment(1);
        }
    }

    /// Tells that a call changed whether the plugin is called.
    pub(crate) fn tell(&self, phase: BreakerPhase) {
        if phase == BreakerPhase::Open {
            if let Some(exported) = self.exported.get() {
                exported.breaker_opened.increment(1);
            }
            tracing::warn!("calls of a plugin failed again and again: it is left alone for a while");
        } else {
            tracing::info!("a plugin that was left alone works again");
        }
    }

    fn keep_trap(&self, error: &CallError) {
        let CallError::Trap { message, backtrace } = error else { return };
        let trap =
            Trapped { time: SystemTime::now(), message: message.clone(), backtrace: backtrace.clone() };
        let mut traps = self.traps.lock();
        if traps.len() >= limits::TRAPS {
            traps.pop_front();
        }
        traps.push_back(trap);
    }

    /// What all calls came to.
    #[must_use]
    pub fn stats(&self) -> CallStats {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let errors = ErrorCase::ALL.iter().zip(&self.errors);
        let errors = errors.map(|(kind, count)| ErrorCount { kind: *kind, count: read(count) });
        let errors: Vec<_> = errors.filter(|error| error.count > 0).collect();
        let never_ran: u64 =
            errors.iter().filter(|error| !error.kind.is_fault()).map(|error| error.count).sum();
        let (calls, warm) = (read(&self.calls), read(&self.warm));
        CallStats {
            calls,
            errors,
            fresh: calls.saturating_sub(warm + never_ran),
            warm,
            processor_microseconds: read(&self.processor) / 1000,
            peak_memory_bytes: read(&self.memory),
            host_calls: read(&self.host_calls),
            host_bytes: read(&self.host_bytes),
            latency: self.latency.distribution(0),
            queue: self.queue.distribution(calls),
        }
    }

    /// The last traps, oldest first.
    #[must_use]
    pub fn traps(&self) -> Vec<Trapped> {
        self.traps.lock().iter().cloned().collect()
    }
}

fn add(number: &AtomicU64, more: u64) {
    number.fetch_add(more, Ordering::Relaxed);
}
