//! How many runs of one playbook there are at once. Who holds a place is one row that every start and end of such a
//! run rewrites, so that of two hosts that start one at the same moment one looks again.

use bellwether_kernel::{OrganisationId, PlaybookId, RunId};
use bellwether_store::{Batch, Direction, Key, Precondition, StoreError, Walk, encode};

use super::waiting::Roused;
use crate::rows::{Gate, OpenRun, RunRow};
use crate::service::Loaded;
use crate::{Playbooks, Policy, RunState, rows};

/// Runs that are replaced in one commit; more than that, as there may be where the policy was another, by the next.
const REPLACED: usize = 200;

/// Where a new run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is one for it.
    Free,
    /// It waits until another ends.
    Waits,
    /// Nowhere.
    Skipped,
}

/// The runs whose place another takes, and those that are made ready by it.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    runs: Vec<RunId>,
    roused: Roused,
}

impl Playbooks {
    /// Tells runs that they are replaced, once that is committed.
    pub(super) fn are_replaced(&self, organisation: OrganisationId, replaced: &Replaced) {
        self.are_ready(organisation, &replaced.roused);
        replaced.runs.iter().for_each(|run| self.tell(*run));
    }

    /// Adds to `batch` that run `id` takes a place of its playbook's, as its policy says. Gives the runs that are
    /// replaced, which are to be told once the batch is committed.
    pub(super) async fn take_place(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        loaded: &Loaded,
        id: RunId,
    ) -> Result<(Place, Replaced), StoreError> {
        let mut replaced = Replaced::default();
        let Some(places) = loaded.compiled.places() else { return Ok((Place::Free, replaced)) };
        let (key, mut gate) = self.gate(batch, organisation, loaded.id).await?;
        let place = match loaded.compiled.document.concurrency.policy {
            _ if gate.running.len() < places => {
                gate.running.push(id);
                Place::Free
            }
            Policy::Skip => Place::Skipped,
            Policy::Replace => {
                let reason = format!("run {id} took its place");
                let others = self.going_on(organisation, loaded.id, &gate, places + REPLACED).await?;
                let too_many = (others.len() + 1).saturating_sub(places).min(REPLACED);
                for other in others.into_iter().take(too_many) {
                    if let Some(roused) = self.mark_cancelled(batch, organisation, other, &reason).await? {
                        replaced.roused.append(roused);
                        replaced.runs.push(other);
                    }
                }
                Place::Waits
            }
            Policy::Queue | Policy::Allow => Place::Waits,
        };
        if place != Place::Free {
            gate.came += 1;
        }
        batch.put(key, encode(&gate));
        Ok((place, replaced))
    }

    /// The runs of a playbook, oldest first, that hold a place and are not to end, then those that wait for one.
    async fn going_on(
        &self,
        organisation: OrganisationId,
        playbook: PlaybookId,
        gate: &Gate,
        most_waiting: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        let mut going_on = Vec::new();
        for run in &gate.running {
            let key = rows::run_open(organisation, *run);
            let open = self.store.get(&key).await?;
            let open: Option<OpenRun> = open.and_then(|row| self.store.unread().decode(&key, &row));
            if open.is_some_and(|open| open.cancel.is_none()) {
                going_on.push(*run);
            }
        }
        // One that is to end waits for no place.
        let waiting = rows::waiting(organisation, playbook).prefix();
        for (key, _) in self.store.scan(waiting, Direction::Forward, most_waiting).await? {
            going_on.push(rows::run_of(&key)?);
        }
        Ok(going_on)
    }

    /// Adds to `batch` that run `id` needs its place no more, and that those which waited for one are ready. Gives
    /// those that become so.
    pub(super) async fn free_place(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        loaded: &Loaded,
        id: RunId,
    ) -> Result<Roused, StoreError> {
        match loaded.compiled.places() {
            Some(places) => self.free_one_of(batch, organisation, loaded.id, id, places).await,
            None => Ok(Roused::default()),
        }
    }

    /// As [`Self::free_place`], for a playbook with so many places.
    pub(super) async fn free_one_of(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        playbook: PlaybookId,
        id: RunId,
        places: usize,
    ) -> Result<Roused, StoreError> {
        let (key, mut gate) = self.gate(batch, organisation, playbook).await?;
        gate.running.retain(|run| *run != id);
        let mut ready = Roused::default();
        let mut waiting = Walk::forward(&*self.store, rows::waiting(organisation, playbook).prefix());
        while gate.running.len() < places
            && let Some((waits, _)) = waiting.next().await?
        {
            let run = rows::run_of(&waits)?;
            if run == id {
                continue;
            }
            let open = rows::run_open(organisation, run);
            batch.delete(waits);
            let Some(stored) = self.store.get(&open).await? else { continue };
            let Some(mut row) = self.store.unread().decode::<OpenRun>(&open, &stored) else { continue };
            row.waits = false;
            match row.parent {
                None => {
                    batch.put(rows::queued(organisation, run), Vec::new());
                }
                Some(outer) => match self.rouse_outermost(batch, organisation, outer).await? {
                    Some(roused) => ready.append(roused),
                    // Without the run it is a step of, nobody would take its place.
                    None => continue,
                },
            }
            batch.require(open.clone(), Precondition::ValueIs(stored)).put(open, encode(&row));
            gate.running.push(run);
            ready.add(run, true);
        }
        if gate.running.is_empty() {
            batch.delete(key);
        } else {
            batch.put(key, encode(&gate));
        }
        Ok(ready)
    }

    async fn gate(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        playbook: PlaybookId,
    ) -> Result<(Key, Gate), StoreError> {
        let key = rows::gate(organisation, playbook);
        let stored = self.store.get(&key).await?;
        let gate = match &stored {
            Some(row) => match self.store.unread().decode(&key, row) {
                Some(gate) => gate,
                None => Gate { running: self.holders(organisation, playbook).await?, came: 0 },
            },
            None => Gate::default(),
        };
        batch.require(key.clone(), stored.map_or(Precondition::Absent, Precondition::ValueIs));
        Ok((key, gate))
    }

    /// The runs of a playbook that hold its places, by their own rows: all that are open, but those that wait for a place or,
    /// not begun, for their time.
    async fn holders(
        &self,
        organisation: OrganisationId,
        playbook: PlaybookId,
    ) -> Result<Vec<RunId>, StoreError> {
        let mut open_runs = Walk::forward(&*self.store, rows::open_runs(organisation).prefix());
        let mut holders = Vec::new();
        while let Some((.., ((_, run), open))) = open_runs.next_read(rows::of_run::<OpenRun>).await? {
            if open.playbook != playbook || open.waits {
                continue;
            }
            let key = rows::run(organisation, playbook, run);
            let row = self.store.get(&key).await?;
            let row: Option<RunRow> = row.and_then(|row| self.store.unread().decode(&key, &row));
            if open.wake.is_none() || row.is_none_or(|row| row.state != RunState::Queued) {
                holders.push(run);
            }
        }
        Ok(holders)
    }
}
