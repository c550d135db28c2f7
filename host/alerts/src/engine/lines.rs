//! Which monitor is evaluated next: a line of those that are due for each organisation, so that none waits for another's.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bellwether_kernel::{OrganisationId, Timestamp};

use super::turn::Cause;
use crate::MonitorId;

/// Monitors of one organisation that are taken from the schedule at once: several rounds of its share of those at work.
/// What is beyond stays in the store until then.
const LINE: usize = 1_024;

/// An evaluation that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) cause: Cause,
    pub(super) at: Timestamp,
    pub(super) organisation: OrganisationId,
    pub(super) id: MonitorId,
}

/// What is due, and what is at work.
#[derive(Default)]
pub(super) struct Lines {
    lines: BTreeMap<OrganisationId, Line>,
    /// The organisation that was served last: the next one in order is served next.
    served: Option<OrganisationId>,
    at_work: usize,
    waiting: usize,
}

/// What is due of one organisation.
#[derive(Default)]
struct Line {
    /// By the schedule, in the order of their times: it goes first, for it covers what wakes are for.
    scheduled: VecDeque<(Timestamp, MonitorId)>,
    /// The same without their order.
    known: HashSet<MonitorId>,
    /// By what was written; of several wakes of one monitor the last.
    woken: VecDeque<MonitorId>,
    wakes: HashMap<MonitorId, Timestamp>,
    /// One is evaluated at a time: of two that begin together one would be in vain.
    busy: HashSet<MonitorId>,
    /// How many of those are at work; the others rest.
    at_work: usize,
}

impl Lines {
    /// Takes in what is due by the schedule; whether there was room, or it is known.
    pub(super) fn schedule(&mut self, at: Timestamp, organisation: OrganisationId, id: MonitorId) -> bool {
        let line = self.lines.entry(organisation).or_default();
        if line.busy.contains(&id) || line.known.contains(&id) {
            return true;
        }
        if line.scheduled.len() >= LINE {
            return false;
        }
        line.known.insert(id);
        line.scheduled.push_back((at, id));
        self.waiting += 1;
        true
    }

    /// Takes in what a write woke.
    pub(super) fn wake(&mut self, at: Timestamp, organisation: OrganisationId, id: MonitorId) {
        let line = self.lines.entry(organisation).or_default();
        match line.wakes.get_mut(&id) {
            Some(known) => *known = (*known).max(at),
            None => {
                line.wakes.insert(id, at);
                line.woken.push_back(id);
                self.waiting += 1;
            }
        }
    }

    /// What begins now, of at most so many at work. An organisation gets another only while more are free than it has: so
    /// it has half of them alone, and each that comes anew half of those the others left. However slow what they evaluate is,
    /// the first few that come find one free at once, five where there are 32; who comes then waits until one is.
    pub(super) fn begin(&mut self, at_once: usize) -> Option<Begun> {
        use std::ops::Bound::{Excluded, Unbounded};
        let free = at_once.max(1).saturating_sub(self.at_work);
        if free == 0 {
            return None;
        }
        let after = self.served.map_or(Unbounded, Excluded);
        let organisations = self.lines.range((after, Unbounded)).chain(&self.lines);
        let own_turn = |(_, line): &(&OrganisationId, &Line)| line.at_work < free && line.next().is_some();
        let organisation = organisations.into_iter().find(own_turn).map(|(organisation, _)| *organisation)?;
        let line = self.lines.get_mut(&organisation)?;
        let (cause, at, id) = line.take()?;
        line.busy.insert(id);
        line.at_work += 1;
        self.at_work += 1;
        self.waiting -= 1;
        self.served = Some(organisation);
        Some(Begun { cause, at, organisation, id })
    }

    /// An evaluation ended. Its monitor is not evaluated again before [`Self::rested`] says so.
    pub(super) fn end(&mut self, organisation: OrganisationId) {
        let Some(line) = self.lines.get_mut(&organisation) else { return };
        line.at_work = line.at_work.saturating_sub(1);
        self.at_work = self.at_work.saturating_sub(1);
    }

    /// A monitor whose evaluation ended may be evaluated again.
    pub(super) fn rested(&mut self, organisation: OrganisationId, id: MonitorId) {
        let Some(line) = self.lines.get_mut(&organisation) else { return };
        line.busy.remove(&id);
        if line.busy.is_empty() && line.scheduled.is_empty() && line.woken.is_empty() {
            self.lines.remove(&organisation);
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
}

impl Line {
    /// The places of the first of each kind that is not busy.
    fn next(&self) -> Option<(Cause, usize)> {
        let is_free = |id: &MonitorId| !self.busy.contains(id);
        let scheduled = self.scheduled.iter().position(|(_, id)| is_free(id));
        let woken = || self.woken.iter().position(is_free).map(|place| (Cause::Write, place));
        scheduled.map(|place| (Cause::Schedule, place)).or_else(woken)
    }

    fn take(&mut self) -> Option<(Cause, Timestamp, MonitorId)> {
        match self.next()? {
            (Cause::Schedule, place) => {
                let (at, id) = self.scheduled.remove(place)?;
                self.known.remove(&id);
                Some((Cause::Schedule, at, id))
            }
            (Cause::Write, place) => {
                let id = self.woken.remove(place)?;
                self.wakes.remove(&id).map(|at| (Cause::Write, at, id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::MIN;
    const ONE: OrganisationId = OrganisationId(1);
    const OTHER: OrganisationId = OrganisationId(2);

    fn begun(lines: &mut Lines, at_once: usize) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| lines.begin(at_once)).map(|begun| (begun.organisation.0, begun.id.0)).collect()
    }

    #[test]
    fn an_organisation_has_half_of_those_at_work_alone_and_who_comes_anew_half_of_what_is_left() {
        let mut lines = Lines::default();
        for id in 1..=9 {
            assert!(lines.schedule(AT, ONE, MonitorId(id)));
        }
        assert_eq!(begun(&mut lines, 8), [(1, 1), (1, 2), (1, 3), (1, 4)]);
        lines.schedule(AT, OTHER, MonitorId(1));
        lines.schedule(AT, OTHER, MonitorId(2));
        lines.schedule(AT, OTHER, MonitorId(3));
        assert_eq!(begun(&mut lines, 8), [(2, 1), (2, 2)]);
        lines.end(ONE);
        lines.rested(ONE, MonitorId(3));
        assert_eq!(begun(&mut lines, 8), [(2, 3)], "it has fewer");
        assert_eq!(lines.waiting(), 5);
        assert_eq!(begun(&mut Lines::default(), 8), []);
    }

    #[test]
    fn a_monitor_is_evaluated_once_at_a_time_and_its_last_wake_waits_for_that() {
        let mut lines = Lines::default();
        let (id, later) = (MonitorId(1), AT.saturating_add(1));
        lines.wake(AT, ONE, id);
        lines.wake(later, ONE, id);
        lines.schedule(AT, ONE, id);
        lines.schedule(AT, ONE, id);
        let first = Begun { cause: Cause::Schedule, at: AT, organisation: ONE, id };
        assert_eq!(lines.begin(8), Some(first));
        assert!(lines.schedule(AT, ONE, id), "it is at work");
        assert_eq!(lines.begin(8), None);
        lines.end(ONE);
        assert_eq!(lines.begin(8), None, "it rests");
        lines.rested(ONE, id);
        assert_eq!(lines.begin(8), Some(Begun { cause: Cause::Write, at: later, ..first }));
        assert_eq!((lines.begin(8), lines.waiting()), (None, 0));
        lines.end(ONE);
        lines.rested(ONE, id);
        assert!(lines.lines.is_empty());
    }

    #[test]
    fn what_is_due_of_one_organisation_keeps_none_of_another_from_the_line() {
        let mut lines = Lines::default();
        let taken = (0..5_000).filter(|id| lines.schedule(AT, ONE, MonitorId(*id))).count();
        assert_eq!(taken, LINE);
        assert!(lines.schedule(AT, OTHER, MonitorId(1)));
    }
}
