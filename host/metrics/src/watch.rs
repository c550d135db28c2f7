//! Which metrics are watched: only their writes are logged, so that every other write costs nothing more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bellwether_kernel::{MetricId, OrganisationId};
use parking_lot::RwLock;

use crate::{Metric, Metrics, NamePattern};

/// What is watched, of every organisation.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// Whether anything is, so that a host without watches takes no lock.
    any: AtomicBool,
    organisations: RwLock<HashMap<OrganisationId, Arc<Watched>>>,
}

/// What one organisation watches.
#[derive(Debug)]
pub(crate) struct Watched {
    patterns: Vec<NamePattern>,
    /// What the patterns said about a metric: its name never changes and its id is never used again.
    decided: RwLock<HashMap<MetricId, bool>>,
}

impl Watched {
    /// Whether any pattern matches the metric's name.
    pub(crate) fn has(&self, metric: &Metric) -> bool {
        if let Some(watched) = self.decided.read().get(&metric.id) {
            return *watched;
        }
        let watched = self.patterns.iter().any(|pattern| pattern.matches(&metric.definition.name));
        self.decided.write().insert(metric.id, watched);
        watched
    }
}

impl Watches {
    /// What the organisation watches, if anything.
    pub(crate) fn of(&self, organisation: OrganisationId) -> Option<Arc<Watched>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        self.organisations.read().get(&organisation).cloned()
    }

    fn set(&self, organisation: OrganisationId, patterns: Vec<NamePattern>) {
        let mut organisations = self.organisations.write();
        if patterns.is_empty() {
            organisations.remove(&organisation);
        } else {
            organisations.insert(organisation, Arc::new(Watched { patterns, decided: RwLock::default() }));
        }
        self.any.store(!organisations.is_empty(), Ordering::Release);
    }
}

impl Metrics {
    /// Logs every write of `organisation` from here on that goes to a metric one of `patterns` matches, in the place
    /// of what was watched before; none ends it. A write that is under way meanwhile may still go by what was before.
    /// Watches are not kept across a restart: set them before the first write is taken.
    pub fn watch(&self, organisation: OrganisationId, patterns: Vec<NamePattern>) {
        self.watches.set(organisation, patterns);
    }
}
