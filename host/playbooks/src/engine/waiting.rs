//! How many runs of each organisation wait, and how many of them may: so none's keep another from starting its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bellwether_kernel::{OrganisationId, RunId};
use parking_lot::Mutex;

use crate::Playbooks;

/// Runs that wait, by organisation.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Of one organisation.
    most: usize,
    /// Of those that have any.
    counts: Mutex<HashMap<OrganisationId, Counts>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    recorded: usize,
    /// Those about to be recorded.
    reserved: usize,
}

/// Runs that a commit makes ready, which are counted once it is made: each with whether it waited for a place of its
/// playbook's until then.
#[derive(Debug, Default)]
pub(super) struct Roused(BTreeMap<RunId, bool>);

impl Roused {
    pub(super) fn add(&mut self, run: RunId, had_no_place: bool) {
        self.0.insert(run, had_no_place);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }
}

/// A place among an organisation's runs that wait, held for one that is about to be recorded: so many at once are never more
/// than may wait.
#[derive(Debug)]
pub(super) struct Reserved(Arc<Waiting>, OrganisationId);

impl Drop for Reserved {
    fn drop(&mut self) {
        self.0.change(self.1, |counts| counts.reserved -= 1);
    }
}

impl Waiting {
    /// At most so many of each organisation.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, counts: Mutex::default() })
    }

    fn change(&self, organisation: OrganisationId, change: impl FnOnce(&mut Counts)) {
        let mut all = self.counts.lock();
        let counts = all.entry(organisation).or_default();
        change(counts);
        if counts.recorded + counts.reserved == 0 {
            all.remove(&organisation);
        }
    }

    /// Holds a place, or gives how many wait where that are as many as may.
    pub(super) fn reserve(self: &Arc<Self>, organisation: OrganisationId) -> Result<Reserved, usize> {
        let mut all = self.counts.lock();
        let known = all.get(&organisation).copied().unwrap_or_default();
        let runs = known.recorded + known.reserved;
        if runs >= self.most {
            return Err(runs);
        }
        all.entry(organisation).or_default().reserved += 1;
        drop(all);
        Ok(Reserved(Arc::clone(self), organisation))
    }

    /// So many runs more are recorded.
    pub(super) fn came(&self, organisation: OrganisationId, runs: usize) {
        self.change(organisation, |counts| counts.recorded += runs);
    }

    /// So many wait no more.
    pub(super) fn went(&self, organisation: OrganisationId, runs: usize) {
        self.change(organisation, |counts| counts.recorded = counts.recorded.saturating_sub(runs));
    }

    /// Counts none of an organisation that is gone.
    pub(crate) fn forget(&self, organisation: OrganisationId) {
        self.change(organisation, |counts| counts.recorded = 0);
    }

    /// Whether none waits, nor is about to, but those of organisations that are passed over.
    pub(super) fn is_empty_but_for(&self, is_passed: impl Fn(OrganisationId) -> bool) -> bool {
        self.counts.lock().keys().all(|organisation| is_passed(*organisation))
    }

    #[cfg(test)]
    pub(crate) fn reserved(&self) -> usize {
        self.counts.lock().values().map(|counts| counts.reserved).sum()
    }

    /// How many are recorded of each organisation.
    pub(crate) fn recorded(&self) -> HashMap<OrganisationId, usize> {
        let counts = self.counts.lock();
        counts.iter().map(|(organisation, counts)| (*organisation, counts.recorded)).collect()
    }

    /// Takes over how many were found, by a look that began when `before` were known.
    pub(super) fn correct(
        &self,
        before: &HashMap<OrganisationId, usize>,
        found: &HashMap<OrganisationId, usize>,
    ) {
        let mut all = self.counts.lock();
        for organisation in found.keys() {
            all.entry(*organisation).or_default();
        }
        all.retain(|organisation, now| {
            let [before, found] =
                [before, found].map(|counts| counts.get(organisation).copied().unwrap_or_default());
            now.recorded = found + now.recorded.saturating_sub(before);
            now.recorded + now.reserved > 0
        });
    }
}

impl Playbooks {
    /// Counts runs as ready that a commit made so.
    pub(super) fn are_ready(&self, organisation: OrganisationId, roused: &Roused) {
        if roused.0.is_empty() {
            return;
        }
        self.placeless.went(organisation, roused.0.values().filter(|had_no_place| **had_no_place).count());
        self.queued.came(organisation, roused.0.len());
        self.ready.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: OrganisationId = OrganisationId(1);
    const OTHER: OrganisationId = OrganisationId(2);

    #[test]
    fn an_organisation_that_has_as_many_as_may_wait_leaves_another_its_own() {
        let waiting = Waiting::new(2);
        let held = [waiting.reserve(ONE).unwrap(), waiting.reserve(ONE).unwrap()];
        assert_eq!(waiting.reserve(ONE).unwrap_err(), 2);
        waiting.came(ONE, 2);
        drop(held);
        assert_eq!(waiting.reserve(ONE).unwrap_err(), 2);
        drop(waiting.reserve(OTHER).unwrap());
        waiting.went(ONE, 1);
        drop(waiting.reserve(ONE).unwrap());
        assert!(waiting.is_empty_but_for(|organisation| organisation == ONE));
        assert!(!waiting.is_empty_but_for(|organisation| organisation == OTHER));
        waiting.forget(ONE);
        assert!(waiting.is_empty_but_for(|_| false));
    }

    #[test]
    fn what_comes_while_they_are_counted_counts_too() {
        let waiting = Waiting::new(9);
        waiting.came(ONE, 3);
        let before = waiting.recorded();
        waiting.came(ONE, 1);
        waiting.correct(&before, &HashMap::from([(OTHER, 2)]));
        assert_eq!(waiting.recorded(), HashMap::from([(ONE, 1), (OTHER, 2)]));
    }
}
