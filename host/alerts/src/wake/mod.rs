//! What a write makes of the monitors that look at it: they are evaluated as soon as they can see it, not only when their
//! time comes.
//!
//! A wake is a hint, kept in memory. One that is lost (the host ended, another host took the write, more than
//! [`WAKES`] waited) costs time and nothing else: the schedule, which lies in the store, evaluates every monitor at the
//! latest `every` after its last evaluation, and that evaluation looks at the window as it then is.

mod watched;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bellwether_kernel::{Clock, OrganisationId, Timestamp};
use bellwether_series::{Hint, Listener, SeriesSlice};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::monitor::Compiled;
use crate::{MonitorId, limits};
use watched::{Watch, Watched};

/// Wakes that wait, of all monitors together: a few for each of the most an organisation may have.
const WAKES: usize = 500_000;

/// Filters held against the tags of one write's series, one by one. Where there are more, a write to their metric wakes
/// them all: it must not wait for them.
const CHECKS: usize = 100_000;

type Wake = (Timestamp, OrganisationId, MonitorId);

/// The monitors that are known to look at something, and when they are to be woken.
pub(crate) struct Wakes {
    clock: Arc<dyn Clock>,
    /// Told when a monitor is to be woken before all others.
    sooner: Arc<Notify>,
    watched: RwLock<Watched>,
    waiting: Mutex<BTreeSet<Wake>>,
}

impl Wakes {
    pub(crate) fn new(clock: Arc<dyn Clock>, sooner: Arc<Notify>) -> Self {
        Self { clock, sooner, watched: RwLock::default(), waiting: Mutex::default() }
    }

    /// A monitor was evaluated on this host: from here on, what it looks at is known.
    pub(crate) fn evaluated(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
        version: u32,
        compiled: &Compiled,
        at: Timestamp,
    ) {
        let known = self.watched.read().get(organisation, id, version);
        // One that a clock ahead evaluated begins anew: its wakes wait for that time.
        let known =
            known.filter(|watch| !watch.is_evaluated(at.saturating_add(limits::CLOCK_AHEAD.milliseconds())));
        let watch = known.unwrap_or_else(|| {
            let watch = Arc::new(Watch::new(organisation, id, version, compiled));
            self.watched.write().put(&watch);
            watch
        });
        watch.evaluated(at);
    }

    /// A monitor is gone, or paused.
    pub(crate) fn forget(&self, organisation: OrganisationId, id: MonitorId) {
        self.watched.write().remove(organisation, id);
    }

    /// An organisation is gone with all its monitors.
    pub(crate) fn forget_all(&self, organisation: OrganisationId) {
        self.watched.write().remove_all(organisation);
        self.waiting.lock().retain(|(_, own, _)| *own != organisation);
    }

    /// Wakes a monitor then.
    pub(crate) fn put_off(&self, at: Timestamp, organisation: OrganisationId, id: MonitorId) {
        self.put((at, organisation, id));
    }

    /// Whether it found room.
    fn put(&self, wake: Wake) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAKES {
            return false;
        }
        let is_first = waiting.first().is_none_or(|first| wake < *first);
        waiting.insert(wake);
        if is_first {
            self.sooner.notify_one();
        }
        true
    }

    /// When the first is to be woken.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.waiting.lock().first().map(|(at, ..)| *at)
    }

    /// Takes those to be woken by `now`, at most so many; of several wakes of one monitor the last, which sees what the
    /// others are for.
    pub(crate) fn take(&self, now: Timestamp, most: usize) -> Vec<Wake> {
        let mut taken = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            while taken.len() < most && waiting.first().is_some_and(|(at, ..)| *at <= now) {
                taken.extend(waiting.pop_first());
            }
        }
        let mut seen = HashSet::new();
        taken.reverse();
        taken.retain(|(_, organisation, id)| seen.insert((*organisation, *id)));
        taken.reverse();
        let watched = self.watched.read();
        taken.retain(|(at, organisation, id)| {
            let Some(watch) = watched.any(*organisation, *id) else { return false };
            // What is written from here on may not be seen by the evaluation to come.
            watch.woken();
            !watch.is_evaluated(*at)
        });
        taken
    }

    fn note(&self, watch: &Watch, times: &[i64], now: Timestamp) {
        let soonest = watch.soonest();
        let wake = |at: Timestamp| (at.max(soonest), watch.organisation, watch.id);
        if let Some(at) = watch.late(times, now)
            && !self.put(wake(at))
        {
            watch.woken();
        }
        if let Some(at) = watch.to_come(times, now) {
            self.put(wake(at));
        }
    }
}

impl Listener for Wakes {
    /// A monitor that is only known while the write is under way is not woken: it was evaluated just then.
    fn hint(self: Arc<Self>, organisation: OrganisationId, series: &[SeriesSlice<'_>]) -> Option<Hint> {
        let (mut touched, mut times) = (Vec::new(), Vec::new());
        let watched = self.watched.read();
        let mut checks = CHECKS;
        for of_metric in series.chunk_by(|one, next| one.metric == next.metric) {
            let Some(readers) =
                of_metric.first().and_then(|slice| watched.readers(organisation, slice.metric))
            else {
                continue;
            };
            for slice in of_metric {
                let own = times.len()..times.len() + slice.times.len();
                times.extend_from_slice(slice.times);
                readers
                    .touched(slice.tags, &mut checks, |watch| touched.push((Arc::clone(watch), own.clone())));
            }
        }
        drop(watched);
        if touched.is_empty() {
            return None;
        }
        Some(Box::new(move || {
            let now = self.clock.now();
            touched.into_iter().for_each(|(watch, own)| self.note(&watch, &times[own], now));
        }))
    }
}
