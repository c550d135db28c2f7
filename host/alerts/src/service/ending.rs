//! The end of all of a monitor's incidents, where it is deleted or looks at something else from now on: what one commit holds
//! of them ends with the change, the rest at once behind it, before anything else becomes of the monitor.

use bellwether_kernel::{MonitorId, OrganisationId};
use bellwether_store::{Batch, Direction, Precondition, decode, delete_large};

use crate::calendar::Quiet;
use crate::engine::{Known, Turn};
use crate::evaluate::{Changed, Decided, Move, Settling, close_all};
use crate::monitor::Compiled;
use crate::rows::{self, Ending, EndingCause, NextRow};
use crate::state::MonitorState;
use crate::{AlertError, Alerts, limits};

/// Rows deleted in one commit.
const DELETED: usize = 1_000;

/// What was ended in a batch.
pub(super) struct Ended {
    /// Whether somebody is told.
    pub(super) is_told: bool,
    /// Whether there were no more.
    pub(super) is_all: bool,
}

impl Alerts {
    /// Ends in `batch` as many of a monitor's breaches and incidents as one commit is to hold; with the last of them it is
    /// forgotten how its series stood.
    pub(super) async fn end_some(
        &self,
        batch: &mut Batch,
        (organisation, id): (OrganisationId, MonitorId),
        Ending { why, version }: Ending,
    ) -> Result<Ended, AlertError> {
        let (mut state, bytes) = self.read_state(organisation, id).await?;
        if bytes == 0 {
            return Ok(Ended { is_told: false, is_all: true });
        }
        let compiled = self.load(organisation, id, version).await?;
        let before = state.clone();
        let moves = close_all(&mut state, why.reason());
        let monitor = (organisation, id);
        let (changed, known) = self.settle_ended(monitor, version, &compiled, &mut state, &moves).await?;
        let mut decided = Decided::new(state, changed);
        let mut within = limits::EVENTS_WITHIN;
        let put = self.put_incidents(batch, organisation, &mut decided, &known, &mut within).await?;
        let is_all = decided.is_done();
        let state = match is_all {
            // The count of incidents stays, so that no id comes twice.
            true => MonitorState { opened: decided.state().opened, ..MonitorState::default() },
            false => decided.state_so_far(&compiled, &before),
        };
        self.put_state(batch, monitor, &state, bytes).await?;
        if is_all {
            self.forget_detectors(batch, organisation, id).await?;
        }
        Ok(Ended { is_told: put.is_told, is_all })
    }

    /// Ends what is left of the incidents of a monitor that was deleted or changed, in as many commits as that takes.
    pub(crate) async fn end_rest(
        &self,
        organisation: OrganisationId,
        id: MonitorId,
    ) -> Result<Turn, AlertError> {
        let key = rows::next(organisation, id);
        while let Some(stored) = self.store.get(&key).await? {
            let mut next: NextRow = decode(&stored)?;
            let Some(ending) = next.ending else { break };
            let mut batch = Batch::new();
            batch.require(key.clone(), Precondition::ValueIs(stored));
            let ended = self.end_some(&mut batch, (organisation, id), ending).await?;
            let is_gone = ended.is_all && ending.why == EndingCause::Deleted;
            if is_gone {
                self.delete_rest(&mut batch, organisation, id, &next).await?;
            } else {
                let is_paused =
                    ended.is_all && self.load(organisation, id, next.version).await?.monitor.paused;
                next.ending = next.ending.filter(|_| !ended.is_all);
                self.schedule(&mut batch, organisation, id, is_paused, &mut next);
            }
            self.store.commit(batch).await?;
            if is_gone {
                self.forget_compiled(organisation, id);
                self.wakes.forget(organisation, id);
            }
            if ended.is_told {
                self.tellings.committed();
            }
        }
        Ok(Turn::Ended)
    }

    /// Deletes what is left of a monitor once none of its incidents goes on.
    pub(super) async fn delete_rest(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: MonitorId,
        next: &NextRow,
    ) -> Result<(), AlertError> {
        batch.delete(rows::next(organisation, id));
        if let Some(at) = next.at {
            batch.delete(rows::due(at, organisation, id));
        }
        delete_large(&*self.store, batch, &rows::state(organisation, id)).await?;
        for prefix in [rows::versions(organisation, id), rows::decisions(organisation, id)] {
            for (key, _) in self.store.scan(prefix.prefix(), Direction::Forward, DELETED).await? {
                batch.delete(key);
            }
        }
        Ok(())
    }

    /// Deletes what detectors keep of a monitor's series.
    async fn forget_detectors(
        &self,
        batch: &mut Batch,
        organisation: OrganisationId,
        id: MonitorId,
    ) -> Result<(), AlertError> {
        let detectors = rows::detectors(organisation, id).prefix();
        for (key, _) in self.store.scan(detectors, Direction::Forward, limits::ANOMALY_SERIES * 4).await? {
            if rows::is_peers(&key) {
                delete_large(&*self.store, batch, &key).await?;
            }
            batch.delete(key);
        }
        Ok(())
    }

    /// Closes the incidents of breaches that somebody ended, and gives them, with the rows they were read from.
    pub(super) async fn settle_ended(
        &self,
        (organisation, monitor): (OrganisationId, MonitorId),
        version: u32,
        compiled: &Compiled,
        state: &mut MonitorState,
        moves: &[Move],
    ) -> Result<(Vec<Changed>, Known), AlertError> {
        let known = self.known(organisation, state).await?;
        let now = self.clock.now();
        let mutes = self.active_mutes(organisation, now).await?;
        // Nothing opens.
        let routes = Default::default();
        let (at, end, mutes, routes, quiet) = (now, now, &mutes[..], &routes, &Quiet::default());
        let settling = Settling { organisation, monitor, version, compiled, at, end, mutes, routes, quiet };
        let mut changed = settling.settle(state, &known.incidents, moves);
        // What is due of those that go on is left to their evaluation.
        changed.retain(|changed| !changed.incident.is_open());
        Ok((changed, known))
    }
}
