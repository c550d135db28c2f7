//! Organisations that are suspended. Their keys are refused, and whatever begins work by itself asks here first whose it is:
//! what is due stays due, and what waits stays where it waits. What is at work comes to its next commit, and nothing of
//! what they have is touched.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bellwether_kernel::OrganisationId;
use bellwether_store::to_the_end;
use tokio::sync::watch;

use crate::changes::OrganisationChange;
use crate::service::Inner;
use crate::{Access, AccessError, AuditScope, Organisation};

impl Access {
    /// Suspends an organisation; one that is suspended stays so since then.
    ///
    /// # Errors
    /// [`AccessError::Unknown`]; the store's.
    pub async fn suspend_organisation(
        &self,
        actor: &str,
        id: OrganisationId,
    ) -> Result<Organisation, AccessError> {
        self.set_suspended(actor, id, true).await
    }

    /// Has an organisation go on that was suspended.
    ///
    /// # Errors
    /// As [`Self::suspend_organisation`]; [`AccessError::Refused`] for one that is being deleted.
    pub async fn resume_organisation(
        &self,
        actor: &str,
        id: OrganisationId,
    ) -> Result<Organisation, AccessError> {
        self.set_suspended(actor, id, false).await
    }

    /// Whether nothing is to be begun for an organisation: it is suspended, or was deleted, or the host is passive.
    #[must_use]
    pub fn is_suspended(&self, id: OrganisationId) -> bool {
        self.is_passive() || self.check_not_suspended(id).is_err()
    }

    /// Has nothing begin by itself from here on, as if every organisation were suspended; their keys work all the same.
    /// It is for a look at a copy of a store whose own host is at work.
    pub fn become_passive(&self) {
        self.inner.passive.store(true, Ordering::Relaxed);
    }

    /// Whether nothing begins by itself.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        self.inner.passive.load(Ordering::Relaxed)
    }

    /// Refuses what is asked of a suspended organisation in another way than by one of its keys.
    ///
    /// # Errors
    /// [`AccessError::Suspended`].
    pub fn check_not_suspended(&self, id: OrganisationId) -> Result<(), AccessError> {
        let suspended = self.inner.directory.read().is_suspended(id);
        if suspended { Err(AccessError::Suspended) } else { Ok(()) }
    }

    /// Changes whenever an organisation was suspended or resumed, or is gone.
    #[must_use]
    pub fn suspensions(&self) -> watch::Receiver<()> {
        self.inner.suspensions.subscribe()
    }

    async fn set_suspended(
        &self,
        actor: &str,
        id: OrganisationId,
        suspended: bool,
    ) -> Result<Organisation, AccessError> {
        let (inner, actor) = (Arc::clone(&self.inner), actor.to_owned());
        to_the_end(async move { inner.set_suspended(&actor, id, suspended).await }).await
    }
}

impl Inner {
    async fn set_suspended(
        &self,
        actor: &str,
        id: OrganisationId,
        suspended: bool,
    ) -> Result<Organisation, AccessError> {
        let action = if suspended { "organisation.suspend" } else { "organisation.resume" };
        let scope = AuditScope::Organisation(id);
        let change = |before: &Organisation| {
            if !suspended {
                before.check_stays()?;
            }
            let suspended = suspended.then(|| before.suspended.unwrap_or_else(|| self.clock.now()));
            let organisation = Organisation { suspended, ..before.clone() };
            let details = Vec::new();
            let change = OrganisationChange { organisation, scope, action, details };
            Ok((change.organisation != *before).then_some(change))
        };
        let organisation = self.change_organisation(actor, id, change).await?;
        self.suspensions.send_replace(());
        Ok(organisation)
    }
}
