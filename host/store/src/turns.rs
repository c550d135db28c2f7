//! Turns for work that holds a thread for long: so many at once, and no organisation takes all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::OrganisationId;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::StoreError;

/// One turn in so many is left to others by each organisation: what they find free, or soon free, while one floods the
/// host.
const LEFT: usize = 4;

/// Turns, which organisations share.
///
/// Who waits does so among its own first, then, with no more than its organisation's share of others, in the line of all:
/// so that however many one asks for, another's waits behind few of them.
#[derive(Debug)]
pub struct Turns {
    all: Arc<Semaphore>,
    /// How many one organisation may hold or wait for in the line of all.
    share: usize,
    own: Mutex<HashMap<OrganisationId, Arc<Semaphore>>>,
    patience: Duration,
    /// What is told whoever waited in vain.
    busy: &'static str,
}

/// A turn. Dropped, it goes to whoever is next.
#[derive(Debug)]
pub struct Turn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at once, at least 2; who waits for one longer than `patience` is told that the host is `busy`, and to come
    /// back.
    #[must_use]
    pub fn new(turns: usize, patience: Duration, busy: &'static str) -> Self {
        let share = turns - (turns / LEFT).max(1);
        Self { all: Arc::new(Semaphore::new(turns)), share, own: Mutex::default(), patience, busy }
    }

    /// Knows no more of an organisation that is gone. Turns it holds are its own until they are dropped.
    pub fn forget(&self, organisation: OrganisationId) {
        self.own.lock().remove(&organisation);
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if none came free in time.
    pub async fn take(&self, organisation: OrganisationId) -> Result<Turn, StoreError> {
        let own = {
            let mut own = self.own.lock();
            Arc::clone(own.entry(organisation).or_insert_with(|| Arc::new(Semaphore::new(self.share))))
        };
        let free = Arc::clone(&own).try_acquire_owned().ok();
        // Mostly there is one, and nothing need be waited for.
        if let Some(own) = free
            && let Ok(all) = Arc::clone(&self.all).try_acquire_owned()
        {
            return Ok(Turn { _all: all, _own: own });
        }
        let waiting = async {
            let own = own.acquire_owned().await.ok()?;
            Some(Turn { _all: Arc::clone(&self.all).acquire_owned().await.ok()?, _own: own })
        };
        let turn = timeout(self.patience, waiting).await.ok().flatten();
        turn.ok_or(StoreError::Unavailable(self.busy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: OrganisationId = OrganisationId(1);
    const THEIRS: OrganisationId = OrganisationId(2);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn an_organisation_that_asks_for_every_turn_leaves_some_to_others() {
        runtime().block_on(async {
            let turns = Turns::new(8, Duration::from_millis(1), "busy");
            let mut held = Vec::new();
            while let Ok(turn) = turns.take(OURS).await {
                held.push(turn);
            }
            assert_eq!(held.len(), 6);
            let theirs = (turns.take(THEIRS).await, turns.take(THEIRS).await);
            assert!(theirs.0.is_ok() && theirs.1.is_ok());
            let late = turns.take(OrganisationId(3)).await.unwrap_err();
            assert!(matches!(late, StoreError::Unavailable(_)), "{late}");
            drop(held.pop());
            assert!(turns.take(OrganisationId(3)).await.is_ok());
        });
    }

    #[test]
    fn who_asks_beside_a_flood_waits_behind_a_share_of_it_and_not_behind_all() {
        runtime().block_on(async {
            let turns = Arc::new(Turns::new(2, Duration::from_secs(10), "busy"));
            let first = (turns.take(OURS).await.unwrap(), turns.take(THEIRS).await.unwrap());
            let order = Arc::new(Mutex::new(Vec::new()));
            let asks = [OURS; 50].into_iter().chain([OrganisationId(3)]).map(|organisation| {
                let (turns, order) = (Arc::clone(&turns), Arc::clone(&order));
                tokio::spawn(async move {
                    let _turn = turns.take(organisation).await.unwrap();
                    order.lock().push(organisation.0);
                    tokio::task::yield_now().await;
                })
            });
            let asks: Vec<_> = asks.collect();
            tokio::task::yield_now().await;
            drop(first);
            for ask in asks {
                ask.await.unwrap();
            }
            let place = order.lock().iter().position(|organisation| *organisation == 3);
            assert!(place.is_some_and(|place| place < 3), "{place:?}");
        });
    }
}
