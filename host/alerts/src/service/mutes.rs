//! Mutes as they are stored and found.

use bellwether_access::Principal;
use bellwether_kernel::{OrganisationId, Page, PageRequest, Timestamp};
use bellwether_store::{Batch, Direction, Precondition, Space, decode, encode};

use super::{By, Subject, forgotten, until_it_holds};
use crate::mute::{Mute, MuteId, NewMute};
use crate::{AlertError, Alerts, limits, rows};

impl Alerts {
    /// Stores a mute, and forgets those that have been over for 30 days, and the oldest of more than [`limits::MUTES`] that
    /// are over.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for an end that is past or before its start, and for one that says neither what it is about
    /// nor that it is everything; [`AlertError::Limit`].
    pub async fn create_mute(&self, by: impl Into<By<'_>>, new: NewMute) -> Result<Mute, AlertError> {
        let by = by.into();
        until_it_holds(|| self.try_create_mute(by, &new)).await
    }

    async fn try_create_mute(&self, by: By<'_>, new: &NewMute) -> Result<Mute, AlertError> {
        let (organisation, now) = (by.organisation, self.clock.now());
        new.check(now)?;
        let mut batch = Batch::new();
        let (mut in_force, mut over) = (0, Vec::new());
        for mute in self.all_mutes(organisation).await? {
            match mute.end {
                Some(end) if end <= now => over.push((end, mute.id)),
                _ => in_force += 1,
            }
        }
        for id in forgotten(over, now, limits::MUTES) {
            batch.delete(rows::mute(organisation, id));
        }
        if in_force >= limits::MUTES {
            return Err(AlertError::Limit { what: "mutes of one organisation", limit: limits::MUTES as u64 });
        }
        let id = MuteId(self.count(&mut batch, Space::Mute, organisation).await?);
        let mute = Mute {
            id,
            scope: new.scope.clone(),
            start: new.start.unwrap_or(now),
            end: new.end,
            reason: new.reason.clone(),
            created: now,
            created_by: by.key_name.clone(),
        };
        rows::put(&mut batch, rows::mute(organisation, id), encode(&mute))?;
        self.audit(&mut batch, &by, "mute.create", &id.to_string(), &told(&mute));
        batch.append(by.joined(Subject::Mute(id)));
        self.store.commit(batch).await?;
        Ok(mute)
    }

    /// Changes until when a mute lasts; for ever, if it is not said.
    ///
    /// # Errors
    /// [`AlertError::NotFound`]; [`AlertError::Invalid`] for an end that is past or before its start.
    pub async fn change_mute(
        &self,
        principal: &Principal,
        id: MuteId,
        end: Option<Timestamp>,
    ) -> Result<Mute, AlertError> {
        until_it_holds(|| self.try_change_mute(principal, id, end)).await
    }

    async fn try_change_mute(
        &self,
        principal: &Principal,
        id: MuteId,
        end: Option<Timestamp>,
    ) -> Result<Mute, AlertError> {
        let key = rows::mute(principal.organisation, id);
        let stored =
            self.store.get(&key).await?.ok_or_else(|| AlertError::unknown("mute", id.to_string()))?;
        let mut mute: Mute = decode(&stored)?;
        mute.end = end;
        let (scope, everything) = (mute.scope.clone(), mute.scope.is_everything());
        let start = Some(mute.start);
        // An end that is taken away is taken away by name.
        let until_deleted = end.is_none();
        NewMute { scope, everything, start, end, until_deleted, reason: String::new() }
            .check(self.clock.now())?;
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(stored)).put(key, encode(&mute));
        self.audit(&mut batch, principal, "mute.change", &id.to_string(), &told(&mute));
        self.store.commit(batch).await?;
        Ok(mute)
    }

    /// Deletes a mute: what is bad still is told at its monitor's next evaluation.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn delete_mute(&self, by: impl Into<By<'_>>, id: MuteId) -> Result<(), AlertError> {
        let by = by.into();
        until_it_holds(|| self.try_delete_mute(by, id)).await
    }

    async fn try_delete_mute(&self, by: By<'_>, id: MuteId) -> Result<(), AlertError> {
        let key = rows::mute(by.organisation, id);
        let stored =
            self.store.get(&key).await?.ok_or_else(|| AlertError::unknown("mute", id.to_string()))?;
        let mut batch = Batch::new();
        batch.require(key.clone(), Precondition::ValueIs(stored)).delete(key);
        self.audit(&mut batch, &by, "mute.delete", &id.to_string(), &[]);
        batch.append(by.joined(Subject::Mute(id)));
        batch.frees();
        self.store.commit(batch).await?;
        Ok(())
    }

    /// One mute.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn mute(&self, organisation: OrganisationId, id: MuteId) -> Result<Mute, AlertError> {
        let row = self.store.get(&rows::mute(organisation, id)).await?;
        Ok(decode(&row.ok_or_else(|| AlertError::unknown("mute", id.to_string()))?)?)
    }

    /// Every mute, those that are over included, ordered by id.
    ///
    /// # Errors
    /// [`AlertError::Invalid`] for a cursor that is not of this list.
    pub async fn mutes(
        &self,
        organisation: OrganisationId,
        page: &PageRequest,
    ) -> Result<Page<Mute>, AlertError> {
        let found = self.numbered(rows::mutes(organisation), Direction::Forward, page).await?;
        found.try_map(|(_, row)| Ok(decode(&row)?))
    }

    /// The mutes that are in force.
    pub(crate) async fn active_mutes(
        &self,
        organisation: OrganisationId,
        now: Timestamp,
    ) -> Result<Vec<Mute>, AlertError> {
        let mut mutes = self.all_mutes(organisation).await?;
        mutes.retain(|mute| mute.is_active(now));
        Ok(mutes)
    }

    async fn all_mutes(&self, organisation: OrganisationId) -> Result<Vec<Mute>, AlertError> {
        let range = rows::mutes(organisation).prefix();
        let rows = self.store.scan(range, Direction::Forward, 2 * limits::MUTES).await?;
        Ok(rows.iter().filter_map(|(key, row)| self.store.unread().decode(key, row)).collect())
    }
}

/// What the audit log keeps of a mute: once it is deleted, nothing else does.
fn told(mute: &Mute) -> [(&'static str, String); 3] {
    let scope = if mute.scope.is_everything() {
        "everything".to_owned()
    } else {
        serde_json::to_string(&mute.scope).expect("names and texts are JSON")
    };
    let end = mute.end.map_or_else(|| "until it is deleted".to_owned(), |end| end.to_string());
    [("scope", scope), ("end", end), ("reason", mute.reason.clone())]
}
