//! What a repetition takes over of the run it repeats. It may be more than one commit takes, and is recorded ahead of the run
//! then: until that is recorded itself it is one that is to end, so that whoever finds it after a crash ends it, and what it
//! took over goes with it.

use bellwether_kernel::{ErrorKind, OrganisationId, RunId};
use bellwether_store::{Precondition, encode};

use super::Firing;
use super::accept::{IN_THE_WAY, new_row, write_new};
use super::record::AT_ONCE;
use crate::rows::{OpenRun, PlaybookRow};
use crate::service::Loaded;
use crate::{PlaybookError, Playbooks, rows};

/// Why a run ends of which no more than a part was recorded.
const UNFINISHED: &str = "not all was recorded that it takes over";

impl Playbooks {
    /// Records what a run takes over but for the last of it, which is left in the firing for the run's own commit.
    ///
    /// # Errors
    /// The store's, [`bellwether_store::StoreError::Unavailable`] too if another host took over what was recorded.
    pub(super) async fn take_over_results(
        &self,
        organisation: OrganisationId,
        loaded: &Loaded,
        playbook: &PlaybookRow,
        id: RunId,
        firing: &mut Firing,
    ) -> Result<(), PlaybookError> {
        let key = rows::run_open(organisation, id);
        let mut batch = std::mem::take(&mut firing.taken_over);
        for copied in std::mem::take(&mut firing.copied) {
            self.write_copy(&mut batch, organisation, id, &copied)?;
            if batch.bytes() > AT_ONCE {
                match &firing.fence {
                    Some(fence) => {
                        batch.require(key.clone(), Precondition::ValueIs(fence.clone()));
                    }
                    None => {
                        let mut row = new_row(loaded, playbook, firing.by.clone(), self.clock.now());
                        row.replay_of = firing.replay_of;
                        let cancel = Some(UNFINISHED.to_owned());
                        let open = OpenRun { owner: Some(self.owner), cancel, ..OpenRun::new(loaded) };
                        let fence = encode(&open);
                        write_new(&mut batch, organisation, id, &row);
                        batch.put(key.clone(), fence.clone());
                        self.require_lease(&mut batch);
                        firing.fence = Some(fence);
                    }
                }
                match self.store.commit(std::mem::take(&mut batch)).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => return Err(IN_THE_WAY.into()),
                    done => drop(done?),
                }
            }
        }
        firing.taken_over = batch;
        Ok(())
    }
}
