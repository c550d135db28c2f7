//! Organisations that are deleted for good. Who asks for it is answered at once, with the organisation's row saying so; the
//! rest goes on behind that, in small commits, as long as the row is there, whatever ends in between. It stays suspended all
//! that time. When nothing is left the row goes too, with the name, which another may have then. Its id is never given again:
//! so nothing that was overlooked of it is ever another's.

use std::sync::Arc;

use bellwether_kernel::{OrganisationId, Timestamp};
use bellwether_store::{Batch, Erase, Precondition, Space, StoreError, decode, encode, erase, to_the_end};

use crate::changes::OrganisationChange;
use crate::kept::AT_ONCE;
use crate::rows::{self, StoredGone};
use crate::service::Inner;
use crate::{Access, AccessError, AuditScope, Organisation};

/// How long after a deletion was asked for erasing begins, in milliseconds: five minutes, longer than any request may take.
/// Nothing is at work then for an organisation that was suspended before: a plugin that is called for longer is refused all
/// that belongs to it, and a run, evaluation or delivery commits nothing any more once its rows are gone.
pub const AT_REST: i64 = 5 * 60 * 1000;

/// How often in one call is looked whether something is left: what is found then came while it was erased. The next call goes
/// on.
const PASSES: usize = 4;

/// What a row says of its organisation itself: it goes last, and what is left of it stays.
const OF_ITSELF: [Space; 2] = [Space::Organisation, Space::OrganisationGone];

impl Access {
    /// Deletes an organisation that is suspended, with everything it has; one that is being deleted goes on to be. It is
    /// there, and its name taken, until [`Self::erase_deleted`] left nothing of it.
    ///
    /// # Errors
    /// [`AccessError::Unknown`]; [`AccessError::Refused`] for one that is not suspended; the store's.
    pub async fn delete_organisation(
        &self,
        actor: &str,
        id: OrganisationId,
    ) -> Result<Organisation, AccessError> {
        let (inner, actor) = (Arc::clone(&self.inner), actor.to_owned());
        to_the_end(async move { inner.delete_organisation(&actor, id).await }).await
    }

    /// Whether an organisation is being deleted, or gone: nothing of it is to be changed any more.
    #[must_use]
    pub fn is_deleted(&self, id: OrganisationId) -> bool {
        self.inner.directory.read().is_deleted(id)
    }

    /// Erases what organisations have that were deleted more than [`AT_REST`] ago: what `keepers` keep, and every row whose key
    /// says that it is theirs. Gives how many are gone now. To be called every minute; what is cut off is gone on with by the
    /// next call, also by that of another life of the host. A passive host erases nothing.
    ///
    /// # Errors
    /// The last that kept an organisation from being erased; it keeps no other.
    pub async fn erase_deleted(&self, keepers: &[Arc<dyn Erase>]) -> Result<usize, AccessError> {
        if self.is_passive() {
            return Ok(0);
        }
        let before = self.inner.clock.now().saturating_add(-AT_REST);
        let due = |organisation: &&Organisation| organisation.deleting.is_some_and(|since| since <= before);
        let due: Vec<_> = self.inner.directory.read().deleting().filter(due).map(|due| due.id).collect();
        let (mut gone, mut last) = (0, Ok(()));
        for id in due {
            match self.erase_one(id, keepers).await {
                Ok(true) => gone += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(organisation = %id, %error, "what a deleted organisation had is not all gone; it is tried again");
                    last = Err(error);
                }
            }
        }
        last.map(|()| gone)
    }

    /// Erases what an organisation has; whether it is gone.
    async fn erase_one(&self, id: OrganisationId, keepers: &[Arc<dyn Erase>]) -> Result<bool, AccessError> {
        let spaces: Vec<_> = Space::ALL.iter().copied().filter(|space| !OF_ITSELF.contains(space)).collect();
        for _ in 0..PASSES {
            let (mut found, mut full) = (0, Ok(()));
            // Before the rows: what these keep leads to more.
            for keeper in keepers {
                match keeper.erase(id).await {
                    // There is no room to write anew what others share with it: what is its own makes some.
                    Err(error @ StoreError::DiskFull { .. }) => full = Err(error),
                    erased => found += erased?,
                }
            }
            found += self.idempotency().erase(id).await?;
            found += self.inner.erase_keys(id).await?;
            found += erase(&*self.inner.store, id, &spaces).await?;
            full?;
            if found == 0 {
                let inner = Arc::clone(&self.inner);
                to_the_end(async move { inner.forget_organisation(id).await }).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Organisation {
    /// Refuses what changes an organisation that is being deleted.
    pub(crate) fn check_stays(&self) -> Result<(), AccessError> {
        match self.deleting {
            Some(_) => {
                Err(AccessError::Refused(format!("the organisation {:?} is being deleted", self.name)))
            }
            None => Ok(()),
        }
    }
}

impl Inner {
    /// What whoever wants an organisation of that name is told.
    pub(crate) fn name_is_taken(&self, name: String) -> AccessError {
        let directory = self.directory.read();
        match directory.organisation_named(&name) {
            Some(Organisation { deleting: Some(_), .. }) => AccessError::Refused(format!(
                "the organisation {name:?} is being deleted: its name is free once it is gone, in some minutes"
            )),
            _ => AccessError::Exists { what: "an organisation", name },
        }
    }

    async fn delete_organisation(
        &self,
        actor: &str,
        id: OrganisationId,
    ) -> Result<Organisation, AccessError> {
        let change = |before: &Organisation| {
            if before.deleting.is_some() {
                return Ok(None);
            }
            if before.suspended.is_none() {
                return Err(AccessError::Refused(format!(
                    "the organisation {:?} is not suspended: suspend it first, so that nothing of it is at work when it goes",
                    before.name
                )));
            }
            let organisation = Organisation { deleting: Some(self.clock.now()), ..before.clone() };
            // Its own log goes with it.
            let (scope, action) = (AuditScope::Host, "organisation.delete");
            let details = vec![("id", id.to_string())];
            Ok(Some(OrganisationChange { organisation, scope, action, details }))
        };
        self.change_organisation(actor, id, change).await
    }

    /// Forgets the keys of an organisation, and when they were used; how many there were.
    async fn erase_keys(&self, id: OrganisationId) -> Result<u64, StoreError> {
        let mut erased = 0;
        loop {
            let _alone = self.changes.lock().await;
            let some: Vec<_> = self.directory.read().keys_of(id.0).take(AT_ONCE).map(Arc::clone).collect();
            if some.is_empty() {
                return Ok(erased);
            }
            self.forget(&some).await?;
            erased += some.len() as u64;
        }
    }

    /// Forgets an organisation that has nothing any more; its id alone stays.
    async fn forget_organisation(&self, id: OrganisationId) -> Result<(), AccessError> {
        let _alone = self.changes.lock().await;
        let key = rows::organisation(id);
        if let Some(row) = self.store.get(&key).await? {
            let organisation: Organisation = decode(&row)?;
            let now: Timestamp = self.clock.now();
            let mut batch = Batch::new();
            batch
                .require(key.clone(), Precondition::ValueIs(row))
                .delete(key)
                .delete(rows::organisation_name(&organisation.name))
                .put(rows::organisation_gone(id), encode(&StoredGone(now)));
            let details = [("id", id.to_string())];
            let (host, action) = (AuditScope::Host, "organisation.deleted");
            self.audit(&mut batch, host, "host", action, &organisation.name, &details);
            batch.frees();
            self.store.commit(batch).await?;
        }
        self.directory.write().remove_organisation(id);
        self.suspensions.send_replace(());
        Ok(())
    }
}
