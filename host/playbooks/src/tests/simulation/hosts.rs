//! A host of the simulation, and its way to the store, which can be held up or cut.

use async_trait::async_trait;
use bellwether_store::StoreError;
use tokio::sync::watch;

use super::super::passing::{Asked, Passing, Way};
use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing goes through, and nothing fails.
    Stalled,
    /// Everything fails.
    Cut,
}

/// A host's way to the store.
struct Door(watch::Sender<State>);

#[async_trait]
impl Way for Door {
    async fn before(&self, _: &Asked<'_>) -> Result<(), StoreError> {
        let mut state = self.0.subscribe();
        let state = state.wait_for(|state| *state != State::Stalled).await.map(|state| *state);
        if state.is_ok_and(|state| state == State::Open) {
            Ok(())
        } else {
            Err(StoreError::Unavailable("the host is dead"))
        }
    }

    async fn after(&self, asked: &Asked<'_>) -> Result<(), StoreError> {
        match asked {
            // It may have been held up behind the commit, too.
            Asked::Commit => self.before(asked).await,
            _ => Ok(()),
        }
    }
}

/// One life of a host.
pub(super) struct Host {
    door: Arc<Passing<Door>>,
    pub(super) writes: Arc<FakeWrites>,
    pub(super) playbooks: Arc<Playbooks>,
}

impl Host {
    pub(super) async fn open(
        world: &World,
        number: u64,
        writes: Arc<FakeWrites>,
    ) -> Result<Self, PlaybookError> {
        let door = Passing::new(&world.store, Door(watch::Sender::new(State::Open)));
        let access = open_access(door.clone(), &world.clock, &world.chance).await?;
        let parts = world.parts(door.clone(), &access, number, Some(&writes));
        Ok(Self { door, writes, playbooks: Playbooks::open(parts).await? })
    }

    /// Ends at once, as a process that is killed.
    pub(super) fn die(self) {
        self.door.way.0.send_replace(State::Cut);
        self.playbooks.die();
    }

    /// Stands still for a while: what it asks the store for takes so long.
    pub(super) fn stall(&self, span: Duration) {
        if self.is_stalled() {
            return;
        }
        self.door.way.0.send_replace(State::Stalled);
        let door = Arc::clone(&self.door);
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            door.way.0.send_if_modified(|state| {
                let was_stalled = *state == State::Stalled;
                if was_stalled {
                    *state = State::Open;
                }
                was_stalled
            });
        });
    }

    pub(super) fn is_stalled(&self) -> bool {
        *self.door.way.0.borrow() == State::Stalled
    }

    /// What a caller gets who hangs up after a while, whatever went wrong.
    pub(super) async fn patiently<T>(
        &self,
        answer: impl Future<Output = Result<T, PlaybookError>>,
    ) -> Option<T> {
        tokio::time::timeout(Duration::from_secs(10), answer).await.ok()?.ok()
    }
}
