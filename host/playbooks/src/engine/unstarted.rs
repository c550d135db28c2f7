//! Playbooks that their triggers do not start: it is said when that begins, when it is for another reason, and when it is over.

use std::sync::Arc;
use std::time::Duration;

use bellwether_kernel::{OrganisationId, Period, PlaybookId, Timestamp};
use bellwether_store::{Batch, Key, Precondition, StoreError};
use bytes::Bytes;

use super::record::shortened;
use crate::service::Loaded;
use crate::{PlaybookError, Playbooks, rows};

/// How long a version that did not read is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(60);
/// Bytes kept of why one is not started: what does not read may be shown in it.
pub(crate) const WHY_BYTES: usize = 500;

/// Why a playbook is not started.
pub(crate) struct Unstarted {
    why: String,
    /// The version that did not read, and until when it is left alone.
    unread: Option<(u32, Timestamp)>,
}

impl Playbooks {
    /// A version whose trigger may have fired. One that does not read is passed over, and left alone for a while: everybody
    /// else's triggers would wait for it.
    pub(super) async fn load_to_start(
        &self,
        organisation: OrganisationId,
        id: PlaybookId,
        version: u32,
    ) -> Result<Option<Arc<Loaded>>, PlaybookError> {
        let unread = self.unstarted.lock().get(&(organisation, id)).and_then(|unstarted| unstarted.unread);
        if unread.is_some_and(|(unread, until)| unread == version && self.clock.now() < until) {
            return Ok(None);
        }
        match self.load(organisation, id, version).await {
            Err(PlaybookError::Store(damage @ StoreError::Damaged(_))) => {
                let unread = Some((version, self.later()));
                self.is_not_started(organisation, (id, None), &damage.to_string(), unread);
                Ok(None)
            }
            loaded => {
                if let (Some(_), Ok(Some(loaded))) = (unread, &loaded) {
                    self.is_started(organisation, loaded);
                }
                loaded
            }
        }
    }

    /// When what did not read is looked at again.
    fn later(&self) -> Timestamp {
        self.clock.now().saturating_add(Period(LEFT_ALONE).milliseconds())
    }

    /// Has a playbook that is due looked at again later, as something of it does not read. It is still due at its time.
    pub(super) async fn put_off(
        &self,
        due: Key,
        row: Bytes,
        damage: &StoreError,
    ) -> Result<(), PlaybookError> {
        let (_, organisation, id) = rows::due_of(&due)?;
        self.is_not_started(organisation, (id, None), &damage.to_string(), None);
        let mut batch = Batch::new();
        batch.require(due.clone(), Precondition::ValueIs(row.clone())).delete(due);
        batch.put(rows::due(self.later(), organisation, id), row);
        Ok(self.store.commit(batch).await.map(drop)?)
    }

    /// Says that a playbook, called so as far as that reads, is not started, unless that was said before.
    pub(super) fn is_not_started(
        &self,
        organisation: OrganisationId,
        (playbook, name): (PlaybookId, Option<&str>),
        why: &str,
        unread: Option<(u32, Timestamp)>,
    ) {
        let why = shortened(why.to_owned(), WHY_BYTES);
        let unstarted = Unstarted { why: why.clone(), unread };
        let before = self.unstarted.lock().insert((organisation, playbook), unstarted);
        if before.is_none_or(|before| before.why != why) {
            tracing::warn!(%organisation, %playbook, name, why, "the playbook is not started by its trigger");
        }
    }

    /// Says that a playbook whose trigger fired is not started, as [`Self::is_not_started`] does.
    pub(super) fn was_refused(&self, organisation: OrganisationId, loaded: &Loaded, why: &PlaybookError) {
        let name = &loaded.compiled.document.name;
        self.is_not_started(organisation, (loaded.id, Some(name)), &why.to_string(), None);
    }

    /// Says that a playbook is started, if it was not.
    pub(super) fn is_started(&self, organisation: OrganisationId, loaded: &Loaded) {
        let (playbook, name) = (loaded.id, &loaded.compiled.document.name);
        if self.unstarted.lock().remove(&(organisation, playbook)).is_some() {
            tracing::info!(%organisation, %playbook, name, "the playbook is started by its trigger again");
        }
    }
}
