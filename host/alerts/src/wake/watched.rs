//! Which monitors look at which series, found by what is written.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_series::{Expression, Filter, TagPattern};

use crate::MonitorId;
use crate::monitor::Compiled;

/// Monitors that are known here. Those beyond are evaluated by the schedule alone.
const MONITORS: usize = 200_000;

/// What one monitor looks at.
pub(super) struct Watch {
    pub(super) organisation: OrganisationId,
    pub(super) id: MonitorId,
    version: u32,
    step: i64,
    delay: i64,
    window: i64,
    distance: i64,
    /// A detector is shown each point once: what comes behind those it was shown changes nothing.
    is_shown_once: bool,
    /// Metrics, and which of their series.
    reads: Vec<(String, Filter)>,
    /// The last evaluation here, in milliseconds since the epoch.
    evaluated: AtomicI64,
    /// Whether a wake for what its next evaluation sees at once waits already.
    late: AtomicBool,
    /// The last wake for what a later one sees.
    to_come: AtomicI64,
}

impl Watch {
    pub(super) fn new(
        organisation: OrganisationId,
        id: MonitorId,
        version: u32,
        compiled: &Compiled,
    ) -> Self {
        let mut reads = Vec::new();
        selections(&compiled.expression, &mut reads);
        Self {
            organisation,
            id,
            version,
            step: compiled.step,
            delay: compiled.delay,
            window: compiled.window,
            distance: compiled.distance(),
            is_shown_once: compiled.anomaly.is_some(),
            reads,
            evaluated: AtomicI64::new(i64::MIN),
            late: AtomicBool::new(false),
            to_come: AtomicI64::new(i64::MIN),
        }
    }

    pub(super) fn evaluated(&self, at: Timestamp) {
        self.evaluated.fetch_max(at.as_milliseconds(), Ordering::AcqRel);
    }

    /// Whether it was evaluated here at that time or later.
    pub(super) fn is_evaluated(&self, at: Timestamp) -> bool {
        self.evaluated.load(Ordering::Acquire) >= at.as_milliseconds()
    }

    /// The soonest it is evaluated again for a write.
    pub(super) fn soonest(&self) -> Timestamp {
        let last = Timestamp::from_milliseconds(self.evaluated.load(Ordering::Acquire));
        last.unwrap_or(Timestamp::MIN).saturating_add(self.distance)
    }

    /// It is about to be evaluated.
    pub(super) fn woken(&self) {
        self.late.store(false, Ordering::Release);
    }

    /// The end of the window of an evaluation at `at`.
    fn end(&self, at: i64) -> i64 {
        at.saturating_sub(self.delay).div_euclid(self.step).saturating_mul(self.step)
    }

    /// When to wake it for samples of these times that its window holds already, unless it is to be woken for others.
    pub(super) fn late(&self, times: &[i64], now: Timestamp) -> Option<Timestamp> {
        if self.late.load(Ordering::Acquire) {
            return None;
        }
        let end = self.end(now.as_milliseconds());
        let start = match self.is_shown_once {
            true => self.end(self.evaluated.load(Ordering::Acquire)),
            false => end.saturating_sub(self.window),
        };
        let is_late = times.iter().any(|time| (start..end).contains(time));
        // Behind every evaluation that may have begun: that one may not see it.
        (is_late && !self.late.swap(true, Ordering::AcqRel)).then(|| now.saturating_add(1))
    }

    /// When to wake it for samples of these times whose step is not over, or still delayed. What is of the future is left
    /// to the schedule.
    pub(super) fn to_come(&self, times: &[i64], now: Timestamp) -> Option<Timestamp> {
        let (now, end) = (now.as_milliseconds(), self.end(now.as_milliseconds()));
        let first = times.iter().copied().filter(|time| (end..=now).contains(time)).min()?;
        let seen = (first.div_euclid(self.step) + 1) * self.step + self.delay;
        let is_new = self.to_come.swap(seen, Ordering::AcqRel) != seen;
        Timestamp::from_milliseconds(seen).filter(|_| is_new)
    }
}

/// What an expression reads. A moved selection counts as one that is not: it is a hint too many.
fn selections(expression: &Expression, into: &mut Vec<(String, Filter)>) {
    match expression {
        Expression::Number(_) => {}
        Expression::Select(selection) => into.push((selection.metric.clone(), selection.filter.clone())),
        Expression::Binary(_, left, right) => {
            selections(left, into);
            selections(right, into);
        }
        Expression::Apply(_, argument) => selections(argument, into),
    }
}

/// A tag that every series must have that a filter means.
fn needed(filter: &Filter) -> Option<String> {
    match filter {
        Filter::Tag(key, TagPattern::Exact(value)) if value.is_empty() => Some(key.clone()),
        Filter::Tag(key, TagPattern::Exact(value)) => Some(format!("{key}:{value}")),
        Filter::And(filters) => filters.iter().find_map(needed),
        _ => None,
    }
}

/// Who reads a metric.
#[derive(Default)]
pub(super) struct Readers {
    /// All of its series.
    all: Vec<Arc<Watch>>,
    /// Those with a tag, by that tag, and what else they must have.
    tagged: HashMap<String, Vec<(Filter, Arc<Watch>)>>,
    /// Those that something else tells.
    others: Vec<(Filter, Arc<Watch>)>,
}

impl Readers {
    fn add(&mut self, filter: &Filter, watch: &Arc<Watch>) {
        match (filter, needed(filter)) {
            (Filter::All, _) => self.all.push(Arc::clone(watch)),
            (_, Some(tag)) => self.tagged.entry(tag).or_default().push((filter.clone(), Arc::clone(watch))),
            (_, None) => self.others.push((filter.clone(), Arc::clone(watch))),
        }
    }

    fn remove(&mut self, filter: &Filter, watch: &Arc<Watch>) {
        let stays = |(_, known): &(Filter, Arc<Watch>)| !Arc::ptr_eq(known, watch);
        match (filter, needed(filter)) {
            (Filter::All, _) => self.all.retain(|known| !Arc::ptr_eq(known, watch)),
            (_, Some(tag)) => {
                if let Some(readers) = self.tagged.get_mut(&tag) {
                    readers.retain(stays);
                    if readers.is_empty() {
                        self.tagged.remove(&tag);
                    }
                }
            }
            (_, None) => self.others.retain(stays),
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.tagged.is_empty() && self.others.is_empty()
    }

    /// Calls `each` for those who read the series with these tags; without looking further once `checks` are used up.
    pub(super) fn touched(&self, tags: &[&str], checks: &mut usize, mut each: impl FnMut(&Arc<Watch>)) {
        self.all.iter().for_each(&mut each);
        let mut held = |(filter, watch): &(Filter, Arc<Watch>)| {
            if *checks == 0 || filter.matches(tags) {
                each(watch);
            }
            *checks = checks.saturating_sub(1);
        };
        if !self.tagged.is_empty() {
            for &tag in tags {
                // As series have it: an empty value is written without its colon.
                let tag = tag.strip_suffix(':').filter(|key| !key.contains(':')).unwrap_or(tag);
                self.tagged.get(tag).into_iter().flatten().for_each(&mut held);
            }
        }
        self.others.iter().for_each(held);
    }
}

/// The monitors that are known here.
#[derive(Default)]
pub(super) struct Watched {
    monitors: HashMap<(OrganisationId, MonitorId), Arc<Watch>>,
    readers: HashMap<OrganisationId, HashMap<String, Readers>>,
}

impl Watched {
    pub(super) fn readers(&self, organisation: OrganisationId, metric: &str) -> Option<&Readers> {
        self.readers.get(&organisation)?.get(metric)
    }

    /// A monitor, if this version of it is known.
    pub(super) fn get(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
        version: u32,
    ) -> Option<Arc<Watch>> {
        self.any(organisation, id).filter(|watch| watch.version == version).cloned()
    }

    pub(super) fn any(&self, organisation: OrganisationId, id: MonitorId) -> Option<&Arc<Watch>> {
        self.monitors.get(&(organisation, id))
    }

    pub(super) fn put(&mut self, watch: &Arc<Watch>) {
        self.remove(watch.organisation, watch.id);
        if self.monitors.len() >= MONITORS {
            return;
        }
        self.monitors.insert((watch.organisation, watch.id), Arc::clone(watch));
        let metrics = self.readers.entry(watch.organisation).or_default();
        for (metric, filter) in &watch.reads {
            metrics.entry(metric.clone()).or_default().add(filter, watch);
        }
    }

    pub(super) fn remove_all(&mut self, organisation: OrganisationId) {
        self.monitors.retain(|(own, _), _| *own != organisation);
        self.readers.remove(&organisation);
    }

    pub(super) fn remove(&mut self, organisation: OrganisationId, id: MonitorId) {
        let Some(watch) = self.monitors.remove(&(organisation, id)) else { return };
        let Some(metrics) = self.readers.get_mut(&organisation) else { return };
        for (metric, filter) in &watch.reads {
            if let Some(readers) = metrics.get_mut(metric) {
                readers.remove(filter, &watch);
                if readers.is_empty() {
                    metrics.remove(metric);
                }
            }
        }
        if metrics.is_empty() {
            self.readers.remove(&organisation);
        }
    }
}
