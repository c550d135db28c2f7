//! Commits of a run that hold only as long as the run is this host's.

use std::time::Duration;

use bellwether_kernel::ErrorKind;
use bellwether_store::{Batch, Precondition, StoreError, decode, encode};

use super::runner::Work;
use super::step::Waits;
use crate::rows::OpenRun;
use crate::{Playbooks, rows};

/// How often a commit is tried while the store is not available; waits 50 ms first, then twice as long each time:
/// 3 s in all.
const COMMITS: u32 = 7;

/// Why a run is no longer worked at here.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is another host's, or has ended.
    Lost,
    /// Something about it changed: it is to be looked at again.
    Moved,
    /// The store did not record it: whoever takes it up goes on from what is recorded.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Playbooks {
    /// Commits `batch` if the run is still this host's.
    pub(super) async fn commit_fenced(&self, work: &mut Work, batch: Batch) -> Result<(), Failure> {
        loop {
            match self.commit_patiently(work, &batch).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    if !self.refresh(work).await? {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Commits `batch` if nothing about the run changed. Gives whether nothing did.
    pub(super) async fn commit_as(&self, work: &Work, batch: &Batch) -> Result<bool, Failure> {
        match self.commit_patiently(work, batch).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads again whose the run is. Gives whether anything about it changed that leaves it this host's: that it is to
    /// end.
    pub(super) async fn refresh(&self, work: &mut Work) -> Result<bool, Failure> {
        let key = rows::run_open(work.organisation, work.id);
        let stored = self.store.get(&key).await?.ok_or(Failure::Lost)?;
        if stored == work.fence {
            return Ok(false);
        }
        let open: OpenRun = decode(&stored)?;
        if open.owner != Some(self.owner) {
            return Err(Failure::Lost);
        }
        (work.open, work.fence) = (open, stored);
        Ok(true)
    }

    /// Commits `batch` behind the run's fence, and tries again for a while if the store is not available.
    async fn commit_patiently(&self, work: &Work, batch: &Batch) -> Result<(), StoreError> {
        let mut wait = Duration::from_millis(50);
        let mut tries = 1..=COMMITS;
        loop {
            let mut fenced = batch.clone();
            let key = rows::run_open(work.organisation, work.id);
            fenced.require(key, Precondition::ValueIs(work.fence.clone()));
            match self.store.commit(fenced).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && tries.next() < Some(COMMITS) => {
                    tracing::warn!(%error, "a run waits for the store");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
                done => return done.map(drop),
            }
        }
    }

    /// Adds the run's row to `batch`.
    pub(super) fn write_row(&self, work: &Work, batch: &mut Batch) {
        batch.put(rows::run(work.organisation, work.row.playbook, work.id), encode(&work.row));
    }

    /// Lets go of a run: it waits in the store. Does nothing for a run that is to end, which does not wait, nor for one
    /// that has not to wait any more: whoever changes a run it waits for wakes only who was let go of before. Gives
    /// whether it was let go of.
    pub(super) async fn park(&self, work: &mut Work, waits: &Waits) -> Result<bool, Failure> {
        let until = waits.until;
        loop {
            if work.open.cancel.is_some() && work.row.outcome.is_none() {
                return Ok(false);
            }
            let mut batch = Batch::new();
            for (key, seen) in &waits.on {
                batch.require(key.clone(), Precondition::ValueIs(seen.clone()));
            }
            let open = OpenRun { owner: None, wake: Some(until), ..work.open.clone() };
            work.row.waits_until = Some(until);
            self.write_row(work, &mut batch);
            let key = rows::run_open(work.organisation, work.id);
            batch.put(key, encode(&open)).put(rows::wake(until, work.organisation, work.id), Vec::new());
            match self.commit_patiently(work, &batch).await {
                Ok(()) => {
                    self.sooner.notify_one();
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    work.row.waits_until = None;
                    match self.refresh(work).await? {
                        true => {}
                        false if waits.on.is_empty() => return Err(error.into()),
                        false => return Ok(false),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
