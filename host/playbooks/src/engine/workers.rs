//! The places of runs at work at once, which organisations share: however long the runs of one take, others' find a place.

use std::collections::HashMap;
use std::sync::Arc;

use bellwether_kernel::OrganisationId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// One place in so many is left to organisations that hold few, as slots of calls and turns of queries are: enough for the
/// first few others, and too few to be missed by one that is alone.
const LEFT: usize = 4;

/// The workers of a host, one for each run at work.
#[derive(Debug)]
pub(crate) struct Workers {
    /// How many an organisation leaves free that holds as many as those, or more.
    left: usize,
    state: Mutex<State>,
    /// Told when one is free again and somebody was refused one.
    freed: Notify,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Of the organisations that hold any.
    held: HashMap<OrganisationId, usize>,
    /// Whether anybody was refused one since it was last told that one is free.
    refused: bool,
}

/// One worker. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Worker(Arc<Workers>, OrganisationId);

impl Workers {
    /// So many, at least one.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        let workers = workers.max(1);
        let state = State { free: workers, held: HashMap::new(), refused: false };
        Arc::new(Self { left: (workers / LEFT).max(1), state: Mutex::new(state), freed: Notify::new() })
    }

    /// A worker for a run of an organisation, if it gets another: while more than one in [`LEFT`] are free, or more than it
    /// has. So it has three quarters of them alone, and of the last quarter, each that comes anew gets half of what the
    /// others left: the first few, five where there are 64, find one at once, however long the runs of all the others take.
    pub(super) fn take(self: &Arc<Self>, organisation: OrganisationId) -> Option<Worker> {
        let mut state = self.state.lock();
        if !state.has_one_for(organisation, self.left) {
            state.refused = true;
            return None;
        }
        state.free -= 1;
        *state.held.entry(organisation).or_default() += 1;
        Some(Worker(Arc::clone(self), organisation))
    }

    /// Whether an organisation would get another.
    pub(super) fn has_one_for(&self, organisation: OrganisationId) -> bool {
        self.state.lock().has_one_for(organisation, self.left)
    }

    /// Whether there is one for anybody: else it is told when there is.
    pub(super) fn has_one(&self) -> bool {
        let mut state = self.state.lock();
        state.refused |= state.free == 0;
        state.free > 0
    }

    /// Waits until one is free again, if anybody was refused one.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl State {
    fn has_one_for(&self, organisation: OrganisationId, left: usize) -> bool {
        self.free > left || self.free > self.held.get(&organisation).copied().unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let Self(workers, organisation) = self;
        let mut state = workers.state.lock();
        state.free += 1;
        if let Some(held) = state.held.get_mut(organisation) {
            *held -= 1;
            if *held == 0 {
                state.held.remove(organisation);
            }
        }
        if std::mem::take(&mut state.refused) {
            workers.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const ONE: OrganisationId = OrganisationId(1);
    const OTHER: OrganisationId = OrganisationId(2);

    /// All that an organisation gets.
    fn all(workers: &Arc<Workers>, organisation: OrganisationId) -> Vec<Worker> {
        std::iter::from_fn(|| workers.take(organisation)).collect()
    }

    #[test]
    fn an_organisation_has_three_quarters_alone_and_who_comes_anew_half_of_what_is_left() {
        for (count, shares) in [
            (1, &[1, 0][..]),
            (2, &[1, 1, 0]),
            (3, &[2, 1, 0]),
            (8, &[6, 1, 1, 0]),
            (64, &[48, 8, 4, 2, 1, 1, 0]),
        ] {
            let workers = Workers::new(count);
            let held: Vec<_> = (1..).map(OrganisationId).take(shares.len()).collect();
            let held: Vec<_> = held.into_iter().map(|organisation| all(&workers, organisation)).collect();
            assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), shares, "of {count}");
            assert!(!workers.has_one(), "of {count}");
            drop(held);
            assert_eq!(all(&workers, OTHER).len(), shares[0], "all {count} are given back");
            assert!(workers.state.lock().held.is_empty());
        }
    }

    #[test]
    fn one_that_is_free_again_goes_to_who_holds_fewer() {
        let workers = Workers::new(8);
        let (mut ones, mut others) = (all(&workers, ONE), all(&workers, OTHER));
        assert_eq!((ones.len(), others.len()), (6, 1));
        drop(ones.pop());
        assert!(!workers.has_one_for(ONE) && workers.has_one_for(OTHER));
        others.extend(workers.take(OTHER));
        drop(others);
        assert_eq!(all(&workers, ONE).len(), 1, "nobody else holds any");
    }

    #[test]
    fn one_that_is_free_is_told_of_where_somebody_was_refused_one() {
        let workers = Workers::new(1);
        let freed = || workers.freed().now_or_never().is_some();
        drop(workers.take(ONE));
        assert!(!freed(), "nobody wanted another");
        let held = workers.take(ONE);
        assert!(workers.take(OTHER).is_none() && !freed());
        drop(held);
        assert!(freed() && !freed());
        let held = workers.take(ONE);
        assert!(!workers.has_one());
        drop(held);
        assert!(freed());
    }
}
